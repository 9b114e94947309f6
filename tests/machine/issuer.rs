//! An issuer in the test's hand.

use midil_auth::Source;
use parking_lot::Mutex;
use tokio::sync::Notify;

use super::*;

/// What it does with the next requests.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Mood {
    /// Fails in a way that may pass.
    Down,
    /// Never answers.
    Hangs,
    /// Issues `token-1`, `token-2` and so on, each good for an hour or what was set.
    Issues,
    /// Says no, for good.
    Refuses,
    /// Takes this long, then issues.
    Takes(Duration),
    /// Asks to be left alone for this long.
    Throttles(Duration),
}

/// Counts what it is asked, and notices when two ask at a time.
#[derive(Clone)]
pub(crate) struct Issuer(Arc<Inner>);

struct Inner {
    mood: Mutex<Mood>,
    lifetime: Mutex<Duration>,
    asked: Mutex<Vec<tokio::time::Instant>>,
    issued: AtomicU64,
    in_flight: AtomicU64,
    most_in_flight: AtomicU64,
    changed: Notify,
}

impl Issuer {
    pub(crate) fn new(mood: Mood) -> Self {
        Self(Arc::new(Inner {
            mood: Mutex::new(mood),
            lifetime: Mutex::new(LIFETIME),
            asked: Mutex::default(),
            issued: AtomicU64::new(0),
            in_flight: AtomicU64::new(0),
            most_in_flight: AtomicU64::new(0),
            changed: Notify::new(),
        }))
    }

    pub(crate) fn lifetime(self, lifetime: Duration) -> Self {
        *self.0.lifetime.lock() = lifetime;
        self
    }

    /// How long the tokens live that it issues from now on.
    pub(crate) fn now_gives(&self, lifetime: Duration) {
        *self.0.lifetime.lock() = lifetime;
    }

    pub(crate) fn is(&self, mood: Mood) {
        *self.0.mood.lock() = mood;
    }

    /// What a refusal depended on has changed.
    pub(crate) fn accepts_the_secret_now(&self) {
        self.is(Mood::Issues);
        self.0.changed.notify_waiters();
    }

    /// How often it has been asked, one request at a time.
    pub(crate) fn asked(&self) -> usize {
        assert!(self.0.most_in_flight.load(Ordering::SeqCst) <= 1);
        self.0.asked.lock().len()
    }

    /// How long after one request the next came.
    pub(crate) fn gaps(&self) -> Vec<Duration> {
        let asked = self.0.asked.lock();
        asked.windows(2).map(|pair| pair[1] - pair[0]).collect()
    }

    /// Requests that have not ended.
    pub(crate) fn in_flight(&self) -> u64 {
        self.0.in_flight.load(Ordering::SeqCst)
    }

    /// Whether anybody holds it but the test.
    pub(crate) fn is_held(&self) -> bool {
        Arc::strong_count(&self.0) > 1
    }
}

/// A request, for as long as it lasts.
struct Request<'a>(&'a AtomicU64);

impl<'a> Request<'a> {
    fn begin(inner: &'a Inner) -> Self {
        let now = inner.in_flight.fetch_add(1, Ordering::SeqCst) + 1;
        inner.most_in_flight.fetch_max(now, Ordering::SeqCst);
        Self(&inner.in_flight)
    }
}

impl Drop for Request<'_> {
    fn drop(&mut self) {
        self.0.fetch_sub(1, Ordering::SeqCst);
    }
}

impl Source<AccessToken> for Issuer {
    async fn fetch(
        &self,
        _in_service: Option<Arc<AccessToken>>,
    ) -> Result<Fetched<AccessToken>, FetchError> {
        let inner = &*self.0;
        inner.asked.lock().push(tokio::time::Instant::now());
        let _request = Request::begin(inner);
        let mood = *inner.mood.lock();
        match mood {
            Mood::Down => return Err(FetchError::transient("the issuer is down")),
            Mood::Hangs => std::future::pending().await,
            Mood::Refuses => return Err(FetchError::permanent("invalid_client")),
            Mood::Throttles(pause) => {
                return Err(FetchError::transient("slow down").retry_after(pause));
            }
            Mood::Takes(time) => tokio::time::sleep(time).await,
            Mood::Issues => {}
        }
        let n = inner.issued.fetch_add(1, Ordering::SeqCst) + 1;
        issue(n, *inner.lifetime.lock())
    }

    async fn changed(&self) {
        self.0.changed.notified().await;
    }
}
