use super::*;

#[tokio::test(start_paused = true)]
async fn an_outage_is_held_through_and_then_told() {
    let (auth, clock) = start().await;
    let down = Arc::new(AtomicU64::new(0));
    let gate = Arc::clone(&down);
    let source = SourceFn::new(move |n| {
        let down = gate.load(Ordering::SeqCst) == 1;
        async move {
            if down {
                Err(FetchError::transient("the issuer is down"))
            } else {
                issue(n, LIFETIME)
            }
        }
    });
    let mut events = auth.events();
    let token = auth
        .token(Credential::new("t", source))
        .await
        .expect("a token");
    down.store(1, Ordering::SeqCst);
    clock.advance(Duration::from_secs(3580)).await;
    settle().await;
    assert!(token.current().is_ok(), "held while it is valid");
    clock.advance(Duration::from_secs(30)).await;
    settle().await;
    let error = token.current().expect_err("expired");
    assert!(
        matches!(&error, TokenError::Expired { cause: Some(_), .. }),
        "{error:?}"
    );
    assert!(error.to_string().contains("the issuer is down"));
    down.store(0, Ordering::SeqCst);
    clock.advance(Duration::from_secs(61)).await;
    settle().await;
    assert_eq!(
        token
            .current()
            .expect("recovered")
            .expose()
            .split('-')
            .next(),
        Some("token")
    );
    let mut seen = Vec::new();
    while let Ok(Ok(event)) = tokio::time::timeout(Duration::ZERO, events.recv()).await {
        if seen.last() != Some(&event.change.as_str()) {
            seen.push(event.change.as_str());
        }
    }
    assert_eq!(seen[0], "acquired");
    assert!(seen.contains(&"refresh_failed") && seen.contains(&"expired"));
    assert_eq!(seen[seen.len() - 2..], ["recovered", "refreshed"]);
}

#[tokio::test(start_paused = true)]
async fn a_crashed_actor_is_back_without_a_fetch_or_a_failed_read() {
    let (auth, clock) = start().await;
    let source = SourceFn::new(async |n| issue(n, LIFETIME));
    let calls = source.calls();
    let token = auth
        .token(Credential::new("t", source))
        .await
        .expect("a token");
    let mut events = auth.events();
    for _ in 0..5 {
        auth.crash(Actor::TokenManager);
        loop {
            assert!(token.current().is_ok());
            if let Ok(Ok(event)) =
                tokio::time::timeout(Duration::from_millis(1), events.recv()).await
                && matches!(
                    event.change,
                    Change::Restarted {
                        actor: Actor::TokenManager
                    }
                )
            {
                break;
            }
        }
    }
    assert_eq!(calls.load(Ordering::SeqCst), 1);
    clock.advance(Duration::from_secs(3000)).await;
    settle().await;
    assert_eq!(calls.load(Ordering::SeqCst), 2, "the schedule survives");
}

#[tokio::test(start_paused = true)]
async fn a_hanging_fetch_is_cut_and_delays_nobody() {
    let (auth, clock) = start().await;
    let hanging = SourceFn::new(async |_| std::future::pending().await);
    let hung = auth
        .token(Credential::new("hung", hanging).start(Start::Background))
        .await
        .expect("in the background");
    let source = SourceFn::new(async |n| issue(n, LIFETIME));
    let token = auth
        .token(Credential::new("t", source))
        .await
        .expect("a token");
    clock.advance(Duration::from_secs(11)).await;
    settle().await;
    assert!(token.current().is_ok());
    let error = hung.ready().await.expect_err("hangs");
    assert!(
        matches!(&error, TokenError::Failed(e) if e.as_str() == "timeout"),
        "{error:?}"
    );
}

#[tokio::test(start_paused = true)]
async fn a_permanent_refusal_fails_the_start_at_once_and_is_probed_slowly() {
    let (auth, clock) = start().await;
    let source = SourceFn::new(async |_| Err(FetchError::permanent("invalid_client")));
    let calls = source.calls();
    let begun = clock.now();
    let refused = auth.token(Credential::new("t", source)).await;
    assert!(
        refused
            .expect_err("refused")
            .to_string()
            .contains("invalid_client")
    );
    assert!(clock.now().duration_since(begun).expect("later") < Duration::from_secs(1));
    assert_eq!(calls.load(Ordering::SeqCst), 1);

    let source = SourceFn::new(async |_| Err(FetchError::permanent("invalid_client")));
    let calls = source.calls();
    let token = auth
        .token(Credential::new("t", source).start(Start::Background))
        .await
        .expect("in the background");
    for _ in 0..3600 {
        clock.advance(Duration::from_secs(1)).await;
        settle().await;
        assert!(token.current().is_err());
    }
    let calls = calls.load(Ordering::SeqCst);
    assert!((4..=12).contains(&calls), "{calls} probes in an hour");
}

/// While it fails, everybody can read why.
fn everybody_knows(token: &TokenHandle, cause: &str) {
    let status = token.status();
    assert!(status.failures > 0);
    assert!(status.last_error.expect("a cause").contains(cause));
    if let Err(error) = token.current() {
        assert!(error.to_string().contains(cause), "{error}");
    }
}

#[tokio::test(start_paused = true)]
async fn whatever_goes_wrong_is_over_by_itself_within_its_backoff() {
    for (mood, cause, within) in [
        (Mood::Down, "the issuer is down", 60 * SECOND),
        (Mood::Hangs, "no complete answer within 10s", 70 * SECOND),
        (Mood::Refuses, "invalid_client", 15 * MINUTE),
        (Mood::Throttles(90 * SECOND), "slow down", 90 * SECOND),
    ] {
        for held in [true, false] {
            let (auth, _clock) = start().await;
            let issuer = Issuer::new(Mood::Issues);
            issuer.is(if held { Mood::Issues } else { mood });
            let token = begin(&auth, &issuer).await;
            issuer.is(mood);
            // Until the middle of the last quarter of a token's life, or ten failures later.
            pass(LIFETIME * 7 / 8).await;
            everybody_knows(&token, cause);
            assert_eq!(token.current().is_ok(), held, "{mood:?}");
            issuer.is(Mood::Issues);
            pass(within + SECOND).await;
            let status = token.status();
            assert_eq!((status.failures, status.last_error), (0, None), "{mood:?}");
            assert!(token.current().is_ok(), "{mood:?}");
        }
    }
}

#[tokio::test(start_paused = true)]
async fn an_outage_that_ends_before_the_token_does_fails_no_read() {
    let (auth, _clock) = start().await;
    let issuer = Issuer::new(Mood::Issues);
    let token = begin(&auth, &issuer).await;
    issuer.is(Mood::Down);
    for minute in 0..120 {
        pass(MINUTE).await;
        // The first token is held to its end, save for the ten seconds of the margin.
        assert_eq!(token.current().is_ok(), minute < 59 || issuer.asked() < 2);
        if minute == 58 {
            // From three quarters of its life on the issuer was asked again and again.
            assert!(issuer.asked() > 15, "{} attempts", issuer.asked());
            assert_eq!(served(&token), "token-1");
            issuer.is(Mood::Issues);
            pass(MINUTE).await;
            assert_eq!(served(&token), "token-2");
            return;
        }
    }
}

#[tokio::test(start_paused = true)]
async fn a_refusal_is_probed_every_minute_to_every_quarter_of_an_hour() {
    let (auth, _clock) = start().await;
    let issuer = Issuer::new(Mood::Refuses);
    let token = begin(&auth, &issuer).await;
    pass(24 * HOUR).await;
    everybody_knows(&token, "invalid_client");
    let gaps = issuer.gaps();
    let bounds = MINUTE..=15 * MINUTE;
    assert!(gaps.iter().all(|gap| bounds.contains(gap)), "{gaps:?}");
    assert!(gaps[0] <= 2 * MINUTE && gaps.iter().any(|&gap| gap > 10 * MINUTE));

    // Both ends are settings.
    let issuer = Issuer::new(Mood::Refuses);
    let policy = RefreshPolicy::for_tokens().probe(5 * SECOND, 5 * SECOND);
    let credential = Credential::new("t", issuer.clone()).refresh(policy);
    let _token = begin_with(&auth, credential).await;
    pass(MINUTE).await;
    assert!(issuer.gaps().iter().all(|&gap| gap == 5 * SECOND));
}

#[tokio::test(start_paused = true)]
async fn a_refusal_is_tried_again_at_once_when_the_secret_is_new() {
    let (auth, _clock) = start().await;
    for crashed in [false, true] {
        let issuer = Issuer::new(Mood::Refuses);
        let token = begin(&auth, &issuer).await;
        assert_eq!(issuer.asked(), 1);
        if crashed {
            // What a refusal waits for is not forgotten with the actor that waited.
            auth.crash(Actor::TokenManager);
            pass(SECOND).await;
        }
        pass(10 * SECOND).await;
        issuer.accepts_the_secret_now();
        settle().await;
        assert_eq!((&*served(&token), issuer.asked()), ("token-1", 2));
    }
}

#[tokio::test(start_paused = true)]
async fn a_refusal_is_tried_again_at_once_when_a_caller_insists() {
    let (auth, _clock) = start().await;
    let issuer = Issuer::new(Mood::Issues);
    let token = begin(&auth, &issuer).await;
    issuer.is(Mood::Refuses);
    pass(LIFETIME * 4 / 5).await;
    everybody_knows(&token, "invalid_client");
    issuer.is(Mood::Issues);
    let rejected = token.current().expect("held");
    let fresh = token.renew(&rejected).await.expect("another");
    assert_eq!(fresh.expose(), "token-2");
}

/// The settings of a credential never change under its handles. Other settings are another
/// credential: it is asked for at once, and the old one goes with its last handle.
#[tokio::test(start_paused = true)]
async fn a_refusal_is_over_at_once_for_a_credential_that_is_registered_anew() {
    let (auth, _clock) = start().await;
    let wrong = Issuer::new(Mood::Refuses);
    let mut token = begin(&auth, &wrong).await;
    everybody_knows(&token, "invalid_client");
    let right = Issuer::new(Mood::Issues);
    token = begin(&auth, &right).await;
    assert_eq!(served(&token), "token-1");
    pass(HOUR / 2).await;
    assert_eq!((wrong.asked(), right.asked()), (1, 1));
    assert_eq!(auth.health().tokens.len(), 1);
}

#[tokio::test(start_paused = true)]
async fn a_source_that_cries_wolf_is_paced_as_any_failure() {
    struct Wolf(Issuer);
    impl midil_auth::Source<AccessToken> for Wolf {
        async fn fetch(
            &self,
            held: Option<Arc<AccessToken>>,
        ) -> Result<Fetched<AccessToken>, FetchError> {
            self.0.fetch(held).await
        }
        async fn changed(&self) {}
    }
    let (auth, _clock) = start().await;
    let issuer = Issuer::new(Mood::Refuses);
    let _token = begin_with(&auth, Credential::new("t", Wolf(issuer.clone()))).await;
    pass(HOUR).await;
    let asked = issuer.asked();
    assert!((60..200).contains(&asked), "{asked} requests in an hour");
}

#[tokio::test(start_paused = true)]
async fn what_an_earlier_incarnation_asked_for_is_never_published() {
    let (auth, _clock) = start().await;
    let source = SourceFn::new(async |n| {
        if n == 2 {
            tokio::time::sleep(5 * SECOND).await;
        }
        issue(n, LIFETIME)
    });
    let token = auth.token(Credential::new("t", source)).await;
    let token = token.expect("a token");
    let mut changes = token.changes();
    let rejected = token.current().expect("a token");
    let renewing = tokio::spawn({
        let token = token.clone();
        async move { token.renew(&rejected).await }
    });
    pass(SECOND).await;
    auth.crash(Actor::TokenManager);
    pass(SECOND).await;
    assert_eq!(served(&token), "token-3", "asked for anew");
    let renewed = renewing.await.expect("no panic").expect("another");
    assert_eq!(renewed.expose(), "token-3");
    assert!(changes.next().await.is_some());
    pass(MINUTE).await;
    assert_eq!(served(&token), "token-3");
}

#[tokio::test(start_paused = true)]
async fn an_answer_that_comes_after_its_deadline_is_never_published() {
    let (auth, _clock) = start().await;
    let source = SourceFn::new(async |n| {
        if n == 1 {
            tokio::time::sleep(11 * SECOND).await;
        }
        issue(n, LIFETIME)
    });
    let token = begin_with(&auth, Credential::new("t", source)).await;
    pass(30 * SECOND).await;
    assert_eq!(served(&token), "token-2");
}

#[tokio::test(start_paused = true)]
async fn an_actor_that_crashes_over_and_over_never_costs_a_read() {
    let (auth, _clock) = start().await;
    let issuer = Issuer::new(Mood::Issues).lifetime(10 * MINUTE);
    let token = begin(&auth, &issuer).await;
    for _ in 0..200 {
        auth.crash(Actor::TokenManager);
        for _ in 0..15 {
            pass(SECOND).await;
            assert!(token.current().is_ok());
        }
    }
    // Fifty minutes: each token was asked for once, crashes or not.
    assert!((7..=9).contains(&issuer.asked()), "{}", issuer.asked());
}

/// Real time: a blocking call on the only thread of the runtime holds up the timer, the fetch and
/// the readers alike, past the end of the token.
#[tokio::test]
async fn a_runtime_that_was_blocked_past_the_end_of_a_token_recovers_by_itself() {
    let auth = Auth::start().await.expect("started");
    let issuer = Issuer::new(Mood::Issues).lifetime(SECOND);
    let policy = RefreshPolicy::for_tokens()
        .min_interval(ms(10))
        .retry(ms(10), ms(20))
        .fetch_timeout(ms(200));
    let credential = Credential::new("t", issuer.clone()).refresh(policy);
    let token = auth.token(credential).await.expect("a token");
    for mood in [Mood::Issues, Mood::Takes(ms(50))] {
        issuer.is(mood);
        tokio::time::sleep(ms(100)).await;
        std::thread::sleep(ms(1_200));
        assert!(matches!(token.current(), Err(TokenError::Expired { .. })));
        let fresh = async {
            while token.current().is_err() {
                tokio::time::sleep(ms(5)).await;
            }
        };
        let recovered = tokio::time::timeout(20 * SECOND, fresh).await;
        recovered.expect("within its backoff");
    }
}

#[tokio::test(start_paused = true)]
async fn a_token_that_outlasts_the_next_one_stays_in_service() {
    let (auth, _clock) = start().await;
    let issuer = Issuer::new(Mood::Issues).lifetime(LIFETIME);
    let token = begin(&auth, &issuer).await;
    let mut events = auth.events();
    issuer.now_gives(Duration::from_secs(60));
    tokio::time::sleep(LIFETIME * 4 / 5).await;
    assert_eq!(token.current().expect("the first").expose(), "token-1");
    assert_eq!(told(&mut events).await, ["outlasted"]);
    issuer.is(Mood::Down);
    tokio::time::sleep(LIFETIME / 5 - Duration::from_secs(20)).await;
    assert_eq!(token.current().expect("held").expose(), "token-1");
    issuer.is(Mood::Issues);
    tokio::time::sleep(Duration::from_secs(90)).await;
    assert!(token.current().expect("another").expose() > "token-2");
}

#[tokio::test(start_paused = true)]
async fn a_token_that_was_refused_outlasts_nothing() {
    let (auth, _clock) = start().await;
    let issuer = Issuer::new(Mood::Issues).lifetime(LIFETIME);
    let token = begin(&auth, &issuer).await;
    let first = token.current().expect("the first");
    issuer.now_gives(Duration::from_secs(60));
    // A scheduled refresh is under way while the token is refused.
    issuer.is(Mood::Takes(Duration::from_secs(5)));
    while issuer.in_flight() == 0 {
        tokio::time::sleep(Duration::from_secs(1)).await;
    }
    let renewed = token.renew(&first).await.expect("another");
    assert_eq!((renewed.expose(), issuer.asked()), ("token-2", 2));
    assert_eq!(token.current().expect("the same").expose(), "token-2");
}
