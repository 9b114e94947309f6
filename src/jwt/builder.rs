//! How a verifier is built: by saying whose tokens, for whom, and with which keys.

mod keys;

use std::fmt;
use std::marker::PhantomData;
use std::sync::Arc;
use std::time::Duration;

use serde::de::DeserializeOwned;

use self::keys::KeySettings;
use super::cache::Cache;
use super::claims::{self, Claims, Reading};
use super::error::Refusal;
use super::headers::Headers;
use super::jws::JwsRules;
use super::key_source::KeySource;
use super::policy::{Needs, Policy, Recipient, Types};
use super::profile::{AccessToken, IdToken, Jwt, Profile};
use super::rules::{Check, Deny, Rules};
use super::verifier::{Demands, Verifier};
use crate::clock::Clock;
use crate::fault::ConfigError;
use crate::jwks::{Algorithm, KeySet};
use crate::refresh::address::Registration;
use crate::transport::Transport;

/// The most tokens that a verifier remembers.
const MAX_CACHE: usize = 1_000_000;

/// Builds a [`Verifier`]. Refuses to without an issuer and an explicit answer to "for whom".
///
/// # Example
///
/// ```
/// use midil_auth::jwks::KeySet;
/// use midil_auth::jwt::Verifier;
///
/// # fn keys() -> KeySet { KeySet::from_json(br#"{"keys":[{"kty":"OKP","crv":"Ed25519","x":"11qYAYKxCrfVS_7TyWQHOg7hcvPapiMlrwIaaPcHURo"}]}"#).unwrap() }
/// let verifier = Verifier::builder("https://idp.example.com")
///     .audience("https://api.example.com")
///     .require_scope("orders/read")
///     .fixed(keys())?;
/// assert_eq!(verifier.try_verify("no token").unwrap_err().as_str(), "malformed");
///
/// let error = Verifier::builder("https://idp.example.com").fixed(keys()).unwrap_err();
/// assert_eq!(error.field(), "audience");
/// # Ok::<(), midil_auth::ConfigError>(())
/// ```
#[must_use]
pub struct VerifierBuilder<P = Jwt, C = ()> {
    name: Option<String>,
    policy: Policy,
    jws: JwsRules,
    keys: KeySettings,
    reading: Reading<C>,
    checks: Vec<Check<P, C>>,
    deny: Vec<Deny<P, C>>,
    cache: Option<Cache<P, C>>,
    contradiction: Option<ConfigError>,
    profile: PhantomData<fn() -> P>,
}

impl<P: Profile> VerifierBuilder<P> {
    pub(crate) fn with_policy(policy: Policy, source: KeySource) -> Self {
        Self {
            name: None,
            policy,
            jws: JwsRules::new(),
            keys: KeySettings::new(source),
            reading: claims::registered,
            checks: Vec::new(),
            deny: Vec::new(),
            cache: None,
            contradiction: None,
            profile: PhantomData,
        }
    }

    /// Reads the claims also into a type of your own; a token whose claims do not fit it is
    /// refused. To be called before [`check`](Self::check), [`deny`](Self::deny) and
    /// [`cache`](Self::cache).
    pub fn claims<C: DeserializeOwned + Send + Sync + 'static>(self) -> VerifierBuilder<P, C> {
        self.turned("claims", claims::with_own, |_| {})
    }

    /// The same settings for another kind of token or another type of claims.
    fn turned<Q: Profile, C>(
        self,
        setting: &'static str,
        reading: Reading<C>,
        change: impl FnOnce(&mut Policy),
    ) -> VerifierBuilder<Q, C> {
        // These take the claims of one kind of token; to drop a check would let others in.
        let asked = !self.checks.is_empty() || !self.deny.is_empty() || self.cache.is_some();
        let contradiction = asked.then(|| {
            ConfigError::new(
                setting,
                "is set too late",
                "say what kind of token it is, and what its claims are read into, before \
                 check(), deny() and cache()",
            )
        });
        let mut policy = self.policy;
        change(&mut policy);
        VerifierBuilder {
            name: self.name,
            policy,
            jws: self.jws,
            keys: self.keys,
            reading,
            checks: Vec::new(),
            deny: Vec::new(),
            cache: None,
            contradiction: self.contradiction.or(contradiction),
            profile: PhantomData,
        }
    }
}

impl VerifierBuilder {
    pub(super) fn new(issuer: String) -> Self {
        Self::with_policy(Policy::new(issuer), KeySource::discovered())
    }

    /// Takes only access tokens as RFC 9068 defines them: `typ` is `at+jwt`, and `aud`, `exp`,
    /// `sub`, `client_id`, `iat` and `jti` are there.
    /// To be called before [`check`](Self::check), [`deny`](Self::deny) and
    /// [`cache`](Self::cache).
    pub fn rfc9068(self) -> VerifierBuilder<AccessToken> {
        self.untyped()
            .turned("rfc9068", claims::registered, |policy| {
                policy.types = Types::Required(vec!["at+jwt".to_owned()]);
                policy.required = &["aud", "exp", "sub", "client_id", "iat", "jti"];
            })
    }

    /// Takes only ID tokens (OpenID Connect Core §3.1.3.7): `typ` is absent or `JWT`, `aud`,
    /// `exp`, `sub` and `iat` are there, and every audience, as well as `azp` if there, is one of
    /// those given here.
    /// To be called before [`check`](Self::check), [`deny`](Self::deny) and
    /// [`cache`](Self::cache).
    pub fn id_token(self) -> VerifierBuilder<IdToken> {
        self.untyped()
            .turned("id_token", claims::registered, |policy| {
                policy.types = Types::Optional(vec!["JWT".to_owned()]);
                policy.required = &["aud", "exp", "sub", "iat"];
                policy.nobody_else = true;
            })
    }

    /// A kind of token has a type of its own; to drop another would let others in.
    fn untyped(mut self) -> Self {
        if let Types::Required(_) = self.policy.types {
            self.contradiction.get_or_insert(ConfigError::new(
                "typ",
                "is answered in two ways",
                "leave typ(…) out: the kind of token says which it is",
            ));
        }
        self
    }
}

impl<C: Send + Sync + 'static> VerifierBuilder<Jwt, C> {
    /// The `typ` that is demanded. Defaults to none, `JWT` or `at+jwt`. The other kinds of token
    /// have a type of their own, and contradict this one.
    pub fn typ(mut self, typ: impl Into<String>) -> Self {
        self.policy.types = Types::Required(vec![typ.into()]);
        self
    }
}

impl<P: Profile, C: Send + Sync + 'static> VerifierBuilder<P, C> {
    /// How events, logs and `health` call this issuer. Defaults to the issuer.
    pub fn name(mut self, name: impl Into<String>) -> Self {
        self.name = Some(name.into());
        self
    }

    /// Another exact `iss` under which the same issuer is known. Defaults to none.
    pub fn issuer_alias(mut self, issuer: impl Into<String>) -> Self {
        self.policy.issuers.push(issuer.into());
        self
    }

    /// `aud` must hold this; given more than once, one of them.
    pub fn audience(mut self, audience: impl Into<String>) -> Self {
        let audience = audience.into();
        match &mut self.policy.recipient {
            Recipient::Audience(ours) => ours.push(audience),
            Recipient::Unsaid => self.policy.recipient = Recipient::Audience(vec![audience]),
            _ => self.contradict(),
        }
        self
    }

    /// `client_id` must be this; given more than once, one of them. For issuers whose access
    /// tokens have no `aud`.
    pub fn client_id(mut self, client_id: impl Into<String>) -> Self {
        let client_id = client_id.into();
        match &mut self.policy.recipient {
            Recipient::ClientId(ours) => ours.push(client_id),
            Recipient::Unsaid => self.policy.recipient = Recipient::ClientId(vec![client_id]),
            _ => self.contradict(),
        }
        self
    }

    /// Takes tokens for whomever they are: every client and every API of the issuer. Say so
    /// only if that is what you mean.
    pub fn any_audience(mut self) -> Self {
        match self.policy.recipient {
            Recipient::Unsaid => self.policy.recipient = Recipient::Anybody,
            _ => self.contradict(),
        }
        self
    }

    fn contradict(&mut self) {
        self.contradiction.get_or_insert(ConfigError::new(
            "audience",
            "is answered in two ways",
            "use one of audience(…), client_id(…) and any_audience()",
        ));
    }

    /// The algorithms that are allowed (RFC 8725 §3.1). Defaults to every asymmetric one, each
    /// only with a key that is for it.
    pub fn algorithms(mut self, algorithms: impl IntoIterator<Item = Algorithm>) -> Self {
        self.jws = self.jws.algorithms(algorithms);
        self
    }

    /// How far in the future `nbf` and `iat` may be, for clocks that differ.
    ///
    /// To 5 min. Defaults to 30 s.
    pub const fn leeway(mut self, leeway: Duration) -> Self {
        self.policy.leeway = leeway;
        self
    }

    /// How long after `exp` a token is still taken.
    ///
    /// To 5 min. Defaults to zero: a token expires at `exp`.
    pub const fn expiry_leeway(mut self, leeway: Duration) -> Self {
        self.policy.expiry_leeway = leeway;
        self
    }

    /// How long ago `iat` may be at most, give or take the [`leeway`](Self::leeway). Defaults to
    /// no limit.
    pub const fn max_age(mut self, max_age: Duration) -> Self {
        self.policy.max_age = Some(max_age);
        self
    }

    /// Takes tokens without `exp`, which never expire. Say so only if that is what you mean.
    pub const fn without_expiry(mut self) -> Self {
        self.policy.expiry_required = false;
        self
    }

    /// Takes tokens that are bound to a key (`cnf`) as plain bearer tokens, which gives that
    /// protection up.
    pub const fn sender_constrained_as_bearer(mut self) -> Self {
        self.policy.bearer_of_bound = true;
        self
    }

    /// The claim that holds the groups. Defaults to `groups`.
    pub fn groups_claim(mut self, name: impl Into<String>) -> Self {
        self.policy.groups_claim = name.into();
        self
    }

    /// Demands a scope; given more than once, all of them.
    pub fn require_scope(mut self, scope: impl Into<String>) -> Self {
        self.policy.scopes.all.push(scope.into());
        self
    }

    /// Demands one of these scopes.
    pub fn require_any_scope<S: Into<String>>(
        mut self,
        scopes: impl IntoIterator<Item = S>,
    ) -> Self {
        extend(&mut self.policy.scopes, scopes);
        self
    }

    /// Demands a group; given more than once, all of them.
    pub fn require_group(mut self, group: impl Into<String>) -> Self {
        self.policy.groups.all.push(group.into());
        self
    }

    /// Demands one of these groups.
    pub fn require_any_group<S: Into<String>>(
        mut self,
        groups: impl IntoIterator<Item = S>,
    ) -> Self {
        extend(&mut self.policy.groups, groups);
        self
    }

    /// A check of your own, after all others.
    ///
    /// ```
    /// # use midil_auth::jwt::{Refusal, Verifier};
    /// let builder = Verifier::builder("https://idp.example.com")
    ///     .audience("orders")
    ///     .check(|claims| match claims.get("tenant") {
    ///         Some(_) => Ok(()),
    ///         None => Err(Refusal::forbidden("a tenant is required")),
    ///     });
    /// ```
    pub fn check(
        mut self,
        check: impl Fn(&Claims<P, C>) -> Result<(), Refusal> + Send + Sync + 'static,
    ) -> Self {
        self.checks.push(Box::new(check));
        self
    }

    /// Tries every key that fits where several have the token's `kid`, sixteen at most, instead
    /// of refusing.
    pub const fn try_ambiguous_keys(mut self) -> Self {
        self.jws = self.jws.try_ambiguous_keys();
        self
    }

    /// Takes the algorithms that are [allowed](Self::algorithms) even where the issuer's metadata
    /// does not declare them.
    ///
    /// What metadata declares (`id_token_signing_alg_values_supported`) is about ID tokens, and
    /// some issuers sign access tokens otherwise. Defaults to taking only what is both allowed and,
    /// where the metadata declares any, declared.
    pub const fn undeclared_algorithms(mut self) -> Self {
        self.jws.undeclared = true;
        self
    }

    /// The largest token, in bytes. Defaults to 16 KiB.
    pub const fn max_token_bytes(mut self, bytes: usize) -> Self {
        self.jws = self.jws.max_bytes(bytes);
        self
    }

    /// Refuses tokens that were revoked before they expire: by `jti`, `origin_jti`, `sub` or
    /// whatever else `denies` finds in the claims. Asked last, of every token that would be
    /// accepted, one from the [`cache`](Self::cache) included, on the request's own path: look
    /// into memory, do not wait.
    ///
    /// ```
    /// # use std::collections::HashSet;
    /// # use std::sync::{Arc, RwLock};
    /// # use midil_auth::jwt::Verifier;
    /// let signed_out: Arc<RwLock<HashSet<String>>> = Arc::default();
    /// let list = Arc::clone(&signed_out);
    /// let builder = Verifier::builder("https://idp.example.com")
    ///     .audience("orders")
    ///     .deny(move |claims| {
    ///         let list = list.read().expect("not poisoned");
    ///         claims.token_id().is_some_and(|id| list.contains(id))
    ///     });
    /// ```
    pub fn deny(mut self, denies: impl Fn(&Claims<P, C>) -> bool + Send + Sync + 'static) -> Self {
        self.deny.push(Box::new(denies));
        self
    }

    /// Remembers this many verified tokens, so that a token that comes again costs no signature
    /// check.
    ///
    /// Everything else is judged anew: the times, the rules, the checks, whether the key that
    /// signed is still in the set, and whether the set may still be trusted. Failures are not
    /// remembered, nor are tokens over 8 KiB. An entry takes about three times the token's size.
    ///
    /// A type of your own that the claims are read into is cloned for each hit. To 1,000,000.
    /// Defaults to 0: no cache.
    pub fn cache(mut self, tokens: usize) -> Self
    where
        C: Clone,
    {
        if tokens > MAX_CACHE {
            self.contradiction.get_or_insert(ConfigError::new(
                "cache",
                "is too large",
                "remember 1,000,000 tokens at most",
            ));
        }
        self.cache = (1..=MAX_CACHE)
            .contains(&tokens)
            .then(|| Cache::new(tokens));
        self
    }

    fn validate(&self) -> Result<(), ConfigError> {
        if let Some(contradiction) = &self.contradiction {
            return Err(contradiction.clone());
        }
        self.policy.validate()?;
        self.keys.validate()?;
        let refuse = |field, problem, remedy| Err(ConfigError::new(field, problem, remedy));
        if self.jws.algorithms.is_empty() {
            return refuse("algorithms", "is empty", "allow at least one algorithm");
        }
        if self.jws.max_bytes == 0 {
            return refuse("max_token_bytes", "is 0", "allow some bytes");
        }
        Ok(())
    }

    /// A verifier with a fixed key set: no actor, no network.
    ///
    /// # Errors
    ///
    /// [`ConfigError`] names what is missing or contradicts itself.
    pub fn fixed(self, keys: impl Into<Arc<KeySet>>) -> Result<Verifier<P, C>, ConfigError> {
        self.fixed_with_clock(keys, Clock::system())
    }

    /// As [`fixed`](Self::fixed), with the clock of a test.
    ///
    /// # Errors
    ///
    /// As [`fixed`](Self::fixed).
    pub fn fixed_with_clock(
        self,
        keys: impl Into<Arc<KeySet>>,
        clock: Clock,
    ) -> Result<Verifier<P, C>, ConfigError> {
        self.validate()?;
        Ok(Verifier::fixed(self.into_rules(), keys.into(), clock))
    }

    /// The registration of the keys and the demands on the tokens.
    pub(crate) fn register(
        self,
        transport: &Transport,
        clock: &Clock,
    ) -> Result<(Registration<KeySet>, Demands<P, C>), ConfigError> {
        self.validate()?;
        let issuer = self.policy.issuers.first().cloned().unwrap_or_default();
        let name = self.name.clone().unwrap_or_else(|| issuer.clone());
        let unknown_key_wait = self.keys.unknown_key_wait;
        let mut rules = self;
        let keys = std::mem::replace(&mut rules.keys, KeySettings::new(KeySource::discovered()));
        let registration = keys.register(name, &issuer, transport, clock)?;
        let demands = Demands {
            rules: rules.into_rules(),
            unknown_key_wait,
        };
        Ok((registration, demands))
    }

    fn into_rules(self) -> Rules<P, C> {
        Rules {
            policy: self.policy,
            jws: self.jws,
            reading: self.reading,
            checks: self.checks,
            deny: self.deny,
            cache: self.cache,
            headers: Headers::new(),
        }
    }
}

fn extend<S: Into<String>>(needs: &mut Needs, names: impl IntoIterator<Item = S>) {
    needs.any.extend(names.into_iter().map(Into::into));
}

impl<P, C> fmt::Debug for VerifierBuilder<P, C> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let mut shown = f.debug_struct("VerifierBuilder");
        shown.field("policy", &self.policy).field("jws", &self.jws);
        shown.field("remembers", &self.cache.is_some());
        self.keys.show(&mut shown);
        shown.finish_non_exhaustive()
    }
}
