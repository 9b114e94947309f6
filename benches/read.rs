//! Reading the current token: the handle beside one bare `ArcSwap::load`.
//!
//! `cargo bench --bench read`

#![expect(
    clippy::expect_used,
    reason = "a bench that cannot be set up has failed"
)]

use std::sync::LazyLock;
use std::time::Duration;

use arc_swap::ArcSwap;
use divan::Bencher;
use midil_auth::oauth2::{AccessToken, Credential};
use midil_auth::testing::SourceFn;
use midil_auth::{Auth, Fetched, TokenHandle};
use tokio::runtime::Runtime;

fn main() {
    divan::main();
}

static TOKEN: LazyLock<(Runtime, TokenHandle)> = LazyLock::new(|| {
    let runtime = Runtime::new().expect("a runtime");
    let token = runtime.block_on(async {
        let auth = Auth::start().await.expect("started");
        let source = SourceFn::new(async |_| {
            let token = AccessToken::bearer("x".repeat(1_000))?;
            Ok(Fetched::new(token.expires_in(Duration::from_secs(3600))))
        });
        auth.token(Credential::new("bench", source))
            .await
            .expect("a token")
    });
    (runtime, token)
});

static FLOOR: LazyLock<ArcSwap<u64>> = LazyLock::new(|| ArcSwap::from_pointee(1));

#[divan::bench(threads = [1, 2, 4])]
fn floor_arc_swap_load(bencher: Bencher) {
    bencher.bench(|| **FLOOR.load());
}

#[divan::bench(threads = [1, 2, 4])]
fn authorization(bencher: Bencher) {
    let token = &TOKEN.1;
    bencher.bench(|| token.authorization().expect("a token"));
}

#[divan::bench(threads = [1, 2, 4])]
fn current(bencher: Bencher) {
    let token = &TOKEN.1;
    bencher.bench(|| token.current().expect("a token"));
}
