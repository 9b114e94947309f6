//! The verifier that request handlers hold.

use std::fmt;
use std::sync::Arc;
use std::sync::atomic::{AtomicUsize, Ordering};
use std::time::Duration;

use super::builder::VerifierBuilder;
use super::claims::Claims;
use super::confirmation::{Confirmation, Presented};
use super::error::VerifyError;
use super::profile::{Jwt, Profile};
use super::rules::{Rules, Undecided};
use crate::clock::{Clock, Tick};
use crate::fault::FetchError;
use crate::jwks::KeySet;
use crate::meter::Verdicts;
use crate::refresh::handle::{Absent, Handle};

/// Callers that may wait for an unknown key at a time; the rest are answered at once.
const MAX_WAITERS: usize = 1_000;

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
    unknown_key_wait: Duration,
    waiters: AtomicUsize,
    verdicts: Verdicts,
}

impl Verifier {
    /// A verifier for the tokens of `issuer`, the exact value of `iss`. The keys are discovered
    /// (OpenID Connect Discovery 1.0) unless the builder is told where they are.
    pub fn builder(issuer: impl Into<String>) -> VerifierBuilder {
        VerifierBuilder::new(issuer.into())
    }
}

impl<P: Profile, C: Send + Sync + 'static> Verifier<P, C> {
    pub(super) fn fixed(rules: Rules<P, C>, keys: Arc<KeySet>, clock: Clock) -> Self {
        Self::new(rules, Keys::Fixed(keys, clock), Duration::ZERO)
    }

    pub(crate) fn fresh(demands: Demands<P, C>, handle: Handle<KeySet>) -> Self {
        Self::new(demands.rules, Keys::Fresh(handle), demands.unknown_key_wait)
    }

    fn new(rules: Rules<P, C>, keys: Keys, unknown_key_wait: Duration) -> Self {
        let issuer = rules.policy.issuers.first();
        Self(Arc::new(Inner {
            verdicts: Verdicts::of(issuer.map_or("", String::as_str)),
            rules,
            keys,
            unknown_key_wait,
            waiters: AtomicUsize::new(0),
        }))
    }

    /// The values of `iss` that this verifier takes: the issuer, and its listed aliases.
    pub fn issuers(&self) -> impl Iterator<Item = &str> {
        self.0.rules.policy.issuers.iter().map(String::as_str)
    }

    #[cfg(feature = "tower")]
    pub(crate) fn is_same(&self, other: &Self) -> bool {
        Arc::ptr_eq(&self.0, &other.0)
    }

    /// The largest token it looks at, in bytes.
    pub(super) fn max_token(&self) -> usize {
        self.0.rules.jws.max_bytes
    }

    /// Verifies a token against the keys at hand, without waiting.
    ///
    /// # Errors
    ///
    /// [`VerifyError`]; [`VerifyError::KeysUnavailable`] also for a token whose key is unknown
    /// so far: the key set is being fetched, and [`verify`](Self::verify) would wait for it.
    pub fn try_verify(&self, token: &str) -> Result<Claims<P, C>, VerifyError> {
        self.try_presented(token, Presented::Bearer)
    }

    /// Verifies a token that is bound to a key of whoever presents it, together with the proof:
    /// `proves` says whether the request proves possession of the key that the token names.
    ///
    /// A token that is bound to no key is refused: it was not issued to be presented so.
    ///
    /// ```
    /// use midil_auth::jwt::{Claims, Verifier, VerifyError};
    ///
    /// /// A request over mutual TLS (RFC 8705).
    /// fn who(verifier: &Verifier, token: &str, certificate_sha256: &str) -> Result<Claims, VerifyError> {
    ///     verifier.try_verify_bound(token, |key| {
    ///         key.certificate_thumbprint() == Some(certificate_sha256)
    ///     })
    /// }
    /// ```
    ///
    /// # Errors
    ///
    /// [`VerifyError::Confirmation`] where the proof does not fit, and as
    /// [`try_verify`](Self::try_verify).
    pub fn try_verify_bound(
        &self,
        token: &str,
        proves: impl Fn(&Confirmation) -> bool,
    ) -> Result<Claims<P, C>, VerifyError> {
        self.try_presented(token, Presented::Bound(&proves))
    }

    fn try_presented(
        &self,
        token: &str,
        presented: Presented<'_>,
    ) -> Result<Claims<P, C>, VerifyError> {
        let attempt = self.attempt(token, presented);
        let verdict = attempt.map_err(|verdict| match (verdict, &self.0.keys) {
            (verdict, Keys::Fixed(..)) => verdict.decide(),
            (Undecided::Refused(error), Keys::Fresh(handle)) => refused(handle, error),
            (_, Keys::Fresh(handle)) => {
                handle.demand(&handle.latest(), handle.clock().tick(), false);
                undecided(handle, None)
            }
        });
        self.counted(verdict)
    }

    fn counted<R>(&self, verdict: Result<R, VerifyError>) -> Result<R, VerifyError> {
        let error = verdict.as_ref().err();
        self.0.verdicts.count(error.map(VerifyError::as_str));
        verdict
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
        let attempt = || self.attempt(token, Presented::Bearer);
        self.counted(self.patiently(attempt).await)
    }

    /// What [`verify`](Self::verify) says, where it need not wait for that; `None` where it has to.
    ///
    /// ```
    /// use midil_auth::jwt::{Claims, Verifier, VerifyError};
    ///
    /// async fn who(verifier: &Verifier, token: &str) -> Result<Claims, VerifyError> {
    ///     match verifier.verify_now(token) {
    ///         Some(verdict) => verdict,
    ///         None => verifier.verify(token).await,
    ///     }
    /// }
    /// ```
    ///
    /// # Errors
    ///
    /// As [`verify`](Self::verify).
    #[must_use]
    pub fn verify_now(&self, token: &str) -> Option<Result<Claims<P, C>, VerifyError>> {
        let verdict = match (self.attempt(token, Presented::Bearer), &self.0.keys) {
            (Ok(claims), _) => Ok(claims),
            (Err(verdict), Keys::Fixed(..)) => Err(verdict.decide()),
            (Err(Undecided::Refused(VerifyError::KeysUnavailable { .. })), _) => return None,
            (Err(Undecided::Refused(error)), Keys::Fresh(handle)) => Err(refused(handle, error)),
            (Err(Undecided::UnknownKey(_) | Undecided::UnknownSigner), _) => return None,
        };
        Some(self.counted(verdict))
    }

    /// As [`try_verify_bound`](Self::try_verify_bound), giving an unknown key a moment to appear.
    ///
    /// # Errors
    ///
    /// As [`try_verify_bound`](Self::try_verify_bound) and [`verify`](Self::verify).
    pub async fn verify_bound(
        &self,
        token: &str,
        proves: impl Fn(&Confirmation) -> bool,
    ) -> Result<Claims<P, C>, VerifyError> {
        let attempt = move || self.attempt(token, Presented::Bound(&proves));
        self.counted(self.patiently(attempt).await)
    }

    /// Makes attempts until there is a verdict or [`unknown_key_wait`] is over.
    ///
    /// [`unknown_key_wait`]: VerifierBuilder::unknown_key_wait
    async fn patiently(
        &self,
        attempt: impl Fn() -> Result<Claims<P, C>, Undecided>,
    ) -> Result<Claims<P, C>, VerifyError> {
        let mut verdict = match attempt() {
            Ok(claims) => return Ok(claims),
            Err(verdict) => verdict,
        };
        let Keys::Fresh(handle) = &self.0.keys else {
            return Err(verdict.decide());
        };
        let arrived = handle.clock().tick();
        let left = || {
            let waited = handle.clock().tick().since(arrived);
            self.0.unknown_key_wait.saturating_sub(waited)
        };
        if let Undecided::Refused(VerifyError::KeysUnavailable { .. }) = verdict {
            self.wait_for_keys(handle, left()).await?;
            verdict = match attempt() {
                Ok(claims) => return Ok(claims),
                Err(verdict) => verdict,
            };
        }
        match verdict {
            Undecided::Refused(error) => return Err(refused(handle, error)),
            // These keys may be from before the token was made.
            Undecided::UnknownKey(kid) => {
                self.wait_for_key(handle, Some(&kid), arrived, left())
                    .await?;
            }
            Undecided::UnknownSigner => self.wait_for_key(handle, None, arrived, left()).await?,
        }
        attempt().map_err(Undecided::decide)
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
                Err(absent) => Err(unavailable(handle, absent)),
            },
        }
    }

    /// Waits as [`Start::Wait`](crate::Start::Wait) says.
    pub(crate) async fn started(&self) -> Result<(), VerifyError> {
        match &self.0.keys {
            Keys::Fixed(..) => Ok(()),
            Keys::Fresh(handle) => match handle.started().await {
                Ok(_) => Ok(()),
                Err(absent) => Err(unavailable(handle, absent)),
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

    fn attempt(&self, token: &str, presented: Presented<'_>) -> Result<Claims<P, C>, Undecided> {
        self.0
            .rules
            .judge(token, presented, &self.0.verdicts, |look| {
                match &self.0.keys {
                    Keys::Fixed(set, clock) => {
                        look(set, clock.coarse_wall());
                        Ok(())
                    }
                    Keys::Fresh(handle) => handle
                        .read_at(|set, now| look(set, now.wall))
                        .map_err(|absent| unavailable(handle, absent)),
                }
            })
    }

    /// Waits until the key is there, or a fetch that began after the token `arrived` shows that it
    /// is not.
    async fn wait_for_key(
        &self,
        handle: &Handle<KeySet>,
        kid: Option<&str>,
        arrived: Tick,
        patience: Duration,
    ) -> Result<(), VerifyError> {
        let Some(_seat) = Seat::take(&self.0.waiters) else {
            return Err(undecided(handle, None));
        };
        let waited = handle.wait(patience, |snapshot, now| {
            if snapshot.stopped {
                return Some(Err(VerifyError::Stopped));
            }
            let known = |set: &Arc<KeySet>| set.candidates(kid).next().is_some();
            let appeared = kid.is_some() && snapshot.usable(now).is_some_and(known);
            if appeared || snapshot.confirmed >= arrived {
                return Some(Ok(()));
            }
            if let Some(error) = snapshot.resting_on() {
                return Some(Err(undecided(handle, Some(error.clone()))));
            }
            handle.demand(snapshot, arrived, false);
            None
        });
        waited.await.unwrap_or_else(|| Err(undecided(handle, None)))
    }

    /// Waits a moment for a first key set, or a fresh one in place of one too old to trust.
    async fn wait_for_keys(
        &self,
        handle: &Handle<KeySet>,
        patience: Duration,
    ) -> Result<(), VerifyError> {
        let Some(_seat) = Seat::take(&self.0.waiters) else {
            return Err(undecided(handle, None));
        };
        let ready = tokio::time::timeout(patience, handle.ready());
        match ready.await {
            Ok(Ok(_)) => Ok(()),
            Ok(Err(absent)) => Err(unavailable(handle, absent)),
            Err(_) => Err(undecided(handle, None)),
        }
    }
}

/// What a verifier of keys that are kept fresh demands of a token and of its own patience.
pub(crate) struct Demands<P, C> {
    pub(super) rules: Rules<P, C>,
    pub(super) unknown_key_wait: Duration,
}

/// A bad signature is a verdict; but new material under an old key id looks like that too, so it
/// is a reason to look at the keys soon, as an unknown key is.
fn refused(handle: &Handle<KeySet>, error: VerifyError) -> VerifyError {
    if let VerifyError::Signature = error {
        handle.demand(&handle.latest(), handle.clock().tick(), false);
    }
    error
}

fn undecided(handle: &Handle<KeySet>, cause: Option<FetchError>) -> VerifyError {
    VerifyError::KeysUnavailable {
        retry_after: handle
            .refresh()
            .pace
            .demand_floor
            .max(Duration::from_secs(1)),
        cause,
    }
}

fn unavailable(handle: &Handle<KeySet>, absent: Absent) -> VerifyError {
    match absent {
        Absent::Stopped => VerifyError::Stopped,
        Absent::Expired { cause, .. } => undecided(handle, cause),
        Absent::Failed(cause) => undecided(handle, Some(cause)),
        Absent::Pending => undecided(handle, None),
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
