//! A client that sends a valid token with every request and replays once after a 401.
//!
//! ```text
//! cargo run --example outbound
//! ```

#![expect(clippy::print_stdout, reason = "an example talks to whoever runs it")]

use std::error::Error;

use axum::Router;
use axum::http::{HeaderMap, StatusCode};
use axum::routing::get;
use midil_auth::Auth;
use midil_auth::bearer::Origins;
use midil_auth::oauth2::ClientCredentials;
use midil_auth::reqwest_middleware::TokenMiddleware;
use midil_auth::testing::TestIssuer;
use reqwest::Client;
use reqwest_middleware::ClientBuilder;
use tokio::net::TcpListener;

#[tokio::main]
async fn main() -> Result<(), Box<dyn Error>> {
    let issuer = TestIssuer::start().await?;
    let auth = Auth::start().await?;
    let credentials =
        ClientCredentials::new(issuer.token_url(), "orders", "s3cr3t").scope("inventory/read");
    let token = auth.token(credentials).await?;
    println!("have {:?}", token.current()?);

    // An API that has revoked the first token.
    let revoked = token.authorization()?;
    let api = serve(move |headers| match headers.get("authorization") {
        Some(value) if *value != revoked => StatusCode::OK,
        _ => StatusCode::UNAUTHORIZED,
    })
    .await?;

    // The current token, to this origin only; after a 401 another one, fetched once however many
    // callers need it, and the request is sent again.
    let client = ClientBuilder::new(Client::new())
        .with(TokenMiddleware::new(token.clone(), Origins::new([&api])?))
        .build();
    for _ in 0..3 {
        println!("{api} answers {}", client.get(&api).send().await?.status());
    }
    println!("{:#?}", token.status());
    println!("token requests: {}", issuer.counts().token);
    auth.shutdown().await;
    Ok(())
}

async fn serve(
    answer: impl Fn(HeaderMap) -> StatusCode + Clone + Send + Sync + 'static,
) -> Result<String, Box<dyn Error>> {
    let app = Router::new().route("/", get(async move |headers: HeaderMap| answer(headers)));
    let listener = TcpListener::bind(("127.0.0.1", 0)).await?;
    let url = format!("http://{}/", listener.local_addr()?);
    tokio::spawn(async move { axum::serve(listener, app).await });
    Ok(url)
}
