//! Clients that bring the token by themselves, over real sockets.

#![expect(
    clippy::expect_used,
    reason = "a test that cannot be set up has failed"
)]

#[path = "client/middleware.rs"]
mod middleware;
#[path = "client/service.rs"]
mod service;

use std::sync::Arc;
use std::time::Duration;

use axum::body::Bytes;
use http::{HeaderMap, HeaderValue, Method, Response, StatusCode, Uri};
use midil_auth::oauth2::ClientCredentials;
use midil_auth::testing::{Endpoint, Fault, TestIssuer};
use midil_auth::{Auth, Start, TokenHandle};
use parking_lot::Mutex;
use tokio::net::TcpListener;

/// A request that a server has seen.
#[derive(Clone, Debug)]
struct Seen {
    path: String,
    authorization: Option<String>,
    body: Bytes,
}

/// A server that remembers what it is asked.
struct Api {
    address: String,
    seen: Arc<Mutex<Vec<Seen>>>,
}

/// What a server answers to a path and an `Authorization`.
type Answer = Response<axum::body::Body>;

impl Api {
    async fn start(
        answer: impl Fn(&str, Option<&str>) -> Answer + Clone + Send + Sync + 'static,
    ) -> Self {
        let listener = TcpListener::bind("127.0.0.1:0").await.expect("a port");
        let address = listener.local_addr().expect("an address").to_string();
        let seen = Arc::new(Mutex::new(Vec::new()));
        let remember = Arc::clone(&seen);
        let app = axum::Router::new().fallback(
            async move |_: Method, uri: Uri, headers: HeaderMap, body: Bytes| {
                let authorization = headers.get("authorization");
                let authorization = authorization.map(|it| it.to_str().expect("text").to_owned());
                let response = answer(uri.path(), authorization.as_deref());
                remember.lock().push(Seen {
                    path: uri.path().to_owned(),
                    authorization,
                    body,
                });
                response
            },
        );
        tokio::spawn(async move { axum::serve(listener, app).await });
        Self { address, seen }
    }

    /// One that is content with everything.
    async fn content() -> Self {
        Self::start(|_, _| Answer::default()).await
    }

    fn origin(&self) -> String {
        format!("http://{}", self.address)
    }

    fn url(&self, path: &str) -> String {
        format!("http://{}{path}", self.address)
    }

    /// What has been seen since it was last looked at.
    fn seen(&self) -> Vec<Seen> {
        std::mem::take(&mut self.seen.lock())
    }

    /// The only request since.
    fn only(&self) -> Seen {
        let mut seen = self.seen();
        assert_eq!(seen.len(), 1, "{seen:?}");
        seen.remove(0)
    }
}

fn status(status: StatusCode) -> Answer {
    let mut answer = Answer::default();
    *answer.status_mut() = status;
    answer
}

fn redirect(code: u16, location: &str) -> Answer {
    let mut answer = status(StatusCode::from_u16(code).expect("a status"));
    let location = HeaderValue::from_str(location).expect("a value");
    answer.headers_mut().insert("location", location);
    answer
}

/// An issuer and a token of it.
async fn token() -> (TestIssuer, Auth, TokenHandle) {
    let issuer = TestIssuer::start().await.expect("started");
    let auth = Auth::start().await.expect("started");
    let credential = ClientCredentials::new(issuer.token_url(), "orders", "s3cr3t");
    let token = auth.token(credential).await.expect("a token");
    (issuer, auth, token)
}

/// A credential that has no token, since its issuer is down.
async fn no_token() -> (TestIssuer, Auth, TokenHandle) {
    let issuer = TestIssuer::start().await.expect("started");
    issuer.fail(Endpoint::Token, Fault::Status(503));
    let auth = Auth::start().await.expect("started");
    let credential = ClientCredentials::new(issuer.token_url(), "orders", "s3cr3t");
    let token = auth.token(credential.start(Start::Background)).await;
    (issuer, auth, token.expect("in the background"))
}

fn bearer(token: &TokenHandle) -> Option<String> {
    let value = token.authorization().expect("a token");
    Some(value.to_str().expect("text").to_owned())
}

/// Waits until another token than this is in service, which must not take until the next refresh.
async fn other_than(token: &TokenHandle, first: &Option<String>) {
    let mut changes = token.changes();
    if bearer(token) == *first {
        let next = tokio::time::timeout(Duration::from_secs(10), changes.next());
        next.await.expect("soon").expect("another token");
    }
}

/// Refuses the token that is current now.
fn refusing(token: &TokenHandle) -> impl Fn(&str, Option<&str>) -> Answer + Clone + use<> {
    let refused = bearer(token);
    move |_, authorization| {
        status(if authorization == refused.as_deref() {
            StatusCode::UNAUTHORIZED
        } else {
            StatusCode::OK
        })
    }
}
