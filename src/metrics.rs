//! Counters, gauges and histograms through the [`metrics`](https://docs.rs/metrics) facade. Feature
//! `metrics`.
//!
//! Install a recorder before [`Auth::start`](crate::Auth::start): whoever counts on a hot path finds
//! its counter once and keeps it. Gauges are set by [`Auth::record_gauges`](crate::Auth::record_gauges),
//! which a scrape calls first.
//!
//! | metric | kind, unit | labels | counts |
//! |---|---|---|---|
//! | `midil_auth.fetches` | counter | `actor`, `name`, `error.type` | fetches of tokens and key sets; `error.type` is empty where one succeeded |
//! | `midil_auth.fetch.duration` | histogram, seconds | `actor`, `name`, `error.type` | from the beginning of a fetch to its last byte |
//! | `midil_auth.tokens.issued` | counter | `name` | tokens that an issuer gave out, and may bill |
//! | `midil_auth.events` | counter | `actor`, `name`, `event` | everything that [`Auth::events`](crate::Auth::events) tells |
//! | `midil_auth.verifications` | counter | `issuer`, `error.type` | verdicts on tokens; `error.type` is empty where one was accepted |
//! | `midil_auth.cache.lookups` | counter | `issuer`, `outcome` | of [`VerifierBuilder::cache`](crate::jwt::VerifierBuilder::cache): `hit` or `miss` |
//! | `midil_auth.token.age` | gauge, seconds | `name` | since the token in service was asked for |
//! | `midil_auth.token.remaining` | gauge, seconds | `name` | how long the token may still be used; 0 without one |
//! | `midil_auth.keys.age` | gauge, seconds | `name` | since a fetch last confirmed the key set |
//! | `midil_auth.failures` | gauge | `actor`, `name` | failures in a row |
//!
//! `actor` is `token_manager` or `jwks`, `name` what the credential or issuer is called,
//! `error.type` (an attribute of the OpenTelemetry conventions) the label of an error: what
//! [`FetchErrorKind`](crate::FetchErrorKind) or [`VerifyError`](crate::jwt::VerifyError) says of
//! itself.
//!
//! ```
//! # #[tokio::main(flavor = "current_thread")]
//! # async fn main() -> Result<(), Box<dyn std::error::Error>> {
//! let recorder = metrics_exporter_prometheus::PrometheusBuilder::new().install_recorder()?;
//! let auth = midil_auth::Auth::start().await?;
//! // On a scrape:
//! auth.record_gauges();
//! let page = recorder.render();
//! # let _ = page;
//! # Ok(())
//! # }
//! ```

use ::metrics::gauge;

use crate::auth::Auth;
use crate::event::Actor;
use crate::meter::{FAILURES, KEYS_AGE, TOKEN_AGE, TOKEN_REMAINING};

impl Auth {
    /// Sets the gauges of [`metrics`](crate::metrics); to be called before they are read.
    pub fn record_gauges(&self) {
        let health = self.health();
        for token in &health.tokens {
            let left = token.usable_for.unwrap_or_default();
            gauge!(TOKEN_REMAINING, "name" => token.name.clone()).set(left.as_secs_f64());
            if let Some(age) = token.age {
                gauge!(TOKEN_AGE, "name" => token.name.clone()).set(age.as_secs_f64());
            }
            failures(Actor::TokenManager, &token.name, token.failures);
        }
        for keys in &health.keys {
            if let Some(age) = keys.age {
                gauge!(KEYS_AGE, "name" => keys.name.clone()).set(age.as_secs_f64());
            }
            failures(Actor::Jwks, &keys.name, keys.failures);
        }
    }
}

fn failures(actor: Actor, name: &str, failures: u32) {
    gauge!(FAILURES, "actor" => actor.as_str(), "name" => name.to_owned()).set(failures);
}
