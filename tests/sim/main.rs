//! Simulation: many clients, their servers and a network that fails in every
//! way, in virtual time, out of one seed.
//!
//! The clients are the machines that the driver drives, the servers the
//! embedded one's core, and what goes between them are bytes. Each schedule is a
//! storm of faults, a calm in which they are noticed, a time in which all must
//! go well, and an end that leaves nothing. What must hold is in `checks`.
//!
//! `SIM_RUNS` says how many are run, `SIM_FIRST` where they begin, and `SIM_SEED`
//! replays one and prints its history, the last `SIM_SHOWN` lines of it. Half of
//! them are on one server, half on three. `scripts/simulate` runs many.

#![allow(
    clippy::unwrap_used,
    clippy::expect_used,
    clippy::panic,
    clippy::indexing_slicing,
    clippy::print_stdout,
    clippy::cast_possible_truncation,
    reason = "a test fails by panicking"
)]

#[path = "../support/notices.rs"]
mod notices;
#[path = "../support/panics.rs"]
mod panics;

mod audit;
mod census;
mod checks;
mod client;
mod clock;
mod dice;
mod ensemble;
mod faults;
mod follower;
mod leader;
mod model;
mod net;
mod network;
mod phases;
mod plan;
mod report;
mod run;
mod servers;
mod siege;
mod strangers;
mod users;
mod world;

#[test]
fn schedules() {
    run::schedules();
}
