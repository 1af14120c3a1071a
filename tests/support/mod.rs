//! What the integration tests share: a real ZooKeeper server, and tests that run
//! on an embedded one as well; a raw client to look at a server's tree
//! independently of this library, a proxy that records the frames between the
//! two, and for the machines a scripted server and a model of a correct one.
//!
//! Blocking throughout, and but for the embedded server standard library only:
//! nothing here runs on the runtime that a test may be testing.

#![allow(
    dead_code,
    unused_imports,
    unused_macros,
    reason = "every test binary compiles this module and uses a part of it"
)]
#![allow(
    clippy::unwrap_used,
    clippy::expect_used,
    clippy::panic,
    clippy::indexing_slicing,
    reason = "a helper of tests fails by panicking"
)]

mod acks;
#[cfg(feature = "cli")]
pub(crate) mod certificates;
pub(crate) mod ensemble;
mod frame_splitter;
pub(crate) mod model;
pub(crate) mod other_clients;
pub(crate) mod proxy;
pub(crate) mod raw;
pub(crate) mod scripted;
#[cfg(feature = "cli")]
pub(crate) mod secure;
#[cfg(feature = "tokio")]
pub(crate) mod server;
pub(crate) mod txn_log;
mod words;
pub(crate) mod zookeeper;

use std::hash::{BuildHasher, Hasher, RandomState};
use std::net::{Ipv4Addr, TcpListener};
use std::thread;
use std::time::{Duration, Instant};

/// How often a condition is looked at while waiting for it.
pub(crate) const POLL_INTERVAL: Duration = Duration::from_millis(20);

/// Waits up to ten seconds for `condition` to become true.
///
/// # Panics
///
/// When it does not; `what` says what was waited for.
#[track_caller]
pub(crate) fn eventually(what: &str, condition: impl FnMut() -> bool) {
    assert!(
        becomes_true(Duration::from_secs(10), condition),
        "not within 10 s: {what}"
    );
}

/// Polls `condition` until it is true or `limit` has passed.
pub(crate) fn becomes_true(limit: Duration, mut condition: impl FnMut() -> bool) -> bool {
    let deadline = Instant::now() + limit;
    loop {
        if condition() {
            return true;
        }
        if Instant::now() >= deadline {
            return false;
        }
        thread::sleep(POLL_INTERVAL);
    }
}

/// A loopback port that nothing listens on.
pub(crate) fn free_port() -> u16 {
    listen_on_free_port().local_addr().unwrap().port()
}

/// A listener on a loopback port that nothing else takes by chance.
///
/// The ports that the system hands out by itself (32768 and up on Linux) are
/// left out: one of those could be given to somebody's outgoing connection
/// while its server is down and about to come back on the same port.
fn listen_on_free_port() -> TcpListener {
    for _ in 0..1000 {
        let port = 12_000 + (random() % 20_000) as u16;
        if let Ok(listener) = TcpListener::bind((Ipv4Addr::LOCALHOST, port)) {
            return listener;
        }
    }
    panic!("no free loopback port between 12000 and 32000");
}

/// A number that differs between calls, threads and processes.
pub(crate) fn random() -> u64 {
    RandomState::new().build_hasher().finish()
}
