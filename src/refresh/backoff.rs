//! How long to wait after a failure: exponential, jittered, seedable. Pure.

use std::time::Duration;

use fastrand::Rng;

/// Delays that grow from `base` to `max`.
///
/// The delay after the n-th failure in a row is drawn evenly between `base` and
/// `base · 2ⁿ` (at most `max`): clients that failed together come back apart, and never sooner
/// than `base`.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) struct Backoff {
    pub(crate) base: Duration,
    pub(crate) max: Duration,
}

impl Backoff {
    pub(crate) fn delay(&self, failures: u32, rng: &mut Rng) -> Duration {
        let factor = 1_u32 << failures.min(20);
        let ceiling = self.base.saturating_mul(factor).min(self.max);
        let spread = ceiling.saturating_sub(self.base);
        self.base
            .saturating_add(spread.mul_f64(rng.f64()))
            .min(self.max)
    }
}

#[cfg(test)]
mod tests {
    use super::{Backoff, Duration, Rng};
    use proptest::prelude::{any, prop_assert, proptest};

    proptest! {
        #[test]
        fn a_delay_lies_between_base_and_its_ceiling(
            base in 1_u64..10_000, more in 0_u64..1_000_000, failures in any::<u32>(), seed in any::<u64>(),
        ) {
            let backoff = Backoff {
                base: Duration::from_millis(base),
                max: Duration::from_millis(base + more),
            };
            let delay = backoff.delay(failures, &mut Rng::with_seed(seed));
            prop_assert!(delay >= backoff.base && delay <= backoff.max);
        }
    }

    #[test]
    fn the_same_seed_draws_the_same_delays() {
        let backoff = Backoff {
            base: Duration::from_secs(1),
            max: Duration::from_secs(60),
        };
        let draw = |seed| {
            let mut rng = Rng::with_seed(seed);
            (1..9)
                .map(|n| backoff.delay(n, &mut rng))
                .collect::<Vec<_>>()
        };
        assert_eq!(draw(7), draw(7));
        assert_ne!(draw(7), draw(8));
    }
}
