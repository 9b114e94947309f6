//! The testing kit does what its guide says, as a client on the wire sees it.

#![expect(
    clippy::expect_used,
    reason = "a test that cannot be set up has failed"
)]

use std::sync::Arc;
use std::time::Duration;

use midil_auth::event::Change;
use midil_auth::jwks::KeySet;
use midil_auth::jwt::VerifyError;
use midil_auth::oauth2::{AccessToken, ClientCredentials, TokenError, TokenHandle, TokenState};
use midil_auth::testing::{
    Endpoint, Fault, MockAuthn, MockAuthz, TestClock, TestIssuer, TestToken,
};
use midil_auth::{Auth, AuthError, AuthnProvider, AuthzProvider, Verifier};
use serde_json::{Value, json};

const SECRET: &str = "canary-secret";

async fn ask(issuer: &TestIssuer, id: &str, secret: &str, scope: Option<&str>) -> (u16, Value) {
    let mut form = vec![("grant_type", "client_credentials")];
    form.extend(scope.map(|scope| ("scope", scope)));
    let body = form.iter().map(|(name, value)| format!("{name}={value}"));
    let request = reqwest::Client::new()
        .post(issuer.token_url())
        .basic_auth(id, Some(secret))
        .header("content-type", "application/x-www-form-urlencoded")
        .body(body.collect::<Vec<_>>().join("&"));
    let response = request.send().await.expect("an answer");
    let status = response.status().as_u16();
    let body = response.text().await.expect("a body");
    (status, serde_json::from_str(&body).expect("JSON"))
}

async fn keys(issuer: &TestIssuer) -> KeySet {
    let response = reqwest::get(issuer.jwks_url()).await.expect("an answer");
    let body = response.bytes().await.expect("a body");
    KeySet::from_json(&body).expect("a key set")
}

fn with(issuer: &TestIssuer, keys: KeySet) -> Verifier {
    let rules = Verifier::builder(issuer.url()).audience("orders");
    rules.fixed(keys).expect("a verifier")
}

#[tokio::test]
async fn mocks_fail_as_they_are_told_to() {
    let authn = MockAuthn::failing(TokenError::NotReady);
    let error = authn.token().await.expect_err("no token");
    assert!(matches!(error, AuthError::Authentication(_)) && error.is_transient());
    assert!(authn.headers().await.is_err());

    let authz: Arc<dyn AuthzProvider> = Arc::new(MockAuthz::failing(VerifyError::Expired));
    let error = authz.verify("any").await.expect_err("refused");
    assert!(matches!(error, AuthError::TokenExpired));
    assert!(matches!(
        authz.verify_now("any"),
        Some(Err(AuthError::TokenExpired))
    ));
}

#[tokio::test]
async fn each_client_has_its_own_secrets_and_scopes() {
    let issuer = TestIssuer::builder()
        .client("orders", SECRET)
        .scopes("orders", &["inventory/read", "inventory/write"])
        .client("billing", "another")
        .start()
        .await
        .expect("an issuer");
    for (id, secret, scope, status, granted) in [
        (
            "orders",
            SECRET,
            None,
            200,
            Some("inventory/read inventory/write"),
        ),
        ("orders", SECRET, Some("inventory/read"), 200, None),
        (
            "orders",
            SECRET,
            Some("inventory/read admin"),
            200,
            Some("inventory/read"),
        ),
        ("orders", SECRET, Some("admin"), 400, None),
        ("orders", "another", None, 401, None),
        ("billing", "another", Some("admin"), 200, None),
        ("nobody", SECRET, None, 401, None),
    ] {
        let (got, body) = ask(&issuer, id, secret, scope).await;
        assert_eq!(got, status, "{id} {scope:?}: {body}");
        assert_eq!(body["scope"].as_str(), granted, "{id} {scope:?}");
        if status == 400 {
            assert_eq!(body["error"], "invalid_scope");
        }
    }
    issuer.set_scopes("billing", &["invoices"]);
    let (_, body) = ask(&issuer, "billing", "another", None).await;
    let token = body["access_token"].as_str().expect("a token");
    let rules = Verifier::builder(issuer.url()).client_id("billing");
    let verifier = rules.fixed(keys(&issuer).await).expect("a verifier");
    let claims = verifier.try_verify(token).expect("accepted");
    assert!(claims.has_scope("invoices") && !claims.has_scope("admin"));

    // The manager says so, too.
    let auth = Auth::start().await.expect("started");
    let mut events = auth.events();
    let client = ClientCredentials::new(issuer.token_url(), "orders", SECRET);
    let _token = auth
        .token(client.scope("inventory/read admin"))
        .await
        .expect("a token");
    let missing = loop {
        if let Change::ScopeNarrowed { missing } = events.recv().await.expect("told").change {
            break missing;
        }
    };
    assert_eq!(missing, ["admin"]);
}

#[tokio::test]
async fn the_request_log_says_who_asked_for_what_and_no_secret() {
    let clock = TestClock::fixed(1_900_000_000);
    let issuer = TestIssuer::builder()
        .client("orders", SECRET)
        .clock(clock.clock())
        .start()
        .await
        .expect("an issuer");
    keys(&issuer).await;
    ask(&issuer, "orders", SECRET, None).await;
    ask(&issuer, "stranger", "canary-guess", None).await;
    let elsewhere = format!("{}/admin?key=canary-query", issuer.url());
    reqwest::get(elsewhere).await.expect("an answer");

    let log = issuer.requests();
    let seen: Vec<_> = log
        .iter()
        .map(|one| {
            let (id, grant) = (one.client_id.as_deref(), one.grant.as_deref());
            (one.method.as_str(), one.path.as_str(), id, grant)
        })
        .collect();
    let grant = Some("client_credentials");
    assert_eq!(
        seen,
        [
            ("GET", "/jwks", None, None),
            ("POST", "/token", Some("orders"), grant),
            ("POST", "/token", Some("stranger"), grant),
            ("GET", "/admin", None, None),
        ]
    );
    assert!(log.iter().all(|one| one.at == clock.now()));
    assert!(!format!("{log:?}").contains("canary"), "{log:?}");
}

#[tokio::test]
async fn a_request_that_is_never_answered_is_in_the_log() {
    let issuer = TestIssuer::start().await.expect("an issuer");
    issuer.fail(Endpoint::Jwks, Fault::Hang);
    let asking = tokio::spawn(reqwest::get(issuer.jwks_url()));
    while issuer.requests().is_empty() {
        tokio::time::sleep(Duration::from_millis(5)).await;
    }
    asking.abort();
    assert_eq!(issuer.requests()[0].path, "/jwks");
}

#[tokio::test]
async fn helpers_mint_what_must_not_be_let_in() {
    let issuer = TestIssuer::start().await.expect("an issuer");
    let verifier = with(&issuer, keys(&issuer).await);
    let claims = || json!({"sub": "ada", "aud": "orders"});
    verifier.try_verify(&issuer.mint(claims())).expect("good");
    for (token, expected) in [
        (issuer.mint_expired(claims()), "expired"),
        (issuer.mint_forged(claims()), "signature"),
        (issuer.mint_wrong_audience(claims()), "audience"),
    ] {
        let error = verifier.try_verify(&token).expect_err(expected);
        assert_eq!(error.as_str(), expected);
    }
}

#[tokio::test]
async fn wrong_keys_have_the_ids_of_the_right_ones_and_go_away() {
    let issuer = TestIssuer::start().await.expect("an issuer");
    issuer.rotate();
    let token = issuer.mint(json!({"aud": "orders"}));
    issuer.fail_next(Endpoint::Jwks, 1, Fault::WrongKeys);
    let wrong = with(&issuer, keys(&issuer).await);
    let error = wrong.try_verify(&token).expect_err("another key");
    assert!(matches!(error, VerifyError::Signature), "{error:?}");
    with(&issuer, keys(&issuer).await)
        .try_verify(&token)
        .expect("recovered");
}

#[tokio::test]
async fn garbage_is_no_text_and_poisons_nothing() {
    let issuer = TestIssuer::start().await.expect("an issuer");
    issuer.fail(Endpoint::Token, Fault::Garbage);
    let body = reqwest::Client::new().post(issuer.token_url()).send().await;
    let body = body.expect("an answer").bytes().await.expect("a body");
    assert!(std::str::from_utf8(&body).is_err());

    issuer.recover();
    let auth = Auth::start().await.expect("started");
    let client = ClientCredentials::new(issuer.token_url(), "orders", SECRET);
    let token = auth.token(client).await.expect("a token");
    issuer.fail(Endpoint::Token, Fault::Garbage);
    let before = token.current().expect("a token");
    let error = token.renew(&before).await.expect_err("garbage");
    assert!(error.is_transient(), "{error}");
    assert!(token.current().expect("held").is_same_token(&before));
}

#[tokio::test]
async fn an_issuer_whose_clock_is_wrong_is_judged_by_ours() {
    let clock = TestClock::fixed(1_900_000_000);
    let issuer = TestIssuer::builder().clock(clock.clock()).start().await;
    let issuer = issuer.expect("an issuer");
    let rules = Verifier::builder(issuer.url()).audience("orders");
    let keys = keys(&issuer).await;
    let verifier = rules
        .fixed_with_clock(keys, clock.clock())
        .expect("a verifier");
    let verdict = |offset: i64| {
        issuer.set_clock_offset(offset);
        verifier.try_verify(&issuer.mint(json!({"aud": "orders"})))
    };
    verdict(0).expect("right");
    verdict(29).expect("within the leeway");
    let error = verdict(31).expect_err("ahead");
    assert!(matches!(error, VerifyError::NotYetValid), "{error:?}");
    verdict(-299).expect("a second is left");
    let error = verdict(-300).expect_err("behind by a lifetime");
    assert!(matches!(error, VerifyError::Expired), "{error:?}");
}

fn numbered(n: u64) -> AccessToken {
    let token = AccessToken::bearer(n.to_string()).expect("fits");
    token.expires_in(Duration::from_secs(3600))
}

fn number(token: &TokenHandle) -> u64 {
    let header = token.authorization().expect("a token");
    let value = header.to_str().expect("text");
    let number = value.strip_prefix("Bearer ").expect("a bearer token");
    number.parse().expect("a number")
}

#[test]
fn whoever_reads_has_the_token_that_was_set_last_however_often_it_was_read_before() {
    let test = TestToken::new(numbered(0)).expect("good");
    let token = test.handle();
    for n in 1..200 {
        test.set(numbered(n)).expect("good");
        for _ in 0..n % 40 {
            assert_eq!(number(&token), n);
        }
        assert_eq!(token.status().version, n + 1);
        assert_eq!(token.status().state, TokenState::Fresh);
    }
}

#[test]
fn no_thread_goes_back_to_an_older_token_while_it_is_replaced() {
    const LAST: u64 = 20_000;
    let test = TestToken::new(numbered(0)).expect("good");
    std::thread::scope(|scope| {
        for _ in 0..4 {
            scope.spawn(|| {
                let token = test.handle();
                let mut last = 0;
                while last < LAST {
                    let next = number(&token);
                    assert!(next >= last, "{next} after {last}");
                    last = next;
                }
            });
        }
        for n in 1..=LAST {
            test.set(numbered(n)).expect("good");
        }
    });
}

/// Where a header's bytes are, the last time that it is read so often.
fn address(token: &TokenHandle, reads: usize) -> usize {
    (0..reads).fold(0, |_, _| {
        let header = token.authorization().expect("a token");
        header.as_bytes().as_ptr().addr()
    })
}

#[test]
fn a_thread_that_reads_often_has_a_copy_of_its_own() {
    let test = TestToken::new(numbered(0)).expect("good");
    let token = test.handle();
    let [shared, again] = [1, 1].map(|reads| address(&token, reads));
    assert_eq!(shared, again);
    let own = address(&token, 20);
    assert_ne!(own, shared);
    assert_eq!(own, address(&token, 1));
    let other = std::thread::spawn(move || [1, 20].map(|reads| address(&token, reads)));
    let [first, copied] = other.join().expect("read");
    assert_eq!(first, shared);
    assert!(copied != shared && copied != own);
}

#[test]
fn a_test_token_expires_and_is_not_replaced_by_one_that_has() {
    let clock = TestClock::fixed(1_900_000_000);
    let test = TestToken::with_clock(numbered(0), &clock).expect("good");
    let token = test.handle();
    for _ in 0..20 {
        assert_eq!(number(&token), 0);
    }
    clock.suspend(Duration::from_secs(3600));
    let error = token.authorization().expect_err("expired");
    assert!(matches!(error, TokenError::Expired { .. }), "{error}");

    test.set(numbered(1)).expect("good");
    let expired = numbered(2).expires_in(Duration::ZERO);
    test.set(expired).expect_err("expired");
    assert_eq!(number(&token), 1);
    // Shorter than the one in service, and set all the same.
    let shorter = numbered(3).expires_in(Duration::from_secs(60));
    test.set(shorter).expect("good");
    assert_eq!(number(&token), 3);
}

#[tokio::test]
async fn a_renewal_waits_for_the_next_test_token() {
    let test = TestToken::new(numbered(0)).expect("good");
    let token = test.handle();
    let refused = token.current().expect("a token");
    let renewal = token.renew(&refused);
    tokio::pin!(renewal);
    assert!(futures_util::poll!(&mut renewal).is_pending());
    test.set(numbered(1)).expect("good");
    assert_eq!(renewal.await.expect("renewed").expose(), "1");
}

#[tokio::test]
async fn whoever_finds_a_test_token_expired_waits_for_the_next() {
    let clock = TestClock::fixed(1_900_000_000);
    let test = TestToken::with_clock(numbered(0), &clock).expect("good");
    clock.suspend(Duration::from_secs(3600));
    let token = test.handle();
    let ready = token.ready();
    tokio::pin!(ready);
    assert!(futures_util::poll!(&mut ready).is_pending());
    test.set(numbered(1)).expect("good");
    assert_eq!(ready.await.expect("a token").expose(), "1");
}
