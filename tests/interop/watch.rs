//! What an application would see while tokens and keys change beneath it.

use std::collections::BTreeSet;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use std::time::Duration;

use futures_util::StreamExt;
use midil_auth::event::{Cause, Change};
use midil_auth::jwt::VerifyError;
use midil_auth::oauth2::TokenHandle;
use midil_auth::{Auth, AuthError, AuthzProvider, Event, FetchError, RefreshPolicy};
use parking_lot::Mutex;
use serde_json::Value;
use tokio::task::{AbortHandle, JoinHandle};

use crate::harness::eventually;

/// Between two reads of a [`Reader`].
const READ_EVERY: Duration = Duration::from_millis(20);

/// Paces token requests for lifetimes of seconds.
pub(crate) fn quick_tokens() -> RefreshPolicy {
    quick(RefreshPolicy::for_tokens()).demand_floor(Duration::from_millis(100))
}

/// Paces key fetches for keys that change every few seconds.
pub(crate) fn quick_keys() -> RefreshPolicy {
    quick(RefreshPolicy::for_keys()).demand_floor(Duration::from_millis(50))
}

fn quick(policy: RefreshPolicy) -> RefreshPolicy {
    policy
        .min_interval(Duration::from_millis(100))
        .retry(Duration::from_millis(50), Duration::from_millis(200))
}

/// Has the token renewed again and again, as a client does whose calls are refused, so that a
/// fetch comes soon and an outage may last as long as the token in hand.
pub(crate) fn keep_renewing(token: &TokenHandle) -> AbortHandle {
    let token = token.clone();
    let renewing = tokio::spawn(async move {
        loop {
            // Some servers' tokens of the same second are the same.
            tokio::time::sleep(Duration::from_millis(1_100)).await;
            if let Ok(current) = token.current() {
                // Whether one came is for the test to find out.
                let _ = token.renew(&current).await;
            }
        }
    });
    renewing.abort_handle()
}

/// Reads and verifies a credential's token all the time, as request handlers do.
pub(crate) struct Reader {
    stop: Arc<AtomicBool>,
    task: JoinHandle<Tally>,
}

#[derive(Default)]
struct Tally {
    tokens: BTreeSet<String>,
    failures: Vec<String>,
}

impl Reader {
    pub(crate) fn start(token: &TokenHandle, verifiers: Vec<Arc<dyn AuthzProvider>>) -> Self {
        let stop = Arc::new(AtomicBool::new(false));
        let (token, stopped) = (token.clone(), Arc::clone(&stop));
        let task = tokio::spawn(async move {
            let mut tally = Tally::default();
            while !stopped.load(Ordering::Relaxed) {
                match read(&token, &verifiers).await {
                    Ok(seen) => {
                        tally.tokens.insert(seen);
                    }
                    Err(error) => tally.failures.push(error.to_string()),
                }
                tokio::time::sleep(READ_EVERY).await;
            }
            tally
        });
        Self { stop, task }
    }

    /// Stops it; no read may have failed. Returns how many tokens it saw.
    pub(crate) async fn finish(self) -> usize {
        self.stop.store(true, Ordering::Relaxed);
        let tally = self.task.await.expect("no panic");
        assert!(tally.failures.is_empty(), "{:#?}", tally.failures);
        tally.tokens.len()
    }
}

async fn read(
    token: &TokenHandle,
    verifiers: &[Arc<dyn AuthzProvider>],
) -> Result<String, AuthError> {
    let header = token.authorization()?;
    let sent = header.to_str().expect("visible ASCII");
    let received = sent.strip_prefix("Bearer ").expect("a bearer token");
    for verifier in verifiers {
        verifier.verify(received).await?;
    }
    Ok(received.to_owned())
}

/// Every event since it was opened.
pub(crate) struct Journal(Arc<Mutex<Vec<Event>>>);

impl Journal {
    pub(crate) fn open(auth: &Auth) -> Self {
        let events = Arc::new(Mutex::new(Vec::new()));
        let (written, mut told) = (Arc::clone(&events), auth.events());
        tokio::spawn(async move {
            while let Some(event) = told.next().await {
                written.lock().push(event.expect("a journal keeps up"));
            }
        });
        Self(events)
    }

    /// What happened to `name`.
    pub(crate) fn of(&self, name: &str) -> Vec<Change> {
        let events = self.0.lock();
        let of_name = events.iter().filter(|event| &*event.name == name);
        of_name.map(|event| event.change.clone()).collect()
    }

    /// How many tokens `name` has brought into service.
    pub(crate) fn refreshes(&self, name: &str) -> usize {
        let refreshed =
            |change: &Change| matches!(change, Change::Acquired(_) | Change::Refreshed(_));
        self.of(name).into_iter().filter(refreshed).count()
    }

    /// Why fetches for `name` failed, and whether a good value was held meanwhile.
    pub(crate) fn failures(&self, name: &str) -> Vec<(FetchError, bool)> {
        let failed = |change| match change {
            Change::RefreshFailed { error, holding, .. } => Some((error, holding)),
            _ => None,
        };
        self.of(name).into_iter().filter_map(failed).collect()
    }

    /// Each rotation of `name`.
    pub(crate) fn rotations(&self, name: &str) -> Vec<Rotation> {
        let rotated = |change| match change {
            Change::Rotated {
                added,
                removed,
                replaced,
                skipped,
                cause,
                ..
            } => {
                assert!(replaced.is_empty() && skipped.is_empty());
                Some(Rotation {
                    added,
                    removed,
                    cause,
                })
            }
            _ => None,
        };
        self.of(name).into_iter().filter_map(rotated).collect()
    }

    pub(crate) async fn refreshed(&self, name: &str, times: usize) {
        eventually(&format!("{times} refreshes of {name}"), async || {
            (self.refreshes(name) >= times).then_some(())
        })
        .await;
    }

    /// Waits for the rotation of `name` with this index; the first key set is number 0.
    pub(crate) async fn rotation(&self, name: &str, index: usize) -> Rotation {
        eventually(&format!("rotation {index} of {name}"), async || {
            self.rotations(name).into_iter().nth(index)
        })
        .await
    }
}

/// A [`Change::Rotated`], for comparison.
#[derive(Debug, PartialEq, Eq)]
pub(crate) struct Rotation {
    pub(crate) added: Vec<String>,
    pub(crate) removed: Vec<String>,
    pub(crate) cause: Cause,
}

/// The `kid` in a token's header.
pub(crate) fn kid(token: &str) -> String {
    let header = token.split('.').next().expect("a header");
    let decoded = base64_simd::URL_SAFE_NO_PAD.decode_to_vec(header);
    let header: Value = serde_json::from_slice(&decoded.expect("base64url")).expect("JSON");
    header["kid"].as_str().unwrap_or_default().to_owned()
}

/// Waits until the token in service is signed by another key than `old`.
pub(crate) async fn resigned(token: &TokenHandle, old: &str) -> String {
    eventually("a token by the new key", async || {
        let current = token.current().expect("a token").expose().to_owned();
        (kid(&current) != old).then_some(current)
    })
    .await
}

/// Why a credential could not be taken into service.
pub(crate) fn refusal(refused: Result<TokenHandle, AuthError>) -> FetchError {
    match refused {
        Err(AuthError::Authentication(midil_auth::oauth2::TokenError::Failed(error))) => error,
        other => panic!("not refused by the server: {other:?}"),
    }
}

/// Asserts that a token was refused for this reason.
#[track_caller]
pub(crate) fn assert_refused<T: std::fmt::Debug>(verdict: Result<T, VerifyError>, reason: &str) {
    match verdict {
        Err(error) if error.to_string() == reason || error.as_str() == reason => {}
        other => panic!("not refused for {reason}: {other:?}"),
    }
}
