# The commands of CI, by name. `just --list` shows them.

default: test

# What the README says.
test:
    cargo test

lint:
    cargo fmt --check
    cargo clippy --all-targets --all-features -- -D warnings

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
