//! Where the crate counts what it does. Without the feature `metrics` nothing is counted, and
//! nothing is left of this.

#[cfg(feature = "metrics")]
pub(crate) use counted::{Verdicts, fetched, happened, issued};
#[cfg(not(feature = "metrics"))]
pub(crate) use ignored::{Verdicts, fetched, happened, issued};

#[cfg(feature = "metrics")]
mod counted {
    use std::sync::{Arc, OnceLock};
    use std::time::Duration;

    use ::metrics::{Counter, counter, histogram};

    use crate::event::Actor;
    use crate::metrics::{
        CACHE_LOOKUPS, EVENTS, FETCH_DURATION, FETCHES, TOKENS_ISSUED, VERIFICATIONS,
    };

    pub(crate) fn fetched(
        actor: Actor,
        name: &Arc<str>,
        took: Duration,
        error: Option<&'static str>,
    ) {
        let labels = [
            ("actor", actor.as_str().into()),
            ("name", Arc::clone(name).into()),
            ("error.type", error.unwrap_or_default().into()),
        ]
        .map(|(key, value): (_, ::metrics::SharedString)| ::metrics::Label::new(key, value));
        counter!(FETCHES, labels.iter()).increment(1);
        histogram!(FETCH_DURATION, labels.iter()).record(took);
    }

    pub(crate) fn happened(actor: Actor, name: &Arc<str>, event: &'static str) {
        counter!(EVENTS, "actor" => actor.as_str(), "name" => Arc::clone(name), "event" => event)
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

    use crate::event::Actor;

    pub(crate) const fn fetched(_: Actor, _: &Arc<str>, _: Duration, _: Option<&'static str>) {}

    pub(crate) const fn happened(_: Actor, _: &Arc<str>, _: &'static str) {}

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
