//! The page, the stream it draws from, and its buttons.

use std::convert::Infallible;
use std::sync::Arc;
use std::time::Duration;

use axum::Router;
use axum::extract::{Path, State};
use axum::http::{StatusCode, header};
use axum::response::sse::{Event, Sse};
use axum::response::{Html, IntoResponse};
use axum::routing::{get, post};
use futures_util::Stream;
use futures_util::stream;
use midil_auth::testing::{Endpoint, Fault, TestIssuer};
use midil_auth::{Auth, Health};
use parking_lot::Mutex;
use serde::Serialize;
use serde_json::json;
use tokio::sync::watch;
use tokio::time::{MissedTickBehavior, interval, sleep};

use crate::CAST;
use crate::history::History;
use crate::traffic;

const FRAME: Duration = Duration::from_millis(250);

/// Nothing but what is in the page itself, and its own stream.
const POLICY: &str = "default-src 'none'; script-src 'unsafe-inline'; style-src 'unsafe-inline'; \
                      connect-src 'self'; img-src data:";

/// All that the page shows and its buttons move.
pub(crate) struct Stage {
    pub(crate) auth: Auth,
    pub(crate) issuers: Vec<TestIssuer>,
    pub(crate) api: String,
    pub(crate) history: Arc<Mutex<History>>,
    pub(crate) closing: watch::Receiver<bool>,
}

type Staged = State<Arc<Stage>>;

pub(crate) fn routes(stage: Stage) -> Router {
    Router::new()
        .route("/", get(page))
        .route("/stream", get(frames))
        .route("/issuers/{mood}", post(turn))
        .route("/rotate", post(rotate))
        .route("/forge", post(forge))
        .with_state(Arc::new(stage))
}

async fn page() -> impl IntoResponse {
    let headers = [(header::CONTENT_SECURITY_POLICY, POLICY)];
    (headers, Html(include_str!("page.html")))
}

/// One drawing after the other until the page or the server is closed.
async fn frames(State(stage): Staged) -> Sse<impl Stream<Item = Result<Event, Infallible>>> {
    let mut ticks = interval(FRAME);
    ticks.set_missed_tick_behavior(MissedTickBehavior::Skip);
    let closing = stage.closing.clone();
    Sse::new(stream::unfold(
        (stage, ticks, closing),
        async |(stage, mut ticks, mut closing)| {
            tokio::select! {
                _ = closing.wait_for(|closing| *closing) => return None,
                _ = ticks.tick() => {}
            }
            let event = Event::default().data(stage.frame());
            Some((Ok(event), (stage, ticks, closing)))
        },
    ))
}

#[derive(Serialize)]
struct Frame<'a> {
    now: f64,
    mood: &'static str,
    health: Health,
    /// What the issuers were asked.
    asked: serde_json::Value,
    #[serde(flatten)]
    history: &'a History,
}

impl Stage {
    fn frame(&self) -> String {
        let health = self.auth.health();
        let counts = self.issuers.iter().map(TestIssuer::counts);
        let (tokens, keys) = counts.fold((0, 0), |(tokens, keys), counts| {
            (tokens + counts.token, keys + counts.jwks)
        });
        let history = self.history.lock();
        let frame = Frame {
            now: history.now(),
            mood: history.mood(),
            health,
            asked: json!({"tokens": tokens, "keys": keys}),
            history: &history,
        };
        // Maps with strings for keys always serialize.
        serde_json::to_string(&frame).unwrap_or_default()
    }
}

async fn turn(State(stage): Staged, Path(mood): Path<String>) -> StatusCode {
    let (mood, fault) = match &*mood {
        "up" => ("up", None),
        "down" => ("down", Some(Fault::Reset)),
        "slow" => ("slow", Some(Fault::Delay(Duration::from_secs(3)))),
        "throttling" => ("throttling", Some(Fault::Throttle(5))),
        _ => return StatusCode::NOT_FOUND,
    };
    for issuer in &stage.issuers {
        match &fault {
            None => issuer.recover(),
            Some(fault) => {
                issuer.fail(Endpoint::Token, fault.clone());
                issuer.fail(Endpoint::Jwks, fault.clone());
            }
        }
    }
    stage.history.lock().turned(mood);
    StatusCode::NO_CONTENT
}

/// The issuers sign with a new key each, and go on listing the old ones for as long as there are
/// tokens that they have signed.
async fn rotate(State(stage): Staged) -> StatusCode {
    for (issuer, (name, _, lifetime)) in stage.issuers.iter().zip(CAST) {
        let kid = issuer.rotate();
        let text = format!("{name} signs with {kid} from now on");
        stage.history.lock().note("you", text);
        let issuer = issuer.clone();
        tokio::spawn(async move {
            sleep(lifetime).await;
            if issuer.signing_key().kid() == kid {
                issuer.drop_old_keys();
            }
        });
    }
    StatusCode::NO_CONTENT
}

async fn forge(State(stage): Staged) -> StatusCode {
    for issuer in &stage.issuers {
        if traffic::forge(issuer, &stage.api).await.is_err() {
            return StatusCode::BAD_GATEWAY;
        }
    }
    StatusCode::NO_CONTENT
}
