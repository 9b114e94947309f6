//! What an application registers to get a [`TokenHandle`](super::TokenHandle).

use std::fmt;
use std::sync::Arc;

use super::{AccessToken, LifetimePolicy};
use crate::clock::Clock;
use crate::fault::ConfigError;
use crate::refresh::address::Registration;
use crate::refresh::source::{DynSource, Source};
use crate::refresh::{RefreshPolicy, Start};
use crate::store::StoreKey;
use crate::transport::Transport;

/// Makes the source once the runtime's HTTP client and clock and the policy are known.
pub(super) type SourceOf =
    Box<dyn FnOnce(&Transport, &Clock, &RefreshPolicy) -> Arc<dyn DynSource<AccessToken>> + Send>;

/// A credential: where its tokens come from and how they are kept fresh.
///
/// Made from [`ClientCredentials`](super::ClientCredentials), from
/// [`cognito::ClientCredentials`](crate::cognito::ClientCredentials), or from a source of your
/// own.
#[must_use]
pub struct Credential {
    name: Arc<str>,
    source: SourceOf,
    endpoint: Option<Arc<str>>,
    store_key: Option<StoreKey>,
    refresh: RefreshPolicy,
    lifetime: LifetimePolicy,
    start: Start,
}

impl Credential {
    /// A credential with a source of your own. `name` is what events, logs and `health` call it.
    pub fn new(name: impl Into<String>, source: impl Source<AccessToken>) -> Self {
        let source: Arc<dyn DynSource<AccessToken>> = Arc::new(source);
        Self {
            name: name.into().into(),
            source: Box::new(move |_, _, _| source),
            endpoint: None,
            store_key: None,
            refresh: RefreshPolicy::for_tokens(),
            lifetime: LifetimePolicy::default(),
            start: Start::Wait,
        }
    }

    pub(super) fn from_parts(
        name: String,
        source: SourceOf,
        endpoint: String,
        refresh: RefreshPolicy,
        lifetime: LifetimePolicy,
        start: Start,
    ) -> Result<Self, ConfigError> {
        refresh.validate()?;
        lifetime.validate()?;
        Ok(Self {
            name: name.into(),
            source,
            endpoint: Some(endpoint.into()),
            store_key: None,
            refresh,
            lifetime,
            start,
        })
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

    /// The name under which the tokens of a source of your own outlive the process, where the
    /// runtime has a [`store`](crate::store); no other source may have it. Defaults to none: its
    /// tokens are not stored. Client credentials are stored under what they ask for.
    pub fn stored_as(mut self, name: impl AsRef<str>) -> Self {
        self.store_key = Some(StoreKey::of_source(name.as_ref()));
        self
    }

    pub(super) fn stored_under(mut self, key: StoreKey) -> Self {
        self.store_key = Some(key);
        self
    }

    pub(crate) fn register(
        self,
        transport: &Transport,
        clock: &Clock,
    ) -> Result<Registration<AccessToken>, ConfigError> {
        self.refresh.validate()?;
        self.lifetime.validate()?;
        Ok(Registration {
            name: self.name,
            source: (self.source)(transport, clock, &self.refresh),
            policy: self.lifetime,
            refresh: self.refresh,
            endpoint: self.endpoint,
            store_key: self.store_key,
            start: self.start,
        })
    }
}

impl fmt::Debug for Credential {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Credential")
            .field("name", &self.name)
            .field("refresh", &self.refresh)
            .field("lifetime", &self.lifetime)
            .field("start", &self.start)
            .finish_non_exhaustive()
    }
}
