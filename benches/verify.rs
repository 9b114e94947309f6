//! Verifying a token beside the bare signature check and beside jsonwebtoken.
//!
//! `cargo bench --bench verify`

#![expect(
    clippy::expect_used,
    clippy::print_stdout,
    reason = "a bench that cannot be set up has failed"
)]

mod harness;

use std::sync::atomic::{AtomicUsize, Ordering};

use harness::signature::{parsed, split};
use harness::{Contender, Figures, compare, compare_on, verdict};
use jsonwebtoken::{DecodingKey, Validation};
use midil_auth::Verifier;
use midil_auth::jwks::{Algorithm, KeySet};
use midil_auth::jwt::VerifierBuilder;
use midil_auth::testing::{SigningKey, TestClock};
use serde::Deserialize;
use serde_json::{Value, json};

const ISSUER: &str = "https://cognito-idp.eu-west-1.amazonaws.com/eu-west-1_abcd1234";

/// Different tokens, so that no branch is learnt by heart.
const TOKENS: usize = 256;

#[derive(Clone, Deserialize)]
#[expect(dead_code, reason = "read by nobody, but read into")]
struct Custom {
    sub: String,
    scope: String,
    username: String,
    #[serde(rename = "cognito:groups")]
    groups: Vec<String>,
}

/// A Cognito-like access token of about a kilobyte.
fn claims(n: usize) -> Value {
    let now = 1_900_000_000;
    json!({
        "sub": format!("aaaaaaaa-bbbb-cccc-dddd-{n:012}"), "cognito:groups": ["admin", "users"],
        "iss": ISSUER, "version": 2, "client_id": "1example23456789", "aud": "orders",
        "token_use": "access", "scope": "orders/read orders/write", "auth_time": now,
        "exp": now + 3600, "iat": now, "jti": format!("aaaaaaaa-bbbb-cccc-dddd-{n:012}"),
        "username": "ada", "event_id": "aaaaaaaa-bbbb-cccc-dddd-eeeeeeeeeeee",
    })
}

struct Fixture {
    key: SigningKey,
    tokens: Vec<String>,
    turn: AtomicUsize,
}

impl Fixture {
    fn new(algorithm: Algorithm) -> Self {
        let key = SigningKey::generate(algorithm, "AbCdEfGhIjKlMnOpQrStUvWxYz0123456789AbCdEfG=");
        Self {
            tokens: (0..TOKENS).map(|n| key.token(&claims(n))).collect(),
            key,
            turn: AtomicUsize::new(0),
        }
    }

    fn next(&self) -> &str {
        let turn = self.turn.load(Ordering::Relaxed);
        self.turn.store(turn + 1, Ordering::Relaxed);
        &self.tokens[turn % TOKENS]
    }

    fn rules(&self) -> VerifierBuilder {
        Verifier::builder(ISSUER).audience("orders")
    }

    fn build<C: Send + Sync + 'static>(
        &self,
        rules: VerifierBuilder<midil_auth::jwt::Jwt, C>,
    ) -> Verifier<midil_auth::jwt::Jwt, C> {
        let set = json!({"keys": [self.key.jwk()]}).to_string();
        let keys = KeySet::from_json(set.as_bytes()).expect("a set");
        rules
            .fixed_with_clock(keys, TestClock::fixed(1_900_000_000).clock())
            .expect("a verifier")
    }

    /// The bare signature check, with everything decoded and parsed beforehand.
    fn raw(&self) -> impl Fn() + Sync + use<> {
        let key = parsed(&self.key.jwk(), self.key.algorithm());
        let signed: Vec<_> = self.tokens.iter().map(|token| split(token)).collect();
        let turn = AtomicUsize::new(0);
        move || {
            let now = turn.load(Ordering::Relaxed);
            turn.store(now + 1, Ordering::Relaxed);
            let (message, signature) = &signed[now % TOKENS];
            key.verify_sig(message, signature).expect("good");
        }
    }
}

fn main() {
    for algorithm in [Algorithm::RS256, Algorithm::ES256, Algorithm::EdDSA] {
        let fixture = Fixture::new(algorithm);
        let rsa = algorithm == Algorithm::RS256;
        let plain = fixture.build(fixture.rules());
        let custom = fixture.build(fixture.rules().claims::<Custom>());
        let cached = fixture.build(fixture.rules().cache(4 * TOKENS));
        let missing = fixture.build(fixture.rules().cache(1));
        for token in &fixture.tokens {
            cached.try_verify(token).expect("accepted");
        }
        let jwk = serde_json::from_value(fixture.key.jwk()).expect("a JWK");
        let decoding = DecodingKey::from_jwk(&jwk).expect("a key");
        let mut validation = Validation::new(algorithm.as_str().parse().expect("an algorithm"));
        validation.set_issuer(&[ISSUER]);
        validation.set_audience(&["orders"]);
        let raw = fixture.raw();
        let accept = |verifier: &Verifier| verifier.try_verify(fixture.next()).expect("accepted");
        let mut contenders = vec![
            Contender::new("signature alone", &raw),
            Contender::new("try_verify", || accept(&plain)).at_most(if rsa { 1.05 } else { 1.03 }),
            Contender::new("try_verify, a type of one's own", || {
                custom.try_verify(fixture.next()).expect("accepted")
            })
            .at_most(if rsa { 1.09 } else { 1.04 }),
            Contender::new("try_verify, remembered", || accept(&cached)).at_most(0.01),
            Contender::new("try_verify, looked for and not found", || accept(&missing)),
            Contender::new("jsonwebtoken decode", || {
                jsonwebtoken::decode::<Custom>(fixture.next(), &decoding, &validation)
                    .expect("accepted")
            }),
        ];
        if rsa {
            let garbage = [
                ("no token", "garbage".to_owned()),
                ("oversized", "x".repeat(64 * 1024)),
                ("broken base64", format!("{}!", fixture.tokens[0])),
                (
                    "wrong alg",
                    fixture
                        .key
                        .token_with_header(&json!({"alg": "HS256"}), &claims(0)),
                ),
                (
                    "unknown kid",
                    fixture
                        .key
                        .token_with_header(&json!({"alg": "RS256", "kid": "x"}), &claims(0)),
                ),
            ];
            for (name, token) in garbage {
                let verifier = plain.clone();
                let run = move || verifier.try_verify(&token).expect_err("refused");
                contenders.push(Contender::new(format!("refused: {name}"), run).at_most(0.05));
            }
        }
        let figures = compare(algorithm.as_str(), &contenders);
        let of = |name: &str| {
            let found = figures.iter().find(|it| it.name == name);
            found.expect("measured")
        };
        let (ours, theirs) = (of("try_verify"), of("jsonwebtoken decode"));
        println!(
            "faster than jsonwebtoken {:.2}x (with a type of one's own {:.2}x)",
            theirs.times(ours),
            theirs.times(of("try_verify, a type of one's own")),
        );
        let miss = of("try_verify, looked for and not found").times(ours);
        println!("a miss costs {miss:.3} of no cache{}", budget(miss, 1.02));
        // Beside the bare signature: two processors may be one core, and then all costs more.
        let pair = [
            Contender::new("signature alone", &raw),
            Contender::new("try_verify", || accept(&plain)),
        ];
        let one = compare("one thread", &pair);
        let two = compare_on("two threads that share the keys", 2, &pair);
        let more = |figures: &[Figures]| figures[1].times(&figures[0]);
        let cost = more(&two) / more(&one);
        println!("two threads cost {cost:.3} of one{}", budget(cost, 1.05));
    }
}

fn budget(figure: f64, budget: f64) -> String {
    format!(" (budget {budget}: {})", verdict(figure <= budget))
}
