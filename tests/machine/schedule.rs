use super::*;

#[tokio::test(start_paused = true)]
async fn a_token_is_refreshed_before_it_expires_for_a_whole_day() {
    let (auth, clock) = start().await;
    let source = SourceFn::new(async |n| issue(n, LIFETIME));
    let calls = source.calls();
    let token = auth
        .token(Credential::new("day", source))
        .await
        .expect("a token");
    for _ in 0..24 * 60 {
        clock.advance(Duration::from_secs(60)).await;
        settle().await;
        let current = token.current().expect("never without a token");
        assert!(current.expires_at() > clock.now());
    }
    let calls = calls.load(Ordering::SeqCst);
    // 24 lifetimes: refreshed after 65 % to 75 % of each.
    assert!((32..=37).contains(&calls), "{calls} fetches in a day");
}

#[tokio::test(start_paused = true)]
async fn an_issuer_that_returns_the_same_token_is_paced() {
    let (auth, clock) = start().await;
    let mut events = auth.events();
    let end = clock.now() + LIFETIME;
    let reader = clock.clone();
    let source = SourceFn::new(move |_| {
        let left = end.duration_since(reader.now()).unwrap_or_default();
        async move { Ok(Fetched::new(AccessToken::bearer("same")?.expires_in(left))) }
    });
    let calls = source.calls();
    let token = auth
        .token(Credential::new("t", source))
        .await
        .expect("a token");
    let mut changes = token.changes();
    for _ in 0..3_580 {
        clock.advance(Duration::from_secs(1)).await;
        settle().await;
        assert!(token.current().is_ok());
    }
    assert!(calls.load(Ordering::SeqCst) <= 12, "not hammered");
    assert_eq!(told(&mut events).await[..2], ["acquired", "same_token"]);
    let change = tokio::time::timeout(Duration::ZERO, changes.next()).await;
    assert!(change.is_err(), "the same token is no change");
}

/// Requests in `time` for tokens that live for `lifetime`, while readers never stop reading.
async fn requests_in(time: Duration, lifetime: Duration) -> (usize, u32, u32) {
    let (auth, _clock) = start().await;
    let issuer = Issuer::new(Mood::Issues).lifetime(lifetime);
    let token = begin(&auth, &issuer).await;
    let (mut reads, mut failed) = (0, 0);
    let step = lifetime / 64;
    for _ in 0..(time.as_nanos() / step.as_nanos()) {
        tokio::time::sleep(step).await;
        reads += 1;
        failed += u32::from(token.current().is_err());
    }
    let second = issuer.gaps().into_iter().filter(|gap| *gap < SECOND);
    assert_eq!(second.count(), 0, "more than one in a second");
    (issuer.asked(), reads, failed)
}

#[tokio::test(start_paused = true)]
async fn short_lived_tokens_cost_what_their_lifetime_says_and_no_more() {
    for lifetime in [
        ms(500),
        SECOND,
        ms(1_300),
        2 * SECOND,
        5 * SECOND,
        20 * SECOND,
        60 * SECOND,
        300 * SECOND,
        600 * SECOND,
    ] {
        let time = lifetime * 100;
        let (asked, reads, failed) = requests_in(time, lifetime).await;
        // A hundred lifetimes, each token used for 0.6 of its own at least.
        let most = (time.as_secs_f64() / (0.6 * lifetime.as_secs_f64())).ceil() + 1.0;
        assert!(asked as f64 <= most, "{asked} requests for {lifetime:?}");
        if lifetime >= 2 * SECOND {
            assert_eq!(failed, 0, "of {reads} reads for {lifetime:?}");
            assert!(asked > 130, "{asked} requests for {lifetime:?}");
        }
    }
}

#[tokio::test(start_paused = true)]
async fn every_lifetime_a_server_may_state_is_survived_and_none_is_hammered_for() {
    for stated in [
        Duration::ZERO,
        Duration::from_nanos(1),
        ms(1),
        Duration::from_secs(1 << 31),
        Duration::from_secs(9_223_372_036_854_775),
        Duration::from_secs(u64::MAX / 1_000_000_000),
        Duration::from_secs(u64::MAX - 1),
        Duration::from_secs(u64::MAX),
        Duration::MAX,
    ] {
        let (auth, clock) = start().await;
        let issuer = Issuer::new(Mood::Issues).lifetime(stated);
        let token = begin(&auth, &issuer).await;
        pass(10 * MINUTE).await;
        if stated >= SECOND {
            let year = 366 * 24 * HOUR;
            let token = token.current().expect("a token");
            assert!(stated > year && token.expires_at() <= clock.now() + year);
            assert_eq!(issuer.asked(), 1);
        }
        assert!(issuer.asked() <= 601, "{} for {stated:?}", issuer.asked());
    }
}

#[tokio::test(start_paused = true)]
async fn the_refresh_point_is_drawn_once_for_each_token_and_apart_for_each_instance() {
    let mut points = std::collections::BTreeSet::new();
    for seed in 0..100 {
        let clock = TestClock::virtual_time();
        let auth = Auth::builder().clock(clock.clock()).seed(seed);
        let auth = auth.start().await.expect("started");
        let token = begin(&auth, &Issuer::new(Mood::Issues)).await;
        let point = token.status().next_fetch_in.expect("a refresh point");
        assert!(point >= LIFETIME.mul_f64(0.675) && point <= LIFETIME.mul_f64(0.75));
        for _ in 0..10_000 {
            token.current().expect("a token");
        }
        settle().await;
        assert_eq!(token.status().next_fetch_in, Some(point));
        points.insert(point.as_secs());
    }
    // A hundred instances that started together are spread over 270 seconds.
    assert!(points.len() > 60, "{} different seconds", points.len());
}

#[tokio::test(start_paused = true)]
async fn a_lifetime_counts_from_the_request_and_not_from_the_answer() {
    let (auth, clock) = start().await;
    let issuer = Issuer::new(Mood::Takes(20 * SECOND)).lifetime(30 * SECOND);
    let policy = RefreshPolicy::for_tokens().fetch_timeout(25 * SECOND);
    let begun = clock.now();
    let credential = Credential::new("t", issuer.clone()).refresh(policy);
    let token = begin_with(&auth, credential).await;
    pass(20 * SECOND).await;
    let status = token.status();
    assert!(status.usable_for.expect("usable") <= 7 * SECOND);
    let current = token.current().expect("a token");
    assert_eq!(current.expires_at(), begun + 30 * SECOND);
    issuer.is(Mood::Hangs);
    pass(7 * SECOND).await;
    assert!(matches!(token.current(), Err(TokenError::Expired { .. })));
}

/// Whatever is asked about a token, it is one predicate that answers.
#[tokio::test(start_paused = true)]
async fn every_view_of_a_token_agrees_on_whether_it_is_usable() {
    use midil_auth::oauth2::TokenState;
    let (auth, clock) = start().await;
    let issuer = Issuer::new(Mood::Issues).lifetime(100 * SECOND);
    let token = begin(&auth, &issuer).await;
    issuer.is(Mood::Down);
    let first = served(&token);
    for _ in 0..220 {
        tokio::time::sleep(ms(500)).await;
        let (status, health) = (token.status(), auth.health());
        let usable = token.current().is_ok();
        let serving = matches!(status.state, TokenState::Fresh | TokenState::Degraded);
        assert_eq!(usable, serving);
        assert_eq!(usable, health.ready);
        assert_eq!(usable, token.headers().is_ok());
        assert_eq!(
            usable,
            status.usable_for.is_some_and(|left| !left.is_zero())
        );
        assert_eq!(
            usable,
            status.expires_at.is_some_and(|end| end > clock.now())
        );
        let asked = issuer.asked();
        match token.ready().await {
            Ok(ready) => assert!(usable && ready.expose() == first),
            Err(_) => assert!(!usable),
        }
        assert_eq!(issuer.asked(), asked, "looking costs nothing");
    }
    assert!(token.current().is_err(), "both sides were seen");
}

#[tokio::test(start_paused = true)]
async fn an_expired_token_is_never_served_however_long_the_outage() {
    let (auth, clock) = start().await;
    let issuer = Issuer::new(Mood::Issues);
    let token = begin(&auth, &issuer).await;
    let end = token.current().expect("a token").expires_at();
    issuer.is(Mood::Down);
    pass(LIFETIME).await;
    for _ in 0..24 * 60 {
        pass(MINUTE).await;
        match token.current() {
            Err(TokenError::Expired { since, cause }) => {
                let ago = clock.now().duration_since(end).expect("over");
                assert!(since >= ago && since <= ago + 10 * SECOND);
                assert!(cause.expect("a cause").to_string().contains("down"));
            }
            other => unreachable!("{other:?}"),
        }
    }
}
