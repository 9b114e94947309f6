//! Tokens that a verifier remembers: never a verdict that it would not give without.

#![expect(
    clippy::expect_used,
    reason = "a test that cannot be set up has failed"
)]

use std::cell::Cell;
use std::collections::HashSet;
use std::sync::atomic::{AtomicBool, AtomicUsize, Ordering};
use std::sync::{Arc, RwLock};
use std::time::{Duration, UNIX_EPOCH};

use midil_auth::jwks::{Algorithm, KeySet, RotationPolicy};
use midil_auth::jwt::{Refusal, VerifierBuilder, VerifyError};
use midil_auth::testing::{SigningKey, SourceFn, TestClock};
use midil_auth::{Auth, Claims, FetchError, Fetched, RefreshPolicy, Verifier};
use proptest::prelude::*;
use serde::de::IgnoredAny;
use serde::{Deserialize, Deserializer};
use serde_json::{Value, json};
use tokio::sync::watch;

const ISSUER: &str = "https://idp.example.test";
const NOW: u64 = 1_900_000_000;

fn key(kid: &str) -> SigningKey {
    SigningKey::generate(Algorithm::EdDSA, kid)
}

fn set(keys: &[&SigningKey]) -> KeySet {
    let keys: Vec<_> = keys.iter().map(|key| key.jwk()).collect();
    let set = json!({ "keys": keys }).to_string();
    KeySet::from_json(set.as_bytes()).expect("usable keys")
}

fn claims(jti: &str, lifetime: u64) -> Value {
    json!({"iss": ISSUER, "aud": "orders", "sub": "ada", "jti": jti, "iat": NOW, "exp": NOW + lifetime})
}

fn rules() -> VerifierBuilder {
    Verifier::builder(ISSUER).audience("orders")
}

fn verdict<P, C>(result: &Result<Claims<P, C>, VerifyError>) -> &'static str {
    result
        .as_ref()
        .map_or_else(VerifyError::as_str, |_| "accepted")
}

#[test]
fn a_remembered_token_expires_at_exp() {
    let (signer, clock) = (key("a"), TestClock::fixed(NOW));
    let verifier = rules()
        .cache(100)
        .fixed_with_clock(set(&[&signer]), clock.clock())
        .expect("a verifier");
    let token = signer.token(&claims("1", 60));
    for _ in 0..3 {
        assert_eq!(verdict(&verifier.try_verify(&token)), "accepted");
    }
    clock.step_wall(60);
    assert_eq!(verdict(&verifier.try_verify(&token)), "expired");
    clock.step_wall(-120);
    assert_eq!(verdict(&verifier.try_verify(&token)), "not_yet_valid");
}

#[test]
fn a_remembered_token_grows_too_old() {
    let (signer, clock) = (key("a"), TestClock::fixed(NOW));
    let verifier = rules()
        .max_age(Duration::from_secs(100))
        .leeway(Duration::ZERO)
        .cache(100)
        .fixed_with_clock(set(&[&signer]), clock.clock())
        .expect("a verifier");
    let token = signer.token(&claims("1", 1_000));
    assert_eq!(verdict(&verifier.try_verify(&token)), "accepted");
    clock.step_wall(101);
    assert_eq!(verdict(&verifier.try_verify(&token)), "too_old");
}

/// A token that differs anywhere from one that is remembered is another token.
#[test]
fn only_exactly_the_same_token_is_remembered() {
    let signer = key("a");
    let verifier = rules()
        .cache(100)
        .fixed_with_clock(set(&[&signer]), TestClock::fixed(NOW).clock())
        .expect("a verifier");
    let token = signer.token(&claims("1", 60));
    assert_eq!(verdict(&verifier.try_verify(&token)), "accepted");
    let other = signer.token(&claims("2", 60));
    let (signed, signature) = token.rsplit_once('.').expect("three segments");
    let (other_signed, _) = other.rsplit_once('.').expect("three segments");
    let mixed = format!("{other_signed}.{signature}");
    assert_eq!(verdict(&verifier.try_verify(&mixed)), "signature");
    for at in 0..signed.len() {
        let mut forged = token.clone().into_bytes();
        forged[at] = if forged[at] == b'A' { b'B' } else { b'A' };
        let forged = String::from_utf8(forged).expect("ASCII");
        if forged != token {
            assert_ne!(verdict(&verifier.try_verify(&forged)), "accepted", "{at}");
        }
    }
    assert_eq!(verdict(&verifier.try_verify(&token)), "accepted");
}

#[test]
fn two_verifiers_remember_apart() {
    let signer = key("a");
    let build = |audience: &str| {
        Verifier::builder(ISSUER)
            .audience(audience)
            .cache(100)
            .fixed_with_clock(set(&[&signer]), TestClock::fixed(NOW).clock())
            .expect("a verifier")
    };
    let (orders, billing) = (build("orders"), build("billing"));
    let token = signer.token(&claims("1", 60));
    for _ in 0..2 {
        assert_eq!(verdict(&orders.try_verify(&token)), "accepted");
        assert_eq!(verdict(&billing.try_verify(&token)), "audience");
    }
}

/// A user who signs out, a token that is revoked: refused with the next request.
#[test]
fn a_denied_token_is_refused_though_it_is_remembered() {
    let signer = key("a");
    let denied: Arc<RwLock<HashSet<String>>> = Arc::default();
    let list = Arc::clone(&denied);
    let verifier = rules()
        .deny(move |claims| {
            let list = list.read().expect("not poisoned");
            let origin = claims.get("origin_jti");
            let origin = origin.as_ref().and_then(Value::as_str);
            [claims.token_id(), claims.subject(), origin]
                .into_iter()
                .flatten()
                .any(|id| list.contains(id))
        })
        .cache(100)
        .fixed_with_clock(set(&[&signer]), TestClock::fixed(NOW).clock())
        .expect("a verifier");
    let mut of_session = claims("2", 60);
    of_session["origin_jti"] = "session".into();
    let (first, second) = (signer.token(&claims("1", 60)), signer.token(&of_session));
    let judge = || [&first, &second].map(|token| verdict(&verifier.try_verify(token)));
    let deny = |id: &str| denied.write().expect("not poisoned").insert(id.to_owned());
    assert_eq!(judge(), ["accepted", "accepted"]);
    assert_eq!(judge(), ["accepted", "accepted"]);
    deny("1");
    assert_eq!(judge(), ["revoked", "accepted"]);
    deny("session");
    assert_eq!(judge(), ["revoked", "revoked"]);
    denied.write().expect("not poisoned").clear();
    assert_eq!(judge(), ["accepted", "accepted"]);
    deny("ada");
    assert_eq!(judge(), ["revoked", "revoked"]);
    let error = verifier.try_verify(&first).expect_err("revoked");
    assert_eq!(error.status(), http::StatusCode::UNAUTHORIZED);
}

#[test]
fn checks_are_asked_each_time_and_failures_are_not_remembered() {
    let signer = key("a");
    let (open, asked) = (
        Arc::new(AtomicBool::new(false)),
        Arc::new(AtomicUsize::new(0)),
    );
    let (gate, count) = (Arc::clone(&open), Arc::clone(&asked));
    let verifier = rules()
        .check(move |_| {
            count.fetch_add(1, Ordering::SeqCst);
            match gate.load(Ordering::SeqCst) {
                true => Ok(()),
                false => Err(Refusal::forbidden("closed")),
            }
        })
        .cache(100)
        .fixed_with_clock(set(&[&signer]), TestClock::fixed(NOW).clock())
        .expect("a verifier");
    let token = signer.token(&claims("1", 60));
    for (is_open, wanted) in [
        (false, "refused"),
        (true, "accepted"),
        (true, "accepted"),
        (false, "refused"),
    ] {
        open.store(is_open, Ordering::SeqCst);
        assert_eq!(verdict(&verifier.try_verify(&token)), wanted);
    }
    assert_eq!(asked.load(Ordering::SeqCst), 4);
}

#[test]
fn a_type_of_ones_own_is_remembered_with_its_token() {
    #[derive(Clone, Debug, serde::Deserialize, PartialEq)]
    struct Custom {
        jti: String,
    }
    let signer = key("a");
    let verifier = rules()
        .claims::<Custom>()
        .cache(4)
        .fixed_with_clock(set(&[&signer]), TestClock::fixed(NOW).clock())
        .expect("a verifier");
    // More tokens than places, so that some are found and some are not.
    let tokens: Vec<_> = (0..12)
        .map(|n| signer.token(&claims(&n.to_string(), 60)))
        .collect();
    for _ in 0..5 {
        for (n, token) in tokens.iter().enumerate() {
            let claims = verifier.try_verify(token).expect("accepted");
            assert_eq!(claims.custom().jti, n.to_string());
            assert_eq!(claims.token_id(), Some(n.to_string().as_str()));
        }
    }
}

/// What is remembered is neither verified nor read again; how much is remembered is bounded.
#[test]
fn a_token_that_comes_again_is_read_once() {
    thread_local! {
        static READ: Cell<usize> = const { Cell::new(0) };
    }
    #[derive(Clone)]
    struct Counted;
    impl<'de> Deserialize<'de> for Counted {
        fn deserialize<D: Deserializer<'de>>(claims: D) -> Result<Self, D::Error> {
            READ.set(READ.get() + 1);
            IgnoredAny::deserialize(claims).map(|_| Self)
        }
    }
    let signer = key("a");
    let reads = |cache: usize, tokens: &[String]| {
        let verifier = rules()
            .claims::<Counted>()
            .check(|claims| match claims.token_id() {
                Some("refused") => Err(Refusal::invalid("refused")),
                _ => Ok(()),
            })
            .cache(cache)
            .fixed_with_clock(set(&[&signer]), TestClock::fixed(NOW).clock())
            .expect("a verifier");
        let before = READ.get();
        for token in tokens.iter().chain(tokens).chain(tokens) {
            let verdict = verdict(&verifier.try_verify(token));
            assert!(matches!(verdict, "accepted" | "refused"), "{verdict}");
        }
        READ.get() - before
    };
    let tokens: Vec<_> = (0..9)
        .map(|n| signer.token(&claims(&n.to_string(), 60)))
        .collect();
    assert_eq!(reads(0, &tokens[..1]), 3);
    assert_eq!(reads(8, &tokens[..1]), 1);
    assert_eq!(reads(8, &tokens[..8]), 8);
    // Each takes the place of the one that comes next.
    assert_eq!(reads(8, &tokens), 27);
    assert_eq!(reads(64, &tokens), 9);
    let many: Vec<_> = (0..192)
        .map(|n| signer.token(&claims(&n.to_string(), 60)))
        .collect();
    // Three quarters full, and hardly any two push each other out.
    let again = reads(256, &many) - many.len();
    assert!(again < 10, "{again} were read again");
    assert_eq!(reads(8, &[signer.token(&claims("refused", 60))]), 3);
    let padded = |bytes: usize| {
        let mut claims = claims("1", 60);
        claims["padding"] = "x".repeat(bytes).into();
        signer.token(&claims)
    };
    let (fits, too_large) = (5_000..)
        .map(|bytes| (padded(bytes), padded(bytes + 1)))
        .find(|(_, larger)| larger.len() > 8 * 1024)
        .expect("one of them is the first");
    assert_eq!(fits.len(), 8 * 1024);
    assert_eq!(reads(8, &[fits]), 1);
    assert_eq!(reads(8, &[too_large]), 3);
}

#[test]
fn a_cache_is_set_last_and_within_bounds() {
    let field = |builder: VerifierBuilder| {
        let keys = set(&[&key("a")]);
        builder.fixed(keys).expect_err("refused").field().to_owned()
    };
    assert_eq!(field(rules().cache(1_000_001)), "cache");
    assert!(rules().cache(1_000_000).fixed(set(&[&key("a")])).is_ok());
    let late = rules().cache(10).id_token().fixed(set(&[&key("a")]));
    assert_eq!(late.expect_err("refused").field(), "id_token");
}

/// An issuer made of nothing but keys, kept fresh under virtual time.
struct Rotating {
    _auth: Auth,
    clock: TestClock,
    listed: watch::Sender<Option<Vec<Arc<SigningKey>>>>,
}

impl Rotating {
    async fn start(first: &Arc<SigningKey>) -> (Self, Verifier) {
        let clock = TestClock::virtual_time();
        let auth = Auth::builder()
            .clock(clock.clock())
            .seed(1)
            .start()
            .await
            .expect("started");
        let (listed, reader) = watch::channel(Some(vec![Arc::clone(first)]));
        let source = SourceFn::new(move |_| {
            let keys = reader.borrow().clone();
            async move {
                let keys = keys.ok_or(FetchError::transient("down"))?;
                Ok(Fetched::new(set(&keys
                    .iter()
                    .map(|key| &**key)
                    .collect::<Vec<_>>())))
            }
        });
        let interval = Duration::from_secs(10);
        let rules = rules()
            .key_source(source)
            .rotation(
                RotationPolicy::default()
                    .interval(interval)
                    .hint_bounds(interval, interval)
                    .max_stale(Duration::from_secs(300)),
            )
            .refresh(RefreshPolicy::for_keys().jitter(0.0))
            .cache(64);
        let verifier = auth.verifier(rules).await.expect("a verifier");
        let rotating = Self {
            _auth: auth,
            clock,
            listed,
        };
        (rotating, verifier)
    }

    fn list(&self, keys: &[&Arc<SigningKey>]) {
        let keys = keys.iter().map(|key| Arc::clone(key)).collect();
        self.listed.send_replace(Some(keys));
    }

    /// Lets time pass, and the actor do what is due.
    async fn advance(&self, seconds: u64) {
        self.clock.advance(Duration::from_secs(seconds)).await;
        for _ in 0..50 {
            tokio::task::yield_now().await;
        }
    }

    fn token(&self, key: &SigningKey, jti: &str, lifetime: u64) -> String {
        let now = self
            .clock
            .now()
            .duration_since(UNIX_EPOCH)
            .expect("after 1970");
        let mut claims = claims(jti, 0);
        claims["iat"] = now.as_secs().into();
        claims["exp"] = (now.as_secs() + lifetime).into();
        key.token(&claims)
    }
}

#[tokio::test(start_paused = true)]
async fn an_entry_dies_with_its_key() {
    let (a, b) = (Arc::new(key("a")), Arc::new(key("b")));
    let (issuer, verifier) = Rotating::start(&a).await;
    let token = issuer.token(&a, "1", 10_000);
    for _ in 0..2 {
        assert_eq!(verdict(&verifier.try_verify(&token)), "accepted");
    }
    // Another key beside it changes nothing.
    issuer.list(&[&a, &b]);
    issuer.advance(11).await;
    assert_eq!(verifier.keys().expect("keys").len(), 2);
    assert_eq!(verdict(&verifier.try_verify(&token)), "accepted");
    // Its own key removed: refused from the very publication on.
    issuer.list(&[&b]);
    issuer.advance(11).await;
    assert_eq!(verdict(&verifier.verify(&token).await), "unknown_key");
    // Back again: verified anew.
    issuer.list(&[&a]);
    issuer.advance(11).await;
    assert_eq!(verdict(&verifier.try_verify(&token)), "accepted");
    // New material under the same id.
    issuer.list(&[&Arc::new(key("a"))]);
    issuer.advance(11).await;
    assert_eq!(verdict(&verifier.try_verify(&token)), "signature");
    // The same id twice: as ambiguous as without a cache.
    issuer.list(&[&a, &Arc::new(key("a"))]);
    issuer.advance(11).await;
    assert_eq!(verdict(&verifier.try_verify(&token)), "ambiguous");
}

#[tokio::test(start_paused = true)]
async fn keys_that_grew_too_old_verify_no_remembered_token() {
    let a = Arc::new(key("a"));
    let (issuer, verifier) = Rotating::start(&a).await;
    let token = issuer.token(&a, "1", 10_000);
    assert_eq!(verdict(&verifier.try_verify(&token)), "accepted");
    issuer.listed.send_replace(None);
    issuer.advance(290).await;
    assert_eq!(verdict(&verifier.try_verify(&token)), "accepted");
    issuer.advance(11).await;
    assert_eq!(verdict(&verifier.try_verify(&token)), "keys_unavailable");
}

/// While keys are swapped as fast as they can be, a removed key is never honoured once the set
/// without it is in service.
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn no_remembered_token_outlives_a_swap_of_keys() {
    let (a, b) = (key("a"), key("b"));
    let both = [set(&[&a]).kids().count(), set(&[&b]).kids().count()];
    assert_eq!(both, [1, 1]);
    let (jwk_a, jwk_b) = (a.jwk(), b.jwk());
    let auth = Auth::start().await.expect("started");
    let source = SourceFn::new(move |call| {
        let jwk = if call % 2 == 1 {
            jwk_a.clone()
        } else {
            jwk_b.clone()
        };
        async move {
            let set = json!({ "keys": [jwk] }).to_string();
            Ok(Fetched::new(KeySet::from_json(set.as_bytes())?))
        }
    });
    let least = Duration::from_millis(10);
    let rules = rules()
        .key_source(source)
        .rotation(
            RotationPolicy::default()
                .interval(least)
                .hint_bounds(least, least),
        )
        .refresh(
            RefreshPolicy::for_keys()
                .min_interval(least)
                .demand_floor(least),
        )
        .cache(16);
    let verifier = auth.verifier(rules).await.expect("a verifier");
    let claims = json!({"iss": ISSUER, "aud": "orders", "exp": 4_000_000_000_u64});
    let tokens = [("a", a.token(&claims)), ("b", b.token(&claims))];
    let readers: Vec<_> = (0..2)
        .map(|_| {
            let (verifier, tokens) = (verifier.clone(), tokens.clone());
            tokio::task::spawn_blocking(move || {
                let mut accepted = [0_u32; 2];
                let mut rounds = 0_u32;
                while accepted.iter().any(|&n| n < 20) {
                    rounds += 1;
                    assert!(rounds < 50_000_000, "the keys never changed: {accepted:?}");
                    let before = verifier.keys().expect("keys");
                    let listed = before.kids().next();
                    for ((kid, token), accepted) in tokens.iter().zip(&mut accepted) {
                        let verdict = verifier.try_verify(token);
                        let after = verifier.keys().expect("keys");
                        // Only a verdict between two looks at the same set can be judged; one
                        // that lists the same key may be the next but one.
                        if Arc::ptr_eq(&before, &after) {
                            assert_eq!(verdict.is_ok(), listed == Some(*kid));
                        }
                        *accepted += u32::from(verdict.is_ok());
                    }
                }
            })
        })
        .collect();
    for reader in readers {
        reader.await.expect("no reader saw a removed key honoured");
    }
}

#[derive(Clone, Debug)]
enum Step {
    Verify { key: usize, token: usize },
    List(Vec<usize>),
    Down,
    Advance(u64),
}

fn step() -> impl Strategy<Value = Step> {
    prop_oneof![
        6 => (0_usize..3, 0_usize..3).prop_map(|(key, token)| Step::Verify { key, token }),
        2 => prop::collection::vec(0_usize..4, 1..4).prop_map(Step::List),
        1 => Just(Step::Down),
        2 => (1_u64..120).prop_map(Step::Advance),
    ]
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(64))]

    /// Whatever happens to keys, tokens and clocks: the same verdict as without a cache.
    #[test]
    fn a_cache_changes_no_verdict(steps in prop::collection::vec(step(), 1..60)) {
        let runtime = tokio::runtime::Builder::new_current_thread()
            .enable_time()
            .start_paused(true)
            .build()
            .expect("a runtime");
        runtime.block_on(async {
            // The last has the id of the first.
            let keys = ["a", "b", "c", "a"].map(|kid| Arc::new(key(kid)));
            let (issuer, verifier) = Rotating::start(&keys[0]).await;
            let tokens: Vec<Vec<_>> = keys[..3]
                .iter()
                .map(|key| [60, 600, 6_000].iter().map(|&life| issuer.token(key, "1", life)).collect())
                .collect();
            for step in &steps {
                match step {
                    Step::Verify { key, token } => {
                        let token: &String = &tokens[*key][*token];
                        let with = verdict(&verifier.try_verify(token));
                        let without = verifier.keys().map_or("keys_unavailable", |keys| {
                            let plain = rules()
                                .fixed_with_clock(keys, issuer.clock.clock())
                                .expect("a verifier");
                            // Of a fixed set it is known that it will have no other key.
                            match verdict(&plain.try_verify(token)) {
                                "unknown_key" => "keys_unavailable",
                                other => other,
                            }
                        });
                        prop_assert_eq!(with, without, "{:?}", steps);
                    }
                    Step::List(kept) => {
                        let kept: Vec<_> = kept.iter().map(|&n| &keys[n]).collect();
                        issuer.list(&kept);
                    }
                    Step::Down => {
                        issuer.listed.send_replace(None);
                    }
                    Step::Advance(seconds) => {
                        issuer.advance(*seconds).await;
                    }
                }
            }
            Ok(())
        })?;
    }
}
