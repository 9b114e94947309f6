//! Mocks of both interfaces, and sources made of a closure.

use std::fmt;
use std::future::Future;
use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};

use serde_json::Value;

use crate::error::AuthError;
use crate::fault::FetchError;
use crate::jwt::{Claims, VerifyError};
use crate::oauth2::AccessToken;
use crate::provider::{AuthnProvider, AuthzProvider, ProviderFuture};
use crate::refresh::source::{Fetched, Source};

/// Outbound, faked: always the same token.
///
/// ```
/// use midil_auth::AuthnProvider;
/// use midil_auth::testing::MockAuthn;
///
/// # #[tokio::main(flavor = "current_thread")]
/// # async fn main() -> Result<(), midil_auth::AuthError> {
/// let auth = MockAuthn::new("mock-token");
/// assert_eq!(auth.token().await?.expose(), "mock-token");
/// assert_eq!(auth.headers().await?.authorization(), "Bearer mock-token");
/// # Ok(())
/// # }
/// ```
#[derive(Clone, Debug)]
pub struct MockAuthn(Result<Arc<AccessToken>, AuthError>);

impl MockAuthn {
    /// Always this token.
    ///
    /// # Panics
    ///
    /// When it cannot be sent in a header.
    #[must_use]
    #[expect(clippy::expect_used, reason = "a test with such a token is wrong")]
    pub fn new(token: &str) -> Self {
        let token = AccessToken::bearer(token).expect("a token that fits in a header");
        Self(Ok(Arc::new(token)))
    }

    /// Never a token: always this error.
    #[must_use]
    pub fn failing(error: impl Into<AuthError>) -> Self {
        Self(Err(error.into()))
    }
}

impl AuthnProvider for MockAuthn {
    fn token(&self) -> ProviderFuture<'_, Arc<AccessToken>> {
        Box::pin(async { self.0.clone() })
    }
}

/// Inbound, faked: these claims for this token, a refusal for every other.
///
/// ```
/// use midil_auth::AuthzProvider;
/// use midil_auth::testing::MockAuthz;
///
/// # #[tokio::main(flavor = "current_thread")]
/// # async fn main() -> Result<(), midil_auth::AuthError> {
/// let auth = MockAuthz::new("good", serde_json::json!({"sub": "ada", "groups": ["admin"]}));
/// assert!(auth.verify("good").await?.has_group("admin"));
/// assert!(auth.verify("bad").await.is_err());
/// # Ok(())
/// # }
/// ```
#[derive(Clone, Debug)]
pub struct MockAuthz(Result<(String, Claims), AuthError>);

impl MockAuthz {
    /// These claims for this token.
    ///
    /// # Panics
    ///
    /// As [`claims`].
    #[must_use]
    pub fn new(token: impl Into<String>, claims: Value) -> Self {
        Self(Ok((token.into(), self::claims(&claims))))
    }

    /// This error for every token, such as [`VerifyError::Expired`].
    #[must_use]
    pub fn failing(error: impl Into<AuthError>) -> Self {
        Self(Err(error.into()))
    }

    fn verdict(&self, token: &str) -> Result<Claims, AuthError> {
        let (good, claims) = self.0.clone()?;
        if token == good {
            Ok(claims)
        } else {
            Err(AuthError::TokenValidation(VerifyError::Signature))
        }
    }
}

impl AuthzProvider for MockAuthz {
    fn verify<'a>(&'a self, token: &'a str) -> ProviderFuture<'a, Claims> {
        Box::pin(async move { self.verdict(token) })
    }

    fn verify_now(&self, token: &str) -> Option<Result<Claims, AuthError>> {
        Some(self.verdict(token))
    }
}

/// Claims that no token carried, to call a handler with.
///
/// # Panics
///
/// When they are not an object of well-typed claims.
#[must_use]
#[expect(clippy::expect_used, reason = "a test with such claims is wrong")]
pub fn claims(claims: &Value) -> Claims {
    Claims::unverified(claims.to_string()).expect("well-typed claims")
}

/// A source made of a closure, which is given the number of the call, from 1.
pub struct SourceFn<F> {
    fetch: F,
    calls: Arc<AtomicU64>,
}

impl<F> SourceFn<F> {
    /// A source that calls `fetch`.
    pub fn new(fetch: F) -> Self {
        Self {
            fetch,
            calls: Arc::default(),
        }
    }

    /// How often it has been called, now and later.
    #[must_use]
    pub fn calls(&self) -> Arc<AtomicU64> {
        Arc::clone(&self.calls)
    }
}

impl<F, Fut, T> Source<T> for SourceFn<F>
where
    F: Fn(u64) -> Fut + Send + Sync + 'static,
    Fut: Future<Output = Result<Fetched<T>, FetchError>> + Send,
    T: Send + Sync + 'static,
{
    async fn fetch(&self, _in_service: Option<Arc<T>>) -> Result<Fetched<T>, FetchError> {
        let call = self.calls.fetch_add(1, Ordering::SeqCst) + 1;
        (self.fetch)(call).await
    }
}

impl<F> fmt::Debug for SourceFn<F> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("SourceFn").finish_non_exhaustive()
    }
}
