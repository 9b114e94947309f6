//! What the claims of an authentic token must say. Pure: the time is an argument.

use std::sync::Arc;
use std::time::Duration;

use super::claims::{Claim, Registered};
use super::compact::Header;
use super::confirmation::{Confirmation, Presented};
use super::error::VerifyError;
use crate::clock::Wall;
use crate::fault::ConfigError;
use crate::refresh::within;

/// The rules of one verifier, but for the checks of the application's own.
#[derive(Clone, Debug)]
pub(crate) struct Policy {
    /// Exactly one of these is `iss`; the first is the issuer, the others its listed aliases.
    pub(crate) issuers: Vec<String>,
    pub(crate) recipient: Recipient,
    /// Every audience must be one of ours, and `azp`, where it is there, too (OpenID Connect
    /// Core §3.1.3.7).
    pub(crate) nobody_else: bool,
    pub(crate) token_use: Option<&'static str>,
    pub(crate) types: Types,
    pub(crate) required: &'static [&'static str],
    pub(crate) expiry_required: bool,
    pub(crate) bearer_of_bound: bool,
    pub(crate) leeway: Duration,
    pub(crate) expiry_leeway: Duration,
    pub(crate) max_age: Option<Duration>,
    pub(crate) groups_claim: String,
    pub(crate) scopes: Needs,
    pub(crate) groups: Needs,
}

/// For whom a token must be: the explicit answer without which no verifier is built.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) enum Recipient {
    /// Nobody has said.
    Unsaid,
    /// `aud` holds one of these.
    Audience(Vec<String>),
    /// `client_id` is one of these, for issuers whose access tokens have no `aud`.
    ClientId(Vec<String>),
    /// Whoever: said in so many words.
    Anybody,
}

/// Which `typ` is taken (RFC 8725 §3.11).
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) enum Types {
    /// Absent, or one of these.
    Optional(Vec<String>),
    /// One of these.
    Required(Vec<String>),
}

/// Scopes or groups that must all be there, and such of which one must be.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub(crate) struct Needs {
    pub(crate) all: Vec<String>,
    pub(crate) any: Vec<String>,
}

impl Needs {
    /// All of them in one line, for the challenge (RFC 6750 §3).
    fn demanded(&self) -> Arc<str> {
        let names: Vec<&str> = self
            .all
            .iter()
            .chain(&self.any)
            .map(String::as_str)
            .collect();
        names.join(" ").into()
    }

    fn met_by(&self, granted: impl Fn(&str) -> bool) -> bool {
        let has = |wanted: &String| granted(wanted);
        self.all.iter().all(has) && (self.any.is_empty() || self.any.iter().any(has))
    }
}

impl Policy {
    pub(crate) fn new(issuer: String) -> Self {
        Self {
            issuers: vec![issuer],
            recipient: Recipient::Unsaid,
            nobody_else: false,
            token_use: None,
            types: Types::Optional(vec!["JWT".to_owned(), "at+jwt".to_owned()]),
            required: &[],
            expiry_required: true,
            bearer_of_bound: false,
            leeway: Duration::from_secs(30),
            expiry_leeway: Duration::ZERO,
            max_age: None,
            groups_claim: "groups".to_owned(),
            scopes: Needs::default(),
            groups: Needs::default(),
        }
    }

    pub(crate) fn validate(&self) -> Result<(), ConfigError> {
        const MOST: Duration = Duration::from_secs(300);
        let refuse = |field, problem, remedy| Err(ConfigError::new(field, problem, remedy));
        if self.issuers.iter().any(|issuer| issuer.trim().is_empty()) {
            return refuse("issuer", "is empty", "give the exact `iss` of the tokens");
        }
        let named = match &self.recipient {
            Recipient::Unsaid => {
                return refuse(
                    "audience",
                    "is not set",
                    "say for whom tokens must be: audience(…), client_id(…) or any_audience()",
                );
            }
            Recipient::Audience(names) | Recipient::ClientId(names) => &names[..],
            Recipient::Anybody => &[],
        };
        if named.iter().any(|name| name.trim().is_empty()) {
            return refuse(
                "audience",
                "is empty",
                "give the audience or client id of this service",
            );
        }
        within("leeway", self.leeway, Duration::ZERO, MOST)?;
        within("expiry_leeway", self.expiry_leeway, Duration::ZERO, MOST)
    }

    /// Checks `typ`, before anything costs time.
    pub(super) fn check_header(&self, header: &Header<'_>) -> Result<(), VerifyError> {
        let (accepted, required) = match &self.types {
            Types::Optional(accepted) => (accepted, false),
            Types::Required(accepted) => (accepted, true),
        };
        let fits = match &header.typ {
            None => !required,
            Some(typ) => accepted.iter().any(|accepted| same_type(accepted, typ)),
        };
        if fits { Ok(()) } else { Err(VerifyError::Type) }
    }

    /// Checks the claims of a token whose signature is good.
    pub(super) fn check(
        &self,
        claims: &Registered,
        presented: Presented<'_>,
        now: Wall,
    ) -> Result<(), VerifyError> {
        self.check_times(claims, now)?;
        let issuer = claims
            .text(Claim::Issuer)
            .ok_or(VerifyError::MissingClaim("iss"))?;
        if !self.issuers.iter().any(|known| known == issuer) {
            return Err(VerifyError::Issuer);
        }
        self.check_recipient(claims)?;
        if let Some(wanted) = self.token_use {
            let token_use = claims.text(Claim::TokenUse);
            if token_use.ok_or(VerifyError::MissingClaim("token_use"))? != wanted {
                return Err(VerifyError::TokenUse);
            }
        }
        if let Some(missing) = self.required.iter().find(|name| !claims.has(name)) {
            return Err(VerifyError::MissingClaim(missing));
        }
        self.check_confirmation(claims, presented)?;
        if !self.scopes.met_by(|scope| claims.has_scope(scope)) {
            return Err(VerifyError::Scope(self.scopes.demanded()));
        }
        if !self.groups.met_by(|group| claims.has_group(group)) {
            return Err(VerifyError::Group);
        }
        Ok(())
    }

    /// A token that is bound to a key needs the proof, and a proof a token that is bound.
    fn check_confirmation(
        &self,
        claims: &Registered,
        presented: Presented<'_>,
    ) -> Result<(), VerifyError> {
        match (claims.text(Claim::Confirmation), presented) {
            (None, Presented::Bearer) => Ok(()),
            (Some(_), Presented::Bearer) if self.bearer_of_bound => Ok(()),
            (Some(_), Presented::Bearer) => Err(VerifyError::Confirmation),
            (None, Presented::Bound(_)) => Err(VerifyError::MissingClaim("cnf")),
            (Some(cnf), Presented::Bound(proves)) => {
                let cnf = Confirmation::read(cnf).ok_or(VerifyError::InvalidClaim("cnf"))?;
                if proves(&cnf) {
                    Ok(())
                } else {
                    Err(VerifyError::Confirmation)
                }
            }
        }
    }

    /// `exp`, `nbf` and `iat` (RFC 7519 §4.1.4 to §4.1.6). A token expires at `exp`, not after it.
    fn check_times(&self, claims: &Registered, now: Wall) -> Result<(), VerifyError> {
        let now = Duration::from_nanos(now.as_nanos()).as_secs_f64();
        let leeway = self.leeway.as_secs_f64();
        match claims.exp {
            Some(exp) if now >= exp + self.expiry_leeway.as_secs_f64() => {
                return Err(VerifyError::Expired);
            }
            None if self.expiry_required => return Err(VerifyError::MissingClaim("exp")),
            _ => {}
        }
        let begins = claims.nbf.into_iter().chain(claims.iat);
        if begins.into_iter().any(|begin| begin > now + leeway) {
            return Err(VerifyError::NotYetValid);
        }
        if let Some(max_age) = self.max_age {
            let iat = claims.iat.ok_or(VerifyError::MissingClaim("iat"))?;
            if now - iat > max_age.as_secs_f64() + leeway {
                return Err(VerifyError::TooOld);
            }
        }
        Ok(())
    }

    fn check_recipient(&self, claims: &Registered) -> Result<(), VerifyError> {
        match &self.recipient {
            Recipient::Unsaid => Err(VerifyError::Audience),
            Recipient::Anybody => Ok(()),
            Recipient::Audience(ours) => self.check_audience(claims, ours),
            Recipient::ClientId(ours) => {
                let client = claims
                    .text(Claim::ClientId)
                    .ok_or(VerifyError::MissingClaim("client_id"))?;
                if holds(ours, client) {
                    Ok(())
                } else {
                    Err(VerifyError::ClientId)
                }
            }
        }
    }

    fn check_audience(&self, claims: &Registered, ours: &[String]) -> Result<(), VerifyError> {
        if !claims.has("aud") {
            return Err(VerifyError::MissingClaim("aud"));
        }
        let audiences = claims.audiences(|audience| holds(ours, audience));
        if !audiences.any || (self.nobody_else && !audiences.all) {
            return Err(VerifyError::Audience);
        }
        match claims.text(Claim::AuthorizedParty) {
            Some(party) if self.nobody_else && !holds(ours, party) => Err(VerifyError::ClientId),
            _ => Ok(()),
        }
    }
}

fn holds(names: &[String], wanted: &str) -> bool {
    names.iter().any(|name| name == wanted)
}

/// Media types without their `application/` are the same type (RFC 7515 §4.1.9).
fn same_type(a: &str, b: &str) -> bool {
    fn bare(name: &str) -> &str {
        const PREFIX: &str = "application/";
        match name.get(..PREFIX.len()) {
            Some(prefix) if prefix.eq_ignore_ascii_case(PREFIX) => &name[PREFIX.len()..],
            _ => name,
        }
    }
    bare(a).eq_ignore_ascii_case(bare(b))
}
