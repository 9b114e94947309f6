//! Nothing that is printed holds a secret or a token.

use tracing_subscriber::fmt::format::FmtSpan;

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
    tracing::subscriber::set_global_default(subscriber).expect("the only one");
    receiver
}

/// An error and everything beneath it.
fn chain(error: &dyn std::error::Error) -> String {
    let beneath = error.source().map(chain).unwrap_or_default();
    format!("{error}\n{error:?}\n{beneath}")
}

#[tokio::test]
async fn neither_the_secret_nor_a_token_is_ever_printed() {
    const SECRET: &str = "canary-secret";
    let mut log = logged();
    let issuer = issuer_for("orders", SECRET).await;
    let auth = auth().await;
    let mut events = auth.events();
    let mut printed = String::new();
    let mut canaries = vec![SECRET.to_owned(), "canary-token".to_owned()];
    canaries.push(base64_simd::STANDARD.encode_to_string("orders:canary-secret"));
    for method in [ClientAuth::default(), ClientAuth::Post] {
        let credential = ClientCredentials::new(issuer.token_url(), "orders", SECRET)
            .client_auth(method)
            .refresh(brisk());
        printed += &format!("{credential:?}");
        let credential = Credential::try_from(credential).expect("valid");
        printed += &format!("{credential:?}");
        let token = auth.token(credential).await.expect("a token");
        let first = current(&token);
        let headers = token.headers().expect("headers");
        printed += &format!("{token:?}{first:?}{headers:?}{:?}", token.changes());
        printed += &format!("{:?}{:?}", headers.to_header_map(), token.authorization());
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
        printed += &chain(&renewed);
        printed += &chain(&AuthError::from(renewed));
        let recovered = event(&mut events, |change| {
            printed += &format!("{change:?}");
            matches!(change, Change::Recovered { .. }).then_some(())
        });
        recovered.await;
        let second = current(&token);
        for token in [&first, &second] {
            canaries.push(token.expose().to_owned());
            canaries.extend(token.expose().split('.').skip(1).map(str::to_owned));
        }
        issuer.set_secrets("orders", &["another"]);
        let refused = token.renew(&second).await.expect_err("a wrong secret");
        printed += &chain(&refused);
        let (status, health) = (token.status(), auth.health());
        let json = serde_json::json!({ "status": status, "health": health });
        printed += &format!("{json}{status:?}{health:?}{auth:?}");
        issuer.set_secrets("orders", &[SECRET]);
    }
    auth.shutdown().await;
    while let Ok(event) = events.recv().await {
        printed += &format!("{event} {event:?}");
    }
    let log: Vec<_> = std::iter::from_fn(|| log.try_recv().ok())
        .flatten()
        .collect();
    let log = String::from_utf8(log).expect("utf8");
    assert!(log.contains("refresh failed") && log.contains("midil_auth.fetch"));
    assert!(printed.contains("orders") && printed.contains("invalid_client"));
    for canary in canaries {
        assert!(!printed.contains(&canary), "{canary} in {printed}");
        assert!(!log.contains(&canary), "{canary} in the log:\n{log}");
    }
}
