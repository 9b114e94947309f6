//! Warm start: what an entry's store is asked before the first fetch, and told after each.
//!
//! A load is an attempt like a fetch and comes before the first; it can neither overtake nor undo
//! one. What is told goes its own way: one errand at a time, the latest in place of any other that
//! waits.

use std::panic::AssertUnwindSafe;
use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};
use std::time::Duration;

use futures_util::FutureExt;
use parking_lot::Mutex;
use tokio::task::JoinHandle;

use super::actor::{Context, Desk, Letter};
use super::address::{Address, Entry};
use super::agenda::Id;
use super::lifecycle::Input;
use super::task::Owned;
use super::verdict::Verdict;
use super::{Asked, Resource};
use crate::clock::{Moment, Tick, Wall};
use crate::event::{Cause, Change};
use crate::store::{
    Backing, DynStore, Record, StoreError, StoreErrorKind, StoreKey, StoreOperation,
};

/// How long the store may take over one errand.
const ERRAND: Duration = Duration::from_secs(10);

/// How long an actor that stops waits for errands that are under way.
const FAREWELL: Duration = Duration::from_millis(500);

/// An entry's place in the store.
pub(crate) struct Shelf {
    store: Arc<dyn DynStore>,
    key: StoreKey,
    pub(super) patience: Duration,
    /// The highest version that was seen there or sent there.
    version: AtomicU64,
}

impl Shelf {
    pub(super) fn find(backing: Option<&Backing>, key: Option<StoreKey>) -> Option<Self> {
        let Backing { store, patience } = backing?;
        Some(Self {
            store: Arc::clone(store),
            key: key?,
            patience: *patience,
            version: AtomicU64::new(0),
        })
    }

    /// A version above every other that was seen, and by the clock above those of others.
    fn next_version(&self, now: Wall) -> u64 {
        let next = |last: u64| last.saturating_add(1).max(now.as_nanos());
        let last = self
            .version
            .fetch_update(Ordering::AcqRel, Ordering::Acquire, |last| Some(next(last)));
        next(last.unwrap_or_default())
    }
}

/// A value from the store, not yet judged.
pub(crate) struct Loaded<T> {
    value: T,
    obtained: Wall,
    expires: Wall,
}

/// What a load brought.
pub(crate) type LoadOutcome<T> = Result<Option<Loaded<T>>, StoreError>;

/// Asks the store, as a task of its own; an answer always comes, even after a panic.
pub(super) fn load<T: Resource>(
    entry: &Arc<Entry<T>>,
    address: &Arc<Address<T>>,
    incarnation: u64,
    attempt: u32,
) -> Owned {
    let (entry, address) = (Arc::clone(entry), Arc::clone(address));
    let task = async move {
        let loading = AssertUnwindSafe(async {
            let Some(shelf) = &entry.shelf else {
                return Ok(None);
            };
            let Some(record) = shelf.store.load_boxed(&shelf.key).await? else {
                return Ok(None);
            };
            shelf.version.fetch_max(record.version(), Ordering::AcqRel);
            Ok(Some(Loaded {
                obtained: record.obtained(),
                expires: record.expires(),
                value: T::thaw(&record)?,
            }))
        });
        let outcome = loading.catch_unwind().await;
        address.post(Letter::Loaded {
            incarnation,
            id: entry.id,
            attempt,
            outcome: outcome.unwrap_or_else(|_| Err(StoreErrorKind::Panicked.into())),
        });
    };
    Owned::new(&tokio::spawn(task))
}

impl<T> Loaded<T> {
    /// When the value was obtained, on both clocks.
    fn since(&self, now: Moment) -> Result<Moment, StoreErrorKind> {
        if self.obtained > now.wall {
            return Err(StoreErrorKind::Future);
        }
        Ok(Moment {
            tick: now.tick.before(now.wall.since(self.obtained)),
            wall: self.obtained,
        })
    }
}

impl<T: Resource> Loaded<T> {
    /// Judges the value as though the fetch that once brought it had taken until now.
    fn judge(
        self,
        entry: &Entry<T>,
        now: Moment,
        draw: f64,
    ) -> Result<(Verdict<T>, Moment), StoreErrorKind> {
        let at = self.since(now)?;
        let age = now.wall.since(at.wall);
        let version = entry.publisher.published().load().version + 1;
        let asked = Asked {
            at,
            took: age,
            version,
            // A key set is soon to be confirmed, for what it has missed.
            fresh_for: Some(Duration::ZERO),
            draw,
            cause: Cause::Schedule,
        };
        // All that can be wrong with a value that was once admitted is its age.
        let verdict = Verdict::on(entry, Some(self.value), asked);
        let verdict = verdict.map_err(|_| StoreErrorKind::Expired)?;
        // A key set that its issuer took back ends earlier than its age says.
        let end = now.tick.after(self.expires.since(now.wall));
        let freshness = verdict.freshness.until(end);
        if !freshness.is_usable(now) {
            return Err(StoreErrorKind::Expired);
        }
        let restored = Verdict {
            change: Some(Change::Restored { version, age }),
            freshness,
            ..verdict
        };
        Ok((restored, at))
    }
}

impl<T: Resource> Desk<T> {
    /// Publishes what a load brought, or goes on to the first fetch.
    pub(super) fn loaded(&mut self, id: Id, attempt: u32, outcome: LoadOutcome<T>) {
        let now = self.context.clock.now();
        let Some(slot) = self.slots.get_mut(&id) else {
            return;
        };
        if !slot.life.awaits(attempt) {
            return;
        }
        let judged = outcome.and_then(|loaded| {
            let draw = slot.life.draw();
            let judged = loaded.map(|loaded| loaded.judge(&slot.entry, now, draw));
            Ok(judged.transpose()?)
        });
        match judged {
            Ok(Some((verdict, at))) => {
                let failures = slot.life.failures();
                let restored = Input::Restored {
                    attempt,
                    confirmed: at.tick,
                    refresh_at: verdict.freshness.refresh_at,
                };
                slot.fetch = None;
                slot.life
                    .step(&slot.entry.care.refresh.pace, now.tick, restored, || {
                        now.tick
                    });
                slot.expires = Some(verdict.freshness.usable_until.tick);
                self.publish(id, &verdict, at, failures);
                self.settle(id);
            }
            Ok(None) => self.feed(id, Input::Absent { attempt }),
            Err(error) => {
                let name = Arc::clone(&slot.entry.name);
                self.announce(&name, complaint(StoreOperation::Load, error));
                self.feed(id, Input::Absent { attempt });
            }
        }
    }

    /// Says so where the store was silent for as long as it may be.
    pub(super) fn note_silence(&self, id: Id) {
        if let Some(slot) = self.slots.get(&id).filter(|slot| !slot.life.is_loading()) {
            let silence = StoreErrorKind::Timeout.into();
            let change = complaint(StoreOperation::Load, silence);
            self.announce(&slot.entry.name, change);
        }
    }

    /// Has the store keep a value that a fetch begun at `obtained` brought or confirmed.
    pub(super) fn keep(&mut self, id: Id, verdict: &Verdict<T>, obtained: Moment) {
        let is_news = match &verdict.change {
            Some(change) => change.is_new_value(),
            None => T::AGES,
        };
        if is_news {
            self.save(id, &verdict.value, obtained.wall, None);
        }
    }

    /// Has the store keep the value in service no longer than it may be used now that its issuer
    /// has taken it back.
    pub(super) fn curtail(&mut self, id: Id, now: Moment) {
        let Some(slot) = self.slots.get(&id) else {
            return;
        };
        let snapshot = slot.entry.publisher.published().latest();
        if let Some(value) = &snapshot.value {
            let obtained = now.wall.before(now.tick.since(snapshot.confirmed));
            let left = snapshot.freshness.usable_until.tick.since(now.tick);
            self.save(id, value, obtained, Some(now.wall.after(left)));
        }
    }

    fn save(&mut self, id: Id, value: &T, obtained: Wall, end: Option<Wall>) {
        let Some(slot) = self.slots.get(&id) else {
            return;
        };
        if let Some(shelf) = &slot.entry.shelf {
            let (expires, payload) = value.freeze(&slot.entry.care.policy, obtained);
            let expires = end.map_or(expires, |end| expires.min(end));
            let version = shelf.next_version(self.context.clock.wall());
            let record = Record::of(version, obtained, expires, payload);
            self.send_out(id, Errand::Save(record));
        }
    }

    /// Has the store forget the value in service, if it is from a fetch before `after`: it was
    /// refused.
    pub(super) fn disown(&mut self, id: Id, after: Tick) {
        let Some(slot) = self.slots.get(&id) else {
            return;
        };
        if let Some(shelf) = &slot.entry.shelf
            && slot.entry.publisher.published().load().confirmed < after
        {
            let version = shelf.version.load(Ordering::Acquire);
            self.send_out(id, Errand::Remove(version));
        }
    }

    fn send_out(&mut self, id: Id, errand: Errand) {
        if let Some(slot) = self.slots.get_mut(&id) {
            let courier = slot.courier.get_or_insert_default();
            courier.send(&slot.entry, &self.context, errand);
        }
    }

    /// Lets the courier of a retired slot finish.
    pub(super) fn let_finish(&mut self, courier: Option<Courier>) {
        self.leaving.retain(|courier| courier.is_out());
        self.leaving.extend(courier.filter(Courier::is_out));
    }

    /// Waits a moment for errands that are under way.
    pub(super) async fn see_off(&mut self) {
        let couriers = self.slots.values_mut();
        let couriers = couriers.filter_map(|slot| slot.courier.as_mut());
        let couriers = couriers.chain(&mut self.leaving);
        let under_way = couriers.filter_map(|courier| courier.task.as_mut());
        let all = futures_util::future::join_all(under_way);
        let _ = tokio::time::timeout(FAREWELL, all).await;
    }
}

/// What subscribers learn of an answer that is of no use.
fn complaint(operation: StoreOperation, error: StoreError) -> Change {
    if error.is_transient() || operation != StoreOperation::Load {
        Change::StoreFailed { operation, error }
    } else {
        Change::StoreIgnored {
            reason: error.kind(),
        }
    }
}

/// What the store is to be told.
enum Errand {
    /// The token up to this version was refused.
    Remove(u64),
    Save(Record),
}

/// Runs an entry's errands to the store, and ends with its owner.
#[derive(Default)]
pub(super) struct Courier {
    pending: Arc<Mutex<Pending>>,
    task: Option<JoinHandle<()>>,
}

#[derive(Default)]
struct Pending {
    next: Option<Errand>,
    is_out: bool,
}

impl Courier {
    fn is_out(&self) -> bool {
        self.pending.lock().is_out
    }

    fn send<T: Resource>(&mut self, entry: &Arc<Entry<T>>, context: &Context<T>, errand: Errand) {
        let mut pending = self.pending.lock();
        pending.next = Some(errand);
        if !pending.is_out {
            pending.is_out = true;
            let (entry, context) = (Arc::clone(entry), context.clone());
            let pending = Arc::clone(&self.pending);
            self.task = Some(tokio::spawn(async move {
                while let Some(errand) = Pending::take(&pending) {
                    if let Err(change) = run(&entry, errand).await {
                        let at = context.clock.wall();
                        let name = &entry.name;
                        context.announcer.announce(T::ACTOR, at, name, change);
                    }
                }
            }));
        }
    }
}

impl Pending {
    /// The next errand; the courier is home when there is none.
    fn take(pending: &Mutex<Self>) -> Option<Errand> {
        let mut pending = pending.lock();
        let next = pending.next.take();
        pending.is_out = next.is_some();
        next
    }
}

impl Drop for Courier {
    fn drop(&mut self) {
        if let Some(task) = &self.task {
            task.abort();
        }
    }
}

async fn run<T: Resource>(entry: &Entry<T>, errand: Errand) -> Result<(), Change> {
    let Some(Shelf { store, key, .. }) = &entry.shelf else {
        return Ok(());
    };
    let operation = match &errand {
        Errand::Remove(_) => StoreOperation::Remove,
        Errand::Save(_) => StoreOperation::Save,
    };
    let running = AssertUnwindSafe(async {
        match errand {
            Errand::Remove(version) => store.remove_boxed(key, version).await,
            Errand::Save(record) => store.save_boxed(key, record).await,
        }
    });
    let outcome = match tokio::time::timeout(ERRAND, running.catch_unwind()).await {
        Ok(Ok(outcome)) => outcome,
        Ok(Err(_)) => Err(StoreErrorKind::Panicked.into()),
        Err(_) => Err(StoreErrorKind::Timeout.into()),
    };
    outcome.map_err(|error| complaint(operation, error))
}
