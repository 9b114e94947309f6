//! An axum service that lets in only callers with a valid token, and admins to one route.
//!
//! ```text
//! cargo run --example resource_server
//! ```
//!
//! With `COGNITO_USER_POOL_ID` and `COGNITO_CLIENT_ID` set it verifies the access tokens of that
//! user pool; without, it starts an issuer in this process and prints commands to try. With
//! `--check` it tries them itself and exits.

#![expect(clippy::print_stdout, reason = "an example talks to whoever runs it")]

use std::error::Error;
use std::sync::Arc;

use axum::extract::{Request, State};
use axum::http::StatusCode;
use axum::middleware::{self, Next};
use axum::response::{IntoResponse, Response};
use axum::routing::get;
use axum::{Extension, Json, Router};
use midil_auth::bearer::{self, Rejection};
use midil_auth::jwt::VerifyError;
use midil_auth::testing::TestIssuer;
use midil_auth::{Auth, AuthError, AuthzProvider, Claims, Health, Verifier, cognito};
use serde_json::{Value, json};
use tokio::net::TcpListener;

#[tokio::main]
async fn main() -> Result<(), Box<dyn Error>> {
    tracing_subscriber::fmt().with_env_filter("info").init();
    let auth = Auth::start().await?;
    let issuer = match std::env::var("COGNITO_USER_POOL_ID") {
        Ok(_) => None,
        Err(_) => Some(TestIssuer::start().await?),
    };
    let verifier: Arc<dyn AuthzProvider> = match &issuer {
        None => {
            let pool = cognito::UserPool::from_env()?;
            Arc::new(auth.verifier(pool.access_tokens()).await?)
        }
        Some(issuer) => {
            let rules = Verifier::builder(issuer.url()).audience("orders");
            Arc::new(auth.verifier(rules).await?)
        }
    };

    let listener = TcpListener::bind(("127.0.0.1", 0)).await?;
    let base = format!("http://{}", listener.local_addr()?);
    let server = axum::serve(listener, app(auth.clone(), verifier));
    println!("listening at {base}");
    let Some(issuer) = issuer else {
        return Ok(server.await?);
    };
    let ada = issuer.mint(json!({"sub": "ada", "aud": "orders", "groups": ["admin"]}));
    let bob = issuer.mint(json!({"sub": "bob", "aud": "orders"}));
    if std::env::args().any(|argument| argument == "--check") {
        tokio::spawn(server.into_future());
        return check(&base, &ada, &bob).await;
    }
    println!("curl -i {base}/whoami -H 'Authorization: Bearer {ada}'");
    println!("curl -i {base}/admin -H 'Authorization: Bearer {bob}'");
    Ok(server.await?)
}

fn app(auth: Auth, verifier: Arc<dyn AuthzProvider>) -> Router {
    Router::new()
        .route("/whoami", get(whoami))
        .route("/admin", get(admin))
        .layer(middleware::from_fn_with_state(verifier, guard))
        .route("/health", get(async move || health(auth.health())))
}

/// Puts the claims of a valid token into the request; answers everybody else.
async fn guard(
    State(verifier): State<Arc<dyn AuthzProvider>>,
    mut request: Request,
    next: Next,
) -> Response {
    let token = match bearer::token(request.headers()) {
        Ok(token) => token,
        Err(error) => return Rejection::from(error).into_response(),
    };
    match verifier.verify(token).await {
        Ok(claims) => {
            request.extensions_mut().insert(claims);
            next.run(request).await
        }
        Err(error) => refuse(&error),
    }
}

fn refuse(error: &AuthError) -> Response {
    tracing::info!(reason = error.as_str(), "refused");
    Rejection::from(error).into_response()
}

async fn whoami(Extension(claims): Extension<Claims>) -> Json<Value> {
    Json(json!({"subject": claims.subject(), "groups": claims.groups()}))
}

async fn admin(Extension(claims): Extension<Claims>) -> Response {
    if !claims.has_group("admin") {
        return refuse(&AuthError::Authorization(VerifyError::Group));
    }
    "hello, admin".into_response()
}

fn health(health: Health) -> (StatusCode, Json<Health>) {
    let status = if health.ready {
        StatusCode::OK
    } else {
        StatusCode::SERVICE_UNAVAILABLE
    };
    (status, Json(health))
}

async fn check(base: &str, ada: &str, bob: &str) -> Result<(), Box<dyn Error>> {
    let client = reqwest::Client::new();
    for (path, token, expected) in [
        ("/whoami", Some(ada), 200),
        ("/admin", Some(ada), 200),
        ("/admin", Some(bob), 403),
        ("/whoami", Some("forged"), 401),
        ("/whoami", None, 401),
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
