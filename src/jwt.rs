//! Inbound: verifying a JWT (RFC 7519) in compact serialization (RFC 7515 §7.1) against a key set
//! and a policy.
//!
//! Cheapest first, and nothing is believed before the signature: size, three segments, strict
//! base64url, header, key, signature, claims.

mod builder;
mod cache;
mod claims;
mod compact;
mod confirmation;
mod error;
mod headers;
mod issuers;
mod jws;
mod key_source;
pub(crate) mod policy;
pub(crate) mod profile;
mod require;
mod rules;
mod verifier;

pub use builder::VerifierBuilder;
pub use claims::{Audience, Claims};
pub use confirmation::Confirmation;
pub use error::{Refusal, VerifyError};
pub use issuers::Issuers;
pub use jws::{Jws, JwsRules};
pub use profile::{AccessToken, IdToken, Jwt, Profile};
pub use verifier::Verifier;

pub(crate) use key_source::KeySource;
