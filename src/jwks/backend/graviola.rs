//! Signatures by graviola: RSA and Ed25519. With points of the NIST curves aws-lc-rs is the faster.

use ::graviola::Error;
use ::graviola::signing::eddsa::Ed25519VerifyingKey;
use ::graviola::signing::rsa;
use ::graviola::util::is_cpu_supported;

use super::{BadSignature, PublicKey};
use crate::jwks::Algorithm;
use crate::jwks::material::Material;

/// The lengths of a modulus that are in use, in octets. Others are left to aws-lc-rs.
const MODULI: [usize; 3] = [256, 384, 512];

struct Rsa {
    key: rsa::VerifyingKey,
    check: Check,
}

/// Takes the key, the signature and what is signed.
type Check = fn(&rsa::VerifyingKey, &[u8], &[u8]) -> Result<(), Error>;

impl PublicKey for Rsa {
    fn verify(&self, signed: &[u8], signature: &[u8]) -> Result<(), BadSignature> {
        (self.check)(&self.key, signature, signed).map_err(|_| BadSignature)
    }
}

impl PublicKey for Ed25519VerifyingKey {
    fn verify(&self, signed: &[u8], signature: &[u8]) -> Result<(), BadSignature> {
        Self::verify(self, signature, signed).map_err(|_| BadSignature)
    }
}

/// The key, if graviola can take it on this processor.
pub(super) fn prepare(material: &Material, algorithm: Algorithm) -> Option<Box<dyn PublicKey>> {
    // It panics on a processor that it has no code for.
    if !is_cpu_supported() {
        return None;
    }
    match material {
        Material::Rsa { n, e } if MODULI.contains(&n.len()) => {
            use rsa::VerifyingKey;
            let check = match algorithm {
                Algorithm::RS256 => VerifyingKey::verify_pkcs1_sha256,
                Algorithm::RS384 => VerifyingKey::verify_pkcs1_sha384,
                Algorithm::RS512 => VerifyingKey::verify_pkcs1_sha512,
                Algorithm::PS256 => VerifyingKey::verify_pss_sha256,
                Algorithm::PS384 => VerifyingKey::verify_pss_sha384,
                Algorithm::PS512 => VerifyingKey::verify_pss_sha512,
                _ => return None,
            };
            let key = VerifyingKey::from_pkcs1_der(&pkcs1(n, e)).ok()?;
            Some(Box::new(Rsa { key, check }))
        }
        Material::Ed25519 { x } => Some(Box::new(Ed25519VerifyingKey::from_bytes(x).ok()?)),
        Material::Ec { .. } | Material::Rsa { .. } => None,
    }
}

/// `RSAPublicKey` of RFC 8017, appendix A.1.1, in DER.
fn pkcs1(n: &[u8], e: &[u8]) -> Vec<u8> {
    const INTEGER: u8 = 0x02;
    const SEQUENCE: u8 = 0x30;
    // An integer whose top bit is set would be negative.
    let integer = |number: &[u8]| match number.first() {
        Some(0x80..) => element(INTEGER, &[&[0], number].concat()),
        _ => element(INTEGER, number),
    };
    element(SEQUENCE, &[integer(n), integer(e)].concat())
}

/// An element of DER with fewer than 65,536 octets in it, which the longest modulus has not.
fn element(tag: u8, content: &[u8]) -> Vec<u8> {
    let [.., high, low] = content.len().to_be_bytes();
    let length: &[u8] = match content.len() {
        0..=0x7f => &[low],
        0x80..=0xff => &[0x81, low],
        _ => &[0x82, high, low],
    };
    [&[tag], length, content].concat()
}

#[cfg(test)]
mod tests {
    use super::*;

    fn rsa(octets: usize) -> Material {
        let mut n = vec![0xff; octets];
        n[0] = 0x80;
        Material::Rsa {
            n,
            e: vec![1, 0, 1],
        }
    }

    #[test]
    fn takes_the_usual_keys_of_a_processor_that_it_knows() {
        let known = is_cpu_supported();
        for octets in MODULI {
            for algorithm in [Algorithm::RS256, Algorithm::PS512] {
                assert_eq!(prepare(&rsa(octets), algorithm).is_some(), known);
            }
        }
        let mut base = vec![0x66; 32];
        base[0] = 0x58;
        let point = Material::Ed25519 { x: base };
        assert_eq!(prepare(&point, Algorithm::EdDSA).is_some(), known);
    }

    #[test]
    fn leaves_the_rest() {
        assert!(prepare(&rsa(257), Algorithm::RS256).is_none());
        let off_the_curve = Material::Ed25519 { x: vec![2; 32] };
        assert!(prepare(&off_the_curve, Algorithm::EdDSA).is_none());
        let huge_exponent = Material::Rsa {
            n: vec![0xff; 256],
            e: vec![1, 0, 0, 0, 1],
        };
        assert!(prepare(&huge_exponent, Algorithm::RS256).is_none());
    }
}
