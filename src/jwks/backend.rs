//! What checks a signature: aws-lc-rs, or graviola with the keys that it is the faster for.

#[cfg(all(
    feature = "graviola",
    any(target_arch = "aarch64", target_arch = "x86_64")
))]
mod graviola;

use aws_lc_rs::digest::{self, digest};
use aws_lc_rs::signature::{
    self, ParsedPublicKey, RsaParameters, RsaPublicKeyComponents, VerificationAlgorithm,
};

use super::Algorithm;
use super::jwk::SkipReason;
use super::material::Material;

/// A public key that is ready to check signatures of one algorithm.
pub(crate) trait PublicKey: Send + Sync {
    /// Checks that `signature` is one over `signed`.
    fn verify(&self, signed: &[u8], signature: &[u8]) -> Result<(), BadSignature>;
}

/// Not the signature of the holder of the key.
#[derive(Debug)]
pub(crate) struct BadSignature;

struct AwsLc {
    key: ParsedPublicKey,
    /// What is signed of a message, where it is not the message itself.
    digest: Option<&'static digest::Algorithm>,
}

impl PublicKey for AwsLc {
    fn verify(&self, signed: &[u8], signature: &[u8]) -> Result<(), BadSignature> {
        // To hash first costs a hundredth less than to have both done in one.
        let verdict = match self.digest {
            Some(algorithm) => self
                .key
                .verify_digest_sig(&digest(algorithm, signed), signature),
            None => self.key.verify_sig(signed, signature),
        };
        verdict.map_err(|_| BadSignature)
    }
}

/// Prepares the key for `algorithm`.
pub(super) fn prepare(
    material: &Material,
    algorithm: Algorithm,
) -> Result<Box<dyn PublicKey>, SkipReason> {
    // Which keys are usable is for aws-lc-rs to say, whoever checks signatures with them.
    let key = parse(material, algorithm)?;
    #[cfg(all(
        feature = "graviola",
        any(target_arch = "aarch64", target_arch = "x86_64")
    ))]
    if let Some(key) = graviola::prepare(material, algorithm) {
        return Ok(key);
    }
    Ok(Box::new(AwsLc {
        key,
        digest: digest_of(algorithm),
    }))
}

fn parse(material: &Material, algorithm: Algorithm) -> Result<ParsedPublicKey, SkipReason> {
    let bytes = match material {
        Material::Rsa { n, e } => {
            let parameters = rsa_parameters(algorithm).ok_or(SkipReason::Algorithm)?;
            return RsaPublicKeyComponents { n, e }
                .to_parsed_public_key(parameters)
                .map_err(|_| SkipReason::Material);
        }
        Material::Ec { point, .. } => point,
        Material::Ed25519 { x } => x,
    };
    let verification = verification(algorithm).ok_or(SkipReason::Algorithm)?;
    ParsedPublicKey::new(verification, bytes).map_err(|_| SkipReason::Material)
}

fn digest_of(algorithm: Algorithm) -> Option<&'static digest::Algorithm> {
    match algorithm {
        Algorithm::RS256 | Algorithm::PS256 | Algorithm::ES256 => Some(&digest::SHA256),
        Algorithm::RS384 | Algorithm::PS384 | Algorithm::ES384 => Some(&digest::SHA384),
        Algorithm::RS512 | Algorithm::PS512 | Algorithm::ES512 => Some(&digest::SHA512),
        Algorithm::EdDSA | Algorithm::Ed25519 => None,
    }
}

const fn rsa_parameters(algorithm: Algorithm) -> Option<&'static RsaParameters> {
    Some(match algorithm {
        Algorithm::RS256 => &signature::RSA_PKCS1_2048_8192_SHA256,
        Algorithm::RS384 => &signature::RSA_PKCS1_2048_8192_SHA384,
        Algorithm::RS512 => &signature::RSA_PKCS1_2048_8192_SHA512,
        Algorithm::PS256 => &signature::RSA_PSS_2048_8192_SHA256,
        Algorithm::PS384 => &signature::RSA_PSS_2048_8192_SHA384,
        Algorithm::PS512 => &signature::RSA_PSS_2048_8192_SHA512,
        _ => return None,
    })
}

const fn verification(algorithm: Algorithm) -> Option<&'static dyn VerificationAlgorithm> {
    Some(match algorithm {
        Algorithm::ES256 => &signature::ECDSA_P256_SHA256_FIXED,
        Algorithm::ES384 => &signature::ECDSA_P384_SHA384_FIXED,
        Algorithm::ES512 => &signature::ECDSA_P521_SHA512_FIXED,
        Algorithm::EdDSA | Algorithm::Ed25519 => &signature::ED25519,
        _ => return None,
    })
}
