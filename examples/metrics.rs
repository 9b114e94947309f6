//! Everything the crate measures, on a page for Prometheus.
//!
//! ```text
//! cargo run --example metrics --features metrics
//! ```
//!
//! An issuer in this process, a credential and a verifier that are kept busy, and the page. A
//! Grafana dashboard for it is in `examples/grafana.json`. With `--check` the example reads its own
//! page and exits.

#![expect(clippy::print_stdout, reason = "an example talks to whoever runs it")]

use std::error::Error;
use std::time::Duration;

use axum::Router;
use axum::routing::get;
use metrics_exporter_prometheus::PrometheusBuilder;
use midil_auth::oauth2::ClientCredentials;
use midil_auth::testing::TestIssuer;
use midil_auth::{Auth, Verifier};
use serde_json::json;
use tokio::net::TcpListener;

#[tokio::main]
async fn main() -> Result<(), Box<dyn Error>> {
    // Before `Auth` starts, so that every counter finds it.
    let recorder = PrometheusBuilder::new().install_recorder()?;
    let issuer = TestIssuer::builder()
        .lifetime(Duration::from_secs(20))
        .start()
        .await?;
    let auth = Auth::start().await?;
    let client = ClientCredentials::new(issuer.token_url(), "orders", "s3cr3t").name("inventory");
    let token = auth.token(client).await?;
    let rules = Verifier::builder(issuer.url())
        .audience("orders")
        .cache(1_000);
    let verifier = auth.verifier(rules).await?;

    let listener = TcpListener::bind(("127.0.0.1", 0)).await?;
    let url = format!("http://{}/metrics", listener.local_addr()?);
    let page = {
        let auth = auth.clone();
        move || async move {
            auth.record_gauges();
            recorder.render()
        }
    };
    let server = axum::serve(listener, Router::new().route("/metrics", get(page)));
    println!("curl {url}");
    tokio::spawn(server.into_future());

    let good = issuer.mint(json!({"sub": "ada", "aud": "orders"}));
    let forged = issuer.mint_forged(json!({"sub": "eve", "aud": "orders"}));
    let check = std::env::args().any(|argument| argument == "--check");
    for round in 0.. {
        token.authorization()?;
        verifier.verify(&good).await.map(drop)?;
        let _ = verifier.verify(&forged).await;
        if check && round == 9 {
            let page = reqwest::get(&url).await?.text().await?;
            println!("{page}");
            let accepted = format!(r#"issuer="{}",error_type=""}} 10"#, issuer.url());
            return match page.contains(&accepted) {
                true => Ok(()),
                false => Err("the page does not say that ten tokens were accepted".into()),
            };
        }
        if !check {
            tokio::time::sleep(Duration::from_millis(100)).await;
        }
    }
    Ok(())
}
