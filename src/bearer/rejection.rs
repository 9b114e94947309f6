//! What a request that is not let in is answered.

use std::fmt;
use std::fmt::Write as _;
use std::sync::Arc;

use http::{HeaderMap, HeaderName, HeaderValue, StatusCode, header};
use serde::Serialize;

use super::BearerError;
use crate::error::AuthError;
use crate::jwt::VerifyError;

/// `UNAUTHENTICATED`, `PERMISSION_DENIED`, `UNAVAILABLE`, `INTERNAL`.
type GrpcStatus = u8;

/// The response to a request that is not let in: a status, two headers, and what a body may say.
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
pub struct Rejection(Box<Answer>);

#[derive(Clone, Debug, PartialEq, Eq)]
struct Answer {
    status: StatusCode,
    headers: HeaderMap,
    reason: &'static str,
    error: Option<&'static str>,
    description: Option<&'static str>,
    scope: Option<Arc<str>>,
}

/// The members of a problem (RFC 9457 §3.1) and those of a challenge (RFC 6750 §3).
#[derive(Serialize)]
struct Problem<'a> {
    title: &'a str,
    status: u16,
    #[serde(skip_serializing_if = "Option::is_none")]
    detail: Option<&'a str>,
    #[serde(skip_serializing_if = "Option::is_none")]
    error: Option<&'a str>,
    #[serde(skip_serializing_if = "Option::is_none")]
    scope: Option<&'a str>,
}

impl Rejection {
    fn new(status: StatusCode, reason: &'static str) -> Self {
        Self(Box::new(Answer {
            status,
            headers: HeaderMap::new(),
            reason,
            error: None,
            description: None,
            scope: None,
        }))
    }

    /// One with a challenge (RFC 6750 §3).
    fn challenge(
        status: StatusCode,
        reason: &'static str,
        error: Option<&'static str>,
        description: Option<&'static str>,
        scope: Option<Arc<str>>,
    ) -> Self {
        // What would break out of the quotes is left out.
        let fits = |byte: u8| matches!(byte, 0x20..=0x7e) && byte != b'"' && byte != b'\\';
        let scope = scope.filter(|scope| !scope.is_empty() && scope.bytes().all(fits));
        let parameters = [
            ("error", error),
            ("error_description", description),
            ("scope", scope.as_deref()),
        ];
        let mut challenge = String::from("Bearer");
        let mut separator = " ";
        for (name, value) in parameters {
            if let Some(value) = value {
                // Writing to a string cannot fail.
                let _ = write!(challenge, "{separator}{name}=\"{value}\"");
                separator = ", ";
            }
        }
        let mut rejection = Self::new(status, reason);
        if let Ok(value) = HeaderValue::from_str(&challenge) {
            rejection.0.headers.insert(header::WWW_AUTHENTICATE, value);
        }
        Self(Box::new(Answer {
            error,
            description,
            scope,
            ..*rejection.0
        }))
    }

    fn unavailable(reason: &'static str, retry_after: u64) -> Self {
        let mut rejection = Self::new(StatusCode::SERVICE_UNAVAILABLE, reason);
        let after = HeaderValue::from(retry_after);
        rejection.0.headers.insert(header::RETRY_AFTER, after);
        rejection.0.description = Some("tokens cannot be verified at the moment");
        rejection
    }

    /// The service is put together wrong: a route demands claims, and nothing verifies tokens.
    #[cfg(feature = "tower")]
    pub(crate) fn misconfigured() -> Self {
        Self::new(StatusCode::INTERNAL_SERVER_ERROR, "not_verified")
    }

    /// 400, 401, 403 or 503; 500 where nothing verified the token of a route that demands claims.
    #[must_use]
    pub fn status(&self) -> StatusCode {
        self.0.status
    }

    /// `WWW-Authenticate`, or `Retry-After` for a 503.
    #[must_use]
    pub fn headers(&self) -> &HeaderMap {
        &self.0.headers
    }

    /// A stable label for metrics and logs, as [`VerifyError::as_str`] and
    /// [`BearerError::as_str`] have them. It says more than the caller is told.
    #[must_use]
    pub fn reason(&self) -> &'static str {
        self.0.reason
    }

    /// The error code of the challenge (RFC 6750 §3.1), such as `invalid_token`; `None` for a
    /// request without credentials and where the token is not at fault.
    #[must_use]
    pub fn error(&self) -> Option<&'static str> {
        self.0.error
    }

    /// An empty response of any body type. The rejection is in its extensions, so that a layer
    /// further out can make more of it.
    #[must_use]
    pub fn into_response<B: Default>(self) -> http::Response<B> {
        let rejection = self.clone();
        let mut response = self.answer(B::default());
        response.extensions_mut().insert(rejection);
        response
    }

    /// A response with a JSON body that says the same as the challenge, a problem of RFC 9457.
    ///
    /// ```
    /// use midil_auth::bearer::Rejection;
    /// use midil_auth::jwt::VerifyError;
    ///
    /// let rejection = Rejection::from(&VerifyError::Scope("orders/read".into()));
    /// let response = rejection.into_problem::<String>();
    /// assert_eq!(response.headers()["content-type"], "application/problem+json");
    /// assert_eq!(
    ///     response.body(),
    ///     r#"{"title":"Forbidden","status":403,"error":"insufficient_scope","scope":"orders/read"}"#,
    /// );
    /// ```
    #[must_use]
    pub fn into_problem<B: From<String>>(self) -> http::Response<B> {
        let problem = Problem {
            title: self.0.status.canonical_reason().unwrap_or_default(),
            status: self.0.status.as_u16(),
            detail: self.0.description,
            error: self.0.error,
            scope: self.0.scope.as_deref(),
        };
        // A struct of strings and a number always serializes.
        let body = serde_json::to_string(&problem).unwrap_or_default();
        let mut response = self.answer(B::from(body));
        let json = HeaderValue::from_static("application/problem+json");
        response.headers_mut().insert(header::CONTENT_TYPE, json);
        response
    }

    /// The response to a gRPC call, with nothing but headers ("Trailers-Only"): the status is in
    /// `grpc-status`, and `WWW-Authenticate` and `Retry-After` are among the metadata.
    ///
    /// `UNAUTHENTICATED` for 400 and 401, `PERMISSION_DENIED` for 403, `UNAVAILABLE` for 503 and
    /// `INTERNAL` for 500.
    ///
    /// ```
    /// use midil_auth::bearer::Rejection;
    /// use midil_auth::jwt::VerifyError;
    ///
    /// let response = Rejection::from(&VerifyError::Group).into_grpc::<String>();
    /// assert_eq!(response.status(), 200);
    /// assert_eq!(response.headers()["grpc-status"], "7");
    /// assert_eq!(response.headers()["grpc-message"], "insufficient_scope");
    /// ```
    #[must_use]
    pub fn into_grpc<B: Default>(self) -> http::Response<B> {
        const GRPC_STATUS: HeaderName = HeaderName::from_static("grpc-status");
        const GRPC_MESSAGE: HeaderName = HeaderName::from_static("grpc-message");
        let status = self.grpc_status();
        let message = self.0.description.or(self.0.error);
        let message = message.unwrap_or(match self.0.reason {
            "missing" => "no bearer token",
            _ => "not verified",
        });
        let mut response = self.answer(B::default());
        *response.status_mut() = StatusCode::OK;
        let headers = response.headers_mut();
        headers.insert(
            header::CONTENT_TYPE,
            HeaderValue::from_static("application/grpc"),
        );
        headers.insert(GRPC_STATUS, HeaderValue::from(u16::from(status)));
        headers.insert(GRPC_MESSAGE, HeaderValue::from_static(message));
        response
    }

    fn grpc_status(&self) -> GrpcStatus {
        match self.0.status {
            StatusCode::FORBIDDEN => 7,
            StatusCode::SERVICE_UNAVAILABLE => 14,
            StatusCode::INTERNAL_SERVER_ERROR => 13,
            _ => 16,
        }
    }

    fn answer<B>(self, body: B) -> http::Response<B> {
        let mut response = http::Response::new(body);
        *response.status_mut() = self.0.status;
        *response.headers_mut() = self.0.headers;
        response
    }
}

impl From<BearerError> for Rejection {
    fn from(error: BearerError) -> Self {
        let reason = error.as_str();
        match error {
            BearerError::Missing => {
                Self::challenge(StatusCode::UNAUTHORIZED, reason, None, None, None)
            }
            BearerError::Malformed | BearerError::Repeated => {
                let code = Some("invalid_request");
                Self::challenge(StatusCode::BAD_REQUEST, reason, code, None, None)
            }
        }
    }
}

impl From<&VerifyError> for Rejection {
    fn from(error: &VerifyError) -> Self {
        let reason = error.as_str();
        match error.status() {
            StatusCode::SERVICE_UNAVAILABLE => Self::unavailable(
                reason,
                match error {
                    VerifyError::KeysUnavailable { retry_after, .. } => {
                        retry_after.as_secs().max(1)
                    }
                    _ => 1,
                },
            ),
            status @ StatusCode::FORBIDDEN => {
                let scope = match error {
                    VerifyError::Scope(demanded) => Some(Arc::clone(demanded)),
                    _ => None,
                };
                Self::challenge(status, reason, Some("insufficient_scope"), None, scope)
            }
            status => {
                // Only expiry is told apart: a client can act on it, and a forger learns nothing.
                let expired = matches!(error, VerifyError::Expired);
                let description = expired.then_some("the token has expired");
                Self::challenge(status, reason, Some("invalid_token"), description, None)
            }
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
            AuthError::Authentication(_) | AuthError::Configuration(_) => {
                Self::unavailable(error.as_str(), 1)
            }
        }
    }
}

/// So that `?` works in a handler that answers with a `Rejection`.
impl From<VerifyError> for Rejection {
    fn from(error: VerifyError) -> Self {
        Self::from(&error)
    }
}

/// So that `?` works in a handler that answers with a `Rejection`.
impl From<AuthError> for Rejection {
    fn from(error: AuthError) -> Self {
        Self::from(&error)
    }
}

impl fmt::Display for Rejection {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{}: {}", self.0.status, self.0.reason)
    }
}

impl std::error::Error for Rejection {}
