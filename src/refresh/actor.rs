//! The actor of one kind of resource. It decides nothing: it feeds [`Lifecycle`] and carries out
//! the [`Action`]s.

use std::collections::HashMap;
use std::marker::PhantomData;
use std::panic::AssertUnwindSafe;
use std::sync::Arc;

use fastrand::Rng;
use ractor::{ActorProcessingErr, ActorRef};

use super::address::{Address, Entry, Knock};
use super::agenda::{Agenda, Id};
use super::endpoint::{Endpoints, Seat};
use super::lifecycle::{Action, Input, Lifecycle, State, Why};
use super::task::{self, Owned};
use super::warm::{self, Courier, LoadOutcome};
use super::{Outcome, Resource, Snapshot};
use crate::clock::{Clock, Moment, Tick};
use crate::event::{Announcer, Cause, Change};
use crate::fault::{FetchError, FetchErrorKind};
use crate::meter;

/// What the actor is told. It lies in the [`Address`]'s inbox; the ractor message is only a knock.
pub(crate) enum Letter<T> {
    /// Look after this entry.
    Adopt(Id),
    /// A fetch has ended.
    Completed {
        incarnation: u64,
        id: Id,
        attempt: u32,
        outcome: Outcome<T>,
    },
    #[cfg(feature = "testing")]
    Crash,
    /// Somebody left a demand with this entry.
    Demand(Id),
    /// The store has answered.
    Loaded {
        incarnation: u64,
        id: Id,
        attempt: u32,
        outcome: LoadOutcome<T>,
    },
    /// Forget this entry.
    Retire(Id),
    /// The timer of this epoch has run out.
    Tick { incarnation: u64, epoch: u64 },
    /// What a refusal depended on has changed.
    Wake(Id),
}

/// What an incarnation of the actor starts from.
pub(crate) struct Context<T: Resource> {
    pub(crate) address: Arc<Address<T>>,
    pub(crate) clock: Clock,
    pub(crate) announcer: Announcer,
    pub(crate) seed: u64,
}

impl<T: Resource> Clone for Context<T> {
    fn clone(&self) -> Self {
        Self {
            address: Arc::clone(&self.address),
            clock: self.clock.clone(),
            announcer: self.announcer.clone(),
            seed: self.seed,
        }
    }
}

/// The token-manager actor when `T` is an access token, the JWKS actor when it is a key set.
pub(crate) struct Refresher<T>(PhantomData<fn() -> T>);

impl<T> Refresher<T> {
    pub(crate) const fn new() -> Self {
        Self(PhantomData)
    }
}

// Written with ractor's macro and with a message type of the language's own, it compiles whatever
// features of ractor (`async-trait`, `cluster`) the rest of the graph switches on.
#[ractor::actor(message = Knock, state = Desk<T>, arguments = Context<T>)]
impl<T: Resource> Refresher<T> {
    async fn pre_start(
        &self,
        myself: ActorRef<Knock>,
        context: Context<T>,
    ) -> Result<Desk<T>, ActorProcessingErr> {
        let mut desk = Desk {
            rng: Rng::with_seed(context.seed),
            incarnation: context.address.move_in(myself),
            in_step: context.clock.now(),
            context,
            slots: HashMap::new(),
            agenda: Agenda::default(),
            endpoints: Endpoints::default(),
            leaving: Vec::new(),
            timer: None,
            epoch: 0,
        };
        // Everything that matters is with the entries, so nothing of a crashed incarnation is
        // needed but them.
        for entry in desk.context.address.entries() {
            desk.adopt(entry);
        }
        desk.arm();
        Ok(desk)
    }

    async fn handle(
        &self,
        _myself: ActorRef<Knock>,
        _knock: Knock,
        desk: &mut Desk<T>,
    ) -> Result<(), ActorProcessingErr> {
        for letter in desk.context.address.collect() {
            desk.receive(letter);
        }
        desk.arm();
        Ok(())
    }

    async fn post_stop(
        &self,
        _myself: ActorRef<Knock>,
        desk: &mut Desk<T>,
    ) -> Result<(), ActorProcessingErr> {
        desk.see_off().await;
        Ok(())
    }
}

/// A fetch in flight, or a load before the first.
pub(super) struct Fetch {
    #[expect(dead_code, reason = "held for its drop: the task ends with it")]
    task: Owned,
    pub(super) begun: Moment,
    pub(super) cause: Cause,
    #[expect(dead_code, reason = "held for its drop: the next in turn may begin")]
    seat: Option<Seat>,
}

/// One resource on the actor's desk.
pub(super) struct Slot<T: Resource> {
    pub(super) entry: Arc<Entry<T>>,
    pub(super) life: Lifecycle,
    pub(super) fetch: Option<Box<Fetch>>,
    /// While parked: waits for what the refusal depended on to change.
    pub(super) watch: Option<Owned>,
    pub(super) courier: Option<Courier>,
    /// When the value in service ends, until that has been announced.
    pub(super) expires: Option<Tick>,
    /// Where the agenda has this slot.
    due: Option<Tick>,
}

/// The state of the actor.
pub(crate) struct Desk<T: Resource> {
    pub(super) context: Context<T>,
    pub(super) incarnation: u64,
    /// Boxed, since a table of many is mostly room to grow.
    pub(super) slots: HashMap<Id, Box<Slot<T>>>,
    pub(super) agenda: Agenda,
    pub(super) endpoints: Endpoints,
    /// Couriers of retired slots that are still out.
    pub(super) leaving: Vec<Courier>,
    pub(super) timer: Option<(Tick, Owned)>,
    pub(super) epoch: u64,
    /// A moment since which both clocks have gone alike.
    pub(super) in_step: Moment,
    rng: Rng,
}

impl<T: Resource> Desk<T> {
    fn receive(&mut self, letter: Letter<T>) {
        match letter {
            Letter::Adopt(id) => {
                if let Some(entry) = self.context.address.entry(id) {
                    self.adopt(entry);
                }
            }
            Letter::Completed {
                incarnation,
                id,
                attempt,
                outcome,
            } if incarnation == self.incarnation => self.complete(id, attempt, outcome),
            Letter::Demand(id) => {
                let demand = self
                    .slots
                    .get(&id)
                    .and_then(|slot| slot.entry.take_demand());
                if let Some((after, insist)) = demand {
                    if insist && let Some(slot) = self.slots.get(&id) {
                        self.announce(&slot.entry.name, Change::Rejected);
                        self.disown(id, after);
                    }
                    self.feed(id, Input::Demand { after, insist });
                }
            }
            Letter::Loaded {
                incarnation,
                id,
                attempt,
                outcome,
            } if incarnation == self.incarnation => self.loaded(id, attempt, outcome),
            Letter::Retire(id) => self.retire(id),
            Letter::Wake(id) => self.feed(id, Input::Wake),
            Letter::Tick { incarnation, epoch }
                if incarnation == self.incarnation && epoch == self.epoch =>
            {
                self.tick();
            }
            // Of a fetch or a timer that was replaced while its word was on the way.
            Letter::Completed { .. } | Letter::Loaded { .. } | Letter::Tick { .. } => {}
            #[cfg(feature = "testing")]
            #[expect(clippy::panic, reason = "a test asked for it")]
            Letter::Crash => panic!("crash requested by a test"),
        }
    }

    fn adopt(&mut self, entry: Arc<Entry<T>>) {
        let id = entry.id;
        if self.slots.contains_key(&id) {
            return;
        }
        let published = entry.publisher.published();
        let snapshot = published.load();
        let confirmed = snapshot.value.as_ref().map(|_| snapshot.confirmed);
        let rng = self.rng.fork();
        let eager = entry.eager;
        let demand = entry.take_demand();
        let parked = matches!(snapshot.state, State::Waiting { why: Why::Park, .. });
        let watch = parked.then(|| task::watch(&entry, &self.context.address));
        if let Some(endpoint) = &entry.care.endpoint
            && let Some(until) = snapshot.throttled_until()
        {
            self.endpoints.pause(endpoint, until);
        }
        let mut life = Lifecycle::resume(rng, snapshot.state, snapshot.failures, confirmed);
        if let (Some(shelf), None) = (&entry.shelf, confirmed) {
            life.ask_store(shelf.patience);
        }
        let slot = Slot {
            life,
            // One that has passed was announced by whoever ran before.
            expires: confirmed
                .map(|_| snapshot.freshness.usable_until.tick)
                .filter(|&at| at > self.context.clock.tick()),
            fetch: None,
            watch,
            courier: None,
            due: None,
            entry,
        };
        self.slots.insert(id, Box::new(slot));
        if eager {
            self.feed(id, Input::Begin);
        }
        if let Some((after, insist)) = demand {
            self.feed(id, Input::Demand { after, insist });
        }
        self.settle(id);
    }

    fn retire(&mut self, id: Id) {
        if let Some(mut slot) = self.slots.remove(&id) {
            self.agenda.reschedule(id, slot.due, None);
            self.announce(&slot.entry.name, Change::Stopped);
            self.let_finish(slot.courier.take());
            // With the last handle gone this may drop the application's source: if that panics,
            // it is no matter of the other credentials.
            let _ = std::panic::catch_unwind(AssertUnwindSafe(|| drop(slot)));
        }
        if self.slots.len() < self.slots.capacity() / 4 {
            self.slots.shrink_to_fit();
        }
    }

    /// Feeds one input and carries out what follows.
    pub(super) fn feed(&mut self, id: Id, input: Input) {
        let now = self.context.clock.now();
        let Some(slot) = self.slots.get_mut(&id) else {
            return;
        };
        let loading = slot.life.is_loading();
        let cause = match &slot.fetch {
            Some(load) if loading => load.cause,
            _ => cause_of(slot.life.state(), input),
        };
        let open_at = || match &slot.entry.care.endpoint {
            Some(endpoint) => self.endpoints.open_at(endpoint, now.tick),
            None => now.tick,
        };
        let pace = &slot.entry.care.refresh.pace;
        match slot.life.step(pace, now.tick, input, open_at) {
            Action::Fetch { attempt } => {
                let task = task::fetch(
                    &slot.entry,
                    &self.context.address,
                    self.incarnation,
                    attempt,
                );
                slot.watch = None;
                let endpoint = slot.entry.care.endpoint.as_ref();
                slot.fetch = Some(Box::new(Fetch {
                    task,
                    begun: now,
                    cause,
                    seat: endpoint.map(|name| self.endpoints.sit(name)),
                }));
            }
            Action::Load { attempt } => {
                let address = &self.context.address;
                slot.fetch = Some(Box::new(Fetch {
                    task: warm::load(&slot.entry, address, self.incarnation, attempt),
                    begun: now,
                    cause,
                    seat: None,
                }));
            }
            Action::Abandon => {
                let timeout = slot.entry.care.refresh.pace.fetch_timeout;
                let error = FetchError::new(
                    FetchErrorKind::Timeout,
                    format!("no complete answer within {timeout:?}"),
                );
                let begun = slot.fetch.as_ref().map_or(now, |fetch| fetch.begun);
                let took = now.tick.since(begun.tick);
                meter::fetched(
                    T::ACTOR.as_str(),
                    &slot.entry.name,
                    took,
                    Some(error.as_str()),
                );
                self.report(id, now, &error);
            }
            // Whoever completes a fetch publishes or reports: it has the value or the error.
            Action::Nothing | Action::Publish | Action::Report => {}
        }
        self.settle(id);
        if loading && input == Input::Due {
            self.note_silence(id);
        }
    }

    pub(super) fn announce_all(&self, id: Id, changes: Vec<Change>) {
        if let Some(slot) = self.slots.get(&id) {
            for change in changes {
                self.announce(&slot.entry.name, change);
            }
        }
    }

    /// Publishes where the life stands, for readers and restarts, and moves the deadline.
    pub(super) fn settle(&mut self, id: Id) {
        let Some(slot) = self.slots.get(&id) else {
            return;
        };
        let state = slot.life.state();
        slot.entry.publisher.update(|old| {
            (!old.stopped && old.state != state).then(|| Snapshot {
                state,
                ..old.clone()
            })
        });
        self.reschedule(id);
    }

    fn reschedule(&mut self, id: Id) {
        if let Some(slot) = self.slots.get_mut(&id) {
            let due = [slot.life.deadline(), slot.expires]
                .into_iter()
                .flatten()
                .min();
            self.agenda.reschedule(id, slot.due, due);
            slot.due = due;
        }
    }

    pub(super) fn announce(&self, name: &Arc<str>, change: Change) {
        let at = self.context.clock.wall();
        self.context.announcer.announce(T::ACTOR, at, name, change);
    }
}

fn cause_of(state: State, input: Input) -> Cause {
    match (state, input) {
        (_, Input::Demand { .. })
        | (
            State::Waiting {
                why: Why::Demand, ..
            },
            Input::Due,
        ) => Cause::Demand,
        _ => Cause::Schedule,
    }
}
