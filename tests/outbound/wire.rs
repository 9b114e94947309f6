//! What is asked for, what is made of the answer, and what a reader gets without one.

use super::*;

#[tokio::test]
async fn credentials_that_differ_in_anything_at_all_have_tokens_of_their_own() {
    let (url, mut requests) = recorder(Duration::ZERO).await;
    let auth = auth().await;
    let plain = || ClientCredentials::new(&url, "orders", "s3cr3t");
    let credentials = [
        plain(),
        plain(),
        plain().scope("a b"),
        plain().scope("b a"),
        plain().scope("a"),
        plain().audience("a"),
        plain().resource("a"),
        plain().resource("a").resource("b"),
        plain().parameter("aws_client_metadata", "{}"),
        plain().client_auth(ClientAuth::Post),
        ClientCredentials::new(&url, "orders-2", "s3cr3t"),
        ClientCredentials::new(format!("{url}?tenant=2"), "orders", "s3cr3t"),
    ];
    let (count, mut tokens, mut handles) = (credentials.len(), HashSet::new(), Vec::new());
    for credential in credentials {
        let token = auth.token(credential).await.expect("a token");
        tokens.insert(current(&token).expose().to_owned());
        handles.push(token);
    }
    assert_eq!(tokens.len(), count);
    let asked: Vec<_> = std::iter::from_fn(|| requests.try_recv().ok()).collect();
    assert_eq!(asked.len(), count);
    // Asking for another token of one leaves the others alone.
    let before: Vec<_> = handles.iter().map(current).collect();
    handles[2].renew(&before[2]).await.expect("another token");
    for (n, (token, before)) in handles.iter().zip(before).enumerate() {
        assert_eq!(current(token).is_same_token(&before), n != 2);
    }
}

#[tokio::test]
async fn a_token_is_taken_whatever_its_answer_is_labelled_and_sent_as_bearer() {
    for (label, kind) in [
        (Some("application/json"), "bearer"),
        (Some("text/html; charset=utf-8"), "BEARER"),
        (Some("text/plain"), "Bearer"),
        (Some("nonsense"), "bEARER"),
        (None, "Bearer"),
    ] {
        let issuer = an_issuer().await;
        let labels = label.map(|label| ("content-type".to_owned(), label.to_owned()));
        issuer.fail(
            Endpoint::Token,
            Fault::Respond {
                status: 200,
                headers: labels.into_iter().collect(),
                body: format!(r#"{{"access_token":"a\/b","token_type":"{kind}"}}"#),
            },
        );
        let token = auth().await.token(orders(issuer.token_url())).await;
        let header = token.expect("a token").authorization().expect("a header");
        assert_eq!(header, "Bearer a/b", "{label:?}");
    }
}

#[tokio::test]
async fn no_lifetime_is_absurd_enough_to_break_anything() {
    let year = Duration::from_secs(366 * 86_400);
    for (lifetime, served) in [
        ("0", false),
        ("-1", false),
        ("-9223372036854775808", false),
        ("\"-1\"", false),
        ("1", true),
        ("0.5", true),
        ("\"3600\"", true),
        ("3599.99", true),
        ("2147483648", true),
        ("9223372036854775", true),
        ("18446744073709551615", true),
        ("1e308", true),
        ("1e999", true),
        ("\"Infinity\"", true),
        ("null", true),
        ("{}", true),
    ] {
        let issuer = an_issuer().await;
        let body = format!(r#"{{"access_token":"abc","expires_in":{lifetime}}}"#);
        issuer.fail(Endpoint::Token, respond(&body));
        let auth = auth().await;
        let mut events = auth.events();
        let credential = ClientCredentials::new(issuer.token_url(), "orders", "s3cr3t");
        let token = auth.token(credential.start(Start::Background)).await;
        let token = token.expect("in the background");
        if served {
            let usable_for = event(&mut events, |change| match change {
                Change::Acquired(token) => Some(token.usable_for),
                _ => None,
            });
            let usable_for = usable_for.await;
            assert!(
                usable_for > Duration::ZERO && usable_for <= year,
                "{lifetime}"
            );
        } else {
            failure(&mut events, "unusable", false).await;
            assert!(token.authorization().is_err(), "{lifetime}");
        }
        assert_eq!(issuer.counts().token, 1, "{lifetime} is no reason to hurry");
        assert!(auth.health().live);
    }
}

#[tokio::test]
async fn a_token_that_does_not_say_how_long_it_lives_is_not_kept_for_ever() {
    let issuer = an_issuer().await;
    let auth = auth().await;
    let life = |token: &TokenHandle| {
        let token = current(token);
        let life = token.expires_at().duration_since(token.issued_at());
        life.expect("later").as_secs()
    };
    let policy = LifetimePolicy::default().default_lifetime(Duration::from_secs(77));
    let credential = orders(issuer.token_url()).lifetime(policy);
    issuer.fail_next(Endpoint::Token, 1, respond(r#"{"access_token":"opaque"}"#));
    let token = auth.token(credential).await.expect("a token");
    assert_eq!(life(&token), 77);
    let answered = async |body: String| {
        // The cool-down of the last `renew`.
        tokio::time::sleep(ms(40)).await;
        issuer.fail_next(Endpoint::Token, 1, respond(&body));
        token.renew(&current(&token)).await.expect("another token");
        life(&token)
    };
    // A JWT says it itself, whatever the response claims.
    for (stated, expected) in [
        ("", 300),
        (r#","expires_in":99999"#, 300),
        (r#","expires_in":9"#, 9),
    ] {
        let jwt = issuer.mint(serde_json::json!({}));
        let life = answered(format!(r#"{{"access_token":"{jwt}"{stated}}}"#)).await;
        assert!(
            (expected - 2..=expected).contains(&life),
            "{stated}: {life}"
        );
    }
    // Nor does it inherit the end of the one before.
    let life = answered(r#"{"access_token":"next"}"#.to_owned()).await;
    assert_eq!(life, 77);
}

#[tokio::test]
async fn without_a_token_there_is_an_error_and_never_a_header() {
    async fn is_refused(token: &TokenHandle, state: &str) {
        let error = token.current().expect_err(state);
        assert_eq!(error.as_str(), state);
        assert_eq!(token.authorization().expect_err(state).as_str(), state);
        assert_eq!(token.headers().expect_err(state).as_str(), state);
        let provider: &dyn AuthnProvider = token;
        assert!(matches!(
            provider.token().await,
            Err(AuthError::Authentication(_))
        ));
        assert!(matches!(
            provider.headers().await,
            Err(AuthError::Authentication(_))
        ));
    }
    let (issuer, auth) = (an_issuer().await, auth().await);
    let mut events = auth.events();
    let hasty = brisk().ready_timeout(ms(50));
    let credential = || {
        orders(issuer.token_url())
            .refresh(hasty)
            .start(Start::Background)
    };
    issuer.fail(Endpoint::Token, Fault::Hang);
    let pending = auth.token(credential()).await.expect("in the background");
    is_refused(&pending, "not_ready").await;
    drop(pending);
    issuer.fail(Endpoint::Token, Fault::Status(503));
    let failed = auth.token(credential()).await.expect("in the background");
    failure(&mut events, "status", false).await;
    is_refused(&failed, "failed").await;
    issuer.recover();
    issuer.set_lifetime(Duration::from_secs(1));
    let expired = auth.token(credential()).await.expect("in the background");
    expired.ready().await.expect("a token");
    issuer.fail(Endpoint::Token, Fault::Status(503));
    let end = |change: &Change| matches!(change, Change::Expired { .. }).then_some(());
    event(&mut events, end).await;
    is_refused(&expired, "expired").await;
    auth.shutdown().await;
    is_refused(&expired, "stopped").await;
}
