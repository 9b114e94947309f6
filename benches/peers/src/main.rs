//! midil-auth beside its peers, in one run: see docs/performance.md.
//!
//! `--check` only sees whether everybody verifies rightly, and measures nothing.
//! `MIDIL_PEERS=required` makes a peer that is not installed a failure.

#![expect(
    clippy::disallowed_methods,
    clippy::expect_used,
    clippy::panic,
    clippy::print_stdout,
    reason = "a comparison that cannot be set up has failed, reads real clocks and prints"
)]

mod fixture;
#[path = "../../harness/mod.rs"]
mod harness;
mod middleware;
mod process;
mod read;
mod server;
mod table;
mod verify;

use std::collections::HashMap;
use std::process::ExitCode;

use fixture::Fixture;
use midil_auth::Auth;
use midil_auth::jwks::Algorithm;
use tokio::runtime::Runtime;

fn main() -> ExitCode {
    let check_only = std::env::args().any(|argument| argument == "--check");
    let required = std::env::var("MIDIL_PEERS").is_ok_and(|it| it == "required");
    middleware::choose_backends();
    // What the peers do in the background is done by threads that are not measured.
    let runtime = Runtime::new().expect("a runtime");
    let _context = runtime.enter();

    let fixtures = [Algorithm::RS256, Algorithm::ES256, Algorithm::EdDSA].map(Fixture::new);
    let key_sets = fixtures.iter().map(|it| (it.path(), it.jwks().to_string()));
    let token = (read::TOKEN_PATH.to_owned(), read::token_response());
    let bodies: HashMap<_, _> = key_sets.chain([token]).collect();
    let server = server::serve(bodies).expect("a port");
    let dir = std::env::temp_dir().join(format!("midil-auth-peers-{}", std::process::id()));
    std::fs::create_dir(&dir).expect("a directory");

    let auth = runtime.block_on(Auth::start()).expect("started");
    let mut right = true;
    for fixture in &fixtures {
        let table = runtime.block_on(verify::table(&auth, fixture, &server, &dir));
        right &= table.settle(check_only, required);
    }
    let table = runtime.block_on(read::table(&auth, &server));
    right &= table.settle(check_only, required);
    // The system clears what is left there.
    let _ = std::fs::remove_dir_all(&dir);
    if right {
        ExitCode::SUCCESS
    } else {
        ExitCode::FAILURE
    }
}
