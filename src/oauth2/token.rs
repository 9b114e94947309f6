//! An access token and the headers made of it.

use std::fmt;
use std::time::{Duration, SystemTime};

use bytes::Bytes;
use http::header::InvalidHeaderValue;
use http::{HeaderMap, HeaderValue, header};
use zeroize::Zeroizing;

use super::copies::Apart;
use crate::clock::{Moment, Wall};
use crate::fault::{FetchError, FetchErrorKind};
use crate::json;
use crate::refresh::Asked;
use crate::store::{Record, StoreError, StoreErrorKind, frame};

const PREFIX: &str = "Bearer ";

/// The form in which a store keeps a token.
const STORED: &str = "token/1";

/// An OAuth 2.0 access token (RFC 6749 §1.4) of type `Bearer` (RFC 6750).
///
/// The token is kept once, inside the ready-made header value, and is wiped when the last user of
/// that value is gone. `Debug` shows times, never the token.
#[derive(Clone)]
pub struct AccessToken {
    /// `Bearer <token>`, marked sensitive.
    authorization: HeaderValue,
    scope: Option<Box<str>>,
    expires_in: Option<Duration>,
    /// What the token says of itself, if it is a JWT.
    stamps: Stamps,
    /// By how much the issuer's clock is known to differ: its time when the token was received.
    pub(crate) issuer_time: Option<Wall>,
    issued_at: Wall,
    /// On both clocks, so that a step of the wall clock prolongs nothing.
    expires: Moment,
}

impl AccessToken {
    /// A token of type `Bearer`, as a source of your own gets it.
    ///
    /// # Errors
    ///
    /// [`FetchError`] when it is empty or holds anything but the visible ASCII characters that
    /// fit in a header (RFC 6750 §2.1).
    pub fn bearer(token: impl AsRef<str>) -> Result<Self, FetchError> {
        let token = token.as_ref();
        if token.is_empty() || !token.bytes().all(|b| b.is_ascii_graphic()) {
            return Err(FetchError::new(
                FetchErrorKind::Malformed,
                "the access token is empty or cannot be sent in a header",
            ));
        }
        let mut bytes = Vec::with_capacity(PREFIX.len() + token.len());
        bytes.extend_from_slice(PREFIX.as_bytes());
        bytes.extend_from_slice(token.as_bytes());
        let authorization = sensitive(Zeroizing::new(bytes))
            .map_err(|_| FetchError::transient("the access token cannot be sent in a header"))?;
        let (stamps, scope) = Stamps::of(token);
        Ok(Self {
            authorization,
            scope,
            expires_in: None,
            stamps,
            issuer_time: None,
            issued_at: Wall::default(),
            expires: Moment::default(),
        })
    }

    /// How long the issuer says the token lives, from the moment it was asked for.
    ///
    /// Defaults to the token's own `exp` if it is a JWT, else to
    /// [`LifetimePolicy::default_lifetime`](super::LifetimePolicy::default_lifetime).
    #[must_use]
    pub const fn expires_in(mut self, lifetime: Duration) -> Self {
        self.expires_in = Some(lifetime);
        self
    }

    /// The scope the issuer granted (space-separated, RFC 6749 §3.3).
    ///
    /// Defaults to the token's own `scope` if it is a JWT (RFC 9068 §2.2.3): Amazon Cognito, for
    /// one, says it nowhere else.
    #[must_use]
    pub fn scope(mut self, scope: impl Into<String>) -> Self {
        self.scope = Some(scope.into().into());
        self
    }

    /// The token itself. Keep the borrow short and never log it.
    #[must_use]
    pub fn expose(&self) -> &str {
        let header = self.authorization.to_str().unwrap_or_default();
        header.get(PREFIX.len()..).unwrap_or_default()
    }

    /// `Bearer <token>`, marked sensitive so that HTTP stacks do not print it.
    #[must_use]
    pub fn authorization(&self) -> HeaderValue {
        self.authorization.clone()
    }

    /// The same, with a reference count of its own.
    pub(super) fn copy_authorization(&self) -> HeaderValue {
        let bytes = Zeroizing::new(self.authorization.as_bytes().to_vec());
        let copy = sensitive(Apart(bytes));
        copy.unwrap_or_else(|_| self.authorization())
    }

    /// The scope the issuer granted, where it said so.
    #[must_use]
    pub fn granted_scope(&self) -> Option<&str> {
        self.scope.as_deref()
    }

    /// How the token is presented: always `Bearer`.
    #[must_use]
    pub const fn token_type(&self) -> &'static str {
        "Bearer"
    }

    /// When the token was asked for.
    #[must_use]
    pub fn issued_at(&self) -> SystemTime {
        self.issued_at.to_system()
    }

    /// When the issuer stops accepting the token. It is taken out of service a little earlier.
    #[must_use]
    pub fn expires_at(&self) -> SystemTime {
        self.expires.wall.to_system()
    }

    pub(super) const fn age(&self, now: Wall) -> Duration {
        now.since(self.issued_at)
    }

    /// Whether both are the same token, whatever is known of their lifetimes.
    #[must_use]
    pub fn is_same_token(&self, other: &Self) -> bool {
        self.authorization == other.authorization
    }

    /// The lifetime that counts, from the moment the token was asked for: the shortest of what
    /// the response and the token say.
    pub(super) fn lifetime(&self, asked: Asked, default: Duration) -> Duration {
        let own = self.stamps.expires.map(|exp| {
            let left = exp.since(self.issuer_now(asked));
            // A token that is dead on arrival by its own word, while the response grants it a
            // life, is seen through a clock that is off: its span still holds.
            match (self.stamps.issued, self.expires_in) {
                (Some(issued), Some(_)) if left.is_zero() => exp.since(issued),
                _ => left,
            }
        });
        match (self.expires_in, own) {
            (Some(stated), Some(own)) => stated.min(own),
            (Some(only), None) | (None, Some(only)) => only,
            (None, None) => default,
        }
    }

    /// What the issuer's clock showed when the token was asked for. A JWT's times are in whole
    /// seconds, so with short lifetimes the fraction counts: our own clock has it, unless the
    /// `Date` header shows that the two clocks differ.
    fn issuer_now(&self, asked: Asked) -> Wall {
        let ours = asked.at.wall;
        let second = Duration::from_secs(1);
        match self.issuer_time {
            Some(date) if date > ours.after(asked.took) || date.after(second) <= ours => {
                date.after(second)
            }
            _ => ours,
        }
    }

    /// What a store keeps of the token, but for its times.
    pub(super) fn freeze(&self) -> Zeroizing<Vec<u8>> {
        let scope = self.scope.as_deref().unwrap_or_default();
        frame::write(&[STORED, self.expose(), scope])
    }

    /// The token that a store has kept. Its lifetime was settled when it was obtained.
    pub(super) fn thaw(record: &Record) -> Result<Self, StoreError> {
        let [token, scope] = frame::read(record.payload(), STORED)?;
        let text = |bytes| std::str::from_utf8(bytes).map_err(|_| StoreErrorKind::Corrupt);
        let token = Self::bearer(text(token)?).map_err(|_| StoreErrorKind::Corrupt)?;
        Ok(Self {
            scope: Some(text(scope)?)
                .filter(|scope| !scope.is_empty())
                .map(Into::into),
            expires_in: Some(record.expires().since(record.obtained())),
            stamps: Stamps::default(),
            ..token
        })
    }

    pub(super) const fn expires(&self) -> Wall {
        self.expires.wall
    }

    pub(super) fn stamp(&mut self, asked: Moment, lifetime: Duration) {
        self.issued_at = asked.wall;
        self.expires = asked.after(lifetime);
    }

    /// How long the issuer accepts it from `now` on.
    pub(super) fn left(&self, now: Moment) -> Duration {
        let tick = self.expires.tick.since(now.tick);
        self.expires.wall.since(now.wall).min(tick)
    }
}

/// What a token says of its own lifetime, if it is a JWT (RFC 7519 §4.1). Unverified: it is the
/// resource server's to judge, and is used only to stop using a token in time.
#[derive(Clone, Copy, Debug, Default)]
struct Stamps {
    issued: Option<Wall>,
    expires: Option<Wall>,
}

impl Stamps {
    /// And the scope, if the token says it.
    fn of(token: &str) -> (Self, Option<Box<str>>) {
        let (mut stamps, mut scope) = (Self::default(), None);
        let mut segments = token.split('.');
        let (Some(_), Some(payload), Some(_), None) = (
            segments.next(),
            segments.next(),
            segments.next(),
            segments.next(),
        ) else {
            return (stamps, scope);
        };
        let decoded = base64_simd::URL_SAFE_NO_PAD.decode_to_vec(payload).ok();
        let Some(claims) = decoded.and_then(|bytes| String::from_utf8(bytes).ok()) else {
            return (stamps, scope);
        };
        let claims = Zeroizing::new(claims);
        let read = json::object(&claims, |name, value| {
            if name == "scope" {
                scope = value.string().map(|scope| scope.as_ref().into());
                return;
            }
            let date = value
                .number()
                .filter(|seconds| (1.0..1e11).contains(seconds));
            let date = date.map(|seconds| Wall::default().after(Duration::from_secs_f64(seconds)));
            match name {
                "iat" => stamps.issued = date,
                "exp" => stamps.expires = date,
                _ => {}
            }
        });
        match read {
            Ok(()) => (stamps, scope),
            Err(_) => Default::default(),
        }
    }
}

/// A value that HTTP stacks do not print, and that ends with its owner.
fn sensitive<O>(owner: O) -> Result<HeaderValue, InvalidHeaderValue>
where
    O: AsRef<[u8]> + Send + 'static,
{
    let mut value = HeaderValue::from_maybe_shared(Bytes::from_owner(owner))?;
    value.set_sensitive(true);
    Ok(value)
}

impl fmt::Debug for AccessToken {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("AccessToken")
            .field("token", &"[redacted]")
            .field("scope", &self.scope)
            .field("issued_at", &self.issued_at())
            .field("expires_at", &self.expires_at())
            .finish_non_exhaustive()
    }
}

/// The headers of an authenticated JSON request.
///
/// ```
/// use midil_auth::oauth2::{AccessToken, AuthHeaders};
///
/// let headers = AuthHeaders::new(&AccessToken::bearer("abc")?);
/// let map = headers.to_header_map();
/// assert_eq!(map["authorization"], "Bearer abc");
/// assert_eq!(map["content-type"], "application/json");
/// assert!(!format!("{headers:?}").contains("abc"));
/// # Ok::<(), midil_auth::FetchError>(())
/// ```
#[derive(Clone, Debug)]
pub struct AuthHeaders {
    authorization: HeaderValue,
    content_type: HeaderValue,
}

impl AuthHeaders {
    /// `Authorization: Bearer <token>` and `Content-Type: application/json`.
    #[must_use]
    pub fn new(token: &AccessToken) -> Self {
        Self {
            authorization: token.authorization(),
            content_type: HeaderValue::from_static("application/json"),
        }
    }

    /// The same with another content type.
    #[must_use]
    pub fn content_type(mut self, content_type: HeaderValue) -> Self {
        self.content_type = content_type;
        self
    }

    /// The value of `Authorization`.
    #[must_use]
    pub const fn authorization(&self) -> &HeaderValue {
        &self.authorization
    }

    /// Both headers.
    #[must_use]
    pub fn to_header_map(&self) -> HeaderMap {
        let mut headers = HeaderMap::with_capacity(2);
        headers.insert(header::AUTHORIZATION, self.authorization.clone());
        headers.insert(header::CONTENT_TYPE, self.content_type.clone());
        headers
    }
}

impl From<AuthHeaders> for HeaderMap {
    fn from(headers: AuthHeaders) -> Self {
        headers.to_header_map()
    }
}
