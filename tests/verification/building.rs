//! A verifier that cannot be right is not built.

use std::time::Duration;

use midil_auth::cognito::UserPool;
use midil_auth::jwks::Algorithm;
use midil_auth::jwt::{Profile, Verifier, VerifierBuilder};
use midil_auth::{ConfigError, RefreshPolicy};
use serde_json::Value;

use crate::signing::{key, set};
use crate::{AUDIENCE, ISSUER, USUAL, builder};

fn built<P: Profile, C: Send + Sync + 'static>(
    rules: VerifierBuilder<P, C>,
) -> Result<(), ConfigError> {
    rules.fixed(set([key(USUAL).jwk()])).map(drop)
}

/// The field that is complained of.
fn field<P: Profile, C: Send + Sync + 'static>(rules: VerifierBuilder<P, C>) -> String {
    let error = built(rules).expect_err("misconfigured");
    assert!(!error.remedy().is_empty());
    assert!(error.to_string().starts_with(error.field()));
    error.field().to_owned()
}

#[test]
fn for_whom_tokens_are_must_be_said() {
    assert_eq!(field(Verifier::builder(ISSUER)), "audience");
    assert_eq!(field(Verifier::builder(ISSUER).rfc9068()), "audience");
    assert_eq!(field(Verifier::builder(ISSUER).id_token()), "audience");
    assert_eq!(
        field(
            UserPool::new("eu-west-1_x")
                .expect("a pool")
                .access_tokens()
        ),
        "audience"
    );
    assert_eq!(
        field(UserPool::new("eu-west-1_x").expect("a pool").id_tokens()),
        "audience"
    );
    for empty in ["", " ", "\t\n"] {
        assert_eq!(field(Verifier::builder(ISSUER).audience(empty)), "audience");
        assert_eq!(field(builder().audience(empty)), "audience");
        assert_eq!(
            field(Verifier::builder(ISSUER).client_id(empty)),
            "audience"
        );
    }
}

#[test]
fn for_whom_tokens_are_must_be_said_in_one_way() {
    let new = || Verifier::builder(ISSUER);
    for rules in [
        new().audience(AUDIENCE).client_id("web"),
        new().client_id("web").audience(AUDIENCE),
        new().audience(AUDIENCE).any_audience(),
        new().any_audience().audience(AUDIENCE),
        new().client_id("web").any_audience(),
        new().any_audience().client_id("web"),
    ] {
        assert_eq!(field(rules), "audience");
    }
    let pool = UserPool::new("eu-west-1_x").expect("a pool");
    assert_eq!(
        field(pool.client_id("web").any_client().access_tokens()),
        "audience"
    );
    // A profile does not forget the contradiction.
    assert_eq!(
        field(new().any_audience().audience(AUDIENCE).rfc9068()),
        "audience"
    );
    assert_eq!(
        field(new().any_audience().audience(AUDIENCE).claims::<Value>()),
        "audience"
    );
}

#[test]
fn the_issuer_must_be_named() {
    for empty in ["", " ", "\n"] {
        assert_eq!(field(Verifier::builder(empty).audience(AUDIENCE)), "issuer");
        assert_eq!(field(builder().issuer_alias(empty)), "issuer");
    }
}

#[test]
fn durations_are_within_bounds() {
    let secs = Duration::from_secs;
    assert_eq!(field(builder().leeway(secs(301))), "leeway");
    assert_eq!(field(builder().leeway(Duration::MAX)), "leeway");
    assert_eq!(field(builder().expiry_leeway(secs(301))), "expiry_leeway");
    assert_eq!(
        field(builder().unknown_key_wait(secs(61))),
        "unknown_key_wait"
    );
    for rules in [
        builder().leeway(secs(300)).expiry_leeway(secs(300)),
        builder().leeway(Duration::ZERO).max_age(Duration::ZERO),
        builder().max_age(Duration::MAX),
        builder().unknown_key_wait(secs(60)),
        builder().unknown_key_wait(Duration::ZERO),
        builder().refresh(RefreshPolicy::for_keys()),
    ] {
        built(rules).expect("within bounds");
    }
}

#[test]
fn something_must_be_allowed() {
    assert_eq!(field(builder().algorithms([])), "algorithms");
    assert_eq!(field(builder().max_token_bytes(0)), "max_token_bytes");
    built(builder().algorithms([Algorithm::RS256, Algorithm::RS256])).expect("one is enough");
    built(builder().max_token_bytes(usize::MAX)).expect("as large as one likes");
}

#[test]
fn a_profile_has_a_typ_of_its_own() {
    assert_eq!(field(builder().typ("hook+jwt").rfc9068()), "typ");
    assert_eq!(field(builder().typ("hook+jwt").id_token()), "typ");
}

#[test]
fn a_type_of_ones_own_comes_before_the_checks() {
    let late = builder().check(|_| Ok(())).claims::<Value>();
    assert_eq!(field(late), "claims");
    assert_eq!(field(builder().deny(|_| true).claims::<Value>()), "claims");
    built(builder().claims::<Value>().check(|_| Ok(()))).expect("in that order");
}

#[test]
fn a_profile_comes_before_the_checks() {
    assert_eq!(field(builder().check(|_| Ok(())).rfc9068()), "rfc9068");
    assert_eq!(field(builder().check(|_| Ok(())).id_token()), "id_token");
    assert_eq!(field(builder().deny(|_| true).rfc9068()), "rfc9068");
    assert_eq!(field(builder().deny(|_| true).id_token()), "id_token");
    built(builder().rfc9068().check(|_| Ok(()))).expect("in that order");
}
