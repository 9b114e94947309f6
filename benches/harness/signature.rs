//! The bare signature check, which the others are measured against.

use aws_lc_rs::signature::{self, ParsedPublicKey, RsaPublicKeyComponents};
use midil_auth::jwks::Algorithm;
use serde_json::Value;

pub(crate) fn decode(text: &str) -> Vec<u8> {
    base64_simd::URL_SAFE_NO_PAD
        .decode_to_vec(text)
        .expect("base64url")
}

/// What is signed, and the signature decoded.
pub(crate) fn split(token: &str) -> (Vec<u8>, Vec<u8>) {
    let (signed, signature) = token.rsplit_once('.').expect("three segments");
    (signed.as_bytes().to_vec(), decode(signature))
}

fn member(jwk: &Value, name: &str) -> Vec<u8> {
    decode(jwk[name].as_str().expect("a member"))
}

/// What an RSA key is made of.
pub(crate) fn components(jwk: &Value) -> RsaPublicKeyComponents<Vec<u8>> {
    RsaPublicKeyComponents {
        n: member(jwk, "n"),
        e: member(jwk, "e"),
    }
}

/// The key, ready to check signatures.
pub(crate) fn parsed(jwk: &Value, algorithm: Algorithm) -> ParsedPublicKey {
    match algorithm {
        Algorithm::RS256 => {
            components(jwk).to_parsed_public_key(&signature::RSA_PKCS1_2048_8192_SHA256)
        }
        Algorithm::ES256 => {
            let point = [&[4][..], &member(jwk, "x"), &member(jwk, "y")].concat();
            ParsedPublicKey::new(&signature::ECDSA_P256_SHA256_FIXED, point)
        }
        _ => ParsedPublicKey::new(&signature::ED25519, member(jwk, "x")),
    }
    .expect("a key")
}
