//! Restarts over real HTTP on loopback, with records in a real directory, in real time. What has
//! a deadline has a generous one.

use std::collections::HashSet;
use std::time::Duration;

use midil_auth::cognito;
use midil_auth::event::Change;
use midil_auth::jwt::VerifierBuilder;
use midil_auth::oauth2::{ClientAuth, ClientCredentials};
use midil_auth::testing::{Endpoint, Fault, TestIssuer};
use midil_auth::{Auth, Events, RefreshPolicy, Verifier};

use super::{Dir, Memory};

/// How long a test waits for what is bound to happen.
const PATIENCE: Duration = Duration::from_secs(30);

async fn auth(dir: &Dir) -> Auth {
    let builder = Auth::builder().store(dir.store());
    builder.start().await.expect("started")
}

async fn issuer() -> TestIssuer {
    TestIssuer::start().await.expect("an issuer")
}

fn orders(issuer: &TestIssuer) -> ClientCredentials {
    let moment = Duration::from_millis(20);
    ClientCredentials::new(issuer.token_url(), "orders", "canary-secret")
        .scope("inventory/read")
        .refresh(RefreshPolicy::for_tokens().retry(moment, moment * 2))
}

fn rules(issuer: &TestIssuer) -> VerifierBuilder {
    let moment = Duration::from_millis(20);
    let refresh = RefreshPolicy::for_keys().retry(moment, moment * 2);
    let rules = Verifier::builder(issuer.url()).client_id("orders");
    rules.refresh(refresh.demand_floor(moment))
}

fn break_down(issuer: &TestIssuer) {
    for endpoint in [Endpoint::Discovery, Endpoint::Jwks, Endpoint::Token] {
        issuer.fail(endpoint, Fault::Reset);
    }
}

async fn event(events: &mut Events, wanted: impl Fn(&Change) -> bool) -> Change {
    let found = async {
        loop {
            let event = events.recv().await.expect("running");
            if wanted(&event.change) {
                return event.change;
            }
        }
    };
    let found = tokio::time::timeout(PATIENCE, found).await;
    found.expect("told in time")
}

#[tokio::test]
async fn a_process_that_restarts_while_its_issuer_is_down_serves_at_once() {
    let (dir, issuer) = (Dir::new("down"), issuer().await);
    let first = auth(&dir).await;
    let token = first.token(orders(&issuer)).await.expect("a token");
    let verifier = first.verifier(rules(&issuer)).await.expect("keys");
    let before = token.current().expect("one");
    verifier.verify(before.expose()).await.expect("accepted");
    first.shutdown().await;
    assert_eq!(dir.files().len(), 2, "a token and a key set");

    break_down(&issuer);
    let counts = issuer.counts();
    for round in 0..3 {
        let restarted = auth(&dir).await;
        let mut events = restarted.events();
        // Either returns as soon as there is something to serve, in whatever order they come.
        let token = restarted
            .token(orders(&issuer))
            .await
            .expect("from the store");
        let verifier = restarted
            .verifier(rules(&issuer))
            .await
            .expect("from the store");
        let served = token.current().expect("at once");
        assert!(served.is_same_token(&before));
        assert_eq!(served.granted_scope(), before.granted_scope());
        assert_eq!(served.issued_at(), before.issued_at(), "round {round}");
        assert_eq!(served.expires_at(), before.expires_at());
        let claims = verifier.try_verify(served.expose()).expect("at once");
        assert_eq!(claims.client_id(), Some("orders"));
        assert!(restarted.health().ready);
        for _ in 0..2 {
            event(&mut events, |change| {
                matches!(change, Change::Restored { version: 1, .. })
            })
            .await;
        }
        restarted.shutdown().await;
    }
    assert_eq!(
        issuer.counts().token,
        counts.token,
        "a token that is good is not asked for"
    );

    issuer.recover();
    let recovered = auth(&dir).await;
    let mut events = recovered.events();
    let token = recovered.token(orders(&issuer)).await.expect("a token");
    let verifier = recovered.verifier(rules(&issuer)).await.expect("keys");
    assert!(token.current().expect("one").is_same_token(&before));
    let fresh = token.renew(&before).await.expect("another");
    verifier.verify(fresh.expose()).await.expect("accepted");
    event(&mut events, |change| matches!(change, Change::Refreshed(_))).await;
    recovered.shutdown().await;
    let last = auth(&dir).await;
    let token = last.token(orders(&issuer)).await.expect("from the store");
    assert!(token.current().expect("one").is_same_token(&fresh));
}

#[tokio::test]
async fn restored_keys_are_confirmed_by_their_etag_and_replaced_when_they_rotate() {
    let (dir, issuer) = (Dir::new("etag"), issuer().await);
    let first = auth(&dir).await;
    let old = issuer.mint(serde_json::json!({"client_id": "orders"}));
    let verifier = first.verifier(rules(&issuer)).await.expect("keys");
    verifier.verify(&old).await.expect("accepted");
    first.shutdown().await;
    assert_eq!(issuer.counts().jwks_unchanged, 0);

    // A set this young is not asked for; an unknown key asks for it, conditionally.
    let second = auth(&dir).await;
    let verifier = second.verifier(rules(&issuer)).await.expect("keys");
    assert_eq!(issuer.counts().jwks, 1);
    let forged = issuer.mint_forged(serde_json::json!({"client_id": "orders"}));
    verifier
        .verify(&forged)
        .await
        .expect_err("not the issuer's");
    let wait = async {
        while issuer.counts().jwks_unchanged == 0 {
            let _ = verifier.try_verify(&with_kid(&old, "unknown"));
            tokio::time::sleep(Duration::from_millis(5)).await;
        }
    };
    tokio::time::timeout(PATIENCE, wait)
        .await
        .expect("conditional");
    assert_eq!(
        verifier
            .try_verify(&with_kid(&old, "unknown"))
            .expect_err("unknown")
            .status(),
        503
    );

    let counts = issuer.counts();
    assert_eq!(counts.jwks, counts.jwks_unchanged + 1, "from the first on");

    let mut events = second.events();
    issuer.rotate();
    issuer.drop_old_keys();
    let new = issuer.mint(serde_json::json!({"client_id": "orders"}));
    verifier.verify(&new).await.expect("accepted");
    event(&mut events, |change| {
        matches!(change, Change::Rotated { .. })
    })
    .await;
    second.shutdown().await;
    break_down(&issuer);
    let third = auth(&dir).await;
    let verifier = third
        .verifier(rules(&issuer))
        .await
        .expect("from the store");
    verifier.try_verify(&new).expect("accepted");
    verifier.try_verify(&old).expect_err("rotated out");
}

/// The token with another key id in its header.
fn with_kid(token: &str, kid: &str) -> String {
    let (_, rest) = token.split_once('.').expect("compact");
    let header = serde_json::json!({"alg": "ES256", "kid": kid}).to_string();
    let header = base64_simd::URL_SAFE_NO_PAD.encode_to_string(header);
    format!("{header}.{rest}")
}

#[tokio::test]
async fn a_lifetime_is_settled_once_by_the_clock_of_the_issuer() {
    let (dir, issuer) = (Dir::new("skew"), issuer().await);
    // The issuer's clock is 200 s behind: by ours its token has 100 s to live, by its own 300 s.
    let now = std::time::UNIX_EPOCH
        .elapsed()
        .expect("after 1970")
        .as_secs();
    let claims = serde_json::json!({"client_id": "orders", "iat": now - 200, "exp": now + 100});
    let body = serde_json::json!({"access_token": issuer.mint(claims), "expires_in": 300});
    let date = std::time::UNIX_EPOCH + Duration::from_secs(now - 200);
    let skewed = Fault::Respond {
        status: 200,
        headers: vec![("date".into(), httpdate::fmt_http_date(date))],
        body: body.to_string(),
    };
    issuer.fail_next(Endpoint::Token, 1, skewed);
    let first = auth(&dir).await;
    let token = first.token(orders(&issuer)).await.expect("a token");
    let expires = token.current().expect("one").expires_at();
    assert!(expires > std::time::UNIX_EPOCH + Duration::from_secs(now + 250));
    first.shutdown().await;
    let second = auth(&dir).await;
    let token = second.token(orders(&issuer)).await.expect("from the store");
    assert_eq!(token.current().expect("one").expires_at(), expires);
}

#[tokio::test]
async fn ten_credentials_share_a_directory_and_never_a_record() {
    let (dir, issuer) = (Dir::new("ten"), issuer().await);
    let with = |change: fn(ClientCredentials) -> ClientCredentials| change(orders(&issuer));
    let credentials = || {
        [
            with(|orders| orders),
            with(|orders| orders.scope("inventory/write")),
            with(|orders| orders.scope("inventory/read inventory/write")),
            with(|orders| orders.audience("https://api.example.com")),
            with(|orders| orders.resource("https://api.example.com")),
            with(|orders| {
                orders
                    .resource("https://api.example.com")
                    .resource("https://b.example.com")
            }),
            with(|orders| orders.parameter("tenant", "1")),
            with(|orders| orders.client_auth(ClientAuth::Post)),
            ClientCredentials::new(issuer.token_url(), "billing", "canary-secret"),
            ClientCredentials::new(
                format!("{}?a=b", issuer.token_url()),
                "orders",
                "canary-secret",
            ),
        ]
    };
    let first = auth(&dir).await;
    let mut tokens = Vec::new();
    for credential in credentials() {
        tokens.push(first.token(credential).await.expect("a token"));
    }
    let served: Vec<_> = tokens
        .iter()
        .map(|token| token.current().expect("one"))
        .collect();
    let distinct: HashSet<_> = served.iter().map(|token| token.expose()).collect();
    assert_eq!(distinct.len(), 10);
    first.shutdown().await;
    assert_eq!(dir.files().len(), 10);

    break_down(&issuer);
    let second = auth(&dir).await;
    for (credential, before) in credentials().into_iter().zip(&served) {
        let token = second.token(credential).await.expect("from the store");
        assert!(token.current().expect("one").is_same_token(before));
    }
    // The order of scopes means nothing, nor does what the credential is called, nor its secret.
    let reordered = with(|orders| {
        orders
            .scope(" inventory/write  inventory/read")
            .name("other")
    });
    let token = second.token(reordered).await.expect("from the store");
    assert!(token.current().expect("one").is_same_token(&served[2]));
    let rotated = ClientCredentials::new(issuer.token_url(), "billing", "another");
    let token = second.token(rotated).await.expect("from the store");
    assert!(token.current().expect("one").is_same_token(&served[8]));
}

#[tokio::test]
async fn a_cognito_credential_takes_part_like_any_other() {
    let issuer = issuer().await;
    let store = std::sync::Arc::new(Memory::default());
    let credential = || {
        cognito::ClientCredentials::new("orders.auth.eu-west-1.amazoncognito.com", "orders", "s")
            .token_url(issuer.token_url())
    };
    let start = async || {
        let builder = Auth::builder().store(std::sync::Arc::clone(&store));
        builder.start().await.expect("started")
    };
    let first = start().await;
    let token = first.token(credential()).await.expect("a token");
    let before = token.current().expect("one");
    first.shutdown().await;
    break_down(&issuer);
    let second = start().await;
    let token = second.token(credential()).await.expect("from the store");
    assert!(token.current().expect("one").is_same_token(&before));
}

#[tokio::test]
async fn files_of_another_key_or_torn_ones_cost_a_fetch_and_are_replaced() {
    let (dir, issuer) = (Dir::new("spoilt"), issuer().await);
    let first = auth(&dir).await;
    first.token(orders(&issuer)).await.expect("a token");
    first.verifier(rules(&issuer)).await.expect("keys");
    first.shutdown().await;

    let other = Auth::builder()
        .store(dir.store_with(2))
        .start()
        .await
        .expect("started");
    let mut events = other.events();
    other.token(orders(&issuer)).await.expect("fetched");
    let ignored = |change: &Change| matches!(change, Change::StoreIgnored { .. });
    let Change::StoreIgnored { reason } = event(&mut events, ignored).await else {
        unreachable!("that is what was asked for");
    };
    assert_eq!(reason.as_str(), "wrong_key");
    other.shutdown().await;

    for file in dir.files() {
        let bytes = std::fs::read(&file).expect("read");
        std::fs::write(&file, &bytes[..bytes.len() / 2]).expect("torn");
    }
    let third = Auth::builder()
        .store(dir.store_with(2))
        .start()
        .await
        .expect("started");
    let mut events = third.events();
    third.token(orders(&issuer)).await.expect("fetched");
    third.verifier(rules(&issuer)).await.expect("fetched");
    let mut reasons = Vec::new();
    for _ in 0..2 {
        if let Change::StoreIgnored { reason } = event(&mut events, ignored).await {
            reasons.push(reason.as_str());
        }
    }
    assert!(reasons.contains(&"corrupt"), "{reasons:?}");
    third.shutdown().await;
    break_down(&issuer);
    let last = Auth::builder()
        .store(dir.store_with(2))
        .start()
        .await
        .expect("started");
    last.token(orders(&issuer)).await.expect("from the store");
    last.verifier(rules(&issuer)).await.expect("from the store");
}

#[tokio::test]
async fn neither_files_nor_events_hold_a_secret() {
    let (dir, issuer) = (Dir::new("canary"), issuer().await);
    let store = dir.store();
    let mut printed = format!("{store:?}");
    let mut canaries = vec!["canary-secret".to_owned(), "canary-parameter".to_owned()];
    let mut bytes = Vec::new();
    for _ in 0..2 {
        let builder = Auth::builder().store(store.clone());
        printed += &format!("{builder:?}");
        let auth = builder.start().await.expect("started");
        let mut events = auth.events();
        let credential = orders(&issuer).parameter("assertion", "canary-parameter");
        let token = auth.token(credential).await.expect("a token");
        let verifier = auth.verifier(rules(&issuer)).await.expect("keys");
        let current = token.current().expect("one");
        verifier.verify(current.expose()).await.expect("accepted");
        canaries.push(current.expose().to_owned());
        canaries.extend(current.expose().split('.').map(str::to_owned));
        auth.shutdown().await;
        while let Ok(event) = events.recv().await {
            printed += &format!("{event} {event:?}");
        }
        for file in dir.files() {
            printed += &file.display().to_string();
            bytes.extend(std::fs::read(file).expect("read"));
        }
    }
    assert!(printed.contains("restored") && !bytes.is_empty());
    for canary in &canaries {
        assert!(!printed.contains(canary), "{canary} in {printed}");
        let found = bytes
            .windows(canary.len())
            .any(|window| window == canary.as_bytes());
        assert!(!found, "{canary} in a file");
    }
    // Nor anything else of a key set or a token that is as it was.
    for plain in ["client_id", "Bearer", "inventory", "orders", issuer.url()] {
        let found = bytes
            .windows(plain.len())
            .any(|window| window == plain.as_bytes());
        assert!(!found, "{plain} in a file");
    }
}
