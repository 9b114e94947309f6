//! The two interfaces that applications depend on; what implements them can be swapped, for a
//! fake in tests or for a wrapper that adds rules.

use std::fmt;
use std::future::Future;
use std::pin::Pin;
use std::sync::Arc;

use crate::error::AuthError;
use crate::jwt::{Claims, Issuers, Profile, Verifier};
use crate::oauth2::{AccessToken, AuthHeaders, TokenHandle};

/// What the methods of the providers return: a boxed future, so that `dyn` works.
pub type ProviderFuture<'a, T> = Pin<Box<dyn Future<Output = Result<T, AuthError>> + Send + 'a>>;

/// Outbound: has a valid access token whenever one is asked for.
///
/// # Example
///
/// ```
/// use std::sync::Arc;
/// use midil_auth::{AuthError, AuthnProvider};
///
/// async fn call(auth: Arc<dyn AuthnProvider>) -> Result<(), AuthError> {
///     let headers = auth.headers().await?.to_header_map();
///     // client.get(url).headers(headers)…
///     # let _ = headers;
///     Ok(())
/// }
/// ```
pub trait AuthnProvider: fmt::Debug + Send + Sync + 'static {
    /// A valid access token.
    fn token(&self) -> ProviderFuture<'_, Arc<AccessToken>>;

    /// Another access token than `rejected`, which a resource server answered with 401.
    ///
    /// Defaults to what [`token`](Self::token) has. Whoever replays a request compares the two.
    fn renew<'a>(&'a self, rejected: &'a AccessToken) -> ProviderFuture<'a, Arc<AccessToken>> {
        let _ = rejected;
        self.token()
    }

    /// The headers of an authenticated JSON request.
    fn headers(&self) -> ProviderFuture<'_, AuthHeaders> {
        Box::pin(async { Ok(AuthHeaders::new(&*self.token().await?)) })
    }
}

/// Inbound: tells who is calling.
///
/// # Example
///
/// Another rule on top of a verifier: only administrators.
///
/// ```
/// use std::sync::Arc;
/// use midil_auth::jwt::{Claims, VerifyError};
/// use midil_auth::{AuthError, AuthzProvider, ProviderFuture};
///
/// #[derive(Debug)]
/// struct AdminsOnly(Arc<dyn AuthzProvider>);
///
/// impl AuthzProvider for AdminsOnly {
///     fn verify<'a>(&'a self, token: &'a str) -> ProviderFuture<'a, Claims> {
///         Box::pin(async move {
///             let claims = self.0.verify(token).await?;
///             if !claims.has_group("admin") {
///                 return Err(AuthError::Authorization(VerifyError::Group));
///             }
///             Ok(claims)
///         })
///     }
/// }
/// ```
pub trait AuthzProvider: fmt::Debug + Send + Sync + 'static {
    /// The claims of `token`, if it is to be accepted.
    fn verify<'a>(&'a self, token: &'a str) -> ProviderFuture<'a, Claims>;

    /// What [`verify`](Self::verify) says, where it need not wait for that; servers ask this
    /// first, because it costs them no boxed future.
    ///
    /// Defaults to `None`, so that a wrapper that has rules of its own in `verify` is never
    /// passed by.
    fn verify_now(&self, token: &str) -> Option<Result<Claims, AuthError>> {
        let _ = token;
        None
    }
}

impl AuthnProvider for TokenHandle {
    fn token(&self) -> ProviderFuture<'_, Arc<AccessToken>> {
        Box::pin(async {
            match self.current() {
                Ok(token) => Ok(token),
                Err(_) => Ok(self.ready().await?),
            }
        })
    }

    fn renew<'a>(&'a self, rejected: &'a AccessToken) -> ProviderFuture<'a, Arc<AccessToken>> {
        Box::pin(async { Ok(Self::renew(self, rejected).await?) })
    }
}

impl<A: AuthnProvider + ?Sized> AuthnProvider for Arc<A> {
    fn token(&self) -> ProviderFuture<'_, Arc<AccessToken>> {
        (**self).token()
    }

    fn renew<'a>(&'a self, rejected: &'a AccessToken) -> ProviderFuture<'a, Arc<AccessToken>> {
        (**self).renew(rejected)
    }

    fn headers(&self) -> ProviderFuture<'_, AuthHeaders> {
        (**self).headers()
    }
}

impl<P: Profile, C: Send + Sync + 'static> AuthzProvider for Verifier<P, C> {
    fn verify<'a>(&'a self, token: &'a str) -> ProviderFuture<'a, Claims> {
        Box::pin(async move { Ok(Self::verify(self, token).await?.erase()) })
    }

    fn verify_now(&self, token: &str) -> Option<Result<Claims, AuthError>> {
        let verdict = Self::verify_now(self, token)?;
        Some(verdict.map(|claims| claims.erase()).map_err(Into::into))
    }
}

impl<P: Profile, C: Send + Sync + 'static> AuthzProvider for Issuers<P, C> {
    fn verify<'a>(&'a self, token: &'a str) -> ProviderFuture<'a, Claims> {
        Box::pin(async move { Ok(Self::verify(self, token).await?.erase()) })
    }

    fn verify_now(&self, token: &str) -> Option<Result<Claims, AuthError>> {
        let verdict = Self::verify_now(self, token)?;
        Some(verdict.map(|claims| claims.erase()).map_err(Into::into))
    }
}
