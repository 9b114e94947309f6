//! What the actor does when time passes: one timer for every deadline, and an eye on the clocks.

use std::sync::Arc;
use std::time::Duration;

use super::Resource;
use super::actor::{Desk, Letter};
use super::agenda::Id;
use super::lifecycle::Input;
use super::task::Owned;
use crate::clock::Moment;
use crate::event::Change;

/// The longest the timer sleeps. Timers stand still while the machine is suspended; with this
/// much granularity a resumed machine catches up soon.
const HEARTBEAT: Duration = Duration::from_secs(30);

/// How far the clocks may come apart before the wall clock counts as set.
const OUT_OF_STEP: Duration = Duration::from_secs(1);

/// Deadlines that are served before other tasks get their turn.
const BATCH: usize = 512;

impl<T: Resource> Desk<T> {
    pub(super) fn tick(&mut self) {
        self.timer = None;
        let now = self.context.clock.now();
        self.endpoints.tidy(now.tick);
        self.look_at_the_wall(now);
        for _ in 0..BATCH {
            let Some(id) = self.agenda.due(now.tick) else {
                return;
            };
            self.expire(id, now);
            self.feed(id, Input::Due);
        }
    }

    /// A wall clock that was set forward ends values before the time that the agenda knows of:
    /// they are asked for again before a reader finds out.
    fn look_at_the_wall(&mut self, now: Moment) {
        let passed = now.tick.since(self.in_step.tick);
        let expected = self.in_step.wall.after(passed);
        if now.wall.since(expected).max(expected.since(now.wall)) < OUT_OF_STEP {
            return;
        }
        self.in_step = now;
        let ended = self.slots.iter().filter_map(|(&id, slot)| {
            let snapshot = slot.entry.publisher.published().load();
            let ended = snapshot.value.is_some() && snapshot.usable(now).is_none();
            ended.then(|| (id, snapshot.confirmed.next()))
        });
        for (id, after) in ended.collect::<Vec<_>>() {
            self.expire(id, now);
            let insist = false;
            self.feed(id, Input::Demand { after, insist });
        }
    }

    fn expire(&mut self, id: Id, now: Moment) {
        let Some(slot) = self.slots.get_mut(&id) else {
            return;
        };
        let published = slot.entry.publisher.published();
        let snapshot = published.load();
        let ended = snapshot.usable(now).is_none();
        let due = slot.expires.is_some_and(|at| at <= now.tick || ended);
        if due {
            slot.expires = None;
        }
        if due && ended {
            let cause = snapshot.error.clone();
            let name = Arc::clone(&slot.entry.name);
            self.announce(&name, Change::Expired { cause });
        }
    }

    /// Keeps one timer armed for the earliest deadline.
    pub(super) fn arm(&mut self) {
        let Some(next) = self.agenda.next() else {
            self.timer = None;
            return;
        };
        if self.timer.as_ref().is_some_and(|&(at, _)| at == next) {
            return;
        }
        self.epoch += 1;
        let (incarnation, epoch) = (self.incarnation, self.epoch);
        let address = Arc::clone(&self.context.address);
        let wait = next.since(self.context.clock.tick()).min(HEARTBEAT);
        let task = tokio::spawn(async move {
            tokio::time::sleep(wait).await;
            address.post(Letter::Tick { incarnation, epoch });
        });
        self.timer = Some((next, Owned::new(&task)));
    }
}
