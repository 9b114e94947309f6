//! Metadata discovery as a source of key sets: OpenID Connect Discovery 1.0 and RFC 8414.

use std::sync::Arc;

use http::{Method, header};
use serde::Deserialize;
use url::Url;

use super::endpoint::{JwksEndpoint, ok};
use super::{Algorithm, AlgorithmSet, KeySet};
use crate::fault::{FetchError, FetchErrorKind};
use crate::refresh::source::{Fetched, Source};
use crate::transport::{self, Transport};

/// The most that is read of a metadata document, in bytes.
const MAX_BODY: usize = 512 * 1024;

/// Fetches the issuer's metadata and then the key set it names, both with every refresh.
pub(crate) struct Discovery {
    pub(crate) issuer: String,
    /// Where the keys must be; `None` for wherever the document says.
    pub(crate) only_host: Option<Url>,
    /// The metadata document, fetched as key sets are.
    pub(crate) document: JwksEndpoint,
}

/// What is used of a metadata document.
#[derive(Deserialize)]
struct Metadata {
    issuer: String,
    jwks_uri: String,
    id_token_signing_alg_values_supported: Option<Vec<String>>,
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
            return Err(FetchError::misconfigured(format!(
                "the discovery document is of issuer {}, not of {issuer}",
                metadata.issuer
            )));
        }
        Ok(metadata)
    }

    /// Where the key set is.
    fn key_set_url(&self, only_host: Option<&Url>) -> Result<Url, FetchError> {
        let url = transport::endpoint("jwks_uri", &self.jwks_uri).map_err(|error| {
            FetchError::misconfigured(format!("the discovery document's {error}"))
        })?;
        match only_host {
            Some(issuer) if issuer.origin() != url.origin() => Err(FetchError::misconfigured(
                "the discovery document's jwks_uri is not on the issuer's host",
            )),
            _ => Ok(url),
        }
    }

    /// The algorithms that the issuer says it signs with; `None` where it says nothing.
    fn declared(&self) -> Result<Option<AlgorithmSet>, FetchError> {
        let Some(names) = &self.id_token_signing_alg_values_supported else {
            return Ok(None);
        };
        let known: AlgorithmSet = names
            .iter()
            .filter_map(|name| Algorithm::from_name(name))
            .flat_map(Algorithm::synonyms)
            .collect();
        if known.is_empty() {
            return Err(FetchError::misconfigured(
                "the discovery document declares no algorithm that a key set can verify; if the \
                 issuer signs with others, give jwks_url() instead",
            ));
        }
        Ok(Some(known))
    }
}

impl Discovery {
    async fn metadata(&self) -> Result<Metadata, FetchError> {
        let request = self
            .document
            .transport
            .request(Method::GET, &self.document.url)
            .header(header::ACCEPT, "application/json");
        let answer = Transport::send(request, MAX_BODY).await?;
        let now = self.document.clock.wall();
        let body = ok(&answer, "the discovery endpoint", now)?;
        Metadata::read(body, &self.issuer)
    }
}

#[cfg(all(feature = "testing", not(test)))]
impl Discovery {
    /// All that is done with a metadata document, for the fuzzers.
    pub(crate) fn parse(body: &[u8], issuer: &str) -> Result<Url, FetchError> {
        let metadata = Metadata::read(body, issuer)?;
        metadata.declared()?;
        metadata.key_set_url(None)
    }
}

impl Source<KeySet> for Discovery {
    async fn fetch(&self, in_service: Option<Arc<KeySet>>) -> Result<Fetched<KeySet>, FetchError> {
        let metadata = self.metadata().await?;
        let keys = JwksEndpoint {
            url: metadata.key_set_url(self.only_host.as_ref())?,
            ..self.document.clone()
        };
        keys.fetch_declared(in_service, metadata.declared()?).await
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
