//! Servers as child processes on free ports of the loopback interface, gone when their test is.

use std::fs::{self, File};
use std::io::Write;
use std::net::{Ipv4Addr, TcpListener};
use std::path::{Path, PathBuf};
use std::process::{Child, Command, Stdio};
use std::sync::atomic::{AtomicU32, Ordering};
use std::time::Duration;

use reqwest::{Client, RequestBuilder};
use serde_json::Value;

/// Bounds a hang; no measure of anything.
const PATIENCE: Duration = Duration::from_secs(30);
const POLL: Duration = Duration::from_millis(20);

/// Polls until there is an answer.
pub(crate) async fn eventually<T>(what: &str, mut probe: impl AsyncFnMut() -> Option<T>) -> T {
    let polling = async {
        loop {
            if let Some(found) = probe().await {
                return found;
            }
            tokio::time::sleep(POLL).await;
        }
    };
    match tokio::time::timeout(PATIENCE, polling).await {
        Ok(found) => found,
        Err(_) => panic!("{what}: not within {PATIENCE:?}"),
    }
}

/// Whether a server is installed; if not, says so, or fails where that was asked for.
pub(crate) fn installed(server: &str, file: &str, tool: &str) -> bool {
    let there = runs(tool, "--version") && servers().join(file).exists();
    there || skipped(server, "run tests/interop/servers/install.sh")
}

/// Whether there is such a program.
pub(crate) fn runs(tool: &str, arg: &str) -> bool {
    Command::new(tool)
        .arg(arg)
        .stdout(Stdio::null())
        .stderr(Stdio::null())
        .status()
        .is_ok_and(|status| status.success())
}

/// Says that a server is not installed, or fails where that was asked for.
pub(crate) fn skipped(server: &str, remedy: &str) -> bool {
    let message = format!("SKIPPED interop {server}: {remedy}");
    assert!(
        std::env::var("MIDIL_INTEROP").as_deref() != Ok("required"),
        "{message}"
    );
    // Not `eprintln!`: the test harness hides that of a test that passes.
    writeln!(std::io::stderr(), "{message}").expect("stderr");
    false
}

/// Where the servers' scripts and packages are.
pub(crate) fn servers() -> PathBuf {
    Path::new(env!("CARGO_MANIFEST_DIR")).join("tests/interop/servers")
}

/// A number that no other caller has, not even in another run beside this one.
fn unique() -> u32 {
    static NEXT: AtomicU32 = AtomicU32::new(0);
    NEXT.fetch_add(1, Ordering::Relaxed) + std::process::id() * 64
}

/// A port that is free, and so is the one after it.
pub(crate) fn free_port() -> u16 {
    loop {
        // Below the range that outgoing connections draw their ports from.
        let port = 20_000 + unique() % 6_000 * 2;
        let port = u16::try_from(port).expect("a port");
        let free = |port| TcpListener::bind((Ipv4Addr::LOCALHOST, port)).is_ok();
        if free(port) && free(port + 1) {
            return port;
        }
    }
}

/// A directory that goes with its test.
pub(crate) struct Scratch(PathBuf);

impl Scratch {
    pub(crate) fn new() -> Self {
        let path = Path::new(env!("CARGO_TARGET_TMPDIR")).join(format!("interop-{}", unique()));
        fs::create_dir_all(&path).expect("a scratch directory");
        Self(path)
    }

    pub(crate) fn path(&self, name: &str) -> PathBuf {
        self.0.join(name)
    }
}

impl Drop for Scratch {
    fn drop(&mut self) {
        // A test that failed has more to say than this.
        let _ = fs::remove_dir_all(&self.0);
    }
}

/// A child process, killed when dropped, by a panic too.
pub(crate) struct Process {
    child: Child,
    log: PathBuf,
}

impl Process {
    /// Starts it with its output in the file `log`.
    pub(crate) fn start(command: &mut Command, log: PathBuf) -> Self {
        let out = File::create(&log).expect("a log file");
        let err = out.try_clone().expect("a log file");
        let child = command
            .stdin(Stdio::null())
            .stdout(out)
            .stderr(err)
            .spawn()
            .expect("the server starts");
        Self { child, log }
    }

    fn output(&self) -> String {
        fs::read_to_string(&self.log).unwrap_or_default()
    }

    /// Waits until `probe` finds it in service.
    pub(crate) async fn in_service(&mut self, mut probe: impl AsyncFnMut(&str) -> bool) {
        eventually("the server is in service", async || {
            let output = self.output();
            if let Some(status) = self.child.try_wait().expect("a child") {
                panic!("the server ended with {status}: {output}");
            }
            probe(&output).await.then_some(())
        })
        .await;
    }

    pub(crate) fn signal(&self, name: &str) {
        let status = Command::new("kill")
            .arg(format!("-{name}"))
            .arg(self.child.id().to_string())
            .status();
        assert!(status.expect("kill runs").success());
    }

    /// Asks it to stop and waits until it has.
    pub(crate) async fn stop(mut self) {
        self.signal("TERM");
        eventually("the server has stopped", async || {
            self.child.try_wait().expect("a child")
        })
        .await;
    }
}

impl Drop for Process {
    fn drop(&mut self) {
        let _ = self.child.kill();
        let _ = self.child.wait();
    }
}

/// Starts one of the Node scripts and waits until it says that it is ready.
pub(crate) async fn start_node(script: &str, args: &[&str], scratch: &Scratch) -> Process {
    let mut node = node(script, args);
    let mut process = Process::start(&mut node, scratch.path(&format!("{script}.log")));
    process
        .in_service(async |output| output.lines().any(|line| line == "ready"))
        .await;
    process
}

/// Runs one of the Node scripts to its end.
pub(crate) fn run_node(script: &str, args: &[&str]) {
    let status = node(script, args).status().expect("node runs");
    assert!(status.success(), "{script} {args:?}");
}

fn node(script: &str, args: &[&str]) -> Command {
    let mut node = Command::new("node");
    node.arg(servers().join(script)).args(args);
    node
}

/// The test's own requests to one server.
pub(crate) struct Http {
    client: Client,
    base: String,
}

impl Http {
    pub(crate) fn new(port: u16) -> Self {
        Self {
            client: Client::builder().no_proxy().build().expect("a client"),
            base: format!("http://127.0.0.1:{port}"),
        }
    }

    pub(crate) fn base(&self) -> &str {
        &self.base
    }

    pub(crate) fn request(&self, path: &str) -> RequestBuilder {
        self.client.get(format!("{}{path}", self.base))
    }

    pub(crate) async fn get(&self, path: &str) -> Value {
        json(self.request(path)).await
    }

    pub(crate) async fn post(&self, path: &str, headers: &[(&str, &str)], body: &Value) -> Value {
        let mut request = self
            .client
            .post(format!("{}{path}", self.base))
            .body(body.to_string());
        for (name, value) in headers {
            request = request.header(*name, *value);
        }
        json(request).await
    }
}

async fn json(request: RequestBuilder) -> Value {
    let response = request.send().await.expect("an answer");
    let status = response.status();
    let body = response.text().await.expect("a body");
    assert!(status.is_success(), "{status}: {body}");
    serde_json::from_str(&body).unwrap_or_default()
}
