//! A signed message in compact serialization over any payload (RFC 7515): what stands beneath a
//! JWT, for webhooks and the like.

use super::compact::{Header, Scratch, Segments};
use super::error::VerifyError;
use crate::jwks::{Algorithm, AlgorithmSet, Key, KeySet};

/// The largest token, in bytes, unless told otherwise.
const MAX_BYTES: usize = 16 * 1024;

/// Keys that are tried for one token at most.
const MAX_TRIED: usize = 16;

/// What a signature must satisfy, whatever is signed.
///
/// # Example
///
/// ```
/// use midil_auth::jwks::{Algorithm, KeySet};
/// use midil_auth::jwt::JwsRules;
/// # let keys = KeySet::from_json(br#"{"keys":[{"kty":"OKP","crv":"Ed25519","x":"11qYAYKxCrfVS_7TyWQHOg7hcvPapiMlrwIaaPcHURo"}]}"#)?;
///
/// let rules = JwsRules::new().algorithms([Algorithm::Ed25519]).max_bytes(256 * 1024);
/// assert!(rules.verify("no message", &keys).is_err());
/// # Ok::<(), midil_auth::FetchError>(())
/// ```
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
#[must_use]
pub struct JwsRules {
    pub(super) algorithms: AlgorithmSet,
    pub(super) max_bytes: usize,
    pub(super) try_ambiguous: bool,
    pub(super) undeclared: bool,
}

impl Default for JwsRules {
    fn default() -> Self {
        Self::new()
    }
}

impl JwsRules {
    /// The defaults.
    pub const fn new() -> Self {
        Self {
            algorithms: AlgorithmSet::ALL,
            max_bytes: MAX_BYTES,
            try_ambiguous: false,
            undeclared: false,
        }
    }

    /// The algorithms that are allowed (RFC 8725 §3.1). Defaults to every asymmetric one, each
    /// only with a key that is for it.
    pub fn algorithms(mut self, algorithms: impl IntoIterator<Item = Algorithm>) -> Self {
        self.algorithms = algorithms.into_iter().collect();
        self
    }

    /// The largest message, in bytes as it is sent. Defaults to 16 KiB.
    pub const fn max_bytes(mut self, bytes: usize) -> Self {
        self.max_bytes = bytes;
        self
    }

    /// Tries every key that fits where several have the same `kid`, sixteen at most, instead of
    /// refusing.
    pub const fn try_ambiguous_keys(mut self) -> Self {
        self.try_ambiguous = true;
        self
    }

    /// Verifies a message by the keys of `keys`.
    ///
    /// # Errors
    ///
    /// [`VerifyError`]; of those about claims, none.
    pub fn verify(&self, message: &str, keys: &KeySet) -> Result<Jws, VerifyError> {
        let segments = Segments::split(message, self.max_bytes)?;
        let mut scratch = Scratch::new();
        let header = segments.header(&mut scratch)?;
        self.authenticate(keys, &segments, &header)?
            .ok_or(VerifyError::UnknownKey)?;
        let owned = |text: Option<&str>| text.map(Into::into);
        Ok(Jws {
            payload: segments.message()?,
            algorithm: header.algorithm,
            key_id: owned(header.kid.as_deref()),
            typ: owned(header.typ.as_deref()),
        })
    }

    /// The key that signed: the one that fits, or one of those that do if the rules allow to try
    /// them. `None` where no key has the id.
    pub(super) fn authenticate<'k>(
        &self,
        set: &'k KeySet,
        segments: &Segments<'_>,
        header: &Header<'_>,
    ) -> Result<Option<&'k Key>, VerifyError> {
        let Some((first, others)) = self.fitting(set, header.algorithm, header.kid.as_deref())?
        else {
            return Ok(None);
        };
        let signed = |key: &&Key| segments.verify(key, header.algorithm);
        match signed(&first) {
            Ok(()) => Ok(Some(first)),
            Err(error) => match others.into_iter().find(|key| signed(key).is_ok()) {
                Some(other) => Ok(Some(other)),
                None => Err(error),
            },
        }
    }

    /// The first key that may have signed a token with this header, and the others; `None` where
    /// no key has the id.
    pub(super) fn fitting<'k>(
        &self,
        set: &'k KeySet,
        algorithm: Algorithm,
        kid: Option<&str>,
    ) -> Result<Option<(&'k Key, Vec<&'k Key>)>, VerifyError> {
        if !self.allows(set, algorithm) {
            return Err(VerifyError::Algorithm);
        }
        let mut named = set.candidates(kid).peekable();
        if named.peek().is_none() {
            return Ok(None);
        }
        let mut fitting = named.filter(|key| key.verifier(algorithm).is_some());
        let first = fitting.next().ok_or(VerifyError::Algorithm)?;
        let others: Vec<_> = fitting.collect();
        if others.is_empty() || (self.try_ambiguous && others.len() < MAX_TRIED) {
            return Ok(Some((first, others)));
        }
        Err(VerifyError::Ambiguous)
    }

    fn allows(&self, set: &KeySet, algorithm: Algorithm) -> bool {
        let declared = set.declared().filter(|_| !self.undeclared);
        self.algorithms.contains(algorithm)
            && declared.is_none_or(|declared| declared.contains(algorithm))
    }
}

/// A message whose signature was verified.
///
/// # Example
///
/// ```
/// use midil_auth::jwks::KeySet;
/// use midil_auth::jwt::Jws;
///
/// // RFC 8037, appendix A.
/// let keys = KeySet::from_json(br#"{"keys":[
///     {"kty":"OKP","crv":"Ed25519","x":"11qYAYKxCrfVS_7TyWQHOg7hcvPapiMlrwIaaPcHURo"}
/// ]}"#)?;
/// let message = "eyJhbGciOiJFZERTQSJ9.RXhhbXBsZSBvZiBFZDI1NTE5IHNpZ25pbmc.\
///     hgyY0il_MGCjP0JzlnLWG1PPOt7-09PGcvMg3AIbQR6dWbhijcNR4ki4iylGjg5BhVsPt9g7sVvpAr_MuM0KAg";
/// let jws = Jws::verify(message, &keys)?;
/// assert_eq!(jws.payload(), b"Example of Ed25519 signing");
/// # Ok::<(), Box<dyn std::error::Error>>(())
/// ```
///
/// With keys that the JWKS actor keeps fresh, take them from
/// [`Verifier::keys`](super::Verifier::keys).
#[derive(Clone, Debug)]
pub struct Jws {
    payload: Vec<u8>,
    algorithm: Algorithm,
    key_id: Option<Box<str>>,
    typ: Option<Box<str>>,
}

impl Jws {
    /// Verifies a message by the keys of `keys` and the default [`JwsRules`].
    ///
    /// # Errors
    ///
    /// As [`JwsRules::verify`].
    pub fn verify(message: &str, keys: &KeySet) -> Result<Self, VerifyError> {
        JwsRules::new().verify(message, keys)
    }

    /// What was signed.
    #[must_use]
    pub fn payload(&self) -> &[u8] {
        &self.payload
    }

    /// What was signed, without a copy.
    #[must_use]
    pub fn into_payload(self) -> Vec<u8> {
        self.payload
    }

    /// `alg`: how it was signed.
    #[must_use]
    pub const fn algorithm(&self) -> Algorithm {
        self.algorithm
    }

    /// `kid`: with which key.
    #[must_use]
    pub fn key_id(&self) -> Option<&str> {
        self.key_id.as_deref()
    }

    /// `typ`: what it is said to be. The caller's to compare (RFC 8725 §3.11).
    #[must_use]
    pub fn typ(&self) -> Option<&str> {
        self.typ.as_deref()
    }
}
