//! The crate against real identity servers on loopback, and nginx in front of a service;
//! `servers/README.md` says which.
//!
//! A server that is not installed skips its tests, visibly; with `MIDIL_INTEROP=required` it
//! fails them.

#![allow(
    clippy::expect_used,
    clippy::panic,
    reason = "helpers of tests may fail the test"
)]

mod cognito;
mod harness;
mod mock_server;
mod nginx;
mod oidc_provider;
mod watch;
