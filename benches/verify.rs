//! Verifying a token: the verifier beside the bare signature check and beside jsonwebtoken.
//!
//! `cargo bench --bench verify`

#![expect(
    clippy::expect_used,
    reason = "a bench that cannot be set up has failed"
)]

use divan::Bencher;
use jsonwebtoken::{DecodingKey, Validation};
use midil_auth::Verifier;
use midil_auth::jwks::{Algorithm, KeySet};
use midil_auth::testing::{SigningKey, TestClock};
use serde_json::{Value, json};

const ISSUER: &str = "https://cognito-idp.eu-west-1.amazonaws.com/eu-west-1_abcd1234";
const NOW: u64 = 1_900_000_000;
const ALGORITHMS: [Algorithm; 3] = [Algorithm::RS256, Algorithm::ES256, Algorithm::EdDSA];

fn main() {
    divan::main();
}

fn claims() -> Value {
    json!({
        "sub": "aaaaaaaa-bbbb-cccc-dddd-eeeeeeeeeeee", "cognito:groups": ["admin", "users"],
        "iss": ISSUER, "version": 2, "client_id": "1example23456789", "aud": "orders",
        "token_use": "access", "scope": "orders/read orders/write", "auth_time": NOW,
        "exp": NOW + 3600, "iat": NOW, "jti": "aaaaaaaa-bbbb-cccc-dddd-eeeeeeeeeeee",
        "username": "ada",
    })
}

fn verifier(key: &SigningKey) -> Verifier {
    let set = json!({"keys": [key.jwk()]}).to_string();
    Verifier::builder(ISSUER)
        .audience("orders")
        .fixed_with_clock(
            KeySet::from_json(set.as_bytes()).expect("a set"),
            TestClock::fixed(NOW).clock(),
        )
        .expect("a verifier")
}

#[divan::bench(args = ALGORITHMS)]
fn try_verify(bencher: Bencher, algorithm: Algorithm) {
    let key = SigningKey::generate(algorithm, "key-1");
    let (verifier, token) = (verifier(&key), key.token(&claims()));
    bencher.bench(|| verifier.try_verify(&token).expect("accepted"));
}

#[divan::bench(args = ALGORITHMS)]
fn peer_jsonwebtoken(bencher: Bencher, algorithm: Algorithm) {
    let key = SigningKey::generate(algorithm, "key-1");
    let jwk = serde_json::from_value(key.jwk()).expect("a JWK");
    let decoding = DecodingKey::from_jwk(&jwk).expect("a key");
    let mut validation = Validation::new(algorithm.as_str().parse().expect("an algorithm"));
    validation.set_issuer(&[ISSUER]);
    validation.set_audience(&["orders"]);
    let token = key.token(&claims());
    bencher
        .bench(|| jsonwebtoken::decode::<Value>(&token, &decoding, &validation).expect("accepted"));
}

#[divan::bench(args = ["garbage", "a.b.c", "oversized", "unknown kid"])]
fn refuse_before_the_signature(bencher: Bencher, kind: &str) {
    let key = SigningKey::generate(Algorithm::RS256, "key-1");
    let verifier = verifier(&key);
    let token = match kind {
        "oversized" => "x".repeat(64 * 1024),
        "unknown kid" => SigningKey::generate(Algorithm::RS256, "other").token(&claims()),
        other => other.to_owned(),
    };
    bencher.bench(|| verifier.try_verify(&token).expect_err("refused"));
}
