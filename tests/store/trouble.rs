//! Stores that hang, fail, panic and dawdle: under virtual time. None of it reaches a caller.

use std::sync::Arc;
use std::time::Duration;

use midil_auth::event::Change;
use midil_auth::oauth2::{AccessToken, Credential, LifetimePolicy};
use midil_auth::store::{
    Record, Store, StoreError, StoreErrorKind, StoreKey, StoreKind, StoreOperation,
};
use midil_auth::testing::{SourceFn, TestClock};
use midil_auth::{Auth, Fetched, RefreshPolicy, Start, TokenHandle};
use parking_lot::Mutex;

use super::{Issuer, LIFETIME, Memory, boot, labels, secs, settle, told};

/// What a store does when it is asked.
#[derive(Clone, Copy, Debug)]
enum Mood {
    Dawdle(Duration),
    Fail,
    Hang,
    Panic,
    Willing,
}

/// A store with a mood for each operation, which takes down what it was asked.
#[derive(Debug)]
struct Moody {
    load: Mood,
    save: Mood,
    asked: Mutex<Vec<String>>,
    memory: Memory,
}

impl Moody {
    fn new(load: Mood, save: Mood) -> Arc<Self> {
        Arc::new(Self {
            load,
            save,
            asked: Mutex::default(),
            memory: Memory::default(),
        })
    }

    async fn be(&self, mood: Mood, asked: String) -> Result<(), StoreError> {
        self.asked.lock().push(asked);
        match mood {
            Mood::Dawdle(by) => tokio::time::sleep(by).await,
            Mood::Fail => {
                // What a server says is kept short and on one line.
                let message = format!("no\r\n{}", "x".repeat(10_000));
                return Err(StoreError::new(StoreErrorKind::Unavailable, message));
            }
            Mood::Hang => std::future::pending().await,
            Mood::Panic => panic!("a bug in the store"),
            Mood::Willing => {}
        }
        Ok(())
    }

    fn asked(&self) -> Vec<String> {
        self.asked.lock().clone()
    }
}

impl Store for Moody {
    async fn load(&self, key: &StoreKey) -> Result<Option<Record>, StoreError> {
        assert_eq!((key.kind(), key.issuer()), (StoreKind::Token, "t"));
        self.be(self.load, "load".to_owned()).await?;
        self.memory.load(key).await
    }

    async fn save(&self, key: &StoreKey, record: Record) -> Result<(), StoreError> {
        self.be(self.save, format!("save {}", record.version()))
            .await?;
        self.memory.save(key, record).await
    }

    async fn remove(&self, key: &StoreKey, version: u64) -> Result<(), StoreError> {
        self.be(self.save, format!("remove {version}")).await?;
        self.memory.remove(key, version).await
    }
}

async fn token(auth: &Auth, issuer: &Issuer) -> TokenHandle {
    auth.token(issuer.credential()).await.expect("a token")
}

fn elapsed(clock: &TestClock, since: std::time::SystemTime) -> Duration {
    clock.now().duration_since(since).expect("later")
}

#[tokio::test(start_paused = true)]
async fn a_store_that_hangs_delays_the_start_by_the_bound_and_nothing_else() {
    for bound in [1000, 50] {
        let store = Moody::new(Mood::Hang, Mood::Hang);
        let clock = TestClock::virtual_time();
        let builder = Auth::builder()
            .clock(clock.clock())
            .seed(7)
            .store(Arc::clone(&store));
        let builder = match bound {
            1000 => builder,
            bound => builder.store_timeout(Duration::from_millis(bound)),
        };
        let auth = builder.start().await.expect("started");
        let mut events = auth.events();
        let begun = clock.now();
        let issuer = Issuer::new("t");
        let token = token(&auth, &issuer).await;
        let took = elapsed(&clock, begun);
        let bound = Duration::from_millis(bound);
        assert!(
            took >= bound && took < bound + Duration::from_millis(10),
            "{took:?}"
        );
        let told = told(&mut events).await;
        let silence = "store_failed t operation=load error=the store did not answer in time";
        assert_eq!((told[0].as_str(), told.len()), (silence, 2), "{told:?}");
        // A save that hangs holds up no refresh; each is given up in time for the next.
        for _ in 0..24 * 60 {
            clock.advance(secs(60)).await;
            settle().await;
            assert!(token.current().is_ok());
        }
        let labels = labels(&mut events).await;
        let count = |label| labels.iter().filter(|known| **known == label).count();
        assert!(
            count("refreshed") >= 32 && count("store_failed") >= 32,
            "{labels:?}"
        );
        assert_eq!(count("refreshed") + count("store_failed"), labels.len());

        token
            .renew(&token.current().expect("one"))
            .await
            .expect("another");
        let begun = clock.now();
        auth.shutdown().await;
        assert!(elapsed(&clock, begun) <= secs(1), "and no end");
        settle().await;
        let tasks = tokio::runtime::Handle::current()
            .metrics()
            .num_alive_tasks();
        assert_eq!(tasks, 0, "nothing outlives it");
    }
}

#[tokio::test(start_paused = true)]
async fn dropping_the_last_handle_drops_what_the_store_does_not_finish() {
    let store = Moody::new(Mood::Willing, Mood::Hang);
    let (auth, clock) = boot(store, 0).await;
    let issuer = Issuer::new("t");
    drop(token(&auth, &issuer).await);
    clock.advance(secs(11)).await;
    settle().await;
    let others = tokio::runtime::Handle::current()
        .metrics()
        .num_alive_tasks();
    drop(token(&auth, &issuer).await);
    // What is under way may end, in ten seconds at most.
    clock.advance(secs(11)).await;
    settle().await;
    let tasks = || {
        tokio::runtime::Handle::current()
            .metrics()
            .num_alive_tasks()
    };
    assert_eq!(tasks(), others);
    drop(token(&auth, &issuer).await);
    drop(auth);
    settle().await;
    clock.advance(secs(1)).await;
    settle().await;
    assert_eq!(tasks(), 0);
}

#[tokio::test(start_paused = true)]
async fn what_the_store_answers_too_late_never_replaces_what_was_fetched() {
    let store = Moody::new(Mood::Willing, Mood::Willing);
    let (auth, _clock) = boot(Arc::clone(&store), 0).await;
    token(&auth, &Issuer::new("t")).await;
    auth.shutdown().await;
    let records = store.memory.0.lock().clone();
    for late in [900, 1100, 5000] {
        let store = Arc::new(Moody {
            load: Mood::Dawdle(Duration::from_millis(late)),
            save: Mood::Willing,
            asked: Mutex::default(),
            memory: Memory(Mutex::new(records.clone())),
        });
        let (auth, clock) = boot(Arc::clone(&store), 100).await;
        let slow = SourceFn::new(async |_| {
            tokio::time::sleep(Duration::from_millis(500)).await;
            Ok(Fetched::new(
                AccessToken::bearer("fresh")?.expires_in(LIFETIME),
            ))
        });
        let token = auth.token(Credential::new("t", slow).stored_as("t")).await;
        let token = token.expect("a token");
        let expected = if late < 1000 { "t-1" } else { "fresh" };
        for _ in 0..10 {
            assert_eq!(
                token.current().expect("one").expose(),
                expected,
                "{late} ms"
            );
            clock.advance(secs(1)).await;
            settle().await;
        }
    }
}

#[tokio::test(start_paused = true)]
async fn a_store_that_fails_or_panics_is_told_of_and_otherwise_absent() {
    for (mood, kind) in [
        (Mood::Fail, StoreErrorKind::Unavailable),
        (Mood::Panic, StoreErrorKind::Panicked),
    ] {
        let (auth, _clock) = boot(Moody::new(mood, mood), 0).await;
        let mut events = auth.events();
        let issuer = Issuer::new("t");
        let token = token(&auth, &issuer).await;
        token
            .renew(&token.current().expect("one"))
            .await
            .expect("another");
        settle().await;
        let mut failed = Vec::new();
        while let Ok(Ok(event)) = tokio::time::timeout(Duration::ZERO, events.recv()).await {
            if let Change::StoreFailed { operation, error } = &event.change {
                assert_eq!(error.kind(), kind);
                assert!(error.to_string().chars().count() <= 201, "bounded");
                assert!(!event.to_string().contains(['\r', '\n']), "{event}");
                failed.push(*operation);
            }
        }
        let (load, save) = (StoreOperation::Load, StoreOperation::Save);
        assert_eq!(failed[..2], [load, save]);
        // The removal of the refused token is overtaken by its successor, or fails as well.
        assert_eq!(failed.last(), Some(&save));
        assert_eq!(issuer.calls(), 2);
        assert!(auth.health().ready);
    }
}

#[tokio::test(start_paused = true)]
async fn of_many_values_the_store_gets_one_at_a_time_and_always_the_last() {
    let store = Moody::new(Mood::Willing, Mood::Dawdle(secs(3)));
    let (auth, clock) = boot(Arc::clone(&store), 0).await;
    let source = SourceFn::new(async |n| {
        Ok(Fetched::new(
            AccessToken::bearer(format!("t-{n}"))?.expires_in(secs(2)),
        ))
    });
    let calls = source.calls();
    let credential = Credential::new("t", source)
        .stored_as("t")
        .lifetime(LifetimePolicy::default().refresh_at(0.65))
        .refresh(RefreshPolicy::for_tokens().jitter(0.0));
    let token = auth.token(credential).await.expect("a token");
    for _ in 0..60 {
        clock.advance(secs(1)).await;
        settle().await;
    }
    let last = token.current().expect("one");
    // The last save is under way; a moment is left for it.
    auth.shutdown().await;
    let saves = store.asked().len() - 1;
    let calls = usize::try_from(calls.load(std::sync::atomic::Ordering::SeqCst)).expect("few");
    assert!(
        calls >= 30 && (15..=22).contains(&saves),
        "{saves} saves of {calls} tokens"
    );
    let versions: Vec<_> = store.asked().drain(1..).collect();
    assert!(versions.is_sorted_by(|a, b| a < b), "{versions:?}");
    let lag = last
        .issued_at()
        .duration_since(store.memory.record().obtained_at());
    let lag = lag.expect("not from the future");
    assert!(lag <= secs(7), "{lag:?}");
}

#[tokio::test(start_paused = true)]
async fn a_value_that_was_just_fetched_is_saved_by_a_shutdown_that_follows() {
    let store = Moody::new(Mood::Willing, Mood::Dawdle(Duration::from_millis(300)));
    let (auth, _clock) = boot(Arc::clone(&store), 0).await;
    // Whether its handle is still there or not.
    drop(token(&auth, &Issuer::new("t")).await);
    settle().await;
    assert!(store.memory.records().is_empty());
    auth.shutdown().await;
    assert_eq!(store.memory.records().len(), 1);
}

#[tokio::test(start_paused = true)]
async fn a_thousand_callers_wait_for_one_load() {
    let store = Moody::new(Mood::Dawdle(Duration::from_millis(500)), Mood::Willing);
    let (auth, _clock) = boot(Arc::clone(&store), 0).await;
    let issuer = Issuer::new("t");
    let lazy = auth
        .token(issuer.credential().start(Start::Lazy))
        .await
        .expect("lazy");
    settle().await;
    let before = auth.messages_sent();
    let mut callers = tokio::task::JoinSet::new();
    for _ in 0..1000 {
        let token = lazy.clone();
        callers.spawn(async move { token.ready().await.map(|token| token.expose().to_owned()) });
    }
    while let Some(got) = callers.join_next().await {
        assert_eq!(got.expect("no panic").expect("a token"), "t-1");
    }
    assert_eq!(auth.messages_sent() - before, 1);
    assert_eq!(store.asked()[0], "load");
    assert_eq!(issuer.calls(), 1);
}

#[tokio::test]
async fn a_timeout_out_of_range_is_refused() {
    for timeout in [Duration::ZERO, secs(61)] {
        let started = Auth::builder().store_timeout(timeout).start().await;
        let error = started.expect_err("refused").to_string();
        assert!(error.contains("store_timeout"), "{error}");
    }
}
