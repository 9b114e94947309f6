//! The signature algorithms that a key set can verify (RFC 7518 §3.1, RFC 8037, RFC 9864).

use std::fmt;

/// An asymmetric signature algorithm. There is no `none` and no HMAC: a key set is public.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash, PartialOrd, Ord)]
#[non_exhaustive]
#[expect(missing_docs, reason = "the names are those of the IANA registry")]
pub enum Algorithm {
    RS256,
    RS384,
    RS512,
    PS256,
    PS384,
    PS512,
    ES256,
    ES384,
    ES512,
    /// `EdDSA`, with Ed25519 keys.
    EdDSA,
    /// The fully specified name of the same algorithm (RFC 9864).
    Ed25519,
}

impl Algorithm {
    /// Every algorithm, in the order of the registry.
    pub const ALL: [Self; 11] = [
        Self::RS256,
        Self::RS384,
        Self::RS512,
        Self::PS256,
        Self::PS384,
        Self::PS512,
        Self::ES256,
        Self::ES384,
        Self::ES512,
        Self::EdDSA,
        Self::Ed25519,
    ];

    /// The value of `alg`.
    #[must_use]
    pub const fn as_str(self) -> &'static str {
        match self {
            Self::RS256 => "RS256",
            Self::RS384 => "RS384",
            Self::RS512 => "RS512",
            Self::PS256 => "PS256",
            Self::PS384 => "PS384",
            Self::PS512 => "PS512",
            Self::ES256 => "ES256",
            Self::ES384 => "ES384",
            Self::ES512 => "ES512",
            Self::EdDSA => "EdDSA",
            Self::Ed25519 => "Ed25519",
        }
    }

    /// The algorithm under every name it has: `EdDSA` with an Ed25519 key and `Ed25519` are one
    /// (RFC 9864 §2.2).
    pub(crate) fn synonyms(self) -> impl Iterator<Item = Self> {
        let other = match self {
            Self::EdDSA => Some(Self::Ed25519),
            Self::Ed25519 => Some(Self::EdDSA),
            _ => None,
        };
        std::iter::once(self).chain(other)
    }

    /// The algorithm of that exact name; `None` for every other spelling.
    #[must_use]
    pub fn from_name(name: &str) -> Option<Self> {
        Self::ALL
            .into_iter()
            .find(|algorithm| algorithm.as_str() == name)
    }
}

impl fmt::Display for Algorithm {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(self.as_str())
    }
}

/// A set of algorithms.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct AlgorithmSet(u16);

impl AlgorithmSet {
    /// Every algorithm there is.
    pub const ALL: Self = Self((1 << Algorithm::ALL.len()) - 1);
    pub(crate) const NONE: Self = Self(0);

    /// Whether the set holds `algorithm`.
    #[must_use]
    pub const fn contains(self, algorithm: Algorithm) -> bool {
        self.0 & (1 << algorithm as u16) != 0
    }

    /// Whether the set holds nothing.
    #[must_use]
    pub const fn is_empty(self) -> bool {
        self.0 == 0
    }

    /// The names of its algorithms, separated by spaces.
    pub(super) fn names(self) -> String {
        let names = Algorithm::ALL
            .into_iter()
            .filter(|algorithm| self.contains(*algorithm))
            .map(Algorithm::as_str);
        names.collect::<Vec<_>>().join(" ")
    }

    /// The set of these names; `None` where one is not known.
    pub(super) fn from_names(names: &str) -> Option<Self> {
        names.split(' ').map(Algorithm::from_name).collect()
    }

    pub(crate) const fn with(self, algorithm: Algorithm) -> Self {
        Self(self.0 | 1 << algorithm as u16)
    }
}

impl FromIterator<Algorithm> for AlgorithmSet {
    fn from_iter<I: IntoIterator<Item = Algorithm>>(algorithms: I) -> Self {
        algorithms.into_iter().fold(Self::NONE, Self::with)
    }
}
