//! The claims of a verified token (RFC 7519 §4).

use std::fmt;
use std::marker::PhantomData;
use std::num::NonZeroU32;
use std::ops::Range;
use std::sync::Arc;
use std::time::{Duration, SystemTime, UNIX_EPOCH};

use serde::de::DeserializeOwned;

use super::error::VerifyError;
use super::profile::{Jwt, Profile};
use crate::json::{self, Kind, Value};

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

/// The payload and where in it the claims stand.
#[derive(Default)]
pub(super) struct Registered {
    /// The payload, and behind it what strings that were written with escapes say.
    text: String,
    payload_len: usize,
    pub(super) exp: Option<f64>,
    pub(super) nbf: Option<f64>,
    pub(super) iat: Option<f64>,
    /// By [`Claim`].
    spans: [Option<Span>; Claim::SPANS],
}

/// A claim that is looked at.
#[derive(Clone, Copy)]
pub(super) enum Claim {
    Issuer,
    Subject,
    Audience,
    TokenId,
    ClientId,
    AuthorizedParty,
    Scope,
    /// What Okta and Entra ID call the scope.
    Scp,
    TokenUse,
    Email,
    Username,
    CognitoUsername,
    Confirmation,
    Groups,
    // Those of which the text does not matter.
    Expiry,
    NotBefore,
    IssuedAt,
}

impl Claim {
    /// How many have a span.
    const SPANS: usize = Self::Expiry as usize;

    fn of(name: &str, groups_claim: &str) -> Option<Self> {
        Some(match name {
            "iss" => Self::Issuer,
            "sub" => Self::Subject,
            "aud" => Self::Audience,
            "exp" => Self::Expiry,
            "nbf" => Self::NotBefore,
            "iat" => Self::IssuedAt,
            "jti" => Self::TokenId,
            "client_id" => Self::ClientId,
            "azp" => Self::AuthorizedParty,
            "scope" => Self::Scope,
            "scp" => Self::Scp,
            "token_use" => Self::TokenUse,
            "email" => Self::Email,
            "username" => Self::Username,
            "cognito:username" => Self::CognitoUsername,
            "cnf" => Self::Confirmation,
            name if name == groups_claim => Self::Groups,
            _ => return None,
        })
    }

    const fn name(self) -> &'static str {
        match self {
            Self::Issuer => "iss",
            Self::Subject => "sub",
            Self::Audience => "aud",
            Self::Expiry => "exp",
            Self::NotBefore => "nbf",
            Self::IssuedAt => "iat",
            Self::TokenId => "jti",
            Self::ClientId => "client_id",
            Self::AuthorizedParty => "azp",
            Self::Scope => "scope",
            Self::Scp => "scp",
            Self::TokenUse => "token_use",
            Self::Email => "email",
            Self::Username => "username",
            Self::CognitoUsername => "cognito:username",
            Self::Confirmation => "cnf",
            Self::Groups => "groups",
        }
    }

    /// Whether `null` says as little as nothing: of what is only shown.
    const fn may_be_null(self) -> bool {
        matches!(
            self,
            Self::Email | Self::Username | Self::CognitoUsername | Self::Groups
        )
    }
}

impl From<Claim> for u8 {
    fn from(claim: Claim) -> Self {
        claim as Self
    }
}

/// A slice of the text of the claims. It is small, since claims are moved about.
#[derive(Clone, Copy)]
pub(super) struct Span {
    start: u32,
    /// A claim never ends where the payload begins.
    end: NonZeroU32,
}

impl Span {
    fn new(range: Range<usize>) -> Option<Self> {
        Some(Self {
            start: u32::try_from(range.start).ok()?,
            end: NonZeroU32::new(u32::try_from(range.end).ok()?)?,
        })
    }

    const fn range(self) -> Range<usize> {
        self.start as usize..self.end.get() as usize
    }
}

/// Seconds since 1970 that a date may be: to the year 9999, which every platform's clock can tell.
const DATES: Range<f64> = 0.0..253_402_300_800.0;

impl Registered {
    /// Reads the claims, strictly typed. `groups_claim` is the claim that holds the groups.
    pub(super) fn read(payload: String, groups_claim: &str) -> Result<Self, VerifyError> {
        let mut claims = Self::default();
        let mut broken = None;
        let mut unescaped = String::new();
        json::object_of(
            &payload,
            |name| Claim::of(name, groups_claim),
            |claim, value| {
                if let Err(name) = claims.set(claim, &payload, &mut unescaped, value) {
                    broken.get_or_insert(name);
                }
            },
        )
        .map_err(|_| VerifyError::Malformed("the claims are not one strict JSON object"))?;
        if let Some(name) = broken {
            return Err(VerifyError::InvalidClaim(name));
        }
        claims.payload_len = payload.len();
        claims.text = payload;
        claims.text.push_str(&unescaped);
        Ok(claims)
    }

    fn set(
        &mut self,
        claim: Claim,
        payload: &str,
        unescaped: &mut String,
        value: Value<'_>,
    ) -> Result<(), &'static str> {
        if value.kind == Kind::Null && claim.may_be_null() {
            return Ok(());
        }
        let date = match claim {
            Claim::Expiry => Some(&mut self.exp),
            Claim::NotBefore => Some(&mut self.nbf),
            Claim::IssuedAt => Some(&mut self.iat),
            _ => None,
        };
        if let Some(slot) = date {
            let date = value.number().filter(|seconds| DATES.contains(seconds));
            *slot = Some(date.ok_or(claim.name())?);
            return Ok(());
        }
        let span = match claim {
            Claim::Confirmation => Span::new(value.range()),
            Claim::Audience | Claim::Groups | Claim::Scope | Claim::Scp => strings(value),
            _ => text(payload, unescaped, value),
        };
        let span = span.ok_or(claim.name())?;
        if let Some(slot) = self.spans.get_mut(claim as usize) {
            *slot = Some(span);
        }
        Ok(())
    }

    fn span(&self, claim: Claim) -> Option<Span> {
        self.spans.get(claim as usize).copied().flatten()
    }

    fn payload(&self) -> &str {
        self.text.get(..self.payload_len).unwrap_or_default()
    }

    /// A claim as it stands in the payload, a string without its quotes.
    pub(super) fn text(&self, claim: Claim) -> Option<&str> {
        self.text.get(self.span(claim)?.range())
    }

    /// Whether the claim of that name is there, `null` or not.
    pub(super) fn has(&self, name: &str) -> bool {
        match name {
            "aud" => self.span(Claim::Audience).is_some(),
            "client_id" => self.span(Claim::ClientId).is_some(),
            "exp" => self.exp.is_some(),
            "iat" => self.iat.is_some(),
            "jti" => self.span(Claim::TokenId).is_some(),
            "sub" => self.span(Claim::Subject).is_some(),
            other => self.raw(other).is_some(),
        }
    }

    fn raw(&self, wanted: &str) -> Option<Value<'_>> {
        let mut found = None;
        let _ = json::object(self.payload(), |name, value| {
            if name == wanted {
                found = Some(value);
            }
        });
        found
    }

    /// Shows each string of a claim that is a string or an array of strings.
    fn each(&self, claim: Claim, mut each: impl FnMut(&str)) {
        let mut show = |value: Value<'_>| {
            if let Some(text) = value.string() {
                each(&text);
            }
        };
        match self.text(claim) {
            Some(raw) if raw.starts_with('"') => show(Value::of_string(raw)),
            // It was read once already, so it cannot fail.
            Some(raw) => json::array(raw, show).unwrap_or_default(),
            None => {}
        }
    }

    fn list(&self, claim: Claim) -> Vec<String> {
        let mut list = Vec::new();
        self.each(claim, |text| list.push(text.to_owned()));
        list
    }

    /// Whether every audience is one of those, or whether any is.
    pub(super) fn audiences(&self, ours: impl Fn(&str) -> bool) -> Quantified {
        let mut found = Quantified {
            all: true,
            any: false,
        };
        self.each(Claim::Audience, |audience| {
            let ours = ours(audience);
            found.all &= ours;
            found.any |= ours;
        });
        found
    }

    /// Shows each scope: space-separated in a string (RFC 8693 §4.2), or one to an element.
    fn each_scope(&self, mut each: impl FnMut(&str)) {
        let claim = match self.span(Claim::Scope) {
            Some(_) => Claim::Scope,
            None => Claim::Scp,
        };
        self.each(claim, |words| {
            words
                .split(' ')
                .filter(|word| !word.is_empty())
                .for_each(&mut each);
        });
    }

    fn scopes(&self) -> Vec<String> {
        let mut scopes = Vec::new();
        self.each_scope(|scope| scopes.push(scope.to_owned()));
        scopes
    }

    pub(super) fn has_scope(&self, wanted: &str) -> bool {
        let mut found = false;
        self.each_scope(|scope| found |= scope == wanted);
        found
    }

    pub(super) fn has_group(&self, wanted: &str) -> bool {
        let mut found = false;
        self.each(Claim::Groups, |group| found |= group == wanted);
        found
    }

    pub(super) fn deserialize<T: DeserializeOwned>(&self) -> Result<T, serde_json::Error> {
        serde_json::from_str(self.payload())
    }
}

/// How many of several: see [`Registered::audiences`].
pub(super) struct Quantified {
    pub(super) all: bool,
    pub(super) any: bool,
}

/// A string that the claims point to: in the payload, or behind it where it has escapes.
fn text(payload: &str, unescaped: &mut String, value: Value<'_>) -> Option<Span> {
    if let Some(range) = value.plain() {
        return Span::new(range);
    }
    let start = payload.len() + unescaped.len();
    unescaped.push_str(&value.string()?);
    Span::new(start..payload.len() + unescaped.len())
}

/// A string, or an array of nothing but strings.
fn strings(value: Value<'_>) -> Option<Span> {
    let is_string = |value: Value<'_>| matches!(value.kind, Kind::String { .. });
    let mut good = is_string(value);
    if value.kind == Kind::Array {
        good = true;
        json::array(value.raw(), |element| good &= is_string(element)).ok()?;
    }
    Span::new(value.range()).filter(|_| good)
}

#[cfg(feature = "testing")]
impl Claims {
    /// Claims that no token carried.
    pub(crate) fn unverified(payload: String) -> Result<Self, VerifyError> {
        Ok(Self::new(Registered::read(payload, "groups")?, ()))
    }
}

impl<P: Profile, C> Claims<P, C> {
    pub(super) fn new(registered: Registered, custom: C) -> Self {
        Self {
            registered: Arc::new(registered),
            custom,
            profile: PhantomData,
        }
    }

    pub(super) fn registered(&self) -> &Registered {
        &self.registered
    }

    /// The same claims with those of the application's type.
    pub(super) fn with_custom<D>(self, custom: D) -> Claims<P, D> {
        Claims {
            registered: self.registered,
            custom,
            profile: PhantomData,
        }
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
