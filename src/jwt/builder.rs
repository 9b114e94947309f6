//! How a verifier is built: by saying whose tokens, for whom, and with which keys.

use std::fmt;
use std::marker::PhantomData;
use std::sync::Arc;
use std::time::Duration;

use serde::de::DeserializeOwned;

use super::claims::Claims;
use super::error::Refusal;
use super::key_source::KeySource;
use super::policy::{Needs, Policy, Recipient, Types};
use super::profile::{AccessToken, IdToken, Jwt, Profile};
use super::verifier::{Check, Keys, Rules, Verifier};
use crate::clock::Clock;
use crate::fault::ConfigError;
use crate::jwks::{Algorithm, AlgorithmSet, KeySet, RotationPolicy};
use crate::refresh::address::Registration;
use crate::refresh::source::Source;
use crate::refresh::{RefreshPolicy, Start};
use crate::transport::Transport;

/// The largest token, in bytes, unless the builder says otherwise.
const MAX_TOKEN: usize = 16 * 1024;

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
    algorithms: AlgorithmSet,
    max_token: usize,
    source: KeySource,
    rotation: RotationPolicy,
    refresh: RefreshPolicy,
    start: Start,
    unknown_key_wait: Duration,
    try_ambiguous: bool,
    parse: fn(&Claims<P>) -> Result<C, serde_json::Error>,
    checks: Vec<Check<P, C>>,
    contradiction: Option<ConfigError>,
    profile: PhantomData<fn() -> P>,
}

impl<P: Profile> VerifierBuilder<P> {
    pub(crate) fn with_policy(policy: Policy, source: KeySource) -> Self {
        Self {
            name: None,
            policy,
            algorithms: AlgorithmSet::ALL,
            max_token: MAX_TOKEN,
            source,
            rotation: RotationPolicy::default(),
            refresh: RefreshPolicy::for_keys(),
            start: Start::Wait,
            unknown_key_wait: Duration::from_secs(1),
            try_ambiguous: false,
            parse: |_| Ok(()),
            checks: Vec::new(),
            contradiction: None,
            profile: PhantomData,
        }
    }

    /// Reads the claims also into a type of your own; a token whose claims do not fit it is
    /// refused. To be called before [`check`](Self::check).
    pub fn claims<C: DeserializeOwned + Send + Sync + 'static>(self) -> VerifierBuilder<P, C> {
        let contradiction = (!self.checks.is_empty()).then(|| {
            ConfigError::new(
                "claims",
                "is set after a check",
                "call claims() before check()",
            )
        });
        VerifierBuilder {
            name: self.name,
            policy: self.policy,
            algorithms: self.algorithms,
            max_token: self.max_token,
            source: self.source,
            rotation: self.rotation,
            refresh: self.refresh,
            start: self.start,
            unknown_key_wait: self.unknown_key_wait,
            try_ambiguous: self.try_ambiguous,
            parse: |claims| claims.deserialize(),
            checks: Vec::new(),
            contradiction: self.contradiction.or(contradiction),
            profile: PhantomData,
        }
    }
}

impl VerifierBuilder {
    pub(super) fn new(issuer: String) -> Self {
        Self::with_policy(Policy::new(issuer), KeySource::Discover { document: None })
    }

    /// Takes only access tokens as RFC 9068 defines them: `typ` is `at+jwt`, and `aud`, `sub`,
    /// `client_id`, `iat` and `jti` are there.
    /// To be called before [`check`](Self::check).
    pub fn rfc9068(self) -> VerifierBuilder<AccessToken> {
        self.profiled("rfc9068", |policy| {
            policy.types = Types::Required(vec!["at+jwt".to_owned()]);
            policy.required = &["aud", "sub", "client_id", "iat", "jti"];
        })
    }

    /// Takes only ID tokens (OpenID Connect Core §3.1.3.7): `typ` is absent or `JWT`, `aud`,
    /// `sub` and `iat` are there, and `azp`, if there, is one of the audiences given here.
    /// To be called before [`check`](Self::check).
    pub fn id_token(self) -> VerifierBuilder<IdToken> {
        self.profiled("id_token", |policy| {
            policy.types = Types::Optional(vec!["JWT".to_owned()]);
            policy.required = &["aud", "sub", "iat"];
            policy.party_is_audience = true;
        })
    }

    fn profiled<P: Profile>(
        self,
        profile: &'static str,
        change: impl FnOnce(&mut Policy),
    ) -> VerifierBuilder<P> {
        // A check takes the claims of one kind of token; to drop it would let others in.
        let contradiction = (!self.checks.is_empty()).then(|| {
            ConfigError::new(
                profile,
                "is set after a check",
                "say what kind of token it is before check()",
            )
        });
        let mut policy = self.policy;
        change(&mut policy);
        VerifierBuilder {
            name: self.name,
            algorithms: self.algorithms,
            max_token: self.max_token,
            rotation: self.rotation,
            refresh: self.refresh,
            start: self.start,
            unknown_key_wait: self.unknown_key_wait,
            try_ambiguous: self.try_ambiguous,
            contradiction: self.contradiction.or(contradiction),
            ..VerifierBuilder::with_policy(policy, self.source)
        }
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

    /// Fetches the keys from this URL instead of discovering it.
    pub fn jwks_url(mut self, url: impl Into<String>) -> Self {
        self.source = KeySource::Url(url.into());
        self
    }

    /// Discovers the key set from this metadata document instead of
    /// `<issuer>/.well-known/openid-configuration`, such as the one of RFC 8414.
    pub fn discovery_url(mut self, url: impl Into<String>) -> Self {
        self.source = KeySource::Discover {
            document: Some(url.into()),
        };
        self
    }

    /// Takes the keys from a source of your own.
    pub fn key_source(mut self, source: impl Source<KeySet>) -> Self {
        self.source = KeySource::Custom {
            source: Arc::new(source),
            stored_as: None,
        };
        self
    }

    /// As [`key_source`](Self::key_source), with a name under which the keys outlive the process
    /// where the runtime has a [`store`](crate::store); no other source of the issuer may have it.
    pub fn stored_key_source(
        mut self,
        name: impl Into<String>,
        source: impl Source<KeySet>,
    ) -> Self {
        self.source = KeySource::Custom {
            source: Arc::new(source),
            stored_as: Some(name.into()),
        };
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
        self.algorithms = algorithms.into_iter().collect();
        self
    }

    /// The `typ` that is demanded. Defaults to none, `JWT` or `at+jwt`.
    pub fn typ(mut self, typ: impl Into<String>) -> Self {
        self.policy.types = Types::Required(vec![typ.into()]);
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

    /// Tries every key that fits where several have the token's `kid`, instead of refusing.
    pub const fn try_ambiguous_keys(mut self) -> Self {
        self.try_ambiguous = true;
        self
    }

    /// The largest token, in bytes. Defaults to 16 KiB.
    pub const fn max_token_bytes(mut self, bytes: usize) -> Self {
        self.max_token = bytes;
        self
    }

    /// How long [`Verifier::verify`] waits for a fetch that decides whether an unknown key
    /// exists.
    ///
    /// To 1 min. Defaults to 1 s.
    pub const fn unknown_key_wait(mut self, wait: Duration) -> Self {
        self.unknown_key_wait = wait;
        self
    }

    /// When keys are fetched and how long they are trusted. Defaults to
    /// [`RotationPolicy::default`].
    pub const fn rotation(mut self, policy: RotationPolicy) -> Self {
        self.rotation = policy;
        self
    }

    /// How fetches are paced. Defaults to [`RefreshPolicy::for_keys`].
    pub const fn refresh(mut self, policy: RefreshPolicy) -> Self {
        self.refresh = policy;
        self
    }

    /// When the keys are first fetched and who waits. Defaults to [`Start::Wait`].
    pub const fn start(mut self, start: Start) -> Self {
        self.start = start;
        self
    }

    fn validate(&self) -> Result<(), ConfigError> {
        if let Some(contradiction) = &self.contradiction {
            return Err(contradiction.clone());
        }
        self.policy.validate()?;
        self.rotation.validate()?;
        self.refresh.validate()?;
        let wait = self.unknown_key_wait;
        crate::refresh::within(
            "unknown_key_wait",
            wait,
            Duration::ZERO,
            Duration::from_secs(60),
        )?;
        if self.algorithms.is_empty() {
            return Err(ConfigError::new(
                "algorithms",
                "is empty",
                "allow at least one algorithm",
            ));
        }
        if self.max_token == 0 {
            return Err(ConfigError::new(
                "max_token_bytes",
                "is 0",
                "allow some bytes",
            ));
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
        Ok(Verifier::new(
            self.into_rules(),
            Keys::Fixed(keys.into(), clock),
        ))
    }

    /// The registration of the keys and the rules for the tokens.
    pub(crate) fn register(
        mut self,
        transport: &Transport,
        clock: &Clock,
    ) -> Result<(Registration<KeySet>, Rules<P, C>), ConfigError> {
        self.validate()?;
        let issuer = self.policy.issuers.first().cloned().unwrap_or_default();
        let placeholder = KeySource::Discover { document: None };
        let source = std::mem::replace(&mut self.source, placeholder);
        let store_key = source.store_key(&issuer);
        let source = source.connect(&issuer, transport, clock)?;
        let registration = Registration {
            name: self.name.clone().unwrap_or(issuer).into(),
            source,
            policy: self.rotation,
            refresh: self.refresh,
            endpoint: None,
            store_key,
            start: self.start,
        };
        Ok((registration, self.into_rules()))
    }

    fn into_rules(self) -> Rules<P, C> {
        Rules {
            policy: self.policy,
            algorithms: self.algorithms,
            max_token: self.max_token,
            unknown_key_wait: self.unknown_key_wait,
            try_ambiguous: self.try_ambiguous,
            parse: self.parse,
            checks: self.checks,
        }
    }
}

fn extend<S: Into<String>>(needs: &mut Needs, names: impl IntoIterator<Item = S>) {
    needs.any.extend(names.into_iter().map(Into::into));
}

impl<P, C> fmt::Debug for VerifierBuilder<P, C> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("VerifierBuilder")
            .field("policy", &self.policy)
            .finish_non_exhaustive()
    }
}
