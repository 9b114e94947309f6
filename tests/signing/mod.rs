//! Signing keys that are made once for a test binary, and sets made of them.

use std::sync::OnceLock;

use midil_auth::jwks::{Algorithm, KeySet};
use midil_auth::testing::SigningKey;
use serde_json::{Value, json};

/// The key id of every key that [`key`] makes: what differs is the material alone.
pub(crate) const KID: &str = "k";

/// The one key of that algorithm; RSA keys are slow to make.
pub(crate) fn key(algorithm: Algorithm) -> &'static SigningKey {
    static KEYS: [OnceLock<SigningKey>; Algorithm::ALL.len()] =
        [const { OnceLock::new() }; Algorithm::ALL.len()];
    KEYS[algorithm as usize].get_or_init(|| SigningKey::generate(algorithm, KID))
}

/// The set of these JWKs, of which at least one must be usable.
pub(crate) fn set(jwks: impl IntoIterator<Item = Value>) -> KeySet {
    let keys: Vec<Value> = jwks.into_iter().collect();
    KeySet::from_json(json!({ "keys": keys }).to_string().as_bytes()).expect("a usable key")
}

pub(crate) fn encode(bytes: impl AsRef<[u8]>) -> String {
    base64_simd::URL_SAFE_NO_PAD.encode_to_string(bytes.as_ref())
}

#[allow(dead_code, reason = "not every test binary reads base64url")]
pub(crate) fn decode(text: &str) -> Vec<u8> {
    base64_simd::URL_SAFE_NO_PAD
        .decode_to_vec(text)
        .expect("base64url")
}
