//! The `resource_server` under the load generator wrk, while its issuer rotates its keys every
//! second and goes down every few; beside the same service without authentication.
//!
//! `cargo run --release --example load_test -- SECONDS` (40 unless said otherwise)
//!
//! Half of the load is good tokens, signed with keys that the service knows; the rest is forged
//! and expired. Ends with a failure if one of either was misjudged, or answered with a 5xx.

#![expect(clippy::print_stdout, reason = "an example talks to whoever runs it")]

#[path = "../resource_server.rs"]
#[expect(dead_code, reason = "its `main` has no part in this")]
mod resource_server;

use std::path::{Path, PathBuf};
use std::process::{ExitCode, Stdio};
use std::sync::Arc;
use std::time::Duration;

use axum::routing::get;
use axum::{Json, Router};
use midil_auth::jwks::RotationPolicy;
use midil_auth::testing::{Endpoint, Fault, TestIssuer};
use midil_auth::{Auth, RefreshPolicy, Verifier};
use serde::Deserialize;
use serde_json::json;
use tokio::net::TcpListener;
use tokio::process::Command;
use tokio::time::{Instant, sleep, timeout};

type Failure = Box<dyn std::error::Error + Send + Sync>;

const SCRIPT: &str = concat!(env!("CARGO_MANIFEST_DIR"), "/examples/load_test/load.lua");

/// Keys that are no more signed with stay listed this long: longer than wrk holds on to a token.
const RETIRE: Duration = Duration::from_secs(3);

fn ms(millis: u64) -> Duration {
    Duration::from_millis(millis)
}

/// The tokens that wrk sends, in a folder of our own.
struct Tokens {
    folder: PathBuf,
}

impl Tokens {
    fn new() -> std::io::Result<Self> {
        let folder = std::env::temp_dir().join(format!("midil-load-{}", std::process::id()));
        std::fs::create_dir_all(&folder)?;
        Ok(Self { folder })
    }

    fn good(&self) -> PathBuf {
        self.folder.join("good")
    }

    fn bad(&self) -> PathBuf {
        self.folder.join("bad")
    }

    /// Signs anew with the key that the issuer signs with now.
    fn mint(&self, issuer: &TestIssuer) -> std::io::Result<()> {
        let claims = |n: usize| json!({"sub": format!("user-{n}"), "aud": "orders"});
        let good = (0..64).map(|n| issuer.mint(claims(n)));
        replace(&self.good(), good)?;
        let bad = (0..32).flat_map(|n| {
            [
                issuer.mint_forged(claims(n)),
                issuer.mint_expired(claims(n)),
                issuer.mint(json!({"sub": "ada", "aud": "billing"})),
            ]
        });
        replace(&self.bad(), bad)
    }
}

impl Drop for Tokens {
    fn drop(&mut self) {
        let _ = std::fs::remove_dir_all(&self.folder);
    }
}

/// wrk reads while this writes, so the file is there whole or not at all.
fn replace(path: &Path, lines: impl Iterator<Item = String>) -> std::io::Result<()> {
    let new = path.with_extension("new");
    std::fs::write(&new, lines.collect::<Vec<_>>().join("\n"))?;
    std::fs::rename(&new, path)
}

/// What wrk reports.
#[derive(Deserialize)]
struct Report {
    right: u64,
    wrong: u64,
    server_errors: u64,
    unanswered: u64,
    micros: u64,
    p50: u64,
    p99: u64,
}

impl Report {
    fn is_clean(&self) -> bool {
        self.right > 0 && self.wrong + self.server_errors + self.unanswered == 0
    }
}

async fn wrk(
    base: &str,
    seconds: u64,
    connections: u32,
    tokens: &Path,
    expected: u16,
) -> Result<Report, Failure> {
    let output = Command::new("wrk")
        .args(["--threads", "1", "--script", SCRIPT])
        .args(["--connections", &connections.to_string()])
        .args(["--duration", &format!("{seconds}s")])
        .arg(format!("{base}/whoami"))
        .arg("--")
        .arg(tokens)
        .arg(expected.to_string())
        .stdin(Stdio::null())
        .kill_on_drop(true)
        .output();
    let output = timeout(Duration::from_secs(seconds + 10), output)
        .await?
        .map_err(|error| format!("wrk cannot be started ({error}): install the package `wrk`"))?;
    let text = String::from_utf8_lossy(&output.stdout);
    let report = text.lines().rev().find(|line| line.starts_with('{'));
    let report = report.ok_or_else(|| format!("wrk said: {text}"))?;
    Ok(serde_json::from_str(report)?)
}

/// Loads a service with good tokens and bad ones, and says how it went with either.
async fn load(
    name: &str,
    base: &str,
    tokens: &Tokens,
    refusal: u16,
    seconds: u64,
) -> Result<bool, Failure> {
    let (good, bad) = (tokens.good(), tokens.bad());
    let (good, bad) = tokio::join!(
        wrk(base, seconds, 4, &good, 200),
        wrk(base, seconds, 4, &bad, refusal),
    );
    let (good, bad) = (good?, bad?);
    for (kind, report) in [("good", &good), ("bad", &bad)] {
        println!(
            "{name:<26} {kind:<5} {:>8} {:>9.0} {:>6} {:>6} {:>6} {:>11} {:>11}",
            report.right,
            report.right as f64 * 1e6 / report.micros as f64,
            report.p50,
            report.p99,
            report.wrong,
            report.server_errors,
            report.unanswered,
        );
    }
    Ok(good.is_clean() && bad.is_clean())
}

async fn serve(app: Router) -> std::io::Result<String> {
    let listener = TcpListener::bind(("127.0.0.1", 0)).await?;
    let base = format!("http://{}", listener.local_addr()?);
    tokio::spawn(axum::serve(listener, app).into_future());
    Ok(base)
}

/// Lists a new key every second, signs with it once the service has it, and retires the old ones.
async fn rotate(issuer: &TestIssuer, verifier: &Verifier, tokens: &Tokens) -> std::io::Result<()> {
    let mut switched = Instant::now();
    let mut listed = 1;
    loop {
        let second = Instant::now() + Duration::from_secs(1);
        if listed > 8 && switched.elapsed() > RETIRE {
            issuer.drop_old_keys();
            listed = 1;
        }
        // Now and then the newest key is left alone, or the older ones could never be retired.
        if listed <= 8 {
            let kid = issuer.publish_key();
            listed += 1;
            while !verifier
                .keys()
                .is_some_and(|set| set.kids().any(|known| known == kid))
            {
                sleep(ms(20)).await;
            }
            issuer.switch_key();
            tokens.mint(issuer)?;
            switched = Instant::now();
        }
        tokio::time::sleep_until(second).await;
    }
}

/// Takes the issuer down for two seconds of every four, each time in another way.
async fn flap(issuer: &TestIssuer) {
    let faults = [
        Fault::Status(503),
        Fault::Hang,
        Fault::Reset,
        Fault::Throttle(1),
        Fault::Html,
        Fault::Truncate,
    ];
    for fault in faults.iter().cycle() {
        sleep(Duration::from_secs(2)).await;
        issuer.fail(Endpoint::Jwks, fault.clone());
        issuer.fail(Endpoint::Discovery, fault.clone());
        sleep(Duration::from_secs(2)).await;
        issuer.recover();
    }
}

async fn run(seconds: u64) -> Result<bool, Failure> {
    let issuer = TestIssuer::start().await?;
    let auth = Auth::start().await?;
    let rules = Verifier::builder(issuer.url())
        .audience("orders")
        .rotation(RotationPolicy::default().interval(ms(250)))
        .refresh(
            RefreshPolicy::for_keys()
                .fetch_timeout(ms(1_000))
                .retry(ms(100), ms(500))
                .probe(ms(100), ms(500))
                .max_retry_after(ms(1_000))
                .demand_floor(ms(250))
                .min_interval(ms(100)),
        );
    let verifier = auth.verifier(rules).await?;
    let tokens = Tokens::new()?;
    tokens.mint(&issuer)?;

    let whoami = async || Json(json!({"subject": "user-0", "groups": []}));
    let open = serve(Router::new().route("/whoami", get(whoami))).await?;
    let guarded = resource_server::app(auth.clone(), Arc::new(verifier.clone()));
    let guarded = serve(guarded).await?;

    println!(
        "{:<26} {:<5} {:>8} {:>9} {:>6} {:>6} {:>6} {:>11} {:>11}",
        "service", "token", "right", "a second", "p50 µs", "p99 µs", "wrong", "5xx", "unanswered"
    );
    let part = (seconds / 4).max(1);
    let mut clean = load("without authentication", &open, &tokens, 200, part).await?;
    clean &= load("issuer at rest", &guarded, &tokens, 401, part).await?;
    let stormy = load("rotating and flapping", &guarded, &tokens, 401, 2 * part);
    tokio::select! {
        ended = stormy => clean &= ended?,
        failed = rotate(&issuer, &verifier, &tokens) => failed?,
        () = flap(&issuer) => {}
    }
    let keys = issuer.counts();
    println!("key sets asked for: {}", keys.jwks);
    auth.shutdown().await;
    Ok(clean)
}

#[tokio::main]
async fn main() -> Result<ExitCode, Failure> {
    let seconds = match std::env::args().nth(1) {
        Some(seconds) => seconds.parse()?,
        None => 40,
    };
    if run(seconds).await? {
        return Ok(ExitCode::SUCCESS);
    }
    println!("an answer was not the right one");
    Ok(ExitCode::FAILURE)
}
