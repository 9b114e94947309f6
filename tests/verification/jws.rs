//! A compact JWS over any payload: as strict as a JWT, but for what is in it.

use midil_auth::jwks::{Algorithm, AlgorithmSet, KeySet};
use midil_auth::jwt::{Jws, JwsRules, VerifyError};
use proptest::prelude::*;
use serde_json::json;

use crate::USUAL;
use crate::signing::{key, set};

fn keys() -> KeySet {
    set([key(USUAL).jwk(), key(Algorithm::ES256).jwk()])
}

fn verdict(result: Result<Jws, VerifyError>) -> &'static str {
    result.map_or_else(|error| error.as_str(), |_| "accepted")
}

fn header(algorithm: Algorithm) -> String {
    json!({"alg": algorithm.as_str(), "kid": key(algorithm).kid(), "typ": "hook"}).to_string()
}

#[test]
fn any_payload_is_taken_by_every_algorithm() {
    for algorithm in Algorithm::ALL {
        for payload in ["", "{}", "not JSON", "\0\u{ff}", &"x".repeat(10_000)] {
            let message = key(algorithm).token_of(&header(algorithm), payload);
            let keys = set([key(algorithm).jwk()]);
            let jws = Jws::verify(&message, &keys).expect("accepted");
            assert_eq!(jws.payload(), payload.as_bytes());
            assert_eq!(jws.algorithm(), algorithm);
            assert_eq!(jws.key_id(), Some(key(algorithm).kid()));
            assert_eq!(jws.typ(), Some("hook"));
            assert_eq!(jws.into_payload(), payload.as_bytes());
        }
    }
}

#[test]
fn the_form_is_as_strict_as_that_of_a_token() {
    let kid = key(USUAL).kid();
    let alg = USUAL.as_str();
    let good = key(USUAL).token_of(&json!({"alg": alg, "kid": kid}).to_string(), "hi");
    let (signed, signature) = good.rsplit_once('.').expect("three segments");
    let flattened = format!(r#"{{"payload":"aGk","signature":"{signature}"}}"#);
    let padded = format!("{good}=");
    let unsigned = format!("{signed}.");
    for (message, wanted) in [
        (good.as_str(), "accepted"),
        (&padded, "malformed"),
        (&unsigned, "malformed"),
        (signed, "malformed"),
        (&flattened, "malformed"),
        ("", "malformed"),
        ("..", "malformed"),
    ] {
        assert_eq!(verdict(Jws::verify(message, &keys())), wanted, "{message}");
    }
    for (header, wanted) in [
        (json!({"alg": alg, "kid": "stranger"}), "unknown_key"),
        (json!({"alg": "none"}), "algorithm"),
        (json!({"alg": "HS256", "kid": kid}), "algorithm"),
        (json!({"alg": "RS256", "kid": kid}), "algorithm"),
        (
            json!({"alg": alg, "kid": kid, "crit": ["b64"], "b64": false}),
            "malformed",
        ),
        (json!({"alg": alg, "kid": kid, "b64": false}), "malformed"),
        (json!({"alg": alg, "kid": kid, "zip": "DEF"}), "malformed"),
        (json!({"kid": kid}), "malformed"),
        // A JWT within a JWS is a payload like any other.
        (json!({"alg": alg, "kid": kid, "cty": "JWT"}), "accepted"),
        (
            json!({"alg": alg, "kid": kid, "jwk": key(Algorithm::ES256).jwk()}),
            "accepted",
        ),
    ] {
        let message = key(USUAL).token_of(&header.to_string(), "hi");
        assert_eq!(verdict(Jws::verify(&message, &keys())), wanted, "{header}");
    }
}

#[test]
fn rules_narrow_what_is_taken() {
    let message = key(USUAL).token_of(&header(USUAL), "hi");
    let by = |rules: JwsRules| verdict(rules.verify(&message, &keys()));
    assert_eq!(by(JwsRules::new()), "accepted");
    assert_eq!(
        by(JwsRules::new().algorithms([Algorithm::ES256])),
        "algorithm"
    );
    assert_eq!(by(JwsRules::new().algorithms([])), "algorithm");
    assert_eq!(by(JwsRules::new().max_bytes(message.len())), "accepted");
    assert_eq!(
        by(JwsRules::new().max_bytes(message.len() - 1)),
        "too_large"
    );
    assert_eq!(
        JwsRules::default(),
        JwsRules::new().algorithms(Algorithm::ALL)
    );
    assert!(AlgorithmSet::ALL.contains(USUAL));
}

#[test]
fn at_most_sixteen_keys_are_tried_for_one_message() {
    let with_others = |others: usize| {
        let mut jwks: Vec<_> = (0..others)
            .map(|_| midil_auth::testing::SigningKey::generate(USUAL, key(USUAL).kid()).jwk())
            .collect();
        jwks.push(key(USUAL).jwk());
        set(jwks)
    };
    let message = key(USUAL).token_of(&header(USUAL), "hi");
    let trying = JwsRules::new().try_ambiguous_keys();
    for (others, strict, tried) in [
        (0, "accepted", "accepted"),
        (15, "ambiguous", "accepted"),
        (16, "ambiguous", "ambiguous"),
    ] {
        let keys = with_others(others);
        assert_eq!(verdict(Jws::verify(&message, &keys)), strict, "{others}");
        assert_eq!(verdict(trying.verify(&message, &keys)), tried, "{others}");
    }
    let forged = key(Algorithm::Ed25519).token_of(&header(USUAL), "hi");
    assert_eq!(
        verdict(trying.verify(&forged, &with_others(15))),
        "signature"
    );
}

proptest! {
    #[test]
    fn a_message_with_another_character_anywhere_is_refused(
        at in any::<prop::sample::Index>(), other in "[A-Za-z0-9_.-]",
    ) {
        let message = key(USUAL).token_of(&header(USUAL), "hello");
        let at = at.index(message.len());
        let mut changed = message.clone();
        changed.replace_range(at..=at, &other);
        prop_assume!(changed != message);
        prop_assert!(Jws::verify(&changed, &keys()).is_err());
    }
}
