# The commands of CI, by name. `just --list` shows them.

default: test

# What the README says.
test:
    cargo test

lint:
    cargo fmt --check
    cargo clippy --all-targets --all-features -- -D warnings

# Each feature alone, and none.
features:
    cargo hack clippy --lib --each-feature -- -D warnings

# Licences, bans and sources of what users get.
deny:
    cargo deny --all-features check bans licenses sources

# The oldest dependencies that Cargo.toml allows.
minimal-versions:
    .ci/minimal-versions

# The oldest compiler.
msrv:
    cargo +1.88.0 check --lib --features axum,metrics,reqwest-middleware,testing,tower

# Compares with docs/public-api.txt; `--write` takes it over.
api *args:
    .ci/public-api {{args}}

# The package builds from its own archive.
package:
    cargo package --allow-dirty

docs:
    RUSTDOCFLAGS="-D warnings" cargo doc --no-deps --all-features --open

# Everything that must hold before a change lands.
ci:
    .ci/run

# A minute for each target, or as many seconds as said.
fuzz seconds="60":
    .ci/fuzz {{seconds}}

# Against real identity servers, and behind nginx.
interop:
    tests/interop/servers/install.sh
    MIDIL_INTEROP=required cargo test --test interop -- --nocapture

# The dashboard, in headless Chromium; `--screenshot docs/dashboard.png` takes its picture.
browser *args:
    node tests/browser/dashboard.mjs {{args}}

# One of: fleet, outage, read, refresh, scale, tower, verify.
bench name:
    cargo bench --bench {{name}}

# Compares with benches/instructions.txt; `--write` takes a new baseline.
instructions *args:
    .ci/instructions {{args}}
