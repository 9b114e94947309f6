use fastrand::Rng;

use super::*;
use crate::refresh::RefreshPolicy;
use crate::refresh::generators::policies;
use proptest::prelude::*;

const PACE: Pace = RefreshPolicy::for_keys().pace;

const PATIENCE: Duration = Duration::from_secs(1);

fn at(millis: u64) -> Tick {
    Tick::ORIGIN.after(Duration::from_millis(millis))
}

impl Lifecycle {
    /// A step at an endpoint that is open, as most are.
    fn at(&mut self, millis: u64, input: Input) -> Action {
        self.step(&PACE, at(millis), input, || Tick::ZERO)
    }
}

/// What the world does next.
#[derive(Clone, Debug)]
enum Deed {
    Begin,
    Demand {
        ago: u64,
        insist: bool,
    },
    /// The endpoint wants to be left alone.
    Close {
        millis: u64,
    },
    Due,
    /// The store answers: a value of that age, or nothing.
    Answer {
        stale: bool,
        age: Option<u64>,
        refresh_in: u64,
    },
    Fail {
        stale: bool,
        permanent: bool,
        retry_after: Option<u64>,
    },
    Pass {
        millis: u64,
    },
    Succeed {
        stale: bool,
        refresh_in: u64,
    },
    /// A reader finds nothing usable.
    Want,
    Wake,
}

fn deeds() -> impl Strategy<Value = Vec<Deed>> {
    let deed = prop_oneof![
        1 => Just(Deed::Begin),
        1 => (0_u64..10_000, any::<bool>()).prop_map(|(ago, insist)| Deed::Demand { ago, insist }),
        3 => Just(Deed::Due),
        1 => Just(Deed::Want),
        1 => Just(Deed::Wake),
        1 => (0_u64..60_000).prop_map(|millis| Deed::Close { millis }),
        1 => (any::<bool>(), prop::option::of(0_u64..600_000), 0_u64..600_000)
            .prop_map(|(stale, age, refresh_in)| Deed::Answer { stale, age, refresh_in }),
        1 => (any::<bool>(), any::<bool>(), prop::option::of(0_u64..u64::MAX)).prop_map(
            |(stale, permanent, retry_after)| Deed::Fail { stale, permanent, retry_after }
        ),
        3 => (0_u64..120_000).prop_map(|millis| Deed::Pass { millis }),
        2 => (any::<bool>(), 0_u64..600_000)
            .prop_map(|(stale, refresh_in)| Deed::Succeed { stale, refresh_in }),
    ];
    prop::collection::vec(deed, 0..200)
}

proptest! {
    /// Over any sequence of events, at any pace: at most one fetch in flight, always a deadline
    /// once begun, scheduled fetches and demanded fetches each keep their distance, a failure its
    /// backoff and a closed endpoint its peace, and what is stale is ignored. A store is asked
    /// once, before the first fetch, and never after.
    #[test]
    fn keeps_its_promises(
        deeds in deeds(), policy in policies(), seed in any::<u64>(), store in any::<bool>(),
    ) {
        let pace = policy.pace;
        let mut life = Lifecycle::new(Rng::with_seed(seed));
        if store {
            life.ask_store(PATIENCE);
        }
        let mut loads = 0;
        let mut fetches = 0;
        let mut now = 0;
        let mut open_at = Tick::ZERO;
        let mut in_flight: Option<u32> = None;
        let mut begun = false;
        let mut last_success_begun: Option<Tick> = None;
        let mut last_demanded: Option<Tick> = None;
        let mut last_failure: Option<Tick> = None;
        let mut wakes = 0;
        for deed in deeds {
            let before = life.state();
            let current = in_flight.unwrap_or(u32::MAX);
            let attempt = |stale: bool| if stale { current.wrapping_sub(1) } else { current };
            let next = last_success_begun.map_or(Tick::ZERO, Tick::next);
            let input = match deed {
                Deed::Pass { millis } => { now += millis; continue }
                Deed::Close { millis } => { open_at = at(now + millis); continue }
                Deed::Begin => Input::Begin,
                Deed::Demand { ago, insist } => {
                    Input::Demand { after: at(now.saturating_sub(ago)), insist }
                }
                Deed::Want => Input::Demand { after: next, insist: false },
                Deed::Due => Input::Due,
                Deed::Answer { stale, age: None, .. } => Input::Absent { attempt: attempt(stale) },
                Deed::Answer { stale, age: Some(age), refresh_in } => Input::Restored {
                    attempt: attempt(stale),
                    confirmed: at(now).before(Duration::from_millis(age)),
                    refresh_at: at(now + refresh_in),
                },
                Deed::Fail { stale, permanent, retry_after } => Input::Failed {
                    attempt: attempt(stale),
                    permanent,
                    retry_after: retry_after.map(Duration::from_secs),
                },
                Deed::Succeed { stale, refresh_in } => Input::Succeeded {
                    attempt: attempt(stale),
                    refresh_at: at(now + refresh_in),
                },
                Deed::Wake => Input::Wake,
            };
            let was_loading = life.is_loading();
            let action = life.step(&pace, at(now), input, || open_at);
            if was_loading && !life.is_loading() && action != Action::Publish { in_flight = None }
            match action {
                Action::Load { attempt } => {
                    prop_assert!(store && loads == 0 && fetches == 0 && in_flight.is_none());
                    prop_assert!(life.is_loading());
                    in_flight = Some(attempt);
                    begun = true;
                    loads += 1;
                }
                Action::Fetch { attempt } => {
                    prop_assert!(loads == u32::from(store));
                    fetches += 1;
                    prop_assert!(in_flight.is_none(), "two fetches in flight");
                    prop_assert!(at(now) >= open_at, "the endpoint is to be left alone");
                    in_flight = Some(attempt);
                    begun = true;
                    let overdue = before.is_overdue(at(now));
                    let wanted = matches!(input, Input::Demand { after, insist: false } if after == next);
                    let demanded = matches!(input, Input::Demand { .. }) && !overdue
                        || matches!(before, State::Waiting { why: Why::Demand, .. });
                    match (last_demanded, last_success_begun) {
                        (_, Some(last)) if wanted && demanded => {
                            prop_assert!(at(now).since(last) >= pace.min_interval);
                        }
                        (Some(last), _) if demanded => {
                            let distance = pace.demand_floor.min(pace.min_interval);
                            prop_assert!(at(now).since(last) >= distance || before == State::Idle);
                        }
                        (_, Some(last)) if matches!(before, State::Waiting { why: Why::Refresh, .. }) => {
                            prop_assert!(demanded || at(now).since(last) >= pace.min_interval);
                        }
                        _ => {}
                    }
                    if demanded { last_demanded = Some(at(now)) }
                    match (before, last_failure) {
                        (State::Waiting { until, why: Why::Retry }, _) => prop_assert!(at(now) >= until),
                        (State::Waiting { why: Why::Park, .. }, Some(failed)) if input == Input::Wake => {
                            wakes += 1;
                            prop_assert!(wakes == 1 || at(now).since(failed) >= pace.retry.base);
                        }
                        _ => {}
                    }
                }
                Action::Publish => {
                    prop_assert!(in_flight.is_some());
                    last_success_begun = match (input, before) {
                        (Input::Restored { confirmed, .. }, _) => {
                            prop_assert!(was_loading);
                            Some(confirmed)
                        }
                        (_, State::Fetching { begun, .. }) => {
                            prop_assert!(!was_loading);
                            Some(begun)
                        }
                        (_, other) => { prop_assert!(false, "published in {other:?}"); None }
                    };
                    in_flight = None;
                    wakes = 0;
                    prop_assert_eq!(life.failures(), 0);
                }
                Action::Report | Action::Abandon => {
                    prop_assert!(in_flight.is_some() && !was_loading);
                    in_flight = None;
                    last_failure = Some(at(now));
                    prop_assert!(life.failures() > 0);
                    let wait = life.deadline().expect("a deadline").since(at(now));
                    let most = pace.retry.max.max(pace.probe.max).max(pace.max_retry_after);
                    prop_assert!(wait >= pace.retry.base.min(pace.probe.base) && wait <= most);
                }
                Action::Nothing => {}
            }
            let fetching = matches!(life.state(), State::Fetching { .. });
            prop_assert_eq!(fetching, in_flight.is_some());
            prop_assert!(!begun || life.deadline().is_some(), "neither a timer nor a fetch");
        }
    }
}

/// A life with a value, to be refreshed at ten minutes.
fn settled() -> Lifecycle {
    let mut life = Lifecycle::new(Rng::with_seed(1));
    assert_eq!(life.at(0, Input::Begin), Action::Fetch { attempt: 1 });
    let done = Input::Succeeded {
        attempt: 1,
        refresh_at: at(600_000),
    };
    assert_eq!(life.at(100, done), Action::Publish);
    life
}

fn demand(life: &mut Lifecycle, now: u64) -> Action {
    life.at(
        now,
        Input::Demand {
            after: at(now),
            insist: false,
        },
    )
}

#[test]
fn a_demand_waits_for_its_floor_and_leaves_the_schedule_alone() {
    let mut life = settled();
    assert_eq!(demand(&mut life, 1_000), Action::Fetch { attempt: 2 });
    let done = Input::Succeeded {
        attempt: 2,
        refresh_at: at(601_000),
    };
    assert_eq!(life.at(1_100, done), Action::Publish);
    assert_eq!(demand(&mut life, 1_200), Action::Nothing);
    assert_eq!(life.deadline(), Some(at(3_000)));
    assert_eq!(demand(&mut life, 1_300), Action::Nothing);
    assert_eq!(life.at(2_999, Input::Due), Action::Nothing);
    assert_eq!(life.at(3_000, Input::Due), Action::Fetch { attempt: 3 });
}

#[test]
fn a_demand_later_than_the_fetch_in_flight_gets_another() {
    let mut life = settled();
    assert_eq!(demand(&mut life, 1_000), Action::Fetch { attempt: 2 });
    assert_eq!(demand(&mut life, 1_050), Action::Nothing);
    let done = Input::Succeeded {
        attempt: 2,
        refresh_at: at(601_000),
    };
    life.at(1_100, done);
    assert_eq!(
        life.state(),
        State::Waiting {
            until: at(3_000),
            why: Why::Demand
        }
    );
}

#[test]
fn an_old_demand_costs_nothing() {
    let mut life = settled();
    let late = Input::Demand {
        after: at(0),
        insist: true,
    };
    assert_eq!(life.at(5_000, late), Action::Nothing);
    assert_eq!(life.deadline(), Some(at(600_000)));
}

#[test]
fn a_parked_life_is_woken_by_insistence_only() {
    let mut life = settled();
    life.at(600_000, Input::Due);
    let refused = Input::Failed {
        attempt: 2,
        permanent: true,
        retry_after: None,
    };
    assert_eq!(life.at(600_100, refused), Action::Report);
    assert_eq!(demand(&mut life, 600_200), Action::Nothing);
    let insist = Input::Demand {
        after: at(600_300),
        insist: true,
    };
    assert_eq!(life.at(600_300, insist), Action::Fetch { attempt: 3 });
}

#[test]
fn resuming_keeps_the_refresh_point_and_the_backoff() {
    let rng = || Rng::with_seed(1);
    let waiting = State::Waiting {
        until: at(600_000),
        why: Why::Refresh,
    };
    let life = Lifecycle::resume(rng(), waiting, 0, Some(at(0)));
    assert_eq!(life.deadline(), Some(at(600_000)));
    let backing_off = State::Waiting {
        until: at(9_000),
        why: Why::Retry,
    };
    let life = Lifecycle::resume(rng(), backing_off, 3, None);
    assert_eq!((life.deadline(), life.failures()), (Some(at(9_000)), 3));
    let mut life = Lifecycle::resume(
        rng(),
        State::Fetching {
            begun: at(5),
            deadline: at(10_005),
        },
        0,
        None,
    );
    assert_eq!(life.at(6, Input::Due), Action::Fetch { attempt: 1 });
}

#[test]
fn whoever_finds_nothing_usable_has_no_part_in_the_floor_of_others() {
    let mut life = settled();
    demand(&mut life, 1_000);
    let done = Input::Succeeded {
        attempt: 2,
        refresh_at: at(601_000),
    };
    life.at(1_100, done);
    // The wall clock is set forward twice within the floor.
    let wanted = |begun: u64| Input::Demand {
        after: at(begun).next(),
        insist: false,
    };
    assert_eq!(life.at(1_200, wanted(1_000)), Action::Nothing);
    assert_eq!(life.deadline(), Some(at(2_000)));
    assert_eq!(life.at(2_000, Input::Due), Action::Fetch { attempt: 3 });
}

#[test]
fn a_demand_notices_a_deadline_that_the_timer_has_missed() {
    let failed = |attempt, permanent| Input::Failed {
        attempt,
        permanent,
        retry_after: None,
    };
    for permanent in [false, true] {
        let mut life = settled();
        life.at(600_000, Input::Due);
        life.at(600_100, failed(2, permanent));
        assert_eq!(demand(&mut life, 600_200), Action::Nothing);
        // The machine sleeps for two hours.
        assert_eq!(demand(&mut life, 7_800_200), Action::Fetch { attempt: 3 });
        assert_eq!(demand(&mut life, 7_810_201), Action::Abandon);
    }
}

#[test]
fn a_source_that_always_says_something_changed_is_paced() {
    let mut life = settled();
    life.at(600_000, Input::Due);
    let (mut now, mut fetches, mut attempt) = (600_000, 0, 2);
    while now < 600_000 + 3_600_000 {
        let refused = Input::Failed {
            attempt,
            permanent: true,
            retry_after: None,
        };
        assert_eq!(life.at(now, refused), Action::Report);
        let mut action = life.at(now, Input::Wake);
        while action == Action::Nothing {
            now += 10;
            action = life.at(now, Input::Due);
        }
        attempt += 1;
        fetches += 1;
        assert_eq!(action, Action::Fetch { attempt });
    }
    // The first at once, then as after any failure: half a minute apart on average.
    assert!((60..200).contains(&fetches), "{fetches} in an hour");
}

/// A life that is asking its store.
fn loading() -> Lifecycle {
    let mut life = Lifecycle::new(Rng::with_seed(1));
    life.ask_store(PATIENCE);
    // An endpoint that is to be left alone is no reason not to ask the store.
    let asked = life.step(&PACE, at(0), Input::Begin, || at(5_000));
    assert_eq!(asked, Action::Load { attempt: 1 });
    life
}

#[test]
fn what_the_store_has_is_served_before_the_first_fetch() {
    let mut life = loading();
    assert_eq!(life.deadline(), Some(at(1_000)));
    let restored = Input::Restored {
        attempt: 1,
        confirmed: Tick::ORIGIN.before(Duration::from_secs(60)),
        refresh_at: at(9_000),
    };
    assert_eq!(life.at(10, restored), Action::Publish);
    assert_eq!(life.deadline(), Some(at(9_000)));
    assert_eq!(life.at(9_000, Input::Due), Action::Fetch { attempt: 2 });
}

#[test]
fn a_store_that_has_nothing_or_says_nothing_is_followed_by_the_first_fetch() {
    let mut life = loading();
    assert_eq!(
        life.at(10, Input::Absent { attempt: 1 }),
        Action::Fetch { attempt: 2 }
    );
    let mut life = loading();
    assert_eq!(life.at(999, Input::Due), Action::Nothing);
    assert_eq!(life.at(1_000, Input::Due), Action::Fetch { attempt: 2 });
    let late = Input::Restored {
        attempt: 1,
        confirmed: at(0),
        refresh_at: at(600_000),
    };
    assert_eq!(life.at(1_001, late), Action::Nothing);
}
