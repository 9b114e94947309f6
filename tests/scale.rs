//! Many credentials on one actor, and what each of them costs.

#![expect(
    clippy::expect_used,
    reason = "a test that cannot be set up has failed"
)]

#[path = "scale/measure.rs"]
mod measure;

#[test]
fn bytes() {
    for n in [1_000, 10_000, 30_000, 100_000] {
        println!(
            "{n}: {} {}",
            measure::bytes_per_credential(n),
            measure::bytes_per_client(n)
        );
    }
}
