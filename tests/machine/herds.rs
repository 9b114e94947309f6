use super::*;

#[tokio::test(start_paused = true)]
async fn ten_thousand_callers_without_a_token_cost_one_fetch_and_one_message() {
    let (auth, _clock) = start().await;
    let source = SourceFn::new(async |n| {
        tokio::time::sleep(Duration::from_millis(200)).await;
        issue(n, LIFETIME)
    });
    let calls = source.calls();
    let credential = Credential::new("herd", source).start(Start::Lazy);
    let token = auth.token(credential).await.expect("lazy");
    settle().await;
    let before = auth.messages_sent();
    let mut callers = tokio::task::JoinSet::new();
    for _ in 0..10_000 {
        let token = token.clone();
        callers.spawn(async move { token.ready().await.map(|t| t.expose().to_owned()) });
    }
    while let Some(got) = callers.join_next().await {
        assert_eq!(got.expect("no panic").expect("a token"), "token-1");
    }
    assert_eq!(calls.load(Ordering::SeqCst), 1);
    assert_eq!(auth.messages_sent() - before, 1);
}

#[tokio::test(start_paused = true)]
async fn a_thousand_renewals_of_one_token_cost_one_fetch_and_a_late_one_none() {
    let (auth, clock) = start().await;
    let source = SourceFn::new(async |n| {
        tokio::time::sleep(Duration::from_millis(50)).await;
        issue(n, LIFETIME)
    });
    let calls = source.calls();
    let token = auth
        .token(Credential::new("t", source))
        .await
        .expect("a token");
    let rejected = token.current().expect("a token");
    let mut callers = tokio::task::JoinSet::new();
    for _ in 0..1_000 {
        let (token, rejected) = (token.clone(), Arc::clone(&rejected));
        callers.spawn(async move { token.renew(&rejected).await.map(|t| t.expose().to_owned()) });
    }
    while let Some(renewed) = callers.join_next().await {
        assert_eq!(
            renewed.expect("no panic").expect("another token"),
            "token-2"
        );
    }
    assert_eq!(
        token
            .renew(&rejected)
            .await
            .expect("the newer one")
            .expose(),
        "token-2"
    );
    assert_eq!(calls.load(Ordering::SeqCst), 2);

    let persistent = token.current().expect("a token");
    let error = token.renew(&persistent).await.expect_err("too soon");
    assert!(matches!(error, TokenError::CoolingDown { .. }), "{error:?}");
    clock.advance(Duration::from_secs(11)).await;
    settle().await;
    clock.advance(Duration::from_secs(1)).await;
    settle().await;
    assert_eq!(calls.load(Ordering::SeqCst), 3, "one per cool-down");
}

#[tokio::test(start_paused = true)]
async fn renewing_through_a_permanent_refusal_asks_once_and_tells_the_cause() {
    let (auth, _clock) = start().await;
    let source = SourceFn::new(async |n| match n {
        1 => issue(n, LIFETIME),
        _ => {
            tokio::time::sleep(Duration::from_millis(150)).await;
            Err(FetchError::permanent("invalid_client"))
        }
    });
    let calls = source.calls();
    let policy = RefreshPolicy::for_tokens().demand_floor(Duration::from_millis(100));
    let credential = Credential::new("t", source).refresh(policy);
    let token = auth.token(credential).await.expect("a token");
    let rejected = token.current().expect("a token");
    for expected in 2..=3 {
        let error = token.renew(&rejected).await.expect_err("refused");
        assert!(error.to_string().contains("invalid_client"), "{error}");
        assert!(!error.is_transient());
        assert_eq!(
            calls.load(Ordering::SeqCst),
            expected,
            "woken by each renew, once"
        );
    }
}

/// What a thousand callers of `ready` get, which is the same for all, and how long it took.
async fn a_thousand_are_ready(token: &TokenHandle, clock: &TestClock) -> (String, Duration) {
    let begun = clock.now();
    let mut callers = tokio::task::JoinSet::new();
    for _ in 0..1_000 {
        let token = token.clone();
        callers.spawn(async move { token.ready().await });
    }
    let mut answers = std::collections::HashSet::new();
    while let Some(answer) = callers.join_next().await {
        answers.insert(match answer.expect("no panic") {
            Ok(token) => token.expose().to_owned(),
            Err(error) => error.to_string(),
        });
    }
    let answers: Vec<_> = answers.into_iter().collect();
    assert_eq!(answers.len(), 1, "{answers:?}");
    let took = clock.now().duration_since(begun).expect("later");
    (answers.concat(), took)
}

#[tokio::test(start_paused = true)]
async fn a_thousand_callers_at_expiry_cost_one_request() {
    let (auth, clock) = start().await;
    let issuer = Issuer::new(Mood::Issues);
    let token = begin(&auth, &issuer).await;
    issuer.is(Mood::Takes(ms(80)));
    clock.suspend(2 * HOUR);
    assert!(matches!(token.current(), Err(TokenError::Expired { .. })));
    let messages = auth.messages_sent();
    let (got, took) = a_thousand_are_ready(&token, &clock).await;
    assert_eq!((&*got, issuer.asked()), ("token-2", 2));
    assert!(took < ms(100), "{took:?}");
    assert!(auth.messages_sent() <= messages + 1);
}

#[tokio::test(start_paused = true)]
async fn a_thousand_cold_callers_of_an_issuer_that_is_down_cost_one_request() {
    let (auth, clock) = start().await;
    let issuer = Issuer::new(Mood::Down);
    let credential = Credential::new("t", issuer.clone()).start(Start::Lazy);
    let token = auth.token(credential).await.expect("lazy");
    let (got, took) = a_thousand_are_ready(&token, &clock).await;
    assert!(got.contains("the issuer is down"), "{got}");
    assert_eq!((issuer.asked(), took.as_millis()), (1, 0));
}

#[tokio::test(start_paused = true)]
async fn a_thousand_callers_during_an_outage_get_its_cause_at_once_and_cost_nothing() {
    let (auth, clock) = start().await;
    for mood in [Mood::Down, Mood::Refuses, Mood::Throttles(MINUTE)] {
        let issuer = Issuer::new(Mood::Issues).lifetime(20 * SECOND);
        let token = begin(&auth, &issuer).await;
        issuer.is(mood);
        pass(21 * SECOND).await;
        let cause = match mood {
            Mood::Down => "the issuer is down",
            Mood::Refuses => "invalid_client",
            _ => "slow down",
        };
        let (asked, messages) = (issuer.asked(), auth.messages_sent());
        let (got, took) = a_thousand_are_ready(&token, &clock).await;
        assert!(got.contains(cause), "{got}");
        assert_eq!(took, Duration::ZERO);
        for _ in 0..1_000 {
            let error = token.current().expect_err("expired");
            assert!(error.to_string().contains(cause), "{error}");
        }
        assert_eq!(issuer.asked(), asked);
        assert_eq!(auth.messages_sent(), messages, "no actor heard of it");
    }
}

#[tokio::test(start_paused = true)]
async fn a_fetch_goes_on_though_all_callers_but_one_have_gone() {
    let (auth, _clock) = start().await;
    let issuer = Issuer::new(Mood::Takes(SECOND));
    let credential = Credential::new("t", issuer.clone()).start(Start::Lazy);
    let token = auth.token(credential).await.expect("lazy");
    let mut callers = Vec::new();
    for _ in 0..1_000 {
        let token = token.clone();
        callers.push(tokio::spawn(async move { token.ready().await }));
    }
    pass(ms(500)).await;
    assert_eq!((issuer.asked(), issuer.in_flight()), (1, 1));
    // Among those that go is the first, for whom the fetch was begun.
    let last = callers.pop().expect("a caller");
    for caller in &callers {
        caller.abort();
    }
    pass(ms(100)).await;
    let survivor = last.await.expect("no panic").expect("a token");
    assert_eq!((survivor.expose(), issuer.asked()), ("token-1", 1));
}

#[tokio::test(start_paused = true)]
async fn a_resource_server_that_always_refuses_costs_one_request_in_a_cool_down() {
    let (auth, _clock) = start().await;
    let issuer = Issuer::new(Mood::Issues);
    let token = begin(&auth, &issuer).await;
    for _ in 0..6_000 {
        let rejected = token.current().expect("a token");
        match token.renew(&rejected).await {
            Ok(fresh) => assert!(!fresh.is_same_token(&rejected)),
            Err(TokenError::CoolingDown { next }) => assert!(next <= 10 * SECOND),
            Err(error) => unreachable!("{error}"),
        }
        pass(ms(100)).await;
    }
    // Ten minutes of it, with a cool-down of ten seconds.
    assert!((55..=62).contains(&issuer.asked()), "{}", issuer.asked());
    let floor = 10 * SECOND;
    assert!(issuer.gaps()[1..].iter().all(|&gap| gap >= floor));
}

#[tokio::test(start_paused = true)]
async fn late_refusals_of_old_tokens_cost_nothing_and_bring_the_new_one() {
    let (auth, _clock) = start().await;
    let issuer = Issuer::new(Mood::Issues);
    let token = begin(&auth, &issuer).await;
    let mut old = Vec::new();
    for _ in 0..5 {
        old.push(token.current().expect("a token"));
        pass(HOUR * 3 / 4).await;
    }
    let (asked, newest) = (issuer.asked(), served(&token));
    let mut callers = tokio::task::JoinSet::new();
    for n in 0..1_000 {
        let (token, rejected) = (token.clone(), Arc::clone(&old[n % 5]));
        callers.spawn(async move { token.renew(&rejected).await });
    }
    while let Some(renewed) = callers.join_next().await {
        let renewed = renewed.expect("no panic").expect("the new one");
        assert_eq!(renewed.expose(), newest);
    }
    pass(MINUTE).await;
    assert_eq!(issuer.asked(), asked);
}
