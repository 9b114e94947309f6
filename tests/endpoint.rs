//! What the credentials of one token endpoint share, and what ends a refusal.

#![expect(
    clippy::expect_used,
    reason = "a test that cannot be set up has failed"
)]

use std::time::Duration;

use midil_auth::event::Change;
use midil_auth::oauth2::{ClientCredentials, ClientSecret, LifetimePolicy};
use midil_auth::testing::{Endpoint, Fault, TestIssuer};
use midil_auth::{Auth, Events, RefreshPolicy, Start};

async fn until(events: &mut Events, wanted: impl Fn(&Change) -> bool) {
    let waiting = async {
        while let Ok(event) = events.recv().await {
            if wanted(&event.change) {
                return;
            }
        }
    };
    tokio::time::timeout(Duration::from_secs(20), waiting)
        .await
        .expect("told in time");
}

#[tokio::test]
async fn a_throttled_endpoint_is_left_alone_by_every_credential() {
    let issuer = TestIssuer::start().await.expect("up");
    let auth = Auth::start().await.expect("started");
    let mut events = auth.events();
    issuer.fail_next(Endpoint::Token, 1, Fault::Throttle(2));
    let credential = |name: &str| {
        ClientCredentials::new(issuer.token_url(), name, "s3cr3t").start(Start::Background)
    };
    let first = auth
        .token(credential("first"))
        .await
        .expect("in the background");
    until(&mut events, |change| {
        matches!(change, Change::Throttled { .. })
    })
    .await;
    let second = auth
        .token(credential("second"))
        .await
        .expect("in the background");
    tokio::time::sleep(Duration::from_millis(500)).await;
    assert_eq!(issuer.counts().token, 1, "nobody asks during the pause");
    for token in [&first, &second] {
        let ready = tokio::time::timeout(Duration::from_secs(20), async {
            while token.ready().await.is_err() {
                tokio::time::sleep(Duration::from_millis(20)).await;
            }
        });
        ready.await.expect("served after the pause");
    }
    assert_eq!(issuer.counts().token, 3);
}

#[tokio::test]
async fn a_new_secret_in_the_file_ends_a_refusal_long_before_the_probe() {
    let path = std::env::temp_dir().join(format!("midil-auth-watched-{}", std::process::id()));
    std::fs::write(&path, "wrong").expect("written");
    let issuer = TestIssuer::builder()
        .client("orders", "right")
        .start()
        .await
        .expect("up");
    let auth = Auth::start().await.expect("started");
    let mut events = auth.events();
    let credential =
        ClientCredentials::new(issuer.token_url(), "orders", ClientSecret::file(&path))
            .start(Start::Background);
    let token = auth.token(credential).await.expect("in the background");
    until(
        &mut events,
        |change| matches!(change, Change::RefreshFailed { error, .. } if !error.is_transient()),
    )
    .await;
    std::fs::write(&path, "right").expect("written");
    until(&mut events, |change| matches!(change, Change::Acquired(_))).await;
    assert!(token.current().is_ok());
    assert_eq!(
        issuer.counts().token,
        2,
        "the probe, a minute away, was not waited for"
    );
    std::fs::remove_file(&path).expect("removed");
}

#[tokio::test]
async fn less_scope_than_asked_for_is_told() {
    let issuer = TestIssuer::start().await.expect("up");
    let auth = Auth::start().await.expect("started");
    let mut events = auth.events();
    let body =
        r#"{"access_token":"t","token_type":"Bearer","expires_in":60,"scope":"a"}"#.to_owned();
    let narrowed = Fault::Respond {
        status: 200,
        headers: Vec::new(),
        body,
    };
    issuer.fail_next(Endpoint::Token, 1, narrowed);
    let credential = ClientCredentials::new(issuer.token_url(), "orders", "s3cr3t")
        .scope("a b")
        .refresh(RefreshPolicy::for_tokens())
        .lifetime(LifetimePolicy::default());
    let token = auth.token(credential).await.expect("a token");
    assert_eq!(token.current().expect("a token").granted_scope(), Some("a"));
    until(
        &mut events,
        |change| matches!(change, Change::ScopeNarrowed { missing } if *missing == ["b"]),
    )
    .await;
}

#[tokio::test]
async fn a_thousand_credentials_of_one_endpoint_begin_in_turns_and_all_are_served() {
    let issuer = TestIssuer::start().await.expect("up");
    let auth = Auth::start().await.expect("started");
    let mut tokens = Vec::new();
    for n in 0..1_000 {
        let credential = ClientCredentials::new(issuer.token_url(), format!("c{n}"), "s3cr3t")
            .start(Start::Background);
        tokens.push(auth.token(credential).await.expect("in the background"));
    }
    for token in &tokens {
        token.ready().await.expect("served");
    }
    assert_eq!(issuer.counts().token, 1_000, "one request each");
    assert!(auth.health().ready);
}
