//! What can go wrong beneath an operation: a fetch that failed, a setting that cannot be used.

use std::borrow::Cow;
use std::convert::Infallible;
use std::error::Error;
use std::fmt;
use std::sync::Arc;
use std::time::Duration;

/// Longest piece of foreign text that an error repeats, in characters.
const MAX_FOREIGN_TEXT: usize = 200;

/// Why one fetch (a token request, a JWK Set or discovery document request) failed.
///
/// Cheap to clone: everybody who waited for the same fetch gets the same error.
#[derive(Clone)]
pub struct FetchError(Arc<Fault>);

struct Fault {
    kind: FetchErrorKind,
    permanent: bool,
    message: Box<str>,
    oauth_error: Option<Box<str>>,
    retry_after: Option<Duration>,
    cause: Option<Box<dyn Error + Send + Sync>>,
}

/// The class of a [`FetchError`].
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
#[non_exhaustive]
pub enum FetchErrorKind {
    /// No connection, or it broke.
    Connection,
    /// A key set without keys: a mistake of the issuer's, or its way to revoke them all.
    Empty,
    /// An answer that is not what the protocol says: HTML, truncated JSON, a member missing.
    Malformed,
    /// A source of the application's own failed.
    Other,
    /// The source panicked.
    Panicked,
    /// The server said no: an OAuth 2.0 error response (RFC 6749 §5.2).
    Refused,
    /// An HTTP status that carries no OAuth 2.0 error.
    Status(u16),
    /// The server asked for fewer requests.
    Throttled,
    /// No answer within the deadline.
    Timeout,
    /// The body is larger than the cap.
    TooLarge,
    /// A well-formed answer that cannot be used: no usable key, a lifetime of zero, another issuer.
    Unusable,
}

impl FetchErrorKind {
    /// A stable label for metrics and logs.
    #[must_use]
    pub const fn as_str(self) -> &'static str {
        match self {
            Self::Connection => "connection",
            Self::Empty => "empty",
            Self::Malformed => "malformed",
            Self::Other => "other",
            Self::Panicked => "panicked",
            Self::Refused => "refused",
            Self::Status(_) => "status",
            Self::Throttled => "throttled",
            Self::Timeout => "timeout",
            Self::TooLarge => "too_large",
            Self::Unusable => "unusable",
        }
    }
}

impl FetchError {
    /// A failure that may pass: the fetch is repeated with backoff.
    ///
    /// ```
    /// use midil_auth::FetchError;
    ///
    /// let error = FetchError::transient("vault is sealed");
    /// assert!(error.is_transient());
    /// assert_eq!(error.to_string(), "vault is sealed");
    /// ```
    #[must_use]
    pub fn transient(message: impl AsRef<str>) -> Self {
        Self::new(FetchErrorKind::Other, message)
    }

    /// A failure that repeating does not mend, such as wrong credentials: the fetch is only
    /// probed slowly from then on.
    #[must_use]
    pub fn permanent(message: impl AsRef<str>) -> Self {
        Self::new(FetchErrorKind::Other, message).with(|fault| fault.permanent = true)
    }

    /// The same failure with what caused it.
    #[must_use]
    pub fn caused_by(self, cause: impl Into<Box<dyn Error + Send + Sync>>) -> Self {
        self.with(|fault| fault.cause = Some(cause.into()))
    }

    /// The same failure with the time the server asked to be left alone.
    #[must_use]
    pub fn retry_after(self, after: Duration) -> Self {
        self.with(|fault| fault.retry_after = Some(after))
    }

    pub(crate) fn new(kind: FetchErrorKind, message: impl AsRef<str>) -> Self {
        Self(Arc::new(Fault {
            kind,
            permanent: false,
            message: printable(message.as_ref()).into(),
            oauth_error: None,
            retry_after: None,
            cause: None,
        }))
    }

    /// A well-formed answer that cannot be used until somebody changes a setting.
    pub(crate) fn misconfigured(message: impl AsRef<str>) -> Self {
        Self::new(FetchErrorKind::Unusable, message).with(|fault| fault.permanent = true)
    }

    /// An OAuth 2.0 error response; `permanent` where the code says so.
    pub(crate) fn refused(code: &str, message: impl AsRef<str>, permanent: bool) -> Self {
        Self::new(FetchErrorKind::Refused, message)
            .with_oauth_error(code)
            .with(|fault| fault.permanent = permanent)
    }

    /// The same failure with its OAuth 2.0 error code.
    pub(crate) fn with_oauth_error(self, code: &str) -> Self {
        self.with(|fault| fault.oauth_error = Some(printable(code).into()))
    }

    fn with(mut self, change: impl FnOnce(&mut Fault)) -> Self {
        // Only ever called while the error is being made, before it is shared.
        if let Some(fault) = Arc::get_mut(&mut self.0) {
            change(fault);
        }
        self
    }

    /// What class of failure it is.
    #[must_use]
    pub fn kind(&self) -> FetchErrorKind {
        self.0.kind
    }

    /// The OAuth 2.0 error code, such as `invalid_client` (RFC 6749 §5.2), if the server sent one.
    #[must_use]
    pub fn oauth_error(&self) -> Option<&str> {
        self.0.oauth_error.as_deref()
    }

    /// How long the server asked to be left alone.
    #[must_use]
    pub fn retry_after_hint(&self) -> Option<Duration> {
        self.0.retry_after
    }

    /// Whether repeating the fetch may help.
    #[must_use]
    pub fn is_transient(&self) -> bool {
        !self.0.permanent
    }

    /// A stable label for metrics and logs.
    #[must_use]
    pub fn as_str(&self) -> &'static str {
        self.0.kind.as_str()
    }
}

impl fmt::Display for FetchError {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.0.message)
    }
}

impl fmt::Debug for FetchError {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("FetchError")
            .field("kind", &self.0.kind)
            .field("message", &self.0.message)
            .field("oauth_error", &self.0.oauth_error)
            .field("transient", &self.is_transient())
            .field("retry_after", &self.0.retry_after)
            .finish_non_exhaustive()
    }
}

impl Error for FetchError {
    fn source(&self) -> Option<&(dyn Error + 'static)> {
        match &self.0.cause {
            Some(cause) => Some(&**cause),
            None => None,
        }
    }
}

/// A setting that cannot be used: which one, what is wrong and what to write instead.
///
/// It never repeats the value of a secret.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct ConfigError {
    field: Cow<'static, str>,
    problem: Cow<'static, str>,
    remedy: Cow<'static, str>,
}

impl ConfigError {
    pub(crate) fn new(
        field: impl Into<Cow<'static, str>>,
        problem: impl Into<Cow<'static, str>>,
        remedy: impl Into<Cow<'static, str>>,
    ) -> Self {
        Self {
            field: field.into(),
            problem: problem.into(),
            remedy: remedy.into(),
        }
    }

    /// The same problem under the name the application knows the field by, such as that of an
    /// environment variable.
    pub(crate) fn for_field(mut self, field: impl Into<Cow<'static, str>>) -> Self {
        self.field = field.into();
        self
    }

    /// The field or environment variable.
    #[must_use]
    pub fn field(&self) -> &str {
        &self.field
    }

    /// What to write there.
    #[must_use]
    pub fn remedy(&self) -> &str {
        &self.remedy
    }
}

impl fmt::Display for ConfigError {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{} {}: {}", self.field, self.problem, self.remedy)
    }
}

impl Error for ConfigError {}

impl From<Infallible> for ConfigError {
    fn from(never: Infallible) -> Self {
        match never {}
    }
}

/// Refuses a duration outside `[least, most]`.
pub(crate) fn within(
    field: &'static str,
    value: Duration,
    least: Duration,
    most: Duration,
) -> Result<(), ConfigError> {
    if value >= least && value <= most {
        return Ok(());
    }
    Err(ConfigError::new(
        field,
        format!("is {value:?}"),
        format!("use a duration from {least:?} to {most:?}"),
    ))
}

/// Whether a character neither moves the cursor, nor breaks the line, nor reorders its neighbours.
fn is_plain(c: char) -> bool {
    let format = matches!(c, '\u{200b}'..='\u{200f}' | '\u{2028}'..='\u{202e}' | '\u{2060}'..='\u{206f}' | '\u{feff}');
    !c.is_control() && !format
}

/// Foreign text made safe to repeat: one line, nothing invisible, bounded.
pub(crate) fn printable(text: &str) -> String {
    let mut out: String = text
        .chars()
        .take(MAX_FOREIGN_TEXT)
        .map(|c| if is_plain(c) { c } else { '\u{fffd}' })
        .collect();
    if text.chars().nth(MAX_FOREIGN_TEXT).is_some() {
        out.push('…');
    }
    out
}
