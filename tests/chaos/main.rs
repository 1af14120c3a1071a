//! Chaos on the real thing: three ZooKeeper servers, workers in processes of
//! their own that contend for locks, and faults of all of them and of all the
//! links between. `scripts/chaos SECONDS` runs the storm for longer than a test
//! of every day may take; three faults that are of a kind to break a lock have
//! tests of their own.

#![allow(
    clippy::unwrap_used,
    clippy::expect_used,
    clippy::panic,
    clippy::indexing_slicing,
    reason = "a test fails by panicking"
)]

#[path = "../support/mod.rs"]
mod support;

mod check;
mod clock;
mod contest;
mod crew;
mod doubt;
mod plan;
mod record;
mod register;
mod report;
mod shared;
mod storm;
mod worker;

#[test]
fn storm() {
    storm::run();
}

/// Started by [`storm`], as a process of its own.
#[test]
#[ignore = "no test by itself, but a process that another one starts"]
fn worker() {
    worker::run();
}
