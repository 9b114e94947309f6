//! A provider with a bug is a failure like any other, wherever it panics.

#![expect(clippy::panic, reason = "panics are what these tests are about")]

use std::pin::Pin;
use std::task::{Context, Poll};

use midil_auth::Source;

use super::*;

/// Where a provider panics.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Bug {
    /// When it is asked, before there is a future.
    Asked,
    /// When its future is polled first.
    Polled,
    /// After it has waited.
    Resumed,
    /// When its future is dropped on the way.
    Dropped,
    /// With a value that panics itself when it is dropped.
    Twice,
    /// When asked what would end a refusal.
    Watched,
    /// When it is dropped itself.
    Gone,
}

#[derive(Clone)]
struct Buggy {
    bug: Bug,
    calls: Arc<AtomicU64>,
    fixed: Arc<AtomicU64>,
}

impl Buggy {
    fn new(bug: Bug) -> Self {
        Self {
            bug,
            calls: Arc::default(),
            fixed: Arc::default(),
        }
    }

    fn has(&self, bug: Bug) -> bool {
        self.bug == bug && self.fixed.load(Ordering::SeqCst) == 0
    }

    fn fix(&self) {
        self.fixed.store(1, Ordering::SeqCst);
    }

    fn calls(&self) -> u64 {
        self.calls.load(Ordering::SeqCst)
    }
}

/// Panics when it is dropped.
struct Bomb;

impl Drop for Bomb {
    fn drop(&mut self) {
        panic!("dropped");
    }
}

/// Never ready, and panics when it is dropped.
struct Hanging(#[expect(dead_code, reason = "held for its drop")] Option<Bomb>);

impl Future for Hanging {
    type Output = ();

    fn poll(self: Pin<&mut Self>, _cx: &mut Context<'_>) -> Poll<()> {
        Poll::Pending
    }
}

impl Source<AccessToken> for Buggy {
    fn fetch(
        &self,
        _in_service: Option<Arc<AccessToken>>,
    ) -> impl Future<Output = Result<Fetched<AccessToken>, FetchError>> + Send {
        let n = self.calls.fetch_add(1, Ordering::SeqCst) + 1;
        assert!(!self.has(Bug::Asked), "asked");
        async move {
            assert!(!self.has(Bug::Polled), "polled");
            if self.has(Bug::Resumed) {
                tokio::time::sleep(ms(10)).await;
                panic!("resumed");
            }
            if self.has(Bug::Dropped) {
                Hanging(Some(Bomb)).await;
            }
            if self.has(Bug::Twice) {
                std::panic::panic_any(Bomb);
            }
            if self.has(Bug::Watched) {
                return Err(FetchError::permanent("invalid_client"));
            }
            issue(n, LIFETIME)
        }
    }

    fn changed(&self) -> impl Future<Output = ()> + Send {
        assert!(!self.has(Bug::Watched), "watched");
        std::future::pending()
    }
}

/// As [`Buggy`], but for what it does when it goes.
struct Going(Buggy);

impl Source<AccessToken> for Going {
    async fn fetch(
        &self,
        held: Option<Arc<AccessToken>>,
    ) -> Result<Fetched<AccessToken>, FetchError> {
        self.0.fetch(held).await
    }
}

impl Drop for Going {
    fn drop(&mut self) {
        assert!(!self.0.has(Bug::Gone), "gone");
    }
}

#[tokio::test(start_paused = true)]
async fn a_provider_that_panics_is_a_failure_like_any_other() {
    for bug in [
        Bug::Asked,
        Bug::Polled,
        Bug::Resumed,
        Bug::Dropped,
        Bug::Twice,
        Bug::Watched,
    ] {
        let (auth, _clock) = start().await;
        let mut events = auth.events();
        let neighbour = begin(&auth, &Issuer::new(Mood::Issues)).await;
        let source = Buggy::new(bug);
        let token = begin_with(&auth, Credential::new("t", source.clone())).await;
        pass(5 * MINUTE).await;
        // Callers get an error that says so, and never a panic.
        let error = token.current().expect_err("nothing yet");
        let cause = match bug {
            Bug::Dropped | Bug::Twice => "no complete answer",
            Bug::Watched => "invalid_client",
            _ => "the source panicked",
        };
        assert!(error.to_string().contains(cause), "{bug:?}: {error}");
        assert!(token.status().last_error.expect("a cause").contains(cause));
        let calls = source.calls();
        assert!((3..20).contains(&calls), "{bug:?}: {calls} calls, paced");
        source.fix();
        pass(15 * MINUTE).await;
        assert!(token.current().is_ok(), "{bug:?}: recovered");
        assert!(neighbour.current().is_ok());
        let told = told(&mut events).await;
        assert!(!told.contains(&"restarted"), "no actor was hurt by {bug:?}");
        assert!(told.contains(&"recovered"));
    }
}

#[tokio::test(start_paused = true)]
async fn a_provider_that_panics_when_it_goes_hurts_no_other() {
    let (auth, _clock) = start().await;
    let mut events = auth.events();
    let neighbour = begin(&auth, &Issuer::new(Mood::Issues)).await;
    let source = Going(Buggy::new(Bug::Gone));
    let token = begin_with(&auth, Credential::new("t", source)).await;
    assert!(token.current().is_ok());
    drop(token);
    pass(SECOND).await;
    assert!(neighbour.current().is_ok());
    assert_eq!(
        told(&mut events).await,
        ["acquired", "acquired", "stopped"],
        "the actor went on"
    );
    assert_eq!(auth.health().tokens.len(), 1);
}
