//! A real tonic server behind the layer, and a real tonic client.

#![expect(
    clippy::expect_used,
    reason = "a test that cannot be set up has failed"
)]

#[path = "../examples/tonic_service/orders.rs"]
mod orders;

use std::time::Duration;

use http::Uri;
use midil_auth::bearer::Origins;
use midil_auth::oauth2::ClientCredentials;
use midil_auth::testing::{Endpoint, Fault, TestIssuer};
use midil_auth::tower::{BearerLayer, TokenLayer, require_group, require_scope};
use midil_auth::{Auth, Claims, Start, TokenHandle, Verifier};
use orders::{Orders, OrdersClient, OrdersServer};
use serde_json::{Value, json};
use tokio::net::TcpListener;
use tonic::service::LayerExt;
use tonic::transport::server::TcpIncoming;
use tonic::transport::{Channel, Server};
use tonic::{Code, Request, Response, Status};
use tower::ServiceBuilder;

/// Says who is calling.
struct Shop;

impl Orders for Shop {
    async fn cancel(&self, request: Request<String>) -> Result<Response<String>, Status> {
        let claims = request.extensions().get::<Claims>();
        let claims = claims.and_then(Claims::subject);
        Ok(Response::new(claims.unwrap_or("nobody").to_owned()))
    }
}

async fn parts() -> (TestIssuer, Auth) {
    let issuer = TestIssuer::builder().claims(json!({"aud": "shop"}));
    let issuer = issuer.start().await.expect("started");
    (issuer, Auth::start().await.expect("started"))
}

async fn layer(auth: &Auth, issuer: &TestIssuer) -> BearerLayer<Verifier, tonic::body::Body> {
    let rules = Verifier::builder(issuer.url()).audience("shop");
    let verifier = auth.verifier(rules.start(Start::Background)).await;
    BearerLayer::new(verifier.expect("a verifier"))
}

macro_rules! serve {
    ($router:expr) => {{
        let listener = TcpListener::bind("127.0.0.1:0").await.expect("a port");
        let origin = format!("http://{}", listener.local_addr().expect("an address"));
        tokio::spawn($router.serve_with_incoming(TcpIncoming::from(listener)));
        let endpoint = Channel::from_shared(origin.clone()).expect("a URI");
        (origin, endpoint.connect().await.expect("connected"))
    }};
}

/// Calls with these headers.
async fn call(channel: &Channel, authorization: &[&str]) -> Result<Response<String>, Status> {
    let headers: Vec<String> = authorization.iter().map(|it| (*it).to_owned()).collect();
    let service = ServiceBuilder::new()
        .map_request(move |mut request: http::Request<tonic::body::Body>| {
            for value in &headers {
                let value = value.parse().expect("a value");
                request.headers_mut().append("authorization", value);
            }
            request
        })
        .service(channel.clone());
    OrdersClient::with_origin(service, Uri::default())
        .cancel("order 7")
        .await
}

/// What is in the current token.
async fn verified(auth: &Auth, issuer: &TestIssuer, token: &TokenHandle) -> Claims {
    let rules = Verifier::builder(issuer.url()).audience("shop");
    let verifier = auth.verifier(rules).await.expect("a verifier");
    let token = token.current().expect("a token");
    verifier.verify(token.expose()).await.expect("verified")
}

fn code(answer: &Result<Response<String>, Status>) -> Code {
    answer.as_ref().map_or_else(Status::code, |_| Code::Ok)
}

fn metadata<'a>(status: &'a Status, name: &str) -> Option<&'a str> {
    status
        .metadata()
        .get(name)
        .map(|it| it.to_str().expect("text"))
}

fn bearer(token: &str) -> String {
    format!("Bearer {token}")
}

fn shop(more: Value) -> Value {
    let mut claims = json!({"sub": "ada", "aud": "shop"});
    for (name, value) in more.as_object().expect("an object") {
        claims[name] = value.clone();
    }
    claims
}

#[tokio::test]
async fn a_client_sees_the_status_that_grpc_has_for_it() {
    let (issuer, auth) = parts().await;
    let layer = layer(&auth, &issuer).await;
    let server = Server::builder()
        .layer(layer)
        .add_service(OrdersServer::new(Shop));
    let (_, channel) = serve!(server);
    let good = bearer(&issuer.mint(shop(json!({}))));
    let answer = call(&channel, &[&good]).await.expect("let in");
    assert_eq!(answer.into_inner(), "ada");

    let invalid = "Bearer error=\"invalid_token\"";
    let malformed = "Bearer error=\"invalid_request\"";
    let basic = "Basic YTpi".to_owned();
    let forged = bearer(&issuer.mint_forged(shop(json!({}))));
    let of_others = bearer(&issuer.mint(shop(json!({"aud": "others"}))));
    let expired = bearer(&issuer.mint_expired(shop(json!({}))));
    let cases: [(&[&str], &str); 8] = [
        (&[], "Bearer"),
        (&[&basic], "Bearer"),
        (&[&good, &good], malformed),
        (&["Bearer"], malformed),
        (&["Bearer garbage"], invalid),
        (&[&forged], invalid),
        (&[&of_others], invalid),
        (
            &[&expired],
            "Bearer error=\"invalid_token\", error_description=\"the token has expired\"",
        ),
    ];
    for (headers, challenge) in cases {
        let status = call(&channel, headers).await.expect_err("refused");
        assert_eq!(status.code(), Code::Unauthenticated, "{headers:?}");
        assert_eq!(metadata(&status, "www-authenticate"), Some(challenge));
    }

    auth.shutdown().await;
    let status = call(&channel, &[&good]).await.expect_err("refused");
    assert_eq!(status.code(), Code::Unavailable);
    assert_eq!(metadata(&status, "retry-after"), Some("1"));
}

#[tokio::test]
async fn keys_that_are_not_to_be_had_are_unavailable() {
    let (issuer, auth) = parts().await;
    issuer.fail(Endpoint::Jwks, Fault::Status(503));
    let layer = layer(&auth, &issuer).await;
    let server = Server::builder()
        .layer(layer)
        .add_service(OrdersServer::new(Shop));
    let (_, channel) = serve!(server);
    let good = bearer(&issuer.mint(shop(json!({}))));
    let status = call(&channel, &[&good]).await.expect_err("refused");
    assert_eq!(status.code(), Code::Unavailable);
    assert_eq!(metadata(&status, "retry-after"), Some("2"));
    assert_eq!(metadata(&status, "www-authenticate"), None);
}

#[tokio::test]
async fn one_service_may_demand_more_than_another() {
    let (issuer, auth) = parts().await;
    let layer = layer(&auth, &issuer).await;
    let guarded = ServiceBuilder::new()
        .layer(require_scope("orders/write"))
        .layer(require_group("tills"))
        .named_layer(OrdersServer::new(Shop));
    let (_, channel) = serve!(Server::builder().layer(layer).add_service(guarded));
    for (claims, expected, challenge) in [
        (
            json!({"groups": ["tills"]}),
            Code::PermissionDenied,
            "Bearer error=\"insufficient_scope\", scope=\"orders/write\"",
        ),
        (
            json!({"scope": "orders/write"}),
            Code::PermissionDenied,
            "Bearer error=\"insufficient_scope\"",
        ),
        (
            json!({"scope": "orders/write", "groups": ["tills"]}),
            Code::Ok,
            "",
        ),
    ] {
        let answer = call(&channel, &[&bearer(&issuer.mint(shop(claims)))]).await;
        assert_eq!(code(&answer), expected);
        if let Err(status) = answer {
            assert_eq!(metadata(&status, "www-authenticate"), Some(challenge));
        }
    }
}

#[tokio::test]
async fn what_is_excepted_is_called_by_anybody() {
    let (issuer, auth) = parts().await;
    let layer = layer(&auth, &issuer).await;
    let layer = layer.except(|_, uri| uri.path() == "/shop.Orders/Cancel");
    let server = Server::builder()
        .layer(layer)
        .add_service(OrdersServer::new(Shop));
    let (_, channel) = serve!(server);
    assert_eq!(
        call(&channel, &[]).await.expect("let in").into_inner(),
        "nobody"
    );
}

#[tokio::test]
async fn a_client_with_the_layer_brings_its_token_and_the_next_one_when_that_is_refused() {
    let (issuer, auth) = parts().await;
    let credential = ClientCredentials::new(issuer.token_url(), "till", "s3cr3t");
    let token = auth.token(credential).await.expect("a token");
    let revoked = verified(&auth, &issuer, &token).await;
    let revoked = revoked.token_id().map(str::to_owned);
    let rules = Verifier::builder(issuer.url())
        .audience("shop")
        .deny(move |claims| claims.token_id() == revoked.as_deref());
    let layer = BearerLayer::new(auth.verifier(rules).await.expect("a verifier"));
    let server = Server::builder()
        .layer(layer)
        .add_service(OrdersServer::new(Shop));
    let (origin, channel) = serve!(server);
    let with_token = |origins: &str| {
        let origins = Origins::new([origins]).expect("origins");
        ServiceBuilder::new()
            .layer(TokenLayer::new(token.clone(), origins))
            .service(channel.clone())
    };
    let uri: Uri = origin.parse().expect("a URI");
    let mut client = OrdersClient::with_origin(with_token(&origin), uri.clone());
    let mut changes = token.changes();
    let first = token.current().expect("a token");
    assert_eq!(code(&client.cancel("order 7").await), Code::Unauthenticated);
    if token.current().expect("a token").is_same_token(&first) {
        // Long before the next refresh.
        let next = tokio::time::timeout(Duration::from_secs(10), changes.next());
        next.await.expect("soon").expect("another token");
    }
    let answer = client.cancel("order 7").await.expect("let in");
    assert_eq!(answer.into_inner(), "till");
    assert_eq!(issuer.counts().token, 2);

    // Another origin, or none that could be told.
    let mut other = OrdersClient::with_origin(with_token("https://api.example.com"), uri);
    assert_eq!(code(&other.cancel("order 7").await), Code::Unauthenticated);
    let mut unsaid = OrdersClient::with_origin(with_token(&origin), Uri::default());
    assert_eq!(code(&unsaid.cancel("order 7").await), Code::Unauthenticated);
}
