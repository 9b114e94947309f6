//! What a credential and the whole say of themselves, for logs and health endpoints.

use midil_auth::oauth2::TokenState;
use serde_json::{Value, json};

use super::*;

/// When a test's clock starts.
const START: f64 = 1_893_456_000.0;

fn status(token: &TokenHandle) -> Value {
    serde_json::to_value(token.status()).expect("serializable")
}

/// Refreshes after three quarters of the lifetime exactly.
fn exact() -> RefreshPolicy {
    RefreshPolicy::for_tokens()
        .jitter(0.0)
        .retry(MINUTE, MINUTE)
        .probe(5 * MINUTE, 5 * MINUTE)
}

/// The members and their types are what dashboards are built on.
#[tokio::test(start_paused = true)]
async fn a_status_is_written_as_documented_in_each_of_its_states() {
    let (auth, _clock) = start().await;
    let issuer = Issuer::new(Mood::Takes(SECOND));
    let credential = Credential::new("orders", issuer.clone()).refresh(exact());
    let token = auth.token(credential.start(Start::Lazy)).await;
    let token = token.expect("lazy");
    settle().await;
    let blank = json!({
        "name": "orders", "state": "idle", "version": 0, "age": null, "expires_at": null,
        "usable_for": null, "next_fetch_in": null, "failures": 0, "last_error": null,
    });
    let like = |differences: Value| {
        let mut expected = blank.clone();
        for (name, value) in differences.as_object().expect("an object") {
            assert!(expected.get(name).is_some());
            expected[name] = value.clone();
        }
        expected
    };
    assert_eq!(status(&token), blank);

    // Somebody asks: the first token is on its way.
    assert!(token.current().is_err());
    settle().await;
    assert_eq!(status(&token), like(json!({"state": "pending"})));

    pass(SECOND).await;
    let expires_at = START + 3600.0;
    assert_eq!(
        status(&token),
        like(json!({
            "state": "fresh", "version": 1, "age": 1.0, "expires_at": expires_at,
            "usable_for": 3589.0, "next_fetch_in": 2699.0,
        }))
    );

    issuer.is(Mood::Down);
    pass(2699 * SECOND).await;
    assert_eq!(
        status(&token),
        like(json!({
            "state": "degraded", "version": 1, "age": 2700.0, "expires_at": expires_at,
            "usable_for": 890.0, "next_fetch_in": 60.0,
            "failures": 1, "last_error": "the issuer is down",
        }))
    );

    issuer.is(Mood::Refuses);
    pass(900 * SECOND).await;
    assert_eq!(
        status(&token),
        like(json!({
            "state": "down", "version": 1, "next_fetch_in": 60.0,
            "failures": 4, "last_error": "invalid_client",
        }))
    );

    auth.shutdown().await;
    let stopped = status(&token);
    assert_eq!(stopped["state"], "stopped");
    assert_eq!(stopped["usable_for"], Value::Null);
}

#[tokio::test(start_paused = true)]
async fn health_is_written_as_documented() {
    let (auth, _clock) = start().await;
    let empty = json!({"live": true, "ready": true, "tokens": [], "keys": []});
    let health = || serde_json::to_value(auth.health()).expect("serializable");
    assert_eq!(health(), empty);
    let (b, a) = (Issuer::new(Mood::Issues), Issuer::new(Mood::Issues));
    let b = begin_with(&auth, Credential::new("b", b)).await;
    let a = begin_with(&auth, Credential::new("a", a)).await;
    let mut expected = empty;
    expected["tokens"] = json!([status(&a), status(&b)]);
    assert_eq!(health(), expected, "by name");
}

/// Ready is whoever can be sent requests; alive is whoever a restart would not help.
#[tokio::test(start_paused = true)]
async fn health_says_whether_requests_can_be_sent_and_whether_a_restart_would_help() {
    for (mood, start_as, after, state, ready) in [
        (Mood::Issues, Start::Lazy, SECOND, TokenState::Idle, true),
        (
            Mood::Hangs,
            Start::Background,
            SECOND,
            TokenState::Pending,
            false,
        ),
        (
            Mood::Issues,
            Start::Background,
            SECOND,
            TokenState::Fresh,
            true,
        ),
        (
            Mood::Down,
            Start::Background,
            SECOND,
            TokenState::Down,
            false,
        ),
        (
            Mood::Refuses,
            Start::Background,
            SECOND,
            TokenState::Down,
            false,
        ),
    ] {
        let (auth, _clock) = start().await;
        let credential = Credential::new("t", Issuer::new(mood));
        let token = auth.token(credential.start(start_as)).await;
        let token = token.expect("in the background");
        pass(after).await;
        let health = auth.health();
        assert_eq!(token.status().state, state);
        assert_eq!((health.live, health.ready), (true, ready), "{state:?}");
        auth.shutdown().await;
        let health = auth.health();
        assert_eq!((health.live, health.ready), (false, false), "{state:?}");
    }

    let (auth, _clock) = start().await;
    let issuer = Issuer::new(Mood::Issues);
    let token = begin(&auth, &issuer).await;
    issuer.is(Mood::Down);
    for (at, state, ready) in [
        (LIFETIME * 7 / 8, TokenState::Degraded, true),
        (LIFETIME, TokenState::Down, false),
    ] {
        pass(at).await;
        assert_eq!((token.status().state, auth.health().ready), (state, ready));
        assert!(
            auth.health().live,
            "a restart would not bring the issuer back"
        );
    }
    // An actor that is being restarted does not stop the service.
    issuer.is(Mood::Issues);
    pass(2 * MINUTE).await;
    auth.crash(Actor::TokenManager);
    settle().await;
    assert!(auth.health().live && auth.health().ready);
}
