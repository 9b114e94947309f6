//! Warm start: what outlives a process, and what a store may do wrong.

#![expect(
    clippy::expect_used,
    clippy::panic,
    reason = "a test that cannot be set up has failed, and a store may panic"
)]

#[path = "store/files.rs"]
mod files;
#[path = "store/trouble.rs"]
mod trouble;
#[path = "store/warm.rs"]
mod warm;
#[path = "store/wire.rs"]
mod wire;

use std::collections::HashMap;
use std::path::{Path, PathBuf};
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, AtomicU64, Ordering};
use std::time::{Duration, UNIX_EPOCH};

use midil_auth::oauth2::{AccessToken, Credential};
use midil_auth::store::{EncryptionKey, FileStore, Record, Store, StoreError, StoreKey};
use midil_auth::testing::{SourceFn, TestClock};
use midil_auth::{Auth, Events, FetchError, Fetched, Source};
use parking_lot::Mutex;

const LIFETIME: Duration = Duration::from_secs(3600);

const fn secs(n: u64) -> Duration {
    Duration::from_secs(n)
}

/// All that it takes to be a store.
#[derive(Debug, Default)]
struct Memory(Mutex<HashMap<StoreKey, Record>>);

impl Store for Memory {
    async fn load(&self, key: &StoreKey) -> Result<Option<Record>, StoreError> {
        Ok(self.0.lock().get(key).cloned())
    }

    async fn save(&self, key: &StoreKey, record: Record) -> Result<(), StoreError> {
        let mut records = self.0.lock();
        if records.get(key).is_none_or(|known| record.replaces(known)) {
            records.insert(key.clone(), record);
        }
        Ok(())
    }

    async fn remove(&self, key: &StoreKey, version: u64) -> Result<(), StoreError> {
        let mut records = self.0.lock();
        if records
            .get(key)
            .is_some_and(|known| known.version() <= version)
        {
            records.remove(key);
        }
        Ok(())
    }
}

impl Memory {
    fn records(&self) -> Vec<Record> {
        self.0.lock().values().cloned().collect()
    }

    /// The one record.
    fn record(&self) -> Record {
        let records = self.records();
        assert_eq!(records.len(), 1, "{records:?}");
        records.into_iter().next().expect("one")
    }
}

/// A process that starts so many seconds after the first, on a machine of its own: nothing is the
/// same but the store and the wall clock.
async fn boot(store: impl Store, after: u64) -> (Auth, TestClock) {
    let clock = TestClock::virtual_time();
    clock.step_wall(i64::try_from(after).expect("in range"));
    (start(store, &clock, 7).await, clock)
}

async fn start(store: impl Store, clock: &TestClock, seed: u64) -> Auth {
    let builder = Auth::builder().clock(clock.clock()).seed(seed).store(store);
    builder.start().await.expect("started")
}

/// Lets tasks run without the clock moving on by itself.
async fn settle() {
    for _ in 0..50 {
        tokio::task::yield_now().await;
    }
}

/// Issues `<name>-1`, `<name>-2` … unless it is down.
#[derive(Clone)]
struct Issuer {
    name: &'static str,
    down: Arc<AtomicBool>,
    calls: Arc<AtomicU64>,
}

impl Issuer {
    fn new(name: &'static str) -> Self {
        Self {
            name,
            down: Arc::default(),
            calls: Arc::default(),
        }
    }

    fn down(name: &'static str) -> Self {
        let issuer = Self::new(name);
        issuer.set_down(true);
        issuer
    }

    fn set_down(&self, down: bool) {
        self.down.store(down, Ordering::SeqCst);
    }

    fn calls(&self) -> u64 {
        self.calls.load(Ordering::SeqCst)
    }

    fn source(&self) -> impl Source<AccessToken> + use<> {
        let issuer = self.clone();
        SourceFn::new(move |_| {
            let n = issuer.calls.fetch_add(1, Ordering::SeqCst) + 1;
            let (down, name) = (issuer.down.load(Ordering::SeqCst), issuer.name);
            async move {
                if down {
                    return Err(FetchError::transient("the issuer is down"));
                }
                let token = AccessToken::bearer(format!("{name}-{n}"))?;
                Ok(Fetched::new(token.expires_in(LIFETIME).scope("all")))
            }
        })
    }

    fn credential(&self) -> Credential {
        self.source_as(self.name)
    }

    /// The credential of that name, whose tokens have this issuer's name.
    fn source_as(&self, name: &str) -> Credential {
        Credential::new(name, self.source()).stored_as(name)
    }
}

/// What happened so far, in order, each as its display.
async fn told(events: &mut Events) -> Vec<String> {
    settle().await;
    let mut told = Vec::new();
    while let Ok(Ok(event)) = tokio::time::timeout(Duration::ZERO, events.recv()).await {
        told.push(event.to_string());
    }
    told
}

/// The first words of what happened so far.
async fn labels(events: &mut Events) -> Vec<String> {
    let first = |text: String| text.split(' ').next().unwrap_or_default().to_owned();
    told(events).await.into_iter().map(first).collect()
}

/// A directory of a test's own, which is not there yet and is gone afterwards.
struct Dir(PathBuf);

impl Dir {
    fn new(name: &str) -> Self {
        let name = format!("midil-store-{name}-{}", std::process::id());
        let path = std::env::temp_dir().join(name);
        let _ = std::fs::remove_dir_all(&path);
        Self(path)
    }

    fn store(&self) -> FileStore {
        self.store_with(1)
    }

    fn store_with(&self, key: u8) -> FileStore {
        FileStore::new(&self.0, EncryptionKey::from_bytes([key; 32])).expect("a store")
    }

    /// Every file but the locks.
    fn files(&self) -> Vec<PathBuf> {
        let entries = std::fs::read_dir(&self.0).expect("a directory");
        let paths = entries.map(|entry| entry.expect("an entry").path());
        let is_lock = |path: &PathBuf| path.to_string_lossy().contains("/.lock-");
        let mut files: Vec<_> = paths.filter(|path| !is_lock(path)).collect();
        files.sort();
        files
    }
}

impl AsRef<Path> for Dir {
    fn as_ref(&self) -> &Path {
        &self.0
    }
}

impl Drop for Dir {
    fn drop(&mut self) {
        let _ = std::fs::remove_dir_all(&self.0);
    }
}

/// A record of that version, obtained then and good for an hour, whose every byte is `fill`.
fn record(version: u64, fill: u8, length: usize) -> Record {
    let obtained = UNIX_EPOCH + secs(1_900_000_000);
    Record::new(version, obtained, obtained + LIFETIME, vec![fill; length])
}
