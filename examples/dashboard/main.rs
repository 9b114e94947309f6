//! A page that shows live what the crate does while an issuer fails, throttles, rotates its keys
//! and recovers: two credentials, two key sets, and the requests of two clients to one API.
//!
//! ```text
//! cargo run --example dashboard                # http://127.0.0.1:8080
//! cargo run --example dashboard -- --port 0    # on a free port
//! ```

#![expect(
    clippy::print_stdout,
    clippy::disallowed_methods,
    reason = "an example talks to whoever runs it, and has a clock for what it draws"
)]

mod history;
mod page;
mod traffic;

use std::error::Error;
use std::sync::Arc;
use std::time::Duration;

use history::History;
use midil_auth::event::EventsError;
use midil_auth::jwks::RotationPolicy;
use midil_auth::jwt::Issuers;
use midil_auth::oauth2::{ClientCredentials, LifetimePolicy};
use midil_auth::testing::TestIssuer;
use midil_auth::{Auth, Events, RefreshPolicy, Verifier};
use page::Stage;
use parking_lot::Mutex;
use tokio::net::TcpListener;
use tokio::sync::watch;

/// The issuers, what each issues a token for, and how long that lives: short, so that there is
/// something to see.
const CAST: [(&str, &str, Duration); 2] = [
    ("accounts", "inventory", Duration::from_secs(40)),
    ("partner", "billing", Duration::from_secs(70)),
];
/// Never shown; the test of the page looks for it.
const SECRET: &str = "dashboard-s3cr3t";

#[tokio::main]
async fn main() -> Result<(), Box<dyn Error>> {
    let port = port(std::env::args().skip(1))?;
    let auth = Auth::start().await?;
    let history = Arc::new(Mutex::new(History::new()));
    tokio::spawn(remember(auth.events(), Arc::clone(&history)));

    // Nobody wants to wait for a minute to see an outage mended.
    let pace = |policy: RefreshPolicy| {
        policy
            .retry(Duration::from_millis(500), Duration::from_secs(4))
            .demand_floor(Duration::from_millis(200))
    };
    let known = Issuers::new();
    let (mut issuers, mut tokens) = (Vec::new(), Vec::new());
    for (name, credential, lifetime) in CAST {
        let issuer = TestIssuer::builder()
            .client("orders", SECRET)
            .lifetime(lifetime)
            .start()
            .await?;
        let rules = Verifier::builder(issuer.url())
            .audience("api")
            .name(name)
            .rotation(RotationPolicy::default().interval(Duration::from_secs(5)))
            .refresh(pace(RefreshPolicy::for_keys()));
        known.insert(auth.verifier(rules).await?);
        let client = ClientCredentials::new(issuer.token_url(), "orders", SECRET)
            .name(credential)
            .audience("api")
            .lifetime(
                LifetimePolicy::default()
                    .refresh_at(0.65)
                    .margin(Duration::from_secs(1)),
            )
            .refresh(pace(RefreshPolicy::for_tokens()));
        tokens.push(auth.token(client).await?);
        issuers.push(issuer);
    }
    let api = traffic::serve(known, Arc::clone(&history)).await?;
    for token in tokens {
        let client = traffic::client(token, &api)?;
        tokio::spawn(traffic::call(client, api.clone(), Arc::clone(&history)));
    }

    let listener = TcpListener::bind(("127.0.0.1", port)).await;
    let listener = listener.map_err(|error| format!("port {port}: {error}; try --port 0"))?;
    println!("open http://{}", listener.local_addr()?);
    let (close, mut closing) = watch::channel(false);
    let stage = Stage {
        auth: auth.clone(),
        issuers,
        api,
        history,
        closing: closing.clone(),
    };
    let ended = async move {
        // An error means that the sender is gone, which ends it as well.
        let _ = closing.wait_for(|closing| *closing).await;
    };
    let server = axum::serve(listener, page::routes(stage)).with_graceful_shutdown(ended);
    let server = tokio::spawn(server.into_future());
    tokio::signal::ctrl_c().await?;
    close.send_replace(true);
    server.await??;
    auth.shutdown().await;
    println!("closed");
    Ok(())
}

fn port(mut arguments: impl Iterator<Item = String>) -> Result<u16, String> {
    const USAGE: &str = "usage: dashboard [--port PORT]";
    let port = match arguments.next().as_deref() {
        None => Some(8080),
        Some("--port") => arguments.next().and_then(|port| port.parse().ok()),
        Some(_) => None,
    };
    port.filter(|_| arguments.next().is_none())
        .ok_or_else(|| USAGE.to_owned())
}

async fn remember(mut events: Events, history: Arc<Mutex<History>>) {
    loop {
        match events.recv().await {
            Ok(event) => history.lock().happened(&event),
            Err(EventsError::Lagged(_)) => {}
            Err(_) => break,
        }
    }
}
