//! Bearer tokens over HTTP (RFC 6750): reading `Authorization`, answering with a challenge. No
//! framework types; any server that uses the `http` crate can call this.

#[cfg(feature = "tower")]
pub(crate) mod admission;
#[cfg(any(feature = "reqwest-middleware", feature = "tower"))]
pub(crate) mod attach;
mod origins;
mod rejection;

use std::borrow::Cow;

use http::{HeaderMap, Uri, header};
use url::form_urlencoded;

pub use origins::Origins;
pub use rejection::Rejection;

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
    /// More than one `Authorization` header, or a token in more than one place (RFC 6750 §2).
    #[error("more than one Authorization header or token")]
    Repeated,
}

impl BearerError {
    /// A stable label for metrics and logs.
    #[must_use]
    pub const fn as_str(self) -> &'static str {
        match self {
            Self::Malformed => "malformed_header",
            Self::Missing => "missing",
            Self::Repeated => "repeated",
        }
    }
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
    if !is_token(token.as_bytes()) {
        return Err(BearerError::Malformed);
    }
    Ok(token)
}

/// The token of the one query parameter `access_token` (RFC 6750 §2.3), for the rare client that
/// cannot set a header, such as an `EventSource` or a link to a download.
///
/// Avoid it: URLs end up in logs, histories and `Referer`, which is why nothing in this crate
/// looks at the query unless told to. The response should say `Cache-Control: private`.
///
/// # Errors
///
/// [`BearerError`], of which [`Rejection`] makes the response.
///
/// ```
/// use midil_auth::bearer::query_token;
///
/// let uri = "/export?format=csv&access_token=abc.def.ghi".parse()?;
/// assert_eq!(query_token(&uri)?, "abc.def.ghi");
/// # Ok::<(), Box<dyn std::error::Error>>(())
/// ```
pub fn query_token(uri: &Uri) -> Result<Cow<'_, str>, BearerError> {
    let query = uri.query().unwrap_or_default().as_bytes();
    let mut values = form_urlencoded::parse(query)
        .filter(|(name, _)| name == "access_token")
        .map(|(_, value)| value);
    let token = values.next().ok_or(BearerError::Missing)?;
    if values.next().is_some() {
        return Err(BearerError::Repeated);
    }
    if !is_token(token.as_bytes()) {
        return Err(BearerError::Malformed);
    }
    Ok(token)
}

/// `b64token` of RFC 6750 §2.1.
fn is_token(text: &[u8]) -> bool {
    let padding = text.iter().rev().take_while(|&&byte| byte == b'=').count();
    let body = text.get(..text.len() - padding).unwrap_or_default();
    // Every byte of every request's token comes by here, so there is no branch: that lets the
    // compiler take many at a time.
    let allowed = |byte: u8| {
        let letter = (byte | 0x20).wrapping_sub(b'a') < 26;
        let digit_or_mark = byte.wrapping_sub(b'-') <= b'9' - b'-'; // -./ stand before the digits
        letter | digit_or_mark | (byte == b'_') | (byte == b'~') | (byte == b'+')
    };
    !body.is_empty() && body.iter().fold(true, |all, &byte| all & allowed(byte))
}

#[cfg(test)]
mod tests {
    use std::time::Duration;

    use http::{HeaderValue, StatusCode};

    use super::*;
    use crate::jwt::VerifyError;

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
    fn the_characters_of_a_token_are_those_of_the_rfc() {
        for byte in 0..=255_u8 {
            let listed = byte.is_ascii_alphanumeric() || b"-._~+/".contains(&byte);
            assert_eq!(is_token(&[byte]), listed, "{byte:#x}");
            assert_eq!(is_token(&[b'a', byte, b'a']), listed, "{byte:#x}");
            assert_eq!(is_token(&[b'a', byte]), listed || byte == b'=', "{byte:#x}");
        }
        assert!(!is_token(b""));
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
