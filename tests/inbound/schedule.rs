//! T30, T31, T35: when keys are fetched, how long they are trusted, and what that costs readers.

use std::sync::atomic::Ordering;
use std::time::Duration;

use futures_util::FutureExt;
use midil_auth::event::Change;
use midil_auth::jwks::{KeySet, RotationPolicy};
use midil_auth::testing::{Endpoint, Fault, SourceFn, TestClock, TestIssuer};
use midil_auth::{Auth, Fetched, RefreshPolicy, Start, Verifier};
use serde_json::json;
use tokio::time::Instant;

use super::{Keys, eventually, hasty, is_undecided, settle};

#[tokio::test(start_paused = true)]
async fn keys_outlive_an_outage_but_not_max_stale() {
    let rotation = RotationPolicy::default().max_stale(Duration::from_secs(3600));
    let (auth, keys, verifier) = Keys::start(rotation, Start::Wait).await;
    let mut events = auth.events();
    let token = keys.token(&keys.first());
    keys.fail(true);
    for _ in 0..59 {
        tokio::time::sleep(Duration::from_secs(60)).await;
        assert!(verifier.try_verify(&token).is_ok());
    }
    tokio::time::sleep(Duration::from_secs(90)).await;
    let verdict = verifier.try_verify(&token);
    assert!(
        is_undecided(&verdict),
        "fails closed, and not with a 401: {verdict:?}"
    );
    assert_eq!(verdict.expect_err("closed").status(), 503);
    assert!(!auth.health().ready);
    let mut expired = false;
    while let Ok(Ok(event)) = tokio::time::timeout(Duration::ZERO, events.recv()).await {
        expired |= matches!(event.change, Change::Expired { .. });
    }
    assert!(expired);
    keys.fail(false);
    tokio::time::sleep(Duration::from_secs(61)).await;
    assert!(verifier.try_verify(&token).is_ok(), "heals by itself");
}

#[tokio::test]
async fn an_unchanged_set_is_neither_sent_nor_parsed_again() {
    let issuer = TestIssuer::start().await.expect("up");
    let auth = Auth::start().await.expect("started");
    let _verifier = auth
        .verifier(hasty(&issuer).jwks_url(issuer.jwks_url()))
        .await
        .expect("a verifier");
    eventually("revalidation", || issuer.counts().jwks_unchanged >= 5).await;
    let counts = issuer.counts();
    assert!(counts.jwks - counts.jwks_unchanged <= 1, "{counts:?}");
    assert_eq!(auth.health().keys[0].version, 1);
}

#[tokio::test]
async fn the_servers_hint_sets_the_schedule_within_bounds() {
    let issuer = TestIssuer::builder()
        .max_age(3600)
        .start()
        .await
        .expect("up");
    let auth = Auth::start().await.expect("started");
    let _verifier = auth
        .verifier(hasty(&issuer).jwks_url(issuer.jwks_url()))
        .await
        .expect("a verifier");
    tokio::time::sleep(Duration::from_millis(400)).await;
    assert_eq!(
        issuer.counts().jwks,
        1,
        "an hour, kept to a minute, not 50 ms"
    );
}

#[tokio::test]
async fn a_hanging_endpoint_does_not_touch_known_kids() {
    let issuer = TestIssuer::start().await.expect("up");
    let auth = Auth::start().await.expect("started");
    let verifier = auth.verifier(hasty(&issuer)).await.expect("a verifier");
    let token = issuer.mint(json!({"aud": "orders"}));
    issuer.fail(Endpoint::Jwks, Fault::Hang);
    let before = auth.messages_sent();
    for _ in 0..100 {
        // Answered when first polled: nothing here waits for anything.
        let verdict = verifier.verify(&token).now_or_never();
        assert!(verdict.is_some_and(|verdict| verdict.is_ok()));
        assert!(verifier.try_verify(&token).is_ok());
        tokio::time::sleep(Duration::from_millis(5)).await;
    }
    assert_eq!(auth.messages_sent(), before);
}

/// T35: schedules and staleness keep to the clock that never steps, `exp` to the one that does.
#[tokio::test(start_paused = true)]
async fn a_step_of_the_wall_clock_moves_no_fetch() {
    const HOUR: i64 = 3600;
    let (_auth, keys, verifier) = Keys::start(RotationPolicy::default(), Start::Wait).await;
    let now = keys.clock.now().duration_since(std::time::UNIX_EPOCH);
    let exp = now.expect("after 1970").as_secs() + 1_800;
    let until = |exp: u64| {
        let claims = json!({"iss": super::ISSUER, "aud": "orders", "exp": exp});
        keys.first().token(&claims)
    };
    let (short_lived, long_lived) = (until(exp), until(exp + 100_000));
    assert!(verifier.try_verify(&short_lived).is_ok());
    for step in [HOUR, -HOUR, -HOUR, HOUR] {
        let calls = keys.calls();
        keys.clock.step_wall(step);
        settle().await;
        tokio::time::sleep(Duration::from_secs(1)).await;
        assert_eq!(keys.calls(), calls, "no storm after a step of {step} s");
        assert!(verifier.try_verify(&long_lived).is_ok());
        let ahead = keys.clock.now().duration_since(std::time::UNIX_EPOCH);
        let expired = ahead.expect("after 1970").as_secs() >= exp;
        assert_eq!(verifier.try_verify(&short_lived).is_err(), expired);
    }
    tokio::time::sleep(Duration::from_secs(3000)).await;
    for pause in keys.pauses(0) {
        let usual = Duration::from_secs(270)..=Duration::from_secs(301);
        assert!(usual.contains(&pause), "{pause:?}");
    }
}

/// A hint that is longer than the keys are trusted would leave nobody any keys in between.
#[tokio::test(start_paused = true)]
async fn no_hint_outlasts_the_trust_in_the_keys() {
    const STALE: Duration = Duration::from_secs(600);
    let clock = TestClock::virtual_time().clock();
    let auth = Auth::builder().clock(clock).seed(7).start().await;
    let auth = auth.expect("started");
    let set = json!({"keys": [super::key("a").jwk()]}).to_string();
    let source = SourceFn::new(move |_| {
        let set = KeySet::from_json(set.as_bytes());
        async move { Ok(Fetched::new(set?).fresh_for(Some(Duration::from_secs(3600)))) }
    });
    let calls = source.calls();
    let rules = Verifier::builder(super::ISSUER)
        .audience("orders")
        .key_source(source)
        .rotation(RotationPolicy::default().max_stale(STALE));
    let verifier = auth.verifier(rules).await.expect("a verifier");
    for _ in 0..10 {
        tokio::time::sleep(STALE + Duration::from_millis(10)).await;
        assert!(verifier.keys().is_some());
    }
    assert!(calls.load(Ordering::SeqCst) > 10);
}

/// A machine that slept: what is due is fetched once, and what is too old is not trusted.
#[tokio::test(start_paused = true)]
async fn a_machine_that_slept_fetches_once() {
    let rotation = RotationPolicy::default().max_stale(Duration::from_secs(7200));
    let (_auth, keys, verifier) = Keys::start(rotation, Start::Wait).await;
    let token = keys.token(&keys.first());
    keys.clock.suspend(Duration::from_secs(3600));
    assert!(verifier.try_verify(&token).is_ok(), "not too old yet");
    keys.clock.suspend(Duration::from_secs(3601));
    assert!(is_undecided(&verifier.try_verify(&token)));
    let calls = keys.calls();
    assert!(
        verifier.verify(&token).await.is_ok(),
        "asked for, and there"
    );
    assert_eq!(keys.calls(), calls + 1);
}

/// One issuer, many services: started together they drift apart, and a failure does not bring
/// them together again.
#[tokio::test(start_paused = true)]
async fn a_fleet_spreads_its_fetches_and_backs_off_at_random() {
    const FLEET: u64 = 100;
    let (auth, keys, first) = Keys::start(RotationPolicy::default(), Start::Wait).await;
    let mut fleet = vec![first];
    while fleet.len() < 100 {
        fleet.push(keys.verifier(&auth, |rules| rules).await);
    }
    let hour = |n: u32| {
        let start = keys.asked.lock()[0] + Duration::from_secs(3600) * n;
        (start, start + Duration::from_secs(3600))
    };
    tokio::time::sleep(Duration::from_secs(5 * 3600)).await;
    // Fetches of the fifth hour, by windows of ten seconds: 3.5 on average.
    let (from, to) = hour(4);
    let mut windows = [0; 360];
    for asked in keys
        .asked
        .lock()
        .iter()
        .filter(|at| (from..to).contains(at))
    {
        windows[usize::try_from((*asked - from).as_secs() / 10).expect("few")] += 1;
    }
    let total: u32 = windows.iter().sum();
    let most = windows.iter().max().expect("some");
    assert!((1_150..1_400).contains(&total), "{total} in an hour");
    assert!(*most <= 18, "{most} in ten seconds of {total} in an hour");
    // An outage: each tries again between 1 s and twice as long as the time before, to a minute.
    let calls = keys.calls();
    keys.fail(true);
    tokio::time::sleep(Duration::from_secs(3600)).await;
    let failed = keys.calls() - calls;
    assert!(
        (60 * FLEET..190 * FLEET).contains(&failed),
        "{failed} tries in an hour of {FLEET}"
    );
}

#[tokio::test(start_paused = true)]
async fn failures_are_retried_at_growing_random_pauses() {
    let (_auth, keys, verifier) = Keys::start(RotationPolicy::default(), Start::Wait).await;
    let token = keys.token(&keys.first());
    keys.fail(true);
    let began = keys.calls();
    tokio::time::sleep(Duration::from_secs(1800)).await;
    let pauses = keys.pauses(began);
    assert!(pauses.len() > 20);
    let (least, most) = (Duration::from_secs(1), Duration::from_secs(60));
    for (n, pause) in pauses.iter().enumerate() {
        let bound = most.min(least * 2_u32.saturating_pow(u32::try_from(n + 1).expect("few")));
        let bounds = least..=bound + 2 * super::LATENCY;
        assert!(bounds.contains(pause), "pause {n} of {pause:?}");
    }
    let late = &pauses[8..];
    let mean = late.iter().sum::<Duration>() / u32::try_from(late.len()).expect("few");
    let even = Duration::from_secs(20)..Duration::from_secs(42);
    assert!(
        even.contains(&mean),
        "drawn evenly, not {mean:?} on average"
    );
    assert!(verifier.try_verify(&token).is_ok());
    keys.fail(false);
    tokio::time::sleep(most).await;
    let calls = keys.calls();
    tokio::time::sleep(Duration::from_secs(200)).await;
    assert_eq!(keys.calls(), calls, "back to the schedule");
}

#[tokio::test]
async fn an_endpoint_that_asks_for_time_is_given_it() {
    let issuer = TestIssuer::start().await.expect("up");
    let auth = Auth::start().await.expect("started");
    let verifier = auth
        .verifier(hasty(&issuer).jwks_url(issuer.jwks_url()))
        .await
        .expect("a verifier");
    let token = issuer.mint(json!({"aud": "orders"}));
    for fault in [
        Fault::Throttle(1),
        Fault::Respond {
            status: 503,
            headers: vec![("retry-after".to_owned(), "1".to_owned())],
            body: String::new(),
        },
    ] {
        let mut events = auth.events();
        issuer.fail_next(Endpoint::Jwks, 1, fault.clone());
        loop {
            let event = events.recv().await.expect("an event");
            if let Change::RefreshFailed {
                next_attempt_in, ..
            } = event.change
            {
                assert!(next_attempt_in >= Duration::from_millis(900), "{fault:?}");
                break;
            }
        }
        let (told, asked) = (Instant::now(), issuer.counts().jwks);
        while issuer.counts().jwks == asked {
            assert!(verifier.try_verify(&token).is_ok());
            let junk = super::junk(&super::key("junk"), asked);
            assert!(is_undecided(&verifier.try_verify(&junk)));
            tokio::time::sleep(Duration::from_millis(10)).await;
        }
        // Whatever its readers ask for. The event came a moment after the answer.
        assert!(told.elapsed() >= Duration::from_millis(900), "{fault:?}");
    }
}

/// An endpoint that allows no caching would be asked without end (`no-cache`, `max-age=0`), and
/// one that allows too much never again.
#[tokio::test]
async fn no_hint_leads_out_of_its_bounds() {
    const LEAST: Duration = Duration::from_millis(200);
    for (name, value, often) in [
        ("cache-control", "no-cache", true),
        ("cache-control", "no-store, max-age=3600", true),
        ("cache-control", "max-age=0", true),
        ("expires", "Thu, 01 Jan 1970 00:00:00 GMT", true),
        ("expires", "0", true),
        ("cache-control", "max-age=3600", false),
        ("cache-control", "private, MAX-AGE=\"3600\"", false),
        ("cache-control", "max-age=18446744073709551616", false),
        ("expires", "Fri, 31 Dec 9999 23:59:59 GMT", false),
    ] {
        let issuer = TestIssuer::start().await.expect("up");
        let body = json!({"keys": [issuer.signing_key().jwk()]}).to_string();
        let headers = vec![(name.to_owned(), value.to_owned())];
        let status = 200;
        issuer.fail(
            Endpoint::Jwks,
            Fault::Respond {
                status,
                headers,
                body,
            },
        );
        let auth = Auth::start().await.expect("started");
        // Without a hint it would be asked every 20 ms.
        let most = if often {
            LEAST
        } else {
            Duration::from_millis(800)
        };
        let rotation = RotationPolicy::default()
            .interval(Duration::from_millis(20))
            .hint_bounds(LEAST, most);
        let rules = hasty(&issuer)
            .jwks_url(issuer.jwks_url())
            .rotation(rotation)
            .refresh(RefreshPolicy::for_keys().min_interval(Duration::from_millis(10)));
        let began = Instant::now();
        let _verifier = auth.verifier(rules).await.expect("a verifier");
        eventually("two more fetches", || issuer.counts().jwks >= 3).await;
        let took = began.elapsed();
        let period = most.mul_f64(0.9);
        assert!(
            took >= 2 * period,
            "{name}: {value}: two fetches in {took:?}"
        );
    }
}
