//! A queue whose numbers come to their end, on a real server and on the embedded
//! one.
//!
//! The number of a claim is how many children the lock path has had, as a
//! signed 32-bit count. Servers since 3.6 leave it at 2147483647, so that every
//! later claim has that number too; only while creates overlap does each count
//! on from the one before, to negative numbers. Seen on 3.8.0, in the order of
//! creation, when claims came in waves of five:
//!
//! ```text
//! 2147483641 2147483642 2147483643 2147483644 2147483645
//! 2147483646 2147483647 2147483647 -2147483648 -2147483647
//! 2147483647 2147483647 2147483647 2147483647 -2147483648
//! ```
//!
//! (Up to 3.5 the count wraps for good, and each number is there once.) The
//! czxids alone tell the order then. On the embedded server creates do not
//! overlap: every later claim has the last number.

#![allow(
    clippy::unwrap_used,
    clippy::expect_used,
    clippy::panic,
    clippy::indexing_slicing,
    reason = "a test fails by panicking"
)]

mod support;

use std::collections::BTreeSet;
use std::sync::{Arc, Mutex};
use std::time::Duration;

use support::eventually;
use support::raw::RawClient;
use support::server::{TestServer, on_both_servers};
use tokio::task::JoinSet;
use zklock::{Guard, Lock, Session};

const LOCK: &str = "/overflow";
/// What the next claim is numbered.
const COUNT: i32 = i32::MAX - 7;

const SESSIONS: usize = 4;
const OVERLAPPING: usize = 20;
const SINGLE: usize = 20;
/// How many requests are written at once. Those of later waves come when the
/// queue has both ends of the numbers in it.
const WAVE: usize = 5;
/// Far more than anything takes here.
const LIMIT: Duration = Duration::from_secs(30);

async fn a_queue_at_the_end_of_its_numbers_is_granted_in_the_order_of_creation(
    server: &'static TestServer,
) {
    let server = server.another_with_counter(LOCK, COUNT);
    let mut raw = RawClient::connect(&server.address());
    let mut locks = Vec::new();
    for _ in 0..SESSIONS {
        let session = Session::connect(server.address()).await.unwrap();
        locks.push(Lock::new(&session, LOCK).unwrap());
    }
    assert_eq!(locks[0].queue().await.unwrap().headroom, 7);
    let grants = Arc::new(Mutex::new(Vec::new()));

    let holder = locks[0].acquire().timeout(LIMIT).await.unwrap();
    assert!(holder.znode().ends_with("2147483640"), "{holder:?}");
    let mut waiting = JoinSet::new();
    for place in 0..OVERLAPPING {
        let (lock, grants) = (locks[place % SESSIONS].clone(), Arc::clone(&grants));
        waiting.spawn(async move {
            let guard = lock.acquire().timeout(LIMIT).await.unwrap();
            release(guard, &grants).await;
        });
        if (place + 1) % WAVE == 0 {
            eventually("they are in the queue", || {
                raw.children(LOCK).unwrap().len() == place + 2
            });
        }
    }
    release(holder, &grants).await;
    while let Some(done) = waiting.join_next().await {
        done.unwrap();
    }
    for place in 0..SINGLE {
        let lock = &locks[place % SESSIONS];
        let guard = lock.acquire().timeout(LIMIT).await.unwrap();
        release(guard, &grants).await;
    }

    assert_eq!(locks[0].queue().await.unwrap().headroom, 0);
    let grants = grants.lock().unwrap();
    let numbers: Vec<_> = grants.iter().map(|grant| grant.number.as_str()).collect();
    println!("granted in this order: {}", numbers.join(" "));
    assert_eq!(grants.len(), 1 + OVERLAPPING + SINGLE);
    assert!(
        grants.is_sorted_by(|a, b| a.token < b.token),
        "each is granted once, in the order of creation"
    );
    assert_eq!(raw.children(LOCK), Some(vec![]), "no claim is left");
    let distinct: BTreeSet<_> = numbers.iter().collect();
    assert!(
        distinct.len() < numbers.len() || numbers.iter().any(|number| number.starts_with('-')),
        "the numbers have come to their end"
    );
}

#[derive(Debug)]
struct Grant {
    token: u64,
    /// With its sign.
    number: String,
}

/// Notes the grant while it is held.
async fn release(guard: Guard, grants: &Mutex<Vec<Grant>>) {
    let (_, number) = guard.znode().rsplit_once("-lock-").unwrap();
    grants.lock().unwrap().push(Grant {
        token: guard.fencing_token().get(),
        number: number.to_owned(),
    });
    guard.release().await.unwrap();
}

on_both_servers! {
    #[tokio::test(flavor = "multi_thread", worker_threads = 2)]
    a_queue_at_the_end_of_its_numbers_is_granted_in_the_order_of_creation;
}
