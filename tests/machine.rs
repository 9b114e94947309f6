//! The refresh machine under virtual time: scripted sources, hours in milliseconds.

#![expect(
    clippy::expect_used,
    reason = "a test that cannot be set up has failed"
)]

use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};
use std::time::Duration;

use midil_auth::event::{Actor, Change, EventsError};
use midil_auth::oauth2::{AccessToken, Credential, TokenError};
use midil_auth::testing::{SourceFn, TestClock};
use midil_auth::{Auth, Events, FetchError, Fetched, RefreshPolicy, Start};
use tracing::Instrument;
use tracing_subscriber::layer::SubscriberExt;

const LIFETIME: Duration = Duration::from_secs(3600);

async fn start() -> (Auth, TestClock) {
    let clock = TestClock::virtual_time();
    let auth = Auth::builder()
        .clock(clock.clock())
        .seed(7)
        .start()
        .await
        .expect("started");
    (auth, clock)
}

fn issue(n: u64, lifetime: Duration) -> Result<Fetched<AccessToken>, FetchError> {
    Ok(Fetched::new(
        AccessToken::bearer(format!("token-{n}"))?.expires_in(lifetime),
    ))
}

/// Lets tasks run without the clock moving on by itself.
async fn settle() {
    for _ in 0..50 {
        tokio::task::yield_now().await;
    }
}

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
async fn a_panicking_source_is_a_failure_like_any_other() {
    let (auth, _clock) = start().await;
    let source = SourceFn::new(async |n| match n {
        1..=3 => panic!("provider bug"),
        n => issue(n, LIFETIME),
    });
    let token = auth
        .token(Credential::new("t", source))
        .await
        .expect("a token in the end");
    assert_eq!(token.current().expect("a token").expose(), "token-4");
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

#[tokio::test(start_paused = true)]
async fn dropping_the_last_handle_retires_the_credential() {
    let (auth, clock) = start().await;
    let source = SourceFn::new(async |n| issue(n, Duration::from_secs(60)));
    let calls = source.calls();
    let token = auth
        .token(Credential::new("t", source))
        .await
        .expect("a token");
    let clone = token.clone();
    drop(token);
    assert_eq!(auth.health().tokens.len(), 1);
    drop(clone);
    settle().await;
    assert_eq!(auth.health().tokens.len(), 0);
    clock.advance(Duration::from_secs(600)).await;
    settle().await;
    assert_eq!(
        calls.load(Ordering::SeqCst),
        1,
        "nobody pays for what nobody reads"
    );
}

#[tokio::test(start_paused = true)]
async fn the_tree_stops_with_the_last_thing_that_uses_it() {
    let (auth, clock) = start().await;
    let tasks = tokio::runtime::Handle::current().metrics();
    let source = SourceFn::new(async |n| issue(n, LIFETIME));
    let token = auth
        .token(Credential::new("t", source))
        .await
        .expect("a token");
    let mut events = auth.events();
    drop(auth);
    clock.advance(Duration::from_secs(3000)).await;
    settle().await;
    assert!(token.current().is_ok(), "a handle keeps the tree");
    drop(token);
    clock.advance(Duration::from_millis(100)).await;
    settle().await;
    assert_eq!(
        tasks.num_alive_tasks(),
        0,
        "nothing outlives the last handle"
    );
    while events.recv().await.is_ok() {}
}

#[tokio::test(start_paused = true)]
async fn shutdown_is_idempotent_and_handles_say_so() {
    let (auth, _clock) = start().await;
    let hanging = SourceFn::new(async |_| std::future::pending().await);
    let pending = auth
        .token(Credential::new("hung", hanging).start(Start::Background))
        .await
        .expect("in the background");
    let waiting = tokio::spawn({
        let pending = pending.clone();
        async move { pending.ready().await }
    });
    settle().await;
    tokio::join!(auth.shutdown(), auth.shutdown());
    auth.shutdown().await;
    assert!(matches!(pending.current(), Err(TokenError::Stopped)));
    assert!(matches!(
        waiting.await.expect("no panic"),
        Err(TokenError::Stopped)
    ));
    assert!(!auth.health().live);
    let late = SourceFn::new(async |n| issue(n, LIFETIME));
    assert!(auth.token(Credential::new("late", late)).await.is_err());
    settle().await;
    assert_eq!(
        tokio::runtime::Handle::current()
            .metrics()
            .num_alive_tasks(),
        0
    );
}

#[test]
fn a_handle_whose_runtime_is_gone_says_so() {
    let runtime = || {
        tokio::runtime::Builder::new_current_thread()
            .enable_all()
            .build()
            .expect("a runtime")
    };
    let first = runtime();
    let token = first.block_on(async {
        let auth = Auth::start().await.expect("started");
        let source = SourceFn::new(async |n| issue(n, LIFETIME));
        auth.token(Credential::new("t", source))
            .await
            .expect("a token")
    });
    assert!(token.current().is_ok());
    drop(first);
    assert!(matches!(token.current(), Err(TokenError::Stopped)));
    let ready = runtime().block_on(async {
        tokio::time::timeout(Duration::from_secs(5), token.ready())
            .await
            .expect("no hang")
    });
    assert!(matches!(ready, Err(TokenError::Stopped)));
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

/// What subscribers have been told so far.
async fn told(events: &mut Events) -> Vec<&'static str> {
    let mut told = Vec::new();
    while let Ok(Ok(event)) = tokio::time::timeout(Duration::ZERO, events.recv()).await {
        told.push(event.change.as_str());
    }
    told
}

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

#[tokio::test(start_paused = true)]
async fn clocks_that_step_or_sleep_never_yield_a_dead_token() {
    let (auth, clock) = start().await;
    let source = SourceFn::new(async |n| issue(n, LIFETIME));
    let calls = source.calls();
    let token = auth
        .token(Credential::new("t", source))
        .await
        .expect("a token");
    clock.suspend(Duration::from_secs(7200));
    assert!(
        matches!(token.current(), Err(TokenError::Expired { .. })),
        "dead after the sleep"
    );
    settle().await;
    assert_eq!(
        token
            .current()
            .expect("refreshed on the first read")
            .expose(),
        "token-2"
    );
    clock.step_wall(3600);
    assert!(token.current().is_err(), "the wall clock says it is over");
    token.ready().await.expect("another");
    clock.step_wall(-7200);
    assert!(token.current().is_ok());
    clock.advance(Duration::from_secs(3595)).await;
    settle().await;
    let current = token.current().expect("refreshed on the monotonic clock");
    assert_ne!(current.expose(), "token-3");
    assert!(calls.load(Ordering::SeqCst) <= 5, "no storm");
}

#[tokio::test(start_paused = true)]
async fn two_runtimes_in_one_process_do_not_meet() {
    let ((first, _), (second, _)) = (start().await, start().await);
    let source = || SourceFn::new(async |n| issue(n, LIFETIME));
    let one = first
        .token(Credential::new("same", source()))
        .await
        .expect("a token");
    let other = second
        .token(Credential::new("same", source()))
        .await
        .expect("a token");
    first.shutdown().await;
    assert!(matches!(one.current(), Err(TokenError::Stopped)));
    assert!(other.current().is_ok());
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

#[tokio::test(start_paused = true)]
async fn a_caller_s_span_ends_with_the_caller() {
    let closed = Arc::new(AtomicU64::new(0));
    let subscriber = tracing_subscriber::registry().with(CountClosed(Arc::clone(&closed)));
    let _guard = tracing::subscriber::set_default(subscriber);
    let (_auth, token) = async {
        let (auth, _clock) = start().await;
        let source = SourceFn::new(async |n| issue(n, LIFETIME));
        let token = auth
            .token(Credential::new("t", source))
            .await
            .expect("a token");
        (auth, token)
    }
    .instrument(tracing::info_span!("request"))
    .await;
    settle().await;
    assert_eq!(
        closed.load(Ordering::SeqCst),
        1,
        "no actor holds the request's span"
    );
    assert!(token.current().is_ok());
}

/// Counts the spans named `request` that have closed.
struct CountClosed(Arc<AtomicU64>);

impl<S> tracing_subscriber::Layer<S> for CountClosed
where
    S: tracing::Subscriber + for<'a> tracing_subscriber::registry::LookupSpan<'a>,
{
    fn on_close(&self, id: tracing::span::Id, context: tracing_subscriber::layer::Context<'_, S>) {
        if context
            .span(&id)
            .is_some_and(|span| span.name() == "request")
        {
            self.0.fetch_add(1, Ordering::SeqCst);
        }
    }
}
