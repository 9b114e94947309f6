//! Feature `tower`: layers for anything that is a tower service of `http` requests, such as axum,
//! tonic, hyper and their clients.
//!
//! # Inbound
//!
//! [`BearerLayer`] reads the one `Authorization` header (RFC 6750), verifies the token and puts
//! [`Claims`](crate::Claims) into the extensions of the request; whoever brings none that is good
//! is answered. [`require_scope`], [`require_group`] and the others demand more of single routes.
//!
//! ```
//! use http::{Request, Response};
//! use midil_auth::tower::{BearerLayer, require_scope};
//! use midil_auth::{Auth, Claims, Verifier};
//! use tower::{ServiceBuilder, ServiceExt, service_fn};
//!
//! # #[tokio::main(flavor = "current_thread")]
//! # async fn main() -> Result<(), Box<dyn std::error::Error>> {
//! # let issuer = midil_auth::testing::TestIssuer::start().await?;
//! # let url = issuer.url();
//! # let token = issuer.mint(serde_json::json!({"sub": "ada", "aud": "orders", "scope": "read"}));
//! let auth = Auth::start().await?;
//! let verifier = auth.verifier(Verifier::builder(url).audience("orders")).await?;
//!
//! let service = ServiceBuilder::new()
//!     .layer(BearerLayer::new(verifier))
//!     .layer(require_scope("read"))
//!     .service_fn(async |request: Request<String>| {
//!         let claims = request.extensions().get::<Claims>().and_then(Claims::subject);
//!         Ok::<_, std::convert::Infallible>(Response::new(format!("hello, {claims:?}")))
//!     });
//!
//! let request = Request::get("/").header("authorization", format!("Bearer {token}"));
//! let response = service.clone().oneshot(request.body(String::new())?).await?;
//! assert_eq!(response.body(), "hello, Some(\"ada\")");
//!
//! let response = service.oneshot(Request::new(String::new())).await?;
//! assert_eq!(response.status(), 401);
//! assert_eq!(response.headers()["www-authenticate"], "Bearer");
//! # Ok(())
//! # }
//! ```
//!
//! | answer | when | headers |
//! |---|---|---|
//! | 400 | a malformed header, two of them, a token in two places | `WWW-Authenticate: Bearer error="invalid_request"` |
//! | 401 | no token | `WWW-Authenticate: Bearer` |
//! | 401 | a token that is no good | `WWW-Authenticate: Bearer error="invalid_token"` |
//! | 403 | a good one that may not | `WWW-Authenticate: Bearer error="insufficient_scope", scope="…"` |
//! | 503 | no verdict, because the keys are not to be had | `Retry-After` |
//! | 500 | a route demands claims, and no layer verified any | |
//!
//! The body is empty; [`on_refusal`](BearerLayer::on_refusal) changes that, for what the guards and
//! extractors within refuse, too. A gRPC call, told by its content type, is answered as gRPC wants
//! it: status 200 and `grpc-status` 16, 7, 14 or 13, so that a tonic client sees `Unauthenticated`,
//! `PermissionDenied`, `Unavailable` or `Internal`. A proxy that asks by the status alone whom to
//! let in, such as nginx with `auth_request`, would take that 200 for a yes: answer it from a
//! handler with the extractor of the feature `axum`, not from behind this layer.
//!
//! A refusal is one line of the log at INFO, `request refused`, with the fields `status`, `reason`
//! (a stable label) and `error`; it never holds the token, and is bounded. Nothing is logged of
//! requests that are let in.
//!
//! What a request costs: reading the header, the verdict, and the extensions. A token whose
//! verdict takes no waiting, as all do but those of an unknown key, costs no boxed future and no
//! message to an actor.
//!
//! # Outbound
//!
//! [`TokenLayer`] puts the current token on requests of a client, to the listed origins only.

mod bearer;
mod future;
mod require;
mod token;

pub use bearer::{BearerLayer, BearerService};
pub use future::{BearerFuture, RequireFuture};
pub use require::{
    RequireLayer, RequireService, require, require_any_group, require_any_scope, require_group,
    require_scope,
};
pub use token::{TokenFuture, TokenLayer, TokenService};

pub use crate::bearer::admission::TokenVerifier;

use std::sync::Arc;

use http::{HeaderMap, HeaderValue, Response, header};

use crate::bearer::Rejection;
use crate::bearer::admission::grpc_type;

/// How refusals are answered over plain HTTP, if not by an empty body.
type Refuse<B> = Arc<dyn Fn(Rejection) -> Response<B> + Send + Sync>;

/// The response to a request with these headers.
fn answer<B: Default>(
    rejection: Rejection,
    headers: &HeaderMap,
    refuse: Option<&Refuse<B>>,
) -> Response<B> {
    match (grpc_type(headers), refuse) {
        (None, None) => rejection.into_response(),
        (None, Some(refuse)) => dressed(rejection, refuse),
        (Some(content_type), _) => {
            let mut response = rejection.into_grpc();
            let content_type = HeaderValue::from_static(content_type);
            response
                .headers_mut()
                .insert(header::CONTENT_TYPE, content_type);
            response
        }
    }
}

/// The response that the application wants; no layer further out is to change it again.
fn dressed<B>(rejection: Rejection, refuse: &Refuse<B>) -> Response<B> {
    let mut response = refuse(rejection);
    response.extensions_mut().remove::<Rejection>();
    response
}

/// Dresses a refusal that came from within, keeping the headers that others have put there.
fn dress<B>(response: &mut Response<B>, refuse: &Refuse<B>) {
    let Some(rejection) = response.extensions_mut().remove() else {
        return;
    };
    let (head, body) = dressed(rejection, refuse).into_parts();
    *response.status_mut() = head.status;
    *response.body_mut() = body;
    let headers = response.headers_mut();
    // That of the empty body.
    headers.remove(header::CONTENT_LENGTH);
    for name in head.headers.keys() {
        headers.remove(name);
    }
    headers.extend(head.headers);
    response.extensions_mut().extend(head.extensions);
}
