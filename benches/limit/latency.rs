//! One at a time: acquire and release alone, and the hand-off to a waiter.

use std::collections::VecDeque;
use std::time::{Duration, Instant};

use tokio::task::JoinHandle;
use zklock::{Guard, Lock};

use crate::raw::Contender;
use crate::report::{Pair, Report, Target};
use crate::{Setup, settle};

/// An uncontended acquire and release, on one session each.
pub async fn cycle(setup: &Setup, report: &mut Report) {
    let session = setup.session().await;
    let lock = Lock::new(&session, "/cycle/ours").unwrap();
    let mut raw = Contender::connect(&setup.address, "/cycle/raw", 0);
    let mut pair = Pair::default();
    for round in 0..setup.scaled(2_200) {
        let start = Instant::now();
        lock.acquire().await.unwrap().release().await.unwrap();
        let ours = start.elapsed();
        // What is left of it does not count against the other.
        tokio::task::yield_now().await;
        let start = Instant::now();
        raw_cycle(&mut raw);
        let theirs = start.elapsed();
        if round >= setup.scaled(200) {
            pair.push(ours, theirs);
        }
    }
    report.times("cycle", &pair, Target::AtMost(1.10));
    session.close().await;
}

fn raw_cycle(contender: &mut Contender) {
    contender.enqueue();
    contender.raw.watch_own(&contender.claim);
    contender.release();
    contender.raw.reply();
    contender.released();
}

/// From the release to the grant of the first of so many waiters, all of them
/// on sessions of their own.
pub async fn hand_off(setup: &Setup, waiters: usize, report: &mut Report) {
    let mut ours = Ours::queue(setup, waiters).await;
    let mut raw = RawQueue::queue(setup, waiters);
    let mut pair = Pair::default();
    for round in 0..setup.scaled(520) {
        let elapsed = ours.hand_off().await;
        let theirs = raw.hand_off();
        // What follows off the path is over before the next.
        settle(Duration::from_millis(3)).await;
        if round >= setup.scaled(20) {
            pair.push(elapsed, theirs);
        }
    }
    report.times(&format!("handoff-{waiters}"), &pair, Target::AtMost(1.15));
    ours.end().await;
}

/// A request in the queue, on its own session.
struct Waiting {
    session: zklock::Session,
    lock: Lock,
    granted: JoinHandle<(Guard, Instant)>,
}

struct Ours {
    queue: VecDeque<Waiting>,
}

impl Ours {
    async fn queue(setup: &Setup, waiters: usize) -> Self {
        let path = format!("/handoff-{waiters}/ours");
        let mut queue = VecDeque::new();
        for _ in 0..=waiters {
            let session = setup.session().await;
            let lock = Lock::new(&session, &path).unwrap();
            let granted = enqueue(&lock);
            settle(Duration::from_millis(5)).await;
            queue.push_back(Waiting {
                session,
                lock,
                granted,
            });
        }
        Self { queue }
    }

    async fn hand_off(&mut self) -> Duration {
        let holder = self.queue.pop_front().unwrap();
        let (guard, _) = holder.granted.await.unwrap();
        let next = &mut self.queue[0].granted;
        let start = Instant::now();
        let (released, granted) = tokio::join!(guard.release(), next);
        released.unwrap();
        let (guard, at) = granted.unwrap();
        self.queue[0].granted = tokio::spawn(async move { (guard, at) });
        let granted = enqueue(&holder.lock);
        self.queue.push_back(Waiting { granted, ..holder });
        at - start
    }

    async fn end(self) {
        for waiting in self.queue {
            waiting.granted.abort();
            waiting.session.close().await;
        }
    }
}

fn enqueue(lock: &Lock) -> JoinHandle<(Guard, Instant)> {
    let acquire = lock.acquire();
    tokio::spawn(async move {
        let guard = acquire.await.unwrap();
        (guard, Instant::now())
    })
}

struct RawQueue {
    queue: VecDeque<Contender>,
}

impl RawQueue {
    fn queue(setup: &Setup, waiters: usize) -> Self {
        let path = format!("/handoff-{waiters}/raw");
        let mut raw = Self {
            queue: VecDeque::new(),
        };
        for which in 0..=waiters {
            let contender = Contender::connect(&setup.address, &path, which);
            raw.push(contender);
        }
        raw
    }

    fn push(&mut self, mut contender: Contender) {
        let ahead = self.queue.iter().rev().take(2);
        contender.wait_behind(ahead.map(|other| other.claim.as_str()));
        self.queue.push_back(contender);
    }

    fn hand_off(&mut self) -> Duration {
        let mut holder = self.queue.pop_front().unwrap();
        let start = Instant::now();
        holder.release();
        self.queue[0].raw.event();
        let elapsed = start.elapsed();
        if let Some(second) = self.queue.get_mut(1) {
            second.raw.event();
            second.look();
            second.looked();
        }
        holder.released();
        self.push(holder);
        elapsed
    }
}
