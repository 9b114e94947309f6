//! How much of a key set is read.

use crate::fault::ConfigError;

/// How much of a key set is read; what is larger is refused, and the set in service stays.
///
/// # Example
///
/// ```
/// use midil_auth::jwks::KeySetLimits;
///
/// let limits = KeySetLimits::new().max_bytes(64 * 1024).max_keys(50);
/// assert!(limits.validate().is_ok());
/// assert!(limits.max_keys(0).validate().is_err());
/// ```
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
#[must_use]
pub struct KeySetLimits {
    pub(crate) bytes: usize,
    pub(crate) keys: usize,
}

impl Default for KeySetLimits {
    fn default() -> Self {
        Self::new()
    }
}

impl KeySetLimits {
    /// The defaults.
    pub const fn new() -> Self {
        Self {
            bytes: 512 * 1024,
            keys: 1_000,
        }
    }

    /// The largest body, in bytes.
    ///
    /// From 1 KiB to 16 MiB. Defaults to 512 KiB.
    pub const fn max_bytes(mut self, bytes: usize) -> Self {
        self.bytes = bytes;
        self
    }

    /// The most keys, usable or not.
    ///
    /// From 1 to 100,000. Defaults to 1,000.
    pub const fn max_keys(mut self, keys: usize) -> Self {
        self.keys = keys;
        self
    }

    /// Checks that both are in their range.
    ///
    /// # Errors
    ///
    /// [`ConfigError`] names the setting.
    pub fn validate(&self) -> Result<(), ConfigError> {
        if !(1024..=16 * 1024 * 1024).contains(&self.bytes) {
            return Err(ConfigError::new(
                "max_bytes",
                format!("is {}", self.bytes),
                "use a size from 1 KiB to 16 MiB",
            ));
        }
        if !(1..=100_000).contains(&self.keys) {
            return Err(ConfigError::new(
                "max_keys",
                format!("is {}", self.keys),
                "use a number from 1 to 100,000",
            ));
        }
        Ok(())
    }
}
