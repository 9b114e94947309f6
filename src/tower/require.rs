//! Inbound: what single routes demand of callers that are known already.

use std::fmt;
use std::sync::Arc;
use std::task::{Context, Poll};

use http::{Request, Response};
use tower_layer::Layer;
use tower_service::Service;

use super::future::{Answer, RequireFuture};
use super::{Refuse, answer};
use crate::bearer::Rejection;
use crate::bearer::admission::{claims_of, refuse};
use crate::error::AuthError;
use crate::jwt::{Claims, Refusal, VerifyError};

/// Lets in only callers to whom this scope was granted; 403 for the others.
///
/// ```
/// use axum::Router;
/// use axum::routing::get;
/// use midil_auth::Verifier;
/// use midil_auth::tower::{BearerLayer, require_any_group, require_scope};
///
/// fn app(verifier: Verifier) -> Router {
///     let write = get(|| async { "written" }).layer(require_scope("orders/write"));
///     let admin = get(|| async { "hello" }).layer(require_any_group(["admin", "support"]));
///     Router::new()
///         .route("/write", write)
///         .route("/admin", admin)
///         .layer(BearerLayer::new(verifier))
/// }
/// ```
#[must_use]
pub fn require_scope<B: Default>(scope: impl Into<String>) -> RequireLayer<B> {
    require_any_scope([scope])
}

/// Lets in only callers to whom one of these scopes was granted; 403 for the others. For all of
/// several, add a layer for each.
#[must_use]
pub fn require_any_scope<B: Default, S: Into<String>>(
    scopes: impl IntoIterator<Item = S>,
) -> RequireLayer<B> {
    let scopes: Vec<String> = scopes.into_iter().map(Into::into).collect();
    RequireLayer::new(move |claims| claims.require_any_scope(&scopes))
}

/// Lets in only callers in this group; 403 for the others.
#[must_use]
pub fn require_group<B: Default>(group: impl Into<String>) -> RequireLayer<B> {
    require_any_group([group])
}

/// Lets in only callers in one of these groups; 403 for the others. For all of several, add a
/// layer for each.
#[must_use]
pub fn require_any_group<B: Default, S: Into<String>>(
    groups: impl IntoIterator<Item = S>,
) -> RequireLayer<B> {
    let groups: Vec<String> = groups.into_iter().map(Into::into).collect();
    RequireLayer::new(move |claims| claims.require_any_group(&groups))
}

/// Lets in only callers whose claims pass a check of your own.
///
/// ```
/// use midil_auth::jwt::Refusal;
/// use midil_auth::tower::{RequireLayer, require};
///
/// let layer: RequireLayer = require(|claims| match claims.email() {
///     Some(email) if email.ends_with("@example.com") => Ok(()),
///     _ => Err(Refusal::forbidden("for staff only")),
/// });
/// ```
#[must_use]
pub fn require<B: Default>(
    check: impl Fn(&Claims) -> Result<(), Refusal> + Send + Sync + 'static,
) -> RequireLayer<B> {
    RequireLayer::new(move |claims| check(claims).map_err(VerifyError::Refused))
}

/// What a route demands of the claims that a [`BearerLayer`](super::BearerLayer) around it has
/// left; from [`require_scope`] and its like.
///
/// A caller whom that layer let in without a token ([`optional`](super::BearerLayer::optional)) is
/// answered with 401. Without such a layer nobody is let in: the answer is 500, and the log says
/// why.
pub struct RequireLayer<B = String> {
    check: Arc<Check>,
    refuse: Option<Refuse<B>>,
}

type Check = dyn Fn(&Claims) -> Result<(), VerifyError> + Send + Sync;

impl<B: Default> RequireLayer<B> {
    fn new(check: impl Fn(&Claims) -> Result<(), VerifyError> + Send + Sync + 'static) -> Self {
        Self {
            check: Arc::new(check),
            refuse: None,
        }
    }
}

impl<B> RequireLayer<B> {
    /// How the refusals of this route are answered, as
    /// [`BearerLayer::on_refusal`](super::BearerLayer::on_refusal).
    ///
    /// Defaults to the way of the layer around it.
    #[must_use]
    pub fn on_refusal(
        mut self,
        refuse: impl Fn(Rejection) -> Response<B> + Send + Sync + 'static,
    ) -> Self {
        self.refuse = Some(Arc::new(refuse));
        self
    }

    fn judge(&self, extensions: &http::Extensions) -> Result<(), Rejection> {
        let claims: &Claims = claims_of(extensions)?;
        (self.check)(claims).map_err(|error| refuse(&AuthError::from(error)))
    }
}

impl<S, B> Layer<S> for RequireLayer<B> {
    type Service = RequireService<S, B>;

    fn layer(&self, inner: S) -> Self::Service {
        RequireService {
            inner,
            layer: self.clone(),
        }
    }
}

impl<B> Clone for RequireLayer<B> {
    fn clone(&self) -> Self {
        Self {
            check: Arc::clone(&self.check),
            refuse: self.refuse.clone(),
        }
    }
}

impl<B> fmt::Debug for RequireLayer<B> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("RequireLayer").finish_non_exhaustive()
    }
}

/// A service behind a [`RequireLayer`].
pub struct RequireService<S, B = String> {
    inner: S,
    layer: RequireLayer<B>,
}

impl<S, Q, B> Service<Request<Q>> for RequireService<S, B>
where
    S: Service<Request<Q>, Response = Response<B>>,
    B: Default,
{
    type Response = Response<B>;
    type Error = S::Error;
    type Future = RequireFuture<S::Future, B>;

    fn poll_ready(&mut self, context: &mut Context<'_>) -> Poll<Result<(), Self::Error>> {
        self.inner.poll_ready(context)
    }

    fn call(&mut self, request: Request<Q>) -> Self::Future {
        let answer = match self.layer.judge(request.extensions()) {
            Ok(()) => Answer::passed(self.inner.call(request)),
            Err(rejection) => Answer::refused(answer(
                rejection,
                request.headers(),
                self.layer.refuse.as_ref(),
            )),
        };
        RequireFuture { answer }
    }
}

impl<S: Clone, B> Clone for RequireService<S, B> {
    fn clone(&self) -> Self {
        Self {
            inner: self.inner.clone(),
            layer: self.layer.clone(),
        }
    }
}

impl<S: fmt::Debug, B> fmt::Debug for RequireService<S, B> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("RequireService")
            .field("inner", &self.inner)
            .finish_non_exhaustive()
    }
}
