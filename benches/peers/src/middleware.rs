//! The peers in Rust, each as its documentation has it used. All but huskarl are on top of
//! jsonwebtoken: 9 on ring is jwt-authorizer, 10 axum-jwt-auth, 11 the others.

use std::convert::Infallible;
use std::future::{Future, ready};
use std::pin::pin;
use std::time::Duration;

use axum_jwt_auth::{JwtDecoder, RemoteJwksDecoder};
use futures_util::FutureExt;
use http::header::AUTHORIZATION;
use http::{HeaderMap, HeaderValue, Method, Request, Response, StatusCode, Uri};
use huskarl_reqwest::ReqwestClient;
use huskarl_resource_server::validator::custom::CustomValidator;
use jsonwebtoken::{DecodingKey, Validation};
use jwks_client_rs::JwksClient;
use jwks_client_rs::source::WebSource;
use jwt_authorizer::JwtAuthorizer;
use parking_lot::Mutex;
use tokio::runtime::Handle;
use tower::{Layer, Service, service_fn};
use tower_oauth2_resource_server::server::OAuth2ResourceServer;
use tower_oauth2_resource_server::tenant::TenantConfiguration;
use tower_oauth2_resource_server::validation::ClaimsValidationSpec;

use crate::fixture::{AUDIENCE, Custom, CustomWithoutSub, Fixture, ISSUER};
use crate::table::Entrant;
use crate::verify::verifies;

/// By name, with what is entered under it.
pub(crate) type Named<'a> = (&'static str, Entrant<'a>);

/// jsonwebtoken 10 has both its backends here, and panics unless one is chosen.
pub(crate) fn choose_backends() {
    let chosen = jsonwebtoken_10::crypto::aws_lc::DEFAULT_PROVIDER.install_default();
    chosen.expect("the first to choose");
}

/// jsonwebtoken itself, with a key made once.
pub(crate) fn jsonwebtoken(fixture: &Fixture) -> [Named<'_>; 2] {
    let jwk = serde_json::from_value(fixture.jwks()["keys"][0].clone()).expect("a JWK");
    let key = DecodingKey::from_jwk(&jwk).expect("a key");
    let algorithm = fixture.algorithm.as_str().parse().expect("an algorithm");
    let mut validation = Validation::new(algorithm);
    validation.set_issuer(&[ISSUER]);
    validation.set_audience(&[AUDIENCE]);
    let (same_key, same_validation) = (key.clone(), validation.clone());
    let decode =
        move |n: usize| jsonwebtoken::decode::<Custom>(&fixture.tokens[n], &key, &validation);
    // What whoever looks the key up by its id has to do.
    let decode_both = move |n: usize| {
        std::hint::black_box(jsonwebtoken::decode_header(&fixture.tokens[n])?);
        jsonwebtoken::decode::<Custom>(&fixture.tokens[n], &same_key, &same_validation)
    };
    [
        named("jsonwebtoken decode", decode),
        named("jsonwebtoken decode_header, decode", decode_both),
    ]
}

/// Every middleware.
pub(crate) async fn all<'a>(fixture: &'a Fixture, url: &str) -> [Named<'a>; 5] {
    [
        axum_jwt_auth(fixture, url).await,
        jwks_client_rs(fixture, url),
        tower_oauth2_resource_server(fixture, url).await,
        jwt_authorizer(fixture, url).await,
        huskarl(fixture, url).await,
    ]
}

async fn axum_jwt_auth<'a>(fixture: &'a Fixture, url: &str) -> Named<'a> {
    let algorithm = fixture.algorithm.as_str().parse().expect("an algorithm");
    let mut validation = jsonwebtoken_10::Validation::new(algorithm);
    validation.set_issuer(&[ISSUER]);
    validation.set_audience(&[AUDIENCE]);
    let decoder = RemoteJwksDecoder::builder()
        .jwks_url(url.to_owned())
        .validation(validation)
        .build()
        .expect("a decoder");
    decoder.initialize().await.expect("keys");
    named("axum-jwt-auth", move |n| {
        let decoder: &dyn JwtDecoder<Custom> = &decoder;
        at_once(decoder.decode(&fixture.tokens[n]))
    })
}

/// It does not look at the issuer.
fn jwks_client_rs<'a>(fixture: &'a Fixture, url: &str) -> Named<'a> {
    let source = WebSource::builder().build(url.parse().expect("a URL"));
    let client: JwksClient<WebSource> = JwksClient::builder().build(source.expect("a source"));
    named("jwks_client_rs", move |n| {
        at_once(client.decode::<Custom>(&fixture.tokens[n], &[AUDIENCE]))
    })
}

/// The layer around a service that does nothing.
async fn tower_oauth2_resource_server<'a>(fixture: &'a Fixture, url: &str) -> Named<'a> {
    let audience = vec![AUDIENCE.to_owned()];
    let claims = ClaimsValidationSpec::new().exp(true).iss(ISSUER);
    let claims = claims.aud(&audience);
    let tenant = TenantConfiguration::builder(ISSUER)
        .jwks_url(url)
        .audiences(&audience)
        .claims_validation(claims)
        .build()
        .await
        .expect("a tenant");
    let server = OAuth2ResourceServer::<Custom>::builder()
        .add_tenant(tenant)
        .build()
        .await
        .expect("a server");
    let inner = service_fn(|_: Request<()>| ready(Ok::<_, Infallible>(Response::new(()))));
    let service = Mutex::new(server.into_layer::<()>().layer(inner));
    let headers = headers(fixture);
    let judge = move |n: usize| {
        let mut request = Request::new(());
        request
            .headers_mut()
            .insert(AUTHORIZATION, headers[n].clone());
        let response = at_once(service.lock().call(request));
        let status = response.unwrap_or_else(|never| match never {}).status();
        if status == StatusCode::OK {
            Ok(())
        } else {
            Err(status)
        }
    };
    // It fetches in the background; if that fails, the gate will say so.
    for _ in 0..500 {
        if judge(0).is_ok() {
            break;
        }
        tokio::time::sleep(Duration::from_millis(10)).await;
    }
    named("tower-oauth2-resource-server", judge)
}

async fn jwt_authorizer<'a>(fixture: &'a Fixture, url: &str) -> Named<'a> {
    let validation = jwt_authorizer::Validation::new();
    let authorizer = JwtAuthorizer::<Custom>::from_jwks_url(url)
        .validation(validation.iss(&[ISSUER]).aud(&[AUDIENCE]))
        .build()
        .await
        .expect("an authorizer");
    named("jwt-authorizer", move |n| {
        at_once(authorizer.check_auth(&fixture.tokens[n]))
    })
}

/// Its validator for tokens that are not of RFC 9068, as Cognito's are not.
async fn huskarl<'a>(fixture: &'a Fixture, url: &str) -> Named<'a> {
    let client = ReqwestClient::builder().build().await.expect("a client");
    let validator = CustomValidator::builder()
        .with_claims::<CustomWithoutSub>()
        .iss(ISSUER)
        .aud(AUDIENCE)
        .jwks_uri(url.parse().expect("a URL"))
        .jwks_source(client)
        .build()
        .await
        .expect("keys");
    let requests: Vec<HeaderMap> = headers(fixture)
        .into_iter()
        .map(|value| HeaderMap::from_iter([(AUTHORIZATION, value)]))
        .collect();
    let uri = Uri::from_static("https://api.example.com/orders");
    named("huskarl", move |n| {
        let call = validator.validate_request(&requests[n], &Method::GET, &uri, None);
        match at_once(call).outcome {
            Ok(Some(request)) => Ok(request),
            Ok(None) => Err("no token".to_owned()),
            // Its text is that of the outermost error alone.
            Err(error) => Err(format!("{error:?}")),
        }
    })
}

fn named<'a, T, E: std::fmt::Display>(
    name: &'static str,
    judge: impl Fn(usize) -> Result<T, E> + Send + Sync + 'a,
) -> Named<'a> {
    (name, verifies(name, judge))
}

fn headers(fixture: &Fixture) -> Vec<HeaderValue> {
    let header = |token: &String| HeaderValue::try_from(format!("Bearer {token}"));
    let headers = fixture.tokens.iter().map(header).collect::<Result<_, _>>();
    headers.expect("headers")
}

/// With the keys at hand one poll is enough, and all of it is this thread's time.
pub(crate) fn at_once<F: Future>(future: F) -> F::Output {
    let mut future = pin!(future);
    match future.as_mut().now_or_never() {
        Some(output) => output,
        None => Handle::current().block_on(future),
    }
}
