//! Where a token may be sent.

use std::sync::Arc;

use http::Uri;
use url::Url;

use crate::fault::ConfigError;
use crate::transport;

const FIELD: &str = "origins";

/// The origins (RFC 6454) that a token may be sent to: scheme, host and port, each exactly.
///
/// There is no wildcard and no default: a token that reaches another server is a token given away.
/// Cheap to clone.
///
/// ```
/// use midil_auth::bearer::Origins;
///
/// let origins = Origins::new(["https://inventory.example.com", "https://10.0.0.7:8443"])?;
/// assert!(origins.allows(&"https://inventory.example.com/items?q=1".parse()?));
/// assert!(origins.allows(&"https://INVENTORY.example.com:443/".parse()?));
/// for other in [
///     "http://inventory.example.com/",
///     "https://inventory.example.com:8443/",
///     "https://evil.inventory.example.com/",
///     "https://inventory.example.com@evil.example/",
///     "/items",
/// ] {
///     assert!(!origins.allows(&other.parse()?), "{other}");
/// }
/// # Ok::<(), Box<dyn std::error::Error>>(())
/// ```
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Origins(Arc<[Origin]>);

#[derive(Clone, Debug, PartialEq, Eq)]
struct Origin {
    scheme: Box<str>,
    host: Box<str>,
    port: u16,
}

impl Origins {
    /// These origins and no others, such as `https://inventory.example.com:8443`. Without a port
    /// it is that of the scheme.
    ///
    /// # Errors
    ///
    /// [`ConfigError`] for an empty list, and for one that is not an origin: with a path, a query
    /// or credentials, or plain http to a host other than this machine.
    pub fn new<O: AsRef<str>>(origins: impl IntoIterator<Item = O>) -> Result<Self, ConfigError> {
        let listed = origins.into_iter().map(|origin| {
            let url = transport::endpoint(FIELD, origin.as_ref())?;
            Origin::of(&url)
        });
        let listed = listed.collect::<Result<Arc<[_]>, _>>()?;
        if listed.is_empty() {
            return Err(ConfigError::new(
                FIELD,
                "is empty",
                "list the origins that the token is for, such as https://api.example.com",
            ));
        }
        Ok(Self(listed))
    }

    /// One more, to which the token goes over plain http, for a network that encrypts by itself,
    /// such as a service mesh: `http://inventory.shop.svc.cluster.local`. Whoever else can read
    /// that network can use the token (RFC 6750 §5.3).
    ///
    /// # Errors
    ///
    /// [`ConfigError`] for one that is not a plain-http origin.
    pub fn and_plain_http(self, origin: impl AsRef<str>) -> Result<Self, ConfigError> {
        let url = Url::parse(origin.as_ref().trim()).ok();
        let plain = url.filter(|url| {
            url.scheme() == "http" && url.username().is_empty() && url.password().is_none()
        });
        let origin = plain.as_ref().ok_or_else(not_an_origin);
        let origin = origin.and_then(Origin::of)?;
        Ok(Self(self.0.iter().cloned().chain([origin]).collect()))
    }

    /// Whether a token may be sent to `uri`. A relative one, which names no origin, gets none.
    #[must_use]
    pub fn allows(&self, uri: &Uri) -> bool {
        let (Some(scheme), Some(host)) = (uri.scheme_str(), uri.host()) else {
            return false;
        };
        let port = uri.port_u16().or(match scheme {
            "https" => Some(443),
            "http" => Some(80),
            _ => None,
        });
        self.allow(scheme, host, port)
    }

    /// As [`allows`](Self::allows).
    #[cfg(feature = "reqwest-middleware")]
    pub(crate) fn allows_url(&self, url: &Url) -> bool {
        let host = url.host_str().unwrap_or_default();
        self.allow(url.scheme(), host, url.port_or_known_default())
    }

    fn allow(&self, scheme: &str, host: &str, port: Option<u16>) -> bool {
        self.0.iter().any(|origin| {
            *origin.scheme == *scheme
                && origin.host.eq_ignore_ascii_case(host)
                && Some(origin.port) == port
        })
    }
}

impl Origin {
    fn of(url: &Url) -> Result<Self, ConfigError> {
        let bare = url.path() == "/" && url.query().is_none() && url.fragment().is_none();
        match (url.host_str(), url.port_or_known_default()) {
            // A wildcard would match nothing, and somebody would wonder why.
            (Some(host), Some(port)) if bare && !host.contains('*') => Ok(Self {
                scheme: url.scheme().into(),
                host: host.into(),
                port,
            }),
            _ => Err(not_an_origin()),
        }
    }
}

fn not_an_origin() -> ConfigError {
    ConfigError::new(
        FIELD,
        "holds something that is not an origin",
        "write scheme, host and, if need be, port: https://api.example.com:8443",
    )
}

#[cfg(test)]
mod tests {
    use super::*;

    fn allows(origins: &Origins, uri: &str) -> bool {
        let allowed = origins.allows(&uri.parse().expect("a URI"));
        #[cfg(feature = "reqwest-middleware")]
        if let Ok(url) = uri.parse() {
            assert_eq!(origins.allows_url(&url), allowed, "{uri}");
        }
        allowed
    }

    #[test]
    fn scheme_host_and_port_are_all_exact() {
        let origins = Origins::new(["https://api.example.com", "http://127.0.0.1:8080/"]);
        let origins = origins.expect("origins");
        for yes in [
            "https://api.example.com/",
            "https://api.example.com:443/a?b",
            "https://API.EXAMPLE.COM/a",
            "http://127.0.0.1:8080/",
        ] {
            assert!(allows(&origins, yes), "{yes}");
        }
        for no in [
            "http://api.example.com/",
            "http://api.example.com:443/",
            "https://api.example.com:80/",
            "https://api.example.com.evil.example/",
            "https://api.example.com./",
            "https://api.example.comx/",
            "https://example.com/",
            "https://api.example.com@evil.example/",
            "https://api.example.com:443@evil.example/",
            "https://127.0.0.1:8080/",
            "http://127.0.0.1:8081/",
            "http://localhost:8080/",
            "ftp://api.example.com/",
            "/relative",
            "*",
        ] {
            assert!(!allows(&origins, no), "{no}");
        }
        let six = Origins::new(["http://[::1]:9"]).expect("origins");
        assert!(allows(&six, "http://[::1]:9/"));
        assert!(!allows(&six, "http://[::2]:9/"));
    }

    #[test]
    fn what_is_no_origin_is_refused() {
        for bad in [
            "",
            "api.example.com",
            "https://api.example.com/v1",
            "https://api.example.com/?a",
            "https://api.example.com/#a",
            "https://ada:pw@api.example.com",
            "http://api.example.com",
            "https://*.example.com",
            "ws://api.example.com",
        ] {
            let refused = Origins::new([bad]).map(|_| ()).expect_err(bad);
            assert_eq!(refused.field(), "origins", "{bad}");
        }
        assert!(Origins::new([""; 0]).is_err());
    }

    #[test]
    fn plain_http_has_to_be_said() {
        let origins = Origins::new(["https://api.example.com"]).expect("origins");
        for bad in [
            "https://a.example",
            "http://a.example/x",
            "http://u@a.example",
            "a",
        ] {
            assert!(origins.clone().and_plain_http(bad).is_err(), "{bad}");
        }
        let origins = origins
            .and_plain_http("http://inventory.svc")
            .expect("said");
        assert!(allows(&origins, "http://inventory.svc/items"));
        assert!(allows(&origins, "https://api.example.com/"));
        assert!(!allows(&origins, "https://inventory.svc/items"));
    }
}
