//! When a key set is fetched again and how long it is trusted. Pure.

use std::time::Duration;

use zeroize::Zeroizing;

use super::KeySet;
use crate::clock::{Moment, Wall};
use crate::event::{Actor, Change};
use crate::fault::{ConfigError, FetchError, FetchErrorKind};
use crate::refresh::{Asked, Freshness, RefreshPolicy, Resource, within};
use crate::store::{Record, StoreError};

/// How often a key set is fetched and how long it is trusted without.
///
/// # Example
///
/// ```
/// use std::time::Duration;
/// use midil_auth::jwks::RotationPolicy;
///
/// let policy = RotationPolicy::default().interval(Duration::from_secs(60));
/// assert!(policy.validate().is_ok());
/// assert!(policy.max_stale(Duration::from_secs(30)).validate().is_err());
/// ```
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct RotationPolicy {
    interval: Duration,
    least: Duration,
    most: Duration,
    max_stale: Duration,
    obey_empty_after: Option<Duration>,
}

impl Default for RotationPolicy {
    fn default() -> Self {
        Self::new()
    }
}

impl RotationPolicy {
    /// The defaults.
    #[must_use]
    pub const fn new() -> Self {
        Self {
            interval: Duration::from_secs(300),
            least: Duration::from_secs(60),
            most: Duration::from_secs(3600),
            max_stale: Duration::from_secs(24 * 3600),
            obey_empty_after: None,
        }
    }

    /// The time between two scheduled fetches where the server gives no hint.
    ///
    /// From 10 ms to 24 h. Defaults to 5 min.
    #[must_use]
    pub const fn interval(mut self, interval: Duration) -> Self {
        self.interval = interval;
        self
    }

    /// The bounds within which the server's `Cache-Control: max-age` or `Expires` (RFC 9111)
    /// replaces the interval.
    ///
    /// From 10 ms to 24 h. Defaults to 1 min and 1 h.
    #[must_use]
    pub const fn hint_bounds(mut self, least: Duration, most: Duration) -> Self {
        self.least = least;
        self.most = most;
        self
    }

    /// How long keys are trusted without a successful fetch. Past it verification fails closed.
    ///
    /// From the longest interval to 30 days. Defaults to 24 h.
    #[must_use]
    pub const fn max_stale(mut self, max_stale: Duration) -> Self {
        self.max_stale = max_stale;
        self
    }

    /// How long after the first honest answer without any keys (status 200, `{"keys":[]}`) the
    /// keys in service are given up. A good set in between ends the countdown.
    ///
    /// An emptied set is nearly always a mistake of the issuer's, and obeying it refuses every
    /// token; it can also be its way to revoke all keys at once. Verification then fails closed
    /// with `KeysUnavailable`.
    ///
    /// To `max_stale`; zero obeys at once. Defaults to not before `max_stale`.
    #[must_use]
    pub const fn obey_empty_after(mut self, after: Duration) -> Self {
        self.obey_empty_after = Some(after);
        self
    }

    /// Checks that every setting is in its range and none contradicts another.
    ///
    /// # Errors
    ///
    /// [`ConfigError`] names the setting.
    pub fn validate(&self) -> Result<(), ConfigError> {
        const LEAST: Duration = Duration::from_millis(10);
        const DAY: Duration = Duration::from_secs(24 * 3600);
        within("interval", self.interval, LEAST, DAY)?;
        within("hint_bounds (most)", self.most, LEAST, DAY)?;
        within("hint_bounds (least)", self.least, LEAST, self.most)?;
        within(
            "max_stale",
            self.max_stale,
            self.interval.max(self.least),
            DAY * 30,
        )?;
        within(
            "obey_empty_after",
            self.obey_empty_after.unwrap_or_default(),
            Duration::ZERO,
            self.max_stale,
        )
    }

    fn plan(&self, refresh: &RefreshPolicy, asked: Asked) -> Freshness {
        let period = match asked.fresh_for {
            Some(hint) => hint.clamp(self.least, self.most.min(self.max_stale)),
            None => self.interval,
        };
        Freshness {
            refresh_at: asked
                .at
                .tick
                .after(period.mul_f64(1.0 - refresh.jitter * asked.draw)),
            // Staleness is a matter of the monotonic clock alone: a step of the wall clock does
            // not make keys any older.
            usable_until: Moment {
                tick: asked.at.tick.after(self.max_stale),
                wall: Wall::from_nanos(u64::MAX),
            },
        }
    }
}

impl Resource for KeySet {
    type Policy = RotationPolicy;

    const ACTOR: Actor = Actor::Jwks;

    fn admit(
        self,
        policy: &RotationPolicy,
        refresh: &RefreshPolicy,
        asked: Asked,
    ) -> Result<(Self, Freshness), FetchError> {
        Ok((self, policy.plan(refresh, asked)))
    }

    fn confirm(
        &self,
        policy: &RotationPolicy,
        refresh: &RefreshPolicy,
        asked: Asked,
    ) -> Result<Freshness, FetchError> {
        Ok(policy.plan(refresh, asked))
    }

    fn withdrawn(policy: &RotationPolicy, error: &FetchError) -> Option<Duration> {
        let empty = error.kind() == FetchErrorKind::Empty;
        policy.obey_empty_after.filter(|_| empty)
    }

    fn change(&self, previous: Option<&Self>, _: &Freshness, asked: Asked) -> Option<Change> {
        let difference = self.diff(previous)?;
        Some(Change::Rotated {
            version: asked.version,
            added: difference.added,
            removed: difference.removed,
            replaced: difference.replaced,
            skipped: self.skipped().iter().map(ToString::to_string).collect(),
            cause: asked.cause,
        })
    }

    const AGES: bool = true;

    fn freeze(&self, policy: &RotationPolicy, obtained: Wall) -> (Wall, Zeroizing<Vec<u8>>) {
        (obtained.after(policy.max_stale), self.freeze())
    }

    fn thaw(record: &Record) -> Result<Self, StoreError> {
        Self::thaw(record)
    }
}
