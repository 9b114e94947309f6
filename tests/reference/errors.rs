//! Every error, with its label and its verdict.

use std::collections::BTreeMap;
use std::fmt::Debug;
use std::time::Duration;

use midil_auth::bearer::{BearerError, Rejection};
use midil_auth::jwt::{Refusal, VerifyError};
use midil_auth::oauth2::TokenError;
use midil_auth::store::StoreErrorKind;
use midil_auth::{AuthError, FetchError, FetchErrorKind};

use super::{GUIDE, rows, variants};

type Row = (String, String, String);

/// What the guide says of the variants of one enum: label and, where it has one, verdict.
fn listed(of: &str, verdicts: bool) -> Vec<Row> {
    let mut found: Vec<_> = rows(GUIDE, "Errors")
        .into_iter()
        .filter_map(|row| {
            let name = row[0].strip_prefix(of)?.strip_prefix("::")?;
            let verdict = if verdicts { row[2] } else { "" };
            Some((name.to_owned(), row[1].to_owned(), verdict.to_owned()))
        })
        .collect();
    found.sort();
    found
}

/// The table has every variant, and of each what the code says.
fn compare(of: &str, source: &str, verdicts: bool, said: Vec<(String, &str, String)>) {
    let mut said: Vec<Row> = said
        .into_iter()
        .map(|(printed, label, verdict)| {
            let end = printed.find(|c: char| !c.is_alphanumeric());
            let name = printed
                .get(..end.unwrap_or(printed.len()))
                .unwrap_or_default();
            (name.to_owned(), label.to_owned(), verdict)
        })
        .collect();
    said.sort();
    // One that depends on what is in it is said twice.
    let mut merged: BTreeMap<(String, String), Vec<String>> = BTreeMap::new();
    for (name, label, verdict) in said {
        merged.entry((name, label)).or_default().push(verdict);
    }
    let merged: Vec<Row> = merged
        .into_iter()
        .map(|((name, label), verdicts)| {
            let verdict = match verdicts.join(" or ") {
                both if both == "no or yes" => "as its cause".to_owned(),
                one => one,
            };
            (name, label, verdict)
        })
        .collect();
    assert_eq!(listed(of, verdicts), merged);
    let known: Vec<_> = variants(source, of).into_keys().collect();
    let names: Vec<_> = merged.into_iter().map(|(name, ..)| name).collect();
    assert_eq!(names, known, "{of}");
}

fn passes(transient: bool) -> String {
    if transient { "yes" } else { "no" }.to_owned()
}

fn printed(value: &impl Debug) -> String {
    format!("{value:?}")
}

#[test]
fn every_token_error() {
    let passing = || FetchError::transient("down");
    let lasting = || FetchError::permanent("wrong");
    let since = Duration::ZERO;
    let all = [
        TokenError::CoolingDown { next: since },
        TokenError::Expired {
            since,
            cause: Some(passing()),
        },
        TokenError::Expired {
            since,
            cause: Some(lasting()),
        },
        TokenError::Failed(passing()),
        TokenError::Failed(lasting()),
        TokenError::NotReady,
        TokenError::SameToken,
        TokenError::Stopped,
    ];
    let said = all
        .iter()
        .map(|error| (printed(error), error.as_str(), passes(error.is_transient())));
    let source = include_str!("../../src/oauth2/handle.rs");
    compare("TokenError", source, true, said.collect());
}

#[test]
fn every_verify_error() {
    let all = [
        VerifyError::Algorithm,
        VerifyError::Ambiguous,
        VerifyError::Audience,
        VerifyError::ClientId,
        VerifyError::Confirmation,
        VerifyError::Expired,
        VerifyError::Group,
        VerifyError::InvalidClaim("exp"),
        VerifyError::Issuer,
        VerifyError::KeysUnavailable {
            retry_after: Duration::ZERO,
            cause: None,
        },
        VerifyError::Malformed("no dots"),
        VerifyError::MissingClaim("exp"),
        VerifyError::NotYetValid,
        VerifyError::Refused(Refusal::invalid("no")),
        VerifyError::Refused(Refusal::forbidden("no")),
        VerifyError::Revoked,
        VerifyError::Scope("a".into()),
        VerifyError::Signature,
        VerifyError::Stopped,
        VerifyError::TokenUse,
        VerifyError::TooLarge,
        VerifyError::TooOld,
        VerifyError::Type,
        VerifyError::UnknownKey,
    ];
    let said = all.iter().map(|error| {
        let status = error.status().as_u16();
        assert_eq!(error.is_transient(), status == 503, "{error:?}");
        (printed(error), error.as_str(), status.to_string())
    });
    let source = include_str!("../../src/jwt/error.rs");
    compare("VerifyError", source, true, said.collect());
}

#[test]
fn every_bearer_error() {
    let all = [
        BearerError::Malformed,
        BearerError::Missing,
        BearerError::Repeated,
    ];
    let said = all.iter().map(|error| {
        let status = Rejection::from(*error).status().as_u16();
        (printed(error), error.as_str(), status.to_string())
    });
    let source = include_str!("../../src/bearer.rs");
    compare("BearerError", source, true, said.collect());
}

#[test]
fn every_auth_error() {
    let passing = TokenError::NotReady;
    let lasting = TokenError::Stopped;
    let config = midil_auth::AuthConfig::default().user_pool();
    let config = config.expect_err("nothing is set");
    let all = [
        AuthError::Authentication(passing),
        AuthError::Authentication(lasting),
        AuthError::Authorization(VerifyError::Group),
        AuthError::Configuration(config),
        AuthError::TokenExpired,
        AuthError::TokenValidation(VerifyError::Signature),
        AuthError::Unavailable(VerifyError::Stopped),
    ];
    let said = all
        .iter()
        .map(|error| (printed(error), error.as_str(), passes(error.is_transient())));
    let source = include_str!("../../src/error.rs");
    compare("AuthError", source, true, said.collect());
}

#[test]
fn every_class_of_a_failed_fetch() {
    let all = [
        FetchErrorKind::Connection,
        FetchErrorKind::Empty,
        FetchErrorKind::Malformed,
        FetchErrorKind::Other,
        FetchErrorKind::Panicked,
        FetchErrorKind::Refused,
        FetchErrorKind::Status(500),
        FetchErrorKind::Throttled,
        FetchErrorKind::Timeout,
        FetchErrorKind::TooLarge,
        FetchErrorKind::Unusable,
    ];
    let said = all
        .iter()
        .map(|kind| (printed(kind), kind.as_str(), String::new()));
    let source = include_str!("../../src/fault.rs");
    compare("FetchErrorKind", source, false, said.collect());
}

#[test]
fn every_class_of_a_failing_store() {
    let all = [
        StoreErrorKind::Corrupt,
        StoreErrorKind::Expired,
        StoreErrorKind::Future,
        StoreErrorKind::Panicked,
        StoreErrorKind::Timeout,
        StoreErrorKind::Unavailable,
        StoreErrorKind::UnknownFormat,
        StoreErrorKind::WrongKey,
    ];
    let said = all
        .iter()
        .map(|kind| (printed(kind), kind.as_str(), passes(kind.is_transient())));
    let source = include_str!("../../src/store/error.rs");
    compare("StoreErrorKind", source, true, said.collect());
}
