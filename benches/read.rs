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
use std::time::{Duration, Instant};

use arc_swap::ArcSwap;
use futures_util::FutureExt;
use harness::{Contender, compare_on};
use http::HeaderValue;
use midil_auth::oauth2::{AccessToken, Credential};
use midil_auth::testing::SourceFn;
use midil_auth::{Auth, Fetched, RefreshPolicy, TokenHandle};
use tokio::runtime::Runtime;

/// As often as the manager replaces a token at most.
const SWAP: Duration = Duration::from_millis(10);

fn value(n: u64) -> String {
    format!("{n:0>1000}")
}

async fn start() -> (Auth, TokenHandle) {
    let auth = Auth::start().await.expect("started");
    let source = SourceFn::new(async |n| {
        let token = AccessToken::bearer(value(n))?;
        Ok(Fetched::new(token.expires_in(Duration::from_secs(3600))))
    });
    let credential = Credential::new("bench", source).refresh(
        RefreshPolicy::for_tokens()
            .demand_floor(SWAP)
            .min_interval(SWAP),
    );
    let token = auth.token(credential).await.expect("a token");
    (auth, token)
}

/// Has the token replaced, over and over, while `run` runs.
fn while_swapped(runtime: &Runtime, token: &TokenHandle, run: impl FnOnce()) {
    let token = token.clone();
    let writer = runtime.spawn(async move {
        loop {
            let current = token.current().expect("a token");
            let _ = token.renew(&current).await;
            tokio::time::sleep(SWAP).await;
        }
    });
    run();
    writer.abort();
}

fn main() {
    let runtime = Runtime::new().expect("a runtime");
    let (auth, token) = runtime.block_on(start());
    let floor = ArcSwap::from_pointee(1_u64);
    let header = token.authorization().expect("a token");
    let by_hand = tokio::sync::Mutex::new((value(1), Instant::now()));
    let read_by_hand = || {
        // Parked time would not count, so whoever finds it locked tries again.
        loop {
            if let Some(cached) = by_hand.lock().now_or_never()
                && cached.1.elapsed() < Duration::from_secs(3600)
            {
                let value = format!("Bearer {}", cached.0);
                return HeaderValue::try_from(value).expect("a header");
            }
        }
    };
    let contenders = [
        Contender::new("ArcSwap::load", || **floor.load()),
        Contender::new("authorization()", || token.authorization()).at_most(2.5),
        Contender::new("current()", || token.current().expect("one")),
        Contender::new("HeaderValue::clone", || header.clone()),
        // What is moved as soon as it is written waits for the processor's store buffer.
        Contender::new("authorization(), moved", || {
            black_box(token.authorization().expect("one"))
        }),
        Contender::new("a tokio Mutex and format!", read_by_hand),
    ];
    let messages = auth.messages_sent();
    for threads in [1, 2, 4] {
        compare_on("reading, idle", threads, &contenders);
    }
    println!("actor messages: {}", auth.messages_sent() - messages);
    while_swapped(&runtime, &token, || {
        for threads in [1, 2, 4] {
            compare_on("reading, replaced every 10 ms", threads, &contenders);
        }
    });
    tails(&runtime, &token);
}

/// The slow calls while a writer is at work: at the floor and the mutex in a tight loop.
fn tails(runtime: &Runtime, token: &TokenHandle) {
    println!("\none call, wall clock, while it is replaced (ns)   p50      p99    p99.9");
    let floor = ArcSwap::from_pointee(0_u64);
    let least = while_written(
        || floor.store(Arc::new(1)),
        || tail("ArcSwap::load, in a tight loop", || **floor.load()),
    );
    let mut ours = 0.0;
    while_swapped(runtime, token, || {
        ours = tail("authorization(), every 10 ms", || {
            token.authorization().expect("one")
        });
    });
    let by_hand = tokio::sync::Mutex::new(value(1));
    let mutex = while_written(
        || *by_hand.blocking_lock() = value(2),
        || {
            tail("a tokio Mutex and format!, in a tight loop", || {
                let value = format!("Bearer {}", by_hand.blocking_lock());
                HeaderValue::try_from(value).expect("a header")
            })
        },
    );
    let verdict = |kept| if kept { "kept" } else { "MISSED" };
    println!(
        "p99.9 of authorization() is {:.2} of the floor's (budget 2.5: {}), the mutex's {:.0} times as much (budget 100: {})",
        ours / least,
        verdict(ours <= 2.5 * least),
        mutex / ours,
        verdict(mutex >= 100.0 * ours),
    );
}

/// Has another thread write in a tight loop while `run` runs.
fn while_written(write: impl Fn() + Sync, run: impl FnOnce() -> f64) -> f64 {
    let done = AtomicBool::new(false);
    std::thread::scope(|scope| {
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

/// Prints how long single calls took; the 99.9th percentile.
fn tail<R>(name: &str, run: impl Fn() -> R) -> f64 {
    let mut took: Vec<u128> = (0..1_000_000)
        .map(|_| {
            let begun = Instant::now();
            black_box(run());
            begun.elapsed().as_nanos()
        })
        .collect();
    took.sort_unstable();
    let at = |share: usize| took[took.len() * share / 1000];
    println!("{name:<46} {:>6} {:>8} {:>8}", at(500), at(990), at(999));
    at(999) as f64
}
