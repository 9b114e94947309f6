//! What happens to credentials and keys, for whoever wants to know.

pub(crate) mod log;

use std::fmt;
use std::pin::Pin;
use std::sync::Arc;
use std::task::{Context, Poll};
use std::time::{Duration, SystemTime};

use futures_core::Stream;
use parking_lot::Mutex;
use tokio::sync::broadcast;

use crate::clock::Wall;
use crate::fault::{FetchError, printable};
use crate::meter;
use crate::store::{StoreError, StoreErrorKind, StoreOperation};

/// Something that happened to one resource or to the runtime. Never holds a token, a secret or
/// a subject.
#[derive(Clone, Debug)]
#[non_exhaustive]
pub struct Event {
    /// When, on the wall clock.
    pub at: SystemTime,
    /// The credential or issuer, as named at registration; empty for [`Change::Restarted`].
    pub name: Arc<str>,
    /// What happened.
    pub change: Change,
}

/// What happened.
#[derive(Clone, Debug)]
#[non_exhaustive]
pub enum Change {
    /// The first access token is in service.
    Acquired(Refreshed),
    /// The first of a row of failures, with a good value still in service.
    Degraded,
    /// The value in service reached its end while no fresh one could be had.
    Expired {
        /// The failure that kept the fresh one away, if there was one.
        cause: Option<FetchError>,
    },
    /// The issuer gave a token that ends before the one in service, which therefore stays. Tells
    /// of the one in service.
    Outlasted(Refreshed),
    /// A fetch succeeded after failures.
    Recovered {
        /// How many fetches had failed in a row.
        failures: u32,
    },
    /// A fetch failed; the last good value stays in service while it is valid.
    RefreshFailed {
        /// Why.
        error: FetchError,
        /// Failures in a row, this one included.
        failures: u32,
        /// When the next attempt begins, from now.
        next_attempt_in: Duration,
        /// Whether a good value is still in service.
        holding: bool,
    },
    /// A fresh access token is in service.
    Refreshed(Refreshed),
    /// A resource server refused the token in service, and another was asked for.
    Rejected,
    /// A value of the store is in service; a fresh one follows.
    Restored {
        /// Its version; the first is 1.
        version: u64,
        /// How long ago it was obtained, or a key set confirmed.
        age: Duration,
    },
    /// An actor crashed and is running again; snapshots and handles are untouched.
    Restarted {
        /// Which.
        actor: Actor,
    },
    /// Another key set is in service.
    Rotated {
        /// Its version; the first is 1.
        version: u64,
        /// The key ids that were not there before; `-` stands for a key without one.
        added: Vec<String>,
        /// The key ids that are no longer there: their tokens are refused from now on.
        removed: Vec<String>,
        /// The key ids whose key material changed.
        replaced: Vec<String>,
        /// Keys of the set that cannot be used, and why.
        skipped: Vec<String>,
        /// What asked for the fetch.
        cause: Cause,
    },
    /// The issuer returned the token that is in service already.
    SameToken(Refreshed),
    /// The issuer granted less than what was asked for.
    ScopeNarrowed {
        /// The scopes that are missing.
        missing: Vec<String>,
    },
    /// The provider does not know the client by this secret. If there is another one, it is
    /// tried in the same fetch.
    SecretRejected {
        /// Which.
        which: SecretRole,
    },
    /// The provider accepted another client secret than the last time.
    SecretRotated {
        /// Which.
        which: SecretRole,
    },
    /// A client secret could not be read, and the other one did its work.
    SecretUnavailable {
        /// Which.
        which: SecretRole,
        /// Why.
        error: FetchError,
    },
    /// The resource was retired, or the runtime stopped.
    Stopped,
    /// The store could not be asked, or could not keep a value. Nothing else depends on it.
    StoreFailed {
        /// What it was asked to do.
        operation: StoreOperation,
        /// Why it did not.
        error: StoreError,
    },
    /// The store had a record that is of no use; the value is fetched.
    StoreIgnored {
        /// Why it is of no use.
        reason: StoreErrorKind,
    },
    /// The endpoint asked for fewer requests: nobody asks it anything for this long.
    Throttled {
        /// How long, from now.
        pause: Duration,
    },
}

/// An access token that went into service.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
#[non_exhaustive]
pub struct Refreshed {
    /// Its version; the first is 1.
    pub version: u64,
    /// How long it may be used, from now.
    pub usable_for: Duration,
    /// When it will be refreshed, from now.
    pub refresh_in: Duration,
    /// How long the fetch took.
    pub took: Duration,
}

impl Change {
    /// Whether another value than before is in service.
    pub(crate) const fn is_new_value(&self) -> bool {
        matches!(
            self,
            Self::Acquired(_) | Self::Refreshed(_) | Self::Restored { .. } | Self::Rotated { .. }
        )
    }

    /// Whether the issuer gave out a token, whatever became of it.
    pub(crate) const fn is_issue(&self) -> bool {
        matches!(
            self,
            Self::Acquired(_) | Self::Outlasted(_) | Self::Refreshed(_) | Self::SameToken(_)
        )
    }

    /// A stable label for metrics and logs.
    #[must_use]
    pub const fn as_str(&self) -> &'static str {
        match self {
            Self::Acquired(_) => "acquired",
            Self::Degraded => "degraded",
            Self::Expired { .. } => "expired",
            Self::Outlasted(_) => "outlasted",
            Self::Recovered { .. } => "recovered",
            Self::RefreshFailed { .. } => "refresh_failed",
            Self::Refreshed(_) => "refreshed",
            Self::Rejected => "rejected",
            Self::Restarted { .. } => "restarted",
            Self::Restored { .. } => "restored",
            Self::Rotated { .. } => "rotated",
            Self::SameToken(_) => "same_token",
            Self::ScopeNarrowed { .. } => "scope_narrowed",
            Self::SecretRejected { .. } => "secret_rejected",
            Self::SecretRotated { .. } => "secret_rotated",
            Self::SecretUnavailable { .. } => "secret_unavailable",
            Self::Stopped => "stopped",
            Self::StoreFailed { .. } => "store_failed",
            Self::StoreIgnored { .. } => "store_ignored",
            Self::Throttled { .. } => "throttled",
        }
    }
}

/// One of the actors.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
#[non_exhaustive]
pub enum Actor {
    /// Keeps every key set.
    Jwks,
    /// Restarts the other two.
    Supervisor,
    /// Keeps every access token.
    TokenManager,
}

impl Actor {
    /// A stable label for metrics and logs.
    #[must_use]
    pub const fn as_str(self) -> &'static str {
        match self {
            Self::Jwks => "jwks",
            Self::Supervisor => "supervisor",
            Self::TokenManager => "token_manager",
        }
    }
}

/// One of the two secrets that a client may have while they are rotated.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Hash)]
#[non_exhaustive]
pub enum SecretRole {
    /// The one that stays.
    #[default]
    Current,
    /// The one that goes.
    Previous,
}

impl SecretRole {
    pub(crate) const ALL: [Self; 2] = [Self::Current, Self::Previous];

    pub(crate) const fn other(self) -> Self {
        match self {
            Self::Current => Self::Previous,
            Self::Previous => Self::Current,
        }
    }

    /// A stable label for metrics and logs.
    #[must_use]
    pub const fn as_str(self) -> &'static str {
        match self {
            Self::Current => "current",
            Self::Previous => "previous",
        }
    }
}

/// What asked for a fetch.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
#[non_exhaustive]
pub enum Cause {
    /// The schedule, a retry, or the start.
    Schedule,
    /// A token with a key id that is not in the set, a `renew`, or a reader without a value.
    Demand,
}

impl fmt::Display for Event {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{}", self.change.as_str())?;
        if !self.name.is_empty() {
            write!(f, " {}", self.name)?;
        }
        match &self.change {
            Change::Acquired(token)
            | Change::Outlasted(token)
            | Change::Refreshed(token)
            | Change::SameToken(token) => {
                write!(
                    f,
                    " version={} usable_for={:.1?} refresh_in={:.1?} took={:.1?}",
                    token.version, token.usable_for, token.refresh_in, token.took
                )
            }
            Change::ScopeNarrowed { missing } => write!(f, " missing=[{}]", missing.join(", ")),
            Change::SecretRejected { which } | Change::SecretRotated { which } => {
                write!(f, " which={}", which.as_str())
            }
            Change::SecretUnavailable { which, error } => {
                write!(f, " which={} error={error}", which.as_str())
            }
            Change::Throttled { pause } => write!(f, " pause={pause:.1?}"),
            Change::RefreshFailed {
                error,
                failures,
                next_attempt_in,
                holding,
            } => write!(
                f,
                " failures={failures} next_attempt_in={next_attempt_in:.1?} holding={holding} error={error}"
            ),
            Change::Rotated {
                version,
                added,
                removed,
                replaced,
                skipped,
                ..
            } => {
                write!(f, " version={version}")?;
                for (label, kids) in [
                    ("added", added),
                    ("removed", removed),
                    ("replaced", replaced),
                    ("skipped", skipped),
                ] {
                    if !kids.is_empty() {
                        let kids: Vec<_> = kids.iter().map(|kid| printable(kid)).collect();
                        write!(f, " {label}=[{}]", kids.join(", "))?;
                    }
                }
                Ok(())
            }
            Change::Recovered { failures } => write!(f, " failures={failures}"),
            Change::Expired { cause: Some(cause) } => write!(f, " cause={cause}"),
            Change::Restarted { actor } => write!(f, " actor={}", actor.as_str()),
            Change::Restored { version, age } => write!(f, " version={version} age={age:.1?}"),
            Change::StoreFailed { operation, error } => {
                write!(f, " operation={} error={error}", operation.as_str())
            }
            Change::StoreIgnored { reason } => write!(f, " reason={}", reason.as_str()),
            _ => Ok(()),
        }
    }
}

/// The sending end, held by the actors until the runtime stops.
#[derive(Clone, Debug)]
pub(crate) struct Announcer(Arc<Mutex<Option<broadcast::Sender<Event>>>>);

impl Announcer {
    pub(crate) fn new(capacity: usize) -> Self {
        Self(Arc::new(Mutex::new(Some(broadcast::Sender::new(capacity)))))
    }

    /// Logs the change and tells every subscriber; a slow one loses its oldest events and learns
    /// how many.
    pub(crate) fn announce(&self, actor: Actor, at: Wall, name: &Arc<str>, change: Change) {
        log::write(actor, name, &change);
        meter::happened(actor.as_str(), name, change.as_str());
        if let Some(sender) = &*self.0.lock() {
            // No subscriber is not an error.
            let _ = sender.send(Event {
                at: at.to_system(),
                name: Arc::clone(name),
                change,
            });
        }
    }

    pub(crate) fn subscribe(&self) -> Events {
        let receiver = match &*self.0.lock() {
            Some(sender) => sender.subscribe(),
            None => broadcast::Sender::new(1).subscribe(),
        };
        Events(subscription(receiver))
    }

    /// Ends every subscription once it has read what it was told.
    pub(crate) fn close(&self) {
        self.0.lock().take();
    }
}

/// Why [`Events::recv`] has no event to give.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
#[non_exhaustive]
pub enum EventsError {
    /// The subscriber was too slow and missed this many events; the next call goes on after them.
    #[error("missed {0} events")]
    Lagged(u64),
    /// The runtime has stopped and every event has been read.
    #[error("the auth runtime has stopped")]
    Stopped,
}

type Next = (
    Result<Event, broadcast::error::RecvError>,
    broadcast::Receiver<Event>,
);

/// A subscription, from [`Auth::events`](crate::Auth::events): a stream with explicit lag.
///
/// A subscriber that does not read never delays a refresh: it loses the oldest events and is
/// told how many.
pub struct Events(Pin<Box<dyn Future<Output = Next> + Send + Sync>>);

fn subscription(
    mut receiver: broadcast::Receiver<Event>,
) -> Pin<Box<dyn Future<Output = Next> + Send + Sync>> {
    Box::pin(async move { (receiver.recv().await, receiver) })
}

impl Events {
    /// The next event. Cancel-safe.
    ///
    /// # Errors
    ///
    /// [`EventsError::Lagged`] once after a gap, [`EventsError::Stopped`] at the end.
    pub async fn recv(&mut self) -> Result<Event, EventsError> {
        std::future::poll_fn(|cx| self.poll_recv(cx)).await
    }

    fn poll_recv(&mut self, cx: &mut Context<'_>) -> Poll<Result<Event, EventsError>> {
        let Poll::Ready((result, receiver)) = self.0.as_mut().poll(cx) else {
            return Poll::Pending;
        };
        self.0 = subscription(receiver);
        Poll::Ready(result.map_err(|error| match error {
            broadcast::error::RecvError::Lagged(missed) => EventsError::Lagged(missed),
            broadcast::error::RecvError::Closed => EventsError::Stopped,
        }))
    }
}

impl Stream for Events {
    type Item = Result<Event, EventsError>;

    fn poll_next(mut self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<Option<Self::Item>> {
        self.poll_recv(cx).map(|result| match result {
            Err(EventsError::Stopped) => None,
            other => Some(other),
        })
    }
}

impl fmt::Debug for Events {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Events").finish_non_exhaustive()
    }
}
