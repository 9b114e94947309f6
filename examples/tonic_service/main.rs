//! A tonic service that lets in only callers with a valid token, and a client that brings one.
//!
//! ```text
//! cargo run --example tonic_service
//! ```

#![expect(clippy::print_stdout, reason = "an example talks to whoever runs it")]

mod orders;

use std::error::Error;

use midil_auth::bearer::Origins;
use midil_auth::oauth2::ClientCredentials;
use midil_auth::testing::TestIssuer;
use midil_auth::tower::{BearerLayer, TokenLayer};
use midil_auth::{Auth, Claims, Verifier};
use orders::{Orders, OrdersClient, OrdersServer};
use serde_json::json;
use tokio::net::TcpListener;
use tonic::transport::server::TcpIncoming;
use tonic::transport::{Endpoint, Server};
use tonic::{Code, Request, Response, Status};
use tower::ServiceBuilder;

struct Shop;

impl Orders for Shop {
    async fn cancel(&self, request: Request<String>) -> Result<Response<String>, Status> {
        // The layer has left the claims here; tonic hands on what is in the HTTP request.
        let claims: &Claims = request
            .extensions()
            .get()
            .ok_or(Status::internal("no layer"))?;
        claims
            .require_scope("orders/write")
            .map_err(|error| Status::permission_denied(error.to_string()))?;
        let by = claims.client_id().unwrap_or("somebody");
        let order = request.get_ref();
        Ok(Response::new(format!("{order} was cancelled by {by}")))
    }
}

#[tokio::main]
async fn main() -> Result<(), Box<dyn Error>> {
    let issuer = TestIssuer::builder()
        .claims(json!({"aud": "shop"}))
        .start()
        .await?;
    let auth = Auth::start().await?;
    let verifier = auth
        .verifier(Verifier::builder(issuer.url()).audience("shop"))
        .await?;

    let listener = TcpListener::bind("127.0.0.1:0").await?;
    let origin = format!("http://{}", listener.local_addr()?);
    let server = Server::builder()
        .layer(BearerLayer::new(verifier))
        .add_service(OrdersServer::new(Shop));
    tokio::spawn(server.serve_with_incoming(TcpIncoming::from(listener)));

    let channel = Endpoint::from_shared(origin.clone())?.connect().await?;
    let mut stranger = OrdersClient::with_origin(channel.clone(), origin.parse()?);
    show(
        "without a token",
        Code::Unauthenticated,
        stranger.cancel("order 7").await,
    )?;

    for (scope, expected) in [
        ("orders/read", Code::PermissionDenied),
        ("orders/write", Code::Ok),
    ] {
        let credentials = ClientCredentials::new(issuer.token_url(), "till", "s3cr3t").scope(scope);
        let token = auth.token(credentials).await?;
        // The layer sends the token to this origin only, so the client has to name it.
        let with_token = ServiceBuilder::new()
            .layer(TokenLayer::new(token, Origins::new([&origin])?))
            .service(channel.clone());
        let mut till = OrdersClient::with_origin(with_token, origin.parse()?);
        show(scope, expected, till.cancel("order 7").await)?;
    }
    auth.shutdown().await;
    Ok(())
}

fn show(
    who: &str,
    expected: Code,
    answer: Result<Response<String>, Status>,
) -> Result<(), Box<dyn Error>> {
    let (code, text) = match answer {
        Ok(response) => (Code::Ok, response.into_inner()),
        Err(status) => (status.code(), status.message().to_owned()),
    };
    println!("{who}: {code:?}: {text}");
    if code == expected {
        Ok(())
    } else {
        Err(format!("{who}: expected {expected:?}").into())
    }
}
