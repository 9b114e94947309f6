//! T26, T29, T32: what an issuer may answer, and what becomes of the keys in service.

use std::time::Duration;

use midil_auth::bearer::Rejection;
use midil_auth::event::Change;
use midil_auth::jwks::Algorithm;
use midil_auth::jwt::VerifierBuilder;
use midil_auth::testing::{Endpoint, Fault, SigningKey, TestIssuer};
use midil_auth::{Auth, AuthError, RefreshPolicy, Start, Verifier};
use serde_json::json;

use super::{Keys, eventually, hasty, is_undecided, key};

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

/// T29: no keys, no verdict; above all none by a key that nobody has fetched.
#[tokio::test]
async fn a_first_fetch_that_fails_leaves_no_key_and_a_503() {
    let issuer = TestIssuer::start().await.expect("up");
    let foreign = json!({"keys": [issuer.signing_key().jwk()]}).to_string();
    let respond = |status, body: &str| Fault::Respond {
        status,
        headers: vec![("etag".to_owned(), "\"1\"".to_owned())],
        body: body.to_owned(),
    };
    for fault in [
        respond(500, &foreign),
        respond(404, &foreign),
        // Unchanged from what?
        respond(304, ""),
        respond(200, r#"{"keys":[]}"#),
        Fault::Html,
        Fault::Hang,
        Fault::Reset,
        Fault::Throttle(0),
    ] {
        issuer.fail(Endpoint::Jwks, fault.clone());
        let auth = Auth::start().await.expect("started");
        let rules = hasty(&issuer)
            .jwks_url(issuer.jwks_url())
            .start(Start::Background)
            .unknown_key_wait(Duration::from_millis(50));
        let verifier = auth.verifier(rules).await.expect("a verifier");
        let token = issuer.mint(json!({"aud": "orders"}));
        let asked = issuer.counts().jwks;
        for token in [&token, &issuer.mint_forged(json!({"aud": "orders"}))] {
            let error = verifier.verify(token).await.expect_err("no keys");
            assert_eq!(error.as_str(), "keys_unavailable", "{fault:?}");
            let rejection = Rejection::from(&error);
            assert_eq!(rejection.status(), 503);
            assert!(rejection.headers().contains_key("retry-after"));
            assert!(!rejection.headers().contains_key("www-authenticate"));
        }
        assert!(verifier.keys().is_none());
        assert!(!auth.health().ready);
        eventually("another try", || issuer.counts().jwks > asked + 1).await;
        assert!(is_undecided(&verifier.try_verify(&token)), "{fault:?}");
        issuer.recover();
        eventually("the first keys", || verifier.try_verify(&token).is_ok()).await;
    }
}

/// What is wrong by whatever key is said to be wrong before there is any.
#[tokio::test(start_paused = true)]
async fn what_needs_no_key_is_refused_without_one() {
    let narrow = |rules: VerifierBuilder| rules.algorithms([Algorithm::EdDSA]);
    let (_auth, keys, verifier) = Keys::with(|rules| narrow(rules).start(Start::Background)).await;
    for (header, wanted) in [
        (json!({"alg": "EdDSA"}), "keys_unavailable"),
        (json!({"alg": "ES256"}), "algorithm"),
        (json!({"alg": "HS256"}), "algorithm"),
        (json!({"alg": "EdDSA", "typ": "logout+jwt"}), "type"),
        (json!({"alg": "EdDSA", "cty": "JWT"}), "malformed"),
        (json!({"alg": "EdDSA", "crit": ["exp"]}), "malformed"),
    ] {
        let token = keys.first().token_with_header(&header, &json!({}));
        let error = verifier.try_verify(&token).expect_err("no keys");
        assert_eq!(error.as_str(), wanted, "{header}");
    }
}

/// An issuer that never gave an `ETag` cannot say that nothing has changed.
#[tokio::test]
async fn a_304_that_nobody_asked_for_is_a_failure() {
    let issuer = TestIssuer::start().await.expect("up");
    let set = json!({"keys": [issuer.signing_key().jwk()]}).to_string();
    let respond = |status, body: &str| Fault::Respond {
        status,
        headers: Vec::new(),
        body: body.to_owned(),
    };
    issuer.fail(Endpoint::Jwks, respond(200, &set));
    let auth = Auth::start().await.expect("started");
    let rules = hasty(&issuer).jwks_url(issuer.jwks_url());
    let verifier = auth.verifier(rules).await.expect("a verifier");
    let mut events = auth.events();
    issuer.fail(Endpoint::Jwks, respond(304, ""));
    loop {
        let event = events.recv().await.expect("an event");
        if let Change::RefreshFailed { error, holding, .. } = event.change {
            assert!(holding && error.to_string().contains("304"), "{error}");
            break;
        }
    }
    assert!(
        verifier
            .try_verify(&issuer.mint(json!({"aud": "orders"})))
            .is_ok()
    );
}

/// T27: each odd entry costs itself, and is told once.
#[tokio::test]
async fn odd_keys_are_told_once_and_cost_only_themselves() {
    let issuer = TestIssuer::start().await.expect("up");
    let good = issuer.signing_key().jwk();
    let set = |odd: &[&str]| {
        let odd: String = odd.iter().map(|odd| format!("{odd},")).collect();
        Fault::Respond {
            status: 200,
            headers: Vec::new(),
            body: format!(r#"{{"keys":[{odd}{good}]}}"#),
        }
    };
    issuer.fail(Endpoint::Jwks, set(&[]));
    let auth = Auth::start().await.expect("started");
    let rules = hasty(&issuer).jwks_url(issuer.jwks_url());
    let verifier = auth.verifier(rules).await.expect("a verifier");
    let token = issuer.mint(json!({"aud": "orders"}));
    let odd = [
        "null",
        r#"{"kty":"RSA","kid":5,"n":"AQAB","e":"AQAB"}"#,
        r#"{"kty":"AKP","alg":"ML-DSA-44","kid":"pq","pub":"AAAA"}"#,
        r#"{"kty":"oct","kid":"secret","k":"AAAA"}"#,
    ];
    let mut events = auth.events();
    issuer.fail(Endpoint::Jwks, set(&odd));
    let told = loop {
        let event = events.recv().await.expect("an event");
        match event.change {
            Change::Rotated { skipped, added, .. } => {
                assert!(added.is_empty());
                break skipped;
            }
            Change::RefreshFailed { error, .. } => unreachable!("{error}"),
            _ => {}
        }
    };
    assert_eq!(
        told,
        [
            "-: malformed",
            "-: malformed",
            "pq: unsupported",
            "secret: symmetric"
        ]
    );
    let asked = issuer.counts().jwks;
    eventually("more of the same", || issuer.counts().jwks > asked + 3).await;
    assert!(verifier.try_verify(&token).is_ok());
    let again = tokio::time::timeout(Duration::ZERO, events.recv()).await;
    assert!(again.is_err(), "told once: {again:?}");
    assert_eq!(verifier.keys().expect("keys").skipped().len(), odd.len());
}

/// T39: a request that brings a token is never a request that brings none.
#[tokio::test]
async fn a_token_that_is_refused_never_makes_its_bearer_anonymous() {
    use http::{HeaderMap, HeaderValue, header::AUTHORIZATION};
    use midil_auth::bearer::{self, BearerError};

    let (issuer, other) = (
        TestIssuer::start().await.expect("up"),
        TestIssuer::start().await.expect("up"),
    );
    let auth = Auth::start().await.expect("started");
    let verifier = auth.verifier(hasty(&issuer)).await.expect("a verifier");
    let stranger = SigningKey::generate(midil_auth::jwks::Algorithm::ES256, "stranger");
    for token in [
        other.mint(json!({"aud": "orders"})),
        stranger.token(&json!({"iss": "https://unheard-of.example", "aud": "orders"})),
        issuer.mint_expired(json!({"aud": "orders"})),
        "not-a-token".to_owned(),
        "e30.e30.".to_owned(),
    ] {
        let mut headers = HeaderMap::new();
        let value = HeaderValue::from_str(&format!("Bearer {token}")).expect("a value");
        headers.insert(AUTHORIZATION, value);
        let presented = bearer::token(&headers).expect("a token to be judged");
        let error = loop {
            match verifier.verify(presented).await.expect_err("refused") {
                error if error.is_transient() => {}
                error => break error,
            }
        };
        assert_eq!(Rejection::from(&error).status(), 401, "{error}");
    }
    // Only these are anonymous; a malformed header is a 400 on every route.
    for (value, error) in [
        ("Bearer", BearerError::Malformed),
        ("Bearer ", BearerError::Malformed),
        ("bearer a b", BearerError::Malformed),
        ("Basic YTpi", BearerError::Missing),
    ] {
        let mut headers = HeaderMap::new();
        headers.insert(AUTHORIZATION, HeaderValue::from_static(value));
        assert_eq!(bearer::token(&headers), Err(error), "{value}");
        let status = if error == BearerError::Missing {
            401
        } else {
            400
        };
        assert_eq!(Rejection::from(error).status(), status);
    }
}
