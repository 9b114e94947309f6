use fastrand::Rng;

use super::*;
use proptest::prelude::*;

const PACE: Pace = Pace {
    fetch_timeout: Duration::from_secs(10),
    min_interval: Duration::from_secs(1),
    demand_floor: Duration::from_secs(2),
    retry: Backoff {
        base: Duration::from_secs(1),
        max: Duration::from_secs(60),
    },
    probe: Backoff {
        base: Duration::from_secs(60),
        max: Duration::from_secs(900),
    },
    max_retry_after: Duration::from_secs(3600),
};

const PATIENCE: Duration = Duration::from_secs(1);

fn at(millis: u64) -> Tick {
    Tick::ORIGIN.after(Duration::from_millis(millis))
}

/// What the world does next.
#[derive(Clone, Debug)]
enum Deed {
    Begin,
    Demand {
        ago: u64,
        insist: bool,
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
}

fn deeds() -> impl Strategy<Value = Vec<Deed>> {
    let deed = prop_oneof![
        1 => Just(Deed::Begin),
        1 => (0_u64..10_000, any::<bool>()).prop_map(|(ago, insist)| Deed::Demand { ago, insist }),
        3 => Just(Deed::Due),
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
    /// Over any sequence of events: at most one fetch in flight, always a deadline once begun,
    /// scheduled fetches and demanded fetches each keep their distance, and what is stale is
    /// ignored. A store is asked once, before the first fetch, and never after.
    #[test]
    fn keeps_its_promises(deeds in deeds(), seed in any::<u64>(), store in any::<bool>()) {
        let mut life = Lifecycle::new(Rng::with_seed(seed));
        if store {
            life.ask_store(PATIENCE);
        }
        let mut loads = 0;
        let mut fetches = 0;
        let mut now = 0;
        let mut in_flight: Option<u32> = None;
        let mut begun = false;
        let mut last_success_begun: Option<Tick> = None;
        let mut last_demanded: Option<Tick> = None;
        let mut last_failure: Option<Tick> = None;
        for deed in deeds {
            let before = life.state();
            let current = in_flight.unwrap_or(u32::MAX);
            let attempt = |stale: bool| if stale { current.wrapping_sub(1) } else { current };
            let input = match deed {
                Deed::Pass { millis } => { now += millis; continue }
                Deed::Begin => Input::Begin,
                Deed::Demand { ago, insist } => {
                    Input::Demand { after: at(now.saturating_sub(ago)), insist }
                }
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
            };
            let was_loading = life.is_loading();
            let may_fetch = life.may_fetch();
            let action = life.step(&PACE, at(now), input);
            match action {
                Action::Load { attempt } => {
                    prop_assert!(store && loads == 0 && fetches == 0 && in_flight.is_none());
                    prop_assert!(!may_fetch && life.is_loading());
                    in_flight = Some(attempt);
                    begun = true;
                    loads += 1;
                }
                Action::Fetch { attempt } => {
                    prop_assert!(may_fetch && loads == u32::from(store));
                    fetches += 1;
                    prop_assert!(in_flight.is_none() || was_loading, "two fetches in flight");
                    in_flight = Some(attempt);
                    begun = true;
                    let demanded = matches!(input, Input::Demand { .. })
                        || matches!(before, State::Waiting { why: Why::Demand, .. });
                    if demanded {
                        if let Some(last) = last_demanded {
                            prop_assert!(at(now).since(last) >= PACE.demand_floor || matches!(before, State::Idle));
                        }
                        last_demanded = Some(at(now));
                    } else if let (Some(last), State::Waiting { why: Why::Refresh, .. }) = (last_success_begun, before) {
                        prop_assert!(at(now).since(last) >= PACE.min_interval);
                    }
                    if let (Some(failed), State::Waiting { why: Why::Retry, .. }) = (last_failure, before) {
                        prop_assert!(at(now).since(failed) >= PACE.retry.base);
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
                    prop_assert_eq!(life.failures(), 0);
                }
                Action::Report | Action::Abandon => {
                    prop_assert!(in_flight.is_some() && !was_loading);
                    in_flight = None;
                    last_failure = Some(at(now));
                    prop_assert!(life.failures() > 0);
                    let wait = life.deadline().expect("a deadline").since(at(now));
                    prop_assert!(wait >= PACE.retry.base && wait <= PACE.max_retry_after);
                }
                Action::Nothing => {}
            }
            let fetching = matches!(life.state(), State::Fetching { .. });
            prop_assert_eq!(fetching, in_flight.is_some());
            prop_assert_eq!(life.deadline().is_some(), begun);
        }
    }
}

/// A life with a value, to be refreshed at ten minutes.
fn settled() -> Lifecycle {
    let mut life = Lifecycle::new(Rng::with_seed(1));
    assert_eq!(
        life.step(&PACE, at(0), Input::Begin),
        Action::Fetch { attempt: 1 }
    );
    let done = Input::Succeeded {
        attempt: 1,
        refresh_at: at(600_000),
    };
    assert_eq!(life.step(&PACE, at(100), done), Action::Publish);
    life
}

fn demand(life: &mut Lifecycle, now: u64) -> Action {
    life.step(
        &PACE,
        at(now),
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
    assert_eq!(life.step(&PACE, at(1_100), done), Action::Publish);
    assert_eq!(demand(&mut life, 1_200), Action::Nothing);
    assert_eq!(life.deadline(), Some(at(3_000)));
    assert_eq!(demand(&mut life, 1_300), Action::Nothing);
    assert_eq!(life.step(&PACE, at(2_999), Input::Due), Action::Nothing);
    assert_eq!(
        life.step(&PACE, at(3_000), Input::Due),
        Action::Fetch { attempt: 3 }
    );
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
    life.step(&PACE, at(1_100), done);
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
    assert_eq!(life.step(&PACE, at(5_000), late), Action::Nothing);
    assert_eq!(life.deadline(), Some(at(600_000)));
}

#[test]
fn a_parked_life_is_woken_by_insistence_only() {
    let mut life = settled();
    life.step(&PACE, at(600_000), Input::Due);
    let refused = Input::Failed {
        attempt: 2,
        permanent: true,
        retry_after: None,
    };
    assert_eq!(life.step(&PACE, at(600_100), refused), Action::Report);
    assert_eq!(demand(&mut life, 600_200), Action::Nothing);
    let insist = Input::Demand {
        after: at(600_300),
        insist: true,
    };
    assert_eq!(
        life.step(&PACE, at(600_300), insist),
        Action::Fetch { attempt: 3 }
    );
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
    assert_eq!(
        life.step(&PACE, at(6), Input::Due),
        Action::Fetch { attempt: 1 }
    );
}

/// A life that is asking its store.
fn loading() -> Lifecycle {
    let mut life = Lifecycle::new(Rng::with_seed(1));
    life.ask_store(PATIENCE);
    // An endpoint that is to be left alone is no reason not to ask the store.
    life.hold(at(5_000));
    assert_eq!(
        life.step(&PACE, at(0), Input::Begin),
        Action::Load { attempt: 1 }
    );
    life.hold(Tick::ZERO);
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
    assert_eq!(life.step(&PACE, at(10), restored), Action::Publish);
    assert_eq!(life.deadline(), Some(at(9_000)));
    assert_eq!(
        life.step(&PACE, at(9_000), Input::Due),
        Action::Fetch { attempt: 2 }
    );
}

#[test]
fn a_store_that_has_nothing_or_says_nothing_is_followed_by_the_first_fetch() {
    let mut life = loading();
    assert_eq!(
        life.step(&PACE, at(10), Input::Absent { attempt: 1 }),
        Action::Fetch { attempt: 2 }
    );
    let mut life = loading();
    assert_eq!(life.step(&PACE, at(999), Input::Due), Action::Nothing);
    assert_eq!(
        life.step(&PACE, at(1_000), Input::Due),
        Action::Fetch { attempt: 2 }
    );
    let late = Input::Restored {
        attempt: 1,
        confirmed: at(0),
        refresh_at: at(600_000),
    };
    assert_eq!(life.step(&PACE, at(1_001), late), Action::Nothing);
}
