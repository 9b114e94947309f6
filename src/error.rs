//! The error that an application matches on: which of the things it cares about went wrong.

use crate::fault::ConfigError;
use crate::jwt::VerifyError;
use crate::oauth2::TokenError;

/// Everything that can go wrong, sorted by what an application does about it.
///
/// Each operation has its own error; this is their sum, and what the interfaces
/// [`AuthnProvider`](crate::AuthnProvider) and [`AuthzProvider`](crate::AuthzProvider) speak.
#[derive(Clone, Debug, thiserror::Error)]
#[non_exhaustive]
pub enum AuthError {
    /// Outbound: no access token could be had.
    #[error("authentication failed: {0}")]
    Authentication(#[source] TokenError),
    /// Inbound: the token is good, but its bearer may not (403).
    #[error("authorization failed: {0}")]
    Authorization(#[source] VerifyError),
    /// A setting cannot be used.
    #[error("configuration: {0}")]
    Configuration(#[from] ConfigError),
    /// Inbound: the token has expired (401).
    #[error("the token has expired")]
    TokenExpired,
    /// Inbound: the token is no good (401).
    #[error("token validation failed: {0}")]
    TokenValidation(#[source] VerifyError),
    /// Inbound: the keys are unavailable, so nothing can be said about the token (503).
    #[error("verification is unavailable: {0}")]
    Unavailable(#[source] VerifyError),
}

impl AuthError {
    /// Whether the same call may succeed later without anybody changing anything.
    #[must_use]
    pub fn is_transient(&self) -> bool {
        match self {
            Self::Authentication(error) => error.is_transient(),
            Self::Unavailable(error) => error.is_transient(),
            _ => false,
        }
    }

    /// A stable label for metrics and logs.
    #[must_use]
    pub const fn as_str(&self) -> &'static str {
        match self {
            Self::Authentication(_) => "authentication",
            Self::Authorization(_) => "authorization",
            Self::Configuration(_) => "configuration",
            Self::TokenExpired => "token_expired",
            Self::TokenValidation(_) => "token_validation",
            Self::Unavailable(_) => "unavailable",
        }
    }
}

impl From<TokenError> for AuthError {
    fn from(error: TokenError) -> Self {
        Self::Authentication(error)
    }
}

impl From<VerifyError> for AuthError {
    fn from(error: VerifyError) -> Self {
        match error {
            VerifyError::Expired => Self::TokenExpired,
            error if error.is_transient() => Self::Unavailable(error),
            error if error.status() == http::StatusCode::FORBIDDEN => Self::Authorization(error),
            error => Self::TokenValidation(error),
        }
    }
}
