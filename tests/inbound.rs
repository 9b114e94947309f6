//! Keys and verification while things change: rotation, floods, outages, under virtual time where
//! no socket is involved and over loopback HTTP where one is.

#![expect(
    clippy::expect_used,
    reason = "a test that cannot be set up has failed"
)]

#[path = "inbound/answers.rs"]
mod answers;
#[path = "inbound/flood.rs"]
mod flood;
#[path = "inbound/hostile.rs"]
mod hostile;
#[path = "inbound/rotation.rs"]
mod rotation;
#[path = "inbound/schedule.rs"]
mod schedule;

use std::sync::Arc;
use std::sync::atomic::{AtomicBool, AtomicU64, Ordering};
use std::time::Duration;

use midil_auth::jwks::{Algorithm, KeySet, RotationPolicy};
use midil_auth::jwt::{VerifierBuilder, VerifyError};
use midil_auth::testing::{SigningKey, SourceFn, TestClock, TestIssuer};
use midil_auth::{Auth, FetchError, Fetched, RefreshPolicy, Start, Verifier};
use parking_lot::Mutex;
use serde_json::json;
use tokio::sync::watch;
use tokio::time::Instant;

const ISSUER: &str = "https://idp.example.test";

/// How long the issuer below takes to answer.
const LATENCY: Duration = Duration::from_millis(20);

/// An issuer made of nothing but keys, under virtual time.
struct Keys {
    clock: TestClock,
    listed: watch::Sender<Vec<Arc<SigningKey>>>,
    down: Arc<AtomicBool>,
    calls: Arc<AtomicU64>,
    /// When each fetch began.
    asked: Arc<Mutex<Vec<Instant>>>,
}

impl Keys {
    async fn start(rotation: RotationPolicy, start: Start) -> (Auth, Self, Verifier) {
        Self::with(|rules| rules.rotation(rotation).start(start)).await
    }

    /// The issuer, and a verifier by the usual rules with a change to them.
    async fn with(
        change: impl FnOnce(VerifierBuilder) -> VerifierBuilder,
    ) -> (Auth, Self, Verifier) {
        let clock = TestClock::virtual_time();
        let auth = Auth::builder()
            .clock(clock.clock())
            .seed(7)
            .start()
            .await
            .expect("started");
        let keys = Self {
            clock,
            listed: watch::Sender::new(vec![key("a")]),
            down: Arc::default(),
            calls: Arc::default(),
            asked: Arc::default(),
        };
        let verifier = keys.verifier(&auth, change).await;
        (auth, keys, verifier)
    }

    /// One more verifier of this issuer.
    async fn verifier(
        &self,
        auth: &Auth,
        change: impl FnOnce(VerifierBuilder) -> VerifierBuilder,
    ) -> Verifier {
        let reader = self.listed.subscribe();
        let (down, asked) = (Arc::clone(&self.down), Arc::clone(&self.asked));
        let calls = Arc::clone(&self.calls);
        let source = SourceFn::new(move |_| {
            calls.fetch_add(1, Ordering::SeqCst);
            asked.lock().push(Instant::now());
            let keys: Vec<_> = reader.borrow().iter().map(|key| key.jwk()).collect();
            let down = down.load(Ordering::SeqCst);
            async move {
                tokio::time::sleep(LATENCY).await;
                if down {
                    return Err(FetchError::transient("the issuer is down"));
                }
                let set = json!({ "keys": keys }).to_string();
                Ok(Fetched::new(KeySet::from_json(set.as_bytes())?))
            }
        });
        let rules = Verifier::builder(ISSUER)
            .audience("orders")
            .key_source(source);
        auth.verifier(change(rules)).await.expect("a verifier")
    }

    fn list(&self, kids: &[Arc<SigningKey>]) {
        self.listed.send_replace(kids.to_vec());
    }

    fn first(&self) -> Arc<SigningKey> {
        Arc::clone(&self.listed.borrow()[0])
    }

    fn fail(&self, down: bool) {
        self.down.store(down, Ordering::SeqCst);
    }

    fn calls(&self) -> u64 {
        self.calls.load(Ordering::SeqCst)
    }

    /// The times between the fetches from the one numbered `first` on.
    fn pauses(&self, first: u64) -> Vec<Duration> {
        let asked = self.asked.lock();
        let asked = &asked[usize::try_from(first).expect("few")..];
        asked.windows(2).map(|pair| pair[1] - pair[0]).collect()
    }

    fn token(&self, key: &SigningKey) -> String {
        let now = self
            .clock
            .now()
            .duration_since(std::time::UNIX_EPOCH)
            .expect("after 1970");
        key.token(&json!({
            "iss": ISSUER, "aud": "orders", "sub": "ada",
            "iat": now.as_secs(), "exp": now.as_secs() + 100_000,
        }))
    }
}

fn key(kid: &str) -> Arc<SigningKey> {
    Arc::new(SigningKey::generate(Algorithm::EdDSA, kid))
}

/// A token under a key id that nobody lists.
fn junk(signer: &SigningKey, kid: impl std::fmt::Display) -> String {
    let header = json!({"alg": signer.algorithm().as_str(), "kid": kid.to_string()});
    signer.token_with_header(&header, &json!({}))
}

async fn settle() {
    for _ in 0..50 {
        tokio::task::yield_now().await;
    }
}

fn is_undecided<T>(result: &Result<T, VerifyError>) -> bool {
    matches!(result, Err(VerifyError::KeysUnavailable { .. }))
}

fn is_unknown<T>(result: &Result<T, VerifyError>) -> bool {
    matches!(result, Err(VerifyError::UnknownKey))
}

/// Rules that fetch often, for tests in real time.
fn hasty(issuer: &TestIssuer) -> VerifierBuilder {
    hastily(issuer.url())
}

fn hastily(issuer: &str) -> VerifierBuilder {
    Verifier::builder(issuer)
        .audience("orders")
        .rotation(
            RotationPolicy::default()
                .interval(Duration::from_millis(50))
                .hint_bounds(Duration::from_millis(50), Duration::from_secs(60)),
        )
        .refresh(
            RefreshPolicy::for_keys()
                .min_interval(Duration::from_millis(10))
                .demand_floor(Duration::from_millis(50))
                .retry(Duration::from_millis(20), Duration::from_millis(100))
                .fetch_timeout(Duration::from_millis(300)),
        )
}

/// Waits until `done`, a bounded time.
async fn eventually(what: &str, mut done: impl FnMut() -> bool) {
    for _ in 0..1_000 {
        if done() {
            return;
        }
        tokio::time::sleep(Duration::from_millis(10)).await;
    }
    unreachable!("{what} did not come about");
}
