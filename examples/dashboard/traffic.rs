//! An API that lets in only who has a good token, two clients that call it all the time, and a
//! forger.

use std::error::Error;
use std::io;
use std::sync::Arc;
use std::time::Duration;

use axum::Router;
use axum::routing::get;
use midil_auth::bearer::Origins;
use midil_auth::jwks::Algorithm;
use midil_auth::jwt::Issuers;
use midil_auth::reqwest_middleware::TokenMiddleware;
use midil_auth::testing::{SigningKey, TestIssuer};
use midil_auth::tower::BearerLayer;
use midil_auth::{Claims, TokenHandle};
use parking_lot::Mutex;
use reqwest::Client;
use reqwest_middleware::{ClientBuilder, ClientWithMiddleware};
use serde_json::json;
use tokio::net::TcpListener;

use crate::history::History;

/// Of each client.
const PAUSE: Duration = Duration::from_millis(200);

pub(crate) async fn serve(issuers: Issuers, history: Arc<Mutex<History>>) -> io::Result<String> {
    let refused = Arc::clone(&history);
    let layer = BearerLayer::new(issuers).on_refusal(move |rejection| {
        refused.lock().refused(&rejection);
        rejection.into_response()
    });
    let greet = async move |claims: Claims| {
        history.lock().accepted();
        format!("hello, {}", claims.client_id().unwrap_or("stranger"))
    };
    let app = Router::new().route("/", get(greet)).layer(layer);
    let listener = TcpListener::bind(("127.0.0.1", 0)).await?;
    let url = format!("http://{}", listener.local_addr()?);
    tokio::spawn(async move { axum::serve(listener, app).await });
    Ok(url)
}

pub(crate) fn client(
    token: TokenHandle,
    api: &str,
) -> Result<ClientWithMiddleware, Box<dyn Error>> {
    let middleware = TokenMiddleware::new(token, Origins::new([api])?);
    Ok(ClientBuilder::new(Client::new()).with(middleware).build())
}

pub(crate) async fn call(client: ClientWithMiddleware, api: String, history: Arc<Mutex<History>>) {
    let mut ticks = tokio::time::interval(PAUSE);
    loop {
        ticks.tick().await;
        let problem = match client.get(&api).send().await {
            Ok(response) if response.status().is_success() => None,
            Ok(response) => Some(response.status().to_string()),
            Err(error) => Some(error.to_string()),
        };
        history.lock().called(problem);
    }
}

/// Three bad tokens: of a false signature, of yesterday, and of a key that nobody knows.
pub(crate) async fn forge(issuer: &TestIssuer, api: &str) -> reqwest::Result<()> {
    let claims = json!({"sub": "mallory", "aud": "api"});
    let unknown = SigningKey::generate(Algorithm::ES256, "made-up");
    let unknown = unknown.token(&json!({
        "iss": issuer.url(), "sub": "mallory", "aud": "api", "exp": 4_102_444_800_u64,
    }));
    let client = Client::new();
    for token in [
        issuer.mint_forged(claims.clone()),
        issuer.mint_expired(claims),
        unknown,
    ] {
        client.get(api).bearer_auth(token).send().await?;
    }
    Ok(())
}
