//! The one HTTP client for token endpoints, key sets and metadata: no redirects, bounded bodies,
//! explicit deadlines, rustls.

use std::error::Error;
use std::net::IpAddr;
use std::time::Duration;

use http::{HeaderMap, StatusCode, header};
use url::{Host, Url};
use zeroize::Zeroizing;

use crate::clock::Wall;
use crate::fault::{ConfigError, FetchError, FetchErrorKind};

const CONNECT_TIMEOUT: Duration = Duration::from_secs(5);
const USER_AGENT: &str = concat!("midil-auth/", env!("CARGO_PKG_VERSION"));

/// A hardened client. Cloning shares its connection pool. The deadline of a whole fetch is its
/// actor's to keep; here only connecting has one, so that another address can be tried in time.
#[derive(Clone, Debug)]
pub(crate) struct Transport {
    remote: reqwest::Client,
    /// Loopback requests never go through a proxy.
    local: reqwest::Client,
}

/// A response, whole.
#[derive(Debug)]
pub(crate) struct Response {
    pub(crate) status: StatusCode,
    pub(crate) headers: HeaderMap,
    /// Wiped when dropped: it may hold a token.
    pub(crate) body: Zeroizing<Vec<u8>>,
}

impl Transport {
    pub(crate) fn new() -> Result<Self, ConfigError> {
        let hardened = || {
            reqwest::Client::builder()
                // A 307 or 308 would replay the body, and with it the client secret, to whatever
                // host it names.
                .redirect(reqwest::redirect::Policy::none())
                .connect_timeout(CONNECT_TIMEOUT)
                .referer(false)
                .user_agent(USER_AGENT)
        };
        let build = |builder: reqwest::ClientBuilder| {
            builder.build().map_err(|error| {
                ConfigError::new(
                    "http client",
                    format!("cannot be built ({error})"),
                    "check the system's TLS root certificates",
                )
            })
        };
        Ok(Self {
            remote: build(hardened())?,
            local: build(hardened().no_proxy())?,
        })
    }

    pub(crate) fn request(&self, method: http::Method, url: &Url) -> reqwest::RequestBuilder {
        let client = if is_loopback(url) {
            &self.local
        } else {
            &self.remote
        };
        client.request(method, url.clone())
    }

    /// Sends a request and reads at most `cap` bytes of body.
    pub(crate) async fn send(
        request: reqwest::RequestBuilder,
        cap: usize,
    ) -> Result<Response, FetchError> {
        let mut response = request.send().await.map_err(|e| connection_error(&e))?;
        let too_large = || {
            FetchError::new(
                FetchErrorKind::TooLarge,
                format!("the body is larger than {cap} bytes"),
            )
        };
        let announced = response.content_length().unwrap_or(0);
        if usize::try_from(announced).map_or(true, |announced| announced > cap) {
            return Err(too_large());
        }
        let mut body = Zeroizing::new(Vec::with_capacity(usize::try_from(announced).unwrap_or(0)));
        while let Some(chunk) = response.chunk().await.map_err(|e| connection_error(&e))? {
            if body.len() + chunk.len() > cap {
                return Err(too_large());
            }
            body.extend_from_slice(&chunk);
        }
        Ok(Response {
            status: response.status(),
            headers: std::mem::take(response.headers_mut()),
            body,
        })
    }
}

/// The innermost cause says what happened; the chain above it repeats the URL.
fn connection_error(error: &reqwest::Error) -> FetchError {
    let mut cause: &dyn Error = error;
    while let Some(inner) = cause.source() {
        cause = inner;
    }
    let (kind, what) = if error.is_timeout() {
        (FetchErrorKind::Timeout, "timed out")
    } else if error.is_connect() {
        (FetchErrorKind::Connection, "cannot connect")
    } else {
        (FetchErrorKind::Connection, "the connection broke")
    };
    FetchError::new(kind, format!("{what}: {cause}"))
}

/// Parses an endpoint's URL: https, or http to this machine only.
pub(crate) fn endpoint(field: &'static str, url: &str) -> Result<Url, ConfigError> {
    const REMEDY: &str = "write an absolute https URL, such as https://idp.example.com/oauth2/token \
                          (http is for loopback hosts only)";
    let refuse = |problem: &'static str| Err(ConfigError::new(field, problem, REMEDY));
    let Ok(parsed) = Url::parse(url.trim()) else {
        return refuse("is not a URL");
    };
    if !parsed.username().is_empty() || parsed.password().is_some() {
        return refuse("holds credentials");
    }
    if parsed.fragment().is_some() {
        return refuse("has a fragment");
    }
    match parsed.scheme() {
        "https" => Ok(parsed),
        "http" if is_loopback(&parsed) => Ok(parsed),
        "http" => refuse("is plain http to another host"),
        _ => refuse("is not https"),
    }
}

pub(crate) fn is_loopback(url: &Url) -> bool {
    match url.host() {
        Some(Host::Domain(name)) => name.eq_ignore_ascii_case("localhost"),
        Some(Host::Ipv4(ip)) => IpAddr::V4(ip).is_loopback(),
        Some(Host::Ipv6(ip)) => IpAddr::V6(ip).is_loopback(),
        None => false,
    }
}

/// `Retry-After` (RFC 9110 §10.2.3): seconds, or an HTTP date; a date in the past is now, and
/// anything else is nothing.
pub(crate) fn retry_after(headers: &HeaderMap, now: Wall) -> Option<Duration> {
    let value = headers.get(header::RETRY_AFTER)?.to_str().ok()?.trim();
    if !value.is_empty() && value.bytes().all(|b| b.is_ascii_digit()) {
        return Some(Duration::from_secs(value.parse().unwrap_or(u64::MAX)));
    }
    let date = httpdate::parse_http_date(value).ok()?;
    Some(Wall::from_system(date).since(now))
}

/// The server's own clock (RFC 9110 §6.6.1), which stands apart from ours.
pub(crate) fn server_date(headers: &HeaderMap) -> Option<Wall> {
    let value = headers.get(header::DATE)?.to_str().ok()?;
    httpdate::parse_http_date(value).ok().map(Wall::from_system)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn endpoints_are_https_or_loopback() {
        for good in [
            "https://idp.example.com/token",
            "http://127.0.0.1:8080/token",
            "http://localhost/token",
            "http://[::1]:9/jwks",
        ] {
            assert!(endpoint("token_url", good).is_ok(), "{good}");
        }
        for bad in [
            "",
            "idp.example.com/token",
            "http://idp.example.com/token",
            "http://127.0.0.1.example.com/",
            "ftp://idp.example.com/",
            "https://user:pw@idp.example.com/",
            "https://idp.example.com/#x",
            "file:///etc/passwd",
        ] {
            let error = endpoint("token_url", bad).expect_err(bad);
            assert_eq!(error.field(), "token_url");
            assert!(error.remedy().contains("https"), "{error}");
        }
    }

    #[test]
    fn retry_after_takes_both_forms_and_nothing_else() {
        let now = Wall::from_nanos(1_000_000_000 * 784_111_777);
        let of = |value: &'static str| {
            let mut headers = HeaderMap::new();
            headers.insert(header::RETRY_AFTER, http::HeaderValue::from_static(value));
            retry_after(&headers, now)
        };
        assert_eq!(of("120"), Some(Duration::from_secs(120)));
        assert_eq!(
            of("Sun, 06 Nov 1994 08:50:37 GMT"),
            Some(Duration::from_secs(60))
        );
        assert_eq!(of("Sun, 06 Nov 1994 08:00:00 GMT"), Some(Duration::ZERO));
        assert_eq!(
            of("99999999999999999999999999"),
            Some(Duration::from_secs(u64::MAX))
        );
        for nonsense in ["", "-1", "1.5", "soon"] {
            assert_eq!(of(nonsense), None, "{nonsense}");
        }
    }
}
