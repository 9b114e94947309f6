//! A JWK Set endpoint as a source of key sets.

use std::sync::Arc;
use std::time::Duration;

use http::{HeaderMap, HeaderValue, Method, StatusCode, header};
use url::Url;

use super::{AlgorithmSet, KeySet, KeySetLimits, Origin};
use crate::clock::{Clock, Wall};
use crate::fault::{FetchError, FetchErrorKind};
use crate::refresh::source::{Fetched, Source};
use crate::transport::{self, Response, Transport};

/// Fetches a key set from a fixed URL, conditionally where the server gave an `ETag`.
#[derive(Clone)]
pub(crate) struct JwksEndpoint {
    pub(crate) url: Url,
    pub(crate) limits: KeySetLimits,
    pub(crate) transport: Transport,
    pub(crate) clock: Clock,
}

impl Source<KeySet> for JwksEndpoint {
    async fn fetch(&self, in_service: Option<Arc<KeySet>>) -> Result<Fetched<KeySet>, FetchError> {
        self.fetch_declared(in_service, None).await
    }
}

impl JwksEndpoint {
    /// Fetches the key set whose issuer declares these algorithms.
    pub(super) async fn fetch_declared(
        &self,
        in_service: Option<Arc<KeySet>>,
        declared: Option<AlgorithmSet>,
    ) -> Result<Fetched<KeySet>, FetchError> {
        let mut request = self
            .transport
            .request(Method::GET, &self.url)
            .header(header::ACCEPT, "application/jwk-set+json, application/json");
        // A set that was fetched under another declaration is not the same set.
        let same = in_service.as_ref().filter(|set| set.declared() == declared);
        let origin = same.and_then(|set| set.origin.as_ref());
        let known = origin
            .filter(|origin| origin.url == self.url)
            .and_then(|o| o.etag.clone());
        let conditional = known.is_some();
        if let Some(etag) = known {
            request = request.header(header::IF_NONE_MATCH, etag);
        }
        let answer = Transport::send(request, self.limits.bytes).await?;
        let hint = fresh_for(&answer.headers, self.clock.wall());
        if conditional && answer.status == StatusCode::NOT_MODIFIED {
            return Ok(Fetched::unchanged().fresh_for(hint));
        }
        let body = ok(&answer, "the key set endpoint", self.clock.wall())?;
        let mut set = KeySet::read(body, self.limits.keys)?;
        set.declared = declared;
        set.origin = Some(Origin {
            url: self.url.clone(),
            etag: answer.headers.get(header::ETAG).cloned(),
        });
        Ok(Fetched::new(set).fresh_for(hint))
    }
}

/// The body of a 200; every other status is an error, whatever the body says.
pub(super) fn ok<'a>(answer: &'a Response, who: &str, now: Wall) -> Result<&'a [u8], FetchError> {
    if answer.status == StatusCode::OK {
        return Ok(&answer.body);
    }
    let kind = match answer.status {
        StatusCode::TOO_MANY_REQUESTS => FetchErrorKind::Throttled,
        other => FetchErrorKind::Status(other.as_u16()),
    };
    let error = FetchError::new(kind, format!("{who} answered {}", answer.status));
    Err(match transport::retry_after(&answer.headers, now) {
        Some(after) => error.retry_after(after),
        None => error,
    })
}

/// How long the answer stays fresh (RFC 9111 §4.2.1): `max-age`, else `Expires`, less its age.
fn fresh_for(headers: &HeaderMap, now: Wall) -> Option<Duration> {
    let text = |value: &HeaderValue| value.to_str().ok().map(str::to_owned);
    let mut max_age = None;
    for value in headers
        .get_all(header::CACHE_CONTROL)
        .iter()
        .filter_map(text)
    {
        for directive in value.split(',').map(|d| d.trim().to_ascii_lowercase()) {
            match directive.split_once('=') {
                Some(("max-age", seconds)) => {
                    max_age = transport::delta_seconds(seconds.trim_matches('"'));
                }
                None if directive == "no-store" || directive == "no-cache" => {
                    return Some(Duration::ZERO);
                }
                _ => {}
            }
        }
    }
    if let Some(max_age) = max_age {
        let age = headers.get(header::AGE).and_then(text);
        let age = age.and_then(|age| transport::delta_seconds(&age));
        return Some(max_age.saturating_sub(age.unwrap_or_default()));
    }
    let expires = headers.get(header::EXPIRES).and_then(text)?;
    let expires = httpdate::parse_http_date(&expires)
        .ok()
        .map(Wall::from_system);
    let sent = transport::server_date(headers).unwrap_or(now);
    // A date that cannot be read means "already expired" (RFC 9111 §5.3).
    Some(expires.unwrap_or_default().since(sent))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn freshness_comes_from_max_age_then_expires() {
        let of = |pairs: &[(&'static str, &'static str)]| {
            let mut headers = HeaderMap::new();
            for (name, value) in pairs {
                headers.append(*name, HeaderValue::from_static(value));
            }
            fresh_for(&headers, Wall::from_nanos(784_111_777 * 1_000_000_000))
        };
        let secs = |n| Some(Duration::from_secs(n));
        assert_eq!(of(&[]), None);
        assert_eq!(of(&[("cache-control", "public, max-age=600")]), secs(600));
        assert_eq!(
            of(&[("cache-control", "Max-Age=600"), ("age", "100")]),
            secs(500)
        );
        assert_eq!(of(&[("cache-control", "max-age=60, no-cache")]), secs(0));
        for nonsense in ["max-age=x", "max-age=", "max-age=-1", "max-age=+1"] {
            assert_eq!(of(&[("cache-control", nonsense)]), None);
        }
        // RFC 9111 §1.2.2: what is too large to be counted is as large as can be.
        let (huge, age) = ("max-age=18446744073709551616", "18446744073709551616");
        assert_eq!(of(&[("cache-control", huge)]), secs(u64::MAX));
        assert_eq!(
            of(&[("cache-control", "max-age=60"), ("age", age)]),
            secs(0)
        );
        assert_eq!(
            of(&[("expires", "Sun, 06 Nov 1994 08:50:37 GMT")]),
            secs(60)
        );
        assert_eq!(
            of(&[
                ("expires", "Sun, 06 Nov 1994 08:50:37 GMT"),
                ("date", "Sun, 06 Nov 1994 08:50:07 GMT")
            ]),
            secs(30)
        );
        assert_eq!(of(&[("expires", "0")]), secs(0));
    }
}
