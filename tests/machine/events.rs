//! What subscribers are told.

use std::time::SystemTime;

use super::*;

/// Everything that subscribers have been told so far, with the seconds since `begun`.
async fn story(events: &mut Events, begun: SystemTime) -> Vec<String> {
    let mut story = Vec::new();
    while let Ok(Ok(event)) = tokio::time::timeout(Duration::ZERO, events.recv()).await {
        let at = event.at.duration_since(begun).expect("later");
        let class = match &event.change {
            Change::RefreshFailed { error, .. } if error.is_transient() => " (transient)",
            Change::RefreshFailed { .. } => " (permanent)",
            _ => "",
        };
        story.push(format!("{:.1} {event}{class}", at.as_secs_f64()));
    }
    story
}

/// A refresh every fifteen seconds of twenty, and three seconds after a failure.
fn exact() -> RefreshPolicy {
    RefreshPolicy::for_tokens()
        .jitter(0.0)
        .retry(3 * SECOND, 3 * SECOND)
        .probe(5 * SECOND, 5 * SECOND)
}

#[tokio::test(start_paused = true)]
async fn an_outage_is_told_word_for_word() {
    let (auth, clock) = start().await;
    let (mut events, begun) = (auth.events(), clock.now());
    let source = SourceFn::new(async |n| match n {
        2 | 3 => Err(FetchError::transient("down")),
        4 => std::future::pending().await,
        5 => Err(FetchError::permanent("invalid_client")),
        n => issue(n, 20 * SECOND),
    });
    let credential = Credential::new("t", source).refresh(exact());
    let token = begin_with(&auth, credential).await;
    pass(52 * SECOND).await;
    drop(token);
    settle().await;
    assert_eq!(
        story(&mut events, begun).await,
        [
            "0.0 acquired t version=1 usable_for=17.5s refresh_in=15.0s took=0.0ns",
            "15.0 refresh_failed t failures=1 next_attempt_in=3.0s holding=true error=down \
             (transient)",
            "15.0 degraded t",
            "17.5 expired t cause=down",
            "18.0 refresh_failed t failures=2 next_attempt_in=3.0s holding=false error=down \
             (transient)",
            "31.0 refresh_failed t failures=3 next_attempt_in=3.0s holding=false \
             error=no complete answer within 10s (transient)",
            "34.0 refresh_failed t failures=4 next_attempt_in=5.0s holding=false \
             error=invalid_client (permanent)",
            "39.0 recovered t failures=4",
            "39.0 refreshed t version=2 usable_for=17.5s refresh_in=15.0s took=0.0ns",
            "52.0 stopped t",
        ]
    );
}

#[tokio::test(start_paused = true)]
async fn what_is_no_outage_is_told_word_for_word_as_well() {
    let (auth, clock) = start().await;
    let (mut events, begun) = (auth.events(), clock.now());
    let source = SourceFn::new(async |n: u64| issue(n.max(2), 20 * SECOND));
    let credential = Credential::new("t", source).refresh(exact());
    let token = begin_with(&auth, credential).await;
    pass(SECOND).await;
    let rejected = token.current().expect("a token");
    let renewed = token.renew(&rejected).await;
    assert!(matches!(renewed, Err(TokenError::SameToken)));
    pass(2 * SECOND).await;
    auth.crash(Actor::TokenManager);
    pass(SECOND).await;
    pass(13 * SECOND).await;
    auth.shutdown().await;
    assert_eq!(
        story(&mut events, begun).await,
        [
            "0.0 acquired t version=1 usable_for=17.5s refresh_in=15.0s took=0.0ns",
            "1.0 rejected t",
            "1.0 same_token t version=1 usable_for=17.5s refresh_in=15.0s took=0.0ns",
            "3.0 restarted actor=token_manager",
            "16.0 refreshed t version=2 usable_for=17.5s refresh_in=15.0s took=0.0ns",
            "17.0 stopped",
        ]
    );
    assert_eq!(events.recv().await.expect_err("over"), EventsError::Stopped);
}

#[tokio::test(start_paused = true)]
async fn a_stuck_subscriber_delays_nothing_and_learns_what_it_missed() {
    let (auth, clock) = start().await;
    let mut stuck = auth.events();
    let source = SourceFn::new(async |n| issue(n, Duration::from_secs(10)));
    let calls = source.calls();
    let token = auth
        .token(Credential::new("t", source))
        .await
        .expect("a token");
    for _ in 0..1_500 {
        clock.advance(Duration::from_secs(8)).await;
        settle().await;
        assert!(token.current().is_ok());
    }
    let told = calls.load(Ordering::SeqCst);
    let missed = match stuck.recv().await {
        Err(EventsError::Lagged(missed)) => missed,
        other => unreachable!("lag, not {other:?}"),
    };
    let mut read = 0;
    while let Ok(next) = tokio::time::timeout(Duration::ZERO, stuck.recv()).await {
        next.expect("no further gap");
        read += 1;
    }
    assert_eq!(missed + read, told);
}
