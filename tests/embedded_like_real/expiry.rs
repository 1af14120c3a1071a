//! When a silent session expires: predicted by the embedded server, measured at
//! a real one.

use std::thread;
use std::time::{Duration, Instant};

use bytes::Bytes;
use zklock::embedded::Config;
use zklock::proto::{Acl, CreateMode, Reader, ReplyHeader, Request, WatcherEvent};

use crate::frames::{framed, handshake, is_event, payload};
use crate::servers::{Embedded, Next, Real, Server};

/// The tick of both servers.
pub(crate) const TICK: Duration = Duration::from_secs(1);

/// An event may come so much before it is expected, as far as the ticks of the
/// real server are known.
const EARLY: Duration = Duration::from_millis(150);
/// And so much after, on a busy machine. Both are less than a tick.
const LATE: Duration = Duration::from_millis(750);

/// When sessions are last heard of, as parts of a tick, and their timeouts.
const SILENT: [(f64, i32); 6] = [
    (0.25, 2000),
    (0.45, 2400),
    (0.45, 2700),
    (0.75, 2000),
    (0.75, 2600),
    (0.75, 3300),
];

/// Has sessions expire at a real server, and compares with what the embedded
/// one says of the same.
pub(crate) fn compare(address: String) {
    let mut observer = Observer::new(address);
    // Expiries are at ticks: the first one shows when those are.
    let first = observer.silence(0, 2000);
    let zero = observer.wait_for(&[first]).remove(0);
    for attempt in 0.. {
        assert!(attempt < 5, "the machine is too busy to measure a tick");
        if observer.compare_once(zero) {
            return;
        }
    }
}

/// A session that fell silent.
struct Silent {
    path: String,
    /// Its connection.
    connection: usize,
    /// Just before its last request was sent, and just after the answer.
    before: Instant,
    after: Instant,
}

/// A session that watches the ephemerals of others.
struct Observer {
    real: Real,
    connections: usize,
}

impl Observer {
    fn new(address: String) -> Self {
        let mut observer = Self {
            real: Real::new(address),
            connections: 0,
        };
        observer.begin_session(30_000);
        observer
    }

    /// Whether all went fast enough to be compared.
    fn compare_once(&mut self, zero: Instant) -> bool {
        let mut silent = Vec::new();
        let mut expected = Vec::new();
        // All within one tick, which is before the first of them expires.
        let tick = next_tick(zero);
        for (number, (part, timeout_ms)) in (1..).zip(SILENT) {
            thread::sleep((tick + TICK.mul_f64(part)).saturating_sub(zero.elapsed()));
            let session = self.silence(number, timeout_ms);
            expected.push(predict(zero, session.before, timeout_ms));
            if expected.last() != Some(&predict(zero, session.after, timeout_ms)) {
                return false;
            }
            silent.push(session);
        }
        let expired = self.wait_for(&silent);
        for ((expected, expired), (part, timeout)) in expected.iter().zip(expired).zip(SILENT) {
            let seen = expired.duration_since(zero);
            println!(
                "heard of at {part} ticks, timeout {timeout} ms: expected at {expected:?}, at {seen:?}"
            );
            assert!(seen + EARLY > *expected, "before it was expected");
            assert!(seen < *expected + LATE, "after it was expected");
        }
        for session in silent {
            // The server says nothing to the client whose session expires.
            assert_eq!(self.real.next(session.connection), Next::Closed);
        }
        true
    }

    fn begin_session(&mut self, timeout_ms: i32) -> usize {
        let connection = self.connections;
        self.connections += 1;
        self.real.connect();
        let hello = handshake(0, &[0; 16], timeout_ms, 0, Some(false));
        self.real.send(connection, &framed(&hello));
        assert!(matches!(self.real.next(connection), Next::Frame(_)));
        connection
    }

    /// Begins a session whose last request creates an ephemeral, on which this
    /// one has a watch.
    fn silence(&mut self, number: u32, timeout_ms: i32) -> Silent {
        let path = format!("/silent-{number}");
        let watch = Request::Exists {
            path: path.as_str().into(),
            watch: true,
        };
        let connection = self.begin_session(timeout_ms);
        let before = Instant::now();
        self.real.send(connection, &create(&path));
        assert!(matches!(self.real.next(connection), Next::Frame(_)));
        let after = Instant::now();
        self.real.send(0, &framed(&payload(&watch, 1)));
        assert!(matches!(self.real.next(0), Next::Frame(_)));
        Silent {
            path,
            connection,
            before,
            after,
        }
    }

    /// When the ephemeral of each went.
    fn wait_for(&mut self, silent: &[Silent]) -> Vec<Instant> {
        let mut expired = vec![None; silent.len()];
        while expired.contains(&None) {
            let Next::Frame(frame) = self.real.next(0) else {
                panic!("a session does not expire");
            };
            let now = Instant::now();
            assert!(is_event(&frame));
            let path = path_of(&frame);
            let which = silent.iter().position(|session| session.path == path);
            expired[which.expect("one that was watched")] = Some(now);
        }
        expired.into_iter().flatten().collect()
    }
}

/// When the embedded server lets a session expire that was last heard of at
/// `heard`; counted from `zero`, which is at a tick.
fn predict(zero: Instant, heard: Instant, timeout_ms: i32) -> Duration {
    let mut embedded = Embedded::new(Config {
        tick: TICK,
        ..Config::default()
    });
    embedded.wait_until(heard.duration_since(zero));
    embedded.connect();
    let hello = handshake(0, &[0; 16], timeout_ms, 0, Some(false));
    embedded.send(0, &framed(&hello));
    embedded.send(0, &create("/a"));
    embedded.core.deadline().expect("there is a session")
}

fn create(path: &str) -> Bytes {
    let request = Request::Create {
        path: path.into(),
        data: None,
        acl: [Acl::world_anyone()].into(),
        mode: CreateMode::Ephemeral,
    };
    framed(&payload(&request, 1))
}

fn path_of(event: &Bytes) -> String {
    let mut reader = Reader::new(event);
    ReplyHeader::decode(&mut reader).unwrap();
    WatcherEvent::decode(&mut reader).unwrap().path.to_string()
}

/// The next tick from now, as time since one.
fn next_tick(zero: Instant) -> Duration {
    let ticks = zero.elapsed().as_millis() / TICK.as_millis() + 1;
    TICK * u32::try_from(ticks).unwrap()
}
