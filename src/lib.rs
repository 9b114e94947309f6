#![doc = include_str!("../README.md")]
#![cfg_attr(docsrs, feature(doc_cfg))]

mod auth;
#[cfg(feature = "axum")]
pub mod axum;
pub mod bearer;
mod clock;
pub mod cognito;
pub mod config;
mod error;
pub mod event;
mod fault;
#[cfg(any(doc, doctest))]
pub mod guide;
mod json;
pub mod jwks;
pub mod jwt;
mod latest;
mod meter;
#[cfg(feature = "metrics")]
pub mod metrics;
pub mod oauth2;
mod provider;
mod refresh;
#[cfg(feature = "reqwest-middleware")]
pub mod reqwest_middleware;
mod secret;
mod snapshot;
pub mod store;
mod supervisor;
#[cfg(feature = "testing")]
pub mod testing;
#[cfg(feature = "tower")]
pub mod tower;
mod transport;

pub use auth::{Auth, AuthBuilder, Health, KeysStatus};
pub use clock::Clock;
pub use config::AuthConfig;
pub use error::AuthError;
pub use event::{Event, Events};
pub use fault::{ConfigError, FetchError, FetchErrorKind};
pub use jwt::{Claims, Verifier};
pub use oauth2::TokenHandle;
pub use provider::{AuthnProvider, AuthzProvider, ProviderFuture};
pub use refresh::source::{Fetched, Source};
pub use refresh::{RefreshPolicy, Start};
pub use secret::Secret;
