//! What a credential costs, counted: bytes, and time where there are many.

use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};
use std::time::Duration;

use allocation_counter::measure;
use midil_auth::oauth2::{AccessToken, ClientCredentials, Credential};
use midil_auth::testing::{TestClock, TestIssuer};
use midil_auth::{Auth, FetchError, Fetched, RefreshPolicy, Source, Start, TokenHandle};

pub(crate) const LIFETIME: Duration = Duration::from_secs(3600);

/// A source that costs next to nothing itself; all credentials share what it counts.
#[derive(Clone)]
pub(crate) struct Mint(Arc<Tokens>);

struct Tokens {
    issued: AtomicU64,
    lifetime: Duration,
}

impl Mint {
    pub(crate) fn of(lifetime: Duration) -> Self {
        let issued = AtomicU64::new(0);
        Self(Arc::new(Tokens { issued, lifetime }))
    }

    pub(crate) fn issued(&self) -> u64 {
        self.0.issued.load(Ordering::SeqCst)
    }

    /// Lets so much time pass that every credential is refreshed once: at 0.75 of the lifetime.
    pub(crate) async fn refresh_all(&self) {
        tokio::time::sleep(self.0.lifetime * 3 / 4 + Duration::from_secs(1)).await;
    }
}

impl Default for Mint {
    fn default() -> Self {
        Self::of(LIFETIME)
    }
}

impl Source<AccessToken> for Mint {
    async fn fetch(
        &self,
        _in_service: Option<Arc<AccessToken>>,
    ) -> Result<Fetched<AccessToken>, FetchError> {
        let n = self.0.issued.fetch_add(1, Ordering::SeqCst);
        Ok(Fetched::new(token(n, self.0.lifetime)?))
    }
}

/// As long as a small JWT.
fn token(n: u64, lifetime: Duration) -> Result<AccessToken, FetchError> {
    Ok(AccessToken::bearer(format!("{n:0>700}"))?.expires_in(lifetime))
}

/// A runtime of one thread with time that stands still while there is work.
pub(crate) fn runtime() -> tokio::runtime::Runtime {
    tokio::runtime::Builder::new_current_thread()
        .enable_time()
        .start_paused(true)
        .build()
        .expect("a runtime")
}

pub(crate) async fn start() -> (Auth, TestClock) {
    let clock = TestClock::virtual_time();
    let auth = Auth::builder().clock(clock.clock()).seed(1).start().await;
    (auth.expect("started"), clock)
}

/// `n` credentials, whose tokens are on their way.
pub(crate) async fn register(auth: &Auth, mint: &Mint, n: usize) -> Vec<TokenHandle> {
    let mut tokens = Vec::with_capacity(n);
    for number in 0..n {
        let credential = Credential::new(format!("tenant-{number}"), mint.clone())
            .refresh(RefreshPolicy::for_tokens().jitter(0.0))
            .start(Start::Background);
        let token = auth.token(credential).await;
        tokens.push(token.expect("in the background"));
    }
    tokens
}

/// `n` credentials with a token each.
pub(crate) async fn acquire(auth: &Auth, mint: &Mint, n: usize) -> Vec<TokenHandle> {
    let tokens = register(auth, mint, n).await;
    for token in &tokens {
        token.ready().await.expect("a token");
    }
    tokens
}

/// Bytes that are left of `n` credentials when all of them are gone again.
pub(crate) fn bytes_left_behind(n: usize) -> i64 {
    let runtime = runtime();
    let mint = Mint::default();
    let (auth, _clock) = runtime.block_on(start());
    let stays = runtime.block_on(acquire(&auth, &mint, 1));
    let all = measure(|| {
        drop(runtime.block_on(acquire(&auth, &mint, n)));
        runtime.block_on(async { tokio::time::sleep(Duration::from_millis(100)).await });
    });
    assert_eq!(auth.health().tokens.len(), stays.len());
    all.bytes_current
}

/// Bytes for each of `n` credentials that hold a token, beyond those of the token itself and of
/// the handle in the application's hand.
pub(crate) fn bytes_per_credential(n: usize) -> f64 {
    let runtime = runtime();
    let mint = Mint::default();
    let (auth, _clock) = runtime.block_on(start());
    // The first credential pays for what all of them share.
    let first = runtime.block_on(acquire(&auth, &mint, 1));
    let mut tokens = Vec::new();
    let all = measure(|| tokens = runtime.block_on(acquire(&auth, &mint, n)));
    let mut one = None;
    let token = measure(|| one = token(0, LIFETIME).ok().map(Arc::new));
    let handles = size_of::<TokenHandle>() * n;
    drop((first, one));
    assert_eq!(auth.health().tokens.len(), n);
    (all.bytes_current - i64::try_from(handles).expect("small")) as f64 / n as f64
        - token.bytes_current as f64
}

/// Bytes for each of `n` clients of the client-credentials grant that hold a token from an issuer,
/// beyond those of the token itself: their own settings and the secret that was accepted included.
pub(crate) fn bytes_per_client(n: usize) -> f64 {
    // On a thread of its own, whose allocations are not counted.
    let (issuer, url) = std::sync::mpsc::channel();
    let (done, stop) = tokio::sync::oneshot::channel::<()>();
    let server = std::thread::spawn(move || {
        real_runtime().block_on(async {
            let running = TestIssuer::builder().lifetime(LIFETIME).start().await;
            let running = running.expect("an issuer");
            issuer.send(running.token_url()).expect("heard");
            stop.await.expect("told");
        });
    });
    let url = url.recv().expect("an issuer");
    let runtime = real_runtime();
    let auth = runtime.block_on(Auth::start()).expect("started");
    let client = |number: usize| {
        let client = ClientCredentials::new(&url, format!("client-{number}"), "s3cr3t");
        client.scope("orders/read")
    };
    let acquire = |numbers: std::ops::Range<usize>, tokens: &mut Vec<TokenHandle>| {
        runtime.block_on(async {
            for number in numbers {
                tokens.push(auth.token(client(number)).await.expect("started"));
            }
        });
    };
    let mut tokens = Vec::with_capacity(2 * n);
    // The first ones pay for what all of them share: connections, and room in tables.
    acquire(0..n, &mut tokens);
    let all = measure(|| acquire(n..2 * n, &mut tokens));
    let mut copies = Vec::with_capacity(n);
    let values = measure(|| {
        for token in &tokens[n..] {
            let token = token.current().expect("a token");
            let copy = AccessToken::bearer(token.expose()).expect("sent once already");
            copies.push(Arc::new(copy.expires_in(LIFETIME)));
        }
    });
    done.send(()).expect("waiting");
    server.join().expect("an issuer that stops");
    (all.bytes_current - values.bytes_current) as f64 / n as f64
}

fn real_runtime() -> tokio::runtime::Runtime {
    tokio::runtime::Builder::new_current_thread()
        .enable_all()
        .build()
        .expect("a runtime")
}
