//! Tokens that are bound to a key of whoever presents them (RFC 7800).

use serde_json::{Map, Value};

/// What a sender-constrained token says of the key it is bound to: its claim `cnf` (RFC 7800
/// §3.1).
///
/// See [`Verifier::try_verify_bound`](super::Verifier::try_verify_bound).
#[derive(Clone, Debug, PartialEq)]
pub struct Confirmation(Map<String, Value>);

impl Confirmation {
    pub(super) fn read(cnf: &str) -> Option<Self> {
        match serde_json::from_str(cnf) {
            Ok(Value::Object(members)) => Some(Self(members)),
            _ => None,
        }
    }

    /// `jkt`: the thumbprint of the key that signs DPoP proofs (RFC 9449 §6.1).
    #[must_use]
    pub fn jwk_thumbprint(&self) -> Option<&str> {
        self.0.get("jkt")?.as_str()
    }

    /// `x5t#S256`: the SHA-256 thumbprint of the client's certificate, in base64url (RFC 8705
    /// §3.1).
    #[must_use]
    pub fn certificate_thumbprint(&self) -> Option<&str> {
        self.0.get("x5t#S256")?.as_str()
    }

    /// Any other member.
    #[must_use]
    pub fn get(&self, member: &str) -> Option<&Value> {
        self.0.get(member)
    }
}

/// How a token was presented.
#[derive(Clone, Copy)]
pub(super) enum Presented<'a> {
    /// As a bearer token: whoever has it may use it.
    Bearer,
    /// With a proof of possession, which this checks against the token's key.
    Bound(&'a dyn Fn(&Confirmation) -> bool),
}
