//! The embedded server against a real one: the same random operations, by
//! several sessions, on both. Every frame that comes back must be the same to
//! the last byte, times aside, and in the same order on each connection.
//!
//! `ZKLOCK_SEQUENCES=n` does more of them or fewer; `ZKLOCK_SEED=n` does that one
//! alone, again.

#![allow(
    clippy::unwrap_used,
    clippy::expect_used,
    clippy::panic,
    clippy::indexing_slicing,
    reason = "a test fails by panicking"
)]

#[path = "../support/mod.rs"]
mod support;

mod expiry;
mod frames;
mod pair;
mod requests;
mod rng;
mod servers;
mod story;

use std::env;
use std::panic::{AssertUnwindSafe, catch_unwind, resume_unwind};
use std::sync::{Mutex, PoisonError};
use std::time::{Duration, Instant};

use support::zookeeper::ZooKeeper;
use zklock::embedded::Config;

use pair::Pair;
use story::{Janitor, Story};

/// How many sequences there are, and how many operations in each.
const SEQUENCES: u64 = 500;
const OPERATIONS: usize = 50;

/// One measures time, and the other needs all there is.
static ONE_AT_A_TIME: Mutex<()> = Mutex::new(());

#[test]
fn a_silent_session_expires_when_the_embedded_server_says_so() {
    let _alone = ONE_AT_A_TIME.lock().unwrap_or_else(PoisonError::into_inner);
    let server = ZooKeeper::builder().tick_time(expiry::TICK).start();
    expiry::compare(server.address());
}

#[test]
fn the_embedded_server_answers_as_a_real_one() {
    let _alone = ONE_AT_A_TIME.lock().unwrap_or_else(PoisonError::into_inner);
    let server = ZooKeeper::start();
    let config = Config {
        tick: Duration::from_millis(500),
        max_session_timeout: Some(Duration::from_secs(60)),
        ..Config::default()
    };
    let (mut pair, response) = Pair::start(server.address(), config);
    let mut janitor = Janitor::new(&mut pair, &response);
    let number = |name| env::var(name).ok().map(|text| text.parse().expect(name));
    let seeds = match number("ZKLOCK_SEED") {
        Some(seed) => seed..seed + 1,
        None => 0..number("ZKLOCK_SEQUENCES").unwrap_or(SEQUENCES),
    };
    let start = Instant::now();
    let sequences = seeds.end - seeds.start;
    let mut left = janitor.tidy(&mut pair);
    for seed in seeds {
        let sequence = AssertUnwindSafe(|| {
            Story::new(&mut pair, seed).tell(OPERATIONS);
            janitor.tidy(&mut pair)
        });
        left += catch_unwind(sequence).unwrap_or_else(|failure| {
            eprintln!("Again with ZKLOCK_SEED={seed}");
            resume_unwind(failure)
        });
    }
    println!(
        "{sequences} sequences: {} replies and {} events compared, {left} znodes left over, in {:?}",
        pair.compared,
        pair.events,
        start.elapsed()
    );
}
