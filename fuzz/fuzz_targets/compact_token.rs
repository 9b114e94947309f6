//! `Verifier::try_verify` at a fixed time.
//!
//! No mutation of a token survives its signature, so there are two kinds of input. One that
//! starts with `{` is a header and, after the first zero byte, claims: both are signed here, and
//! the fuzzer gets to what stands behind the signature. Every other one is a token as it is.

#![no_main]

use std::sync::LazyLock;

use libfuzzer_sys::fuzz_target;
use midil_auth::Verifier;
use midil_auth::jwks::{Algorithm, KeySet};
use midil_auth::jwt::Jwt;
use midil_auth::testing::{SigningKey, TestClock};
use serde_json::{Map, Value, json};

const NOW: u64 = 1_800_000_000;

/// Only its id is in the inputs, so that it may be another key in every run.
static SIGNER: LazyLock<SigningKey> =
    LazyLock::new(|| SigningKey::generate(Algorithm::EdDSA, "fuzz"));

/// The public keys of the corpus and that of the signer.
static VERIFIER: LazyLock<Verifier<Jwt, Map<String, Value>>> = LazyLock::new(|| {
    let corpus = include_str!("../../tests/corpus/keys.json");
    let corpus: Value = serde_json::from_str(corpus).expect("JSON");
    let mut keys = corpus["all"]["keys"].as_array().expect("keys").clone();
    keys.push(SIGNER.jwk());
    let keys = json!({ "keys": keys }).to_string();
    Verifier::builder("https://idp.example.com")
        .audience("https://api.example.com")
        .claims()
        .fixed_with_clock(
            KeySet::from_json(keys.as_bytes()).expect("usable keys"),
            TestClock::fixed(NOW).clock(),
        )
        .expect("a verifier")
});

fuzz_target!(|data: &[u8]| {
    let Ok(text) = std::str::from_utf8(data) else {
        return;
    };
    if !text.starts_with('{') {
        let _ = VERIFIER.try_verify(text);
        return;
    }
    let (header, payload) = text.split_once('\0').unwrap_or((text, "{}"));
    let Ok(claims) = VERIFIER.try_verify(&SIGNER.token_of(header, payload)) else {
        return;
    };
    // What was accepted says the same to a reader that is not ours.
    let header: Map<String, Value> = serde_json::from_str(header).expect("a JSON header");
    let payload: Map<String, Value> = serde_json::from_str(payload).expect("JSON claims");
    assert!(
        ["EdDSA", "Ed25519"]
            .map(Value::from)
            .contains(&header["alg"])
    );
    assert_eq!(payload["iss"], "https://idp.example.com");
    assert!(payload["exp"].as_f64().expect("a number") > NOW as f64);
    assert!(claims.audience().contains("https://api.example.com"));
    assert_eq!(claims.subject(), payload.get("sub").and_then(Value::as_str));
    assert_eq!(claims.custom(), &payload);
    for (name, value) in &payload {
        assert_eq!(claims.get(name).as_ref(), Some(value), "{name}");
    }
    let _ = (
        claims.scopes(),
        claims.groups(),
        claims.expires_at(),
        claims.issued_at(),
    );
    let _ = format!("{claims:?}");
});
