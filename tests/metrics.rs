//! What a scrape shows after traffic and trouble, and that the table of metrics is the whole of it.

#![cfg(feature = "metrics")]
use metrics_exporter_prometheus::PrometheusBuilder;
use midil_auth::oauth2::ClientCredentials;
use midil_auth::testing::{Endpoint, Fault, TestIssuer};
use midil_auth::{Auth, Verifier};
use serde_json::json;

#[tokio::test]
async fn a_scrape_shows_what_happened_and_no_secret() {
    let recorder = PrometheusBuilder::new().install_recorder();
    let recorder = recorder.expect("the only recorder");
    let issuer = TestIssuer::start().await.expect("an issuer");
    let auth = Auth::start().await.expect("started");
    let client = ClientCredentials::new(issuer.token_url(), "orders", "canary-secret").name("inv");
    let token = auth.token(client).await.expect("a token");
    let rules = Verifier::builder(issuer.url()).audience("orders").cache(8);
    let verifier = auth.verifier(rules).await.expect("a verifier");

    let good = issuer.mint(json!({"sub": "ada", "aud": "orders"}));
    let other = issuer.mint(json!({"sub": "ada", "aud": "billing"}));
    for _ in 0..3 {
        verifier.verify(&good).await.expect("accepted");
        verifier.try_verify(&other).expect_err("refused");
    }
    issuer.fail(Endpoint::Token, Fault::Status(503));
    let current = token.current().expect("a token");
    token.renew(&current).await.expect_err("the issuer is down");
    auth.record_gauges();

    let page = recorder.render();
    let name = issuer.url();
    for line in [
        r#"midil_auth_fetches{actor="token_manager",name="inv",error_type=""} 1"#.to_owned(),
        r#"midil_auth_fetches{actor="token_manager",name="inv",error_type="status"} 1"#.to_owned(),
        format!(r#"midil_auth_fetches{{actor="jwks",name="{name}",error_type=""}} 1"#),
        r#"midil_auth_tokens_issued{name="inv"} 1"#.to_owned(),
        r#"midil_auth_events{actor="token_manager",name="inv",event="rejected"} 1"#.to_owned(),
        format!(r#"midil_auth_verifications{{issuer="{name}",error_type=""}} 3"#),
        format!(r#"midil_auth_verifications{{issuer="{name}",error_type="audience"}} 3"#),
        format!(r#"midil_auth_cache_lookups{{issuer="{name}",outcome="hit"}} 2"#),
        format!(r#"midil_auth_cache_lookups{{issuer="{name}",outcome="miss"}} 4"#),
        r#"midil_auth_failures{actor="token_manager",name="inv"} 1"#.to_owned(),
        format!(r#"midil_auth_failures{{actor="jwks",name="{name}"}} 0"#),
    ] {
        assert!(page.contains(&line), "{line}\nin\n{page}");
    }
    for canary in ["canary", current.expose(), good.as_str()] {
        assert!(!page.contains(canary));
    }
    the_table_is_whole(&page);
}

fn the_table_is_whole(page: &str) {
    let source = include_str!("../src/metrics.rs");
    let rows = source
        .lines()
        .filter_map(|line| line.strip_prefix("//! | `"));
    let mut listed: Vec<_> = rows
        .filter_map(|row| Some(row.split_once('`')?.0.replace('.', "_")))
        .collect();
    let shown = page.lines().filter_map(|line| line.strip_prefix("# TYPE "));
    let mut shown: Vec<_> = shown
        .filter_map(|line| Some(line.split_once(' ')?.0.to_owned()))
        .collect();
    listed.sort();
    shown.sort();
    assert_eq!(listed, shown);
    let dashboard = include_str!("../examples/grafana.json");
    for metric in listed {
        let known = dashboard.contains(&metric) || metric == "midil_auth_token_age";
        assert!(known, "{metric} is on no panel");
    }
}
