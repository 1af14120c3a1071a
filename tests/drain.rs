//! A long queue on a server, real or embedded, drained: what a hand-off costs, and that
//! nothing is left of it.

#![allow(
    clippy::unwrap_used,
    clippy::expect_used,
    clippy::panic,
    clippy::indexing_slicing,
    reason = "a test fails by panicking"
)]

mod support;

use std::fmt;
use std::ops::Sub;
use std::sync::{Arc, Mutex};
use std::time::{Duration, Instant};

use support::raw::RawClient;
use support::server::{TestServer, on_both_servers};
use support::{becomes_true, eventually};
use tokio::task::JoinSet;
use zklock::{FencingToken, Lock, Session};

const WAITERS: usize = 1000;
const LOCK: &str = "/drained";
/// Far more than queueing or draining takes.
const LIMIT: Duration = Duration::from_secs(60);
/// A server on this machine has answered within this time.
const MOMENT: Duration = Duration::from_millis(200);

/// In its turn a waiter that watches its predecessor alone writes a handful of
/// requests. One that is woken whenever anything goes writes hundreds.
const REQUESTS_PER_HAND_OFF: u64 = 5;

async fn a_thousand_waiters_in_ten_sessions_are_drained(server: &'static TestServer) {
    drain(server.another(), 10).await;
}

async fn a_thousand_waiters_in_one_session_are_drained(server: &'static TestServer) {
    drain(server.another(), 1).await;
}

async fn drain(server: TestServer, session_count: usize) {
    let mut sessions = Vec::new();
    for _ in 0..session_count {
        sessions.push(Session::connect(server.address()).await.unwrap());
    }
    let locks: Vec<Lock> = sessions
        .iter()
        .map(|session| Lock::new(session, LOCK).unwrap())
        .collect();
    let watches = server.watch_count();
    let holder = locks[0].acquire().timeout(LIMIT).await.unwrap();

    let (start, before) = (Instant::now(), Traffic::of(&sessions).await);
    let tokens = Arc::new(Mutex::new(vec![holder.fencing_token()]));
    let mut waiters = JoinSet::new();
    for waiter in 0..WAITERS {
        let lock = locks[waiter % session_count].clone();
        waiters.spawn(take_a_turn(lock, Arc::clone(&tokens)));
    }
    let mut raw = RawClient::connect(&server.address());
    let queued = becomes_true(LIMIT, || raw.children(LOCK).unwrap().len() == WAITERS + 1);
    assert!(queued, "all wait");
    let all_queued = settled(&sessions).await;
    println!("{WAITERS} waiters in {session_count} sessions");
    println!("queued in {:.1?}: {}", start.elapsed(), all_queued - before);

    let start = Instant::now();
    holder.release().await.unwrap();
    while let Some(done) = waiters.join_next().await {
        done.unwrap();
    }
    let cost = settled(&sessions).await - all_queued;
    println!("drained in {:.1?}: {cost}", start.elapsed());

    let tokens = tokens.lock().unwrap();
    assert_eq!(tokens.len(), WAITERS + 1);
    assert!(tokens.is_sorted_by(|a, b| a < b), "grants are in order");
    assert!(cost.requests <= REQUESTS_PER_HAND_OFF * WAITERS as u64);
    assert_eq!(raw.children(LOCK), Some(vec![]), "no claim is left");
    eventually("no watch is left", || server.watch_count() == watches);
}

async fn take_a_turn(lock: Lock, tokens: Arc<Mutex<Vec<FencingToken>>>) {
    let guard = lock.acquire().timeout(LIMIT).await.unwrap();
    tokens.lock().unwrap().push(guard.fencing_token());
    guard.release().await.unwrap();
}

/// What all sessions together have written and read.
#[derive(Clone, Copy, Default)]
struct Traffic {
    requests: u64,
    replies: u64,
    events: u64,
    bytes_sent: u64,
    bytes_received: u64,
}

impl Traffic {
    async fn of(sessions: &[Session]) -> Self {
        let mut sum = Self::default();
        for session in sessions {
            let stats = session.stats().await.unwrap();
            sum.requests += stats.requests;
            sum.replies += stats.replies;
            sum.events += stats.events;
            sum.bytes_sent += stats.bytes_sent;
            sum.bytes_received += stats.bytes_received;
        }
        sum
    }
}

/// The traffic once nothing is on its way any more.
async fn settled(sessions: &[Session]) -> Traffic {
    let start = Instant::now();
    let mut last = Traffic::of(sessions).await;
    loop {
        assert!(start.elapsed() < LIMIT, "requests without an end");
        tokio::time::sleep(MOMENT).await;
        let now = Traffic::of(sessions).await;
        if now.requests == last.requests && now.replies == now.requests {
            return now;
        }
        last = now;
    }
}

impl Sub for Traffic {
    type Output = Self;

    fn sub(self, earlier: Self) -> Self {
        Self {
            requests: self.requests - earlier.requests,
            replies: self.replies - earlier.replies,
            events: self.events - earlier.events,
            bytes_sent: self.bytes_sent - earlier.bytes_sent,
            bytes_received: self.bytes_received - earlier.bytes_received,
        }
    }
}

impl fmt::Display for Traffic {
    /// For each waiter.
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let each = |sum: u64| sum as f64 / WAITERS as f64;
        write!(
            f,
            "each {:.2} requests, {:.2} events, {:.0} bytes sent, {:.0} received",
            each(self.requests),
            each(self.events),
            each(self.bytes_sent),
            each(self.bytes_received),
        )
    }
}

on_both_servers! {
    #[tokio::test(flavor = "multi_thread", worker_threads = 2)]
    a_thousand_waiters_in_ten_sessions_are_drained
    a_thousand_waiters_in_one_session_are_drained;
}
