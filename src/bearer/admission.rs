//! From the head of a request to a verdict on it, waiting only where there is no verdict yet. No
//! framework types.

use std::any::TypeId;
use std::borrow::Cow;
use std::future::Future;
use std::pin::Pin;
use std::sync::Arc;

use http::{Extensions, HeaderMap, Uri, header};
use zeroize::Zeroizing;

use super::{BearerError, Rejection, query_token, token};
use crate::error::AuthError;
use crate::fault;
use crate::jwt::{Claims, Issuers, Profile, Verifier};
use crate::provider::AuthzProvider;

/// Where the log says that this comes from.
const TARGET: &str = "midil_auth::bearer";

/// A verdict that takes time.
pub(crate) type Verdict<C> = Pin<Box<dyn Future<Output = Result<C, AuthError>> + Send>>;

/// What the integrations for servers verify tokens with: a [`Verifier`], [`Issuers`], or any
/// [`AuthzProvider`] in an [`Arc`]. Sealed: a verifier of your own is an `AuthzProvider`.
pub trait TokenVerifier: sealed::Sealed + Clone + Send + Sync + 'static {
    /// What it knows of a token that it accepts.
    type Claims: Clone + Send + Sync + 'static;

    /// The verdict, unless it takes time.
    #[doc(hidden)]
    fn verdict_now(&self, token: &str) -> Option<Result<Self::Claims, AuthError>>;

    /// The verdict.
    #[doc(hidden)]
    fn verdict(&self, token: Zeroizing<String>) -> Verdict<Self::Claims>;

    #[doc(hidden)]
    fn erase(claims: &Self::Claims) -> Claims;

    /// Whether both are the same verifier, and not only alike.
    #[doc(hidden)]
    fn is_same(&self, other: &Self) -> bool;
}

mod sealed {
    use super::{Arc, AuthzProvider, Issuers, Verifier};

    pub trait Sealed {}

    impl<P, C> Sealed for Verifier<P, C> {}
    impl<P, C> Sealed for Issuers<P, C> {}
    impl<A: AuthzProvider + ?Sized> Sealed for Arc<A> {}
}

macro_rules! token_verifiers {
    ($($verifier:ident)*) => {$(
        impl<P: Profile, C: Clone + Send + Sync + 'static> TokenVerifier for $verifier<P, C> {
            type Claims = Claims<P, C>;

            fn verdict_now(&self, token: &str) -> Option<Result<Self::Claims, AuthError>> {
                Some(self.verify_now(token)?.map_err(AuthError::from))
            }

            fn verdict(&self, token: Zeroizing<String>) -> Verdict<Self::Claims> {
                let verifier = self.clone();
                Box::pin(async move { Ok(verifier.verify(&token).await?) })
            }

            fn erase(claims: &Self::Claims) -> Claims {
                claims.erase()
            }

            fn is_same(&self, other: &Self) -> bool {
                Self::is_same(self, other)
            }
        }
    )*};
}

token_verifiers! { Verifier Issuers }

impl<A: AuthzProvider + ?Sized> TokenVerifier for Arc<A> {
    type Claims = Claims;

    fn verdict_now(&self, token: &str) -> Option<Result<Self::Claims, AuthError>> {
        (**self).verify_now(token)
    }

    fn verdict(&self, token: Zeroizing<String>) -> Verdict<Self::Claims> {
        let verifier = Self::clone(self);
        Box::pin(async move { verifier.verify(&token).await })
    }

    fn erase(claims: &Self::Claims) -> Claims {
        claims.clone()
    }

    fn is_same(&self, other: &Self) -> bool {
        Self::ptr_eq(self, other)
    }
}

/// What the head of a request is worth.
pub(crate) enum Finding<C> {
    /// No token.
    Anonymous,
    Refused(Rejection),
    Verified(C),
    /// A token that there is no verdict on yet.
    Undecided(Zeroizing<String>),
}

/// Looks at a request. The token may also be in the query if `query` says so.
pub(crate) fn look<V: TokenVerifier>(
    verifier: &V,
    headers: &HeaderMap,
    uri: &Uri,
    query: bool,
) -> Finding<V::Claims> {
    let token = match read(headers, uri, query) {
        Ok(token) => token,
        Err(BearerError::Missing) => return Finding::Anonymous,
        Err(error) => return Finding::Refused(refuse_unread(error)),
    };
    match verifier.verdict_now(&token) {
        Some(Ok(claims)) => Finding::Verified(claims),
        Some(Err(error)) => Finding::Refused(refuse(&error)),
        None => Finding::Undecided(Zeroizing::new(token.into_owned())),
    }
}

fn read<'a>(
    headers: &'a HeaderMap,
    uri: &'a Uri,
    query: bool,
) -> Result<Cow<'a, str>, BearerError> {
    let in_header = token(headers).map(Cow::Borrowed);
    if !query {
        return in_header;
    }
    match (in_header, query_token(uri)) {
        (in_header, Err(BearerError::Missing)) => in_header,
        (Err(BearerError::Missing), in_query) => in_query,
        // One method at a time (RFC 6750 §2).
        _ => Err(BearerError::Repeated),
    }
}

/// The answer to a request whose token is not accepted; says so in one bounded line of the log,
/// without the token.
pub(crate) fn refuse(error: &AuthError) -> Rejection {
    let rejection = Rejection::from(error);
    log(&rejection, &error);
    rejection
}

/// As [`refuse`], of a request with no token that could be looked at.
pub(crate) fn refuse_unread(error: BearerError) -> Rejection {
    let rejection = Rejection::from(error);
    log(&rejection, &error);
    rejection
}

/// The application's own words may be in the error, so it is bounded here.
fn log(rejection: &Rejection, error: &dyn std::error::Error) {
    tracing::info!(
        target: TARGET,
        status = rejection.status().as_u16(),
        reason = rejection.reason(),
        error = %fault::printable(&error.to_string()),
        "request refused"
    );
}

/// The answer to a request for what nobody has verified anything for: a mistake in how the service
/// is put together, which must not let anybody in.
fn misconfigured(wanted: &'static str) -> Rejection {
    tracing::error!(
        target: TARGET,
        wanted,
        "no claims to go by: put a `BearerLayer` around this route, of a verifier of that kind"
    );
    Rejection::misconfigured()
}

/// Leaves in a request what its handler may want to know.
pub(crate) fn leave<V: TokenVerifier>(
    extensions: &mut Extensions,
    verifier: &V,
    claims: V::Claims,
) {
    if TypeId::of::<V::Claims>() != TypeId::of::<Claims>() {
        extensions.insert(V::erase(&claims));
    }
    #[cfg(feature = "axum")]
    extensions.insert(Proof {
        verifier: verifier.clone(),
        claims: claims.clone(),
    });
    #[cfg(not(feature = "axum"))]
    let _ = verifier;
    extensions.insert(claims);
}

/// What one verifier found, for an extractor that would ask the same one again.
#[cfg(feature = "axum")]
#[derive(Clone)]
pub(crate) struct Proof<V: TokenVerifier> {
    verifier: V,
    claims: V::Claims,
}

/// What this very verifier has left in a request. What another left is nothing to go by: it has
/// rules of its own.
#[cfg(feature = "axum")]
pub(crate) fn left_by<V: TokenVerifier>(
    extensions: &Extensions,
    verifier: &V,
) -> Option<V::Claims> {
    let proof: &Proof<V> = extensions.get()?;
    proof
        .verifier
        .is_same(verifier)
        .then(|| proof.claims.clone())
}

/// In a request that was let in without a token.
#[derive(Clone, Copy)]
pub(crate) struct Anonymous;

/// The claims that were left in a request; `None` in one that was let in without a token.
pub(crate) fn claims_if_any<C: Send + Sync + 'static>(
    extensions: &Extensions,
) -> Result<Option<&C>, Rejection> {
    let claims = extensions.get();
    if claims.is_none() && extensions.get::<Anonymous>().is_none() {
        return Err(misconfigured(std::any::type_name::<C>()));
    }
    Ok(claims)
}

/// The claims that were left in a request; 401 for one that was let in without a token.
pub(crate) fn claims_of<C: Send + Sync + 'static>(
    extensions: &Extensions,
) -> Result<&C, Rejection> {
    claims_if_any(extensions)?.ok_or_else(|| refuse_unread(BearerError::Missing))
}

/// The content type of the answer to a gRPC call; `None` for every other request.
pub(crate) fn grpc_type(headers: &HeaderMap) -> Option<&'static str> {
    let stated = headers.get(header::CONTENT_TYPE)?.as_bytes();
    // The longest first.
    [
        "application/grpc-web-text",
        "application/grpc-web",
        "application/grpc",
    ]
    .into_iter()
    .find(|known| {
        let prefix = stated.get(..known.len());
        prefix.is_some_and(|prefix| prefix.eq_ignore_ascii_case(known.as_bytes()))
    })
}
