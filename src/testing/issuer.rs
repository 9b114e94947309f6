//! An OAuth 2.0 authorization server on loopback: metadata, key set, token endpoint.

use std::collections::{HashMap, VecDeque};
use std::fmt;
use std::io;
use std::sync::Arc;
use std::time::Duration;

use bytes::Bytes;
use http::{HeaderMap, HeaderValue, Method, Request, Response, StatusCode, header};
use http_body_util::{BodyExt, Limited};
use hyper::body::Incoming;
use hyper::service::service_fn;
use hyper_util::rt::TokioIo;
use parking_lot::Mutex;
use serde_json::{Value, json};
use tokio::net::TcpListener;
use tokio::task::JoinSet;
use url::form_urlencoded;

use super::SigningKey;
use super::fault::{self, CutShort, Endpoint, Fault, FaultyBody};
use crate::clock::Clock;
use crate::jwks::Algorithm;

const MAX_FORM: usize = 64 * 1024;

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

struct Shared {
    url: String,
    clock: Clock,
    state: Mutex<State>,
}

struct State {
    /// Those listed; the last one signs.
    keys: Vec<Arc<SigningKey>>,
    /// A key that signs though it is not listed, or is listed but not last.
    signer: Option<Arc<SigningKey>>,
    minted_keys: u32,
    algorithm: Algorithm,
    lifetime: Duration,
    clients: HashMap<String, Vec<String>>,
    extra_claims: Value,
    max_age: Option<u64>,
    counts: Counts,
    queued: HashMap<Endpoint, VecDeque<Fault>>,
    standing: HashMap<Endpoint, Fault>,
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
                extra_claims: self.extra_claims,
                max_age: self.max_age,
                counts: Counts::default(),
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
        let now = self.0.shared.clock.wall().as_secs();
        claims["iat"] = (now - 7200).into();
        claims["exp"] = (now - 3600).into();
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
        let secrets = secrets.iter().map(|secret| (*secret).to_owned()).collect();
        self.state(|state| state.clients.insert(client_id.into(), secrets));
    }

    /// How long tokens live from now on.
    pub fn set_lifetime(&self, lifetime: Duration) {
        self.state(|state| state.lifetime = lifetime);
    }
}

impl fmt::Debug for TestIssuer {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("TestIssuer")
            .field("url", &self.url())
            .finish_non_exhaustive()
    }
}

impl State {
    fn signer(&self) -> Arc<SigningKey> {
        match (&self.signer, self.keys.last()) {
            (Some(signer), _) => Arc::clone(signer),
            (None, Some(newest)) => Arc::clone(newest),
            (None, None) => Arc::new(SigningKey::generate(self.algorithm, "unlisted")),
        }
    }

    fn make_key(&mut self) -> String {
        self.minted_keys += 1;
        let kid = format!("key-{}", self.minted_keys);
        self.keys
            .push(Arc::new(SigningKey::generate(self.algorithm, kid.clone())));
        kid
    }

    /// Counts a request and takes the fault that awaits it.
    fn arrive(&mut self, endpoint: Endpoint) -> Option<Fault> {
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

/// Serves connections until the task is aborted, and they with it.
async fn serve(listener: TcpListener, shared: Arc<Shared>) {
    let mut connections = JoinSet::new();
    while let Ok((stream, _)) = listener.accept().await {
        let shared = Arc::clone(&shared);
        let service = service_fn(move |request| {
            let shared = Arc::clone(&shared);
            async move { shared.answer(request).await }
        });
        connections.spawn(async move {
            let connection = hyper::server::conn::http1::Builder::new()
                .serve_connection(TokioIo::new(stream), service);
            // A connection that was cut on purpose ends in an error.
            let _ = connection.await;
        });
        while connections.try_join_next().is_some() {}
    }
}

impl Shared {
    async fn answer(&self, request: Request<Incoming>) -> Result<Response<FaultyBody>, CutShort> {
        let endpoint = match (request.method(), request.uri().path()) {
            (&Method::GET, "/.well-known/openid-configuration")
            | (&Method::GET, "/.well-known/oauth-authorization-server") => Endpoint::Discovery,
            (&Method::GET, "/jwks") => Endpoint::Jwks,
            (&Method::POST, "/token") => Endpoint::Token,
            _ => {
                return Ok(respond(
                    StatusCode::NOT_FOUND,
                    &json!({"error": "not_found"}),
                ));
            }
        };
        let fault = self.state.lock().arrive(endpoint);
        let right = match endpoint {
            Endpoint::Discovery => self.metadata(),
            Endpoint::Jwks => self.jwks(request.headers()),
            Endpoint::Token => self.token(request).await,
        };
        match fault {
            None => Ok(right),
            Some(fault) => fault::apply(fault, right).await.ok_or(CutShort),
        }
    }

    fn metadata(&self) -> Response<FaultyBody> {
        let url = &self.url;
        let algorithm = self.state.lock().algorithm.as_str();
        respond(
            StatusCode::OK,
            &json!({
                "issuer": url,
                "jwks_uri": format!("{url}/jwks"),
                "token_endpoint": format!("{url}/token"),
                "grant_types_supported": ["client_credentials"],
                "response_types_supported": ["token"],
                "subject_types_supported": ["public"],
                "id_token_signing_alg_values_supported": [algorithm],
            }),
        )
    }

    fn jwks(&self, headers: &HeaderMap) -> Response<FaultyBody> {
        let mut state = self.state.lock();
        let keys: Vec<_> = state.keys.iter().map(|key| key.jwk()).collect();
        let kids: Vec<_> = state.keys.iter().map(|key| key.kid()).collect();
        let etag = format!("\"{}\"", kids.join("+"));
        let known = headers
            .get(header::IF_NONE_MATCH)
            .is_some_and(|known| known == &*etag);
        let mut response = if known {
            state.counts.jwks_unchanged += 1;
            let mut response = Response::new(FaultyBody::whole(Bytes::new()));
            *response.status_mut() = StatusCode::NOT_MODIFIED;
            response
        } else {
            respond(StatusCode::OK, &json!({ "keys": keys }))
        };
        let headers = response.headers_mut();
        if let Ok(etag) = HeaderValue::try_from(etag) {
            headers.insert(header::ETAG, etag);
        }
        if let Some(max_age) = state.max_age {
            let value = HeaderValue::try_from(format!("max-age={max_age}"));
            headers.extend(value.ok().map(|value| (header::CACHE_CONTROL, value)));
        }
        response
    }

    async fn token(&self, request: Request<Incoming>) -> Response<FaultyBody> {
        let (parts, body) = request.into_parts();
        let Ok(body) = Limited::new(body, MAX_FORM).collect().await else {
            return refuse(StatusCode::BAD_REQUEST, "invalid_request");
        };
        let body = body.to_bytes();
        let form: HashMap<_, _> = form_urlencoded::parse(&body).into_owned().collect();
        if form.get("grant_type").map(String::as_str) != Some("client_credentials") {
            return refuse(StatusCode::BAD_REQUEST, "unsupported_grant_type");
        }
        let Some((id, secret)) = client_of(&parts.headers, &form) else {
            return refuse(StatusCode::UNAUTHORIZED, "invalid_client");
        };
        let (key, lifetime, mut claims) = {
            let state = self.state.lock();
            let known = state
                .clients
                .get(&id)
                .map(|secrets| secrets.contains(&secret));
            if known == Some(false) || (known.is_none() && !state.clients.is_empty()) {
                return refuse(StatusCode::UNAUTHORIZED, "invalid_client");
            }
            (state.signer(), state.lifetime, state.extra_claims.clone())
        };
        claims["sub"] = id.clone().into();
        claims["client_id"] = id.into();
        claims["token_use"] = "access".into();
        claims["jti"] = format!("{:016x}", fastrand::u64(..)).into();
        let mut answer = json!({"token_type": "Bearer"});
        for (parameter, claim) in [("scope", "scope"), ("audience", "aud"), ("resource", "aud")] {
            if let Some(value) = form.get(parameter) {
                claims[claim] = value.clone().into();
            }
        }
        answer["expires_in"] = lifetime.as_secs().into();
        answer["access_token"] = key.token(&self.complete(claims, lifetime)).into();
        respond(StatusCode::OK, &answer)
    }

    fn complete(&self, mut claims: Value, lifetime: Duration) -> Value {
        let now = self.clock.wall().as_secs();
        for (name, value) in [
            ("iss", Value::from(self.url.clone())),
            ("iat", now.into()),
            ("exp", (now + lifetime.as_secs()).into()),
        ] {
            if claims.get(name).is_none() {
                claims[name] = value;
            }
        }
        claims
    }
}

/// The client's id and secret, from Basic (form-decoded, RFC 6749 §2.3.1) or the form.
fn client_of(headers: &HeaderMap, form: &HashMap<String, String>) -> Option<(String, String)> {
    let Some(value) = headers.get(header::AUTHORIZATION) else {
        return Some((
            form.get("client_id")?.clone(),
            form.get("client_secret")?.clone(),
        ));
    };
    let encoded = value.to_str().ok()?.strip_prefix("Basic ")?;
    let decoded = base64_simd::STANDARD.decode_to_vec(encoded).ok()?;
    let pair = String::from_utf8(decoded).ok()?;
    let (id, secret) = pair.split_once(':')?;
    let decode = |text: &str| {
        let pair = format!("x={text}");
        let decoded = form_urlencoded::parse(pair.as_bytes())
            .next()?
            .1
            .into_owned();
        Some(decoded)
    };
    Some((decode(id)?, decode(secret)?))
}

fn respond(status: StatusCode, body: &Value) -> Response<FaultyBody> {
    let mut response = Response::new(FaultyBody::whole(body.to_string()));
    *response.status_mut() = status;
    let json = HeaderValue::from_static("application/json");
    response.headers_mut().insert(header::CONTENT_TYPE, json);
    response
}

fn refuse(status: StatusCode, error: &str) -> Response<FaultyBody> {
    respond(status, &json!({ "error": error }))
}
