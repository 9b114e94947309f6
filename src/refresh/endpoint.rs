//! What the resources of one endpoint share: the pause it asked for, and a pace, so that a hundred
//! thousand credentials do not begin with a hundred thousand requests. Pure.

use std::collections::HashMap;
use std::sync::Arc;
use std::time::Duration;

use crate::clock::Tick;

/// Fetches that may be in flight at one endpoint.
const MAX_IN_FLIGHT: usize = 64;

/// Between two fetches that had to wait for their turn.
const TURN: Duration = Duration::from_millis(5);

/// A fetch's place at its endpoint, given back when dropped.
#[derive(Debug)]
pub(super) struct Seat(#[expect(dead_code, reason = "held to be counted")] Arc<()>);

#[derive(Debug, Default)]
struct Endpoint {
    pause: Tick,
    next_turn: Tick,
    seats: Arc<()>,
}

/// Endpoints that are always worth keeping.
const FEW: usize = 64;

/// Every endpoint of an actor.
#[derive(Debug, Default)]
pub(super) struct Endpoints {
    known: HashMap<Arc<str>, Endpoint>,
    /// How many were left when it was last tidied.
    tidied: usize,
}

impl Endpoints {
    /// The earliest tick at which a fetch may begin.
    pub(super) fn open_at(&mut self, name: &Arc<str>, now: Tick) -> Tick {
        let endpoint = self.known.entry(Arc::clone(name)).or_default();
        if now < endpoint.pause {
            return endpoint.pause;
        }
        if Arc::strong_count(&endpoint.seats) <= MAX_IN_FLIGHT {
            return now;
        }
        endpoint.next_turn = endpoint.next_turn.max(now).after(TURN);
        endpoint.next_turn
    }

    pub(super) fn sit(&mut self, name: &Arc<str>) -> Seat {
        Seat(Arc::clone(
            &self.known.entry(Arc::clone(name)).or_default().seats,
        ))
    }

    /// Leaves the endpoint alone until `until`; whether that is news.
    pub(super) fn pause(&mut self, name: &Arc<str>, until: Tick) -> bool {
        let endpoint = self.known.entry(Arc::clone(name)).or_default();
        let longer = until > endpoint.pause;
        endpoint.pause = endpoint.pause.max(until);
        longer
    }

    /// Forgets endpoints that nobody uses and that ask for nothing, once there are twice as many
    /// as were worth keeping.
    pub(super) fn tidy(&mut self, now: Tick) {
        if self.known.len() > FEW + 2 * self.tidied {
            self.known.retain(|_, endpoint| {
                endpoint.pause > now || Arc::strong_count(&endpoint.seats) > 1
            });
            self.tidied = self.known.len();
            self.known.shrink_to(FEW + 2 * self.tidied);
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_crowd_takes_turns_and_a_pause_is_for_everybody() {
        let (mut endpoints, name): (_, Arc<str>) =
            (Endpoints::default(), "https://idp/token".into());
        let now = Tick::ZERO.after(Duration::from_secs(1));
        let seats: Vec<_> = (0..MAX_IN_FLIGHT)
            .map(|_| {
                assert_eq!(endpoints.open_at(&name, now), now);
                endpoints.sit(&name)
            })
            .collect();
        let first = endpoints.open_at(&name, now);
        let second = endpoints.open_at(&name, now);
        assert_eq!((first.since(now), second.since(first)), (TURN, TURN));
        drop(seats);
        assert_eq!(endpoints.open_at(&name, now), now);
        let later = now.after(Duration::from_secs(60));
        assert!(endpoints.pause(&name, later) && !endpoints.pause(&name, later));
        assert_eq!(endpoints.open_at(&name, now), later);
        assert_eq!(endpoints.open_at(&name, later), later);
    }

    #[test]
    fn endpoints_that_nobody_uses_are_forgotten_and_the_others_are_not() {
        let mut endpoints = Endpoints::default();
        let now = Tick::ZERO.after(Duration::from_secs(1));
        let later = now.after(Duration::from_secs(60));
        let (paused, busy): (Arc<str>, Arc<str>) = ("paused".into(), "busy".into());
        endpoints.pause(&paused, later);
        let _seat = endpoints.sit(&busy);
        for n in 0..10 * FEW {
            endpoints.open_at(&format!("https://idp{n}/token").into(), now);
        }
        endpoints.tidy(now);
        assert_eq!(endpoints.known.len(), 2);
        assert_eq!(endpoints.open_at(&paused, now), later);
    }
}
