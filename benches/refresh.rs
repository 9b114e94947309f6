//! A rotation of ten keys: reading the set beside reading the same bytes as JSON.
//!
//! `cargo bench --bench refresh`

#![expect(
    clippy::expect_used,
    reason = "a bench that cannot be set up has failed"
)]

use divan::Bencher;
use midil_auth::jwks::{Algorithm, KeySet};
use midil_auth::testing::SigningKey;
use serde_json::{Value, json};

fn main() {
    divan::main();
}

fn set() -> String {
    let key = |n| SigningKey::generate(Algorithm::RS256, format!("key-{n}")).jwk();
    json!({"keys": (0..10).map(key).collect::<Vec<_>>()}).to_string()
}

#[divan::bench]
fn floor_serde_json(bencher: Bencher) {
    let set = set();
    bencher.bench(|| serde_json::from_str::<Value>(&set).expect("JSON"));
}

#[divan::bench]
fn key_set(bencher: Bencher) {
    let set = set();
    bencher.bench(|| KeySet::from_json(set.as_bytes()).expect("a set"));
}
