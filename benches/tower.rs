//! The layer around a service that does nothing, beside that service alone.
//!
//! `cargo bench --bench tower`

#![expect(
    clippy::expect_used,
    clippy::print_stdout,
    reason = "a bench that cannot be set up has failed"
)]

mod harness;

use std::convert::Infallible;
use std::future::{Ready, ready};
use std::sync::Arc;
use std::task::{Context, Poll};

use futures_util::FutureExt;
use harness::{Contender, compare, compare_on, verdict};
use http::{HeaderValue, Request, Response};
use midil_auth::testing::TestIssuer;
use midil_auth::tower::{BearerLayer, TokenVerifier, require_scope};
use midil_auth::{Auth, AuthzProvider, Verifier};
use serde_json::json;
use tokio::runtime::Runtime;
use tower::{Layer, Service};

/// What the layer may add to a request, in nanoseconds.
const BUDGET: f64 = 1_000.0;

#[derive(Clone)]
struct Nothing;

impl Service<Request<()>> for Nothing {
    type Response = Response<()>;
    type Error = Infallible;
    type Future = Ready<Result<Response<()>, Infallible>>;

    fn poll_ready(&mut self, _: &mut Context<'_>) -> Poll<Result<(), Infallible>> {
        Poll::Ready(Ok(()))
    }

    fn call(&mut self, _: Request<()>) -> Self::Future {
        ready(Ok(Response::new(())))
    }
}

/// Sends one request and drops the response.
fn call<S>(service: &S, authorization: Option<&HeaderValue>) -> u16
where
    S: Service<Request<()>, Response = Response<()>, Error = Infallible> + Clone,
{
    let mut request = Request::new(());
    if let Some(value) = authorization {
        let headers = request.headers_mut();
        headers.insert(http::header::AUTHORIZATION, value.clone());
    }
    let response = service.clone().call(request).now_or_never();
    let response = response.expect("without waiting").expect("infallible");
    response.status().as_u16()
}

fn layered<V: TokenVerifier>(
    verifier: V,
) -> impl Service<Request<()>, Response = Response<()>, Error = Infallible> + Clone + Send + Sync {
    BearerLayer::new(verifier).layer(Nothing)
}

fn main() {
    let runtime = Runtime::new().expect("a runtime");
    let (issuer, auth, cached, plain) = runtime.block_on(async {
        let issuer = TestIssuer::start().await.expect("started");
        let auth = Auth::start().await.expect("started");
        let rules = || Verifier::builder(issuer.url()).audience("orders");
        let cached = auth.verifier(rules().cache(1_000)).await.expect("keys");
        let plain = auth.verifier(rules()).await.expect("keys");
        (issuer, auth, cached, plain)
    });
    // About a kilobyte, as Cognito's are.
    let token = issuer.mint(json!({
        "sub": "ada", "aud": "orders", "scope": "orders/read orders/write",
        "groups": ["admin", "users"], "exp": 4_000_000_000_u64, "padding": "x".repeat(500),
    }));
    let good = HeaderValue::try_from(format!("Bearer {token}")).expect("a value");
    println!("a token of {} bytes", token.len());

    let behind = layered(cached.clone());
    let guarded = {
        let layer = BearerLayer::new(cached.clone());
        layer.layer(require_scope("orders/read").layer(Nothing))
    };
    let dynamic: Arc<dyn AuthzProvider> = Arc::new(cached.clone());
    let dynamic = layered(dynamic);
    let optional = BearerLayer::new(cached.clone()).optional().layer(Nothing);
    let verifying = layered(plain);

    let messages = auth.messages_sent();
    let ok = |status: u16| assert_eq!(status, 200, "let in");
    let contenders = [
        Contender::new("the service alone", || ok(call(&Nothing, Some(&good)))),
        Contender::new("verify_now, remembered", || {
            cached.verify_now(&token).expect("at once").expect("good")
        }),
        Contender::new("the layer, a remembered token", || {
            ok(call(&behind, Some(&good)));
        }),
        Contender::new("the layer and a guard", || ok(call(&guarded, Some(&good)))),
        Contender::new("the layer, a `dyn` provider", || {
            ok(call(&dynamic, Some(&good)));
        }),
        Contender::new("the layer, optional, no token", || {
            ok(call(&optional, None));
        })
        .at_most(2.0),
        Contender::new("the layer, a new token (ES256)", || {
            ok(call(&verifying, Some(&good)));
        }),
        Contender::new("refused: no token", || {
            assert_eq!(call(&behind, None), 401);
        }),
    ];
    let figures = compare("one request", &contenders);
    compare_on("one request", 2, &contenders[..4]);
    println!();
    for it in &figures[2..5] {
        let added = it.nanos - figures[0].nanos;
        let verdict = verdict(added <= BUDGET);
        println!("{:<44} adds {added:>6.1} ns of {BUDGET} {verdict}", it.name);
    }
    let count = |run: &dyn Fn() -> u16| {
        let counted = allocation_counter::measure(|| {
            run();
        });
        counted.count_total
    };
    let alone = count(&|| call(&Nothing, Some(&good)));
    println!(
        "allocations: {alone} alone, {} more with the layer; messages to actors: {}",
        count(&|| call(&behind, Some(&good))) - alone,
        auth.messages_sent() - messages,
    );
}
