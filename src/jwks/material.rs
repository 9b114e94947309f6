//! The key material of a JWK, and what is demanded of it (RFC 7518 §6, RFC 8037).

use aws_lc_rs::signature;

use super::Algorithm;
use super::jwk::{Jwk, SkipReason, bytes, text};

/// RSA moduli that are accepted, in bits (RFC 7518 §3.3; larger ones only cost time).
const RSA_BITS: std::ops::RangeInclusive<usize> = 2048..=8192;

/// The largest RSA exponent with which the library verifies anything, in bits.
const MAX_EXPONENT_BITS: usize = 33;

/// The key material itself.
#[derive(PartialEq, Eq, PartialOrd, Ord)]
pub(super) enum Material {
    Ec { curve: Curve, point: Vec<u8> },
    Ed25519 { x: Vec<u8> },
    Rsa { n: Vec<u8>, e: Vec<u8> },
}

#[derive(Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
pub(super) enum Curve {
    P256,
    P384,
    P521,
}

impl Curve {
    const fn coordinate_len(self) -> usize {
        match self {
            Self::P256 => 32,
            Self::P384 => 48,
            Self::P521 => 66,
        }
    }
}

impl Material {
    pub(super) fn rsa(jwk: &Jwk<'_>) -> Result<Self, SkipReason> {
        // Some issuers write a leading zero octet, against RFC 7518 §6.3.1.1; it changes nothing.
        let integer = |value| {
            let mut bytes = bytes(value)?;
            let zeros = bytes.iter().take_while(|&&byte| byte == 0).count();
            bytes.drain(..zeros);
            Ok(bytes)
        };
        let (n, e) = (integer(jwk.n)?, integer(jwk.e)?);
        let bits = |number: &[u8]| {
            number.len() * 8 - number.first().map_or(0, |top| top.leading_zeros() as usize)
        };
        let odd = |number: &[u8]| number.last().is_some_and(|low| low & 1 == 1);
        let usable_exponent = odd(&e) && (2..=MAX_EXPONENT_BITS).contains(&bits(&e));
        if !RSA_BITS.contains(&bits(&n)) || !odd(&n) || !usable_exponent {
            return Err(SkipReason::Material);
        }
        Ok(Self::Rsa { n, e })
    }

    pub(super) fn ec(jwk: &Jwk<'_>) -> Result<Self, SkipReason> {
        let curve = match text(jwk.crv)?.ok_or(SkipReason::Malformed)?.as_ref() {
            "P-256" => Curve::P256,
            "P-384" => Curve::P384,
            "P-521" => Curve::P521,
            _ => return Err(SkipReason::Unsupported),
        };
        let (x, y) = (bytes(jwk.x)?, bytes(jwk.y)?);
        if x.len() != curve.coordinate_len() || y.len() != curve.coordinate_len() {
            return Err(SkipReason::Material);
        }
        // SEC 1 §2.3.3, uncompressed.
        let point = [&[4][..], &x, &y].concat();
        Ok(Self::Ec { curve, point })
    }

    pub(super) fn okp(jwk: &Jwk<'_>) -> Result<Self, SkipReason> {
        if text(jwk.crv)?.ok_or(SkipReason::Malformed)? != "Ed25519" {
            return Err(SkipReason::Unsupported);
        }
        let x = bytes(jwk.x)?;
        if x.len() != signature::ED25519_PUBLIC_KEY_LEN || is_of_small_order(&x) {
            return Err(SkipReason::Material);
        }
        Ok(Self::Ed25519 { x })
    }

    pub(super) const fn algorithms(&self) -> &'static [Algorithm] {
        use Algorithm::{
            ES256, ES384, ES512, Ed25519, EdDSA, PS256, PS384, PS512, RS256, RS384, RS512,
        };
        match self {
            Self::Rsa { .. } => &[RS256, RS384, RS512, PS256, PS384, PS512],
            Self::Ec {
                curve: Curve::P256, ..
            } => &[ES256],
            Self::Ec {
                curve: Curve::P384, ..
            } => &[ES384],
            Self::Ec {
                curve: Curve::P521, ..
            } => &[ES512],
            Self::Ed25519 { .. } => &[EdDSA, Ed25519],
        }
    }
}

/// Whether an Ed25519 point has an order of 8 or less: anybody can sign for such a key. There are
/// seven such values of y, non-canonical ones included.
fn is_of_small_order(point: &[u8]) -> bool {
    const P: [u8; 31] = [0xff; 31];
    let Some((&top, low)) = point.split_last() else {
        return false;
    };
    let Some((&first, middle)) = low.split_first() else {
        return false;
    };
    // The top bit is the sign of x, which does not matter.
    match top & 0x7f {
        0 if middle.iter().all(|&byte| byte == 0) => first <= 1,
        // p − 1, p and p + 1, with p = 2²⁵⁵ − 19.
        0x7f if middle == &P[1..] => (0xec..=0xee).contains(&first),
        masked => ORDER_8.iter().any(|y| {
            y.split_last()
                .is_some_and(|(&t, l)| t == masked && l == low)
        }),
    }
}

/// The two values of y of the points of order 8.
const ORDER_8: [[u8; 32]; 2] = [
    [
        0x26, 0xe8, 0x95, 0x8f, 0xc2, 0xb2, 0x27, 0xb0, 0x45, 0xc3, 0xf4, 0x89, 0xf2, 0xef, 0x98,
        0xf0, 0xd5, 0xdf, 0xac, 0x05, 0xd3, 0xc6, 0x33, 0x39, 0xb1, 0x38, 0x02, 0x88, 0x6d, 0x53,
        0xfc, 0x05,
    ],
    [
        0xc7, 0x17, 0x6a, 0x70, 0x3d, 0x4d, 0xd8, 0x4f, 0xba, 0x3c, 0x0b, 0x76, 0x0d, 0x10, 0x67,
        0x0f, 0x2a, 0x20, 0x53, 0xfa, 0x2c, 0x39, 0xcc, 0xc6, 0x4e, 0xc7, 0xfd, 0x77, 0x92, 0xac,
        0x03, 0x7a,
    ],
];
