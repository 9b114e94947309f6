//! Authenticated encryption of records, for places that others can read or write.

use std::fmt;

use aws_lc_rs::aead::{AES_256_GCM_SIV, Aad, NONCE_LEN, Nonce, RandomizedNonceKey};
use aws_lc_rs::hmac;
use zeroize::Zeroizing;

use super::{Record, StoreError, StoreErrorKind, StoreKey};
use crate::fault::ConfigError;

/// The key that records are sealed with: 32 random bytes, wiped when dropped, never printed.
///
/// `openssl rand -base64 32` makes one.
///
/// ```
/// use midil_auth::store::EncryptionKey;
///
/// let key = EncryptionKey::from_base64("q83vEjRWeJCrze8SNFZ4kKvN7xI0VniQq83vEjRWeJA=")?;
/// assert_eq!(format!("{key:?}"), "[redacted]");
/// assert_eq!(EncryptionKey::from_base64("c2hvcnQ=").unwrap_err().field(), "encryption_key");
/// # Ok::<(), midil_auth::ConfigError>(())
/// ```
#[derive(Clone)]
pub struct EncryptionKey(Zeroizing<[u8; 32]>);

/// Begins everything that is sealed.
const MAGIC: &[u8; 7] = b"midilst";
/// The one format there is so far.
const FORMAT: u8 = 1;
/// Tells one key from another, and nothing about either.
const KEY_ID: usize = 8;
/// Magic, format and key id.
const HEADER: usize = MAGIC.len() + 1 + KEY_ID;

impl EncryptionKey {
    /// A key of 32 random bytes.
    #[must_use]
    pub fn from_bytes(key: [u8; 32]) -> Self {
        Self(Zeroizing::new(key))
    }

    /// A key of 32 random bytes in base64, of the standard or the URL-safe alphabet, padded or
    /// not; space around it is ignored.
    ///
    /// # Errors
    ///
    /// [`ConfigError`] when it is anything else.
    pub fn from_base64(text: &str) -> Result<Self, ConfigError> {
        let text = text.trim().trim_end_matches('=');
        let decoded = base64_simd::STANDARD_NO_PAD
            .decode_to_vec(text)
            .or_else(|_| base64_simd::URL_SAFE_NO_PAD.decode_to_vec(text));
        let decoded = decoded.map(Zeroizing::new).ok();
        let bytes = decoded.and_then(|bytes| <[u8; 32]>::try_from(bytes.as_slice()).ok());
        bytes.map(Self::from_bytes).ok_or_else(|| {
            ConfigError::new(
                "encryption_key",
                "is not 32 bytes in base64",
                "write what `openssl rand -base64 32` prints",
            )
        })
    }

    /// Encrypts a record so that only [`open`](Self::open) with the same keys reads it
    /// (AES-256-GCM-SIV, RFC 8452, with a random nonce). It is bound to `key`: under that of
    /// another credential it does not open.
    ///
    /// # Errors
    ///
    /// [`StoreErrorKind::Unavailable`] when the system has no random numbers to give.
    pub fn seal(&self, key: &StoreKey, record: &Record) -> Result<Vec<u8>, StoreError> {
        let failed =
            |_| StoreError::new(StoreErrorKind::Unavailable, "the record cannot be sealed");
        let header = self.header();
        let mut text = record.to_bytes();
        let cipher = self.cipher()?;
        let (nonce, tag) = cipher
            .seal_in_place_separate_tag(aad(&header, key), &mut text)
            .map_err(failed)?;
        Ok([&header, &nonce.as_ref()[..], &text[..], tag.as_ref()].concat())
    }

    /// Reads what [`seal`](Self::seal) made of a record.
    ///
    /// # Errors
    ///
    /// [`StoreErrorKind::WrongKey`] when it was sealed with another key,
    /// [`StoreErrorKind::UnknownFormat`] when another version of this crate sealed it,
    /// [`StoreErrorKind::Corrupt`] when it is anything else than a whole record of `key`.
    pub fn open(&self, key: &StoreKey, sealed: &[u8]) -> Result<Record, StoreError> {
        let (header, rest) = sealed
            .split_first_chunk::<HEADER>()
            .ok_or(StoreErrorKind::Corrupt)?;
        let (nonce, text) = rest
            .split_first_chunk::<NONCE_LEN>()
            .ok_or(StoreErrorKind::Corrupt)?;
        let ours = self.header();
        let upto = |length: usize| header.get(..length) == ours.get(..length);
        if !upto(MAGIC.len()) {
            return Err(StoreErrorKind::Corrupt.into());
        }
        if !upto(MAGIC.len() + 1) {
            return Err(StoreErrorKind::UnknownFormat.into());
        }
        if *header != ours {
            return Err(StoreErrorKind::WrongKey.into());
        }
        let nonce = Nonce::assume_unique_for_key(*nonce);
        let mut text = Zeroizing::new(text.to_vec());
        let text = self
            .cipher()?
            .open_in_place(nonce, aad(header, key), &mut text)
            .map_err(|_| StoreErrorKind::Corrupt)?;
        Ok(Record::from_bytes(text)?)
    }

    fn cipher(&self) -> Result<RandomizedNonceKey, StoreError> {
        RandomizedNonceKey::new(&AES_256_GCM_SIV, &*self.0)
            .map_err(|_| StoreError::new(StoreErrorKind::Unavailable, "the key cannot be used"))
    }

    fn header(&self) -> [u8; HEADER] {
        let key = hmac::Key::new(hmac::HMAC_SHA256, &*self.0);
        let id = hmac::sign(&key, b"midil-auth/store/key-id");
        let mut header = [0; HEADER];
        let known = MAGIC.iter().chain(&[FORMAT]).chain(id.as_ref());
        header
            .iter_mut()
            .zip(known)
            .for_each(|(to, from)| *to = *from);
        header
    }
}

fn aad(header: &[u8; HEADER], key: &StoreKey) -> Aad<[u8; HEADER + 32]> {
    let mut bytes = [0; HEADER + 32];
    let known = header.iter().chain(key.digest());
    bytes
        .iter_mut()
        .zip(known)
        .for_each(|(to, from)| *to = *from);
    Aad::from(bytes)
}

impl fmt::Debug for EncryptionKey {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("[redacted]")
    }
}

#[cfg(test)]
mod tests {
    use std::time::{Duration, UNIX_EPOCH};

    use super::*;

    fn record() -> Record {
        let at = |secs| UNIX_EPOCH + Duration::from_secs(secs);
        Record::new(
            7,
            at(1_900_000_000),
            at(1_900_003_600),
            b"canary-52".to_vec(),
        )
    }

    fn kind(result: Result<Record, StoreError>) -> StoreErrorKind {
        result.expect_err("refused").kind()
    }

    #[test]
    fn only_the_same_keys_open_what_they_sealed() {
        let (ours, other) = (
            EncryptionKey::from_bytes([1; 32]),
            EncryptionKey::from_bytes([2; 32]),
        );
        let (key, neighbour) = (StoreKey::of_source("a"), StoreKey::of_source("b"));
        let sealed = ours.seal(&key, &record()).expect("sealed");
        assert_eq!(ours.open(&key, &sealed).expect("opened"), record());
        assert!(!sealed.windows(6).any(|bytes| bytes == b"canary"));
        assert_ne!(
            ours.seal(&key, &record()).expect("sealed"),
            sealed,
            "a fresh nonce"
        );
        assert_eq!(kind(other.open(&key, &sealed)), StoreErrorKind::WrongKey);
        assert_eq!(
            kind(ours.open(&neighbour, &sealed)),
            StoreErrorKind::Corrupt
        );
        let mut newer = sealed.clone();
        newer[MAGIC.len()] = FORMAT + 1;
        assert_eq!(kind(ours.open(&key, &newer)), StoreErrorKind::UnknownFormat);
    }

    #[test]
    fn every_bit_and_every_length_counts() {
        let (ours, key) = (EncryptionKey::from_bytes([1; 32]), StoreKey::of_source("a"));
        let sealed = ours.seal(&key, &record()).expect("sealed");
        for length in 0..sealed.len() {
            assert!(ours.open(&key, &sealed[..length]).is_err(), "{length}");
        }
        for bit in 0..sealed.len() * 8 {
            let mut changed = sealed.clone();
            changed[bit / 8] ^= 1 << (bit % 8);
            assert!(ours.open(&key, &changed).is_err(), "{bit}");
        }
        let longer = [&sealed[..], &[0]].concat();
        assert_eq!(kind(ours.open(&key, &longer)), StoreErrorKind::Corrupt);
    }

    #[test]
    fn a_key_is_read_from_either_alphabet() {
        let bytes = [0xfb; 32];
        let key = EncryptionKey::from_bytes(bytes);
        for text in [
            base64_simd::STANDARD.encode_to_string(bytes),
            base64_simd::URL_SAFE.encode_to_string(bytes),
            base64_simd::URL_SAFE_NO_PAD.encode_to_string(bytes),
            format!(" {}\n", base64_simd::STANDARD.encode_to_string(bytes)),
        ] {
            let read = EncryptionKey::from_base64(&text).expect(&text);
            assert_eq!(*read.0, *key.0);
        }
        for text in ["", "AAAA", "not base64!", &"A".repeat(44)] {
            let error = EncryptionKey::from_base64(text).expect_err(text);
            assert!(!error.to_string().contains("AAAA"));
        }
    }
}
