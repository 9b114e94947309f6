use tracing::Instrument;
use tracing_subscriber::layer::SubscriberExt;

use super::*;

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

/// What a credential is doing when it is let go.
#[derive(Clone, Copy, Debug)]
enum Doing {
    BackingOff,
    Idling,
    Parking,
    /// Half-way through an answer.
    Receiving,
    Requesting,
}

const EVERYTHING: [Doing; 5] = [
    Doing::BackingOff,
    Doing::Idling,
    Doing::Parking,
    Doing::Receiving,
    Doing::Requesting,
];

impl Doing {
    const fn mood(self) -> Mood {
        match self {
            Self::BackingOff => Mood::Down,
            Self::Idling => Mood::Issues,
            Self::Parking => Mood::Refuses,
            Self::Receiving => Mood::Takes(ms(2_000)),
            Self::Requesting => Mood::Hangs,
        }
    }
}

#[tokio::test(start_paused = true)]
async fn a_tenth_of_a_second_after_the_last_handle_nothing_is_left_of_anything() {
    for doing in EVERYTHING {
        for waits in [false, true] {
            let (auth, _clock) = start().await;
            let issuer = Issuer::new(doing.mood());
            let token = begin(&auth, &issuer).await;
            pass(SECOND).await;
            let waiting = waits.then(|| {
                let token = token.clone();
                tokio::spawn(async move { token.ready().await })
            });
            settle().await;
            assert!(tasks() >= 3, "three actors and more: {doing:?}");
            drop(auth);
            // Whoever waits holds a handle, too.
            if let Some(waiting) = waiting {
                waiting.abort();
            }
            drop(token);
            let asked = issuer.asked();
            pass(ms(100)).await;
            assert_eq!((tasks(), issuer.in_flight()), (0, 0), "{doing:?}");
            pass(HOUR).await;
            assert_eq!(issuer.asked(), asked, "{doing:?}: no timer was left");
            assert!(!issuer.is_held(), "{doing:?}: the source was let go");
        }
    }
}

#[tokio::test(start_paused = true)]
async fn of_one_credential_of_many_nothing_is_left_either() {
    let (auth, _clock) = start().await;
    let _other = begin(&auth, &Issuer::new(Mood::Issues)).await;
    pass(SECOND).await;
    let before = tasks();
    for doing in EVERYTHING {
        let issuer = Issuer::new(doing.mood());
        let token = begin(&auth, &issuer).await;
        pass(SECOND).await;
        drop(token);
        pass(ms(100)).await;
        assert!(!issuer.is_held(), "{doing:?}: the source was let go");
        assert_eq!(tasks(), before, "{doing:?}");
    }
    assert_eq!(auth.health().tokens.len(), 1);
}

/// Everything that an `Auth` has ever allocated is given back, whatever it was doing.
#[test]
fn no_memory_is_left_of_a_credential_or_of_the_runtime_it_ran_on() {
    let live = |doing: Doing| {
        let runtime = tokio::runtime::Builder::new_current_thread()
            .enable_time()
            .start_paused(true)
            .build()
            .expect("a runtime");
        runtime.block_on(async {
            let (auth, _clock) = start().await;
            let mut events = auth.events();
            let issuer = Issuer::new(doing.mood());
            let token = begin(&auth, &issuer).await;
            pass(SECOND).await;
            drop((auth, token));
            pass(ms(100)).await;
            told(&mut events).await;
        });
    };
    for doing in EVERYTHING {
        // The first time pays for what the process keeps.
        live(doing);
        let counted = allocation_counter::measure(|| live(doing));
        assert!(counted.count_total > 100);
        assert_eq!(counted.bytes_current, 0, "{doing:?}");
    }
}

/// A handle that outlives the runtime has what it needs to say so, and nothing of the rest.
#[tokio::test(start_paused = true)]
async fn what_is_registered_after_the_end_is_not_kept() {
    let (auth, _clock) = start().await;
    auth.shutdown().await;
    for _ in 0..3 {
        let issuer = Issuer::new(Mood::Issues);
        let credential = Credential::new("late", issuer.clone()).start(Start::Background);
        let token = auth.token(credential).await.expect("a handle");
        assert!(matches!(token.current(), Err(TokenError::Stopped)));
        assert!(matches!(token.ready().await, Err(TokenError::Stopped)));
        assert_eq!(issuer.asked(), 0);
        drop(token);
        assert!(!issuer.is_held());
    }
    assert!(auth.health().tokens.is_empty());
}
