//! Which resource is due next: a set of deadlines, one entry a resource. Pure.

use std::collections::BTreeSet;

use crate::clock::Tick;

/// Names a resource within its actor.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub(crate) struct Id(pub(crate) u64);

/// The deadlines of every resource of an actor, in order. The owner remembers which deadline a
/// resource has, so an entry is sixteen bytes and is moved, never left behind.
#[derive(Debug, Default)]
pub(crate) struct Agenda(BTreeSet<(Tick, Id)>);

impl Agenda {
    /// Moves `id` from deadline `from` to deadline `to`.
    pub(crate) fn reschedule(&mut self, id: Id, from: Option<Tick>, to: Option<Tick>) {
        if from == to {
            return;
        }
        if let Some(tick) = from {
            self.0.remove(&(tick, id));
        }
        if let Some(tick) = to {
            self.0.insert((tick, id));
        }
    }

    /// The earliest deadline.
    pub(crate) fn next(&self) -> Option<Tick> {
        self.0.first().map(|&(tick, _)| tick)
    }

    /// A resource whose deadline is not later than `now`, earliest first. It stays on the
    /// agenda until it is rescheduled.
    pub(crate) fn due(&self, now: Tick) -> Option<Id> {
        let &(tick, id) = self.0.first()?;
        (tick <= now).then_some(id)
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;
    use std::collections::HashMap;

    #[test]
    fn an_entry_costs_next_to_nothing() {
        const COUNT: u32 = 10_000;
        let mut agenda = Agenda::default();
        let mut rng = fastrand::Rng::with_seed(1);
        let counted = allocation_counter::measure(|| {
            for id in 0..u64::from(COUNT) {
                let at = Tick::from_nanos(rng.u64(..));
                agenda.reschedule(Id(id), None, Some(at));
            }
        });
        let each = counted.bytes_current / i64::from(COUNT);
        assert!(each <= 32, "{each} bytes");
    }

    proptest! {
        #[test]
        fn what_is_due_comes_in_order_and_nothing_is_lost(
            moves in prop::collection::vec((0_u64..20, prop::option::of(0_u64..1000)), 0..200),
            now in 0_u64..1000,
        ) {
            let mut agenda = Agenda::default();
            let mut model: HashMap<Id, Option<Tick>> = HashMap::new();
            for (id, to) in moves {
                let (id, to) = (Id(id), to.map(Tick::from_nanos));
                let from = model.insert(id, to).flatten();
                agenda.reschedule(id, from, to);
            }
            let now = Tick::from_nanos(now);
            prop_assert_eq!(agenda.next(), model.values().flatten().min().copied());
            let mut last = Tick::ZERO;
            while let Some(id) = agenda.due(now) {
                let at = model.insert(id, None).flatten();
                let at = at.expect("only what the model holds is due");
                prop_assert!(at >= last && at <= now);
                last = at;
                agenda.reschedule(id, Some(at), None);
            }
            prop_assert!(model.values().flatten().all(|&at| at > now));
        }
    }
}
