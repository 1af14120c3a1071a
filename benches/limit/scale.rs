//! What a hand-off costs as the queue grows: requests, events and bytes, and the
//! memory that a waiter takes.

use std::ops::Sub;
use std::time::{Duration, Instant};

use tokio::task::JoinSet;
use zklock::{Lock, Session};

use crate::counting;
use crate::report::Report;
use crate::{Setup, settle};

/// So many hand-offs are counted at each length of the queue.
const HAND_OFFS: usize = 20;
const SESSIONS: usize = 10;

pub async fn scale(setup: &Setup, report: &Report) {
    report.note("");
    report.note("per hand-off, with so many waiters, on ten sessions at the most");
    report.note(&format!(
        "{:>8} {:>9} {:>7} {:>11} {:>15} {:>13} {:>16}",
        "waiters",
        "requests",
        "events",
        "bytes sent",
        "bytes received",
        "enqueueing ms",
        "heap per waiter"
    ));
    for waiters in [1, 10, 100, 1_000, 10_000] {
        if waiters <= setup.scaled(10_000) {
            measure(setup, waiters, report).await;
        }
    }
}

async fn measure(setup: &Setup, waiters: usize, report: &Report) {
    let mut sessions = Vec::new();
    for _ in 0..SESSIONS.min(waiters) {
        sessions.push(setup.session().await);
    }
    let locks: Vec<_> = sessions
        .iter()
        .map(|session| Lock::new(session, format!("/scale-{waiters}")).unwrap())
        .collect();
    // One more session holds it first, and then each waiter in turn.
    let first = setup.session().await;
    let holder = Lock::new(&first, format!("/scale-{waiters}")).unwrap();
    let mut guard = holder.acquire().await.unwrap();
    let traffic = settled(&sessions).await;
    let heap = counting::live_bytes();
    let start = Instant::now();
    let mut tasks = JoinSet::new();
    for index in 0..waiters {
        let acquire = locks[index % locks.len()].acquire();
        tasks.spawn(async move { acquire.await.unwrap() });
        if index % 20 == 19 {
            queued(&sessions).await;
        }
    }
    let queued = settled(&sessions).await;
    let elapsed = start.elapsed();
    let heap = (counting::live_bytes() - heap) / waiters as i64;
    let _ = traffic;

    let hand_offs = HAND_OFFS.min(waiters);
    for _ in 0..hand_offs {
        guard.release().await.unwrap();
        guard = tasks.join_next().await.unwrap().unwrap();
    }
    let cost = settled(&sessions).await - queued;
    let each = |sum: u64| sum as f64 / hand_offs as f64;
    report.note(&format!(
        "{waiters:>8} {:>9.1} {:>7.1} {:>11.0} {:>15.0} {:>13.0} {heap:>16}",
        each(cost.requests),
        each(cost.events),
        each(cost.bytes_sent),
        each(cost.bytes_received),
        elapsed.as_secs_f64() * 1e3,
    ));
    drop(tasks);
    drop(guard);
    for session in sessions.into_iter().chain([first]) {
        session.close().await;
    }
}

/// What all sessions together have written and read for locks.
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

/// Waits until all requests are answered.
async fn queued(sessions: &[Session]) -> Traffic {
    loop {
        settle(Duration::from_millis(2)).await;
        let now = Traffic::of(sessions).await;
        if now.replies == now.requests {
            return now;
        }
    }
}

/// The traffic once nothing is on its way any more.
async fn settled(sessions: &[Session]) -> Traffic {
    let mut last = queued(sessions).await;
    loop {
        settle(Duration::from_millis(100)).await;
        let now = queued(sessions).await;
        if now.requests == last.requests {
            return now;
        }
        last = now;
    }
}
