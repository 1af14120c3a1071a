//! A queue that empties: each waiter releases as soon as it is granted.

use std::sync::mpsc;
use std::thread;
use std::time::{Duration, Instant};

use tokio::task::JoinSet;
use zklock::{Lock, Session};

use crate::contender::{Contender, Kind, Say, Told};
use crate::raw::{DATA, Raw, number};
use crate::report::{Pair, Report, Target};
use crate::{Setup, settle};

fn target(waiters: usize) -> Target {
    if waiters == 1_000 {
        Target::AtMost(1.25)
    } else {
        Target::None
    }
}

fn rounds(setup: &Setup, waiters: usize) -> usize {
    setup.scaled(2_000 / waiters).clamp(5, 50)
}

/// Drains of so many waiters on as many sessions.
pub fn drain(setup: &Setup, waiters: usize, report: &mut Report) {
    let path = format!("/drain-{waiters}");
    let (tell, told) = mpsc::channel();
    let start = |kind, path: &str| -> Vec<_> {
        let start = |which| {
            thread::sleep(Duration::from_millis(1));
            Contender::start(kind, &setup.address, path, which, tell.clone())
        };
        (0..=waiters).map(start).collect()
    };
    let ours = start(Kind::Ours, &format!("{path}/ours"));
    let raw = start(Kind::Raw, &format!("{path}/raw"));
    let mut pair = Pair::default();
    for _ in 0..rounds(setup, waiters) {
        let elapsed = drain_once(&ours, &told);
        pair.push(elapsed, drain_once(&raw, &told));
    }
    report.times(&format!("drain-{waiters}"), &pair, target(waiters));
}

fn drain_once(contenders: &[Contender], told: &mpsc::Receiver<Told>) -> Duration {
    contenders[0].say(Say::Enqueue);
    told.recv().unwrap();
    for waiter in &contenders[1..] {
        waiter.say(Say::PassOn);
        thread::sleep(Duration::from_millis(2));
    }
    thread::sleep(Duration::from_millis(200) + Duration::from_millis(1) * contenders.len() as u32);
    contenders[0].say(Say::Release);
    let (mut began, mut ended) = (None, None);
    for _ in contenders {
        match told.recv().unwrap() {
            Told::Released(at) => began = Some(at),
            Told::PassedOn(at) => ended = ended.max(Some(at)),
            Told::Granted(_) => {}
        }
    }
    ended.unwrap() - began.unwrap()
}

/// Drains of so many waiters that share a session.
pub async fn drain_shared(setup: &Setup, waiters: usize, report: &mut Report) {
    let path = format!("/drain-{waiters}-shared");
    let session = setup.session().await;
    let mut raw = Raw::connect(&setup.address);
    let raw_path = format!("{path}/raw");
    raw.make_path(&raw_path);
    let mut pair = Pair::default();
    for _ in 0..rounds(setup, waiters) {
        let ours = ours_shared(&session, waiters, &format!("{path}/ours")).await;
        pair.push(ours, raw_shared(&mut raw, &raw_path, waiters));
    }
    report.times(&format!("drain-{waiters}-shared"), &pair, target(waiters));
    session.close().await;
}

async fn ours_shared(session: &Session, waiters: usize, path: &str) -> Duration {
    let lock = Lock::new(session, path).unwrap();
    let holder = lock.acquire().await.unwrap();
    let mut tasks = JoinSet::new();
    for index in 0..waiters {
        let lock = lock.clone();
        tasks.spawn(async move {
            let guard = lock.acquire().await.unwrap();
            guard.release().await.unwrap();
        });
        if index % 50 == 0 {
            settle(Duration::from_millis(5)).await;
        }
    }
    settle(Duration::from_millis(200) + Duration::from_millis(1) * waiters as u32).await;
    let start = Instant::now();
    holder.release().await.unwrap();
    while let Some(done) = tasks.join_next().await {
        done.unwrap();
    }
    start.elapsed()
}

fn raw_shared(raw: &mut Raw, parent: &str, waiters: usize) -> Duration {
    let mut claims: Vec<String> = Vec::new();
    for which in 0..=waiters {
        raw.create_claim(&format!("{parent}/_c_{which:032x}-lock-"), &DATA);
        raw.list(parent);
        raw.flush();
        let created = raw.reply();
        claims.push(raw.text(&created).to_owned());
        raw.reply();
        raw.watch_own(&claims[which]);
        let ahead = claims[..which].iter().rev().take(2);
        let watches = ahead.map(|path| raw.watch_ahead(path)).count();
        raw.flush();
        for _ in 0..=watches {
            raw.reply();
        }
    }
    let start = Instant::now();
    raw.delete(&claims[0]);
    raw.flush();
    for (granted, claim) in claims.iter().enumerate().skip(1) {
        raw_next(raw);
        raw.delete(claim);
        // The second in line looks again.
        if granted < waiters {
            raw.list(parent);
        }
        raw.flush();
    }
    raw_next(raw);
    while raw.frame().is_event() {}
    start.elapsed()
}

/// Reads up to the next event, and scans a listing that is on the way.
fn raw_next(raw: &mut Raw) {
    loop {
        let frame = raw.frame();
        if frame.is_event() {
            return;
        }
        if raw.is_listing(&frame) {
            raw.place(&frame, number(b"0000000000"));
        }
    }
}
