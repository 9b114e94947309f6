//! The refresh machine under virtual time: scripted sources, hours in milliseconds.

#![expect(
    clippy::expect_used,
    reason = "a test that cannot be set up has failed"
)]

#[path = "machine/clocks.rs"]
mod clocks;
#[path = "machine/ending.rs"]
mod ending;
#[path = "machine/events.rs"]
mod events;
#[path = "machine/failing.rs"]
mod failing;
#[path = "machine/herds.rs"]
mod herds;
#[path = "machine/issuer.rs"]
mod issuer;
#[path = "machine/many.rs"]
mod many;
#[path = "machine/panics.rs"]
mod panics;
#[path = "machine/schedule.rs"]
mod schedule;
#[path = "machine/status.rs"]
mod status;

use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};
use std::time::Duration;

use midil_auth::event::{Actor, Change, EventsError};
use midil_auth::oauth2::{AccessToken, Credential, TokenError};
use midil_auth::testing::{SourceFn, TestClock};
use midil_auth::{Auth, Events, FetchError, Fetched, RefreshPolicy, Start, TokenHandle};

use issuer::{Issuer, Mood};

const LIFETIME: Duration = Duration::from_secs(3600);
const SECOND: Duration = Duration::from_secs(1);
const MINUTE: Duration = Duration::from_secs(60);
const HOUR: Duration = Duration::from_secs(3600);

const fn ms(millis: u64) -> Duration {
    Duration::from_millis(millis)
}

async fn start() -> (Auth, TestClock) {
    let clock = TestClock::virtual_time();
    let auth = Auth::builder()
        .clock(clock.clock())
        .seed(7)
        .start()
        .await
        .expect("started");
    (auth, clock)
}

fn issue(n: u64, lifetime: Duration) -> Result<Fetched<AccessToken>, FetchError> {
    Ok(Fetched::new(
        AccessToken::bearer(format!("token-{n}"))?.expires_in(lifetime),
    ))
}

/// Lets tasks run without the clock moving on by itself.
async fn settle() {
    for _ in 0..50 {
        tokio::task::yield_now().await;
    }
}

/// Lets time pass, and every timer run at its time.
async fn pass(time: Duration) {
    tokio::time::sleep(time).await;
    settle().await;
}

/// A credential of this issuer that waits for nothing.
async fn begin(auth: &Auth, issuer: &Issuer) -> TokenHandle {
    begin_with(auth, Credential::new("t", issuer.clone())).await
}

async fn begin_with(auth: &Auth, credential: Credential) -> TokenHandle {
    let token = auth.token(credential.start(Start::Background)).await;
    let token = token.expect("in the background");
    settle().await;
    token
}

/// The token in service, as text. Read so often that this thread gets a copy of it.
fn served(token: &TokenHandle) -> String {
    let current = token.current().expect("a token");
    for _ in 0..20 {
        let header = token.authorization().expect("a header");
        assert_eq!(header, format!("Bearer {}", current.expose()));
        assert!(header.is_sensitive());
    }
    current.expose().to_owned()
}

/// What subscribers have been told so far.
async fn told(events: &mut Events) -> Vec<&'static str> {
    let mut told = Vec::new();
    while let Ok(Ok(event)) = tokio::time::timeout(Duration::ZERO, events.recv()).await {
        told.push(event.change.as_str());
    }
    told
}

/// Tasks that are still there, the test itself aside.
fn tasks() -> usize {
    tokio::runtime::Handle::current()
        .metrics()
        .num_alive_tasks()
}
