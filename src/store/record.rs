//! What is stored under a key.

use std::fmt;
use std::time::SystemTime;

use zeroize::Zeroizing;

use super::{StoreErrorKind, frame};
use crate::clock::Wall;

/// An access token or a key set as a store keeps it: opaque bytes with a version and times.
///
/// The bytes hold a secret. They are wiped when dropped and `Debug` does not show them.
#[derive(Clone, PartialEq, Eq)]
pub struct Record {
    version: u64,
    obtained_at: Wall,
    expires_at: Wall,
    payload: Zeroizing<Vec<u8>>,
}

const TAG: &str = "record/1";

impl Record {
    /// A record, as a store puts it together from what it kept.
    #[must_use]
    pub fn new(
        version: u64,
        obtained_at: SystemTime,
        expires_at: SystemTime,
        payload: Vec<u8>,
    ) -> Self {
        Self {
            version,
            obtained_at: Wall::from_system(obtained_at),
            expires_at: Wall::from_system(expires_at),
            payload: Zeroizing::new(payload),
        }
    }

    pub(crate) const fn of(
        version: u64,
        obtained_at: Wall,
        expires_at: Wall,
        payload: Zeroizing<Vec<u8>>,
    ) -> Self {
        Self {
            version,
            obtained_at,
            expires_at,
            payload,
        }
    }

    /// Grows with every value that is stored under a key, whoever stores it: nanoseconds since
    /// 1970 on the clock of the one who saved it, or one more than any version it has seen under
    /// the key, whichever is greater.
    #[must_use]
    pub const fn version(&self) -> u64 {
        self.version
    }

    /// When the value was asked for, or a key set last confirmed by its issuer.
    #[must_use]
    pub fn obtained_at(&self) -> SystemTime {
        self.obtained_at.to_system()
    }

    /// From when on the record is of no use, so that a store may forget it.
    #[must_use]
    pub fn expires_at(&self) -> SystemTime {
        self.expires_at.to_system()
    }

    /// The value. Never log it.
    #[must_use]
    pub fn payload(&self) -> &[u8] {
        &self.payload
    }

    /// Whether this record may take the place of `other` under the same key: its version is not
    /// lower.
    #[must_use]
    pub const fn replaces(&self, other: &Self) -> bool {
        self.version >= other.version
    }

    pub(crate) const fn obtained(&self) -> Wall {
        self.obtained_at
    }

    pub(crate) const fn expires(&self) -> Wall {
        self.expires_at
    }

    pub(super) fn to_bytes(&self) -> Zeroizing<Vec<u8>> {
        let numbers = [
            self.version.to_be_bytes(),
            self.obtained_at.as_nanos().to_be_bytes(),
            self.expires_at.as_nanos().to_be_bytes(),
        ];
        let [version, obtained_at, expires_at] = &numbers;
        frame::write(&[
            TAG.as_bytes(),
            version,
            obtained_at,
            expires_at,
            &self.payload,
        ])
    }

    pub(super) fn from_bytes(bytes: &[u8]) -> Result<Self, StoreErrorKind> {
        let [version, obtained_at, expires_at, payload] = frame::read(bytes, TAG)?;
        let number = |bytes: &[u8]| {
            let bytes = bytes.try_into().map_err(|_| StoreErrorKind::Corrupt)?;
            Ok::<_, StoreErrorKind>(u64::from_be_bytes(bytes))
        };
        Ok(Self {
            version: number(version)?,
            obtained_at: Wall::from_nanos(number(obtained_at)?),
            expires_at: Wall::from_nanos(number(expires_at)?),
            payload: Zeroizing::new(payload.to_vec()),
        })
    }
}

impl fmt::Debug for Record {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Record")
            .field("version", &self.version)
            .field("obtained_at", &self.obtained_at())
            .field("expires_at", &self.expires_at())
            .field("payload", &"[redacted]")
            .finish()
    }
}
