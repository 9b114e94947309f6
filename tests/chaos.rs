//! A day in the life of a credential whose issuer, network, clocks and actor fail at random, under
//! virtual time. What must hold is held against a model of what the issuer gave out.
//!
//! A run is told by its seed: `MIDIL_CHAOS_SEED=7 cargo test --test chaos`.

#![expect(
    clippy::expect_used,
    clippy::panic,
    reason = "a test that cannot be set up has failed"
)]

use std::collections::BTreeMap;
use std::sync::Arc;
use std::time::{Duration, SystemTime};

use fastrand::Rng;
use midil_auth::event::{Actor, Change, EventsError};
use midil_auth::oauth2::{AccessToken, Credential, LifetimePolicy, TokenState};
use midil_auth::testing::TestClock;
use midil_auth::{Auth, Events, FetchError, Fetched, RefreshPolicy, Source, Start, TokenHandle};
use parking_lot::Mutex;
use tokio::sync::Notify;
use tokio::time::Instant;

const DAY: Duration = Duration::from_secs(24 * 3600);

/// What the issuer does for a while.
#[derive(Clone, Copy, Debug, PartialEq)]
enum Mood {
    Well,
    Slow,
    Down,
    Refusing,
    Throttling,
    Hanging,
    Panicking,
    /// Answers with what cannot be sent.
    Garbled,
    /// Each request is answered in another way.
    Mad,
}

const MOODS: [Mood; 9] = [
    Mood::Well,
    Mood::Slow,
    Mood::Down,
    Mood::Refusing,
    Mood::Throttling,
    Mood::Hanging,
    Mood::Panicking,
    Mood::Garbled,
    Mood::Mad,
];

/// A token that reached the manager: when it was asked for and when it came, by either clock.
#[derive(Clone, Copy)]
struct Issued {
    asked: Moment,
    came: Instant,
    lifetime: Duration,
    /// How often the wall clock had been set by then.
    era: u32,
    /// Another was asked for in its place.
    refused: bool,
}

/// Both clocks, as the test keeps them.
#[derive(Clone, Copy)]
struct Moment {
    /// What passed by the monotonic clock since the beginning, sleep included.
    tick: Duration,
    wall: SystemTime,
}

struct World {
    rng: Rng,
    mood: Mood,
    lifetime: Duration,
    /// How long before its end a token may be taken out of service.
    margin: Duration,
    slept: Duration,
    /// How often the wall clock has been set.
    era: u32,
    issued: BTreeMap<u64, Issued>,
    requests: Vec<Request>,
    /// Since the last request something happened that is answered by a request of its own.
    disturbed: bool,
    /// How long the next request has to wait if nothing happens.
    rest: Duration,
}

struct Request {
    at: Duration,
    /// That it came too soon.
    hasty: bool,
}

#[derive(Clone)]
struct Issuer {
    world: Arc<Mutex<World>>,
    clock: TestClock,
    began: Instant,
    /// Another secret, which ends a refusal.
    secret: Arc<Notify>,
}

impl Issuer {
    fn now(&self) -> Moment {
        Moment {
            tick: self.began.elapsed() + self.world.lock().slept,
            wall: self.clock.now(),
        }
    }

    /// Whether a token is good at `now`, by both clocks, and will be for a while.
    fn is_good(&self, issued: &Issued, now: Moment, a_while: Duration) -> bool {
        let lifetime = issued.lifetime.saturating_sub(a_while);
        let by_wall = now
            .wall
            .duration_since(issued.asked.wall)
            .unwrap_or_default();
        now.tick - issued.asked.tick < lifetime && by_wall < lifetime
    }

    /// Another mood. A refusal ends with a new secret, which is tried at once.
    fn turns(&self, mood: Mood) {
        let mut world = self.world.lock();
        let before = std::mem::replace(&mut world.mood, mood);
        if before == Mood::Refusing || before == Mood::Mad {
            world.disturbed = true;
            self.secret.notify_waiters();
        }
    }

    fn request(&self, asked: Moment) -> (u64, Mood, Rng) {
        let mut world = self.world.lock();
        let last = world.requests.last().map(|request| request.at);
        let hasty = !world.disturbed && last.is_some_and(|last| asked.tick < last + world.rest);
        world.requests.push(Request {
            at: asked.tick,
            hasty,
        });
        world.disturbed = false;
        // Until there is an answer: a failure is followed by a second at least.
        world.rest = Duration::from_secs(1);
        let mood = match world.mood {
            // Any but this one.
            Mood::Mad => MOODS[world.rng.usize(..MOODS.len() - 1)],
            mood => mood,
        };
        (world.requests.len() as u64, mood, world.rng.fork())
    }
}

impl Source<AccessToken> for Issuer {
    async fn fetch(
        &self,
        _in_service: Option<Arc<AccessToken>>,
    ) -> Result<Fetched<AccessToken>, FetchError> {
        let asked = self.now();
        let (number, mood, mut rng) = self.request(asked);
        let latency = match mood {
            Mood::Slow => rng.u64(1_000..12_000),
            _ => rng.u64(1..400),
        };
        tokio::time::sleep(Duration::from_millis(latency)).await;
        match mood {
            Mood::Hanging => std::future::pending().await,
            Mood::Panicking => panic!("the issuer's client has a bug"),
            Mood::Down => Err(FetchError::transient("down")),
            Mood::Garbled => Err(AccessToken::bearer("to\u{1b}ken").expect_err("unfit")),
            Mood::Refusing => Err(FetchError::permanent("invalid_client")),
            Mood::Throttling => {
                let pause = Duration::from_secs(rng.u64(0..100_000));
                Err(FetchError::transient("slow down").retry_after(pause))
            }
            Mood::Well | Mood::Slow | Mood::Mad => {
                let dead = rng.u8(..) < 8 && self.began.elapsed() < DAY;
                let mut world = self.world.lock();
                let lifetime = match rng.u8(..) {
                    ..64 => world.lifetime.mul_f64(0.2 + 0.8 * rng.f64()),
                    _ => world.lifetime,
                };
                if !dead {
                    let issued = Issued {
                        asked,
                        came: Instant::now(),
                        lifetime,
                        era: world.era,
                        refused: false,
                    };
                    world.issued.insert(number, issued);
                    world.rest = lifetime.mul_f64(0.6);
                }
                let token = AccessToken::bearer(format!("token-{number}"))?;
                let stated = if dead { Duration::ZERO } else { lifetime };
                Ok(Fetched::new(token.expires_in(stated)))
            }
        }
    }

    async fn changed(&self) {
        self.secret.notified().await;
    }
}

struct Tally {
    reads: u64,
    failed: u64,
    requests: usize,
    issued: usize,
}

/// One day; the seed decides everything.
async fn day(seed: u64) -> Tally {
    let mut rng = Rng::with_seed(seed);
    let clock = TestClock::virtual_time();
    let lifetime = Duration::from_secs([20, 60, 300, 900, 3600][rng.usize(..5)]);
    let share = 0.65 + 0.3 * rng.f64();
    let margin = Duration::from_secs(rng.u64(0..40));
    let issuer = Issuer {
        world: Arc::new(Mutex::new(World {
            rng: rng.fork(),
            mood: Mood::Well,
            lifetime,
            // As documented: half of what is left after the refresh point, at most.
            margin: margin.min((lifetime - lifetime.mul_f64(share)) / 2),
            slept: Duration::ZERO,
            era: 0,
            issued: BTreeMap::new(),
            requests: Vec::new(),
            disturbed: true,
            rest: Duration::ZERO,
        })),
        clock: clock.clone(),
        began: Instant::now(),
        secret: Arc::default(),
    };
    let auth = Auth::builder()
        .clock(clock.clock())
        .seed(seed)
        .start()
        .await;
    let auth = auth.expect("started");
    let story = tokio::spawn(holds_together(seed, auth.events()));
    let lived = LifetimePolicy::default().refresh_at(share).margin(margin);
    let credential = Credential::new("chaos", issuer.clone())
        .lifetime(lived)
        .refresh(
            RefreshPolicy::for_tokens()
                .jitter(0.5 * rng.f64())
                .max_retry_after(Duration::from_secs(120))
                .probe(Duration::from_secs(30), Duration::from_secs(300)),
        )
        .start(Start::Background);
    let token = auth.token(credential).await.expect("in the background");
    let waiting = tokio::spawn(never_waits_long(seed, token.clone(), rng.fork()));

    let mut tally = Tally {
        reads: 0,
        failed: 0,
        requests: 0,
        issued: 0,
    };
    let mut mood_ends = Duration::ZERO;
    while issuer.began.elapsed() < DAY {
        tokio::time::sleep(Duration::from_millis(rng.u64(1..3_000))).await;
        if issuer.began.elapsed() >= mood_ends {
            let well = rng.bool();
            issuer.turns(if well {
                Mood::Well
            } else {
                MOODS[rng.usize(..MOODS.len())]
            });
            mood_ends = issuer.began.elapsed() + Duration::from_secs(rng.u64(5..1_800));
        }
        disturb(&issuer, &auth, &token, &clock, &mut rng);
        read(seed, &issuer, &token, &mut tally);
    }

    // Whatever state the day ends in, it heals by itself.
    issuer.turns(Mood::Well);
    tokio::time::sleep(Duration::from_secs(600)).await;
    token.ready().await.expect("healthy in the end");
    let status = token.status();
    assert_eq!(status.state, TokenState::Fresh, "seed {seed}: {status:?}");
    let health = auth.health();
    assert!(health.live && health.ready, "seed {seed}: {health:?}");
    assert!(!waiting.is_finished(), "seed {seed}: waited for too long");
    waiting.abort();
    drop((auth, token));
    tokio::time::sleep(Duration::from_millis(100)).await;
    story.await.expect("the story holds together");
    let tasks = tokio::runtime::Handle::current().metrics();
    assert_eq!(tasks.num_alive_tasks(), 0, "seed {seed}: something is left");

    let world = issuer.world.lock();
    let hasty: Vec<_> = world
        .requests
        .iter()
        .filter(|request| request.hasty)
        .collect();
    let at: Vec<_> = hasty.iter().take(5).map(|request| request.at).collect();
    assert!(
        hasty.is_empty(),
        "seed {seed}: {} requests too soon, at {at:?}",
        hasty.len()
    );
    tally.requests = world.requests.len();
    tally.issued = world.issued.len();
    tally
}

/// A caller that waits for a token gets an answer in half a minute, and while the manager backs off
/// at once.
async fn never_waits_long(seed: u64, token: TokenHandle, mut rng: Rng) {
    loop {
        tokio::time::sleep(Duration::from_millis(rng.u64(1..60_000))).await;
        let (begun, status) = (Instant::now(), token.status());
        let ready = token.ready().await;
        let took = begun.elapsed();
        assert!(took <= Duration::from_secs(30), "seed {seed}: {took:?}");
        let backs_off = status.failures > 0
            && status
                .next_fetch_in
                .is_some_and(|next| next > Duration::ZERO);
        assert!(
            ready.is_ok() || !backs_off || took.is_zero(),
            "seed {seed}: {took:?} in a backoff"
        );
    }
}

/// What subscribers are told has no gap and does not contradict itself.
async fn holds_together(seed: u64, mut events: Events) {
    let (mut version, mut failed) = (0, 0);
    loop {
        let event = match events.recv().await {
            Err(EventsError::Stopped) => return,
            told => told.expect("no gap"),
        };
        match event.change {
            Change::Acquired(token) | Change::Refreshed(token) => {
                version += 1;
                assert_eq!(token.version, version, "seed {seed}: {}", token.version);
            }
            Change::RefreshFailed { failures, .. } => {
                failed += 1;
                assert_eq!(failures, failed, "seed {seed}: each failure counts");
            }
            Change::Recovered { failures } => {
                assert_eq!(failures, std::mem::take(&mut failed), "seed {seed}");
            }
            Change::Degraded => assert_eq!(failed, 1, "seed {seed}"),
            _ => {}
        }
    }
}

/// Now and then: a clock that steps, a machine that sleeps, an actor that crashes, a resource
/// server that refuses the token.
fn disturb(issuer: &Issuer, auth: &Auth, token: &TokenHandle, clock: &TestClock, rng: &mut Rng) {
    match rng.u32(..2_000) {
        0 => {
            clock.step_wall(rng.i64(-4_000..4_000));
            issuer.world.lock().era += 1;
        }
        1 => {
            let by = Duration::from_secs(rng.u64(1..8_000));
            issuer.world.lock().slept += by;
            clock.suspend(by);
        }
        2 | 3 => {
            // What arrives at the moment of the crash goes with it.
            let now = Instant::now();
            let mut world = issuer.world.lock();
            world
                .issued
                .retain(|_, issued| issued.came + Duration::from_millis(5) < now);
            drop(world);
            auth.crash(Actor::TokenManager);
        }
        4..8 => {
            if let Ok(rejected) = token.current() {
                let mut world = issuer.world.lock();
                world.issued.values_mut().for_each(|it| it.refused = true);
                drop(world);
                let token = token.clone();
                tokio::spawn(async move { drop(token.renew(&rejected).await) });
            }
        }
        _ => return,
    }
    issuer.world.lock().disturbed = true;
}

/// A read succeeds while any token is good, and never hands out one that is not. Of those from
/// before a clock was set, or before another was asked for in their place, only the newest counts.
fn read(seed: u64, issuer: &Issuer, token: &TokenHandle, tally: &mut Tally) {
    let now = issuer.now();
    tally.reads += 1;
    // So often that this thread gets a copy of it.
    let header = (0..20).try_fold(None, |_, _| token.authorization().map(Some));
    match token.current() {
        Ok(current) => {
            let sent = header.expect("as good as the token").expect("read");
            let read = format!("Bearer {}", current.expose());
            assert_eq!(sent, read, "seed {seed}");
            let number = current.expose().strip_prefix("token-").expect("ours");
            let number: u64 = number.parse().expect("a number");
            let known = issuer.world.lock().issued.get(&number).copied();
            let good = known.is_none_or(|known| issuer.is_good(&known, now, Duration::ZERO));
            assert!(good, "seed {seed}: a dead token was served");
        }
        Err(error) => {
            assert!(header.is_err(), "seed {seed}: a header of no token");
            tally.failed += 1;
            let mut world = issuer.world.lock();
            world.disturbed = true;
            let margin = world.margin;
            let newest = world.issued.last_key_value().map(|(_, issued)| *issued);
            let counts = |it: &&Issued| !it.refused && it.era == world.era;
            let counting: Vec<_> = world.issued.values().filter(counts).copied().collect();
            drop(world);
            let came = |it: &Issued| it.came + Duration::from_millis(1) < Instant::now();
            let mut arrived = counting.into_iter().chain(newest).filter(came);
            assert!(
                !arrived.any(|issued| issuer.is_good(&issued, now, margin)),
                "seed {seed}: {error} after {:?}, though a token is good",
                issuer.began.elapsed(),
            );
        }
    }
}

/// A provider that panics and an actor that crashes are part of the day, and no news.
fn quietly(run: impl FnOnce()) {
    let usual = std::panic::take_hook();
    std::panic::set_hook(Box::new(|_| {}));
    let outcome = std::panic::catch_unwind(std::panic::AssertUnwindSafe(run));
    std::panic::set_hook(usual);
    if let Err(panic) = outcome {
        let text = panic.downcast_ref::<String>().cloned();
        panic!(
            "{}",
            text.unwrap_or_else(|| "a failed assertion".to_owned())
        );
    }
}

#[test]
fn no_read_fails_in_a_day_of_chaos_while_a_token_is_good() {
    let given = std::env::var("MIDIL_CHAOS_SEED").ok();
    let seeds = match given.and_then(|seed| seed.parse().ok()) {
        Some(seed) => seed..seed + 1,
        None => 0_u64..20,
    };
    for seed in seeds {
        let runtime = tokio::runtime::Builder::new_current_thread()
            .enable_time()
            .start_paused(true)
            .build()
            .expect("a runtime");
        let mut tally = None;
        quietly(|| tally = Some(runtime.block_on(day(seed))));
        let tally = tally.expect("the day is over");
        println!(
            "seed {seed}: {} reads, {} without a token, {} requests for {} tokens",
            tally.reads, tally.failed, tally.requests, tally.issued
        );
        assert!(tally.reads > 50_000 && tally.issued > 10);
        assert!(
            tally.failed < tally.reads / 5 * 4,
            "seed {seed}: an outage of most of the day"
        );
    }
}
