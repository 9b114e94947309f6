//! The client-credentials grant (RFC 6749 §4.4): what is asked for, and as whom.

use std::fmt;
use std::sync::Arc;

use super::credential::{Credential, SourceOf};
use super::endpoint::TokenEndpoint;
use super::rotation::Secrets;
use super::{ClientAuth, ClientSecret, LifetimePolicy};
use crate::fault::ConfigError;
use crate::refresh::{RefreshPolicy, Start};
use crate::store::StoreKey;
use crate::transport;

/// A credential of the client-credentials grant at any OAuth 2.0 provider.
///
/// # Example
///
/// ```
/// use midil_auth::oauth2::{ClientAuth, ClientCredentials, Credential};
///
/// let credentials = ClientCredentials::new("https://idp.example.com/oauth2/token", "orders", "s3cr3t")
///     .scope("inventory/read")
///     .client_auth(ClientAuth::Post);
/// assert!(Credential::try_from(credentials).is_ok());
///
/// let plain = ClientCredentials::new("http://idp.example.com/token", "orders", "s3cr3t");
/// let error = Credential::try_from(plain).unwrap_err();
/// assert_eq!(error.field(), "token_url");
/// ```
#[derive(Clone)]
#[must_use]
pub struct ClientCredentials {
    pub(crate) token_url: String,
    client_id: String,
    secret: ClientSecret,
    previous_secret: Option<ClientSecret>,
    client_auth: ClientAuth,
    scope: Option<String>,
    parameters: Vec<(String, String)>,
    name: Option<String>,
    refresh: RefreshPolicy,
    lifetime: LifetimePolicy,
    start: Start,
}

impl ClientCredentials {
    /// A client and the token endpoint it asks.
    pub fn new(
        token_url: impl Into<String>,
        client_id: impl Into<String>,
        client_secret: impl Into<ClientSecret>,
    ) -> Self {
        Self {
            token_url: token_url.into(),
            client_id: client_id.into(),
            secret: client_secret.into(),
            previous_secret: None,
            client_auth: ClientAuth::default(),
            scope: None,
            parameters: Vec::new(),
            name: None,
            refresh: RefreshPolicy::for_tokens(),
            lifetime: LifetimePolicy::default(),
            start: Start::Wait,
        }
    }

    /// Another secret of the same client, for as long as the two are rotated; both may come from
    /// anywhere. If the provider answers `invalid_client` to one, the other is tried in the same
    /// fetch, and the one that worked last is tried first the next time. Defaults to none.
    ///
    /// To rotate without a pause: give the provider a second secret; start the service with it
    /// and the old one as the previous; take the old one from the provider.
    pub fn previous_secret(mut self, secret: impl Into<ClientSecret>) -> Self {
        self.previous_secret = Some(secret.into());
        self
    }

    /// How the client proves itself. Defaults to `client_secret_basic`, form-encoded.
    pub const fn client_auth(mut self, method: ClientAuth) -> Self {
        self.client_auth = method;
        self
    }

    /// The scope to ask for, space-separated (RFC 6749 §3.3). Defaults to none, which leaves
    /// the choice to the provider.
    pub fn scope(mut self, scope: impl Into<String>) -> Self {
        self.scope = Some(scope.into()).filter(|scope| !scope.trim().is_empty());
        self
    }

    /// The API the token is for, as Auth0 and others call it.
    pub fn audience(self, audience: impl Into<String>) -> Self {
        self.parameter("audience", audience)
    }

    /// The API the token is for, as a URI (RFC 8707). May be given more than once.
    pub fn resource(self, resource: impl Into<String>) -> Self {
        self.parameter("resource", resource)
    }

    /// A parameter of the provider's own.
    pub fn parameter(mut self, name: impl Into<String>, value: impl Into<String>) -> Self {
        self.parameters.push((name.into(), value.into()));
        self
    }

    /// How events, logs and `health` call this credential. Defaults to
    /// `<client id>@<host of the token endpoint>`.
    pub fn name(mut self, name: impl Into<String>) -> Self {
        self.name = Some(name.into());
        self
    }

    /// How fetches are paced. Defaults to [`RefreshPolicy::for_tokens`].
    pub const fn refresh(mut self, policy: RefreshPolicy) -> Self {
        self.refresh = policy;
        self
    }

    /// How a token's lifetime is used. Defaults to [`LifetimePolicy::default`].
    pub const fn lifetime(mut self, policy: LifetimePolicy) -> Self {
        self.lifetime = policy;
        self
    }

    /// When the first token is fetched and who waits. Defaults to [`Start::Wait`].
    pub const fn start(mut self, start: Start) -> Self {
        self.start = start;
        self
    }
}

/// What each request asks for, and as whom. No more of a credential is kept: there may be many.
pub(super) struct Asked {
    pub(super) client_id: Box<str>,
    pub(super) client_auth: ClientAuth,
    pub(super) scope: Option<Box<str>>,
    pub(super) parameters: Box<[(String, String)]>,
}

/// How much of a fetch's time a secret may take to come; the rest is for the request.
const SHARE_OF_SECRET: f64 = 0.75;

/// Parameters that the grant itself sends.
const RESERVED: [&str; 4] = ["client_id", "client_secret", "grant_type", "scope"];

impl TryFrom<ClientCredentials> for Credential {
    type Error = ConfigError;

    fn try_from(grant: ClientCredentials) -> Result<Self, ConfigError> {
        let url = transport::endpoint("token_url", &grant.token_url)?;
        if grant.client_id.trim().is_empty() {
            return Err(ConfigError::new(
                "client_id",
                "is empty",
                "give the id of the app client",
            ));
        }
        grant.secret.check("client_secret")?;
        if let Some(previous) = &grant.previous_secret {
            previous.check("previous_secret")?;
        }
        let reserved = |name: &str| RESERVED.contains(&name);
        if let Some((name, _)) = grant.parameters.iter().find(|(name, _)| reserved(name)) {
            return Err(ConfigError::new(
                name.clone(),
                "is set as a parameter",
                "use the setter of that name",
            ));
        }
        let host = url.host_str().unwrap_or_default();
        let name = match &grant.name {
            Some(name) => name.clone(),
            None => format!("{}@{host}", grant.client_id),
        };
        let (refresh, lifetime, start) = (grant.refresh, grant.lifetime, grant.start);
        let endpoint = url.to_string();
        let key = StoreKey::of_grant(
            &endpoint,
            &grant.client_id,
            grant.client_auth.as_str(),
            grant.scope.as_deref(),
            &grant.parameters,
        );
        let source: SourceOf = Box::new(move |transport, clock, policy| {
            let patience = policy.pace.fetch_timeout.mul_f64(SHARE_OF_SECRET);
            let secrets = Secrets::new(grant.secret, grant.previous_secret, patience);
            let asked = Asked {
                client_id: grant.client_id.into(),
                client_auth: grant.client_auth,
                scope: grant.scope.map(Into::into),
                parameters: grant.parameters.into(),
            };
            let (url, transport) = (transport.share(url), transport.clone());
            let clock = clock.clone();
            Arc::new(TokenEndpoint::new(url, asked, secrets, transport, clock))
        });
        let credential = Self::from_parts(name, source, endpoint, refresh, lifetime, start)?;
        Ok(credential.stored_under(key))
    }
}

impl fmt::Debug for ClientCredentials {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        // The value of a parameter may be a secret: an assertion, a key.
        let parameters: Vec<_> = self.parameters.iter().map(|(name, _)| name).collect();
        f.debug_struct("ClientCredentials")
            .field("token_url", &self.token_url)
            .field("client_id", &self.client_id)
            .field("secret", &self.secret)
            .field("previous_secret", &self.previous_secret)
            .field("scope", &self.scope)
            .field("parameters", &parameters)
            .finish_non_exhaustive()
    }
}
