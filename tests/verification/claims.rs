//! What the claims of an authentic token must say.

use std::sync::Arc;
use std::sync::atomic::{AtomicU32, Ordering};
use std::time::{Duration, UNIX_EPOCH};

use http::StatusCode;
use midil_auth::jwt::{Refusal, Verifier};
use midil_auth::testing::TestClock;
use serde::Deserialize;
use serde_json::{Value, json};

use crate::signing::{KID, key, set};
use crate::{
    AUDIENCE, ISSUER, USUAL, builder, changed, good, judge, minted, now, verdict, verifier, with,
    without,
};

const NEVER_A_DATE: [&str; 16] = [
    "null",
    "true",
    "false",
    r#""1900000000""#,
    r#""""#,
    "[]",
    "[1900000000]",
    "{}",
    "-1",
    "-0.5",
    "1e300",
    "1e12",
    "253402300800",
    "9223372036854775808",
    "18446744073709551615",
    "9999999999999",
];

/// T13
#[test]
fn a_date_is_a_number_of_seconds_in_range() {
    let verifier = verifier(builder());
    for claim in ["exp", "nbf", "iat"] {
        for value in NEVER_A_DATE {
            let rest = without(claim).to_string();
            let text = rest.replacen('{', &format!(r#"{{"{claim}":{value},"#), 1);
            let token =
                key(USUAL).token_of(&json!({"alg": "EdDSA", "kid": KID}).to_string(), &text);
            let verdict = verdict(&verifier, &token);
            assert_eq!(verdict, "invalid_claim", "{claim}: {value}");
        }
    }
    for value in ["NaN", "Infinity", "-Infinity", "1e999"] {
        let text = without("exp")
            .to_string()
            .replacen('{', &format!(r#"{{"exp":{value},"#), 1);
        let token = key(USUAL).token_of(&json!({"alg": "EdDSA", "kid": KID}).to_string(), &text);
        assert_eq!(verdict(&verifier, &token), "malformed", "{value}");
    }
    judge(
        &verifier,
        [
            (with("exp", now() as f64 + 1.5), "accepted"),
            (with("exp", 1.9e9), "accepted"),
            (with("exp", 1.5), "expired"),
            (with("exp", 0), "expired"),
            (with("iat", now() as f64 - 0.5), "accepted"),
            (with("nbf", 1.5), "accepted"),
            (with("nbf", 0), "accepted"),
        ],
    );
}

/// T13
#[test]
fn exp_is_required_unless_waived() {
    let strict = verifier(builder());
    judge(&strict, [(without("exp"), "missing_claim")]);
    let waived = verifier(builder().without_expiry());
    judge(
        &waived,
        [
            (without("exp"), "accepted"),
            (with("exp", now()), "expired"),
            (with("exp", json!(null)), "invalid_claim"),
        ],
    );
}

/// T14: a token expires at `exp`, not after it.
#[test]
fn a_token_expires_at_exp() {
    judge(
        &verifier(builder()),
        [
            (with("exp", now() + 1), "accepted"),
            (with("exp", now() as f64 + 0.5), "accepted"),
            (with("exp", now()), "expired"),
            (with("exp", now() as f64 - 0.5), "expired"),
            (with("exp", now() - 1), "expired"),
        ],
    );
    judge(
        &verifier(builder().expiry_leeway(Duration::from_secs(30))),
        [
            (with("exp", now() - 29), "accepted"),
            (with("exp", now() as f64 - 29.5), "accepted"),
            (with("exp", now() - 30), "expired"),
            (with("exp", now() - 31), "expired"),
        ],
    );
    // The leeway for clocks that differ does not prolong a life.
    let lenient = verifier(builder().leeway(Duration::from_secs(300)));
    judge(&lenient, [(with("exp", now()), "expired")]);
}

#[tokio::test]
async fn a_token_expires_while_the_clock_runs() {
    let clock = TestClock::fixed(now());
    let start = clock
        .now()
        .duration_since(UNIX_EPOCH)
        .expect("after 1970")
        .as_secs();
    let verifier = builder()
        .fixed_with_clock(set([key(USUAL).jwk()]), clock.clock())
        .expect("a verifier");
    let token = minted(&with("exp", start + 10));
    let claims = verifier.try_verify(&token).expect("good");
    clock.advance(Duration::from_millis(9_999)).await;
    assert_eq!(verdict(&verifier, &token), "accepted");
    assert!(!claims.is_expired_at(clock.now()));
    clock.advance(Duration::from_millis(1)).await;
    assert_eq!(verdict(&verifier, &token), "expired");
    assert!(claims.is_expired_at(clock.now()));
    clock.step_wall(-5);
    assert_eq!(verdict(&verifier, &token), "accepted");
}

/// T14
#[test]
fn nbf_and_iat_may_be_ahead_by_the_leeway() {
    for claim in ["nbf", "iat"] {
        judge(
            &verifier(builder()),
            [
                (with(claim, now()), "accepted"),
                (with(claim, now() + 30), "accepted"),
                (with(claim, now() as f64 + 30.5), "not_yet_valid"),
                (with(claim, now() + 31), "not_yet_valid"),
                (without(claim), "accepted"),
            ],
        );
        judge(
            &verifier(builder().leeway(Duration::ZERO)),
            [
                (with(claim, now()), "accepted"),
                (with(claim, now() + 1), "not_yet_valid"),
            ],
        );
        judge(
            &verifier(builder().leeway(Duration::from_secs(300))),
            [
                (with(claim, now() + 300), "accepted"),
                (with(claim, now() + 301), "not_yet_valid"),
            ],
        );
    }
}

#[test]
fn max_age_counts_from_iat_with_the_leeway() {
    judge(
        &verifier(builder().max_age(Duration::from_secs(60))),
        [
            (with("iat", now()), "accepted"),
            (with("iat", now() - 90), "accepted"),
            (with("iat", now() - 91), "too_old"),
            (without("iat"), "missing_claim"),
        ],
    );
    judge(&verifier(builder()), [(with("iat", 0), "accepted")]);
}

/// T11, CVE-2025-30144, CVE-2024-53861
#[test]
fn iss_is_one_exact_string() {
    let alias = "https://other.example.com/";
    let verifier = verifier(builder().issuer_alias(alias));
    judge(
        &verifier,
        [
            (good(), "accepted"),
            (with("iss", alias), "accepted"),
            (with("iss", alias.trim_end_matches('/')), "issuer"),
            (with("iss", format!("{ISSUER}/")), "issuer"),
            (with("iss", ISSUER.to_uppercase()), "issuer"),
            (with("iss", &ISSUER[..ISSUER.len() - 1]), "issuer"),
            (with("iss", format!("{ISSUER}.attacker.example")), "issuer"),
            (with("iss", format!(" {ISSUER}")), "issuer"),
            (with("iss", "idp.example.com"), "issuer"),
            (with("iss", ""), "issuer"),
            (with("iss", json!([ISSUER])), "invalid_claim"),
            (
                with("iss", json!(["https://evil.example", ISSUER])),
                "invalid_claim",
            ),
            (with("iss", json!({"iss": ISSUER})), "invalid_claim"),
            (with("iss", 5), "invalid_claim"),
            (with("iss", json!(null)), "invalid_claim"),
            (without("iss"), "missing_claim"),
        ],
    );
    let escaped = good()
        .to_string()
        .replace("https://idp", r"https:\/\/\u0069dp")
        .replacen(
            '{',
            r#"{"jti":"\u0031","username":"b\u00f6b","email":"plain","#,
            1,
        );
    let token = key(USUAL).token_of(r#"{"alg":"EdDSA","kid":"k"}"#, &escaped);
    let claims = verifier.try_verify(&token).expect("the same strings");
    assert_eq!(claims.issuer(), Some(ISSUER));
    assert_eq!(claims.token_id(), Some("1"));
    assert_eq!(claims.username(), Some("böb"));
    assert_eq!(claims.email(), Some("plain"));
}

/// T12
#[test]
fn aud_is_a_string_or_strings_one_of_which_is_ours() {
    let second = "https://second.example.com";
    judge(
        &verifier(builder().audience(second)),
        [
            (good(), "accepted"),
            (with("aud", second), "accepted"),
            (with("aud", json!([AUDIENCE])), "accepted"),
            (
                with("aud", json!(["https://x.example", second, "y"])),
                "accepted",
            ),
            (with("aud", "https://x.example"), "audience"),
            (with("aud", ""), "audience"),
            (with("aud", json!([])), "audience"),
            (with("aud", json!(["x", "y"])), "audience"),
            (with("aud", format!("{AUDIENCE}/")), "audience"),
            (with("aud", AUDIENCE.to_uppercase()), "audience"),
            (with("aud", format!("{AUDIENCE} {second}")), "audience"),
            (with("aud", &AUDIENCE[..8]), "audience"),
            (with("aud", json!([AUDIENCE, 5])), "invalid_claim"),
            (with("aud", json!([AUDIENCE, null])), "invalid_claim"),
            (with("aud", json!([[AUDIENCE]])), "invalid_claim"),
            (with("aud", json!({AUDIENCE: true})), "invalid_claim"),
            (with("aud", 5), "invalid_claim"),
            (with("aud", json!(null)), "invalid_claim"),
            (without("aud"), "missing_claim"),
        ],
    );
}

#[test]
fn any_audience_takes_none_and_others_but_no_nonsense() {
    judge(
        &verifier(Verifier::builder(ISSUER).any_audience()),
        [
            (good(), "accepted"),
            (without("aud"), "accepted"),
            (with("aud", json!([])), "accepted"),
            (with("aud", "https://x.example"), "accepted"),
            (with("aud", json!([5])), "invalid_claim"),
            (with("aud", json!(null)), "invalid_claim"),
        ],
    );
}

#[test]
fn client_id_is_one_of_ours_whatever_aud_says() {
    judge(
        &verifier(Verifier::builder(ISSUER).client_id("web").client_id("app")),
        [
            (with("client_id", "web"), "accepted"),
            (with("client_id", "app"), "accepted"),
            (with("client_id", "Web"), "client_id"),
            (with("client_id", "other"), "client_id"),
            (with("aud", "web"), "missing_claim"),
            (with("client_id", json!(["web"])), "invalid_claim"),
        ],
    );
}

/// T21, RFC 9449 §7, RFC 8705 §3
#[test]
fn a_token_bound_to_a_key_is_no_bearer_token() {
    let strict = verifier(builder());
    let waived = verifier(builder().sender_constrained_as_bearer());
    for cnf in [
        json!({"jkt": "0ZcOCORZNYy-DWpqq30jZyJGHTN0d2HglBV3uiguA4I"}),
        json!({"x5t#S256": "bwcK0esc3ACC3DB2Y5_lESsXE8o9ltc05O89jdN-dg2"}),
        json!({"jwk": {}}),
        json!({}),
        json!(null),
        json!("x"),
    ] {
        judge(&strict, [(with("cnf", cnf.clone()), "confirmation")]);
        judge(&waived, [(with("cnf", cnf), "accepted")]);
    }
}

#[test]
fn string_claims_are_strings() {
    let verifier = verifier(builder());
    for claim in [
        "sub",
        "jti",
        "client_id",
        "azp",
        "token_use",
        "email",
        "username",
        "cognito:username",
    ] {
        for value in [json!(5), json!(["x"]), json!({}), json!(true)] {
            judge(&verifier, [(with(claim, value), "invalid_claim")]);
        }
    }
    for claim in ["scope", "scp", "groups"] {
        for value in [
            json!(5),
            json!(["x", 5]),
            json!([["x"]]),
            json!({}),
            json!(true),
        ] {
            judge(&verifier, [(with(claim, value), "invalid_claim")]);
        }
    }
}

/// What a rule may hang on must not be `null`; what is only shown may.
#[test]
fn null_is_nothing_where_nothing_hangs_on_it() {
    let open = verifier(builder());
    for claim in [
        "sub",
        "jti",
        "client_id",
        "azp",
        "token_use",
        "scope",
        "scp",
    ] {
        judge(&open, [(with(claim, json!(null)), "invalid_claim")]);
    }
    for claim in ["email", "username", "cognito:username", "groups"] {
        judge(&open, [(with(claim, json!(null)), "accepted")]);
    }
    let admins = verifier(builder().require_group("admin"));
    judge(&admins, [(with("groups", json!(null)), "group")]);
}

#[test]
fn scopes_are_demanded_all_or_any() {
    let rules = || {
        builder()
            .require_scope("orders/read")
            .require_scope("orders/write")
    };
    judge(
        &verifier(rules()),
        [
            (with("scope", "orders/read orders/write"), "accepted"),
            (
                with("scope", "openid  orders/write orders/read "),
                "accepted",
            ),
            (
                with("scope", json!(["orders/write", "orders/read"])),
                "accepted",
            ),
            (
                with("scp", json!(["orders/write", "orders/read"])),
                "accepted",
            ),
            (with("scope", "orders/read"), "scope"),
            (with("scope", "orders/read orders/writes"), "scope"),
            (with("scope", "orders/read ORDERS/WRITE"), "scope"),
            (with("scope", "orders/read,orders/write"), "scope"),
            (with("scope", ""), "scope"),
            (good(), "scope"),
        ],
    );
    let either = verifier(builder().require_any_scope(["a", "b"]).require_scope("c"));
    judge(
        &either,
        [
            (with("scope", "a c"), "accepted"),
            (with("scope", "c b x"), "accepted"),
            (with("scope", "a b"), "scope"),
            (with("scope", "c"), "scope"),
        ],
    );
    let refusal = either.try_verify(&minted(&good())).expect_err("no scope");
    assert_eq!(refusal.status(), StatusCode::FORBIDDEN);
}

#[test]
fn groups_are_demanded_all_or_any() {
    let both = verifier(builder().require_group("staff").require_group("admin"));
    judge(
        &both,
        [
            (with("groups", json!(["admin", "x", "staff"])), "accepted"),
            (with("groups", json!(["admin"])), "group"),
            (with("groups", json!(["admin", "Staff"])), "group"),
            // A group may have a space in its name; it is not a list.
            (with("groups", "admin staff"), "group"),
            (with("roles", json!(["admin", "staff"])), "group"),
            (good(), "group"),
        ],
    );
    let roles = verifier(
        builder()
            .groups_claim("roles")
            .require_any_group(["a b", "c"]),
    );
    judge(
        &roles,
        [
            (with("roles", "a b"), "accepted"),
            (with("roles", json!(["c"])), "accepted"),
            (with("roles", json!(["a", "b"])), "group"),
            (with("groups", json!(["c"])), "group"),
        ],
    );
    let refusal = roles.try_verify(&minted(&good())).expect_err("no group");
    assert_eq!(refusal.status(), StatusCode::FORBIDDEN);
}

#[test]
fn a_check_of_ones_own_comes_last_and_decides() {
    let asked = Arc::new(AtomicU32::new(0));
    let counter = Arc::clone(&asked);
    let verifier = verifier(builder().require_scope("a").check(move |claims| {
        counter.fetch_add(1, Ordering::SeqCst);
        match claims.get("tenant").as_ref().and_then(Value::as_str) {
            Some("ours") => Ok(()),
            Some(_) => Err(Refusal::forbidden("another tenant")),
            None => Err(Refusal::invalid("no tenant")),
        }
    }));
    let scoped = with("scope", "a");
    judge(
        &verifier,
        [
            (with("tenant", "ours"), "scope"),
            (changed(scoped.clone(), &[("exp", json!(now()))]), "expired"),
        ],
    );
    assert_eq!(asked.load(Ordering::SeqCst), 0, "not asked of a bad token");
    for (tenant, expected, status) in [
        (json!("theirs"), "another tenant", StatusCode::FORBIDDEN),
        (json!(null), "no tenant", StatusCode::UNAUTHORIZED),
    ] {
        let token = minted(&changed(scoped.clone(), &[("tenant", tenant)]));
        let refusal = verifier.try_verify(&token).expect_err("refused");
        assert_eq!(
            (refusal.to_string().as_str(), refusal.status()),
            (expected, status)
        );
    }
    judge(
        &verifier,
        [(changed(scoped, &[("tenant", json!("ours"))]), "accepted")],
    );
    assert_eq!(asked.load(Ordering::SeqCst), 3);
}

#[test]
fn every_check_must_agree() {
    let verifier = verifier(
        builder()
            .check(|claims| claims.get("a").map(drop).ok_or(Refusal::invalid("a")))
            .check(|claims| claims.get("b").map(drop).ok_or(Refusal::invalid("b"))),
    );
    judge(
        &verifier,
        [
            (changed(with("a", 1), &[("b", json!(1))]), "accepted"),
            (with("a", 1), "refused"),
            (with("b", 1), "refused"),
        ],
    );
}

#[test]
fn each_deny_hook_may_refuse() {
    let verifier = verifier(
        builder()
            .deny(|claims| claims.get("a").is_some())
            .deny(|claims| claims.get("b").is_some()),
    );
    judge(
        &verifier,
        [
            (good(), "accepted"),
            (with("a", 1), "revoked"),
            (with("b", 1), "revoked"),
        ],
    );
}

#[derive(Debug, Deserialize)]
struct Custom {
    tenant: String,
    level: Option<u8>,
}

#[test]
fn claims_are_read_into_a_type_of_ones_own() {
    let verifier = verifier(builder().claims::<Custom>().check(
        |claims| match claims.custom().level {
            Some(level) if level > 9 => Err(Refusal::forbidden("too high")),
            _ => Ok(()),
        },
    ));
    judge(
        &verifier,
        [
            (with("tenant", "t"), "accepted"),
            (good(), "malformed"),
            (with("tenant", 5), "malformed"),
            (
                changed(with("tenant", "t"), &[("level", json!(300))]),
                "malformed",
            ),
            (
                changed(with("tenant", "t"), &[("level", json!(10))]),
                "refused",
            ),
        ],
    );
    let claims = verifier
        .try_verify(&minted(&with("tenant", "t\n")))
        .expect("good");
    assert_eq!(claims.custom().tenant, "t\n");
    assert_eq!(claims.erase().subject(), Some("ada"));
}

#[test]
fn what_was_verified_can_be_read() {
    let more = [
        ("jti", json!("j-1")),
        ("client_id", json!("web")),
        ("email", json!("ada@example.com")),
        ("username", json!("a\u{301}\"da\\")),
        ("scope", json!("a  b")),
        ("groups", json!(["x", "\u{1f600}"])),
        ("aud", json!(["other", AUDIENCE])),
        ("tenant", json!({"id": 5})),
    ];
    let claims = verifier(builder()).try_verify(&minted(&changed(good(), &more)));
    let claims = claims.expect("good");
    assert_eq!(claims.issuer(), Some(ISSUER));
    assert_eq!(claims.subject(), Some("ada"));
    assert_eq!(claims.token_id(), Some("j-1"));
    assert_eq!(claims.client_id(), Some("web"));
    assert_eq!(claims.email(), Some("ada@example.com"));
    assert_eq!(claims.username(), Some("a\u{301}\"da\\"));
    assert_eq!(claims.scopes(), ["a", "b"]);
    assert!(claims.has_scope("b") && !claims.has_scope("a  b") && !claims.has_scope(""));
    assert_eq!(claims.groups(), ["x", "\u{1f600}"]);
    assert!(claims.has_group("x") && !claims.has_group("X"));
    assert_eq!(
        claims.audience().iter().collect::<Vec<_>>(),
        ["other", AUDIENCE]
    );
    assert!(claims.audience().contains(AUDIENCE) && !claims.audience().contains("x"));
    assert!(!claims.audience().is_empty());
    let nobody = verifier(Verifier::builder(ISSUER).any_audience());
    let nobody = nobody.try_verify(&minted(&without("aud"))).expect("good");
    assert!(nobody.audience().is_empty() && !nobody.audience().contains(AUDIENCE));
    assert_eq!(claims.get("tenant"), Some(json!({"id": 5})));
    assert_eq!(claims.get("absent"), None);
    let seconds = |time: Option<std::time::SystemTime>| {
        time.and_then(|time| time.duration_since(UNIX_EPOCH).ok())
            .map(|d| d.as_secs())
    };
    assert_eq!(seconds(claims.issued_at()), Some(now()));
    assert_eq!(seconds(claims.expires_at()), Some(now() + 3600));
}

/// T37
#[test]
fn what_a_token_says_is_never_repeated() {
    const MARK: &str = "s3cr3t-m4rk";
    let rules = builder()
        .require_scope("a")
        .require_group("b")
        .max_age(Duration::from_secs(60))
        .claims::<Custom>();
    let verifier = verifier(rules);
    let marked = changed(
        good(),
        &[
            "sub",
            "jti",
            "client_id",
            "azp",
            "email",
            "username",
            "tenant",
            "custom",
        ]
        .map(|claim| (claim, json!(MARK))),
    );
    let full = changed(
        marked,
        &[
            ("scope", json!(format!("a {MARK}"))),
            ("groups", json!(["b", MARK])),
        ],
    );
    let claims = verifier.try_verify(&minted(&full)).expect("good");
    let shown = format!("{claims:?} {verifier:?}");
    assert!(shown.contains("tenant") && !shown.contains(MARK), "{shown}");
    let faults: [(&str, Value); 14] = [
        ("iss", json!(MARK)),
        ("iss", json!([MARK])),
        ("aud", json!(MARK)),
        ("aud", json!([MARK, 5])),
        ("exp", json!(MARK)),
        ("exp", json!(now() - 1)),
        ("nbf", json!(now() + 1_000)),
        ("iat", json!(now() - 1_000)),
        ("sub", json!([MARK])),
        ("cnf", json!({"jkt": MARK})),
        ("scope", json!(MARK)),
        ("groups", json!([MARK])),
        ("tenant", json!([MARK])),
        ("level", json!(MARK)),
    ];
    for (claim, value) in faults {
        let token = minted(&changed(full.clone(), &[(claim, value.clone())]));
        let error = verifier.try_verify(&token).expect_err(claim);
        let told = format!("{error} {error:?} {}", error.as_str());
        assert!(!told.contains(MARK), "{claim} {value}: {told}");
    }
    for member in ["kid", "typ", "cty", "alg", "crit"] {
        let token = crate::headed(member, json!([MARK]));
        let error = verifier.try_verify(&token).expect_err(member);
        assert!(!format!("{error} {error:?}").contains(MARK), "{member}");
        let token = crate::headed(member, MARK);
        if let Err(error) = verifier.try_verify(&token) {
            assert!(!format!("{error} {error:?}").contains(MARK), "{member}");
        }
    }
}
