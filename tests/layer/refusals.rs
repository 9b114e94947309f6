//! Bad requests: the right status, the right challenge, a bounded line in the log, and no token in
//! it.

use std::sync::{Arc, OnceLock};
use std::thread::{self, ThreadId};

use axum::routing::get as route;
use midil_auth::bearer::Rejection;
use midil_auth::jwt::Refusal;
use midil_auth::testing::{Endpoint, Fault};
use midil_auth::tower::{BearerLayer, require, require_any_scope, require_group, require_scope};
use midil_auth::{Auth, Start, Verifier};
use parking_lot::Mutex;
use tracing_subscriber::util::SubscriberInitExt;

use super::*;

type Lines = Arc<Mutex<Vec<(ThreadId, String)>>>;

/// What has been logged, by whatever thread: what a thread without a subscriber meets first may be
/// switched off for all.
fn logged() -> &'static Lines {
    static LOG: OnceLock<Lines> = OnceLock::new();
    struct Sink(Lines);
    impl std::io::Write for Sink {
        fn write(&mut self, bytes: &[u8]) -> std::io::Result<usize> {
            let text = String::from_utf8_lossy(bytes).into_owned();
            self.0.lock().push((thread::current().id(), text));
            Ok(bytes.len())
        }
        fn flush(&mut self) -> std::io::Result<()> {
            Ok(())
        }
    }
    LOG.get_or_init(|| {
        let lines = Lines::default();
        let sink = Arc::clone(&lines);
        tracing_subscriber::fmt()
            .with_ansi(false)
            .with_max_level(tracing::Level::TRACE)
            .with_writer(move || Sink(Arc::clone(&sink)))
            .finish()
            .try_init()
            .expect("the only one");
        lines
    })
}

/// What this test has logged since it was asked last. Its server runs on its own thread.
fn lines() -> Vec<String> {
    let me = thread::current().id();
    let mut mine = Vec::new();
    logged().lock().retain(|(thread, line)| {
        let of_mine = *thread == me;
        if of_mine {
            mine.push(line.clone());
        }
        !of_mine
    });
    mine
}

/// Longest line that a refusal may write.
const LONGEST: usize = 400;

const INVALID: &str = "Bearer error=\"invalid_token\"";
const MALFORMED: &str = "Bearer error=\"invalid_request\"";
const FORBIDDEN: &str = "Bearer error=\"insufficient_scope\"";

/// A bad request, and what must become of it.
struct Case {
    name: &'static str,
    target: &'static str,
    headers: Vec<Vec<u8>>,
    body: String,
    status: u16,
    challenge: &'static str,
    reason: &'static str,
}

fn case(
    name: &'static str,
    token: &str,
    (status, challenge, reason): (u16, &'static str, &'static str),
) -> Case {
    Case {
        name,
        target: "/",
        headers: vec![format!("authorization: Bearer {token}").into_bytes()],
        body: String::new(),
        status,
        challenge,
        reason,
    }
}

impl Case {
    fn at(mut self, target: &'static str) -> Self {
        self.target = target;
        self
    }

    fn headers<const N: usize>(mut self, headers: [&[u8]; N]) -> Self {
        self.headers = headers.map(<[u8]>::to_vec).into();
        self
    }
}

fn app(verifier: Verifier) -> Router {
    let secret = || route(|| async { "the secret" });
    let staff = require(|claims| match claims.subject() {
        Some("grace") => Ok(()),
        _ => Err(Refusal::forbidden("x".repeat(10_000) + "\nforged line")),
    });
    Router::new()
        .route("/", route(|| async { "hello" }).post(|| async { "hello" }))
        .route("/scope", secret().layer(require_scope("orders/write")))
        .route("/scopes", secret().layer(require_any_scope(["b", "c"])))
        .route("/group", secret().layer(require_group("admin")))
        .route("/staff", secret().layer(staff))
        .layer(BearerLayer::new(verifier))
}

#[tokio::test]
async fn every_bad_request_gets_the_right_answer_and_one_bounded_line_without_its_token() {
    logged();
    let (issuer, auth) = (
        TestIssuer::start().await.expect("started"),
        Auth::start().await,
    );
    let auth = auth.expect("started");
    let address = serve(app(verifier(&auth, &issuer).await)).await;
    let good = token(
        &issuer,
        json!({"scope": "orders/read", "groups": ["users"]}),
    );
    let authorization = |scheme: &str| format!("authorization: {scheme} {good}").into_bytes();
    let bearer = authorization("Bearer");
    let huge = "a".repeat(100 * 1024);
    let missing = (401, "Bearer", "missing");
    let in_query = format!("/?access_token={good}").leak();
    let mut in_body = case("a token in the body", "", missing)
        .headers([b"content-type: application/x-www-form-urlencoded"]);
    in_body.body = format!("access_token={good}");
    let cases = [
        case("no header", "", missing).headers([]),
        case("another scheme", "", missing).headers([&authorization("Basic")]),
        case("no space", "", missing).headers([format!("authorization: Bearer{good}").as_bytes()]),
        in_body,
        case("a token in the query", "", missing)
            .headers([])
            .at(in_query),
        case("two headers", "", (400, MALFORMED, "repeated")).headers([&bearer, &bearer]),
        case("two schemes", "", (400, MALFORMED, "repeated"))
            .headers([&authorization("Basic"), &bearer]),
        case("nothing", "", (400, MALFORMED, "malformed_header")),
        case(
            "two words",
            &format!("{good} {good}"),
            (400, MALFORMED, "malformed_header"),
        ),
        case("non-ASCII", "", (400, MALFORMED, "malformed_header"))
            .headers([b"authorization: Bearer \xc3\xa9\xff"]),
        case("100 KB", &huge, (401, INVALID, "too_large")),
        case("garbage", "garbage", (401, INVALID, "malformed")),
        case(
            "forged",
            &issuer.mint_forged(claims(json!({}))),
            (401, INVALID, "signature"),
        ),
        case(
            "for others",
            &token(&issuer, json!({"aud": "others"})),
            (401, INVALID, "audience"),
        ),
        case(
            "expired",
            &issuer.mint_expired(claims(json!({}))),
            (
                401,
                "Bearer error=\"invalid_token\", error_description=\"the token has expired\"",
                "expired",
            ),
        ),
        case(
            "a scope is missing",
            &good,
            (
                403,
                "Bearer error=\"insufficient_scope\", scope=\"orders/write\"",
                "scope",
            ),
        )
        .at("/scope"),
        case(
            "either scope is missing",
            &good,
            (
                403,
                "Bearer error=\"insufficient_scope\", scope=\"b c\"",
                "scope",
            ),
        )
        .at("/scopes"),
        case("the wrong group", &good, (403, FORBIDDEN, "group")).at("/group"),
        case("the wrong person", &good, (403, FORBIDDEN, "refused")).at("/staff"),
    ];
    for case in cases {
        lines();
        let headers: Vec<_> = case.headers.iter().map(Vec::as_slice).collect();
        let answer = send(&address, case.target, &headers, &case.body).await;
        let name = case.name;
        assert_eq!(answer.status, case.status, "{name}");
        assert_eq!(
            answer.header("www-authenticate"),
            Some(case.challenge),
            "{name}"
        );
        assert_eq!(answer.header("retry-after"), None, "{name}");
        assert_eq!(answer.body, "", "{name}");

        let all = lines();
        let told: Vec<_> = all
            .iter()
            .filter(|line| line.contains("request refused"))
            .collect();
        assert_eq!(told.len(), 1, "{name}: {told:?}");
        let line = told[0].trim_end();
        assert!(
            line.contains(&format!("status={}", case.status)),
            "{name}: {line}"
        );
        assert!(
            line.contains(&format!("reason=\"{}\"", case.reason)),
            "{name}: {line}"
        );
        assert!(line.contains("INFO midil_auth"), "{name}: {line}");
        assert!(
            line.len() < LONGEST && !line.contains('\n'),
            "{name}: {line}"
        );
        for header in &case.headers {
            let sent = String::from_utf8_lossy(header);
            let token = sent.rsplit(' ').next().unwrap_or_default();
            let parts = token.split('.').filter(|part| part.len() > 8);
            for part in parts.chain(good.split('.')) {
                assert!(
                    !all.iter().any(|line| line.contains(part)),
                    "{name}: {all:?}"
                );
            }
        }
    }

    lines();
    let answer = get(&address, "/", &good).await;
    assert_eq!((answer.status, &*answer.body), (200, "hello"));
    assert!(!lines().iter().any(|line| line.contains("refused")));
}

#[tokio::test]
async fn keys_that_are_not_to_be_had_are_a_503_that_says_when_to_come_back() {
    logged();
    let issuer = TestIssuer::start().await.expect("started");
    issuer.fail(Endpoint::Jwks, Fault::Status(503));
    let auth = Auth::start().await.expect("started");
    let rules = Verifier::builder(issuer.url()).audience("orders");
    let verifier = auth.verifier(rules.start(Start::Background)).await;
    let address = serve(app(verifier.expect("in the background"))).await;
    lines();
    for target in ["/", "/group"] {
        let answer = get(&address, target, &token(&issuer, json!({}))).await;
        assert_eq!(answer.status, 503);
        assert_eq!(answer.header("retry-after"), Some("2"));
        assert_eq!(answer.header("www-authenticate"), None);
    }
    let told = lines();
    let told = told.iter().filter(|line| line.contains("request refused"));
    let told: Vec<_> = told.collect();
    assert_eq!(told.len(), 2, "{told:?}");
    for line in told {
        assert!(line.contains("reason=\"keys_unavailable\""), "{line}");
        assert!(line.len() < LONGEST, "{line}");
    }

    auth.shutdown().await;
    let answer = get(&address, "/", &token(&issuer, json!({}))).await;
    assert_eq!(
        (answer.status, answer.header("retry-after")),
        (503, Some("1"))
    );
}

#[tokio::test]
async fn a_route_that_nobody_verifies_for_lets_nobody_in_and_says_so_loudly() {
    logged();
    let secret = || route(|| async { "the secret" });
    let app = Router::new()
        .route("/guard", secret().layer(require_group("admin")))
        .route(
            "/claims",
            route(|_: midil_auth::Claims| async { "the secret" }),
        )
        .route(
            "/option",
            route(|_: Option<midil_auth::Claims>| async { "the secret" }),
        );
    let address = serve(app).await;
    for target in ["/guard", "/claims", "/option"] {
        lines();
        let answer = get(&address, target, "a.b.c").await;
        assert_eq!((answer.status, &*answer.body), (500, ""), "{target}");
        let told = lines();
        let loud = told.iter().find(|line| line.contains("ERROR midil_auth"));
        let loud = loud.expect("a line");
        assert!(
            loud.contains("BearerLayer") && loud.contains("Claims"),
            "{loud}"
        );
    }
}

#[tokio::test]
async fn refusals_may_be_problems_or_whatever_else_one_likes() {
    let issuer = TestIssuer::start().await.expect("started");
    let auth = Auth::start().await.expect("started");
    let verifier = verifier(&auth, &issuer).await;
    let sorry = require_scope("x").on_refusal(|rejection| {
        let body = axum::body::Body::from(format!("sorry: {}", rejection.reason()));
        rejection.into_response::<()>().map(|()| body)
    });
    let problems = Router::new()
        .route("/", route(|| async { "hello" }).layer(require_scope("x")))
        .route(
            "/handler",
            route(async |claims: midil_auth::Claims| {
                let refused = claims.require_group("x").map_err(Rejection::from);
                // Somebody in between, such as CORS, has a word to say, too.
                ([("x-kept", "yes"), ("content-type", "text/plain")], refused)
            }),
        )
        .route("/sorry", route(|| async { "hello" }).layer(sorry))
        .layer(BearerLayer::new(verifier.clone()).on_refusal(Rejection::into_problem));
    let address = serve(problems).await;
    let good = token(&issuer, json!({}));
    for (token, problem) in [
        (
            "",
            r#"{"title":"Bad Request","status":400,"error":"invalid_request"}"#,
        ),
        (
            "garbage",
            r#"{"title":"Unauthorized","status":401,"error":"invalid_token"}"#,
        ),
        (
            &issuer.mint_expired(claims(json!({}))),
            r#"{"title":"Unauthorized","status":401,"detail":"the token has expired","error":"invalid_token"}"#,
        ),
        (
            &good,
            r#"{"title":"Forbidden","status":403,"error":"insufficient_scope","scope":"x"}"#,
        ),
    ] {
        let answer = get(&address, "/", token).await;
        assert_eq!(answer.body, problem);
        assert_eq!(
            answer.header("content-type"),
            Some("application/problem+json")
        );
        assert!(answer.header("www-authenticate").is_some());
    }
    let answer = get(&address, "/handler", &good).await;
    assert_eq!(
        answer.body,
        r#"{"title":"Forbidden","status":403,"error":"insufficient_scope"}"#
    );
    assert_eq!(
        answer.header("content-type"),
        Some("application/problem+json")
    );
    assert_eq!(answer.header("content-length"), Some("63"));
    assert_eq!(answer.header("x-kept"), Some("yes"));
    // Who says something else is not corrected.
    assert_eq!(get(&address, "/sorry", &good).await.body, "sorry: scope");

    auth.shutdown().await;
    let answer = get(&address, "/", &good).await;
    assert_eq!(
        answer.body,
        r#"{"title":"Service Unavailable","status":503,"detail":"tokens cannot be verified at the moment"}"#
    );

    let teapot = BearerLayer::new(verifier).on_refusal(|rejection: Rejection| {
        let body = axum::body::Body::from(rejection.reason());
        let mut response = rejection.into_response::<()>().map(|()| body);
        *response.status_mut() = http::StatusCode::IM_A_TEAPOT;
        response
    });
    let app = Router::new()
        .route("/", route(|| async { "hello" }))
        .layer(teapot);
    let answer = send(&serve(app).await, "/", &[], "").await;
    assert_eq!((answer.status, &*answer.body), (418, "missing"));
    assert_eq!(answer.header("www-authenticate"), Some("Bearer"));
}
