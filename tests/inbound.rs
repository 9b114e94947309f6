//! Keys and verification while things change: rotation, floods, outages, under virtual time where
//! no socket is involved and over loopback HTTP where one is.

#![expect(
    clippy::expect_used,
    reason = "a test that cannot be set up has failed"
)]

use std::sync::Arc;
use std::sync::atomic::{AtomicBool, AtomicU64, Ordering};
use std::time::Duration;

use midil_auth::event::{Actor, Change};
use midil_auth::jwks::{Algorithm, KeySet, RotationPolicy};
use midil_auth::jwt::VerifyError;
use midil_auth::testing::{Endpoint, Fault, SigningKey, SourceFn, TestClock, TestIssuer};
use midil_auth::{Auth, AuthError, FetchError, Fetched, RefreshPolicy, Start, Verifier};
use serde_json::json;
use tokio::sync::watch;
use tokio::task::JoinSet;

const ISSUER: &str = "https://idp.example.test";

/// An issuer made of nothing but keys, under virtual time.
struct Keys {
    clock: TestClock,
    listed: watch::Sender<Vec<Arc<SigningKey>>>,
    down: Arc<AtomicBool>,
    calls: Arc<AtomicU64>,
}

impl Keys {
    async fn start(rotation: RotationPolicy, start: Start) -> (Auth, Self, Verifier) {
        let clock = TestClock::virtual_time();
        let auth = Auth::builder()
            .clock(clock.clock())
            .seed(7)
            .start()
            .await
            .expect("started");
        let (listed, reader) = watch::channel(vec![key("a")]);
        let down = Arc::new(AtomicBool::new(false));
        let gate = Arc::clone(&down);
        let source = SourceFn::new(move |_| {
            let keys: Vec<_> = reader.borrow().iter().map(|key| key.jwk()).collect();
            let down = gate.load(Ordering::SeqCst);
            async move {
                tokio::time::sleep(Duration::from_millis(20)).await;
                if down {
                    return Err(FetchError::transient("the issuer is down"));
                }
                let set = json!({ "keys": keys }).to_string();
                Ok(Fetched::new(KeySet::from_json(set.as_bytes())?))
            }
        });
        let calls = source.calls();
        let rules = Verifier::builder(ISSUER)
            .audience("orders")
            .key_source(source)
            .rotation(rotation)
            .start(start);
        let verifier = auth.verifier(rules).await.expect("a verifier");
        (
            auth,
            Self {
                clock,
                listed,
                down,
                calls,
            },
            verifier,
        )
    }

    fn list(&self, kids: &[Arc<SigningKey>]) {
        self.listed.send_replace(kids.to_vec());
    }

    fn first(&self) -> Arc<SigningKey> {
        Arc::clone(&self.listed.borrow()[0])
    }

    fn calls(&self) -> u64 {
        self.calls.load(Ordering::SeqCst)
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

async fn settle() {
    for _ in 0..50 {
        tokio::task::yield_now().await;
    }
}

fn is_undecided<T>(result: &Result<T, VerifyError>) -> bool {
    matches!(result, Err(VerifyError::KeysUnavailable { .. }))
}

#[tokio::test(start_paused = true)]
async fn a_cold_start_with_fifty_requests_costs_one_fetch_and_serves_all() {
    let (_auth, keys, verifier) = Keys::start(RotationPolicy::default(), Start::Lazy).await;
    let token = keys.token(&keys.first());
    let mut requests = JoinSet::new();
    for _ in 0..50 {
        let (verifier, token) = (verifier.clone(), token.clone());
        requests.spawn(async move { verifier.verify(&token).await.map(drop) });
    }
    while let Some(verdict) = requests.join_next().await {
        verdict.expect("no panic").expect("accepted");
    }
    assert_eq!(keys.calls(), 1);
}

#[tokio::test(start_paused = true)]
async fn a_flood_of_random_kids_locks_nobody_out_and_spares_the_issuer() {
    let (_auth, keys, verifier) = Keys::start(RotationPolicy::default(), Start::Wait).await;
    let known = keys.token(&keys.first());
    let rotated = key("b");
    let good = keys.token(&rotated);
    let junk = key("junk");
    let began = keys.calls();
    let mut flood = JoinSet::new();
    for task in 0..50 {
        let (verifier, junk) = (verifier.clone(), Arc::clone(&junk));
        flood.spawn(async move {
            for n in 0..200 {
                let header = json!({"alg": "EdDSA", "kid": format!("{task}-{n}")});
                let token = junk.token_with_header(&header, &json!({}));
                let verdict =
                    tokio::time::timeout(Duration::from_millis(50), verifier.verify(&token));
                // A client that goes away; those that stay learn that it is undecided or unknown.
                if let Ok(verdict) = verdict.await {
                    assert!(
                        is_undecided(&verdict) || matches!(verdict, Err(VerifyError::UnknownKey))
                    );
                }
            }
        });
    }
    tokio::time::sleep(Duration::from_secs(3)).await;
    assert!(
        verifier.try_verify(&known).is_ok(),
        "known kids are untouched"
    );
    keys.list(&[keys.first(), rotated]);
    let published = keys.clock.now();
    let accepted = loop {
        match verifier.verify(&good).await {
            Ok(_) => break keys.clock.now(),
            refused => assert!(
                is_undecided(&refused),
                "never a 401 for a good token: {refused:?}"
            ),
        }
    };
    let took = accepted.duration_since(published).expect("later");
    assert!(
        took <= Duration::from_millis(2_100),
        "floor plus round trip, not {took:?}"
    );
    while let Some(done) = flood.join_next().await {
        done.expect("no panic");
    }
    let fetches = keys.calls() - began;
    assert!(fetches <= 7, "{fetches} fetches in ten seconds of flood");
}

#[tokio::test(start_paused = true)]
async fn an_unknown_key_is_refused_only_by_a_fetch_that_began_after_the_token_came() {
    let (_auth, keys, verifier) = Keys::start(RotationPolicy::default(), Start::Wait).await;
    let token = keys.token(&key("never-listed"));
    assert!(
        is_undecided(&verifier.try_verify(&token)),
        "undecided without a fetch"
    );
    settle().await;
    let before = keys.calls();
    let verdict = verifier.verify(&token).await;
    // The fetch of the demand above may have begun before this call, and then does not count.
    assert!(is_undecided(&verdict) || matches!(verdict, Err(VerifyError::UnknownKey)));
    tokio::time::sleep(Duration::from_secs(5)).await;
    assert!(matches!(
        verifier.verify(&token).await,
        Err(VerifyError::UnknownKey)
    ));
    assert!(keys.calls() > before);
    keys.down.store(true, Ordering::SeqCst);
    tokio::time::sleep(Duration::from_secs(5)).await;
    let verdict = verifier.verify(&token).await;
    assert!(is_undecided(&verdict), "no fetch, no verdict: {verdict:?}");
}

#[tokio::test(start_paused = true)]
async fn a_removed_key_is_refused_from_the_next_refresh_on() {
    let (auth, keys, verifier) = Keys::start(RotationPolicy::default(), Start::Wait).await;
    let mut events = auth.events();
    let old = keys.token(&keys.first());
    assert!(verifier.try_verify(&old).is_ok());
    keys.list(&[key("b")]);
    keys.clock.advance(Duration::from_secs(301)).await;
    tokio::time::sleep(Duration::from_millis(50)).await;
    assert!(is_undecided(&verifier.try_verify(&old)));
    tokio::time::sleep(Duration::from_secs(3)).await;
    assert!(matches!(
        verifier.verify(&old).await,
        Err(VerifyError::UnknownKey)
    ));
    let event = events.recv().await.expect("an event");
    let Change::Rotated {
        added,
        removed,
        replaced,
        ..
    } = &event.change
    else {
        unreachable!("a rotation, not {event}");
    };
    assert_eq!(
        (&added[..], &removed[..], replaced.len()),
        (&["b".into()][..], &["a".into()][..], 0)
    );
}

#[tokio::test(start_paused = true)]
async fn a_token_without_a_kid_survives_a_rotation_too() {
    let (_auth, keys, verifier) = Keys::start(RotationPolicy::default(), Start::Wait).await;
    let (old, new) = (keys.first(), key("b"));
    let anonymous = |key: &SigningKey| {
        let claims = json!({"iss": ISSUER, "aud": "orders", "exp": 4_000_000_000_u64});
        key.token_with_header(&json!({"alg": "EdDSA"}), &claims)
    };
    assert!(verifier.verify(&anonymous(&old)).await.is_ok());
    keys.list(&[Arc::clone(&new)]);
    assert!(
        verifier.verify(&anonymous(&new)).await.is_ok(),
        "fetched when it was needed"
    );
    assert_eq!(keys.calls(), 2);
    tokio::time::sleep(Duration::from_secs(3)).await;
    assert!(matches!(
        verifier.verify(&anonymous(&old)).await,
        Err(VerifyError::Signature)
    ));
}

#[tokio::test(start_paused = true)]
async fn new_material_under_an_old_kid_replaces_the_old() {
    let (auth, keys, verifier) = Keys::start(RotationPolicy::default(), Start::Wait).await;
    let mut events = auth.events();
    let (old, new) = (keys.first(), key("a"));
    keys.list(&[Arc::clone(&new)]);
    keys.clock.advance(Duration::from_secs(301)).await;
    tokio::time::sleep(Duration::from_millis(50)).await;
    assert!(matches!(
        verifier.try_verify(&keys.token(&old)),
        Err(VerifyError::Signature)
    ));
    assert!(verifier.try_verify(&keys.token(&new)).is_ok());
    let event = events.recv().await.expect("an event");
    assert!(
        matches!(&event.change, Change::Rotated { replaced, .. } if *replaced == ["a"]),
        "{event}"
    );
}

#[tokio::test(start_paused = true)]
async fn keys_outlive_an_outage_but_not_max_stale() {
    let rotation = RotationPolicy::default().max_stale(Duration::from_secs(3600));
    let (auth, keys, verifier) = Keys::start(rotation, Start::Wait).await;
    let mut events = auth.events();
    let token = keys.token(&keys.first());
    keys.down.store(true, Ordering::SeqCst);
    for _ in 0..59 {
        tokio::time::sleep(Duration::from_secs(60)).await;
        assert!(verifier.try_verify(&token).is_ok());
    }
    tokio::time::sleep(Duration::from_secs(90)).await;
    let verdict = verifier.try_verify(&token);
    assert!(
        is_undecided(&verdict),
        "fails closed, and not with a 401: {verdict:?}"
    );
    assert_eq!(verdict.expect_err("closed").status(), 503);
    assert!(!auth.health().ready);
    let mut expired = false;
    while let Ok(Ok(event)) = tokio::time::timeout(Duration::ZERO, events.recv()).await {
        expired |= matches!(event.change, Change::Expired { .. });
    }
    assert!(expired);
    keys.down.store(false, Ordering::SeqCst);
    tokio::time::sleep(Duration::from_secs(61)).await;
    assert!(verifier.try_verify(&token).is_ok(), "heals by itself");
}

#[tokio::test(start_paused = true)]
async fn a_crashed_jwks_actor_is_back_without_a_fetch_or_a_refusal() {
    let (auth, keys, verifier) = Keys::start(RotationPolicy::default(), Start::Wait).await;
    let token = keys.token(&keys.first());
    let calls = keys.calls();
    auth.crash(Actor::Jwks);
    for _ in 0..200 {
        assert!(verifier.try_verify(&token).is_ok());
        tokio::time::sleep(Duration::from_millis(1)).await;
    }
    assert_eq!(keys.calls(), calls);
    let rotated = key("b");
    keys.list(&[Arc::clone(&rotated)]);
    assert!(
        verifier.verify(&keys.token(&rotated)).await.is_ok(),
        "and works"
    );
}

#[tokio::test]
async fn keys_of_one_issuer_never_verify_tokens_of_another() {
    let (good, evil) = (
        TestIssuer::start().await.expect("up"),
        TestIssuer::start().await.expect("up"),
    );
    let auth = Auth::start().await.expect("started");
    let verifier = auth
        .verifier(Verifier::builder(good.url()).audience("orders"))
        .await
        .expect("a verifier");
    let _other = auth
        .verifier(Verifier::builder(evil.url()).audience("orders"))
        .await
        .expect("a verifier");
    assert!(
        verifier
            .verify(&good.mint(json!({"aud": "orders"})))
            .await
            .is_ok()
    );
    let forged = evil.mint(json!({"aud": "orders", "iss": good.url()}));
    assert!(matches!(
        verifier.verify(&forged).await,
        Err(VerifyError::Signature)
    ));
    let foreign = good.mint(json!({"aud": "orders", "iss": evil.url()}));
    assert!(matches!(
        verifier.verify(&foreign).await,
        Err(VerifyError::Issuer)
    ));
    let by_another_key = good.mint_forged(json!({"aud": "orders"}));
    assert!(matches!(
        verifier.verify(&by_another_key).await,
        Err(VerifyError::Signature)
    ));
    let expired = good.mint_expired(json!({"aud": "orders"}));
    assert!(matches!(
        verifier.verify(&expired).await,
        Err(VerifyError::Expired)
    ));
}

/// Rules that fetch often, for tests in real time.
fn hasty(issuer: &TestIssuer) -> midil_auth::jwt::VerifierBuilder {
    Verifier::builder(issuer.url())
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

#[tokio::test]
async fn a_good_set_survives_every_bad_answer() {
    let issuer = TestIssuer::start().await.expect("up");
    let auth = Auth::start().await.expect("started");
    let verifier = auth
        .verifier(hasty(&issuer).jwks_url(issuer.jwks_url()))
        .await
        .expect("a verifier");
    let token = issuer.mint(json!({"aud": "orders"}));
    let foreign = json!({"keys": [key("evil").jwk()]}).to_string();
    let respond = |status, body: &str| Fault::Respond {
        status,
        headers: Vec::new(),
        body: body.to_owned(),
    };
    for fault in [
        respond(200, r#"{"keys":[]}"#),
        respond(200, r#"{"keys":[{"kty":"oct","k":"AAAA"}]}"#),
        respond(200, r#"{"keys":{}}"#),
        respond(200, "[]"),
        respond(200, ""),
        respond(204, ""),
        respond(500, &foreign),
        respond(503, r#"{"keys":[]}"#),
        respond(404, &foreign),
        respond(201, &foreign),
        Fault::Html,
        Fault::Truncate,
        Fault::Huge(600 * 1024),
        Fault::Reset,
        Fault::Hang,
        Fault::Drip,
        Fault::Throttle(0),
        Fault::Redirect("http://127.0.0.1:1/jwks".to_owned()),
    ] {
        let mut events = auth.events();
        issuer.fail(Endpoint::Jwks, fault.clone());
        let error = loop {
            let next = tokio::time::timeout(Duration::from_secs(10), events.recv()).await;
            let event = next.unwrap_or_else(|_| unreachable!("{fault:?} went unnoticed"));
            let event = event.expect("an event");
            assert!(verifier.try_verify(&token).is_ok(), "{fault:?}");
            match event.change {
                Change::RefreshFailed { error, holding, .. } => {
                    assert!(holding);
                    break error;
                }
                Change::Rotated { .. } => unreachable!("{fault:?} replaced a good set"),
                _ => {}
            }
        };
        assert!(error.is_transient(), "{fault:?}: {error}");
        issuer.recover();
        eventually("recovery", || auth.health().keys[0].failures == 0).await;
    }
    assert_eq!(auth.health().keys[0].kids, ["key-1"]);
}

#[tokio::test]
async fn an_unchanged_set_is_neither_sent_nor_parsed_again() {
    let issuer = TestIssuer::start().await.expect("up");
    let auth = Auth::start().await.expect("started");
    let _verifier = auth
        .verifier(hasty(&issuer).jwks_url(issuer.jwks_url()))
        .await
        .expect("a verifier");
    eventually("revalidation", || issuer.counts().jwks_unchanged >= 5).await;
    let counts = issuer.counts();
    assert!(counts.jwks - counts.jwks_unchanged <= 1, "{counts:?}");
    assert_eq!(auth.health().keys[0].version, 1);
}

#[tokio::test]
async fn the_servers_hint_sets_the_schedule_within_bounds() {
    let issuer = TestIssuer::builder()
        .max_age(3600)
        .start()
        .await
        .expect("up");
    let auth = Auth::start().await.expect("started");
    let _verifier = auth
        .verifier(hasty(&issuer).jwks_url(issuer.jwks_url()))
        .await
        .expect("a verifier");
    tokio::time::sleep(Duration::from_millis(400)).await;
    assert_eq!(
        issuer.counts().jwks,
        1,
        "an hour, kept to a minute, not 50 ms"
    );
}

#[tokio::test]
async fn discovery_believes_only_the_issuer_it_asked_for() {
    let issuer = TestIssuer::start().await.expect("up");
    let auth = Auth::start().await.expect("started");
    let document = format!("{}/.well-known/openid-configuration", issuer.url());
    for other in [
        format!("{}/", issuer.url()),
        issuer.url().replace("127.0.0.1", "localhost"),
    ] {
        let rules = Verifier::builder(other)
            .audience("orders")
            .discovery_url(&document)
            .refresh(RefreshPolicy::for_keys().ready_timeout(Duration::from_millis(200)));
        let error = auth.verifier(rules).await.expect_err("another issuer");
        assert!(matches!(error, AuthError::Unavailable(_)));
        assert!(error.to_string().contains("not of"), "{error}");
    }
    for jwks_uri in ["http://idp.example.com/jwks", "file:///etc/passwd", "jwks"] {
        let body = json!({"issuer": issuer.url(), "jwks_uri": jwks_uri}).to_string();
        issuer.fail_next(
            Endpoint::Discovery,
            1,
            Fault::Respond {
                status: 200,
                headers: vec![],
                body,
            },
        );
        let rules = hasty(&issuer)
            .refresh(RefreshPolicy::for_keys().ready_timeout(Duration::from_millis(200)));
        let error = auth.verifier(rules).await.expect_err("a key set elsewhere");
        assert!(error.to_string().contains("jwks_uri"), "{error}");
    }
}

#[tokio::test]
async fn a_verifier_started_while_the_issuer_is_down_heals() {
    let issuer = TestIssuer::start().await.expect("up");
    issuer.fail(Endpoint::Discovery, Fault::Status(503));
    let auth = Auth::start().await.expect("started");
    let verifier = auth
        .verifier(hasty(&issuer).start(Start::Background))
        .await
        .expect("a verifier");
    let token = issuer.mint(json!({"aud": "orders"}));
    let verdict = verifier.verify(&token).await;
    assert!(is_undecided(&verdict), "{verdict:?}");
    issuer.recover();
    eventually("the first keys", || verifier.try_verify(&token).is_ok()).await;
}

#[tokio::test]
async fn a_hanging_endpoint_does_not_touch_known_kids() {
    let issuer = TestIssuer::start().await.expect("up");
    let auth = Auth::start().await.expect("started");
    let verifier = auth.verifier(hasty(&issuer)).await.expect("a verifier");
    let token = issuer.mint(json!({"aud": "orders"}));
    issuer.fail(Endpoint::Jwks, Fault::Hang);
    let before = auth.messages_sent();
    for _ in 0..100 {
        // Not one await between the two: nothing here can wait for the network.
        assert!(verifier.try_verify(&token).is_ok());
        tokio::time::sleep(Duration::from_millis(5)).await;
    }
    assert_eq!(auth.messages_sent(), before);
}
