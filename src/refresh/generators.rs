//! Every policy that is valid, for property tests.

use std::time::Duration;

use proptest::prelude::*;

use super::RefreshPolicy;

/// Durations from `least` to `most`, short ones as likely as long ones, and both ends.
pub(crate) fn durations(least: Duration, most: Duration) -> impl Strategy<Value = Duration> {
    let growth = most.as_secs_f64().max(1e-9) / least.as_secs_f64().max(1e-9);
    let between = (0.0..1.0_f64).prop_map(move |share| {
        let seconds = least.as_secs_f64().max(1e-9) * growth.powf(share);
        Duration::from_secs_f64(seconds).clamp(least, most)
    });
    prop_oneof![1 => Just(least), 1 => Just(most), 6 => between]
}

/// Two durations from `least` to `most`, the lesser first.
fn bounds(least: Duration, most: Duration) -> impl Strategy<Value = (Duration, Duration)> {
    (durations(least, most), durations(least, most)).prop_map(|(a, b)| (a.min(b), a.max(b)))
}

/// A share of something, both ends included.
pub(crate) fn shares(least: f64, most: f64) -> impl Strategy<Value = f64> {
    prop_oneof![1 => Just(least), 1 => Just(most), 6 => least..most]
}

/// Every [`RefreshPolicy`] that passes its own check.
pub(crate) fn policies() -> impl Strategy<Value = RefreshPolicy> {
    const LEAST: Duration = Duration::from_millis(10);
    const SECOND: Duration = Duration::from_secs(1);
    const HOUR: Duration = Duration::from_secs(3600);
    const DAY: Duration = Duration::from_secs(24 * 3600);
    (
        durations(Duration::from_millis(1), HOUR / 6),
        durations(LEAST, SECOND),
        durations(LEAST, HOUR),
        bounds(LEAST, HOUR),
        bounds(LEAST, DAY),
        durations(Duration::ZERO, DAY),
        shares(0.0, 0.5),
        durations(Duration::ZERO, HOUR),
    )
        .prop_map(
            |(timeout, interval, floor, retry, probe, after, jitter, ready)| {
                let policy = RefreshPolicy::for_tokens()
                    .fetch_timeout(timeout)
                    .min_interval(interval)
                    .demand_floor(floor)
                    .retry(retry.0, retry.1)
                    .probe(probe.0, probe.1)
                    .max_retry_after(after)
                    .jitter(jitter)
                    .ready_timeout(ready);
                policy.validate().expect("generated within the ranges");
                policy
            },
        )
}
