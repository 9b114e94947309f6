//! Kinds of token: none passes for another (RFC 8725 §3.12).

use std::time::Duration;

use midil_auth::cognito::UserPool;
use midil_auth::jwks::Algorithm;
use midil_auth::jwt::{Refusal, Verifier};
use midil_auth::testing::SigningKey;
use serde_json::{Value, json};

use crate::signing::{KID, key};
use crate::{
    AUDIENCE, ISSUER, USUAL, builder, changed, good, judge, now, verdict, verifier, with, with_keys,
};

const POOL: &str = "eu-west-1_abcd1234";

fn pool() -> UserPool {
    UserPool::new(POOL)
        .expect("a pool")
        .client_id("web")
        .client_id("app")
}

/// What a user pool writes into its access tokens.
fn pool_access() -> Value {
    json!({
        "iss": pool().issuer(), "sub": "ada", "client_id": "web", "token_use": "access",
        "scope": "openid inventory/read", "cognito:groups": ["staff"], "username": "ada",
        "origin_jti": "o", "jti": "j", "auth_time": now(), "iat": now(), "exp": now() + 3600,
        "version": 2,
    })
}

/// What a user pool writes into its ID tokens.
fn pool_id() -> Value {
    json!({
        "iss": pool().issuer(), "sub": "ada", "aud": "web", "token_use": "id",
        "cognito:groups": ["staff"], "cognito:username": "ada", "email": "ada@example.com",
        "email_verified": true, "iat": now(), "exp": now() + 3600,
    })
}

fn dropped(mut claims: Value, claim: &str) -> Value {
    claims.as_object_mut().expect("an object").remove(claim);
    claims
}

fn of_type(typ: &str, claims: &Value) -> String {
    let header = json!({"alg": USUAL.as_str(), "kid": KID, "typ": typ});
    key(USUAL).token_with_header(&header, claims)
}

/// T20
#[test]
fn cognito_access_tokens_are_those_of_our_clients() {
    let change = |claim, value| changed(pool_access(), &[(claim, value)]);
    judge(
        &verifier(pool().access_tokens()),
        [
            (pool_access(), "accepted"),
            (change("client_id", json!("app")), "accepted"),
            (change("client_id", json!("other")), "client_id"),
            (dropped(pool_access(), "client_id"), "missing_claim"),
            (change("client_id", json!(["web"])), "invalid_claim"),
            // That an API is named does not make the token that of a client of ours.
            (
                changed(
                    change("client_id", json!("other")),
                    &[("aud", json!("web"))],
                ),
                "client_id",
            ),
            (change("token_use", json!("id")), "token_use"),
            (change("token_use", json!("refresh")), "token_use"),
            (change("token_use", json!("Access")), "token_use"),
            (change("token_use", json!(["access"])), "invalid_claim"),
            (dropped(pool_access(), "token_use"), "missing_claim"),
            (dropped(pool_access(), "sub"), "missing_claim"),
            (dropped(pool_access(), "iat"), "missing_claim"),
            (dropped(pool_access(), "exp"), "missing_claim"),
            (change("exp", json!(now())), "expired"),
            (change("cnf", json!({"jkt": "x"})), "confirmation"),
        ],
    );
}

/// T20
#[test]
fn cognito_id_tokens_are_those_of_our_clients() {
    let change = |claim, value| changed(pool_id(), &[(claim, value)]);
    let usual = verifier(pool().id_tokens());
    judge(
        &usual,
        [
            (pool_id(), "accepted"),
            (change("aud", json!("app")), "accepted"),
            (change("aud", json!("other")), "audience"),
            (
                changed(
                    change("aud", json!("other")),
                    &[("client_id", json!("web"))],
                ),
                "audience",
            ),
            (dropped(pool_id(), "aud"), "missing_claim"),
            (change("token_use", json!("access")), "token_use"),
            (dropped(pool_id(), "token_use"), "missing_claim"),
        ],
    );
    let claims = usual.try_verify(&crate::minted(&pool_id())).expect("good");
    assert_eq!(claims.username(), Some("ada"));
    assert_eq!(claims.email(), Some("ada@example.com"));
    assert_eq!(claims.groups(), ["staff"]);
}

/// T19
#[test]
fn cognito_tokens_of_one_use_are_not_of_the_other() {
    let any = UserPool::new(POOL).expect("a pool").any_client();
    judge(
        &verifier(any.access_tokens()),
        [(pool_access(), "accepted")],
    );
    judge(&verifier(any.access_tokens()), [(pool_id(), "token_use")]);
    judge(
        &verifier(any.id_tokens()),
        [(pool_access(), "token_use"), (pool_id(), "accepted")],
    );
    judge(
        &verifier(pool().access_tokens()),
        [(pool_id(), "missing_claim")],
    );
    judge(
        &verifier(pool().id_tokens()),
        [(pool_access(), "missing_claim")],
    );
}

#[test]
fn cognito_issuers_are_both_of_the_pool_and_the_listed_ones() {
    let replica = "https://cognito-idp.eu-central-1.amazonaws.com/eu-central-1_abcd1234";
    let plain = verifier(pool().access_tokens());
    let aliased = verifier(pool().issuer_alias(replica).access_tokens());
    let from = |issuer: &str| changed(pool_access(), &[("iss", json!(issuer))]);
    let other_form = format!("https://issuer-cognito-idp.eu-west-1.amazonaws.com/{POOL}");
    for verifier in [&plain, &aliased] {
        judge(
            verifier,
            [
                (from(&pool().issuer()), "accepted"),
                (from(&other_form), "accepted"),
                (from(&format!("{other_form}/")), "issuer"),
                (
                    from("https://cognito-idp.eu-west-1.amazonaws.com/eu-west-1_other"),
                    "issuer",
                ),
                (
                    from("https://cognito-idp.us-east-1.amazonaws.com/eu-west-1_abcd1234"),
                    "issuer",
                ),
                (from(&pool().issuer().replace("https", "http")), "issuer"),
                (from(&pool().issuer().to_uppercase()), "issuer"),
            ],
        );
    }
    judge(&plain, [(from(replica), "issuer")]);
    judge(&aliased, [(from(replica), "accepted")]);
}

#[test]
fn cognito_groups_and_scopes_are_demanded() {
    let rules = || pool().access_tokens().require_scope("inventory/read");
    judge(
        &verifier(rules().require_group("staff")),
        [(pool_access(), "accepted")],
    );
    judge(
        &verifier(rules().require_group("admin")),
        [(pool_access(), "group")],
    );
    judge(
        &verifier(rules().require_any_group(["admin", "staff"])),
        [(pool_access(), "accepted")],
    );
    judge(
        &verifier(rules().require_scope("inventory/write")),
        [(pool_access(), "scope")],
    );
    // The claim that another issuer would use says nothing here.
    let elsewhere = changed(
        dropped(pool_access(), "cognito:groups"),
        &[("groups", json!(["staff"]))],
    );
    judge(
        &verifier(rules().require_group("staff")),
        [(elsewhere, "group")],
    );
}

#[test]
fn cognito_types_are_jwt_or_none() {
    let verifier = verifier(pool().access_tokens());
    assert_eq!(
        verdict(&verifier, &of_type("JWT", &pool_access())),
        "accepted"
    );
    for typ in ["at+jwt", "logout+jwt", "id+jwt"] {
        assert_eq!(verdict(&verifier, &of_type(typ, &pool_access())), "type");
    }
    let header = json!({"alg": USUAL.as_str(), "kid": KID});
    let untyped = key(USUAL).token_with_header(&header, &pool_access());
    assert_eq!(verdict(&verifier, &untyped), "accepted");
}

fn rfc9068() -> Value {
    changed(good(), &[("client_id", json!("web")), ("jti", json!("j"))])
}

#[test]
fn rfc_9068_tokens_have_their_type_and_all_their_claims() {
    let usual = verifier(builder().rfc9068());
    for typ in ["at+jwt", "AT+JWT", "application/at+jwt"] {
        assert_eq!(
            verdict(&usual, &of_type(typ, &rfc9068())),
            "accepted",
            "{typ}"
        );
    }
    for typ in ["JWT", "jwt", "logout+jwt", "", "at"] {
        assert_eq!(verdict(&usual, &of_type(typ, &rfc9068())), "type", "{typ}");
    }
    let header = json!({"alg": USUAL.as_str(), "kid": KID});
    let untyped = key(USUAL).token_with_header(&header, &rfc9068());
    assert_eq!(verdict(&usual, &untyped), "type");
    for claim in ["iss", "exp", "aud", "sub", "client_id", "iat", "jti"] {
        let token = of_type("at+jwt", &dropped(rfc9068(), claim));
        assert_eq!(verdict(&usual, &token), "missing_claim", "{claim}");
    }
    let anybody = verifier(Verifier::builder(ISSUER).any_audience().rfc9068());
    let token = of_type("at+jwt", &dropped(rfc9068(), "aud"));
    assert_eq!(verdict(&anybody, &token), "missing_claim");
}

fn oidc() -> Value {
    changed(good(), &[("aud", json!("web")), ("nonce", json!("n"))])
}

#[test]
fn id_tokens_are_for_us_and_of_no_other_type() {
    let verifier = verifier(Verifier::builder(ISSUER).audience("web").id_token());
    judge(
        &verifier,
        [
            (oidc(), "accepted"),
            (changed(oidc(), &[("aud", json!("other"))]), "audience"),
            (dropped(oidc(), "aud"), "missing_claim"),
            (dropped(oidc(), "sub"), "missing_claim"),
            (dropped(oidc(), "iat"), "missing_claim"),
            (dropped(oidc(), "exp"), "missing_claim"),
        ],
    );
    for typ in ["at+jwt", "logout+jwt", "application/at+jwt"] {
        assert_eq!(verdict(&verifier, &of_type(typ, &oidc())), "type", "{typ}");
    }
}

/// OpenID Connect Core §3.1.3.7
#[test]
fn audiences_and_azp_of_an_id_token_are_ours_in_whatever_order_that_was_said() {
    let before = Verifier::builder(ISSUER)
        .audience("web")
        .audience("app")
        .id_token();
    let after = Verifier::builder(ISSUER)
        .id_token()
        .audience("web")
        .audience("app");
    let between = Verifier::builder(ISSUER)
        .audience("web")
        .id_token()
        .audience("app");
    for rules in [before, after, between] {
        let both = |azp: &str| {
            changed(
                oidc(),
                &[("aud", json!(["web", "app"])), ("azp", json!(azp))],
            )
        };
        let shared = changed(
            oidc(),
            &[("aud", json!(["web", "x"])), ("azp", json!("web"))],
        );
        judge(
            &verifier(rules),
            [
                (oidc(), "accepted"),
                (both("web"), "accepted"),
                (both("app"), "accepted"),
                (both("x"), "client_id"),
                (both(""), "client_id"),
                (shared, "audience"),
                (changed(oidc(), &[("azp", json!("other"))]), "client_id"),
                (changed(oidc(), &[("azp", json!(["web"]))]), "invalid_claim"),
            ],
        );
    }
    // Other kinds of token say nothing of who may present them by `azp`.
    judge(&verifier(builder()), [(with("azp", "other"), "accepted")]);
}

/// T19
#[test]
fn an_access_token_is_no_id_token_nor_the_reverse() {
    let access = verifier(builder().rfc9068());
    let id = verifier(Verifier::builder(ISSUER).audience(AUDIENCE).id_token());
    let claims = changed(rfc9068(), &[("nonce", json!("n"))]);
    assert_eq!(verdict(&access, &of_type("at+jwt", &claims)), "accepted");
    assert_eq!(verdict(&id, &of_type("at+jwt", &claims)), "type");
    assert_eq!(verdict(&id, &of_type("JWT", &claims)), "accepted");
    assert_eq!(verdict(&access, &of_type("JWT", &claims)), "type");
}

#[test]
fn a_profile_keeps_what_was_said_before_it() {
    let rules = || {
        builder()
            .issuer_alias("https://alias.example.com")
            .require_scope("a")
            .groups_claim("roles")
            .require_group("staff")
            .leeway(Duration::ZERO)
    };
    let full = changed(
        rfc9068(),
        &[("scope", json!("a")), ("roles", json!(["staff"]))],
    );
    let cases = [
        (full.clone(), "accepted"),
        (
            changed(full.clone(), &[("iss", json!("https://alias.example.com"))]),
            "accepted",
        ),
        (dropped(full.clone(), "scope"), "scope"),
        (dropped(full.clone(), "roles"), "group"),
        (changed(full, &[("nbf", json!(now() + 1))]), "not_yet_valid"),
    ];
    let (access, id) = (verifier(rules().rfc9068()), verifier(rules().id_token()));
    for (claims, expected) in cases {
        assert_eq!(verdict(&access, &of_type("at+jwt", &claims)), expected);
        assert_eq!(verdict(&id, &of_type("JWT", &claims)), expected);
    }
}

#[test]
fn a_profile_keeps_the_limits_set_before_it() {
    let small = builder().max_token_bytes(10);
    let narrow = builder().algorithms([Algorithm::ES256]);
    let token = of_type("at+jwt", &rfc9068());
    assert_eq!(verdict(&verifier(small.rfc9068()), &token), "too_large");
    assert_eq!(verdict(&verifier(narrow.rfc9068()), &token), "algorithm");
    let twin = SigningKey::generate(USUAL, KID);
    let twins = [key(USUAL).jwk(), twin.jwk()];
    let lenient = with_keys(builder().try_ambiguous_keys().rfc9068(), twins);
    assert_eq!(verdict(&lenient, &token), "accepted");
    // What is said of keys is kept, too.
    let endless = builder().unknown_key_wait(Duration::MAX).rfc9068();
    let refused = endless.fixed(crate::set([key(USUAL).jwk()]));
    assert_eq!(refused.expect_err("kept").field(), "unknown_key_wait");
}

#[test]
fn a_profile_never_drops_a_check() {
    let never = || builder().check(|_| Err(Refusal::invalid("never")));
    for built in [
        never()
            .rfc9068()
            .fixed(crate::set([key(USUAL).jwk()]))
            .map(drop),
        never()
            .id_token()
            .fixed(crate::set([key(USUAL).jwk()]))
            .map(drop),
    ] {
        assert!(
            built.is_err(),
            "refused, or else the check would have to run"
        );
    }
    judge(
        &verifier(
            builder()
                .id_token()
                .check(|_| Err(Refusal::invalid("never"))),
        ),
        [(good(), "refused")],
    );
}
