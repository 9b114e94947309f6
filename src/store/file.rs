//! A store in a directory: one sealed file a key.

use std::fmt;
use std::fs::{self, File, OpenOptions};
use std::io::{self, Read, Write};
use std::path::{Path, PathBuf};
use std::sync::Arc;
use std::time::Duration;

use tokio::sync::Semaphore;

use super::{EncryptionKey, Record, Store, StoreError, StoreErrorKind, StoreKey};
use crate::fault::ConfigError;

/// Keeps records in a directory of its own, each in a file named by its key, for its owner only
/// (0600 in 0700) and sealed with an [`EncryptionKey`].
///
/// A file is written anew and renamed into place, so that whoever is killed at any moment leaves
/// the old record or the new one. Processes may share the directory: they take turns in writing
/// where the system is a Unix and its file system knows locks. Any file may be deleted at any
/// time.
///
/// # Example
///
/// ```
/// use midil_auth::Auth;
/// use midil_auth::store::{EncryptionKey, FileStore};
///
/// # #[tokio::main(flavor = "current_thread")]
/// # async fn main() -> Result<(), Box<dyn std::error::Error>> {
/// # let dir = std::env::temp_dir().join(format!("midil-doc-{}", std::process::id()));
/// # let secret = "q83vEjRWeJCrze8SNFZ4kKvN7xI0VniQq83vEjRWeJA=";
/// let store = FileStore::new(&dir, EncryptionKey::from_base64(secret)?)?;
/// let auth = Auth::builder().store(store).start().await?;
/// # auth.shutdown().await;
/// # std::fs::remove_dir_all(&dir)?;
/// # Ok(())
/// # }
/// ```
#[derive(Clone)]
pub struct FileStore {
    folder: Arc<Folder>,
    /// A disk that hangs holds these and no more of the runtime's threads.
    readers: Arc<Semaphore>,
    /// One for each lock.
    writers: [Arc<Semaphore>; LOCKS],
}

struct Folder {
    dir: PathBuf,
    key: EncryptionKey,
}

/// The most that is read or written, in bytes: the largest key set that any limits allow.
const MAX_FILE: usize = 17 * 1024 * 1024;

const READERS: usize = 8;

/// Keys are spread over so many locks: those of one lock are written in turn.
const LOCKS: usize = 8;

/// How often and how long apart another process is asked for its turn.
const TURNS: u32 = 100;
const TURN: Duration = Duration::from_millis(10);

impl FileStore {
    /// Makes the directory, if need be. Blocks for as long as that takes.
    ///
    /// # Errors
    ///
    /// [`ConfigError`] when it cannot be made or looked at, or others than its owner can write
    /// to it: then they could bring old records back.
    pub fn new(dir: impl Into<PathBuf>, key: EncryptionKey) -> Result<Self, ConfigError> {
        let dir = dir.into();
        prepare(&dir)?;
        Ok(Self {
            folder: Arc::new(Folder { dir, key }),
            readers: Arc::new(Semaphore::new(READERS)),
            writers: std::array::from_fn(|_| Arc::new(Semaphore::new(1))),
        })
    }

    fn writer(&self, key: &StoreKey) -> &Arc<Semaphore> {
        &self.writers[lock_of(key)]
    }

    async fn run<T: Send + 'static>(
        &self,
        turns: &Arc<Semaphore>,
        key: &StoreKey,
        work: impl FnOnce(&Folder, &StoreKey) -> Result<T, StoreError> + Send + 'static,
    ) -> Result<T, StoreError> {
        let stopping = || StoreError::new(StoreErrorKind::Unavailable, "the runtime is stopping");
        // Taken into the thread: it is given back when the work is done, not when nobody waits
        // for it any more.
        let turn = Arc::clone(turns).acquire_owned().await;
        let (folder, key) = (Arc::clone(&self.folder), key.clone());
        let work = tokio::task::spawn_blocking(move || {
            let _turn = turn;
            work(&folder, &key)
        });
        work.await.unwrap_or_else(|_| Err(stopping()))
    }
}

impl Store for FileStore {
    async fn load(&self, key: &StoreKey) -> Result<Option<Record>, StoreError> {
        self.run(&self.readers, key, Folder::read).await
    }

    async fn save(&self, key: &StoreKey, record: Record) -> Result<(), StoreError> {
        let save = move |folder: &Folder, key: &StoreKey| folder.save(key, &record);
        self.run(self.writer(key), key, save).await
    }

    async fn remove(&self, key: &StoreKey, version: u64) -> Result<(), StoreError> {
        let remove = move |folder: &Folder, key: &StoreKey| folder.remove(key, version);
        self.run(self.writer(key), key, remove).await
    }
}

impl Folder {
    fn path(&self, key: &StoreKey) -> PathBuf {
        self.dir.join(key.to_string())
    }

    fn read(&self, key: &StoreKey) -> Result<Option<Record>, StoreError> {
        let failed = |error| unavailable("the record cannot be read", error);
        let file = match File::open(self.path(key)) {
            Ok(file) => file,
            Err(error) if error.kind() == io::ErrorKind::NotFound => return Ok(None),
            Err(error) => return Err(failed(error)),
        };
        let mut sealed = Vec::new();
        let limit = u64::try_from(MAX_FILE).unwrap_or(u64::MAX);
        file.take(limit.saturating_add(1))
            .read_to_end(&mut sealed)
            .map_err(failed)?;
        if sealed.len() > MAX_FILE {
            return Err(StoreErrorKind::Corrupt.into());
        }
        self.key.open(key, &sealed).map(Some)
    }

    fn save(&self, key: &StoreKey, record: &Record) -> Result<(), StoreError> {
        let _turn = self.turn(key)?;
        if let Ok(Some(known)) = self.read(key)
            && !record.replaces(&known)
        {
            return Ok(());
        }
        let sealed = self.key.seal(key, record)?;
        if sealed.len() > MAX_FILE {
            return Err(StoreError::new(
                StoreErrorKind::Unavailable,
                format!("the record is larger than {MAX_FILE} bytes"),
            ));
        }
        let path = self.path(key);
        // One name a key: what a killed process left behind is taken away by the next.
        let draft = path.with_extension("tmp");
        self.replace(&draft, &path, &sealed)
            .map_err(|error| unavailable("the record cannot be written", error))
    }

    fn replace(&self, draft: &Path, path: &Path, sealed: &[u8]) -> io::Result<()> {
        remove_if_there(draft)?;
        let written = private(OpenOptions::new().write(true).create_new(true))
            .open(draft)
            .and_then(|mut file| {
                file.write_all(sealed)?;
                file.sync_all()
            })
            .and_then(|()| fs::rename(draft, path));
        if written.is_err() {
            let _ = fs::remove_file(draft);
        }
        written
    }

    fn remove(&self, key: &StoreKey, version: u64) -> Result<(), StoreError> {
        let _turn = self.turn(key)?;
        match self.read(key) {
            Ok(None) => Ok(()),
            Ok(Some(known)) if known.version() > version => Ok(()),
            _ => remove_if_there(&self.path(key))
                .map_err(|error| unavailable("the record cannot be removed", error)),
        }
    }

    /// This process's turn to write; it ends when the file is closed.
    fn turn(&self, key: &StoreKey) -> Result<File, StoreError> {
        let failed = |error| unavailable("the directory cannot be locked", error);
        let lock = private(OpenOptions::new().write(true).create(true).truncate(false))
            .open(self.dir.join(format!(".lock-{}", lock_of(key))))
            .map_err(failed)?;
        for _ in 0..TURNS {
            if lock_file(&lock).map_err(failed)? {
                return Ok(lock);
            }
            std::thread::sleep(TURN);
        }
        Err(StoreError::new(
            StoreErrorKind::Timeout,
            "another process does not give up its turn to write",
        ))
    }
}

/// Which lock a key is under.
fn lock_of(key: &StoreKey) -> usize {
    usize::from(key.digest()[0]) % LOCKS
}

fn unavailable(what: &str, error: io::Error) -> StoreError {
    let message = format!("{what}: {error}");
    StoreError::new(StoreErrorKind::Unavailable, message).caused_by(error)
}

fn remove_if_there(path: &Path) -> io::Result<()> {
    match fs::remove_file(path) {
        Err(error) if error.kind() != io::ErrorKind::NotFound => Err(error),
        _ => Ok(()),
    }
}

fn prepare(dir: &Path) -> Result<(), ConfigError> {
    const REMEDY: &str = "give a directory of the service's own, which it may make itself";
    let refuse = |problem: String| ConfigError::new("store directory", problem, REMEDY);
    let cannot = |what: &str, error: &io::Error| {
        refuse(format!("{} cannot be {what} ({error})", dir.display()))
    };
    match make_private_dir(dir) {
        Err(error) if error.kind() != io::ErrorKind::AlreadyExists => {
            return Err(cannot("made", &error));
        }
        _ => {}
    }
    let found = fs::metadata(dir).map_err(|error| cannot("looked at", &error))?;
    if !found.is_dir() {
        return Err(refuse(format!("{} is not a directory", dir.display())));
    }
    if is_open_to_others(&found) {
        return Err(refuse(format!(
            "{} can be written by others",
            dir.display()
        )));
    }
    Ok(())
}

#[cfg(unix)]
fn make_private_dir(dir: &Path) -> io::Result<()> {
    use std::os::unix::fs::DirBuilderExt;
    fs::DirBuilder::new()
        .recursive(true)
        .mode(0o700)
        .create(dir)
}

#[cfg(not(unix))]
fn make_private_dir(dir: &Path) -> io::Result<()> {
    fs::create_dir_all(dir)
}

#[cfg(unix)]
fn is_open_to_others(dir: &fs::Metadata) -> bool {
    use std::os::unix::fs::PermissionsExt;
    dir.permissions().mode() & 0o022 != 0
}

#[cfg(not(unix))]
const fn is_open_to_others(_: &fs::Metadata) -> bool {
    false
}

#[cfg(unix)]
fn private(options: &mut OpenOptions) -> &mut OpenOptions {
    use std::os::unix::fs::OpenOptionsExt;
    options.mode(0o600)
}

#[cfg(not(unix))]
fn private(options: &mut OpenOptions) -> &mut OpenOptions {
    options
}

/// Whether the lock could be had.
#[cfg(unix)]
fn lock_file(file: &File) -> io::Result<bool> {
    use rustix::fs::{FlockOperation, flock};
    use rustix::io::Errno;
    match flock(file, FlockOperation::NonBlockingLockExclusive) {
        Ok(()) => Ok(true),
        Err(Errno::WOULDBLOCK | Errno::INTR) => Ok(false),
        // A file system without locks: its files are still replaced as a whole.
        Err(Errno::NOTSUP | Errno::NOSYS | Errno::NOLCK) => Ok(true),
        Err(error) => Err(error.into()),
    }
}

#[cfg(not(unix))]
const fn lock_file(_: &File) -> io::Result<bool> {
    Ok(true)
}

impl fmt::Debug for FileStore {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("FileStore")
            .field("dir", &self.folder.dir)
            .finish_non_exhaustive()
    }
}
