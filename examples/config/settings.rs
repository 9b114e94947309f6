//! The service's settings: its own, and `[auth]`.

use std::error::Error;
use std::net::SocketAddr;
use std::path::Path;

use figment::Figment;
use figment::providers::{Env, Format, Toml};
use midil_auth::cognito::{ClientCredentials, UserPool};
use midil_auth::{AuthConfig, ConfigError};
use serde::Deserialize;

#[derive(Debug, Deserialize)]
#[serde(deny_unknown_fields)]
pub(crate) struct Settings {
    pub(crate) listen: SocketAddr,
    pub(crate) database: Database,
    pub(crate) auth: AuthConfig,
}

#[derive(Debug, Deserialize)]
#[serde(deny_unknown_fields)]
pub(crate) struct Database {
    pub(crate) url: String,
}

/// The file, and on top of it variables such as `ORDERS_AUTH__COGNITO_CLIENT_SECRET`.
pub(crate) fn load(path: &Path) -> Result<Settings, Box<dyn Error>> {
    if !path.is_file() {
        let path = path.display();
        return Err(format!("{path} is not a file: give the path of a TOML file").into());
    }
    let figment = Figment::new()
        .merge(Toml::file_exact(path))
        .merge(Env::prefixed("ORDERS_").split("__"));
    Ok(figment.extract()?)
}

impl Settings {
    /// What this service needs of `[auth]`, checked without a network.
    pub(crate) fn auth(&self) -> Result<(UserPool, ClientCredentials), ConfigError> {
        self.auth.validate()?;
        Ok((self.auth.user_pool()?, self.auth.client_credentials()?))
    }
}
