//! What kind of token a verifier takes, as a type: a handler that wants the claims of one kind
//! cannot be handed those of another (RFC 8725 §3.12).

use std::fmt;

/// A kind of token. Sealed: the kinds are those of this crate, and [`Jwt`] is the one whose
/// rules the application writes.
///
/// ```compile_fail,E0308
/// use midil_auth::jwt::{AccessToken, Claims, IdToken, Verifier};
///
/// fn delete_everything(_by: &Claims<AccessToken>) {}
///
/// fn handler(sign_in: &Verifier<IdToken>, token: &str) {
///     if let Ok(claims) = sign_in.try_verify(token) {
///         delete_everything(&claims); // who signed in is not thereby allowed to
///     }
/// }
/// ```
pub trait Profile: sealed::Sealed + fmt::Debug + Send + Sync + 'static {}

pub(crate) mod sealed {
    pub trait Sealed {}
}

macro_rules! profiles {
    ($($(#[$doc:meta])* $name:ident)*) => {$(
        $(#[$doc])*
        #[derive(Clone, Copy, Debug)]
        #[non_exhaustive]
        pub struct $name;

        impl $crate::jwt::profile::sealed::Sealed for $name {}
        impl $crate::jwt::Profile for $name {}
    )*};
}

profiles! {
    /// An access token with `typ: at+jwt` (RFC 9068).
    AccessToken
    /// An ID token (OpenID Connect Core §2).
    IdToken
    /// Any JWT, by the rules that the builder was given.
    Jwt
}

pub(crate) use profiles;
