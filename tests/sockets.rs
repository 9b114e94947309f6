//! What is left of real connections once the last handle is gone. Alone in its process, since it
//! counts what the process has open.

#![cfg(target_os = "linux")]
#![expect(
    clippy::expect_used,
    reason = "a test that cannot be set up has failed"
)]

use std::sync::atomic::{AtomicUsize, Ordering};
use std::time::Duration;

use midil_auth::oauth2::ClientCredentials;
use midil_auth::testing::{Endpoint, Fault, TestIssuer};
use midil_auth::{Auth, RefreshPolicy, Start};

/// How long a test waits for what is bound to happen.
const PATIENCE: Duration = Duration::from_secs(20);

/// The sockets that the process has open.
fn sockets() -> usize {
    let descriptors = std::fs::read_dir("/proc/self/fd").expect("procfs");
    let links = descriptors.filter_map(|entry| std::fs::read_link(entry.ok()?.path()).ok());
    links
        .filter(|link| link.to_string_lossy().starts_with("socket:"))
        .count()
}

fn tasks() -> usize {
    tokio::runtime::Handle::current()
        .metrics()
        .num_alive_tasks()
}

async fn until(what: &str, mut is_so: impl FnMut() -> bool) {
    let waiting = async {
        while !is_so() {
            tokio::time::sleep(Duration::from_millis(5)).await;
        }
    };
    let waited = tokio::time::timeout(PATIENCE, waiting).await;
    assert!(
        waited.is_ok(),
        "{what}: {} sockets, {} tasks",
        sockets(),
        tasks()
    );
}

#[test]
fn no_socket_and_no_task_outlives_the_last_handle() {
    let runtime = || {
        tokio::runtime::Builder::new_multi_thread()
            .worker_threads(1)
            .enable_all()
            .build()
            .expect("a runtime")
    };
    // The issuer runs elsewhere, so that what runs here is all ours.
    let elsewhere = runtime();
    let builder = TestIssuer::builder().client("orders", "s3cr3t");
    let issuer = elsewhere.block_on(builder.start()).expect("an issuer");
    runtime().block_on(async {
        let before = sockets();
        for (doing, secret, fault) in [
            ("idle, with a connection in the pool", "s3cr3t", None),
            ("in the middle of a request", "s3cr3t", Some(Fault::Hang)),
            ("in the middle of a body", "s3cr3t", Some(Fault::Drip)),
            (
                "in the middle of a backoff",
                "s3cr3t",
                Some(Fault::Status(503)),
            ),
            ("parked", "wrong", None),
        ] {
            if let Some(fault) = &fault {
                issuer.fail(Endpoint::Token, fault.clone());
            }
            let auth = Auth::start().await.expect("started");
            let asked = issuer.counts().token;
            let credential = ClientCredentials::new(issuer.token_url(), "orders", secret)
                .refresh(RefreshPolicy::for_tokens().fetch_timeout(PATIENCE))
                .start(Start::Background);
            let token = auth.token(credential).await.expect("in the background");
            until(doing, || issuer.counts().token > asked).await;
            match (fault, secret) {
                (None, "s3cr3t") => until(doing, || token.current().is_ok()).await,
                (Some(Fault::Status(_)), _) | (None, _) => {
                    until(doing, || token.status().failures > 0).await;
                }
                // So that the first bytes of a body are here.
                _ => tokio::time::sleep(Duration::from_millis(200)).await,
            }
            assert!(sockets() > before, "{doing}: there is a connection");
            drop((auth, token));
            until(doing, || sockets() == before && tasks() == 0).await;
            issuer.recover();
        }
    });
}

/// As it is where `main` returns without a word to anybody.
#[test]
fn a_runtime_that_ends_first_ends_without_a_panic() {
    static PANICS: AtomicUsize = AtomicUsize::new(0);
    let usual = std::panic::take_hook();
    std::panic::set_hook(Box::new(move |panic| {
        PANICS.fetch_add(1, Ordering::SeqCst);
        usual(panic);
    }));
    for _ in 0..300 {
        let runtime = tokio::runtime::Builder::new_multi_thread()
            .worker_threads(2)
            // No sockets, which the other test counts.
            .enable_time()
            .build()
            .expect("a runtime");
        runtime.block_on(async { drop(Auth::start().await.expect("started")) });
        drop(runtime);
    }
    assert_eq!(PANICS.load(Ordering::SeqCst), 0);
}
