//! How the issuer is reached: deadlines, redirects, encodings, TLS, proxies, connections.

use std::net::SocketAddr;
use std::sync::LazyLock;

use midil_auth::{AuthBuilder, FetchErrorKind};
use parking_lot::Mutex;
use tokio::io::{AsyncRead, AsyncReadExt, AsyncWriteExt, copy_bidirectional};
use tokio_rustls::TlsAcceptor;
use tokio_rustls::rustls::pki_types::pem::PemObject;
use tokio_rustls::rustls::pki_types::{CertificateDer, PrivateKeyDer};
use tokio_rustls::rustls::{ServerConfig, crypto::aws_lc_rs};

use super::*;

const ROOT: &str = include_str!("../fixtures/tls/root.pem");

/// Good for `issuer.example`, 127.0.0.1 and 192.0.2.1, an address for examples that nobody has
/// (RFC 5737); the root's key is no more.
const SERVER: &[u8] = include_bytes!("../fixtures/tls/server.pem");
const SERVER_KEY: &[u8] = include_bytes!("../fixtures/tls/server.key");

async fn listener() -> (TcpListener, SocketAddr) {
    let listener = TcpListener::bind("127.0.0.1:0").await.expect("a port");
    let address = listener.local_addr().expect("an address");
    (listener, address)
}

/// The head of a message, up to the empty line.
async fn head(stream: &mut (impl AsyncRead + Unpin)) -> String {
    let mut head = Vec::new();
    while !head.ends_with(b"\r\n\r\n") {
        match stream.read_u8().await {
            Ok(byte) => head.push(byte),
            Err(_) => break,
        }
    }
    String::from_utf8_lossy(&head).into_owned()
}

/// A server that answers every request with these bytes and then keeps silent. It shows the
/// heads of the requests.
async fn raw(answer: Vec<u8>) -> (String, mpsc::UnboundedReceiver<String>) {
    let (seen, heads) = mpsc::unbounded_channel();
    let (listener, address) = listener().await;
    tokio::spawn(async move {
        while let Ok((mut stream, _)) = listener.accept().await {
            let (answer, seen) = (answer.clone(), seen.clone());
            tokio::spawn(async move {
                // A test that is over does not look any more.
                let _ = seen.send(head(&mut stream).await);
                let _ = stream.write_all(&answer).await;
                let _ = stream.read_to_end(&mut Vec::new()).await;
            });
        }
    });
    (format!("http://{address}/token"), heads)
}

/// What becomes of the first fetch from `url`.
async fn first_failure(
    builder: AuthBuilder,
    url: impl Into<String>,
    policy: RefreshPolicy,
) -> FetchError {
    let auth = builder.start().await.expect("started");
    let mut events = auth.events();
    let credential = orders(url).refresh(policy).start(Start::Background);
    let _token = auth.token(credential).await.expect("in the background");
    event(&mut events, |change| match change {
        Change::RefreshFailed { error, .. } => Some(Some(error.clone())),
        Change::Acquired(_) => Some(None),
        _ => None,
    })
    .await
    .expect("no token")
}

const HALF: &[u8] = b"HTTP/1.1 200 OK\r\ncontent-length: 60\r\n\r\n{\"access_token\":\"canary";

#[tokio::test]
async fn a_server_that_is_silent_is_given_up_wherever_it_falls_silent() {
    let (_listener, address) = listener().await;
    let (mute, _) = raw(Vec::new()).await;
    let (half, _) = raw(HALF.to_vec()).await;
    let long = Duration::from_secs(60);
    let slow = Auth::builder().connect_timeout(long).read_timeout(long);
    let connects = slow.clone().connect_timeout(ms(200));
    let reads = slow.clone().read_timeout(ms(200));
    for (quick, url, why) in [
        // Nobody answers the TLS handshake.
        (
            connects,
            format!("https://{address}/token"),
            "no connection in time",
        ),
        (reads.clone(), mute, "silent for too long"),
        (reads, half, "silent for too long"),
    ] {
        let patient = brisk().fetch_timeout(long);
        let error = first_failure(quick, &url, patient).await;
        assert_eq!(error.kind(), FetchErrorKind::Timeout);
        assert!(error.to_string().contains(why), "{error}");
        // The deadline of the fetch holds all by itself.
        let hasty = brisk().fetch_timeout(ms(300));
        let error = first_failure(slow.clone(), &url, hasty).await;
        assert_eq!(error.kind(), FetchErrorKind::Timeout);
        assert!(error.to_string().contains("300ms"), "{error}");
        assert!(!error.to_string().contains("canary"), "{error}");
    }
}

#[tokio::test]
async fn a_body_that_drips_outwits_the_read_timeout_but_not_the_deadline() {
    let issuer = an_issuer().await;
    issuer.fail(Endpoint::Token, Fault::Drip);
    let builder = Auth::builder().read_timeout(ms(500));
    let policy = brisk().fetch_timeout(ms(1_500));
    let error = first_failure(builder, issuer.token_url(), policy).await;
    assert!(error.to_string().contains("1.5s"), "{error}");
}

#[tokio::test]
async fn a_head_that_is_no_http_is_a_broken_connection_and_nothing_worse() {
    for head in [
        "HTTP/1.1 429 Too Many Requests\r\nretry-after: 1\0\r\n",
        "HTTP/1.1 200 OK\r\ncontent-length: -1\r\n",
        "HTTP/1.1 200 OK\r\ncontent-length: 99999999999999999999\r\n",
        "HTTP/1.1 99999 OK\r\n",
        "{\"access_token\":\"canary\"}\r\n",
    ] {
        let (url, _heads) = raw(format!("{head}\r\n").into_bytes()).await;
        let error = first_failure(Auth::builder(), url, brisk()).await;
        assert_eq!(error.kind(), FetchErrorKind::Connection, "{head}: {error}");
        assert!(!error.to_string().contains("canary"), "{error}");
    }
}

/// A way to `target` that counts those who take it.
async fn counted(target: String) -> (SocketAddr, Arc<AtomicU64>) {
    let (listener, address) = listener().await;
    let accepted = Arc::new(AtomicU64::new(0));
    let count = Arc::clone(&accepted);
    tokio::spawn(async move {
        while let Ok((mut client, _)) = listener.accept().await {
            count.fetch_add(1, Ordering::SeqCst);
            let target = target.clone();
            tokio::spawn(async move {
                if let Ok(mut server) = TcpStream::connect(target).await {
                    // Either side may end the connection as it likes.
                    let _ = copy_bidirectional(&mut client, &mut server).await;
                }
            });
        }
    });
    (address, accepted)
}

fn host(url: &str) -> String {
    url.replace("http://", "")
}

#[tokio::test]
async fn no_kind_of_redirect_is_followed_by_as_much_as_a_connection() {
    let elsewhere = an_issuer().await;
    let (trap, taken) = counted(host(elsewhere.url())).await;
    for status in [300, 301, 302, 303, 307, 308] {
        let issuer = an_issuer().await;
        issuer.fail(
            Endpoint::Token,
            Fault::Respond {
                status,
                headers: vec![("location".into(), format!("http://{trap}/token"))],
                body: String::new(),
            },
        );
        for method in [ClientAuth::default(), ClientAuth::Post] {
            let auth = auth().await;
            let mut events = auth.events();
            let credential = orders(issuer.token_url()).client_auth(method);
            let token = auth.token(credential.start(Start::Background)).await;
            let error = failure(&mut events, "status", false).await;
            assert!(error.to_string().contains("not followed"), "{error}");
            assert!(token.expect("in the background").authorization().is_err());
        }
    }
    assert_eq!(taken.load(Ordering::SeqCst), 0);
}

#[tokio::test]
async fn a_compressed_answer_is_neither_asked_for_nor_unpacked() {
    const BOMB: &[u8] = include_bytes!("../fixtures/token_response_bomb.gz");
    for encoding in ["content-encoding: gzip\r\n", "content-encoding: br\r\n", ""] {
        let length = BOMB.len();
        let mut answer =
            format!("HTTP/1.1 200 OK\r\n{encoding}content-length: {length}\r\n\r\n").into_bytes();
        answer.extend_from_slice(BOMB);
        let (url, mut heads) = raw(answer).await;
        let error = first_failure(Auth::builder(), url, brisk()).await;
        assert_eq!(error.kind(), FetchErrorKind::Malformed, "{error}");
        assert_eq!(
            error.to_string().contains("compressed"),
            !encoding.is_empty()
        );
        let head = heads.recv().await.expect("a request").to_ascii_lowercase();
        assert!(
            head.starts_with("post /token ") && !head.contains("accept-encoding"),
            "{head}"
        );
    }
    // What is not compressed may say so.
    let plain = b"HTTP/1.1 200 OK\r\ncontent-encoding: identity\r\nconnection: close\r\n\
        content-length: 22\r\n\r\n{\"access_token\":\"abc\"}";
    let (url, _heads) = raw(plain.to_vec()).await;
    let token = auth().await.token(orders(url)).await.expect("a token");
    assert_eq!(current(&token).expose(), "abc");
}

#[tokio::test]
async fn the_credentials_of_an_endpoint_share_its_connections() {
    let issuer = an_issuer().await;
    let (address, accepted) = counted(host(issuer.url())).await;
    let (url, auth) = (format!("http://{address}/token"), auth().await);
    let mut tokens = Vec::new();
    for n in 0..50 {
        let credential = ClientCredentials::new(&url, format!("one-by-one-{n}"), "s3cr3t");
        tokens.push(auth.token(credential).await.expect("a token"));
    }
    assert_eq!(accepted.load(Ordering::SeqCst), 1);
    for n in 0..1_000 {
        let credential = ClientCredentials::new(&url, format!("at-once-{n}"), "s3cr3t");
        let token = auth.token(credential.start(Start::Background)).await;
        tokens.push(token.expect("in the background"));
    }
    for token in &tokens {
        token.ready().await.expect("served");
    }
    let accepted = accepted.load(Ordering::SeqCst);
    // As many as may be under way at once, and some that were opened in vain.
    assert!(
        accepted <= 2 * 64,
        "{accepted} connections for 1,050 requests"
    );
    assert_eq!(issuer.counts().token, 1_050);
}

static TLS: LazyLock<TlsAcceptor> = LazyLock::new(|| {
    let provider = Arc::new(aws_lc_rs::default_provider());
    let certificate = CertificateDer::from_pem_slice(SERVER).expect("a certificate");
    let key = PrivateKeyDer::from_pem_slice(SERVER_KEY).expect("a key");
    let config = ServerConfig::builder_with_provider(provider)
        .with_safe_default_protocol_versions()
        .expect("versions")
        .with_no_client_auth()
        .with_single_cert(vec![certificate], key)
        .expect("they fit");
    TlsAcceptor::from(Arc::new(config))
});

/// TLS in front of an issuer.
async fn tls(issuer: &TestIssuer) -> SocketAddr {
    let (listener, address) = listener().await;
    let target = host(issuer.url());
    tokio::spawn(async move {
        while let Ok((client, _)) = listener.accept().await {
            let target = target.clone();
            tokio::spawn(async move {
                let client = TLS.accept(client).await;
                let server = TcpStream::connect(target).await;
                // Some tests are about a client that does not trust the server.
                if let (Ok(mut client), Ok(mut server)) = (client, server) {
                    let _ = copy_bidirectional(&mut client, &mut server).await;
                }
            });
        }
    });
    address
}

fn trusting() -> AuthBuilder {
    Auth::builder().add_root_certificate(ROOT)
}

#[tokio::test]
async fn an_issuer_is_trusted_by_an_added_root_and_not_without() {
    let issuer = an_issuer().await;
    let url = format!("https://{}/token", tls(&issuer).await);
    let auth = trusting().start().await.expect("started");
    let token = auth.token(orders(&url)).await.expect("a token over TLS");
    assert!(current(&token).expose().len() > 100);
    assert_eq!(issuer.counts().token, 1);

    let error = first_failure(Auth::builder(), &url, brisk()).await;
    assert_eq!(error.kind(), FetchErrorKind::Connection);
    assert!(error.to_string().contains("UnknownIssuer"), "{error}");
    assert_eq!(issuer.counts().token, 1);

    // A bundle, of which one is the right one.
    let bundle = format!("# ours\n{}{ROOT}", String::from_utf8_lossy(SERVER));
    let auth = Auth::builder().add_root_certificate(bundle).start().await;
    let token = auth.expect("started").token(orders(&url)).await;
    token.expect("a token over TLS");
}

#[tokio::test]
async fn a_root_certificate_that_is_none_is_refused_at_the_start() {
    let body = ROOT.lines().nth(1).expect("the first line");
    for pem in [
        "".to_owned(),
        "nonsense".to_owned(),
        ROOT.replace("CERTIFICATE", "PUBLIC KEY"),
        ROOT.replace("-----END CERTIFICATE-----", ""),
        ROOT.replace(body, "%%%"),
        ROOT.replace(body, &body[4..]),
        ROOT.replace(body, ""),
        String::from_utf8_lossy(SERVER_KEY).into_owned(),
    ] {
        let builder = trusting().add_root_certificate(pem.clone());
        let error = builder.start().await.expect_err(&pem);
        let AuthError::Configuration(config) = &error else {
            panic!("{error:?}");
        };
        assert_eq!(config.field(), "root_certificate");
        assert!(config.remedy().contains("BEGIN CERTIFICATE"), "{config}");
    }
}

/// A forward proxy: it connects whoever asks with CONNECT to `target`, whatever name was asked
/// for, if the request has this line.
struct Proxy {
    address: SocketAddr,
    /// The first lines of the requests.
    asked: Arc<Mutex<Vec<String>>>,
    /// Whatever went through, in the client's direction.
    seen: Arc<Mutex<Vec<u8>>>,
}

impl Proxy {
    async fn to(target: SocketAddr, wanted: &'static str) -> Self {
        let (listener, address) = listener().await;
        let proxy = Self {
            address,
            asked: Arc::default(),
            seen: Arc::default(),
        };
        let (asked, seen) = (Arc::clone(&proxy.asked), Arc::clone(&proxy.seen));
        tokio::spawn(async move {
            while let Ok((mut client, _)) = listener.accept().await {
                let (asked, seen) = (Arc::clone(&asked), Arc::clone(&seen));
                tokio::spawn(async move {
                    let head = head(&mut client).await;
                    asked.lock().extend(head.lines().next().map(str::to_owned));
                    if !head.lines().any(|line| line.eq_ignore_ascii_case(wanted)) {
                        let no = "HTTP/1.1 407 Proxy Authentication Required\r\n\
                            proxy-authenticate: Basic realm=\"canary\"\r\ncontent-length: 0\r\n\r\n";
                        let _ = client.write_all(no.as_bytes()).await;
                        return;
                    }
                    let mut server = TcpStream::connect(target).await.expect("the target");
                    let yes = b"HTTP/1.1 200 OK\r\n\r\n";
                    client.write_all(yes).await.expect("answered");
                    let (mut from, mut to) = client.split();
                    let (mut back, mut forth) = server.split();
                    let up = async {
                        let mut buffer = [0; 4096];
                        while let Ok(n @ 1..) = from.read(&mut buffer).await {
                            seen.lock().extend_from_slice(&buffer[..n]);
                            if forth.write_all(&buffer[..n]).await.is_err() {
                                break;
                            }
                        }
                    };
                    let down = tokio::io::copy(&mut back, &mut to);
                    // Either side may end the connection as it likes.
                    let _ = tokio::join!(up, down);
                });
            }
        });
        proxy
    }

    fn asked(&self) -> Vec<String> {
        self.asked.lock().clone()
    }
}

/// Wants nothing: every request has a line for its host.
const ANYBODY: &str = "host: issuer.example:443";

/// `user:p@ss`
const SOMEBODY: &str = "proxy-authorization: Basic dXNlcjpwQHNz";

#[tokio::test]
async fn a_proxy_leads_to_the_issuer_and_sees_nothing() {
    let issuer = an_issuer().await;
    let proxy = Proxy::to(tls(&issuer).await, ANYBODY).await;
    let auth = trusting().proxy(format!("http://{}", proxy.address));
    let auth = auth.start().await.expect("started");
    // No resolver knows this name.
    let url = "https://issuer.example/token";
    let credential = orders(url).client_auth(ClientAuth::Post);
    let token = auth
        .token(credential)
        .await
        .expect("a token through the proxy");
    assert_eq!(proxy.asked(), ["CONNECT issuer.example:443 HTTP/1.1"]);
    assert_eq!(issuer.counts().token, 1);
    let seen = String::from_utf8_lossy(&proxy.seen.lock()).into_owned();
    assert!(seen.len() > 500 && seen.contains("issuer.example"));
    assert!(!seen.contains("s3cr3t") && !seen.contains("grant_type"));

    // TLS is with the issuer, and its name is checked.
    let error = trusting().proxy(format!("http://{}", proxy.address));
    let other = first_failure(error, "https://other.example/token", brisk());
    let refused = other.await;
    assert_eq!(refused.kind(), FetchErrorKind::Connection, "{refused}");

    // What is on this machine needs nobody to lead there.
    let local = auth.token(orders(issuer.token_url())).await;
    local.expect("a token");
    assert!(
        proxy
            .asked()
            .iter()
            .all(|line| line.starts_with("CONNECT "))
    );
    drop(token);
}

#[tokio::test]
async fn a_proxy_that_wants_a_password_gets_it_and_nobody_else_does() {
    let issuer = an_issuer().await;
    let proxy = Proxy::to(tls(&issuer).await, SOMEBODY).await;
    let url = "https://issuer.example/token";
    let with = |user: &str| format!("http://{user}{}", proxy.address);
    let auth = trusting().proxy(with("user:p%40ss@")).start().await;
    let token = auth.expect("started").token(orders(url)).await;
    token.expect("a token through the proxy");
    for user in ["", "user:canary@"] {
        let builder = trusting().proxy(with(user));
        assert!(!format!("{builder:?}").contains("canary"));
        let error = first_failure(builder, url, brisk()).await;
        assert_eq!(error.kind(), FetchErrorKind::Connection);
        let printed = format!("{error} {error:?}");
        assert!(
            printed.contains("proxy") && !printed.contains("canary"),
            "{printed}"
        );
    }
    assert_eq!(issuer.counts().token, 1);
}

#[tokio::test]
async fn a_proxy_that_is_none_is_refused_at_the_start_and_not_repeated() {
    for url in [
        "",
        "canary",
        "user:canary@127.0.0.1:80",
        "socks5://user:canary@127.0.0.1:80",
        "ftp://user:canary@127.0.0.1",
        "http://",
        "http://user:canary@127.0.0.1:80/path",
        "http://user:canary@127.0.0.1:80?query",
        "http://user:canary@127.0.0.1:99999",
    ] {
        let builder = Auth::builder().proxy(url);
        let error = builder.start().await.expect_err(url);
        let AuthError::Configuration(config) = &error else {
            panic!("{error:?}");
        };
        assert_eq!(config.field(), "proxy");
        let printed = format!("{error} {error:?}");
        assert!(!printed.contains("canary"), "{printed}");
    }
    let zero = Auth::builder().connect_timeout(Duration::ZERO);
    let error = zero.start().await.expect_err("no time").to_string();
    assert!(error.contains("connect_timeout"), "{error}");
    let year = Auth::builder().read_timeout(Duration::from_secs(366 * 86_400));
    let error = year.start().await.expect_err("a year").to_string();
    assert!(error.contains("read_timeout"), "{error}");
}

#[test]
fn the_proxy_of_the_environment_is_taken_unless_there_is_to_be_none() {
    let runtime = tokio::runtime::Builder::new_current_thread()
        .enable_all()
        .build();
    let runtime = runtime.expect("a runtime");
    let (issuer, proxy) = runtime.block_on(async {
        let issuer = an_issuer().await;
        let proxy = Proxy::to(tls(&issuer).await, "host: 192.0.2.1:443").await;
        (issuer, proxy)
    });
    let named = format!("http://{}", proxy.address);
    let environment = [
        ("HTTPS_PROXY", Some(&*named)),
        ("https_proxy", Some(&*named)),
        ("ALL_PROXY", None),
        ("all_proxy", None),
        ("NO_PROXY", None),
        ("no_proxy", None),
    ];
    let start = |builder: AuthBuilder| {
        temp_env::with_vars(environment, || runtime.block_on(builder.start()))
    };
    let url = "https://192.0.2.1/token";
    let auth = start(trusting()).expect("started");
    let token = runtime.block_on(auth.token(orders(url)));
    token.expect("a token through the proxy");
    assert_eq!((proxy.asked().len(), issuer.counts().token), (1, 1));

    // Nobody is at that address.
    let builder = trusting().connect_timeout(ms(300)).no_proxy();
    let auth = start(builder).expect("started");
    let credential = orders(url).refresh(RefreshPolicy::for_tokens().ready_timeout(ms(700)));
    let token = runtime.block_on(auth.token(credential));
    token.expect_err("nobody there");
    assert_eq!((proxy.asked().len(), issuer.counts().token), (1, 1));
}
