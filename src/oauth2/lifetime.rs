//! When a token is refreshed and until when it is used. Pure.

use std::time::Duration;

use zeroize::Zeroizing;

use super::AccessToken;
use crate::clock::Wall;
use crate::event::{Actor, Change, Refreshed};
use crate::fault::{ConfigError, FetchError, FetchErrorKind};
use crate::refresh::{Asked, Freshness, RefreshPolicy, Resource, within};
use crate::store::{Record, StoreError};

/// How a token's lifetime is used.
///
/// # Example
///
/// ```
/// use std::time::Duration;
/// use midil_auth::oauth2::LifetimePolicy;
///
/// let policy = LifetimePolicy::default().refresh_at(0.8).margin(Duration::from_secs(30));
/// assert!(policy.validate().is_ok());
/// ```
#[derive(Clone, Copy, Debug, PartialEq)]
pub struct LifetimePolicy {
    refresh_at: f64,
    margin: Duration,
    default_lifetime: Duration,
    max_lifetime: Duration,
}

/// No token is refreshed before this share of its lifetime has passed, whatever the policy and the
/// jitter say: it bounds what tokens cost.
const EARLIEST: f64 = 0.6;

impl Default for LifetimePolicy {
    fn default() -> Self {
        Self {
            refresh_at: 0.75,
            margin: Duration::from_secs(10),
            default_lifetime: Duration::from_secs(300),
            max_lifetime: Duration::from_secs(366 * 24 * 3600),
        }
    }
}

impl LifetimePolicy {
    /// The latest point of the lifetime at which the token is refreshed, as a share of it. The
    /// jitter of [`RefreshPolicy`] draws it forward, to 0.6 of the lifetime at most: in a time `t`
    /// tokens of a lifetime `l` cost `t / 0.6 l` fetches and one, no more.
    ///
    /// From 0.65 to 0.95. Defaults to 0.75, as Amazon Cognito advises.
    #[must_use]
    pub const fn refresh_at(mut self, share: f64) -> Self {
        self.refresh_at = share;
        self
    }

    /// How long before its end a token is taken out of service, so that it does not expire on
    /// the way. It shrinks with the lifetime: never more than half of what is left after the
    /// refresh point.
    ///
    /// To 1 h. Defaults to 10 s.
    #[must_use]
    pub const fn margin(mut self, margin: Duration) -> Self {
        self.margin = margin;
        self
    }

    /// The lifetime of a token that does not say, neither in `expires_in` (RFC 6749 §5.1) nor in
    /// its own `exp`.
    ///
    /// From 1 s to 24 h. Defaults to 5 min, the least that Amazon Cognito issues.
    #[must_use]
    pub const fn default_lifetime(mut self, lifetime: Duration) -> Self {
        self.default_lifetime = lifetime;
        self
    }

    /// The longest lifetime that is believed.
    ///
    /// From 1 s to 366 days. Defaults to 366 days.
    #[must_use]
    pub const fn max_lifetime(mut self, lifetime: Duration) -> Self {
        self.max_lifetime = lifetime;
        self
    }

    /// Checks that every setting is in its range.
    ///
    /// # Errors
    ///
    /// [`ConfigError`] names the setting.
    pub fn validate(&self) -> Result<(), ConfigError> {
        const DAY: Duration = Duration::from_secs(24 * 3600);
        const SECOND: Duration = Duration::from_secs(1);
        if !(0.65..=0.95).contains(&self.refresh_at) {
            return Err(ConfigError::new(
                "refresh_at",
                "is out of range",
                "use a share of the lifetime from 0.65 to 0.95",
            ));
        }
        within("margin", self.margin, Duration::ZERO, DAY / 24)?;
        within("default_lifetime", self.default_lifetime, SECOND, DAY)?;
        within("max_lifetime", self.max_lifetime, SECOND, DAY * 366)
    }

    /// From the moment the token was asked for: when to refresh it and until when to use it.
    /// `jitter` is the share of [`RefreshPolicy`], `draw` how much of it is used, in `[0, 1)`.
    /// `None` for a lifetime of nothing.
    pub(super) fn plan(
        &self,
        lifetime: Duration,
        jitter: f64,
        draw: f64,
    ) -> Option<(Duration, Duration)> {
        let lifetime = lifetime.min(self.max_lifetime);
        let latest = lifetime.mul_f64(self.refresh_at);
        let earliest = lifetime.mul_f64((self.refresh_at * (1.0 - jitter)).max(EARLIEST));
        let refresh = latest.saturating_sub(latest.saturating_sub(earliest).mul_f64(draw));
        let margin = self.margin.min(lifetime.saturating_sub(latest) / 2);
        let usable = lifetime.saturating_sub(margin);
        (refresh < usable).then_some((refresh, usable))
    }
}

impl Resource for AccessToken {
    type Policy = LifetimePolicy;

    const ACTOR: Actor = Actor::TokenManager;

    fn admit(
        mut self,
        policy: &LifetimePolicy,
        refresh: &RefreshPolicy,
        asked: Asked,
    ) -> Result<(Self, Freshness), FetchError> {
        let lifetime = self.lifetime(asked, policy.default_lifetime);
        let freshness = freshness(policy, refresh, asked, lifetime)?;
        self.stamp(asked.at, lifetime.min(policy.max_lifetime));
        Ok((self, freshness))
    }

    fn confirm(
        &self,
        policy: &LifetimePolicy,
        refresh: &RefreshPolicy,
        asked: Asked,
    ) -> Result<Freshness, FetchError> {
        freshness(policy, refresh, asked, self.left(asked.at))
    }

    fn change(
        &self,
        previous: Option<&Self>,
        freshness: &Freshness,
        asked: Asked,
    ) -> Option<Change> {
        let token = refreshed(freshness, asked);
        Some(match previous {
            None => Change::Acquired(token),
            Some(previous) if previous.is_same_token(self) => Change::SameToken(Refreshed {
                version: asked.version.saturating_sub(1),
                ..token
            }),
            Some(_) => Change::Refreshed(token),
        })
    }

    /// An issuer that has come to give out shorter lives, and then none, fails no read before the
    /// longest of those it gave has ended.
    fn outlasted(freshness: &Freshness, asked: Asked) -> Option<Change> {
        Some(Change::Outlasted(Refreshed {
            version: asked.version.saturating_sub(1),
            ..refreshed(freshness, asked)
        }))
    }

    const AGES: bool = false;

    fn freeze(&self, _: &LifetimePolicy, _: Wall) -> (Wall, Zeroizing<Vec<u8>>) {
        (self.expires(), self.freeze())
    }

    fn thaw(record: &Record) -> Result<Self, StoreError> {
        Self::thaw(record)
    }
}

fn refreshed(freshness: &Freshness, asked: Asked) -> Refreshed {
    let now = asked.at.tick.after(asked.took);
    Refreshed {
        version: asked.version,
        usable_for: freshness.usable_until.tick.since(now),
        refresh_in: freshness.refresh_at.since(now),
        took: asked.took,
    }
}

fn freshness(
    policy: &LifetimePolicy,
    refresh: &RefreshPolicy,
    asked: Asked,
    lifetime: Duration,
) -> Result<Freshness, FetchError> {
    let Some((refresh_in, usable_for)) = policy.plan(lifetime, refresh.jitter, asked.draw) else {
        return Err(FetchError::new(
            FetchErrorKind::Unusable,
            "the access token has no lifetime left",
        ));
    };
    if usable_for <= asked.took {
        return Err(FetchError::new(
            FetchErrorKind::Unusable,
            "the access token expired while it was on its way",
        ));
    }
    Ok(Freshness {
        refresh_at: asked.at.tick.after(refresh_in),
        usable_until: asked.at.after(usable_for),
    })
}

#[cfg(test)]
mod tests;
