//! Where a client secret comes from, read anew for every fetch.

use std::env::VarError;
use std::fmt;
use std::fs::File;
use std::io::{self, Read};
use std::panic::AssertUnwindSafe;
use std::path::{Path, PathBuf};
use std::pin::Pin;
use std::sync::Arc;
use std::time::Duration;

use futures_util::FutureExt;
use zeroize::Zeroizing;

use crate::fault::{ConfigError, FetchError, FetchErrorKind};
use crate::secret::Secret;

/// Where a client secret comes from: a value, a file, an environment variable, or a closure that
/// asks whoever keeps it. All but a value are read anew for every fetch, so that a rotated secret
/// needs no restart.
///
/// A secret that cannot be read fails the fetch for the time being, and the token in hand stays in
/// service. While the provider refuses what was read, the source is looked at again and again, and
/// another secret ends the refusal: a file or a variable every 2 s, a closure after 2 s and then
/// ever more rarely, at last once a minute.
///
/// # Example
///
/// ```
/// use midil_auth::oauth2::{ClientCredentials, ClientSecret, Credential};
/// use midil_auth::{FetchError, Secret};
///
/// let mounted = ClientSecret::file("/run/secrets/orders/client-secret");
/// let vault = ClientSecret::from_fn(|| async { Ok::<_, FetchError>(Secret::from("s3cr3t")) });
/// for secret in [ClientSecret::from("s3cr3t"), mounted, vault] {
///     assert!(!format!("{secret:?}").contains("s3cr3t"));
///     let credentials = ClientCredentials::new("https://idp.example.com/token", "orders", secret);
///     assert!(Credential::try_from(credentials).is_ok());
/// }
/// ```
#[derive(Clone)]
#[must_use]
pub struct ClientSecret(Origin);

#[derive(Clone)]
enum Origin {
    Closure(Arc<dyn Fn() -> Answer + Send + Sync>),
    Env(Box<str>),
    File(PathBuf),
    Value(Secret),
}

/// A secret on its way, or what its closure said in place of it.
type Answer = Pin<Box<dyn Future<Output = Result<Secret, String>> + Send>>;

/// How often a source is looked at, at first, while the provider refuses what it held.
pub(super) const WATCH: Duration = Duration::from_secs(2);

/// How often it is looked at in the end, where looking costs somebody something.
pub(super) const SLOW_WATCH: Duration = Duration::from_secs(60);

/// The most that a secret file may hold, in bytes.
const MAX_FILE: usize = 64 * 1024;

impl ClientSecret {
    /// A file that holds nothing but the secret; the line feed that editors put at its end is no
    /// part of it. It may be replaced at any time: what counts is what the path leads to when a
    /// fetch begins, so a Kubernetes volume may swap its links.
    ///
    /// 64 KiB at most, in UTF-8.
    pub fn file(path: impl Into<PathBuf>) -> Self {
        Self(Origin::File(path.into()))
    }

    /// An environment variable of this process.
    pub fn env(name: impl Into<String>) -> Self {
        Self(Origin::Env(name.into().into()))
    }

    /// A closure that is asked for the secret, such as one that asks a secrets manager. It is
    /// called once per fetch at most, has three quarters of
    /// [`fetch_timeout`](crate::RefreshPolicy::fetch_timeout) to answer, and may fail or even
    /// panic: that costs the fetch. What its error says is shown; it must not show a secret.
    pub fn from_fn<F, A, S, E>(secret: F) -> Self
    where
        F: Fn() -> A + Send + Sync + 'static,
        A: Future<Output = Result<S, E>> + Send + 'static,
        S: Into<Secret>,
        E: fmt::Display,
    {
        Self(Origin::Closure(Arc::new(move || {
            let answer = secret();
            Box::pin(async move {
                let answer = answer.await;
                answer.map(Into::into).map_err(|error| error.to_string())
            })
        })))
    }

    /// The secret as it is now; it has `patience` to come.
    pub(super) async fn read(&self, patience: Duration) -> Result<Secret, FetchError> {
        let reading = async {
            match &self.0 {
                Origin::Closure(secret) => ask(secret).await,
                Origin::Env(name) => match std::env::var(&**name) {
                    Ok(secret) => Ok(Secret::from(secret)),
                    Err(VarError::NotPresent) => Err(self.failed("it is not set")),
                    // The error itself shows the value.
                    Err(VarError::NotUnicode(_)) => Err(self.failed("it is not Unicode")),
                },
                Origin::File(path) => {
                    let path = path.clone();
                    let read = tokio::task::spawn_blocking(move || read_file(&path)).await;
                    let read = read.unwrap_or_else(|_| Err(io::Error::other("interrupted")));
                    read.map_err(|error| self.failed(error))
                }
                Origin::Value(secret) => Ok(secret.clone()),
            }
        };
        match tokio::time::timeout(patience, reading).await {
            Ok(Ok(secret)) if secret.is_empty() => Err(self.failed("there is nothing in it")),
            Ok(read) => read,
            Err(_) => Err(FetchError::new(
                FetchErrorKind::Timeout,
                format!("no client secret from {} within {patience:?}", self.0),
            )),
        }
    }

    fn failed(&self, why: impl fmt::Display) -> FetchError {
        FetchError::transient(format!("no client secret from {}: {why}", self.0))
    }

    /// Resolves when another secret than the one `seen` can be read; never for a value.
    pub(super) async fn changed_from(
        &self,
        seen: Option<Secret>,
        mut pause: Duration,
        patience: Duration,
    ) {
        if let Origin::Value(_) = self.0 {
            return std::future::pending().await;
        }
        loop {
            tokio::time::sleep(pause).await;
            match self.read(patience).await {
                Ok(now) if seen.as_ref() != Some(&now) => return,
                _ => {}
            }
            if let Origin::Closure(_) = self.0 {
                pause = (2 * pause).min(SLOW_WATCH);
            }
        }
    }

    /// Refuses what can never give a secret; `field` is how the application knows it.
    pub(super) fn check(&self, field: &'static str) -> Result<(), ConfigError> {
        let (problem, remedy) = match &self.0 {
            Origin::Value(secret) if secret.is_empty() => {
                ("is empty", "give the app client's secret")
            }
            Origin::File(path) if path.as_os_str().is_empty() => (
                "is an empty path",
                "give the path of the file that holds the secret",
            ),
            Origin::Env(name) if name.is_empty() || name.contains(['=', '\0']) => (
                "is not the name of an environment variable",
                "give the name of the variable that holds the secret",
            ),
            _ => return Ok(()),
        };
        Err(ConfigError::new(field, problem, remedy))
    }
}

async fn ask(secret: &Arc<dyn Fn() -> Answer + Send + Sync>) -> Result<Secret, FetchError> {
    // The call itself may panic as well as the future it returns.
    let answer = AssertUnwindSafe(async { secret().await }).catch_unwind();
    match answer.await {
        Ok(Ok(secret)) => Ok(secret),
        Ok(Err(why)) => Err(FetchError::transient(format!(
            "no client secret from its closure: {why}"
        ))),
        Err(_) => Err(FetchError::new(
            FetchErrorKind::Panicked,
            "no client secret from its closure: it panicked",
        )),
    }
}

fn read_file(path: &Path) -> io::Result<Secret> {
    // To open a pipe is to wait for whoever writes to it.
    if !path.metadata()?.is_file() {
        return Err(io::Error::other("not a file"));
    }
    // All the room at once: growing would leave copies behind.
    let mut text = Zeroizing::new(String::with_capacity(MAX_FILE + 1));
    let mut file = File::open(path)?.take(MAX_FILE as u64 + 1);
    file.read_to_string(&mut text)?;
    if text.len() > MAX_FILE {
        return Err(io::Error::other("it is larger than 64 KiB"));
    }
    Ok(Secret::from(text.trim_end_matches(['\r', '\n'])))
}

impl From<Secret> for ClientSecret {
    fn from(secret: Secret) -> Self {
        Self(Origin::Value(secret))
    }
}

impl From<&str> for ClientSecret {
    fn from(secret: &str) -> Self {
        Self::from(Secret::from(secret))
    }
}

impl From<String> for ClientSecret {
    fn from(secret: String) -> Self {
        Self::from(Secret::from(secret))
    }
}

impl fmt::Display for Origin {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Closure(_) => f.write_str("its closure"),
            Self::Env(name) => write!(f, "the environment variable {name}"),
            Self::File(path) => write!(f, "the file {}", path.display()),
            Self::Value(_) => f.write_str("[redacted]"),
        }
    }
}

impl fmt::Debug for ClientSecret {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "ClientSecret({})", self.0)
    }
}
