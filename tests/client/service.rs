//! Any client that is a tower service; hyper's here.

use http::Request;
use http_body_util::Full;
use hyper_util::client::legacy::Client;
use hyper_util::client::legacy::connect::HttpConnector;
use hyper_util::rt::TokioExecutor;
use midil_auth::AuthError;
use midil_auth::bearer::Origins;
use midil_auth::tower::{TokenLayer, TokenService};
use tower::{ServiceBuilder, ServiceExt};
use tower_http::follow_redirect::FollowRedirectLayer;

use super::*;

type Body = Full<Bytes>;

fn layer(token: &TokenHandle, api: &Api) -> TokenLayer<Body> {
    TokenLayer::new(
        token.clone(),
        Origins::new([api.origin()]).expect("origins"),
    )
}

fn client(layer: TokenLayer<Body>) -> TokenService<Client<HttpConnector, Body>, Body> {
    let client = Client::builder(TokioExecutor::new()).build_http();
    ServiceBuilder::new().layer(layer).service(client)
}

fn request(url: &str, body: &'static str) -> Request<Body> {
    let request = Request::post(url).header("x-kept", "yes");
    request.body(Body::from(body)).expect("a request")
}

#[tokio::test]
async fn the_token_goes_to_listed_origins_and_nowhere_else() {
    let (_issuer, _auth, token) = token().await;
    let (ours, other) = (Api::content().await, Api::content().await);
    let client = client(layer(&token, &ours));
    for (api, expected) in [(&ours, bearer(&token)), (&other, None)] {
        let sent = client.clone().oneshot(request(&api.url("/"), "")).await;
        assert_eq!(sent.expect("an answer").status(), 200);
        assert_eq!(api.only().authorization, expected);
    }
    let mut own = request(&ours.url("/"), "");
    let basic = HeaderValue::from_static("Basic YTpi");
    own.headers_mut().insert("authorization", basic);
    client.oneshot(own).await.expect("an answer");
    assert_eq!(ours.only().authorization.as_deref(), Some("Basic YTpi"));
}

#[tokio::test]
async fn no_request_is_sent_without_the_token_that_is_due() {
    let (_issuer, _auth, token) = no_token().await;
    let api = Api::content().await;
    let sent = client(layer(&token, &api))
        .oneshot(request(&api.url("/"), ""))
        .await;
    let error = sent.expect_err("no token");
    assert!(error.downcast_ref::<AuthError>().is_some(), "{error}");
    assert!(api.seen().is_empty());
}

#[tokio::test]
async fn a_refused_token_is_renewed_and_the_request_replayed_if_its_body_can_be_had_again() {
    let (issuer, _auth, token) = token().await;
    let api = Api::start(refusing(&token)).await;
    let first = bearer(&token);
    let client = client(layer(&token, &api).replay(|body| Some(body.clone())));
    let sent = client.oneshot(request(&api.url("/a"), "payload")).await;
    assert_eq!(sent.expect("an answer").status(), 200);
    let seen = api.seen();
    let tokens: Vec<_> = seen.iter().map(|it| it.authorization.clone()).collect();
    assert_eq!(tokens, [first, bearer(&token)]);
    assert!(
        seen.iter()
            .all(|it| it.path == "/a" && &*it.body == b"payload")
    );
    assert_eq!(issuer.counts().token, 2);
}

#[tokio::test]
async fn without_a_way_to_replay_the_next_request_has_another_token() {
    for never in [false, true] {
        let (issuer, _auth, token) = token().await;
        let api = Api::start(refusing(&token)).await;
        let layer = layer(&token, &api);
        let client = client(if never { layer.replay(|_| None) } else { layer });
        let first = bearer(&token);
        let sent = client.clone().oneshot(request(&api.url("/"), "once")).await;
        assert_eq!(sent.expect("an answer").status(), 401);
        assert_eq!(api.only().authorization, first);
        other_than(&token, &first).await;
        let sent = client.oneshot(request(&api.url("/"), "again")).await;
        assert_eq!(sent.expect("an answer").status(), 200);
        assert_eq!(issuer.counts().token, 2);
    }
}

#[tokio::test]
async fn a_server_that_refuses_everything_is_asked_twice_and_then_believed() {
    let (issuer, _auth, token) = token().await;
    let api = Api::start(|_, _| status(StatusCode::UNAUTHORIZED)).await;
    let client = client(layer(&token, &api).replay(|body| Some(body.clone())));
    for times in [2, 1] {
        let sent = client.clone().oneshot(request(&api.url("/"), "")).await;
        assert_eq!(sent.expect("an answer").status(), 401);
        assert_eq!(api.seen().len(), times);
    }
    assert_eq!(issuer.counts().token, 2);
}

#[tokio::test]
async fn beneath_a_layer_that_follows_redirects_every_hop_is_looked_at() {
    let (_issuer, _auth, token) = token().await;
    for code in [301, 302, 303, 307, 308] {
        let other = Api::content().await;
        let origin = other.origin();
        let ours = Api::start(move |path, _| match path {
            "/out" => redirect(code, &origin),
            "/here" => redirect(code, "/there"),
            _ => Answer::default(),
        })
        .await;
        let client = ServiceBuilder::new()
            .layer(FollowRedirectLayer::new())
            .service(client(layer(&token, &ours)));
        let sent = client
            .clone()
            .oneshot(request(&ours.url("/here"), ""))
            .await;
        assert_eq!(sent.expect("an answer").status(), 200);
        let seen = ours.seen();
        assert_eq!(seen.len(), 2);
        assert!(seen.iter().all(|it| it.authorization == bearer(&token)));
        let sent = client.oneshot(request(&ours.url("/out"), "")).await;
        assert_eq!(sent.expect("an answer").status(), 200);
        assert_eq!(ours.only().authorization, bearer(&token));
        assert_eq!(other.only().authorization, None);
    }
}
