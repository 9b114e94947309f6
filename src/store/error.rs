//! What can go wrong with a store.

use std::error::Error;
use std::fmt;
use std::sync::Arc;

use crate::fault::printable;

/// Why a store could not be asked, or why what it holds is of no use. Cheap to clone.
///
/// ```
/// use midil_auth::store::{StoreError, StoreErrorKind};
///
/// let error = StoreError::new(StoreErrorKind::Unavailable, "the server is loading");
/// assert!(error.is_transient());
/// assert_eq!(error.as_str(), "unavailable");
/// ```
#[derive(Clone, Debug)]
pub struct StoreError {
    kind: StoreErrorKind,
    message: Box<str>,
    cause: Option<Arc<dyn Error + Send + Sync>>,
}

/// The class of a [`StoreError`].
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
#[non_exhaustive]
pub enum StoreErrorKind {
    /// There is a record, but it is torn, tampered with, or another credential's.
    Corrupt,
    /// There is a record of a value that has reached its end: a token's expiry, a key set's
    /// `max_stale`.
    Expired,
    /// There is a record that was obtained later than it is now: the clock was set back.
    Future,
    /// The store panicked.
    Panicked,
    /// The store did not answer in time.
    Timeout,
    /// The store could not be asked: no connection, no permission, no space.
    Unavailable,
    /// There is a record in a format that this version does not know.
    UnknownFormat,
    /// There is a record that was sealed with another [`EncryptionKey`](super::EncryptionKey).
    WrongKey,
}

impl StoreErrorKind {
    /// Whether the store is at fault, and not the record.
    #[must_use]
    pub const fn is_transient(self) -> bool {
        matches!(self, Self::Panicked | Self::Timeout | Self::Unavailable)
    }

    /// A stable label for metrics and logs.
    #[must_use]
    pub const fn as_str(self) -> &'static str {
        match self {
            Self::Corrupt => "corrupt",
            Self::Expired => "expired",
            Self::Future => "future",
            Self::Panicked => "panicked",
            Self::Timeout => "timeout",
            Self::Unavailable => "unavailable",
            Self::UnknownFormat => "unknown_format",
            Self::WrongKey => "wrong_key",
        }
    }

    const fn meaning(self) -> &'static str {
        match self {
            Self::Corrupt => "the record cannot be read",
            Self::Expired => "the record has expired",
            Self::Future => "the record is from the future",
            Self::Panicked => "the store panicked",
            Self::Timeout => "the store did not answer in time",
            Self::Unavailable => "the store could not be asked",
            Self::UnknownFormat => "the record is in a format that is not known",
            Self::WrongKey => "the record is sealed with another key",
        }
    }
}

impl StoreError {
    /// A failure of this class; of the message 200 characters are kept.
    #[must_use]
    pub fn new(kind: StoreErrorKind, message: impl AsRef<str>) -> Self {
        Self {
            kind,
            message: printable(message.as_ref()).into(),
            cause: None,
        }
    }

    /// The same failure with what caused it.
    #[must_use]
    pub fn caused_by(mut self, cause: impl Into<Box<dyn Error + Send + Sync>>) -> Self {
        self.cause = Some(cause.into().into());
        self
    }

    /// What class of failure it is.
    #[must_use]
    pub const fn kind(&self) -> StoreErrorKind {
        self.kind
    }

    /// Whether the store is at fault, and not the record: the same call may succeed later.
    #[must_use]
    pub const fn is_transient(&self) -> bool {
        self.kind.is_transient()
    }

    /// A stable label for metrics and logs.
    #[must_use]
    pub const fn as_str(&self) -> &'static str {
        self.kind.as_str()
    }
}

impl From<StoreErrorKind> for StoreError {
    fn from(kind: StoreErrorKind) -> Self {
        Self::new(kind, kind.meaning())
    }
}

impl fmt::Display for StoreError {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.message)
    }
}

impl Error for StoreError {
    fn source(&self) -> Option<&(dyn Error + 'static)> {
        match &self.cause {
            Some(cause) => Some(&**cause),
            None => None,
        }
    }
}

/// What a store was asked to do.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
#[non_exhaustive]
pub enum StoreOperation {
    /// To load the record before the first fetch.
    Load,
    /// To remove the record of a token that a resource server refused.
    Remove,
    /// To save a fresh value.
    Save,
}

impl StoreOperation {
    /// A stable label for metrics and logs.
    #[must_use]
    pub const fn as_str(self) -> &'static str {
        match self {
            Self::Load => "load",
            Self::Remove => "remove",
            Self::Save => "save",
        }
    }
}
