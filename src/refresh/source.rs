//! Where fresh values come from.

use std::future::Future;
use std::pin::Pin;
use std::sync::Arc;
use std::time::Duration;

use crate::event::Change;
use crate::fault::FetchError;

/// Fetches one fresh value: an access token from a vault, a key set from a file.
///
/// A source does not cache, retry or time itself out: the actor that owns it does, and drops the
/// future when its deadline passes. Lifetimes count from the moment `fetch` was called.
///
/// # Example
///
/// ```
/// use std::sync::Arc;
/// use std::time::Duration;
/// use midil_auth::oauth2::AccessToken;
/// use midil_auth::{FetchError, Fetched, Source};
///
/// struct Vault;
///
/// impl Source<AccessToken> for Vault {
///     async fn fetch(&self, _in_service: Option<Arc<AccessToken>>) -> Result<Fetched<AccessToken>, FetchError> {
///         let token = AccessToken::bearer("from-the-vault")?;
///         Ok(Fetched::new(token.expires_in(Duration::from_secs(600))))
///     }
/// }
/// ```
pub trait Source<T>: Send + Sync + 'static {
    /// Fetches a value. `in_service` is the last good one, for conditional requests.
    ///
    /// # Errors
    ///
    /// [`FetchError::transient`] is repeated with backoff, [`FetchError::permanent`] is probed
    /// slowly. Either way the last good value stays in service while it is valid.
    fn fetch(
        &self,
        in_service: Option<Arc<T>>,
    ) -> impl Future<Output = Result<Fetched<T>, FetchError>> + Send;

    /// Resolves when what a permanent failure depended on has changed: a secret was replaced. It
    /// is awaited while the source is probed slowly, and ends that at once. Defaults to never.
    fn changed(&self) -> impl Future<Output = ()> + Send {
        std::future::pending()
    }
}

/// What a [`Source`] brought.
#[derive(Debug)]
pub struct Fetched<T> {
    /// `None` where the value in service is still the right one.
    pub(crate) value: Result<Option<T>, FetchError>,
    pub(crate) fresh_for: Option<Duration>,
    /// What subscribers are to learn besides.
    pub(crate) notes: Vec<Change>,
}

impl<T> Fetched<T> {
    /// A fresh value.
    pub const fn new(value: T) -> Self {
        Self {
            value: Ok(Some(value)),
            fresh_for: None,
            notes: Vec::new(),
        }
    }

    /// The value in service is still the right one (HTTP 304).
    #[must_use]
    pub const fn unchanged() -> Self {
        Self {
            value: Ok(None),
            fresh_for: None,
            notes: Vec::new(),
        }
    }

    /// How long the server says the answer stays fresh (`Cache-Control: max-age`); a hint that
    /// is kept within the policy's bounds.
    #[must_use]
    pub const fn fresh_for(mut self, hint: Option<Duration>) -> Self {
        self.fresh_for = hint;
        self
    }

    /// Nothing but notes.
    pub(crate) const fn failed(error: FetchError) -> Self {
        Self {
            value: Err(error),
            fresh_for: None,
            notes: Vec::new(),
        }
    }

    pub(crate) fn notes(mut self, notes: Vec<Change>) -> Self {
        self.notes = notes;
        self
    }
}

type FetchFuture<'a, T> = Pin<Box<dyn Future<Output = Result<Fetched<T>, FetchError>> + Send + 'a>>;

/// The form of [`Source`] that can be stored.
pub(crate) trait DynSource<T>: Send + Sync + 'static {
    fn fetch_boxed(&self, in_service: Option<Arc<T>>) -> FetchFuture<'_, T>;
    fn changed_boxed(&self) -> Pin<Box<dyn Future<Output = ()> + Send + '_>>;
}

impl<T: Send + Sync + 'static, S: Source<T>> DynSource<T> for S {
    fn fetch_boxed(&self, in_service: Option<Arc<T>>) -> FetchFuture<'_, T> {
        Box::pin(self.fetch(in_service))
    }

    fn changed_boxed(&self) -> Pin<Box<dyn Future<Output = ()> + Send + '_>> {
        Box::pin(self.changed())
    }
}
