//! `Auth`: the runtime component that an application starts once.

use std::fmt;
use std::sync::Arc;
use std::time::Duration;

use serde::Serialize;

use crate::clock::Clock;
use crate::error::AuthError;
use crate::event::{Announcer, Events};
use crate::fault::ConfigError;
use crate::jwt::{Profile, Verifier, VerifierBuilder};
use crate::meter;
use crate::oauth2::{Credential, MAX_CREDENTIALS, TokenHandle, TokenState, TokenStatus};
use crate::refresh::address::Address;
use crate::refresh::handle::Handle;
use crate::refresh::lifecycle::State;
use crate::refresh::{Snapshot, Start, within};
use crate::secret::Secret;
use crate::store::{Backing, Store};
use crate::supervisor::{Runtime, Tree};
use crate::transport::{self, Proxying, Transport};

/// Events that a subscriber may fall behind before it misses some.
const EVENT_CAPACITY: usize = 1_024;

/// The running component: a token-manager actor for every credential, a JWKS actor for every
/// issuer. Cheap to clone.
///
/// Start it once, clone the handles it gives into request handlers. It stops with
/// [`shutdown`](Self::shutdown), or by itself when the last clone and the last handle are gone.
///
/// # Example
///
/// ```
/// use midil_auth::oauth2::ClientCredentials;
/// use midil_auth::testing::TestIssuer;
/// use midil_auth::Auth;
///
/// # #[tokio::main(flavor = "current_thread")]
/// # async fn main() -> Result<(), Box<dyn std::error::Error>> {
/// let issuer = TestIssuer::start().await?;
/// let auth = Auth::start().await?;
///
/// let token = auth
///     .token(ClientCredentials::new(issuer.token_url(), "orders", "s3cr3t"))
///     .await?;
/// let verifier = auth
///     .verifier(midil_auth::jwt::Verifier::builder(issuer.url()).client_id("orders"))
///     .await?;
///
/// let header = token.authorization()?;
/// assert!(header.is_sensitive());
/// let claims = verifier.verify(token.current()?.expose()).await?;
/// assert_eq!(claims.client_id(), Some("orders"));
///
/// auth.shutdown().await;
/// # Ok(())
/// # }
/// ```
#[derive(Clone)]
pub struct Auth(Arc<Inner>);

struct Inner {
    tree: Tree,
    runtime: Runtime,
    transport: Transport,
}

/// How long a store may take to answer unless the builder says otherwise.
const STORE_TIMEOUT: Duration = Duration::from_secs(1);

/// Starts an [`Auth`] with other settings than the defaults.
#[derive(Clone, Debug)]
#[must_use]
pub struct AuthBuilder {
    clock: Clock,
    seed: Option<u64>,
    transport: transport::Settings,
    store: Option<Backing>,
    store_timeout: Duration,
}

impl Default for AuthBuilder {
    fn default() -> Self {
        Self {
            clock: Clock::default(),
            seed: None,
            transport: transport::Settings::default(),
            store: None,
            store_timeout: STORE_TIMEOUT,
        }
    }
}

impl AuthBuilder {
    /// Where the time is read. Defaults to the system's clocks.
    pub fn clock(mut self, clock: Clock) -> Self {
        self.clock = clock;
        self
    }

    /// The seed of every jitter, to repeat a run. Defaults to a random one.
    pub const fn seed(mut self, seed: u64) -> Self {
        self.seed = Some(seed);
        self
    }

    /// The proxy through which issuers are reached, `http://host:port`, with `user:password@`
    /// before the host if it wants to know who asks; TLS goes through it end to end. Requests to
    /// this machine never take it, all others do, whatever the environment says. Defaults to what
    /// the environment says (`HTTPS_PROXY`, `NO_PROXY`), or else the system.
    pub fn proxy(mut self, url: impl Into<Secret>) -> Self {
        self.transport.proxy = Proxying::Url(url.into());
        self
    }

    /// Reaches issuers without a proxy, whatever the environment says.
    pub fn no_proxy(mut self) -> Self {
        self.transport.proxy = Proxying::None;
        self
    }

    /// Trusts issuers by this certificate, too, or by those of a bundle, in PEM: such as that of
    /// a company's own authority. May be given more than once. Defaults to those of the system
    /// alone.
    pub fn add_root_certificate(mut self, pem: impl Into<Vec<u8>>) -> Self {
        self.transport.roots.push(pem.into());
        self
    }

    /// How long connecting to an issuer may take, TLS and a proxy included, within the deadline
    /// of the fetch ([`fetch_timeout`](crate::RefreshPolicy::fetch_timeout)).
    ///
    /// From 1 ms to 10 min. Defaults to 5 s.
    pub const fn connect_timeout(mut self, timeout: Duration) -> Self {
        self.transport.connect_timeout = timeout;
        self
    }

    /// How long an issuer may keep silent, before its answer or in the middle of it, within the
    /// deadline of the fetch. For an issuer that is slower than that, raise both.
    ///
    /// From 1 ms to 10 min. Defaults to 5 s.
    pub const fn read_timeout(mut self, timeout: Duration) -> Self {
        self.transport.read_timeout = timeout;
        self
    }

    /// Keeps the last good tokens and key sets where they outlive the process: see
    /// [`store`](crate::store). Defaults to nowhere.
    pub fn store(mut self, store: impl Store) -> Self {
        self.store = Some(Backing {
            store: Arc::new(store),
            patience: STORE_TIMEOUT,
        });
        self
    }

    /// How long the first fetch of a credential or key set waits for what the store has.
    ///
    /// From 1 ms to 1 min. Defaults to 1 s.
    pub const fn store_timeout(mut self, timeout: Duration) -> Self {
        self.store_timeout = timeout;
        self
    }

    fn backing(&self) -> Result<Option<Backing>, ConfigError> {
        let patience = self.store_timeout;
        let (least, most) = (Duration::from_millis(1), Duration::from_secs(60));
        within("store_timeout", patience, least, most)?;
        let store = self.store.clone();
        Ok(store.map(|store| Backing { patience, ..store }))
    }

    /// Starts the actors on the current tokio runtime.
    ///
    /// # Errors
    ///
    /// [`AuthError::Configuration`] for a setting that cannot be used.
    pub async fn start(self) -> Result<Auth, AuthError> {
        let transport = Transport::new(&self.transport)?;
        let store = self.backing()?;
        let runtime = Runtime {
            tokens: Arc::new(Address::new(store.clone())),
            keys: Arc::new(Address::new(store)),
            announcer: Announcer::new(EVENT_CAPACITY),
            clock: self.clock,
            seed: self.seed.unwrap_or_else(|| fastrand::u64(..)),
        };
        meter::describe();
        let tree = Tree::start(runtime.clone()).await.ok_or_else(|| {
            ConfigError::new(
                "runtime",
                "cannot run actors",
                "start Auth on a tokio runtime that is not shutting down",
            )
        })?;
        Ok(Auth(Arc::new(Inner {
            tree,
            runtime,
            transport,
        })))
    }
}

impl Auth {
    /// Starts the actors on the current tokio runtime.
    ///
    /// # Errors
    ///
    /// [`AuthError::Configuration`] when no HTTP client can be built.
    pub async fn start() -> Result<Self, AuthError> {
        Self::builder().start().await
    }

    /// To start with other settings than the defaults.
    pub fn builder() -> AuthBuilder {
        AuthBuilder::default()
    }

    /// Takes a credential into the token manager's care.
    ///
    /// Returns once the first token is there; see [`Start`] for the other ways.
    ///
    /// The settings of a credential never change under its handles. To change them, register it
    /// anew, which fetches at once whatever the old one waits for, hand out the new handle, and
    /// drop the old one: it serves until then and is retired with its last handle. A new secret
    /// needs none of this.
    ///
    /// # Errors
    ///
    /// [`AuthError::Configuration`] for a setting that cannot be used,
    /// [`AuthError::Authentication`] when the first token could not be had.
    pub async fn token<C>(&self, credential: C) -> Result<TokenHandle, AuthError>
    where
        C: TryInto<Credential>,
        C::Error: Into<ConfigError>,
    {
        let Inner {
            runtime,
            transport,
            tree,
        } = &*self.0;
        let credential = credential.try_into().map_err(Into::into)?;
        let registration = credential.register(transport, &runtime.clock)?;
        let start = registration.start;
        let entry = runtime.tokens.register(registration);
        let handle = Handle::new(
            Arc::clone(&runtime.tokens),
            entry,
            Some(Arc::clone(&tree.lifeline)),
            runtime.clock.clone(),
        );
        let hot = runtime.tokens.count() <= MAX_CREDENTIALS;
        let token = TokenHandle::new(handle, hot);
        if start == Start::Wait {
            token.started().await?;
        }
        Ok(token)
    }

    /// Takes an issuer's keys into the JWKS actor's care and makes a verifier for its tokens.
    ///
    /// Returns once the first key set is there; see [`Start`] for the other ways.
    ///
    /// # Errors
    ///
    /// [`AuthError::Configuration`] for a setting that cannot be used,
    /// [`AuthError::Unavailable`] when the first key set could not be had.
    pub async fn verifier<P: Profile, C: Send + Sync + 'static>(
        &self,
        builder: VerifierBuilder<P, C>,
    ) -> Result<Verifier<P, C>, AuthError> {
        let Inner {
            runtime,
            transport,
            tree,
        } = &*self.0;
        let (registration, rules) = builder.register(transport, &runtime.clock)?;
        let start = registration.start;
        let entry = runtime.keys.register(registration);
        let verifier = Verifier::fresh(
            rules,
            Handle::new(
                Arc::clone(&runtime.keys),
                entry,
                Some(Arc::clone(&tree.lifeline)),
                runtime.clock.clone(),
            ),
        );
        if start == Start::Wait {
            verifier.started().await?;
        }
        Ok(verifier)
    }

    /// Everything that happens from now on, to any credential or key set.
    #[must_use]
    pub fn events(&self) -> Events {
        self.0.runtime.announcer.subscribe()
    }

    /// How every credential and key set stands; for readiness and liveness endpoints.
    #[must_use]
    pub fn health(&self) -> Health {
        let runtime = &self.0.runtime;
        let now = runtime.clock.now();
        let mut tokens: Vec<_> = runtime
            .tokens
            .entries()
            .iter()
            .map(|entry| TokenStatus::of(&entry.name, &entry.publisher.published().load(), now))
            .collect();
        let mut keys: Vec<_> = runtime
            .keys
            .entries()
            .iter()
            .map(|entry| {
                let snapshot = entry.publisher.published().latest();
                KeysStatus::of(
                    &entry.name,
                    &snapshot,
                    snapshot.usable(now).is_some(),
                    &runtime.clock,
                )
            })
            .collect();
        tokens.sort_by(|a, b| a.name.cmp(&b.name));
        keys.sort_by(|a, b| a.name.cmp(&b.name));
        // What nobody has asked for yet keeps nobody waiting.
        let serving = |state| {
            matches!(
                state,
                TokenState::Fresh | TokenState::Degraded | TokenState::Idle
            )
        };
        Health {
            live: !runtime.tokens.is_closed(),
            ready: !runtime.tokens.is_closed()
                && tokens.iter().all(|token| serving(token.state))
                && keys.iter().all(|keys| keys.usable || keys.idle),
            tokens,
            keys,
        }
    }

    /// How many messages handles have sent to the actors; a hot path sends none.
    #[must_use]
    pub fn messages_sent(&self) -> u64 {
        self.0.runtime.tokens.messages_sent() + self.0.runtime.keys.messages_sent()
    }

    /// Stops everything and waits until it has, two seconds at most. May be called any number of
    /// times. Every handle answers `Stopped` from then on.
    pub async fn shutdown(&self) {
        self.0.tree.stop().await;
    }

    /// Crashes the token manager or the JWKS actor, to see that nobody notices.
    #[cfg(feature = "testing")]
    pub fn crash(&self, actor: crate::event::Actor) {
        match actor {
            crate::event::Actor::TokenManager => self.0.runtime.tokens.crash(),
            crate::event::Actor::Jwks => self.0.runtime.keys.crash(),
            crate::event::Actor::Supervisor => {}
        }
    }
}

impl fmt::Debug for Auth {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Auth")
            .field("health", &self.health())
            .finish()
    }
}

/// How everything stands; holds no secret.
///
/// Serialized, it has the members `live`, `ready`, `tokens` (as [`TokenStatus`] shows) and `keys`.
/// A liveness probe answers by `live`, a readiness probe by `ready`.
#[derive(Clone, Debug, Serialize)]
#[non_exhaustive]
pub struct Health {
    /// The actors are running; restarting the process would not help.
    pub live: bool,
    /// Every credential has a token that can be sent and every key set can be verified with, but
    /// for lazy ones that nobody has asked for.
    pub ready: bool,
    /// The credentials, by name.
    pub tokens: Vec<TokenStatus>,
    /// The key sets, by name.
    pub keys: Vec<KeysStatus>,
}

/// How a key set stands.
#[derive(Clone, Debug, Serialize)]
#[non_exhaustive]
pub struct KeysStatus {
    /// The issuer's name.
    pub name: String,
    /// Whether tokens can be verified.
    pub usable: bool,
    /// Lazy, and no token has come yet.
    pub idle: bool,
    /// How many key sets have been in service.
    pub version: u64,
    /// The ids of the keys in service.
    pub kids: Vec<String>,
    /// How long ago the set was last confirmed. Serialized in seconds.
    #[serde(serialize_with = "crate::clock::seconds::duration")]
    pub age: Option<Duration>,
    /// Failures in a row.
    pub failures: u32,
    /// The last of them.
    pub last_error: Option<String>,
}

impl KeysStatus {
    fn of(
        name: &str,
        snapshot: &Snapshot<crate::jwks::KeySet>,
        usable: bool,
        clock: &Clock,
    ) -> Self {
        let set = snapshot.value.as_ref();
        Self {
            name: name.to_owned(),
            usable,
            idle: snapshot.state == State::Idle,
            version: snapshot.version,
            kids: set
                .map(|set| set.kids().map(str::to_owned).collect())
                .unwrap_or_default(),
            age: set.map(|_| clock.tick().since(snapshot.confirmed)),
            failures: snapshot.failures,
            last_error: snapshot.error.as_ref().map(ToString::to_string),
        }
    }
}
