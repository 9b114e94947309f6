//! The half of a verifier's builder that is about keys: where they are, how often they are
//! fetched, how long they are trusted.

use std::fmt;
use std::sync::Arc;
use std::time::Duration;

use super::VerifierBuilder;
use crate::clock::Clock;
use crate::fault::ConfigError;
use crate::jwks::{KeySet, KeySetLimits, RotationPolicy};
use crate::jwt::key_source::{KeySource, Metadata};
use crate::jwt::profile::Profile;
use crate::refresh::address::Registration;
use crate::refresh::source::Source;
use crate::refresh::{RefreshPolicy, Start, within};
use crate::transport::Transport;

/// Everything about keys that the builder was told.
pub(super) struct KeySettings {
    source: KeySource,
    limits: KeySetLimits,
    issuer_host_only: bool,
    rotation: RotationPolicy,
    refresh: RefreshPolicy,
    start: Start,
    pub(super) unknown_key_wait: Duration,
}

impl KeySettings {
    pub(super) const fn new(source: KeySource) -> Self {
        Self {
            source,
            limits: KeySetLimits::new(),
            issuer_host_only: false,
            rotation: RotationPolicy::new(),
            refresh: RefreshPolicy::for_keys(),
            start: Start::Wait,
            unknown_key_wait: Duration::from_secs(1),
        }
    }

    pub(super) fn validate(&self) -> Result<(), ConfigError> {
        const MINUTE: Duration = Duration::from_secs(60);
        self.limits.validate()?;
        self.rotation.validate()?;
        self.refresh.validate()?;
        within(
            "unknown_key_wait",
            self.unknown_key_wait,
            Duration::ZERO,
            MINUTE,
        )
    }

    pub(super) fn show(&self, f: &mut fmt::DebugStruct<'_, '_>) {
        f.field("limits", &self.limits)
            .field("issuer_host_only", &self.issuer_host_only)
            .field("rotation", &self.rotation)
            .field("refresh", &self.refresh)
            .field("start", &self.start)
            .field("unknown_key_wait", &self.unknown_key_wait);
    }

    /// What the JWKS actor is to look after.
    pub(super) fn register(
        self,
        name: String,
        issuer: &str,
        transport: &Transport,
        clock: &Clock,
    ) -> Result<Registration<KeySet>, ConfigError> {
        let host = self.issuer_host_only.then_some(issuer);
        Ok(Registration {
            name: name.into(),
            store_key: self.source.store_key(issuer, host),
            source: self
                .source
                .connect(issuer, host, self.limits, transport, clock)?,
            policy: self.rotation,
            refresh: self.refresh,
            endpoint: None,
            start: self.start,
        })
    }
}

impl<P: Profile, C: Send + Sync + 'static> VerifierBuilder<P, C> {
    /// Fetches the keys from this URL instead of discovering it.
    pub fn jwks_url(mut self, url: impl Into<String>) -> Self {
        self.keys.source = KeySource::Url(url.into());
        self
    }

    /// Discovers the key set from the metadata of RFC 8414, at
    /// `/.well-known/oauth-authorization-server` before the issuer's path, instead of that of
    /// OpenID Connect Discovery, at `/.well-known/openid-configuration` behind it.
    pub fn authorization_server_metadata(mut self) -> Self {
        self.keys.source = KeySource::Discover(Metadata::AuthorizationServer);
        self
    }

    /// Discovers the key set from the metadata document at this URL. It must name the same issuer,
    /// to the last slash.
    pub fn discovery_url(mut self, url: impl Into<String>) -> Self {
        self.keys.source = KeySource::Discover(Metadata::At(url.into()));
        self
    }

    /// Takes discovered keys only from the issuer's own scheme, host and port. Defaults to whatever
    /// https URL the metadata names: large providers keep their keys on another host.
    pub const fn issuer_host_only(mut self) -> Self {
        self.keys.issuer_host_only = true;
        self
    }

    /// Takes the keys from a source of your own.
    pub fn key_source(mut self, source: impl Source<KeySet>) -> Self {
        self.keys.source = KeySource::Custom {
            source: Arc::new(source),
            stored_as: None,
        };
        self
    }

    /// As [`key_source`](Self::key_source), with a name under which the keys outlive the process
    /// where the runtime has a [`store`](crate::store); no other source of the issuer may have it.
    pub fn stored_key_source(
        mut self,
        name: impl Into<String>,
        source: impl Source<KeySet>,
    ) -> Self {
        self.keys.source = KeySource::Custom {
            source: Arc::new(source),
            stored_as: Some(name.into()),
        };
        self
    }

    /// How much of a key set is read. Defaults to [`KeySetLimits::new`].
    pub const fn key_set_limits(mut self, limits: KeySetLimits) -> Self {
        self.keys.limits = limits;
        self
    }

    /// How long [`Verifier::verify`](crate::Verifier::verify) waits for a fetch that decides
    /// whether an unknown key exists.
    ///
    /// To 1 min. Defaults to 1 s.
    pub const fn unknown_key_wait(mut self, wait: Duration) -> Self {
        self.keys.unknown_key_wait = wait;
        self
    }

    /// When keys are fetched and how long they are trusted. Defaults to
    /// [`RotationPolicy::default`].
    pub const fn rotation(mut self, policy: RotationPolicy) -> Self {
        self.keys.rotation = policy;
        self
    }

    /// How fetches are paced. Defaults to [`RefreshPolicy::for_keys`].
    pub const fn refresh(mut self, policy: RefreshPolicy) -> Self {
        self.keys.refresh = policy;
        self
    }

    /// When the keys are first fetched and who waits. Defaults to [`Start::Wait`].
    pub const fn start(mut self, start: Start) -> Self {
        self.keys.start = start;
        self
    }
}
