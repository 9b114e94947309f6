//! Amazon Cognito user pools, both sides: tokens by client credentials at the pool's domain, and
//! verification of the pool's access and ID tokens.
//!
//! Cognito's access tokens are not those of RFC 9068: they have no `aud` and are told apart by
//! `token_use`, and by `client_id` for whom they were issued ([verifying JSON web
//! tokens](https://docs.aws.amazon.com/cognito/latest/developerguide/amazon-cognito-user-pools-using-tokens-verifying-a-jwt.html)).

use crate::fault::ConfigError;
use crate::jwt::policy::{Policy, Types};
use crate::jwt::profile::profiles;
use crate::jwt::{KeySource, VerifierBuilder};
use crate::oauth2::{self, ClientAuth, ClientSecret, Credential, LifetimePolicy};
use crate::refresh::{RefreshPolicy, Start};
use crate::transport;

profiles! {
    /// An access token of a user pool: `token_use` is `access`.
    AccessToken
    /// An ID token of a user pool: `token_use` is `id`.
    IdToken
}

/// Client credentials at the domain of a user pool.
///
/// # Example
///
/// ```
/// use midil_auth::cognito::ClientCredentials;
/// use midil_auth::oauth2::Credential;
///
/// let credentials = ClientCredentials::new(
///     "orders.auth.eu-west-1.amazoncognito.com",
///     "1example23456789",
///     "s3cr3t",
/// )
/// .scope("inventory/read");
/// assert!(Credential::try_from(credentials).is_ok());
/// ```
#[derive(Clone, Debug)]
#[must_use]
pub struct ClientCredentials {
    domain: String,
    grant: oauth2::ClientCredentials,
    token_url: Option<String>,
}

impl ClientCredentials {
    /// A domain of the pool, such as `orders.auth.eu-west-1.amazoncognito.com` or one of your
    /// own, and an app client that may use the client-credentials grant.
    pub fn new(
        domain: impl Into<String>,
        client_id: impl Into<String>,
        client_secret: impl Into<ClientSecret>,
    ) -> Self {
        Self {
            domain: domain.into(),
            grant: oauth2::ClientCredentials::new("", client_id, client_secret),
            token_url: None,
        }
    }

    /// Another secret of the same app client, which may have two while they are rotated; see
    /// [`oauth2::ClientCredentials::previous_secret`]. Defaults to none.
    pub fn previous_secret(mut self, secret: impl Into<ClientSecret>) -> Self {
        self.grant = self.grant.previous_secret(secret);
        self
    }

    /// The scopes to ask for, space-separated. Defaults to none, for which Cognito grants all
    /// that the app client may have.
    pub fn scope(mut self, scope: impl Into<String>) -> Self {
        self.grant = self.grant.scope(scope);
        self
    }

    /// JSON for the pool's pre-token-generation trigger; it can change what is in the token.
    pub fn client_metadata(mut self, json: impl Into<String>) -> Self {
        self.grant = self.grant.parameter("aws_client_metadata", json);
        self
    }

    /// How the client proves itself. Defaults to `client_secret_basic`.
    pub fn client_auth(mut self, method: ClientAuth) -> Self {
        self.grant = self.grant.client_auth(method);
        self
    }

    /// Another token endpoint than the domain's: an emulator, a VPC endpoint.
    pub fn token_url(mut self, url: impl Into<String>) -> Self {
        self.token_url = Some(url.into());
        self
    }

    /// How events, logs and `health` call this credential. Defaults to `<client id>@<domain>`.
    pub fn name(mut self, name: impl Into<String>) -> Self {
        self.grant = self.grant.name(name);
        self
    }

    /// How fetches are paced. Defaults to [`RefreshPolicy::for_tokens`].
    pub fn refresh(mut self, policy: RefreshPolicy) -> Self {
        self.grant = self.grant.refresh(policy);
        self
    }

    /// How a token's lifetime is used. Defaults to [`LifetimePolicy::default`].
    pub fn lifetime(mut self, policy: LifetimePolicy) -> Self {
        self.grant = self.grant.lifetime(policy);
        self
    }

    /// When the first token is fetched and who waits. Defaults to [`Start::Wait`].
    pub fn start(mut self, start: Start) -> Self {
        self.grant = self.grant.start(start);
        self
    }
}

impl TryFrom<ClientCredentials> for Credential {
    type Error = ConfigError;

    fn try_from(cognito: ClientCredentials) -> Result<Self, ConfigError> {
        let mut grant = cognito.grant;
        grant.token_url = match cognito.token_url {
            Some(url) => url,
            None => {
                let host = domain(&cognito.domain)?;
                format!("https://{host}/oauth2/token")
            }
        };
        Self::try_from(grant)
    }
}

/// The host of a domain, given with or without `https://` and a final slash.
fn domain(given: &str) -> Result<&str, ConfigError> {
    let trimmed = given.trim();
    let host = trimmed
        .strip_prefix("https://")
        .unwrap_or(trimmed)
        .trim_end_matches('/');
    let label = |label: &str| {
        !label.is_empty()
            && label
                .bytes()
                .all(|b| b.is_ascii_alphanumeric() || b == b'-')
    };
    if host.contains('.') && host.split('.').all(label) {
        return Ok(host);
    }
    Err(ConfigError::new(
        "cognito_domain",
        if host.is_empty() {
            "is empty"
        } else {
            "is not a domain"
        },
        "write the user pool's domain, such as your-domain.auth.us-east-1.amazoncognito.com",
    ))
}

/// A user pool whose tokens are to be verified.
///
/// # Example
///
/// ```
/// use midil_auth::cognito::UserPool;
///
/// let pool = UserPool::new("eu-west-1_abcd1234")?.client_id("1example23456789");
/// assert_eq!(pool.issuer(), "https://cognito-idp.eu-west-1.amazonaws.com/eu-west-1_abcd1234");
/// let builder = pool.access_tokens().require_group("admin");
/// # Ok::<(), midil_auth::ConfigError>(())
/// ```
#[derive(Clone, Debug)]
#[must_use]
pub struct UserPool {
    id: String,
    region: String,
    client_ids: Vec<String>,
    any_client: bool,
    endpoint: Option<String>,
    issuer_aliases: Vec<String>,
}

impl UserPool {
    /// A pool by its id, such as `us-east-1_abcd1234`; the region is part of it.
    ///
    /// # Errors
    ///
    /// [`ConfigError`] when it is not the id of a pool.
    pub fn new(id: impl Into<String>) -> Result<Self, ConfigError> {
        let id = id.into().trim().to_owned();
        let region = match id.split_once('_') {
            Some((region, name)) if is_region(region) && is_pool_name(name) => region.to_owned(),
            _ => {
                return Err(ConfigError::new(
                    "cognito_user_pool_id",
                    if id.is_empty() {
                        "is empty"
                    } else {
                        "is not the id of a user pool"
                    },
                    "write the pool's id, such as us-east-1_abcd1234",
                ));
            }
        };
        Ok(Self {
            id,
            region,
            client_ids: Vec::new(),
            any_client: false,
            endpoint: None,
            issuer_aliases: Vec::new(),
        })
    }

    /// Takes tokens of this app client; given more than once, of any of them.
    pub fn client_id(mut self, client_id: impl Into<String>) -> Self {
        self.client_ids.push(client_id.into());
        self
    }

    /// Takes tokens of every app client of the pool. Say so only if that is what you mean.
    pub const fn any_client(mut self) -> Self {
        self.any_client = true;
        self
    }

    /// Fetches the keys from `<endpoint>/<pool id>/.well-known/jwks.json`: an emulator, a VPC
    /// endpoint. The issuer stays Cognito's.
    pub fn endpoint(mut self, url: impl Into<String>) -> Self {
        self.endpoint = Some(url.into());
        self
    }

    /// Another exact `iss` of the same pool, such as that of a replica in another region.
    pub fn issuer_alias(mut self, issuer: impl Into<String>) -> Self {
        self.issuer_aliases.push(issuer.into());
        self
    }

    /// The pool's region.
    #[must_use]
    pub fn region(&self) -> &str {
        &self.region
    }

    /// The `iss` of the pool's tokens.
    #[must_use]
    pub fn issuer(&self) -> String {
        self.issuer_at("cognito-idp")
    }

    fn issuer_at(&self, service: &str) -> String {
        let (region, id) = (&self.region, &self.id);
        format!("https://{service}.{region}.{}/{id}", dns_suffix(region))
    }

    /// Where the pool's keys are.
    #[must_use]
    pub fn jwks_url(&self) -> String {
        let base = match &self.endpoint {
            Some(endpoint) => format!("{}/{}", endpoint.trim_end_matches('/'), self.id),
            None => self.issuer(),
        };
        format!("{base}/.well-known/jwks.json")
    }

    /// A verifier for the pool's access tokens: `token_use` is `access`, and `client_id` one of
    /// the app clients given.
    pub fn access_tokens(&self) -> VerifierBuilder<AccessToken> {
        let mut builder = self.builder("access");
        for client_id in &self.client_ids {
            builder = builder.client_id(client_id);
        }
        builder
    }

    /// A verifier for the pool's ID tokens: `token_use` is `id`, and `aud` one of the app
    /// clients given.
    pub fn id_tokens(&self) -> VerifierBuilder<IdToken> {
        let mut builder = self.builder("id");
        for client_id in &self.client_ids {
            builder = builder.audience(client_id);
        }
        builder
    }

    fn builder<P: crate::jwt::Profile>(&self, token_use: &'static str) -> VerifierBuilder<P> {
        let mut policy = Policy::new(self.issuer());
        policy.issuers.push(self.issuer_at("issuer-cognito-idp"));
        policy.issuers.extend(self.issuer_aliases.iter().cloned());
        policy.token_use = Some(token_use);
        policy.types = Types::Optional(vec!["JWT".to_owned()]);
        policy.required = &["sub", "iat"];
        policy.groups_claim = "cognito:groups".to_owned();
        let builder = VerifierBuilder::with_policy(policy, KeySource::Url(self.jwks_url()))
            .name(format!("{} ({token_use})", self.id));
        if self.any_client {
            builder.any_audience()
        } else {
            builder
        }
    }

    /// Checks everything without a network.
    ///
    /// # Errors
    ///
    /// [`ConfigError`] names the field.
    pub fn validate(&self) -> Result<(), ConfigError> {
        if self.client_ids.is_empty() && !self.any_client {
            return Err(ConfigError::new(
                "cognito_client_id",
                "is not set",
                "give the id of the app client whose tokens are taken",
            ));
        }
        transport::endpoint("endpoint", &self.jwks_url())?;
        Ok(())
    }
}

/// `us-east-1`, `us-gov-west-1`, `cn-north-1`, `eusc-de-east-1`.
fn is_region(text: &str) -> bool {
    let mut parts = text.split('-');
    let number = parts
        .next_back()
        .is_some_and(|n| !n.is_empty() && n.bytes().all(|b| b.is_ascii_digit()));
    let words: Vec<_> = parts.collect();
    let is_word = |word: &&str| !word.is_empty() && word.bytes().all(|b| b.is_ascii_lowercase());
    number && words.len() >= 2 && words.iter().all(is_word)
}

fn is_pool_name(text: &str) -> bool {
    !text.is_empty() && text.len() <= 55 && text.bytes().all(|b| b.is_ascii_alphanumeric())
}

/// The DNS suffix of the partition that a region belongs to.
fn dns_suffix(region: &str) -> &'static str {
    if region.starts_with("cn-") {
        "amazonaws.com.cn"
    } else if region.starts_with("eusc-") {
        "amazonaws.eu"
    } else {
        "amazonaws.com"
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn issuers_follow_the_partition() {
        for (id, issuer) in [
            (
                "us-east-1_aB3",
                "https://cognito-idp.us-east-1.amazonaws.com/us-east-1_aB3",
            ),
            (
                "us-gov-west-1_x",
                "https://cognito-idp.us-gov-west-1.amazonaws.com/us-gov-west-1_x",
            ),
            (
                "cn-north-1_x",
                "https://cognito-idp.cn-north-1.amazonaws.com.cn/cn-north-1_x",
            ),
            (
                "eusc-de-east-1_x",
                "https://cognito-idp.eusc-de-east-1.amazonaws.eu/eusc-de-east-1_x",
            ),
        ] {
            let pool = UserPool::new(id).expect(id);
            assert_eq!(pool.issuer(), issuer);
            assert_eq!(pool.jwks_url(), format!("{issuer}/.well-known/jwks.json"));
        }
        let pool = UserPool::new("us-east-1_x")
            .expect("a pool")
            .endpoint("http://127.0.0.1:9/");
        assert_eq!(
            pool.jwks_url(),
            "http://127.0.0.1:9/us-east-1_x/.well-known/jwks.json"
        );
    }

    #[test]
    fn what_is_not_a_pool_is_refused() {
        for id in [
            "",
            "abcd1234",
            "us-east-1",
            "us-east-1_",
            "us-east_x",
            "US-EAST-1_x",
            "us-east-1_a/b",
            "_x",
        ] {
            let error = UserPool::new(id).expect_err(id);
            assert_eq!(error.field(), "cognito_user_pool_id");
            assert!(error.remedy().contains("us-east-1_abcd1234"));
        }
    }

    #[test]
    fn a_domain_is_taken_with_or_without_a_scheme() {
        for good in [
            "a.auth.us-east-1.amazoncognito.com",
            "https://auth.example.com/",
            " auth.example.com ",
        ] {
            assert!(
                Credential::try_from(ClientCredentials::new(good, "id", "s")).is_ok(),
                "{good}"
            );
        }
        for bad in [
            "",
            "example",
            "http://auth.example.com",
            "a b.com",
            "auth.example.com/x",
            "a..b",
        ] {
            let error =
                Credential::try_from(ClientCredentials::new(bad, "id", "s")).expect_err(bad);
            assert_eq!(error.field(), "cognito_domain");
        }
    }

    #[test]
    fn a_verifier_needs_a_client() {
        let pool = UserPool::new("us-east-1_x").expect("a pool");
        assert_eq!(
            pool.validate().expect_err("no client").field(),
            "cognito_client_id"
        );
        assert!(pool.clone().any_client().validate().is_ok());
        assert!(pool.client_id("c").validate().is_ok());
    }
}
