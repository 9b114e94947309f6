//! A rotation of ten keys, beside reading the same bytes as JSON and preparing ten keys.
//!
//! `cargo bench --bench refresh`

#![expect(
    clippy::expect_used,
    clippy::print_stdout,
    reason = "a bench that cannot be set up has failed, and prints"
)]

mod harness;

use std::sync::Arc;

use arc_swap::ArcSwap;
use aws_lc_rs::signature::{ParsedPublicKey, RSA_PKCS1_2048_8192_SHA256, RsaPublicKeyComponents};
use harness::signature::components;
use harness::{Contender, compare};
use midil_auth::jwks::{Algorithm, KeySet};
use midil_auth::testing::SigningKey;
use serde_json::{Value, json};

const KEYS: usize = 10;

fn read(set: &str) -> KeySet {
    KeySet::from_json(set.as_bytes()).expect("a set")
}

fn prepare(components: &RsaPublicKeyComponents<Vec<u8>>) -> ParsedPublicKey {
    components
        .to_parsed_public_key(&RSA_PKCS1_2048_8192_SHA256)
        .expect("a key")
}

fn main() {
    let key = |n| SigningKey::generate(Algorithm::RS256, format!("key-{n}")).jwk();
    let jwks: Vec<Value> = (0..KEYS).map(key).collect();
    let set = json!({"keys": jwks}).to_string();
    let decoded: Vec<_> = jwks.iter().map(components).collect();
    let published = ArcSwap::from_pointee(read(&set));
    let contenders = [
        Contender::new("serde_json, and ten keys prepared", || {
            let json: Value = serde_json::from_str(&set).expect("JSON");
            let keys: Vec<_> = decoded.iter().map(prepare).collect();
            (json, keys)
        }),
        Contender::new("a key set read and published", || {
            published.store(Arc::new(read(&set)));
        })
        .at_most(1.2),
    ];
    compare("a rotation of ten RSA keys", &contenders);
}
