//! One probe over loopback HTTP, A to K, that ten other crates have been put through too: their
//! rows stand beside this crate's in the table that it prints.

#![expect(
    clippy::expect_used,
    clippy::print_stdout,
    reason = "a test that cannot be set up has failed"
)]

use std::sync::Arc;
use std::time::Duration;

use futures_util::FutureExt;
use midil_auth::jwks::{Algorithm, RotationPolicy};
use midil_auth::jwt::{VerifierBuilder, VerifyError};
use midil_auth::testing::{Endpoint, Fault, SigningKey, TestIssuer};
use midil_auth::{Auth, RefreshPolicy, Start, Verifier};
use serde_json::{Value, json};
use tokio::task::JoinSet;
use tokio::time::Instant;

/// What is probed, in the order of the columns.
const PROBES: [(&str, &str); 13] = [
    ("A", "fetches of 50 requests at a cold start"),
    ("B", "fetches for 300 random key ids"),
    ("C", "a key rotated in, straight after B"),
    ("C'", "a key rotated in, without B"),
    ("D", "known key while the endpoint hangs past the TTL"),
    ("E", "a key removed"),
    ("F", r#"200 {"keys":[]}"#),
    ("G", "an entry with a numeric kid beside a new key"),
    ("H", "200 with HTML"),
    ("I", r#"503 {"keys":[]}"#),
    ("I2", "500 with foreign keys"),
    ("J", "cold start with an undecodable and an ML-DSA key"),
    ("K", "wrongly accepted"),
];

/// What other crates do, as measured by this probe on the day of these versions.
const PEERS: [(&str, [&str; 13]); 10] = [
    (
        "huskarl-resource-server 0.11.12",
        [
            "1",
            "1",
            "401 to 60 s",
            "ok",
            "ok",
            "ok",
            "wiped",
            "ok",
            "ok",
            "ok",
            "ok",
            "ok",
            "none",
        ],
    ),
    (
        "jwt-authorizer 0.15",
        [
            "1",
            "0",
            "401 to 10 min",
            "401 to 10 min",
            "blocks",
            "ok",
            "5xx",
            "5xx",
            "5xx",
            "5xx",
            "trusted",
            "fails",
            "no iss, no aud, iss array, crit, nbf, typ",
        ],
    ),
    (
        "axum-jwt-auth 0.7",
        [
            "1",
            "0",
            "401 to 1 h",
            "401 to 1 h",
            "ok",
            "ok",
            "wiped",
            "stale",
            "stale",
            "wiped",
            "trusted",
            "fails",
            "wrong iss, nbf, typ",
        ],
    ),
    (
        "tower-oauth2-resource-server 0.12.5",
        [
            "1, none pass",
            "0",
            "401 to 60 s",
            "401 to 60 s",
            "ok",
            "ok",
            "wiped",
            "stale",
            "stale",
            "wiped",
            "trusted",
            "401",
            "wrong iss, crit, nbf, typ",
        ],
    ),
    (
        "jwks_client_rs 0.6",
        [
            "1",
            "300",
            "ok",
            "ok",
            "blocks",
            "ok",
            "wiped",
            "stale",
            "stale",
            "stale",
            "stale",
            "fails",
            "any iss, crit, typ",
        ],
    ),
    (
        "oidc-jwt-validator 0.2",
        [
            "1",
            "300 + 300",
            "ok",
            "ok",
            "blocks",
            "ok",
            "wiped",
            "stale",
            "stale",
            "wiped",
            "trusted",
            "fails",
            "no iss, no aud, iss array, crit, nbf, typ",
        ],
    ),
    (
        "jwtk 0.5",
        [
            "1",
            "0",
            "401 to 30 s",
            "401 to 30 s",
            "blocks",
            "ok",
            "wiped",
            "error",
            "error",
            "wiped",
            "trusted",
            "ok",
            "any iss, any aud, no exp, crit, typ",
        ],
    ),
    (
        "jwks-cache 0.2 + jsonwebtoken",
        [
            "50",
            "252",
            "401",
            "401",
            "ok",
            "ok",
            "wiped",
            "stale",
            "stale",
            "stale",
            "stale",
            "fails",
            "as jsonwebtoken",
        ],
    ),
    (
        "jwt-verify 0.1",
        [
            "1, 1 passes",
            "60 s gate",
            "401 to 60 s",
            "401 to 60 s",
            "?",
            "24 h",
            "kept",
            "?",
            "?",
            "?",
            "?",
            "fails",
            "?",
        ],
    ),
    (
        "jsonwebtokens-cognito 0.1",
        [
            "?",
            "60 s gate",
            "401 to 60 s",
            "401 to 60 s",
            "no timeout",
            "for ever",
            "kept",
            "?",
            "error",
            "kept",
            "trusted",
            "RSA only",
            "?",
        ],
    ),
];

struct Probe {
    issuer: TestIssuer,
    auth: Auth,
    verifier: Verifier,
}

fn rules(issuer: &TestIssuer) -> VerifierBuilder {
    Verifier::builder(issuer.url())
        .audience("orders")
        .jwks_url(issuer.jwks_url())
}

/// Refreshes twenty times a second, so that what the endpoint says is soon known.
fn often(rules: VerifierBuilder) -> VerifierBuilder {
    let interval = Duration::from_millis(50);
    rules
        .rotation(
            RotationPolicy::default()
                .interval(interval)
                .hint_bounds(interval, interval),
        )
        .refresh(
            RefreshPolicy::for_keys()
                .min_interval(Duration::from_millis(10))
                .demand_floor(Duration::from_millis(50))
                .retry(Duration::from_millis(20), Duration::from_millis(50))
                .fetch_timeout(Duration::from_millis(500)),
        )
}

impl Probe {
    async fn start(change: impl FnOnce(VerifierBuilder) -> VerifierBuilder) -> Self {
        let issuer = TestIssuer::start().await.expect("up");
        Self::of(issuer, change).await
    }

    async fn of(
        issuer: TestIssuer,
        change: impl FnOnce(VerifierBuilder) -> VerifierBuilder,
    ) -> Self {
        let auth = Auth::start().await.expect("started");
        let rules = change(rules(&issuer));
        let verifier = auth.verifier(rules).await.expect("a verifier");
        Self {
            issuer,
            auth,
            verifier,
        }
    }

    fn token(&self) -> String {
        self.issuer.mint(json!({"aud": "orders", "sub": "ada"}))
    }

    fn fetches(&self) -> u64 {
        self.issuer.counts().jwks
    }

    /// Waits until the endpoint has answered so many requests that began after this one.
    async fn answered(&self, more: u64) {
        // The first may have been on its way, and the last is counted before it is answered.
        let enough = self.fetches() + more + 2;
        for _ in 0..2_000 {
            if self.fetches() >= enough {
                return;
            }
            tokio::time::sleep(Duration::from_millis(5)).await;
        }
        unreachable!("the endpoint is not asked any more");
    }

    /// Verifies until there is a verdict: that no answer on the way was a 401, and how long.
    async fn until_accepted(&self, token: &str) -> Duration {
        let began = Instant::now();
        for _ in 0..1_000 {
            match self.verifier.verify(token).await {
                Ok(_) => return began.elapsed(),
                Err(VerifyError::KeysUnavailable { .. }) => {
                    tokio::time::sleep(Duration::from_millis(5)).await;
                }
                Err(wrong) => unreachable!("{} for a good token", wrong.status()),
            }
        }
        unreachable!("a good token was never accepted");
    }
}

fn respond(status: u16, body: impl ToString) -> Fault {
    Fault::Respond {
        status,
        headers: Vec::new(),
        body: body.to_string(),
    }
}

fn stranger(kid: &str) -> SigningKey {
    SigningKey::generate(Algorithm::ES256, kid)
}

async fn a_cold_start_of_fifty() -> String {
    let probe = Probe::start(|rules| rules.start(Start::Lazy)).await;
    let mut requests = JoinSet::new();
    for _ in 0..50 {
        let (verifier, token) = (probe.verifier.clone(), probe.token());
        requests.spawn(async move { verifier.verify(&token).await.map(drop) });
    }
    while let Some(verdict) = requests.join_next().await {
        verdict
            .expect("no panic")
            .expect("each of the fifty passes");
    }
    assert_eq!(probe.fetches(), 1);
    "1".to_owned()
}

/// By the defaults: a floor of two seconds.
async fn b_random_kids_and_c_a_rotation_after_them() -> (String, String) {
    let probe = Probe::start(|rules| rules).await;
    let known = probe.token();
    let (began, before) = (Instant::now(), probe.fetches());
    let signer = Arc::new(stranger("junk"));
    let mut requests = JoinSet::new();
    for task in 0..50 {
        let (verifier, signer) = (probe.verifier.clone(), Arc::clone(&signer));
        let issuer = probe.issuer.url().to_owned();
        requests.spawn(async move {
            for n in 0..6 {
                let header = json!({"alg": "ES256", "kid": format!("{task}-{n}")});
                let claims = json!({"iss": issuer, "aud": "orders", "exp": 4_000_000_000_u64});
                let token = signer.token_with_header(&header, &claims);
                assert!(verifier.verify(&token).await.is_err());
            }
        });
    }
    while let Some(done) = requests.join_next().await {
        done.expect("no panic");
        assert!(probe.verifier.try_verify(&known).is_ok());
    }
    let floors = began.elapsed().as_secs_f64() / 2.0;
    let fetches = probe.fetches() - before;
    assert!(
        (1..=300).contains(&fetches) && fetches as f64 <= floors + 1.0,
        "{fetches}"
    );
    // C
    probe.issuer.rotate();
    let before = probe.fetches();
    let took = probe.until_accepted(&probe.token()).await;
    let fetches_after = probe.fetches() - before;
    assert!(fetches_after <= 2, "taken after {fetches_after} fetches");
    assert!(probe.verifier.try_verify(&known).is_ok());
    (
        fetches.to_string(),
        format!("ok, {:.1} s of 503", took.as_secs_f64()),
    )
}

async fn c_a_rotation_without_a_flood() -> String {
    let probe = Probe::start(|rules| rules).await;
    probe.issuer.rotate();
    let before = probe.fetches();
    assert!(probe.verifier.verify(&probe.token()).await.is_ok());
    assert_eq!(probe.fetches() - before, 1);
    "ok".to_owned()
}

async fn d_an_endpoint_that_hangs() -> String {
    let probe = Probe::start(often).await;
    let token = probe.token();
    probe.issuer.fail(Endpoint::Jwks, Fault::Hang);
    // Each fetch hangs for ten intervals, and then the next one does.
    let before = probe.fetches();
    while probe.fetches() < before + 3 {
        let verdict = probe.verifier.verify(&token).now_or_never();
        let verdict = verdict.expect("answered without waiting for anything");
        assert!(verdict.is_ok());
        tokio::time::sleep(Duration::from_millis(2)).await;
    }
    "ok".to_owned()
}

async fn e_a_key_that_is_removed() -> String {
    let probe = Probe::start(often).await;
    let old = probe.token();
    assert!(probe.verifier.verify(&old).await.is_ok());
    probe.issuer.rotate();
    probe.issuer.drop_old_keys();
    probe.answered(1).await;
    let error = loop {
        match probe.verifier.verify(&old).await.expect_err("removed") {
            VerifyError::KeysUnavailable { .. } => {}
            error => break error,
        }
    };
    assert_eq!(error.status(), 401);
    assert!(probe.verifier.verify(&probe.token()).await.is_ok());
    "ok".to_owned()
}

/// F, H, I, I2: an answer that is no key set, while one is in service.
async fn a_good_set_survives(answer: Fault) -> String {
    let probe = Probe::start(often).await;
    let token = probe.token();
    probe.issuer.fail(Endpoint::Jwks, answer);
    for _ in 0..3 {
        probe.answered(1).await;
        assert!(probe.verifier.try_verify(&token).is_ok());
    }
    assert!(probe.auth.health().keys[0].failures > 0, "and it is known");
    probe.issuer.recover();
    probe.issuer.rotate();
    probe.until_accepted(&probe.token()).await;
    "ok".to_owned()
}

async fn g_an_odd_entry_beside_a_new_key() -> String {
    let probe = Probe::start(often).await;
    let old = probe.token();
    let known = probe.issuer.signing_key();
    probe.issuer.rotate();
    let odd = json!({"kty": "RSA", "kid": 5, "n": "AQAB", "e": "AQAB"});
    let keys = json!({"keys": [known.jwk(), odd, probe.issuer.signing_key().jwk()]});
    probe.issuer.fail(Endpoint::Jwks, respond(200, keys));
    probe.until_accepted(&probe.token()).await;
    assert!(probe.verifier.try_verify(&old).is_ok());
    "ok".to_owned()
}

async fn i2_foreign_keys_in_an_error() -> String {
    let foreign = stranger("foreign");
    let probe = Probe::start(often).await;
    let token = probe.token();
    let keys = json!({"keys": [foreign.jwk()]});
    probe.issuer.fail(Endpoint::Jwks, respond(500, keys));
    probe.answered(2).await;
    let claims = json!({"iss": probe.issuer.url(), "aud": "orders", "exp": 4_000_000_000_u64});
    assert!(
        probe
            .verifier
            .verify(&foreign.token(&claims))
            .await
            .is_err()
    );
    assert!(probe.verifier.try_verify(&token).is_ok());
    "ok".to_owned()
}

async fn j_a_cold_start_with_keys_nobody_can_read() -> String {
    let issuer = TestIssuer::start().await.expect("up");
    let keys = json!({"keys": [
        {"kty": "EC", "crv": "P-256", "kid": "broken", "x": "***", "y": "AAAA"},
        {"kty": "AKP", "alg": "ML-DSA-65", "kid": "post-quantum", "pub": "AAAA"},
        issuer.signing_key().jwk(),
    ]});
    issuer.fail(Endpoint::Jwks, respond(200, keys));
    let probe = Probe::of(issuer, |rules| rules).await;
    assert!(probe.verifier.verify(&probe.token()).await.is_ok());
    assert_eq!(probe.verifier.keys().expect("keys").skipped().len(), 2);
    "ok".to_owned()
}

/// Tokens of the issuer, each wrong in one thing, and one that is wrong in none.
async fn k_what_is_wrongly_accepted() -> String {
    let probe = Probe::start(|rules| rules).await;
    let (key, other) = (probe.issuer.signing_key(), stranger("key-1"));
    let iss = probe.issuer.url();
    let good = json!({"iss": iss, "aud": "orders", "sub": "ada", "exp": 4_000_000_000_u64});
    let with = |claim: &str, value: Value| {
        let mut claims = good.clone();
        claims[claim] = value;
        key.token(&claims)
    };
    let without = |claim: &str| {
        let mut claims = good.clone();
        claims.as_object_mut().expect("an object").remove(claim);
        key.token(&claims)
    };
    let headed = |member: &str, value: Value| {
        let mut header = json!({"alg": "ES256", "kid": key.kid()});
        header[member] = value;
        key.token_with_header(&header, &good)
    };
    let mut accepted = Vec::new();
    for (what, token) in [
        ("no iss", without("iss")),
        ("no aud", without("aud")),
        ("no exp", without("exp")),
        ("any iss", with("iss", "https://evil.example".into())),
        ("iss with a slash", with("iss", format!("{iss}/").into())),
        (
            "iss array",
            with("iss", json!(["https://evil.example", iss])),
        ),
        ("any aud", with("aud", "billing".into())),
        ("aud object", with("aud", json!({"orders": 1}))),
        ("expired", with("exp", 1.into())),
        ("exp as text", with("exp", "4000000000".into())),
        ("nbf", with("nbf", 3_999_999_999_u64.into())),
        ("iat", with("iat", 3_999_999_999_u64.into())),
        ("cnf", with("cnf", json!({"jkt": "AAAA"}))),
        ("crit", headed("crit", json!(["x"]))),
        ("empty crit", headed("crit", json!([]))),
        ("b64", headed("b64", false.into())),
        ("typ", headed("typ", "logout+jwt".into())),
        ("cty", headed("cty", "JWT".into())),
        ("zip", headed("zip", "DEF".into())),
        ("alg none", headed("alg", "none".into())),
        ("alg HS256", headed("alg", "HS256".into())),
        ("another's key", other.token(&good)),
    ] {
        if probe.verifier.verify(&token).await.is_ok() {
            accepted.push(what);
        }
    }
    assert!(accepted.is_empty(), "wrongly accepted: {accepted:?}");
    assert!(probe.verifier.verify(&key.token(&good)).await.is_ok());
    "none".to_owned()
}

fn print(ours: &[String; 13]) {
    println!();
    for (name, what) in PROBES {
        println!("{name:<3} {what}");
    }
    let ours = ours.each_ref().map(String::as_str);
    let name = concat!("midil-auth ", env!("CARGO_PKG_VERSION"));
    let rows = || std::iter::once((name, ours)).chain(PEERS);
    let widths: [usize; 13] = std::array::from_fn(|column| {
        let cells = rows().map(|(_, row)| row[column].len());
        cells.chain([PROBES[column].0.len()]).max().unwrap_or(0)
    });
    let line = |name: &str, cells: [&str; 13]| {
        let cells = cells.iter().zip(widths);
        let cells: Vec<_> = cells
            .map(|(cell, width)| format!("{cell:<width$}"))
            .collect();
        println!("{name:<36} {}", cells.join("  ").trim_end());
    };
    println!();
    line("", PROBES.map(|(name, _)| name));
    for (name, row) in rows() {
        line(name, row);
    }
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn every_probe_is_answered_right() {
    let flood = tokio::spawn(b_random_kids_and_c_a_rotation_after_them());
    let a = a_cold_start_of_fifty().await;
    let c_without = c_a_rotation_without_a_flood().await;
    let d = d_an_endpoint_that_hangs().await;
    let e = e_a_key_that_is_removed().await;
    let f = a_good_set_survives(respond(200, json!({"keys": []}))).await;
    let g = g_an_odd_entry_beside_a_new_key().await;
    let h = a_good_set_survives(Fault::Html).await;
    let i = a_good_set_survives(respond(503, json!({"keys": []}))).await;
    let i2 = i2_foreign_keys_in_an_error().await;
    let j = j_a_cold_start_with_keys_nobody_can_read().await;
    let k = k_what_is_wrongly_accepted().await;
    let (b, c) = flood.await.expect("no panic");
    print(&[a, b, c, c_without, d, e, f, g, h, i, i2, j, k]);
}
