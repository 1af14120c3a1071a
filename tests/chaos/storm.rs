//! The storm: workers at work, faults of three kinds at once, then calm.

use std::sync::Mutex;
use std::thread;
use std::time::{Duration, Instant};

use nix::sys::signal::Signal;

use crate::check::check;
use crate::clock::now;
use crate::crew::{Crew, Links, links};
use crate::plan::{Fault, Lane, Step};
use crate::register::Register;
use crate::report::{Report, Tally};
use crate::support::becomes_true;
use crate::support::ensemble::{Ensemble, SERVERS};
use crate::support::proxy::{Direction, Proxy};
use crate::support::raw::RawClient;
use crate::worker::{SESSION_TIMEOUT, lock_path};

const WORKERS: usize = 6;
const LOCKS: u64 = 3;
/// How long there are faults, unless `CHAOS_SECONDS` says otherwise.
const SECONDS: u64 = 8;
/// A server that is out of touch with its leader serves its clients on for 2.4
/// seconds, which is longer than their session timeout.
const SYNC_LIMIT: u32 = 12;
/// Far more than anything takes once there are no more faults.
const CALM: Duration = Duration::from_secs(60);
/// For so long the next fault of a server waits until all of them serve.
const RECOVERY: Duration = Duration::from_secs(15);

pub(crate) fn run() {
    let seconds = number("CHAOS_SECONDS").unwrap_or(SECONDS);
    let seed = number("CHAOS_SEED").unwrap_or_else(|| crate::support::random() % 1_000_000);
    println!("CHAOS_SEED={seed} makes the same faults again");
    let ensemble = Ensemble::builder().sync_limit(SYNC_LIMIT);
    let mut ensemble = ensemble.property("maxSessionTimeout", "4000").start();
    for index in 0..LOCKS {
        RawClient::connect(&ensemble.address(0)).create_all(&lock_path(index));
    }
    let links = links(&ensemble, WORKERS);
    let register = Register::open();
    let mut crew = Crew::start(&links, &register, LOCKS, seed);
    all_write(&register, 0);

    let storm = Storm {
        end: Instant::now() + Duration::from_secs(seconds),
        links: &links,
        register: &register,
        tally: Mutex::default(),
    };
    thread::scope(|scope| {
        scope.spawn(|| storm.links(Lane::of_clients(seed)));
        let ensemble = &mut ensemble;
        scope.spawn(|| storm.servers(Lane::of_servers(seed), ensemble));
        // In this thread, with which the workers it starts are to end.
        storm.workers(Lane::of_workers(seed), &mut crew);
    });
    let calm = now();
    links.iter().flatten().for_each(Proxy::resume);
    ensemble.heal();
    ensemble.wait_until_complete();
    all_write(&register, calm);
    crew.rest(CALM);
    let left = claims_left(&ensemble);
    crew.end(CALM);

    let records = crew.records();
    let grants = records.iter().flat_map(|records| records.grants.clone());
    let grants: Vec<_> = grants.collect();
    let mut verdict = check(&grants, &register.entries());
    verdict.violations.extend(left);
    let report = Report {
        seconds,
        tally: storm.tally.into_inner().unwrap(),
        records,
        verdict,
    };
    println!("{report}");
    report.assert_it_was_a_storm();
    let found = &report.verdict.violations;
    let folder = crew.folder().display();
    assert!(
        found.is_empty(),
        "CHAOS_SEED={seed}: {} violations; the records are in {folder}",
        found.len()
    );
    crew.forget();
}

fn number(variable: &str) -> Option<u64> {
    let value = std::env::var(variable).ok()?;
    Some(
        value
            .parse()
            .unwrap_or_else(|_| panic!("{variable}={value} is no number")),
    )
}

/// Waits until every worker has been granted a lock and has written.
fn all_write(register: &Register, since: u64) {
    for slot in 0..WORKERS {
        let writes = becomes_true(CALM, || register.has_written(slot, since));
        assert!(writes, "worker {slot} makes no progress");
    }
}

/// All workers rest, and their sessions live on: what is left now was forgotten.
/// Of those who were killed the claims go with their sessions.
fn claims_left(ensemble: &Ensemble) -> Option<String> {
    let mut client = RawClient::connect(&ensemble.address(ensemble.leader()));
    let mut left = Vec::new();
    becomes_true(5 * SESSION_TIMEOUT, || {
        let children = (0..LOCKS).flat_map(|index| client.children(&lock_path(index)).unwrap());
        left = children.collect();
        left.is_empty()
    });
    (!left.is_empty()).then(|| format!("claims are left: {left:?}"))
}

/// What the three lanes share.
struct Storm<'a> {
    end: Instant,
    links: &'a [Links],
    register: &'a Register,
    tally: Mutex<Tally>,
}

impl Storm<'_> {
    /// The steps of a lane, until the storm is over. Each is counted when it
    /// has found something to hit.
    fn each(&self, lane: Lane, mut make: impl FnMut(Step) -> bool) {
        for step in lane {
            thread::sleep(step.pause);
            if Instant::now() >= self.end {
                return;
            }
            if make(step) {
                self.tally.lock().unwrap().count(step.fault);
            }
        }
    }

    fn workers(&self, lane: Lane, crew: &mut Crew) {
        self.each(lane, |step| {
            let any = step.target % crew.len();
            let holder = || self.register.next_writer(SESSION_TIMEOUT).unwrap_or(any);
            match step.fault {
                Fault::KillWorker => crew.replace(any),
                Fault::KillHolder => crew.replace(holder()),
                Fault::StopWorker => stop(crew, any, step.lasts),
                Fault::StopHolder => stop(crew, holder(), step.lasts),
                other => unreachable!("{other:?} in this lane"),
            }
            true
        });
    }

    fn links(&self, lane: Lane) {
        self.each(lane, |step| {
            let links = &self.links[step.target % self.links.len()];
            let hold = |ways: &[Direction]| {
                hold(links.iter(), ways, step.lasts);
            };
            match step.fault {
                Fault::CutClient => links.iter().for_each(Proxy::cut),
                Fault::CutAllClients => self.links.iter().flatten().for_each(Proxy::cut),
                Fault::SilenceClient => hold(&[Direction::ToServer, Direction::ToClient]),
                Fault::HoldReplies => hold(&[Direction::ToClient]),
                Fault::HoldRequests => hold(&[Direction::ToServer]),
                Fault::SlowClient => slow(links.iter(), step),
                Fault::TruncateReply => truncate(links, Direction::ToClient),
                Fault::TruncateRequest => truncate(links, Direction::ToServer),
                other => unreachable!("{other:?} in this lane"),
            }
            true
        });
    }

    fn servers(&self, lane: Lane, ensemble: &mut Ensemble) {
        self.each(lane, |step| {
            let Some(leader) = ensemble.find_leader() else {
                return false;
            };
            let follower = (leader + 1 + step.target % (SERVERS - 1)) % SERVERS;
            fail(ensemble, step, leader, follower);
            becomes_true(RECOVERY, || ensemble.is_complete());
            true
        });
    }
}

fn stop(crew: &Crew, slot: usize, time: Duration) {
    crew.signal(slot, Signal::SIGSTOP);
    thread::sleep(time);
    crew.signal(slot, Signal::SIGCONT);
}

fn hold<'a>(links: impl Iterator<Item = &'a Proxy> + Clone, ways: &[Direction], time: Duration) {
    for link in links.clone() {
        ways.iter().for_each(|way| link.hold(*way));
    }
    thread::sleep(time);
    for link in links {
        ways.iter().for_each(|way| link.release(*way));
    }
}

/// Makes each chunk wait for a few hundredths of the time.
fn slow<'a>(links: impl Iterator<Item = &'a Proxy> + Clone, step: Step) {
    let delay = step.lasts / 50;
    links.clone().for_each(|link| link.slow(delay));
    thread::sleep(step.lasts);
    links.for_each(|link| link.slow(Duration::ZERO));
}

/// Within a heartbeat each link in use is cut amid a frame.
fn truncate(links: &Links, way: Direction) {
    links.iter().for_each(|link| link.truncate(way));
    thread::sleep(SESSION_TIMEOUT / 6);
}

/// A fault of a server, or between servers, from its beginning to its end.
fn fail(ensemble: &mut Ensemble, step: Step, leader: usize, follower: usize) {
    let hit = match step.fault {
        Fault::KillLeader | Fault::StopLeader | Fault::IsolateLeader => leader,
        _ => follower,
    };
    let lasts = || thread::sleep(step.lasts);
    match step.fault {
        Fault::KillFollower | Fault::KillLeader => {
            ensemble.kill(hit);
            lasts();
            ensemble.relaunch(hit);
        }
        Fault::StopFollower | Fault::StopLeader => {
            ensemble.stop_process(hit);
            lasts();
            ensemble.continue_process(hit);
        }
        Fault::IsolateFollower | Fault::IsolateLeader => {
            ensemble.isolate(hit);
            lasts();
            ensemble.heal();
        }
        _ => disturb(ensemble, ensemble.link(follower, leader), step),
    }
}

/// A fault of a follower's link to its leader.
fn disturb(ensemble: &Ensemble, link: &Proxy, step: Step) {
    let links = || ensemble.links_to_leaders();
    match step.fault {
        Fault::HoldToFollower => hold([link].into_iter(), &[Direction::ToClient], step.lasts),
        Fault::HoldFromFollower => hold([link].into_iter(), &[Direction::ToServer], step.lasts),
        Fault::CutFollower => link.cut(),
        Fault::SlowServers => slow(links(), step),
        Fault::HoldAcks => {
            link.hold_acks(true);
            thread::sleep(step.lasts);
            link.hold_acks(false);
        }
        other => unreachable!("{other:?} in this lane"),
    }
}
