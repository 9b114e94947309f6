//! A fleet in virtual time: what the token endpoint gets from many replicas that were started
//! together, through an outage, and how often a token is asked for in a lifetime.
//!
//! The life cycle is the one that ships: every replica is a credential of a running `Auth` with
//! draws of its own, and since its source names no endpoint nothing is paced or paused together
//! with another one, as though each were a process of its own.
//!
//! `cargo bench --bench fleet`

#![expect(
    clippy::expect_used,
    clippy::print_stdout,
    reason = "a bench that cannot be set up has failed, and its result is what it prints"
)]

mod plot;

use std::ops::Range;
use std::sync::Arc;
use std::time::Duration;

use midil_auth::oauth2::{AccessToken, Credential};
use midil_auth::testing::TestClock;
use midil_auth::{Auth, FetchError, Fetched, RefreshPolicy, Source, Start, TokenHandle};
use parking_lot::Mutex;
use plot::{Line, Picture};
use plotters::prelude::IntoLogRange;
use tokio::time::{Instant, sleep, sleep_until};

const HOUR: Duration = Duration::from_secs(3600);
const DAY: Duration = Duration::from_secs(24 * 3600);

/// How long the issuer takes to answer.
const ANSWER: Duration = Duration::from_millis(50);

/// How often every replica needs its token.
const READS: Duration = Duration::from_secs(10);

/// From the start of the fleet.
const OUTAGE: Range<u64> = 2400..3000;

/// What an issuer that has just come back can do, in requests per second.
const LITTLE: u32 = 200;

/// Fetches in a lifetime that a token may cost on average.
const BUDGET: f64 = 1.45;

/// The one issuer of the fleet.
#[derive(Clone)]
struct Issuer(Arc<Inner>);

struct Inner {
    begun: Instant,
    lifetime: Duration,
    outage: Range<u64>,
    /// Requests that it serves in a second once it has been away.
    capacity: u32,
    seconds: Mutex<Vec<Second>>,
}

/// What one second brought.
#[derive(Clone, Copy, Default)]
struct Second {
    asked: u32,
    served: u32,
}

impl Issuer {
    fn new(lifetime: Duration, outage: Range<u64>, capacity: u32) -> Self {
        Self(Arc::new(Inner {
            begun: Instant::now(),
            lifetime,
            outage,
            capacity,
            seconds: Mutex::default(),
        }))
    }

    /// Requests in each second since the start.
    fn seconds(&self) -> Vec<Second> {
        self.0.seconds.lock().clone()
    }

    /// Whether it serves a request that comes now.
    fn serves(&self) -> bool {
        let second = self.0.begun.elapsed().as_secs();
        let mut seconds = self.0.seconds.lock();
        let index = usize::try_from(second).expect("small");
        if seconds.len() <= index {
            seconds.resize(index + 1, Second::default());
        }
        let now = &mut seconds[index];
        now.asked += 1;
        let outage = &self.0.outage;
        let copes = second < outage.start || now.served < self.0.capacity;
        let serves = copes && !outage.contains(&second);
        now.served += u32::from(serves);
        serves
    }
}

impl Source<AccessToken> for Issuer {
    async fn fetch(
        &self,
        _in_service: Option<Arc<AccessToken>>,
    ) -> Result<Fetched<AccessToken>, FetchError> {
        let serves = self.serves();
        sleep(ANSWER).await;
        if !serves {
            return Err(FetchError::transient("503"));
        }
        let token = AccessToken::bearer("token")?.expires_in(self.0.lifetime);
        Ok(Fetched::new(token))
    }
}

struct Fleet {
    auth: Auth,
    replicas: Vec<TokenHandle>,
}

impl Fleet {
    /// As many replicas as there are, all within a second.
    async fn start(issuer: &Issuer, replicas: usize, policy: RefreshPolicy) -> Self {
        let clock = TestClock::virtual_time();
        let auth = Auth::builder().clock(clock.clock()).seed(1).start().await;
        let mut fleet = Self {
            auth: auth.expect("started"),
            replicas: Vec::with_capacity(replicas),
        };
        let mut rng = fastrand::Rng::with_seed(2);
        let mut at: Vec<u64> = (0..replicas).map(|_| rng.u64(0..1000)).collect();
        at.sort_unstable();
        for (number, at) in at.into_iter().enumerate() {
            sleep_until(issuer.0.begun + Duration::from_millis(at)).await;
            let credential = Credential::new(format!("replica-{number}"), issuer.clone())
                .refresh(policy)
                .start(Start::Background);
            let replica = fleet.auth.token(credential).await;
            fleet.replicas.push(replica.expect("in the background"));
        }
        fleet
    }

    /// Reads every replica's token now and then for so long; how many of the reads failed.
    async fn read_until(&self, end: Instant) -> u64 {
        let mut failed = 0;
        while Instant::now() < end {
            sleep(READS).await;
            failed += self
                .replicas
                .iter()
                .filter(|it| it.current().is_err())
                .count() as u64;
        }
        failed
    }
}

fn paused() -> tokio::runtime::Runtime {
    tokio::runtime::Builder::new_current_thread()
        .enable_time()
        .start_paused(true)
        .build()
        .expect("a runtime")
}

/// The policy that ships, and one that draws nothing: every token is refreshed at the same share
/// of its lifetime and every failure is repeated after the same time, the longest of the former.
fn policies() -> [(&'static str, RefreshPolicy); 2] {
    let minute = Duration::from_secs(60);
    let drawn = RefreshPolicy::for_tokens();
    [
        ("with jitter", drawn),
        ("without", drawn.jitter(0.0).retry(minute, minute)),
    ]
}

fn busiest(seconds: &[Second]) -> u32 {
    seconds.iter().map(|it| it.asked).max().unwrap_or(0)
}

/// The busiest second of each `step` of them; nothing lies on the axis, at a half.
fn peaks(seconds: &[Second], from: usize, step: usize, unit: f64) -> Vec<(f64, f64)> {
    let peak = |(n, seconds): (usize, &[Second])| {
        let at = (from + n * step) as f64 / unit;
        (at, f64::from(busiest(seconds)).max(0.5))
    };
    seconds[from..].chunks(step).enumerate().map(peak).collect()
}

/// Nothing fails: how the waves of refreshes run out.
fn schedule(replicas: usize, hours: u32) -> Vec<Line> {
    println!("{replicas} replicas started within a second, tokens of an hour");
    println!(
        "{:<14} {:>12} {:>12} {:>12} {:>12} {:>14}",
        "requests/s", "peak", "1st wave", "2nd wave", "last hour", "mean"
    );
    let span = HOUR * hours;
    let run = |(name, policy)| {
        let (issuer, failed) = paused().block_on(async {
            let issuer = Issuer::new(HOUR, 0..0, u32::MAX);
            let fleet = Fleet::start(&issuer, replicas, policy).await;
            let failed = fleet.read_until(issuer.0.begun + span).await;
            (issuer, failed)
        });
        assert_eq!(failed, 0, "no replica is ever without a token");
        let mut seconds = issuer.seconds();
        seconds.resize(span.as_secs() as usize, Second::default());
        // The start itself is the operator's doing.
        let after = &seconds[60..];
        let total: u32 = after.iter().map(|it| it.asked).sum();
        println!(
            "{name:<14} {:>12} {:>12} {:>12} {:>12} {:>14.2}",
            busiest(after),
            busiest(&seconds[60..2702]),
            busiest(&seconds[2703..5404]),
            busiest(&seconds[seconds.len() - 3600..]),
            f64::from(total) / after.len() as f64,
        );
        Line::new(name, peaks(&seconds, 0, 60, 3600.0))
    };
    policies().into_iter().map(run).collect()
}

/// The issuer is away for ten minutes, just when the whole fleet wants another token.
fn outage(replicas: usize) -> Vec<Line> {
    println!(
        "\nthe same through an outage of {} s that begins {} s after the start",
        OUTAGE.end - OUTAGE.start,
        OUTAGE.start
    );
    println!(
        "{:<34} {:>10} {:>12} {:>12} {:>12} {:>10}",
        "", "requests", "peak/s then", "peak/s after", "all served", "no token"
    );
    let [drawn, fixed] = policies();
    let runs = [
        (drawn, u32::MAX),
        (fixed, u32::MAX),
        (drawn, LITTLE),
        (fixed, LITTLE),
    ];
    let run = |((name, policy), capacity): ((&str, RefreshPolicy), u32)| {
        let name = match capacity {
            u32::MAX => name.to_owned(),
            _ => format!("{name}, back with {capacity}/s"),
        };
        let end = Duration::from_secs(OUTAGE.end) + HOUR;
        let (issuer, failed) = paused().block_on(async {
            let issuer = Issuer::new(HOUR, OUTAGE, capacity);
            let fleet = Fleet::start(&issuer, replicas, policy).await;
            let failed = fleet.read_until(issuer.0.begun + end).await;
            (issuer, failed)
        });
        let mut seconds = issuer.seconds();
        seconds.resize(end.as_secs() as usize, Second::default());
        let (back, first) = (OUTAGE.end as usize, OUTAGE.start as usize);
        let down: u32 = seconds[first..back].iter().map(|it| it.asked).sum();
        let mut left = replicas as u32;
        let served = seconds[back..].iter().position(|it| {
            left = left.saturating_sub(it.served);
            left == 0
        });
        println!(
            "{name:<34} {down:>10} {:>12} {:>12} {:>10} s {failed:>10}",
            busiest(&seconds[first..back]),
            busiest(&seconds[back..back + 600]),
            served.map_or(0, |at| at + 1),
        );
        Line::new(name, peaks(&seconds[..4200], 2280, 5, 60.0))
    };
    runs.into_iter().map(run).collect()
}

/// How often a token is asked for in one of its lifetimes.
fn lifetimes(replicas: usize) {
    println!("\na day of {replicas} replicas each, and of thirty lifetimes where that is longer");
    println!(
        "{:>10} {:>16} {:>14} {:>9}",
        "lifetime", "in the first day", "in a lifetime", "budget"
    );
    let minutes = [1, 5, 15, 60, 6 * 60, 12 * 60, 24 * 60];
    let rates = minutes.map(|minutes| {
        let lifetime = Duration::from_secs(minutes * 60);
        let span = DAY.max(30 * lifetime);
        let issuer = paused().block_on(async {
            let issuer = Issuer::new(lifetime, 0..0, u32::MAX);
            let fleet = Fleet::start(&issuer, replicas, RefreshPolicy::for_tokens()).await;
            sleep_until(issuer.0.begun + span).await;
            drop(fleet);
            issuer
        });
        let asked = |seconds: &[Second]| seconds.iter().map(|it| f64::from(it.asked)).sum::<f64>();
        let seconds = issuer.seconds();
        let first_day = &seconds[..seconds.len().min(DAY.as_secs() as usize)];
        // From the middle on, where all are long out of step, so that neither end counts.
        let (middle, end) = (span.as_secs() as usize / 2, span.as_secs() as usize);
        let later = asked(&seconds[middle..end.min(seconds.len())]);
        let lived = (end - middle) as f64 / lifetime.as_secs_f64();
        let rate = later / lived / replicas as f64;
        println!(
            "{minutes:>6} min {:>16.2} {rate:>14.3} {BUDGET:>9.2}",
            asked(first_day) / replicas as f64,
        );
        rate
    });
    let mean = rates.iter().sum::<f64>() / rates.len() as f64;
    let verdict = if mean <= BUDGET { "kept" } else { "MISSED" };
    println!(
        "{:>10} {:>16} {mean:>14.3} {BUDGET:>9.2} {verdict}",
        "mean", ""
    );
}

fn main() {
    // Run as a test, it only shows that it runs.
    let measured = std::env::args().any(|argument| argument == "--bench");
    if !measured {
        schedule(100, 3);
        outage(100);
        lifetimes(2);
        return;
    }
    let waves = schedule(10_000, 12);
    let recovery = outage(10_000);
    lifetimes(100);
    println!();
    Picture {
        name: "fleet-schedule",
        title: "10,000 replicas started together: busiest second of each minute",
        x: "hours since the start",
        y: "requests per second",
        dots: false,
    }
    .draw(0.0..12.0, (0.5..20_000.0).log_scale(), &waves);
    Picture {
        name: "fleet-outage",
        title: "An outage from minute 40 to 50: busiest second of each five",
        x: "minutes since the start",
        y: "requests per second",
        dots: false,
    }
    .draw(38.0..70.0, (0.5..20_000.0).log_scale(), &recovery[2..]);
}
