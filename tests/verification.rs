//! What a verifier takes and what it refuses, at a fixed time and with fixed keys.

#![expect(
    clippy::expect_used,
    reason = "a test that cannot be set up has failed"
)]

#[path = "verification/algorithms.rs"]
mod algorithms;
#[path = "verification/building.rs"]
mod building;
#[path = "verification/claims.rs"]
mod claims;
#[path = "verification/compact.rs"]
mod compact;
#[path = "verification/jws.rs"]
mod jws;
#[path = "verification/profiles.rs"]
mod profiles;
#[path = "verification/robustness.rs"]
mod robustness;
mod signing;

use std::sync::LazyLock;
use std::time::UNIX_EPOCH;

use midil_auth::jwks::Algorithm;
use midil_auth::jwt::{Profile, Verifier, VerifierBuilder};
use midil_auth::testing::TestClock;
use serde_json::{Value, json};

use signing::{key, set};

const ISSUER: &str = "https://idp.example.com";
const AUDIENCE: &str = "https://api.example.com";

/// What signs where the algorithm does not matter: the fastest.
const USUAL: Algorithm = Algorithm::EdDSA;

static CLOCK: LazyLock<TestClock> = LazyLock::new(|| TestClock::fixed(1_800_000_000));

fn now() -> u64 {
    let now = CLOCK.now().duration_since(UNIX_EPOCH);
    now.expect("after 1970").as_secs()
}

fn builder() -> VerifierBuilder {
    Verifier::builder(ISSUER).audience(AUDIENCE)
}

/// A verifier by these rules, with the usual key.
fn verifier<P: Profile, C: Send + Sync + 'static>(rules: VerifierBuilder<P, C>) -> Verifier<P, C> {
    with_keys(rules, [key(USUAL).jwk()])
}

fn with_keys<P: Profile, C: Send + Sync + 'static>(
    rules: VerifierBuilder<P, C>,
    jwks: impl IntoIterator<Item = Value>,
) -> Verifier<P, C> {
    rules
        .fixed_with_clock(set(jwks), CLOCK.clock())
        .expect("a verifier")
}

/// Claims that [`builder`]'s verifier takes.
fn good() -> Value {
    json!({"iss": ISSUER, "aud": AUDIENCE, "sub": "ada", "iat": now(), "exp": now() + 3600})
}

fn with(claim: &str, value: impl Into<Value>) -> Value {
    changed(good(), &[(claim, value.into())])
}

fn without(claim: &str) -> Value {
    let mut claims = good();
    claims.as_object_mut().expect("an object").remove(claim);
    claims
}

fn changed(mut claims: Value, changes: &[(&str, Value)]) -> Value {
    for (claim, value) in changes {
        claims[*claim] = value.clone();
    }
    claims
}

fn minted(claims: &Value) -> String {
    key(USUAL).token(claims)
}

/// The usual header with one member set.
fn headed(member: &str, value: impl Into<Value>) -> String {
    let mut header = json!({"alg": USUAL.as_str(), "kid": signing::KID});
    header[member] = value.into();
    key(USUAL).token_with_header(&header, &good())
}

fn verdict<P: Profile, C: Send + Sync + 'static>(
    verifier: &Verifier<P, C>,
    token: &str,
) -> &'static str {
    match verifier.try_verify(token) {
        Ok(_) => "accepted",
        Err(error) => error.as_str(),
    }
}

/// Checks the verdict on each of these claims.
fn judge<P: Profile, C: Send + Sync + 'static>(
    verifier: &Verifier<P, C>,
    cases: impl IntoIterator<Item = (Value, &'static str)>,
) {
    for (claims, expected) in cases {
        assert_eq!(verdict(verifier, &minted(&claims)), expected, "{claims}");
    }
}
