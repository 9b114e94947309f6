//! Configuration from the environment, from serde, or from code. Checked without a network.

use std::path::PathBuf;

use serde::Deserialize;

use crate::cognito::{ClientCredentials, UserPool};
use crate::fault::ConfigError;
use crate::oauth2::ClientSecret;
use crate::secret::Secret;

/// What a service needs to know of its Cognito user pool; any other provider is configured in
/// code.
///
/// | field | environment | example |
/// |---|---|---|
/// | `cognito_user_pool_id` | `COGNITO_USER_POOL_ID` | `us-east-1_abcd1234` |
/// | `cognito_client_id` | `COGNITO_CLIENT_ID` | `1example23456789` |
/// | `cognito_client_secret` | `COGNITO_CLIENT_SECRET` | |
/// | `cognito_client_secret_file` | `COGNITO_CLIENT_SECRET_FILE` | `/run/secrets/cognito` |
/// | `cognito_previous_client_secret` | `COGNITO_PREVIOUS_CLIENT_SECRET` | |
/// | `cognito_previous_client_secret_file` | `COGNITO_PREVIOUS_CLIENT_SECRET_FILE` | `/run/secrets/previous` |
/// | `cognito_domain` | `COGNITO_DOMAIN` | `orders.auth.us-east-1.amazoncognito.com` |
/// | `cognito_region` | `COGNITO_REGION` | `us-east-1`; part of the pool's id already |
/// | `cognito_default_scope` | `COGNITO_DEFAULT_SCOPE` | `inventory/read` |
///
/// # Example
///
/// ```
/// use midil_auth::AuthConfig;
///
/// let config: AuthConfig = serde_json::from_str(r#"{
///     "cognito_user_pool_id": "us-east-1_abcd1234",
///     "cognito_client_id": "1example23456789",
///     "cognito_client_secret": "s3cr3t",
///     "cognito_domain": "orders.auth.us-east-1.amazoncognito.com"
/// }"#)?;
/// config.validate()?;
/// let verifier = config.user_pool()?.access_tokens();
/// assert!(!format!("{config:?}").contains("s3cr3t"));
/// # Ok::<(), Box<dyn std::error::Error>>(())
/// ```
///
/// With figment or the `config` crate it is a section `[auth]` of the application's own file, the
/// environment on top; an unknown key is an error that names it. `examples/config` does so, and
/// checks a file without a network.
#[derive(Clone, Debug, Default, Deserialize)]
#[serde(deny_unknown_fields, default)]
#[non_exhaustive]
pub struct AuthConfig {
    /// The pool whose tokens are verified.
    pub cognito_user_pool_id: Option<String>,
    /// The app client: whose tokens are taken, and as whom tokens are fetched.
    pub cognito_client_id: Option<String>,
    /// The app client's secret.
    pub cognito_client_secret: Option<Secret>,
    /// A file that holds the secret, in place of the secret; read anew for every fetch.
    pub cognito_client_secret_file: Option<PathBuf>,
    /// The app client's other secret while the two are rotated.
    pub cognito_previous_client_secret: Option<Secret>,
    /// A file that holds it, in its place; read anew for every fetch.
    pub cognito_previous_client_secret_file: Option<PathBuf>,
    /// The pool's domain.
    pub cognito_domain: Option<String>,
    /// The pool's region. Needed by nobody, but checked against the pool's id.
    pub cognito_region: Option<String>,
    /// The scopes to ask for, space-separated.
    pub cognito_default_scope: Option<String>,
    /// Whether errors name environment variables instead of fields.
    #[serde(skip)]
    named_by_environment: bool,
}

impl AuthConfig {
    /// Reads the environment variables of the table above. An empty one counts as not set.
    ///
    /// # Errors
    ///
    /// [`ConfigError`] when a variable is not Unicode, or one contradicts another.
    pub fn from_env() -> Result<Self, ConfigError> {
        Self::from_variables(|name| match std::env::var(name) {
            Ok(value) => Ok(Some(value)),
            Err(std::env::VarError::NotPresent) => Ok(None),
            Err(std::env::VarError::NotUnicode(_)) => {
                Err(ConfigError::new(name, "is not Unicode", "write plain text"))
            }
        })
    }

    /// As [`from_env`](Self::from_env), with the variables from elsewhere.
    ///
    /// # Errors
    ///
    /// As [`from_env`](Self::from_env).
    pub fn from_variables(
        variable: impl Fn(&'static str) -> Result<Option<String>, ConfigError>,
    ) -> Result<Self, ConfigError> {
        let read = |name| {
            let value = variable(name)?;
            Ok::<_, ConfigError>(value.filter(|value| !value.trim().is_empty()))
        };
        let config = Self {
            cognito_user_pool_id: read("COGNITO_USER_POOL_ID")?,
            cognito_client_id: read("COGNITO_CLIENT_ID")?,
            cognito_client_secret: read("COGNITO_CLIENT_SECRET")?.map(Secret::from),
            cognito_client_secret_file: read("COGNITO_CLIENT_SECRET_FILE")?.map(PathBuf::from),
            cognito_previous_client_secret: read("COGNITO_PREVIOUS_CLIENT_SECRET")?
                .map(Secret::from),
            cognito_previous_client_secret_file: read("COGNITO_PREVIOUS_CLIENT_SECRET_FILE")?
                .map(PathBuf::from),
            cognito_domain: read("COGNITO_DOMAIN")?,
            cognito_region: read("COGNITO_REGION")?,
            cognito_default_scope: read("COGNITO_DEFAULT_SCOPE")?,
            named_by_environment: true,
        };
        config.secrets()?;
        Ok(config)
    }

    /// Checks whatever is set, without a network.
    ///
    /// # Errors
    ///
    /// [`ConfigError`] names the field or variable and what to write there.
    pub fn validate(&self) -> Result<(), ConfigError> {
        self.secrets()?;
        if self.cognito_user_pool_id.is_some() || self.cognito_region.is_some() {
            self.user_pool()?
                .validate()
                .map_err(|error| self.named(error))?;
        }
        if self.cognito_domain.is_some() {
            let credentials = self.client_credentials()?;
            let credential = crate::oauth2::Credential::try_from(credentials);
            credential.map(drop).map_err(|error| self.named(error))?;
        }
        Ok(())
    }

    /// The outbound part.
    ///
    /// # Errors
    ///
    /// [`ConfigError`] when the domain, the client id or the secret is missing.
    pub fn client_credentials(&self) -> Result<ClientCredentials, ConfigError> {
        let (secret, previous) = self.secrets()?;
        let domain = self.required(
            "cognito_domain",
            self.cognito_domain.as_ref(),
            "write the user pool's domain, such as your-domain.auth.us-east-1.amazoncognito.com",
        )?;
        let client_id = self.client_id()?;
        let secret = self.required(
            "cognito_client_secret",
            secret,
            "write the app client's secret, or the path of a file that holds it into the variable \
             or field of the same name with _file",
        )?;
        let mut credentials = ClientCredentials::new(domain, client_id, secret);
        if let Some(previous) = previous {
            credentials = credentials.previous_secret(previous);
        }
        if let Some(scope) = &self.cognito_default_scope {
            credentials = credentials.scope(scope);
        }
        Ok(credentials)
    }

    /// The inbound part.
    ///
    /// # Errors
    ///
    /// [`ConfigError`] when the pool id or the client id is missing, or the region contradicts
    /// the pool id.
    pub fn user_pool(&self) -> Result<UserPool, ConfigError> {
        let id = self.required(
            "cognito_user_pool_id",
            self.cognito_user_pool_id.as_ref(),
            "write the pool's id, such as us-east-1_abcd1234",
        )?;
        let pool = UserPool::new(id).map_err(|error| self.named(error))?;
        if let Some(region) = &self.cognito_region
            && region.trim() != pool.region()
        {
            return Err(self.named(ConfigError::new(
                "cognito_region",
                "is not the region of the user pool",
                format!("write {}, or leave it out", pool.region()),
            )));
        }
        Ok(pool.client_id(self.client_id()?))
    }

    fn client_id(&self) -> Result<&String, ConfigError> {
        self.required(
            "cognito_client_id",
            self.cognito_client_id.as_ref(),
            "write the id of the app client",
        )
    }

    /// The current and the previous secret, each from wherever it is.
    fn secrets(&self) -> Result<(Option<ClientSecret>, Option<ClientSecret>), ConfigError> {
        let one = |field, value: &Option<Secret>, file: &Option<PathBuf>| match (value, file) {
            (Some(_), Some(_)) => Err(self.named(ConfigError::new(
                field,
                "is given both as a value and as a file",
                "leave one of them out",
            ))),
            (Some(secret), None) => Ok(Some(ClientSecret::from(secret.clone()))),
            (None, path) => Ok(path.as_ref().map(ClientSecret::file)),
        };
        Ok((
            one(
                "cognito_client_secret",
                &self.cognito_client_secret,
                &self.cognito_client_secret_file,
            )?,
            one(
                "cognito_previous_client_secret",
                &self.cognito_previous_client_secret,
                &self.cognito_previous_client_secret_file,
            )?,
        ))
    }

    fn required<T>(
        &self,
        field: &'static str,
        value: Option<T>,
        remedy: &'static str,
    ) -> Result<T, ConfigError> {
        value.ok_or_else(|| self.named(ConfigError::new(field, "is not set", remedy)))
    }

    /// The error under the name by which its reader knows the field.
    fn named(&self, error: ConfigError) -> ConfigError {
        let error = match error.field() {
            "client_id" => error.for_field("cognito_client_id"),
            "client_secret" => error.for_field("cognito_client_secret"),
            "previous_secret" => error.for_field("cognito_previous_client_secret"),
            _ => error,
        };
        if !self.named_by_environment {
            return error;
        }
        let variable = error.field().to_ascii_uppercase();
        error.for_field(variable)
    }
}

impl ClientCredentials {
    /// From `COGNITO_DOMAIN`, `COGNITO_CLIENT_ID`, `COGNITO_CLIENT_SECRET` (or
    /// `COGNITO_CLIENT_SECRET_FILE`) and, if set, `COGNITO_PREVIOUS_CLIENT_SECRET` (or
    /// `COGNITO_PREVIOUS_CLIENT_SECRET_FILE`) and `COGNITO_DEFAULT_SCOPE`.
    ///
    /// # Errors
    ///
    /// [`ConfigError`] names the variable and what to write there.
    pub fn from_env() -> Result<Self, ConfigError> {
        AuthConfig::from_env()?.client_credentials()
    }
}

impl UserPool {
    /// From `COGNITO_USER_POOL_ID`, `COGNITO_CLIENT_ID` and, if set, `COGNITO_REGION`.
    ///
    /// # Errors
    ///
    /// [`ConfigError`] names the variable and what to write there.
    pub fn from_env() -> Result<Self, ConfigError> {
        AuthConfig::from_env()?.user_pool()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn from(pairs: &[(&'static str, &str)]) -> Result<AuthConfig, ConfigError> {
        AuthConfig::from_variables(|name| {
            let found = pairs.iter().find(|(known, _)| *known == name);
            Ok(found.map(|(_, value)| (*value).to_owned()))
        })
    }

    const FULL: [(&str, &str); 6] = [
        ("COGNITO_USER_POOL_ID", "eu-west-1_abcd1234"),
        ("COGNITO_CLIENT_ID", "client"),
        ("COGNITO_CLIENT_SECRET", "canary-secret"),
        ("COGNITO_DOMAIN", "orders.auth.eu-west-1.amazoncognito.com"),
        ("COGNITO_REGION", "eu-west-1"),
        ("COGNITO_DEFAULT_SCOPE", "api/read"),
    ];

    #[test]
    fn the_whole_environment_makes_both_parts() {
        let config = from(&FULL).expect("a config");
        config.validate().expect("valid");
        assert_eq!(config.user_pool().expect("a pool").region(), "eu-west-1");
        assert!(!format!("{config:?}").contains("canary-secret"));
    }

    #[test]
    fn an_error_names_the_variable_and_what_to_write_there() {
        for missing in [
            "COGNITO_CLIENT_ID",
            "COGNITO_CLIENT_SECRET",
            "COGNITO_USER_POOL_ID",
            "COGNITO_DOMAIN",
        ] {
            let rest: Vec<_> = FULL
                .into_iter()
                .filter(|(name, _)| *name != missing)
                .collect();
            let config = from(&rest).expect("a config");
            let errors: Vec<_> = [config.client_credentials().err(), config.user_pool().err()]
                .into_iter()
                .flatten()
                .collect();
            assert!(!errors.is_empty(), "{missing}");
            for error in errors {
                assert_eq!(error.field(), missing);
                assert!(error.remedy().starts_with("write"), "{error}");
                assert!(!error.to_string().contains("canary-secret"));
            }
        }
    }

    #[test]
    fn a_previous_secret_is_taken_from_a_value_or_a_file() {
        for (name, value, shown) in [
            ("COGNITO_PREVIOUS_CLIENT_SECRET", "canary-old", "[redacted]"),
            (
                "COGNITO_PREVIOUS_CLIENT_SECRET_FILE",
                "/run/old",
                "/run/old",
            ),
        ] {
            let mut pairs = FULL.to_vec();
            pairs.push((name, value));
            let config = from(&pairs).expect("a config");
            config.validate().expect("valid");
            let credentials = config.client_credentials().expect("credentials");
            let shown = format!("previous_secret: Some(ClientSecret({shown}))");
            let printed = format!("{config:?} {credentials:?}");
            assert!(
                printed.replace("the file ", "").contains(&shown),
                "{printed}"
            );
            assert!(!printed.contains("canary"), "{printed}");
        }
        let fields = r#"{"cognito_domain": "a.b", "cognito_client_id": "c",
            "cognito_client_secret": "s", "cognito_previous_client_secret": ""}"#;
        let config: AuthConfig = serde_json::from_str(fields).expect("a config");
        let error = config.validate().expect_err("empty");
        assert_eq!(error.field(), "cognito_previous_client_secret");
    }

    #[test]
    fn what_contradicts_itself_is_refused() {
        for file in [
            "COGNITO_CLIENT_SECRET_FILE",
            "COGNITO_PREVIOUS_CLIENT_SECRET_FILE",
        ] {
            let mut both = FULL.to_vec();
            both.push(("COGNITO_PREVIOUS_CLIENT_SECRET", "old"));
            both.push((file, "/run/secrets/x"));
            let error = from(&both).expect_err("both");
            assert_eq!(Some(error.field()), file.strip_suffix("_FILE"));
        }
        let mut elsewhere = FULL.to_vec();
        elsewhere[4].1 = "us-east-1";
        let error = from(&elsewhere)
            .expect("a config")
            .validate()
            .expect_err("another region");
        assert_eq!(error.field(), "COGNITO_REGION");
        assert!(error.remedy().contains("eu-west-1"));
    }

    #[test]
    fn serde_names_fields_and_refuses_unknown_ones() {
        let config: AuthConfig = serde_json::from_str("{}").expect("empty");
        assert_eq!(
            config.user_pool().expect_err("empty").field(),
            "cognito_user_pool_id"
        );
        let error =
            serde_json::from_str::<AuthConfig>(r#"{"cognito_pool":"x"}"#).expect_err("unknown");
        assert!(error.to_string().contains("cognito_pool"));
    }
}
