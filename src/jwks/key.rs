//! One JSON Web Key, judged and prepared.

use std::borrow::Cow;
use std::fmt;

use aws_lc_rs::digest;
use aws_lc_rs::signature::{
    self, ParsedPublicKey, RsaParameters, RsaPublicKeyComponents, VerificationAlgorithm,
};

use super::Algorithm;
use crate::fault::printable;
use crate::json::{self, Kind, Value};

/// RSA moduli that are accepted, in bits (RFC 7518 §3.3; larger ones only cost time).
const RSA_BITS: std::ops::RangeInclusive<usize> = 2048..=8192;

/// The largest RSA exponent with which the library verifies anything, in bits.
const MAX_EXPONENT_BITS: usize = 33;

/// A usable key: prepared for each algorithm it may verify.
pub(crate) struct Key {
    pub(crate) kid: Option<Box<str>>,
    /// SHA-256 over what the key is, to tell new material under an old kid.
    pub(crate) fingerprint: [u8; 32],
    prepared: Vec<(Algorithm, ParsedPublicKey)>,
}

/// A key of a JWK Set that cannot be used.
#[derive(Clone, Debug, PartialEq, Eq)]
#[non_exhaustive]
pub struct SkippedKey {
    /// Its key id, if it is a string; bounded and printable.
    pub kid: Option<String>,
    /// Why.
    pub reason: SkipReason,
}

/// Why a key cannot be used.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
#[non_exhaustive]
pub enum SkipReason {
    /// `alg` is unknown here or does not fit the key type.
    Algorithm,
    /// Symmetric: whoever can verify with it can also sign.
    Symmetric,
    /// Not an object, a member twice, or a member of the wrong type.
    Malformed,
    /// The key material is not what its type demands: bad base64url, a point off the curve, an
    /// RSA modulus under 2048 or over 8192 bits, an even, tiny or huge exponent.
    Material,
    /// It holds private members, so it is not private any more.
    Private,
    /// A key type or curve that is not supported.
    Unsupported,
    /// `use` or `key_ops` say that it is not for verifying signatures.
    Use,
}

impl SkipReason {
    /// A stable label for metrics and logs.
    #[must_use]
    pub const fn as_str(self) -> &'static str {
        match self {
            Self::Algorithm => "algorithm",
            Self::Malformed => "malformed",
            Self::Material => "material",
            Self::Private => "private",
            Self::Symmetric => "symmetric",
            Self::Unsupported => "unsupported",
            Self::Use => "use",
        }
    }
}

impl fmt::Display for SkippedKey {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(
            f,
            "{}: {}",
            self.kid.as_deref().unwrap_or("-"),
            self.reason.as_str()
        )
    }
}

/// The members of a JWK that matter here.
#[derive(Default)]
struct Jwk<'a> {
    kty: Option<Value<'a>>,
    kid: Option<Value<'a>>,
    alg: Option<Value<'a>>,
    public_key_use: Option<Value<'a>>,
    key_ops: Option<Value<'a>>,
    crv: Option<Value<'a>>,
    n: Option<Value<'a>>,
    e: Option<Value<'a>>,
    x: Option<Value<'a>>,
    y: Option<Value<'a>>,
    secret: bool,
}

impl<'a> Jwk<'a> {
    fn read(text: &'a str) -> Result<Self, json::Flaw> {
        let mut jwk = Self::default();
        json::object(text, |name, value| {
            let member = match &*name {
                "kty" => &mut jwk.kty,
                "kid" => &mut jwk.kid,
                "alg" => &mut jwk.alg,
                "use" => &mut jwk.public_key_use,
                "key_ops" => &mut jwk.key_ops,
                "crv" => &mut jwk.crv,
                "n" => &mut jwk.n,
                "e" => &mut jwk.e,
                "x" => &mut jwk.x,
                "y" => &mut jwk.y,
                "d" | "p" | "q" | "dp" | "dq" | "qi" | "oth" | "k" | "priv" => {
                    jwk.secret = true;
                    return;
                }
                _ => return,
            };
            *member = Some(value);
        })?;
        Ok(jwk)
    }
}

impl Key {
    pub(super) fn parse(text: &str) -> Result<Self, SkippedKey> {
        let Ok(jwk) = Jwk::read(text) else {
            return Err(SkippedKey {
                kid: None,
                reason: SkipReason::Malformed,
            });
        };
        Self::judge(&jwk).map_err(|reason| SkippedKey {
            kid: jwk.kid.and_then(Value::string).map(|kid| printable(&kid)),
            reason,
        })
    }

    fn judge(jwk: &Jwk<'_>) -> Result<Self, SkipReason> {
        let kid = text(jwk.kid)?;
        let kty = text(jwk.kty)?.ok_or(SkipReason::Malformed)?;
        if kty == "oct" {
            return Err(SkipReason::Symmetric);
        }
        if jwk.secret {
            return Err(SkipReason::Private);
        }
        for_verification(jwk)?;
        let material = match &*kty {
            "RSA" => Material::rsa(jwk)?,
            "EC" => Material::ec(jwk)?,
            "OKP" => Material::okp(jwk)?,
            _ => return Err(SkipReason::Unsupported),
        };
        let named = match text(jwk.alg)? {
            None => None,
            Some(name) => Some(Algorithm::from_name(&name).ok_or(SkipReason::Algorithm)?),
        };
        let mut prepared = Vec::new();
        for &algorithm in material.algorithms() {
            if named.is_none_or(|named| named.synonyms().any(|name| name == algorithm)) {
                prepared.push((algorithm, material.prepare(algorithm)?));
            }
        }
        if prepared.is_empty() {
            return Err(SkipReason::Algorithm);
        }
        Ok(Self {
            kid: kid.map(|kid| kid.into_owned().into()),
            fingerprint: material.fingerprint(named),
            prepared,
        })
    }

    /// The key prepared for `algorithm`, if it may be used for it.
    pub(crate) fn verifier(&self, algorithm: Algorithm) -> Option<&ParsedPublicKey> {
        let prepared = self.prepared.iter().find(|(known, _)| *known == algorithm);
        prepared.map(|(_, key)| key)
    }
}

/// A string member, if present; anything but a string is an error.
fn text<'a>(value: Option<Value<'a>>) -> Result<Option<Cow<'a, str>>, SkipReason> {
    match value {
        None => Ok(None),
        Some(value) => value.string().map(Some).ok_or(SkipReason::Malformed),
    }
}

/// Refuses a key that says it is not for verifying (RFC 7517 §4.2, §4.3).
fn for_verification(jwk: &Jwk<'_>) -> Result<(), SkipReason> {
    if text(jwk.public_key_use)?.is_some_and(|public_key_use| public_key_use != "sig") {
        return Err(SkipReason::Use);
    }
    let Some(operations) = jwk.key_ops else {
        return Ok(());
    };
    if operations.kind != Kind::Array {
        return Err(SkipReason::Malformed);
    }
    let mut verifies = false;
    json::array(operations.raw, |operation| {
        verifies |= operation
            .string()
            .is_some_and(|operation| operation == "verify");
    })
    .map_err(|_| SkipReason::Malformed)?;
    if verifies {
        Ok(())
    } else {
        Err(SkipReason::Use)
    }
}

/// The key material itself.
enum Material {
    Ec { curve: Curve, point: Vec<u8> },
    Ed25519 { x: Vec<u8> },
    Rsa { n: Vec<u8>, e: Vec<u8> },
}

#[derive(Clone, Copy)]
enum Curve {
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
    fn rsa(jwk: &Jwk<'_>) -> Result<Self, SkipReason> {
        // Some issuers write a leading zero octet, against RFC 7518 §6.3.1.1; it changes nothing.
        let integer = |value| {
            let bytes = bytes(value)?;
            let zeros = bytes.iter().take_while(|&&byte| byte == 0).count();
            Ok(bytes.get(zeros..).unwrap_or_default().to_vec())
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

    fn ec(jwk: &Jwk<'_>) -> Result<Self, SkipReason> {
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

    fn okp(jwk: &Jwk<'_>) -> Result<Self, SkipReason> {
        if text(jwk.crv)?.ok_or(SkipReason::Malformed)? != "Ed25519" {
            return Err(SkipReason::Unsupported);
        }
        let x = bytes(jwk.x)?;
        if x.len() != signature::ED25519_PUBLIC_KEY_LEN || is_of_small_order(&x) {
            return Err(SkipReason::Material);
        }
        Ok(Self::Ed25519 { x })
    }

    const fn algorithms(&self) -> &'static [Algorithm] {
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

    fn prepare(&self, algorithm: Algorithm) -> Result<ParsedPublicKey, SkipReason> {
        let bytes = match self {
            Self::Rsa { n, e } => {
                let parameters = rsa_parameters(algorithm).ok_or(SkipReason::Algorithm)?;
                let components = RsaPublicKeyComponents { n, e };
                return components
                    .to_parsed_public_key(parameters)
                    .map_err(|_| SkipReason::Material);
            }
            Self::Ec { point, .. } => point,
            Self::Ed25519 { x } => x,
        };
        let verification = verification(algorithm).ok_or(SkipReason::Algorithm)?;
        ParsedPublicKey::new(verification, bytes).map_err(|_| SkipReason::Material)
    }

    fn fingerprint(&self, named: Option<Algorithm>) -> [u8; 32] {
        let parts: [&[u8]; 3] = match self {
            Self::Rsa { n, e } => [b"RSA", n, e],
            Self::Ec { point, .. } => [b"EC", point, b""],
            Self::Ed25519 { x } => [b"Ed25519", x, b""],
        };
        let mut context = digest::Context::new(&digest::SHA256);
        context.update(named.map_or("", Algorithm::as_str).as_bytes());
        for part in parts {
            context.update(&(part.len() as u64).to_be_bytes());
            context.update(part);
        }
        let mut fingerprint = [0; 32];
        fingerprint.copy_from_slice(context.finish().as_ref());
        fingerprint
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

/// A member of unpadded, canonical base64url.
fn bytes(value: Option<Value<'_>>) -> Result<Vec<u8>, SkipReason> {
    let text = text(value)?.ok_or(SkipReason::Malformed)?;
    base64_simd::URL_SAFE_NO_PAD
        .decode_to_vec(text.as_bytes())
        .map_err(|_| SkipReason::Material)
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
