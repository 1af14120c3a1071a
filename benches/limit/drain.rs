//! A queue that empties: each waiter releases as soon as it is granted.

use std::time::{Duration, Instant};

use tokio::task::JoinSet;
use zklock::{Lock, Session};

use crate::raw::{Contender, Raw, number};
use crate::report::{Pair, Report, Target};
use crate::{Setup, settle};

/// Drains of so many waiters, on as many sessions and then on one.
pub async fn drain(setup: &Setup, waiters: usize, report: &mut Report) {
    let target = if waiters == 1_000 {
        Target::AtMost(1.25)
    } else {
        Target::None
    };
    let rounds = setup.scaled(2_000 / waiters).clamp(3, 100);

    let mut sessions = Vec::new();
    for _ in 0..=waiters {
        sessions.push(setup.session().await);
    }
    let path = format!("/drain-{waiters}");
    let mut raw: Vec<_> = (0..=waiters)
        .map(|which| Contender::connect(&setup.address, &format!("{path}/raw"), which))
        .collect();
    let mut pair = Pair::default();
    for _ in 0..rounds {
        let ours = ours(&sessions, waiters, &format!("{path}/ours")).await;
        pair.push(ours, raw_own_sessions(&mut raw));
    }
    report.times(&format!("drain-{waiters}"), &pair, target);
    for session in sessions {
        session.close().await;
    }
    drop(raw);

    let session = [setup.session().await];
    let mut raw = Raw::connect(&setup.address);
    let raw_path = format!("{path}-shared/raw");
    raw.make_path(&raw_path);
    let mut pair = Pair::default();
    for _ in 0..rounds {
        let ours = ours(&session, waiters, &format!("{path}-shared/ours")).await;
        pair.push(ours, raw_one_session(&mut raw, &raw_path, waiters));
    }
    report.times(&format!("drain-{waiters}-shared"), &pair, target);
    let [session] = session;
    session.close().await;
}

async fn ours(sessions: &[Session], waiters: usize, path: &str) -> Duration {
    let locks: Vec<_> = sessions
        .iter()
        .map(|session| Lock::new(session, path).unwrap())
        .collect();
    let holder = locks[0].acquire().await.unwrap();
    let mut tasks = JoinSet::new();
    for index in 0..waiters {
        let lock = locks[(index + 1) % locks.len()].clone();
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

fn raw_own_sessions(contenders: &mut [Contender]) -> Duration {
    for index in 0..contenders.len() {
        let (ahead, this) = contenders.split_at_mut(index);
        let ahead = ahead.iter().rev().take(2);
        this[0].wait_behind(ahead.map(|other| other.claim.as_str()));
    }
    let last = contenders.len() - 1;
    let start = Instant::now();
    contenders[0].release();
    for index in 1..=last {
        let granted = &mut contenders[index];
        // It was second in line, and has looked.
        if index > 1 {
            granted.looked_and_granted();
        } else {
            granted.raw.event();
        }
        granted.release();
        if let Some(second) = contenders.get_mut(index + 1) {
            second.raw.event();
            second.look();
        }
        contenders[index - 1].released();
    }
    contenders[last].released();
    start.elapsed()
}

fn raw_one_session(raw: &mut Raw, parent: &str, waiters: usize) -> Duration {
    let data = [b' '; 150];
    let mut claims: Vec<String> = Vec::new();
    for which in 0..=waiters {
        raw.create_claim(&format!("{parent}/_c_{which:032x}-lock-"), &data);
        raw.list(parent);
        raw.flush();
        let created = raw.reply();
        claims.push(raw.text(&created).to_owned());
        raw.reply();
        raw.watch_own(&claims[which]);
        let ahead = claims[..which].iter().rev().take(2);
        let watches = ahead.map(|path| raw.watch_ahead(path)).count();
        raw.flush();
        (0..=watches).for_each(|_| drop(raw.reply()));
    }
    let start = Instant::now();
    raw.delete(&claims[0]);
    raw.flush();
    for granted in 1..=waiters {
        raw_next(raw);
        raw.delete(&claims[granted]);
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
            raw.ahead(&frame, number(b"0000000000"));
        }
    }
}
