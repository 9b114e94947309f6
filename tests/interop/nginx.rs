//! nginx, told what the guide says, in front of a service that is not Rust.

use std::fs;
use std::path::Path;
use std::process::Command;
use std::sync::Arc;

use axum::Router;
use midil_auth::testing::{Endpoint, Fault, TestIssuer};
use midil_auth::{Auth, Start, Verifier};
use reqwest::{RequestBuilder, Response};
use serde_json::{Value, json};
use tokio::net::TcpListener;

use crate::harness::{Http, Process, Scratch, eventually, free_port, runs, servers, skipped};

#[path = "../../examples/resource_server.rs"]
#[expect(dead_code, reason = "its `main` is for others")]
mod resource_server;

/// What the guide's text says, and what stands there in the test.
const VERIFIER: &str = "127.0.0.1:9000";
const BACKEND: &str = "127.0.0.1:9001";
const NGINX: &str = "127.0.0.1:8000";

const INVALID: &str = "Bearer error=\"invalid_token\"";
const EXPIRED: &str = "Bearer error=\"invalid_token\", error_description=\"the token has expired\"";
const MALFORMED: &str = "Bearer error=\"invalid_request\"";

fn nginx() -> Option<&'static str> {
    let found = ["nginx", "/usr/sbin/nginx"]
        .into_iter()
        .find(|nginx| runs(nginx, "-v"));
    if found.is_none() || !runs("python3", "--version") {
        skipped("nginx", "install nginx and Python 3");
        return None;
    }
    found
}

/// nginx, and the service behind it.
struct Gate {
    http: Http,
    _processes: [Process; 2],
    _scratch: Scratch,
}

impl Gate {
    /// `verifier` is the address that nginx asks.
    async fn start(nginx: &str, verifier: &str) -> Self {
        let scratch = Scratch::new();
        let mut python = Command::new("python3");
        python.arg(servers().join("backend.py"));
        let mut backend = Process::start(&mut python, scratch.path("backend.log"));
        let mut address = String::new();
        backend
            .in_service(async |output| {
                address = format!("127.0.0.1:{}", output.trim());
                output.ends_with('\n')
            })
            .await;

        let port = free_port();
        let guide = Path::new(env!("CARGO_MANIFEST_DIR")).join("docs/guides/nginx.md");
        let guide = fs::read_to_string(guide).expect("the guide");
        let mut servers = guide
            .split("```nginx\n")
            .nth(1)
            .and_then(|rest| rest.split("```").next())
            .expect("the configuration")
            .to_owned();
        let ours = format!("127.0.0.1:{port}");
        for (told, here) in [(VERIFIER, verifier), (BACKEND, &*address), (NGINX, &*ours)] {
            assert_eq!(servers.matches(told).count(), 1, "{told}");
            servers = servers.replace(told, here);
        }
        let temporary = ["client_body", "proxy", "fastcgi", "uwsgi", "scgi"]
            .map(|name| format!("{name}_temp_path {name};\n"))
            .concat();
        // One process, so that it is gone when it is killed.
        let configuration = format!(
            "daemon off;\nmaster_process off;\npid nginx.pid;\nerror_log stderr warn;\n\
             events {{}}\nhttp {{\naccess_log off;\n{temporary}{servers}}}\n"
        );
        fs::write(scratch.path("nginx.conf"), configuration).expect("written");
        let mut command = Command::new(nginx);
        command
            .arg("-p")
            .arg(scratch.path(""))
            .args(["-c", "nginx.conf", "-e", "stderr"]);
        let mut process = Process::start(&mut command, scratch.path("nginx.log"));
        let http = Http::new(port);
        process
            .in_service(async |_| http.request("/health").send().await.is_ok())
            .await;
        Self {
            http,
            _processes: [process, backend],
            _scratch: scratch,
        }
    }

    fn get(&self, path: &str, token: &str) -> RequestBuilder {
        self.http.request(path).bearer_auth(token)
    }
}

/// What the service was asked, if it was this that answered.
async fn seen(response: Response) -> Value {
    let status = response.status();
    assert!(response.headers().contains_key("x-backend"), "{status}");
    let body = response.text().await.expect("a body");
    serde_json::from_str(&body).expect("JSON")
}

fn header<'a>(seen: &'a Value, wanted: &str) -> Vec<&'a str> {
    let headers = seen["headers"].as_array().expect("headers").iter();
    headers
        // As frameworks do that make environment variables of headers.
        .filter(|header| {
            let name = header[0].as_str().expect("a name").to_ascii_lowercase();
            name.replace('_', "-") == wanted
        })
        .map(|header| header[1].as_str().expect("a value"))
        .collect()
}

async fn serve(app: Router) -> String {
    let listener = TcpListener::bind("127.0.0.1:0").await.expect("a port");
    let address = listener.local_addr().expect("an address").to_string();
    tokio::spawn(async move { axum::serve(listener, app).await });
    address
}

/// Refused by nginx, and never seen by the service.
async fn assert_refused(name: &str, request: RequestBuilder, status: u16, challenge: Option<&str>) {
    let response = request.send().await.expect(name);
    assert_eq!(response.status(), status, "{name}");
    let headers = response.headers();
    let challenges: Vec<_> = headers.get_all("www-authenticate").iter().collect();
    assert_eq!(challenges, Vec::from_iter(challenge), "{name}");
    assert!(!headers.contains_key("retry-after"), "{name}");
    assert!(!headers.contains_key("x-backend"), "{name}");
}

#[tokio::test]
async fn nginx_lets_in_whom_the_verifier_lets_in_and_tells_the_service_who_that_is() {
    let Some(nginx) = nginx() else { return };
    let issuer = TestIssuer::start().await.expect("started");
    let auth = Auth::start().await.expect("started");
    let rules = Verifier::builder(issuer.url()).audience("orders");
    let verifier = auth.verifier(rules).await.expect("a verifier");
    let address = serve(resource_server::app(auth, Arc::new(verifier))).await;
    let gate = Gate::start(nginx, &address).await;

    let claims = json!({"sub": "ada", "aud": "orders", "scope": "orders/read orders/list"});
    let ada = issuer.mint(claims.clone());
    let bob = issuer.mint(json!({"sub": "bob", "aud": "orders"}));

    // In, as themselves and as nobody else.
    let forged = gate
        .get("/hello?x=1", &ada)
        .header("x-auth-subject", "root")
        .header("x_auth_subject", "root")
        .header("x-auth-scope", "everything");
    let asked = seen(forged.send().await.expect("an answer")).await;
    assert_eq!(asked["path"], "/hello?x=1");
    assert_eq!(header(&asked, "x-auth-subject"), ["ada"]);
    assert_eq!(header(&asked, "x-auth-scope"), ["orders/read orders/list"]);
    assert_eq!(header(&asked, "authorization"), [""; 0]);
    let forged = gate.get("/", &bob).header("x-auth-scope", "everything");
    let asked = seen(forged.send().await.expect("an answer")).await;
    assert_eq!(header(&asked, "x-auth-subject"), ["bob"]);
    assert_eq!(header(&asked, "x-auth-scope"), [""; 0]);
    let forged = gate
        .http
        .request("/health")
        .header("x-auth-subject", "root");
    let asked = seen(forged.send().await.expect("an answer")).await;
    assert_eq!(header(&asked, "x-auth-subject"), [""; 0]);

    let asked = seen(gate.get("/orders/7", &ada).send().await.expect("an answer")).await;
    assert_eq!(asked["path"], "/orders/7");
    let scopes: Vec<_> = (0..1_000).map(|n| format!("orders/{n}")).collect();
    let many = issuer.mint(json!({"sub": "eve", "aud": "orders", "scope": scopes.join(" ")}));
    assert!(many.len() > 12_000, "longer than nginx takes by default");
    let asked = seen(gate.get("/", &many).send().await.expect("an answer")).await;
    assert_eq!(header(&asked, "x-auth-scope"), [scopes.join(" ")]);

    // What the service answers is its own.
    let broken = gate.get("/broken", &ada).send().await.expect("an answer");
    assert_eq!(broken.status(), 500);
    assert_eq!(seen(broken).await["path"], "/broken");

    let get = |path: &str, token: &str| gate.get(path, token);
    let bare = |path: &str| gate.http.request(path);
    let odd = |sub: &str| gate.get("/", &issuer.mint(json!({"sub": sub, "aud": "orders"})));
    let missing = Some("Bearer");
    let scope = Some("Bearer error=\"insufficient_scope\", scope=\"orders/read\"");
    let forbidden = Some("Bearer error=\"insufficient_scope\"");
    for (name, request, status, challenge) in [
        ("no token", bare("/"), 401, missing),
        (
            "another scheme",
            bare("/").basic_auth("ada", Some(&ada)),
            401,
            missing,
        ),
        (
            "in the query",
            bare(&format!("/?access_token={ada}")),
            401,
            missing,
        ),
        (
            "in the body",
            bare("/")
                .header("content-type", "application/x-www-form-urlencoded")
                .body(format!("access_token={ada}")),
            401,
            missing,
        ),
        ("garbage", get("/", "garbage"), 401, Some(INVALID)),
        (
            "expired",
            get("/", &issuer.mint_expired(claims.clone())),
            401,
            Some(EXPIRED),
        ),
        (
            "forged",
            get("/", &issuer.mint_forged(claims.clone())),
            401,
            Some(INVALID),
        ),
        (
            "for others",
            get("/", &issuer.mint(json!({"sub": "ada", "aud": "others"}))),
            401,
            Some(INVALID),
        ),
        ("no scope", get("/orders/7", &bob), 403, scope),
        (
            "no scope, by another spelling",
            get("//orders/7", &bob),
            403,
            scope,
        ),
        (
            "no scope, by yet another",
            get("/%6frders%2f7", &bob),
            403,
            scope,
        ),
        ("no token, for a scope", bare("/orders/7"), 401, missing),
        ("two headers", get("/", &ada).bearer_auth(&ada), 400, None),
        (
            "two schemes",
            get("/", &ada).basic_auth("ada", Some("")),
            400,
            None,
        ),
        (
            "two words",
            get("/", &format!("{ada} {ada}")),
            400,
            Some(MALFORMED),
        ),
        (
            "non-ASCII",
            bare("/").header("authorization", &b"Bearer \xc3\xa9\xff"[..]),
            400,
            Some(MALFORMED),
        ),
        (
            "17 KB",
            get("/", &"a".repeat(17 * 1024)),
            401,
            Some(INVALID),
        ),
        ("100 KB", get("/", &"a".repeat(100 * 1024)), 400, None),
        (
            "a gRPC call",
            get("/", "garbage").header("content-type", "application/grpc"),
            401,
            Some(INVALID),
        ),
        (
            "nobody",
            get("/", &issuer.mint(json!({"aud": "orders"}))),
            403,
            forbidden,
        ),
        (
            "a line end in the name",
            odd("ada\r\nx-auth-scope: all"),
            403,
            forbidden,
        ),
        ("a name that is not ASCII", odd("ad\u{e5}"), 403, forbidden),
        ("the verifier itself", get("/_verify", &ada), 404, None),
    ] {
        assert_refused(name, request, status, challenge).await;
    }

    // nginx hides it; were it told not to, the verifier would still not say yes.
    let direct = reqwest::Client::new().get(format!("http://{address}/verify"));
    let call = direct.header("content-type", "application/grpc");
    assert_refused("a gRPC call to the verifier", call, 401, missing).await;
}

#[tokio::test]
async fn no_verdict_is_a_503_through_nginx_too_and_passes() {
    let Some(nginx) = nginx() else { return };
    let issuer = TestIssuer::start().await.expect("started");
    issuer.fail(Endpoint::Jwks, Fault::Status(503));
    let auth = Auth::start().await.expect("started");
    let rules = Verifier::builder(issuer.url()).audience("orders");
    let verifier = auth.verifier(rules.start(Start::Background)).await;
    let verifier = Arc::new(verifier.expect("in the background"));
    let address = serve(resource_server::app(auth, verifier)).await;
    let gate = Gate::start(nginx, &address).await;
    let token = issuer.mint(json!({"sub": "ada", "aud": "orders", "scope": "orders/read"}));

    for path in ["/", "/orders/7"] {
        let response = gate.get(path, &token).send().await.expect("an answer");
        assert_eq!(response.status(), 503);
        let headers = response.headers();
        let after = headers["retry-after"].to_str().expect("text");
        assert!(after.parse::<u64>().is_ok_and(|after| after > 0), "{after}");
        assert!(!headers.contains_key("www-authenticate"));
        assert!(!headers.contains_key("x-backend"));
    }
    // That takes no keys.
    assert_refused("no token", gate.http.request("/"), 401, Some("Bearer")).await;

    issuer.recover();
    let response = eventually("the keys are there", async || {
        let response = gate.get("/orders/7", &token).send().await;
        response.ok().filter(|response| response.status() == 200)
    });
    assert_eq!(
        header(&seen(response.await).await, "x-auth-subject"),
        ["ada"]
    );

    // Nobody listens on the port after that of a free pair.
    let nobody = format!("127.0.0.1:{}", free_port() + 1);
    let gate = Gate::start(nginx, &nobody).await;
    let response = gate.get("/", &token).send().await.expect("an answer");
    assert_eq!(response.status(), 503);
    assert!(!response.headers().contains_key("x-backend"));
}
