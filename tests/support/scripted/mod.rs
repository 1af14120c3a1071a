//! A scripted server around the sans-IO machines, in virtual time: no sockets,
//! no tasks, no sleeps.
//!
//! A test says what the client is asked, what it must write, what comes back
//! and how much time passes. [`Peer`] is the script's side of the connection.
//! [`session::Session`] puts it around a bare session machine, and
//! [`client::Client`] around a session with the lock's recipe on it.

pub(crate) mod client;
pub(crate) mod session;

use std::collections::VecDeque;
use std::time::Duration;

use bytes::{Bytes, BytesMut};
use zklock::proto::{
    ConnectRequest, ConnectResponse, ErrorCode, EventType, FrameError, FrameReader, KeeperState,
    Password, Reader, Reply, ReplyHeader, Request, WatcherEvent, xid,
};
use zklock::session::{Action, Cause, Heartbeat, Io, Misuse, SessionConfig, Timestamp};

/// The session timeout that is asked for, and granted unless a test says
/// otherwise: a heartbeat each second.
pub(crate) const T: Duration = Duration::from_secs(6);
/// The time between two heartbeats.
pub(crate) const BEAT: Duration = Duration::from_secs(1);
/// Any instant will do to begin with.
pub(crate) const START: Timestamp = Timestamp::from_nanos(1_000_000_000_000);
pub(crate) const SESSION_ID: i64 = 0x0100_0012_3072_0005;
/// No machine needs so many at one time.
const MOST_TICKS: usize = 100;
pub(crate) const PASSWORD: &[u8] = b"0123456789abcdef";

/// What one transmission carried.
pub(crate) type Batch = Vec<(i32, Request)>;

/// A machine that a driver can drive.
pub(crate) trait Machine {
    fn io(&mut self, io: Io, now: Timestamp) -> Result<(), Misuse>;
    fn tick(&mut self, now: Timestamp);
    fn close(&mut self, now: Timestamp);
    fn transmit(&mut self, now: Timestamp) -> Option<Bytes>;
    fn deadline(&self) -> Option<Timestamp>;
    fn action(&mut self) -> Option<Action>;
}

/// The other end of a machine's connection, its driver and its clock.
pub(crate) struct Peer<M> {
    pub(crate) machine: M,
    pub(crate) now: Timestamp,
    /// The server's last transaction.
    pub(crate) zxid: i64,
    pub(crate) session_id: i64,
    /// What was written and not answered, oldest first.
    pub(crate) in_flight: VecDeque<(i32, Request)>,
    /// What was written while time passed and no test has looked at yet,
    /// without the heartbeats.
    unseen: VecDeque<Batch>,
    pub(crate) actions: Vec<Action>,
    heartbeats: usize,
}

impl<M: Machine> Peer<M> {
    /// A machine that has asked for its first dial.
    pub(crate) fn new(machine: M) -> Self {
        let mut peer = Self {
            machine,
            now: START,
            zxid: 100,
            session_id: SESSION_ID,
            in_flight: VecDeque::new(),
            unseen: VecDeque::new(),
            actions: Vec::new(),
            heartbeats: 0,
        };
        peer.tick();
        peer
    }

    /// The dial succeeds; returns the handshake.
    #[track_caller]
    pub(crate) fn connect(&mut self) -> ConnectRequest {
        self.io(Io::Connected);
        let written = self.transmit_raw().expect("a handshake");
        ConnectRequest::decode(&mut Reader::new(&frames(written)[0])).expect("a ConnectRequest")
    }

    /// The server grants the session that goes by `self.session_id`.
    pub(crate) fn welcome(&mut self, timeout: Duration) {
        let response = welcome(timeout, self.session_id);
        self.hear(connect_response(&response));
    }

    /// Dials until it may, and takes the session up again.
    pub(crate) fn reattach(&mut self) {
        self.dial();
        assert_eq!(self.connect().session_id, self.session_id, "the same one");
        self.welcome(T);
    }

    /// As `reattach`, but the server knows the session no more; then a new one.
    pub(crate) fn replace_session(&mut self) {
        self.dial();
        self.connect();
        self.hear(connect_response(&welcome(Duration::ZERO, 0)));
        self.session_id += 1;
        self.dial();
        assert_eq!(self.connect().session_id, 0, "a new one");
        self.welcome(T);
    }

    /// Lets time pass until the machine dials.
    #[track_caller]
    pub(crate) fn dial(&mut self) {
        self.actions.clear();
        while !self.dialed() {
            self.step();
        }
    }

    fn dialed(&self) -> bool {
        matches!(self.actions.last(), Some(Action::Dial(_)))
    }

    /// Lets time pass until the machine has something to do.
    #[track_caller]
    pub(crate) fn step(&mut self) {
        self.now = self.now.max(self.machine.deadline().expect("a deadline"));
        self.tick();
    }

    /// The server closes the connection.
    pub(crate) fn cut(&mut self) {
        self.cut_by(Cause::ClosedByServer);
    }

    pub(crate) fn cut_by(&mut self, cause: Cause) {
        self.in_flight.clear();
        self.unseen.clear();
        self.io(Io::Disconnected(cause));
    }

    /// A frame comes of which more than 100 bytes are announced, where that is
    /// the most.
    pub(crate) fn hear_too_long(&mut self) {
        let (length, max) = (101, 100);
        self.cut_by(Cause::Frame(FrameError::TooLong { length, max }));
    }

    /// A frame arrives.
    #[track_caller]
    pub(crate) fn hear(&mut self, frame: Bytes) {
        self.io(Io::Frame(frame));
    }

    /// Something happens to the connection that can happen now.
    #[track_caller]
    pub(crate) fn io(&mut self, io: Io) {
        let result = self.machine.io(io, self.now);
        assert_eq!(result, Ok(()));
        self.act();
    }

    pub(crate) fn close(&mut self) {
        self.machine.close(self.now);
        self.act();
    }

    /// Has the machine do all that is due by now.
    fn tick(&mut self) {
        self.machine.tick(self.now);
        self.act();
        for _ in 0..MOST_TICKS {
            if self.machine.deadline().is_none_or(|at| at > self.now) {
                return;
            }
            self.machine.tick(self.now);
            self.act();
        }
        panic!("what is due by {:?} is never done", self.now);
    }

    /// Does as a driver does, and remembers it.
    pub(crate) fn act(&mut self) {
        while let Some(action) = self.machine.action() {
            self.in_flight.clear();
            self.actions.push(action);
        }
    }

    /// What the machine asked its driver for, since the last time.
    pub(crate) fn actions(&mut self) -> Vec<Action> {
        std::mem::take(&mut self.actions)
    }

    pub(crate) fn hung_up(&mut self) -> bool {
        self.actions().contains(&Action::HangUp)
    }

    /// One transmission, written as a whole.
    pub(crate) fn transmit_raw(&mut self) -> Option<Bytes> {
        let written = self.machine.transmit(self.now)?;
        self.io(Io::Flushed);
        Some(written)
    }

    /// One transmission, heartbeats included.
    pub(crate) fn transmit(&mut self) -> Batch {
        let batch = requests(self.transmit_raw().unwrap_or_default());
        self.in_flight.extend(batch.iter().cloned());
        batch
    }

    /// The next transmission that has more in it than a heartbeat, without the
    /// heartbeat.
    pub(crate) fn batch(&mut self) -> Batch {
        if self.unseen.is_empty() {
            self.read();
        }
        self.unseen.pop_front().unwrap_or_default()
    }

    fn read(&mut self) {
        let batch = self.transmit();
        let rest: Batch = batch.into_iter().filter(|sent| !is_beat(sent)).collect();
        if !rest.is_empty() {
            self.unseen.push_back(rest);
        }
    }

    /// Answers this request.
    #[track_caller]
    pub(crate) fn reply(&mut self, xid: i32, reply: &Reply) {
        self.in_flight.retain(|(other, _)| *other != xid);
        self.hear(ok(xid, self.zxid, reply));
    }

    /// Refuses this request.
    #[track_caller]
    pub(crate) fn refuse(&mut self, xid: i32, code: ErrorCode) {
        self.in_flight.retain(|(other, _)| *other != xid);
        self.hear(error(xid, self.zxid, code));
    }

    /// A watch has fired.
    pub(crate) fn event(&mut self, kind: EventType, path: &str) {
        self.hear(event(kind, path));
    }

    /// Lets time pass, stops at every deadline on the way, and answers each
    /// heartbeat at once unless older requests wait for their answers.
    pub(crate) fn advance(&mut self, time: Duration) {
        self.pass(time, true);
    }

    /// As `advance`, but nothing is read and nothing answered.
    pub(crate) fn advance_in_silence(&mut self, time: Duration) {
        self.pass(time, false);
    }

    fn pass(&mut self, time: Duration, answering: bool) {
        let end = self.now + time;
        loop {
            if answering {
                self.read();
                self.answer_heartbeat();
            }
            match self.machine.deadline().filter(|at| *at <= end) {
                Some(at) => self.now = self.now.max(at),
                None => break,
            }
            self.tick();
        }
        self.now = end;
    }

    /// Answers the heartbeat in flight, if its turn has come.
    pub(crate) fn answer_heartbeat(&mut self) {
        while self.in_flight.front().is_some_and(is_beat) {
            if let Some((xid, request)) = self.in_flight.pop_front() {
                let reply = match request {
                    Request::Ping => Reply::Ping,
                    _ => Reply::Sync { path: "/".into() },
                };
                self.heartbeats += usize::from(reply == Reply::Ping);
                self.hear(ok(xid, self.zxid, &reply));
            }
        }
    }

    /// How many heartbeats were answered.
    pub(crate) fn heartbeats(&self) -> usize {
        self.heartbeats
    }
}

/// Whether a request is part of a heartbeat: no recipe in these tests asks for
/// a `sync` of the root.
pub(crate) fn is_beat((_, request): &(i32, Request)) -> bool {
    match request {
        Request::Ping => true,
        Request::Sync { path } => **path == *"/",
        _ => false,
    }
}

/// A session with these servers.
pub(crate) fn config(servers: &str) -> SessionConfig {
    SessionConfig {
        ensemble: servers.parse().expect("a connect string"),
        timeout: T,
        connect_timeout: Duration::from_secs(10),
        max_in_flight: 1000,
        auth: Vec::new(),
        heartbeat: Heartbeat::Sync,
        seed: 7,
    }
}

pub(crate) fn welcome(timeout: Duration, session_id: i64) -> ConnectResponse {
    ConnectResponse {
        protocol_version: 0,
        timeout_ms: i32::try_from(timeout.as_millis()).expect("a timeout in range"),
        session_id,
        password: Password(Some(Bytes::from_static(PASSWORD))),
        read_only: Some(false),
    }
}

pub(crate) fn connect_response(response: &ConnectResponse) -> Bytes {
    encoded(|out| response.encode(out))
}

pub(crate) fn ok(xid: i32, zxid: i64, reply: &Reply) -> Bytes {
    let error = ErrorCode::Ok;
    encoded(|out| {
        ReplyHeader { xid, zxid, error }.encode(out);
        reply.encode(out);
    })
}

pub(crate) fn error(xid: i32, zxid: i64, error: ErrorCode) -> Bytes {
    encoded(|out| ReplyHeader { xid, zxid, error }.encode(out))
}

pub(crate) fn event(kind: EventType, path: &str) -> Bytes {
    event_at(-1, kind, path)
}

/// Servers from 3.9 on put the transaction's zxid there.
pub(crate) fn event_at(zxid: i64, kind: EventType, path: &str) -> Bytes {
    let header = ReplyHeader {
        xid: xid::WATCH_EVENT,
        zxid,
        error: ErrorCode::Ok,
    };
    let (state, path) = (KeeperState::SyncConnected, path.into());
    encoded(|out| {
        header.encode(out);
        WatcherEvent { kind, state, path }.encode(out);
    })
}

pub(crate) fn encoded(encode: impl FnOnce(&mut BytesMut)) -> Bytes {
    let mut out = BytesMut::new();
    encode(&mut out);
    out.freeze()
}

/// The requests in a transmission, which holds whole frames only.
pub(crate) fn requests(written: Bytes) -> Batch {
    frames(written)
        .iter()
        .map(|frame| Request::decode_strict(frame).expect("a request"))
        .map(|(header, request)| (header.xid, request))
        .collect()
}

pub(crate) fn frames(written: Bytes) -> Vec<Bytes> {
    let mut written = BytesMut::from(written);
    let reader = FrameReader::default();
    let frames = std::iter::from_fn(|| reader.read(&mut written).expect("frames")).collect();
    assert!(written.is_empty(), "a transmission ends with a frame");
    frames
}
