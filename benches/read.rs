//! Reading the current token: the handle beside one bare `ArcSwap::load` and beside the cache that
//! people write by hand.
//!
//! `cargo bench --bench read`

#![expect(
    clippy::disallowed_methods,
    clippy::expect_used,
    clippy::print_stdout,
    reason = "a bench that cannot be set up has failed, reads real clocks and prints"
)]

mod harness;

use std::hint::black_box;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use std::thread;
use std::time::{Duration, Instant};

use arc_swap::ArcSwap;
use futures_util::FutureExt;
use harness::{Contender, compare_on, quantile, verdict};
use http::HeaderValue;
use midil_auth::oauth2::{AccessToken, Credential};
use midil_auth::testing::{SourceFn, TestToken};
use midil_auth::{Auth, FetchError, Fetched, TokenHandle};
use tokio::runtime::Runtime;

const HOUR: Duration = Duration::from_secs(3600);

/// In which the slow calls are looked for.
const ROUNDS: usize = 15;

fn value(n: u64) -> String {
    format!("{n:0>1000}")
}

fn token(n: u64) -> Result<AccessToken, FetchError> {
    Ok(AccessToken::bearer(value(n))?.expires_in(HOUR))
}

async fn start() -> (Auth, TokenHandle) {
    let auth = Auth::start().await.expect("started");
    let source = SourceFn::new(async |n| Ok(Fetched::new(token(n)?)));
    let token = auth.token(Credential::new("bench", source)).await;
    (auth, token.expect("a token"))
}

/// What a read is compared with: a cache of the kind that people write by hand.
struct ByHand(tokio::sync::Mutex<(String, Instant)>);

impl ByHand {
    fn new() -> Self {
        Self(tokio::sync::Mutex::new((value(1), Instant::now())))
    }

    fn set(&self, n: u64) {
        *self.0.blocking_lock() = (value(n), Instant::now());
    }

    /// While it is locked: `None`.
    fn try_read(&self) -> Option<HeaderValue> {
        let cached = self.0.lock().now_or_never()?;
        Some(Self::header(&cached))
    }

    fn read(&self) -> HeaderValue {
        Self::header(&self.0.blocking_lock())
    }

    fn header((value, since): &(String, Instant)) -> HeaderValue {
        assert!(since.elapsed() < HOUR, "expired");
        HeaderValue::try_from(format!("Bearer {value}")).expect("a header")
    }
}

fn main() {
    let runtime = Runtime::new().expect("a runtime");
    let (auth, managed) = runtime.block_on(start());
    let messages = auth.messages_sent();
    compare("idle", &managed);
    println!("actor messages: {}", auth.messages_sent() - messages);

    let switch = Switch::new();
    let every_ms = || {
        switch.flip();
        thread::sleep(Duration::from_millis(1));
    };
    let handle = switch.token.handle();
    while_written(every_ms, || compare("replaced every ms", &handle));
    tails(&switch);
}

/// Two tokens that replace each other.
struct Switch {
    token: TestToken,
    next: [AccessToken; 2],
    turn: AtomicBool,
}

impl Switch {
    fn new() -> Self {
        let next = [1, 2].map(|n| token(n).expect("a token"));
        Self {
            token: TestToken::new(next[0].clone()).expect("a token"),
            next,
            turn: AtomicBool::new(true),
        }
    }

    fn flip(&self) {
        let turn = self.turn.fetch_not(Ordering::Relaxed);
        let next = self.next[usize::from(turn)].clone();
        self.token.set(next).expect("a good token");
    }
}

fn compare(title: &str, token: &TokenHandle) {
    let floor = ArcSwap::from_pointee(1_u64);
    let header = token.authorization().expect("a token");
    let by_hand = ByHand::new();
    let contenders = [
        Contender::new("ArcSwap::load", || **floor.load()),
        Contender::new("authorization()", || token.authorization()).at_most(2.5),
        Contender::new("current()", || token.current().expect("one")),
        Contender::new("HeaderValue::clone", || header.clone()),
        // What is moved as soon as it is written waits for the processor's store buffer.
        Contender::new("authorization(), moved", || {
            black_box(token.authorization().expect("one"))
        }),
        // Parked time would not count, so whoever finds it locked tries again.
        Contender::new("a tokio Mutex and format!", || {
            loop {
                if let Some(header) = by_hand.try_read() {
                    return header;
                }
            }
        }),
    ];
    for threads in [1, 2, 4] {
        compare_on(&format!("reading, {title}"), threads, &contenders);
    }
}

/// The slow calls while a writer replaces what is read in a tight loop; medians over some rounds.
fn tails(switch: &Switch) {
    let floor = ArcSwap::from_pointee(0_u64);
    let handle = switch.token.handle();
    let by_hand = ByHand::new();
    let rounds: Vec<[Tail; 3]> = (0..ROUNDS)
        .map(|_| {
            [
                while_written(|| floor.store(Arc::new(1)), || Tail::of(|| **floor.load())),
                while_written(|| switch.flip(), || Tail::of(|| handle.authorization())),
                while_written(|| by_hand.set(2), || Tail::of(|| by_hand.read())),
            ]
        })
        .collect();
    let median =
        |of: &dyn Fn(&[Tail; 3]) -> f64| quantile(&rounds.iter().map(of).collect::<Vec<_>>(), 0.5);
    println!("\none call, wall clock, replaced in a tight loop (ns)   p50      p99    p99.9");
    for (index, name) in [
        "ArcSwap::load",
        "authorization()",
        "a tokio Mutex and format!",
    ]
    .into_iter()
    .enumerate()
    {
        println!(
            "{name:<48} {:>8.0} {:>8.0} {:>8.0}",
            median(&|round| round[index].p50),
            median(&|round| round[index].p99),
            median(&|round| round[index].p999),
        );
    }
    let to_floor = median(&|[floor, ours, _]| ours.p999 / floor.p999);
    let to_mutex = median(&|[_, ours, mutex]| mutex.p999 / ours.p999);
    println!(
        "p99.9 of authorization() is {to_floor:.2} of the floor's (budget 2.5: {}), the mutex's {to_mutex:.0} times as much (budget 100: {})",
        verdict(to_floor <= 2.5),
        verdict(to_mutex >= 100.0),
    );
}

/// Has another thread write over and over while `run` runs.
fn while_written<R>(write: impl Fn() + Sync, run: impl FnOnce() -> R) -> R {
    let done = AtomicBool::new(false);
    thread::scope(|scope| {
        scope.spawn(|| {
            while !done.load(Ordering::Relaxed) {
                write();
            }
        });
        let figure = run();
        done.store(true, Ordering::Relaxed);
        figure
    })
}

/// How long single calls took, in nanoseconds.
struct Tail {
    p50: f64,
    p99: f64,
    p999: f64,
}

impl Tail {
    fn of<R>(run: impl Fn() -> R) -> Self {
        let took: Vec<f64> = (0..200_000)
            .map(|_| {
                let begun = Instant::now();
                let made = run();
                black_box(&made);
                begun.elapsed().as_nanos() as f64
            })
            .collect();
        Self {
            p50: quantile(&took, 0.5),
            p99: quantile(&took, 0.99),
            p999: quantile(&took, 0.999),
        }
    }
}
