//! The command `zklock`, end to end, on a real server.

#![allow(
    clippy::unwrap_used,
    clippy::expect_used,
    clippy::panic,
    clippy::indexing_slicing,
    reason = "a test fails by panicking"
)]

#[path = "../support/mod.rs"]
mod support;

mod breaking;
mod harness;
mod input;
mod keyboard;
mod losing;
mod running;
mod serve;
mod signals;
mod status;
mod tls;
mod unreachable;
