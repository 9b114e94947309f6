//! The one HTTP client for token endpoints, key sets and metadata: no redirects, bounded bodies,
//! explicit deadlines, rustls.

use std::error::Error;
use std::fmt;
use std::net::IpAddr;
use std::sync::Arc;
use std::time::Duration;

use http::{HeaderMap, StatusCode, header};
use url::{Host, Url};
use zeroize::Zeroizing;

use crate::clock::Wall;
use crate::fault::{ConfigError, FetchError, FetchErrorKind, within};
use crate::latest::Latest;
use crate::secret::Secret;

const USER_AGENT: &str = concat!("midil-auth/", env!("CARGO_PKG_VERSION"));

/// How the client reaches the world.
#[derive(Clone, Debug)]
pub(crate) struct Settings {
    pub(crate) connect_timeout: Duration,
    pub(crate) read_timeout: Duration,
    pub(crate) proxy: Proxying,
    /// PEM, one certificate or more each, beside those of the system.
    pub(crate) roots: Vec<Vec<u8>>,
}

/// Who stands between here and the world.
#[derive(Clone, Debug, Default)]
pub(crate) enum Proxying {
    /// Whoever the environment or the system names.
    #[default]
    System,
    None,
    /// A URL, which may hold a password.
    Url(Secret),
}

impl Default for Settings {
    fn default() -> Self {
        Self {
            connect_timeout: Duration::from_secs(5),
            read_timeout: Duration::from_secs(5),
            proxy: Proxying::System,
            roots: Vec::new(),
        }
    }
}

/// A hardened client. Cloning shares its connection pool. The deadline of a whole fetch is its
/// actor's to keep; here only connecting and each wait for the next bytes have one.
#[derive(Clone)]
pub(crate) struct Transport(Arc<Clients>);

struct Clients {
    remote: reqwest::Client,
    /// Loopback requests never go through a proxy.
    local: reqwest::Client,
    urls: Latest<Url>,
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
    pub(crate) fn new(settings: &Settings) -> Result<Self, ConfigError> {
        const LEAST: Duration = Duration::from_millis(1);
        const MOST: Duration = Duration::from_secs(600);
        within("connect_timeout", settings.connect_timeout, LEAST, MOST)?;
        within("read_timeout", settings.read_timeout, LEAST, MOST)?;
        let roots = roots(&settings.roots)?;
        let hardened = || {
            reqwest::Client::builder()
                // A 307 or 308 would replay the body, and with it the client secret, to whatever
                // host it names.
                .redirect(reqwest::redirect::Policy::none())
                .connect_timeout(settings.connect_timeout)
                .read_timeout(settings.read_timeout)
                .referer(false)
                .user_agent(USER_AGENT)
                // Another crate may switch these on for reqwest as a whole.
                .no_gzip()
                .no_brotli()
                .no_zstd()
                .no_deflate()
                .tls_backend_rustls()
                .tls_certs_merge(roots.iter().map(Clone::clone))
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
        let remote = match &settings.proxy {
            Proxying::System => hardened(),
            Proxying::None => hardened().no_proxy(),
            Proxying::Url(url) => hardened().proxy(proxy(url)?),
        };
        Ok(Self(Arc::new(Clients {
            remote: build(remote)?,
            local: build(hardened().no_proxy())?,
            urls: Latest::new(),
        })))
    }

    /// The URL, kept once for all who ask there.
    pub(crate) fn share(&self, url: Url) -> Arc<Url> {
        self.0.urls.share(url)
    }

    pub(crate) fn request(&self, method: http::Method, url: &Url) -> reqwest::RequestBuilder {
        let client = if is_loopback(url) {
            &self.0.local
        } else {
            &self.0.remote
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
        if let Some(encoding) = response.headers().get(header::CONTENT_ENCODING)
            && !encoding.as_bytes().eq_ignore_ascii_case(b"identity")
        {
            return Err(FetchError::new(
                FetchErrorKind::Malformed,
                "the body is compressed, which was not asked for",
            ));
        }
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

impl fmt::Debug for Transport {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        // A client shows its proxy.
        f.debug_struct("Transport").finish_non_exhaustive()
    }
}

/// The innermost cause says what happened; the chain above it repeats the URL.
fn connection_error(error: &reqwest::Error) -> FetchError {
    let mut cause: &dyn Error = error;
    while let Some(inner) = cause.source() {
        cause = inner;
    }
    let (kind, what) = match (error.is_timeout(), error.is_connect()) {
        (true, true) => (FetchErrorKind::Timeout, "no connection in time"),
        (true, false) => (FetchErrorKind::Timeout, "silent for too long"),
        (false, true) => (FetchErrorKind::Connection, "cannot connect"),
        (false, false) => (FetchErrorKind::Connection, "the connection broke"),
    };
    FetchError::new(kind, format!("{what}: {cause}"))
}

fn proxy(url: &Secret) -> Result<reqwest::Proxy, ConfigError> {
    let refuse = |problem: &'static str| {
        ConfigError::new(
            "proxy",
            problem,
            "write http://host:port, or http://user:password@host:port",
        )
    };
    // What the parser says could repeat the password.
    let parsed = Url::parse(url.expose().trim()).map_err(|_| refuse("is not a URL"))?;
    if !matches!(parsed.scheme(), "http" | "https") {
        return Err(refuse("is neither http nor https"));
    }
    if !matches!(parsed.path(), "" | "/") || parsed.query().is_some() {
        return Err(refuse("has a path"));
    }
    reqwest::Proxy::all(parsed).map_err(|_| refuse("cannot be used"))
}

fn roots(pems: &[Vec<u8>]) -> Result<Vec<reqwest::Certificate>, ConfigError> {
    let refuse = |problem: &'static str| {
        ConfigError::new(
            "root_certificate",
            problem,
            "give PEM: what lies between -----BEGIN CERTIFICATE----- and -----END CERTIFICATE-----, \
             with these lines",
        )
    };
    let mut roots = Vec::new();
    for pem in pems {
        let read = reqwest::Certificate::from_pem_bundle(pem).map_err(|_| refuse("is not PEM"))?;
        if read.is_empty() {
            return Err(refuse("has no certificate in it"));
        }
        // A certificate is not looked into before a client is built with it.
        let client = reqwest::Client::builder().tls_backend_rustls();
        let usable = client.no_proxy().tls_certs_only(read.clone()).build();
        usable.map_err(|_| refuse("has a certificate in it that cannot be read"))?;
        roots.extend(read);
    }
    Ok(roots)
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
/// anything else is nothing. How long it is obeyed is the policy's to say.
pub(crate) fn retry_after(headers: &HeaderMap, now: Wall) -> Option<Duration> {
    let value = headers.get(header::RETRY_AFTER)?.to_str().ok()?.trim();
    if let Some(after) = delta_seconds(value) {
        return Some(after);
    }
    let date = httpdate::parse_http_date(value).ok()?;
    // On the clock of whoever wrote the date, where it is shown.
    Some(Wall::from_system(date).since(server_date(headers).unwrap_or(now)))
}

/// `delta-seconds` (RFC 9111 §1.2.2): digits; more than can be counted are as many as can.
pub(crate) fn delta_seconds(value: &str) -> Option<Duration> {
    let digits = !value.is_empty() && value.bytes().all(|b| b.is_ascii_digit());
    digits.then(|| Duration::from_secs(value.parse().unwrap_or(u64::MAX)))
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
        let of = |values: &[&str], date: Option<&'static str>| {
            let mut headers = HeaderMap::new();
            for value in values {
                let value = http::HeaderValue::from_bytes(value.as_bytes()).expect("a value");
                headers.append(header::RETRY_AFTER, value);
            }
            headers.extend(date.map(|date| (header::DATE, http::HeaderValue::from_static(date))));
            retry_after(&headers, now)
        };
        let seconds = |seconds| Some(Duration::from_secs(seconds));
        assert_eq!(of(&["120"], None), seconds(120));
        assert_eq!(of(&["Sun, 06 Nov 1994 08:50:37 GMT"], None), seconds(60));
        assert_eq!(of(&["Sun, 06 Nov 1994 08:00:00 GMT"], None), seconds(0));
        // A server whose clock is an hour ahead means what its clock shows.
        let ahead = Some("Sun, 06 Nov 1994 09:50:37 GMT");
        assert_eq!(of(&["Sun, 06 Nov 1994 09:50:47 GMT"], ahead), seconds(10));
        assert_eq!(of(&["99999999999999999999999999"], None), seconds(u64::MAX));
        assert_eq!(of(&[&"9".repeat(400)], None), seconds(u64::MAX));
        assert_eq!(of(&["7", "99999999"], None), seconds(7));
        assert!(of(&["Fri, 31 Dec 9999 23:59:59 GMT"], None) > seconds(1_000_000_000));
        for nonsense in [
            "", "-1", "1.5", "1e3", "0x10", "soon", "NaN", "\u{fe}", "1;2",
        ] {
            assert_eq!(of(&[nonsense], None), None, "{nonsense}");
        }
        assert_eq!(of(&[], None), None);
    }
}
