//! reqwest, with the middleware and without it.

use http_body_util::BodyExt;
use midil_auth::AuthError;
use midil_auth::bearer::Origins;
use midil_auth::reqwest_middleware::TokenMiddleware;
use midil_auth::testing::MockAuthn;
use reqwest::Client;
use reqwest_middleware::{ClientBuilder, ClientWithMiddleware, Error};
use tokio::io::{AsyncRead, AsyncReadExt, AsyncWrite, AsyncWriteExt};
use tokio::net::TcpStream;
use tokio_rustls::TlsAcceptor;
use tokio_rustls::rustls::pki_types::pem::PemObject;
use tokio_rustls::rustls::pki_types::{CertificateDer, PrivateKeyDer};
use tokio_rustls::rustls::{ServerConfig, crypto::aws_lc_rs};

use super::*;

fn client<O: AsRef<str>>(
    token: &TokenHandle,
    origins: impl IntoIterator<Item = O>,
) -> ClientWithMiddleware {
    let origins = Origins::new(origins).expect("origins");
    ClientBuilder::new(Client::new())
        .with(TokenMiddleware::new(token.clone(), origins))
        .build()
}

async fn get(client: &ClientWithMiddleware, url: &str) -> u16 {
    let response = client.get(url).send().await.expect("an answer");
    response.status().as_u16()
}

#[tokio::test]
async fn the_token_goes_to_listed_origins_and_nowhere_else() {
    let (_issuer, _auth, token) = token().await;
    let (ours, other) = (Api::content().await, Api::content().await);
    let client = client(&token, [ours.origin()]);
    get(&client, &ours.url("/a?b")).await;
    assert_eq!(ours.only().authorization, bearer(&token));
    get(&client, &other.url("/")).await;
    assert_eq!(other.only().authorization, None);
    let by_name = ours.url("/").replace("127.0.0.1", "localhost");
    get(&client, &by_name).await;
    assert_eq!(ours.only().authorization, None);
}

#[tokio::test]
async fn a_request_with_an_authorization_of_its_own_is_left_alone() {
    let (issuer, _auth, token) = token().await;
    let api = Api::start(|_, _| status(StatusCode::UNAUTHORIZED)).await;
    let client = client(&token, [api.origin()]);
    let request = client.get(api.url("/")).basic_auth("ada", Some("pw"));
    let response = request.send().await.expect("an answer");
    assert_eq!(response.status(), 401);
    assert_eq!(api.only().authorization.as_deref(), Some("Basic YWRhOnB3"));
    assert_eq!(issuer.counts().token, 1);
}

#[tokio::test]
async fn no_request_is_sent_without_the_token_that_is_due() {
    let (_issuer, auth, token) = no_token().await;
    let (ours, other) = (Api::content().await, Api::content().await);
    let client = client(&token, [ours.origin()]);
    let error = client
        .get(ours.url("/"))
        .send()
        .await
        .expect_err("no token");
    let Error::Middleware(error) = error else {
        panic!("{error}");
    };
    let cause = error.downcast_ref::<AuthError>().expect("our error");
    assert_eq!(cause.as_str(), "authentication");
    assert!(ours.seen().is_empty());
    // What needs no token needs no issuer.
    assert_eq!(get(&client, &other.url("/")).await, 200);
    auth.shutdown().await;
    assert!(client.get(ours.url("/")).send().await.is_err());
    assert!(ours.seen().is_empty());
}

#[tokio::test]
async fn a_refused_token_is_renewed_and_the_request_replayed_once() {
    let (issuer, _auth, token) = token().await;
    let api = Api::start(refusing(&token)).await;
    let client = client(&token, [api.origin()]);
    let first = bearer(&token);
    let request = client.post(api.url("/orders")).body("{\"item\": 7}");
    assert_eq!(request.send().await.expect("an answer").status(), 200);
    let seen = api.seen();
    let tokens: Vec<_> = seen.iter().map(|it| it.authorization.clone()).collect();
    assert_eq!(tokens, [first, bearer(&token)]);
    for seen in seen {
        assert_eq!(
            (&*seen.path, &*seen.body),
            ("/orders", &b"{\"item\": 7}"[..])
        );
    }
    assert_eq!(issuer.counts().token, 2);
}

#[tokio::test]
async fn a_crowd_with_one_refused_token_costs_one_new_one() {
    let (issuer, _auth, token) = token().await;
    let api = Api::start(refusing(&token)).await;
    let client = client(&token, [api.origin()]);
    let crowd: Vec<_> = (0..50)
        .map(|_| {
            let (client, url) = (client.clone(), api.url("/"));
            tokio::spawn(async move { get(&client, &url).await })
        })
        .collect();
    for one in crowd {
        assert_eq!(one.await.expect("no panic"), 200);
    }
    assert_eq!(issuer.counts().token, 2);
    assert!(api.seen().len() <= 100);
}

#[tokio::test]
async fn a_server_that_refuses_everything_is_asked_twice_and_then_believed() {
    let (issuer, _auth, token) = token().await;
    let api = Api::start(|_, _| status(StatusCode::UNAUTHORIZED)).await;
    let client = client(&token, [api.origin()]);
    assert_eq!(get(&client, &api.url("/")).await, 401);
    assert_eq!(api.seen().len(), 2);
    // The next new token would come too soon, so there is nothing to replay with.
    assert_eq!(get(&client, &api.url("/")).await, 401);
    assert_eq!(api.seen().len(), 1);
    assert_eq!(issuer.counts().token, 2);
}

#[tokio::test]
async fn a_provider_without_another_token_replays_nothing() {
    let api = Api::start(|_, _| status(StatusCode::UNAUTHORIZED)).await;
    let origins = Origins::new([api.origin()]).expect("origins");
    let client = ClientBuilder::new(Client::new())
        .with(TokenMiddleware::new(MockAuthn::new("mock"), origins))
        .build();
    assert_eq!(get(&client, &api.url("/")).await, 401);
    assert_eq!(api.only().authorization.as_deref(), Some("Bearer mock"));
}

#[tokio::test]
async fn a_body_that_cannot_be_had_again_is_not_replayed_but_the_next_request_has_another_token() {
    let (issuer, _auth, token) = token().await;
    let api = Api::start(refusing(&token)).await;
    let client = client(&token, [api.origin()]);
    let stream = http_body_util::Full::new(Bytes::from_static(b"once")).boxed();
    let request = client.post(api.url("/")).body(reqwest::Body::wrap(stream));
    assert_eq!(request.send().await.expect("an answer").status(), 401);
    let first = api.only();
    assert_eq!(&*first.body, b"once");
    other_than(&token, &first.authorization).await;
    assert_eq!(get(&client, &api.url("/")).await, 200);
    assert_ne!(api.only().authorization, first.authorization);
    assert_eq!(issuer.counts().token, 2);
}

#[tokio::test]
async fn redirects_to_another_origin_lose_the_token_and_never_get_it_back() {
    let (issuer, _auth, token) = token().await;
    for code in [301, 302, 303, 307, 308] {
        // Refuses whoever brings no token, which must not look like a refused token.
        let other = Api::start(|path, authorization| match (path, authorization) {
            ("/", None) => status(StatusCode::UNAUTHORIZED),
            ("/", Some(_)) => Answer::default(),
            (back, _) => redirect(307, &format!("http://{}", back.trim_start_matches('/'))),
        })
        .await;
        let origin = other.origin();
        let ours = Api::start(move |path, _| match path {
            "/out" => redirect(code, &origin),
            "/here" => redirect(code, "/there"),
            location if location.starts_with("/to/") => {
                redirect(code, &format!("http://{}", &location[4..]))
            }
            _ => Answer::default(),
        })
        .await;
        let client = client(&token, [ours.origin()]);

        assert_eq!(get(&client, &ours.url("/here")).await, 200);
        let seen = ours.seen();
        let paths: Vec<_> = seen.iter().map(|it| &*it.path).collect();
        assert_eq!(paths, ["/here", "/there"]);
        assert!(seen.iter().all(|it| it.authorization == bearer(&token)));

        // Another port.
        assert_eq!(get(&client, &ours.url("/out")).await, 401);
        assert_eq!(ours.only().authorization, bearer(&token));
        assert_eq!(other.only().authorization, None);

        // Another host, though it is the same server.
        let by_name = ours.address.replace("127.0.0.1", "localhost");
        get(&client, &ours.url(&format!("/to/{by_name}/b"))).await;
        let seen: Vec<_> = ours.seen().into_iter().map(|it| it.authorization).collect();
        assert_eq!(seen, [bearer(&token), None]);

        // There and back again.
        let there = format!("/to/{}/{}", other.address, ours.address);
        get(&client, &ours.url(&there)).await;
        assert_eq!(other.only().authorization, None);
        let seen: Vec<_> = ours.seen().into_iter().map(|it| it.authorization).collect();
        assert_eq!(seen, [bearer(&token), None]);

        // From an origin that is not listed to one that is.
        get(&client, &other.url(&format!("/{}", ours.address))).await;
        assert_eq!(ours.only().authorization, None);
    }
    assert_eq!(issuer.counts().token, 1);
}

/// A server that speaks HTTP and HTTPS on the same port, and redirects `/` from either to the
/// other. Returns its port and what it has seen: the scheme, the path and the whole head.
async fn bilingual() -> (u16, Arc<Mutex<Vec<(&'static str, String)>>>) {
    let listener = TcpListener::bind("127.0.0.1:0").await.expect("a port");
    let port = listener.local_addr().expect("an address").port();
    let seen = Arc::new(Mutex::new(Vec::new()));
    let certificate = include_bytes!("../fixtures/tls/server.pem");
    let key = include_bytes!("../fixtures/tls/server.key");
    let chain = CertificateDer::pem_slice_iter(certificate).collect::<Result<_, _>>();
    let key = PrivateKeyDer::from_pem_slice(key).expect("a key");
    let config = ServerConfig::builder_with_provider(Arc::new(aws_lc_rs::default_provider()))
        .with_safe_default_protocol_versions()
        .expect("versions")
        .with_no_client_auth()
        .with_single_cert(chain.expect("certificates"), key)
        .expect("a pair");
    let acceptor = TlsAcceptor::from(Arc::new(config));
    let remember = Arc::clone(&seen);
    tokio::spawn(async move {
        while let Ok((stream, _)) = listener.accept().await {
            let (acceptor, seen) = (acceptor.clone(), Arc::clone(&remember));
            tokio::spawn(async move {
                let mut first = [0];
                stream.peek(&mut first).await.expect("a byte");
                if first == [22] {
                    let stream = acceptor.accept(stream).await.expect("TLS");
                    converse(stream, port, "https", "http", &seen).await;
                } else {
                    converse::<TcpStream>(stream, port, "http", "https", &seen).await;
                }
            });
        }
    });
    (port, seen)
}

async fn converse<S: AsyncRead + AsyncWrite + Unpin>(
    mut stream: S,
    port: u16,
    scheme: &'static str,
    other: &str,
    seen: &Mutex<Vec<(&'static str, String)>>,
) {
    let mut head = Vec::new();
    while !head.ends_with(b"\r\n\r\n") {
        let Ok(byte) = stream.read_u8().await else {
            return;
        };
        head.push(byte);
    }
    let head = String::from_utf8(head).expect("text");
    let answer = if head.starts_with("GET / ") {
        format!("307 Temporary Redirect\r\nlocation: {other}://127.0.0.1:{port}/end")
    } else {
        "200 OK".to_owned()
    };
    seen.lock().push((scheme, head));
    let answer = format!("HTTP/1.1 {answer}\r\ncontent-length: 0\r\nconnection: close\r\n\r\n");
    stream.write_all(answer.as_bytes()).await.expect("sent");
    stream.shutdown().await.expect("closed");
}

#[tokio::test]
async fn a_redirect_to_another_scheme_of_the_same_host_and_port_loses_the_token() {
    let (_issuer, _auth, token) = token().await;
    let (port, seen) = bilingual().await;
    let root = reqwest::Certificate::from_pem(include_bytes!("../fixtures/tls/root.pem"));
    let inner = Client::builder().add_root_certificate(root.expect("a root"));
    let origins = ["http", "https"].map(|scheme| format!("{scheme}://127.0.0.1:{port}"));
    let origins = Origins::new(&origins).expect("origins");
    let client = ClientBuilder::new(inner.build().expect("a client"))
        .with(TokenMiddleware::new(token.clone(), origins))
        .build();
    let has_token = |head: &str| head.contains(&bearer(&token).expect("a token"));
    for (first, second) in [("https", "http"), ("http", "https")] {
        let url = format!("{first}://127.0.0.1:{port}/");
        assert_eq!(get(&client, &url).await, 200);
        let seen = std::mem::take(&mut *seen.lock());
        let seen: Vec<_> = seen
            .iter()
            .map(|(scheme, head)| (*scheme, has_token(head)))
            .collect();
        assert_eq!(seen, [(first, true), (second, false)]);
    }
}

#[tokio::test]
async fn plain_reqwest_needs_one_line() {
    let (_issuer, _auth, token) = token().await;
    let api = Api::content().await;
    let client = Client::new();
    let request = client
        .get(api.url("/"))
        .header("authorization", token.authorization().expect("a token"));
    request.send().await.expect("an answer");
    assert_eq!(api.only().authorization, bearer(&token));
    let headers = token.headers().expect("a token").into();
    client
        .get(api.url("/"))
        .headers(headers)
        .send()
        .await
        .expect("an answer");
    assert_eq!(api.only().authorization, bearer(&token));
}

#[tokio::test]
async fn neither_the_middleware_nor_its_errors_print_the_token() {
    let (_issuer, _auth, token) = token().await;
    let origins = Origins::new(["https://api.example.com"]).expect("origins");
    let middleware = TokenMiddleware::new(token.clone(), origins);
    let printed = format!("{middleware:?}");
    assert!(printed.contains("api.example.com"), "{printed}");
    let secret = token.current().expect("a token");
    assert!(!printed.contains(secret.expose()), "{printed}");
}
