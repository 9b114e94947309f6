//! The read path and `try_verify`, one call after another, for their instructions to be counted:
//! see `.ci/instructions`. Keys and tokens are those of `tests/corpus`, always the same.

#![expect(
    clippy::expect_used,
    clippy::print_stdout,
    reason = "a bench that cannot be set up has failed, and lists what there is"
)]

use std::hint::black_box;
use std::time::Duration;

use midil_auth::jwks::KeySet;
use midil_auth::oauth2::{AccessToken, Credential};
use midil_auth::testing::{SourceFn, TestClock};
use midil_auth::{Auth, Fetched, TokenHandle, Verifier};
use serde_json::Value;

/// Calls that are counted, after as many that are not.
const CALLS: u32 = 100;

/// When the tokens of the corpus are good.
const NOW: u64 = 1_800_000_000;

/// What is counted: the script looks for this name.
#[inline(never)]
fn counted(call: &dyn Fn()) {
    for _ in 0..CALLS {
        call();
    }
}

/// On a runtime that rests meanwhile.
fn handle() -> TokenHandle {
    let runtime = tokio::runtime::Builder::new_current_thread()
        .enable_all()
        .build()
        .expect("a runtime");
    let token = runtime.block_on(async {
        let clock = TestClock::fixed(NOW).clock();
        let auth = Auth::builder().clock(clock).start().await;
        let auth = auth.expect("started");
        let source = SourceFn::new(async |_| {
            let token = AccessToken::bearer("x".repeat(1_000))?;
            Ok(Fetched::new(token.expires_in(Duration::from_secs(3600))))
        });
        let token = auth.token(Credential::new("bench", source)).await;
        token.expect("a token")
    });
    // Dropped, it would stop what the token comes from.
    std::mem::forget(runtime);
    token
}

fn token(case: &str) -> String {
    let cases = include_str!("../tests/corpus/cases.jsonl");
    let cases = cases
        .lines()
        .map(|line| serde_json::from_str::<Value>(line).expect("a case"));
    let found = cases.into_iter().find(|it| it["name"] == case);
    let token = found.expect("a case of this name")["token"].take();
    token.as_str().expect("a token").to_owned()
}

fn verifier(cache: usize) -> Verifier {
    let keys = include_str!("../tests/corpus/keys.json");
    let keys: Value = serde_json::from_str(keys).expect("key sets");
    let keys = KeySet::from_json(keys["all"].to_string().as_bytes()).expect("a set");
    Verifier::builder("https://idp.example.com")
        .audience("https://api.example.com")
        .cache(cache)
        .fixed_with_clock(keys, TestClock::fixed(NOW).clock())
        .expect("a verifier")
}

fn verifies(verifier: Verifier, case: &str) -> Box<dyn Fn()> {
    let token = token(case);
    Box::new(move || {
        black_box(verifier.try_verify(black_box(&token))).expect("accepted");
    })
}

fn path(name: &str) -> Option<Box<dyn Fn()>> {
    let rs256 = "RS256: a key for it";
    Some(match name {
        "authorization" => {
            let token = handle();
            Box::new(move || drop(black_box(token.authorization()).expect("a token")))
        }
        "current" => {
            let token = handle();
            Box::new(move || drop(black_box(token.current()).expect("a token")))
        }
        "try_verify_rs256" => verifies(verifier(0), rs256),
        "try_verify_es256" => verifies(verifier(0), "ES256: a key for it"),
        "try_verify_eddsa" => verifies(verifier(0), "EdDSA: a key for it"),
        "try_verify_remembered" => verifies(verifier(64), rs256),
        "try_verify_unknown_kid" => {
            let (verifier, token) = (verifier(0), token(rs256));
            let (_, rest) = token.split_once('.').expect("three segments");
            let header =
                base64_simd::URL_SAFE_NO_PAD.encode_to_string(r#"{"alg":"RS256","kid":"x"}"#);
            let token = format!("{header}.{rest}");
            Box::new(move || {
                let refused = black_box(verifier.try_verify(black_box(&token)));
                refused.expect_err("an unknown kid");
            })
        }
        _ => return None,
    })
}

fn main() {
    let Some(call) = std::env::args().nth(1).and_then(|name| path(&name)) else {
        println!("counted by .ci/instructions");
        return;
    };
    for _ in 0..CALLS {
        call();
    }
    counted(&*call);
}
