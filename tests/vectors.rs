//! Project Wycheproof's vectors for JSON Web Signatures and Keys, every one of them, through the
//! entry for a compact JWS over any payload and the reader of key sets.

#![expect(
    clippy::expect_used,
    reason = "a test that cannot be set up has failed"
)]

use std::collections::BTreeMap;

use midil_auth::jwks::KeySet;
use midil_auth::jwt::Jws;
use serde_json::{Value, json};
use wycheproof_ng_kdf_jose::json_web::{TestGroup, TestName, TestSet};

/// Where this crate decides otherwise than the vectors say: which of them, and why.
struct Explained {
    set: TestName,
    ids: &'static [usize],
    why: &'static str,
    /// What shows that this is why: what the message comes to without the `alg` of its key.
    without_alg: bool,
}

const SYMMETRIC: &str = "signed with HMAC: whoever can verify could sign (RFC 8725 §3.1)";
const MISNAMED: &str = "the key is listed for another algorithm (RFC 7517 §4.4)";
const ROCA: &str = "a modulus that can be factored (CVE-2017-15361) shows in no other way";

const EXPLAINED: [Explained; 6] = [
    Explained {
        set: TestName::JsonWebSignature,
        ids: &[1, 348, 352, 357, 358, 359, 372, 373, 376, 377],
        why: SYMMETRIC,
        without_alg: false,
    },
    // RFC 7520 §4.2 signs with PS384, and the key says PS256; ES521 is nobody's name.
    Explained {
        set: TestName::JsonWebSignature,
        ids: &[346, 347, 350, 351],
        why: MISNAMED,
        without_alg: true,
    },
    Explained {
        set: TestName::JsonWebKey,
        ids: &[2, 13, 14, 15],
        why: SYMMETRIC,
        without_alg: false,
    },
    Explained {
        set: TestName::JsonWebKey,
        ids: &[7],
        why: ROCA,
        without_alg: true,
    },
    Explained {
        set: TestName::JsonWebCrypto,
        ids: &[1, 48],
        why: SYMMETRIC,
        without_alg: false,
    },
    Explained {
        set: TestName::JsonWebCrypto,
        ids: &[46],
        why: ROCA,
        without_alg: true,
    },
];

/// The sets, and how many vectors each has: none gets lost on the way here.
const SETS: [(TestName, usize); 3] = [
    (TestName::JsonWebSignature, 401),
    (TestName::JsonWebKey, 26),
    (TestName::JsonWebCrypto, 83),
];

/// The keys of a group as its issuer would publish them.
fn listed(group: &TestGroup) -> Value {
    let listed = group.public_key.as_ref().or(group.private_key.as_ref());
    let listed = listed.expect("a key");
    match listed.get("keys") {
        Some(_) => listed.clone(),
        None => json!({ "keys": [listed] }),
    }
}

fn read(set: &Value) -> Option<KeySet> {
    KeySet::from_json(set.to_string().as_bytes()).ok()
}

fn read_without_alg(mut set: Value) -> Option<KeySet> {
    for key in set["keys"].as_array_mut().expect("keys") {
        key.as_object_mut().expect("a key").remove("alg");
    }
    read(&set)
}

/// A JWS that is not a string is in the JSON serialization, which is no compact one.
fn is_accepted(message: &Value, keys: Option<&KeySet>) -> bool {
    let text = match message {
        Value::String(text) => text.clone(),
        other => other.to_string(),
    };
    keys.is_some_and(|keys| Jws::verify(&text, keys).is_ok())
}

#[test]
fn every_published_vector_is_decided_as_it_says_or_the_difference_is_explained() {
    let mut unexplained = Vec::new();
    let mut reasons = BTreeMap::<&str, usize>::new();
    let (mut vectors, mut agreed) = (0, 0);
    for (name, count) in SETS {
        let set = TestSet::load(name).expect("vectors");
        assert_eq!(set.number_of_tests, count, "{name:?}");
        let explained = |id: usize| {
            let mut all = EXPLAINED.iter();
            all.find(|entry| entry.set == name && entry.ids.contains(&id))
        };
        for group in &set.test_groups {
            let listed = listed(group);
            let keys = read(&listed);
            for test in &group.tests {
                // A JWE is no JWS, and is refused as one, valid as it may be.
                let (message, encrypted) = match (&test.jws, &test.jwe) {
                    (Some(jws), None) => (jws, false),
                    (None, Some(jwe)) => (jwe, true),
                    _ => unreachable!("one message"),
                };
                let accepted = is_accepted(message, keys.as_ref());
                // None of these sets has vectors that may be decided either way.
                let wanted = !test.result.must_fail() && !encrypted;
                vectors += 1;
                agreed += usize::from(accepted == wanted);
                match (accepted == wanted, explained(test.tc_id)) {
                    (true, None) => {}
                    (false, Some(entry)) => {
                        let keys = read_without_alg(listed.clone());
                        let accepted = is_accepted(message, keys.as_ref());
                        assert_eq!(accepted, entry.without_alg, "{name:?} {}", test.tc_id);
                        *reasons.entry(entry.why).or_default() += 1;
                    }
                    (_, entry) => unexplained.push(format!(
                        "{name:?} {} ({:?}: {}): accepted {accepted}, {}",
                        test.tc_id,
                        group.group_comment,
                        test.comment,
                        entry.map_or(
                            "which nothing explains",
                            |_| "so there is nothing to explain"
                        )
                    )),
                }
            }
        }
    }
    let explained: usize = reasons.values().sum();
    println!("{vectors} vectors: {agreed} agreed, {explained} explained");
    for (why, count) in reasons {
        println!("  {count:>3} {why}");
    }
    assert!(unexplained.is_empty(), "{}", unexplained.join("\n"));
    assert_eq!(vectors, agreed + explained);
}
