//! What is served after a restart, and for how long: under virtual time, each process on a
//! machine of its own.

use std::collections::HashSet;
use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};
use std::time::{Duration, UNIX_EPOCH};

use midil_auth::event::{Actor, Cause, Change};
use midil_auth::jwks::{Algorithm, KeySet, RotationPolicy};
use midil_auth::oauth2::{AccessToken, Credential, TokenError};
use midil_auth::store::{Record, Store, StoreKey};
use midil_auth::testing::{SigningKey, SourceFn, TestClock};
use midil_auth::{FetchError, Fetched, RefreshPolicy, Source, Start, Verifier};
use serde_json::json;

use super::{Issuer, LIFETIME, Memory, boot, labels, secs, settle, start, told};

/// Runs a first process until its token is stored.
async fn first_run(store: &Arc<Memory>) {
    let (auth, _clock) = boot(Arc::clone(store), 0).await;
    let token = auth.token(Issuer::new("t").credential()).await;
    assert_eq!(
        token.expect("a token").current().expect("one").expose(),
        "t-1"
    );
    auth.shutdown().await;
    assert!(!store.records().is_empty(), "saved before the end");
}

#[tokio::test(start_paused = true)]
async fn a_token_is_served_at_once_with_the_life_it_has_left() {
    let store = Arc::new(Memory::default());
    first_run(&store).await;
    let (auth, clock) = boot(Arc::clone(&store), 1000).await;
    let mut events = auth.events();
    let issuer = Issuer::down("t");
    let token = auth
        .token(issuer.credential())
        .await
        .expect("from the store");
    let current = token.current().expect("served");
    assert_eq!(
        (current.expose(), current.granted_scope()),
        ("t-1", Some("all"))
    );
    let obtained = store.record().obtained_at();
    assert_eq!(current.issued_at(), obtained);
    assert_eq!(current.expires_at(), obtained + LIFETIME);
    assert_eq!(
        told(&mut events).await,
        ["restored t version=1 age=1000.0s"]
    );
    assert_eq!(issuer.calls(), 0, "it is not due yet");
    let left = token.status().usable_for.expect("usable");
    assert!(left > secs(2580) && left <= secs(2590), "{left:?}");

    // Past the refresh point it is asked for, and past its end it is over, by either clock.
    clock.advance(secs(1700)).await;
    settle().await;
    assert!(issuer.calls() > 0 && token.current().is_ok());
    clock.advance(left - secs(1700)).await;
    settle().await;
    let error = token.current().expect_err("over");
    assert!(
        matches!(error, TokenError::Expired { cause: Some(_), .. }),
        "{error:?}"
    );
    assert!(labels(&mut events).await.contains(&"expired".to_owned()));
}

#[tokio::test(start_paused = true)]
async fn either_clock_ends_a_restored_token() {
    for (suspended, stepped) in [(2590, 0), (0, 2590)] {
        let store = Arc::new(Memory::default());
        first_run(&store).await;
        let (auth, clock) = boot(Arc::clone(&store), 1000).await;
        let token = auth
            .token(Issuer::down("t").credential())
            .await
            .expect("a token");
        clock.suspend(secs(suspended));
        clock.step_wall(stepped);
        let error = token.current().expect_err("over");
        assert_eq!(error.as_str(), "expired", "{suspended} {stepped}");
    }
}

#[tokio::test(start_paused = true)]
async fn a_fleet_that_starts_from_the_store_does_not_refresh_as_one() {
    let store = Arc::new(Memory::default());
    first_run(&store).await;
    let mut points = HashSet::new();
    for seed in 0..60 {
        let clock = TestClock::virtual_time();
        clock.step_wall(1000);
        let auth = start(Arc::clone(&store), &clock, seed).await;
        let token = auth
            .token(Issuer::down("t").credential())
            .await
            .expect("a token");
        let next = token.status().next_fetch_in.expect("scheduled");
        // 65 % to 75 % of the life it had from the beginning.
        assert!(next > secs(1425) && next <= secs(1700), "{next:?}");
        points.insert(next.as_secs() / 10);
    }
    assert!(points.len() > 15, "{} distinct points", points.len());
}

#[tokio::test(start_paused = true)]
async fn a_token_past_its_refresh_point_is_served_while_a_fresh_one_is_fetched() {
    let store = Arc::new(Memory::default());
    first_run(&store).await;
    let (auth, _clock) = boot(Arc::clone(&store), 3000).await;
    let mut events = auth.events();
    let slow = SourceFn::new(async |_| {
        tokio::time::sleep(secs(1)).await;
        Ok(Fetched::new(
            AccessToken::bearer("fresh-1")?.expires_in(LIFETIME),
        ))
    });
    let token = auth
        .token(Credential::new("t", slow).stored_as("t"))
        .await
        .expect("a token");
    assert_eq!(token.current().expect("served").expose(), "t-1");
    let fresh = token.changes().next().await.expect("a change");
    assert_eq!(fresh.expose(), "fresh-1");
    assert_eq!(labels(&mut events).await, ["restored", "refreshed"]);
    assert_eq!(token.status().version, 2);
    let record = store.record();
    assert_eq!(
        record.obtained_at(),
        fresh.issued_at(),
        "and is stored in its place"
    );
}

#[tokio::test(start_paused = true)]
async fn what_is_of_no_use_is_ignored_and_said_so() {
    let none = |_: &Record| None;
    let times = |shift: i64| {
        move |record: &Record| {
            let shift = Duration::from_secs(shift.unsigned_abs());
            let times = [record.obtained_at(), record.expires_at()];
            let [obtained, expires] = times.map(|time| time + shift);
            let payload = record.payload().to_vec();
            Some(Record::new(record.version(), obtained, expires, payload))
        }
    };
    let payload = |change: fn(&mut Vec<u8>)| {
        move |record: &Record| {
            let mut payload = record.payload().to_vec();
            change(&mut payload);
            let (obtained, expires) = (record.obtained_at(), record.expires_at());
            Some(Record::new(record.version(), obtained, expires, payload))
        }
    };
    type Spoil = Box<dyn Fn(&Record) -> Option<Record>>;
    let cases: [(&str, u64, Spoil); 7] = [
        ("reason=expired", 3600, Box::new(none)),
        // Two seconds short of its end there is no time left to use it.
        ("reason=expired", 3598, Box::new(none)),
        ("reason=future", 1000, Box::new(times(1001))),
        (
            "reason=corrupt",
            1000,
            Box::new(payload(|bytes| bytes.truncate(bytes.len() - 1))),
        ),
        (
            "reason=corrupt",
            1000,
            Box::new(payload(|bytes| bytes.push(0))),
        ),
        (
            "reason=corrupt",
            1000,
            Box::new(payload(|bytes| *bytes.last_mut().expect("one") = 0xff)),
        ),
        (
            "reason=unknown_format",
            1000,
            Box::new(payload(|bytes| bytes[14] = b'9')),
        ),
    ];
    for (reason, after, spoil) in cases {
        let store = Arc::new(Memory::default());
        first_run(&store).await;
        for record in store.0.lock().values_mut() {
            if let Some(spoilt) = spoil(record) {
                *record = spoilt;
            }
        }
        let (auth, _clock) = boot(Arc::clone(&store), after).await;
        let mut events = auth.events();
        let token = auth
            .token(Issuer::new("n").source_as("t"))
            .await
            .expect("a token");
        assert_eq!(
            token.current().expect("fetched").expose(),
            "n-1",
            "{reason}"
        );
        let told = told(&mut events).await;
        assert_eq!(told[0], format!("store_ignored t {reason}"));
        assert!(told[1].starts_with("acquired t version=1 "), "{told:?}");
        assert_eq!(told.len(), 2);
        // What was of no use has made room.
        let kept = store.record();
        assert_eq!(
            kept.obtained_at(),
            token.current().expect("one").issued_at()
        );
    }
}

#[tokio::test(start_paused = true)]
async fn a_clock_that_was_set_back_costs_a_fetch_and_the_store_goes_on() {
    let store = Arc::new(Memory::default());
    let (auth, clock) = boot(Arc::clone(&store), 50_000).await;
    let token = auth
        .token(Issuer::new("t").credential())
        .await
        .expect("a token");
    settle().await;
    let mut versions = vec![store.record().version()];
    clock.step_wall(-10_000);
    token
        .renew(&token.current().expect("one"))
        .await
        .expect("another");
    settle().await;
    versions.push(store.record().version());
    let (next, _clock) = boot(Arc::clone(&store), 10).await;
    let mut events = next.events();
    let token = next
        .token(Issuer::new("t").credential())
        .await
        .expect("a token");
    assert_eq!(labels(&mut events).await, ["store_ignored", "acquired"]);
    let kept = store.record();
    assert_eq!(
        kept.obtained_at(),
        token.current().expect("one").issued_at()
    );
    versions.push(kept.version());
    assert!(versions.is_sorted_by(|a, b| a < b), "{versions:?}");
}

#[tokio::test(start_paused = true)]
async fn a_refused_token_does_not_come_back() {
    let store = Arc::new(Memory::default());
    first_run(&store).await;
    let (auth, clock) = boot(Arc::clone(&store), 1000).await;
    let issuer = Issuer::down("t");
    let token = auth
        .token(issuer.credential())
        .await
        .expect("from the store");
    let refused = token.current().expect("one");
    token.renew(&refused).await.expect_err("the issuer is down");
    settle().await;
    assert!(store.records().is_empty());
    // An issuer that has no other token to give does not bring it back either.
    for says_so in [false, true] {
        let same = SourceFn::new(move |n| async move {
            if says_so && n > 1 {
                return Ok(Fetched::unchanged());
            }
            let token = AccessToken::bearer("same")?;
            Ok(Fetched::new(token.expires_in(LIFETIME)))
        });
        let credential = Credential::new("s", same).stored_as("s");
        let token = auth.token(credential).await.expect("a token");
        settle().await;
        assert_eq!(store.records().len(), 1);
        clock.advance(secs(1)).await;
        let refused = token.current().expect("one");
        let error = token.renew(&refused).await.expect_err("the same");
        assert!(matches!(error, TokenError::SameToken), "{error:?}");
        settle().await;
        assert!(store.records().is_empty());
    }
}

#[tokio::test(start_paused = true)]
async fn a_refusal_removes_no_token_that_came_after() {
    let store = Arc::new(Memory::default());
    first_run(&store).await;
    let (ours, _clock) = boot(Arc::clone(&store), 1000).await;
    let (theirs, _clock) = boot(Arc::clone(&store), 1000).await;
    let down = ours
        .token(Issuer::down("t").credential())
        .await
        .expect("a token");
    let other = theirs
        .token(Issuer::new("u").source_as("t"))
        .await
        .expect("a token");
    let old = other.current().expect("one");
    let newer = other.renew(&old).await.expect("another");
    settle().await;
    down.renew(&old).await.expect_err("the issuer is down here");
    // The late news of an old token costs nothing either.
    assert!(
        other
            .renew(&old)
            .await
            .expect("there already")
            .is_same_token(&newer)
    );
    settle().await;
    assert_eq!(store.record().obtained_at(), newer.issued_at());
}

#[tokio::test(start_paused = true)]
async fn nobody_loads_what_nobody_asks_for() {
    let store = Arc::new(Memory::default());
    first_run(&store).await;
    let (auth, _clock) = boot(Arc::clone(&store), 1000).await;
    let mut events = auth.events();
    let issuer = Issuer::down("t");
    let lazy = auth
        .token(issuer.credential().start(Start::Lazy))
        .await
        .expect("lazy");
    assert_eq!(told(&mut events).await, [""; 0]);
    assert!(matches!(lazy.current(), Err(TokenError::NotReady)));
    settle().await;
    assert_eq!(lazy.current().expect("restored").expose(), "t-1");
    assert_eq!(issuer.calls(), 0);
    let background = issuer.credential().start(Start::Background);
    let token = auth.token(background).await.expect("in the background");
    assert_eq!(token.ready().await.expect("restored").expose(), "t-1");
    assert_eq!(labels(&mut events).await, ["restored", "restored"]);
}

#[tokio::test(start_paused = true)]
async fn a_source_without_a_name_to_be_stored_under_is_not_stored() {
    let store = Arc::new(Memory::default());
    let (auth, _clock) = boot(Arc::clone(&store), 0).await;
    let token = auth
        .token(Credential::new("t", Issuer::new("t").source()))
        .await;
    let rules = Verifier::builder(ISSUER)
        .any_audience()
        .key_source(Keys::new().source());
    let verifier = auth.verifier(rules).await;
    settle().await;
    assert!(token.is_ok() && verifier.is_ok());
    assert!(store.records().is_empty());
}

#[tokio::test(start_paused = true)]
async fn a_crash_of_the_actor_is_not_a_restart_of_the_process() {
    let store = Arc::new(Memory::default());
    first_run(&store).await;
    let (auth, clock) = boot(Arc::clone(&store), 1000).await;
    let mut events = auth.events();
    let issuer = Issuer::down("u");
    let token = auth
        .token(issuer.source_as("t"))
        .await
        .expect("from the store");
    auth.crash(Actor::TokenManager);
    while !labels(&mut events).await.contains(&"restarted".to_owned()) {
        assert_eq!(token.current().expect("all along").expose(), "t-1");
        tokio::time::sleep(Duration::from_millis(10)).await;
    }
    assert_eq!(token.status().version, 1);
    assert_eq!(issuer.calls(), 0);
    issuer.set_down(false);
    clock.advance(secs(1700)).await;
    assert_eq!(labels(&mut events).await, ["refreshed"], "and no load");

    // A crash while loading: the next incarnation asks again.
    let (auth, _clock) = boot(Arc::clone(&store), 3000).await;
    auth.crash(Actor::TokenManager);
    issuer.set_down(true);
    let calls = issuer.calls();
    let token = auth
        .token(issuer.source_as("t"))
        .await
        .expect("from the store");
    assert_eq!(token.current().expect("one").expose(), "u-1");
    assert_eq!(issuer.calls(), calls);
}

const ISSUER: &str = "https://idp.example.test";

/// An issuer's keys, which may be out of reach.
struct Keys {
    signer: Arc<SigningKey>,
    calls: Arc<AtomicU64>,
}

impl Keys {
    fn new() -> Self {
        Self {
            signer: Arc::new(SigningKey::generate(Algorithm::EdDSA, "a")),
            calls: Arc::default(),
        }
    }

    fn source(&self) -> impl Source<KeySet> + use<> {
        let set = json!({ "keys": [self.signer.jwk()] }).to_string();
        SourceFn::new(move |_| {
            let set = KeySet::from_json(set.as_bytes());
            async move { Ok(Fetched::new(set?)) }
        })
    }

    fn down(&self) -> impl Source<KeySet> + use<> {
        let calls = Arc::clone(&self.calls);
        SourceFn::new(move |_| {
            calls.fetch_add(1, Ordering::SeqCst);
            async { Err(FetchError::transient("the issuer is down")) }
        })
    }

    fn token(&self, clock: &TestClock) -> String {
        let now = clock.now().duration_since(UNIX_EPOCH).expect("after 1970");
        let exp = now.as_secs() + 3600;
        self.signer
            .token(&json!({"iss": ISSUER, "exp": exp, "sub": "ada"}))
    }
}

fn rules(source: impl Source<KeySet>) -> midil_auth::jwt::VerifierBuilder {
    Verifier::builder(ISSUER)
        .any_audience()
        .rotation(RotationPolicy::default().max_stale(LIFETIME))
        .refresh(RefreshPolicy::for_keys().retry(secs(1), secs(2)))
        .stored_key_source("keys", source)
}

#[tokio::test(start_paused = true)]
async fn keys_keep_their_age_however_often_the_process_restarts() {
    let store = Arc::new(Memory::default());
    let keys = Keys::new();
    let (auth, clock) = boot(Arc::clone(&store), 0).await;
    let verifier = auth
        .verifier(rules(keys.source()))
        .await
        .expect("a verifier");
    verifier
        .verify(&keys.token(&clock))
        .await
        .expect("accepted");
    auth.shutdown().await;
    let kept = store.record();
    for after in [100, 300, 900, 1800, 1801, 2700, 3500] {
        let (auth, clock) = boot(Arc::clone(&store), after).await;
        let verifier = auth
            .verifier(rules(keys.down()))
            .await
            .expect("from the store");
        verifier
            .verify(&keys.token(&clock))
            .await
            .expect("accepted");
        let calls = keys.calls.load(Ordering::SeqCst);
        let age = auth.health().keys[0].age.expect("a set");
        assert!(
            age >= secs(after) && age < secs(after + 1),
            "{after}: {age:?}"
        );
        // What may be out of date is soon asked for, if in vain.
        tokio::time::sleep(secs(2)).await;
        settle().await;
        assert!(keys.calls.load(Ordering::SeqCst) > calls, "{after}");
        // However long it goes on: to the end of the hour since the keys were confirmed.
        clock.advance(secs(3600 - 5 - after)).await;
        settle().await;
        verifier
            .verify(&keys.token(&clock))
            .await
            .expect("still trusted");
        clock.advance(secs(5)).await;
        settle().await;
        let error = verifier
            .verify(&keys.token(&clock))
            .await
            .expect_err("too old");
        assert_eq!(error.as_str(), "keys_unavailable", "{after}");
        auth.shutdown().await;
        assert_eq!(store.record(), kept, "only a fetch makes it younger");
    }
    let (auth, _clock) = boot(Arc::clone(&store), 3600).await;
    let mut events = auth.events();
    let refused = rules(keys.down()).start(Start::Background);
    let verifier = auth.verifier(refused).await.expect("in the background");
    assert_eq!(labels(&mut events).await[0], "store_ignored");
    assert_eq!(
        verifier.ready().await.expect_err("none").as_str(),
        "keys_unavailable"
    );
}

#[tokio::test(start_paused = true)]
async fn a_shorter_max_stale_counts_at_once_and_a_longer_one_from_the_next_fetch_on() {
    let store = Arc::new(Memory::default());
    let keys = Keys::new();
    let (auth, _clock) = boot(Arc::clone(&store), 0).await;
    auth.verifier(rules(keys.source()))
        .await
        .expect("a verifier");
    auth.shutdown().await;
    let restart = async |after: u64, max_stale: u64| {
        let (auth, _clock) = boot(Arc::clone(&store), after).await;
        let policy = RotationPolicy::default().max_stale(secs(max_stale));
        let rules = rules(keys.down()).rotation(policy).start(Start::Background);
        let mut events = auth.events();
        let _verifier = auth.verifier(rules).await.expect("in the background");
        labels(&mut events).await.remove(0)
    };
    assert_eq!(restart(1000, 1001).await, "restored");
    assert_eq!(restart(1001, 1000).await, "store_ignored");
    assert_eq!(restart(3601, 7200).await, "store_ignored");
}

#[tokio::test(start_paused = true)]
async fn a_confirmed_set_is_as_young_as_its_confirmation() {
    let store = Arc::new(Memory::default());
    let keys = Keys::new();
    let set = json!({ "keys": [keys.signer.jwk()] }).to_string();
    let source = SourceFn::new(move |n| {
        let set = KeySet::from_json(set.as_bytes());
        async move {
            match n {
                1 => Ok(Fetched::new(set?)),
                _ => Ok(Fetched::unchanged()),
            }
        }
    });
    let (auth, clock) = boot(Arc::clone(&store), 0).await;
    let _verifier = auth.verifier(rules(source)).await.expect("a verifier");
    settle().await;
    let mut kept = store.record();
    for _ in 0..4 {
        clock.advance(secs(300)).await;
        settle().await;
        let confirmed = store.record();
        assert!(confirmed.obtained_at() > kept.obtained_at());
        assert_eq!(confirmed.payload(), kept.payload());
        kept = confirmed;
    }
    auth.shutdown().await;
    let (auth, clock) = boot(Arc::clone(&store), 4500).await;
    let verifier = auth
        .verifier(rules(keys.down()))
        .await
        .expect("from the store");
    verifier
        .verify(&keys.token(&clock))
        .await
        .expect("accepted");
}

#[tokio::test(start_paused = true)]
async fn keys_that_their_issuer_took_back_do_not_come_back() {
    let keys = Keys::new();
    let set = json!({ "keys": [keys.signer.jwk()] }).to_string();
    for (obeyed, restarts) in [
        // From the first empty set at some 300 s on.
        (
            Some(600),
            [(400, "restored"), (860, "restored"), (901, "store_ignored")],
        ),
        (
            Some(0),
            [
                (301, "store_ignored"),
                (400, "store_ignored"),
                (900, "store_ignored"),
            ],
        ),
        (
            None,
            [
                (400, "restored"),
                (901, "restored"),
                (3601, "store_ignored"),
            ],
        ),
    ] {
        let store = Arc::new(Memory::default());
        let policy = RotationPolicy::new().max_stale(LIFETIME);
        let policy = match obeyed {
            Some(after) => policy.obey_empty_after(secs(after)),
            None => policy,
        };
        let (auth, clock) = boot(Arc::clone(&store), 0).await;
        let set = set.clone();
        let emptied = SourceFn::new(move |n| {
            let set = KeySet::from_json(if n == 1 {
                set.as_bytes()
            } else {
                br#"{"keys":[]}"#
            });
            async move { Ok(Fetched::new(set?)) }
        });
        let rules_of_keys = rules(emptied).rotation(policy);
        let _verifier = auth.verifier(rules_of_keys).await.expect("a verifier");
        for _ in 0..30 {
            clock.advance(secs(10)).await;
            settle().await;
        }
        auth.shutdown().await;
        for (after, expected) in restarts {
            let (auth, clock) = boot(Arc::clone(&store), after).await;
            let mut events = auth.events();
            let background = rules(keys.down()).rotation(policy).start(Start::Background);
            let verifier = auth.verifier(background).await.expect("in the background");
            let told = labels(&mut events).await;
            assert_eq!(told[0], expected, "{obeyed:?} {after}");
            if let (Some(600), "restored") = (obeyed, expected) {
                verifier
                    .try_verify(&keys.token(&clock))
                    .expect("until then");
                clock.advance(secs(901 - after)).await;
                settle().await;
                let error = verifier.try_verify(&keys.token(&clock)).expect_err("over");
                assert_eq!(error.as_str(), "keys_unavailable");
            }
            auth.shutdown().await;
        }
    }
}

#[tokio::test(start_paused = true)]
async fn restored_keys_do_not_decide_against_a_key_they_do_not_know() {
    let store = Arc::new(Memory::default());
    let (old, new) = (Keys::new(), SigningKey::generate(Algorithm::EdDSA, "b"));
    let (auth, _clock) = boot(Arc::clone(&store), 0).await;
    auth.verifier(rules(old.source()))
        .await
        .expect("a verifier");
    auth.shutdown().await;
    let (auth, clock) = boot(Arc::clone(&store), 30).await;
    let mut events = auth.events();
    let set = json!({ "keys": [new.jwk()] }).to_string();
    let rotated = SourceFn::new(move |_| {
        let set = KeySet::from_json(set.as_bytes());
        async move { Ok(Fetched::new(set?)) }
    });
    let verifier = auth.verifier(rules(rotated)).await.expect("from the store");
    let now = clock.now().duration_since(UNIX_EPOCH).expect("after 1970");
    let token = new.token(&json!({"iss": ISSUER, "exp": now.as_secs() + 60}));
    verifier.verify(&token).await.expect("fetched for it");
    let gone = verifier
        .verify(&old.token(&clock))
        .await
        .expect_err("rotated out");
    assert_eq!(gone.as_str(), "unknown_key");
    let told = told(&mut events).await;
    assert!(told[0].starts_with("restored"), "{told:?}");
    assert!(
        told[1].ends_with("version=2 added=[b] removed=[a]"),
        "{told:?}"
    );
}

#[tokio::test(start_paused = true)]
async fn a_fetch_that_follows_a_load_has_the_cause_of_the_load() {
    for (start, expected) in [(Start::Lazy, Cause::Demand), (Start::Wait, Cause::Schedule)] {
        let (auth, _clock) = boot(Memory::default(), 0).await;
        let mut events = auth.events();
        let rules = rules(Keys::new().source()).start(start);
        let verifier = auth.verifier(rules).await.expect("a verifier");
        verifier.ready().await.expect("keys");
        let event = events.recv().await.expect("told");
        let Change::Rotated { cause, .. } = event.change else {
            panic!("{event}");
        };
        assert_eq!(cause, expected);
    }
}

#[tokio::test(start_paused = true)]
async fn a_stored_set_is_read_as_strictly_as_one_from_its_issuer() {
    let store = Arc::new(Memory::default());
    let keys = Keys::new();
    let (auth, _clock) = boot(Arc::clone(&store), 0).await;
    auth.verifier(rules(keys.source()))
        .await
        .expect("a verifier");
    auth.shutdown().await;
    let kept = store.record();
    let json = json!({"keys": [keys.signer.jwk()]}).to_string();
    let weak = json!({"keys": [{"kty": "oct", "kid": "a", "k": "AAAA"}]}).to_string();
    let head = kept.payload().len() - json.len() - 8;
    let length = u64::try_from(weak.len()).expect("small").to_be_bytes();
    let payload = [&kept.payload()[..head], &length, weak.as_bytes()].concat();
    let spoilt = Record::new(
        kept.version(),
        kept.obtained_at(),
        kept.expires_at(),
        payload,
    );
    let key: StoreKey = store.0.lock().keys().next().expect("one").clone();
    store.save(&key, spoilt).await.expect("saved");
    let (auth, _clock) = boot(Arc::clone(&store), 30).await;
    let mut events = auth.events();
    auth.verifier(rules(keys.source())).await.expect("fetched");
    assert_eq!(
        told(&mut events).await[0],
        "store_ignored https://idp.example.test reason=corrupt"
    );
}

#[tokio::test(start_paused = true)]
async fn hours_of_restarts_never_serves_a_token_beyond_its_end() {
    // The issuer comes and goes; the process restarts every few minutes; the seed names the run.
    for seed in 0..4 {
        let mut rng = fastrand::Rng::with_seed(seed);
        let store = Arc::new(Memory::default());
        let issuer = Issuer::new("t");
        let mut after = 0;
        let mut ends = None;
        for _ in 0..40 {
            issuer.set_down(rng.bool());
            let (auth, clock) = boot(Arc::clone(&store), after).await;
            let background = issuer.credential().start(Start::Background);
            let token = auth.token(background).await.expect("registered");
            settle().await;
            for _ in 0..4 {
                match (token.current(), ends) {
                    (Ok(token), _) => {
                        assert!(token.expires_at() > clock.now(), "seed {seed}");
                        ends = ends.max(Some(token.expires_at()));
                    }
                    // Down, and nothing that was ever issued is good any more.
                    (Err(_), Some(end)) => {
                        assert!(
                            clock.now() + secs(10) >= end,
                            "seed {seed}: lost a good token"
                        );
                    }
                    (Err(_), None) => {}
                }
                let pause = rng.u64(1..400);
                clock.advance(secs(pause)).await;
                settle().await;
                after += pause;
            }
            auth.shutdown().await;
            after += rng.u64(0..30);
        }
        assert!(after > 20_000 && issuer.calls() > 10, "seed {seed}");
    }
}
