//! Access tokens over real HTTP on loopback, in real time: what goes over the wire, and what an
//! issuer can do wrong to a fetch. What has a deadline has a generous one.

#![expect(
    clippy::expect_used,
    reason = "a test that cannot be set up has failed"
)]

#[path = "outbound/leaks.rs"]
mod leaks;
#[path = "outbound/network.rs"]
mod network;
#[cfg(unix)]
#[path = "outbound/secrets.rs"]
mod secrets;
#[path = "outbound/wire.rs"]
mod wire;

use std::collections::HashSet;
use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};
use std::time::Duration;

use axum::Router;
use axum::http::{HeaderMap, StatusCode, header};
use axum::routing::post;
use midil_auth::event::Change;
use midil_auth::oauth2::{
    AccessToken, BasicEncoding, ClientAuth, ClientCredentials, ClientSecret, Credential,
    LifetimePolicy, TokenError, TokenState,
};
use midil_auth::testing::{Endpoint, Fault, TestIssuer};
use midil_auth::{
    Auth, AuthError, AuthnProvider, Events, FetchError, RefreshPolicy, Secret, Start, TokenHandle,
    cognito,
};
use tokio::net::{TcpListener, TcpStream};
use tokio::sync::{mpsc, watch};
use tokio::task::JoinSet;

/// How long a test waits for what is bound to happen.
const PATIENCE: Duration = Duration::from_secs(30);

const fn ms(millis: u64) -> Duration {
    Duration::from_millis(millis)
}

/// Retries at once, so that recovery is quick, and obeys `Retry-After` for a fifth of a second.
fn brisk() -> RefreshPolicy {
    const MOMENT: Duration = ms(20);
    RefreshPolicy::for_tokens()
        .min_interval(MOMENT)
        .demand_floor(MOMENT)
        .retry(MOMENT, MOMENT * 2)
        .max_retry_after(ms(200))
        .jitter(0.0)
}

/// Refreshes as early as may be and uses the token to its end.
fn early() -> LifetimePolicy {
    LifetimePolicy::default()
        .refresh_at(0.65)
        .margin(Duration::ZERO)
}

fn orders(token_url: impl Into<String>) -> ClientCredentials {
    ClientCredentials::new(token_url, "orders", "s3cr3t")
        .refresh(brisk())
        .lifetime(early())
}

/// An issuer that knows one client.
async fn issuer_for(id: &str, secret: &str) -> TestIssuer {
    let issuer = TestIssuer::builder().client(id, secret);
    issuer.start().await.expect("an issuer")
}

async fn an_issuer() -> TestIssuer {
    TestIssuer::start().await.expect("an issuer")
}

fn current(token: &TokenHandle) -> Arc<AccessToken> {
    token.current().expect("a token")
}

async fn auth() -> Auth {
    Auth::start().await.expect("started")
}

/// A 200 with this body.
fn respond(body: &str) -> Fault {
    Fault::Respond {
        status: 200,
        headers: vec![("content-type".into(), "application/json".into())],
        body: body.into(),
    }
}

/// Waits for the event that `pick` finds something in.
async fn event<R>(events: &mut Events, mut pick: impl FnMut(&Change) -> Option<R>) -> R {
    let found = async {
        loop {
            let event = events.recv().await.expect("running and not lagging");
            if let Some(found) = pick(&event.change) {
                return found;
            }
        }
    };
    tokio::time::timeout(PATIENCE, found)
        .await
        .expect("the event comes")
}

/// The next failure, which is of this kind, with or without a token to hold.
async fn failure(events: &mut Events, kind: &str, held: bool) -> FetchError {
    let (error, holding) = event(events, |change| match change {
        Change::RefreshFailed { error, holding, .. } => Some((error.clone(), *holding)),
        _ => None,
    })
    .await;
    assert_eq!((error.as_str(), holding), (kind, held), "{error}");
    assert_eq!(error.is_transient(), kind != "refused", "{error}");
    error
}

async fn recovery(events: &mut Events) -> u32 {
    event(events, |change| match change {
        Change::Recovered { failures } => Some(*failures),
        _ => None,
    })
    .await
}

/// A request handler that sends the token a thousand times a second.
struct Reader {
    reads: Arc<[AtomicU64; 2]>,
    task: tokio::task::JoinHandle<()>,
}

impl Reader {
    fn of(token: &TokenHandle) -> Self {
        let (reads, token) = (Arc::new([const { AtomicU64::new(0) }; 2]), token.clone());
        let counts = Arc::clone(&reads);
        let task = tokio::spawn(async move {
            loop {
                let failed = usize::from(token.authorization().is_err());
                counts[failed].fetch_add(1, Ordering::Relaxed);
                tokio::time::sleep(ms(1)).await;
            }
        });
        Self { reads, task }
    }

    fn never_failed(self) {
        self.task.abort();
        let [good, failed] = [0, 1].map(|n| self.reads[n].load(Ordering::Relaxed));
        assert!(good > 0 && failed == 0, "{failed} of {good} reads failed");
    }
}

/// Asks for another token than `rejected`, and leaves it to the test to see what comes of it.
fn ask_for_another(token: &TokenHandle, rejected: &Arc<AccessToken>) {
    let (token, rejected) = (token.clone(), Arc::clone(rejected));
    tokio::spawn(async move { token.renew(&rejected).await });
}

/// A fault delays the first token, then meets the next: each time it is told as what it is, costs
/// no reader anything, and is over by itself when it is over.
async fn is_survived(fault: Fault, kind: &str) -> FetchError {
    let mut policy = brisk();
    if matches!(fault, Fault::Hang | Fault::Drip) {
        policy = policy.fetch_timeout(ms(250));
    }
    let (issuer, auth) = (an_issuer().await, auth().await);
    let mut events = auth.events();

    issuer.fail_next(Endpoint::Token, 2, fault.clone());
    let token = auth.token(orders(issuer.token_url()).refresh(policy)).await;
    let token = token.expect("a token once the fault is over");
    for _ in 0..2 {
        failure(&mut events, kind, false).await;
    }
    assert!(recovery(&mut events).await >= 2);

    issuer.fail(Endpoint::Token, fault);
    let (first, reader) = (current(&token), Reader::of(&token));
    ask_for_another(&token, &first);
    failure(&mut events, kind, true).await;
    let error = failure(&mut events, kind, true).await;
    assert_eq!(token.status().state, TokenState::Degraded);
    issuer.recover();
    assert!(recovery(&mut events).await >= 2);
    reader.never_failed();
    assert!(!current(&token).is_same_token(&first));
    assert_eq!(token.status().state, TokenState::Fresh);
    error
}

#[tokio::test]
async fn an_endpoint_that_hangs_is_given_up_and_survived() {
    is_survived(Fault::Hang, "timeout").await;
}

#[tokio::test]
async fn a_body_that_drips_is_given_up_and_survived() {
    is_survived(Fault::Drip, "timeout").await;
}

#[tokio::test]
async fn a_connection_that_is_reset_is_survived() {
    is_survived(Fault::Reset, "connection").await;
}

#[tokio::test]
async fn a_body_that_breaks_off_is_survived() {
    is_survived(Fault::Truncate, "connection").await;
}

#[tokio::test]
async fn a_sign_in_page_in_place_of_a_token_is_survived() {
    is_survived(Fault::Html, "malformed").await;
}

#[tokio::test]
async fn ten_megabytes_in_place_of_a_token_are_not_read_and_survived() {
    is_survived(Fault::Huge(10 << 20), "too_large").await;
}

#[tokio::test]
async fn a_server_error_is_survived() {
    let error = is_survived(Fault::Status(500), "status").await;
    assert!(error.to_string().contains("500"), "{error}");
}

#[tokio::test]
async fn garbage_in_place_of_a_token_is_survived() {
    let garbage = respond("\u{0}\u{1b}]{\"access_token\":\"to");
    is_survived(garbage, "malformed").await;
}

#[tokio::test]
async fn a_token_that_has_expired_on_arrival_is_never_served() {
    let dead = respond(r#"{"access_token":"dead","token_type":"Bearer","expires_in":0}"#);
    is_survived(dead, "unusable").await;
}

#[tokio::test]
async fn throttling_is_survived_and_retry_after_obeyed_as_far_as_the_policy_goes() {
    let error = is_survived(Fault::Throttle(30), "throttled").await;
    assert_eq!(error.retry_after_hint(), Some(Duration::from_secs(30)));

    let (issuer, auth) = (an_issuer().await, auth().await);
    let mut events = auth.events();
    issuer.fail(Endpoint::Token, Fault::Throttle(30));
    let credential = orders(issuer.token_url()).start(Start::Background);
    let _token = auth.token(credential).await.expect("in the background");
    let next = event(&mut events, |change| match change {
        Change::RefreshFailed {
            next_attempt_in, ..
        } => Some(*next_attempt_in),
        _ => None,
    });
    assert_eq!(next.await, ms(200));
}

#[tokio::test]
async fn a_redirect_is_survived_and_never_carries_the_secret_along() {
    let elsewhere = an_issuer().await;
    let error = is_survived(Fault::Redirect(elsewhere.token_url()), "status").await;
    assert!(error.to_string().contains("307"), "{error}");
    assert_eq!(elsewhere.counts().token, 0);
}

/// A load balancer: one address, and behind it whatever issuer is there now.
async fn front(behind: watch::Receiver<String>) -> String {
    let listener = TcpListener::bind("127.0.0.1:0").await.expect("a port");
    let address = listener.local_addr().expect("an address");
    tokio::spawn(async move {
        while let Ok((mut client, _)) = listener.accept().await {
            let target = behind.borrow().replace("http://", "");
            tokio::spawn(async move {
                if let Ok(mut server) = TcpStream::connect(target).await {
                    // A connection that ends in an error is what the test is about.
                    let _ = tokio::io::copy_bidirectional(&mut client, &mut server).await;
                }
            });
        }
    });
    format!("http://{address}/token")
}

#[tokio::test]
async fn an_issuer_that_dies_in_the_middle_of_a_refresh_is_survived() {
    let issuer = an_issuer().await;
    let (switch, behind) = watch::channel(issuer.url().to_owned());
    let auth = auth().await;
    let mut events = auth.events();
    let token = auth.token(orders(front(behind).await)).await;
    let token = token.expect("a token");
    let (first, reader) = (current(&token), Reader::of(&token));
    issuer.fail(Endpoint::Token, Fault::Hang);
    ask_for_another(&token, &first);
    let asked = async {
        while issuer.counts().token < 2 {
            tokio::time::sleep(ms(5)).await;
        }
    };
    tokio::time::timeout(PATIENCE, asked).await.expect("asked");
    switch.send_replace(String::new());
    drop(issuer);
    for _ in 0..2 {
        failure(&mut events, "connection", true).await;
    }
    let next = an_issuer().await;
    switch.send_replace(next.url().to_owned());
    recovery(&mut events).await;
    reader.never_failed();
    assert!(!current(&token).is_same_token(&first));
}

#[tokio::test]
async fn a_wrong_secret_fails_the_start_at_once_and_is_not_tried_twice() {
    let issuer = issuer_for("orders", "another").await;
    let auth = auth().await;
    let refused = auth.token(orders(issuer.token_url())).await;
    let error = refused.expect_err("refused");
    let AuthError::Authentication(TokenError::Failed(fetch)) = &error else {
        panic!("{error:?}");
    };
    assert_eq!(fetch.oauth_error(), Some("invalid_client"));
    assert!(error.to_string().contains("invalid_client"), "{error}");
    assert!(!error.is_transient());
    assert_eq!(issuer.counts().token, 1);
}

#[tokio::test]
async fn any_id_and_secret_arrive_by_basic_and_by_post() {
    const SECRET: &str = "p@ss:w/rd+%20&=?~";
    for (id, secret, method) in [
        ("orders", SECRET, ClientAuth::default()),
        ("svc:a+b c%", SECRET, ClientAuth::default()),
        ("svc:a+b c%", SECRET, ClientAuth::Post),
        ("orders", "plain_1", ClientAuth::Basic(BasicEncoding::Raw)),
    ] {
        let issuer = issuer_for(id, secret).await;
        let auth = auth().await;
        let credential = ClientCredentials::new(issuer.token_url(), id, secret);
        let token = auth.token(credential.client_auth(method)).await;
        token.unwrap_or_else(|error| panic!("{id} by {method:?}: {error}"));
    }
}

/// What a request to the token endpoint brought.
type Asked = (HeaderMap, String);

/// What a token endpoint answers: the status, the headers, the body.
type Answer = (StatusCode, HeaderMap, String);

/// A token endpoint of the test's own. `answer` is told how many requests came before.
async fn endpoint<F>(answer: impl Fn(u64, Asked) -> F + Clone + Send + Sync + 'static) -> String
where
    F: Future<Output = Answer> + Send + 'static,
{
    let count = Arc::new(AtomicU64::new(0));
    let handler = post(move |headers: HeaderMap, body: String| {
        answer(count.fetch_add(1, Ordering::SeqCst), (headers, body))
    });
    let listener = TcpListener::bind("127.0.0.1:0").await.expect("a port");
    let address = listener.local_addr().expect("an address");
    let app = Router::new().route("/token", handler);
    tokio::spawn(async move { axum::serve(listener, app).await });
    format!("http://{address}/token")
}

fn token_answer(token: &str) -> Answer {
    let body = format!(r#"{{"access_token":"{token}","expires_in":30}}"#);
    (StatusCode::OK, HeaderMap::new(), body)
}

/// A token endpoint that answers with the token `t0` after `delay`, `t1` the next time, and
/// shows every request.
async fn recorder(delay: Duration) -> (String, mpsc::UnboundedReceiver<Asked>) {
    let (seen, requests) = mpsc::unbounded_channel();
    let url = endpoint(move |n, asked| {
        seen.send(asked).expect("the test goes on");
        async move {
            tokio::time::sleep(delay).await;
            token_answer(&format!("t{n}"))
        }
    });
    (url.await, requests)
}

#[tokio::test]
async fn the_request_is_byte_for_byte_what_was_asked_for() {
    let (url, mut requests) = recorder(Duration::ZERO).await;
    let auth = auth().await;
    let credential = || {
        ClientCredentials::new(&url, "orders", "a+b")
            .scope("orders/read orders/write")
            .audience("https://api.example.com/")
            .resource("urn:one")
            .resource("urn:two")
            .parameter("aws_client_metadata", r#"{"tenant":"a&b"}"#)
    };
    const ASKED: &str = "grant_type=client_credentials&scope=orders%2Fread+orders%2Fwrite\
        &audience=https%3A%2F%2Fapi.example.com%2F&resource=urn%3Aone&resource=urn%3Atwo\
        &aws_client_metadata=%7B%22tenant%22%3A%22a%26b%22%7D";
    let _basic = auth.token(credential()).await.expect("a token");
    let (headers, body) = requests.recv().await.expect("a request");
    assert_eq!(body, ASKED);
    // `orders:a%2Bb`
    assert_eq!(headers[header::AUTHORIZATION], "Basic b3JkZXJzOmElMkJi");
    assert_eq!(headers[header::ACCEPT], "application/json");
    let form = "application/x-www-form-urlencoded";
    assert_eq!(headers[header::CONTENT_TYPE], form);

    let post = credential().client_auth(ClientAuth::Post);
    let _post = auth.token(post).await.expect("a token");
    let (headers, body) = requests.recv().await.expect("a request");
    assert_eq!(
        body,
        format!("{ASKED}&client_id=orders&client_secret=a%2Bb")
    );
    assert!(!headers.contains_key(header::AUTHORIZATION));

    let raw = ClientAuth::Basic(BasicEncoding::Raw);
    let raw = ClientCredentials::new(&url, "or+ders", "a+b%").client_auth(raw);
    let _raw = auth.token(raw).await.expect("a token");
    let (headers, body) = requests.recv().await.expect("a request");
    assert_eq!(body, "grant_type=client_credentials");
    // `or+ders:a+b%`
    assert_eq!(headers[header::AUTHORIZATION], "Basic b3IrZGVyczphK2Il");

    let cognito = cognito::ClientCredentials::new("orders.example.com", "1example", "a+b")
        .token_url(&url)
        .scope("orders/read")
        .client_metadata(r#"{"tenant":"ü"}"#)
        .client_auth(ClientAuth::Post);
    let _cognito = auth.token(cognito).await.expect("a token");
    let (_, body) = requests.recv().await.expect("a request");
    assert_eq!(
        body,
        "grant_type=client_credentials&scope=orders%2Fread\
         &aws_client_metadata=%7B%22tenant%22%3A%22%C3%BC%22%7D\
         &client_id=1example&client_secret=a%2Bb"
    );
    assert!(requests.try_recv().is_err(), "one request each");
}

#[tokio::test]
async fn a_thousand_cold_callers_cost_one_request_though_a_thousand_more_give_up() {
    let (issuer, auth) = (an_issuer().await, auth().await);
    issuer.fail(Endpoint::Token, Fault::Delay(ms(200)));
    let credential = orders(issuer.token_url()).start(Start::Lazy);
    let token = auth.token(credential).await.expect("lazy");
    assert_eq!(issuer.counts().token, 0);
    let (mut hasty, mut patient) = (JoinSet::new(), JoinSet::new());
    for callers in [&mut hasty, &mut patient] {
        for _ in 0..1_000 {
            let token = token.clone();
            callers.spawn(async move { token.ready().await.map(|t| t.expose().to_owned()) });
        }
    }
    // Among those that give up is the first, for whom the fetch was begun.
    tokio::time::sleep(ms(20)).await;
    hasty.abort_all();
    let mut tokens = HashSet::new();
    while let Some(token) = patient.join_next().await {
        tokens.insert(token.expect("no panic").expect("a token"));
    }
    assert_eq!((tokens.len(), issuer.counts().token), (1, 1));
}

#[tokio::test]
async fn a_thousand_callers_of_an_endpoint_that_is_down_cost_one_request() {
    let (issuer, auth) = (an_issuer().await, auth().await);
    issuer.fail(Endpoint::Token, Fault::Status(503));
    let minute = Duration::from_secs(60);
    let credential = orders(issuer.token_url()).refresh(brisk().retry(minute, minute));
    let token = auth
        .token(credential.start(Start::Lazy))
        .await
        .expect("lazy");
    let mut callers = JoinSet::new();
    for _ in 0..1_000 {
        let token = token.clone();
        callers.spawn(async move { token.ready().await });
    }
    while let Some(answer) = callers.join_next().await {
        let error = answer.expect("no panic").expect_err("down");
        assert!(error.to_string().contains("503"), "{error}");
    }
    assert_eq!(issuer.counts().token, 1);
}

#[tokio::test]
async fn several_credentials_have_tokens_and_troubles_of_their_own() {
    let (issuer, auth) = (an_issuer().await, auth().await);
    let other = an_issuer().await;
    other.fail(Endpoint::Token, Fault::Hang);
    let stuck = orders(other.token_url()).name("stuck");
    let stuck = auth.token(stuck.start(Start::Background)).await;
    let stuck = stuck.expect("in the background");
    let (mut handles, mut tokens) = (Vec::new(), HashSet::new());
    for scope in ["a", "b", "c"] {
        let credential = orders(issuer.token_url()).scope(scope).name(scope);
        let token = auth.token(credential).await.expect("a token");
        tokens.insert(current(&token).expose().to_owned());
        handles.push(token);
    }
    assert_eq!((tokens.len(), issuer.counts().token), (3, 3));
    assert!(matches!(stuck.current(), Err(TokenError::NotReady)));
    let health = auth.health();
    let names: Vec<_> = health.tokens.iter().map(|token| &*token.name).collect();
    assert_eq!(names, ["a", "b", "c", "stuck"]);
    assert!(health.live && !health.ready);
}

#[tokio::test]
async fn a_lifetime_counts_from_the_moment_the_request_was_sent() {
    let (url, _requests) = recorder(ms(700)).await;
    let auth = auth().await;
    let mut events = auth.events();
    let token = auth.token(orders(url)).await.expect("a token");
    let (usable_for, took) = event(&mut events, |change| match change {
        Change::Acquired(token) => Some((token.usable_for, token.took)),
        _ => None,
    })
    .await;
    assert!(took >= ms(700), "{took:?}");
    assert_eq!(usable_for + took, Duration::from_secs(30));
    let token = current(&token);
    let span = token.expires_at().duration_since(token.issued_at());
    assert_eq!(span.expect("later"), Duration::from_secs(30));
}

#[tokio::test]
async fn a_token_that_outlived_itself_on_the_way_is_not_served() {
    let (issuer, auth) = (an_issuer().await, auth().await);
    issuer.set_lifetime(Duration::from_secs(1));
    let late = Fault::Delay(ms(1_100));
    issuer.fail_next(Endpoint::Token, 1, late);
    let mut events = auth.events();
    let token = auth.token(orders(issuer.token_url())).await;
    token.expect("a token from the second fetch");
    failure(&mut events, "unusable", false).await;
}

#[tokio::test]
async fn a_setting_that_cannot_be_used_is_named_before_anything_is_sent() {
    let (issuer, auth) = (an_issuer().await, auth().await);
    let fine = || orders(issuer.token_url());
    let second = Duration::from_secs(1);
    let paced = |policy| fine().refresh(policy);
    let from = |secret| ClientCredentials::new(issuer.token_url(), "orders", secret);
    let client = |id, secret| ClientCredentials::new(issuer.token_url(), id, Secret::from(secret));
    for (wrong, field) in [
        (orders("http://idp.example.com/token"), "token_url"),
        (orders("idp.example.com"), "token_url"),
        (client("", "s3cr3t"), "client_id"),
        (client(" ", "s3cr3t"), "client_id"),
        (client("orders", ""), "client_secret"),
        (from(ClientSecret::file("")), "client_secret"),
        (from(ClientSecret::env("")), "client_secret"),
        (from(ClientSecret::env("A=B")), "client_secret"),
        (fine().previous_secret(""), "previous_secret"),
        (fine().parameter("scope", "a"), "scope"),
        (fine().parameter("client_secret", "a"), "client_secret"),
        (fine().parameter("grant_type", "password"), "grant_type"),
        (paced(brisk().retry(second * 2, second)), "retry max"),
        (paced(brisk().probe(second * 2, second)), "probe max"),
        (paced(brisk().jitter(f64::NAN)), "jitter"),
        (fine().lifetime(early().refresh_at(1.0)), "refresh_at"),
        (fine().lifetime(early().margin(second * 3601)), "margin"),
    ] {
        let built = Credential::try_from(wrong.clone()).expect_err(field);
        assert_eq!(built.field(), field);
        let error = auth.token(wrong).await.expect_err(field);
        let AuthError::Configuration(config) = &error else {
            panic!("{error:?}");
        };
        assert_eq!(config, &built);
        let shown = error.to_string();
        assert!(shown.contains(field) && shown.contains(config.remedy()));
        assert!(!shown.contains("s3cr3t") && !error.is_transient());
    }
    assert_eq!(issuer.counts().token, 0);
    assert!(auth.health().tokens.is_empty());
}
