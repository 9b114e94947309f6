//! An OAuth 2.0 authorization server on loopback: metadata, key set, token endpoint.

use std::collections::{HashMap, VecDeque};
use std::fmt;
use std::io;
use std::sync::Arc;
use std::time::{Duration, SystemTime};

use parking_lot::Mutex;
use serde_json::{Map, Value, json};
use tokio::net::TcpListener;

use super::SigningKey;
use super::fault::{Endpoint, Fault};
use super::requests::{Log, LoggedRequest};
use super::server::serve;
use crate::clock::Clock;
use crate::jwks::Algorithm;

/// A real issuer in the test's own process, on a free loopback port. It stops when dropped.
///
/// ```
/// use midil_auth::testing::TestIssuer;
///
/// # #[tokio::main(flavor = "current_thread")]
/// # async fn main() -> std::io::Result<()> {
/// let issuer = TestIssuer::start().await?;
/// let token = issuer.mint(serde_json::json!({"sub": "ada", "aud": "orders"}));
/// assert_eq!(token.split('.').count(), 3);
/// assert_eq!(issuer.counts().token, 0);
/// # Ok(())
/// # }
/// ```
#[derive(Clone)]
pub struct TestIssuer(Arc<Running>);

struct Running {
    shared: Arc<Shared>,
    server: tokio::task::AbortHandle,
}

impl Drop for Running {
    fn drop(&mut self) {
        self.server.abort();
    }
}

pub(super) struct Shared {
    pub(super) url: String,
    pub(super) clock: Clock,
    pub(super) state: Mutex<State>,
}

pub(super) struct State {
    /// Those listed; the last one signs.
    pub(super) keys: Vec<Arc<SigningKey>>,
    /// A key that signs though it is not listed, or is listed but not last.
    pub(super) signer: Option<Arc<SigningKey>>,
    pub(super) minted_keys: u32,
    pub(super) algorithm: Algorithm,
    pub(super) lifetime: Duration,
    pub(super) clients: HashMap<String, Vec<String>>,
    /// What each client may ask for; one that is not here may ask for anything.
    pub(super) scopes: HashMap<String, Vec<String>>,
    pub(super) extra_claims: Value,
    /// Members of the metadata document that replace the usual ones.
    pub(super) metadata: Map<String, Value>,
    pub(super) max_age: Option<u64>,
    pub(super) counts: Counts,
    pub(super) requests: Log,
    /// Seconds that the issuer's clock is ahead.
    pub(super) clock_offset: i64,
    pub(super) queued: HashMap<Endpoint, VecDeque<Fault>>,
    pub(super) standing: HashMap<Endpoint, Fault>,
}

/// Requests that an issuer has had.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
#[non_exhaustive]
pub struct Counts {
    /// At the metadata document.
    pub discovery: u64,
    /// At the key set.
    pub jwks: u64,
    /// Those of them answered with 304.
    pub jwks_unchanged: u64,
    /// At the token endpoint.
    pub token: u64,
}

/// Starts a [`TestIssuer`] with other settings than the defaults.
#[derive(Clone, Debug)]
#[must_use]
pub struct TestIssuerBuilder {
    algorithm: Algorithm,
    lifetime: Duration,
    clients: HashMap<String, Vec<String>>,
    scopes: HashMap<String, Vec<String>>,
    extra_claims: Value,
    max_age: Option<u64>,
    clock: Clock,
}

impl Default for TestIssuerBuilder {
    fn default() -> Self {
        Self {
            algorithm: Algorithm::ES256,
            lifetime: Duration::from_secs(300),
            clients: HashMap::new(),
            scopes: HashMap::new(),
            extra_claims: json!({}),
            max_age: None,
            clock: Clock::system(),
        }
    }
}

impl TestIssuerBuilder {
    /// What the keys sign with. Defaults to ES256, whose keys are made fastest.
    pub const fn algorithm(mut self, algorithm: Algorithm) -> Self {
        self.algorithm = algorithm;
        self
    }

    /// How long tokens live. Defaults to 5 min.
    pub const fn lifetime(mut self, lifetime: Duration) -> Self {
        self.lifetime = lifetime;
        self
    }

    /// A client and its secret; more than one secret may be given. Defaults to none, which lets
    /// every client in with any secret.
    pub fn client(mut self, id: impl Into<String>, secret: impl Into<String>) -> Self {
        self.clients
            .entry(id.into())
            .or_default()
            .push(secret.into());
        self
    }

    /// The scopes that a client may have: it is granted those of them that it asks for, all of them
    /// if it asks for none, and `invalid_scope` if nothing is left (RFC 6749 §3.3, §5.2). Defaults
    /// to whatever it asks for.
    pub fn scopes(mut self, client_id: impl Into<String>, scopes: &[&str]) -> Self {
        self.scopes.insert(client_id.into(), owned(scopes));
        self
    }

    /// Claims of every token from the token endpoint, on top of the usual ones.
    pub fn claims(mut self, claims: Value) -> Self {
        self.extra_claims = claims;
        self
    }

    /// `Cache-Control: max-age` of the key set, in seconds. Defaults to none.
    pub const fn max_age(mut self, seconds: u64) -> Self {
        self.max_age = Some(seconds);
        self
    }

    /// The issuer's clock. Defaults to the system's.
    pub fn clock(mut self, clock: Clock) -> Self {
        self.clock = clock;
        self
    }

    /// Starts the issuer on a free loopback port.
    ///
    /// # Errors
    ///
    /// When no port can be bound.
    pub async fn start(self) -> io::Result<TestIssuer> {
        let listener = TcpListener::bind(("127.0.0.1", 0)).await?;
        let url = format!("http://{}", listener.local_addr()?);
        let shared = Arc::new(Shared {
            url,
            clock: self.clock,
            state: Mutex::new(State {
                keys: vec![Arc::new(SigningKey::generate(self.algorithm, "key-1"))],
                signer: None,
                minted_keys: 1,
                algorithm: self.algorithm,
                lifetime: self.lifetime,
                clients: self.clients,
                scopes: self.scopes,
                extra_claims: self.extra_claims,
                metadata: Map::new(),
                max_age: self.max_age,
                counts: Counts::default(),
                requests: Log::default(),
                clock_offset: 0,
                queued: HashMap::new(),
                standing: HashMap::new(),
            }),
        });
        let server = tokio::spawn(serve(listener, Arc::clone(&shared))).abort_handle();
        Ok(TestIssuer(Arc::new(Running { shared, server })))
    }
}

impl TestIssuer {
    /// Starts an issuer with the defaults.
    ///
    /// # Errors
    ///
    /// When no port can be bound.
    pub async fn start() -> io::Result<Self> {
        Self::builder().start().await
    }

    /// To start with other settings than the defaults.
    pub fn builder() -> TestIssuerBuilder {
        TestIssuerBuilder::default()
    }

    /// The issuer: the `iss` of its tokens.
    #[must_use]
    pub fn url(&self) -> &str {
        &self.0.shared.url
    }

    /// The token endpoint.
    #[must_use]
    pub fn token_url(&self) -> String {
        format!("{}/token", self.url())
    }

    /// The key set.
    #[must_use]
    pub fn jwks_url(&self) -> String {
        format!("{}/jwks", self.url())
    }

    /// The requests so far.
    #[must_use]
    pub fn counts(&self) -> Counts {
        self.state(|state| state.counts)
    }

    /// The last ten thousand requests, oldest first: what the counts do not tell.
    #[must_use]
    pub fn requests(&self) -> Vec<LoggedRequest> {
        self.state(|state| state.requests.to_vec())
    }

    fn state<R>(&self, look: impl FnOnce(&mut State) -> R) -> R {
        look(&mut self.0.shared.state.lock())
    }

    /// A token of these claims, signed with the current key; `iss`, `iat` and `exp` are added
    /// where they are not given.
    #[must_use]
    pub fn mint(&self, claims: Value) -> String {
        let (key, lifetime) = self.state(|state| (state.signer(), state.lifetime));
        key.token(&self.0.shared.complete(claims, lifetime))
    }

    /// A token that expired an hour ago.
    #[must_use]
    pub fn mint_expired(&self, mut claims: Value) -> String {
        let now = self.0.shared.now();
        claims["iat"] = (now - 7200).into();
        claims["exp"] = (now - 3600).into();
        self.mint(claims)
    }

    /// A good token for somebody else: of these claims, but for another `aud`.
    #[must_use]
    pub fn mint_wrong_audience(&self, mut claims: Value) -> String {
        claims["aud"] = "somebody-else".into();
        self.mint(claims)
    }

    /// A token signed with a key that is not the issuer's, under the key id of one that is.
    #[must_use]
    pub fn mint_forged(&self, claims: Value) -> String {
        let (key, lifetime) = self.state(|state| (state.signer(), state.lifetime));
        let forger = SigningKey::generate(key.algorithm(), key.kid());
        forger.token(&self.0.shared.complete(claims, lifetime))
    }

    /// The key that signs.
    #[must_use]
    pub fn signing_key(&self) -> Arc<SigningKey> {
        self.state(|state| state.signer())
    }

    /// Lists a new key; the old one goes on signing until [`switch_key`](Self::switch_key).
    /// Returns the new key's id.
    pub fn publish_key(&self) -> String {
        self.state(|state| {
            let signer = state.signer();
            let key = state.make_key();
            state.signer = Some(signer);
            key
        })
    }

    /// Signs with the newest key; the old ones stay listed.
    pub fn switch_key(&self) {
        self.state(|state| state.signer = None);
    }

    /// Lists a new key and signs with it; the old ones stay listed. Returns its id.
    pub fn rotate(&self) -> String {
        self.state(|state| {
            state.signer = None;
            state.make_key()
        })
    }

    /// Lists nothing but the newest key.
    pub fn drop_old_keys(&self) {
        self.state(|state| {
            state.signer = None;
            let older = state.keys.len().saturating_sub(1);
            state.keys.drain(..older);
        });
    }

    /// Makes the next `times` requests at an endpoint go wrong.
    pub fn fail_next(&self, endpoint: Endpoint, times: usize, fault: Fault) {
        self.state(|state| {
            let faults = std::iter::repeat_n(fault, times);
            state.queued.entry(endpoint).or_default().extend(faults);
        });
    }

    /// Makes every request at an endpoint go wrong until [`recover`](Self::recover).
    pub fn fail(&self, endpoint: Endpoint, fault: Fault) {
        self.state(|state| state.standing.insert(endpoint, fault));
    }

    /// Makes everything go right again.
    pub fn recover(&self) {
        self.state(|state| {
            state.standing.clear();
            state.queued.clear();
        });
    }

    /// Replaces the secrets of a client.
    pub fn set_secrets(&self, client_id: impl Into<String>, secrets: &[&str]) {
        self.state(|state| state.clients.insert(client_id.into(), owned(secrets)));
    }

    /// Replaces the [scopes](TestIssuerBuilder::scopes) that a client may have.
    pub fn set_scopes(&self, client_id: impl Into<String>, scopes: &[&str]) {
        self.state(|state| state.scopes.insert(client_id.into(), owned(scopes)));
    }

    /// Makes the issuer's clock wrong by so many seconds: ahead, or behind if negative. `iat` and
    /// `exp` of its tokens follow.
    pub fn set_clock_offset(&self, seconds: i64) {
        self.state(|state| state.clock_offset = seconds);
    }

    /// Sets a member of the metadata document (RFC 8414 §2).
    pub fn set_metadata(&self, member: impl Into<String>, value: impl Into<Value>) {
        self.state(|state| state.metadata.insert(member.into(), value.into()));
    }

    /// How long tokens live from now on.
    pub fn set_lifetime(&self, lifetime: Duration) {
        self.state(|state| state.lifetime = lifetime);
    }
}

fn owned(texts: &[&str]) -> Vec<String> {
    texts.iter().map(|text| (*text).to_owned()).collect()
}

impl fmt::Debug for TestIssuer {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("TestIssuer")
            .field("url", &self.url())
            .finish_non_exhaustive()
    }
}

impl Shared {
    /// Seconds since 1970, by the issuer's clock.
    pub(super) fn now(&self) -> u64 {
        let offset = self.state.lock().clock_offset;
        self.clock.wall().as_secs().saturating_add_signed(offset)
    }

    pub(super) fn time(&self) -> SystemTime {
        SystemTime::UNIX_EPOCH + Duration::from_secs(self.now())
    }
}

impl State {
    pub(super) fn signer(&self) -> Arc<SigningKey> {
        match (&self.signer, self.keys.last()) {
            (Some(signer), _) => Arc::clone(signer),
            (None, Some(newest)) => Arc::clone(newest),
            (None, None) => Arc::new(SigningKey::generate(self.algorithm, "unlisted")),
        }
    }

    /// What of `asked` the client is granted; `None` if nothing.
    pub(super) fn grant(&self, client_id: &str, asked: Option<&str>) -> Option<String> {
        let asked = asked.unwrap_or_default();
        let Some(allowed) = self.scopes.get(client_id) else {
            return Some(asked.to_owned());
        };
        let wanted =
            |scope: &&String| asked.is_empty() || asked.split(' ').any(|one| one == *scope);
        let granted: Vec<_> = allowed.iter().filter(wanted).map(String::as_str).collect();
        (!granted.is_empty()).then(|| granted.join(" "))
    }

    fn make_key(&mut self) -> String {
        self.minted_keys += 1;
        let kid = format!("key-{}", self.minted_keys);
        self.keys
            .push(Arc::new(SigningKey::generate(self.algorithm, kid.clone())));
        kid
    }

    /// Counts a request and takes the fault that awaits it.
    pub(super) fn arrive(&mut self, endpoint: Endpoint) -> Option<Fault> {
        let count = match endpoint {
            Endpoint::Discovery => &mut self.counts.discovery,
            Endpoint::Jwks => &mut self.counts.jwks,
            Endpoint::Token => &mut self.counts.token,
        };
        *count += 1;
        let queued = self.queued.get_mut(&endpoint).and_then(VecDeque::pop_front);
        queued.or_else(|| self.standing.get(&endpoint).cloned())
    }
}
