//! Reading what a token endpoint answers: strict in what is used, tolerant in how servers spell
//! it (RFC 6749 §5.1, §5.2). Pure.

use std::time::Duration;

use http::StatusCode;
use serde::Deserialize;
use serde_json::Value;
use serde_json::value::RawValue;
use zeroize::Zeroizing;

use super::AccessToken;
use crate::fault::{FetchError, FetchErrorKind};
use crate::secret::Secret;

/// Lifetimes beyond this are nonsense, and arithmetic on them is no use (100 years, in seconds).
const ABSURD: f64 = 100.0 * 366.0 * 86_400.0;

/// Error codes that repeating the request does not mend (RFC 6749 §5.2, RFC 8707 §2).
const PERMANENT: [&str; 7] = [
    "invalid_client",
    "invalid_grant",
    "invalid_request",
    "invalid_scope",
    "invalid_target",
    "unauthorized_client",
    "unsupported_grant_type",
];

#[derive(Deserialize)]
struct Body<'a> {
    access_token: Option<Secret>,
    token_type: Option<Value>,
    /// As it stands in the text: a number too large for a `Value` must not cost the token.
    #[serde(borrow)]
    expires_in: Option<&'a RawValue>,
    scope: Option<Value>,
    error: Option<Value>,
    error_description: Option<Value>,
    #[serde(rename = "errorCode")]
    error_code: Option<Value>,
    #[serde(rename = "errorSummary")]
    error_summary: Option<Value>,
    #[serde(rename = "__type")]
    aws_type: Option<Value>,
    message: Option<Value>,
}

/// Turns a token endpoint's answer into a token or the reason there is none.
///
/// The content type is not consulted: servers mislabel both kinds of answer. `echoes` are the
/// forms of the secret that was sent: no error repeats them.
pub(super) fn parse(
    status: StatusCode,
    body: &[u8],
    retry_after: Option<Duration>,
    echoes: &[Zeroizing<String>],
) -> Result<AccessToken, FetchError> {
    // Descriptions come in Latin-1 too, and a refusal is to be understood all the same.
    let text = String::from_utf8_lossy(body);
    let error = match read(&text) {
        Some(body) => match refusal(status, &body, echoes) {
            None if status.is_success() => match success(body) {
                Ok(token) => return Ok(token),
                Err(error) => error,
            },
            Some(error) => error,
            None => unexplained(status),
        },
        None if status.is_success() => FetchError::new(
            FetchErrorKind::Malformed,
            format!("status {status} with a body that is not a JSON token response"),
        ),
        None => unexplained(status),
    };
    Err(match retry_after {
        Some(after) => error.retry_after(after),
        None => error,
    })
}

/// The one JSON object in the text, a byte order mark before it aside (RFC 8259 §8.1).
fn read(text: &str) -> Option<Body<'_>> {
    let text = text.strip_prefix('\u{feff}').unwrap_or(text);
    // An array of as many elements would do for a struct, too.
    let object = text.trim_start().starts_with('{');
    object.then(|| serde_json::from_str(text).ok()).flatten()
}

fn success(body: Body<'_>) -> Result<AccessToken, FetchError> {
    let malformed = |what: &str| Err(FetchError::new(FetchErrorKind::Malformed, what));
    let Some(secret) = body.access_token.filter(|token| !token.is_empty()) else {
        return malformed("the token response has no access_token");
    };
    match body.token_type.as_ref().map(Value::as_str) {
        // A missing type is common and means Bearer; any other type must not be sent as one.
        None => {}
        Some(Some(kind)) if kind.eq_ignore_ascii_case("bearer") => {}
        Some(Some(_)) => {
            let message = "the token_type is not Bearer, the only one that can be sent";
            return Err(FetchError::new(FetchErrorKind::Unusable, message));
        }
        Some(None) => return malformed("the token_type is not a string"),
    }
    let mut token = AccessToken::bearer(secret.expose())?;
    if let Some(lifetime) = body.expires_in.and_then(seconds) {
        token = token.expires_in(lifetime);
    }
    if let Some(Value::String(scope)) = body.scope {
        token = token.scope(scope);
    }
    Ok(token)
}

/// `expires_in` as servers send it: a number, whole or not, or the same in a string. Nothing
/// that is not a number counts; a negative number is no time at all.
fn seconds(value: &RawValue) -> Option<Duration> {
    let raw = value.get();
    let string = serde_json::from_str::<String>(raw).ok();
    let text = string.as_deref().unwrap_or(raw).trim();
    // Rust takes `inf` and `nan` for numbers as well.
    let number = text.ends_with(|last: char| last.is_ascii_digit());
    let seconds: f64 = text.parse().ok().filter(|_| number)?;
    Some(Duration::from_secs_f64(seconds.clamp(0.0, ABSURD)))
}

/// The error response in the body, whatever the status says and however it is spelled.
fn refusal(
    status: StatusCode,
    body: &Body<'_>,
    echoes: &[Zeroizing<String>],
) -> Option<FetchError> {
    let text = |value: &Option<Value>| match value {
        Some(Value::String(text)) if !text.is_empty() => Some(text.clone()),
        _ => None,
    };
    let hide = |text: &str| {
        let echoes = echoes.iter().filter(|echo| !echo.is_empty());
        echoes.fold(text.to_owned(), |text, echo| {
            text.replace(&**echo, "[redacted]")
        })
    };
    let code = text(&body.error)
        .or_else(|| text(&body.error_code))
        .or_else(|| text(&body.aws_type))?;
    let description = text(&body.error_description)
        .or_else(|| text(&body.error_summary))
        .or_else(|| text(&body.message));
    // AWS writes `com.amazonaws…#TooManyRequestsException`.
    let last = |code: &str| code.rsplit('#').next().unwrap_or_default().to_owned();
    let meant = last(&code);
    let known = PERMANENT.contains(&&*meant);
    // What the code means is decided before a secret that happens to be a part of it is hidden.
    let code = if known {
        meant.clone()
    } else {
        last(&hide(&code))
    };
    let message = match description {
        Some(description) => format!("{code}: {}", hide(&description)),
        None => code.clone(),
    };
    if is_throttling(status, &meant) {
        let throttled = FetchError::new(FetchErrorKind::Throttled, message);
        return Some(throttled.with_oauth_error(&code));
    }
    let permanent = known && !status.is_server_error();
    Some(FetchError::refused(&code, message, permanent))
}

fn is_throttling(status: StatusCode, code: &str) -> bool {
    status == StatusCode::TOO_MANY_REQUESTS
        || code.starts_with("TooManyRequests")
        || code.eq_ignore_ascii_case("slow_down")
        || code.starts_with("Throttling")
}

fn unexplained(status: StatusCode) -> FetchError {
    let kind = match status {
        StatusCode::TOO_MANY_REQUESTS => FetchErrorKind::Throttled,
        StatusCode::REQUEST_TIMEOUT | StatusCode::GATEWAY_TIMEOUT => FetchErrorKind::Timeout,
        other => FetchErrorKind::Status(other.as_u16()),
    };
    let hint = if status.is_redirection() {
        ": redirects are not followed, for they would carry the client secret along"
    } else {
        ""
    };
    FetchError::new(kind, format!("the token endpoint answered {status}{hint}"))
}

#[cfg(test)]
mod tests;
