//! A service's token and keys under fire for a while, in real time and over real sockets: the
//! issuer resets connections, hangs, answers in part or with rubbish, throttles and goes down.
//!
//! `cargo run --example chaos -- SECONDS` (60 unless said otherwise; the last third is peace)
//!
//! Ends with a failure if a read failed while a token was good, if a good token was refused, or if
//! not all is well in the end.

#![expect(
    clippy::print_stdout,
    clippy::disallowed_methods,
    reason = "an example talks to whoever runs it, and holds the library to its own clock"
)]

use std::collections::BTreeMap;
use std::process::ExitCode;
use std::sync::atomic::{AtomicU64, Ordering};
use std::sync::{Arc, RwLock};
use std::time::{Duration, SystemTime};

use midil_auth::event::EventsError;
use midil_auth::jwks::RotationPolicy;
use midil_auth::jwt::{Verifier, VerifyError};
use midil_auth::oauth2::{ClientCredentials, LifetimePolicy};
use midil_auth::testing::{Endpoint, Fault, TestIssuer};
use midil_auth::{Auth, RefreshPolicy, TokenHandle};
use tokio::time::Instant;

type Failure = Box<dyn std::error::Error + Send + Sync>;

const LIFETIME: Duration = Duration::from_secs(8);

fn ms(millis: u64) -> Duration {
    Duration::from_millis(millis)
}

fn pace(policy: RefreshPolicy) -> RefreshPolicy {
    policy
        .fetch_timeout(ms(700))
        .retry(ms(100), ms(1_000))
        .probe(ms(200), ms(1_000))
        .max_retry_after(ms(1_000))
        .demand_floor(ms(200))
        .min_interval(ms(200))
}

/// What readers saw.
#[derive(Default)]
struct Seen {
    reads: AtomicU64,
    without_a_token: AtomicU64,
    verified: AtomicU64,
    undecided: AtomicU64,
    wrong: RwLock<Vec<String>>,
}

impl Seen {
    fn is_wrong(&self, what: String) {
        if let Ok(mut wrong) = self.wrong.write() {
            wrong.push(what);
        }
    }
}

/// Reads without a pause, and sends what it reads to ourselves.
async fn reader(token: TokenHandle, verifier: Verifier, seen: Arc<Seen>, until: Instant) {
    let mut good_until: Option<SystemTime> = None;
    while Instant::now() < until {
        seen.reads.fetch_add(1, Ordering::Relaxed);
        let asked = SystemTime::now();
        match token.current() {
            Ok(current) => {
                good_until = Some(current.expires_at());
                match verifier.verify(current.expose()).await {
                    Ok(_) => seen.verified.fetch_add(1, Ordering::Relaxed),
                    Err(VerifyError::KeysUnavailable { .. }) => {
                        seen.undecided.fetch_add(1, Ordering::Relaxed)
                    }
                    // It may have expired since it was read.
                    Err(VerifyError::Expired) if current.expires_at() <= SystemTime::now() => 0,
                    Err(error) => {
                        seen.is_wrong(format!("a good token was refused: {error}"));
                        0
                    }
                };
            }
            Err(error) => {
                seen.without_a_token.fetch_add(1, Ordering::Relaxed);
                // A second for the whole seconds in which a JWT tells its time.
                if good_until.is_some_and(|end| asked + Duration::from_secs(1) < end) {
                    seen.is_wrong(format!("no token though the last one is good: {error}"));
                }
            }
        }
        tokio::time::sleep(ms(1)).await;
    }
}

fn fault(roll: u8) -> Option<(&'static str, Fault)> {
    Some(match roll {
        0 => ("resets connections", Fault::Reset),
        1 => ("hangs", Fault::Hang),
        2 => ("breaks off in the middle", Fault::Truncate),
        3 => ("is down", Fault::Status(503)),
        4 => ("answers with a page", Fault::Html),
        5 => ("sends ten megabytes", Fault::Huge(10 * 1024 * 1024)),
        6 => ("throttles", Fault::Throttle(1)),
        7 => ("takes its time", Fault::Delay(ms(400))),
        _ => return None,
    })
}

async fn run(seconds: u64) -> Result<bool, Failure> {
    let issuer = TestIssuer::builder().lifetime(LIFETIME).start().await?;
    let auth = Auth::start().await?;
    let token = auth
        .token(
            ClientCredentials::new(issuer.token_url(), "orders", "s3cr3t")
                .parameter("audience", "orders")
                .lifetime(LifetimePolicy::default().margin(Duration::ZERO))
                .refresh(pace(RefreshPolicy::for_tokens())),
        )
        .await?;
    let rotation = RotationPolicy::default()
        .interval(ms(500))
        .hint_bounds(ms(500), ms(1_000));
    let verifier = auth
        .verifier(
            Verifier::builder(issuer.url())
                .audience("orders")
                .rotation(rotation)
                .refresh(pace(RefreshPolicy::for_keys())),
        )
        .await?;

    let mut events = auth.events();
    let told = tokio::spawn(async move {
        let mut told: BTreeMap<&str, u64> = BTreeMap::new();
        loop {
            match events.recv().await {
                Ok(event) => *told.entry(event.change.as_str()).or_default() += 1,
                Err(EventsError::Lagged(missed)) => *told.entry("(missed)").or_default() += missed,
                Err(_) => return told,
            }
        }
    });
    let seen = Arc::new(Seen::default());
    let began = Instant::now();
    let until = began + Duration::from_secs(seconds);
    let readers: Vec<_> = (0..4)
        .map(|_| {
            tokio::spawn(reader(
                token.clone(),
                verifier.clone(),
                Arc::clone(&seen),
                until,
            ))
        })
        .collect();
    let peace = began + Duration::from_secs(seconds) * 2 / 3;
    while Instant::now() < peace {
        let endpoint = [Endpoint::Token, Endpoint::Jwks, Endpoint::Discovery][fastrand::usize(..3)];
        let what = match fault(fastrand::u8(..12)) {
            Some((what, fault)) => {
                issuer.fail(endpoint, fault);
                what
            }
            None => {
                issuer.recover();
                // A key is listed for a while before it signs, as issuers do.
                issuer.switch_key();
                issuer.publish_key();
                "recovers, with another key"
            }
        };
        println!("{:>6.1?}  {endpoint:?} {what}", began.elapsed());
        tokio::time::sleep(ms(fastrand::u64(300..2_500)).min(peace - Instant::now())).await;
    }
    issuer.recover();
    println!("{:>6.1?}  all is well again", began.elapsed());
    for reader in readers {
        reader.await?;
    }
    let well = token.current().is_ok() && verifier.verify(token.current()?.expose()).await.is_ok();
    let health = auth.health();
    auth.shutdown().await;

    let count = |count: &AtomicU64| count.load(Ordering::Relaxed);
    println!("\nevents: {:?}", told.await?);
    println!("requests: {:?}", issuer.counts());
    println!(
        "{} reads, {} without a token; {} tokens verified, {} undecided",
        count(&seen.reads),
        count(&seen.without_a_token),
        count(&seen.verified),
        count(&seen.undecided),
    );
    let wrong = seen.wrong.read().map_err(|_| "a reader panicked")?;
    for what in wrong.iter().take(5) {
        println!("WRONG: {what}");
    }
    println!(
        "{} wrong answers; in the end: {}",
        wrong.len(),
        if well { "well" } else { "ill" }
    );
    Ok(wrong.is_empty() && well && health.live)
}

#[tokio::main]
async fn main() -> Result<ExitCode, Failure> {
    let seconds = std::env::args().nth(1).map(|text| text.parse());
    let seconds = seconds.transpose().map_err(|_| "usage: chaos [SECONDS]")?;
    Ok(if run(seconds.unwrap_or(60)).await? {
        ExitCode::SUCCESS
    } else {
        ExitCode::FAILURE
    })
}
