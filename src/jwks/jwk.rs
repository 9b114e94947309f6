//! The members of a JSON Web Key (RFC 7517 §4), as they are written, and why a key is skipped.

use std::borrow::Cow;
use std::fmt;

use crate::json::{self, Kind, Value};

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
pub(super) struct Jwk<'a> {
    pub(super) kty: Option<Value<'a>>,
    pub(super) kid: Option<Value<'a>>,
    pub(super) alg: Option<Value<'a>>,
    public_key_use: Option<Value<'a>>,
    key_ops: Option<Value<'a>>,
    pub(super) crv: Option<Value<'a>>,
    pub(super) n: Option<Value<'a>>,
    pub(super) e: Option<Value<'a>>,
    pub(super) x: Option<Value<'a>>,
    pub(super) y: Option<Value<'a>>,
    /// Whether there is a private or symmetric member.
    pub(super) secret: bool,
}

impl<'a> Jwk<'a> {
    pub(super) fn read(text: &'a str) -> Result<Self, json::Flaw> {
        let mut jwk = Self::default();
        json::object(text, |name, value| {
            let member = match name {
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

/// A string member, if present; anything but a string is an error.
pub(super) fn text<'a>(value: Option<Value<'a>>) -> Result<Option<Cow<'a, str>>, SkipReason> {
    match value {
        None => Ok(None),
        Some(value) => value.string().map(Some).ok_or(SkipReason::Malformed),
    }
}

/// Refuses a key that says it is not for verifying (RFC 7517 §4.2, §4.3).
pub(super) fn for_verification(jwk: &Jwk<'_>) -> Result<(), SkipReason> {
    if text(jwk.public_key_use)?.is_some_and(|public_key_use| public_key_use != "sig") {
        return Err(SkipReason::Use);
    }
    let Some(operations) = jwk.key_ops else {
        return Ok(());
    };
    if !matches!(operations.kind, Kind::Array { .. }) {
        return Err(SkipReason::Malformed);
    }
    let mut verifies = false;
    json::array(operations.raw(), |operation| {
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

/// A member of unpadded, canonical base64url.
pub(super) fn bytes(value: Option<Value<'_>>) -> Result<Vec<u8>, SkipReason> {
    let text = text(value)?.ok_or(SkipReason::Malformed)?;
    base64_simd::URL_SAFE_NO_PAD
        .decode_to_vec(text.as_bytes())
        .map_err(|_| SkipReason::Material)
}
