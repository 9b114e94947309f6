//! What a thousand, ten thousand and a hundred thousand credentials cost each, on one actor.
//!
//! `cargo bench --bench scale`

#![expect(
    clippy::expect_used,
    clippy::print_stdout,
    reason = "a bench that cannot be set up has failed, and prints what it measured"
)]

#[path = "../tests/scale/measure.rs"]
mod measure;

use std::time::{Duration, Instant};

use measure::{Mint, refresh_all, register, runtime, start};

/// Clients of a real issuer; each of them costs a request and a signature.
const MAX_CLIENTS: usize = 10_000;

#[expect(clippy::disallowed_methods, reason = "real time is what is measured")]
fn timed(work: impl FnOnce()) -> Duration {
    let begun = Instant::now();
    work();
    begun.elapsed()
}

fn main() {
    println!(
        "{:>12} {:>12} {:>8} {:>8} {:>12} {:>12} {:>12} {:>12}",
        "credentials",
        "bytes, ours",
        "in all",
        "left",
        "register",
        "first token",
        "1st refresh",
        "5th refresh"
    );
    for n in [1_000, 10_000, 100_000] {
        let (runtime, mint) = (runtime(), Mint::default());
        let (auth, _clock) = runtime.block_on(start());
        let mut tokens = Vec::new();
        let registered = timed(|| tokens = runtime.block_on(register(&auth, &mint, n)));
        let first = timed(|| {
            runtime.block_on(async {
                for token in &tokens {
                    token.ready().await.expect("a token");
                }
            });
        });
        let mut rounds = Vec::new();
        for round in 1..=5 {
            rounds.push(timed(|| runtime.block_on(refresh_all())));
            assert_eq!(mint.issued(), (n as u64) * (round + 1));
            assert!(tokens.iter().all(|token| token.current().is_ok()));
        }
        let each = |time: Duration| format!("{:.2} µs", time.as_secs_f64() * 1e6 / n as f64);
        println!(
            "{n:>12} {:>12.0} {:>8.0} {:>8} {:>12} {:>12} {:>12} {:>12}",
            measure::bytes_per_credential(n),
            measure::bytes_per_client(n.min(MAX_CLIENTS)),
            measure::bytes_left_behind(n),
            each(registered),
            each(first),
            each(rounds[0]),
            each(rounds[4]),
        );
    }
    println!(
        "Bytes beyond those of the token: ours, and in all with the settings of a client of the\n\
         grant ({MAX_CLIENTS} at most). Left: once all are gone again. Times include the source and a token of 700 bytes."
    );
}
