//! An axum service that lets in only callers with a valid token, and admins to one route; and that
//! tells an nginx in front of services in other languages whom to let in.
//!
//! ```text
//! cargo run --example resource_server            # on a free port
//! cargo run --example resource_server -- 9000    # on this one
//! ```
//!
//! With `COGNITO_USER_POOL_ID` and `COGNITO_CLIENT_ID` set it verifies the access tokens of that
//! user pool; without, it starts an issuer in this process and prints commands to try. With
//! `--check` it tries them itself and exits. What nginx has to be told is in
//! `docs/guides/nginx.md`.

#![expect(clippy::print_stdout, reason = "an example talks to whoever runs it")]

use std::error::Error;
use std::sync::Arc;

use axum::extract::Path;
use axum::http::{HeaderMap, HeaderValue, StatusCode};
use axum::routing::get;
use axum::{Json, Router};
use midil_auth::axum::Verified;
use midil_auth::bearer::Rejection;
use midil_auth::jwt::{Refusal, VerifyError};
use midil_auth::testing::TestIssuer;
use midil_auth::tower::{BearerLayer, require_group};
use midil_auth::{Auth, AuthzProvider, Claims, Verifier, cognito};
use serde_json::{Value, json};
use tokio::net::TcpListener;

/// Of whatever kind of token.
type Authz = Arc<dyn AuthzProvider>;
type Identity = (StatusCode, HeaderMap);

pub(crate) fn app(auth: Auth, verifier: Authz) -> Router {
    Router::new()
        .route("/whoami", get(whoami))
        .route("/admin", get("hello, admin").layer(require_group("admin")))
        .layer(BearerLayer::new(Arc::clone(&verifier)))
        // Not behind the layer: that answers gRPC calls with status 200, which lets them in.
        .route("/verify", get(verify))
        .route("/verify/{*scope}", get(verify_scope))
        .route("/health", get(async move || auth.health()))
        .with_state(verifier)
}

async fn whoami(claims: Claims) -> Json<Value> {
    Json(json!({"subject": claims.subject(), "groups": claims.groups()}))
}

async fn verify(Verified(claims): Verified<Authz>) -> Result<Identity, Rejection> {
    identity(&claims)
}

async fn verify_scope(
    Path(scope): Path<String>,
    Verified(claims): Verified<Authz>,
) -> Result<Identity, Rejection> {
    claims.require_scope(&scope)?;
    identity(&claims)
}

/// Says to nginx who is calling.
fn identity(claims: &Claims) -> Result<Identity, Rejection> {
    let mut headers = HeaderMap::new();
    headers.insert(
        "x-auth-subject",
        text(claims.subject().unwrap_or_default())?,
    );
    let scopes = claims.scopes();
    if !scopes.is_empty() {
        headers.insert("x-auth-scope", text(&scopes.join(" "))?);
    }
    Ok((StatusCode::NO_CONTENT, headers))
}

/// Nothing but printable ASCII, so that it means the same to every reader of the header.
fn text(value: &str) -> Result<HeaderValue, VerifyError> {
    let printable = value.bytes().all(|byte| matches!(byte, b' '..=b'~'));
    let plain = printable && !value.is_empty() && value.trim() == value;
    HeaderValue::from_str(value)
        .ok()
        .filter(|_| plain)
        .ok_or_else(|| VerifyError::Refused(Refusal::forbidden("not fit for a header")))
}

#[tokio::main]
async fn main() -> Result<(), Box<dyn Error>> {
    tracing_subscriber::fmt().with_env_filter("info").init();
    let auth = Auth::start().await?;
    let issuer = match std::env::var("COGNITO_USER_POOL_ID") {
        Ok(_) => None,
        Err(_) => Some(TestIssuer::start().await?),
    };
    let verifier: Authz = match &issuer {
        None => {
            let pool = cognito::UserPool::from_env()?;
            Arc::new(auth.verifier(pool.access_tokens()).await?)
        }
        Some(issuer) => {
            let rules = Verifier::builder(issuer.url()).audience("orders");
            Arc::new(auth.verifier(rules).await?)
        }
    };

    let port = std::env::args().find_map(|argument| argument.parse().ok());
    let listener = TcpListener::bind(("127.0.0.1", port.unwrap_or(0))).await?;
    let base = format!("http://{}", listener.local_addr()?);
    let server = axum::serve(listener, app(auth.clone(), verifier));
    println!("listening at {base}");
    let Some(issuer) = issuer else {
        return Ok(server.await?);
    };
    let ada = issuer.mint(json!({
        "sub": "ada", "aud": "orders", "groups": ["admin"], "scope": "orders/read",
    }));
    let bob = issuer.mint(json!({"sub": "bob", "aud": "orders"}));
    if std::env::args().any(|argument| argument == "--check") {
        tokio::spawn(server.into_future());
        return check(&base, &ada, &bob).await;
    }
    println!("curl -i {base}/whoami -H 'Authorization: Bearer {ada}'");
    println!("curl -i {base}/admin -H 'Authorization: Bearer {bob}'");
    println!("curl -i {base}/verify/orders/read -H 'Authorization: Bearer {ada}'");
    Ok(server.await?)
}

async fn check(base: &str, ada: &str, bob: &str) -> Result<(), Box<dyn Error>> {
    let client = reqwest::Client::new();
    for (path, token, expected) in [
        ("/whoami", Some(ada), 200),
        ("/admin", Some(ada), 200),
        ("/admin", Some(bob), 403),
        ("/whoami", Some("forged"), 401),
        ("/whoami", None, 401),
        ("/verify", Some(bob), 204),
        ("/verify", None, 401),
        ("/verify/orders/read", Some(ada), 204),
        ("/verify/orders/read", Some(bob), 403),
        ("/health", None, 200),
    ] {
        let mut request = client.get(format!("{base}{path}"));
        if let Some(token) = token {
            request = request.bearer_auth(token);
        }
        let status = request.send().await?.status();
        println!("{path}: {status}");
        if status.as_u16() != expected {
            return Err(format!("{path} answered {status}, not {expected}").into());
        }
    }
    Ok(())
}
