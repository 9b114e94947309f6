//! Whether what a fetch brought may go into service.

use std::sync::Arc;

use super::address::Entry;
use super::lifecycle::State;
use super::{Asked, Freshness, Resource, Snapshot};
use crate::clock::Tick;
use crate::event::Change;
use crate::fault::{FetchError, FetchErrorKind};

/// A value that was judged good.
pub(super) struct Verdict<T> {
    pub(super) value: Arc<T>,
    pub(super) freshness: Freshness,
    /// `None` where the value is the one in service.
    pub(super) change: Option<Change>,
}

impl<T: Resource> Verdict<T> {
    /// Judges `value`, or what is in service where the source says that nothing changed.
    pub(super) fn on(entry: &Entry<T>, value: Option<T>, asked: Asked) -> Result<Self, FetchError> {
        let snapshot = entry.publisher.published().latest();
        let (policy, refresh) = (&entry.care.policy, &entry.care.refresh);
        match (value, &snapshot.value) {
            (Some(value), previous) => {
                let (value, freshness) = value.admit(policy, refresh, asked)?;
                let change = value.change(previous.as_deref(), &freshness, asked);
                if change.as_ref().is_some_and(Change::is_new_value) {
                    if let Some(stays) = Self::outlasting(entry, &snapshot, freshness, asked) {
                        return Ok(stays);
                    }
                    entry.absolve();
                }
                Ok(Self {
                    value: Arc::new(value),
                    freshness,
                    change,
                })
            }
            (None, Some(value)) => Ok(Self {
                freshness: value.confirm(policy, refresh, asked)?,
                value: Arc::clone(value),
                change: None,
            }),
            (None, None) => Err(FetchError::new(
                FetchErrorKind::Malformed,
                "the source says nothing changed, but there is nothing in service",
            )),
        }
    }

    /// The value in service, if it is to stay since it outlasts the one that was fetched.
    fn outlasting(
        entry: &Entry<T>,
        snapshot: &Snapshot<T>,
        fetched: Freshness,
        asked: Asked,
    ) -> Option<Self> {
        let value = snapshot.value.as_ref()?;
        if entry.is_refused() || !snapshot.freshness.outlasts(&fetched) {
            return None;
        }
        let confirmed = value.confirm(&entry.care.policy, &entry.care.refresh, asked);
        let mut freshness = confirmed.ok()?;
        // No sooner than the other would have been: the cost has a bound.
        freshness.refresh_at = freshness.refresh_at.max(fetched.refresh_at);
        Some(Self {
            change: Some(T::outlasted(&freshness, asked)?),
            value: Arc::clone(value),
            freshness,
        })
    }

    /// What is published when the value, from a fetch that began at `confirmed`, follows `old`.
    pub(super) fn after(&self, old: &Snapshot<T>, confirmed: Tick, state: State) -> Snapshot<T> {
        let is_new = self.change.as_ref().is_some_and(Change::is_new_value);
        Snapshot {
            value: Some(Arc::clone(&self.value)),
            version: old.version + u64::from(is_new),
            freshness: self.freshness,
            confirmed,
            state,
            failures: 0,
            error: None,
            stopped: false,
        }
    }
}

#[cfg(feature = "testing")]
impl<T: Resource> Entry<T> {
    /// Puts `value` into service in the actor's stead, whatever was there.
    pub(crate) fn serve(&self, value: T, now: crate::clock::Moment) -> Result<(), FetchError> {
        self.refuse();
        let asked = Asked {
            at: now,
            took: std::time::Duration::ZERO,
            version: self.publisher.published().load().version + 1,
            fresh_for: None,
            draw: 0.0,
            cause: crate::event::Cause::Demand,
        };
        let verdict = Verdict::on(self, Some(value), asked)?;
        let state = State::Waiting {
            until: verdict.freshness.refresh_at,
            why: super::lifecycle::Why::Refresh,
        };
        self.publisher
            .update(|old| Some(verdict.after(old, now.tick, state)));
        Ok(())
    }
}
