//! What handlers see of a caller: with the layer, without it, and with both.

use std::sync::Arc;
use std::sync::atomic::{AtomicUsize, Ordering};

use axum::extract::FromRef;
use axum::routing::get as route;
use midil_auth::axum::Verified;
use midil_auth::bearer::Rejection;
use midil_auth::jwt::{AccessToken, Issuers, Jwt, VerifyError};
use midil_auth::testing::{Endpoint, Fault, MockAuthz};
use midil_auth::tower::{BearerLayer, require_group};
use midil_auth::{Auth, AuthError, AuthzProvider, Claims, ProviderFuture, Start, Verifier};
use serde::Deserialize;

use super::*;

async fn parts() -> (TestIssuer, Auth) {
    (
        TestIssuer::start().await.expect("started"),
        Auth::start().await.expect("started"),
    )
}

fn name<P: midil_auth::jwt::Profile, C>(claims: &Claims<P, C>) -> String {
    claims.subject().unwrap_or("nobody").to_owned()
}

fn name_if_any(claims: Option<Claims>) -> String {
    claims.as_ref().map_or("stranger".to_owned(), name)
}

#[derive(Clone, FromRef)]
struct AppState {
    verifier: Verifier,
    issuers: Issuers,
    provider: Arc<dyn AuthzProvider>,
}

impl AppState {
    fn new(verifier: &Verifier) -> Self {
        let issuers = Issuers::new();
        issuers.insert(verifier.clone());
        Self {
            verifier: verifier.clone(),
            issuers,
            provider: Arc::new(verifier.clone()),
        }
    }
}

#[tokio::test]
async fn a_handler_behind_the_layer_is_told_who_is_calling() {
    let (issuer, auth) = parts().await;
    let app = Router::new()
        .route("/", route(async |claims: Claims| name(&claims)))
        .route(
            "/optional",
            route(async |claims: Option<Claims>| name_if_any(claims)),
        )
        .route(
            "/cancel",
            route(async |claims: Claims| -> Result<&str, Rejection> {
                claims.require_scope("write")?;
                claims.require_any_group(["support", "admin"])?;
                Ok("cancelled")
            }),
        )
        .layer(BearerLayer::new(verifier(&auth, &issuer).await));
    let address = serve(app).await;
    let plain = token(&issuer, json!({"scope": "read"}));
    let writer = token(&issuer, json!({"scope": "read write"}));
    let admin = token(&issuer, json!({"scope": "read write", "groups": ["admin"]}));
    for (target, token, status, body) in [
        ("/", &plain, 200, "ada"),
        ("/optional", &plain, 200, "ada"),
        ("/cancel", &plain, 403, ""),
        ("/cancel", &writer, 403, ""),
        ("/cancel", &admin, 200, "cancelled"),
    ] {
        let answer = get(&address, target, token).await;
        assert_eq!((answer.status, &*answer.body), (status, body), "{target}");
    }
    assert_eq!(send(&address, "/optional", &[], "").await.status, 401);
}

#[tokio::test]
async fn an_optional_layer_lets_in_strangers_but_no_bad_tokens() {
    let (issuer, auth) = parts().await;
    let app = Router::new()
        .route(
            "/",
            route(async |claims: Option<Claims>| name_if_any(claims)),
        )
        .route("/claims", route(async |claims: Claims| name(&claims)))
        .route(
            "/admin",
            route(|| async { "admin" }).layer(require_group("admin")),
        )
        .layer(BearerLayer::new(verifier(&auth, &issuer).await).optional());
    let address = serve(app).await;
    let good = token(&issuer, json!({}));
    assert_eq!(get(&address, "/", &good).await.body, "ada");
    assert_eq!(send(&address, "/", &[], "").await.body, "stranger");
    let basic: &[u8] = b"authorization: Basic YTpi";
    assert_eq!(send(&address, "/", &[basic], "").await.body, "stranger");
    assert_eq!(get(&address, "/", "garbage").await.status, 401);
    assert_eq!(send(&address, "/", &[basic, basic], "").await.status, 400);
    for target in ["/claims", "/admin"] {
        let answer = send(&address, target, &[], "").await;
        assert_eq!(
            (answer.status, answer.header("www-authenticate")),
            (401, Some("Bearer"))
        );
    }
    assert_eq!(get(&address, "/admin", &good).await.status, 403);
}

#[tokio::test]
async fn a_verifier_in_the_state_needs_no_layer() {
    let (issuer, auth) = parts().await;
    let verifier = verifier(&auth, &issuer).await;
    let app = Router::new()
        .route("/", route(async |Verified(claims): Verified| name(&claims)))
        .route(
            "/issuers",
            route(async |Verified(claims): Verified<Issuers>| name(&claims)),
        )
        .route(
            "/provider",
            route(async |Verified(claims): Verified<Arc<dyn AuthzProvider>>| name(&claims)),
        )
        .route(
            "/optional",
            route(async |caller: Option<Verified>| name_if_any(caller.map(|it| it.0))),
        )
        // What one has found is there for the other.
        .route(
            "/both",
            route(async |Verified(_): Verified, claims: Claims| name(&claims)),
        )
        .with_state(AppState::new(&verifier));
    let address = serve(app).await;
    let good = token(&issuer, json!({}));
    for target in ["/", "/issuers", "/provider", "/optional", "/both"] {
        let answer = get(&address, target, &good).await;
        assert_eq!((answer.status, &*answer.body), (200, "ada"), "{target}");
        let answer = get(&address, target, "garbage").await;
        assert_eq!(answer.status, 401, "{target}");
        assert_eq!(
            answer.header("www-authenticate"),
            Some("Bearer error=\"invalid_token\"")
        );
        let answer = send(&address, target, &[], "").await;
        match target {
            "/optional" => assert_eq!((answer.status, &*answer.body), (200, "stranger")),
            _ => assert_eq!(
                answer.header("www-authenticate"),
                Some("Bearer"),
                "{target}"
            ),
        }
    }
}

/// Counts how often it is asked.
#[derive(Debug)]
struct Counting(MockAuthz, AtomicUsize);

impl Counting {
    fn new(subject: &str) -> Arc<Self> {
        let mock = MockAuthz::new("good", json!({"sub": subject}));
        Arc::new(Self(mock, AtomicUsize::new(0)))
    }
}

impl AuthzProvider for Counting {
    fn verify<'a>(&'a self, token: &'a str) -> ProviderFuture<'a, Claims> {
        self.1.fetch_add(1, Ordering::Relaxed);
        self.0.verify(token)
    }
}

#[tokio::test]
async fn an_extractor_takes_what_its_own_verifier_found_and_nothing_that_another_found() {
    let (one, other) = (Counting::new("one"), Counting::new("other"));
    let app = |state: &Arc<Counting>| {
        Router::new()
            .route(
                "/",
                route(
                    async |Verified(a): Verified<Arc<Counting>>, b: Verified<Arc<Counting>>| {
                        name(&a) + &name(&b.0)
                    },
                ),
            )
            .layer(BearerLayer::new(Arc::clone(&one)))
            .with_state(Arc::clone(state))
    };
    let same = serve(app(&one)).await;
    assert_eq!(get(&same, "/", "good").await.body, "oneone");
    assert_eq!(one.1.load(Ordering::Relaxed), 1);
    let different = serve(app(&other)).await;
    assert_eq!(get(&different, "/", "good").await.body, "otherother");
    assert_eq!(one.1.load(Ordering::Relaxed), 2);
    assert_eq!(other.1.load(Ordering::Relaxed), 1);
}

/// Its rules are in `verify` alone.
#[derive(Debug)]
struct AdminsOnly(Arc<dyn AuthzProvider>);

impl AuthzProvider for AdminsOnly {
    fn verify<'a>(&'a self, token: &'a str) -> ProviderFuture<'a, Claims> {
        Box::pin(async move {
            let claims = self.0.verify(token).await?;
            let admin = claims.require_group("admin");
            admin.map_err(AuthError::from).map(|()| claims)
        })
    }
}

#[tokio::test]
async fn a_provider_of_one_s_own_is_never_passed_by() {
    let mock = |groups| MockAuthz::new("good", json!({"sub": "ada", "groups": groups}));
    for (groups, status) in [(json!(["admin"]), 200), (json!([]), 403)] {
        let provider: Arc<dyn AuthzProvider> = Arc::new(AdminsOnly(Arc::new(mock(groups))));
        let app = Router::new()
            .route("/", route(async |claims: Claims| name(&claims)))
            .route_layer(BearerLayer::new(Arc::clone(&provider)))
            .route(
                "/state",
                route(async |Verified(claims): Verified<Arc<dyn AuthzProvider>>| name(&claims)),
            )
            .with_state(provider);
        let address = serve(app).await;
        for target in ["/", "/state"] {
            assert_eq!(get(&address, target, "good").await.status, status);
            assert_eq!(get(&address, target, "bad").await.status, 401);
        }
    }
}

#[derive(Clone, Deserialize)]
struct Tenant {
    tenant: String,
}

#[tokio::test]
async fn claims_of_another_kind_or_type_reach_those_who_ask_for_them_and_guards() {
    let (issuer, auth) = parts().await;
    let rules = Verifier::builder(issuer.url()).audience("orders");
    let typed = auth
        .verifier(rules.claims::<Tenant>())
        .await
        .expect("a verifier");
    let app = Router::new()
        .route(
            "/",
            route(async |claims: Claims<Jwt, Tenant>| claims.custom().tenant.clone()),
        )
        .route("/plain", route(async |claims: Claims| name(&claims)))
        .route(
            "/admin",
            route(|| async { "hello" }).layer(require_group("admin")),
        )
        // Nobody has verified an access token of RFC 9068 here.
        .route(
            "/mixed-up",
            route(async |_: Claims<AccessToken>| "the secret"),
        )
        .layer(BearerLayer::new(typed.clone()))
        .route(
            "/state",
            route(async |Verified(claims): Verified<Verifier<Jwt, Tenant>>| {
                claims.custom().tenant.clone()
            }),
        )
        .with_state(typed);
    let address = serve(app).await;
    let good = token(&issuer, json!({"tenant": "acme", "groups": ["admin"]}));
    for (target, status, body) in [
        ("/", 200, "acme"),
        ("/plain", 200, "ada"),
        ("/admin", 200, "hello"),
        ("/state", 200, "acme"),
        ("/mixed-up", 500, ""),
    ] {
        let answer = get(&address, target, &good).await;
        assert_eq!((answer.status, &*answer.body), (status, body), "{target}");
    }
    let without = token(&issuer, json!({}));
    assert_eq!(get(&address, "/", &without).await.status, 401);
}

#[tokio::test]
async fn rejections_are_responses_with_the_status_of_what_went_wrong() {
    let app = Router::new().route(
        "/",
        route(async || -> Result<(), Rejection> { Err(VerifyError::Expired.into()) }),
    );
    let answer = send(&serve(app).await, "/", &[], "").await;
    assert_eq!((answer.status, &*answer.body), (401, ""));
    let challenge = answer.header("www-authenticate").expect("a challenge");
    assert!(challenge.contains("expired"), "{challenge}");
}

#[tokio::test]
async fn health_is_a_response_that_says_whether_to_send_requests() {
    let (issuer, auth) = parts().await;
    issuer.fail(Endpoint::Jwks, Fault::Status(503));
    let rules = Verifier::builder(issuer.url()).audience("orders");
    let rules = rules.start(Start::Background);
    let _verifier = auth.verifier(rules).await.expect("in the background");
    let probed = auth.clone();
    let app = Router::new().route("/ready", route(async move || probed.health()));
    let address = serve(app).await;
    let answer = send(&address, "/ready", &[], "").await;
    assert_eq!(answer.status, 503);
    assert_eq!(answer.header("content-type"), Some("application/json"));
    let shown: serde_json::Value = serde_json::from_str(&answer.body).expect("JSON");
    assert_eq!(
        (&shown["live"], &shown["ready"]),
        (&true.into(), &false.into())
    );

    issuer.recover();
    while !auth.health().ready {
        tokio::time::sleep(std::time::Duration::from_millis(20)).await;
    }
    assert_eq!(send(&address, "/ready", &[], "").await.status, 200);
}
