//! Feature `axum`: extractors.
//!
//! Two, because claims come to a handler in two ways:
//!
//! - [`Claims`] takes what a [`BearerLayer`](crate::tower::BearerLayer) around the route has left.
//!   It works with any state, since it asks nothing of it.
//! - [`Verified<V>`](Verified) needs no layer: it takes a verifier out of the state (`FromRef`) and
//!   verifies the token itself. Where a layer with that very verifier ran already, it takes what
//!   that has found; what another verifier has found it does not trust, for that has rules of its
//!   own. It is not called `Bearer`, as other crates call a token that nobody has looked at.
//!
//! `Option` of either is for routes that serve anonymous callers, too: `None` without a token; a
//! token that is no good is still refused.
//!
//! ```
//! use axum::Router;
//! use axum::extract::FromRef;
//! use axum::routing::get;
//! use midil_auth::axum::Verified;
//! use midil_auth::bearer::Rejection;
//! use midil_auth::tower::{BearerLayer, require_group};
//! use midil_auth::{Claims, Verifier};
//!
//! #[derive(Clone, FromRef)]
//! struct AppState {
//!     verifier: Verifier,
//! }
//!
//! // Behind a layer.
//! async fn whoami(claims: Claims) -> String {
//!     claims.subject().unwrap_or("nobody").to_owned()
//! }
//!
//! // A demand that depends on the request, in the handler.
//! async fn cancel(claims: Claims) -> Result<&'static str, Rejection> {
//!     claims.require_scope("orders/write")?;
//!     Ok("cancelled")
//! }
//!
//! // Without a layer.
//! async fn greet(caller: Option<Verified>) -> String {
//!     let name = caller.as_ref().and_then(|Verified(claims)| claims.subject());
//!     format!("hello, {}", name.unwrap_or("stranger"))
//! }
//!
//! fn app(verifier: Verifier) -> Router {
//!     Router::new()
//!         .route("/whoami", get(whoami))
//!         .route("/cancel", get(cancel))
//!         // A demand of one route.
//!         .route("/admin", get(|| async { "hello" }).layer(require_group("admin")))
//!         .layer(BearerLayer::new(verifier.clone()))
//!         .route("/greet", get(greet))
//!         .with_state(AppState { verifier })
//! }
//! ```
//!
//! A refusal is a [`Rejection`], which is a response: one that
//! [`on_refusal`](crate::tower::BearerLayer::on_refusal) of a layer around it makes, else an empty
//! one. To answer otherwise without a layer, take a `Result`:
//!
//! ```
//! use axum::response::{IntoResponse, Response};
//! use midil_auth::axum::Verified;
//! use midil_auth::bearer::Rejection;
//!
//! async fn whoami(caller: Result<Verified, Rejection>) -> Response {
//!     match caller {
//!         Ok(Verified(claims)) => format!("{:?}", claims.subject()).into_response(),
//!         Err(rejection) => rejection.into_problem(),
//!     }
//! }
//! ```

use std::fmt;

use axum_core::extract::{FromRef, FromRequestParts, OptionalFromRequestParts};
use axum_core::response::{IntoResponse, Response};
use http::request::Parts;
use http::{HeaderValue, StatusCode, header};

use crate::auth::Health;
use crate::bearer::admission::{
    Finding, TokenVerifier, claims_if_any, claims_of, leave, left_by, look, refuse, refuse_unread,
};
use crate::bearer::{BearerError, Rejection};
use crate::jwt::{Claims, Profile, Verifier};

/// The claims of the caller, by a verifier from the state; needs no layer. See the
/// [module](self).
///
/// `V` is a [`Verifier`], [`Issuers`](crate::jwt::Issuers), or any
/// [`AuthzProvider`](crate::AuthzProvider) in an [`Arc`](std::sync::Arc).
pub struct Verified<V: TokenVerifier = Verifier>(
    /// What the verifier found.
    pub V::Claims,
);

impl<V: TokenVerifier> Verified<V> {
    async fn of(parts: &mut Parts, verifier: V) -> Result<Option<Self>, Rejection> {
        if let Some(claims) = left_by(&parts.extensions, &verifier) {
            return Ok(Some(Self(claims)));
        }
        let claims = match look(&verifier, &parts.headers, &parts.uri, false) {
            Finding::Anonymous => return Ok(None),
            Finding::Refused(rejection) => return Err(rejection),
            Finding::Verified(claims) => claims,
            Finding::Undecided(token) => {
                let verdict = verifier.verdict(token).await;
                verdict.map_err(|error| refuse(&error))?
            }
        };
        // Another extractor of the same handler may want to know.
        leave(&mut parts.extensions, &verifier, claims.clone());
        Ok(Some(Self(claims)))
    }
}

impl<S: Send + Sync, V: TokenVerifier + FromRef<S>> FromRequestParts<S> for Verified<V> {
    type Rejection = Rejection;

    async fn from_request_parts(parts: &mut Parts, state: &S) -> Result<Self, Rejection> {
        let found = Self::of(parts, V::from_ref(state)).await?;
        found.ok_or_else(|| refuse_unread(BearerError::Missing))
    }
}

impl<S: Send + Sync, V: TokenVerifier + FromRef<S>> OptionalFromRequestParts<S> for Verified<V> {
    type Rejection = Rejection;

    async fn from_request_parts(parts: &mut Parts, state: &S) -> Result<Option<Self>, Rejection> {
        Self::of(parts, V::from_ref(state)).await
    }
}

impl<V: TokenVerifier> Clone for Verified<V> {
    fn clone(&self) -> Self {
        Self(self.0.clone())
    }
}

impl<V: TokenVerifier> fmt::Debug for Verified<V>
where
    V::Claims: fmt::Debug,
{
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_tuple("Verified").field(&self.0).finish()
    }
}

/// What a [`BearerLayer`](crate::tower::BearerLayer) around the route has left. Without one the
/// answer is 500, and the log says why: a mistake lets nobody in.
impl<S, P, C> FromRequestParts<S> for Claims<P, C>
where
    S: Send + Sync,
    P: Profile,
    C: Clone + Send + Sync + 'static,
{
    type Rejection = Rejection;

    async fn from_request_parts(parts: &mut Parts, _state: &S) -> Result<Self, Rejection> {
        claims_of::<Self>(&parts.extensions).cloned()
    }
}

/// `None` for a caller whom the layer let in without a token.
impl<S, P, C> OptionalFromRequestParts<S> for Claims<P, C>
where
    S: Send + Sync,
    P: Profile,
    C: Clone + Send + Sync + 'static,
{
    type Rejection = Rejection;

    async fn from_request_parts(parts: &mut Parts, _state: &S) -> Result<Option<Self>, Rejection> {
        Ok(claims_if_any::<Self>(&parts.extensions)?.cloned())
    }
}

impl IntoResponse for Rejection {
    fn into_response(self) -> Response {
        Self::into_response(self)
    }
}

/// A readiness probe in one line: 200 while [`ready`](Health::ready), else 503; the body is the
/// health as JSON, which holds no secret.
///
/// ```
/// # fn app(auth: midil_auth::Auth) -> axum::Router {
/// use axum::routing::get;
///
/// axum::Router::new().route("/ready", get(async move || auth.health()))
/// # }
/// ```
impl IntoResponse for Health {
    fn into_response(self) -> Response {
        let status = match self.ready {
            true => StatusCode::OK,
            false => StatusCode::SERVICE_UNAVAILABLE,
        };
        match serde_json::to_vec(&self) {
            Ok(body) => {
                let json = HeaderValue::from_static("application/json");
                (status, [(header::CONTENT_TYPE, json)], body).into_response()
            }
            Err(_) => StatusCode::INTERNAL_SERVER_ERROR.into_response(),
        }
    }
}
