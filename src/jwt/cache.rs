//! The tokens that were verified lately, so that the signature of one that comes again is not
//! checked again.
//!
//! Only verified tokens get in, found by a keyed hash of the signature, which nobody can choose
//! who cannot sign, and compared in full. A hit says no more than "this signature is good, and by
//! this key": whether the key still stands, and everything about the claims, is judged anew.

mod words;

use std::fmt;
use std::hash::{BuildHasher, RandomState};
use std::sync::Arc;
use std::sync::atomic::{AtomicU64, AtomicUsize, Ordering};

use arc_swap::{ArcSwapOption, Guard};

use self::words::Words;
use super::claims::Claims;
use super::compact::Header;
use super::jws::JwsRules;
use crate::jwks::{Algorithm, Identity, Key, KeySet};

/// Places in a group. A token may be in either of two groups: at three quarters full hardly any two
/// push each other out, where with one group to each one in twenty would be lost.
const WAYS: usize = 8;

/// The hash of no token.
const FREE: u64 = 0;

/// Larger tokens are not kept, so that the number of entries bounds the memory.
const MAX_TOKEN: usize = 8 * 1024;

/// A verified token, its claims and the key that signed it.
pub(super) struct Entry<P, C> {
    token: Words,
    pub(super) claims: Claims<P, C>,
    algorithm: Algorithm,
    kid: Option<Box<str>>,
    key: Arc<Identity>,
    /// The key set that was last seen to hold that key.
    set: AtomicU64,
}

impl<P, C> Entry<P, C> {
    /// Whether `set` would have the same key check the signature.
    pub(super) fn stands(&self, rules: &JwsRules, set: &KeySet) -> bool {
        if self.set.load(Ordering::Relaxed) == set.id() {
            return true;
        }
        let Ok(Some((first, others))) = rules.fitting(set, self.algorithm, self.kid.as_deref())
        else {
            return false;
        };
        let stands = std::iter::once(first)
            .chain(others)
            .any(|key| key.identity == self.key);
        if stands {
            self.set.store(set.id(), Ordering::Relaxed);
        }
        stands
    }
}

/// Where one token may be.
struct Place<P, C> {
    /// The hash of the token that is here, or was until a moment ago: only a hint where to look.
    hash: AtomicU64,
    entry: ArcSwapOption<Entry<P, C>>,
}

impl<P, C> Place<P, C> {
    fn empty() -> Self {
        Self {
            hash: AtomicU64::new(FREE),
            entry: ArcSwapOption::empty(),
        }
    }

    fn may_hold(&self, hash: u64) -> bool {
        self.hash.load(Ordering::Relaxed) == hash
    }
}

/// A fixed number of places in groups. A newcomer goes to the emptier one of its two; where both are
/// full, each place is given up in turn.
pub(super) struct Cache<P, C> {
    places: Box<[Place<P, C>]>,
    /// So that nobody knows what falls on one place.
    keys: [u64; 2],
    turn: AtomicUsize,
    copy: fn(&Claims<P, C>) -> Claims<P, C>,
}

impl<P, C: Clone> Cache<P, C> {
    pub(super) fn new(entries: usize) -> Self {
        let groups = entries.div_ceil(WAYS).max(1);
        Self {
            places: (0..groups * WAYS).map(|_| Place::empty()).collect(),
            keys: [(); 2].map(|()| RandomState::new().hash_one(())),
            turn: AtomicUsize::new(0),
            copy: Claims::clone,
        }
    }
}

impl<P, C> Cache<P, C> {
    /// The entry of exactly this token.
    pub(super) fn find(&self, token: &str) -> Option<Hit<P, C>> {
        let hash = self.hash(token);
        let [first, second] = self.groups(hash);
        let mut places = first.iter().chain(second);
        let found = places.find(|place| place.may_hold(hash))?.entry.load();
        let entry = found.as_ref()?;
        let same = entry.token.are(token);
        same.then_some(Hit(found))
    }

    /// Keeps a token that was just verified by `key` of `set`.
    pub(super) fn keep(
        &self,
        token: &str,
        header: &Header<'_>,
        (set, key): (&KeySet, &Key),
        claims: &Claims<P, C>,
    ) {
        if token.len() > MAX_TOKEN {
            return;
        }
        let hash = self.hash(token);
        let [first, second] = self.groups(hash);
        let free = |group: &[Place<P, C>]| group.iter().filter(|it| it.may_hold(FREE)).count();
        let emptier = if free(second) > free(first) {
            second
        } else {
            first
        };
        let turn = self.turn.fetch_add(1, Ordering::Relaxed) % (2 * WAYS);
        let both = || first.iter().chain(second);
        let place = both()
            .find(|place| place.may_hold(hash))
            .or_else(|| emptier.iter().find(|place| place.may_hold(FREE)))
            .or_else(|| both().nth(turn));
        if let Some(place) = place {
            place.hash.store(hash, Ordering::Relaxed);
            place.entry.store(Some(Arc::new(Entry {
                token: Words::of(token),
                claims: (self.copy)(claims),
                algorithm: header.algorithm,
                kid: header.kid.as_deref().map(Into::into),
                key: Arc::clone(&key.identity),
                set: AtomicU64::new(set.id()),
            })));
        }
    }

    pub(super) fn copy(&self, claims: &Claims<P, C>) -> Claims<P, C> {
        (self.copy)(claims)
    }

    /// Of the end of the signature: bytes that nobody can choose who cannot sign, so that keyed
    /// multiplication spreads them well enough.
    fn hash(&self, token: &str) -> u64 {
        let (mut low, mut high) = ([0; 8], [0; 8]);
        if let Some((first, second)) = token.as_bytes().last_chunk::<16>().map(|it| it.split_at(8))
        {
            low.copy_from_slice(first);
            high.copy_from_slice(second);
        }
        let [low_key, high_key] = self.keys;
        let low = u128::from(u64::from_le_bytes(low) ^ low_key);
        let product = low * u128::from(u64::from_le_bytes(high) ^ high_key);
        ((product ^ (product >> 64)) as u64).max(FREE + 1)
    }

    /// Where a token may be, by either half of its hash.
    fn groups(&self, hash: u64) -> [&[Place<P, C>]; 2] {
        let groups = (self.places.len() / WAYS) as u64;
        [hash >> 32, hash & u64::from(u32::MAX)].map(|half| {
            let first = ((half * groups) >> 32) as usize * WAYS;
            self.places.get(first..first + WAYS).unwrap_or_default()
        })
    }
}

/// An entry that was found. Not to be held across an `.await`.
pub(super) struct Hit<P, C>(Guard<Option<Arc<Entry<P, C>>>>);

impl<P, C> Hit<P, C> {
    pub(super) fn entry(&self) -> Option<&Entry<P, C>> {
        self.0.as_deref()
    }
}

impl<P, C> fmt::Debug for Cache<P, C> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Cache")
            .field("places", &self.places.len())
            .finish_non_exhaustive()
    }
}
