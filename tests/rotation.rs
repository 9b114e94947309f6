//! Good tokens at the moments when the keys at hand are the wrong ones, under virtual time.

#![expect(
    clippy::expect_used,
    reason = "a test that cannot be set up has failed"
)]

use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};
use std::time::Duration;

use midil_auth::jwks::{Algorithm, KeySet};
use midil_auth::jwt::VerifyError;
use midil_auth::testing::{SigningKey, SourceFn, TestClock};
use midil_auth::{Auth, Claims, Fetched, Start, Verifier};
use serde_json::json;
use tokio::sync::watch;

const ISSUER: &str = "https://idp.example.test";

/// How long the issuer takes to answer.
const ROUND_TRIP: Duration = Duration::from_millis(100);

/// Keys that are what they were when a fetch began, as those of a slow server are.
struct Issuer {
    _auth: Auth,
    listed: watch::Sender<SigningKey>,
    calls: Arc<AtomicU64>,
}

impl Issuer {
    async fn start(first: SigningKey, start: Start) -> (Self, Verifier) {
        let auth = Auth::builder()
            .clock(TestClock::virtual_time().clock())
            .seed(5)
            .start()
            .await
            .expect("started");
        let (listed, reader) = watch::channel(first);
        let source = SourceFn::new(move |_| {
            let set = json!({"keys": [reader.borrow().jwk()]}).to_string();
            async move {
                tokio::time::sleep(ROUND_TRIP).await;
                Ok(Fetched::new(KeySet::from_json(set.as_bytes())?))
            }
        });
        let calls = source.calls();
        let rules = Verifier::builder(ISSUER)
            .audience("orders")
            .key_source(source)
            .start(start);
        let verifier = auth.verifier(rules).await.expect("a verifier");
        let issuer = Self {
            _auth: auth,
            listed,
            calls,
        };
        (issuer, verifier)
    }

    fn calls(&self) -> u64 {
        self.calls.load(Ordering::SeqCst)
    }
}

fn key(kid: &str) -> SigningKey {
    SigningKey::generate(Algorithm::EdDSA, kid)
}

fn token(key: &SigningKey) -> String {
    key.token(&json!({"iss": ISSUER, "aud": "orders", "exp": 4_000_000_000_u64}))
}

fn verdict(result: Result<Claims, VerifyError>) -> &'static str {
    result.map_or_else(|error| error.as_str(), |_| "accepted")
}

/// The first keys were asked for before the rotation and arrive after it: they say nothing of a
/// token that came in between.
#[tokio::test(start_paused = true)]
async fn a_first_set_from_before_the_token_came_refuses_nobody() {
    let (old, new) = (key("old"), key("new"));
    let token = token(&new);
    let (issuer, verifier) = Issuer::start(old, Start::Background).await;
    tokio::time::sleep(ROUND_TRIP / 2).await;
    assert_eq!(issuer.calls(), 1);
    issuer.listed.send_replace(new);
    assert_eq!(verdict(verifier.verify(&token).await), "accepted");
    assert_eq!(issuer.calls(), 2);
}

/// A fetch that the token itself has caused may say that there is no such key.
#[tokio::test(start_paused = true)]
async fn a_first_set_that_a_token_asked_for_decides_on_it() {
    let token = token(&key("new"));
    let (issuer, verifier) = Issuer::start(key("old"), Start::Lazy).await;
    assert_eq!(issuer.calls(), 0);
    assert_eq!(verdict(verifier.verify(&token).await), "unknown_key");
    assert_eq!(issuer.calls(), 1);
}

/// What the first keys have taken of the caller's patience is gone.
#[tokio::test(start_paused = true)]
async fn first_keys_and_an_unknown_one_share_one_patience() {
    let (auth, old) = (Auth::builder(), key("old"));
    let clock = TestClock::virtual_time().clock();
    let auth = auth.clock(clock).seed(5).start().await.expect("started");
    let source = SourceFn::new(move |call| {
        let set = json!({"keys": [old.jwk()]}).to_string();
        async move {
            tokio::time::sleep(Duration::from_millis(if call == 1 { 900 } else { 9_000 })).await;
            Ok(Fetched::new(KeySet::from_json(set.as_bytes())?))
        }
    });
    let calls = source.calls();
    let rules = Verifier::builder(ISSUER)
        .audience("orders")
        .key_source(source)
        .start(Start::Background);
    let verifier = auth.verifier(rules).await.expect("a verifier");
    tokio::time::sleep(ROUND_TRIP).await;
    let began = tokio::time::Instant::now();
    let token = token(&key("new"));
    assert_eq!(verdict(verifier.verify(&token).await), "keys_unavailable");
    let took = began.elapsed();
    assert!(took <= Duration::from_millis(1_010), "{took:?}");
    assert_eq!(calls.load(Ordering::SeqCst), 2);
}

/// A fetch from before the token came cannot say that there is no such key, but it can bring it:
/// the next one may be further off than the caller's patience.
#[tokio::test(start_paused = true)]
async fn a_set_from_before_the_token_came_may_bring_its_key() {
    let (old, new) = (key("old"), key("new"));
    let (token, junk) = (token(&new), token(&key("junk")));
    let (issuer, verifier) = Issuer::start(old, Start::Wait).await;
    tokio::time::sleep(Duration::from_secs(10)).await;
    issuer.listed.send_replace(new);
    assert_eq!(verdict(verifier.try_verify(&junk)), "keys_unavailable");
    tokio::time::sleep(ROUND_TRIP / 2).await;
    assert_eq!(issuer.calls(), 2);
    assert_eq!(verdict(verifier.verify(&token).await), "accepted");
    assert_eq!(issuer.calls(), 2);
}

/// The same key id with new material looks like a forgery, but not for longer than an unknown key
/// looks unknown.
#[tokio::test(start_paused = true)]
async fn new_material_under_an_old_id_is_looked_for_at_the_first_bad_signature() {
    let (old, new) = (key("same"), key("same"));
    let (before, after) = (token(&old), token(&new));
    let (issuer, verifier) = Issuer::start(old, Start::Wait).await;
    tokio::time::sleep(Duration::from_secs(10)).await;
    issuer.listed.send_replace(new);
    assert_eq!(verdict(verifier.verify(&after).await), "signature");
    tokio::time::sleep(ROUND_TRIP * 2).await;
    assert_eq!(verdict(verifier.verify(&after).await), "accepted");
    assert_eq!(verdict(verifier.verify(&before).await), "signature");
    assert_eq!(issuer.calls(), 2);
}

#[tokio::test(start_paused = true)]
async fn a_flood_of_forged_signatures_spares_the_issuer_and_is_refused_at_once() {
    let good = key("k");
    let (forged, genuine) = (token(&key("k")), token(&good));
    let (issuer, verifier) = Issuer::start(good, Start::Wait).await;
    let began = tokio::time::Instant::now();
    for _ in 0..1_000 {
        assert_eq!(verdict(verifier.verify(&forged).await), "signature");
        assert_eq!(verdict(verifier.try_verify(&forged)), "signature");
        assert_eq!(verdict(verifier.try_verify(&genuine)), "accepted");
        tokio::time::sleep(Duration::from_millis(10)).await;
    }
    // Nobody waited for a fetch, which would have taken a second each.
    let took = began.elapsed();
    assert!(took < Duration::from_secs(12), "{took:?}");
    assert!(issuer.calls() <= 1 + 12 / 2, "{} fetches", issuer.calls());
}
