//! The token endpoint as a source of access tokens.

use std::sync::Arc;

use http::{HeaderValue, Method, header};
use parking_lot::Mutex;
use url::Url;
use url::form_urlencoded::Serializer;

use super::grant::ClientCredentials;
use super::{AccessToken, response};
use crate::clock::Clock;
use crate::event::Change;
use crate::fault::FetchError;
use crate::refresh::source::{Fetched, Source};
use crate::secret::Secret;
use crate::transport::{self, Transport};

/// The most that is read of a token response, in bytes.
const MAX_BODY: usize = 256 * 1024;

pub(super) struct TokenEndpoint {
    url: Url,
    grant: ClientCredentials,
    transport: Transport,
    clock: Clock,
    /// The secret that was sent last, to tell a new one.
    sent: Mutex<Option<Secret>>,
}

impl TokenEndpoint {
    pub(super) const fn new(
        url: Url,
        grant: ClientCredentials,
        transport: Transport,
        clock: Clock,
    ) -> Self {
        Self {
            url,
            grant,
            transport,
            clock,
            sent: Mutex::new(None),
        }
    }

    fn request(&self, secret: &Secret) -> Result<reqwest::RequestBuilder, FetchError> {
        let mut form = Serializer::new(String::new());
        form.append_pair("grant_type", "client_credentials");
        if let Some(scope) = &self.grant.scope {
            form.append_pair("scope", scope);
        }
        for (name, value) in &self.grant.parameters {
            form.append_pair(name, value);
        }
        let authorization =
            self.grant
                .client_auth
                .apply(&self.grant.client_id, secret, &mut form)?;
        let mut request = self
            .transport
            .request(Method::POST, &self.url)
            .header(
                header::CONTENT_TYPE,
                HeaderValue::from_static("application/x-www-form-urlencoded"),
            )
            .header(header::ACCEPT, HeaderValue::from_static("application/json"))
            .body(form.finish());
        if let Some(authorization) = authorization {
            request = request.header(header::AUTHORIZATION, authorization);
        }
        Ok(request)
    }
}

impl TokenEndpoint {
    /// Says so where the issuer granted less than what was asked for (RFC 6749 §3.3).
    fn narrowed(&self, granted: Option<&str>) -> Option<Change> {
        let (asked, granted) = (self.grant.scope.as_ref()?, granted?);
        let lacks = |scope: &&str| !granted.split(' ').any(|known| known == *scope);
        let missing: Vec<_> = asked
            .split_whitespace()
            .filter(lacks)
            .map(str::to_owned)
            .collect();
        (!missing.is_empty()).then_some(Change::ScopeNarrowed { missing })
    }
}

impl Source<AccessToken> for TokenEndpoint {
    async fn fetch(
        &self,
        _in_service: Option<Arc<AccessToken>>,
    ) -> Result<Fetched<AccessToken>, FetchError> {
        let secret = self.grant.secret.read().await?;
        let request = self.request(&secret)?;
        *self.sent.lock() = Some(secret.clone());
        let answer = Transport::send(request, MAX_BODY).await?;
        let retry_after = transport::retry_after(&answer.headers, self.clock.wall());
        let mut token = response::parse(answer.status, &answer.body, retry_after)
            .map_err(|error| error.without(secret.expose()))?;
        token.issuer_time = transport::server_date(&answer.headers);
        let notes = self.narrowed(token.granted_scope()).into_iter().collect();
        Ok(Fetched::new(token).notes(notes))
    }

    async fn changed(&self) {
        let refused = self.sent.lock().clone();
        self.grant.secret.changed_from(refused).await;
    }
}
