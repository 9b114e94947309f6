//! Bearer tokens over HTTP (RFC 6750): reading `Authorization`, answering with a challenge. No
//! framework types; any server that uses the `http` crate can call this.

use http::{HeaderMap, HeaderValue, StatusCode, header};

use crate::error::AuthError;
use crate::jwt::VerifyError;

/// Why a request carries no bearer token that could be looked at.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
#[non_exhaustive]
pub enum BearerError {
    /// `Authorization: Bearer` that is not followed by one token of the allowed characters.
    #[error("the Authorization header is malformed")]
    Malformed,
    /// No `Authorization` header, or one of another scheme.
    #[error("no bearer token")]
    Missing,
    /// More than one `Authorization` header.
    #[error("more than one Authorization header")]
    Repeated,
}

/// The token of the one `Authorization: Bearer` header (RFC 6750 §2.1). The scheme may be in any
/// case; tokens in the query or the body are not looked at.
///
/// # Errors
///
/// [`BearerError`], of which [`Rejection`] makes the response.
///
/// ```
/// use http::{HeaderMap, HeaderValue, header::AUTHORIZATION};
/// use midil_auth::bearer::{BearerError, token};
///
/// let mut headers = HeaderMap::new();
/// assert_eq!(token(&headers), Err(BearerError::Missing));
/// headers.insert(AUTHORIZATION, HeaderValue::from_static("bearer abc.def.ghi"));
/// assert_eq!(token(&headers), Ok("abc.def.ghi"));
/// ```
pub fn token(headers: &HeaderMap) -> Result<&str, BearerError> {
    let mut values = headers.get_all(header::AUTHORIZATION).iter();
    let value = values.next().ok_or(BearerError::Missing)?;
    if values.next().is_some() {
        return Err(BearerError::Repeated);
    }
    let (scheme, rest) = match value.as_bytes().iter().position(|&byte| byte == b' ') {
        Some(space) => value.as_bytes().split_at(space),
        None => (value.as_bytes(), &[][..]),
    };
    if !scheme.eq_ignore_ascii_case(b"bearer") {
        return Err(BearerError::Missing);
    }
    let text = std::str::from_utf8(rest).map_err(|_| BearerError::Malformed)?;
    let token = text.trim_matches(' ');
    if token.is_empty() || !is_token(token) {
        return Err(BearerError::Malformed);
    }
    Ok(token)
}

/// `b64token` of RFC 6750 §2.1.
fn is_token(text: &str) -> bool {
    let body = text.trim_end_matches('=');
    let allowed = |byte: u8| byte.is_ascii_alphanumeric() || b"-._~+/".contains(&byte);
    !body.is_empty() && body.bytes().all(allowed)
}

/// The response to a request that is not let in: a status and two headers.
///
/// ```
/// use midil_auth::bearer::{BearerError, Rejection};
/// use midil_auth::jwt::VerifyError;
///
/// let rejection = Rejection::from(&VerifyError::Expired);
/// assert_eq!(rejection.status(), 401);
/// assert_eq!(
///     rejection.headers()["www-authenticate"],
///     "Bearer error=\"invalid_token\", error_description=\"the token has expired\"",
/// );
/// // No credentials at all: a bare challenge (RFC 6750 §3.1).
/// assert_eq!(Rejection::from(BearerError::Missing).headers()["www-authenticate"], "Bearer");
/// ```
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Rejection {
    status: StatusCode,
    headers: HeaderMap,
}

impl Rejection {
    fn new(status: StatusCode, challenge: &str) -> Self {
        let mut headers = HeaderMap::new();
        if let Ok(value) = HeaderValue::from_str(challenge) {
            headers.insert(header::WWW_AUTHENTICATE, value);
        }
        Self { status, headers }
    }

    /// Names the scopes that are demanded, where they fit into a challenge (RFC 6750 §3).
    fn insufficient(scopes: &str) -> Self {
        let fits = |byte: u8| matches!(byte, 0x20..=0x7e) && byte != b'"' && byte != b'\\';
        let challenge = if !scopes.is_empty() && scopes.bytes().all(fits) {
            format!("Bearer error=\"insufficient_scope\", scope=\"{scopes}\"")
        } else {
            "Bearer error=\"insufficient_scope\"".to_owned()
        };
        Self::new(StatusCode::FORBIDDEN, &challenge)
    }

    fn unavailable(retry_after: u64) -> Self {
        let mut headers = HeaderMap::new();
        headers.insert(header::RETRY_AFTER, HeaderValue::from(retry_after));
        Self {
            status: StatusCode::SERVICE_UNAVAILABLE,
            headers,
        }
    }

    /// 400, 401, 403 or 503.
    #[must_use]
    pub const fn status(&self) -> StatusCode {
        self.status
    }

    /// `WWW-Authenticate`, or `Retry-After` for a 503.
    #[must_use]
    pub const fn headers(&self) -> &HeaderMap {
        &self.headers
    }

    /// An empty response of any body type.
    #[must_use]
    pub fn into_response<B: Default>(self) -> http::Response<B> {
        let mut response = http::Response::new(B::default());
        *response.status_mut() = self.status;
        *response.headers_mut() = self.headers;
        response
    }
}

impl From<BearerError> for Rejection {
    fn from(error: BearerError) -> Self {
        match error {
            BearerError::Missing => Self::new(StatusCode::UNAUTHORIZED, "Bearer"),
            BearerError::Malformed | BearerError::Repeated => {
                Self::new(StatusCode::BAD_REQUEST, "Bearer error=\"invalid_request\"")
            }
        }
    }
}

impl From<&VerifyError> for Rejection {
    fn from(error: &VerifyError) -> Self {
        match error.status() {
            StatusCode::SERVICE_UNAVAILABLE => Self::unavailable(match error {
                VerifyError::KeysUnavailable { retry_after, .. } => retry_after.as_secs().max(1),
                _ => 1,
            }),
            StatusCode::FORBIDDEN => Self::insufficient(match error {
                VerifyError::Scope(demanded) => demanded,
                _ => "",
            }),
            // Only expiry is told apart: a client can act on it, and a forger learns nothing.
            _ if matches!(error, VerifyError::Expired) => Self::new(
                StatusCode::UNAUTHORIZED,
                "Bearer error=\"invalid_token\", error_description=\"the token has expired\"",
            ),
            _ => Self::new(StatusCode::UNAUTHORIZED, "Bearer error=\"invalid_token\""),
        }
    }
}

impl From<&AuthError> for Rejection {
    fn from(error: &AuthError) -> Self {
        match error {
            AuthError::Authorization(error)
            | AuthError::TokenValidation(error)
            | AuthError::Unavailable(error) => Self::from(error),
            AuthError::TokenExpired => Self::from(&VerifyError::Expired),
            // Ours to mend, not the caller's.
            AuthError::Authentication(_) | AuthError::Configuration(_) => Self::unavailable(1),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use std::time::Duration;

    fn read(values: &[&[u8]]) -> Result<String, BearerError> {
        let mut headers = HeaderMap::new();
        for value in values {
            headers.append(
                header::AUTHORIZATION,
                HeaderValue::from_bytes(value).expect("a header value"),
            );
        }
        token(&headers).map(str::to_owned)
    }

    #[test]
    fn one_header_of_one_token_in_any_case_of_the_scheme() {
        for value in [
            "Bearer a.b.c",
            "bearer a.b.c",
            "BEARER  a.b.c ",
            "bEaReR a.b.c",
        ] {
            assert_eq!(read(&[value.as_bytes()]), Ok("a.b.c".to_owned()), "{value}");
        }
        assert_eq!(read(&[b"Bearer ab+/~=="]), Ok("ab+/~==".to_owned()));
        assert_eq!(read(&[]), Err(BearerError::Missing));
        assert_eq!(read(&[b"Basic abc"]), Err(BearerError::Missing));
        assert_eq!(read(&[b"Bearerabc"]), Err(BearerError::Missing));
        for value in [
            &b"Bearer"[..],
            b"Bearer ",
            b"Bearer a b",
            b"Bearer a,b",
            b"Bearer \xff\xfe",
            b"Bearer =",
            b"Bearer a=b",
        ] {
            assert_eq!(read(&[value]), Err(BearerError::Malformed), "{value:?}");
        }
        assert_eq!(
            read(&[b"Bearer a", b"Bearer a"]),
            Err(BearerError::Repeated)
        );
        assert_eq!(read(&[b"Basic a", b"Bearer a"]), Err(BearerError::Repeated));
    }

    #[test]
    fn the_keys_fault_is_not_the_tokens() {
        let rejection = Rejection::from(&VerifyError::KeysUnavailable {
            retry_after: Duration::from_secs(2),
            cause: None,
        });
        assert_eq!(rejection.status(), StatusCode::SERVICE_UNAVAILABLE);
        assert_eq!(rejection.headers()[header::RETRY_AFTER], "2");
        assert!(!rejection.headers().contains_key(header::WWW_AUTHENTICATE));
    }
}
