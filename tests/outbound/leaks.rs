//! Nothing that is printed, by us or by what we use, holds a secret or a token.

use tracing_subscriber::fmt::format::FmtSpan;
use tracing_subscriber::util::SubscriberInitExt;

use super::*;

/// Everything that is logged from now on, by whatever thread: what a thread without a subscriber
/// meets first may be switched off for all.
fn logged() -> mpsc::UnboundedReceiver<Vec<u8>> {
    struct Sink(mpsc::UnboundedSender<Vec<u8>>);
    impl std::io::Write for Sink {
        fn write(&mut self, bytes: &[u8]) -> std::io::Result<usize> {
            // A test that is over does not listen any more.
            let _ = self.0.send(bytes.to_vec());
            Ok(bytes.len())
        }
        fn flush(&mut self) -> std::io::Result<()> {
            Ok(())
        }
    }
    let (sender, receiver) = mpsc::unbounded_channel();
    let subscriber = tracing_subscriber::fmt()
        .with_max_level(tracing::Level::TRACE)
        .with_span_events(FmtSpan::FULL)
        .with_writer(move || Sink(sender.clone()))
        .finish();
    // With what the HTTP client and TLS say by way of `log`.
    subscriber.try_init().expect("the only one");
    receiver
}

/// An error and everything beneath it.
fn chain(error: &dyn std::error::Error) -> String {
    let beneath = error.source().map(chain).unwrap_or_default();
    format!("{error}\n{error:?}\n{beneath}")
}

const VARIABLE: &str = "MIDIL_AUTH_TEST_CANARY";

/// A secret of every kind, with and without another one beside it. All hold the word that is
/// looked for.
fn credentials(url: &str, file: &std::path::Path) -> Vec<ClientCredentials> {
    let closure = || ClientSecret::from_fn(|| async { Ok::<_, FetchError>("canary-closure") });
    let new = |secret| ClientCredentials::new(url, "orders", secret);
    vec![
        new("canary/value".into()).previous_secret("canary-previous"),
        new("canary/value".into()).client_auth(ClientAuth::Post),
        new("canary-unknown".into()).previous_secret("canary-previous"),
        new(ClientSecret::file(file)).previous_secret(closure()),
        new(ClientSecret::env(VARIABLE)).client_auth(ClientAuth::Post),
        new(closure()).client_auth(ClientAuth::Basic(BasicEncoding::Raw)),
    ]
}

/// One credential through good and bad days. Returns what was printed of it.
async fn life(issuer: &TestIssuer, auth: &Auth, credential: ClientCredentials) -> Printed {
    let mut events = auth.events();
    let mut text = format!("{credential:?}");
    let credential = Credential::try_from(credential.refresh(brisk())).expect("valid");
    text += &format!("{credential:?}");
    let token = auth.token(credential).await.expect("a token");
    let first = current(&token);
    let headers = token.headers().expect("headers");
    text += &format!("{token:?}{first:?}{headers:?}{:?}", token.changes());
    text += &format!("{:?}{:?}", headers.to_header_map(), token.authorization());
    // Torn, unfit, of another type, beside an error, not in an object.
    for body in [
        r#"{"access_token":"canary-token"#,
        r#"{"access_token":"canary-token is unfit"}"#,
        r#"{"access_token":"canary-token","token_type":"DPoP"}"#,
        r#"{"access_token":"canary-token","error":"server_error"}"#,
        r#"["canary-token"]"#,
    ] {
        let away = Fault::Redirect("https://x.example/?t=canary-token".into());
        for fault in [respond(body), away, Fault::Truncate] {
            issuer.fail_next(Endpoint::Token, 1, fault);
        }
    }
    let renewed = token.renew(&first).await.expect_err("the first fault");
    text += &chain(&renewed);
    text += &chain(&AuthError::from(renewed));
    let recovered = event(&mut events, |change| {
        text += &format!("{change:?}");
        matches!(change, Change::Recovered { .. }).then_some(())
    });
    recovered.await;
    let second = current(&token);
    issuer.set_secrets("orders", &["another"]);
    let refused = token.renew(&second).await.expect_err("a wrong secret");
    text += &chain(&refused);
    let (status, health) = (token.status(), auth.health());
    let json = serde_json::json!({ "status": status, "health": health });
    text += &format!("{json}{status:?}{health:?}{auth:?}");
    issuer.set_secrets("orders", &KNOWN);
    while let Ok(Ok(event)) = tokio::time::timeout(ms(50), events.recv()).await {
        text += &format!("{event} {event:?}");
    }
    Printed {
        text,
        tokens: vec![first, second],
    }
}

struct Printed {
    text: String,
    tokens: Vec<Arc<AccessToken>>,
}

const KNOWN: [&str; 5] = [
    "canary/value",
    "canary-previous",
    "canary-file",
    "canary-env",
    "canary-closure",
];

/// An endpoint that repeats whatever it gets, as it came and decoded, wherever there is room.
async fn parrot() -> String {
    let repeat = |(headers, body): Asked| {
        let sent = headers.get(header::AUTHORIZATION);
        let sent = sent
            .and_then(|value| value.to_str().ok())
            .unwrap_or_default();
        let pair = sent.strip_prefix("Basic ").unwrap_or_default();
        let pair = base64_simd::STANDARD.decode_to_vec(pair).expect("base64");
        let decode = |bytes: &[u8]| {
            let members = url::form_urlencoded::parse(bytes);
            members
                .map(|(name, value)| format!("{name} {value} "))
                .collect::<String>()
        };
        let pair_as_sent = String::from_utf8_lossy(&pair);
        let (pair, members) = (decode(&pair), decode(body.as_bytes()));
        format!("{members} {pair} {pair_as_sent} {sent} {body}")
    };
    endpoint(move |n, asked| {
        let said = repeat(asked);
        let body = match n % 3 {
            0 => serde_json::json!({"error": said}),
            1 => serde_json::json!({"__type": format!("x#{said}"), "message": said}),
            _ => serde_json::json!({"error": "invalid_client", "error_description": said}),
        };
        async move { (StatusCode::UNAUTHORIZED, HeaderMap::new(), body.to_string()) }
    })
    .await
}

/// What is printed of an issuer that repeats what it should not.
async fn repeated(auth: &Auth, credential: ClientCredentials) -> String {
    let mut events = auth.events();
    let credential = credential.refresh(brisk()).start(Start::Background);
    let token = auth.token(credential).await.expect("in the background");
    let mut text = String::new();
    let parked = event(&mut events, |change| {
        text += &format!("{change:?}");
        match change {
            Change::RefreshFailed { error, .. } => {
                text += &chain(error);
                (!error.is_transient()).then_some(())
            }
            _ => None,
        }
    });
    parked.await;
    text + &format!("{:?}", token.status()) + &chain(&token.current().expect_err("no token"))
}

#[test]
fn neither_a_secret_nor_a_token_is_ever_printed() {
    let mut log = logged();
    let file = std::env::temp_dir().join(format!("midil-leaks-{}", std::process::id()));
    std::fs::write(&file, "canary-file\n").expect("written");
    let runtime = tokio::runtime::Builder::new_current_thread()
        .enable_all()
        .build();
    let runtime = runtime.expect("a runtime");
    let (mut printed, mut canaries) = (String::new(), vec!["canary".to_owned()]);
    let everything = async {
        let (issuer, auth) = (an_issuer().await, auth().await);
        issuer.set_secrets("orders", &KNOWN);
        for credential in credentials(&issuer.token_url(), &file) {
            let life = life(&issuer, &auth, credential).await;
            printed += &life.text;
            for token in life.tokens {
                canaries.push(token.expose().to_owned());
                canaries.extend(token.expose().split('.').skip(1).map(str::to_owned));
            }
        }
        let parrot = parrot().await;
        for credential in credentials(&parrot, &file) {
            printed += &repeated(&auth, credential).await;
        }
        auth.shutdown().await;
    };
    temp_env::with_var(VARIABLE, Some("canary-env"), || {
        runtime.block_on(everything);
    });
    std::fs::remove_file(file).expect("removed");
    for secret in KNOWN.into_iter().chain(["canary-unknown"]) {
        for sent in [secret, &secret.replace('/', "%2F")] {
            canaries.push(base64_simd::STANDARD.encode_to_string(format!("orders:{sent}")));
        }
    }
    let log: Vec<_> = std::iter::from_fn(|| log.try_recv().ok())
        .flatten()
        .collect();
    let log = String::from_utf8(log).expect("utf8");
    for logged in [
        "refresh failed",
        "secret rejected",
        "midil_auth.fetch",
        "reqwest::connect",
    ] {
        assert!(log.contains(logged), "{logged}");
    }
    for said in [
        "orders",
        "invalid_client",
        "SecretRejected",
        "[redacted]",
        "closure",
    ] {
        assert!(printed.contains(said), "{said}");
    }
    for canary in canaries {
        assert!(!printed.contains(&canary), "{canary} in {printed}");
        let line = log.lines().find(|line| line.contains(&canary));
        assert_eq!(line, None, "{canary} in the log");
    }
}
