//! Whatever comes in, an answer goes out.

use http::{HeaderMap, HeaderValue, header};
use midil_auth::bearer;
use midil_auth::jwt::Verifier;
use proptest::prelude::*;

use crate::signing::{encode, key};
use crate::{ISSUER, USUAL, builder, good, verdict, verifier};

/// What a claim may be, right or wrong, as JSON text.
fn any_value() -> impl Strategy<Value = String> {
    let leaf = prop_oneof![
        Just("null".to_owned()),
        any::<bool>().prop_map(|b| b.to_string()),
        any::<i64>().prop_map(|n| n.to_string()),
        any::<f64>().prop_map(|n| format!("{n:e}")),
        ".*".prop_map(|text| serde_json::Value::from(text).to_string()),
        "\\PC{0,8}",
    ];
    leaf.prop_recursive(3, 16, 4, |inner| {
        prop_oneof![
            prop::collection::vec(inner.clone(), 0..4)
                .prop_map(|all| format!("[{}]", all.join(","))),
            prop::collection::vec(("[a-c]{0,2}", inner), 0..4).prop_map(|all| {
                let members: Vec<String> = all
                    .iter()
                    .map(|(name, value)| format!(r#""{name}":{value}"#))
                    .collect();
                format!("{{{}}}", members.join(","))
            }),
        ]
    })
}

fn any_claim() -> impl Strategy<Value = String> {
    prop::sample::select(vec![
        "iss",
        "sub",
        "aud",
        "exp",
        "nbf",
        "iat",
        "jti",
        "client_id",
        "azp",
        "scope",
        "scp",
        "token_use",
        "email",
        "username",
        "cnf",
        "groups",
        "custom",
    ])
    .prop_map(str::to_owned)
}

proptest! {
    #[test]
    fn any_text_is_judged(text in "(?s).{0,200}") {
        prop_assert_ne!(verdict(&verifier(builder()), &text), "accepted");
    }

    #[test]
    fn any_three_segments_are_judged(
        header in prop::collection::vec(any::<u8>(), 0..100),
        payload in prop::collection::vec(any::<u8>(), 0..100),
        signature in prop::collection::vec(any::<u8>(), 0..100),
    ) {
        let token = format!("{}.{}.{}", encode(header), encode(payload), encode(signature));
        prop_assert_ne!(verdict(&verifier(builder()), &token), "accepted");
    }

    #[test]
    fn any_signed_payload_is_judged(payload in "(?s).{0,200}") {
        let token = key(USUAL).token_of(r#"{"alg":"EdDSA","kid":"k"}"#, &payload);
        prop_assert_ne!(verdict(&verifier(builder()), &token), "accepted");
    }

    #[test]
    fn any_claims_are_judged_and_read(
        members in prop::collection::vec((any_claim(), any_value()), 0..6),
    ) {
        let mut payload = good().to_string();
        for (name, value) in &members {
            payload = payload.replacen('{', &format!(r#"{{"{name}":{value},"#), 1);
        }
        let lenient = Verifier::builder(ISSUER)
            .any_audience()
            .without_expiry()
            .sender_constrained_as_bearer();
        let token = key(USUAL).token_of(r#"{"alg":"EdDSA","kid":"k"}"#, &payload);
        if let Ok(claims) = verifier(lenient).try_verify(&token) {
            let _ = (claims.issued_at(), claims.expires_at(), claims.scopes(), claims.groups());
            let all: serde_json::Value = claims.deserialize().expect("JSON for everybody");
            for (name, _) in &members {
                prop_assert_eq!(claims.get(name), all.get(name).cloned());
            }
        }
    }

    #[test]
    fn any_authorization_header_is_read(values in prop::collection::vec(
        prop_oneof!["(?i-u:bearer)[ ]{0,3}[ -~]{0,40}", "[\\t -~]{0,40}"], 0..3,
    )) {
        let mut headers = HeaderMap::new();
        for value in &values {
            let value = HeaderValue::from_str(value).expect("a header value");
            headers.append(header::AUTHORIZATION, value);
        }
        if let Ok(token) = bearer::token(&headers) {
            prop_assert_eq!(values.len(), 1);
            prop_assert!(!token.is_empty() && !token.contains([' ', ',', '"', '\t']));
        }
    }

    #[test]
    fn any_bytes_in_an_authorization_header_are_read(
        bytes in prop::collection::vec(any::<u8>(), 0..60),
    ) {
        for bytes in [bytes.clone(), [b"Bearer ", &*bytes].concat()] {
            if let Ok(value) = HeaderValue::from_bytes(&bytes) {
                let headers = HeaderMap::from_iter([(header::AUTHORIZATION, value)]);
                if let Ok(token) = bearer::token(&headers) {
                    prop_assert!(token.is_ascii());
                }
            }
        }
    }
}
