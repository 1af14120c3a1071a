//! Simulation: many clients, their servers and a network that fails in every
//! way, in virtual time, out of one seed.
//!
//! The clients are the machines that the driver drives, the servers the
//! embedded one's core, and what goes between them are bytes. Each schedule is a
//! storm of faults, a calm in which they are noticed, a time in which all must
//! go well, and an end that leaves nothing. What must hold is in `checks`.
//!
//! `SIM_SCHEDULES` says how many are run, `SIM_FIRST` where they begin, and
//! `SIM_SEED` replays one and prints its history, the last `SIM_SHOWN` lines of it.

#![allow(
    clippy::unwrap_used,
    clippy::expect_used,
    clippy::panic,
    clippy::indexing_slicing,
    clippy::print_stdout,
    clippy::cast_possible_truncation,
    reason = "a test fails by panicking"
)]

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
mod net;
mod network;
mod plan;
mod report;
mod run;
mod search;
mod servers;
mod small;
mod users;
mod world;

#[test]
fn one_server() {
    run::schedules(1);
}

#[test]
fn three_servers() {
    run::schedules(3);
}

/// As many states as a search looks at, unless `SIM_STATES` says otherwise.
const STATES: usize = 2_000;

/// The first is looked at whole: what no fault befalls, and whoever waits may
/// give up.
#[test]
fn all_ways_of_two_clients() {
    search::all_of(bounds([2, 2, 0, 0, 2]), STATES * 4);
    search::all_of(bounds([2, 2, 1, 0, 1]), STATES);
    search::all_of(bounds([2, 2, 2, 0, 0]), STATES);
    search::all_of(bounds([2, 2, 1, 3, 0]), STATES);
    search::all_of(bounds([2, 3, 1, 0, 0]), STATES);
}

#[test]
fn all_ways_of_three_clients() {
    search::all_of(bounds([3, 3, 0, 0, 0]), STATES);
    search::all_of(bounds([3, 3, 0, 0, 1]), STATES);
    search::all_of(bounds([3, 3, 1, 0, 0]), STATES);
}

fn bounds([clients, users, cuts, time, drops]: [usize; 5]) -> small::Bounds {
    small::Bounds {
        clients,
        users,
        cuts,
        time,
        drops,
    }
}
