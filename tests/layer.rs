//! A server behind the layer: axum on a real socket, and a client that can send anything.

#![expect(
    clippy::expect_used,
    reason = "a test that cannot be set up has failed"
)]

#[path = "layer/extractors.rs"]
mod extractors;
#[path = "layer/refusals.rs"]
mod refusals;
#[path = "layer/service.rs"]
mod service;

use axum::Router;
use midil_auth::testing::TestIssuer;
use midil_auth::{Auth, Verifier};
use serde_json::{Value, json};
use tokio::io::{AsyncReadExt, AsyncWriteExt};
use tokio::net::{TcpListener, TcpStream};

/// A token of these claims for us.
fn token(issuer: &TestIssuer, more: Value) -> String {
    issuer.mint(claims(more))
}

fn claims(more: Value) -> Value {
    let mut claims = json!({"sub": "ada", "aud": "orders"});
    for (name, value) in more.as_object().expect("an object") {
        claims[name] = value.clone();
    }
    claims
}

async fn verifier(auth: &Auth, issuer: &TestIssuer) -> Verifier {
    let rules = Verifier::builder(issuer.url()).audience("orders").cache(64);
    auth.verifier(rules).await.expect("a verifier")
}

/// Serves on a free port of this machine; returns `host:port`.
async fn serve(app: Router) -> String {
    let listener = TcpListener::bind("127.0.0.1:0").await.expect("a port");
    let address = listener.local_addr().expect("an address").to_string();
    tokio::spawn(async move { axum::serve(listener, app).await });
    address
}

/// What a server answered.
struct Answer {
    status: u16,
    head: String,
    body: String,
}

impl Answer {
    /// The value of a header; one of several would be a mistake.
    fn header(&self, name: &str) -> Option<&str> {
        let mut values = self.head.lines().filter_map(|line| {
            let (header, value) = line.split_once(": ")?;
            header.eq_ignore_ascii_case(name).then_some(value)
        });
        let value = values.next();
        assert_eq!(values.next(), None, "{name} twice");
        value
    }
}

/// Sends these bytes as the headers of a request, whatever they are.
async fn send(address: &str, target: &str, headers: &[&[u8]], body: &str) -> Answer {
    let mut stream = TcpStream::connect(address).await.expect("connected");
    let method = if body.is_empty() { "GET" } else { "POST" };
    let mut request =
        format!("{method} {target} HTTP/1.1\r\nhost: a\r\nconnection: close\r\n").into_bytes();
    for header in headers {
        request.extend_from_slice(header);
        request.extend_from_slice(b"\r\n");
    }
    let length = format!("content-length: {}\r\n\r\n{body}", body.len());
    request.extend_from_slice(length.as_bytes());
    stream.write_all(&request).await.expect("sent");
    let mut answer = String::new();
    stream.read_to_string(&mut answer).await.expect("an answer");
    let (head, body) = answer.split_once("\r\n\r\n").expect("a head");
    Answer {
        status: head
            .split(' ')
            .nth(1)
            .and_then(|status| status.parse().ok())
            .expect("a status"),
        head: head.to_owned(),
        body: body.to_owned(),
    }
}

/// A request with this token.
async fn get(address: &str, target: &str, token: &str) -> Answer {
    let header = format!("authorization: Bearer {token}");
    send(address, target, &[header.as_bytes()], "").await
}
