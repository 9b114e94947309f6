//! How a payload is read: its registered claims alone, or with a type of the application's own.

use std::sync::Arc;

use serde::de::DeserializeOwned;

use super::members::Members;
use super::registered::Registered;
use crate::jwt::error::VerifyError;

/// Judges claims before the application's type is filled from them.
type Judge<'a> = &'a dyn Fn(&Registered) -> Result<(), VerifyError>;

/// Reads a payload, of which one claim holds the groups, and has it judged.
pub(in crate::jwt) type Reading<C> =
    fn(payload: String, groups_claim: &str, judge: Judge<'_>) -> Read<C>;

type Read<C> = Result<(Arc<Registered>, C), VerifyError>;

/// The registered claims alone.
pub(in crate::jwt) fn registered(
    payload: String,
    groups_claim: &str,
    judge: Judge<'_>,
) -> Read<()> {
    let registered = Registered::read(payload, groups_claim, |_, _| {})?;
    judge(&registered)?;
    Ok((registered, ()))
}

/// A type of the application's own with them.
pub(in crate::jwt) fn with_own<C: DeserializeOwned>(
    payload: String,
    groups_claim: &str,
    judge: Judge<'_>,
) -> Read<C> {
    let mut members = Members::new();
    let registered = Registered::read(payload, groups_claim, |name, value| {
        members.note(name, value);
    })?;
    judge(&registered)?;
    let own = members
        .deserialize(registered.payload())
        .map_err(|_| VerifyError::Malformed("the claims do not fit the application's type"))?;
    Ok((registered, own))
}
