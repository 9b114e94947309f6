use proptest::prelude::*;

use super::*;
use crate::clock::Moment;
use crate::event::Cause;
use crate::refresh::Asked;

#[derive(Deserialize)]
#[serde(deny_unknown_fields)]
struct Fixture {
    name: String,
    status: u16,
    body: String,
    token: Option<ExpectedToken>,
    error: Option<ExpectedError>,
}

#[derive(Debug, Deserialize, PartialEq)]
#[serde(deny_unknown_fields)]
struct ExpectedToken {
    access_token: String,
    expires_in: Option<f64>,
    scope: Option<String>,
}

#[derive(Debug, Deserialize, PartialEq)]
#[serde(deny_unknown_fields)]
struct ExpectedError {
    kind: String,
    oauth_error: Option<String>,
    permanent: bool,
}

const FIXTURES: &str = include_str!("../../../tests/fixtures/token_responses.jsonl");

fn answer(status: u16, body: &[u8]) -> Result<AccessToken, FetchError> {
    parse(
        StatusCode::from_u16(status).expect("a status"),
        body,
        None,
        &[],
    )
}

/// The lifetime the response stated; every token here is opaque and says nothing of its own.
fn stated(token: &AccessToken) -> Option<Duration> {
    const NONE: Duration = Duration::MAX;
    let asked = Asked {
        at: Moment::default(),
        took: Duration::ZERO,
        version: 1,
        fresh_for: None,
        draw: 0.0,
        cause: Cause::Schedule,
    };
    Some(token.lifetime(asked, NONE)).filter(|&lifetime| lifetime != NONE)
}

/// What is printed of an error is one bounded line.
fn is_printable(error: &FetchError) -> bool {
    [error.to_string(), error.oauth_error().unwrap_or("").into()]
        .iter()
        .all(|text| text.chars().count() <= 201 && !text.chars().any(char::is_control))
}

#[test]
fn every_answer_on_record_is_read_as_recorded() {
    let hint = Duration::from_secs(7);
    for line in FIXTURES.lines() {
        let fixture: Fixture = serde_json::from_str(line).expect(line);
        let status = StatusCode::from_u16(fixture.status).expect("a status");
        let (token, error) = match parse(status, fixture.body.as_bytes(), Some(hint), &[]) {
            Ok(token) => {
                let read = ExpectedToken {
                    access_token: token.expose().to_owned(),
                    expires_in: stated(&token).map(|lifetime| lifetime.as_secs_f64()),
                    scope: token.granted_scope().map(str::to_owned),
                };
                (Some(read), None)
            }
            Err(error) => {
                assert_eq!(error.retry_after_hint(), Some(hint), "{}", fixture.name);
                assert!(is_printable(&error), "{}: {error}", fixture.name);
                let read = ExpectedError {
                    kind: error.as_str().to_owned(),
                    oauth_error: error.oauth_error().map(str::to_owned),
                    permanent: !error.is_transient(),
                };
                (None, Some(read))
            }
        };
        assert_eq!(token, fixture.token, "{}", fixture.name);
        assert_eq!(error, fixture.error, "{}", fixture.name);
    }
}

#[test]
fn an_error_says_what_the_server_said_in_one_bounded_line() {
    let error = answer(
        400,
        br#"{"error":"invalid_scope","error_description":"api/read\r\nX: \u001b[31m"}"#,
    )
    .expect_err("refused");
    assert_eq!(
        error.to_string(),
        "invalid_scope: api/read\u{fffd}\u{fffd}X: \u{fffd}[31m"
    );
    for body in [
        format!(
            r#"{{"error":"invalid_client","error_description":"{}"}}"#,
            "long ".repeat(2048)
        ),
        format!(r#"{{"error":"{}\n"}}"#, "x".repeat(10_240)),
    ] {
        let error = answer(400, body.as_bytes()).expect_err("refused");
        assert!(is_printable(&error), "{error}");
    }
}

#[test]
fn a_refusal_with_a_description_in_latin_1_is_still_understood() {
    let error = answer(
        401,
        b"{\"error\":\"invalid_client\",\"error_description\":\"cl\xe9 inconnue\"}",
    )
    .expect_err("refused");
    assert_eq!(error.oauth_error(), Some("invalid_client"));
    assert!(!error.is_transient());
    let token = answer(200, b"{\"access_token\":\"cl\xe9\"}");
    assert_eq!(token.expect_err("not ASCII").as_str(), "malformed");
}

#[test]
fn a_redirect_says_why_it_is_not_followed() {
    let error = answer(307, b"").expect_err("a redirect");
    assert!(error.to_string().contains("not followed"), "{error}");
}

#[test]
fn no_error_repeats_what_was_in_place_of_a_token() {
    for (status, body) in [
        (200, r#"{"access_token":"canary"#),
        (200, r#"{"access_token":"canary token"}"#),
        (200, r#"{"access_token":["canary"]}"#),
        (200, r#"{"access_token":"canary","token_type":"DPoP"}"#),
        (200, r#"{"access_token":"canary","token_type":7}"#),
        (200, "access_token=canary"),
        (400, r#"{"access_token":"canary"}"#),
        (500, "canary"),
        (200, r#"{"access_token":"canary","error":"invalid_scope"}"#),
    ] {
        let error = answer(status, body.as_bytes()).expect_err(body);
        let printed = format!("{error} {error:?}");
        assert!(!printed.contains("canary"), "{printed}");
    }
}

#[test]
fn no_error_repeats_the_secret_in_any_form_in_which_it_was_sent() {
    let echoes = ["b64=", "can%2Fary", "can/ary"].map(|echo| Zeroizing::new(echo.to_owned()));
    let long = "long ".repeat(39);
    for body in [
        r#"{"error":"invalid_client","error_description":"not can/ary, can%2Fary or b64="}"#,
        r#"{"error":"can/ary","error_description":"can\/\u0061ry"}"#,
        r#"{"__type":"x#can/ary","message":"can/ary"}"#,
        // Where the message is cut, half of a secret is one, too.
        &format!(r#"{{"error":"invalid_client","error_description":"{long}can/ary"}}"#),
    ] {
        let error = parse(StatusCode::BAD_REQUEST, body.as_bytes(), None, &echoes);
        let error = error.expect_err("refused");
        let printed = format!("{error} {error:?}");
        for part in ["can", "ary", "b64"] {
            assert!(!printed.contains(part), "{printed}");
        }
    }
    // A secret that is a part of the code changes neither.
    let word = [Zeroizing::new("client".to_owned())];
    let body = br#"{"error":"invalid_client","error_description":"client"}"#;
    let error = parse(StatusCode::UNAUTHORIZED, body, None, &word).expect_err("refused");
    assert_eq!(error.oauth_error(), Some("invalid_client"));
    assert_eq!(error.to_string(), "invalid_client: [redacted]");
}

#[test]
fn what_is_large_or_deep_is_read_or_refused_but_harms_nobody() {
    let long = "a".repeat(200_000);
    let body = format!(r#"{{"access_token":"{long}"}}"#);
    let token = answer(200, body.as_bytes()).expect("a long token");
    assert_eq!(token.expose(), long);
    let deep = "[".repeat(100_000);
    for body in [
        deep.clone(),
        format!(r#"{{"access_token":"abc","scope":{deep}"#),
        format!(r#"{{"access_token":"abc","expires_in":{deep}"#),
        format!(r#"{{"access_token":"abc","other":{deep}"#),
        format!(
            r#"{{"access_token":"abc","scope":{deep}{}}}"#,
            "]".repeat(100_000)
        ),
    ] {
        let error = answer(200, body.as_bytes()).expect_err("too deep or torn");
        assert_eq!(error.as_str(), "malformed");
    }
}

proptest! {
    #[test]
    fn no_bytes_and_no_status_make_it_panic(
        status in 100_u16..600,
        body in prop::collection::vec(any::<u8>(), 0..200),
        json in r#"\{("(access_token|expires_in|error|token_type)":("[a-z]{0,3}"|-?[0-9]{1,30}|null),?){0,4}\}?"#,
    ) {
        for body in [&body[..], json.as_bytes()] {
            if let Err(error) = answer(status, body) {
                prop_assert!(is_printable(&error));
            }
        }
    }

    #[test]
    fn any_number_makes_a_lifetime_of_a_hundred_years_at_most(
        number in prop_oneof![
            any::<f64>().prop_filter("finite", |n| n.is_finite()).prop_map(|n| format!("{n:?}")),
            any::<i128>().prop_map(|n| n.to_string()),
        ],
        quoted in any::<bool>(),
    ) {
        let number = if quoted { format!("\"{number}\"") } else { number };
        let body = format!(r#"{{"access_token":"abc","expires_in":{number}}}"#);
        let token = answer(200, body.as_bytes()).expect("a token");
        let stated = stated(&token).expect("a lifetime");
        prop_assert!(stated <= Duration::from_secs_f64(ABSURD));
    }
}
