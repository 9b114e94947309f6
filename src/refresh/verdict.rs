//! Whether what a fetch brought may go into service.

use std::sync::Arc;

use super::address::Entry;
use super::{Asked, Freshness, Resource};
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
        let in_service = entry.publisher.published().load().value.clone();
        match (value, in_service) {
            (Some(value), previous) => {
                let (value, freshness) =
                    value.admit(&entry.care.policy, &entry.care.refresh, asked)?;
                Ok(Self {
                    change: value.change(previous.as_deref(), &freshness, asked),
                    value: Arc::new(value),
                    freshness,
                })
            }
            (None, Some(value)) => Ok(Self {
                freshness: value.confirm(&entry.care.policy, &entry.care.refresh, asked)?,
                value,
                change: None,
            }),
            (None, None) => Err(FetchError::new(
                FetchErrorKind::Malformed,
                "the source says nothing changed, but there is nothing in service",
            )),
        }
    }
}
