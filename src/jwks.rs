//! Inbound keys: a JWK Set (RFC 7517) taken key by key, each usable one prepared for
//! verification once.

mod algorithm;
mod backend;
mod discovery;
mod endpoint;
mod jwk;
mod key;
mod limits;
mod material;
mod rotation;

use std::collections::HashMap;
use std::fmt;
use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};

use http::HeaderValue;
use serde::Deserialize;
use serde_json::value::RawValue;
use url::Url;
use zeroize::Zeroizing;

pub use algorithm::{Algorithm, AlgorithmSet};
pub(crate) use discovery::Discovery;
pub(crate) use endpoint::JwksEndpoint;
pub use jwk::{SkipReason, SkippedKey};
pub(crate) use key::{Identity, Key};
pub use limits::KeySetLimits;
pub use rotation::RotationPolicy;

use crate::fault::{FetchError, FetchErrorKind};
use crate::store::{Record, StoreError, StoreErrorKind, frame};

/// The verification keys of one issuer.
///
/// Immutable; made from the JSON of a JWK Set. Keys that cannot be used are skipped with a
/// reason, so that one odd key never takes the others along.
///
/// # Example
///
/// ```
/// use midil_auth::jwks::KeySet;
///
/// let set = KeySet::from_json(br#"{"keys":[
///     {"kty":"OKP","crv":"Ed25519","kid":"a","x":"11qYAYKxCrfVS_7TyWQHOg7hcvPapiMlrwIaaPcHURo"},
///     {"kty":"oct","kid":"b","k":"AAAA"}
/// ]}"#)?;
/// assert_eq!(set.kids().collect::<Vec<_>>(), ["a"]);
/// assert_eq!(set.skipped().len(), 1);
/// # Ok::<(), midil_auth::FetchError>(())
/// ```
pub struct KeySet {
    /// As it was read, for a store.
    json: Box<[u8]>,
    /// Another for every set that was ever read.
    id: u64,
    keys: Vec<Key>,
    /// The first key under each id; one leads to the next.
    by_kid: HashMap<Arc<str>, usize>,
    skipped: Vec<SkippedKey>,
    /// The algorithms that the issuer's metadata declares.
    declared: Option<AlgorithmSet>,
    origin: Option<Origin>,
}

/// Where a set came from, for the next conditional request.
#[derive(Debug)]
struct Origin {
    url: Url,
    etag: Option<http::HeaderValue>,
}

#[derive(Deserialize)]
struct Document<'a> {
    #[serde(borrow)]
    keys: Vec<&'a RawValue>,
}

/// Keys that are sooner compared than hashed.
const FEW: usize = 8;

/// The form in which a store keeps a set.
const STORED: &str = "keys/1";

impl KeySet {
    /// Reads a JWK Set (RFC 7517 §5).
    ///
    /// # Errors
    ///
    /// [`FetchError`] when it is not JSON with an array `keys`, has more than 1,000 keys, or
    /// none of them can be used.
    pub fn from_json(json: &[u8]) -> Result<Self, FetchError> {
        Self::read(json, KeySetLimits::new().keys)
    }

    fn read(json: &[u8], max_keys: usize) -> Result<Self, FetchError> {
        static NEXT: AtomicU64 = AtomicU64::new(0);
        let malformed = |what: &str| FetchError::new(FetchErrorKind::Malformed, what);
        let text = std::str::from_utf8(json).map_err(|_| malformed("the JWK Set is not UTF-8"))?;
        const SHAPE: &str = "not a JWK Set: no JSON object with an array `keys`";
        // An array of one array would do for the struct, too.
        if !text.trim_start().starts_with('{') {
            return Err(malformed(SHAPE));
        }
        let document: Document<'_> = serde_json::from_str(text).map_err(|_| malformed(SHAPE))?;
        if document.keys.len() > max_keys {
            return Err(FetchError::new(
                FetchErrorKind::TooLarge,
                format!("the JWK Set has more than {max_keys} keys"),
            ));
        }
        if document.keys.is_empty() {
            return Err(FetchError::new(
                FetchErrorKind::Empty,
                "the JWK Set has no keys",
            ));
        }
        let mut set = Self {
            json: json.into(),
            id: NEXT.fetch_add(1, Ordering::Relaxed),
            keys: Vec::with_capacity(document.keys.len()),
            by_kid: HashMap::with_capacity(document.keys.len()),
            skipped: Vec::new(),
            declared: None,
            origin: None,
        };
        for jwk in document.keys {
            match Key::parse(jwk.get()) {
                Ok(key) => set.insert(key),
                Err(skipped) => set.skipped.push(skipped),
            }
        }
        if set.keys.is_empty() {
            return Err(FetchError::new(
                FetchErrorKind::Unusable,
                format!(
                    "the JWK Set has no usable key ({} skipped)",
                    set.skipped.len()
                ),
            ));
        }
        Ok(set)
    }

    /// What a store keeps of the set, but for its times.
    fn freeze(&self) -> Zeroizing<Vec<u8>> {
        let origin = self.origin.as_ref();
        let url = origin.map_or("", |origin| origin.url.as_str());
        let etag = origin.and_then(|origin| origin.etag.as_ref());
        let etag = etag.map_or(&[][..], HeaderValue::as_bytes);
        let declared = self.declared.map(AlgorithmSet::names).unwrap_or_default();
        frame::write(&[
            STORED.as_bytes(),
            url.as_bytes(),
            etag,
            declared.as_bytes(),
            &self.json,
        ])
    }

    /// The set that a store has kept, read as though it came from its issuer.
    fn thaw(record: &Record) -> Result<Self, StoreError> {
        let [url, etag, declared, json] = frame::read(record.payload(), STORED)?;
        // It was within the limits when it was fetched.
        let mut set = Self::read(json, usize::MAX).map_err(|_| StoreErrorKind::Corrupt)?;
        let text = |bytes| std::str::from_utf8(bytes).map_err(|_| StoreErrorKind::Corrupt);
        let (url, declared) = (text(url)?, text(declared)?);
        if !declared.is_empty() {
            let known = AlgorithmSet::from_names(declared);
            set.declared = Some(known.ok_or(StoreErrorKind::Corrupt)?);
        }
        if !url.is_empty() {
            let etag = HeaderValue::from_bytes(etag).ok();
            set.origin = Some(Origin {
                url: Url::parse(url).map_err(|_| StoreErrorKind::Corrupt)?,
                etag: etag.filter(|etag| !etag.is_empty()),
            });
        }
        Ok(set)
    }

    fn insert(&mut self, key: Key) {
        // The same key listed twice is one key; two keys under one id are ambiguous.
        let same = |known: &Key| known.identity == key.identity;
        let index = self.keys.len();
        match &key.kid {
            None => {
                let mut nameless = self.keys.iter().filter(|known| known.kid.is_none());
                if nameless.any(same) {
                    return;
                }
            }
            Some(kid) => {
                let first = *self.by_kid.entry(Arc::clone(kid)).or_insert(index);
                let mut next = Some(first);
                while let Some(known) = next.and_then(|index| self.keys.get_mut(index)) {
                    if same(known) {
                        return;
                    }
                    next = Some(*known.next.get_or_insert(index));
                }
            }
        }
        self.keys.push(key);
    }

    /// The ids of the usable keys, in the order of the set. A key without one is not listed.
    pub fn kids(&self) -> impl Iterator<Item = &str> {
        self.keys.iter().filter_map(|key| key.kid.as_deref())
    }

    /// The keys that cannot be used, and why.
    #[must_use]
    pub fn skipped(&self) -> &[SkippedKey] {
        &self.skipped
    }

    /// How many keys can be used.
    #[must_use]
    pub fn len(&self) -> usize {
        self.keys.len()
    }

    /// Never true of a set that was read: one without a usable key is an error.
    #[must_use]
    pub fn is_empty(&self) -> bool {
        self.keys.is_empty()
    }

    /// Tells this set from every other of the process.
    pub(crate) const fn id(&self) -> u64 {
        self.id
    }

    /// The algorithms that the issuer declares; `None` where it says nothing.
    pub(crate) const fn declared(&self) -> Option<AlgorithmSet> {
        self.declared
    }

    /// The keys that a token with this header may be signed with: those of its `kid`, or all
    /// where it has none.
    pub(crate) fn candidates(&self, kid: Option<&str>) -> Candidates<'_> {
        match kid {
            None => Candidates::All(self.keys.iter()),
            Some(kid) if self.keys.len() <= FEW => {
                let named = |key: &Key| key.kid.as_deref() == Some(kid);
                Candidates::Named(&self.keys, self.keys.iter().position(named))
            }
            Some(kid) => Candidates::Named(&self.keys, self.by_kid.get(kid).copied()),
        }
    }

    /// What subscribers are told when `self` replaces `previous`; `None` where no key differs.
    pub(crate) fn diff(&self, previous: Option<&Self>) -> Option<Difference> {
        let old = previous.map(Self::identities).unwrap_or_default();
        let new = self.identities();
        let mut difference = Difference::default();
        for (kid, keys) in &new {
            match old.get(kid) {
                None => difference.added.push((*kid).to_owned()),
                Some(known) if known != keys => difference.replaced.push((*kid).to_owned()),
                Some(_) => {}
            }
        }
        let gone = old.keys().filter(|kid| !new.contains_key(*kid));
        difference.removed = gone.map(|kid| (*kid).to_owned()).collect();
        difference.added.sort();
        difference.removed.sort();
        difference.replaced.sort();
        (!difference.is_empty() || self.skipped() != previous.map_or(&[][..], Self::skipped))
            .then_some(difference)
    }

    /// The keys under each key id; `-` for those without one.
    fn identities(&self) -> HashMap<&str, Vec<&Identity>> {
        let mut identities: HashMap<&str, Vec<&Identity>> = HashMap::new();
        for key in &self.keys {
            identities
                .entry(key.kid.as_deref().unwrap_or("-"))
                .or_default()
                .push(&key.identity);
        }
        identities
            .values_mut()
            .for_each(|identities| identities.sort_unstable());
        identities
    }
}

/// See [`KeySet::candidates`].
pub(crate) enum Candidates<'a> {
    All(std::slice::Iter<'a, Key>),
    Named(&'a [Key], Option<usize>),
}

impl<'a> Iterator for Candidates<'a> {
    type Item = &'a Key;

    fn next(&mut self) -> Option<&'a Key> {
        match self {
            Self::All(keys) => keys.next(),
            Self::Named(keys, next) => {
                let key = keys.get((*next)?)?;
                *next = key.next;
                Some(key)
            }
        }
    }
}

/// How two sets differ, by key id.
#[derive(Debug, Default, PartialEq, Eq)]
pub(crate) struct Difference {
    pub(crate) added: Vec<String>,
    pub(crate) removed: Vec<String>,
    pub(crate) replaced: Vec<String>,
}

impl Difference {
    fn is_empty(&self) -> bool {
        self.added.is_empty() && self.removed.is_empty() && self.replaced.is_empty()
    }
}

impl TryFrom<&str> for KeySet {
    type Error = FetchError;

    fn try_from(json: &str) -> Result<Self, FetchError> {
        Self::from_json(json.as_bytes())
    }
}

impl fmt::Debug for KeySet {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("KeySet")
            .field("kids", &self.kids().collect::<Vec<_>>())
            .field("skipped", &self.skipped)
            .finish_non_exhaustive()
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::clock::Wall;

    #[test]
    fn a_set_is_thawed_as_it_was_frozen() {
        const JSON: &[u8] = br#"{"keys":[
            {"kty":"OKP","crv":"Ed25519","kid":"a","x":"11qYAYKxCrfVS_7TyWQHOg7hcvPapiMlrwIaaPcHURo"},
            {"kty":"oct","kid":"b","k":"AAAA"}
        ]}"#;
        let url = Url::parse("https://idp.example.com/keys").expect("a URL");
        let etag = HeaderValue::from_static("\"1\"");
        let declared = [Algorithm::RS256, Algorithm::EdDSA];
        for (declared, origin) in [
            (None, None),
            (Some(declared.into_iter().collect()), Some(None)),
            (Some(AlgorithmSet::ALL), Some(Some(etag))),
        ] {
            let mut set = KeySet::from_json(JSON).expect("a set");
            set.declared = declared;
            set.origin = origin.map(|etag| Origin {
                url: url.clone(),
                etag,
            });
            let times = (Wall::default(), Wall::default());
            let record = Record::of(1, times.0, times.1, set.freeze());
            let thawed = KeySet::thaw(&record).expect("thawed");
            assert_eq!(format!("{thawed:?}"), format!("{set:?}"));
            assert_eq!(thawed.declared(), declared);
            assert_eq!(format!("{:?}", thawed.origin), format!("{:?}", set.origin));
            assert!(thawed.diff(Some(&set)).is_none());
        }
    }
}
