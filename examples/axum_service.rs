//! An axum service that knows who is calling: one layer, guards on single routes, and claims as
//! arguments of handlers.
//!
//! ```text
//! cargo run --example axum_service
//! ```
//!
//! It starts an issuer in this process and prints commands to try. With `--check` it tries them
//! itself and exits.

#![expect(clippy::print_stdout, reason = "an example talks to whoever runs it")]

use std::error::Error;

use axum::routing::{get, post};
use axum::{Json, Router};
use midil_auth::bearer::Rejection;
use midil_auth::testing::TestIssuer;
use midil_auth::tower::{BearerLayer, require_group, require_scope};
use midil_auth::{Auth, Claims, Verifier};
use serde_json::{Value, json};
use tokio::net::TcpListener;

fn app(verifier: Verifier) -> Router {
    let layer = BearerLayer::new(verifier)
        .except(|_, uri| uri.path() == "/health")
        .on_refusal(Rejection::into_problem);
    Router::new()
        .route("/health", get("well"))
        .route("/whoami", get(whoami))
        .route("/orders", get(orders).layer(require_scope("orders/read")))
        .route("/orders/cancel", post(cancel))
        .route("/admin", get("hello, admin").layer(require_group("admin")))
        .layer(layer)
}

async fn whoami(claims: Claims) -> Json<Value> {
    Json(json!({"subject": claims.subject(), "scopes": claims.scopes()}))
}

async fn orders() -> Json<Value> {
    Json(json!([{"id": 7}]))
}

/// What is demanded depends on the order, so it is demanded here.
async fn cancel(claims: Claims, order: String) -> Result<String, Rejection> {
    if order.len() > 3 {
        claims.require_group("admin")?;
    }
    claims.require_scope("orders/write")?;
    Ok(format!("order {order} is cancelled"))
}

#[tokio::main]
async fn main() -> Result<(), Box<dyn Error>> {
    tracing_subscriber::fmt().with_env_filter("info").init();
    let issuer = TestIssuer::start().await?;
    let auth = Auth::start().await?;
    let rules = Verifier::builder(issuer.url())
        .audience("orders")
        .cache(10_000);
    let verifier = auth.verifier(rules).await?;

    let listener = TcpListener::bind(("127.0.0.1", 0)).await?;
    let base = format!("http://{}", listener.local_addr()?);
    let server = axum::serve(listener, app(verifier));
    let ada = issuer.mint(json!({
        "sub": "ada", "aud": "orders", "groups": ["admin"], "scope": "orders/read orders/write",
    }));
    let bob = issuer.mint(json!({"sub": "bob", "aud": "orders", "scope": "orders/write"}));
    if std::env::args().any(|argument| argument == "--check") {
        tokio::spawn(server.into_future());
        return check(&base, &ada, &bob).await;
    }
    println!("curl -i {base}/whoami -H 'Authorization: Bearer {ada}'");
    println!("curl -i {base}/admin -H 'Authorization: Bearer {bob}'");
    Ok(server.await?)
}

async fn check(base: &str, ada: &str, bob: &str) -> Result<(), Box<dyn Error>> {
    let client = reqwest::Client::new();
    for (path, order, token, expected) in [
        ("/health", None, "", 200),
        ("/whoami", None, ada, 200),
        ("/whoami", None, "", 401),
        ("/whoami", None, "forged", 401),
        ("/orders", None, ada, 200),
        ("/orders", None, bob, 403),
        ("/admin", None, ada, 200),
        ("/admin", None, bob, 403),
        ("/orders/cancel", Some("7"), bob, 200),
        ("/orders/cancel", Some("1234"), bob, 403),
        ("/orders/cancel", Some("1234"), ada, 200),
    ] {
        let url = format!("{base}{path}");
        let mut request = match order {
            None => client.get(url),
            Some(order) => client.post(url).body(order),
        };
        if !token.is_empty() {
            request = request.bearer_auth(token);
        }
        let response = request.send().await?;
        let status = response.status();
        println!("{path}: {status}: {}", response.text().await?);
        if status.as_u16() != expected {
            return Err(format!("{path} answered {status}, not {expected}").into());
        }
    }
    Ok(())
}
