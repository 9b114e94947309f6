//! T24, T25: keys that come, go and change, and whose they are.

use std::sync::Arc;
use std::time::Duration;

use midil_auth::event::{Actor, Change};
use midil_auth::jwks::{KeySet, RotationPolicy};
use midil_auth::jwt::VerifyError;
use midil_auth::testing::{SigningKey, SourceFn, TestClock, TestIssuer};
use midil_auth::{Auth, FetchError, Fetched, RefreshPolicy, Start, Verifier};
use parking_lot::Mutex;
use proptest::prelude::*;
use proptest::test_runner::{Config, TestRunner};
use serde_json::{Value, json};
use tokio::sync::watch;
use tokio::time::Instant;

use super::{ISSUER, Keys, is_undecided, is_unknown, key};

#[tokio::test(start_paused = true)]
async fn a_removed_key_is_refused_from_the_next_refresh_on() {
    let (auth, keys, verifier) = Keys::start(RotationPolicy::default(), Start::Wait).await;
    let mut events = auth.events();
    let old = keys.token(&keys.first());
    assert!(verifier.try_verify(&old).is_ok());
    keys.list(&[key("b")]);
    keys.clock.advance(Duration::from_secs(301)).await;
    tokio::time::sleep(Duration::from_millis(50)).await;
    assert!(is_undecided(&verifier.try_verify(&old)));
    tokio::time::sleep(Duration::from_secs(3)).await;
    assert!(is_unknown(&verifier.verify(&old).await));
    let event = events.recv().await.expect("an event");
    let Change::Rotated {
        added,
        removed,
        replaced,
        ..
    } = &event.change
    else {
        unreachable!("a rotation, not {event}");
    };
    assert_eq!(
        (&added[..], &removed[..], replaced.len()),
        (&["b".into()][..], &["a".into()][..], 0)
    );
}

#[tokio::test(start_paused = true)]
async fn a_token_without_a_kid_survives_a_rotation_too() {
    let (_auth, keys, verifier) = Keys::start(RotationPolicy::default(), Start::Wait).await;
    let (old, new) = (keys.first(), key("b"));
    let anonymous = |key: &SigningKey| {
        let claims = json!({"iss": ISSUER, "aud": "orders", "exp": 4_000_000_000_u64});
        key.token_with_header(&json!({"alg": "EdDSA"}), &claims)
    };
    assert!(verifier.verify(&anonymous(&old)).await.is_ok());
    keys.list(&[Arc::clone(&new)]);
    assert!(
        verifier.verify(&anonymous(&new)).await.is_ok(),
        "fetched when it was needed"
    );
    assert_eq!(keys.calls(), 2);
    tokio::time::sleep(Duration::from_secs(3)).await;
    assert!(matches!(
        verifier.verify(&anonymous(&old)).await,
        Err(VerifyError::Signature)
    ));
}

#[tokio::test(start_paused = true)]
async fn new_material_under_an_old_kid_replaces_the_old() {
    let (auth, keys, verifier) = Keys::start(RotationPolicy::default(), Start::Wait).await;
    let mut events = auth.events();
    let (old, new) = (keys.first(), key("a"));
    keys.list(&[Arc::clone(&new)]);
    keys.clock.advance(Duration::from_secs(301)).await;
    tokio::time::sleep(Duration::from_millis(50)).await;
    assert!(matches!(
        verifier.try_verify(&keys.token(&old)),
        Err(VerifyError::Signature)
    ));
    assert!(verifier.try_verify(&keys.token(&new)).is_ok());
    let event = events.recv().await.expect("an event");
    assert!(
        matches!(&event.change, Change::Rotated { replaced, .. } if *replaced == ["a"]),
        "{event}"
    );
}

#[tokio::test(start_paused = true)]
async fn a_crashed_jwks_actor_is_back_without_a_fetch_or_a_refusal() {
    let (auth, keys, verifier) = Keys::start(RotationPolicy::default(), Start::Wait).await;
    let token = keys.token(&keys.first());
    let calls = keys.calls();
    auth.crash(Actor::Jwks);
    for _ in 0..200 {
        assert!(verifier.try_verify(&token).is_ok());
        tokio::time::sleep(Duration::from_millis(1)).await;
    }
    assert_eq!(keys.calls(), calls);
    let rotated = key("b");
    keys.list(&[Arc::clone(&rotated)]);
    assert!(
        verifier.verify(&keys.token(&rotated)).await.is_ok(),
        "and works"
    );
}

#[tokio::test]
async fn keys_of_one_issuer_never_verify_tokens_of_another() {
    let (good, evil) = (
        TestIssuer::start().await.expect("up"),
        TestIssuer::start().await.expect("up"),
    );
    let auth = Auth::start().await.expect("started");
    let verifier = auth
        .verifier(Verifier::builder(good.url()).audience("orders"))
        .await
        .expect("a verifier");
    let _other = auth
        .verifier(Verifier::builder(evil.url()).audience("orders"))
        .await
        .expect("a verifier");
    assert!(
        verifier
            .verify(&good.mint(json!({"aud": "orders"})))
            .await
            .is_ok()
    );
    let forged = evil.mint(json!({"aud": "orders", "iss": good.url()}));
    assert!(matches!(
        verifier.verify(&forged).await,
        Err(VerifyError::Signature)
    ));
    let foreign = good.mint(json!({"aud": "orders", "iss": evil.url()}));
    assert!(matches!(
        verifier.verify(&foreign).await,
        Err(VerifyError::Issuer)
    ));
    let by_another_key = good.mint_forged(json!({"aud": "orders"}));
    assert!(matches!(
        verifier.verify(&by_another_key).await,
        Err(VerifyError::Signature)
    ));
    let expired = good.mint_expired(json!({"aud": "orders"}));
    assert!(matches!(
        verifier.verify(&expired).await,
        Err(VerifyError::Expired)
    ));
}

/// However fast keys change, each set that comes into service is told once, in order.
#[tokio::test(start_paused = true)]
async fn every_rotation_is_one_event_with_the_next_version() {
    let (auth, keys, verifier) = Keys::start(RotationPolicy::default(), Start::Wait).await;
    let mut events = auth.events();
    let mut listed = vec![keys.first()];
    for n in 0..30 {
        listed.push(key(&format!("r{n}")));
        if n % 3 == 0 {
            listed.remove(0);
        }
        keys.list(&listed);
        let newest = listed.last().expect("a key");
        tokio::time::sleep(Duration::from_secs(2)).await;
        assert!(verifier.verify(&keys.token(newest)).await.is_ok());
    }
    let mut versions = Vec::new();
    let (mut added, mut removed) = (0, 0);
    while let Ok(Ok(event)) = tokio::time::timeout(Duration::ZERO, events.recv()).await {
        if let Change::Rotated {
            version,
            added: new,
            removed: old,
            replaced,
            ..
        } = event.change
        {
            versions.push(version);
            added += new.len();
            removed += old.len();
            assert!(replaced.is_empty());
        }
    }
    assert_eq!(versions, (2..=31).collect::<Vec<_>>());
    assert_eq!((added, removed), (30, 10));
}

/// Rotations are told by what a key is and may be used for, whatever order they are listed in.
#[tokio::test(start_paused = true)]
async fn an_event_tells_exactly_what_differs() {
    let [a, other_a, b, c, d] = ["a", "a", "b", "c", "d"].map(|kid| key(kid).jwk());
    let mut a_with_more = a.clone();
    a_with_more["x5t"] = json!("AAAA");
    let without = |jwk: &Value, member: &str| {
        let mut jwk = jwk.clone();
        jwk.as_object_mut().expect("an object").remove(member);
        jwk
    };
    let odd = json!({"kty": "oct", "kid": "odd"});
    let (free_b, nameless_c) = (without(&b, "alg"), without(&c, "kid"));
    let (a2, nameless_d) = (&other_a, without(&d, "kid"));
    type Told<'a> = Option<[&'a [&'a str]; 4]>;
    // Listed, and what is told: added, removed, replaced, skipped.
    let steps: [(Vec<&Value>, Told<'_>); 13] = [
        (vec![&a, &b], Some([&["a", "b"], &[], &[], &[]])),
        (vec![&b, &a], None),
        (vec![&a, &a, &b, &b], None),
        (vec![&a_with_more, &b], None),
        (vec![a2, &b], Some([&[], &[], &["a"], &[]])),
        (vec![a2, &free_b], Some([&[], &[], &["b"], &[]])),
        (vec![a2, &c], Some([&["c"], &["b"], &[], &[]])),
        (
            vec![a2, &c, &odd],
            Some([&[], &[], &[], &["odd: symmetric"]]),
        ),
        (vec![&odd, &c, a2], None),
        (vec![&c, a2], Some([&[], &[], &[], &[]])),
        (vec![a2, &nameless_c], Some([&["-"], &["c"], &[], &[]])),
        (vec![a2, &nameless_d], Some([&[], &[], &["-"], &[]])),
        // Two under one id: what is there changes, and then the id goes.
        (vec![a2, &a, &nameless_d], Some([&[], &[], &["a"], &[]])),
    ];
    let clock = TestClock::virtual_time();
    let auth = Auth::builder().clock(clock.clock()).start().await;
    let auth = auth.expect("started");
    let mut events = auth.events();
    let listed = watch::Sender::new(Vec::<Value>::new());
    let reader = listed.subscribe();
    let source = SourceFn::new(move |_| {
        let set = json!({"keys": *reader.borrow()}).to_string();
        async move { Ok(Fetched::new(KeySet::from_json(set.as_bytes())?)) }
    });
    let rules = Verifier::builder(ISSUER)
        .any_audience()
        .key_source(source)
        .start(Start::Lazy);
    let verifier = auth.verifier(rules).await.expect("a verifier");
    let mut told = Vec::new();
    for (step, (keys, expected)) in steps.into_iter().enumerate() {
        listed.send_replace(keys.into_iter().cloned().collect());
        if step == 0 {
            verifier.ready().await.expect("keys");
        }
        tokio::time::sleep(Duration::from_secs(301)).await;
        while let Ok(Ok(event)) = tokio::time::timeout(Duration::ZERO, events.recv()).await {
            if let Change::Rotated {
                added,
                removed,
                replaced,
                skipped,
                ..
            } = event.change
            {
                told.push([added, removed, replaced, skipped]);
            }
        }
        let expected: Vec<_> = expected.into_iter().collect();
        assert_eq!(told, expected, "step {step}");
        told.clear();
    }
}

/// What the issuer does next, and for how long.
#[derive(Clone, Copy, Debug)]
enum Turn {
    /// Lists the key of that number alone.
    List(usize),
    Fail,
    /// Never answers.
    Hang,
}

fn turns() -> impl Strategy<Value = Vec<(Turn, u64)>> {
    let turn = prop_oneof![
        3 => (0..4_usize).prop_map(Turn::List),
        2 => Just(Turn::Fail),
        1 => Just(Turn::Hang),
    ];
    prop::collection::vec((turn, 1..4_000_u64), 1..12)
}

/// From whatever the issuer does: the keys in service are those of the last good answer while
/// that is young enough, and else there are none.
#[test]
fn the_set_in_service_is_the_last_good_one_or_none() {
    const MAX_STALE: Duration = Duration::from_secs(3600);
    let signers: [Arc<SigningKey>; 4] = std::array::from_fn(|n| key(&n.to_string()));
    let claims = json!({"iss": ISSUER, "exp": 4_000_000_000_u64});
    let tokens = signers.each_ref().map(|signer| signer.token(&claims));
    let config = Config {
        cases: 96,
        failure_persistence: None,
        ..Config::default()
    };
    let play = |turns: Vec<(Turn, u64)>| async {
        let clock = TestClock::virtual_time();
        let auth = Auth::builder().clock(clock.clock()).start().await;
        let auth = auth.expect("started");
        let turn = Arc::new(Mutex::new(Turn::List(0)));
        // The last good answer: when it was asked for, and its key.
        let answered = Arc::new(Mutex::new((Instant::now(), 0)));
        let (now, noted) = (Arc::clone(&turn), Arc::clone(&answered));
        let jwks = signers.each_ref().map(|signer| signer.jwk());
        let source = SourceFn::new(move |_| {
            let (turn, asked) = (*now.lock(), Instant::now());
            let answer = match turn {
                Turn::List(listed) => {
                    *noted.lock() = (asked, listed);
                    let set = json!({"keys": [jwks[listed]]}).to_string();
                    KeySet::from_json(set.as_bytes()).map(Fetched::new)
                }
                _ => Err(FetchError::transient("down")),
            };
            async move {
                if let Turn::Hang = turn {
                    std::future::pending::<()>().await;
                }
                answer
            }
        });
        let rules = Verifier::builder(ISSUER)
            .any_audience()
            .key_source(source)
            .rotation(RotationPolicy::default().max_stale(MAX_STALE))
            .refresh(RefreshPolicy::for_keys());
        let verifier = auth.verifier(rules).await.expect("a verifier");
        let mut closed = false;
        for (next, seconds) in turns {
            *turn.lock() = next;
            tokio::time::sleep(Duration::from_secs(seconds)).await;
            tokio::time::sleep(Duration::from_millis(1)).await;
            let (asked, listed) = *answered.lock();
            let usable = asked.elapsed() < MAX_STALE;
            closed |= !usable;
            for (n, token) in tokens.iter().enumerate() {
                let verdict = verifier.try_verify(token);
                if usable && n == listed {
                    prop_assert!(verdict.is_ok(), "{:?} {:?}", next, verdict);
                } else {
                    prop_assert!(is_undecided(&verdict), "{:?} {:?}", next, verdict);
                }
            }
        }
        Ok(closed)
    };
    let closed = std::cell::Cell::new(0);
    TestRunner::new(config)
        .run(&turns(), |turns| {
            let runtime = tokio::runtime::Builder::new_current_thread()
                .enable_time()
                .start_paused(true)
                .build()
                .expect("a runtime");
            closed.set(closed.get() + u32::from(runtime.block_on(play(turns))?));
            Ok(())
        })
        .expect("the model and the verifier agree");
    assert!(
        closed.get() > 5,
        "max_stale was reached {} times",
        closed.get()
    );
}

/// An issuer's own text does not get to write the log.
#[tokio::test(start_paused = true)]
async fn a_hostile_key_id_is_shown_briefly_and_printably() {
    let (auth, keys, _verifier) = Keys::start(RotationPolicy::default(), Start::Wait).await;
    let mut events = auth.events();
    let hostile = format!("a\nforged \u{1b}[31m{}", "x".repeat(100_000));
    keys.list(&[keys.first(), key(&hostile)]);
    tokio::time::sleep(Duration::from_secs(301)).await;
    let shown = events.recv().await.expect("an event").to_string();
    assert!(shown.len() < 1_000 && !shown.contains(char::is_control));
}
