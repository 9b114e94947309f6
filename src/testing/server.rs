//! What a [`TestIssuer`](super::TestIssuer) answers.

use std::collections::HashMap;
use std::sync::Arc;
use std::time::Duration;

use bytes::Bytes;
use http::{HeaderMap, HeaderValue, Method, Request, Response, StatusCode, header};
use http_body_util::{BodyExt, Limited};
use hyper::body::Incoming;
use hyper::service::service_fn;
use hyper_util::rt::TokioIo;
use serde_json::{Value, json};
use tokio::net::TcpListener;
use tokio::task::JoinSet;
use url::form_urlencoded;

use super::SigningKey;
use super::fault::{self, CutShort, Endpoint, Fault, FaultyBody};
use super::issuer::Shared;
use super::requests::LoggedRequest;

const MAX_FORM: usize = 64 * 1024;

/// Serves connections until the task is aborted, and they with it.
pub(super) async fn serve(listener: TcpListener, shared: Arc<Shared>) {
    let mut connections = JoinSet::new();
    while let Ok((stream, _)) = listener.accept().await {
        let shared = Arc::clone(&shared);
        let service = service_fn(move |request| {
            let shared = Arc::clone(&shared);
            async move { shared.answer(request).await }
        });
        connections.spawn(async move {
            let connection = hyper::server::conn::http1::Builder::new()
                .serve_connection(TokioIo::new(stream), service);
            // A connection that was cut on purpose ends in an error.
            let _ = connection.await;
        });
        while connections.try_join_next().is_some() {}
    }
}

impl Shared {
    async fn answer(&self, request: Request<Incoming>) -> Result<Response<FaultyBody>, CutShort> {
        let (head, body) = request.into_parts();
        let mut logged = LoggedRequest::new(self.time(), &head);
        let endpoint = match (&head.method, head.uri.path()) {
            (&Method::GET, "/.well-known/openid-configuration")
            | (&Method::GET, "/.well-known/oauth-authorization-server") => Endpoint::Discovery,
            (&Method::GET, "/jwks") => Endpoint::Jwks,
            (&Method::POST, "/token") => Endpoint::Token,
            _ => {
                self.state.lock().requests.push(logged);
                return Ok(respond(
                    StatusCode::NOT_FOUND,
                    &json!({"error": "not_found"}),
                ));
            }
        };
        let fault = self.state.lock().arrive(endpoint);
        let form = match endpoint {
            Endpoint::Token => form(body).await,
            _ => None,
        };
        let client = form
            .as_ref()
            .and_then(|form| client_of(&head.headers, form));
        if let Some(form) = &form {
            let id = client.as_ref().map(|(id, _)| id.as_str());
            logged.asked_by(id, form.get("grant_type").map(String::as_str));
        }
        self.state.lock().requests.push(logged);
        let right = match (endpoint, &fault) {
            (Endpoint::Discovery, _) => self.metadata(),
            (Endpoint::Jwks, Some(Fault::WrongKeys)) => self.wrong_keys(),
            (Endpoint::Jwks, _) => self.jwks(&head.headers),
            (Endpoint::Token, _) => self.token(form, client),
        };
        match fault {
            None => Ok(right),
            Some(fault) => fault::apply(fault, right).await.ok_or(CutShort),
        }
    }

    fn metadata(&self) -> Response<FaultyBody> {
        let url = &self.url;
        let state = self.state.lock();
        let mut document = json!({
            "issuer": url,
            "jwks_uri": format!("{url}/jwks"),
            "token_endpoint": format!("{url}/token"),
            "grant_types_supported": ["client_credentials"],
            "response_types_supported": ["token"],
            "subject_types_supported": ["public"],
            "id_token_signing_alg_values_supported": [state.algorithm.as_str()],
        });
        for (member, value) in &state.metadata {
            document[member] = value.clone();
        }
        respond(StatusCode::OK, &document)
    }

    fn jwks(&self, headers: &HeaderMap) -> Response<FaultyBody> {
        let mut state = self.state.lock();
        let keys: Vec<_> = state.keys.iter().map(|key| key.jwk()).collect();
        let kids: Vec<_> = state.keys.iter().map(|key| key.kid()).collect();
        let etag = format!("\"{}\"", kids.join("+"));
        let known = headers
            .get(header::IF_NONE_MATCH)
            .is_some_and(|known| known == &*etag);
        let mut response = if known {
            state.counts.jwks_unchanged += 1;
            let mut response = Response::new(FaultyBody::whole(Bytes::new()));
            *response.status_mut() = StatusCode::NOT_MODIFIED;
            response
        } else {
            respond(StatusCode::OK, &json!({ "keys": keys }))
        };
        let headers = response.headers_mut();
        if let Ok(etag) = HeaderValue::try_from(etag) {
            headers.insert(header::ETAG, etag);
        }
        if let Some(max_age) = state.max_age {
            let value = HeaderValue::try_from(format!("max-age={max_age}"));
            headers.extend(value.ok().map(|value| (header::CACHE_CONTROL, value)));
        }
        response
    }

    /// What an attacker in the issuer's place would list, or an issuer that mixed its keys up.
    fn wrong_keys(&self) -> Response<FaultyBody> {
        let keys = self.state.lock().keys.clone();
        let wrong = keys
            .iter()
            .map(|key| SigningKey::generate(key.algorithm(), key.kid()).jwk());
        respond(
            StatusCode::OK,
            &json!({ "keys": wrong.collect::<Vec<_>>() }),
        )
    }

    fn token(
        &self,
        form: Option<HashMap<String, String>>,
        client: Option<(String, String)>,
    ) -> Response<FaultyBody> {
        let Some(mut form) = form else {
            return refuse(StatusCode::BAD_REQUEST, "invalid_request");
        };
        if form.get("grant_type").map(String::as_str) != Some("client_credentials") {
            return refuse(StatusCode::BAD_REQUEST, "unsupported_grant_type");
        }
        let Some((id, secret)) = client else {
            return refuse(StatusCode::UNAUTHORIZED, "invalid_client");
        };
        let mut answer = json!({"token_type": "Bearer"});
        let (key, lifetime, mut claims) = {
            let state = self.state.lock();
            let known = state
                .clients
                .get(&id)
                .map(|secrets| secrets.contains(&secret));
            if known == Some(false) || (known.is_none() && !state.clients.is_empty()) {
                return refuse(StatusCode::UNAUTHORIZED, "invalid_client");
            }
            let asked = form.remove("scope");
            let Some(granted) = state.grant(&id, asked.as_deref()) else {
                return refuse(StatusCode::BAD_REQUEST, "invalid_scope");
            };
            if !granted.is_empty() {
                if asked.as_ref() != Some(&granted) {
                    answer["scope"] = granted.clone().into();
                }
                form.insert("scope".to_owned(), granted);
            }
            (state.signer(), state.lifetime, state.extra_claims.clone())
        };
        claims["sub"] = id.clone().into();
        claims["client_id"] = id.into();
        claims["token_use"] = "access".into();
        claims["jti"] = format!("{:016x}", fastrand::u64(..)).into();
        for (parameter, claim) in [("scope", "scope"), ("audience", "aud"), ("resource", "aud")] {
            if let Some(value) = form.get(parameter) {
                claims[claim] = value.clone().into();
            }
        }
        answer["expires_in"] = lifetime.as_secs().into();
        answer["access_token"] = key.token(&self.complete(claims, lifetime)).into();
        respond(StatusCode::OK, &answer)
    }

    pub(super) fn complete(&self, mut claims: Value, lifetime: Duration) -> Value {
        let now = self.now();
        for (name, value) in [
            ("iss", Value::from(self.url.clone())),
            ("iat", now.into()),
            ("exp", (now + lifetime.as_secs()).into()),
        ] {
            if claims.get(name).is_none() {
                claims[name] = value;
            }
        }
        claims
    }
}

/// A form that is not too large.
async fn form(body: Incoming) -> Option<HashMap<String, String>> {
    let body = Limited::new(body, MAX_FORM).collect().await.ok()?;
    let pairs = form_urlencoded::parse(&body.to_bytes())
        .into_owned()
        .collect();
    Some(pairs)
}

/// The client's id and secret, from Basic (form-decoded, RFC 6749 §2.3.1) or the form.
fn client_of(headers: &HeaderMap, form: &HashMap<String, String>) -> Option<(String, String)> {
    let Some(value) = headers.get(header::AUTHORIZATION) else {
        return Some((
            form.get("client_id")?.clone(),
            form.get("client_secret")?.clone(),
        ));
    };
    let encoded = value.to_str().ok()?.strip_prefix("Basic ")?;
    let decoded = base64_simd::STANDARD.decode_to_vec(encoded).ok()?;
    let pair = String::from_utf8(decoded).ok()?;
    let (id, secret) = pair.split_once(':')?;
    let decode = |text: &str| {
        let pair = format!("x={text}");
        let decoded = form_urlencoded::parse(pair.as_bytes())
            .next()?
            .1
            .into_owned();
        Some(decoded)
    };
    Some((decode(id)?, decode(secret)?))
}

fn respond(status: StatusCode, body: &Value) -> Response<FaultyBody> {
    let mut response = Response::new(FaultyBody::whole(body.to_string()));
    *response.status_mut() = status;
    let json = HeaderValue::from_static("application/json");
    response.headers_mut().insert(header::CONTENT_TYPE, json);
    response
}

fn refuse(status: StatusCode, error: &str) -> Response<FaultyBody> {
    respond(status, &json!({ "error": error }))
}
