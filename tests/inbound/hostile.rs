//! T28: endpoints that mean harm, on a bare socket: more than anybody can hold, or nothing, but
//! slowly.

use std::io;
use std::sync::Arc;
use std::sync::atomic::{AtomicU64, AtomicUsize, Ordering};
use std::time::Duration;

use midil_auth::event::Change;
use midil_auth::jwt::Verifier;
use midil_auth::testing::{Endpoint, Fault, TestIssuer};
use midil_auth::{Auth, FetchError, RefreshPolicy, Start};
use tokio::io::{AsyncReadExt, AsyncWriteExt};
use tokio::net::{TcpListener, TcpStream};
use tokio::task::AbortHandle;

use super::{hastily, hasty};

/// Larger than any socket's buffers and what is read of a key set together.
const WAY_TOO_MUCH: usize = 100 * 1024 * 1024;

/// A JWK Set of one good key and 4 MiB of white space, compressed a thousandfold.
const BOMB: &[u8] = include_bytes!("../fixtures/bomb.json.gz");

/// What is written to whoever connects.
#[derive(Clone, Copy, Debug)]
enum Answer {
    /// 100 MB, announced.
    Announced,
    /// The same without a word before.
    Unannounced,
    /// Chunks without end.
    Chunks,
    /// Header lines without end.
    Headers,
    /// A byte of the header every 20 ms.
    SlowHeaders,
    /// A byte of a body that was announced every 20 ms.
    SlowBody,
    /// Interim responses (RFC 9110 §15.2) without end.
    Interim,
    Bomb,
    /// Something that is not HTTP.
    Noise,
}

struct Hostile {
    url: String,
    written: Arc<AtomicUsize>,
    connections: Arc<AtomicU64>,
    server: AbortHandle,
}

impl Hostile {
    async fn start(answer: Answer) -> Self {
        let listener = TcpListener::bind(("127.0.0.1", 0)).await.expect("a port");
        let url = format!("http://{}/jwks", listener.local_addr().expect("bound"));
        let written = Arc::new(AtomicUsize::new(0));
        let connections = Arc::new(AtomicU64::new(0));
        let (bytes, count) = (Arc::clone(&written), Arc::clone(&connections));
        let server = tokio::spawn(async move {
            while let Ok((stream, _)) = listener.accept().await {
                count.fetch_add(1, Ordering::SeqCst);
                let bytes = Arc::clone(&bytes);
                // That the other end hangs up is the point.
                tokio::spawn(async move { drop(serve(stream, answer, &bytes).await) });
            }
        });
        Self {
            url,
            written,
            connections,
            server: server.abort_handle(),
        }
    }
}

impl Drop for Hostile {
    fn drop(&mut self) {
        self.server.abort();
    }
}

async fn serve(mut stream: TcpStream, answer: Answer, written: &AtomicUsize) -> io::Result<()> {
    let mut request = vec![0; 16 * 1024];
    let read = stream.read(&mut request).await?;
    let request = String::from_utf8_lossy(&request[..read]).to_ascii_lowercase();
    // Nobody asked for anything to be inflated.
    assert!(!request.contains("accept-encoding"), "{request}");
    let block = vec![b' '; 64 * 1024];
    let head = "HTTP/1.1 200 OK\r\ncontent-type: application/json\r\n";
    let mut send = async |bytes: &[u8]| {
        stream.write_all(bytes).await?;
        written.fetch_add(bytes.len(), Ordering::SeqCst);
        io::Result::Ok(())
    };
    match answer {
        Answer::Announced => {
            send(format!("{head}content-length: {WAY_TOO_MUCH}\r\n\r\n").as_bytes()).await?;
            for _ in 0..WAY_TOO_MUCH / block.len() {
                send(&block).await?;
            }
        }
        Answer::Unannounced => {
            send(format!("{head}connection: close\r\n\r\n").as_bytes()).await?;
            for _ in 0..WAY_TOO_MUCH / block.len() {
                send(&block).await?;
            }
        }
        Answer::Chunks => {
            send(format!("{head}transfer-encoding: chunked\r\n\r\n").as_bytes()).await?;
            loop {
                send(b"1000\r\n").await?;
                send(&block[..0x1000]).await?;
                send(b"\r\n").await?;
            }
        }
        Answer::Headers => {
            send(head.as_bytes()).await?;
            loop {
                send(format!("x-more: {}\r\n", "x".repeat(4_000)).as_bytes()).await?;
            }
        }
        Answer::SlowHeaders | Answer::SlowBody => {
            if let Answer::SlowBody = answer {
                send(format!("{head}content-length: 100000\r\n\r\n").as_bytes()).await?;
            }
            for byte in head.bytes().cycle() {
                send(&[byte]).await?;
                tokio::time::sleep(Duration::from_millis(20)).await;
            }
        }
        Answer::Interim => loop {
            send(b"HTTP/1.1 103 Early Hints\r\nlink: </jwks>\r\n\r\n").await?;
        },
        Answer::Bomb => {
            let length = BOMB.len();
            let more = format!("content-encoding: gzip\r\ncontent-length: {length}\r\n\r\n");
            send(format!("{head}{more}").as_bytes()).await?;
            send(BOMB).await?;
        }
        Answer::Noise => loop {
            send(&block).await?;
        },
    }
    Ok(())
}

/// How the first fetch from there fails.
async fn failure(url: &str) -> FetchError {
    let auth = Auth::start().await.expect("started");
    let mut events = auth.events();
    let rules = hastily("https://idp.example.test")
        .jwks_url(url)
        .start(Start::Background);
    let verifier = auth.verifier(rules).await.expect("a verifier");
    let error = loop {
        let next = tokio::time::timeout(Duration::from_secs(30), events.recv()).await;
        let event = next.expect("an end to it").expect("an event");
        match event.change {
            Change::RefreshFailed { error, .. } => break error,
            other => assert!(!matches!(other, Change::Rotated { .. }), "keys of that?"),
        }
    };
    assert!(verifier.keys().is_none());
    error
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn no_answer_is_read_beyond_its_bounds() {
    for (answer, kind) in [
        (Answer::Announced, &["too_large"][..]),
        (Answer::Unannounced, &["too_large"]),
        (Answer::Chunks, &["too_large"]),
        (Answer::Headers, &["connection"]),
        (Answer::SlowHeaders, &["timeout"]),
        (Answer::SlowBody, &["timeout"]),
        (Answer::Interim, &["timeout", "connection"]),
        (Answer::Bomb, &["malformed", "too_large"]),
        (Answer::Noise, &["connection"]),
    ] {
        let hostile = Hostile::start(answer).await;
        let error = failure(&hostile.url).await;
        assert!(kind.contains(&error.as_str()), "{answer:?}: {error}");
        assert!(error.is_transient(), "{answer:?}");
        assert!(error.to_string().len() < 300, "{error}");
        // What was written beyond the bound stands in the buffers of sockets, for each connection.
        let connections = hostile.connections.load(Ordering::SeqCst);
        let written = hostile.written.load(Ordering::SeqCst) as u64 / connections;
        assert!(written < 16 * 1024 * 1024, "{answer:?}: {written} bytes");
    }
}

/// No redirect is followed, wherever it leads.
#[tokio::test]
async fn no_redirect_is_followed() {
    let (issuer, other) = (
        TestIssuer::start().await.expect("up"),
        TestIssuer::start().await.expect("up"),
    );
    for to in [
        other.jwks_url(),
        issuer.jwks_url(),
        "/jwks".to_owned(),
        "file:///etc/passwd".to_owned(),
        "http://idp.example.com/jwks".to_owned(),
    ] {
        issuer.fail(Endpoint::Jwks, Fault::Redirect(to.clone()));
        let before = issuer.counts().jwks;
        let error = failure(&issuer.jwks_url()).await;
        assert_eq!(error.as_str(), "status", "{to}: {error}");
        assert!(issuer.counts().jwks > before);
        issuer.recover();
        issuer.fail(Endpoint::Discovery, Fault::Redirect(to.clone()));
        let auth = Auth::start().await.expect("started");
        let rules = hasty(&issuer)
            .refresh(RefreshPolicy::for_keys().ready_timeout(Duration::from_millis(100)));
        assert!(auth.verifier(rules).await.is_err(), "{to}");
        issuer.recover();
    }
    assert_eq!(other.counts().jwks, 0);
}

/// What answers where another credential's server should is not even asked.
#[tokio::test]
async fn keys_come_over_https_or_loopback_only() {
    let auth = Auth::start().await.expect("started");
    for url in [
        "http://idp.example.com/jwks",
        "file:///etc/passwd",
        "ftp://idp.example.com/jwks",
        "https://user:secret@idp.example.com/jwks",
        "//idp.example.com/jwks",
        "jwks.json",
    ] {
        let rules = Verifier::builder("https://idp.example.com")
            .audience("orders")
            .jwks_url(url);
        let error = auth.verifier(rules).await.expect_err(url);
        assert!(error.to_string().contains("jwks_url"), "{error}");
        assert!(!error.to_string().contains("secret"), "{error}");
    }
}
