//! Where the crate counts what it does. Without the feature `metrics` nothing is counted, and
//! nothing is left of this.

#[cfg(feature = "metrics")]
pub(crate) use counted::*;
#[cfg(not(feature = "metrics"))]
pub(crate) use ignored::*;

#[cfg(feature = "metrics")]
mod counted {
    use std::sync::{Arc, OnceLock};
    use std::time::Duration;

    use metrics::{
        Counter, Label, SharedString, Unit, counter, describe_counter, describe_gauge,
        describe_histogram, histogram,
    };

    pub(crate) const FAILURES: &str = "midil_auth.failures";
    pub(crate) const KEYS_AGE: &str = "midil_auth.keys.age";
    pub(crate) const TOKEN_AGE: &str = "midil_auth.token.age";
    pub(crate) const TOKEN_REMAINING: &str = "midil_auth.token.remaining";

    const CACHE_LOOKUPS: &str = "midil_auth.cache.lookups";
    const EVENTS: &str = "midil_auth.events";
    const FETCHES: &str = "midil_auth.fetches";
    const FETCH_DURATION: &str = "midil_auth.fetch.duration";
    const TOKENS_ISSUED: &str = "midil_auth.tokens.issued";
    const VERIFICATIONS: &str = "midil_auth.verifications";

    /// Tells the recorder what the metrics mean, where it shows that.
    pub(crate) fn describe() {
        let seconds = Unit::Seconds;
        describe_counter!(CACHE_LOOKUPS, "Lookups in the cache of verified tokens");
        describe_counter!(EVENTS, "What subscribers are told");
        describe_counter!(FETCHES, "Fetches of access tokens and key sets");
        describe_histogram!(FETCH_DURATION, seconds, "How long a fetch took");
        describe_counter!(TOKENS_ISSUED, "Access tokens that an issuer gave out");
        describe_counter!(VERIFICATIONS, "Verdicts on tokens");
        describe_gauge!(FAILURES, "Failed fetches in a row");
        describe_gauge!(KEYS_AGE, seconds, "Since the key set was confirmed");
        describe_gauge!(TOKEN_AGE, seconds, "Since the token was asked for");
        describe_gauge!(TOKEN_REMAINING, seconds, "How long the token may be used");
    }

    pub(crate) fn fetched(
        actor: &'static str,
        name: &Arc<str>,
        took: Duration,
        error: Option<&'static str>,
    ) {
        let labels = [
            ("actor", actor.into()),
            ("name", Arc::clone(name).into()),
            ("error.type", error.unwrap_or_default().into()),
        ]
        .map(|(key, value): (_, SharedString)| Label::new(key, value));
        counter!(FETCHES, labels.iter()).increment(1);
        histogram!(FETCH_DURATION, labels.iter()).record(took);
    }

    pub(crate) fn happened(actor: &'static str, name: &Arc<str>, event: &'static str) {
        counter!(EVENTS, "actor" => actor, "name" => Arc::clone(name), "event" => event)
            .increment(1);
    }

    pub(crate) fn issued(name: &Arc<str>) {
        counter!(TOKENS_ISSUED, "name" => Arc::clone(name)).increment(1);
    }

    /// The counters of one verifier. Those of a hot path are found once.
    #[derive(Default)]
    pub(crate) struct Verdicts {
        issuer: Arc<str>,
        accepted: OnceLock<Counter>,
        hits: OnceLock<Counter>,
        misses: OnceLock<Counter>,
    }

    impl Verdicts {
        pub(crate) fn of(issuer: &str) -> Self {
            Self {
                issuer: issuer.into(),
                ..Self::default()
            }
        }

        pub(crate) fn count(&self, error: Option<&'static str>) {
            let counter = |error: &'static str| {
                let issuer = Arc::clone(&self.issuer);
                counter!(VERIFICATIONS, "issuer" => issuer, "error.type" => error)
            };
            match error {
                None => self.accepted.get_or_init(|| counter("")).increment(1),
                Some(error) => counter(error).increment(1),
            }
        }

        pub(crate) fn looked_up(&self, hit: bool) {
            let (found, outcome) = match hit {
                true => (&self.hits, "hit"),
                false => (&self.misses, "miss"),
            };
            let counter = found.get_or_init(|| {
                let issuer = Arc::clone(&self.issuer);
                counter!(CACHE_LOOKUPS, "issuer" => issuer, "outcome" => outcome)
            });
            counter.increment(1);
        }
    }
}

#[cfg(not(feature = "metrics"))]
mod ignored {
    use std::sync::Arc;
    use std::time::Duration;

    pub(crate) const fn describe() {}

    pub(crate) const fn fetched(
        _: &'static str,
        _: &Arc<str>,
        _: Duration,
        _: Option<&'static str>,
    ) {
    }

    pub(crate) const fn happened(_: &'static str, _: &Arc<str>, _: &'static str) {}

    pub(crate) const fn issued(_: &Arc<str>) {}

    #[derive(Default)]
    pub(crate) struct Verdicts;

    impl Verdicts {
        pub(crate) const fn of(_: &str) -> Self {
            Self
        }

        pub(crate) const fn count(&self, _: Option<&'static str>) {}

        pub(crate) const fn looked_up(&self, _: bool) {}
    }
}
