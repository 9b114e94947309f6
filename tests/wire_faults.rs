//! One fault on the wire, once, and a crowd at one endpoint: over real HTTP on loopback, in real
//! time. What has a deadline has a generous one.

#![expect(
    clippy::expect_used,
    reason = "a test that cannot be set up has failed"
)]

use std::sync::Arc;
use std::sync::atomic::{AtomicUsize, Ordering};
use std::time::Duration;

use axum::Router;
use axum::routing::post;
use midil_auth::event::{Actor, Change};
use midil_auth::oauth2::{ClientCredentials, TokenError};
use midil_auth::testing::{Endpoint, Fault, TestIssuer};
use midil_auth::{Auth, RefreshPolicy, Start, TokenHandle};
use tokio::net::TcpListener;

/// How long a test waits for what is bound to happen.
const PATIENCE: Duration = Duration::from_secs(30);

const fn ms(millis: u64) -> Duration {
    Duration::from_millis(millis)
}

fn respond(status: u16, content_type: &str, body: &str) -> Fault {
    Fault::Respond {
        status,
        headers: vec![("content-type".into(), content_type.into())],
        body: body.into(),
    }
}

async fn in_the_background(auth: &Auth, credential: ClientCredentials) -> TokenHandle {
    let credential = credential.start(Start::Background);
    auth.token(credential).await.expect("in the background")
}

/// Any of them has stopped one of this crate's peers for good.
#[tokio::test]
async fn one_fault_is_over_by_itself_within_its_backoff_and_its_cause_is_told_meanwhile() {
    const JSON: &str = "application/json";
    let policy = RefreshPolicy::for_tokens()
        .demand_floor(ms(10))
        .retry(ms(50), ms(100))
        .probe(ms(50), ms(100));
    for (what, fault, cause) in [
        ("a torn body", Fault::Truncate, "the connection broke"),
        ("a reset", Fault::Reset, "the connection broke"),
        ("a page", Fault::Html, "not a JSON token response"),
        ("an empty 200", respond(200, JSON, ""), "not a JSON token"),
        ("half a JSON", respond(200, JSON, "{\"acc"), "not a JSON"),
        (
            "an empty object",
            respond(200, JSON, "{}"),
            "no access_token",
        ),
        ("a null", respond(200, JSON, "null"), "not a JSON"),
        (
            "a refusal",
            respond(401, JSON, r#"{"error":"invalid_client"}"#),
            "invalid_client",
        ),
        ("a bare 401", respond(401, "text/plain", "no"), "401"),
        ("a bare 403", respond(403, "text/html", "<p>no"), "403"),
        ("a 500", Fault::Status(500), "500"),
    ] {
        let issuer = TestIssuer::start().await.expect("an issuer");
        let auth = Auth::start().await.expect("started");
        let mut events = auth.events();
        for holding in [false, true] {
            issuer.fail_next(Endpoint::Token, 1, fault.clone());
            let credential = ClientCredentials::new(issuer.token_url(), "orders", "s3cr3t");
            let token = if holding {
                issuer.recover();
                let token = auth.token(credential.refresh(policy)).await;
                let token = token.expect("a token");
                issuer.fail_next(Endpoint::Token, 1, fault.clone());
                let rejected = token.current().expect("a token");
                let error = token.renew(&rejected).await.expect_err(what);
                assert!(error.to_string().contains(cause), "{what}: {error}");
                assert!(token.current().is_ok(), "{what}: the token is held");
                token
            } else {
                in_the_background(&auth, credential.refresh(policy)).await
            };
            let told = async {
                let mut failed = false;
                while let Ok(event) = events.recv().await {
                    match event.change {
                        Change::RefreshFailed { error, .. } => {
                            assert!(error.to_string().contains(cause), "{what}: {error}");
                            failed = true;
                        }
                        Change::Recovered { failures } => {
                            return assert_eq!((failed, failures), (true, 1), "{what}");
                        }
                        _ => {}
                    }
                }
            };
            let told = tokio::time::timeout(PATIENCE, told).await;
            told.expect("recovered by itself");
            assert!(token.current().is_ok(), "{what}");
            assert_eq!(token.status().last_error, None);
        }
    }
}

#[tokio::test]
async fn an_endpoint_that_asked_for_peace_is_left_in_peace_by_an_actor_that_was_restarted() {
    let issuer = TestIssuer::start().await.expect("an issuer");
    let auth = Auth::start().await.expect("started");
    let mut events = auth.events();
    issuer.fail_next(Endpoint::Token, 1, Fault::Throttle(600));
    let client = |name: &str| ClientCredentials::new(issuer.token_url(), name, "s3cr3t");
    let _first = in_the_background(&auth, client("first")).await;
    for wanted in ["throttled", "restarted"] {
        let told = async {
            while let Ok(event) = events.recv().await {
                if event.change.as_str() == wanted {
                    return;
                }
            }
        };
        tokio::time::timeout(PATIENCE, told).await.expect("told");
        if wanted == "throttled" {
            auth.crash(Actor::TokenManager);
        }
    }
    let second = in_the_background(&auth, client("second")).await;
    let waiting = async {
        while second.status().next_fetch_in.is_none() {
            tokio::time::sleep(ms(5)).await;
        }
    };
    let waiting = tokio::time::timeout(PATIENCE, waiting).await;
    waiting.expect("the second waits as well");
    let next = second.status().next_fetch_in.expect("waiting");
    assert!(next > Duration::from_secs(500), "{next:?}");
    assert_eq!(issuer.counts().token, 1);
}

/// A token endpoint that takes `delay` for an answer, and how many requests it has had at a time
/// at most.
async fn counting(delay: Duration) -> (String, Arc<AtomicUsize>) {
    let (now, most) = (AtomicUsize::new(0), Arc::new(AtomicUsize::new(0)));
    let (now, counted) = (Arc::new(now), Arc::clone(&most));
    let handler = post(move || async move {
        let at_once = now.fetch_add(1, Ordering::SeqCst) + 1;
        counted.fetch_max(at_once, Ordering::SeqCst);
        tokio::time::sleep(delay).await;
        now.fetch_sub(1, Ordering::SeqCst);
        r#"{"access_token":"t","expires_in":300}"#
    });
    let listener = TcpListener::bind("127.0.0.1:0").await.expect("a port");
    let address = listener.local_addr().expect("an address");
    let app = Router::new().route("/token", handler);
    tokio::spawn(async move { axum::serve(listener, app).await });
    (format!("http://{address}/token"), most)
}

#[tokio::test]
async fn a_crowd_at_one_endpoint_takes_turns_and_delays_nobody_at_another() {
    let (crowded, most) = counting(ms(30)).await;
    let hanging = TestIssuer::start().await.expect("an issuer");
    hanging.fail(Endpoint::Token, Fault::Hang);
    let auth = Auth::builder().read_timeout(PATIENCE * 2);
    let auth = auth.start().await.expect("started");
    let policy = RefreshPolicy::for_tokens().fetch_timeout(PATIENCE * 2);
    let mut stuck = Vec::new();
    for n in 0..300 {
        let client = ClientCredentials::new(hanging.token_url(), format!("h{n}"), "s3cr3t");
        let client = client.refresh(policy);
        stuck.push(in_the_background(&auth, client).await);
    }
    let mut crowd = Vec::new();
    for n in 0..300 {
        let client = ClientCredentials::new(&*crowded, format!("c{n}"), "s3cr3t");
        crowd.push(in_the_background(&auth, client).await);
    }
    for token in &crowd {
        token.ready().await.expect("served");
    }
    let most = most.load(Ordering::SeqCst);
    assert!((2..=64).contains(&most), "{most} requests at a time");
    assert!(hanging.counts().token <= 64);
    // Though three hundred hang, whoever comes now and asks elsewhere is served at once.
    let elsewhere = TestIssuer::start().await.expect("an issuer");
    let client = ClientCredentials::new(elsewhere.token_url(), "orders", "s3cr3t");
    let token = tokio::time::timeout(PATIENCE, auth.token(client)).await;
    token.expect("not behind the others").expect("a token");
    let waiting = |token: &TokenHandle| matches!(token.current(), Err(TokenError::NotReady));
    assert!(stuck.iter().all(waiting));
}
