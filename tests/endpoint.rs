//! What the credentials of one token endpoint share, and what ends a refusal.

#![expect(
    clippy::expect_used,
    reason = "a test that cannot be set up has failed"
)]

use std::time::{Duration, SystemTime};

use midil_auth::event::Change;
use midil_auth::oauth2::{ClientCredentials, ClientSecret};
use midil_auth::testing::{Endpoint, Fault, TestIssuer};
use midil_auth::{Auth, Events, RefreshPolicy, Start};

async fn until(events: &mut Events, mut wanted: impl FnMut(&Change) -> bool) {
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

/// An answer of this status that asks to be left alone until then.
fn asks_for_peace(status: u16, retry_after: Option<String>, body: &str) -> Fault {
    let header = retry_after.map(|value| ("retry-after".to_owned(), value));
    Fault::Respond {
        status,
        headers: header.into_iter().collect(),
        body: body.to_owned(),
    }
}

/// Two credentials of one endpoint: the first is answered with `fault`, and neither asks again
/// before the pause is over.
async fn is_left_alone(fault: Fault) {
    let issuer = TestIssuer::start().await.expect("up");
    let auth = Auth::start().await.expect("started");
    let mut events = auth.events();
    issuer.fail_next(Endpoint::Token, 1, fault);
    let pause = Duration::from_secs(3);
    let credential = |name: &str| {
        ClientCredentials::new(issuer.token_url(), name, "s3cr3t")
            .refresh(RefreshPolicy::for_tokens().retry(pause, pause))
            .start(Start::Background)
    };
    let first = auth.token(credential("first")).await;
    let first = first.expect("in the background");
    until(&mut events, |change| {
        matches!(change, Change::Throttled { .. })
    })
    .await;
    let second = auth.token(credential("second")).await;
    let second = second.expect("in the background");
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
async fn a_throttled_endpoint_is_left_alone_by_every_credential() {
    #[expect(
        clippy::disallowed_methods,
        reason = "a server writes a date of its own"
    )]
    let soon = httpdate::fmt_http_date(SystemTime::now() + Duration::from_secs(4));
    let aws = r#"{"__type":"com.amazonaws.cognito.identity.idp#TooManyRequestsException"}"#;
    tokio::join!(
        is_left_alone(Fault::Throttle(3)),
        is_left_alone(asks_for_peace(429, Some(soon.clone()), "")),
        is_left_alone(asks_for_peace(400, None, aws)),
        is_left_alone(asks_for_peace(400, Some("3".to_owned()), aws)),
        is_left_alone(asks_for_peace(503, Some("3".to_owned()), "<html>")),
        is_left_alone(asks_for_peace(503, Some(soon), "{}")),
    );
}

#[tokio::test]
async fn a_refusal_of_one_credential_holds_the_others_no_longer_than_it_says() {
    let issuer = TestIssuer::start().await.expect("up");
    let auth = Auth::start().await.expect("started");
    let mut events = auth.events();
    let refused = r#"{"error":"invalid_client"}"#;
    let refused = asks_for_peace(401, Some("1".to_owned()), refused);
    issuer.fail_next(Endpoint::Token, 1, refused);
    let credential = |name: &str| {
        ClientCredentials::new(issuer.token_url(), name, "s3cr3t").start(Start::Background)
    };
    let first = auth.token(credential("first")).await;
    let first = first.expect("in the background");
    until(
        &mut events,
        |change| matches!(change, Change::Throttled { pause } if *pause <= Duration::from_secs(1)),
    )
    .await;
    let second = auth.token(credential("second")).await;
    let second = second.expect("in the background");
    until(&mut events, |change| matches!(change, Change::Acquired(_))).await;
    assert!(second.current().is_ok());
    let error = first.current().expect_err("parked").to_string();
    assert!(error.contains("invalid_client"), "{error}");
}

#[tokio::test]
async fn whatever_retry_after_says_the_pause_is_what_the_policy_allows() {
    let moment = Duration::from_millis(20);
    let longest = Duration::from_millis(150);
    let policy = RefreshPolicy::for_tokens()
        .retry(moment, moment)
        .max_retry_after(longest);
    let digits = "9".repeat(400);
    for values in [
        &["0"][..],
        &["-1"],
        &[""],
        &[" "],
        &["soon"],
        &["NaN"],
        &["1e99"],
        &["\u{fe}\u{ff}"],
        &["99999999999999999999"],
        &[&*digits],
        &["1", "99999999999"],
        &["99999999999", "-1"],
        &["Thu, 01 Jan 1970 00:00:00 GMT"],
        &["Fri, 31 Dec 9999 23:59:59 GMT"],
        &["Fri, 99 Dec 9999 99:99:99 GMT"],
    ] {
        let issuer = TestIssuer::start().await.expect("up");
        let auth = Auth::start().await.expect("started");
        let mut events = auth.events();
        let header = |value: &&str| ("retry-after".to_owned(), (*value).to_owned());
        let fault = Fault::Respond {
            status: 429,
            headers: values.iter().map(header).collect(),
            body: String::new(),
        };
        issuer.fail_next(Endpoint::Token, 1, fault);
        let credential = ClientCredentials::new(issuer.token_url(), "orders", "s3cr3t");
        let token = auth.token(credential.refresh(policy)).await;
        token.expect("a token after the pause");
        until(&mut events, |change| match change {
            Change::RefreshFailed {
                error,
                next_attempt_in,
                ..
            } => {
                assert_eq!(error.as_str(), "throttled", "{values:?}");
                assert!((moment..=longest).contains(next_attempt_in), "{values:?}");
                true
            }
            Change::Throttled { pause } => {
                assert!(*pause <= longest, "{values:?}: {pause:?}");
                false
            }
            _ => false,
        })
        .await;
        assert_eq!(issuer.counts().token, 2);
    }
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
async fn less_scope_than_asked_for_is_told_wherever_the_issuer_says_it() {
    let issuer = TestIssuer::start().await.expect("up");
    let auth = Auth::start().await.expect("started");
    let mut events = auth.events();
    let jwt = |scope: &str| issuer.mint(serde_json::json!({ "scope": scope }));
    let response = |token: &str, scope: &str| {
        format!(r#"{{"access_token":"{token}","expires_in":60{scope}}}"#)
    };
    for (body, granted) in [
        (response("opaque", r#","scope":"a c""#), "a c"),
        // As Amazon Cognito answers: nowhere but in the token.
        (response(&jwt("c a"), ""), "c a"),
        (response(&jwt("a b"), r#","scope":"a""#), "a"),
        (response(&jwt("a b"), ""), "a b"),
        (response("opaque", ""), ""),
    ] {
        let answer = Fault::Respond {
            status: 200,
            headers: Vec::new(),
            body,
        };
        issuer.fail_next(Endpoint::Token, 1, answer);
        let credential = ClientCredentials::new(issuer.token_url(), "orders", "s3cr3t");
        let token = auth.token(credential.scope("a b")).await.expect("a token");
        let current = token.current().expect("a token");
        assert_eq!(current.granted_scope().unwrap_or_default(), granted);
        drop(token);
        let mut told = Vec::new();
        until(&mut events, |change| {
            if let Change::ScopeNarrowed { missing } = change {
                told.extend(missing.clone());
            }
            matches!(change, Change::Stopped)
        })
        .await;
        let lacks_b = matches!(granted, "a c" | "c a" | "a");
        assert_eq!(told, ["b"][..usize::from(lacks_b)]);
    }
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
