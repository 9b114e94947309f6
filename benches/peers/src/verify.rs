//! Verifying a token: midil-auth beside the bare signature check and beside the peers, all with a
//! key set that they fetched.

use std::fmt::Display;
use std::path::Path;
use std::sync::Arc;
use std::sync::atomic::{AtomicUsize, Ordering};

use midil_auth::jwks::Algorithm;
use midil_auth::{Auth, Verifier};

use crate::fixture::{AUDIENCE, Custom, Fixture, ISSUER, TOKENS};
use crate::harness::Contender;
use crate::harness::signature::split;
use crate::middleware;
use crate::process::{Language, Process};
use crate::table::{Entrant, Table, allocations};

const OURS: &str = "try_verify";
/// Beside whatever reads the claims into a type of the application's own.
const OURS_TYPED: &str = "try_verify, a type of one's own";
const OURS_REMEMBERED: &str = "try_verify, remembered";

pub(crate) async fn table<'a>(
    auth: &Auth,
    fixture: &'a Fixture,
    server: &str,
    dir: &Path,
) -> Table<'a> {
    let algorithm = fixture.algorithm;
    let rsa = algorithm == Algorithm::RS256;
    let url = format!("{server}{}", fixture.path());
    let mut table = Table::new(algorithm.as_str());
    table.enter(signature_alone(fixture));

    let rules = || {
        let rules = Verifier::builder(ISSUER).jwks_url(&url);
        rules.audience(AUDIENCE)
    };
    let plain = auth.verifier(rules()).await.expect("keys");
    let plain = verifies(OURS, move |n| plain.try_verify(&fixture.tokens[n]));
    table.enter(plain.at_most(if rsa { 1.05 } else { 1.03 }));
    let typed = auth.verifier(rules().claims::<Custom>()).await;
    let typed = typed.expect("keys");
    let typed = verifies(OURS_TYPED, move |n| typed.try_verify(&fixture.tokens[n]));
    table.enter(typed.at_most(if rsa { 1.09 } else { 1.04 }));
    // At the gate every token is verified, and remembered from then on.
    let cached = auth.verifier(rules().cache(4 * TOKENS)).await;
    let cached = cached.expect("keys");
    let cached = verifies(OURS_REMEMBERED, move |n| {
        cached.try_verify(&fixture.tokens[n])
    });
    table.enter(cached.at_most(0.01));

    // What is promised is promised of RS256.
    let promised = |times: f64| (rsa && times > 0.0).then_some(times);
    for (name, entrant) in middleware::jsonwebtoken(fixture) {
        table.enter(entrant);
        table.pair(OURS, name, promised(1.3));
        table.pair(OURS_TYPED, name, promised(1.3));
    }
    for (name, entrant) in middleware::all(fixture, &url).await {
        table.enter(entrant);
        table.pair(OURS, name, promised(1.4));
        table.pair(OURS_TYPED, name, promised(1.4));
    }
    let file = dir.join(format!("{}.json", algorithm.as_str()));
    fixture.write(&file, &url).expect("a file");
    for (language, peer, name, ours, times) in [
        (
            Language::Node,
            "aws-jwt-verify",
            "aws-jwt-verify",
            OURS,
            2.0,
        ),
        (
            Language::Node,
            "aws-jwt-verify-cognito",
            "aws-jwt-verify, Cognito",
            OURS,
            2.0,
        ),
        (Language::Node, "fast-jwt", "fast-jwt", OURS, 0.0),
        (
            Language::Node,
            "fast-jwt-cache",
            "fast-jwt, remembered",
            OURS_REMEMBERED,
            15.0,
        ),
        (Language::Node, "jose", "jose", OURS, 0.0),
        (Language::Python, "PyJWK", "PyJWT, a ready key", OURS, 0.0),
        (
            Language::Python,
            "PyJWKClient",
            "PyJWT, PyJWKClient",
            OURS,
            8.0,
        ),
    ] {
        // Cognito signs with nothing else.
        if rsa || peer != "aws-jwt-verify-cognito" {
            table.enter_process(name, Process::start(language, peer, &file));
            table.pair(ours, name, promised(times));
        }
    }
    table
}

/// Takes the good tokens in turn. `judge` is given a number of [`Fixture::tokens`].
pub(crate) fn verifies<'a, T, E: Display>(
    name: &str,
    judge: impl Fn(usize) -> Result<T, E> + Send + Sync + 'a,
) -> Entrant<'a> {
    let judge = Arc::new(judge);
    let turn = AtomicUsize::new(0);
    let work = Arc::clone(&judge);
    let contender = Contender::new(name, move || {
        let now = turn.load(Ordering::Relaxed);
        turn.store(now + 1, Ordering::Relaxed);
        let verdict = work(now % TOKENS);
        verdict.unwrap_or_else(|error| panic!("was accepted, and is not: {error}"))
    });
    Entrant::guarded(contender, move || {
        for good in 0..TOKENS {
            judge(good).map_err(|error| format!("refused a good token: {error}"))?;
        }
        if judge(TOKENS).is_ok() {
            return Err("accepted another signature".to_owned());
        }
        Ok(allocations(|| drop(judge(0))))
    })
}

/// The bare check, with everything decoded and parsed beforehand.
fn signature_alone(fixture: &Fixture) -> Entrant<'_> {
    let key = fixture.parsed();
    let signed: Vec<_> = fixture.tokens.iter().map(|it| split(it)).collect();
    verifies("signature alone", move |n| {
        let (message, signature) = &signed[n];
        key.verify_sig(message, signature)
    })
}
