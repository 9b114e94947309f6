//! Tokens, keys and rules of your own: a token that a sidecar keeps in a file, a key set from a file,
//! and a wrapper that lets in administrators only.
//!
//! ```text
//! cargo run --example own_sources
//! ```

use std::error::Error;
use std::path::PathBuf;
use std::sync::Arc;
use std::time::Duration;

use midil_auth::jwks::{Algorithm, KeySet};
use midil_auth::jwt::VerifyError;
use midil_auth::oauth2::{AccessToken, Credential};
use midil_auth::testing::SigningKey;
use midil_auth::{
    Auth, AuthError, AuthzProvider, Claims, FetchError, Fetched, ProviderFuture, Source, Verifier,
};
use serde_json::json;

/// Tokens from a file, such as a sidecar or an agent keeps there.
struct TokenFile(PathBuf);

impl Source<AccessToken> for TokenFile {
    async fn fetch(
        &self,
        _in_service: Option<Arc<AccessToken>>,
    ) -> Result<Fetched<AccessToken>, FetchError> {
        let text = read(&self.0).await?;
        // A JWT says itself when it ends; of another token, say it here.
        let token = AccessToken::bearer(text.trim())?.expires_in(Duration::from_secs(300));
        Ok(Fetched::new(token))
    }
}

/// Keys from a file, such as a mounted volume.
struct KeyFile(PathBuf);

impl Source<KeySet> for KeyFile {
    async fn fetch(&self, _in_service: Option<Arc<KeySet>>) -> Result<Fetched<KeySet>, FetchError> {
        Ok(Fetched::new(KeySet::from_json(
            read(&self.0).await?.as_bytes(),
        )?))
    }
}

/// A failure that may pass is tried again by itself; what is in service stays there.
async fn read(path: &PathBuf) -> Result<String, FetchError> {
    let text = tokio::fs::read_to_string(path).await;
    text.map_err(|error| FetchError::transient(format!("{}: {error}", path.display())))
}

/// What a verifier finds, and a rule on top of it.
#[derive(Debug)]
struct AdminsOnly<A>(A);

impl<A: AuthzProvider> AuthzProvider for AdminsOnly<A> {
    fn verify<'a>(&'a self, token: &'a str) -> ProviderFuture<'a, Claims> {
        Box::pin(async move {
            let claims = self.0.verify(token).await?;
            match claims.has_group("admin") {
                true => Ok(claims),
                false => Err(AuthError::Authorization(VerifyError::Group)),
            }
        })
    }
}

#[tokio::main]
async fn main() -> Result<(), Box<dyn Error>> {
    let place = std::env::temp_dir().join(format!("own-sources-{}", std::process::id()));
    std::fs::create_dir_all(&place)?;
    let key = SigningKey::generate(Algorithm::ES256, "key-1");
    let (tokens, keys) = (place.join("token"), place.join("jwks.json"));
    std::fs::write(&tokens, "opaque-token\n")?;
    std::fs::write(&keys, json!({"keys": [key.jwk()]}).to_string())?;

    let auth = Auth::start().await?;
    let token = auth
        .token(Credential::new("sidecar", TokenFile(tokens)))
        .await?;
    assert_eq!(token.authorization()?, "Bearer opaque-token");

    let rules = Verifier::builder("https://idp.example.com")
        .audience("orders")
        .key_source(KeyFile(keys));
    let admins = AdminsOnly(auth.verifier(rules).await?);
    let mint = |group: &str| {
        key.token(&json!({
            "iss": "https://idp.example.com", "aud": "orders", "exp": 4_000_000_000_u64,
            "sub": "ada", "groups": [group],
        }))
    };
    assert_eq!(admins.verify(&mint("admin")).await?.subject(), Some("ada"));
    let refused = admins.verify(&mint("guest")).await;
    assert!(matches!(refused, Err(AuthError::Authorization(_))));
    std::fs::remove_dir_all(place)?;
    Ok(())
}
