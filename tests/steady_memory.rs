//! Memory does not grow with the number of acquisitions, on a real server. The
//! only test of its process, so that no other's memory is counted.

#![allow(
    clippy::unwrap_used,
    clippy::expect_used,
    clippy::panic,
    clippy::indexing_slicing,
    reason = "a test fails by panicking"
)]
#![cfg(target_os = "linux")]

mod support;

use std::fs;
use std::ops::Range;
use std::sync::Arc;
use std::time::{Duration, Instant};

use support::zookeeper::ZooKeeper;
use tokio::sync::Semaphore;
use tokio::task::JoinSet;
use zklock::{Lock, Session};

/// By now everything has its size: buffers, tables, the allocator's own.
const EARLY: usize = 1_000;
const LATE: usize = 10_000;
/// How many acquisitions are under way at a time.
const AT_ONCE: usize = 32;

/// Between the two; 116 bytes for each acquisition.
const MOST_GROWTH: u64 = 1024;

#[tokio::test]
async fn ten_thousand_acquisitions_of_as_many_locks_leave_no_memory_behind() {
    let server = ZooKeeper::start();
    let session = Session::connect(server.address()).await.unwrap();
    let start = Instant::now();
    acquire_each(&session, 0..EARLY).await;
    let early = resident_kib();
    println!(
        "{early} KiB after {EARLY} acquisitions, {:.1?}",
        start.elapsed()
    );
    acquire_each(&session, EARLY..LATE).await;
    let late = resident_kib();
    println!(
        "{late} KiB after {LATE} acquisitions, {:.1?}",
        start.elapsed()
    );
    assert!(late <= early + MOST_GROWTH, "{early} KiB became {late}");
    session.close().await;
}

/// Takes and releases the locks of these numbers, each at a path of its own.
async fn acquire_each(session: &Session, numbers: Range<usize>) {
    let places = Arc::new(Semaphore::new(AT_ONCE));
    let mut tasks = JoinSet::new();
    for number in numbers {
        let place = Arc::clone(&places).acquire_owned().await.unwrap();
        let lock = Lock::new(session, format!("/locks/{number}")).unwrap();
        tasks.spawn(async move {
            let request = lock.acquire().timeout(Duration::from_secs(60));
            request.await.unwrap().release().await.unwrap();
            drop(place);
        });
        while let Some(done) = tasks.try_join_next() {
            done.unwrap();
        }
    }
    while let Some(done) = tasks.join_next().await {
        done.unwrap();
    }
}

/// What of this process is in memory.
fn resident_kib() -> u64 {
    let status = fs::read_to_string("/proc/self/status").unwrap();
    let mut lines = status.lines();
    let value = lines.find_map(|line| line.strip_prefix("VmRSS:")).unwrap();
    value.trim().trim_end_matches(" kB").parse().unwrap()
}
