//! The layer as a tower service: what is let by, where a token may be, and how long it takes.

use std::convert::Infallible;
use std::sync::Arc;
use std::task::{Context, Poll};
use std::time::Duration;

use axum::body::Bytes;
use axum::routing::get as route;
use http::{Request, Response};
use http_body_util::Full;
use hyper::server::conn::http1;
use hyper_util::rt::TokioIo;
use hyper_util::service::TowerToHyperService;
use midil_auth::bearer::Rejection;
use midil_auth::jwks::Algorithm;
use midil_auth::testing::{Endpoint, Fault, MockAuthz, SigningKey, TestIssuer};
use midil_auth::tower::{BearerLayer, require_scope};
use midil_auth::{Auth, Claims, RefreshPolicy, Verifier};
use tower::{Layer, Service, ServiceBuilder, ServiceExt, service_fn};

use super::*;

#[tokio::test]
async fn what_is_excepted_is_let_by_without_a_look() {
    let issuer = TestIssuer::start().await.expect("started");
    let auth = Auth::start().await.expect("started");
    let app = Router::new()
        .route("/health", route(|| async { "well" }))
        .route("/health/secret", route(|| async { "the secret" }))
        .route(
            "/guarded",
            route(|| async { "the secret" }).layer(require_scope("x")),
        )
        .layer(
            BearerLayer::new(verifier(&auth, &issuer).await)
                .except(|_, uri| matches!(uri.path(), "/health" | "/guarded")),
        );
    let address = serve(app).await;
    assert_eq!(send(&address, "/health", &[], "").await.body, "well");
    assert_eq!(send(&address, "/health?deep", &[], "").await.body, "well");
    assert_eq!(get(&address, "/health", "garbage").await.body, "well");
    assert_eq!(send(&address, "/health/secret", &[], "").await.status, 401);
    // Whoever was let by has shown nothing.
    let good = token(&issuer, json!({"scope": "x"}));
    assert_eq!(get(&address, "/guarded", &good).await.status, 401);
}

#[tokio::test]
async fn a_token_in_the_query_is_taken_where_allowed_and_kept_from_shared_caches() {
    let issuer = TestIssuer::start().await.expect("started");
    let auth = Auth::start().await.expect("started");
    let cached = |directives: &'static str| {
        route(async move |claims: Claims| {
            let name = claims.subject().unwrap_or_default().to_owned();
            ([("cache-control", directives)], name)
        })
    };
    let app = Router::new()
        .route(
            "/",
            route(async |claims: Claims| claims.subject().map(str::to_owned).unwrap()),
        )
        .route("/public", cached("public, max-age=60"))
        .route("/stored-nowhere", cached("No-Store"))
        .route("/private", cached("max-age=60, private"))
        .layer(BearerLayer::new(verifier(&auth, &issuer).await).allow_query());
    let address = serve(app).await;
    let good = token(&issuer, json!({}));
    for (path, control) in [
        ("/", "private"),
        ("/public", "private"),
        ("/stored-nowhere", "No-Store"),
        ("/private", "max-age=60, private"),
    ] {
        let target = format!("{path}?a=b&access_token={good}");
        let answer = send(&address, &target, &[], "").await;
        assert_eq!((answer.status, &*answer.body), (200, "ada"), "{path}");
        assert_eq!(answer.header("cache-control"), Some(control), "{path}");
    }
    // One in the header is no secret of the URL's.
    let answer = get(&address, "/public", &good).await;
    assert_eq!(answer.header("cache-control"), Some("public, max-age=60"));

    for (target, status) in [
        (format!("/?access_token={good}&access_token={good}"), 400),
        ("/?access_token=".to_owned(), 400),
        ("/?access_token=a%20b".to_owned(), 400),
        ("/?access_token=garbage".to_owned(), 401),
        (format!("/?ACCESS_TOKEN={good}"), 401),
        (format!("/?a=access_token={good}"), 401),
    ] {
        assert_eq!(
            send(&address, &target, &[], "").await.status,
            status,
            "{target}"
        );
    }
    let twice = get(&address, &format!("/?access_token={good}"), &good).await;
    assert_eq!(twice.status, 400);
}

#[tokio::test]
async fn grpc_calls_are_answered_as_grpc() {
    let mock = Arc::new(MockAuthz::new("good", json!({"sub": "ada"})));
    let layer = BearerLayer::new(mock);
    let service = ServiceBuilder::new()
        .layer(layer)
        .layer(require_scope("write"))
        .service(service_fn(async |_: Request<()>| {
            Ok::<_, Infallible>(Response::new("the secret".to_owned()))
        }));
    for (asked, answered) in [
        ("application/grpc", Some("application/grpc")),
        ("application/grpc+proto", Some("application/grpc")),
        ("Application/gRPC;x=y", Some("application/grpc")),
        ("application/grpc-web+proto", Some("application/grpc-web")),
        (
            "application/grpc-web-text",
            Some("application/grpc-web-text"),
        ),
        ("application/json", None),
        ("", None),
    ] {
        for (authorization, status, code) in [
            (None, 401, "16"),
            (Some("Bearer bad"), 401, "16"),
            (Some("Bearer a b"), 400, "16"),
            (Some("Bearer good"), 403, "7"),
        ] {
            let mut request = Request::new(());
            let headers = request.headers_mut();
            headers.insert("content-type", asked.parse().expect("a value"));
            if let Some(value) = authorization {
                headers.insert("authorization", value.parse().expect("a value"));
            }
            let response = service.clone().oneshot(request).await.expect("an answer");
            let header = |name| response.headers().get(name).and_then(|it| it.to_str().ok());
            assert_eq!(header("content-type"), answered);
            assert_eq!(response.body(), "");
            assert!(header("www-authenticate").is_some());
            match answered {
                Some(_) => {
                    assert_eq!(response.status(), 200);
                    assert_eq!(
                        header("grpc-status"),
                        Some(code),
                        "{asked} {authorization:?}"
                    );
                    assert!(header("grpc-message").is_some());
                }
                None => {
                    assert_eq!(response.status(), status, "{asked} {authorization:?}");
                    assert_eq!(header("grpc-status"), None);
                }
            }
        }
    }
}

#[tokio::test]
async fn whoever_prints_a_request_that_was_let_in_does_not_print_the_token() {
    let issuer = TestIssuer::start().await.expect("started");
    let auth = Auth::start().await.expect("started");
    let app = Router::new()
        .route(
            "/",
            route(async |headers: http::HeaderMap| format!("{headers:?}")),
        )
        .layer(
            BearerLayer::new(verifier(&auth, &issuer).await)
                .except(|method, _| method == http::Method::OPTIONS)
                .optional(),
        );
    let address = serve(app).await;
    let good = token(&issuer, json!({}));
    let printed = get(&address, "/", &good).await.body;
    assert!(printed.contains("authorization") && !printed.contains(&good));
    let basic: &[u8] = b"authorization: Basic YTpi";
    let printed = send(&address, "/", &[basic], "").await.body;
    assert!(printed.contains("authorization") && !printed.contains("YTpi"));
}

#[tokio::test]
async fn hyper_alone_will_do() {
    let issuer = TestIssuer::start().await.expect("started");
    let auth = Auth::start().await.expect("started");
    let service = ServiceBuilder::new()
        .layer(BearerLayer::new(verifier(&auth, &issuer).await).on_refusal(Rejection::into_problem))
        .service_fn(async |request: Request<hyper::body::Incoming>| {
            let claims = request.extensions().get::<Claims>();
            let name = claims.and_then(Claims::subject).unwrap_or_default();
            Ok::<_, Infallible>(Response::new(Full::<Bytes>::from(name.to_owned())))
        });
    let listener = TcpListener::bind("127.0.0.1:0").await.expect("a port");
    let address = listener.local_addr().expect("an address").to_string();
    tokio::spawn(async move {
        while let Ok((stream, _)) = listener.accept().await {
            let service = TowerToHyperService::new(service.clone());
            let io = TokioIo::new(stream);
            tokio::spawn(http1::Builder::new().serve_connection(io, service));
        }
    });
    let answer = get(&address, "/", &token(&issuer, json!({}))).await;
    assert_eq!((answer.status, &*answer.body), (200, "ada"));
    let answer = send(&address, "/", &[], "").await;
    assert_eq!(
        (answer.status, answer.header("www-authenticate")),
        (401, Some("Bearer"))
    );
    assert_eq!(answer.body, "{\"title\":\"Unauthorized\",\"status\":401}");
}

/// Panics when it is called without having been asked whether it is ready.
#[derive(Debug, Default)]
struct Strict {
    ready: bool,
}

impl Clone for Strict {
    fn clone(&self) -> Self {
        Self::default()
    }
}

impl Service<Request<()>> for Strict {
    type Response = Response<String>;
    type Error = Infallible;
    type Future = std::future::Ready<Result<Self::Response, Infallible>>;

    fn poll_ready(&mut self, _: &mut Context<'_>) -> Poll<Result<(), Infallible>> {
        self.ready = true;
        Poll::Ready(Ok(()))
    }

    fn call(&mut self, request: Request<()>) -> Self::Future {
        assert!(
            std::mem::take(&mut self.ready),
            "called before it was ready"
        );
        let claims: &Claims = request.extensions().get().expect("claims");
        std::future::ready(Ok(Response::new(
            claims.subject().unwrap_or_default().to_owned(),
        )))
    }
}

#[tokio::test]
async fn a_token_of_a_new_key_waits_for_the_key_and_is_let_in() {
    let issuer = TestIssuer::start().await.expect("started");
    let auth = Auth::start().await.expect("started");
    let rules = Verifier::builder(issuer.url()).audience("orders");
    let policy = RefreshPolicy::for_keys().min_interval(Duration::from_millis(10));
    let policy = policy.demand_floor(Duration::from_millis(10));
    let verifier = auth
        .verifier(rules.refresh(policy))
        .await
        .expect("a verifier");
    let mut service = BearerLayer::new(verifier).layer(Strict::default());
    issuer.rotate();
    let fetched = issuer.counts().jwks;
    let request = |token: &str| {
        let request = Request::get("/").header("authorization", format!("Bearer {token}"));
        request.body(()).expect("a request")
    };
    // Twice with the same service: the one that is kept must be polled ready again.
    for _ in 0..2 {
        let token = token(&issuer, json!({}));
        let response = service
            .ready()
            .await
            .expect("ready")
            .call(request(&token))
            .await;
        let response = response.expect("an answer");
        assert_eq!(
            (response.status().as_u16(), &**response.body()),
            (200, "ada")
        );
    }
    assert_eq!(issuer.counts().jwks, fetched + 1);

    // A key that nobody has is a 401 once the issuer has said so, and a 503 until then.
    let key = SigningKey::generate(Algorithm::ES256, "nobody's");
    let foreign = key.token(&claims(
        json!({"iss": issuer.url(), "exp": 4_000_000_000_u64}),
    ));
    let response = service
        .ready()
        .await
        .expect("ready")
        .call(request(&foreign))
        .await;
    assert_eq!(response.expect("an answer").status(), 401);
    issuer.fail(Endpoint::Jwks, Fault::Status(500));
    let response = service
        .ready()
        .await
        .expect("ready")
        .call(request(&foreign))
        .await;
    let response = response.expect("an answer");
    assert_eq!(response.status(), 503);
    assert_eq!(response.headers()["retry-after"], "1");
}
