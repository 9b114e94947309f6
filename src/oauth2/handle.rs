//! What a request handler holds: the current token, one atomic load away.

use std::mem::ManuallyDrop;
use std::sync::Arc;
use std::time::{Duration, SystemTime};

use http::HeaderValue;
use serde::Serialize;

use super::copies::Copies;
use super::{AccessToken, AuthHeaders};
use crate::clock::Moment;
use crate::fault::FetchError;
use crate::refresh::Snapshot;
use crate::refresh::handle::{Absent, Handle};
use crate::refresh::lifecycle::{State, Why};

/// Reads the current access token of one credential. Cheap to clone; clone it into every handler.
///
/// Reads are lock-free, allocate nothing and never wait: the token-manager actor replaces the
/// token before it expires. The last drop ends the token's upkeep.
#[derive(Clone, Debug)]
pub struct TokenHandle {
    handle: Handle<AccessToken>,
    copies: Option<Arc<Copies>>,
}

/// Why there is no access token to send.
#[derive(Clone, Debug, thiserror::Error)]
#[non_exhaustive]
pub enum TokenError {
    /// The provider refused again what it had just issued, and a new one was asked for too
    /// recently.
    #[error("a new token was asked for too recently; the next is fetched in {next:?}")]
    CoolingDown {
        /// When the next one is fetched, from now.
        next: Duration,
    },
    /// The last token has expired and no fresh one could be had.
    #[error("the access token expired {since:.1?} ago{}", because(cause))]
    Expired {
        /// How long ago.
        since: Duration,
        /// What kept the fresh one away; `None` while the first attempt is under way.
        #[source]
        cause: Option<FetchError>,
    },
    /// There never was a token: the last attempt failed.
    #[error("no access token: {0}")]
    Failed(#[source] FetchError),
    /// There never was a token: the first is being fetched.
    #[error("the first access token has not arrived yet")]
    NotReady,
    /// The issuer keeps returning the token that was rejected.
    #[error("the issuer returned the rejected token again")]
    SameToken,
    /// The runtime has stopped: `shutdown` was called, or its tokio runtime is gone.
    #[error("the auth runtime has stopped")]
    Stopped,
}

fn because(cause: &Option<FetchError>) -> String {
    cause
        .as_ref()
        .map(|cause| format!(": {cause}"))
        .unwrap_or_default()
}

impl TokenError {
    /// Whether the same call may succeed later without anybody changing anything.
    #[must_use]
    pub fn is_transient(&self) -> bool {
        match self {
            Self::CoolingDown { .. } | Self::NotReady | Self::SameToken => true,
            Self::Expired { cause, .. } => cause.as_ref().is_none_or(FetchError::is_transient),
            Self::Failed(cause) => cause.is_transient(),
            Self::Stopped => false,
        }
    }

    /// A stable label for metrics and logs.
    #[must_use]
    pub const fn as_str(&self) -> &'static str {
        match self {
            Self::CoolingDown { .. } => "cooling_down",
            Self::Expired { .. } => "expired",
            Self::Failed(_) => "failed",
            Self::NotReady => "not_ready",
            Self::SameToken => "same_token",
            Self::Stopped => "stopped",
        }
    }
}

impl From<Absent> for TokenError {
    fn from(absent: Absent) -> Self {
        match absent {
            Absent::Expired { since, cause } => Self::Expired { since, cause },
            Absent::Failed(cause) => Self::Failed(cause),
            Absent::Pending => Self::NotReady,
            Absent::Stopped => Self::Stopped,
        }
    }
}

impl TokenHandle {
    /// `hot` for one of the few that many requests share.
    pub(crate) fn new(handle: Handle<AccessToken>, hot: bool) -> Self {
        Self {
            handle,
            copies: hot.then(Arc::default),
        }
    }

    /// Waits as [`Start::Wait`](crate::Start::Wait) says.
    pub(crate) async fn started(&self) -> Result<(), TokenError> {
        self.handle.started().await?;
        Ok(())
    }

    /// How events, logs and `health` call the credential.
    #[must_use]
    pub fn name(&self) -> &str {
        self.handle.name()
    }

    /// The current token. Never an expired one.
    ///
    /// # Errors
    ///
    /// [`TokenError`] when there is no usable token; a fetch is then under way or paced by the
    /// backoff.
    pub fn current(&self) -> Result<Arc<AccessToken>, TokenError> {
        Ok(self.handle.read(Arc::clone)?)
    }

    /// The value of the `Authorization` header, ready-made and marked sensitive.
    ///
    /// Each thread that reads a token often has a copy of its own, so that threads do not slow each
    /// other down; it ends with the last handle. Credentials beyond the 64th of a runtime do
    /// without.
    ///
    /// # Errors
    ///
    /// As [`current`](Self::current).
    pub fn authorization(&self) -> Result<HeaderValue, TokenError> {
        if let Some(copies) = &self.copies
            && let Some(current) = copies.current(&self.handle)
        {
            // With nothing to clean up meanwhile, the clone is made where the caller wants it.
            let current = ManuallyDrop::new(current);
            let authorization = Ok(HeaderValue::clone(&current));
            drop(ManuallyDrop::into_inner(current));
            return authorization;
        }
        self.authorization_anew()
    }

    #[inline(never)]
    fn authorization_anew(&self) -> Result<HeaderValue, TokenError> {
        Ok(match &self.copies {
            Some(copies) => copies.renewed(&self.handle)?,
            None => self.handle.read(|token| token.authorization())?,
        })
    }

    /// The headers of an authenticated JSON request.
    ///
    /// # Errors
    ///
    /// As [`current`](Self::current).
    pub fn headers(&self) -> Result<AuthHeaders, TokenError> {
        Ok(self.handle.read(|token| AuthHeaders::new(token))?)
    }

    /// The current token, waiting for a first or a fresh one if need be.
    ///
    /// # Errors
    ///
    /// [`TokenError`]: at once while the manager backs off after a failure, else after
    /// [`ready_timeout`](crate::RefreshPolicy::ready_timeout).
    pub async fn ready(&self) -> Result<Arc<AccessToken>, TokenError> {
        Ok(self.handle.ready().await?)
    }

    /// A token other than `rejected`, which a resource server answered with 401.
    ///
    /// However many callers bring the same token, one is fetched; none if a newer one is in
    /// service already.
    ///
    /// # Errors
    ///
    /// [`TokenError::CoolingDown`] when the last such fetch is too recent,
    /// [`TokenError::SameToken`] when the issuer returns the same token again, and as
    /// [`ready`](Self::ready).
    pub async fn renew(&self, rejected: &AccessToken) -> Result<Arc<AccessToken>, TokenError> {
        let seen = self.handle.latest();
        let after = seen.confirmed.next();
        let timeout = self.handle.refresh().ready_timeout;
        let mut asked = false;
        let renewed = self.handle.wait(timeout, |snapshot, now| {
            if snapshot.stopped {
                return Some(Err(TokenError::Stopped));
            }
            if let Some(token) = snapshot.usable(now)
                && !token.is_same_token(rejected)
            {
                return Some(Ok(Arc::clone(token)));
            }
            if snapshot.confirmed >= after {
                return Some(Err(TokenError::SameToken));
            }
            if !asked {
                asked = true;
                self.handle.demand(snapshot, after, true);
            }
            refused_for_now(snapshot, seen.failures, now).map(Err)
        });
        renewed.await.unwrap_or(Err(TokenError::NotReady))
    }

    /// Waits for the next token other than the current one; `None` once the runtime has stopped.
    pub fn changes(&self) -> TokenChanges {
        TokenChanges {
            seen: self.handle.latest().version,
            handle: self.handle.clone(),
        }
    }

    /// Where the credential stands.
    #[must_use]
    pub fn status(&self) -> TokenStatus {
        let now = self.handle.clock().now();
        TokenStatus::of(self.name(), &self.handle.latest(), now)
    }
}

/// Why a `renew` that found `failures` need not wait any longer. One that is parked on an old
/// refusal is tried again; one that backs off is not.
fn refused_for_now(
    snapshot: &Snapshot<AccessToken>,
    failures: u32,
    now: Moment,
) -> Option<TokenError> {
    let State::Waiting { until, why } = snapshot.state else {
        return None;
    };
    if snapshot.state.is_overdue(now.tick) {
        return None;
    }
    let failed = || snapshot.error.clone().map(TokenError::Failed);
    match why {
        Why::Demand => failed().or(Some(TokenError::CoolingDown {
            next: until.since(now.tick),
        })),
        Why::Retry => failed(),
        Why::Park if snapshot.failures > failures => failed(),
        Why::Park | Why::Refresh => None,
    }
}

/// Follows the tokens of one credential; from [`TokenHandle::changes`].
#[derive(Clone, Debug)]
pub struct TokenChanges {
    handle: Handle<AccessToken>,
    seen: u64,
}

impl TokenChanges {
    /// The next token; intermediate ones may be skipped. `None` once the runtime has stopped.
    /// Cancel-safe.
    pub async fn next(&mut self) -> Option<Arc<AccessToken>> {
        let snapshot = self.handle.changed_from(self.seen).await?;
        self.seen = snapshot.version;
        snapshot.value.clone()
    }
}

/// Where a credential stands, for logs and health endpoints. Holds no secret.
///
/// Serialized, it always has these members; what does not apply is `null`:
///
/// ```json
/// {
///   "name": "orders",
///   "state": "degraded",
///   "version": 1,
///   "age": 2700.0,
///   "expires_at": 1893459600.0,
///   "usable_for": 890.0,
///   "next_fetch_in": 60.0,
///   "failures": 1,
///   "last_error": "status 503 Service Unavailable"
/// }
/// ```
#[derive(Clone, Debug, Serialize)]
#[non_exhaustive]
pub struct TokenStatus {
    /// The credential's name.
    pub name: String,
    /// In one word.
    pub state: TokenState,
    /// How many tokens have been in service.
    pub version: u64,
    /// How long ago the current token was asked for. Serialized in seconds.
    #[serde(serialize_with = "crate::clock::seconds::duration")]
    pub age: Option<Duration>,
    /// When the issuer stops accepting the current token. Serialized as seconds since 1970.
    #[serde(serialize_with = "crate::clock::seconds::time")]
    pub expires_at: Option<SystemTime>,
    /// How long the current token may still be used. Serialized in seconds.
    #[serde(serialize_with = "crate::clock::seconds::duration")]
    pub usable_for: Option<Duration>,
    /// When the next fetch begins, from now. Serialized in seconds.
    #[serde(serialize_with = "crate::clock::seconds::duration")]
    pub next_fetch_in: Option<Duration>,
    /// Failures in a row.
    pub failures: u32,
    /// The last of them.
    pub last_error: Option<String>,
}

/// The state of a credential in one word.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash, Serialize)]
#[serde(rename_all = "snake_case")]
#[non_exhaustive]
pub enum TokenState {
    /// A token is in service, but the last refresh failed.
    Degraded,
    /// No usable token, and the last attempt failed or is overdue.
    Down,
    /// A token is in service.
    Fresh,
    /// Lazy, and nobody has asked yet.
    Idle,
    /// No token yet: the first is being fetched.
    Pending,
    /// The runtime has stopped.
    Stopped,
}

impl TokenStatus {
    pub(crate) fn of(name: &str, snapshot: &Snapshot<AccessToken>, now: Moment) -> Self {
        let usable = snapshot.usable(now);
        let state = match (usable, snapshot.failures) {
            _ if snapshot.stopped => TokenState::Stopped,
            (Some(_), 0) => TokenState::Fresh,
            (Some(_), _) => TokenState::Degraded,
            (None, 0) if snapshot.state == State::Idle => TokenState::Idle,
            (None, 0) if snapshot.value.is_none() => TokenState::Pending,
            (None, _) => TokenState::Down,
        };
        let next_fetch = match snapshot.state {
            State::Waiting { until, .. } => Some(until.since(now.tick)),
            State::Idle | State::Fetching { .. } => None,
        };
        Self {
            name: name.to_owned(),
            state,
            version: snapshot.version,
            age: usable.map(|token| token.age(now.wall)),
            expires_at: usable.map(|token| token.expires_at()),
            usable_for: usable.map(|_| snapshot.freshness.left(now)),
            next_fetch_in: next_fetch,
            failures: snapshot.failures,
            last_error: snapshot.error.as_ref().map(ToString::to_string),
        }
    }
}
