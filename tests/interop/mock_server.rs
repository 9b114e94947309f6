//! `oauth2-mock-server`: an issuer that misbehaves on demand.

use std::sync::Arc;
use std::time::Duration;

use midil_auth::event::Change;
use midil_auth::jwt::{Jwt, Verifier, VerifierBuilder};
use midil_auth::oauth2::ClientCredentials;
use midil_auth::{Auth, FetchErrorKind};
use serde_json::{Value, json};

use crate::harness::{Http, Process, Scratch, eventually, free_port, installed, start_node};
use crate::watch::{Journal, Reader, assert_refused, keep_renewing, kid, quick_keys, quick_tokens};

const AUDIENCE: &str = "api";

struct Mock {
    _process: Process,
    _scratch: Scratch,
    control: Http,
    issuer: String,
}

impl Mock {
    async fn start() -> Option<Self> {
        if !installed(
            "oauth2-mock-server",
            "node_modules/oauth2-mock-server",
            "node",
        ) {
            return None;
        }
        let (scratch, port) = (Scratch::new(), free_port());
        let args = [&*port.to_string(), &*(port + 1).to_string()];
        Some(Self {
            _process: start_node("mock-server.mjs", &args, &scratch).await,
            _scratch: scratch,
            control: Http::new(port + 1),
            issuer: format!("http://127.0.0.1:{port}"),
        })
    }

    async fn tell(&self, action: &str, body: Value) -> Value {
        self.control.post(action, &[], &body).await
    }

    async fn count(&self, what: &str) -> u64 {
        let counts = self.control.get("/counts").await;
        counts[what].as_u64().expect("a count")
    }

    fn client(&self, name: &str) -> ClientCredentials {
        ClientCredentials::new(format!("{}/token", self.issuer), "svc", "secret")
            .parameter("aud", AUDIENCE)
            .refresh(quick_tokens())
            .name(name)
    }

    fn verifier(&self) -> VerifierBuilder<Jwt> {
        Verifier::builder(&*self.issuer)
            .jwks_url(format!("{}/jwks", self.issuer))
            .audience(AUDIENCE)
            .unknown_key_wait(Duration::from_secs(10))
            .refresh(quick_keys())
            .name("keys")
    }

    /// A token as the server issues it now.
    async fn token(&self, auth: &Auth) -> String {
        let token = auth.token(self.client("once")).await.expect("a token");
        token.current().expect("a token").expose().to_owned()
    }

    /// How long a token as the server issues it now is taken to live.
    async fn lifetime(&self, auth: &Auth) -> Duration {
        let token = auth.token(self.client("once")).await.expect("a token");
        let token = token.current().expect("a token");
        let lifetime = token.expires_at().duration_since(token.issued_at());
        lifetime.expect("a lifetime")
    }
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn lifetimes_are_read_however_they_are_spelled() {
    let Some(mock) = Mock::start().await else {
        return;
    };
    let auth = Auth::start().await.expect("started");
    for (spelled, lifetime) in [(json!("5"), 5.0), (json!(299.5), 299.5), (json!(60), 60.0)] {
        mock.tell("/set", json!({"expires_in": spelled})).await;
        assert_eq!(mock.lifetime(&auth).await.as_secs_f64(), lifetime);
    }
    // Unsaid, the token's own `exp` counts; it is in whole seconds.
    mock.tell("/set", json!({"expires_in": null})).await;
    let own = mock.lifetime(&auth).await.as_secs_f64();
    assert!((3_590.0..=3_600.0).contains(&own), "{own}");
    let opaque = json!({"access_token": "opaque", "expires_in": null});
    mock.tell("/set", json!({"response": opaque})).await;
    assert_eq!(mock.lifetime(&auth).await, Duration::from_secs(300));

    // A lifetime in a string is refreshed in as any other.
    mock.tell("/set", json!({"expires_in": "5", "lifetime": 10}))
        .await;
    let journal = Journal::open(&auth);
    let token = auth.token(mock.client("spelled")).await;
    let token = token.expect("a token");
    let verifier = auth.verifier(mock.verifier()).await;
    let reader = Reader::start(&token, vec![Arc::new(verifier.expect("the first keys"))]);
    journal.refreshed("spelled", 4).await;
    // Tokens of the same second are the same.
    assert!(reader.finish().await >= 2);
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn the_held_token_serves_through_every_fault() {
    let Some(mock) = Mock::start().await else {
        return;
    };
    let auth = Auth::start().await.expect("started");
    let journal = Journal::open(&auth);
    let token = auth.token(mock.client("held")).await;
    let token = token.expect("a token");
    let renewing = keep_renewing(&token);
    let verifier = auth.verifier(mock.verifier()).await;
    let reader = Reader::start(&token, vec![Arc::new(verifier.expect("the first keys"))]);
    journal.refreshed("held", 3).await;

    let html = "<html><body>Sign in</body></html>";
    let torn = r#"{"access_token":"eyJ0eXAiOiJKV1Qi"#;
    let refused = json!({"error": "temporarily_unavailable"});
    let faults = [
        (200, json!(html), json!({"content-type": "text/html"})),
        (200, json!(""), json!({})),
        (
            200,
            json!(torn),
            json!({"content-type": "application/json"}),
        ),
        (200, json!({"token_type": "Bearer"}), json!({})),
        (500, json!("oops"), json!({})),
        (429, json!(""), json!({"retry-after": "1"})),
        (503, json!(html), json!({"retry-after": "0"})),
        (503, refused, json!({})),
    ];
    let kinds = [
        FetchErrorKind::Malformed,
        FetchErrorKind::Malformed,
        FetchErrorKind::Malformed,
        FetchErrorKind::Malformed,
        FetchErrorKind::Status(500),
        FetchErrorKind::Throttled,
        FetchErrorKind::Status(503),
        FetchErrorKind::Refused,
    ];
    let count = 2;
    for (done, ((status, body, headers), kind)) in faults.into_iter().zip(kinds).enumerate() {
        let fault = json!({"count": count, "status": status, "body": body, "headers": headers});
        mock.tell("/fail", fault).await;
        let failures = eventually("the failures", async || {
            let failures = journal.failures("held").split_off(done * count);
            (failures.len() == count).then_some(failures)
        });
        for (error, holding) in failures.await {
            assert_eq!(error.kind(), kind);
            assert!(holding && error.is_transient(), "{error:?}");
        }
        eventually("the recovery", async || {
            let recovered = |change: &Change| matches!(change, Change::Recovered { .. });
            let changes = journal.of("held");
            (changes.into_iter().filter(recovered).count() > done).then_some(())
        })
        .await;
    }
    assert!(reader.finish().await > 3);
    renewing.abort();

    // The server is left alone for as long as it asks.
    for change in journal.of("held") {
        if let Change::RefreshFailed {
            error,
            next_attempt_in,
            ..
        } = change
            && let Some(asked) = error.retry_after_hint()
        {
            assert!(next_attempt_in >= asked, "{next_attempt_in:?}");
        }
    }
    // And each request had its reason.
    auth.shutdown().await;
    let explained = journal.refreshes("held") + journal.failures("held").len();
    let asked = mock.count("token").await;
    let in_flight = asked.saturating_sub(explained as u64);
    assert!(in_flight <= 1, "{asked} requests, {explained} explained");
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn claims_that_are_not_what_they_must_be_are_refused() {
    let Some(mock) = Mock::start().await else {
        return;
    };
    let auth = Auth::start().await.expect("started");
    let verifier = auth.verifier(mock.verifier()).await;
    let verifier = verifier.expect("the first keys");
    let good = mock.token(&auth).await;
    verifier.verify(&good).await.expect("accepted");
    let wrong = |claim: &str| format!("the claim `{claim}` is not what it must be");
    for (claims, reason) in [
        (json!({"aud": [AUDIENCE, 1]}), wrong("aud")),
        (json!({"aud": "another"}), "audience".to_owned()),
        (json!({"iss": [mock.issuer]}), wrong("iss")),
        (
            json!({"iss": format!("{}/", mock.issuer)}),
            "issuer".to_owned(),
        ),
        (json!({"exp": "4102444800"}), wrong("exp")),
        (
            json!({"exp": null}),
            "the claim `exp` is missing".to_owned(),
        ),
        (
            json!({"iat": 1, "nbf": 1, "exp": 3_601}),
            "expired".to_owned(),
        ),
        (
            json!({"nbf": 4_102_444_800_u64}),
            "not_yet_valid".to_owned(),
        ),
        (json!({"sub": 7}), wrong("sub")),
        (json!({"cnf": {"jkt": "x"}}), "confirmation".to_owned()),
    ] {
        mock.tell("/set", json!({"claims": claims})).await;
        let token = mock.token(&auth).await;
        assert_refused(verifier.verify(&token).await, &reason);
    }
    mock.tell("/set", json!({"header": {"typ": "secevent+jwt"}}))
        .await;
    let token = mock.token(&auth).await;
    assert_refused(verifier.verify(&token).await, "type");
    assert_eq!(mock.count("jwks").await, 1, "none of them costs a fetch");
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn keys_are_found_with_and_without_an_id() {
    let Some(mock) = Mock::start().await else {
        return;
    };
    let auth = Auth::start().await.expect("started");
    let journal = Journal::open(&auth);
    let verifier = auth.verifier(mock.verifier()).await;
    let verifier = verifier.expect("the first keys");
    let first = mock.token(&auth).await;
    verifier.verify(&first).await.expect("by the first key");

    let nameless = json!({"header": {"kid": null}});
    mock.tell("/set", nameless.clone()).await;
    let token = mock.token(&auth).await;
    assert_eq!(kid(&token), "");
    verifier.verify(&token).await.expect("there is one key");
    mock.tell("/set", json!({})).await;

    mock.tell("/rotate", json!({"keep_old": true, "kid": "second"}))
        .await;
    let second = mock.token(&auth).await;
    verifier.verify(&second).await.expect("by the second key");
    verifier.verify(&first).await.expect("by the first key");
    let rotation = journal.rotation("keys", 1).await;
    assert_eq!(rotation.added, ["second"]);
    assert!(rotation.removed.is_empty());
    mock.tell("/set", nameless).await;
    let token = mock.token(&auth).await;
    assert_refused(verifier.verify(&token).await, "ambiguous");
    mock.tell("/set", json!({})).await;

    let rotated = json!({"keep_old": false, "kid": "third", "alg": "ES256"});
    mock.tell("/rotate", rotated).await;
    let third = mock.token(&auth).await;
    verifier.verify(&third).await.expect("by the third key");
    assert_refused(verifier.verify(&first).await, "unknown_key");
    assert_refused(verifier.verify(&second).await, "unknown_key");
    let rotation = journal.rotation("keys", 2).await;
    assert_eq!(rotation.added, ["third"]);
    assert_eq!(rotation.removed.len(), 2);
}
