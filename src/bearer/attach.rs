//! Which requests of a client carry the token, and what a 401 means. No framework types.

use std::sync::Arc;

use futures_util::FutureExt;
use http::{HeaderMap, StatusCode, header};

use super::Origins;
use crate::error::AuthError;
use crate::oauth2::AccessToken;
use crate::provider::AuthnProvider;

/// What client middleware knows.
#[derive(Clone, Debug)]
pub(crate) struct Attach {
    provider: Arc<dyn AuthnProvider>,
    pub(crate) origins: Origins,
}

impl Attach {
    pub(crate) fn new(provider: impl AuthnProvider, origins: Origins) -> Self {
        Self {
            provider: Arc::new(provider),
            origins,
        }
    }

    /// Puts the token into the headers of a request to an origin that is `allowed`, unless it
    /// brings an `Authorization` of its own; returns what was put there.
    ///
    /// Where a token is due and there is none, the request must not be sent.
    pub(crate) async fn put(
        &self,
        headers: &mut HeaderMap,
        allowed: bool,
    ) -> Result<Option<Arc<AccessToken>>, AuthError> {
        if !allowed || headers.contains_key(header::AUTHORIZATION) {
            return Ok(None);
        }
        let token = self.provider.token().await?;
        headers.insert(header::AUTHORIZATION, token.authorization());
        Ok(Some(token))
    }

    /// Another token than the one that was rejected, for a replay. `None` where none is to be had:
    /// then the rejection is the answer.
    pub(crate) async fn another(&self, rejected: &AccessToken) -> Option<Arc<AccessToken>> {
        let renewed = self.provider.renew(rejected).await.ok()?;
        (!renewed.is_same_token(rejected)).then_some(renewed)
    }

    /// Asks for another token without waiting for it, so that the next request has it: this one
    /// cannot be replayed.
    pub(crate) fn ask_for_another(&self, rejected: &AccessToken) {
        let _ = self.provider.renew(rejected).now_or_never();
    }
}

/// Whether the server refused the token: 401, or its counterpart among gRPC's responses without
/// a body.
pub(crate) fn is_rejection(status: StatusCode, headers: &HeaderMap) -> bool {
    let grpc = || {
        headers
            .get("grpc-status")
            .is_some_and(|status| *status == "16")
    };
    status == StatusCode::UNAUTHORIZED || grpc()
}
