//! A service that reads `[auth]` from its own file, by figment, with the environment on top.
//!
//! ```text
//! cargo run --example config -- --check               # orders.toml, which lies beside this file
//! cargo run --example config -- --check my.toml       # 1 and what to write where, if it is wrong
//! cargo run --example config -- my.toml               # starts; the user pool has to be there
//! ```

#![expect(
    clippy::print_stdout,
    clippy::print_stderr,
    reason = "an example talks to whoever runs it"
)]

mod settings;

use std::error::Error;
use std::path::{Path, PathBuf};
use std::process::ExitCode;

use midil_auth::Auth;

const SAMPLE: &str = concat!(env!("CARGO_MANIFEST_DIR"), "/examples/config/orders.toml");

#[tokio::main]
async fn main() -> ExitCode {
    let (options, paths): (Vec<_>, Vec<_>) = std::env::args()
        .skip(1)
        .partition(|argument| argument.starts_with("--"));
    let path = PathBuf::from(paths.first().map_or(SAMPLE, String::as_str));
    let only_check = options.iter().any(|option| option == "--check");
    match run(&path, only_check).await {
        Ok(()) => ExitCode::SUCCESS,
        Err(error) => {
            eprintln!("{}: {error}", path.display());
            ExitCode::FAILURE
        }
    }
}

async fn run(path: &Path, only_check: bool) -> Result<(), Box<dyn Error>> {
    let settings = settings::load(path)?;
    let (pool, credentials) = settings.auth().map_err(|error| format!("[auth] {error}"))?;
    if only_check {
        println!("{}: ok", path.display());
        return Ok(());
    }
    println!(
        "{} and {} are for the service itself",
        settings.listen, settings.database.url
    );
    let auth = Auth::start().await?;
    let verifier = auth.verifier(pool.access_tokens()).await?;
    let token = auth.token(credentials).await?;
    println!("{:#?}", auth.health());
    drop((verifier, token));
    auth.shutdown().await;
    Ok(())
}
