//! The token endpoint as a source of access tokens.

use std::sync::Arc;

use bytes::Bytes;
use http::{HeaderValue, Method, StatusCode, header};
use url::Url;
use url::form_urlencoded::Serializer;
use zeroize::Zeroizing;

use super::grant::Asked;
use super::rotation::Secrets;
use super::{AccessToken, response};
use crate::clock::Clock;
use crate::event::Change;
use crate::fault::{FetchError, FetchErrorKind};
use crate::refresh::source::{Fetched, Source};
use crate::secret::Secret;
use crate::transport::{self, Transport};

/// The most that is read of a token response, in bytes.
const MAX_BODY: usize = 256 * 1024;

pub(super) struct TokenEndpoint {
    url: Arc<Url>,
    asked: Asked,
    secrets: Secrets,
    transport: Transport,
    clock: Clock,
}

/// Why a request brought no token.
enum Failure {
    /// The provider does not know the client by this secret.
    ClientRefused(FetchError),
    Other(FetchError),
}

impl From<FetchError> for Failure {
    fn from(error: FetchError) -> Self {
        Self::Other(error)
    }
}

impl TokenEndpoint {
    pub(super) const fn new(
        url: Arc<Url>,
        asked: Asked,
        secrets: Secrets,
        transport: Transport,
        clock: Clock,
    ) -> Self {
        Self {
            url,
            asked,
            secrets,
            transport,
            clock,
        }
    }

    fn request(&self, secret: &Secret) -> Result<reqwest::RequestBuilder, FetchError> {
        let asked = &self.asked;
        let mut body = Zeroizing::new(String::new());
        let mut form = Serializer::new(&mut *body);
        form.append_pair("grant_type", "client_credentials");
        if let Some(scope) = &asked.scope {
            form.append_pair("scope", scope);
        }
        for (name, value) in &*asked.parameters {
            form.append_pair(name, value);
        }
        let authorization = asked
            .client_auth
            .apply(&asked.client_id, secret, &mut body)?;
        let mut request = self
            .transport
            .request(Method::POST, &self.url)
            .header(
                header::CONTENT_TYPE,
                HeaderValue::from_static("application/x-www-form-urlencoded"),
            )
            .header(header::ACCEPT, HeaderValue::from_static("application/json"))
            // Wiped when it has been sent.
            .body(Bytes::from_owner(body));
        if let Some(authorization) = authorization {
            request = request.header(header::AUTHORIZATION, authorization);
        }
        Ok(request)
    }

    /// Asks for a token with one secret.
    async fn ask(&self, secret: &Secret) -> Result<AccessToken, Failure> {
        let answer = Transport::send(self.request(secret)?, MAX_BODY).await?;
        let retry_after = transport::retry_after(&answer.headers, self.clock.wall());
        let echoes = self.asked.client_auth.echoes(&self.asked.client_id, secret);
        match response::parse(answer.status, &answer.body, retry_after, &echoes) {
            Ok(mut token) => {
                token.issuer_time = transport::server_date(&answer.headers);
                Ok(token)
            }
            Err(error) if is_client_refused(answer.status, &error) => {
                Err(Failure::ClientRefused(error))
            }
            Err(error) => Err(Failure::Other(error)),
        }
    }
}

/// Whether it is the client's proof that was refused: `invalid_client`, or what else a provider
/// writes into a 401 (RFC 6749 §5.2). Keycloak says `unauthorized_client`, Auth0 `access_denied`.
fn is_client_refused(status: StatusCode, error: &FetchError) -> bool {
    error.kind() == FetchErrorKind::Refused
        && !status.is_server_error()
        && (error.oauth_error() == Some("invalid_client") || status == StatusCode::UNAUTHORIZED)
}

impl TokenEndpoint {
    /// Says so where the issuer granted less than what was asked for (RFC 6749 §3.3).
    fn narrowed(&self, granted: Option<&str>) -> Option<Change> {
        let (asked, granted) = (self.asked.scope.as_ref()?, granted?);
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
        let mut attempt = self.secrets.attempt();
        while let Some((which, secret)) = attempt.next().await {
            match self.ask(&secret).await {
                Ok(token) => {
                    let mut notes = attempt.accepted(which, secret);
                    notes.extend(self.narrowed(token.granted_scope()));
                    return Ok(Fetched::new(token).notes(notes));
                }
                Err(Failure::ClientRefused(error)) => attempt.refused(which, secret, error),
                Err(Failure::Other(error)) => return Ok(attempt.failed(Some(error))),
            }
        }
        Ok(attempt.failed(None))
    }

    async fn changed(&self) {
        self.secrets.changed().await;
    }
}
