//! Where a verifier's keys come from.

use std::sync::Arc;

use url::Url;

use crate::clock::Clock;
use crate::fault::ConfigError;
use crate::jwks::{Discovery, JwksEndpoint, KeySet};
use crate::refresh::source::DynSource;
use crate::store::StoreKey;
use crate::transport::{self, Transport};

/// What the builder was told.
pub(crate) enum KeySource {
    Custom {
        source: Arc<dyn DynSource<KeySet>>,
        stored_as: Option<String>,
    },
    Discover {
        document: Option<String>,
    },
    Url(String),
}

impl KeySource {
    /// What the issuer's key sets are stored under, if they are.
    pub(super) fn store_key(&self, issuer: &str) -> Option<StoreKey> {
        let (how, place) = match self {
            Self::Custom { stored_as, .. } => ("source", stored_as.as_deref()?),
            Self::Discover { document } => ("discovery", document.as_deref().unwrap_or_default()),
            Self::Url(url) => ("url", url.as_str()),
        };
        Some(StoreKey::of_keys(issuer, how, place))
    }

    /// The source itself, once the runtime's HTTP client and clock are known.
    pub(super) fn connect(
        self,
        issuer: &str,
        transport: &Transport,
        clock: &Clock,
    ) -> Result<Arc<dyn DynSource<KeySet>>, ConfigError> {
        let (transport, clock) = (transport.clone(), clock.clone());
        Ok(match self {
            Self::Custom { source, .. } => source,
            Self::Url(url) => {
                let url = transport::endpoint("jwks_url", &url)?;
                Arc::new(JwksEndpoint::new(url, transport, clock))
            }
            Self::Discover { document } => {
                let url = discovery_url(issuer, document)?;
                Arc::new(Discovery::new(issuer.to_owned(), url, transport, clock))
            }
        })
    }
}

/// OpenID Connect Discovery §4: the well-known path is appended to the issuer's.
fn discovery_url(issuer: &str, document: Option<String>) -> Result<Url, ConfigError> {
    if let Some(url) = document {
        return transport::endpoint("discovery_url", &url);
    }
    let base = issuer.trim_end_matches('/');
    transport::endpoint(
        "issuer",
        &format!("{base}/.well-known/openid-configuration"),
    )
}
