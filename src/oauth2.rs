//! Outbound: access tokens by the OAuth 2.0 client-credentials grant (RFC 6749 §4.4), or from a
//! source of your own.

mod client_auth;
mod client_secret;
mod copies;
mod credential;
mod endpoint;
mod grant;
mod handle;
mod lifetime;
mod response;
mod rotation;
mod token;

pub use client_auth::{BasicEncoding, ClientAuth};
pub use client_secret::ClientSecret;
pub(crate) use copies::MAX_CREDENTIALS;
pub use credential::Credential;
pub use grant::ClientCredentials;
pub use handle::{TokenChanges, TokenError, TokenHandle, TokenState, TokenStatus};
pub use lifetime::LifetimePolicy;
pub use token::{AccessToken, AuthHeaders};
