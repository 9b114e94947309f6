//! Where the client secret comes from, and how it is rotated while everybody reads.

use std::fs;
use std::path::PathBuf;
use std::sync::atomic::{AtomicBool, AtomicU32};
use std::thread;

use midil_auth::event::SecretRole::{Current, Previous};
use parking_lot::Mutex;
use tokio::time::Instant;

use super::*;

/// A request handler on a thread of its own that reads twenty thousand times a second.
struct Busy {
    done: Arc<AtomicBool>,
    thread: thread::JoinHandle<(u64, u64, Duration)>,
}

impl Busy {
    fn of(token: &TokenHandle) -> Self {
        let (done, token) = (Arc::new(AtomicBool::new(false)), token.clone());
        let stop = Arc::clone(&done);
        let thread = thread::spawn(move || {
            let (begun, mut took) = (Instant::now(), Duration::ZERO);
            let (mut reads, mut failed) = (0, 0);
            while !stop.load(Ordering::Relaxed) {
                took = begun.elapsed();
                while reads < 20 * took.as_millis() as u64 {
                    reads += 1;
                    failed += u64::from(token.authorization().is_err());
                }
                thread::sleep(ms(1));
            }
            (reads, failed, took)
        });
        Self { done, thread }
    }

    fn never_failed(self) {
        self.done.store(true, Ordering::Relaxed);
        let (reads, failed, took) = self.thread.join().expect("no panic");
        assert_eq!(failed, 0, "of {reads} reads");
        assert!(reads > 1_000, "{reads} reads in {took:?}");
        assert!(
            reads as f64 > 10_000.0 * took.as_secs_f64(),
            "{reads} reads in {took:?}"
        );
    }
}

/// A Kubernetes volume: its files are links into a directory that is replaced as a whole.
struct Volume {
    root: PathBuf,
    generation: AtomicU32,
}

impl Volume {
    fn mount(name: &str, files: &[(&str, &str)]) -> Self {
        let name = format!("midil-{name}-{}", std::process::id());
        let volume = Self {
            root: std::env::temp_dir().join(name),
            generation: AtomicU32::new(0),
        };
        fs::create_dir_all(&volume.root).expect("made");
        volume.swap(files);
        for name in ["current", "previous"] {
            let to = PathBuf::from("..data").join(name);
            std::os::unix::fs::symlink(to, volume.root.join(name)).expect("linked");
        }
        volume
    }

    fn swap(&self, files: &[(&str, &str)]) {
        let generation = format!("..{}", self.generation.fetch_add(1, Ordering::Relaxed));
        let directory = self.root.join(&generation);
        fs::create_dir(&directory).expect("made");
        for (name, secret) in files {
            fs::write(directory.join(name), secret).expect("written");
        }
        let next = self.root.join("..data_tmp");
        std::os::unix::fs::symlink(generation, &next).expect("linked");
        fs::rename(next, self.root.join("..data")).expect("swapped");
    }

    fn secret(&self, name: &str) -> ClientSecret {
        ClientSecret::file(self.root.join(name))
    }
}

impl Drop for Volume {
    fn drop(&mut self) {
        // What is left behind is small and in the temporary directory.
        let _ = fs::remove_dir_all(&self.root);
    }
}

/// A secret that a closure gives and the test changes.
#[derive(Clone)]
struct Vault(Arc<Mutex<Result<String, &'static str>>>);

impl Vault {
    fn new(holds: Result<&str, &'static str>) -> Self {
        Self(Arc::new(Mutex::new(holds.map(str::to_owned))))
    }

    fn set(&self, holds: Result<&str, &'static str>) {
        *self.0.lock() = holds.map(str::to_owned);
    }

    fn secret(&self) -> ClientSecret {
        let vault = self.clone();
        ClientSecret::from_fn(move || {
            let held = vault.0.lock().clone();
            async move { held }
        })
    }
}

/// How long tokens live where the last of an old secret has to die within the test.
const LIFETIME: Duration = Duration::from_secs(4);

fn orders_with(token_url: String, secret: impl Into<ClientSecret>) -> ClientCredentials {
    ClientCredentials::new(token_url, "orders", secret)
        .refresh(brisk())
        .lifetime(LifetimePolicy::default().margin(Duration::ZERO))
}

async fn short_lived_for(secret: &str) -> TestIssuer {
    let issuer = TestIssuer::builder().lifetime(LIFETIME);
    let issuer = issuer.client("orders", secret).start().await;
    issuer.expect("an issuer")
}

/// What is told, and how many requests that stands for.
#[derive(Default)]
struct Story {
    tokens: u64,
    refused: u64,
}

impl Story {
    fn hear(&mut self, change: &Change) -> String {
        self.tokens += u64::from(matches!(change, Change::Acquired(_) | Change::Refreshed(_)));
        self.refused += u64::from(matches!(change, Change::SecretRejected { .. }));
        match change {
            Change::SecretRejected { which }
            | Change::SecretRotated { which }
            | Change::SecretUnavailable { which, .. } => {
                format!("{} {}", change.as_str(), which.as_str())
            }
            other => other.as_str().to_owned(),
        }
    }

    /// What is told of secrets up to the next event of this kind.
    async fn until(&mut self, events: &mut Events, kind: &str) -> Vec<String> {
        let mut told = Vec::new();
        event(events, |change| {
            let line = self.hear(change);
            let last = line.starts_with(kind).then_some(());
            told.extend(line.starts_with("secret").then_some(line));
            last
        })
        .await;
        told
    }

    /// Lets the readers read on until every token of an old secret is dead. The requests are
    /// those that were told of, but for one that may be on its way.
    async fn end<const N: usize>(
        mut self,
        readers: [Busy; N],
        auth: &Auth,
        mut events: Events,
        issuer: &TestIssuer,
    ) {
        tokio::time::sleep(LIFETIME + ms(500)).await;
        readers.into_iter().for_each(Busy::never_failed);
        auth.shutdown().await;
        let before = self.refused;
        while let Ok(event) = events.recv().await {
            self.hear(&event.change);
        }
        assert_eq!(
            self.refused, before,
            "the one that worked last is tried first"
        );
        let (asked, told) = (issuer.counts().token, self.tokens + self.refused);
        assert!(
            asked == told || asked == told + 1,
            "{asked} requests, {told} told"
        );
    }
}

#[tokio::test]
async fn secrets_are_rotated_under_ten_thousand_reads_a_second_and_not_one_fails() {
    let issuer = short_lived_for("a").await;
    let (auth, mut story) = (auth().await, Story::default());
    let mut events = auth.events();
    let credential = orders_with(issuer.token_url(), "b").previous_secret("a");
    let token = auth
        .token(credential)
        .await
        .expect("a token by the previous");
    let readers = [Busy::of(&token), Busy::of(&token)];

    let told = story.until(&mut events, "secret_rejected").await;
    assert_eq!(told, ["secret_rejected current"]);
    issuer.set_secrets("orders", &["a", "b"]);
    ask_for_another(&token, &current(&token));
    assert_eq!(story.until(&mut events, "refreshed").await, [""; 0]);
    issuer.set_secrets("orders", &["b"]);
    ask_for_another(&token, &current(&token));
    let told = story.until(&mut events, "secret_rotated").await;
    assert_eq!(told, ["secret_rejected previous", "secret_rotated current"]);

    story.end(readers, &auth, events, &issuer).await;
}

#[tokio::test]
async fn secrets_are_rotated_in_a_kubernetes_volume_and_no_read_fails() {
    let volume = Volume::mount("rotated", &[("current", "a\n")]);
    let issuer = short_lived_for("a").await;
    let (auth, mut story) = (auth().await, Story::default());
    let mut events = auth.events();
    let credential = orders_with(issuer.token_url(), volume.secret("current"))
        .previous_secret(volume.secret("previous"));
    let token = auth.token(credential).await.expect("a token");
    let reader = Busy::of(&token);

    // The volume is ahead of the issuer.
    volume.swap(&[("current", "b\n"), ("previous", "a\n")]);
    ask_for_another(&token, &current(&token));
    let told = story.until(&mut events, "secret_rejected").await;
    assert_eq!(told, ["secret_rejected current"]);
    issuer.set_secrets("orders", &["a", "b"]);
    ask_for_another(&token, &current(&token));
    assert_eq!(story.until(&mut events, "refreshed").await, [""; 0]);
    issuer.set_secrets("orders", &["b"]);
    ask_for_another(&token, &current(&token));
    let told = story.until(&mut events, "secret_rotated").await;
    assert_eq!(told, ["secret_rejected previous", "secret_rotated current"]);

    // The issuer is ahead of the volume, as it should be.
    issuer.set_secrets("orders", &["b", "c"]);
    volume.swap(&[("current", "c"), ("previous", "b")]);
    ask_for_another(&token, &current(&token));
    let told = story.until(&mut events, "secret_rotated").await;
    assert_eq!(told, ["secret_rotated current"]);
    issuer.set_secrets("orders", &["c"]);
    story.end([reader], &auth, events, &issuer).await;
}
#[tokio::test]
async fn a_secret_rotated_in_its_file_takes_effect_without_a_restart() {
    let volume = Volume::mount("alone", &[("current", "secret-a\n")]);
    let issuer = issuer_for("orders", "secret-a").await;
    let auth = auth().await;
    let mut events = auth.events();
    let credential = ClientCredentials::new(issuer.token_url(), "orders", volume.secret("current"))
        .refresh(brisk().probe(ms(100), ms(100)));
    let token = auth.token(credential).await.expect("a token");
    let first = current(&token);
    let reader = Reader::of(&token);

    issuer.set_secrets("orders", &["secret-b"]);
    ask_for_another(&token, &first);
    let error = failure(&mut events, "refused", true).await;
    assert_eq!(error.oauth_error(), Some("invalid_client"));
    volume.swap(&[("current", "secret-b\n")]);
    recovery(&mut events).await;
    reader.never_failed();
    assert!(!current(&token).is_same_token(&first));
}

/// Parked on a refusal, a minute away from its probe, the credential has a token as soon as
/// `change` has made one of its secrets the right one.
async fn is_woken(secret: ClientSecret, previous: Option<ClientSecret>, change: impl FnOnce()) {
    let issuer = issuer_for("orders", "right").await;
    let auth = auth().await;
    let mut events = auth.events();
    let mut credential = ClientCredentials::new(issuer.token_url(), "orders", secret);
    if let Some(previous) = previous {
        credential = credential.previous_secret(previous);
    }
    let credential = credential.start(Start::Background);
    let _token = auth.token(credential).await.expect("in the background");
    failure(&mut events, "refused", false).await;
    let before = issuer.counts().token;
    change();
    acquired(&mut events).await;
    let asked = issuer.counts().token - before;
    assert!((1..=2).contains(&asked), "{asked} requests");
}

async fn acquired(events: &mut Events) {
    event(events, |change| {
        matches!(change, Change::Acquired(_)).then_some(())
    })
    .await;
}

#[tokio::test]
async fn a_refusal_ends_when_any_of_the_secrets_is_another_one() {
    const WRONG: [(&str, &str); 1] = [("current", "wrong")];
    const RIGHT: [(&str, &str); 1] = [("current", "right")];
    let volumes = ["one", "two"].map(|name| Volume::mount(name, &WRONG));
    let vaults = [(); 2].map(|()| Vault::new(Ok("wrong")));
    let sealed = Vault::new(Err("sealed"));
    let wrong = || ClientSecret::from("wrong");
    tokio::join!(
        is_woken(volumes[0].secret("current"), None, || volumes[0]
            .swap(&RIGHT)),
        is_woken(wrong(), Some(volumes[1].secret("current")), || volumes[1]
            .swap(&RIGHT)),
        is_woken(vaults[0].secret(), None, || vaults[0].set(Ok("right"))),
        is_woken(wrong(), Some(vaults[1].secret()), || vaults[1]
            .set(Ok("right"))),
        // What could not even be read is another one, too.
        is_woken(wrong(), Some(sealed.secret()), || sealed.set(Ok("right"))),
    );
}

#[test]
fn a_secret_in_the_environment_is_read_anew_and_watched_like_any_other() {
    const NAME: &str = "MIDIL_AUTH_TEST_SECRET";
    let runtime = tokio::runtime::Builder::new_current_thread()
        .enable_all()
        .build();
    let runtime = runtime.expect("a runtime");
    let (auth, issuer) = runtime.block_on(async {
        let issuer = issuer_for("orders", "a").await;
        (auth().await, issuer)
    });
    let mut events = auth.events();
    let token = temp_env::with_var(NAME, Some("a"), || {
        let secret = ClientSecret::env(NAME);
        let credential = ClientCredentials::new(issuer.token_url(), "orders", secret);
        runtime.block_on(auth.token(credential)).expect("a token")
    });
    let first = current(&token);
    issuer.set_secrets("orders", &["b"]);
    let unset = temp_env::with_var_unset(NAME, || runtime.block_on(token.renew(&first)));
    let error = unset.expect_err("not set");
    assert!(
        error.is_transient() && error.to_string().contains(NAME),
        "{error}"
    );
    temp_env::with_var(NAME, Some("a"), || {
        runtime.block_on(async {
            failure(&mut events, "other", true).await;
            failure(&mut events, "refused", true).await;
        });
    });
    // A minute before the probe.
    temp_env::with_var(NAME, Some("b"), || {
        runtime.block_on(async {
            assert_eq!(recovery(&mut events).await, 2);
            auth.shutdown().await;
        });
    });
}

/// What is said of a secret that cannot be read; the issuer is not asked anything.
async fn unreadable(secret: ClientSecret, kind: &str) -> String {
    let (issuer, auth) = (an_issuer().await, auth().await);
    let mut events = auth.events();
    let credential = ClientCredentials::new(issuer.token_url(), "orders", secret)
        .refresh(brisk().fetch_timeout(ms(400)))
        .start(Start::Background);
    let token = auth.token(credential).await.expect("in the background");
    failure(&mut events, kind, false).await;
    let error = failure(&mut events, kind, false).await;
    assert_eq!(issuer.counts().token, 0);
    assert!(matches!(token.current(), Err(TokenError::Failed(_))));
    error.to_string()
}

#[tokio::test]
async fn a_secret_that_cannot_be_read_is_transient_and_says_where_it_should_be() {
    let volume = Volume::mount("unreadable", &[]);
    let written = |name: &str, bytes: &[u8]| {
        let path = volume.root.join(name);
        fs::write(&path, bytes).expect("written");
        path
    };
    let pipe = volume.root.join("pipe");
    let mkfifo = std::process::Command::new("mkfifo").arg(&pipe).status();
    assert!(mkfifo.expect("mkfifo").success());
    for (path, why) in [
        (volume.root.join("current"), "No such file"),
        (volume.root.clone(), "not a file"),
        (pipe, "not a file"),
        (written("empty", b""), "nothing in it"),
        (written("lines", b"\r\n\n"), "nothing in it"),
        (written("latin-1", b"canary-secr\xe9t"), "UTF-8"),
        (
            written("large", &b"canary".repeat(20_000)),
            "larger than 64 KiB",
        ),
    ] {
        let said = unreadable(ClientSecret::file(&path), "other").await;
        let place = format!("the file {}", path.display());
        assert!(said.contains(&place) && said.contains(why), "{said}");
        assert!(!said.contains("canary"), "{said}");
    }
}

#[test]
fn a_variable_that_holds_no_secret_is_named_and_not_shown() {
    use std::ffi::OsStr;
    use std::os::unix::ffi::OsStrExt;
    const NAME: &str = "MIDIL_AUTH_TEST_UNREADABLE";
    let runtime = tokio::runtime::Builder::new_current_thread()
        .enable_all()
        .build();
    let runtime = runtime.expect("a runtime");
    for (value, why) in [
        (None, "is not set"),
        (Some(&b""[..]), "nothing in it"),
        (Some(b"canary-secr\xe9t"), "is not Unicode"),
    ] {
        let said = temp_env::with_var(NAME, value.map(OsStr::from_bytes), || {
            runtime.block_on(unreadable(ClientSecret::env(NAME), "other"))
        });
        assert!(said.contains(NAME) && said.contains(why), "{said}");
        assert!(!said.contains("canary"), "{said}");
    }
}

#[tokio::test]
async fn a_closure_that_fails_panics_or_hangs_costs_the_fetch_and_says_so() {
    let fails = ClientSecret::from_fn(|| async { Err::<Secret, _>("the vault is sealed") });
    let said = unreadable(fails, "other").await;
    assert!(
        said.contains("closure") && said.contains("the vault is sealed"),
        "{said}"
    );
    let empty = ClientSecret::from_fn(|| async { Ok::<_, FetchError>("") });
    assert!(unreadable(empty, "other").await.contains("nothing in it"));
    let now = ClientSecret::from_fn(|| -> std::future::Ready<Result<Secret, FetchError>> {
        panic!("canary at once")
    });
    async fn panic_later() -> Result<Secret, FetchError> {
        tokio::task::yield_now().await;
        panic!("canary later")
    }
    let later = ClientSecret::from_fn(panic_later);
    for panics in [now, later] {
        let said = unreadable(panics, "panicked").await;
        assert!(
            said.contains("closure") && !said.contains("canary"),
            "{said}"
        );
    }
    let hangs = ClientSecret::from_fn(std::future::pending::<Result<Secret, FetchError>>);
    let said = unreadable(hangs, "timeout").await;
    assert!(said.contains("closure") && said.contains("300ms"), "{said}");
}

#[tokio::test]
async fn a_closure_that_fails_for_a_while_never_costs_the_token_in_hand() {
    let (issuer, vault) = (short_lived_for("a").await, Vault::new(Ok("a")));
    let auth = auth().await;
    let mut events = auth.events();
    let token = auth.token(orders_with(issuer.token_url(), vault.secret()));
    let token = token.await.expect("a token");
    let (first, reader) = (current(&token), Reader::of(&token));
    vault.set(Err("sealed"));
    ask_for_another(&token, &first);
    for _ in 0..3 {
        failure(&mut events, "other", true).await;
    }
    vault.set(Ok("a"));
    recovery(&mut events).await;
    reader.never_failed();
    assert!(!current(&token).is_same_token(&first));
}

#[tokio::test]
async fn while_the_current_secret_cannot_be_read_the_previous_does_its_work() {
    let (issuer, vault) = (short_lived_for("old").await, Vault::new(Err("sealed")));
    let (auth, mut story) = (auth().await, Story::default());
    let mut events = auth.events();
    let credential = orders_with(issuer.token_url(), vault.secret()).previous_secret("old");
    let token = auth
        .token(credential)
        .await
        .expect("a token by the previous");
    let unavailable = event(&mut events, |change| match change {
        Change::SecretUnavailable { which, error } => Some((*which, error.to_string())),
        _ => None,
    });
    let (which, error) = unavailable.await;
    assert!(which == Current && error.contains("sealed"), "{error}");
    let reader = Reader::of(&token);

    // What is refused is not sent over and over while the right one cannot be read.
    issuer.set_secrets("orders", &["new"]);
    ask_for_another(&token, &current(&token));
    let told = story.until(&mut events, "secret_rejected").await;
    assert_eq!(
        told.last().map(String::as_str),
        Some("secret_rejected previous")
    );
    let before = issuer.counts().token;
    for _ in 0..5 {
        failure(&mut events, "other", true).await;
    }
    assert_eq!(issuer.counts().token, before);
    vault.set(Ok("new"));
    let told = story.until(&mut events, "secret_rotated").await;
    assert_eq!(told, ["secret_rotated current"]);
    reader.never_failed();
}

#[tokio::test]
async fn secrets_that_are_all_refused_cost_one_request_each_and_then_a_slow_probe() {
    for (previous, asked) in [("wrong, too", 2), ("wrong", 1)] {
        let (issuer, auth) = (issuer_for("orders", "right").await, auth().await);
        let mut events = auth.events();
        let credential = ClientCredentials::new(issuer.token_url(), "orders", "wrong")
            .previous_secret(previous)
            .start(Start::Background);
        let _token = auth.token(credential).await.expect("in the background");
        let next = event(&mut events, |change| match change {
            Change::RefreshFailed {
                error,
                next_attempt_in,
                ..
            } => {
                assert!(!error.is_transient(), "{error}");
                Some(*next_attempt_in)
            }
            _ => None,
        });
        assert!(next.await >= Duration::from_secs(60));
        for which in [Current, Previous].into_iter().take(asked) {
            let rejected = event(&mut events, |change| match change {
                Change::SecretRejected { which } => Some(*which),
                _ => None,
            });
            assert_eq!(rejected.await, which);
        }
        assert_eq!(issuer.counts().token, asked as u64);
    }
}

/// The secret in a Basic header.
fn sent((headers, _): &Asked) -> String {
    let value = headers[header::AUTHORIZATION].to_str().expect("ascii");
    let encoded = value.strip_prefix("Basic ").expect("basic");
    let pair = base64_simd::STANDARD
        .decode_to_vec(encoded)
        .expect("base64");
    let pair = String::from_utf8(pair).expect("utf8");
    pair.split_once(':').expect("a pair").1.to_owned()
}

fn refusal(status: u16, error: &str) -> Answer {
    let status = StatusCode::from_u16(status).expect("a status");
    (
        status,
        HeaderMap::new(),
        format!(r#"{{"error":"{error}"}}"#),
    )
}

/// The secrets that are sent when the endpoint answers `first` to the current one and a token to
/// any other, up to the first token or failure.
async fn tried(first: Answer) -> Vec<String> {
    let (seen, mut requests) = mpsc::unbounded_channel();
    let url = endpoint(move |_, asked| {
        let secret = sent(&asked);
        let answer = match &*secret {
            "current" => first.clone(),
            _ => token_answer("t"),
        };
        seen.send(secret).expect("the test goes on");
        async { answer }
    });
    let auth = auth().await;
    let mut events = auth.events();
    let credential = ClientCredentials::new(url.await, "orders", "current")
        .previous_secret("previous")
        .start(Start::Background);
    let _token = auth.token(credential).await.expect("in the background");
    let over = |change: &Change| {
        matches!(change, Change::Acquired(_) | Change::RefreshFailed { .. }).then_some(())
    };
    event(&mut events, over).await;
    std::iter::from_fn(|| requests.try_recv().ok()).collect()
}

#[tokio::test]
async fn another_secret_is_tried_when_the_client_was_refused_and_only_then() {
    for (status, error) in [
        (400, "invalid_client"),
        (401, "invalid_client"),
        (403, "invalid_client"),
        (200, "invalid_client"),
        // Keycloak's and Auth0's word for it.
        (401, "unauthorized_client"),
        (401, "access_denied"),
    ] {
        let tried = tried(refusal(status, error)).await;
        assert_eq!(tried, ["current", "previous"], "{status} {error}");
    }
    for (status, error) in [
        (400, "invalid_scope"),
        (400, "unauthorized_client"),
        (400, "access_denied"),
        (429, "invalid_client"),
        (500, "invalid_client"),
        (503, "server_error"),
    ] {
        let tried = tried(refusal(status, error)).await;
        assert_eq!(tried, ["current"], "{status} {error}");
    }
    let page = (
        StatusCode::UNAUTHORIZED,
        HeaderMap::new(),
        "<html>".to_owned(),
    );
    assert_eq!(tried(page).await, ["current"]);
}

#[tokio::test]
async fn a_secret_that_was_refused_is_not_sent_again_before_the_other_has_been_heard() {
    let (seen, mut requests) = mpsc::unbounded_channel();
    let url = endpoint(move |n, asked| {
        let answer = match n {
            0 => refusal(401, "invalid_client"),
            1 => refusal(503, "server_error"),
            _ => token_answer("t"),
        };
        seen.send(sent(&asked)).expect("the test goes on");
        async { answer }
    });
    let auth = auth().await;
    let credential = orders_with(url.await, "current").previous_secret("previous");
    let _token = auth.token(credential).await.expect("a token");
    let sent: Vec<_> = std::iter::from_fn(|| requests.try_recv().ok()).collect();
    assert_eq!(sent, ["current", "previous", "previous"]);
}

/// An endpoint that takes a second over the secret `old`, and knows it no longer if `forgetful`,
/// but answers `new` at once.
async fn slow_for_the_old(forgetful: bool) -> (String, mpsc::UnboundedReceiver<String>) {
    let (seen, requests) = mpsc::unbounded_channel();
    let url = endpoint(move |_, asked| {
        let (secret, seen) = (sent(&asked), seen.clone());
        async move {
            seen.send(secret.clone()).expect("the test goes on");
            if secret == "old" {
                tokio::time::sleep(ms(1_000)).await;
                if forgetful {
                    return refusal(401, "invalid_client");
                }
            }
            token_answer(&secret)
        }
    });
    (url.await, requests)
}

#[tokio::test]
async fn a_request_begun_with_the_old_secret_never_overwrites_the_token_of_the_new_one() {
    let (url, mut requests) = slow_for_the_old(false).await;
    let vault = Vault::new(Ok("old"));
    let auth = auth().await;
    let mut events = auth.events();
    let policy = brisk().fetch_timeout(ms(400));
    let credential = orders_with(url, vault.secret()).refresh(policy);
    let token = auth.token(credential.start(Start::Background)).await;
    let token = token.expect("in the background");
    assert_eq!(requests.recv().await.as_deref(), Some("old"));
    vault.set(Ok("new"));
    failure(&mut events, "timeout", false).await;
    acquired(&mut events).await;
    // The old answer would have come by now.
    tokio::time::sleep(ms(1_200)).await;
    assert_eq!(current(&token).expose(), "new");
    assert_eq!(token.status().version, 1);
}

#[tokio::test]
async fn a_refusal_of_a_secret_that_was_replaced_meanwhile_does_not_wait_for_the_probe() {
    let (url, mut requests) = slow_for_the_old(true).await;
    let vault = Vault::new(Ok("old"));
    let auth = auth().await;
    let mut events = auth.events();
    let credential = ClientCredentials::new(url, "orders", vault.secret());
    let _token = auth.token(credential.start(Start::Background)).await;
    assert_eq!(requests.recv().await.as_deref(), Some("old"));
    vault.set(Ok("new"));
    failure(&mut events, "refused", false).await;
    acquired(&mut events).await;
    assert_eq!(requests.recv().await.as_deref(), Some("new"));
}
