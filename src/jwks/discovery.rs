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

/// What is used of a metadata document.
#[derive(Deserialize)]
struct Metadata {
    issuer: String,
    jwks_uri: String,
}

impl Metadata {
    /// Reads the metadata document of `issuer`.
    fn read(body: &[u8], issuer: &str) -> Result<Self, FetchError> {
        // An array of two strings would do for a struct, too.
        let object = body.trim_ascii_start().starts_with(b"{");
        let metadata: Option<Self> = object.then(|| serde_json::from_slice(body).ok()).flatten();
        let metadata = metadata.ok_or_else(|| {
            FetchError::new(
                FetchErrorKind::Malformed,
                "the discovery document is not a JSON object with `issuer` and `jwks_uri`",
            )
        })?;
        // OpenID Connect Discovery §4.3, RFC 8414 §3.3: identical, to the last slash.
        if metadata.issuer != issuer {
            return Err(FetchError::new(
                FetchErrorKind::Unusable,
                format!(
                    "the discovery document is of issuer {}, not of {issuer}",
                    metadata.issuer
                ),
            ));
        }
        Ok(metadata)
    }

    /// Where the key set is.
    fn key_set_url(&self) -> Result<Url, FetchError> {
        transport::endpoint("jwks_uri", &self.jwks_uri).map_err(|error| {
            FetchError::new(
                FetchErrorKind::Unusable,
                format!("the discovery document's {error}"),
            )
        })
    }
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
        Metadata::read(body, &self.issuer)
    }
}

#[cfg(all(feature = "testing", not(test)))]
impl Discovery {
    /// All that is done with a metadata document, for the fuzzers.
    pub(crate) fn parse(body: &[u8], issuer: &str) -> Result<Url, FetchError> {
        Metadata::read(body, issuer)?.key_set_url()
    }
}

impl Source<KeySet> for Discovery {
    async fn fetch(&self, in_service: Option<Arc<KeySet>>) -> Result<Fetched<KeySet>, FetchError> {
        let metadata = self.metadata().await?;
        let url = metadata.key_set_url()?;
        let keys = JwksEndpoint::new(url, self.transport.clone(), self.clock.clone());
        keys.fetch(in_service).await
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn metadata_is_one_object_of_the_issuer() {
        const ISSUER: &str = "https://idp.example.com";
        let kind = |body: &str| Metadata::read(body.as_bytes(), ISSUER).map_err(|e| e.kind());
        let good =
            r#" {"issuer":"https://idp.example.com","jwks_uri":"https://idp.example.com/k"}"#;
        assert!(kind(good).is_ok());
        for body in [
            r#"["https://idp.example.com","https://idp.example.com/k"]"#,
            r#"{"issuer":"https://idp.example.com"}"#,
            r#"{"issuer":"https://idp.example.com","issuer":"https://idp.example.com","jwks_uri":""}"#,
            "<html>",
            "",
        ] {
            assert_eq!(kind(body).err(), Some(FetchErrorKind::Malformed), "{body}");
        }
        let other = good.replace("example.com\"", "example.com/\"");
        assert_eq!(kind(&other).err(), Some(FetchErrorKind::Unusable));
    }
}
