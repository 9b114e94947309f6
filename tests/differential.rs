//! Beside `jsonwebtoken`: whatever this crate accepts, that one must accept too, and read the
//! same claims in it. (The reverse does not hold, and need not.)

#![expect(
    clippy::expect_used,
    reason = "a test that cannot be set up has failed"
)]

mod signing;

use jsonwebtoken::jwk::Jwk;
use jsonwebtoken::{DecodingKey, Validation, get_current_timestamp};
use midil_auth::jwks::Algorithm;
use midil_auth::jwt::{AccessToken, IdToken, Verifier};
use proptest::prelude::*;
use proptest::test_runner::{Config, TestRunner};
use serde_json::{Value, json};

use signing::{KID, encode, key, set};

const ISSUER: &str = "https://idp.example.com";
const AUDIENCE: &str = "https://api.example.com";

/// What both know, with the name it has there.
const SHARED: [(Algorithm, jsonwebtoken::Algorithm); 9] = [
    (Algorithm::EdDSA, jsonwebtoken::Algorithm::EdDSA),
    (Algorithm::ES256, jsonwebtoken::Algorithm::ES256),
    (Algorithm::ES384, jsonwebtoken::Algorithm::ES384),
    (Algorithm::RS256, jsonwebtoken::Algorithm::RS256),
    (Algorithm::RS384, jsonwebtoken::Algorithm::RS384),
    (Algorithm::RS512, jsonwebtoken::Algorithm::RS512),
    (Algorithm::PS256, jsonwebtoken::Algorithm::PS256),
    (Algorithm::PS384, jsonwebtoken::Algorithm::PS384),
    (Algorithm::PS512, jsonwebtoken::Algorithm::PS512),
];

/// Members of a header that only `jsonwebtoken` reads: it refuses them in another type than
/// theirs, and here they mean nothing whatever they are (RFC 7515 §4: those that are not
/// understood are ignored, and what names a key is never understood).
const READ_THERE_ALONE: [&str; 9] = [
    "jku", "jwk", "x5u", "x5c", "x5t", "x5t#S256", "enc", "url", "nonce",
];

/// The same rules on both sides, as strict as `jsonwebtoken` can be.
struct Pair {
    algorithm: Algorithm,
    ours: Verifier,
    /// Whose rules only add to those of `ours`.
    access: Verifier<AccessToken>,
    id: Verifier<IdToken>,
    key: DecodingKey,
    validation: Validation,
}

impl Pair {
    fn new(algorithm: Algorithm, theirs: jsonwebtoken::Algorithm) -> Self {
        let jwk = key(algorithm).jwk();
        let rules = || Verifier::builder(ISSUER).audience(AUDIENCE);
        let keys = || set([jwk.clone()]);
        let ours = rules().fixed(keys()).expect("a verifier");
        let access = rules().rfc9068().fixed(keys()).expect("a verifier");
        let id = rules().id_token().fixed(keys()).expect("a verifier");
        let jwk: Jwk = serde_json::from_value(jwk).expect("a JWK");
        let mut validation = Validation::new(theirs);
        validation.set_required_spec_claims(&["exp", "iss", "aud"]);
        validation.set_issuer(&[ISSUER]);
        validation.set_audience(&[AUDIENCE]);
        validation.validate_nbf = true;
        // Both read the system's clock, one after the other; times here are far from it.
        validation.leeway = 0;
        Self {
            algorithm,
            ours,
            access,
            id,
            key: DecodingKey::from_jwk(&jwk).expect("a key"),
            validation,
        }
    }

    fn all() -> Vec<Self> {
        SHARED.map(|(ours, theirs)| Self::new(ours, theirs)).into()
    }

    /// Whether we accept it; an error where they do not, or read something else.
    fn compare(&self, token: &str) -> Result<bool, TestCaseError> {
        let profiled = self.access.try_verify(token).is_ok() || self.id.try_verify(token).is_ok();
        let Ok(ours) = self.ours.try_verify(token) else {
            prop_assert!(!profiled, "accepted by a stricter profile: {}", token);
            return Ok(false);
        };
        let theirs = jsonwebtoken::decode::<Value>(token, &self.key, &self.validation);
        let theirs = theirs.map_err(|error| {
            TestCaseError::fail(format!("accepted here, refused there ({error}): {token}"))
        })?;
        let ours: Value = ours
            .deserialize()
            .map_err(|error| TestCaseError::fail(error.to_string()))?;
        prop_assert_eq!(ours, theirs.claims);
        Ok(true)
    }
}

/// One change to a token that is in order.
#[derive(Clone, Debug)]
enum Change {
    /// A claim with this JSON text, or none.
    Claim(String, Option<String>),
    /// A claim beside the one there may be.
    ClaimAgain(String, String),
    Header(String, Option<String>),
    HeaderAgain(String, String),
    /// Text put into the claims or the header.
    Text {
        claims: bool,
        at: prop::sample::Index,
        text: String,
    },
    /// A piece of the signed token replaced.
    Token {
        at: prop::sample::Index,
        len: usize,
        text: String,
    },
    /// All that an access token of RFC 9068 has.
    Profiled,
    /// The signature of another key.
    Stranger,
    /// A segment in place of another.
    Segment(usize, usize),
    /// What is spelled otherwise by a base64 that is not URL-safe, or padded.
    Spelling(usize, &'static str, &'static str),
}

fn some_time() -> impl Strategy<Value = String> {
    let far = prop_oneof![600..1_000_000_i64, -1_000_000..-600_i64];
    (far, any::<bool>()).prop_map(|(offset, fraction)| {
        let seconds = get_current_timestamp().saturating_add_signed(offset);
        if fraction {
            format!("{seconds}.25")
        } else {
            seconds.to_string()
        }
    })
}

fn some_string() -> impl Strategy<Value = String> {
    let known = vec![
        ISSUER,
        AUDIENCE,
        "https://idp.example.com/",
        "HTTPS://IDP.EXAMPLE.COM",
        "https://idp",
        "",
        "JWT",
        "at+jwt",
        "jwt",
        KID,
        "EdDSA",
        "ES256",
        "ES384",
        "RS256",
        "PS256",
        "none",
        "HS256",
        "b64",
        "DEF",
    ];
    let escaped =
        |text: &str| format!(r#""\u{:04x}{}""#, u32::from(text.as_bytes()[0]), &text[1..]);
    prop_oneof![
        4 => prop::sample::select(known).prop_map(|text| json!(text).to_string()),
        1 => Just(escaped(ISSUER)),
        1 => Just(escaped(AUDIENCE)),
        1 => ".{0,6}".prop_map(|text| json!(text).to_string()),
    ]
}

fn some_value() -> impl Strategy<Value = String> {
    let fixed = [
        "null",
        "true",
        "false",
        "0",
        "-1",
        "1.5",
        "1e3",
        "1e300",
        "1e12",
        "18446744073709551615",
        "[]",
        "{}",
        "-0",
        "1e-400",
        "253402300799.5",
    ];
    let leaf = prop_oneof![
        2 => prop::sample::select(fixed.to_vec()).prop_map(str::to_owned),
        2 => some_time(),
        4 => some_string(),
    ];
    leaf.prop_recursive(2, 8, 3, |inner| {
        prop_oneof![
            prop::collection::vec(inner.clone(), 0..3)
                .prop_map(|all| format!("[{}]", all.join(", "))),
            ("[a-c]", inner).prop_map(|(name, value)| format!(r#"{{"{name}":{value}}}"#)),
        ]
    })
}

fn some_claim() -> impl Strategy<Value = String> {
    let names = vec![
        "exp",
        "nbf",
        "iat",
        "iss",
        "aud",
        "sub",
        "jti",
        "scope",
        "groups",
        "cnf",
        "email",
        "custom",
        "__proto__",
        "",
        "azp",
        "client_id",
        "nonce",
        "scp",
        "token_use",
        "cognito:groups",
        "cognito:username",
        "username",
        "Exp",
        "iss\u{0}",
    ];
    prop::sample::select(names).prop_map(str::to_owned)
}

fn some_member() -> impl Strategy<Value = String> {
    let names = vec![
        "alg", "kid", "typ", "cty", "crit", "b64", "zip", "custom", "p2c", "Alg", "iss", "epk",
        "ppt",
    ];
    prop::sample::select(names).prop_map(str::to_owned)
}

fn some_change() -> impl Strategy<Value = Change> {
    let value = || prop::option::weighted(0.85, some_value());
    let place = any::<prop::sample::Index>;
    prop_oneof![
        6 => (some_claim(), value()).prop_map(|(name, value)| Change::Claim(name, value)),
        // What is most often got wrong: times, and for whom a token is.
        3 => (prop::sample::select(vec!["exp", "nbf", "iat"]), some_time())
            .prop_map(|(name, time)| Change::Claim(name.to_owned(), Some(time))),
        2 => (some_claim(), some_value()).prop_map(|(name, value)| Change::ClaimAgain(name, value)),
        4 => (some_member(), value()).prop_map(|(name, value)| Change::Header(name, value)),
        // What a profile asks for, so that something gets past it.
        2 => Just(Change::Profiled),
        1 => (prop::sample::select(READ_THERE_ALONE.to_vec()), some_string())
            .prop_filter("a type of their own", |(name, _)| !["jwk", "x5c"].contains(name))
            .prop_map(|(name, value)| Change::Header(name.to_owned(), Some(value))),
        1 => (some_member(), some_value()).prop_map(|(name, value)| Change::HeaderAgain(name, value)),
        3 => (any::<bool>(), place(), r#"[ \n\t{}\[\]",:0-9a-e\\u.+-]{1,3}"#)
            .prop_map(|(claims, at, text)| Change::Text { claims, at, text }),
        2 => (place(), 0..4_usize, "[A-Za-z0-9_.=+/ -]{0,3}")
            .prop_map(|(at, len, text)| Change::Token { at, len, text }),
        1 => Just(Change::Stranger),
        1 => (0..3_usize, 0..3_usize).prop_map(|(from, to)| Change::Segment(from, to)),
        1 => (0..3_usize, prop::sample::select(vec![("-", "+"), ("_", "/"), ("", "="), ("", "==")]))
            .prop_map(|(segment, (from, to))| Change::Spelling(segment, from, to)),
    ]
}

/// The members of an object in order, each with its JSON text.
struct Object(Vec<(String, String)>);

impl Object {
    fn of(value: &Value) -> Self {
        let members = value.as_object().expect("an object").iter();
        Self(
            members
                .map(|(name, value)| (name.clone(), value.to_string()))
                .collect(),
        )
    }

    fn set(&mut self, name: &str, value: Option<&str>) {
        self.0.retain(|(known, _)| known != name);
        self.0
            .extend(value.map(|value| (name.to_owned(), value.to_owned())));
    }

    fn text(&self) -> String {
        let member = |(name, value): &(String, String)| format!("{}:{value}", json!(name));
        format!(
            "{{{}}}",
            self.0.iter().map(member).collect::<Vec<_>>().join(",")
        )
    }
}

/// A token with all these changes.
fn changed(algorithm: Algorithm, changes: &[Change]) -> String {
    let now = get_current_timestamp();
    let mut claims = Object::of(&json!({
        "iss": ISSUER, "aud": AUDIENCE, "sub": "ada", "iat": now - 600, "exp": now + 3_600,
    }));
    let mut header = Object::of(&json!({"alg": algorithm.as_str(), "kid": KID, "typ": "JWT"}));
    for change in changes {
        match change {
            Change::Claim(name, value) => claims.set(name, value.as_deref()),
            Change::ClaimAgain(name, value) => claims.0.push((name.clone(), value.clone())),
            Change::Header(name, value) => header.set(name, value.as_deref()),
            Change::HeaderAgain(name, value) => header.0.push((name.clone(), value.clone())),
            Change::Profiled => {
                header.set("typ", Some(r#""at+jwt""#));
                for name in ["client_id", "jti"] {
                    claims.set(name, Some(r#""x""#));
                }
            }
            _ => {}
        }
    }
    let (mut header, mut claims) = (header.text(), claims.text());
    for change in changes {
        if let Change::Text {
            claims: in_claims,
            at,
            text,
        } = change
        {
            let target = if *in_claims { &mut claims } else { &mut header };
            insert(target, *at, 0, text);
        }
    }
    let signed = format!("{}.{}", encode(header), encode(claims));
    let stranger = changes
        .iter()
        .any(|change| matches!(change, Change::Stranger));
    let signer = match (stranger, algorithm) {
        (true, Algorithm::ES256) => Algorithm::EdDSA,
        (true, _) => Algorithm::ES256,
        (false, own) => own,
    };
    let mut token = format!("{signed}.{}", encode(key(signer).sign(signed.as_bytes())));
    for change in changes {
        let mut segments: Vec<_> = token.split('.').map(str::to_owned).collect();
        match change {
            Change::Token { at, len, text } => insert(&mut token, *at, *len, text),
            Change::Segment(from, to) if segments.len() == 3 => {
                segments[*to] = segments[*from].clone();
                token = segments.join(".");
            }
            // Put at the end where there is nothing to replace.
            Change::Spelling(at, "", to) if segments.len() == 3 => {
                segments[*at].push_str(to);
                token = segments.join(".");
            }
            Change::Spelling(at, from, to) if segments.len() == 3 => {
                segments[*at] = segments[*at].replacen(from, to, 1);
                token = segments.join(".");
            }
            _ => {}
        }
    }
    token
}

/// Puts `with` in place of `len` bytes, moved to where characters begin.
fn insert(text: &mut String, at: prop::sample::Index, len: usize, with: &str) {
    let boundary = |mut at: usize| {
        while !text.is_char_boundary(at) {
            at -= 1;
        }
        at
    };
    let start = at.index(text.len() + 1);
    let end = boundary((start + len).min(text.len()));
    let start = boundary(start);
    text.replace_range(start..end, with);
}

#[test]
fn what_is_accepted_here_is_accepted_there_and_reads_the_same() {
    let pairs = Pair::all();
    let cases = prop::collection::vec(some_change(), 0..4);
    let usual = Config::default();
    let config = Config {
        // More, if `PROPTEST_CASES` says so.
        cases: usual.cases.max(6_000),
        failure_persistence: None,
        ..usual
    };
    let strategy = (0..pairs.len(), cases);
    let accepted = std::cell::Cell::new(0_u32);
    TestRunner::new(config)
        .run(&strategy, |(pair, changes)| {
            let pair = &pairs[pair];
            let token = changed(pair.algorithm, &changes);
            if pair.compare(&token)? {
                accepted.set(accepted.get() + 1);
            }
            Ok(())
        })
        .expect("no difference");
    // To refuse everything would be no agreement.
    let accepted = accepted.get();
    assert!(accepted > 400, "{accepted} accepted");
}

/// Every token of the corpus that is accepted here, and whose algorithm both know.
#[test]
fn what_the_corpus_accepts_is_accepted_there() {
    let sets: Value = serde_json::from_str(include_str!("corpus/keys.json")).expect("sets");
    let (mut agreed, mut refused) = (0, Vec::new());
    for line in include_str!("corpus/cases.jsonl").lines() {
        let case: Value = serde_json::from_str(line).expect("a case");
        let (policy, token) = (&case["policy"], case["token"].as_str().expect("a token"));
        if case["verdict"] != "accept" || case.get("pad").is_some() {
            continue;
        }
        let header = token.split('.').next().expect("a header");
        let header: Value = serde_json::from_slice(&signing::decode(header)).expect("JSON");
        let Some((_, algorithm)) = SHARED
            .iter()
            .find(|(ours, _)| header["alg"] == ours.as_str())
        else {
            continue;
        };
        let mut validation = Validation::new(*algorithm);
        let texts = |name: &str| {
            let listed = policy[name].as_array().into_iter().flatten();
            listed
                .map(|text| text.as_str().expect("a string").to_owned())
                .collect::<Vec<_>>()
        };
        let issuer = policy["issuer"].as_str().expect("an issuer").to_owned();
        validation.set_issuer(&[&[issuer][..], &texts("issuer_alias")].concat());
        let audiences = texts("audience");
        validation.validate_aud = !audiences.is_empty();
        validation.set_audience(&audiences);
        let required = if audiences.is_empty() {
            &["iss"][..]
        } else {
            &["iss", "aud"]
        };
        validation.set_required_spec_claims(required);
        // It reads the clock itself, and the corpus has a time of its own.
        validation.validate_exp = false;
        let keys = sets[case["key_set"].as_str().expect("a name")]["keys"].as_array();
        let named = keys.expect("keys").iter().filter(|key| {
            header
                .get("kid")
                .is_none_or(|kid| key.get("kid") == Some(kid))
        });
        let readable = named.filter_map(|key| {
            let jwk: Jwk = serde_json::from_value(key.clone()).ok()?;
            DecodingKey::from_jwk(&jwk).ok()
        });
        let verdicts: Vec<_> = readable
            .map(|key| jsonwebtoken::decode::<Value>(token, &key, &validation))
            .collect();
        if verdicts.iter().any(Result::is_ok) {
            agreed += 1;
        } else {
            refused.push(format!("{}: {verdicts:?}", case["name"]));
        }
    }
    assert!(agreed > 150, "{agreed} agreed");
    // Some issuers write an octet too many before an RSA modulus; the number is the same.
    let explained = refused.pop().expect("the one that is known");
    assert!(explained.contains("odd key: leading-zero"), "{explained}");
    assert!(refused.is_empty(), "{}", refused.join("\n"));
}

#[test]
fn a_token_in_order_is_accepted_on_both_sides() {
    for pair in Pair::all() {
        let token = changed(pair.algorithm, &[]);
        assert!(
            pair.compare(&token).expect("no difference"),
            "{}",
            pair.algorithm
        );
    }
}

/// Where this crate is the stricter one, case by case.
#[test]
fn what_is_refused_here_though_accepted_there() {
    let change = |name: &str, value: &str| Change::Claim(name.to_owned(), Some(value.to_owned()));
    let header = |name: &str, value: &str| Change::Header(name.to_owned(), Some(value.to_owned()));
    let pair = &Pair::all()[0];
    for stricter in [
        change(
            "iss",
            r#"["https://evil.example","https://idp.example.com"]"#,
        ),
        change("iat", "99999999999"),
        change("sub", "5"),
        change("cnf", "{}"),
        change("exp", "1e12"),
        Change::ClaimAgain("custom".to_owned(), "1".to_owned()),
        header("crit", r#"["x"]"#),
        header("crit", "[]"),
        header("b64", "false"),
        header("zip", r#""DEF""#),
        header("cty", r#""JWT""#),
        header("typ", r#""logout+jwt""#),
    ] {
        let changes = [change("custom", "1"), stricter.clone()];
        let token = changed(pair.algorithm, &changes);
        let theirs = jsonwebtoken::decode::<Value>(&token, &pair.key, &pair.validation);
        assert!(theirs.is_ok(), "{stricter:?}: {theirs:?}");
        assert!(pair.ours.try_verify(&token).is_err(), "{stricter:?}");
    }
}
