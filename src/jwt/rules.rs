//! What a token must satisfy, by the keys at hand and at a given time. Pure, but for the cache.

use super::cache::Cache;
use super::claims::{Claims, Reading};
use super::compact::{Header, Scratch, Segments};
use super::confirmation::Presented;
use super::error::{Refusal, VerifyError};
use super::headers::{Familiar, Headers};
use super::jws::JwsRules;
use super::policy::Policy;
use super::profile::Profile;
use crate::clock::Wall;
use crate::jwks::{Key, KeySet};
use crate::meter::Verdicts;

pub(super) type Check<P, C> = Box<dyn Fn(&Claims<P, C>) -> Result<(), Refusal> + Send + Sync>;
pub(super) type Deny<P, C> = Box<dyn Fn(&Claims<P, C>) -> bool + Send + Sync>;

/// What a token must satisfy, whatever the keys.
pub(crate) struct Rules<P, C> {
    pub(super) policy: Policy,
    pub(super) jws: JwsRules,
    pub(super) reading: Reading<C>,
    pub(super) checks: Vec<Check<P, C>>,
    pub(super) deny: Vec<Deny<P, C>>,
    pub(super) cache: Option<Cache<P, C>>,
    pub(super) headers: Headers,
}

/// Why a token is not accepted, or not yet.
pub(super) enum Undecided {
    Refused(VerifyError),
    /// No key has this id.
    UnknownKey(Box<str>),
    /// The token names no key, and the one that fits did not sign it: a rotation looks like that.
    UnknownSigner,
}

impl Undecided {
    /// The verdict, if there will be no other keys.
    pub(super) fn decide(self) -> VerifyError {
        match self {
            Self::Refused(error) => error,
            Self::UnknownKey(_) => VerifyError::UnknownKey,
            Self::UnknownSigner => VerifyError::Signature,
        }
    }
}

impl From<VerifyError> for Undecided {
    fn from(error: VerifyError) -> Self {
        Self::Refused(error)
    }
}

impl<P: Profile, C> Rules<P, C> {
    /// Judges a token. `keys` looks at the keys at hand and the time, or says why it cannot; it is
    /// asked only once there is something to look for.
    pub(super) fn judge(
        &self,
        token: &str,
        presented: Presented<'_>,
        verdicts: &Verdicts,
        keys: impl Fn(&mut dyn FnMut(&KeySet, Wall)) -> Result<(), VerifyError>,
    ) -> Result<Claims<P, C>, Undecided> {
        let mut verdict = None;
        if let Some(cache) = &self.cache
            && let Some(hit) = cache.find(token)
            && let Some(entry) = hit.entry()
        {
            keys(&mut |set, now| {
                if entry.stands(&self.jws, set) {
                    let judged = self.judge_again(&entry.claims, presented, now);
                    verdict = Some(judged.map(|()| cache.copy(&entry.claims)));
                }
            })?;
        }
        if self.cache.is_some() {
            verdicts.looked_up(verdict.is_some());
        }
        if let Some(known) = verdict {
            return Ok(known?);
        }
        let segments = Segments::split(token, self.jws.max_bytes)?;
        if segments.payload.is_empty() {
            return Err(VerifyError::Malformed("no payload").into());
        }
        let mut scratch = Scratch::new();
        let familiar = self.headers.find(&segments);
        let header = match familiar.as_ref().and_then(Familiar::header) {
            Some(header) => header,
            None => {
                let header = segments.header(&mut scratch)?;
                self.check_header(&header)?;
                header
            }
        };
        let mut verdict = Err(Undecided::UnknownSigner);
        keys(&mut |set, now| {
            verdict = self.authenticate(&segments, &header, set).and_then(|key| {
                let claims = self.read(&segments, presented, now)?;
                if familiar.is_none() {
                    self.headers.learn(&segments, &header);
                }
                if let Some(cache) = &self.cache {
                    cache.keep(token, &header, (set, key), &claims);
                }
                Ok(claims)
            });
        })?;
        verdict
    }

    /// What can be refused without a key.
    fn check_header(&self, header: &Header<'_>) -> Result<(), VerifyError> {
        if !self.jws.algorithms.contains(header.algorithm) {
            return Err(VerifyError::Algorithm);
        }
        if header.is_nested() {
            return Err(VerifyError::Malformed("a nested JWT"));
        }
        self.policy.check_header(header)
    }

    /// The key that signed the token.
    fn authenticate<'k>(
        &self,
        segments: &Segments<'_>,
        header: &Header<'_>,
        set: &'k KeySet,
    ) -> Result<&'k Key, Undecided> {
        match self.jws.authenticate(set, segments, header) {
            Ok(Some(key)) => Ok(key),
            Ok(None) => {
                let kid = header.kid.as_deref().unwrap_or_default();
                Err(Undecided::UnknownKey(kid.into()))
            }
            Err(VerifyError::Signature) if header.kid.is_none() => Err(Undecided::UnknownSigner),
            Err(error) => Err(error.into()),
        }
    }

    /// The claims of a token whose signature is good, judged.
    fn read(
        &self,
        segments: &Segments<'_>,
        presented: Presented<'_>,
        now: Wall,
    ) -> Result<Claims<P, C>, VerifyError> {
        let judge = |registered: &_| self.policy.check(registered, presented, now);
        let (registered, custom) =
            (self.reading)(segments.claims()?, &self.policy.groups_claim, &judge)?;
        let claims = Claims::new(registered, custom);
        self.ask_application(&claims)?;
        Ok(claims)
    }

    /// Judges anew claims that were judged before.
    fn judge_again(
        &self,
        claims: &Claims<P, C>,
        presented: Presented<'_>,
        now: Wall,
    ) -> Result<(), VerifyError> {
        self.policy.check(claims.registered(), presented, now)?;
        self.ask_application(claims)
    }

    fn ask_application(&self, claims: &Claims<P, C>) -> Result<(), VerifyError> {
        for check in &self.checks {
            check(claims).map_err(VerifyError::Refused)?;
        }
        if self.deny.iter().any(|denies| denies(claims)) {
            return Err(VerifyError::Revoked);
        }
        Ok(())
    }
}
