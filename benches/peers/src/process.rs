//! A peer in another language: a process that is told on its standard input what to do.

use std::io::{BufRead, BufReader, Write};
use std::path::{Path, PathBuf};
use std::process::{Child, ChildStdin, ChildStdout, Command, Stdio};

use parking_lot::Mutex;

/// Enough for a compiler that compiles what is hot.
const WARM_UP: u64 = 5_000;

/// What runs a language's peer.
#[derive(Clone, Copy)]
pub(crate) enum Language {
    Node,
    Python,
}

impl Language {
    /// The command, once `install.sh` has been here.
    fn command(self) -> Result<Command, String> {
        let here = Path::new(env!("CARGO_MANIFEST_DIR"));
        let (program, installed, script) = match self {
            Self::Node => (
                PathBuf::from("node"),
                here.join("node/node_modules"),
                here.join("node/peer.mjs"),
            ),
            Self::Python => {
                let python = here.join("python/.venv/bin/python");
                (python.clone(), python, here.join("python/peer.py"))
            }
        };
        if !installed.exists() {
            return Err("run benches/peers/install.sh first".to_owned());
        }
        let mut command = Command::new(program);
        command.arg(script);
        Ok(command)
    }
}

/// A running peer. It ends when dropped.
pub(crate) struct Process {
    child: Child,
    pipes: Mutex<(ChildStdin, BufReader<ChildStdout>)>,
}

impl Process {
    /// Starts the peer of that name with the fixture in a file.
    ///
    /// # Errors
    ///
    /// Says why there is none, and what to do.
    pub(crate) fn start(language: Language, name: &str, fixture: &Path) -> Result<Self, String> {
        let mut child = language
            .command()?
            .arg(name)
            .arg(fixture)
            .stdin(Stdio::piped())
            .stdout(Stdio::piped())
            .spawn()
            .map_err(|error| format!("it does not start: {error}"))?;
        let stdin = child.stdin.take().expect("piped");
        let stdout = child.stdout.take().expect("piped");
        Ok(Self {
            child,
            pipes: Mutex::new((stdin, BufReader::new(stdout))),
        })
    }

    /// Whether it accepts every good token and refuses the forged one.
    pub(crate) fn check(&self) -> Result<(), String> {
        match self.ask("check")?.as_str() {
            "ok" => Ok(()),
            answer => Err(answer.to_owned()),
        }
    }

    pub(crate) fn warm_up(&self) {
        self.run(WARM_UP);
    }

    /// Verifies as many tokens; the CPU time it took the process, in nanoseconds.
    pub(crate) fn run(&self, tokens: u64) -> u64 {
        let answer = self.ask(&format!("run {tokens}"));
        let answer = answer.and_then(|it| it.parse().map_err(|_| it));
        answer.expect("a number of nanoseconds")
    }

    fn ask(&self, command: &str) -> Result<String, String> {
        let (stdin, stdout) = &mut *self.pipes.lock();
        let mut answer = String::new();
        writeln!(stdin, "{command}")
            .and_then(|()| stdin.flush())
            .and_then(|()| stdout.read_line(&mut answer))
            .map_err(|error| error.to_string())?;
        match answer.trim_end() {
            "" => Err("the process ended".to_owned()),
            answer => Ok(answer.to_owned()),
        }
    }
}

impl Drop for Process {
    fn drop(&mut self) {
        // Already gone is as good.
        let _ = self.child.kill();
        let _ = self.child.wait();
    }
}
