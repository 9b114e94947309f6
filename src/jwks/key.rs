//! One JSON Web Key, judged and prepared.

use std::sync::Arc;

use super::Algorithm;
use super::backend::{self, PublicKey};
use super::jwk::{Jwk, SkipReason, SkippedKey, for_verification, text};
use super::material::Material;
use crate::fault::printable;
use crate::json::Value;

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
