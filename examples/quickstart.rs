//! The main job, in under fifteen seconds: a service that calls another and is called by it.
//!
//! With no network and nothing to install: an issuer is started in this process, `Auth` keeps a
//! short-lived token and the issuer's keys fresh over loopback HTTP, an API verifies every
//! request, and the issuer rotates its keys while requests flow.
//!
//! To do the same at a real provider, set `COGNITO_USER_POOL_ID`, `COGNITO_CLIENT_ID`,
//! `COGNITO_CLIENT_SECRET` and `COGNITO_DOMAIN`; or, for any other, `OAUTH_ISSUER`,
//! `OAUTH_TOKEN_URL`, `OAUTH_CLIENT_ID`, `OAUTH_CLIENT_SECRET` and `OAUTH_AUDIENCE`.
//!
//! ```text
//! cargo run --example quickstart
//! ```

#![expect(clippy::print_stdout, reason = "an example talks to whoever runs it")]

use std::error::Error;
use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};
use std::time::Duration;

use axum::extract::{Request, State};
use axum::middleware::{self, Next};
use axum::response::Response;
use axum::routing::get;
use axum::{Extension, Json, Router};
use midil_auth::bearer::{self, Rejection};
use midil_auth::event::Change;
use midil_auth::jwks::RotationPolicy;
use midil_auth::oauth2::ClientCredentials;
use midil_auth::testing::TestIssuer;
use midil_auth::{
    Auth, AuthConfig, AuthzProvider, Claims, Events, RefreshPolicy, TokenHandle, Verifier, cognito,
};
use tokio::net::TcpListener;
use tokio::time::{Instant, sleep};

const RUN: Duration = Duration::from_secs(12);
const ROTATE_AFTER: Duration = Duration::from_secs(4);
const DROP_AFTER: Duration = Duration::from_secs(8);

#[tokio::main]
async fn main() -> Result<(), Box<dyn Error>> {
    let began = Instant::now();
    let say = move |line: &str| println!("{:6.2}s  {line}", began.elapsed().as_secs_f64());
    let auth = Auth::start().await?;
    let timeline = tokio::spawn(print_events(auth.events(), began));

    let (issuer, token, verifier) = connect(&auth).await?;
    let api = serve(verifier).await?;
    say(&format!(
        "the API listens at {api} and lets in only who has a valid token"
    ));

    let messages = auth.messages_sent();
    let tally = Arc::new(Tally::default());
    let callers: Vec<_> = (0..4)
        .map(|_| tokio::spawn(call(api.clone(), token.clone(), Arc::clone(&tally), began)))
        .collect();
    if let Some(issuer) = &issuer {
        let old = issuer.mint(serde_json::json!({"client_id": "quickstart"}));
        sleep(ROTATE_AFTER).await;
        let kid = issuer.rotate();
        say(&format!(
            "THE ISSUER ROTATES: it signs with {kid} from now on"
        ));
        sleep(DROP_AFTER - ROTATE_AFTER).await;
        issuer.drop_old_keys();
        say("THE ISSUER DROPS ITS OLD KEY: tokens it signed must be refused");
        sleep(Duration::from_secs(3)).await;
        let status = reqwest::Client::new()
            .get(&api)
            .bearer_auth(old)
            .send()
            .await?
            .status();
        say(&format!("a token of the dropped key gets {status}"));
        tally.count(status == 401);
    } else {
        sleep(RUN / 2).await;
        say("asking for another token, as after a 401");
        token.renew(&*token.current()?).await?;
        sleep(RUN / 2).await;
    }
    for caller in callers {
        caller.abort();
    }

    let (good, bad) = (
        tally.good.load(Ordering::Relaxed),
        tally.bad.load(Ordering::Relaxed),
    );
    let messages = auth.messages_sent() - messages;
    say(&format!(
        "{} tokens; the handles of {good} requests sent the actors {messages} messages",
        token.status().version
    ));
    if let Some(issuer) = &issuer {
        say(&format!("the issuer was asked for: {:?}", issuer.counts()));
    }
    auth.shutdown().await;
    timeline.await?;
    say(&format!("{good} requests, {bad} failed"));
    if bad > 0 || good == 0 {
        return Err("a request failed that need not have failed".into());
    }
    Ok(())
}

/// A token and a verifier: of a real provider if the environment names one, else of an issuer in
/// this process.
async fn connect(
    auth: &Auth,
) -> Result<(Option<TestIssuer>, TokenHandle, Arc<dyn AuthzProvider>), Box<dyn Error>> {
    let config = AuthConfig::from_env()?;
    if config.cognito_user_pool_id.is_some() {
        let token = auth.token(cognito::ClientCredentials::from_env()?).await?;
        let verifier = auth
            .verifier(cognito::UserPool::from_env()?.access_tokens())
            .await?;
        return Ok((None, token, Arc::new(verifier)));
    }
    let variable = |name: &str| std::env::var(name).map_err(|_| format!("set {name}"));
    if let Ok(issuer) = variable("OAUTH_ISSUER") {
        let audience = variable("OAUTH_AUDIENCE")?;
        let credentials = ClientCredentials::new(
            variable("OAUTH_TOKEN_URL")?,
            variable("OAUTH_CLIENT_ID")?,
            variable("OAUTH_CLIENT_SECRET")?,
        )
        .audience(&audience)
        .resource(&audience);
        let token = auth.token(credentials).await?;
        let verifier = auth
            .verifier(Verifier::builder(issuer).audience(audience))
            .await?;
        return Ok((None, token, Arc::new(verifier)));
    }
    let issuer = TestIssuer::builder()
        .client("quickstart", "s3cr3t")
        .lifetime(Duration::from_secs(3))
        .start()
        .await?;
    let credentials =
        ClientCredentials::new(issuer.token_url(), "quickstart", "s3cr3t").name("quickstart");
    let token = auth.token(credentials).await?;
    // Keys every two seconds, to see something; the defaults are five minutes and two seconds.
    let rules = Verifier::builder(issuer.url())
        .client_id("quickstart")
        .name("issuer")
        .rotation(RotationPolicy::default().interval(Duration::from_secs(2)))
        .refresh(RefreshPolicy::for_keys().demand_floor(Duration::from_millis(200)));
    let verifier = auth.verifier(rules).await?;
    Ok((Some(issuer), token, Arc::new(verifier)))
}

/// The API: one route, and a guard in front of it.
async fn serve(verifier: Arc<dyn AuthzProvider>) -> Result<String, Box<dyn Error>> {
    let app = Router::new()
        .route("/", get(whoami))
        .layer(middleware::from_fn_with_state(verifier, guard));
    let listener = TcpListener::bind(("127.0.0.1", 0)).await?;
    let url = format!("http://{}/", listener.local_addr()?);
    tokio::spawn(async move { axum::serve(listener, app).await });
    Ok(url)
}

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
        Err(error) => Rejection::from(&error).into_response(),
    }
}

async fn whoami(Extension(claims): Extension<Claims>) -> Json<Option<String>> {
    Json(claims.client_id().map(str::to_owned))
}

#[derive(Default)]
struct Tally {
    good: AtomicU64,
    bad: AtomicU64,
}

impl Tally {
    fn count(&self, good: bool) {
        let counter = if good { &self.good } else { &self.bad };
        counter.fetch_add(1, Ordering::Relaxed);
    }
}

/// Calls the API again and again, as another service would.
async fn call(api: String, token: TokenHandle, tally: Arc<Tally>, began: Instant) {
    let client = reqwest::Client::new();
    loop {
        let problem = match token.authorization() {
            Err(error) => Some(error.to_string()),
            Ok(authorization) => {
                let request = client.get(&api).header("authorization", authorization);
                match request.send().await {
                    Ok(response) if response.status().is_success() => None,
                    Ok(response) => Some(response.status().to_string()),
                    Err(error) => Some(error.to_string()),
                }
            }
        };
        tally.count(problem.is_none());
        if let Some(problem) = problem {
            println!(
                "{:6.2}s  REQUEST FAILED: {problem}",
                began.elapsed().as_secs_f64()
            );
        }
        sleep(Duration::from_millis(5)).await;
    }
}

async fn print_events(mut events: Events, began: Instant) {
    while let Ok(event) = events.recv().await {
        let mark = match &event.change {
            Change::RefreshFailed { .. } | Change::Expired { .. } => "!",
            _ => "*",
        };
        println!("{:6.2}s {mark} {event}", began.elapsed().as_secs_f64());
    }
}
