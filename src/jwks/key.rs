//! One JSON Web Key, judged and prepared.

use std::borrow::Cow;
use std::fmt;
use std::sync::Arc;

use super::Algorithm;
use super::backend::{self, PublicKey};
use super::material::Material;
use crate::fault::printable;
use crate::json::{self, Kind, Value};

/// A usable key: prepared for each algorithm it may verify.
pub(crate) struct Key {
    pub(crate) kid: Option<Arc<str>>,
    pub(crate) identity: Arc<Identity>,
    prepared: Vec<(Algorithm, Box<dyn PublicKey>)>,
    /// Where in its set the next key with the same id stands.
    pub(super) next: Option<usize>,
}

/// What a key is, to tell new material under an old id.
#[derive(PartialEq, Eq, PartialOrd, Ord)]
pub(crate) struct Identity {
    named: Option<Algorithm>,
    material: Material,
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
pub(super) struct Jwk<'a> {
    kty: Option<Value<'a>>,
    kid: Option<Value<'a>>,
    alg: Option<Value<'a>>,
    public_key_use: Option<Value<'a>>,
    key_ops: Option<Value<'a>>,
    pub(super) crv: Option<Value<'a>>,
    pub(super) n: Option<Value<'a>>,
    pub(super) e: Option<Value<'a>>,
    pub(super) x: Option<Value<'a>>,
    pub(super) y: Option<Value<'a>>,
    secret: bool,
}

impl<'a> Jwk<'a> {
    fn read(text: &'a str) -> Result<Self, json::Flaw> {
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
                prepared.push((algorithm, backend::prepare(&material, algorithm)?));
            }
        }
        if prepared.is_empty() {
            return Err(SkipReason::Algorithm);
        }
        Ok(Self {
            kid: kid.as_deref().map(Into::into),
            identity: Arc::new(Identity { named, material }),
            prepared,
            next: None,
        })
    }

    /// The key prepared for `algorithm`, if it may be used for it.
    pub(crate) fn verifier(&self, algorithm: Algorithm) -> Option<&dyn PublicKey> {
        let prepared = self.prepared.iter().find(|(known, _)| *known == algorithm);
        prepared.map(|(_, key)| &**key)
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
