//! The model of an ensemble is as unkind as ZooKeeper is: were it kinder,
//! schedules would not find what they are there to find.

use bytes::{Bytes, BytesMut};
use zklock::embedded::Config;
use zklock::proto::{
    ConnectRequest, FrameReader, Password, Reader, ReplyHeader, Request, write_frame, xid,
};

use crate::clock::Nanos;
use crate::dice::Dice;
use crate::ensemble::Ensemble;
use crate::plan::Plan;
use crate::servers::{Out, Port};

const MS: Nanos = 1_000_000;
const TICK: Nanos = 250 * MS;
const TIMEOUT: Nanos = 4 * TICK;
/// So long anything takes, at the most.
const SOON: Nanos = MS;

struct Lab {
    ensemble: Ensemble,
    now: Nanos,
    follower: usize,
    outs: Vec<Out>,
}

impl Lab {
    fn new() -> Self {
        let mut dice = Dice::new(0);
        let plan = Plan {
            servers: 3,
            timeout: TIMEOUT,
            tick: TICK,
            latency: SOON / 10,
            ..Plan::new(&mut dice)
        };
        let mut ensemble = Ensemble::new(&plan, &Config::default(), dice);
        (ensemble.patience, ensemble.polls_at) = (10 * TIMEOUT, TICK / 2);
        let follower = (ensemble.leader.unwrap() + 1) % 3;
        Self {
            ensemble,
            now: 0,
            follower,
            outs: Vec::new(),
        }
    }

    fn pass(&mut self, time: Nanos) {
        self.now += time;
        self.ensemble.tick(self.now);
        self.outs
            .extend(std::iter::from_fn(|| self.ensemble.poll()));
    }

    /// The leader polls no follower before then.
    fn polls_at(&mut self, at: Nanos) {
        self.ensemble.polls_at = at;
    }

    fn send(&mut self, port: Port, frame: &[u8]) {
        self.ensemble.received(port, frame, self.now);
        self.pass(SOON);
    }

    fn greet(&mut self, node: usize, session_id: i64, last_zxid_seen: i64) -> Port {
        let port = self.ensemble.accept(node, self.now).unwrap();
        let greeting = ConnectRequest {
            protocol_version: 0,
            last_zxid_seen,
            timeout_ms: (TIMEOUT / MS) as i32,
            session_id,
            password: Password::zeros(),
            read_only: Some(false),
        };
        let mut frame = BytesMut::new();
        write_frame(&mut frame, |out| greeting.encode(out)).unwrap();
        self.send(port, &frame);
        port
    }

    fn open(&mut self, node: usize) -> Port {
        let port = self.greet(node, 0, 0);
        assert!(self.is_alive(), "it is welcome");
        self.outs.clear();
        port
    }

    /// Whether a request is answered at once.
    fn answers(&mut self, port: Port, number: i32, request: &Request) -> bool {
        let mut frame = BytesMut::new();
        write_frame(&mut frame, |out| request.encode(number, out)).unwrap();
        self.send(port, &frame);
        self.answered(number)
    }

    fn answered(&self, number: i32) -> bool {
        let frames = self.outs.iter().filter_map(|out| match out {
            Out::Write(_, bytes) => Some(frame_of(bytes)),
            Out::Close(_) => None,
        });
        let mut headers = frames.filter_map(|it| ReplyHeader::decode(&mut Reader::new(&it)).ok());
        headers.any(|header| header.xid == number)
    }

    fn is_alive(&self) -> bool {
        self.ensemble.truth.sessions().next().is_some()
    }

    /// How long a session that nobody hears of lives.
    fn lives(&mut self) -> Nanos {
        let since = self.now;
        while self.is_alive() {
            self.pass(MS);
            assert!(self.now < since + 3 * TIMEOUT, "it never ends");
        }
        self.now - since
    }
}

fn frame_of(bytes: &Bytes) -> Bytes {
    let reader = FrameReader::new(1 << 20);
    reader
        .read(&mut BytesMut::from(&bytes[..]))
        .unwrap()
        .unwrap()
}

fn sync() -> Request {
    Request::Sync { path: "/".into() }
}

fn read() -> Request {
    Request::Exists {
        path: "/".into(),
        watch: false,
    }
}

#[test]
fn a_session_ends_within_a_tick_after_its_timeout() {
    for offset in 0..20 {
        let mut lab = Lab::new();
        lab.pass(offset * TICK / 20);
        lab.open(lab.ensemble.leader.unwrap());
        let lived = lab.lives() + SOON;
        assert!(lived >= TIMEOUT, "{lived}");
        assert!(lived <= TIMEOUT + TICK + 3 * SOON, "{lived}");
    }
}

#[test]
fn a_follower_that_is_cut_off_answers_pings_and_reads_and_no_sync() {
    let mut lab = Lab::new();
    let port = lab.open(lab.follower);
    let cut = lab.now + TIMEOUT / 2;
    let node = &mut lab.ensemble.nodes[lab.follower];
    (node.up.cut_until, node.down.cut_until) = (cut, cut);
    assert!(lab.answers(port, xid::PING, &Request::Ping));
    assert!(lab.answers(port, 1, &read()));
    assert!(!lab.answers(port, 2, &sync()));
    assert!(!lab.answers(port, 3, &read()), "answers keep their order");
    lab.pass(TIMEOUT / 2);
    assert!(lab.answered(2) && lab.answered(3));
}

#[test]
fn nothing_a_follower_is_asked_is_a_touch_before_the_leader_polls() {
    let mut lab = Lab::new();
    lab.polls_at(10 * TIMEOUT);
    let port = lab.open(lab.follower);
    lab.pass(TIMEOUT * 3 / 4);
    assert!(lab.answers(port, xid::PING, &Request::Ping));
    assert!(lab.answers(port, 1, &sync()));
    assert!(lab.answers(port, 2, &read()));
    let lived = TIMEOUT * 3 / 4 + lab.lives();
    assert!(lived <= TIMEOUT + TICK + SOON, "{lived}");
}

#[test]
fn a_touch_counts_from_when_a_follower_is_polled() {
    let mut lab = Lab::new();
    lab.polls_at(TIMEOUT * 3 / 4);
    let port = lab.open(lab.follower);
    assert!(lab.answers(port, xid::PING, &Request::Ping));
    lab.pass(TIMEOUT * 3 / 4);
    // It was polled, and has nothing more to tell.
    let lived = lab.lives();
    assert!(lived >= TIMEOUT - 3 * SOON, "{lived}");
    assert!(lived <= TIMEOUT + TICK, "{lived}");
}

#[test]
fn at_the_leader_all_is_a_touch() {
    let mut lab = Lab::new();
    lab.polls_at(10 * TIMEOUT);
    let port = lab.open(lab.ensemble.leader.unwrap());
    lab.pass(TIMEOUT * 3 / 4);
    assert!(lab.answers(port, xid::PING, &Request::Ping));
    assert!(lab.lives() >= TIMEOUT - SOON);
}

#[test]
fn a_server_that_knows_less_than_a_client_sends_it_away() {
    let mut lab = Lab::new();
    let port = lab.greet(lab.follower, 0, 1000);
    assert!(matches!(lab.outs[..], [Out::Close(closed)] if closed == port));
}

#[test]
fn a_session_that_has_moved_is_served_at_its_new_server_only() {
    let mut lab = Lab::new();
    let port = lab.open(lab.follower);
    let session = lab.ensemble.truth.sessions().next().unwrap();
    let leader = lab.ensemble.leader.unwrap();
    lab.greet(leader, session, 0);
    lab.outs.clear();
    let delete = Request::Delete {
        path: "/x".into(),
        version: -1,
    };
    assert!(!lab.answers(port, 1, &delete));
    assert!(matches!(lab.outs[..], [Out::Close(closed)] if closed == port));
}

#[test]
fn a_server_hangs_up_on_the_connection_that_a_session_had_there_before() {
    let mut lab = Lab::new();
    let port = lab.open(lab.follower);
    let session = lab.ensemble.truth.sessions().next().unwrap();
    let node = &mut lab.ensemble.nodes[lab.follower];
    (node.up.cut_until, node.down.cut_until) = (TIMEOUT, TIMEOUT);
    lab.greet(lab.follower, session, 0);
    assert!(matches!(lab.outs[..], [Out::Close(closed)] if closed == port));
}
