//! Metadata discovery as a source of key sets: OpenID Connect Discovery 1.0 and RFC 8414.

use std::sync::Arc;

use http::{Method, header};
use serde::Deserialize;
use url::Url;

use super::KeySet;
use super::endpoint::{JwksEndpoint, MAX_BODY, ok};
use crate::clock::Clock;
use crate::fault::{FetchError, FetchErrorKind};
use crate::refresh::source::{Fetched, Source};
use crate::transport::{self, Transport};

/// Fetches the issuer's metadata and then the key set it names, both with every refresh.
pub(crate) struct Discovery {
    issuer: String,
    document: Url,
    transport: Transport,
    clock: Clock,
}

#[derive(Deserialize)]
struct Metadata {
    issuer: String,
    jwks_uri: String,
}

impl Discovery {
    pub(crate) const fn new(
        issuer: String,
        document: Url,
        transport: Transport,
        clock: Clock,
    ) -> Self {
        Self {
            issuer,
            document,
            transport,
            clock,
        }
    }

    async fn metadata(&self) -> Result<Metadata, FetchError> {
        let request = self
            .transport
            .request(Method::GET, &self.document)
            .header(header::ACCEPT, "application/json");
        let answer = Transport::send(request, MAX_BODY).await?;
        let body = ok(&answer, "the discovery endpoint", self.clock.wall())?;
        let metadata: Metadata = serde_json::from_slice(body).map_err(|_| {
            FetchError::new(
                FetchErrorKind::Malformed,
                "the discovery document is not JSON with `issuer` and `jwks_uri`",
            )
        })?;
        // OpenID Connect Discovery §4.3, RFC 8414 §3.3: identical, to the last slash.
        if metadata.issuer != self.issuer {
            return Err(FetchError::new(
                FetchErrorKind::Unusable,
                format!(
                    "the discovery document is of issuer {}, not of {}",
                    metadata.issuer, self.issuer
                ),
            ));
        }
        Ok(metadata)
    }
}

impl Source<KeySet> for Discovery {
    async fn fetch(&self, in_service: Option<Arc<KeySet>>) -> Result<Fetched<KeySet>, FetchError> {
        let metadata = self.metadata().await?;
        let url = transport::endpoint("jwks_uri", &metadata.jwks_uri).map_err(|error| {
            FetchError::new(
                FetchErrorKind::Unusable,
                format!("the discovery document's {error}"),
            )
        })?;
        let keys = JwksEndpoint::new(url, self.transport.clone(), self.clock.clone());
        keys.fetch(in_service).await
    }
}
