//! The corpus of `tests/corpus/`: tokens made by another implementation, and what the RFCs say
//! of each.

#![expect(
    clippy::expect_used,
    reason = "a test that cannot be set up has failed"
)]

use std::collections::{BTreeMap, HashMap, HashSet};
use std::sync::Arc;
use std::time::Duration;

use midil_auth::cognito::UserPool;
use midil_auth::jwks::{Algorithm, KeySet};
use midil_auth::jwt::{Profile, Verifier, VerifierBuilder};
use midil_auth::testing::TestClock;
use serde::Deserialize;
use serde_json::value::RawValue;

const CASES: &str = include_str!("corpus/cases.jsonl");
const KEYS: &str = include_str!("corpus/keys.json");

/// What `UserPool` takes for an issuer without being told.
const REPLICA: &str = "https://issuer-cognito-idp.";

#[derive(Deserialize)]
#[serde(deny_unknown_fields)]
struct Case {
    name: String,
    key_set: String,
    policy: Policy,
    now: u64,
    token: String,
    /// What stands for `{pad}` in the token.
    pad: Option<Pad>,
    verdict: String,
    rule: String,
    /// Whether the generator had another implementation confirm the very verdict.
    agreed: bool,
}

#[derive(Deserialize)]
#[serde(deny_unknown_fields)]
struct Pad {
    unit: String,
    times: usize,
}

#[derive(Deserialize)]
#[serde(deny_unknown_fields, rename_all = "snake_case")]
enum Kind {
    CognitoAccess,
    CognitoId,
    Custom,
    IdToken,
    Rfc9068,
}

#[derive(Deserialize)]
#[serde(deny_unknown_fields)]
struct Policy {
    profile: Kind,
    issuer: String,
    #[serde(default)]
    issuer_alias: Vec<String>,
    pool: Option<String>,
    #[serde(default)]
    audience: Vec<String>,
    #[serde(default)]
    client_id: Vec<String>,
    #[serde(default)]
    any: bool,
    algorithms: Option<Vec<String>>,
    typ: Option<String>,
    leeway: Option<u64>,
    expiry_leeway: Option<u64>,
    max_age: Option<u64>,
    #[serde(default)]
    without_expiry: bool,
    #[serde(default)]
    sender_constrained_as_bearer: bool,
    #[serde(default)]
    try_ambiguous: bool,
    max_token_bytes: Option<usize>,
    groups_claim: Option<String>,
    #[serde(default)]
    scopes: Vec<String>,
    #[serde(default)]
    any_scope: Vec<String>,
    #[serde(default)]
    groups: Vec<String>,
    #[serde(default)]
    any_group: Vec<String>,
}

impl Case {
    fn token(&self) -> String {
        match &self.pad {
            Some(pad) => self.token.replacen("{pad}", &pad.unit.repeat(pad.times), 1),
            None => self.token.clone(),
        }
    }

    fn verdict(&self, keys: &Arc<KeySet>) -> &'static str {
        let policy = &self.policy;
        match policy.profile {
            Kind::CognitoAccess => self.judge(policy.pool().access_tokens(), keys),
            Kind::CognitoId => self.judge(policy.pool().id_tokens(), keys),
            Kind::Custom => self.judge(policy.recipient(), keys),
            Kind::IdToken => self.judge(policy.recipient().id_token(), keys),
            Kind::Rfc9068 => self.judge(policy.recipient().rfc9068(), keys),
        }
    }

    fn judge<P: Profile>(&self, builder: VerifierBuilder<P>, keys: &Arc<KeySet>) -> &'static str {
        let clock = TestClock::fixed(self.now).clock();
        let verifier = self
            .policy
            .complete(builder)
            .fixed_with_clock(Arc::clone(keys), clock)
            .expect("a verifier");
        match verifier.try_verify(&self.token()) {
            Ok(_) => "accept",
            Err(error) => error.as_str(),
        }
    }
}

impl Policy {
    /// The pool, with the recipients of either kind of token.
    fn pool(&self) -> UserPool {
        let id = self.pool.as_deref().expect("a pool");
        let pool = UserPool::new(id).expect("the id of a pool");
        assert_eq!(pool.issuer(), self.issuer);
        let clients = self.client_id.iter().chain(&self.audience);
        let pool = clients.fold(pool, UserPool::client_id);
        let told = self.issuer_alias.iter();
        let pool = told
            .filter(|alias| !alias.starts_with(REPLICA))
            .fold(pool, UserPool::issuer_alias);
        if self.any { pool.any_client() } else { pool }
    }

    fn recipient(&self) -> VerifierBuilder {
        let builder = Verifier::builder(&self.issuer);
        let builder = self
            .issuer_alias
            .iter()
            .fold(builder, VerifierBuilder::issuer_alias);
        let builder = self
            .audience
            .iter()
            .fold(builder, VerifierBuilder::audience);
        let builder = self
            .client_id
            .iter()
            .fold(builder, VerifierBuilder::client_id);
        let builder = self.typ.iter().fold(builder, VerifierBuilder::typ);
        if self.any {
            builder.any_audience()
        } else {
            builder
        }
    }

    fn complete<P: Profile>(&self, mut builder: VerifierBuilder<P>) -> VerifierBuilder<P> {
        if let Some(names) = &self.algorithms {
            let algorithm = |name: &String| Algorithm::from_name(name).expect("an algorithm");
            builder = builder.algorithms(names.iter().map(algorithm));
        }
        if let Some(seconds) = self.leeway {
            builder = builder.leeway(Duration::from_secs(seconds));
        }
        if let Some(seconds) = self.expiry_leeway {
            builder = builder.expiry_leeway(Duration::from_secs(seconds));
        }
        if let Some(seconds) = self.max_age {
            builder = builder.max_age(Duration::from_secs(seconds));
        }
        if let Some(bytes) = self.max_token_bytes {
            builder = builder.max_token_bytes(bytes);
        }
        if let Some(claim) = &self.groups_claim {
            builder = builder.groups_claim(claim);
        }
        if self.without_expiry {
            builder = builder.without_expiry();
        }
        if self.sender_constrained_as_bearer {
            builder = builder.sender_constrained_as_bearer();
        }
        if self.try_ambiguous {
            builder = builder.try_ambiguous_keys();
        }
        builder = self
            .scopes
            .iter()
            .fold(builder, VerifierBuilder::require_scope);
        builder = self
            .groups
            .iter()
            .fold(builder, VerifierBuilder::require_group);
        builder
            .require_any_scope(&self.any_scope)
            .require_any_group(&self.any_group)
    }
}

fn key_sets() -> HashMap<String, Arc<KeySet>> {
    let sets: HashMap<String, &RawValue> = serde_json::from_str(KEYS).expect("sets by name");
    let read = |set: &RawValue| KeySet::from_json(set.get().as_bytes()).expect("a usable key");
    sets.into_iter()
        .map(|(name, set)| (name, Arc::new(read(set))))
        .collect()
}

/// The rules that tokens can break, by the RFC that states them: each has a case that is refused.
const RULES: [&str; 37] = [
    "RFC 6750 §3.1",
    "RFC 7515 §2",
    "RFC 7515 §4",
    "RFC 7515 §4.1.11",
    "RFC 7515 §5.2",
    "RFC 7515 §7.1",
    "RFC 7516 §4.1.3",
    "RFC 7516 §9",
    "RFC 7517 §4.2",
    "RFC 7517 §4.3",
    "RFC 7517 §4.4",
    "RFC 7517 §4.5",
    "RFC 7517 §8.1",
    "RFC 7518 §3.3",
    "RFC 7518 §3.4",
    "RFC 7518 §3.5",
    "RFC 7518 §3.6",
    "RFC 7518 §6.3.1",
    "RFC 7519 §4",
    "RFC 7519 §4.1.3",
    "RFC 7519 §4.1.4",
    "RFC 7519 §4.1.5",
    "RFC 7519 §4.1.6",
    "RFC 7797 §6",
    "RFC 8705 §3",
    "RFC 8725 §2.1",
    "RFC 8725 §3.1",
    "RFC 8725 §3.2",
    "RFC 8725 §3.4",
    "RFC 8725 §3.8",
    "RFC 8725 §3.9",
    "RFC 8725 §3.10",
    "RFC 8725 §3.11",
    "RFC 8725 §3.12",
    "RFC 9068 §2.2",
    "RFC 9068 §4",
    "RFC 9449 §7",
];

/// What the generator says of itself: counted, so that a truncated file does not pass.
#[derive(Default)]
struct Tally {
    accepted: usize,
    refused: usize,
    agreed: usize,
}

#[test]
fn every_case_gets_its_verdict() {
    let sets = key_sets();
    let mut tallies = BTreeMap::<String, Tally>::new();
    let (mut names, mut wrong) = (HashSet::new(), Vec::new());
    for line in CASES.lines() {
        let case: Case = serde_json::from_str(line).expect("a case");
        let verdict = case.verdict(&sets[&case.key_set]);
        if verdict != case.verdict {
            wrong.push(format!(
                "{}: {verdict}, but {} says {}",
                case.name, case.rule, case.verdict
            ));
        }
        // Nothing is accepted, and no signature refused, on this crate's word alone.
        assert!(
            case.agreed || !["accept", "signature"].contains(&&*case.verdict),
            "{}: nobody else says so",
            case.name
        );
        let tally = tallies.entry(case.rule).or_default();
        match case.verdict.as_str() {
            "accept" => tally.accepted += 1,
            _ => tally.refused += 1,
        }
        tally.agreed += usize::from(case.agreed);
        assert!(names.insert(case.name), "two cases of one name");
    }
    println!("{:<36} accepted  refused  confirmed", "rule");
    for (rule, tally) in &tallies {
        println!(
            "{rule:<36} {:>8} {:>8} {:>10}",
            tally.accepted, tally.refused, tally.agreed
        );
    }
    let of = |count: fn(&Tally) -> usize| tallies.values().map(count).sum::<usize>();
    println!(
        "{:<36} {:>8} {:>8} {:>10}",
        "all",
        of(|tally| tally.accepted),
        of(|tally| tally.refused),
        of(|tally| tally.agreed)
    );
    assert!(wrong.is_empty(), "{}", wrong.join("\n"));
    for rule in RULES {
        let refused = tallies.get(rule).map_or(0, |tally| tally.refused);
        assert!(refused > 0, "no case that breaks {rule}");
    }
    assert!(names.len() >= 1_500, "only {} cases", names.len());
}
