//! What everybody is given: a key, tokens that are good, and one that is not.

use std::path::Path;
use std::time::{Duration, SystemTime};

use aws_lc_rs::signature::ParsedPublicKey;
use midil_auth::jwks::Algorithm;
use midil_auth::testing::SigningKey;
use serde::Deserialize;
use serde_json::{Value, json};

use crate::harness::signature;

pub(crate) const ISSUER: &str = "https://cognito-idp.eu-west-1.amazonaws.com/eu-west-1_abcd1234";
pub(crate) const AUDIENCE: &str = "orders";
const POOL: &str = "eu-west-1_abcd1234";
const CLIENT: &str = "1example23456789";

/// Different tokens, so that no branch is learnt by heart.
pub(crate) const TOKENS: usize = 256;

/// A type of the application's own.
#[derive(Clone, Deserialize)]
#[expect(dead_code, reason = "read by nobody, but read into")]
pub(crate) struct Custom {
    sub: String,
    scope: String,
    username: String,
    #[serde(rename = "cognito:groups")]
    groups: Vec<String>,
}

/// The same, for whoever reads `sub` by itself and does not hand it on.
#[derive(Clone, Deserialize)]
#[expect(dead_code, reason = "read by nobody, but read into")]
pub(crate) struct CustomWithoutSub {
    scope: String,
    username: String,
    #[serde(rename = "cognito:groups")]
    groups: Vec<String>,
}

/// A Cognito-like access token of about a kilobyte, good for a day.
fn claims(n: usize) -> Value {
    let epoch = SystemTime::UNIX_EPOCH.elapsed().expect("after 1970");
    let now = epoch.as_secs() - 60;
    json!({
        "sub": format!("aaaaaaaa-bbbb-cccc-dddd-{n:012}"), "cognito:groups": ["admin", "users"],
        "iss": ISSUER, "version": 2, "client_id": CLIENT, "aud": AUDIENCE,
        "token_use": "access", "scope": "orders/read orders/write", "auth_time": now,
        "exp": now + Duration::from_hours(24).as_secs(), "iat": now,
        "jti": format!("aaaaaaaa-bbbb-cccc-dddd-{n:012}"),
        "username": "ada", "event_id": "aaaaaaaa-bbbb-cccc-dddd-eeeeeeeeeeee",
    })
}

pub(crate) struct Fixture {
    pub(crate) algorithm: Algorithm,
    /// The good ones, and at [`TOKENS`] the first of them with another signature.
    pub(crate) tokens: Vec<String>,
    jwk: Value,
}

impl Fixture {
    pub(crate) fn new(algorithm: Algorithm) -> Self {
        let key = SigningKey::generate(algorithm, "AbCdEfGhIjKlMnOpQrStUvWxYz0123456789AbCdEfG=");
        let mut tokens: Vec<_> = (0..TOKENS).map(|n| key.token(&claims(n))).collect();
        tokens.push(with_another_signature(&tokens[0]));
        Self {
            algorithm,
            tokens,
            jwk: key.jwk(),
        }
    }

    /// Where the server has the key set.
    pub(crate) fn path(&self) -> String {
        format!("/{}/jwks.json", self.algorithm.as_str())
    }

    pub(crate) fn jwks(&self) -> Value {
        json!({"keys": [self.jwk]})
    }

    /// For the peers that are processes of their own.
    pub(crate) fn write(&self, to: &Path, jwks_url: &str) -> std::io::Result<()> {
        let all = json!({
            "algorithm": self.algorithm.as_str(), "issuer": ISSUER, "audience": AUDIENCE,
            "pool": POOL, "client": CLIENT, "jwks": self.jwks(), "jwks_url": jwks_url,
            "tokens": self.tokens[..TOKENS], "forged": self.tokens[TOKENS],
        });
        std::fs::write(to, all.to_string())
    }

    /// The key for the bare signature check.
    pub(crate) fn parsed(&self) -> ParsedPublicKey {
        signature::parsed(&self.jwk, self.algorithm)
    }
}

fn with_another_signature(token: &str) -> String {
    let (signed, mut signature) = signature::split(token);
    let middle = signature.len() / 2;
    signature[middle] ^= 1;
    let signed = String::from_utf8(signed).expect("text");
    let signature = base64_simd::URL_SAFE_NO_PAD.encode_to_string(signature);
    format!("{signed}.{signature}")
}
