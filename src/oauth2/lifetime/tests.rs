use fastrand::Rng;
use proptest::prelude::*;

use super::*;
use crate::clock::{Moment, Tick, Wall};
use crate::event::Cause;
use crate::refresh::generators::{durations, policies, shares};
use crate::refresh::lifecycle::{Action, Input, Lifecycle, State};

/// Every policy that passes its own check.
fn lifetime_policies() -> impl Strategy<Value = LifetimePolicy> {
    const SECOND: Duration = Duration::from_secs(1);
    const DAY: Duration = Duration::from_secs(24 * 3600);
    (
        shares(0.65, 0.95),
        durations(Duration::ZERO, DAY / 24),
        durations(SECOND, DAY),
        durations(SECOND, DAY * 366),
    )
        .prop_map(|(share, margin, default, max)| {
            let policy = LifetimePolicy::default()
                .refresh_at(share)
                .margin(margin)
                .default_lifetime(default)
                .max_lifetime(max);
            policy.validate().expect("generated within the ranges");
            policy
        })
}

/// Whatever a server may say: any number of seconds or nanoseconds there is.
fn lifetimes() -> impl Strategy<Value = Duration> {
    prop_oneof![
        any::<u64>().prop_map(Duration::from_secs),
        any::<u64>().prop_map(Duration::from_nanos),
        (0_u64..200_000).prop_map(Duration::from_secs),
        (0.0..f64::MAX).prop_map(|s| Duration::try_from_secs_f64(s).unwrap_or(Duration::MAX)),
        (0.0..1e6).prop_map(Duration::from_secs_f64),
        Just(Duration::MAX),
        Just(Duration::from_secs(9_223_372_036_854_775)),
    ]
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(2_000))]

    #[test]
    fn a_token_is_refreshed_before_it_is_out_of_service_and_that_before_it_expires(
        policy in lifetime_policies(),
        lifetime in lifetimes(),
        jitter in shares(0.0, 0.5),
        draw in 0.0..1.0_f64,
    ) {
        match policy.plan(lifetime, jitter, draw) {
            Some((refresh, usable)) => {
                prop_assert!(refresh < usable && usable <= lifetime);
                prop_assert!(usable <= policy.max_lifetime);
                let believed = lifetime.min(policy.max_lifetime);
                prop_assert!(refresh >= at_least(believed));
            }
            None => prop_assert!(lifetime < Duration::from_micros(1)),
        }
    }

    /// The same over the whole way from an answer to a plan, at any time the clocks may show.
    #[test]
    fn no_answer_at_any_time_breaks_the_order_or_the_arithmetic(
        policy in lifetime_policies(),
        refresh in policies(),
        stated in prop::option::of(lifetimes()),
        (tick, wall) in any::<(u64, u64)>(),
        took in lifetimes(),
        draw in 0.0..1.0_f64,
    ) {
        let at = Moment { tick: Tick::from_nanos(tick), wall: Wall::from_nanos(wall) };
        let mut token = AccessToken::bearer("opaque").expect("a token");
        if let Some(stated) = stated {
            token = token.expires_in(stated);
        }
        let asked = Asked { at, took, version: 1, fresh_for: None, draw, cause: Cause::Schedule };
        let Ok((token, freshness)) = token.admit(&policy, &refresh, asked) else {
            let lifetime = stated.unwrap_or(policy.default_lifetime).min(policy.max_lifetime);
            prop_assert!(lifetime < Duration::from_micros(1) || lifetime.mul_f64(0.82) <= took);
            return Ok(());
        };
        let end = freshness.usable_until;
        // At the end of time there is no order left to keep.
        if end.tick.next() > end.tick && end.wall < Wall::from_nanos(u64::MAX) {
            prop_assert!(freshness.refresh_at < end.tick);
        }
        prop_assert!(end.wall.to_system() <= token.expires_at());
        let later = Moment { tick: at.tick.after(took), wall: at.wall };
        prop_assert!(token.left(later) <= stated.unwrap_or(policy.default_lifetime));
        // Word that nothing has changed prolongs nothing, whatever the wall clock says by then.
        let again = Asked { at: later, took: Duration::ZERO, ..asked };
        if let Ok(confirmed) = token.confirm(&policy, &refresh, again) {
            let expires = at.tick.after(stated.unwrap_or(policy.default_lifetime));
            prop_assert!(confirmed.usable_until.tick <= expires);
        }
    }
}

#[test]
fn the_margin_shrinks_with_the_lifetime() {
    let policy = LifetimePolicy::default();
    let usable = |secs| {
        policy
            .plan(Duration::from_secs(secs), 0.0, 0.0)
            .expect("a plan")
            .1
    };
    assert_eq!(usable(3600), Duration::from_secs(3590));
    assert_eq!(usable(8), Duration::from_secs(7));
}

#[test]
fn both_ends_of_every_random_knob_leave_time_to_refresh() {
    for share in [0.65, 0.95] {
        for margin in [Duration::ZERO, Duration::from_secs(3600)] {
            let policy = LifetimePolicy::default().refresh_at(share).margin(margin);
            for (jitter, draw) in [(0.0, 0.0), (0.0, 1.0), (0.5, 0.0), (0.5, 1.0)] {
                for seconds in [1, 2, 300, 3600, 86_400, u64::MAX] {
                    let lifetime = Duration::from_secs(seconds);
                    let plan = policy.plan(lifetime, jitter, draw);
                    let (refresh, usable) = plan.expect("a plan");
                    let believed = lifetime.min(policy.max_lifetime);
                    assert!(refresh >= at_least(believed));
                    // Half of what is left after the latest refresh point.
                    assert!(usable >= believed.mul_f64(share + (1.0 - share) * 0.499));
                    assert!(refresh < usable && usable <= believed);
                }
            }
        }
    }
}

/// The least time between two fetches that bring tokens of `lifetime`: 0.6 of it, but for the last
/// digits.
fn at_least(lifetime: Duration) -> Duration {
    lifetime
        .mul_f64(0.6 * (1.0 - 1e-9))
        .saturating_sub(Duration::from_nanos(1))
}

/// What the issuer does with a request.
#[derive(Clone, Copy, Debug)]
enum Answer {
    Hang,
    Issue,
    Refuse { permanent: bool },
}

/// A token's life with an issuer and readers that never stop reading, played through at once.
struct Play {
    refresh: RefreshPolicy,
    policy: LifetimePolicy,
    life: Lifecycle,
    now: Tick,
    /// The fetch in flight: which, since when, until when, and what it will bring.
    flight: Option<(u32, Tick, Tick, Answer)>,
    service: Option<(Tick, Freshness)>,
    /// When the token that the issuer returns over and over ends; `None` for a fresh one each time.
    same: Option<Tick>,
    lifetime: Duration,
    latency: Duration,
    /// When the fetches began that brought a token.
    issued: Vec<Tick>,
    /// When attempts failed, and when the next began.
    retried: Vec<(Tick, Tick)>,
    failed: Option<Tick>,
    demands: usize,
}

impl Play {
    fn new(refresh: RefreshPolicy, policy: LifetimePolicy, lifetime: Duration, seed: u64) -> Self {
        Self {
            refresh,
            policy,
            life: Lifecycle::new(Rng::with_seed(seed)),
            now: Tick::ZERO.after(Duration::from_secs(1)),
            flight: None,
            service: None,
            same: None,
            lifetime,
            latency: Duration::from_millis(5),
            issued: Vec::new(),
            retried: Vec::new(),
            failed: None,
            demands: 0,
        }
    }

    fn moment(&self, tick: Tick) -> Moment {
        Moment {
            tick,
            wall: Wall::from_nanos(tick.as_nanos()),
        }
    }

    fn feed(&mut self, input: Input, next: Answer) {
        let before = self.life.state();
        match self
            .life
            .step(&self.refresh.pace, self.now, input, || Tick::ZERO)
        {
            Action::Fetch { attempt } => {
                assert!(self.flight.is_none(), "two fetches in flight");
                if let Some(failed) = self.failed.take() {
                    self.retried.push((failed, self.now));
                }
                let done = match next {
                    Answer::Hang => Tick::from_nanos(u64::MAX),
                    _ => self.now.after(self.latency),
                };
                self.flight = Some((attempt, self.now, done, next));
            }
            Action::Abandon => {
                self.flight = None;
                self.failed = Some(self.now);
            }
            Action::Report => self.failed = Some(self.now),
            Action::Load { .. } | Action::Nothing | Action::Publish => {}
        }
        let fetching = matches!(self.life.state(), State::Fetching { .. });
        assert_eq!(fetching, self.flight.is_some(), "{before:?} {input:?}");
        assert!(
            self.life.deadline().is_some(),
            "neither a timer nor a fetch"
        );
    }

    fn complete(&mut self) {
        let Some((attempt, begun, _, answer)) = self.flight.take() else {
            return;
        };
        let refusal = |permanent| Input::Failed {
            attempt,
            permanent,
            retry_after: None,
        };
        let input = match answer {
            Answer::Refuse { permanent } => refusal(permanent),
            Answer::Hang | Answer::Issue => {
                let at = self.moment(begun);
                let took = self.now.since(begun);
                let draw = self.life.draw();
                let asked = Asked {
                    at,
                    took,
                    version: 1,
                    fresh_for: None,
                    draw,
                    cause: Cause::Schedule,
                };
                let lifetime = match &mut self.same {
                    Some(end) if *end <= begun => {
                        *end = begun.after(self.lifetime);
                        self.lifetime
                    }
                    Some(end) => end.since(begun),
                    None => self.lifetime,
                };
                match freshness(&self.policy, &self.refresh, asked, lifetime) {
                    Ok(freshness) => {
                        self.service = Some((begun, freshness));
                        self.issued.push(begun);
                        Input::Succeeded {
                            attempt,
                            refresh_at: freshness.refresh_at,
                        }
                    }
                    Err(_) => refusal(false),
                }
            }
        };
        self.feed(input, answer);
    }

    /// Plays for `span`; `answer` is asked what the issuer does with each request.
    fn run(&mut self, span: Duration, mut answer: impl FnMut() -> Answer) {
        let end = self.now.after(span);
        self.feed(Input::Begin, answer());
        for _ in 0..20_000 {
            let done = self.flight.map(|(_, _, done, _)| done);
            let deadline = self.life.deadline().expect("a deadline");
            // A reader is there at the very moment that the token ends.
            let reader = self.service.and_then(|(begun, freshness)| {
                let at = freshness.usable_until.tick.max(self.now);
                let covered = self.life.state().covers(at, begun.next(), false);
                (!covered).then_some(at)
            });
            let next = [done, Some(deadline), reader].into_iter().flatten().min();
            self.now = next.expect("a deadline").max(self.now);
            if self.now > end {
                return;
            }
            if done == Some(self.now) {
                self.complete();
            } else if deadline <= self.now {
                self.feed(Input::Due, answer());
            } else if let Some((begun, _)) = self.service {
                self.demands += 1;
                let wanted = Input::Demand {
                    after: begun.next(),
                    insist: false,
                };
                self.feed(wanted, answer());
            }
        }
    }

    fn check(&self) {
        let least = at_least(self.lifetime.min(self.policy.max_lifetime));
        let interval = self.refresh.pace.min_interval;
        for pair in self.issued.windows(2) {
            let apart = pair[1].since(pair[0]);
            assert!(apart >= interval, "{apart:?} apart");
            assert!(
                self.same.is_some() || apart >= least,
                "{apart:?} of {least:?}"
            );
        }
        let base = self
            .refresh
            .pace
            .retry
            .base
            .min(self.refresh.pace.probe.base);
        for (failed, begun) in &self.retried {
            assert!(begun.since(*failed) >= base, "tried again without a pause");
        }
    }
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(400))]

    /// In a time `t`: `t / 0.6 l + 1` tokens at most, one in each interval at most, under every
    /// policy, for every lifetime.
    #[test]
    fn tokens_cost_no_more_than_their_bound(
        refresh in policies(),
        policy in lifetime_policies(),
        lifetime in lifetimes(),
        latency in durations(Duration::from_millis(1), Duration::from_secs(20)),
        seed in any::<u64>(),
    ) {
        let mut play = Play::new(refresh, policy, lifetime, seed);
        play.latency = latency;
        let believed = lifetime.min(policy.max_lifetime);
        let span = believed.saturating_mul(20).clamp(Duration::from_secs(20), Duration::from_secs(1 << 32));
        play.run(span, || Answer::Issue);
        play.check();
        let passed = play.now.since(Tick::ZERO.after(Duration::from_secs(1))).min(span);
        let most = |each: Duration| passed.as_secs_f64() / each.as_secs_f64().max(1e-9) + 1.0;
        let issued = play.issued.len() as f64;
        prop_assert!(issued <= most(at_least(believed)), "{issued} in {passed:?}");
        prop_assert!(issued <= most(refresh.pace.min_interval), "{issued} in {passed:?}");
    }

    /// An issuer that answers in time never leaves a reader without a token, however short-lived
    /// tokens are, from two intervals on.
    #[test]
    fn no_reader_is_left_without_a_token_by_an_issuer_that_answers(
        refresh in policies(),
        policy in lifetime_policies(),
        intervals in 2.0..1000.0_f64,
        seed in any::<u64>(),
    ) {
        let lifetime = refresh.pace.min_interval.mul_f64(intervals);
        let policy = policy.max_lifetime(Duration::from_secs(366 * 24 * 3600));
        let mut play = Play::new(refresh, policy, lifetime, seed);
        play.latency = (lifetime / 100).min(refresh.pace.fetch_timeout / 2);
        play.run(lifetime * 20, || Answer::Issue);
        play.check();
        prop_assert_eq!(play.demands, 0);
        prop_assert!(play.issued.len() >= 19);
    }

    /// The bound holds whatever the issuer does, and after every failure there is a pause.
    #[test]
    fn failures_are_paced_and_buy_no_further_tokens(
        refresh in policies(),
        policy in lifetime_policies(),
        lifetime in durations(Duration::from_millis(1), Duration::from_secs(100_000)),
        answers in prop::collection::vec(
            prop_oneof![
                4 => Just(Answer::Issue),
                3 => any::<bool>().prop_map(|permanent| Answer::Refuse { permanent }),
                1 => Just(Answer::Hang),
            ],
            1..40,
        ),
        seed in any::<u64>(),
    ) {
        let mut play = Play::new(refresh, policy, lifetime, seed);
        let mut answers = answers.into_iter().cycle();
        play.run(lifetime.saturating_mul(20).max(Duration::from_secs(20)), || {
            answers.next().expect("endless")
        });
        play.check();
    }

    /// An issuer that returns the same token until it ends is paced by the life that is left.
    #[test]
    fn the_same_token_again_is_paced_by_the_life_it_has_left(
        refresh in policies(),
        policy in lifetime_policies(),
        lifetime in durations(Duration::from_secs(2), Duration::from_secs(100_000)),
        seed in any::<u64>(),
    ) {
        let policy = policy.max_lifetime(Duration::from_secs(366 * 24 * 3600));
        let mut play = Play::new(refresh, policy, lifetime, seed);
        play.latency = Duration::ZERO;
        play.same = Some(Tick::ZERO);
        play.run(lifetime * 5, || Answer::Issue);
        play.check();
        let interval = refresh.pace.min_interval.as_secs_f64();
        let each = (lifetime.as_secs_f64() / interval).ln().max(0.0) / 2.5_f64.ln() + 5.0;
        prop_assert!(play.issued.len() as f64 <= 6.0 * each, "{} of {each}", play.issued.len());
    }
}
