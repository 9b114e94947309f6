//! Inbound: who is calling.

use std::fmt;
use std::sync::Arc;
use std::task::{Context, Poll};

use http::{Method, Request, Response, Uri, header};
use tower_layer::Layer;
use tower_service::Service;

use super::future::{Answer, BearerFuture, Held};
use super::{Refuse, answer};
use crate::bearer::admission::{Anonymous, Finding, TokenVerifier, leave, look, refuse_unread};
use crate::bearer::{BearerError, Rejection};
use crate::jwt::Verifier;

/// Lets in only requests with a good bearer token, and tells them who is calling.
///
/// `V` is a [`Verifier`], [`Issuers`](crate::jwt::Issuers), or any
/// [`AuthzProvider`](crate::AuthzProvider) in an [`Arc`]; `B` is the body of responses. What the
/// verifier finds is in the extensions of every request that is let in: as
/// [`Claims`](crate::Claims) always, and also as `Claims<P, C>` where the verifier is of another
/// kind of token or reads claims into a type of the application's own. The header is marked
/// sensitive, so that `Debug` of the request does not show the token.
///
/// See the [module](super) for an example and the answers.
pub struct BearerLayer<V = Verifier, B = String> {
    verifier: V,
    optional: bool,
    query: bool,
    except: Option<Except>,
    pub(super) refuse: Option<Refuse<B>>,
}

type Except = Arc<dyn Fn(&Method, &Uri) -> bool + Send + Sync>;

impl<V: TokenVerifier, B: Default> BearerLayer<V, B> {
    /// Only requests with a token that `verifier` accepts.
    #[must_use]
    pub fn new(verifier: V) -> Self {
        Self {
            verifier,
            optional: false,
            query: false,
            except: None,
            refuse: None,
        }
    }
}

impl<V, B> BearerLayer<V, B> {
    /// Lets in requests without a token, too; they carry no claims. A token that is there must
    /// still be good: who sends one wants to know that it is not.
    ///
    /// Defaults to a 401.
    #[must_use]
    pub const fn optional(mut self) -> Self {
        self.optional = true;
        self
    }

    /// Takes the token also from the query parameter `access_token`; such responses say
    /// `Cache-Control: private` (RFC 6750 §2.3). Think twice: see
    /// [`query_token`](crate::bearer::query_token).
    ///
    /// Defaults to the header alone. A token in the body is never looked at.
    #[must_use]
    pub const fn allow_query(mut self) -> Self {
        self.query = true;
        self
    }

    /// Lets in requests of which this is true without looking for a token, such as those of a
    /// load balancer: `|_, uri| uri.path() == "/health"`. They carry no claims. Compare whole
    /// paths: what is excepted by a prefix may be more than meant.
    ///
    /// Defaults to none.
    #[must_use]
    pub fn except(
        mut self,
        except: impl Fn(&Method, &Uri) -> bool + Send + Sync + 'static,
    ) -> Self {
        self.except = Some(Arc::new(except));
        self
    }

    /// How refusals are answered; [`Rejection::into_problem`] is one way, for bodies that can be
    /// made of a `String`, as axum's. This holds for what guards, extractors and handlers behind
    /// the layer refuse, too, where their response is nothing but a [`Rejection`]. gRPC calls are
    /// always answered by [`Rejection::into_grpc`].
    ///
    /// Defaults to [`Rejection::into_response`], an empty body.
    ///
    /// ```
    /// use http::Response;
    /// use midil_auth::bearer::Rejection;
    /// use midil_auth::tower::BearerLayer;
    /// # use midil_auth::testing::MockAuthz;
    /// # let verifier = std::sync::Arc::new(MockAuthz::new("good", serde_json::json!({})));
    /// # let verifier2 = verifier.clone();
    ///
    /// // A problem of RFC 9457 as the body …
    /// let layer = BearerLayer::<_, String>::new(verifier).on_refusal(Rejection::into_problem);
    /// # let verifier = verifier2;
    /// // … or what you like.
    /// let layer = BearerLayer::new(verifier).on_refusal(|rejection| -> Response<String> {
    ///     let sorry = format!("sorry: {}", rejection.error().unwrap_or("no token"));
    ///     rejection.into_response::<()>().map(|()| sorry)
    /// });
    /// ```
    #[must_use]
    pub fn on_refusal(
        mut self,
        refuse: impl Fn(Rejection) -> Response<B> + Send + Sync + 'static,
    ) -> Self {
        self.refuse = Some(Arc::new(refuse));
        self
    }
}

impl<S, V: TokenVerifier, B> Layer<S> for BearerLayer<V, B> {
    type Service = BearerService<S, V, B>;

    fn layer(&self, inner: S) -> Self::Service {
        BearerService {
            inner,
            layer: Arc::new(self.clone()),
        }
    }
}

impl<V: Clone, B> Clone for BearerLayer<V, B> {
    fn clone(&self) -> Self {
        Self {
            verifier: self.verifier.clone(),
            optional: self.optional,
            query: self.query,
            except: self.except.clone(),
            refuse: self.refuse.clone(),
        }
    }
}

impl<V, B> fmt::Debug for BearerLayer<V, B> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("BearerLayer")
            .field("optional", &self.optional)
            .field("query", &self.query)
            .finish_non_exhaustive()
    }
}

/// A service behind a [`BearerLayer`].
pub struct BearerService<S, V = Verifier, B = String> {
    inner: S,
    layer: Arc<BearerLayer<V, B>>,
}

impl<S, V, Q, B> Service<Request<Q>> for BearerService<S, V, B>
where
    S: Service<Request<Q>, Response = Response<B>> + Clone,
    V: TokenVerifier,
    B: Default,
{
    type Response = Response<B>;
    type Error = S::Error;
    type Future = BearerFuture<S, V, Q, B>;

    fn poll_ready(&mut self, context: &mut Context<'_>) -> Poll<Result<(), Self::Error>> {
        self.inner.poll_ready(context)
    }

    fn call(&mut self, request: Request<Q>) -> Self::Future {
        let layer = &*self.layer;
        let excepted = |except: &Except| except(request.method(), request.uri());
        let finding = if layer.except.as_ref().is_some_and(excepted) {
            return BearerFuture::decided(pass(layer, &mut self.inner, request, None));
        } else {
            look(
                &layer.verifier,
                request.headers(),
                request.uri(),
                layer.query,
            )
        };
        let rejection = match finding {
            Finding::Verified(claims) => {
                return BearerFuture::decided(pass(layer, &mut self.inner, request, Some(claims)));
            }
            Finding::Anonymous if layer.optional => {
                return BearerFuture::decided(pass(layer, &mut self.inner, request, None));
            }
            Finding::Undecided(token) => {
                // The one that was polled ready is the one that is called.
                let next = self.inner.clone();
                let held = Held {
                    service: std::mem::replace(&mut self.inner, next),
                    layer: Arc::clone(&self.layer),
                    request,
                };
                return BearerFuture::waiting(layer.verifier.verdict(token), held);
            }
            Finding::Anonymous => refuse_unread(BearerError::Missing),
            Finding::Refused(rejection) => rejection,
        };
        let response = answer(rejection, request.headers(), layer.refuse.as_ref());
        BearerFuture::decided(Answer::refused(response))
    }
}

/// Lets a request in, with the claims of its token if it brought one.
pub(super) fn pass<S, V, Q, B>(
    layer: &BearerLayer<V, B>,
    service: &mut S,
    mut request: Request<Q>,
    claims: Option<V::Claims>,
) -> Answer<S::Future, B>
where
    S: Service<Request<Q>>,
    V: TokenVerifier,
{
    let private =
        layer.query && claims.is_some() && !request.headers().contains_key(header::AUTHORIZATION);
    // Whoever prints the request must not print the token.
    if let Some(value) = request.headers_mut().get_mut(header::AUTHORIZATION) {
        value.set_sensitive(true);
    }
    let extensions = request.extensions_mut();
    match claims {
        Some(claims) => leave(extensions, &layer.verifier, claims),
        None => {
            extensions.insert(Anonymous);
        }
    }
    Answer::Passed {
        future: service.call(request),
        private,
        refuse: layer.refuse.clone(),
    }
}

impl<S: Clone, V, B> Clone for BearerService<S, V, B> {
    fn clone(&self) -> Self {
        Self {
            inner: self.inner.clone(),
            layer: Arc::clone(&self.layer),
        }
    }
}

impl<S: fmt::Debug, V, B> fmt::Debug for BearerService<S, V, B> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("BearerService")
            .field("inner", &self.inner)
            .finish_non_exhaustive()
    }
}
