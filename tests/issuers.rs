//! Issuers, one or several: which is asked, what its metadata may say, and what it may withdraw.

#![expect(
    clippy::expect_used,
    reason = "a test that cannot be set up has failed"
)]

use std::sync::Arc;
use std::time::Duration;

use midil_auth::event::{Change, Events};
use midil_auth::jwks::{Algorithm, KeySet, KeySetLimits, RotationPolicy};
use midil_auth::jwt::{Issuers, JwsRules, VerifierBuilder, VerifyError};
use midil_auth::testing::{Endpoint, Fault, SigningKey, SourceFn, TestClock, TestIssuer};
use midil_auth::{Auth, AuthzProvider, Claims, Fetched, RefreshPolicy, Start, Verifier};
use serde_json::{Value, json};

async fn issuer() -> TestIssuer {
    TestIssuer::start().await.expect("up")
}

async fn auth() -> Auth {
    Auth::start().await.expect("started")
}

fn for_orders(url: impl Into<String>) -> VerifierBuilder {
    Verifier::builder(url).audience("orders").refresh(
        RefreshPolicy::for_keys()
            .min_interval(Duration::from_millis(10))
            .demand_floor(Duration::from_millis(50))
            .retry(Duration::from_millis(20), Duration::from_millis(100))
            .ready_timeout(Duration::from_millis(500)),
    )
}

fn ours(claims: Value) -> Value {
    let mut all = json!({"aud": "orders", "sub": "ada"});
    for (name, value) in claims.as_object().expect("claims") {
        all[name] = value.clone();
    }
    all
}

fn verdict<P, C>(result: &Result<Claims<P, C>, VerifyError>) -> &'static str {
    result
        .as_ref()
        .map_or_else(VerifyError::as_str, |_| "accepted")
}

#[tokio::test]
async fn each_issuer_s_tokens_are_judged_by_its_own_keys_and_rules() {
    let (one, other) = (issuer().await, issuer().await);
    let auth = auth().await;
    let issuers = Issuers::new();
    let rules = for_orders(one.url());
    issuers.insert(auth.verifier(rules).await.expect("a verifier"));
    let rules = for_orders(other.url()).require_scope("orders/read");
    issuers.insert(auth.verifier(rules).await.expect("a verifier"));
    let mut names = issuers.issuers();
    names.sort();
    let mut wanted = [one.url().to_owned(), other.url().to_owned()];
    wanted.sort();
    assert_eq!(names, wanted);

    for (token, wanted) in [
        (one.mint(ours(json!({}))), "accepted"),
        (other.mint(ours(json!({}))), "scope"),
        (
            other.mint(ours(json!({"scope": "orders/read"}))),
            "accepted",
        ),
        // Signed by one issuer in the name of the other, whose key has the same id.
        (one.mint(ours(json!({"iss": other.url()}))), "signature"),
        (other.mint(ours(json!({"iss": one.url()}))), "signature"),
        (
            one.mint(ours(json!({"iss": [one.url(), other.url()]}))),
            "invalid_claim",
        ),
        (one.mint(ours(json!({"iss": null}))), "invalid_claim"),
        (
            one.mint(ours(json!({"iss": format!("{}/", one.url())}))),
            "issuer",
        ),
        (
            one.mint(ours(json!({"iss": "https://stranger.example"}))),
            "issuer",
        ),
        (one.mint_expired(ours(json!({}))), "expired"),
        (one.mint_forged(ours(json!({}))), "signature"),
        ("a.b.c".to_owned(), "malformed"),
        (String::new(), "malformed"),
        ("x".repeat(64 * 1024), "too_large"),
    ] {
        assert_eq!(verdict(&issuers.verify(&token).await), wanted, "{token}");
        assert_eq!(verdict(&issuers.try_verify(&token)), wanted, "{token}");
    }
    // As the application's interface, too.
    let provider: Arc<dyn AuthzProvider> = Arc::new(issuers);
    let claims = provider
        .verify(&one.mint(ours(json!({}))))
        .await
        .expect("accepted");
    assert_eq!(claims.subject(), Some("ada"));
}

/// Whoever can write a token can write any `iss` and any `kid`; nobody is asked about it.
#[tokio::test]
async fn a_token_of_an_unknown_issuer_costs_no_request() {
    let (known, stranger) = (issuer().await, issuer().await);
    let auth = auth().await;
    let issuers = Issuers::new();
    let verifier = auth
        .verifier(for_orders(known.url()))
        .await
        .expect("a verifier");
    issuers.insert(verifier);
    let (before, messages) = (known.counts(), auth.messages_sent());
    for n in 0..100 {
        let kid = format!("kid-{n}");
        let key = SigningKey::generate(Algorithm::EdDSA, kid);
        let token =
            key.token(&json!({"iss": stranger.url(), "aud": "orders", "exp": 4_000_000_000_u64}));
        assert_eq!(verdict(&issuers.verify(&token).await), "issuer");
    }
    assert_eq!(known.counts(), before);
    assert_eq!(stranger.counts().discovery + stranger.counts().jwks, 0);
    assert_eq!(auth.messages_sent(), messages);
}

#[tokio::test]
async fn issuers_come_and_go_while_requests_flow() {
    let (one, other) = (issuer().await, issuer().await);
    let auth = auth().await;
    let issuers = Issuers::new();
    let token = one.mint(ours(json!({})));
    assert_eq!(verdict(&issuers.verify(&token).await), "issuer");
    issuers.insert(
        auth.verifier(for_orders(one.url()))
            .await
            .expect("a verifier"),
    );

    let reader = tokio::spawn({
        let (issuers, token) = (issuers.clone(), token.clone());
        async move {
            for _ in 0..2_000 {
                assert_eq!(verdict(&issuers.verify(&token).await), "accepted");
                tokio::task::yield_now().await;
            }
        }
    });
    let mut stopped = auth.events();
    for _ in 0..20 {
        let rules = for_orders(other.url()).issuer_alias("https://alias.example");
        issuers.insert(auth.verifier(rules).await.expect("a verifier"));
        let theirs = other.mint(ours(json!({})));
        let by_alias = other.mint(ours(json!({"iss": "https://alias.example"})));
        assert_eq!(verdict(&issuers.verify(&theirs).await), "accepted");
        assert_eq!(verdict(&issuers.verify(&by_alias).await), "accepted");
        let removed = issuers.remove("https://alias.example").expect("was there");
        assert_eq!(removed.issuers().next(), Some(other.url()));
        assert_eq!(verdict(&issuers.verify(&theirs).await), "issuer");
        assert_eq!(verdict(&issuers.verify(&by_alias).await), "issuer");
    }
    reader
        .await
        .expect("no token of the other issuer was refused");
    assert!(issuers.remove(other.url()).is_none());
    assert_eq!(issuers.issuers(), [one.url()]);
    // With the last handle their upkeep has ended.
    for _ in 0..20 {
        while !matches!(next(&mut stopped).await, Change::Stopped) {}
    }
    assert_eq!(auth.health().keys.len(), 1);
}

async fn next(events: &mut Events) -> Change {
    let event = tokio::time::timeout(Duration::from_secs(20), events.recv()).await;
    event.expect("in time").expect("not lagged").change
}

#[tokio::test]
async fn a_verifier_in_another_s_place_takes_its_aliases_away() {
    let one = issuer().await;
    let auth = auth().await;
    let issuers = Issuers::new();
    let with_alias = for_orders(one.url()).issuer_alias("https://alias.example");
    issuers.insert(auth.verifier(with_alias).await.expect("a verifier"));
    issuers.insert(
        auth.verifier(for_orders(one.url()))
            .await
            .expect("a verifier"),
    );
    assert_eq!(issuers.issuers(), [one.url()]);
}

#[tokio::test]
async fn what_metadata_declares_narrows_the_algorithms() {
    let member = "id_token_signing_alg_values_supported";
    let issuer = issuer().await;
    let own = issuer.signing_key().algorithm().as_str();
    let auth = auth().await;
    let token = issuer.mint(ours(json!({})));
    let verdict_with = async |declared: Value, rules: VerifierBuilder| {
        issuer.set_metadata(member, declared);
        let verifier = auth.verifier(rules).await.expect("a verifier");
        verdict(&verifier.verify(&token).await)
    };
    let rules = || for_orders(issuer.url());
    assert_eq!(verdict_with(json!([own]), rules()).await, "accepted");
    assert_eq!(
        verdict_with(json!(["none", "HS256", "XY9", own]), rules()).await,
        "accepted"
    );
    assert_eq!(verdict_with(json!(null), rules()).await, "accepted");
    assert_eq!(verdict_with(json!(["ES384"]), rules()).await, "algorithm");
    // Both lists count, and neither widens the other.
    let allowed = || rules().algorithms(Algorithm::ALL);
    assert_eq!(verdict_with(json!(["ES384"]), allowed()).await, "algorithm");
    let narrow = rules().algorithms([Algorithm::ES384]);
    assert_eq!(verdict_with(json!([own]), narrow).await, "algorithm");
    // Nor do they for a message that is checked by the same keys.
    for (declared, allowed, wanted) in [
        (own, &Algorithm::ALL[..], Ok(())),
        (own, &[Algorithm::ES384], Err("algorithm")),
        ("ES384", &Algorithm::ALL, Err("algorithm")),
    ] {
        issuer.set_metadata(member, json!([declared]));
        let verifier = auth.verifier(rules()).await.expect("a verifier");
        let message = JwsRules::new().algorithms(allowed.iter().copied());
        let verdict = message.verify(&token, &verifier.keys().expect("keys"));
        assert_eq!(verdict.map(drop).map_err(|e| e.as_str()), wanted);
    }
    // Who knows better says so.
    let knows = rules().undeclared_algorithms();
    assert_eq!(verdict_with(json!(["ES384"]), knows).await, "accepted");
    // One that declares nothing usable is to be looked at, not to refuse every token.
    issuer.set_metadata(member, json!(["none", "HS256"]));
    let error = auth
        .verifier(rules())
        .await
        .expect_err("nothing to verify with");
    assert!(
        error.to_string().contains("declares no algorithm"),
        "{error}"
    );
    for nonsense in [json!("RS256"), json!([1]), json!({})] {
        issuer.set_metadata(member, nonsense);
        let error = auth.verifier(rules()).await.expect_err("nonsense");
        assert!(error.to_string().contains("not a JSON object"), "{error}");
    }
}

/// An issuer that changes only what it declares, with its keys as they were.
#[tokio::test]
async fn a_new_declaration_takes_effect_though_the_keys_are_unchanged() {
    let issuer = issuer().await;
    let auth = auth().await;
    let quick = Duration::from_millis(20);
    let rotation = RotationPolicy::default()
        .interval(quick)
        .hint_bounds(quick, quick);
    let rules = for_orders(issuer.url()).rotation(rotation);
    let verifier = auth.verifier(rules).await.expect("a verifier");
    let token = issuer.mint(ours(json!({})));
    assert_eq!(verdict(&verifier.try_verify(&token)), "accepted");
    issuer.set_metadata("id_token_signing_alg_values_supported", json!(["ES512"]));
    for _ in 0..500 {
        if verdict(&verifier.try_verify(&token)) == "algorithm" {
            return;
        }
        tokio::time::sleep(quick).await;
    }
    panic!("the declaration never took effect");
}

/// Tags are the server's own: the keys of another place may have the same one.
#[tokio::test]
async fn keys_in_another_place_are_read_though_their_tag_is_the_same() {
    let (issuer, other) = (issuer().await, issuer().await);
    assert_eq!(issuer.signing_key().kid(), other.signing_key().kid());
    let auth = auth().await;
    let quick = Duration::from_millis(20);
    let rotation = RotationPolicy::default()
        .interval(quick)
        .hint_bounds(quick, quick);
    let rules = for_orders(issuer.url()).rotation(rotation);
    let verifier = auth.verifier(rules).await.expect("a verifier");
    issuer.set_metadata("jwks_uri", other.jwks_url());
    let token = other.mint(ours(json!({"iss": issuer.url()})));
    for _ in 0..500 {
        if verdict(&verifier.try_verify(&token)) == "accepted" {
            return;
        }
        tokio::time::sleep(quick).await;
    }
    panic!("the keys in the other place were never read");
}

#[tokio::test]
async fn metadata_may_name_another_host_unless_told_otherwise() {
    let (issuer, keys) = (issuer().await, issuer().await);
    let auth = auth().await;
    issuer.set_metadata("jwks_uri", keys.jwks_url());
    let token = keys.mint(ours(json!({"iss": issuer.url()})));
    let verifier = auth
        .verifier(for_orders(issuer.url()))
        .await
        .expect("a verifier");
    assert_eq!(verdict(&verifier.verify(&token).await), "accepted");
    let strict = for_orders(issuer.url()).issuer_host_only();
    let error = auth.verifier(strict).await.expect_err("another host");
    assert!(error.to_string().contains("issuer's host"), "{error}");
    issuer.set_metadata("jwks_uri", issuer.jwks_url());
    let strict = for_orders(issuer.url()).issuer_host_only();
    assert!(auth.verifier(strict).await.is_ok());
}

#[tokio::test]
async fn keys_are_found_by_either_kind_of_metadata() {
    let issuer = issuer().await;
    let auth = auth().await;
    let token = issuer.mint(ours(json!({})));
    // However much else they say.
    issuer.set_metadata("claims_supported", "x".repeat(64 * 1024));
    let rules = for_orders(issuer.url()).authorization_server_metadata();
    let verifier = auth.verifier(rules).await.expect("a verifier");
    assert_eq!(verdict(&verifier.verify(&token).await), "accepted");
}

/// A setting that is wrong is told at once, not after the patience of a start.
#[tokio::test]
async fn metadata_of_another_issuer_fails_the_start_at_once() {
    let issuer = issuer().await;
    let auth = auth().await;
    issuer.set_metadata("issuer", "https://other.example");
    let patient = for_orders(issuer.url())
        .refresh(RefreshPolicy::for_keys().ready_timeout(Duration::from_secs(3_600)));
    let error = auth.verifier(patient).await.expect_err("another issuer");
    assert!(
        error.to_string().contains("https://other.example"),
        "{error}"
    );
    assert_eq!(issuer.counts().discovery, 1);
}

#[tokio::test]
async fn a_set_beyond_the_limits_is_refused_and_the_one_in_service_stays() {
    let issuer = issuer().await;
    let auth = auth().await;
    let quick = Duration::from_millis(20);
    let rotation = RotationPolicy::default()
        .interval(quick)
        .hint_bounds(quick, quick);
    let padding = |bytes: usize| {
        let body = json!({"keys": [issuer.signing_key().jwk()], "padding": "x".repeat(bytes)});
        Fault::Respond {
            status: 200,
            headers: vec![],
            body: body.to_string(),
        }
    };
    let limits = KeySetLimits::new().max_bytes(1024).max_keys(1);
    let rules = for_orders(issuer.url())
        .rotation(rotation)
        .key_set_limits(limits);
    let mut events = auth.events();
    let verifier = auth.verifier(rules).await.expect("a verifier");
    let token = issuer.mint(ours(json!({})));
    issuer.fail(Endpoint::Jwks, padding(2_000));
    assert_eq!(failure(&mut events).await, "too_large");
    issuer.recover();
    issuer.publish_key();
    assert_eq!(failure(&mut events).await, "too_large");
    assert_eq!(verdict(&verifier.try_verify(&token)), "accepted");
    assert_eq!(verifier.keys().expect("keys").len(), 1);
    // More than the default, for who needs it.
    let limits = KeySetLimits::new().max_bytes(2 * 1024 * 1024);
    issuer.fail(Endpoint::Jwks, padding(1024 * 1024));
    assert!(auth.verifier(for_orders(issuer.url())).await.is_err());
    let rules = for_orders(issuer.url()).key_set_limits(limits);
    assert!(auth.verifier(rules).await.is_ok());
}

async fn failure(events: &mut Events) -> &'static str {
    loop {
        if let Change::RefreshFailed { error, .. } = next(events).await {
            return error.as_str();
        }
    }
}

#[test]
fn limits_and_patience_are_within_bounds() {
    let field = |builder: VerifierBuilder| {
        let keys = KeySet::from_json(
            json!({"keys": [SigningKey::generate(Algorithm::EdDSA, "a").jwk()]})
                .to_string()
                .as_bytes(),
        );
        let built = builder.fixed(keys.expect("usable keys"));
        built.expect_err("refused").field().to_owned()
    };
    let rules = || Verifier::builder("https://idp.example.com").audience("orders");
    let limited = |limits| field(rules().key_set_limits(limits));
    assert_eq!(limited(KeySetLimits::new().max_bytes(1_023)), "max_bytes");
    assert_eq!(
        limited(KeySetLimits::new().max_bytes(usize::MAX)),
        "max_bytes"
    );
    assert_eq!(limited(KeySetLimits::new().max_keys(0)), "max_keys");
    assert_eq!(limited(KeySetLimits::new().max_keys(100_001)), "max_keys");
    let obeying = RotationPolicy::default().obey_empty_after(Duration::from_secs(25 * 3600));
    assert_eq!(field(rules().rotation(obeying)), "obey_empty_after");
    let (least, day) = (Duration::from_millis(10), Duration::from_secs(24 * 3600));
    let moment = Duration::from_nanos(1);
    let policy = RotationPolicy::default().max_stale(day * 30);
    for good in [
        policy.interval(day).hint_bounds(day, day),
        policy.interval(least).hint_bounds(least, least),
        policy.interval(day).max_stale(day),
        policy.obey_empty_after(day * 30),
    ] {
        assert!(good.validate().is_ok(), "{good:?}");
    }
    for (bad, setting) in [
        (policy.interval(day + moment), "interval"),
        (policy.interval(least - moment), "interval"),
        (policy.hint_bounds(day, day + moment), "hint_bounds (most)"),
        (
            policy.hint_bounds(least - moment, day),
            "hint_bounds (least)",
        ),
        (policy.hint_bounds(day, day - moment), "hint_bounds (least)"),
        (policy.max_stale(day * 30 + moment), "max_stale"),
        (policy.interval(day).max_stale(day - moment), "max_stale"),
        (
            policy.hint_bounds(day, day).max_stale(day - moment),
            "max_stale",
        ),
    ] {
        assert_eq!(field(rules().rotation(bad)), setting, "{bad:?}");
    }
}

/// An issuer of which a test says what each fetch brings.
async fn emptied(
    policy: RotationPolicy,
) -> (
    Auth,
    TestClock,
    Verifier,
    String,
    Arc<std::sync::atomic::AtomicU8>,
) {
    use std::sync::atomic::{AtomicU8, Ordering};
    let clock = TestClock::virtual_time();
    let auth = Auth::builder()
        .clock(clock.clock())
        .seed(3)
        .start()
        .await
        .expect("started");
    let key = SigningKey::generate(Algorithm::EdDSA, "a");
    let good = json!({"keys": [key.jwk()]}).to_string();
    let state = Arc::new(AtomicU8::new(0));
    let now = Arc::clone(&state);
    let source = SourceFn::new(move |_| {
        let body = match now.load(Ordering::SeqCst) {
            0 => good.clone(),
            1 => r#"{"keys":[]}"#.to_owned(),
            _ => r#"{"keys":[null]}"#.to_owned(),
        };
        async move { Ok(Fetched::new(KeySet::from_json(body.as_bytes())?)) }
    });
    let rules = Verifier::builder("https://idp.example.test")
        .audience("orders")
        .key_source(source)
        .rotation(policy)
        .start(Start::Wait);
    let verifier = auth.verifier(rules).await.expect("a verifier");
    let token = key.token(&json!({
        "iss": "https://idp.example.test", "aud": "orders", "exp": 4_000_000_000_u64,
    }));
    (auth, clock, verifier, token, state)
}

async fn pass(clock: &TestClock, seconds: u64) {
    for _ in 0..seconds {
        clock.advance(Duration::from_secs(1)).await;
        for _ in 0..10 {
            tokio::task::yield_now().await;
        }
    }
}

fn each_minute() -> RotationPolicy {
    let minute = Duration::from_secs(60);
    RotationPolicy::default()
        .interval(minute)
        .hint_bounds(minute, minute)
        .max_stale(Duration::from_secs(3_600))
}

#[tokio::test(start_paused = true)]
async fn an_emptied_set_is_a_mistake_until_max_stale() {
    let (_auth, clock, verifier, token, state) = emptied(each_minute()).await;
    state.store(1, std::sync::atomic::Ordering::SeqCst);
    pass(&clock, 3_000).await;
    assert_eq!(verdict(&verifier.try_verify(&token)), "accepted");
    pass(&clock, 700).await;
    assert_eq!(verdict(&verifier.try_verify(&token)), "keys_unavailable");
}

#[tokio::test(start_paused = true)]
async fn an_emptied_set_is_obeyed_when_the_policy_says_so() {
    let policy = each_minute().obey_empty_after(Duration::from_secs(300));
    let (auth, clock, verifier, token, state) = emptied(policy).await;
    let mut events = auth.events();
    state.store(1, std::sync::atomic::Ordering::SeqCst);
    pass(&clock, 240).await;
    assert_eq!(verdict(&verifier.try_verify(&token)), "accepted");
    pass(&clock, 200).await;
    assert_eq!(verdict(&verifier.try_verify(&token)), "keys_unavailable");
    let told = loop {
        let change = events.recv().await.expect("an event").change;
        if let Change::Expired { cause } = change {
            break cause;
        }
    };
    assert_eq!(told.expect("a cause").as_str(), "empty");
    // Good keys end it.
    state.store(0, std::sync::atomic::Ordering::SeqCst);
    pass(&clock, 120).await;
    assert_eq!(verdict(&verifier.try_verify(&token)), "accepted");
    pass(&clock, 600).await;
    assert_eq!(verdict(&verifier.try_verify(&token)), "accepted");
}

#[tokio::test(start_paused = true)]
async fn only_an_honest_empty_set_is_obeyed_and_a_good_one_ends_the_countdown() {
    let policy = each_minute().obey_empty_after(Duration::from_secs(300));
    let (_auth, clock, verifier, token, state) = emptied(policy).await;
    // A set of which no key can be used is not empty.
    state.store(2, std::sync::atomic::Ordering::SeqCst);
    pass(&clock, 1_000).await;
    assert_eq!(verdict(&verifier.try_verify(&token)), "accepted");
    for _ in 0..3 {
        state.store(1, std::sync::atomic::Ordering::SeqCst);
        pass(&clock, 200).await;
        state.store(0, std::sync::atomic::Ordering::SeqCst);
        pass(&clock, 130).await;
        assert_eq!(verdict(&verifier.try_verify(&token)), "accepted");
    }
}

#[tokio::test(start_paused = true)]
async fn an_emptied_set_is_obeyed_at_once_with_a_patience_of_zero() {
    let (_auth, clock, verifier, token, state) =
        emptied(each_minute().obey_empty_after(Duration::ZERO)).await;
    state.store(1, std::sync::atomic::Ordering::SeqCst);
    pass(&clock, 70).await;
    assert_eq!(verdict(&verifier.try_verify(&token)), "keys_unavailable");
}
