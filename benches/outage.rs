//! How long `verify` takes for a known key while the key set's endpoint hangs past its time to be
//! refreshed, beside the same with an endpoint that answers. Two threads in a closed loop, the
//! two sides in turns, so that whatever else the machine does befalls both.
//!
//! `cargo bench --bench outage -- SECONDS` (10 unless said otherwise)

#![expect(
    clippy::expect_used,
    clippy::print_stdout,
    reason = "a bench that cannot be set up has failed, and its result is what it prints"
)]

use std::time::Duration;

use futures_util::FutureExt;
use midil_auth::jwks::{Algorithm, RotationPolicy};
use midil_auth::testing::{Endpoint, Fault, TestIssuer};
use midil_auth::{Auth, RefreshPolicy, Verifier};
use serde_json::json;
use tokio::time::Instant;

const THREADS: usize = 2;

/// Calls of one side before it is the other's turn.
const TURN: usize = 64;

/// How often the keys are to be refreshed; an endpoint that has hung for longer is past it.
const INTERVAL: Duration = Duration::from_millis(500);

struct Side {
    issuer: TestIssuer,
    verifier: Verifier,
    token: String,
}

impl Side {
    async fn start(auth: &Auth) -> Self {
        let issuer = TestIssuer::builder()
            .algorithm(Algorithm::RS256)
            .lifetime(Duration::from_secs(24 * 3600))
            .start()
            .await
            .expect("up");
        let rules = Verifier::builder(issuer.url())
            .audience("orders")
            .rotation(
                RotationPolicy::default()
                    .interval(INTERVAL)
                    .hint_bounds(INTERVAL, INTERVAL),
            )
            .refresh(RefreshPolicy::for_keys().min_interval(INTERVAL / 2));
        let verifier = auth.verifier(rules).await.expect("a verifier");
        let token = issuer.mint(json!({"aud": "orders", "sub": "ada", "scope": "a b c"}));
        Self {
            issuer,
            verifier,
            token,
        }
    }

    /// Times a turn's calls; how many of them had to wait for something.
    fn turn(&self, times: &mut Vec<u32>) -> usize {
        let mut waited = 0;
        for _ in 0..TURN {
            let began = Instant::now();
            match self.verifier.verify(&self.token).now_or_never() {
                Some(verdict) => drop(verdict.expect("accepted")),
                None => waited += 1,
            }
            times.push(u32::try_from(began.elapsed().as_nanos()).unwrap_or(u32::MAX));
        }
        waited
    }
}

#[derive(Default)]
struct Times {
    healthy: Vec<u32>,
    hanging: Vec<u32>,
    waited: usize,
}

fn percentiles(times: &mut [u32]) -> [f64; 3] {
    times.sort_unstable();
    [0.5, 0.99, 0.999].map(|share| {
        let index = (times.len() as f64 * share) as usize;
        f64::from(times[index.min(times.len() - 1)]) / 1_000.0
    })
}

fn main() {
    let arguments: Vec<String> = std::env::args().collect();
    let seconds = arguments.iter().find_map(|argument| argument.parse().ok());
    // Run as a test, it only shows that it runs.
    let measured = arguments.iter().any(|argument| argument == "--bench");
    let usual = if measured { 10.0 } else { 0.1 };
    let lasting = Duration::from_secs_f64(seconds.unwrap_or(usual));

    let runtime = tokio::runtime::Builder::new_multi_thread()
        .worker_threads(1)
        .enable_all()
        .build()
        .expect("a runtime");
    let (_auth, healthy, hanging) = runtime.block_on(async {
        let auth = Auth::start().await.expect("started");
        let healthy = Side::start(&auth).await;
        let hanging = Side::start(&auth).await;
        hanging.issuer.fail(Endpoint::Jwks, Fault::Hang);
        // Past the refresh point: from here on the keys are older than they should be.
        tokio::time::sleep(2 * INTERVAL).await;
        (auth, healthy, hanging)
    });
    let asked = |side: &Side| side.issuer.counts().jwks;
    let before = [asked(&healthy), asked(&hanging)];
    let end = Instant::now() + lasting;
    let threads: Vec<Times> = std::thread::scope(|scope| {
        let threads: Vec<_> = (0..THREADS)
            .map(|_| {
                scope.spawn(|| {
                    let mut times = Times::default();
                    while Instant::now() < end {
                        times.waited += healthy.turn(&mut times.healthy);
                        times.waited += hanging.turn(&mut times.hanging);
                    }
                    times
                })
            })
            .collect();
        let join = |thread: std::thread::ScopedJoinHandle<'_, Times>| thread.join();
        threads
            .into_iter()
            .map(|thread| join(thread).expect("no panic"))
            .collect()
    });
    let mut all = Times::default();
    for mut times in threads {
        all.healthy.append(&mut times.healthy);
        all.hanging.append(&mut times.hanging);
        all.waited += times.waited;
    }
    println!(
        "{} verifications a side on {THREADS} threads in {lasting:.1?}, RS256; {} had to wait",
        all.healthy.len(),
        all.waited
    );
    let usual = percentiles(&mut all.healthy);
    let outage = percentiles(&mut all.hanging);
    println!("{:<26} {:>9} {:>9} {:>9}", "µs", "p50", "p99", "p99.9");
    let line = |name: &str, values: [f64; 3], digits: usize| {
        let [p50, p99, p999] = values;
        println!("{name:<26} {p50:>9.digits$} {p99:>9.digits$} {p999:>9.digits$}");
    };
    line("the endpoint answers", usual, 1);
    line("it hangs past the refresh", outage, 1);
    line("ratio", std::array::from_fn(|n| outage[n] / usual[n]), 3);
    println!(
        "fetches meanwhile: {} answered, {} without an answer",
        asked(&healthy) - before[0],
        asked(&hanging) - before[1]
    );
}
