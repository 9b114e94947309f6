//! An address that survives restarts of its actor, and the lifeline that stops the tree.

use std::collections::HashMap;
use std::fmt;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, AtomicU64, Ordering};

use arc_swap::ArcSwapOption;
use parking_lot::Mutex;
use ractor::{ActorCell, ActorRef};

use super::actor::Letter;
use super::agenda::Id;
use super::source::DynSource;
use super::warm::Shelf;
use super::{RefreshPolicy, Resource, Snapshot, Start};
use crate::clock::Tick;
use crate::latest::Latest;
use crate::snapshot::Publisher;
use crate::store::{Backing, StoreKey};

/// The ractor message: there is something in the inbox.
pub(crate) type Knock = u8;

/// How a resource is kept. Neighbours that are kept alike share it: there may be many.
#[derive(PartialEq)]
pub(crate) struct Care<P> {
    pub(crate) policy: P,
    pub(crate) refresh: RefreshPolicy,
    /// What it shares with others, and so paces together with them.
    pub(crate) endpoint: Option<Arc<str>>,
}

/// One resource as its actor, its readers and a restart see it.
pub(crate) struct Entry<T: Resource> {
    pub(crate) id: Id,
    pub(crate) name: Arc<str>,
    pub(crate) source: Arc<dyn DynSource<T>>,
    pub(crate) care: Arc<Care<T::Policy>>,
    /// Whether the first value is fetched without anybody asking.
    pub(crate) eager: bool,
    /// Where its values outlive the process, if they do.
    pub(crate) shelf: Option<Shelf>,
    pub(crate) publisher: Publisher<Snapshot<T>>,
    /// The demand on its way to the actor: the latest `after` asked for, zero for none.
    wanted: AtomicU64,
    insisted: AtomicBool,
    /// Whether somebody refused the value in service, so that any other is better.
    refused: AtomicBool,
}

impl<T: Resource> Entry<T> {
    /// The demand that readers left here, if any.
    pub(crate) fn take_demand(&self) -> Option<(Tick, bool)> {
        let insist = self.insisted.swap(false, Ordering::AcqRel);
        match self.wanted.swap(0, Ordering::AcqRel) {
            0 => None,
            after => Some((Tick::from_nanos(after), insist)),
        }
    }

    /// The value in service was refused.
    pub(crate) fn refuse(&self) {
        self.refused.store(true, Ordering::Release);
    }

    pub(crate) fn is_refused(&self) -> bool {
        self.refused.load(Ordering::Acquire)
    }

    /// Another value goes into service.
    pub(crate) fn absolve(&self) {
        self.refused.store(false, Ordering::Release);
    }
}

/// What is registered with an [`Address`].
pub(crate) struct Registration<T: Resource> {
    pub(crate) name: Arc<str>,
    pub(crate) source: Arc<dyn DynSource<T>>,
    pub(crate) policy: T::Policy,
    pub(crate) refresh: RefreshPolicy,
    pub(crate) endpoint: Option<Arc<str>>,
    /// What its values are stored under, if the runtime has a store.
    pub(crate) store_key: Option<StoreKey>,
    pub(crate) start: Start,
}

/// Where the actor of a kind is reached, whichever incarnation of it is running. What the actor
/// looks after is registered here and not in the actor, so a restart forgets nothing.
pub(crate) struct Address<T: Resource> {
    actor: ArcSwapOption<ActorRef<Knock>>,
    inbox: Mutex<Vec<Letter<T>>>,
    incarnations: AtomicU64,
    entries: Mutex<HashMap<Id, Arc<Entry<T>>>>,
    latest_care: Latest<Care<T::Policy>>,
    next_id: AtomicU64,
    closed: AtomicBool,
    sent: AtomicU64,
    backing: Option<Backing>,
}

impl<T: Resource> Address<T> {
    pub(crate) fn new(backing: Option<Backing>) -> Self {
        Self {
            backing,
            actor: ArcSwapOption::empty(),
            inbox: Mutex::default(),
            incarnations: AtomicU64::new(0),
            entries: Mutex::default(),
            latest_care: Latest::new(),
            next_id: AtomicU64::new(0),
            closed: AtomicBool::new(false),
            sent: AtomicU64::new(0),
        }
    }

    /// Points the address at a new incarnation of the actor and numbers it. It starts with an
    /// empty inbox: what there is to do it learns from the entries.
    pub(crate) fn move_in(&self, actor: ActorRef<Knock>) -> u64 {
        self.actor.store(Some(Arc::new(actor)));
        self.inbox.lock().clear();
        self.incarnations.fetch_add(1, Ordering::AcqRel) + 1
    }

    /// Puts a letter into the inbox and knocks if it was empty.
    pub(crate) fn post(&self, letter: Letter<T>) {
        let mut inbox = self.inbox.lock();
        // Looked at under the lock, so that nothing is left behind in an inbox that was emptied
        // for good.
        if self.is_closed() {
            return;
        }
        inbox.push(letter);
        if inbox.len() == 1
            && let Some(actor) = &*self.actor.load()
        {
            // A dead actor is about to be replaced, and the next one starts from the entries.
            let _ = actor.send_message(0);
        }
    }

    /// Empties the inbox.
    pub(crate) fn collect(&self) -> Vec<Letter<T>> {
        std::mem::take(&mut *self.inbox.lock())
    }

    /// How many messages readers have sent.
    pub(crate) fn messages_sent(&self) -> u64 {
        self.sent.load(Ordering::Relaxed)
    }

    /// How many entries there are.
    pub(crate) fn count(&self) -> usize {
        self.entries.lock().len()
    }

    pub(crate) fn entries(&self) -> Vec<Arc<Entry<T>>> {
        self.entries.lock().values().map(Arc::clone).collect()
    }

    pub(crate) fn entry(&self, id: Id) -> Option<Arc<Entry<T>>> {
        self.entries.lock().get(&id).map(Arc::clone)
    }

    pub(crate) fn register(&self, registration: Registration<T>) -> Arc<Entry<T>> {
        let entry = Arc::new(Entry {
            id: Id(self.next_id.fetch_add(1, Ordering::Relaxed)),
            name: registration.name,
            source: registration.source,
            care: self.latest_care.share(Care {
                policy: registration.policy,
                refresh: registration.refresh,
                endpoint: registration.endpoint,
            }),
            eager: registration.start != Start::Lazy,
            shelf: Shelf::find(self.backing.as_ref(), registration.store_key),
            publisher: Publisher::new(Snapshot::empty()),
            wanted: AtomicU64::new(0),
            insisted: AtomicBool::new(false),
            refused: AtomicBool::new(false),
        });
        self.entries.lock().insert(entry.id, Arc::clone(&entry));
        if self.closed.load(Ordering::Acquire) {
            stop(&entry);
        }
        self.send(Letter::Adopt(entry.id));
        entry
    }

    pub(crate) fn retire(&self, id: Id) {
        let mut entries = self.entries.lock();
        let retired = entries.remove(&id);
        if entries.len() < entries.capacity() / 4 {
            entries.shrink_to_fit();
        }
        drop(entries);
        if retired.is_some() {
            self.send(Letter::Retire(id));
        }
    }

    /// Leaves a demand with the entry. However many readers do so before the actor looks, it
    /// gets one message.
    pub(crate) fn demand(&self, entry: &Entry<T>, after: Tick, insist: bool) {
        if insist {
            entry.insisted.store(true, Ordering::Release);
        }
        let after = after.as_nanos().max(1);
        if entry.wanted.fetch_max(after, Ordering::AcqRel) == 0 {
            self.send(Letter::Demand(entry.id));
        }
    }

    #[cfg(feature = "testing")]
    pub(crate) fn crash(&self) {
        self.send(Letter::Crash);
    }

    pub(crate) fn is_closed(&self) -> bool {
        self.closed.load(Ordering::Acquire)
    }

    /// Nothing is published from now on: every reader gets `Stopped`, every waiter is woken.
    pub(crate) fn close(&self) {
        self.closed.store(true, Ordering::Release);
        for entry in self.entries() {
            stop(&entry);
        }
        self.entries.lock().clear();
        self.actor.store(None);
        self.inbox.lock().clear();
    }

    fn send(&self, letter: Letter<T>) {
        self.sent.fetch_add(1, Ordering::Relaxed);
        self.post(letter);
    }
}

fn stop<T: Resource>(entry: &Entry<T>) {
    entry.publisher.update(|now| {
        (!now.stopped).then(|| Snapshot {
            stopped: true,
            value: None,
            ..now.clone()
        })
    });
}

impl<T: Resource> fmt::Debug for Address<T> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Address").finish_non_exhaustive()
    }
}

/// Held by everything an application holds; the last drop stops the supervision tree.
///
/// Dropping all references to an actor stops nothing, since a ractor actor holds itself.
#[derive(Debug)]
pub(crate) struct Lifeline(pub(crate) ActorCell);

impl Drop for Lifeline {
    fn drop(&mut self) {
        self.0.stop(None);
    }
}
