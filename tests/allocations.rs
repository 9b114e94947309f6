//! What a request costs in allocations, counted.

use std::convert::Infallible;
use std::sync::Arc;
use std::time::Duration;

use allocation_counter::measure;
use futures_util::FutureExt;
use midil_auth::jwks::{Algorithm, KeySet};
use midil_auth::jwt::VerifierBuilder;
use midil_auth::oauth2::{AccessToken, Credential};
use midil_auth::testing::{SigningKey, SourceFn, TestClock};
use midil_auth::tower::{BearerLayer, require_scope};
use midil_auth::{Auth, AuthzProvider, Claims, Fetched, Verifier};
use serde_json::json;
use tower::{Layer, Service, service_fn};

const NOW: u64 = 1_900_000_000;

#[tokio::test]
async fn reading_the_current_token_allocates_nothing_and_tells_no_actor() {
    let auth = Auth::start().await.expect("started");
    let source = SourceFn::new(async |_| {
        let token = AccessToken::bearer("x".repeat(1_000))?;
        Ok(Fetched::new(token.expires_in(Duration::from_secs(3600))))
    });
    let token = auth
        .token(Credential::new("t", source))
        .await
        .expect("a token");
    // Whoever reads often gets a copy of its own, once.
    for _ in 0..100 {
        drop(token.authorization().expect("a token"));
    }
    let messages = auth.messages_sent();
    let counted = measure(|| {
        for _ in 0..100 {
            drop(token.authorization().expect("a token"));
            drop(token.current().expect("a token"));
            drop(token.headers().expect("a token"));
        }
    });
    assert_eq!(counted.count_total, 0);
    assert_eq!(auth.messages_sent(), messages);
}

#[test]
fn verifying_a_token_allocates_twice_and_not_at_all_when_it_comes_again() {
    let key = SigningKey::generate(Algorithm::RS256, "kid");
    let set = json!({"keys": [key.jwk()]}).to_string();
    let rules = || {
        Verifier::builder("https://idp.example.test")
            .audience("orders")
            .require_scope("b")
            .require_any_group(["z", "y"])
    };
    let build = |rules: VerifierBuilder| {
        rules
            .fixed_with_clock(
                KeySet::from_json(set.as_bytes()).expect("a set"),
                TestClock::fixed(NOW).clock(),
            )
            .expect("a verifier")
    };
    let token = key.token(&json!({
        "iss": "https://idp.example.test", "aud": ["billing", "orders"], "sub": "ada",
        "client_id": "c", "scope": "a b c", "iat": NOW, "exp": NOW + 60, "jti": "1",
        "groups": ["x", "y"],
    }));
    let verifier = build(rules());
    drop(verifier.try_verify(&token).expect("accepted"));
    // The payload, and the claims that point into it.
    let accepted = measure(|| drop(verifier.try_verify(&token).expect("accepted")));
    assert!(accepted.count_total <= 2, "{accepted:?}");

    let remembering = build(rules().cache(8));
    drop(remembering.try_verify(&token).expect("accepted"));
    let again = measure(|| drop(remembering.try_verify(&token).expect("accepted")));
    assert_eq!(again.count_total, 0);
}

/// No future is boxed for a token that there is a verdict on; what is allocated are the extensions
/// of the request: the map, its table, the claims, and whose they are.
#[test]
fn the_layer_allocates_only_the_extensions_of_the_request() {
    let key = SigningKey::generate(Algorithm::ES256, "kid");
    let set = json!({"keys": [key.jwk()]}).to_string();
    let verifier = Verifier::builder("https://idp.example.test")
        .audience("orders")
        .cache(8)
        .fixed_with_clock(
            KeySet::from_json(set.as_bytes()).expect("a set"),
            TestClock::fixed(NOW).clock(),
        )
        .expect("a verifier");
    let token = key.token(&json!({
        "iss": "https://idp.example.test", "aud": "orders", "exp": NOW + 60, "scope": "a",
    }));
    let dynamic: Arc<dyn AuthzProvider> = Arc::new(verifier.clone());
    let inner = || {
        let nothing = service_fn(|request: http::Request<()>| {
            let known = request.extensions().get::<Claims>().is_some();
            std::future::ready(Ok::<_, Infallible>(http::Response::new(usize::from(known))))
        });
        require_scope("a").layer(nothing)
    };
    let mut plain = BearerLayer::new(verifier).layer(inner());
    let mut through_dyn = BearerLayer::new(dynamic).layer(inner());
    let value = format!("Bearer {token}");
    let count = |service: &mut dyn FnMut(http::Request<()>) -> usize| {
        let mut last = 0;
        for _ in 0..2 {
            let request = http::Request::get("/").header("authorization", &value);
            let request = request.body(()).expect("a request");
            let mut known = 0;
            last = measure(|| known = service(request)).count_total;
            assert_eq!(known, 1);
        }
        assert!(last <= 4, "{last}");
    };
    fn at_once<F: Future<Output = Result<http::Response<usize>, Infallible>>>(future: F) -> usize {
        let response = future.now_or_never().expect("without waiting");
        response.expect("infallible").into_body()
    }
    count(&mut |request| at_once(plain.call(request)));
    count(&mut |request| at_once(through_dyn.call(request)));
}

#[test]
fn refusing_what_never_was_a_token_allocates_nothing() {
    let key = SigningKey::generate(Algorithm::ES256, "kid");
    let set = json!({"keys": [key.jwk()]}).to_string();
    let verifier = Verifier::builder("https://idp.example.test")
        .audience("orders")
        .fixed(KeySet::from_json(set.as_bytes()).expect("a set"))
        .expect("a verifier");
    let header = |header: serde_json::Value| key.token_with_header(&header, &json!({}));
    // What a thread needs once for good.
    drop(verifier.try_verify("a.b.c").expect_err("garbage"));
    for garbage in [
        "x".repeat(20_000),
        ".".repeat(10_000),
        "a.b.c".to_owned(),
        header(json!({"alg": "none"})),
        header(json!({"alg": "RS256", "kid": "kid"})),
        header(json!({"alg": "ES256", "kid": "kid", "crit": ["x"]})),
        format!("{}x", key.token(&json!({}))),
    ] {
        let refused = measure(|| drop(verifier.try_verify(&garbage).expect_err("garbage")));
        assert_eq!(refused.count_total, 0, "{garbage:.40}");
    }
}
