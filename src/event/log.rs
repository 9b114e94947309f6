//! What is logged of an event.

use super::{Actor, Change};
use crate::store::StoreErrorKind;

/// What the log calls this crate, wherever in it a line comes from.
pub(crate) const TARGET: &str = "midil_auth";

/// Failures in a row that are logged as warnings; more of the same are noise.
const LOUD_FAILURES: u32 = 3;

pub(super) fn write(actor: Actor, name: &str, change: &Change) {
    let actor = actor.as_str();
    match change {
        Change::RefreshFailed {
            error,
            failures,
            next_attempt_in,
            holding,
        } if *failures <= LOUD_FAILURES => tracing::warn!(target: TARGET, actor,
            name,
            kind = error.as_str(),
            error = %error,
            failures,
            ?next_attempt_in,
            holding,
            "refresh failed"
        ),
        Change::Expired { .. } => tracing::warn!(target: TARGET, actor, name, "expired"),
        Change::Recovered { failures } => {
            tracing::info!(target: TARGET, actor, name, failures, "recovered");
        }
        Change::Restarted { .. } => tracing::info!(target: TARGET, actor, "restarted"),
        Change::SecretRejected { which } => {
            tracing::warn!(target: TARGET, actor, name, which = which.as_str(), "secret rejected");
        }
        Change::SecretRotated { which } => {
            tracing::info!(target: TARGET, actor, name, which = which.as_str(), "secret rotated");
        }
        Change::SecretUnavailable { which, error } => {
            tracing::warn!(target: TARGET, actor, name, which = which.as_str(), error = %error, "secret unavailable");
        }
        Change::Restored { version, age } => {
            tracing::info!(target: TARGET, actor, name, version, ?age, "restored");
        }
        Change::StoreFailed { operation, error } => {
            let operation = operation.as_str();
            let kind = error.as_str();
            tracing::warn!(target: TARGET, actor, name, operation, kind, error = %error, "store failed");
        }
        Change::StoreIgnored { reason } if *reason != StoreErrorKind::Expired => {
            tracing::warn!(target: TARGET, actor,
                name,
                reason = reason.as_str(),
                "stored value ignored"
            );
        }
        Change::ScopeNarrowed { .. } | Change::Throttled { .. } => {
            tracing::warn!(target: TARGET, actor, name, change = change.as_str(), "needs attention");
        }
        Change::Rotated { version, .. } => {
            tracing::info!(target: TARGET, actor, name, version, "keys rotated");
        }
        other => {
            tracing::debug!(target: TARGET, actor, name, change = other.as_str(), "resource changed");
        }
    }
}
