//! One verifier over several issuers.

use std::collections::HashMap;
use std::fmt;
use std::sync::Arc;

use arc_swap::ArcSwap;

use super::claims::Claims;
use super::compact::Segments;
use super::error::VerifyError;
use super::profile::{Jwt, Profile};
use super::verifier::Verifier;
use crate::json::{self, Value};

/// Verifies the tokens of several issuers, each wholly by its own [`Verifier`]: its keys, its
/// rules, its cache. Cheap to clone.
///
/// The token's unverified `iss` only chooses the verifier, which then checks everything, `iss`
/// included; keys of one issuer never verify tokens of another. A token of an unknown issuer is
/// refused at once and costs no request. Issuers may be added and removed while requests flow.
///
/// # Example
///
/// ```
/// use midil_auth::jwt::{Issuers, Verifier};
/// use midil_auth::testing::TestIssuer;
/// use midil_auth::Auth;
///
/// # #[tokio::main(flavor = "current_thread")]
/// # async fn main() -> Result<(), Box<dyn std::error::Error>> {
/// let (ours, partner) = (TestIssuer::start().await?, TestIssuer::start().await?);
/// let auth = Auth::start().await?;
/// let issuers = Issuers::new();
/// for issuer in [&ours, &partner] {
///     let rules = Verifier::builder(issuer.url()).audience("orders");
///     issuers.insert(auth.verifier(rules).await?);
/// }
///
/// let token = partner.mint(serde_json::json!({"sub": "ada", "aud": "orders"}));
/// assert_eq!(issuers.verify(&token).await?.subject(), Some("ada"));
///
/// issuers.remove(&partner.url());
/// assert_eq!(issuers.verify(&token).await.unwrap_err().as_str(), "issuer");
/// # Ok(())
/// # }
/// ```
pub struct Issuers<P = Jwt, C = ()>(Arc<ArcSwap<Known<P, C>>>);

/// The verifiers by each `iss` they take, and the largest token that any of them looks at.
struct Known<P, C> {
    by_issuer: HashMap<Box<str>, Verifier<P, C>>,
    max_token: usize,
}

impl<P: Profile, C: Send + Sync + 'static> Issuers<P, C> {
    /// No issuers yet.
    #[must_use]
    pub fn new() -> Self {
        Self(Arc::new(ArcSwap::from_pointee(Known {
            by_issuer: HashMap::new(),
            max_token: 0,
        })))
    }

    /// Takes the tokens of the verifier's issuer and its aliases from now on. A verifier that took
    /// one of them before is removed, and with it whatever else it took.
    pub fn insert(&self, verifier: Verifier<P, C>) {
        self.change(|known| {
            for issuer in verifier.issuers() {
                known.remove(issuer);
            }
            for issuer in verifier.issuers() {
                known
                    .by_issuer
                    .insert(issuer.into(), Verifier::clone(&verifier));
            }
        });
    }

    /// Refuses the tokens of this issuer, and of its aliases, from now on. With the last handle
    /// gone the upkeep of its keys ends.
    pub fn remove(&self, issuer: &str) -> Option<Verifier<P, C>> {
        let mut removed = None;
        self.change(|known| removed = known.remove(issuer));
        removed
    }

    /// Every `iss` that is taken, in no order.
    #[must_use]
    pub fn issuers(&self) -> Vec<String> {
        let known = self.0.load();
        known.by_issuer.keys().map(|name| (**name).into()).collect()
    }

    /// Verifies a token by the keys at hand, without waiting.
    ///
    /// # Errors
    ///
    /// [`VerifyError::Issuer`] for a token of an unknown issuer, and as
    /// [`Verifier::try_verify`].
    pub fn try_verify(&self, token: &str) -> Result<Claims<P, C>, VerifyError> {
        self.choose(token)?.try_verify(token)
    }

    /// Verifies a token, giving an unknown key a moment to appear.
    ///
    /// # Errors
    ///
    /// [`VerifyError::Issuer`] for a token of an unknown issuer, and as [`Verifier::verify`].
    pub async fn verify(&self, token: &str) -> Result<Claims<P, C>, VerifyError> {
        self.choose(token)?.verify(token).await
    }

    /// What [`verify`](Self::verify) says, where it need not wait for that; `None` where it has to.
    ///
    /// # Errors
    ///
    /// As [`verify`](Self::verify).
    #[must_use]
    pub fn verify_now(&self, token: &str) -> Option<Result<Claims<P, C>, VerifyError>> {
        match self.choose(token) {
            Ok(verifier) => verifier.verify_now(token),
            Err(error) => Some(Err(error)),
        }
    }

    #[cfg(feature = "tower")]
    pub(crate) fn is_same(&self, other: &Self) -> bool {
        Arc::ptr_eq(&self.0, &other.0)
    }

    /// The verifier of the issuer that the token says it is of.
    fn choose(&self, token: &str) -> Result<Verifier<P, C>, VerifyError> {
        let known = self.0.load();
        if known.by_issuer.is_empty() {
            return Err(VerifyError::Issuer);
        }
        let payload = Segments::split(token, known.max_token)?.claims()?;
        let mut issuer = None;
        json::object(&payload, |name, value| {
            if name == "iss" {
                issuer = Some(value);
            }
        })
        .map_err(|_| VerifyError::Malformed("the claims are not one strict JSON object"))?;
        let issuer = issuer.ok_or(VerifyError::MissingClaim("iss"))?;
        let issuer = Value::string(issuer).ok_or(VerifyError::InvalidClaim("iss"))?;
        let verifier = known.by_issuer.get(&*issuer).ok_or(VerifyError::Issuer)?;
        Ok(Verifier::clone(verifier))
    }

    fn change(&self, mut change: impl FnMut(&mut Known<P, C>)) {
        self.0.rcu(|known| {
            let mut next = Known {
                by_issuer: known.by_issuer.clone(),
                max_token: 0,
            };
            change(&mut next);
            next.max_token = next
                .by_issuer
                .values()
                .map(Verifier::max_token)
                .max()
                .unwrap_or(0);
            next
        });
    }
}

impl<P: Profile, C: Send + Sync + 'static> Known<P, C> {
    fn remove(&mut self, issuer: &str) -> Option<Verifier<P, C>> {
        let removed = self.by_issuer.remove(issuer)?;
        for alias in removed.issuers() {
            self.by_issuer.remove(alias);
        }
        Some(removed)
    }
}

impl<P: Profile, C: Send + Sync + 'static> Default for Issuers<P, C> {
    fn default() -> Self {
        Self::new()
    }
}

impl<P, C> Clone for Issuers<P, C> {
    fn clone(&self) -> Self {
        Self(Arc::clone(&self.0))
    }
}

impl<P: Profile, C: Send + Sync + 'static> fmt::Debug for Issuers<P, C> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Issuers")
            .field("issuers", &self.issuers())
            .finish()
    }
}
