//! The refresh machine: one value that somebody else issues, that goes out of date, and that
//! many readers share while one actor keeps it fresh.
//!
//! [`lifecycle`] decides for one resource, [`agenda`] which resource is next, [`actor`] carries
//! both out for all resources of a kind, [`handle`] is what a reader holds. Access tokens and
//! key sets are the two kinds.

pub(crate) mod actor;
pub(crate) mod address;
pub(crate) mod agenda;
pub(crate) mod backoff;
mod endpoint;
#[cfg(test)]
pub(crate) mod generators;
pub(crate) mod handle;
pub(crate) mod lifecycle;
mod outcome;
pub(crate) mod source;
mod task;
mod timer;
mod verdict;
pub(crate) mod warm;

use std::sync::Arc;
use std::time::Duration;

use zeroize::Zeroizing;

use crate::clock::{Moment, Tick, Wall};
use crate::event::{Cause, Change};
pub(crate) use crate::fault::within;
use crate::fault::{ConfigError, FetchError, FetchErrorKind};
use crate::store::{Record, StoreError};
use backoff::Backoff;
use lifecycle::{Pace, State};
use source::Fetched;

/// How often a value may be fetched, how long a fetch may take, and how failures are paced.
///
/// Access tokens and key sets have different defaults: [`for_tokens`](Self::for_tokens) and
/// [`for_keys`](Self::for_keys).
///
/// # Example
///
/// ```
/// use std::time::Duration;
/// use midil_auth::RefreshPolicy;
///
/// let policy = RefreshPolicy::for_tokens()
///     .fetch_timeout(Duration::from_secs(3))
///     .retry(Duration::from_millis(500), Duration::from_secs(30));
/// assert!(policy.validate().is_ok());
/// assert!(policy.fetch_timeout(Duration::ZERO).validate().is_err());
/// ```
#[derive(Clone, Copy, Debug, PartialEq)]
pub struct RefreshPolicy {
    pub(crate) pace: Pace,
    pub(crate) jitter: f64,
    pub(crate) ready_timeout: Duration,
}

impl RefreshPolicy {
    /// The defaults for access tokens.
    #[must_use]
    pub const fn for_tokens() -> Self {
        Self {
            pace: Pace {
                fetch_timeout: Duration::from_secs(10),
                min_interval: Duration::from_secs(1),
                demand_floor: Duration::from_secs(10),
                retry: Backoff {
                    base: Duration::from_secs(1),
                    max: Duration::from_secs(60),
                },
                probe: Backoff {
                    base: Duration::from_secs(60),
                    max: Duration::from_secs(900),
                },
                max_retry_after: Duration::from_secs(3600),
            },
            jitter: 0.1,
            ready_timeout: Duration::from_secs(30),
        }
    }

    /// The defaults for key sets.
    #[must_use]
    pub const fn for_keys() -> Self {
        let mut policy = Self::for_tokens();
        policy.pace.fetch_timeout = Duration::from_secs(5);
        policy.pace.demand_floor = Duration::from_secs(2);
        policy
    }

    /// The deadline of one fetch, from its beginning to the last byte of the body.
    ///
    /// From 1 ms to 10 min. Defaults to 10 s for tokens, 5 s for keys.
    #[must_use]
    pub const fn fetch_timeout(mut self, timeout: Duration) -> Self {
        self.pace.fetch_timeout = timeout;
        self
    }

    /// The least time between the beginnings of two scheduled fetches, however short-lived the
    /// value is. A value that lives longer than twice this is never kept waiting by it.
    ///
    /// From 10 ms to 1 s. Defaults to 1 s.
    #[must_use]
    pub const fn min_interval(mut self, interval: Duration) -> Self {
        self.pace.min_interval = interval;
        self
    }

    /// The least time between two fetches that demands caused: the cool-down of `renew` for
    /// tokens, the floor for unknown key ids for keys. Scheduled refreshes do not share it.
    ///
    /// From 10 ms to 1 h. Defaults to 10 s for tokens, 2 s for keys.
    #[must_use]
    pub const fn demand_floor(mut self, floor: Duration) -> Self {
        self.pace.demand_floor = floor;
        self
    }

    /// The backoff after a failure that may pass: drawn evenly between `base` and `base · 2ⁿ`,
    /// at most `max`.
    ///
    /// `base` from 10 ms, `max` to 1 h. Defaults to 1 s and 60 s.
    #[must_use]
    pub const fn retry(mut self, base: Duration, max: Duration) -> Self {
        self.pace.retry = Backoff { base, max };
        self
    }

    /// The slow probe after a failure that repeating does not mend, such as `invalid_client`. A
    /// new secret, a `renew` and registering anew do not wait for it.
    ///
    /// `base` from 10 ms, `max` to 24 h. Defaults to 1 min and 15 min.
    #[must_use]
    pub const fn probe(mut self, base: Duration, max: Duration) -> Self {
        self.pace.probe = Backoff { base, max };
        self
    }

    /// The longest that a server's `Retry-After` (RFC 9110 §10.2.3) is obeyed.
    ///
    /// To 24 h. Defaults to 1 h.
    #[must_use]
    pub const fn max_retry_after(mut self, max: Duration) -> Self {
        self.pace.max_retry_after = max;
        self
    }

    /// How far the refresh point is drawn forward at most, as a share of the time to it, once
    /// per value, so that a fleet started together drifts apart.
    ///
    /// From 0 to 0.5. Defaults to 0.1.
    #[must_use]
    pub const fn jitter(mut self, share: f64) -> Self {
        self.jitter = share;
        self
    }

    /// How long a start or `ready()` waits for a value.
    ///
    /// To 1 h. Defaults to 30 s.
    #[must_use]
    pub const fn ready_timeout(mut self, timeout: Duration) -> Self {
        self.ready_timeout = timeout;
        self
    }

    /// Checks that every setting is in its range and none contradicts another.
    ///
    /// # Errors
    ///
    /// [`ConfigError`] names the setting.
    pub fn validate(&self) -> Result<(), ConfigError> {
        const SECOND: Duration = Duration::from_secs(1);
        const HOUR: Duration = Duration::from_secs(3600);
        const DAY: Duration = Duration::from_secs(24 * 3600);
        const LEAST: Duration = Duration::from_millis(10);
        let pace = &self.pace;
        within(
            "fetch_timeout",
            pace.fetch_timeout,
            Duration::from_millis(1),
            HOUR / 6,
        )?;
        within("min_interval", pace.min_interval, LEAST, SECOND)?;
        within("demand_floor", pace.demand_floor, LEAST, HOUR)?;
        within("retry base", pace.retry.base, LEAST, HOUR)?;
        within("retry max", pace.retry.max, pace.retry.base, HOUR)?;
        within("probe base", pace.probe.base, LEAST, DAY)?;
        within("probe max", pace.probe.max, pace.probe.base, DAY)?;
        within("max_retry_after", pace.max_retry_after, Duration::ZERO, DAY)?;
        within("ready_timeout", self.ready_timeout, Duration::ZERO, HOUR)?;
        if !(0.0..=0.5).contains(&self.jitter) {
            return Err(ConfigError::new(
                "jitter",
                "is out of range",
                "use a share from 0 to 0.5",
            ));
        }
        Ok(())
    }
}

/// When the first value is fetched, and whether the start waits for it.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
#[non_exhaustive]
pub enum Start {
    /// Fetched at once; the start does not wait, so a service can come up while its issuer is
    /// down.
    Background,
    /// Fetched when the first reader asks.
    Lazy,
    /// Fetched at once; the start returns when it is there, at once with an error that repeating
    /// does not mend, or with the last error after
    /// [`ready_timeout`](RefreshPolicy::ready_timeout).
    #[default]
    Wait,
}

/// When a value is to be refreshed and until when it may be used.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub(crate) struct Freshness {
    pub(crate) refresh_at: Tick,
    /// On either clock: a value is usable while both say so.
    pub(crate) usable_until: Moment,
}

impl Freshness {
    /// The same, but ending no later than `end`.
    pub(crate) fn until(self, end: Tick) -> Self {
        let mut shortened = self;
        shortened.usable_until.tick = self.usable_until.tick.min(end);
        shortened
    }

    pub(crate) fn outlasts(&self, other: &Self) -> bool {
        let (ours, theirs) = (self.usable_until, other.usable_until);
        ours.tick > theirs.tick && ours.wall > theirs.wall
    }

    pub(crate) fn is_usable(&self, now: Moment) -> bool {
        now.tick < self.usable_until.tick && now.wall < self.usable_until.wall
    }

    /// How long it may still be used.
    pub(crate) fn left(&self, now: Moment) -> Duration {
        let tick = self.usable_until.tick.since(now.tick);
        self.usable_until.wall.since(now.wall).min(tick)
    }
}

/// A kind of value that the machine keeps fresh.
pub(crate) trait Resource: Send + Sync + Sized + 'static {
    /// What the kind adds to [`RefreshPolicy`].
    type Policy: PartialEq + Send + Sync + 'static;

    /// How the actor of this kind is called in events and logs.
    const ACTOR: crate::event::Actor;

    /// Judges a value from a fetch that began at `asked` and says how long it is good for.
    /// `draw` is a number in `[0, 1)`, drawn once for this value.
    fn admit(
        self,
        policy: &Self::Policy,
        refresh: &RefreshPolicy,
        fetched: Asked,
    ) -> Result<(Self, Freshness), FetchError>;

    /// How long the value in service is good for now that a fetch confirmed it.
    fn confirm(
        &self,
        policy: &Self::Policy,
        refresh: &RefreshPolicy,
        fetched: Asked,
    ) -> Result<Freshness, FetchError>;

    /// How long the value in service may still be used where `error` says that the issuer has
    /// taken it back. Defaults to as long as before.
    fn withdrawn(_policy: &Self::Policy, _error: &FetchError) -> Option<Duration> {
        None
    }

    /// What subscribers learn when `self` replaces `previous`; `None` where nothing changed.
    fn change(
        &self,
        previous: Option<&Self>,
        freshness: &Freshness,
        asked: Asked,
    ) -> Option<Change>;

    /// What subscribers learn when a value that was fetched on schedule is left aside because the
    /// one in service outlasts it. Defaults to `None`: the newest is the one that counts.
    fn outlasted(_freshness: &Freshness, _asked: Asked) -> Option<Change> {
        None
    }

    /// Whether a store is to learn that a fetch confirmed the value in service, because its age
    /// counts from then.
    const AGES: bool;

    /// What a store keeps of a value that was obtained then, and until when at most.
    fn freeze(&self, policy: &Self::Policy, obtained: Wall) -> (Wall, Zeroizing<Vec<u8>>);

    /// The value that a store has kept, still to be admitted.
    fn thaw(record: &Record) -> Result<Self, StoreError>;
}

/// The circumstances of a fetch that brought a value.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Asked {
    /// When it began.
    pub(crate) at: Moment,
    pub(crate) took: Duration,
    /// The version the value gets if it is published.
    pub(crate) version: u64,
    pub(crate) fresh_for: Option<Duration>,
    pub(crate) draw: f64,
    pub(crate) cause: Cause,
}

/// What is published of one resource: immutable, replaced as a whole.
pub(crate) struct Snapshot<T> {
    /// The last good value, usable or not; see [`Freshness::is_usable`].
    pub(crate) value: Option<Arc<T>>,
    /// How many values have been published.
    pub(crate) version: u64,
    pub(crate) freshness: Freshness,
    /// When the fetch that last confirmed the value began; [`Tick::ZERO`] before the first.
    pub(crate) confirmed: Tick,
    pub(crate) state: State,
    /// Failures in a row, and the last of them.
    pub(crate) failures: u32,
    pub(crate) error: Option<FetchError>,
    /// Nothing will ever be published again.
    pub(crate) stopped: bool,
}

impl<T> Snapshot<T> {
    pub(crate) fn empty() -> Self {
        Self {
            value: None,
            version: 0,
            freshness: Freshness::default(),
            confirmed: Tick::ZERO,
            state: State::Idle,
            failures: 0,
            error: None,
            stopped: false,
        }
    }

    /// The value, if it may be used now.
    pub(crate) fn usable(&self, now: Moment) -> Option<&Arc<T>> {
        self.value
            .as_ref()
            .filter(|_| self.freshness.is_usable(now))
    }

    /// Until when the endpoint has asked to be left alone.
    pub(crate) fn throttled_until(&self) -> Option<Tick> {
        let error = self.error.as_ref()?;
        let throttled = error.kind() == FetchErrorKind::Throttled;
        // A refusal is probed more slowly than the endpoint asked for.
        let asked = error.retry_after_hint().is_some() && error.is_transient();
        match self.state {
            State::Waiting { until, .. } if throttled || asked => Some(until),
            _ => None,
        }
    }

    /// Whether the machine has stopped trying for the time being, so that waiting is in vain.
    pub(crate) fn resting_on(&self) -> Option<&FetchError> {
        match self.state {
            State::Waiting { .. } if self.failures > 0 => self.error.as_ref(),
            _ => None,
        }
    }
}

impl<T> Clone for Snapshot<T> {
    fn clone(&self) -> Self {
        Self {
            value: self.value.clone(),
            error: self.error.clone(),
            ..*self
        }
    }
}

/// What a completed fetch brought, before it is judged.
pub(crate) type Outcome<T> = Result<Fetched<T>, FetchError>;
