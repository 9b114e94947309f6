//! The tasks that an actor starts. Each ends with its owner.

use std::panic::AssertUnwindSafe;
use std::sync::Arc;

use futures_util::FutureExt;
use tokio::task::{AbortHandle, JoinHandle};
use tracing::Instrument;

use super::Resource;
use super::actor::Letter;
use super::address::{Address, Entry};
use crate::fault::{FetchError, FetchErrorKind};

/// A task that ends with its owner.
pub(super) struct Owned(AbortHandle);

impl Owned {
    pub(super) fn new(task: &JoinHandle<()>) -> Self {
        Self(task.abort_handle())
    }
}

impl Drop for Owned {
    fn drop(&mut self) {
        self.0.abort();
    }
}

/// Runs one fetch as a task of its own; a completion always comes, even after a panic.
pub(super) fn fetch<T: Resource>(
    entry: &Arc<Entry<T>>,
    address: &Arc<Address<T>>,
    incarnation: u64,
    attempt: u32,
) -> Owned {
    let (id, source, address) = (entry.id, Arc::clone(&entry.source), Arc::clone(address));
    let in_service = entry.publisher.published().load().value.clone();
    let span = tracing::info_span!(
        target: crate::event::log::TARGET,
        parent: None,
        "midil_auth.fetch",
        actor = T::ACTOR.as_str(),
        name = &*entry.name,
        attempt,
    );
    let task = async move {
        let fetching = AssertUnwindSafe(async { source.fetch_boxed(in_service).await });
        let outcome = fetching.catch_unwind().await.unwrap_or_else(|_| {
            Err(FetchError::new(
                FetchErrorKind::Panicked,
                "the source panicked",
            ))
        });
        address.post(Letter::Completed {
            incarnation,
            id,
            attempt,
            outcome,
        });
    };
    Owned::new(&tokio::spawn(task.instrument(span)))
}

/// Awaits what would end a refusal.
pub(super) fn watch<T: Resource>(entry: &Arc<Entry<T>>, address: &Arc<Address<T>>) -> Owned {
    let (id, source, address) = (entry.id, Arc::clone(&entry.source), Arc::clone(address));
    let task = async move {
        source.changed_boxed().await;
        address.post(Letter::Wake(id));
    };
    Owned::new(&tokio::spawn(task))
}
