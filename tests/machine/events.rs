use super::*;

#[tokio::test(start_paused = true)]
async fn a_scripted_outage_is_told_in_order() {
    let (auth, clock) = start().await;
    let mut events = auth.events();
    let source = SourceFn::new(async |n| match n {
        2..=4 => Err(FetchError::transient("down")),
        n => issue(n, Duration::from_secs(20)),
    });
    let policy = RefreshPolicy::for_tokens()
        .jitter(0.0)
        .retry(Duration::from_secs(3), Duration::from_secs(3));
    let credential = Credential::new("t", source).refresh(policy);
    let token = auth.token(credential).await.expect("a token");
    for _ in 0..26 {
        clock.advance(Duration::from_secs(1)).await;
        settle().await;
    }
    drop(token);
    settle().await;
    assert_eq!(
        told(&mut events).await,
        [
            "acquired",
            "refresh_failed",
            "degraded",
            "expired",
            "refresh_failed",
            "refresh_failed",
            "recovered",
            "refreshed",
            "stopped"
        ]
    );
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
