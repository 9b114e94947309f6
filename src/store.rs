//! Warm start: the last good tokens and key sets outlive the process, so that a restarted one
//! serves at once while its issuer is down.
//!
//! Give [`AuthBuilder::store`](crate::AuthBuilder::store) a [`FileStore`], or a [`Store`] of your
//! own. Then the tokens of client credentials and the key sets of every issuer take part; a source
//! of your own does when it is given a name to be stored under.
//!
//! What is loaded keeps its times: a token its expiry, a key set its age. What is fetched always
//! wins over what is stored, and a store that fails, hangs or holds rubbish costs an event and
//! nothing else.

mod error;
mod file;
pub(crate) mod frame;
mod key;
mod record;
mod seal;

use std::fmt;
use std::future::Future;
use std::pin::Pin;
use std::sync::Arc;
use std::time::Duration;

pub use error::{StoreError, StoreErrorKind, StoreOperation};
pub use file::FileStore;
pub use key::{StoreKey, StoreKind};
pub use record::Record;
pub use seal::EncryptionKey;

/// Where records outlive the process, or are shared by the replicas of a service.
///
/// A store keeps one [`Record`] a [`StoreKey`]. It neither judges nor refreshes: whether a record
/// is still good is for whoever loads it to say. Every record has a
/// [version](Record::version), and an older one never takes the place of a newer one, whichever
/// replica comes last: [`save`](Self::save) and [`remove`](Self::remove) compare it and act in one
/// step, such as under a lock, in a transaction or in a script of the server.
///
/// A store need not keep time: a load is given up after
/// [`store_timeout`](crate::AuthBuilder::store_timeout), anything else after ten seconds, and its
/// future is dropped. Nobody waits for a save, and of many that wait only the last is made.
///
/// A record holds an access token or the keys that tokens are verified with. Where others can
/// read or write the place it is kept in, keep what [`EncryptionKey::seal`] makes of it.
///
/// # Example
///
/// ```
/// use std::collections::HashMap;
/// use std::sync::Mutex;
/// use midil_auth::store::{Record, Store, StoreError, StoreKey};
///
/// #[derive(Default)]
/// struct Memory(Mutex<HashMap<StoreKey, Record>>);
///
/// impl Store for Memory {
///     async fn load(&self, key: &StoreKey) -> Result<Option<Record>, StoreError> {
///         Ok(self.0.lock().unwrap().get(key).cloned())
///     }
///
///     async fn save(&self, key: &StoreKey, record: Record) -> Result<(), StoreError> {
///         let mut records = self.0.lock().unwrap();
///         if records.get(key).is_none_or(|known| record.replaces(known)) {
///             records.insert(key.clone(), record);
///         }
///         Ok(())
///     }
///
///     async fn remove(&self, key: &StoreKey, version: u64) -> Result<(), StoreError> {
///         let mut records = self.0.lock().unwrap();
///         if records.get(key).is_some_and(|known| known.version() <= version) {
///             records.remove(key);
///         }
///         Ok(())
///     }
/// }
///
/// # #[tokio::main(flavor = "current_thread")]
/// # async fn main() -> Result<(), midil_auth::AuthError> {
/// let auth = midil_auth::Auth::builder().store(Memory::default()).start().await?;
/// # auth.shutdown().await;
/// # Ok(())
/// # }
/// ```
pub trait Store: Send + Sync + 'static {
    /// What is stored under `key`, if anything.
    ///
    /// # Errors
    ///
    /// [`StoreError`]: transient where the store could not be asked, of one of the other kinds
    /// where what it holds cannot be read. Either way the value is fetched.
    fn load(
        &self,
        key: &StoreKey,
    ) -> impl Future<Output = Result<Option<Record>, StoreError>> + Send;

    /// Stores `record` under `key`, unless what is there is newer: see [`Record::replaces`].
    /// What is there and cannot be read is replaced.
    ///
    /// # Errors
    ///
    /// [`StoreError`] when it could not be stored.
    fn save(
        &self,
        key: &StoreKey,
        record: Record,
    ) -> impl Future<Output = Result<(), StoreError>> + Send;

    /// Removes what is stored under `key`, unless its version is higher than `version`: the token
    /// of that version was refused by a resource server.
    ///
    /// # Errors
    ///
    /// [`StoreError`] when it could not be removed.
    fn remove(
        &self,
        key: &StoreKey,
        version: u64,
    ) -> impl Future<Output = Result<(), StoreError>> + Send;
}

impl<S: Store> Store for Arc<S> {
    fn load(
        &self,
        key: &StoreKey,
    ) -> impl Future<Output = Result<Option<Record>, StoreError>> + Send {
        S::load(self, key)
    }

    fn save(
        &self,
        key: &StoreKey,
        record: Record,
    ) -> impl Future<Output = Result<(), StoreError>> + Send {
        S::save(self, key, record)
    }

    fn remove(
        &self,
        key: &StoreKey,
        version: u64,
    ) -> impl Future<Output = Result<(), StoreError>> + Send {
        S::remove(self, key, version)
    }
}

type StoreFuture<'a, T> = Pin<Box<dyn Future<Output = Result<T, StoreError>> + Send + 'a>>;

/// The form of [`Store`] that can be stored.
pub(crate) trait DynStore: Send + Sync + 'static {
    fn load_boxed<'a>(&'a self, key: &'a StoreKey) -> StoreFuture<'a, Option<Record>>;
    fn save_boxed<'a>(&'a self, key: &'a StoreKey, record: Record) -> StoreFuture<'a, ()>;
    fn remove_boxed<'a>(&'a self, key: &'a StoreKey, version: u64) -> StoreFuture<'a, ()>;
}

impl<S: Store> DynStore for S {
    fn load_boxed<'a>(&'a self, key: &'a StoreKey) -> StoreFuture<'a, Option<Record>> {
        Box::pin(self.load(key))
    }

    fn save_boxed<'a>(&'a self, key: &'a StoreKey, record: Record) -> StoreFuture<'a, ()> {
        Box::pin(self.save(key, record))
    }

    fn remove_boxed<'a>(&'a self, key: &'a StoreKey, version: u64) -> StoreFuture<'a, ()> {
        Box::pin(self.remove(key, version))
    }
}

/// The store of a runtime, and how long a first fetch waits for it.
#[derive(Clone)]
pub(crate) struct Backing {
    pub(crate) store: Arc<dyn DynStore>,
    pub(crate) patience: Duration,
}

impl fmt::Debug for Backing {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Backing")
            .field("patience", &self.patience)
            .finish_non_exhaustive()
    }
}
