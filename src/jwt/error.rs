//! Why a token was not accepted.

use std::borrow::Cow;
use std::sync::Arc;
use std::time::Duration;

use http::StatusCode;

use crate::fault::FetchError;

/// Why a token was not accepted. Never repeats what the token says.
#[derive(Clone, Debug, thiserror::Error)]
#[non_exhaustive]
pub enum VerifyError {
    /// `alg` is unknown, not allowed, or not what the key is for.
    #[error("the signature algorithm is not allowed")]
    Algorithm,
    /// Several keys fit, and the policy does not say to try them all.
    #[error("several keys fit the token")]
    Ambiguous,
    /// `aud` does not name us.
    #[error("the token is for another audience")]
    Audience,
    /// `client_id` or `azp` is not one of ours.
    #[error("the token was issued to another client")]
    ClientId,
    /// The token is bound to a key (`cnf`) and was presented without proof of it (RFC 8705 §3,
    /// RFC 9449 §7).
    #[error("the token is sender-constrained and was presented without proof of possession")]
    Confirmation,
    /// `exp` is not in the future.
    #[error("the token has expired")]
    Expired,
    /// A required group is missing.
    #[error("the token lacks a required group")]
    Group,
    /// A claim has the wrong type or is out of range.
    #[error("the claim `{0}` is not what it must be")]
    InvalidClaim(&'static str),
    /// `iss` is not the issuer.
    #[error("the token is of another issuer")]
    Issuer,
    /// The keys could not be had, or it is undecided whether the token's key exists.
    #[error("the verification keys are unavailable{}", because(cause))]
    KeysUnavailable {
        /// When to try again.
        retry_after: Duration,
        /// What kept the keys away.
        #[source]
        cause: Option<FetchError>,
    },
    /// Not a JWT in compact serialization, or one that breaks its rules.
    #[error("the token is malformed: {0}")]
    Malformed(&'static str),
    /// A claim that must be there is not.
    #[error("the claim `{0}` is missing")]
    MissingClaim(&'static str),
    /// `nbf` or `iat` is in the future.
    #[error("the token is not valid yet")]
    NotYetValid,
    /// A custom check refused the claims.
    #[error("{0}")]
    Refused(Refusal),
    /// Revoked: the deny hook knows the token.
    #[error("the token has been revoked")]
    Revoked,
    /// A required scope is missing; holds those that are required, space-separated.
    #[error("the token lacks a required scope")]
    Scope(Arc<str>),
    /// The signature does not verify.
    #[error("the signature is invalid")]
    Signature,
    /// The runtime has stopped.
    #[error("the auth runtime has stopped")]
    Stopped,
    /// `token_use` is not what this verifier takes.
    #[error("the token is of another use")]
    TokenUse,
    /// Larger than the cap.
    #[error("the token is too large")]
    TooLarge,
    /// `iat` is further back than the maximum age.
    #[error("the token is too old")]
    TooOld,
    /// `typ` is not what this verifier takes.
    #[error("the token is of another type")]
    Type,
    /// No key of the issuer has the token's `kid`, and a fetch that began after the token
    /// arrived says so.
    #[error("the token's key is unknown")]
    UnknownKey,
}

fn because(cause: &Option<FetchError>) -> String {
    cause
        .as_ref()
        .map(|cause| format!(": {cause}"))
        .unwrap_or_default()
}

impl VerifyError {
    /// Whether the same token may be accepted later: the keys were not to be had.
    #[must_use]
    pub const fn is_transient(&self) -> bool {
        matches!(self, Self::KeysUnavailable { .. } | Self::Stopped)
    }

    /// The HTTP status that says so: 401 for a bad token, 403 for a good one that may not, 503
    /// where the keys are at fault and not the token.
    #[must_use]
    pub const fn status(&self) -> StatusCode {
        match self {
            Self::KeysUnavailable { .. } | Self::Stopped => StatusCode::SERVICE_UNAVAILABLE,
            Self::Group
            | Self::Scope(_)
            | Self::Refused(Refusal {
                forbidden: true, ..
            }) => StatusCode::FORBIDDEN,
            _ => StatusCode::UNAUTHORIZED,
        }
    }

    /// A stable label for metrics and logs.
    #[must_use]
    pub const fn as_str(&self) -> &'static str {
        match self {
            Self::Algorithm => "algorithm",
            Self::Ambiguous => "ambiguous",
            Self::Audience => "audience",
            Self::ClientId => "client_id",
            Self::Confirmation => "confirmation",
            Self::Expired => "expired",
            Self::Group => "group",
            Self::InvalidClaim(_) => "invalid_claim",
            Self::Issuer => "issuer",
            Self::KeysUnavailable { .. } => "keys_unavailable",
            Self::Malformed(_) => "malformed",
            Self::MissingClaim(_) => "missing_claim",
            Self::NotYetValid => "not_yet_valid",
            Self::Refused(_) => "refused",
            Self::Revoked => "revoked",
            Self::Scope(_) => "scope",
            Self::Signature => "signature",
            Self::Stopped => "stopped",
            Self::TokenUse => "token_use",
            Self::TooLarge => "too_large",
            Self::TooOld => "too_old",
            Self::Type => "type",
            Self::UnknownKey => "unknown_key",
        }
    }
}

/// What a custom check answers when it does not accept the claims.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
#[error("{reason}")]
pub struct Refusal {
    forbidden: bool,
    reason: Cow<'static, str>,
}

impl Refusal {
    /// The token is no good: 401 `invalid_token`.
    #[must_use]
    pub fn invalid(reason: impl Into<Cow<'static, str>>) -> Self {
        Self {
            forbidden: false,
            reason: reason.into(),
        }
    }

    /// The token is good, but its bearer may not: 403 `insufficient_scope`.
    #[must_use]
    pub fn forbidden(reason: impl Into<Cow<'static, str>>) -> Self {
        Self {
            forbidden: true,
            reason: reason.into(),
        }
    }
}
