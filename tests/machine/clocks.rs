//! Two clocks, and what happens to them.

use std::time::SystemTime;

use midil_auth::jwks::Algorithm;
use midil_auth::testing::SigningKey;
use parking_lot::Mutex;
use serde_json::json;
use tokio::time::Instant;

use super::*;

/// What happens to the clocks or to the issuer.
#[derive(Clone, Copy, Debug)]
enum Act {
    /// The issuer is down, or is up again.
    Down(bool),
    Pass(Duration),
    /// The issuer takes this long from now on.
    Slow(Duration),
    /// The machine sleeps; its monotonic clock goes on meanwhile.
    Sleep(Duration),
    /// The wall clock runs fast by these millionths for a time.
    Slew(i64, Duration),
    /// The wall clock is set.
    Wall(i64),
}

use Act::{Down, Pass, Sleep, Slew, Slow, Wall};

/// A token as the issuer knows it: what it is, when it was asked for on both clocks.
struct Issued {
    token: String,
    uptime: Duration,
    wall: SystemTime,
}

/// A machine with two clocks, a token on it, and an issuer that remembers.
struct Machine {
    _auth: Auth,
    token: TokenHandle,
    clock: TestClock,
    issuer: Arc<Remembering>,
    /// Whether anybody reads the token meanwhile: whoever finds none asks for one.
    is_read: bool,
}

struct Remembering {
    clock: TestClock,
    origin: Instant,
    slept: Mutex<Duration>,
    down: Mutex<bool>,
    takes: Mutex<Duration>,
    asked: AtomicU64,
    issued: Mutex<Vec<Issued>>,
}

impl Remembering {
    fn uptime(&self) -> Duration {
        self.origin.elapsed() + *self.slept.lock()
    }

    async fn answer(&self) -> Result<Fetched<AccessToken>, FetchError> {
        let n = self.asked.fetch_add(1, Ordering::SeqCst) + 1;
        let (uptime, wall) = (self.uptime(), self.clock.now());
        let (takes, down) = (*self.takes.lock(), *self.down.lock());
        tokio::time::sleep(takes).await;
        if down {
            return Err(FetchError::transient("the issuer is down"));
        }
        let token = format!("token-{n}");
        self.issued.lock().push(Issued {
            token,
            uptime,
            wall,
        });
        issue(n, LIFETIME)
    }
}

impl Machine {
    async fn boot(is_read: bool) -> Self {
        let (auth, clock) = start().await;
        let issuer = Arc::new(Remembering {
            clock: clock.clone(),
            origin: Instant::now(),
            slept: Mutex::default(),
            down: Mutex::default(),
            takes: Mutex::default(),
            asked: AtomicU64::new(0),
            issued: Mutex::default(),
        });
        let source = SourceFn::new({
            let issuer = Arc::clone(&issuer);
            move |_| {
                let issuer = Arc::clone(&issuer);
                async move { issuer.answer().await }
            }
        });
        let token = begin_with(&auth, Credential::new("t", source)).await;
        Self {
            _auth: auth,
            token,
            clock,
            issuer,
            is_read,
        }
    }

    async fn suffer(&self, act: Act) {
        match act {
            Down(down) => *self.issuer.down.lock() = down,
            Pass(time) => pass(time).await,
            Slow(time) => *self.issuer.takes.lock() = time,
            Sleep(time) => {
                *self.issuer.slept.lock() += time;
                self.clock.suspend(time);
            }
            Slew(millionths, time) => {
                for _ in 0..time.as_secs() {
                    self.clock.slew_wall(millionths);
                    tokio::time::sleep(SECOND).await;
                    if self.is_read {
                        self.serves_nothing_dead();
                    }
                }
            }
            Wall(seconds) => self.clock.step_wall(seconds),
        }
        if self.is_read {
            self.serves_nothing_dead();
        }
    }

    /// What is served has not ended on either clock.
    fn serves_nothing_dead(&self) {
        if let Ok(token) = self.token.current() {
            let issued = self.issuer.issued.lock();
            let known = issued.iter().find(|known| known.token == token.expose());
            let known = known.expect("issued");
            assert!(self.issuer.uptime() < known.uptime + LIFETIME);
            assert!(self.clock.now() < known.wall + LIFETIME);
        }
    }

    fn asked(&self) -> u64 {
        self.issuer.asked.load(Ordering::SeqCst)
    }
}

/// What may happen, and how many requests it may cost beside the first.
const SCENARIOS: &[(&str, u64, &[Act])] = &[
    ("nothing happens", 0, &[Pass(MINUTE)]),
    ("a sleep of two hours", 1, &[Sleep(two(HOUR))]),
    (
        "a sleep that the monotonic clock slept through as well",
        1,
        &[Wall(7_200)],
    ),
    ("a nap past the refresh point", 1, &[Sleep(fifty(MINUTE))]),
    ("an hour forward", 1, &[Wall(3_600)]),
    ("an hour back", 0, &[Wall(-3_600)]),
    (
        "an hour forward and back",
        1,
        &[Wall(3_600), Pass(MINUTE), Wall(-3_600)],
    ),
    (
        "an hour back and forward",
        0,
        &[Wall(-3_600), Pass(MINUTE), Wall(3_600)],
    ),
    (
        "an hour back, a new token, an hour forward",
        2,
        &[Wall(-3_600), Pass(fifty(MINUTE)), Wall(3_600)],
    ),
    (
        "a clock that is set every minute",
        10,
        &[
            Wall(3_600),
            Pass(MINUTE),
            Wall(-3_600),
            Pass(MINUTE),
            Wall(3_600),
            Pass(MINUTE),
            Wall(-3_600),
            Pass(MINUTE),
            Wall(3_600),
            Pass(MINUTE),
        ],
    ),
    ("slewed fast for an hour", 2, &[Slew(500, HOUR)]),
    ("slewed slow for an hour", 2, &[Slew(-500, HOUR)]),
    (
        "a sleep while a request is on its way",
        3,
        &[Slow(fifty(ms(100))), Pass(fifty(MINUTE)), Sleep(two(HOUR))],
    ),
    (
        "the clock is set while a request is on its way",
        3,
        &[Slow(fifty(ms(100))), Pass(fifty(MINUTE)), Wall(7_200)],
    ),
    (
        "a sleep in the middle of a backoff, and the issuer is back",
        30,
        &[
            Down(true),
            Pass(fifty(MINUTE)),
            Sleep(two(HOUR)),
            Down(false),
        ],
    ),
];

const fn two(time: Duration) -> Duration {
    time.saturating_mul(2)
}

const fn fifty(time: Duration) -> Duration {
    time.saturating_mul(50)
}

#[tokio::test(start_paused = true)]
async fn whatever_happens_to_the_clocks_is_over_soon_without_a_reader_s_help() {
    for (name, most, acts) in SCENARIOS {
        let machine = Machine::boot(false).await;
        for act in *acts {
            machine.suffer(*act).await;
        }
        // The timer looks at the clocks twice a minute.
        pass(40 * SECOND).await;
        machine.serves_nothing_dead();
        assert!(machine.token.current().is_ok(), "{name}");
        let asked = machine.asked();
        assert!(asked <= 1 + most, "{asked} requests: {name}");
    }
}

#[tokio::test(start_paused = true)]
async fn whatever_happens_to_the_clocks_a_reader_that_waits_is_served_at_once() {
    for (name, most, acts) in SCENARIOS {
        let machine = Machine::boot(true).await;
        for act in *acts {
            machine.suffer(*act).await;
        }
        let begun = Instant::now();
        let mut ready = machine.token.ready().await;
        if ready.is_err() {
            // What was on its way when the machine slept has failed first.
            pass(3 * SECOND).await;
            ready = machine.token.ready().await;
        }
        assert!(ready.is_ok(), "{name}: {ready:?}");
        machine.serves_nothing_dead();
        let took = begun.elapsed();
        assert!(took <= 10 * SECOND, "{name}: {took:?}");
        let asked = machine.asked();
        assert!(asked <= 1 + most, "{asked} requests: {name}");
    }
}

#[tokio::test(start_paused = true)]
async fn clocks_that_step_or_sleep_never_yield_a_dead_token() {
    let (auth, clock) = start().await;
    let source = SourceFn::new(async |n| issue(n, LIFETIME));
    let calls = source.calls();
    let token = auth
        .token(Credential::new("t", source))
        .await
        .expect("a token");
    clock.suspend(Duration::from_secs(7200));
    assert!(
        matches!(token.current(), Err(TokenError::Expired { .. })),
        "dead after the sleep"
    );
    settle().await;
    assert_eq!(
        served(&token),
        "token-2",
        "refreshed because somebody looked"
    );
    clock.step_wall(3600);
    assert!(token.current().is_err(), "the wall clock says it is over");
    token.ready().await.expect("another");
    clock.step_wall(-7200);
    assert!(token.current().is_ok());
    clock.advance(Duration::from_secs(3595)).await;
    settle().await;
    assert_ne!(
        served(&token),
        "token-3",
        "refreshed on the monotonic clock"
    );
    assert!(calls.load(Ordering::SeqCst) <= 5, "no storm");
}

#[tokio::test(start_paused = true)]
async fn a_sleep_in_a_backoff_or_a_refusal_is_noticed_by_the_next_reader() {
    let (auth, clock) = start().await;
    for mood in [Mood::Down, Mood::Refuses] {
        let issuer = Issuer::new(mood);
        let token = begin(&auth, &issuer).await;
        assert!(token.ready().await.is_err());
        clock.suspend(2 * HOUR);
        issuer.is(Mood::Issues);
        let ready = token.ready().await.expect("tried again at once");
        assert_eq!((ready.expose(), issuer.asked()), ("token-1", 2));
    }
    // So it is by whoever brings back a token that was refused.
    let issuer = Issuer::new(Mood::Issues);
    let token = begin(&auth, &issuer).await;
    let rejected = token.current().expect("a token");
    issuer.is(Mood::Down);
    assert!(token.renew(&rejected).await.is_err());
    clock.suspend(MINUTE);
    issuer.is(Mood::Issues);
    let fresh = token.renew(&rejected).await.expect("tried again at once");
    assert_eq!(fresh.expose(), "token-2");
}

/// A token of a server whose clock is `ahead` of ours by seconds: how long it says that it lives
/// itself, and how long the response says so.
fn jwt(clock: &TestClock, ahead: i64, own: u64, stated: Option<u64>) -> AccessToken {
    let now = clock.now().duration_since(SystemTime::UNIX_EPOCH);
    let now = now.expect("later").as_secs().saturating_add_signed(ahead);
    let key = SigningKey::generate(Algorithm::EdDSA, "key");
    let token = AccessToken::bearer(key.token(&json!({"iat": now, "exp": now + own})));
    let token = token.expect("a token");
    match stated {
        Some(stated) => token.expires_in(Duration::from_secs(stated)),
        None => token,
    }
}

#[tokio::test(start_paused = true)]
async fn the_earliest_end_counts_whatever_the_server_s_clock_shows() {
    for (name, ahead, own, stated, usable) in [
        ("alike", 0, 3_600, Some(3_600), Some(3_590)),
        ("a little ahead", 300, 3_600, Some(3_600), Some(3_590)),
        ("far ahead", 7_200, 3_600, Some(3_600), Some(3_590)),
        ("a little behind", -300, 3_600, Some(3_600), Some(3_290)),
        ("far behind", -7_200, 3_600, Some(3_600), Some(3_590)),
        ("its own end is earlier", 0, 600, Some(3_600), Some(590)),
        ("its own end is later", 0, 7_200, Some(3_600), Some(3_590)),
        ("only its own end", 0, 600, None, Some(590)),
        ("only its own end, ahead", 300, 600, None, Some(890)),
        (
            "only its own end, and that is over",
            -7_200,
            3_600,
            None,
            None,
        ),
    ] {
        let (auth, clock) = start().await;
        let reader = clock.clone();
        let source = SourceFn::new(move |_| {
            let token = jwt(&reader, ahead, own, stated);
            async move { Ok(Fetched::new(token)) }
        });
        let calls = source.calls();
        let token = begin_with(&auth, Credential::new("t", source)).await;
        let status = token.status();
        let usable = usable.map(Duration::from_secs);
        assert_eq!(status.usable_for, usable, "{name}");
        let Some(usable) = usable else {
            let error = token.current().expect_err(name);
            assert!(error.to_string().contains("no lifetime left"), "{error}");
            continue;
        };
        // And it is kept fresh all the same.
        for _ in 0..12 {
            pass(usable / 4).await;
            assert!(token.current().is_ok(), "{name}");
        }
        let calls = calls.load(Ordering::SeqCst);
        assert!((4..=6).contains(&calls), "{name}: {calls} requests");
    }
}

/// An application's own source says that its token is still the right one, by a clock that was
/// set back.
#[tokio::test(start_paused = true)]
async fn word_that_nothing_changed_prolongs_no_token_when_the_clock_is_set_back() {
    let (auth, clock) = start().await;
    let source = SourceFn::new(async |n| match n {
        1 => issue(n, LIFETIME),
        _ => Ok(Fetched::unchanged()),
    });
    let token = begin_with(&auth, Credential::new("t", source)).await;
    clock.step_wall(-7_200);
    pass(LIFETIME - 2 * SECOND).await;
    assert!(token.current().is_ok(), "still the right one");
    pass(2 * SECOND).await;
    assert!(token.current().is_err(), "over");
}
