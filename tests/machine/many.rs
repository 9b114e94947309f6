use super::*;

#[tokio::test(start_paused = true)]
async fn one_timer_serves_all_credentials_however_often_they_are_refreshed() {
    let (auth, clock) = start().await;
    let mut tokens = Vec::new();
    for n in 0..100 {
        let source = SourceFn::new(async |n| issue(n, Duration::from_secs(60)));
        let credential = Credential::new(format!("t{n}"), source);
        tokens.push(auth.token(credential).await.expect("a token"));
    }
    for _ in 0..100 {
        clock.advance(Duration::from_secs(7)).await;
        settle().await;
        let tasks = tokio::runtime::Handle::current()
            .metrics()
            .num_alive_tasks();
        assert!(tasks <= 5, "three actors and two timers, not {tasks} tasks");
    }
    assert!(tokens.iter().all(|token| token.current().is_ok()));
}
