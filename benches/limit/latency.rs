//! One at a time: acquire and release alone, and the hand-off to a waiter.

use std::collections::VecDeque;
use std::sync::mpsc::{self, Receiver};
use std::thread;
use std::time::{Duration, Instant};

use zklock::Lock;

use crate::Setup;
use crate::contender::{Contender, Kind, Say, Told};
use crate::raw::Waiter;
use crate::report::{Pair, Report, Target};

/// An uncontended acquire and release, on one session each.
pub async fn cycle(setup: &Setup, report: &mut Report) {
    let session = setup.session().await;
    let lock = Lock::new(&session, "/cycle/ours").unwrap();
    let mut raw = Waiter::connect(&setup.address, "/cycle/raw", 0);
    let mut pair = Pair::default();
    for round in 0..setup.scaled(2_200) {
        let start = Instant::now();
        lock.acquire().await.unwrap().release().await.unwrap();
        let ours = start.elapsed();
        // What is left of it does not count against the other.
        tokio::task::yield_now().await;
        let start = Instant::now();
        raw.cycle();
        let theirs = start.elapsed();
        if round >= setup.scaled(200) {
            pair.push(ours, theirs);
        }
    }
    report.times("cycle", &pair, Target::AtMost(1.10));
    session.close().await;
}

/// From the release to the grant of the first of so many waiters.
pub fn hand_off(setup: &Setup, waiters: usize, report: &mut Report) {
    let path = format!("/handoff-{waiters}");
    let mut ours = Queue::new(Kind::Ours, setup, waiters, &format!("{path}/ours"));
    let mut raw = Queue::new(Kind::Raw, setup, waiters, &format!("{path}/raw"));
    let mut pair = Pair::default();
    for round in 0..setup.scaled(520) {
        let elapsed = ours.hand_off();
        let theirs = raw.hand_off();
        if round >= setup.scaled(20) {
            pair.push(elapsed, theirs);
        }
    }
    report.times(&format!("handoff-{waiters}"), &pair, Target::AtMost(1.15));
    // Each has its turn, so that none is left waiting.
    ours.end();
    raw.end();
}

/// A holder and those behind it.
struct Queue {
    contenders: VecDeque<Contender>,
    told: Receiver<Told>,
}

impl Queue {
    fn new(kind: Kind, setup: &Setup, waiters: usize, path: &str) -> Self {
        let (tell, told) = mpsc::channel();
        let mut contenders = VecDeque::new();
        for which in 0..=waiters {
            let tell = tell.clone();
            let contender = Contender::start(kind, &setup.address, path, which, tell);
            contender.say(Say::Enqueue);
            contenders.push_back(contender);
            // In this order, and the paths are made once.
            thread::sleep(Duration::from_millis(20));
        }
        let queue = Self { contenders, told };
        queue.wait();
        queue
    }

    /// The next thing that is told, for the holder to be granted the lock, or
    /// what it takes to hand it on.
    fn wait(&self) -> Told {
        self.told.recv().unwrap()
    }

    fn hand_off(&mut self) -> Duration {
        let holder = self.contenders.pop_front().unwrap();
        holder.say(Say::Release);
        let (mut began, mut granted) = (None, None);
        for _ in 0..2 {
            match self.wait() {
                Told::Released(at) => began = Some(at),
                Told::Granted(at) => granted = Some(at),
                Told::PassedOn(_) => {}
            }
        }
        holder.say(Say::Enqueue);
        self.contenders.push_back(holder);
        // What follows off the path is over before the next.
        thread::sleep(Duration::from_millis(4));
        granted.unwrap() - began.unwrap()
    }

    /// Lets each have its turn.
    fn end(self) {
        for contender in &self.contenders {
            contender.say(Say::Release);
        }
    }
}
