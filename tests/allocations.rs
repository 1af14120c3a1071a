//! What a session allocates, on a real server. The only tests of their process,
//! and one at a time, so that nothing else's allocations are counted.

#![allow(
    clippy::unwrap_used,
    clippy::expect_used,
    clippy::panic,
    clippy::indexing_slicing,
    reason = "a test fails by panicking"
)]

#[path = "../benches/limit/counting.rs"]
mod counting;
mod support;

use std::time::Duration;

use support::zookeeper::ZooKeeper;
use zklock::{Lock, Session};

#[global_allocator]
static ALLOCATOR: counting::Counting = counting::Counting;

const CYCLES: u64 = 1_000;
/// An acquire and release is a create, a listing, a watch and a delete, and each
/// may take two; a little more for heartbeats, and for replies that come apart.
const MOST_ALLOCATIONS: f64 = 8.5;

const SESSIONS: i64 = 100;
const MOST_BYTES: i64 = 4_200;

#[tokio::test]
async fn a_request_takes_two_allocations_and_an_idle_session_four_kilobytes() {
    let server = ZooKeeper::start();
    let session = Session::connect(server.address()).await.unwrap();
    let lock = Lock::new(&session, "/allocations").unwrap();
    let mut before = 0;
    for cycle in 0..2 * CYCLES {
        if cycle == CYCLES {
            before = counting::allocations();
        }
        lock.acquire().await.unwrap().release().await.unwrap();
    }
    let each = (counting::allocations() - before) as f64 / CYCLES as f64;
    println!("{each:.2} allocations for an acquire and release");

    let before = counting::live_bytes();
    let mut sessions = Vec::new();
    for _ in 0..SESSIONS {
        let builder = Session::builder(server.address());
        let builder = builder.session_timeout(Duration::from_secs(2));
        sessions.push(builder.connect().await.unwrap());
    }
    // Each has had heartbeats by then.
    tokio::time::sleep(Duration::from_secs(1)).await;
    let bytes = (counting::live_bytes() - before) / SESSIONS;
    println!("{bytes} bytes for an idle session");
    assert!(each <= MOST_ALLOCATIONS, "{each}");
    assert!(bytes <= MOST_BYTES, "{bytes}");
}
