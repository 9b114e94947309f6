//! What a request costs in allocations, counted.

use std::time::Duration;

use allocation_counter::measure;
use midil_auth::jwks::{Algorithm, KeySet};
use midil_auth::oauth2::{AccessToken, Credential};
use midil_auth::testing::{SigningKey, SourceFn, TestClock};
use midil_auth::{Auth, Fetched, Verifier};
use serde_json::json;

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
    drop(token.authorization().expect("a token"));
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
fn verifying_a_token_allocates_little() {
    let key = SigningKey::generate(Algorithm::ES256, "kid");
    let set = json!({"keys": [key.jwk()]}).to_string();
    let verifier = Verifier::builder("https://idp.example.test")
        .audience("orders")
        .fixed_with_clock(
            KeySet::from_json(set.as_bytes()).expect("a set"),
            TestClock::fixed(NOW).clock(),
        )
        .expect("a verifier");
    let token = key.token(&json!({
        "iss": "https://idp.example.test", "aud": "orders", "sub": "ada", "client_id": "c",
        "scope": "a b c", "iat": NOW, "exp": NOW + 60, "jti": "1", "groups": ["x", "y"],
    }));
    drop(verifier.try_verify(&token).expect("accepted"));
    let accepted = measure(|| drop(verifier.try_verify(&token).expect("accepted")));
    assert!(accepted.count_total <= 8, "{accepted:?}");
    let garbage = "x".repeat(20_000);
    let refused = measure(|| drop(verifier.try_verify(&garbage).expect_err("too large")));
    assert_eq!(refused.count_total, 0);
}
