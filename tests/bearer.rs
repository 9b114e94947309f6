//! What a caller is told (RFC 6750 §3): as much as it can act on, and nothing that helps a forger.

#![expect(
    clippy::expect_used,
    reason = "a test that cannot be set up has failed"
)]

use std::collections::BTreeSet;
use std::time::Duration;

use http::StatusCode;
use midil_auth::bearer::{BearerError, Rejection};
use midil_auth::jwks::{Algorithm, KeySet};
use midil_auth::jwt::{Refusal, Verifier, VerifyError};
use midil_auth::testing::{SigningKey, TestClock};
use midil_auth::{AuthError, FetchError};
use serde_json::{Value, json};

/// Every way to fail that is about the token and not about its bearer or the keys.
fn invalid() -> Vec<VerifyError> {
    vec![
        VerifyError::Algorithm,
        VerifyError::Ambiguous,
        VerifyError::Audience,
        VerifyError::ClientId,
        VerifyError::Confirmation,
        VerifyError::InvalidClaim("exp"),
        VerifyError::Issuer,
        VerifyError::Malformed("not three segments"),
        VerifyError::MissingClaim("exp"),
        VerifyError::NotYetValid,
        VerifyError::Refused(Refusal::invalid("no tenant")),
        VerifyError::Revoked,
        VerifyError::Signature,
        VerifyError::TokenUse,
        VerifyError::TooLarge,
        VerifyError::TooOld,
        VerifyError::Type,
        VerifyError::UnknownKey,
    ]
}

fn unavailable() -> VerifyError {
    VerifyError::KeysUnavailable {
        retry_after: Duration::from_secs(7),
        cause: Some(FetchError::transient("down")),
    }
}

fn told(rejection: &Rejection) -> (u16, Option<&str>, Option<&str>) {
    let header = |name| {
        let value: Option<&http::HeaderValue> = rejection.headers().get(name);
        value.map(|value| value.to_str().expect("text"))
    };
    (
        rejection.status().as_u16(),
        header("www-authenticate"),
        header("retry-after"),
    )
}

#[test]
fn a_forger_is_told_the_same_whatever_was_wrong() {
    for error in invalid() {
        let answer = (401, Some("Bearer error=\"invalid_token\""), None);
        assert_eq!(told(&Rejection::from(&error)), answer, "{error}");
        assert_eq!(told(&Rejection::from(&AuthError::from(error))), answer);
    }
}

#[test]
fn what_a_caller_can_act_on_is_told() {
    let expired = "Bearer error=\"invalid_token\", error_description=\"the token has expired\"";
    let forbidden = "Bearer error=\"insufficient_scope\"";
    let scoped = "Bearer error=\"insufficient_scope\", scope=\"orders/read orders/write\"";
    for (error, answer) in [
        (VerifyError::Expired, (401, Some(expired), None)),
        (VerifyError::Group, (403, Some(forbidden), None)),
        (
            VerifyError::Refused(Refusal::forbidden("no")),
            (403, Some(forbidden), None),
        ),
        (
            VerifyError::Scope("orders/read orders/write".into()),
            (403, Some(scoped), None),
        ),
        // What would break out of the quotes is left out.
        (
            VerifyError::Scope("a\", realm=\"x".into()),
            (403, Some(forbidden), None),
        ),
        (
            VerifyError::Scope("a\r\nb".into()),
            (403, Some(forbidden), None),
        ),
        (unavailable(), (503, None, Some("7"))),
        (VerifyError::Stopped, (503, None, Some("1"))),
    ] {
        assert_eq!(told(&Rejection::from(&error)), answer, "{error}");
        assert_eq!(told(&Rejection::from(&AuthError::from(error))), answer);
    }
    for (error, answer) in [
        (BearerError::Missing, (401, Some("Bearer"), None)),
        (
            BearerError::Malformed,
            (400, Some("Bearer error=\"invalid_request\""), None),
        ),
        (
            BearerError::Repeated,
            (400, Some("Bearer error=\"invalid_request\""), None),
        ),
    ] {
        assert_eq!(told(&Rejection::from(error)), answer, "{error}");
    }
}

#[test]
fn every_failure_has_a_label_of_its_own() {
    let mut all = invalid();
    all.extend([
        VerifyError::Expired,
        VerifyError::Group,
        VerifyError::Scope("a".into()),
        unavailable(),
        VerifyError::Stopped,
    ]);
    let labels: BTreeSet<_> = all.iter().map(VerifyError::as_str).collect();
    assert_eq!(labels.len(), all.len());
    let plain = |label: &&str| label.bytes().all(|b| b.is_ascii_lowercase() || b == b'_');
    assert!(labels.iter().all(plain), "{labels:?}");
    let transient = all.iter().filter(|error| error.is_transient());
    let statuses: BTreeSet<_> = transient.map(VerifyError::status).collect();
    assert_eq!(statuses, [StatusCode::SERVICE_UNAVAILABLE].into());
}

#[test]
fn the_scopes_that_are_demanded_are_named() {
    let verifier = verifier(|rules| rules.require_scope("a").require_any_scope(["b", "c"]));
    let error = verifier
        .0
        .try_verify(&verifier.1.token(&claims(json!({"scope": "a"}))));
    let rejection = Rejection::from(&error.expect_err("refused"));
    assert_eq!(
        told(&rejection).1,
        Some("Bearer error=\"insufficient_scope\", scope=\"a b c\"")
    );
}

type Rules = midil_auth::jwt::VerifierBuilder;

fn verifier(change: impl FnOnce(Rules) -> Rules) -> (Verifier, SigningKey) {
    let key = SigningKey::generate(Algorithm::EdDSA, "a");
    let keys = json!({"keys": [key.jwk()]}).to_string();
    let keys = KeySet::from_json(keys.as_bytes()).expect("usable keys");
    let rules = change(Verifier::builder("https://idp.example.test").audience("orders"));
    let clock = TestClock::fixed(1_900_000_000).clock();
    (
        rules.fixed_with_clock(keys, clock).expect("a verifier"),
        key,
    )
}

fn claims(more: Value) -> Value {
    let mut all = json!({
        "iss": "https://idp.example.test", "aud": "orders", "sub": "ada", "exp": 1_900_000_060,
    });
    for (name, value) in more.as_object().expect("claims") {
        all[name] = value.clone();
    }
    all
}

/// RFC 8705 §3, RFC 9449 §7.
#[tokio::test]
async fn a_bound_token_needs_its_proof_and_a_proof_needs_a_bound_token() {
    let cached = verifier(|rules| rules.cache(8));
    for (verifier, key) in [verifier(|rules| rules), cached] {
        let of = |more| key.token(&claims(more));
        let by_certificate = of(json!({"cnf": {"x5t#S256": "thumb"}}));
        let by_dpop = of(json!({"cnf": {"jkt": "thumb", "other": 1}}));
        let plain = of(json!({}));
        let verdict = |result: Result<midil_auth::Claims, VerifyError>| {
            result.map_or_else(|error| error.as_str(), |_| "accepted")
        };
        for _ in 0..2 {
            let certificate =
                |token: &str, presented: &str| {
                    verdict(verifier.try_verify_bound(token, |key| {
                        key.certificate_thumbprint() == Some(presented)
                    }))
                };
            assert_eq!(certificate(&by_certificate, "thumb"), "accepted");
            assert_eq!(certificate(&by_certificate, "other"), "confirmation");
            assert_eq!(certificate(&by_dpop, "thumb"), "confirmation");
            assert_eq!(certificate(&plain, "thumb"), "missing_claim");
            assert_eq!(
                verdict(verifier.try_verify(&by_certificate)),
                "confirmation"
            );
            assert_eq!(verdict(verifier.try_verify(&plain)), "accepted");
            let (verifier, token) = (verifier.clone(), by_dpop.clone());
            let task = tokio::spawn(async move {
                let proves = |key: &midil_auth::jwt::Confirmation| {
                    key.jwk_thumbprint() == Some("thumb") && key.get("other") == Some(&json!(1))
                };
                verifier.verify_bound(&token, proves).await.is_ok()
            });
            assert!(task.await.expect("no panic"));
        }
        for odd in [json!("thumb"), json!(null), json!(["thumb"]), json!(5)] {
            let token = of(json!({"cnf": odd}));
            assert_eq!(
                verdict(verifier.try_verify_bound(&token, |_| true)),
                "invalid_claim"
            );
            assert_eq!(verdict(verifier.try_verify(&token)), "confirmation");
        }
    }
}
