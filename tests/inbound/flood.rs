//! T22, T23, T36: key ids that nobody knows, thousands of them, and who suffers from it.

use std::sync::Arc;
use std::sync::atomic::{AtomicBool, AtomicU64, Ordering};
use std::time::Duration;

use allocation_counter::measure;
use midil_auth::jwks::{Algorithm, KeySet, RotationPolicy};
use midil_auth::jwt::VerifyError;
use midil_auth::testing::{SigningKey, SourceFn, TestIssuer};
use midil_auth::{Auth, Fetched, RefreshPolicy, Start, Verifier};
use serde_json::{Value, json};
use tokio::sync::watch;
use tokio::task::JoinSet;
use tokio::time::Instant;

use super::{
    ISSUER, Keys, LATENCY, eventually, hasty, is_undecided, is_unknown, junk, key, settle,
};

/// The default of [`RefreshPolicy::demand_floor`] for keys.
const FLOOR: Duration = Duration::from_secs(2);

#[tokio::test(start_paused = true)]
async fn a_cold_start_with_fifty_requests_costs_one_fetch_and_serves_all() {
    let (_auth, keys, verifier) = Keys::start(RotationPolicy::default(), Start::Lazy).await;
    let token = keys.token(&keys.first());
    let mut requests = JoinSet::new();
    for _ in 0..50 {
        let (verifier, token) = (verifier.clone(), token.clone());
        requests.spawn(async move { verifier.verify(&token).await.map(drop) });
    }
    while let Some(verdict) = requests.join_next().await {
        verdict.expect("no panic").expect("accepted");
    }
    assert_eq!(keys.calls(), 1);
}

/// Fifty tasks with two hundred random key ids each, in ten seconds.
fn flood(verifier: &Verifier, signer: &Arc<SigningKey>) -> JoinSet<()> {
    let mut flood = JoinSet::new();
    for task in 0..50 {
        let (verifier, signer) = (verifier.clone(), Arc::clone(signer));
        flood.spawn(async move {
            for n in 0..200 {
                let token = junk(&signer, format_args!("{task}-{n}"));
                let verdict =
                    tokio::time::timeout(Duration::from_millis(50), verifier.verify(&token));
                // A client that goes away; those that stay learn that it is undecided or unknown.
                if let Ok(verdict) = verdict.await {
                    assert!(is_undecided(&verdict) || is_unknown(&verdict));
                }
            }
        });
    }
    flood
}

#[tokio::test(start_paused = true)]
async fn a_flood_of_random_kids_locks_nobody_out_and_spares_the_issuer() {
    let (auth, keys, verifier) = Keys::start(RotationPolicy::default(), Start::Wait).await;
    let known = keys.token(&keys.first());
    let rotated = key("b");
    let good = keys.token(&rotated);
    let began = keys.calls();
    let mut flood = flood(&verifier, &key("junk"));
    tokio::time::sleep(Duration::from_secs(3)).await;
    assert!(
        verifier.try_verify(&known).is_ok(),
        "known kids are untouched"
    );
    keys.list(&[keys.first(), rotated]);
    let published = Instant::now();
    let mut users = JoinSet::new();
    for _ in 0..20 {
        let (verifier, good) = (verifier.clone(), good.clone());
        users.spawn(async move {
            loop {
                let verdict = verifier.verify(&good).await;
                if verdict.is_ok() {
                    return published.elapsed();
                }
                assert!(
                    is_undecided(&verdict),
                    "never a 401 for a good token: {verdict:?}"
                );
            }
        });
    }
    while let Some(took) = users.join_next().await {
        let took = took.expect("no panic");
        assert!(
            took <= FLOOR + 2 * LATENCY,
            "floor plus round trip, not {took:?}"
        );
    }
    while let Some(done) = flood.join_next().await {
        done.expect("no panic");
        assert!(verifier.try_verify(&known).is_ok(), "nothing is evicted");
    }
    let fetches = keys.calls() - began;
    assert!((2..=6).contains(&fetches), "{fetches} in ten seconds");
    for pause in keys.pauses(began) {
        assert!(pause >= FLOOR, "two fetches within {pause:?}");
    }
    assert_eq!(auth.health().keys[0].kids, ["a", "b"]);
}

#[tokio::test(start_paused = true)]
async fn a_flood_does_not_delay_the_schedule() {
    const INTERVAL: Duration = Duration::from_secs(10);
    let hour = Duration::from_secs(3600);
    let (_auth, keys, verifier) = Keys::with(|rules| {
        rules
            .rotation(RotationPolicy::default().interval(INTERVAL))
            // So that all but one of these fetches are the schedule's.
            .refresh(RefreshPolicy::for_keys().jitter(0.0).demand_floor(hour))
    })
    .await;
    let signer = key("junk");
    for _ in 0..10 {
        let mut flood = flood(&verifier, &signer);
        while let Some(done) = flood.join_next().await {
            done.expect("no panic");
        }
    }
    let pauses = keys.pauses(0);
    assert!((10..=12).contains(&pauses.len()), "{pauses:?}");
    for pause in pauses {
        assert!(pause <= INTERVAL, "{pause:?} without a refresh");
    }
}

#[test]
fn a_flood_grows_no_memory() {
    let runtime = tokio::runtime::Builder::new_current_thread()
        .enable_time()
        .start_paused(true)
        .build()
        .expect("a runtime");
    let (_auth, keys, verifier) =
        runtime.block_on(Keys::start(RotationPolicy::default(), Start::Wait));
    let signer = key("junk");
    let ten_thousand = || {
        runtime.block_on(async {
            let mut flood = flood(&verifier, &signer);
            while let Some(done) = flood.join_next().await {
                done.expect("no panic");
            }
        });
    };
    // What is kept once, such as each thread's own slots, is there before it is counted.
    ten_thousand();
    let calls = keys.calls();
    let counted = measure(ten_thousand);
    assert!(keys.calls() > calls);
    assert!(
        counted.bytes_current < 16 * 1024,
        "{} bytes are left of 10,000 tokens",
        counted.bytes_current
    );
    assert!(
        counted.bytes_max < 2 * 1024 * 1024,
        "{} bytes for 50 tasks",
        counted.bytes_max
    );
}

/// The same over HTTP, with times a tenth as long.
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_flood_costs_the_issuer_one_small_answer_per_floor() {
    const SHORT_FLOOR: Duration = Duration::from_millis(200);
    let issuer = TestIssuer::start().await.expect("up");
    let auth = Auth::start().await.expect("started");
    let rules = Verifier::builder(issuer.url())
        .audience("orders")
        .jwks_url(issuer.jwks_url())
        .unknown_key_wait(Duration::from_millis(100))
        .refresh(RefreshPolicy::for_keys().demand_floor(SHORT_FLOOR));
    let verifier = auth.verifier(rules).await.expect("a verifier");
    let known = issuer.mint(json!({"aud": "orders"}));
    let (began, before) = (Instant::now(), issuer.counts());
    let stop = Arc::new(AtomicBool::new(false));
    let tried = Arc::new(AtomicU64::new(0));
    let mut flood = JoinSet::new();
    for task in 0..50 {
        let (verifier, stop, tried) = (verifier.clone(), Arc::clone(&stop), Arc::clone(&tried));
        let token = move |n| junk(&key("junk"), format_args!("{task}-{n}"));
        flood.spawn(async move {
            for n in 0.. {
                if stop.load(Ordering::Relaxed) {
                    break;
                }
                tried.fetch_add(1, Ordering::Relaxed);
                let token = token(n);
                let patience = Duration::from_millis(5);
                if let Ok(verdict) = tokio::time::timeout(patience, verifier.verify(&token)).await {
                    assert!(is_undecided(&verdict) || is_unknown(&verdict));
                }
            }
        });
    }
    // While it goes on: known keys serve, and one that is rotated in is taken.
    for round in 0..3 {
        for _ in 0..40 {
            assert!(verifier.try_verify(&known).is_ok());
            tokio::time::sleep(Duration::from_millis(5)).await;
        }
        issuer.rotate();
        let good = issuer.mint(json!({"aud": "orders"}));
        let asked = issuer.counts().jwks;
        loop {
            let verdict = verifier.verify(&good).await;
            if verdict.is_ok() {
                break;
            }
            assert!(is_undecided(&verdict), "round {round}: {verdict:?}");
        }
        // The one that may have been on its way does not count.
        let asked = issuer.counts().jwks - asked;
        assert!(asked <= 2, "taken after {asked} more requests");
    }
    stop.store(true, Ordering::Relaxed);
    while let Some(done) = flood.join_next().await {
        done.expect("no panic");
    }
    let floors = began.elapsed().as_secs_f64() / SHORT_FLOOR.as_secs_f64();
    let tried = tried.load(Ordering::Relaxed);
    let after = issuer.counts();
    let requests = after.jwks - before.jwks;
    let unchanged = after.jwks_unchanged - before.jwks_unchanged;
    println!("{tried} random key ids, {requests} requests, {unchanged} of them answered with 304");
    assert!(tried > 1_000, "{tried} are no flood");
    assert!(requests >= 3 && requests as f64 <= floors + 1.0, "{floors}");
    assert_eq!(requests - unchanged, 3, "one whole answer for a rotation");
    assert_eq!(auth.health().keys[0].kids.len(), 4);
}

/// However many come at once, a thousand wait, and the rest are told at once.
#[tokio::test(start_paused = true)]
async fn at_most_a_thousand_wait_and_the_rest_are_undecided_at_once() {
    const MORE: usize = 300;
    let (_auth, keys, verifier) = Keys::start(RotationPolicy::default(), Start::Wait).await;
    let known = keys.token(&keys.first());
    // The floor lets no other fetch begin within the second that follows.
    assert!(is_unknown(&verifier.verify(&junk(&key("junk"), 0)).await));
    let (began, token) = (Instant::now(), junk(&key("junk"), 1));
    let mut requests = JoinSet::new();
    for _ in 0..1_000 + MORE {
        let (verifier, token) = (verifier.clone(), token.clone());
        requests.spawn(async move {
            let verdict = verifier.verify(&token).await;
            assert!(is_undecided(&verdict), "{verdict:?}");
            began.elapsed()
        });
    }
    let mut waited = Vec::new();
    while let Some(done) = requests.join_next().await {
        waited.push(done.expect("no panic"));
    }
    let at_once = waited.iter().filter(|waited| waited.is_zero()).count();
    let second = Duration::from_secs(1);
    let whole = waited.iter().filter(|&&waited| waited >= second).count();
    assert_eq!((at_once, whole), (MORE, 1_000));
    assert!(verifier.try_verify(&known).is_ok());
    // The seats are free again, of those too that went away before they had an answer.
    tokio::time::sleep(FLOOR).await;
    let waiting = verifier.verify(&token);
    assert!(
        tokio::time::timeout(Duration::from_millis(1), waiting)
            .await
            .is_err()
    );
    assert!(is_unknown(&verifier.verify(&junk(&key("junk"), 2)).await) || keys.calls() > 2);
}

/// Nor do more wait for the first keys.
#[tokio::test(start_paused = true)]
async fn at_most_a_thousand_wait_for_first_keys() {
    const MORE: usize = 300;
    let (_auth, keys, verifier) = Keys::start(RotationPolicy::default(), Start::Background).await;
    let token = keys.token(&keys.first());
    let mut requests = JoinSet::new();
    for _ in 0..1_000 + MORE {
        let (verifier, token) = (verifier.clone(), token.clone());
        requests.spawn(async move { verifier.verify(&token).await.map(drop) });
    }
    let verdicts = requests.join_all().await;
    assert_eq!(verdicts.iter().filter(|v| v.is_ok()).count(), 1_000);
    assert_eq!(verdicts.iter().filter(|v| is_undecided(v)).count(), MORE);
}

#[tokio::test(start_paused = true)]
async fn an_unknown_key_is_refused_only_by_a_fetch_that_began_after_the_token_came() {
    let (_auth, keys, verifier) = Keys::start(RotationPolicy::default(), Start::Wait).await;
    let token = keys.token(&key("never-listed"));
    assert!(
        is_undecided(&verifier.try_verify(&token)),
        "undecided without a fetch"
    );
    settle().await;
    let before = keys.calls();
    let verdict = verifier.verify(&token).await;
    // The fetch of the demand above may have begun before this call, and then does not count.
    assert!(is_undecided(&verdict) || is_unknown(&verdict));
    tokio::time::sleep(Duration::from_secs(5)).await;
    assert!(is_unknown(&verifier.verify(&token).await));
    assert!(keys.calls() > before);
    keys.fail(true);
    tokio::time::sleep(Duration::from_secs(5)).await;
    let began = Instant::now();
    let verdict = verifier.verify(&token).await;
    assert!(is_undecided(&verdict), "no fetch, no verdict: {verdict:?}");
    // Nobody waits for what has just failed, and everybody learns why.
    assert!(began.elapsed() <= 2 * LATENCY);
    let VerifyError::KeysUnavailable { cause, .. } = verdict.expect_err("undecided") else {
        unreachable!("undecided");
    };
    assert!(cause.is_some_and(|cause| cause.to_string().contains("down")));
}

#[tokio::test(start_paused = true)]
async fn who_waits_for_a_key_when_all_ends_is_told() {
    let (auth, keys, verifier) = Keys::start(RotationPolicy::default(), Start::Wait).await;
    let token = keys.token(&key("never-listed"));
    let began = Instant::now();
    let (verdict, ()) = tokio::join!(verifier.verify(&token), async {
        settle().await;
        auth.shutdown().await;
    });
    assert!(matches!(verdict, Err(VerifyError::Stopped)), "{verdict:?}");
    assert!(began.elapsed() < LATENCY);
}

/// A caller that goes away takes neither the fetch nor the others with it.
#[tokio::test(start_paused = true)]
async fn a_caller_that_gives_up_does_not_cancel_the_fetch() {
    let (_auth, keys, verifier) = Keys::start(RotationPolicy::default(), Start::Wait).await;
    let rotated = key("b");
    keys.list(&[keys.first(), Arc::clone(&rotated)]);
    let token = keys.token(&rotated);
    let impatient = tokio::time::timeout(LATENCY / 2, verifier.verify(&token));
    assert!(impatient.await.is_err());
    tokio::time::sleep(LATENCY).await;
    assert!(verifier.try_verify(&token).is_ok());
    assert_eq!(keys.calls(), 2);
}

/// T36: the keys come while those who wait for them are registering, on other threads.
#[tokio::test(flavor = "multi_thread", worker_threads = 4)]
async fn no_waiter_misses_the_key_it_waits_for() {
    const ROUNDS: usize = 200;
    let signers: Vec<_> = (0..ROUNDS).map(|n| key(&n.to_string())).collect();
    let listed = watch::Sender::new(vec![signers[0].jwk()]);
    let reader = listed.subscribe();
    let source = SourceFn::new(move |_| {
        let set = json!({"keys": *reader.borrow()}).to_string();
        async move { Ok(Fetched::new(KeySet::from_json(set.as_bytes())?)) }
    });
    let auth = Auth::start().await.expect("started");
    let rules = Verifier::builder(ISSUER)
        .any_audience()
        .key_source(source)
        // Long enough that whoever is told "undecided" was forgotten.
        .unknown_key_wait(Duration::from_secs(60))
        .refresh(RefreshPolicy::for_keys().demand_floor(Duration::from_millis(10)));
    let verifier = auth.verifier(rules).await.expect("a verifier");
    let claims = json!({"iss": ISSUER, "exp": 4_000_000_000_u64});
    for signer in &signers[1..] {
        let token: Arc<str> = signer.token(&claims).into();
        let waiters: Vec<_> = (0..8)
            .map(|_| {
                let (verifier, token) = (verifier.clone(), Arc::clone(&token));
                tokio::spawn(async move { verifier.verify(&token).await.map(drop) })
            })
            .collect();
        listed.send_modify(|keys| keys.push(signer.jwk()));
        for waiter in waiters {
            let verdict = waiter.await.expect("no panic");
            // A fetch that began before the key was listed may have said so in all honesty.
            assert!(
                matches!(verdict, Ok(()) | Err(VerifyError::UnknownKey)),
                "{verdict:?}"
            );
        }
        assert!(verifier.verify(&token).await.is_ok());
    }
}

/// T6, T8: what a token says of keys makes nobody ask for anything.
#[tokio::test]
async fn no_token_makes_a_request_of_its_own() {
    let (issuer, evil) = (
        TestIssuer::start().await.expect("up"),
        TestIssuer::start().await.expect("up"),
    );
    let auth = Auth::start().await.expect("started");
    let verifier = auth.verifier(hasty(&issuer)).await.expect("a verifier");
    let stranger = evil.signing_key();
    let claims = json!({"iss": issuer.url(), "aud": "orders", "exp": 4_000_000_000_u64});
    for (member, value) in [
        ("jku", json!(evil.jwks_url())),
        ("x5u", json!(evil.jwks_url())),
        ("kid", json!(evil.jwks_url())),
        ("kid", json!(format!("{}|{}", evil.url(), stranger.kid()))),
        ("iss", json!(evil.url())),
    ] {
        for kid in [Value::from(stranger.kid()), "unheard-of".into()] {
            let mut header = json!({"alg": "ES256", "kid": kid});
            header[member] = value.clone();
            let token = stranger.token_with_header(&header, &claims);
            let verdict = verifier.verify(&token).await;
            assert!(verdict.is_err(), "{header}");
        }
    }
    let foreign = evil.mint(json!({"aud": "orders"}));
    for _ in 0..20 {
        assert!(verifier.verify(&foreign).await.is_err());
    }
    let asked = evil.counts();
    assert_eq!((asked.discovery, asked.jwks), (0, 0));
    assert_eq!(stranger.algorithm(), Algorithm::ES256);
    eventually("the issuer's own", || issuer.counts().jwks > 1).await;
}
