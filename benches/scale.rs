//! How cost grows: with credentials, issuers, keys, threads and subscribers.
//!
//! `cargo bench --bench scale`, or `-- keys threads` for some of them.

#![expect(
    clippy::expect_used,
    clippy::print_stdout,
    reason = "a bench that cannot be set up has failed, and prints what it measured"
)]

mod harness;
#[path = "../tests/scale/measure.rs"]
mod measure;
mod plot;
#[path = "scale/subscribers.rs"]
mod subscribers;

use std::sync::atomic::{AtomicUsize, Ordering};
use std::time::Duration;

use harness::{Contender, compare, cpu_time, quantile};
use measure::{Mint, acquire, register, runtime, start};
use midil_auth::jwks::{Algorithm, KeySet};
use midil_auth::jwt::Issuers;
use midil_auth::oauth2::{AccessToken, Credential};
use midil_auth::testing::{SigningKey, SourceFn, TestClock};
use midil_auth::{Auth, Fetched, Verifier};
use plot::{Line, Picture};
use plotters::prelude::IntoLogRange;
use serde_json::json;

/// Clients of a real issuer; each of them costs a request and a signature.
const MAX_CLIENTS: usize = 10_000;

/// Different tokens, whatever they are spread over.
const TOKENS: usize = 1_000;

const ISSUER: &str = "https://idp.example.com";
const NOW: u64 = 1_900_000_000;

/// CPU time of this thread.
fn timed(work: impl FnOnce()) -> Duration {
    let begun = cpu_time();
    work();
    Duration::from_nanos(cpu_time() - begun)
}

fn picture<'a>(name: &'a str, title: &'a str, x: &'a str, y: &'a str) -> Picture<'a> {
    Picture {
        name,
        title,
        x,
        y,
        dots: true,
    }
}

/// What a thousand, ten thousand and a hundred thousand credentials cost each, on one actor.
fn credentials() {
    println!(
        "{:>12} {:>12} {:>8} {:>8} {:>12} {:>12}",
        "credentials", "bytes, ours", "in all", "left", "register", "first token"
    );
    let sizes = [1, 10, 100, 1_000, 10_000, 100_000];
    let mut bytes = Vec::new();
    for n in sizes {
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
        let each = |time: Duration| format!("{:.2} µs", time.as_secs_f64() * 1e6 / n as f64);
        let ours = measure::bytes_per_credential(n);
        println!(
            "{n:>12} {ours:>12.0} {:>8.0} {:>8} {:>12} {:>12}",
            measure::bytes_per_client(n.min(MAX_CLIENTS)),
            measure::bytes_left_behind(n),
            each(registered),
            each(first),
        );
        bytes.push((n as f64, ours));
    }
    println!(
        "Bytes beyond those of the token: ours, and in all with the settings of a client of the\n\
         grant ({MAX_CLIENTS} at most). Left: once all are gone again. Times include the source and a token of 700 bytes."
    );
    picture(
        "credentials-memory",
        "Bookkeeping of a credential, beyond the token itself",
        "credentials on one actor",
        "bytes for each",
    )
    .draw(
        (0.7..150_000.0).log_scale(),
        0.0..1_400.0,
        &[Line::new("bytes for each", bytes)],
    );
    refreshes(&sizes);
}

/// Mints tokens that are refreshed before the timer has to wake up just to look at the clocks.
fn briefly() -> Mint {
    Mint::of(Duration::from_secs(32))
}

/// What one refresh costs among so many credentials.
fn refreshes(sizes: &[usize]) {
    const ROUNDS: usize = 9;
    let fleets: Vec<_> = sizes
        .iter()
        .map(|&n| {
            let (runtime, mint) = (runtime(), briefly());
            let (auth, _clock) = runtime.block_on(start());
            let tokens = runtime.block_on(acquire(&auth, &mint, n));
            (runtime, mint, auth, tokens)
        })
        .collect();
    let mut samples = vec![Vec::new(); sizes.len()];
    let mut order: Vec<usize> = (0..sizes.len()).collect();
    for _ in 0..ROUNDS {
        fastrand::shuffle(&mut order);
        for &index in &order {
            let (runtime, mint, _, tokens) = &fleets[index];
            let before = mint.issued();
            let time = timed(|| {
                for _ in 0..(1_000 / sizes[index]).max(1) {
                    runtime.block_on(mint.refresh_all());
                }
            });
            let refreshed = mint.issued() - before;
            assert!(refreshed >= sizes[index] as u64);
            assert!(tokens.iter().all(|token| token.current().is_ok()));
            samples[index].push(time.as_secs_f64() * 1e6 / refreshed as f64);
        }
    }
    println!("\n{:>12} {:>12}", "credentials", "a refresh");
    let point = |(&n, samples): (&usize, &Vec<f64>)| {
        let micros = quantile(samples, 0.5);
        println!("{n:>12} {micros:>9.2} µs");
        (n as f64, micros)
    };
    let line = Line::new("a refresh", sizes.iter().zip(&samples).map(point).collect());
    picture(
        "credentials-refresh",
        "CPU of one refresh, the source and the new token included",
        "credentials on one actor, all due at the same time",
        "µs",
    )
    .draw(
        (0.7..150_000.0).log_scale(),
        (1.0..100.0).log_scale(),
        &[line],
    );
}

fn claims(issuer: &str, n: usize) -> serde_json::Value {
    json!({
        "iss": issuer, "aud": "orders", "sub": format!("aaaaaaaa-bbbb-cccc-dddd-{n:012}"),
        "scope": "orders/read orders/write", "iat": NOW, "exp": NOW + 3600, "username": "ada",
    })
}

fn verifier(issuer: &str, keys: &str, cache: usize) -> Verifier {
    let rules = Verifier::builder(issuer).audience("orders").cache(cache);
    let keys = KeySet::from_json(keys.as_bytes()).expect("a set");
    let clock = TestClock::fixed(NOW).clock();
    rules.fixed_with_clock(keys, clock).expect("a verifier")
}

/// Runs `check` on one token after another.
fn in_turn<'a, R>(
    tokens: &'a [String],
    check: impl Fn(&str) -> R + Sync + 'a,
) -> impl Fn() -> R + Sync + 'a {
    let turn = AtomicUsize::new(0);
    move || {
        let now = turn.load(Ordering::Relaxed);
        turn.store(now + 1, Ordering::Relaxed);
        check(&tokens[now % tokens.len()])
    }
}

/// Measures several things at several sizes, all of them in the same rounds, and draws a line for
/// each thing.
fn grow(picture: &Picture<'_>, sizes: &[usize], names: &[&str], contenders: &[Contender<'_>]) {
    let figures = compare(picture.title, contenders);
    let line = |(index, name): (usize, &&str)| {
        let mine = figures.iter().skip(index).step_by(names.len());
        let points = sizes.iter().zip(mine).map(|(&n, it)| (n as f64, it.nanos));
        Line::new(*name, points.collect())
    };
    let lines: Vec<_> = names.iter().enumerate().map(line).collect();
    let most = sizes[sizes.len() - 1] as f64;
    let nanos = || figures.iter().map(|it| it.nanos);
    let least = nanos().fold(f64::MAX, f64::min);
    let longest = nanos().fold(0.0, f64::max);
    picture.draw(
        (0.8..most * 1.1).log_scale(),
        (least / 2.0..longest * 2.0).log_scale(),
        &lines,
    );
}

fn named<'a, R>(name: &str, n: usize, run: impl Fn() -> R + Sync + 'a) -> Contender<'a> {
    Contender::new(format!("{name}, {n}"), run)
}

fn issuers() {
    const NAMES: [&str; 3] = ["try_verify", "remembered", "unknown issuer"];
    let sizes = [1, 10, 100, 1_000];
    let key = SigningKey::generate(Algorithm::RS256, "key");
    let keys = json!({"keys": [key.jwk()]}).to_string();
    let name = |n: usize| format!("https://issuer-{n}.example.com");
    let stranger = [key.token(&claims("https://stranger.example.com", 0))];
    let setup = sizes.map(|n| {
        let (plain, cached) = (Issuers::new(), Issuers::new());
        for issuer in (0..n).map(name) {
            plain.insert(verifier(&issuer, &keys, 0));
            cached.insert(verifier(&issuer, &keys, (8 * TOKENS / n).max(64)));
        }
        let tokens: Vec<_> = (0..TOKENS)
            .map(|number| key.token(&claims(&name(number % n), number)))
            .collect();
        for token in &tokens {
            cached.try_verify(token).expect("accepted");
        }
        (n, plain, cached, tokens)
    });
    let mut contenders = Vec::new();
    for (n, plain, cached, tokens) in &setup {
        let accept = |issuers: &Issuers, token: &str| issuers.try_verify(token).expect("accepted");
        let [check, again, refuse] = NAMES;
        let run = in_turn(tokens, move |token| accept(plain, token));
        contenders.push(named(check, *n, run));
        let run = in_turn(tokens, move |token| accept(cached, token));
        contenders.push(named(again, *n, run));
        let run = in_turn(&stranger, |token| {
            plain.try_verify(token).expect_err("refused")
        });
        contenders.push(named(refuse, *n, run));
    }
    let picture = picture(
        "issuers",
        "CPU of Issuers::try_verify, RS256",
        "issuers",
        "ns",
    );
    grow(&picture, &sizes, &NAMES, &contenders);
}

fn keys() {
    const NAMES: [&str; 4] = [
        "try_verify",
        "remembered",
        "unknown kid",
        "read the whole set",
    ];
    let sizes = [1, 3, 10, 30, 100, 300, 1_000];
    let pairs: Vec<_> = (0..sizes[sizes.len() - 1])
        .map(|n| SigningKey::generate(Algorithm::ES256, format!("key-{n}")))
        .collect();
    let stranger = [SigningKey::generate(Algorithm::ES256, "stranger").token(&claims(ISSUER, 0))];
    let setup = sizes.map(|n| {
        let jwks: Vec<_> = pairs[..n].iter().map(SigningKey::jwk).collect();
        let keys = json!({"keys": jwks}).to_string();
        let (plain, cached) = (
            verifier(ISSUER, &keys, 0),
            verifier(ISSUER, &keys, 8 * TOKENS),
        );
        let tokens: Vec<_> = (0..TOKENS)
            .map(|number| pairs[number % n].token(&claims(ISSUER, number)))
            .collect();
        for token in &tokens {
            cached.try_verify(token).expect("accepted");
        }
        (n, plain, cached, tokens, keys)
    });
    let mut contenders = Vec::new();
    for (n, plain, cached, tokens, keys) in &setup {
        let accept = |it: &Verifier, token: &str| it.try_verify(token).expect("accepted");
        let [check, again, refuse, read] = NAMES;
        let run = in_turn(tokens, move |token| accept(plain, token));
        contenders.push(named(check, *n, run));
        let run = in_turn(tokens, move |token| accept(cached, token));
        contenders.push(named(again, *n, run));
        let run = in_turn(&stranger, |token| {
            plain.try_verify(token).expect_err("refused")
        });
        contenders.push(named(refuse, *n, run));
        let run = || KeySet::from_json(keys.as_bytes()).expect("a set");
        contenders.push(named(read, *n, run));
    }
    let picture = picture(
        "keys",
        "CPU with the keys of one issuer, ES256",
        "keys",
        "ns",
    );
    grow(&picture, &sizes, &NAMES, &contenders);
}

fn threads() {
    const NAMES: [&str; 3] = ["authorization", "try_verify", "remembered"];
    let sizes = [1, 2, 4, 8];
    let runtime = runtime();
    let token = runtime.block_on(async {
        let auth = Auth::start().await.expect("started");
        let source = SourceFn::new(async |_| {
            let token = AccessToken::bearer("x".repeat(1_000))?;
            Ok(Fetched::new(token.expires_in(Duration::from_secs(3600))))
        });
        let token = auth.token(Credential::new("bench", source)).await;
        token.expect("a token")
    });
    let key = SigningKey::generate(Algorithm::RS256, "key");
    let keys = json!({"keys": [key.jwk()]}).to_string();
    let (plain, cached) = (
        verifier(ISSUER, &keys, 0),
        verifier(ISSUER, &keys, 8 * TOKENS),
    );
    // So few that all of them stay in the processor's cache.
    let tokens: Vec<_> = (0..TOKENS / 10)
        .map(|n| key.token(&claims(ISSUER, n)))
        .collect();
    for token in &tokens {
        cached.try_verify(token).expect("accepted");
    }
    // Each thread draws its own, since a turn that all of them take would be what is measured.
    let any = || &*tokens[fastrand::usize(..tokens.len())];
    let mut contenders = Vec::new();
    for n in sizes {
        let [read, check, again] = NAMES;
        let run = || token.authorization().expect("a token");
        contenders.push(named(read, n, run).on(n));
        let run = || plain.try_verify(any()).expect("accepted");
        contenders.push(named(check, n, run).on(n));
        let run = || cached.try_verify(any()).expect("accepted");
        contenders.push(named(again, n, run).on(n));
    }
    let picture = picture(
        "threads",
        "CPU of one call where all threads share one handle, RS256",
        "threads",
        "ns",
    );
    grow(&picture, &sizes, &NAMES, &contenders);
}

fn main() {
    let parts: [(&str, fn()); 5] = [
        ("credentials", credentials),
        ("issuers", issuers),
        ("keys", keys),
        ("threads", threads),
        ("subscribers", subscribers::measure),
    ];
    let wanted: Vec<String> = std::env::args().skip(1).collect();
    let all = !parts
        .iter()
        .any(|(name, _)| wanted.iter().any(|it| it == name));
    for (name, part) in parts {
        if all || wanted.iter().any(|it| it == name) {
            part();
        }
    }
}
