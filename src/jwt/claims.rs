//! The claims of a verified token (RFC 7519 §4).

mod claim;
mod members;
mod reading;
mod registered;

use std::fmt;
use std::marker::PhantomData;
use std::sync::Arc;
use std::time::{Duration, SystemTime, UNIX_EPOCH};

use serde::de::DeserializeOwned;

pub(super) use claim::Claim;
pub(super) use reading::{Reading, registered, with_own};
pub(super) use registered::Registered;

use super::profile::{Jwt, Profile};
use crate::json;

/// The claims of a token that was verified: its signature, its times and everything else that
/// the [`Verifier`](super::Verifier) demands.
///
/// `P` is the kind of token, `C` a type of the application's own that the claims were also read
/// into ([`VerifierBuilder::claims`](super::VerifierBuilder::claims)). Cheap to clone. `Debug`
/// shows which claims there are, not what they say.
pub struct Claims<P = Jwt, C = ()> {
    registered: Arc<Registered>,
    custom: C,
    profile: PhantomData<fn() -> P>,
}

#[cfg(feature = "testing")]
impl Claims {
    /// Claims that no token carried.
    pub(crate) fn unverified(payload: String) -> Result<Self, super::error::VerifyError> {
        Ok(Self::new(
            Registered::read(payload, "groups", |_, _| {})?,
            (),
        ))
    }
}

impl<P: Profile, C> Claims<P, C> {
    pub(super) const fn new(registered: Arc<Registered>, custom: C) -> Self {
        Self {
            registered,
            custom,
            profile: PhantomData,
        }
    }

    pub(super) fn registered(&self) -> &Registered {
        &self.registered
    }

    /// `iss`: who issued the token.
    #[must_use]
    pub fn issuer(&self) -> Option<&str> {
        self.registered.text(Claim::Issuer)
    }

    /// `sub`: whom the token is about; the client itself for client credentials.
    #[must_use]
    pub fn subject(&self) -> Option<&str> {
        self.registered.text(Claim::Subject)
    }

    /// `aud`: whom the token is for.
    #[must_use]
    pub fn audience(&self) -> Audience {
        Audience(self.registered.list(Claim::Audience))
    }

    /// `exp`: when the token expires.
    #[must_use]
    pub fn expires_at(&self) -> Option<SystemTime> {
        self.registered.exp.map(system)
    }

    /// `iat`: when the token was issued.
    #[must_use]
    pub fn issued_at(&self) -> Option<SystemTime> {
        self.registered.iat.map(system)
    }

    /// Whether the token has expired by `now`; a long-running job may want to know.
    #[must_use]
    pub fn is_expired_at(&self, now: SystemTime) -> bool {
        self.expires_at().is_some_and(|exp| now >= exp)
    }

    /// `jti`: the token's own id.
    #[must_use]
    pub fn token_id(&self) -> Option<&str> {
        self.registered.text(Claim::TokenId)
    }

    /// `client_id`: the client that the token was issued to.
    #[must_use]
    pub fn client_id(&self) -> Option<&str> {
        self.registered.text(Claim::ClientId)
    }

    /// `email`, where the issuer adds it.
    #[must_use]
    pub fn email(&self) -> Option<&str> {
        self.registered.text(Claim::Email)
    }

    /// `cognito:username`, or else `username`.
    #[must_use]
    pub fn username(&self) -> Option<&str> {
        let cognito = self.registered.text(Claim::CognitoUsername);
        cognito.or_else(|| self.registered.text(Claim::Username))
    }

    /// `scope` (or `scp`), one to an element.
    #[must_use]
    pub fn scopes(&self) -> Vec<String> {
        self.registered.scopes()
    }

    /// Whether `scope` was granted.
    #[must_use]
    pub fn has_scope(&self, scope: &str) -> bool {
        self.registered.has_scope(scope)
    }

    /// The groups: `cognito:groups` for Cognito, else `groups` or what the builder was told.
    #[must_use]
    pub fn groups(&self) -> Vec<String> {
        self.registered.list(Claim::Groups)
    }

    /// Whether the bearer is in `group`.
    #[must_use]
    pub fn has_group(&self, group: &str) -> bool {
        self.registered.has_group(group)
    }

    /// Any claim by name.
    #[must_use]
    pub fn get(&self, name: &str) -> Option<serde_json::Value> {
        serde_json::from_str(self.registered.raw(name)?.raw()).ok()
    }

    /// All claims, read into a type of your own.
    ///
    /// # Errors
    ///
    /// When the claims do not fit the type.
    pub fn deserialize<T: DeserializeOwned>(&self) -> Result<T, serde_json::Error> {
        self.registered.deserialize()
    }

    /// The claims as the type that the builder was told.
    #[must_use]
    pub const fn custom(&self) -> &C {
        &self.custom
    }

    /// The same claims without their kind, as [`AuthzProvider`](crate::AuthzProvider) hands them
    /// out.
    #[must_use]
    pub fn erase(&self) -> Claims {
        Claims {
            registered: Arc::clone(&self.registered),
            custom: (),
            profile: PhantomData,
        }
    }
}

fn system(seconds: f64) -> SystemTime {
    UNIX_EPOCH + Duration::from_secs_f64(seconds)
}

impl<P, C: Clone> Clone for Claims<P, C> {
    fn clone(&self) -> Self {
        Self {
            registered: Arc::clone(&self.registered),
            custom: self.custom.clone(),
            profile: PhantomData,
        }
    }
}

impl<P, C> fmt::Debug for Claims<P, C> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let mut names = Vec::new();
        let _ = json::object(self.registered.payload(), |name, _| {
            names.push(crate::fault::printable(name));
        });
        f.debug_struct("Claims")
            .field("names", &names)
            .finish_non_exhaustive()
    }
}

/// Whom a token is for: `aud`, one string or several.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Audience(Vec<String>);

impl Audience {
    /// Whether the token is for `audience`.
    #[must_use]
    pub fn contains(&self, audience: &str) -> bool {
        self.0.iter().any(|known| known == audience)
    }

    /// Each audience.
    pub fn iter(&self) -> impl Iterator<Item = &str> {
        self.0.iter().map(String::as_str)
    }

    /// Whether the token names none.
    #[must_use]
    pub fn is_empty(&self) -> bool {
        self.0.is_empty()
    }
}
