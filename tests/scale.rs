//! Many credentials on one actor, and what each of them costs.

#![expect(
    clippy::expect_used,
    reason = "a test that cannot be set up has failed"
)]

#[path = "scale/measure.rs"]
mod measure;

const MANY: usize = 10_000;

#[test]
fn a_credential_is_kept_in_a_kilobyte_and_little_more_than_half_of_it_is_ours() {
    let ours = measure::bytes_per_credential(MANY);
    assert!(ours > 100.0 && ours <= 700.0, "{ours} bytes");
    // With its own settings: a URL, an id, a scope, a name, a secret and the one last accepted.
    let in_all = measure::bytes_per_client(1_000);
    assert!(in_all > ours && in_all <= 1024.0, "{in_all} bytes");
}

#[test]
fn what_came_and_went_is_given_back() {
    let left = measure::bytes_left_behind(MANY);
    // The queue of tokio's scheduler does not shrink: a pointer for each task there was at once.
    let queue = (MANY.next_power_of_two() * size_of::<usize>()) as i64;
    assert!(left < queue + 16 * 1024, "{left} bytes");
}

#[test]
fn a_crowd_is_refreshed_once_in_a_lifetime_each() {
    let runtime = measure::runtime();
    runtime.block_on(async {
        let mint = measure::Mint::default();
        let (auth, _clock) = measure::start().await;
        let tokens = measure::acquire(&auth, &mint, MANY).await;
        for round in 1..=3 {
            assert_eq!(mint.issued(), MANY as u64 * round);
            mint.refresh_all().await;
            assert!(tokens.iter().all(|token| token.current().is_ok()));
        }
    });
}
