//! What the actor does with what a fetch brought: judge it, publish it or report why not.

use std::sync::Arc;

use super::actor::Desk;
use super::agenda::Id;
use super::lifecycle::{Input, State, Why};
use super::task;
use super::verdict::Verdict;
use super::{Asked, Outcome, Resource, Snapshot};
use crate::clock::Moment;
use crate::event::Change;
use crate::fault::{FetchError, FetchErrorKind};
use crate::meter;

impl<T: Resource> Desk<T> {
    /// Judges what a fetch brought, then publishes or reports.
    pub(super) fn complete(&mut self, id: Id, attempt: u32, outcome: Outcome<T>) {
        let now = self.context.clock.now();
        let Some(slot) = self.slots.get_mut(&id) else {
            return;
        };
        if !slot.life.awaits(attempt) {
            return;
        }
        let Some(fetch) = slot.fetch.take() else {
            return;
        };
        let pace = slot.entry.care.refresh.pace;
        let mut notes = Vec::new();
        let judged = outcome.and_then(|fetched| {
            notes = fetched.notes;
            let value = fetched.value?;
            let asked = Asked {
                at: fetch.begun,
                took: now.tick.since(fetch.begun.tick),
                version: slot.entry.publisher.published().load().version + 1,
                fresh_for: fetched.fresh_for,
                draw: slot.life.draw(),
                cause: fetch.cause,
            };
            Verdict::on(&slot.entry, value, asked)
        });
        let error = judged.as_ref().err().map(FetchError::as_str);
        let took = now.tick.since(fetch.begun.tick);
        meter::fetched(T::ACTOR.as_str(), &slot.entry.name, took, error);
        match judged {
            Ok(verdict) => {
                let refresh_at = verdict.freshness.refresh_at;
                let failures = slot.life.failures();
                let succeeded = Input::Succeeded {
                    attempt,
                    refresh_at,
                };
                slot.life.step(&pace, now.tick, succeeded, || now.tick);
                if verdict.change.as_ref().is_some_and(Change::is_issue) {
                    meter::issued(&slot.entry.name);
                }
                slot.expires = Some(verdict.freshness.usable_until.tick);
                self.publish(id, &verdict, fetch.begun, failures);
                self.keep(id, &verdict, fetch.begun);
            }
            Err(error) => {
                let failed = Input::Failed {
                    attempt,
                    permanent: !error.is_transient(),
                    retry_after: error.retry_after_hint(),
                };
                slot.life.step(&pace, now.tick, failed, || now.tick);
                self.report(id, now, &error);
            }
        }
        self.announce_all(id, notes);
        self.settle(id);
    }

    /// Publishes a value from a fetch that began at `begun`.
    pub(super) fn publish(&mut self, id: Id, verdict: &Verdict<T>, begun: Moment, failures: u32) {
        let Some(slot) = self.slots.get(&id) else {
            return;
        };
        let state = slot.life.state();
        slot.entry
            .publisher
            .update(|old| (!old.stopped).then(|| verdict.after(old, begun.tick, state)));
        let name = Arc::clone(&slot.entry.name);
        if failures > 0 {
            self.announce(&name, Change::Recovered { failures });
        }
        if let Some(change) = verdict.change.clone() {
            self.announce(&name, change);
        }
    }

    pub(super) fn report(&mut self, id: Id, now: Moment, error: &FetchError) {
        let Some(slot) = self.slots.get_mut(&id) else {
            return;
        };
        slot.fetch = None;
        let failures = slot.life.failures();
        let state = slot.life.state();
        let withdrawn =
            T::withdrawn(&slot.entry.care.policy, error).map(|left| now.tick.after(left));
        slot.expires = slot.expires.map(|at| withdrawn.unwrap_or(at).min(at));
        slot.entry.publisher.update(|old| {
            (!old.stopped).then(|| Snapshot {
                state,
                failures,
                error: Some(error.clone()),
                freshness: withdrawn.map_or(old.freshness, |end| old.freshness.until(end)),
                ..old.clone()
            })
        });
        let snapshot = slot.entry.publisher.published().load();
        let holding = snapshot.usable(now).is_some();
        let change = Change::RefreshFailed {
            error: error.clone(),
            failures,
            next_attempt_in: slot.life.deadline().unwrap_or(now.tick).since(now.tick),
            holding,
        };
        let mut changes = vec![change];
        if failures == 1 && holding {
            changes.push(Change::Degraded);
        }
        // The others at the endpoint share what it asked for, not this one's own backoff.
        let asked = error.retry_after_hint().map(|after| {
            let longest = slot.entry.care.refresh.pace.max_retry_after;
            now.tick.after(after.min(longest))
        });
        let throttled = (error.kind() == FetchErrorKind::Throttled).then(|| slot.life.deadline());
        if let Some(endpoint) = &slot.entry.care.endpoint
            && let Some(until) = asked.or(throttled.flatten())
            && until > now.tick
            && self.endpoints.pause(endpoint, until)
        {
            let pause = until.since(now.tick);
            changes.push(Change::Throttled { pause });
        }
        if matches!(state, State::Waiting { why: Why::Park, .. }) {
            slot.watch = Some(task::watch(&slot.entry, &self.context.address));
        }
        self.announce_all(id, changes);
        if withdrawn.is_some() {
            self.curtail(id, now);
        }
    }
}
