//! The verifier that request handlers hold.

use std::fmt;
use std::sync::Arc;
use std::sync::atomic::{AtomicUsize, Ordering};
use std::time::Duration;

use super::builder::VerifierBuilder;
use super::claims::{Claims, Registered};
use super::compact::{Header, Segments};
use super::error::{Refusal, VerifyError};
use super::policy::Policy;
use super::profile::{Jwt, Profile};
use crate::clock::{Clock, Wall};
use crate::jwks::{AlgorithmSet, KeySet};
use crate::refresh::handle::{Absent, Handle};

/// Callers that may wait for an unknown key at a time; the rest are answered at once.
const MAX_WAITERS: usize = 1_000;

pub(super) type Check<P, C> = Box<dyn Fn(&Claims<P, C>) -> Result<(), Refusal> + Send + Sync>;

/// What a token must satisfy, whatever the keys.
pub(crate) struct Rules<P, C> {
    pub(super) policy: Policy,
    pub(super) algorithms: AlgorithmSet,
    pub(super) max_token: usize,
    pub(super) unknown_key_wait: Duration,
    pub(super) try_ambiguous: bool,
    pub(super) parse: fn(&Claims<P>) -> Result<C, serde_json::Error>,
    pub(super) checks: Vec<Check<P, C>>,
}

/// Where the keys are.
pub(super) enum Keys {
    /// Kept fresh by the JWKS actor.
    Fresh(Handle<KeySet>),
    Fixed(Arc<KeySet>, Clock),
}

/// Verifies the tokens of one issuer. Cheap to clone; clone it into every handler.
///
/// `P` is the kind of token, `C` a type of the application's own; see
/// [`VerifierBuilder`](super::VerifierBuilder).
///
/// Verification reads the published key set with one atomic load and never waits for the
/// network, but for one case: [`verify`](Self::verify) gives a token whose key is unknown a
/// moment, in which the key set is fetched.
pub struct Verifier<P = Jwt, C = ()>(Arc<Inner<P, C>>);

struct Inner<P, C> {
    rules: Rules<P, C>,
    keys: Keys,
    waiters: AtomicUsize,
}

impl Verifier {
    /// A verifier for the tokens of `issuer`, the exact value of `iss`. The keys are discovered
    /// (OpenID Connect Discovery 1.0) unless the builder is told where they are.
    pub fn builder(issuer: impl Into<String>) -> VerifierBuilder {
        VerifierBuilder::new(issuer.into())
    }
}

impl<P: Profile, C: Send + Sync + 'static> Verifier<P, C> {
    pub(super) fn new(rules: Rules<P, C>, keys: Keys) -> Self {
        Self(Arc::new(Inner {
            rules,
            keys,
            waiters: AtomicUsize::new(0),
        }))
    }

    pub(crate) fn fresh(rules: Rules<P, C>, handle: Handle<KeySet>) -> Self {
        Self::new(rules, Keys::Fresh(handle))
    }

    /// Verifies a token against the keys at hand, without waiting.
    ///
    /// # Errors
    ///
    /// [`VerifyError`]; [`VerifyError::KeysUnavailable`] also for a token whose key is unknown
    /// so far: the key set is being fetched, and [`verify`](Self::verify) would wait for it.
    pub fn try_verify(&self, token: &str) -> Result<Claims<P, C>, VerifyError> {
        match self.attempt(token) {
            Err(Undecided::UnknownKey(_)) => {
                if let Keys::Fresh(handle) = &self.0.keys {
                    handle.demand(&handle.latest(), handle.clock().tick(), false);
                }
                Err(self.undecided(None))
            }
            Err(Undecided::Refused(error)) => Err(error),
            Ok(claims) => Ok(claims),
        }
    }

    /// Verifies a token, giving an unknown key up to
    /// [`unknown_key_wait`](VerifierBuilder::unknown_key_wait) to appear.
    ///
    /// # Errors
    ///
    /// [`VerifyError`]. [`VerifyError::UnknownKey`] means that a fetch which began after the
    /// call says so; where no such fetch could be had in time the answer is
    /// [`VerifyError::KeysUnavailable`], which is nobody's fault but the keys'.
    pub async fn verify(&self, token: &str) -> Result<Claims<P, C>, VerifyError> {
        match self.attempt(token) {
            Ok(claims) => Ok(claims),
            Err(Undecided::Refused(VerifyError::KeysUnavailable { .. })) => {
                self.wait_for_keys().await?;
                self.decided(token)
            }
            Err(Undecided::Refused(error)) => Err(error),
            Err(Undecided::UnknownKey(kid)) => {
                self.wait_for_key(kid.as_deref()).await?;
                self.decided(token)
            }
        }
    }

    /// Waits until keys are there.
    ///
    /// # Errors
    ///
    /// [`VerifyError::KeysUnavailable`]: at once while fetches fail, else after
    /// [`ready_timeout`](crate::RefreshPolicy::ready_timeout); [`VerifyError::Stopped`].
    pub async fn ready(&self) -> Result<(), VerifyError> {
        match &self.0.keys {
            Keys::Fixed(..) => Ok(()),
            Keys::Fresh(handle) => match handle.ready().await {
                Ok(_) => Ok(()),
                Err(absent) => Err(self.unavailable(absent)),
            },
        }
    }

    /// Waits as [`Start::Wait`](crate::Start::Wait) says.
    pub(crate) async fn started(&self) -> Result<(), VerifyError> {
        match &self.0.keys {
            Keys::Fixed(..) => Ok(()),
            Keys::Fresh(handle) => match handle.started().await {
                Ok(_) => Ok(()),
                Err(absent) => Err(self.unavailable(absent)),
            },
        }
    }

    /// The key set in service, if there is a usable one.
    #[must_use]
    pub fn keys(&self) -> Option<Arc<KeySet>> {
        match &self.0.keys {
            Keys::Fixed(set, _) => Some(Arc::clone(set)),
            Keys::Fresh(handle) => handle.read(Arc::clone).ok(),
        }
    }

    fn attempt(&self, token: &str) -> Result<Claims<P, C>, Undecided> {
        let rules = &self.0.rules;
        let segments = Segments::split(token, rules.max_token)?;
        let header = segments.header()?;
        if !rules.algorithms.contains(header.algorithm) {
            return Err(VerifyError::Algorithm.into());
        }
        rules.policy.check_header(&header)?;
        match &self.0.keys {
            Keys::Fixed(set, clock) => rules.verify(set, &segments, header, clock.coarse_wall()),
            Keys::Fresh(handle) => {
                let now = handle.clock().coarse_wall();
                let anonymous = header.kid.is_none();
                match handle.read(|set| rules.verify(set, &segments, header, now)) {
                    // Without a key id, a rotation looks like a bad signature.
                    Ok(Err(Undecided::Refused(VerifyError::Signature))) if anonymous => {
                        Err(Undecided::UnknownKey(None))
                    }
                    Ok(verdict) => verdict,
                    Err(absent) => Err(self.unavailable(absent).into()),
                }
            }
        }
    }

    /// The verdict on the keys at hand, an unknown key included.
    fn decided(&self, token: &str) -> Result<Claims<P, C>, VerifyError> {
        self.attempt(token).map_err(|undecided| match undecided {
            Undecided::Refused(error) => error,
            Undecided::UnknownKey(_) => VerifyError::UnknownKey,
        })
    }

    /// Waits until the key is there, or a fetch that began after this call shows that it is not.
    async fn wait_for_key(&self, kid: Option<&str>) -> Result<(), VerifyError> {
        let Keys::Fresh(handle) = &self.0.keys else {
            return Ok(());
        };
        let Some(_seat) = Seat::take(&self.0.waiters) else {
            return Err(self.undecided(None));
        };
        let arrived = handle.clock().tick();
        let waited = handle.wait(self.0.rules.unknown_key_wait, |snapshot, now| {
            if snapshot.stopped {
                return Some(Err(VerifyError::Stopped));
            }
            let known = |set: &Arc<KeySet>| set.candidates(kid).next().is_some();
            let appeared = kid.is_some() && snapshot.usable(now).is_some_and(known);
            if appeared || snapshot.confirmed >= arrived {
                return Some(Ok(()));
            }
            if let Some(error) = snapshot.resting_on() {
                return Some(Err(self.undecided(Some(error.clone()))));
            }
            handle.demand(snapshot, arrived, false);
            None
        });
        waited.await.unwrap_or_else(|| Err(self.undecided(None)))
    }

    /// Waits a moment for a first key set, or a fresh one in place of one too old to trust.
    async fn wait_for_keys(&self) -> Result<(), VerifyError> {
        let Keys::Fresh(handle) = &self.0.keys else {
            return Ok(());
        };
        let Some(_seat) = Seat::take(&self.0.waiters) else {
            return Err(self.undecided(None));
        };
        let ready = tokio::time::timeout(self.0.rules.unknown_key_wait, handle.ready());
        match ready.await {
            Ok(Ok(_)) => Ok(()),
            Ok(Err(absent)) => Err(self.unavailable(absent)),
            Err(_) => Err(self.undecided(None)),
        }
    }

    fn undecided(&self, cause: Option<crate::FetchError>) -> VerifyError {
        let floor = match &self.0.keys {
            Keys::Fixed(..) => return VerifyError::UnknownKey,
            Keys::Fresh(handle) => handle.refresh().pace.demand_floor,
        };
        VerifyError::KeysUnavailable {
            retry_after: floor.max(Duration::from_secs(1)),
            cause,
        }
    }

    fn unavailable(&self, absent: Absent) -> VerifyError {
        match absent {
            Absent::Stopped => VerifyError::Stopped,
            Absent::Expired { cause, .. } => self.undecided(cause),
            Absent::Failed(cause) => self.undecided(Some(cause)),
            Absent::Pending => self.undecided(None),
        }
    }
}

/// Why there is no verdict yet, or a final one.
enum Undecided {
    Refused(VerifyError),
    /// No key has this id; or the token has none, and the key there is did not sign it.
    UnknownKey(Option<Box<str>>),
}

impl From<VerifyError> for Undecided {
    fn from(error: VerifyError) -> Self {
        Self::Refused(error)
    }
}

impl<P: Profile, C> Rules<P, C> {
    fn verify(
        &self,
        set: &KeySet,
        segments: &Segments<'_>,
        header: Header,
        now: Wall,
    ) -> Result<Claims<P, C>, Undecided> {
        self.authenticate(set, segments, header)?;
        let claims = Registered::read(segments.payload()?, &self.policy.groups_claim)?;
        self.policy.check(&claims, now)?;
        Ok(self.finish(claims)?)
    }

    /// Checks the signature with the one key that fits, or all that do if the rules allow.
    fn authenticate(
        &self,
        set: &KeySet,
        segments: &Segments<'_>,
        header: Header,
    ) -> Result<(), Undecided> {
        let algorithm = header.algorithm;
        let mut named = set.candidates(header.kid.as_deref()).peekable();
        if named.peek().is_none() {
            return Err(Undecided::UnknownKey(header.kid));
        }
        let mut fitting = named.filter(|key| key.verifier(algorithm).is_some());
        let Some(first) = fitting.next() else {
            return Err(VerifyError::Algorithm.into());
        };
        let verdict = segments.verify(first, algorithm);
        let Some(second) = fitting.next() else {
            return Ok(verdict?);
        };
        if !self.try_ambiguous {
            return Err(VerifyError::Ambiguous.into());
        }
        if verdict.is_ok()
            || std::iter::once(second)
                .chain(fitting)
                .any(|key| segments.verify(key, algorithm).is_ok())
        {
            return Ok(());
        }
        Err(VerifyError::Signature.into())
    }

    fn finish(&self, registered: Registered) -> Result<Claims<P, C>, VerifyError> {
        let plain = Claims::<P>::new(registered, ());
        let custom = (self.parse)(&plain)
            .map_err(|_| VerifyError::Malformed("the claims do not fit the application's type"))?;
        let claims = plain.with_custom(custom);
        for check in &self.checks {
            check(&claims).map_err(VerifyError::Refused)?;
        }
        Ok(claims)
    }
}

/// A place among the waiters, given back when dropped.
struct Seat<'a>(&'a AtomicUsize);

impl<'a> Seat<'a> {
    fn take(waiters: &'a AtomicUsize) -> Option<Self> {
        let seat = Self(waiters);
        (waiters.fetch_add(1, Ordering::Relaxed) < MAX_WAITERS).then_some(seat)
    }
}

impl Drop for Seat<'_> {
    fn drop(&mut self) {
        self.0.fetch_sub(1, Ordering::Relaxed);
    }
}

impl<P, C> Clone for Verifier<P, C> {
    fn clone(&self) -> Self {
        Self(Arc::clone(&self.0))
    }
}

impl<P, C> fmt::Debug for Verifier<P, C> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Verifier")
            .field("policy", &self.0.rules.policy)
            .finish_non_exhaustive()
    }
}
