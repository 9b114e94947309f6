//! What a reader holds of one resource: its snapshots, a clock, and a lease on its upkeep.

use std::fmt;
use std::future::Future;
use std::sync::Arc;
use std::time::Duration;

use super::address::{Address, Entry, Lifeline};
use super::{RefreshPolicy, Resource, Snapshot};
use crate::clock::{Clock, Moment, Tick};
use crate::fault::FetchError;
use crate::snapshot::Published;

/// Keeps a resource in its actor's care; the last drop retires it.
struct Lease<T: Resource> {
    address: Arc<Address<T>>,
    entry: Arc<Entry<T>>,
    /// `None` where there is no tree to stop.
    _lifeline: Option<Arc<Lifeline>>,
}

impl<T: Resource> Drop for Lease<T> {
    fn drop(&mut self) {
        self.address.retire(self.entry.id);
    }
}

/// A cheap, cloneable reader. Reading is one atomic load and one look at the clock.
pub(crate) struct Handle<T: Resource> {
    published: Published<Snapshot<T>>,
    clock: Clock,
    lease: Arc<Lease<T>>,
}

/// Why there is no usable value.
#[derive(Clone, Debug)]
pub(crate) enum Absent {
    /// The last one has reached its end; `cause` kept the next one away.
    Expired {
        since: Duration,
        cause: Option<FetchError>,
    },
    /// There never was one, and the last attempt failed.
    Failed(FetchError),
    /// There never was one; the first is on its way or, for a lazy start, asked for now.
    Pending,
    /// The runtime has stopped.
    Stopped,
}

impl<T: Resource> Handle<T> {
    pub(crate) fn new(
        address: Arc<Address<T>>,
        entry: Arc<Entry<T>>,
        lifeline: Option<Arc<Lifeline>>,
        clock: Clock,
    ) -> Self {
        Self {
            published: entry.publisher.published(),
            clock,
            lease: Arc::new(Lease {
                address,
                entry,
                _lifeline: lifeline,
            }),
        }
    }

    pub(crate) fn name(&self) -> &Arc<str> {
        &self.lease.entry.name
    }

    pub(crate) fn refresh(&self) -> &RefreshPolicy {
        &self.lease.entry.care.refresh
    }

    pub(crate) const fn clock(&self) -> &Clock {
        &self.clock
    }

    /// See [`Published::generation`].
    pub(crate) fn generation(&self) -> u64 {
        self.published.generation()
    }

    pub(crate) fn latest(&self) -> Arc<Snapshot<T>> {
        self.published.latest()
    }

    /// Looks at the usable value through `look`, without touching its reference count.
    pub(crate) fn read<R>(&self, look: impl FnOnce(&Arc<T>) -> R) -> Result<R, Absent> {
        self.read_at(|value, _| look(value))
    }

    /// As [`read`](Self::read), and says what time it is.
    pub(crate) fn read_at<R>(&self, look: impl FnOnce(&Arc<T>, Moment) -> R) -> Result<R, Absent> {
        let now = self.clock.coarse();
        let snapshot = self.published.load();
        match snapshot.usable(now) {
            Some(value) => Ok(look(value, now)),
            None => Err(self.absent(&snapshot, now)),
        }
    }

    /// Says why there is no usable value, and asks for one.
    #[cold]
    fn absent(&self, snapshot: &Snapshot<T>, now: Moment) -> Absent {
        if !snapshot.stopped {
            self.demand(snapshot, snapshot.confirmed.next(), false);
        }
        why_absent(snapshot, now)
    }

    /// Asks for a value from a fetch begun at or after `after`, unless that is under way.
    pub(crate) fn demand(&self, snapshot: &Snapshot<T>, after: Tick, insist: bool) {
        if insist {
            self.lease.entry.refuse();
        }
        let now = self.clock.tick();
        if snapshot.confirmed < after && !snapshot.state.covers(now, after, insist) {
            self.lease.address.demand(&self.lease.entry, after, insist);
        }
    }

    /// Waits for a usable value until one is there, the machine rests on a failure, or
    /// `ready_timeout` passes.
    pub(crate) async fn ready(&self) -> Result<Arc<T>, Absent> {
        self.usable_unless(|snapshot| snapshot.resting_on().is_some())
            .await
    }

    /// As [`ready`](Self::ready), but sits out failures that may pass.
    pub(crate) async fn started(&self) -> Result<Arc<T>, Absent> {
        self.usable_unless(|snapshot| snapshot.resting_on().is_some_and(|e| !e.is_transient()))
            .await
    }

    async fn usable_unless(
        &self,
        in_vain: impl Fn(&Snapshot<T>) -> bool,
    ) -> Result<Arc<T>, Absent> {
        let timeout = self.refresh().ready_timeout;
        let found = self.wait(timeout, |snapshot, now| {
            if let Some(value) = snapshot.usable(now) {
                return Some(Ok(Arc::clone(value)));
            }
            let overdue = snapshot.state.is_overdue(now.tick);
            if snapshot.stopped || (in_vain(snapshot) && !overdue) {
                return Some(Err(why_absent(snapshot, now)));
            }
            self.demand(snapshot, snapshot.confirmed.next(), false);
            None
        });
        match found.await {
            Some(found) => found,
            None => Err(why_absent(&self.published.load(), self.clock.now())),
        }
    }

    /// Waits at most `timeout` until `decide` finds an answer in a snapshot.
    pub(crate) fn wait<R>(
        &self,
        timeout: Duration,
        mut decide: impl FnMut(&Snapshot<T>, Moment) -> Option<R>,
    ) -> impl Future<Output = Option<R>> {
        let waiting = async move {
            self.published
                .wait_for(|snapshot| decide(snapshot, self.clock.now()))
                .await
        };
        async move { tokio::time::timeout(timeout, waiting).await.ok() }
    }

    /// Waits until a version other than `seen` is in service, without asking for one; `None`
    /// once the runtime has stopped.
    pub(crate) async fn changed_from(&self, seen: u64) -> Option<Arc<Snapshot<T>>> {
        self.published
            .wait_for(|snapshot| {
                if snapshot.stopped {
                    return Some(None);
                }
                (snapshot.version != seen).then(|| Some(Arc::new(snapshot.clone())))
            })
            .await
    }
}

fn why_absent<T>(snapshot: &Snapshot<T>, now: Moment) -> Absent {
    if snapshot.stopped {
        return Absent::Stopped;
    }
    match (&snapshot.value, &snapshot.error) {
        (Some(_), cause) => {
            let until = snapshot.freshness.usable_until;
            Absent::Expired {
                since: now.tick.since(until.tick).max(now.wall.since(until.wall)),
                cause: cause.clone(),
            }
        }
        (None, Some(error)) => Absent::Failed(error.clone()),
        (None, None) => Absent::Pending,
    }
}

impl<T: Resource> Clone for Handle<T> {
    fn clone(&self) -> Self {
        Self {
            published: self.published.clone(),
            clock: self.clock.clone(),
            lease: Arc::clone(&self.lease),
        }
    }
}

impl<T: Resource> fmt::Debug for Handle<T> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Handle")
            .field("name", self.name())
            .finish_non_exhaustive()
    }
}
