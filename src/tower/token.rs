//! Outbound: the current token on every request.

use std::error::Error;
use std::fmt;
use std::future::{Future, poll_fn};
use std::pin::Pin;
use std::sync::Arc;
use std::task::{Context, Poll};

use http::{Request, Response, header};
use tower_layer::Layer;
use tower_service::Service;

use crate::bearer::Origins;
use crate::bearer::attach::{Attach, is_rejection};
use crate::provider::AuthnProvider;

/// Puts the current access token on the requests of a client.
///
/// - Only on requests to the listed [`Origins`]; all others pass as they are. A request whose URI
///   names no origin gets no token: with tonic, make the client by `with_origin`.
/// - A request with an `Authorization` of its own passes as it is.
/// - Where a token is due and there is none, the request fails with the
///   [`AuthError`](crate::AuthError) that says why; it is never sent without.
/// - After a 401 (or gRPC's `UNAUTHENTICATED` without a body) another token is asked for, once
///   however many requests were refused ([`TokenHandle::renew`](crate::TokenHandle::renew)). The
///   request is replayed once if its body can be had again: see [`replay`](Self::replay).
///
/// The layer belongs directly around the transport, beneath whatever follows redirects: then every
/// hop is looked at by itself, and a redirect to another origin goes without the token.
///
/// ```
/// use http::Request;
/// use http_body_util::Full;
/// use hyper_util::client::legacy::Client;
/// use hyper_util::rt::TokioExecutor;
/// use midil_auth::bearer::Origins;
/// use midil_auth::tower::TokenLayer;
/// use midil_auth::TokenHandle;
/// use tower::{ServiceBuilder, ServiceExt};
///
/// type Body = Full<bytes::Bytes>;
///
/// async fn call(token: TokenHandle) -> Result<(), Box<dyn std::error::Error + Send + Sync>> {
///     let origins = Origins::new(["https://inventory.example.com"])?;
///     let mut client = ServiceBuilder::new()
///         .layer(TokenLayer::new(token, origins).replay(|body: &Body| Some(body.clone())))
///         .service(Client::builder(TokioExecutor::new()).build_http());
///     let request = Request::get("https://inventory.example.com/items").body(Body::default())?;
///     let response = client.ready().await?.call(request).await?;
///     # let _ = response;
///     Ok(())
/// }
/// # use tower::Service;
/// ```
pub struct TokenLayer<Q = ()> {
    attach: Arc<Attach>,
    replay: Option<Replay<Q>>,
}

type Replay<Q> = Arc<dyn Fn(&Q) -> Option<Q> + Send + Sync>;

impl<Q> TokenLayer<Q> {
    /// The token of `provider`, such as a [`TokenHandle`](crate::TokenHandle), on requests to
    /// `origins`.
    #[must_use]
    pub fn new(provider: impl AuthnProvider, origins: Origins) -> Self {
        Self {
            attach: Arc::new(Attach::new(provider, origins)),
            replay: None,
        }
    }

    /// How the body of a request is had again for a replay, `None` where it cannot.
    ///
    /// Defaults to no replay, since not every body can be cloned: a 401 is then passed on, and the
    /// next request carries another token.
    #[must_use]
    pub fn replay(mut self, again: impl Fn(&Q) -> Option<Q> + Send + Sync + 'static) -> Self {
        self.replay = Some(Arc::new(again));
        self
    }
}

impl<S, Q> Layer<S> for TokenLayer<Q> {
    type Service = TokenService<S, Q>;

    fn layer(&self, inner: S) -> Self::Service {
        TokenService {
            inner,
            layer: self.clone(),
        }
    }
}

impl<Q> Clone for TokenLayer<Q> {
    fn clone(&self) -> Self {
        Self {
            attach: Arc::clone(&self.attach),
            replay: self.replay.clone(),
        }
    }
}

impl<Q> fmt::Debug for TokenLayer<Q> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("TokenLayer")
            .field("origins", &self.attach.origins)
            .finish_non_exhaustive()
    }
}

/// A client behind a [`TokenLayer`].
pub struct TokenService<S, Q = ()> {
    inner: S,
    layer: TokenLayer<Q>,
}

/// The response of a [`TokenService`], or the error of the client, or the
/// [`AuthError`](crate::AuthError) that kept the request from being sent.
pub struct TokenFuture<R>(Pin<Box<dyn Future<Output = Result<R, BoxError>> + Send>>);

type BoxError = Box<dyn Error + Send + Sync>;

impl<S, Q, B> Service<Request<Q>> for TokenService<S, Q>
where
    S: Service<Request<Q>, Response = Response<B>> + Clone + Send + 'static,
    S::Error: Into<BoxError>,
    S::Future: Send,
    Q: Send + 'static,
    B: Send + 'static,
{
    type Response = Response<B>;
    type Error = BoxError;
    type Future = TokenFuture<Response<B>>;

    fn poll_ready(&mut self, context: &mut Context<'_>) -> Poll<Result<(), Self::Error>> {
        self.inner.poll_ready(context).map_err(Into::into)
    }

    fn call(&mut self, request: Request<Q>) -> Self::Future {
        // The one that was polled ready is the one that is called.
        let next = self.inner.clone();
        let service = std::mem::replace(&mut self.inner, next);
        TokenFuture(Box::pin(self.layer.clone().send(service, request)))
    }
}

impl<Q> TokenLayer<Q> {
    async fn send<S, B>(
        self,
        mut service: S,
        mut request: Request<Q>,
    ) -> Result<Response<B>, BoxError>
    where
        S: Service<Request<Q>, Response = Response<B>>,
        S::Error: Into<BoxError>,
    {
        let allowed = self.attach.origins.allows(request.uri());
        let token = self.attach.put(request.headers_mut(), allowed).await?;
        let Some(token) = token else {
            return service.call(request).await.map_err(Into::into);
        };
        let again = self.again(&request);
        let response = service.call(request).await.map_err(Into::into)?;
        if !is_rejection(response.status(), response.headers()) {
            return Ok(response);
        }
        let Some(mut again) = again else {
            self.attach.ask_for_another(&token);
            return Ok(response);
        };
        let Some(another) = self.attach.another(&token).await else {
            return Ok(response);
        };
        // The connection may be needed for the replay.
        drop(response);
        again
            .headers_mut()
            .insert(header::AUTHORIZATION, another.authorization());
        poll_fn(|context| service.poll_ready(context))
            .await
            .map_err(Into::into)?;
        service.call(again).await.map_err(Into::into)
    }

    /// The same request once more, if its body can be had again.
    fn again(&self, request: &Request<Q>) -> Option<Request<Q>> {
        let body = self.replay.as_ref()?(request.body())?;
        let mut again = Request::new(body);
        *again.method_mut() = request.method().clone();
        *again.uri_mut() = request.uri().clone();
        *again.version_mut() = request.version();
        *again.headers_mut() = request.headers().clone();
        *again.extensions_mut() = request.extensions().clone();
        Some(again)
    }
}

impl<R> Future for TokenFuture<R> {
    type Output = Result<R, BoxError>;

    fn poll(mut self: Pin<&mut Self>, context: &mut Context<'_>) -> Poll<Self::Output> {
        self.0.as_mut().poll(context)
    }
}

impl<R> fmt::Debug for TokenFuture<R> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("TokenFuture").finish_non_exhaustive()
    }
}

impl<S: Clone, Q> Clone for TokenService<S, Q> {
    fn clone(&self) -> Self {
        Self {
            inner: self.inner.clone(),
            layer: self.layer.clone(),
        }
    }
}

impl<S: fmt::Debug, Q> fmt::Debug for TokenService<S, Q> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("TokenService")
            .field("inner", &self.inner)
            .finish_non_exhaustive()
    }
}
