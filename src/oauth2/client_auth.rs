//! How the client proves itself at the token endpoint (RFC 6749 §2.3.1).

use std::path::PathBuf;
use std::time::Duration;

use http::HeaderValue;
use url::form_urlencoded::{Serializer, byte_serialize};
use zeroize::Zeroizing;

use crate::fault::{ConfigError, FetchError};
use crate::secret::Secret;

/// How the client id and secret are sent. Never probed: the application says which.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
#[non_exhaustive]
pub enum ClientAuth {
    /// `client_secret_basic`: in the `Authorization` header.
    Basic(BasicEncoding),
    /// `client_secret_post`: in the form.
    Post,
}

/// What is done to the id and the secret before they are base64-encoded for Basic.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
#[non_exhaustive]
pub enum BasicEncoding {
    /// Form-urlencoded, as RFC 6749 §2.3.1 says.
    FormEncoded,
    /// As they are, for servers that do not decode them.
    Raw,
}

impl Default for ClientAuth {
    fn default() -> Self {
        Self::Basic(BasicEncoding::FormEncoded)
    }
}

/// Where the client secret comes from.
#[derive(Clone, Debug)]
pub(super) enum SecretSource {
    Value(Secret),
    /// Read anew for every fetch, so that a rotated file needs no restart.
    File(PathBuf),
}

/// How often a secret file is looked at while the issuer refuses what it held.
const WATCH: Duration = Duration::from_secs(2);

/// The most that is read of a secret file.
const MAX_SECRET: u64 = 64 * 1024;

impl SecretSource {
    pub(super) async fn read(&self) -> Result<Secret, FetchError> {
        match self {
            Self::Value(secret) => Ok(secret.clone()),
            Self::File(path) => {
                let path = path.clone();
                let read = tokio::task::spawn_blocking(move || read_secret(&path)).await;
                read.unwrap_or_else(|_| Err(FetchError::transient("the runtime is stopping")))
            }
        }
    }

    /// Resolves when a file holds another secret than `refused`; a value never changes.
    pub(super) async fn changed_from(&self, refused: Option<Secret>) {
        if let Self::Value(_) = self {
            return std::future::pending().await;
        }
        loop {
            tokio::time::sleep(WATCH).await;
            match self.read().await {
                Ok(now) if refused.as_ref() != Some(&now) => return,
                _ => {}
            }
        }
    }

    pub(super) fn check(&self) -> Result<(), ConfigError> {
        let (problem, remedy) = match self {
            Self::Value(secret) if secret.is_empty() => {
                ("is empty", "give the app client's secret")
            }
            Self::File(path) if path.as_os_str().is_empty() => (
                "is an empty path",
                "give the path of the file that holds the secret",
            ),
            _ => return Ok(()),
        };
        Err(ConfigError::new("client_secret", problem, remedy))
    }
}

fn read_secret(path: &std::path::Path) -> Result<Secret, FetchError> {
    use std::io::Read;
    let failed = |error: std::io::Error| {
        FetchError::transient(format!(
            "cannot read the client secret from {}",
            path.display()
        ))
        .caused_by(error)
    };
    let file = std::fs::File::open(path).map_err(failed)?;
    let mut text = Zeroizing::new(String::new());
    file.take(MAX_SECRET)
        .read_to_string(&mut text)
        .map_err(failed)?;
    // Editors and `echo` end a file with a line feed that is no part of the secret.
    let secret = text.trim_end_matches(['\r', '\n']);
    if secret.is_empty() {
        return Err(FetchError::transient(format!(
            "the secret file {} is empty",
            path.display()
        )));
    }
    Ok(Secret::from(secret))
}

impl ClientAuth {
    /// A stable label, which names the method in store keys.
    pub(super) const fn as_str(self) -> &'static str {
        match self {
            Self::Basic(BasicEncoding::FormEncoded) => "client_secret_basic",
            Self::Basic(BasicEncoding::Raw) => "client_secret_basic_raw",
            Self::Post => "client_secret_post",
        }
    }

    /// The header that proves the client, or the members it adds to the form.
    pub(super) fn apply(
        self,
        client_id: &str,
        secret: &Secret,
        form: &mut Serializer<'_, String>,
    ) -> Result<Option<HeaderValue>, FetchError> {
        match self {
            Self::Post => {
                form.append_pair("client_id", client_id);
                form.append_pair("client_secret", secret.expose());
                Ok(None)
            }
            Self::Basic(encoding) => basic(encoding, client_id, secret).map(Some),
        }
    }
}

fn basic(encoding: BasicEncoding, id: &str, secret: &Secret) -> Result<HeaderValue, FetchError> {
    let mut pair = Zeroizing::new(String::new());
    match encoding {
        BasicEncoding::FormEncoded => {
            pair.extend(byte_serialize(id.as_bytes()));
            pair.push(':');
            pair.extend(byte_serialize(secret.expose().as_bytes()));
        }
        BasicEncoding::Raw => {
            pair.push_str(id);
            pair.push(':');
            pair.push_str(secret.expose());
        }
    }
    let encoded = Zeroizing::new(base64_simd::STANDARD.encode_to_string(pair.as_bytes()));
    let mut value = HeaderValue::try_from(format!("Basic {}", *encoded))
        .map_err(|_| FetchError::permanent("the client credentials do not fit in a header"))?;
    value.set_sensitive(true);
    Ok(value)
}

#[cfg(test)]
mod tests {
    use super::*;

    fn decoded(encoding: BasicEncoding, id: &str, secret: &str) -> String {
        let header = basic(encoding, id, &Secret::from(secret)).expect("a header");
        assert!(header.is_sensitive());
        let text = header
            .to_str()
            .expect("ascii")
            .strip_prefix("Basic ")
            .expect("scheme");
        String::from_utf8(base64_simd::STANDARD.decode_to_vec(text).expect("base64")).expect("utf8")
    }

    #[test]
    fn basic_credentials_are_form_encoded_before_base64() {
        let (id, secret) = ("svc:special+id", "p@ss:w/rd+%20&=?~");
        assert_eq!(
            decoded(BasicEncoding::FormEncoded, id, secret),
            "svc%3Aspecial%2Bid:p%40ss%3Aw%2Frd%2B%2520%26%3D%3F%7E"
        );
        assert_eq!(
            decoded(BasicEncoding::Raw, id, secret),
            format!("{id}:{secret}")
        );
    }

    #[tokio::test]
    async fn a_secret_file_is_read_anew_and_without_its_line_end() {
        let path = std::env::temp_dir().join(format!("midil-secret-{}", std::process::id()));
        let source = SecretSource::File(path.clone());
        std::fs::write(&path, "one\n").expect("written");
        assert_eq!(source.read().await.expect("read").expose(), "one");
        std::fs::write(&path, "two").expect("written");
        assert_eq!(source.read().await.expect("read").expose(), "two");
        std::fs::remove_file(&path).expect("removed");
        assert!(source.read().await.expect_err("gone").is_transient());
    }
}
