//! Where a verifier's keys come from.

use std::sync::Arc;

use url::Url;

use crate::clock::Clock;
use crate::fault::ConfigError;
use crate::jwks::{Discovery, JwksEndpoint, KeySet, KeySetLimits};
use crate::refresh::source::DynSource;
use crate::store::StoreKey;
use crate::transport::{self, Transport};

/// What the builder was told.
pub(crate) enum KeySource {
    Custom {
        source: Arc<dyn DynSource<KeySet>>,
        stored_as: Option<String>,
    },
    Discover(Metadata),
    Url(String),
}

/// Which metadata document names the key set.
pub(crate) enum Metadata {
    At(String),
    AuthorizationServer,
    OpenId,
}

impl KeySource {
    pub(crate) const fn discovered() -> Self {
        Self::Discover(Metadata::OpenId)
    }

    /// What the issuer's key sets are stored under, if they are. Keys of any host are not those
    /// of the issuer's own.
    pub(super) fn store_key(&self, issuer: &str, only_host: Option<&str>) -> Option<StoreKey> {
        let (how, place) = match self {
            Self::Custom { stored_as, .. } => ("source", stored_as.as_deref()?),
            Self::Discover(metadata) => metadata.store_key(),
            Self::Url(url) => ("url", url.as_str()),
        };
        let hosts = only_host.map_or("", |_| "issuer_host_only");
        Some(StoreKey::of_keys(issuer, how, place, hosts))
    }

    /// The source itself, once the runtime's HTTP client and clock are known. Discovered keys must
    /// be on the host of `only_host`, where that is given.
    pub(super) fn connect(
        self,
        issuer: &str,
        only_host: Option<&str>,
        limits: KeySetLimits,
        transport: &Transport,
        clock: &Clock,
    ) -> Result<Arc<dyn DynSource<KeySet>>, ConfigError> {
        let endpoint = |url| JwksEndpoint {
            url,
            limits,
            transport: transport.clone(),
            clock: clock.clone(),
        };
        Ok(match self {
            Self::Custom { source, .. } => source,
            Self::Url(url) => Arc::new(endpoint(transport::endpoint("jwks_url", &url)?)),
            Self::Discover(metadata) => Arc::new(Discovery {
                issuer: issuer.to_owned(),
                only_host: only_host
                    .map(|url| transport::endpoint("issuer", url))
                    .transpose()?,
                document: endpoint(metadata.url(issuer)?),
            }),
        })
    }
}

impl Metadata {
    fn store_key(&self) -> (&'static str, &str) {
        match self {
            Self::At(url) => ("discovery_url", url),
            Self::AuthorizationServer => ("oauth-authorization-server", ""),
            Self::OpenId => ("openid-configuration", ""),
        }
    }

    fn url(self, issuer: &str) -> Result<Url, ConfigError> {
        match self {
            Self::At(url) => transport::endpoint("discovery_url", &url),
            // OpenID Connect Discovery §4: behind the issuer's path.
            Self::OpenId => {
                let base = issuer.trim_end_matches('/');
                transport::endpoint(
                    "issuer",
                    &format!("{base}/.well-known/openid-configuration"),
                )
            }
            // RFC 8414 §3.1: between the host and the issuer's path.
            Self::AuthorizationServer => {
                let mut url = transport::endpoint("issuer", issuer)?;
                let path = url.path().trim_end_matches('/');
                let path = format!("/.well-known/oauth-authorization-server{path}");
                url.set_path(&path);
                Ok(url)
            }
        }
    }
}

#[cfg(test)]
mod tests {
    use std::collections::HashSet;

    use super::*;

    #[test]
    fn metadata_stands_behind_the_issuer_s_path_or_before_it() {
        let of = |metadata: Metadata, issuer| metadata.url(issuer).expect("a URL").to_string();
        for issuer in [
            "https://idp.example.com/a/b",
            "https://idp.example.com/a/b/",
        ] {
            assert_eq!(
                of(Metadata::OpenId, issuer),
                "https://idp.example.com/a/b/.well-known/openid-configuration"
            );
            assert_eq!(
                of(Metadata::AuthorizationServer, issuer),
                "https://idp.example.com/.well-known/oauth-authorization-server/a/b"
            );
        }
        assert_eq!(
            of(Metadata::AuthorizationServer, "https://idp.example.com"),
            "https://idp.example.com/.well-known/oauth-authorization-server"
        );
        let error = Metadata::OpenId
            .url("http://idp.example.com")
            .expect_err("plain http");
        assert_eq!(error.field(), "issuer");
    }

    /// Another setting must not find the keys that were trusted under the one before.
    #[test]
    fn keys_are_stored_apart_by_how_and_where_they_are_found() {
        const ISSUER: &str = "https://idp.example.com";
        let places = ["https://idp.example.com/a", "https://idp.example.com/b"];
        let sources = places.iter().flat_map(|&place| {
            [
                KeySource::Url(place.to_owned()),
                KeySource::Discover(Metadata::At(place.to_owned())),
            ]
        });
        let mut keys = HashSet::new();
        let mut ways = 0;
        for source in sources.chain([
            KeySource::Discover(Metadata::OpenId),
            KeySource::Discover(Metadata::AuthorizationServer),
        ]) {
            for only_host in [None, Some(ISSUER)] {
                keys.extend(source.store_key(ISSUER, only_host));
                ways += 1;
            }
        }
        assert_eq!(keys.len(), ways);
    }
}
