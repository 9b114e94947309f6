//! Feature `reqwest-middleware`: the current token on every request of a
//! `reqwest_middleware` client.
//!
//! ```
//! use midil_auth::TokenHandle;
//! use midil_auth::bearer::Origins;
//! use midil_auth::reqwest_middleware::TokenMiddleware;
//! use reqwest_middleware::{ClientBuilder, ClientWithMiddleware};
//!
//! fn client(token: TokenHandle) -> Result<ClientWithMiddleware, Box<dyn std::error::Error>> {
//!     let origins = Origins::new(["https://inventory.example.com"])?;
//!     let client = ClientBuilder::new(reqwest::Client::new())
//!         .with(TokenMiddleware::new(token, origins))
//!         .build();
//!     Ok(client)
//! }
//! ```
//!
//! With plain reqwest, and no feature, it is one line to each request:
//!
//! ```
//! # fn f(client: reqwest::Client, token: midil_auth::TokenHandle, url: &str)
//! #     -> Result<(), midil_auth::oauth2::TokenError> {
//! let request = client.get(url).header("authorization", token.authorization()?);
//! # let _ = request;
//! # Ok(())
//! # }
//! ```
//!
//! or, together with `Content-Type: application/json`, `.headers(token.headers()?.into())`.
//!
//! # Redirects
//!
//! reqwest follows them beneath its middleware, and takes `Authorization` off a request that goes
//! to another scheme, host or port than the one before it; it does not come back on a later hop.
//! So a redirect within an origin keeps the token, and every other loses it. A redirect from an
//! origin that is not listed to one that is gets no token either.

use std::fmt;
use std::future::Future;
use std::pin::Pin;

use http::{Extensions, header};
use reqwest::{Request, Response};
use reqwest_middleware::{Error, Middleware, Next, Result};

use crate::bearer::Origins;
use crate::bearer::attach::{Attach, is_rejection};
use crate::provider::AuthnProvider;

/// Puts the current access token on the requests of a client.
///
/// - Only on requests to the listed [`Origins`]; all others pass as they are.
/// - A request with an `Authorization` of its own passes as it is.
/// - Where a token is due and there is none, the request fails with the
///   [`AuthError`](crate::AuthError) that says why, in
///   [`Error::Middleware`]; it is never sent without.
/// - After a 401 another token is asked for, once however many requests were refused
///   ([`TokenHandle::renew`](crate::TokenHandle::renew)), and the request is replayed once. One
///   with a streaming body cannot be: its 401 is passed on, and the next request carries another
///   token.
///
/// Add it last, so that whatever retries is around it and has the newest token each time.
///
/// See the [module](self) for an example.
pub struct TokenMiddleware(Attach);

impl TokenMiddleware {
    /// The token of `provider`, such as a [`TokenHandle`](crate::TokenHandle), on requests to
    /// `origins`.
    #[must_use]
    pub fn new(provider: impl AuthnProvider, origins: Origins) -> Self {
        Self(Attach::new(provider, origins))
    }

    async fn send(
        &self,
        mut request: Request,
        extensions: &mut Extensions,
        next: Next<'_>,
    ) -> Result<Response> {
        let Self(attach) = self;
        let allowed = attach.origins.allows_url(request.url());
        let token = attach.put(request.headers_mut(), allowed).await;
        let Some(token) = token.map_err(Error::middleware)? else {
            return next.run(request, extensions).await;
        };
        let origin = request.url().origin();
        let again = request.try_clone();
        let response = next.clone().run(request, extensions).await?;
        // One from another origin, to which a redirect led, has not seen the token.
        let judged = response.url().origin() == origin;
        if !judged || !is_rejection(response.status(), response.headers()) {
            return Ok(response);
        }
        let Some(mut again) = again else {
            attach.ask_for_another(&token);
            return Ok(response);
        };
        let Some(another) = attach.another(&token).await else {
            return Ok(response);
        };
        // The connection may be needed for the replay.
        drop(response);
        again
            .headers_mut()
            .insert(header::AUTHORIZATION, another.authorization());
        next.run(again, extensions).await
    }
}

// What `async_trait` makes of `async fn handle`.
impl Middleware for TokenMiddleware {
    fn handle<'s, 'e, 'n, 'f>(
        &'s self,
        request: Request,
        extensions: &'e mut Extensions,
        next: Next<'n>,
    ) -> Pin<Box<dyn Future<Output = Result<Response>> + Send + 'f>>
    where
        's: 'f,
        'e: 'f,
        'n: 'f,
        Self: 'f,
    {
        Box::pin(self.send(request, extensions, next))
    }
}

impl fmt::Debug for TokenMiddleware {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("TokenMiddleware")
            .field("origins", &self.0.origins)
            .finish_non_exhaustive()
    }
}
