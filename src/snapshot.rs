//! Immutable snapshots: one [`Publisher`] writes, any number of [`Published`] read.
//!
//! A read is one atomic load: it takes no lock, allocates nothing and talks to no actor.
//! Waiting is on a condition of the snapshot, not on a reply, so a thousand waiters cost the
//! writer one wake-up and can give up whenever they like.

use std::fmt;
use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};

use arc_swap::{ArcSwap, Guard};
use tokio::sync::Notify;

struct Slot<S> {
    current: ArcSwap<S>,
    /// Counts what has been stored, after it was.
    generation: AtomicU64,
    changed: Notify,
}

/// The writing end. Not `Clone`: whoever owns it is the only one that can store.
pub(crate) struct Publisher<S>(Arc<Slot<S>>);

impl<S> Publisher<S> {
    pub(crate) fn new(first: S) -> Self {
        Self(Arc::new(Slot {
            current: ArcSwap::from_pointee(first),
            generation: AtomicU64::new(0),
            changed: Notify::new(),
        }))
    }

    /// Replaces the snapshot by what `next` makes of it, or leaves it where that is `None`,
    /// and wakes whoever waits. Safe against a concurrent update: none is lost.
    pub(crate) fn update(&self, next: impl Fn(&S) -> Option<S>) -> bool {
        let mut replaced = false;
        self.0.current.rcu(|now| match next(now) {
            Some(next) => {
                replaced = true;
                Arc::new(next)
            }
            None => {
                replaced = false;
                Arc::clone(now)
            }
        });
        if replaced {
            self.0.generation.fetch_add(1, Ordering::Release);
            self.0.changed.notify_waiters();
        }
        replaced
    }

    pub(crate) fn published(&self) -> Published<S> {
        Published(Arc::clone(&self.0))
    }
}

/// The reading end.
pub(crate) struct Published<S>(Arc<Slot<S>>);

impl<S> Published<S> {
    /// One atomic load. Never hold the guard across an `.await`.
    pub(crate) fn load(&self) -> Guard<Arc<S>> {
        self.0.current.load()
    }

    /// Stays the same for as long as the snapshot does. Read it first: a snapshot that is stored
    /// meanwhile is of a later generation.
    pub(crate) fn generation(&self) -> u64 {
        self.0.generation.load(Ordering::Acquire)
    }

    pub(crate) fn latest(&self) -> Arc<S> {
        self.0.current.load_full()
    }

    /// Waits until `decide` finds an answer in a snapshot. No publication is missed: interest
    /// is registered before the snapshot is looked at.
    pub(crate) async fn wait_for<R>(&self, mut decide: impl FnMut(&S) -> Option<R>) -> R {
        loop {
            let changed = self.0.changed.notified();
            tokio::pin!(changed);
            changed.as_mut().enable();
            if let Some(answer) = decide(&self.load()) {
                return answer;
            }
            changed.await;
        }
    }
}

impl<S> Clone for Published<S> {
    fn clone(&self) -> Self {
        Self(Arc::clone(&self.0))
    }
}

impl<S> fmt::Debug for Publisher<S> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Publisher").finish_non_exhaustive()
    }
}

impl<S> fmt::Debug for Published<S> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Published").finish_non_exhaustive()
    }
}
