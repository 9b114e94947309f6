//! The life of one resource, decided apart from being carried out. Pure: no clock, no IO, no actor.
//!
//! ```text
//!            Begin, Demand (before it, once: Load, then Restored or Absent)
//!              │                              Succeeded: Publish
//!   Idle ───────────────────▶ Fetching ─────────────────────────────▶ Waiting(Refresh)
//!                               ▲ │ │                                     │      │
//!                               │ │ └─ Failed, deadline: Report ─▶ Waiting(Retry | Park)
//!                               │ │                                     │      │
//!                               └─┴───────────── Due ◀──────────────────┘      │
//!                               └──────── Due ◀── Waiting(Demand) ◀── Demand ──┘
//! ```

use std::time::Duration;

use fastrand::Rng;

use super::backoff::Backoff;
use crate::clock::Tick;

/// How fast a resource may go; the part of a policy that both kinds of resource share.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) struct Pace {
    /// The deadline of one fetch.
    pub(crate) fetch_timeout: Duration,
    /// Least time between the beginnings of two fetches that nobody demanded, and before a value
    /// that a reader finds unusable is asked for again.
    pub(crate) min_interval: Duration,
    /// Least time between the beginnings of two fetches that demands caused.
    pub(crate) demand_floor: Duration,
    /// After a failure that may pass.
    pub(crate) retry: Backoff,
    /// After a failure that repeating does not mend.
    pub(crate) probe: Backoff,
    /// The longest a server's `Retry-After` is obeyed.
    pub(crate) max_retry_after: Duration,
}

/// What happened.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Input {
    /// The load `attempt` brought nothing to serve.
    Absent { attempt: u32 },
    /// The first value is wanted.
    Begin,
    /// Somebody needs a value from a fetch begun at or after `after`. With `insist`, a parked
    /// resource is tried again.
    Demand { after: Tick, insist: bool },
    /// The deadline has come.
    Due,
    /// The fetch `attempt` failed.
    Failed {
        attempt: u32,
        permanent: bool,
        retry_after: Option<Duration>,
    },
    /// The load `attempt` brought a value that a fetch begun at `confirmed` had brought, to be
    /// refreshed at `refresh_at`.
    Restored {
        attempt: u32,
        confirmed: Tick,
        refresh_at: Tick,
    },
    /// The fetch `attempt` brought a value to be refreshed at `refresh_at`.
    Succeeded { attempt: u32, refresh_at: Tick },
    /// What a refusal depended on has changed: a parked resource is tried again.
    Wake,
}

/// What to do about it.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Action {
    Nothing,
    /// Begin the fetch `attempt`, in place of any other.
    Fetch {
        attempt: u32,
    },
    /// Ask the store for a value, before the first fetch.
    Load {
        attempt: u32,
    },
    /// Publish what the fetch or the load brought.
    Publish,
    /// The fetch failed: say so, hold the last good value.
    Report,
    /// The fetch overran its deadline: abort it, then as `Report`.
    Abandon,
}

/// Where in its life a resource is.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum State {
    Idle,
    /// Or loading, which comes before the first fetch and is awaited in the same way.
    Fetching {
        begun: Tick,
        deadline: Tick,
    },
    Waiting {
        until: Tick,
        why: Why,
    },
}

/// What a waiting resource waits for.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Why {
    /// A demand that came sooner than the floor allows.
    Demand,
    /// The slow probe after a permanent failure.
    Park,
    /// The refresh point of a good value.
    Refresh,
    /// The backoff after a transient failure, or an endpoint that wants to be left alone.
    Retry,
}

impl State {
    /// Whether a demand for a value from a fetch begun at or after `after` would change nothing.
    pub(crate) fn covers(&self, now: Tick, after: Tick, insist: bool) -> bool {
        match *self {
            _ if self.is_overdue(now) => false,
            Self::Idle => false,
            Self::Fetching { begun, .. } => begun >= after,
            Self::Waiting { why, .. } => match why {
                Why::Demand | Why::Retry => true,
                Why::Park => !insist,
                Why::Refresh => false,
            },
        }
    }

    /// Whether the deadline has passed unnoticed: timers stand still while a machine sleeps.
    pub(crate) fn is_overdue(&self, now: Tick) -> bool {
        self.deadline().is_some_and(|deadline| deadline <= now)
    }

    const fn deadline(&self) -> Option<Tick> {
        match *self {
            Self::Idle => None,
            Self::Fetching { deadline, .. } => Some(deadline),
            Self::Waiting { until, .. } => Some(until),
        }
    }
}

/// One resource.
#[derive(Debug)]
pub(crate) struct Lifecycle {
    state: State,
    attempt: u32,
    failures: u32,
    /// When the fetch behind the value in service began.
    confirmed: Option<Tick>,
    /// When the last fetch that a demand caused began.
    last_demanded: Option<Tick>,
    /// A demand that the fetch in flight began too early for.
    unmet: bool,
    /// How often a refusal was tried again because what it depended on had changed.
    wakes: u32,
    /// The soonest that it is tried again for that reason.
    wakes_from: Tick,
    /// A store to ask before the first fetch, and how long that may take.
    unasked: Option<Duration>,
    /// What is in flight is a load.
    loading: bool,
    rng: Rng,
}

impl Lifecycle {
    pub(crate) fn new(rng: Rng) -> Self {
        Self {
            state: State::Idle,
            attempt: 0,
            failures: 0,
            confirmed: None,
            last_demanded: None,
            unmet: false,
            wakes: 0,
            wakes_from: Tick::ZERO,
            unasked: None,
            loading: false,
            rng,
        }
    }

    /// Goes on from what is published: a good value keeps its refresh point and a failure its
    /// backoff; a fetch that was in flight is gone and is due again at once.
    pub(crate) fn resume(rng: Rng, state: State, failures: u32, confirmed: Option<Tick>) -> Self {
        let state = match state {
            State::Fetching { begun, .. } => State::Waiting {
                until: begun,
                why: Why::Refresh,
            },
            other => other,
        };
        Self {
            state,
            failures,
            confirmed,
            ..Self::new(rng)
        }
    }

    /// Asks a store before the first fetch, for as long as `patience`.
    pub(crate) const fn ask_store(&mut self, patience: Duration) {
        self.unasked = Some(patience);
    }

    pub(crate) const fn state(&self) -> State {
        self.state
    }

    /// Whether the store is being asked.
    pub(crate) const fn is_loading(&self) -> bool {
        self.loading
    }

    /// Failures in a row.
    pub(crate) const fn failures(&self) -> u32 {
        self.failures
    }

    /// Whether the end of `attempt` is what is being waited for.
    pub(crate) const fn awaits(&self, attempt: u32) -> bool {
        matches!(self.state, State::Fetching { .. }) && self.attempt == attempt
    }

    /// When [`Input::Due`] is to be fed.
    pub(crate) const fn deadline(&self) -> Option<Tick> {
        self.state.deadline()
    }

    /// A number in `[0, 1)` to jitter the value's own refresh point with.
    pub(crate) fn draw(&mut self) -> f64 {
        self.rng.f64()
    }

    /// Takes one input. `open_at` is asked, only where a fetch is to begin, for the earliest tick
    /// at which the endpoint lets it.
    pub(crate) fn step(
        &mut self,
        pace: &Pace,
        now: Tick,
        input: Input,
        open_at: impl FnOnce() -> Tick,
    ) -> Action {
        match input {
            Input::Absent { attempt } if self.loading && self.awaits(attempt) => {
                self.fetch(pace, now, false, open_at)
            }
            Input::Absent { .. } => Action::Nothing,
            Input::Begin if self.state == State::Idle => self.fetch(pace, now, false, open_at),
            Input::Begin => Action::Nothing,
            Input::Demand { after, insist } => self.demand(pace, now, after, insist, open_at),
            Input::Due => self.due(pace, now, open_at),
            Input::Failed {
                attempt,
                permanent,
                retry_after,
            } => match self.state {
                State::Fetching { .. } if self.awaits(attempt) && !self.loading => {
                    self.fail(pace, now, permanent, retry_after);
                    Action::Report
                }
                _ => Action::Nothing,
            },
            Input::Restored {
                attempt,
                confirmed,
                refresh_at,
            } if self.loading && self.awaits(attempt) => {
                self.succeed(pace, now, confirmed, refresh_at);
                Action::Publish
            }
            Input::Restored { .. } => Action::Nothing,
            Input::Succeeded {
                attempt,
                refresh_at,
            } => match self.state {
                State::Fetching { begun, .. } if attempt == self.attempt && !self.loading => {
                    self.succeed(pace, now, begun, refresh_at);
                    Action::Publish
                }
                _ => Action::Nothing,
            },
            Input::Wake => self.wake(pace, now, open_at),
        }
    }

    fn load(&mut self, now: Tick, patience: Duration) -> Action {
        self.attempt = self.attempt.wrapping_add(1);
        self.loading = true;
        self.state = State::Fetching {
            begun: now,
            deadline: now.after(patience),
        };
        Action::Load {
            attempt: self.attempt,
        }
    }

    fn fetch(
        &mut self,
        pace: &Pace,
        now: Tick,
        demanded: bool,
        open_at: impl FnOnce() -> Tick,
    ) -> Action {
        if let Some(patience) = self.unasked.take() {
            return self.load(now, patience);
        }
        self.loading = false;
        let open_at = open_at();
        if now < open_at {
            self.state = State::Waiting {
                until: open_at,
                why: Why::Retry,
            };
            return Action::Nothing;
        }
        self.attempt = self.attempt.wrapping_add(1);
        self.unmet = false;
        if demanded {
            self.last_demanded = Some(now);
        }
        self.state = State::Fetching {
            begun: now,
            deadline: now.after(pace.fetch_timeout),
        };
        Action::Fetch {
            attempt: self.attempt,
        }
    }

    fn due(&mut self, pace: &Pace, now: Tick, open_at: impl FnOnce() -> Tick) -> Action {
        match self.state {
            State::Waiting { until, why } if until <= now => {
                self.fetch(pace, now, why == Why::Demand, open_at)
            }
            State::Fetching { deadline, .. } if deadline <= now && self.loading => {
                self.fetch(pace, now, false, open_at)
            }
            State::Fetching { deadline, .. } if deadline <= now => {
                self.fail(pace, now, false, None);
                Action::Abandon
            }
            _ => Action::Nothing,
        }
    }

    fn demand(
        &mut self,
        pace: &Pace,
        now: Tick,
        after: Tick,
        insist: bool,
        open_at: impl FnOnce() -> Tick,
    ) -> Action {
        if self.confirmed.is_some_and(|begun| begun >= after)
            || self.state.covers(now, after, insist)
        {
            return Action::Nothing;
        }
        match self.state {
            _ if self.state.is_overdue(now) => self.due(pace, now, open_at),
            State::Idle => self.fetch(pace, now, true, open_at),
            State::Fetching { .. } => {
                self.unmet = true;
                Action::Nothing
            }
            State::Waiting { until, .. } => {
                let at = self.demand_allowed(pace, now, after, insist);
                if at <= now {
                    return self.fetch(pace, now, true, open_at);
                }
                self.state = State::Waiting {
                    until: at.min(until),
                    why: Why::Demand,
                };
                Action::Nothing
            }
        }
    }

    /// Tries a refusal again, at once for the first time. A source that says over and over that
    /// something has changed is paced as any failure.
    fn wake(&mut self, pace: &Pace, now: Tick, open_at: impl FnOnce() -> Tick) -> Action {
        let State::Waiting {
            until,
            why: Why::Park,
        } = self.state
        else {
            return Action::Nothing;
        };
        self.wakes = self.wakes.saturating_add(1);
        if now < self.wakes_from {
            self.state = State::Waiting {
                until: until.min(self.wakes_from),
                why: Why::Retry,
            };
            return Action::Nothing;
        }
        self.fetch(pace, now, false, open_at)
    }

    /// When a fetch for a demand may begin. Whoever finds the value in service unusable, as after
    /// a step of the wall clock, asks for the next one, whichever it is, and has no part in the
    /// floor of those who want a particular one.
    fn demand_allowed(&self, pace: &Pace, now: Tick, after: Tick, insist: bool) -> Tick {
        let floor = match self.confirmed {
            Some(begun) if !insist && after == begun.next() => Some(begun.after(pace.min_interval)),
            _ => self.last_demanded.map(|last| last.after(pace.demand_floor)),
        };
        floor.map_or(now, |floor| floor.max(now))
    }

    fn succeed(&mut self, pace: &Pace, now: Tick, begun: Tick, refresh_at: Tick) {
        self.failures = 0;
        self.wakes = 0;
        self.loading = false;
        self.confirmed = Some(begun);
        let refresh = refresh_at.max(begun.after(pace.min_interval));
        let demand = self.demand_allowed(pace, now, now, true);
        self.state = if self.unmet && demand < refresh {
            State::Waiting {
                until: demand,
                why: Why::Demand,
            }
        } else {
            State::Waiting {
                until: refresh,
                why: Why::Refresh,
            }
        };
        self.unmet = false;
    }

    fn fail(&mut self, pace: &Pace, now: Tick, permanent: bool, retry_after: Option<Duration>) {
        self.failures = self.failures.saturating_add(1);
        self.unmet = false;
        let (backoff, why) = if permanent {
            (pace.probe, Why::Park)
        } else {
            (pace.retry, Why::Retry)
        };
        let asked = retry_after.unwrap_or_default().min(pace.max_retry_after);
        let delay = backoff.delay(self.failures, &mut self.rng).max(asked);
        self.state = State::Waiting {
            until: now.after(delay),
            why,
        };
        if permanent {
            self.wakes_from = match self.wakes {
                0 => now,
                wakes => now.after(pace.retry.delay(wakes, &mut self.rng)),
            };
        }
    }
}

#[cfg(test)]
mod tests;
