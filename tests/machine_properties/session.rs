//! Any inputs at all to a session machine.

use std::collections::BTreeMap;
use std::time::Duration;

use bytes::Bytes;
use proptest::collection::vec;
use proptest::prelude::*;
use zklock::proto::{Children, ErrorCode, EventType, OpCode, Reply, Request, Stat};
use zklock::session::{Cause, Input, Output, SessionConfig, SessionMachine, Timestamp};

use crate::support::scripted::{
    SESSION_ID, START, T, config, connect_response, error, event, ok, requests, welcome,
};
use crate::up_to;

#[derive(Clone, Debug)]
pub(crate) enum SessionInput {
    Connected,
    Cut,
    Partial,
    Bytes(Vec<u8>),
    Welcome {
        millis: i32,
        session: i64,
        read_only: Option<bool>,
    },
    /// Answers the request so far back in what is in flight.
    Answer {
        back: usize,
        code: Option<i32>,
        zxid: i64,
    },
    Event,
    Request(u8),
    Transmit {
        flush: bool,
    },
    Flush,
    Close,
    Wait(Duration),
    /// Time passes to the next deadline.
    Deadline,
}

impl SessionInput {
    pub(crate) fn any() -> impl Strategy<Value = Self> {
        let granted = prop_oneof![4 => Just(6000), 1 => any::<i32>(), 1 => 0..10_i32];
        let session = prop_oneof![6 => Just(SESSION_ID), 1 => any::<i64>(), 1 => Just(0)];
        let code = prop_oneof![
            6 => Just(None),
            2 => (-127..0_i32).prop_map(Some),
            1 => Just(Some(-112)),
            1 => any::<i32>().prop_map(Some)
        ];
        let back = prop_oneof![9 => Just(0_usize), 1 => 0..5_usize];
        prop_oneof![
            6 => Just(Self::Connected),
            2 => Just(Self::Cut),
            2 => Just(Self::Partial),
            1 => vec(any::<u8>(), 0..60).prop_map(Self::Bytes),
            6 => (granted, session, any::<Option<bool>>()).prop_map(
                |(millis, session, read_only)| Self::Welcome { millis, session, read_only }
            ),
            12 => (back, code, any::<i64>())
                .prop_map(|(back, code, zxid)| Self::Answer { back, code, zxid }),
            1 => Just(Self::Event),
            8 => any::<u8>().prop_map(Self::Request),
            8 => any::<bool>().prop_map(|flush| Self::Transmit { flush }),
            2 => Just(Self::Flush),
            1 => Just(Self::Close),
            3 => up_to(T * 3).prop_map(Self::Wait),
            8 => Just(Self::Deadline),
        ]
    }
}

/// A machine, and what it was asked and has answered.
pub(crate) struct Trial {
    machine: SessionMachine<u32>,
    now: Timestamp,
    in_flight: Vec<(i32, OpCode)>,
    asked: u32,
    outcomes: BTreeMap<u32, u32>,
}

impl Trial {
    pub(crate) fn new(seed: u64) -> Self {
        let config = SessionConfig {
            seed,
            max_in_flight: 3,
            ..config("a,b,c")
        };
        Self {
            machine: SessionMachine::new(config, START),
            now: START,
            in_flight: Vec::new(),
            asked: 0,
            outcomes: BTreeMap::new(),
        }
    }

    pub(crate) fn take(&mut self, input: SessionInput) {
        match input {
            SessionInput::Connected => self.tell(Input::Connected),
            SessionInput::Cut => self.tell(Input::Disconnected(Cause::ClosedByServer)),
            SessionInput::Partial => self.tell(Input::Partial),
            SessionInput::Bytes(bytes) => self.hear(bytes.into()),
            SessionInput::Welcome {
                millis,
                session,
                read_only,
            } => {
                let mut response = welcome(T, session);
                (response.timeout_ms, response.read_only) = (millis, read_only);
                self.hear(connect_response(&response));
            }
            SessionInput::Answer { back, code, zxid } => self.answer(back, code, zxid),
            SessionInput::Event => self.hear(event(EventType::NodeDeleted, "/l")),
            SessionInput::Request(kind) => {
                self.asked += 1;
                let (token, request) = (self.asked, request(kind));
                self.tell(Input::Request { token, request });
            }
            SessionInput::Transmit { flush } => self.transmit(flush),
            SessionInput::Flush => self.tell(Input::Flushed),
            SessionInput::Close => self.tell(Input::Close),
            SessionInput::Wait(time) => self.wait_until(self.now + time),
            SessionInput::Deadline => {
                let deadline = self.machine.deadline().unwrap_or(self.now);
                self.wait_until(deadline.max(self.now));
            }
        }
        assert!(self.outcomes.values().all(|times| *times == 1), "{self:?}");
    }

    /// However it got here, a close stops it, and then all is answered.
    pub(crate) fn end(&mut self) {
        self.tell(Input::Close);
        self.wait_until(self.now + Duration::from_secs(2));
        assert_eq!(self.machine.deadline(), None, "{self:?}");
        assert_eq!(self.machine.session_id(), None);
        let answered: Vec<_> = self.outcomes.keys().copied().collect();
        assert_eq!(answered, (1..=self.asked).collect::<Vec<_>>());
        assert!(self.outcomes.values().all(|times| *times == 1), "{self:?}");
        // What is shown is what is kept.
        let kept = format!("{:?}", self.machine).len();
        assert!(kept < 4096, "{kept} bytes: {self:?}");
    }

    fn hear(&mut self, frame: Bytes) {
        self.tell(Input::Frame(frame));
    }

    /// What the state does not allow is refused, and that is all.
    fn tell(&mut self, input: Input<u32>) {
        let _ = self.machine.handle(input, self.now);
        while let Some(output) = self.machine.poll() {
            match output {
                Output::Completed { token, .. } => *self.outcomes.entry(token).or_default() += 1,
                Output::Dial(_) | Output::HangUp => self.in_flight.clear(),
                Output::Lease(until) => assert!(until <= self.now + T * 400_000),
                Output::Event(_) | Output::Session(_) => {}
            }
        }
    }

    fn transmit(&mut self, flush: bool) {
        if let Some(written) = self.machine.transmit(self.now) {
            if self.machine.is_live() {
                let batch = requests(written);
                let batch = batch.iter().map(|(xid, request)| (*xid, request.opcode()));
                self.in_flight.extend(batch);
            }
            if flush {
                self.tell(Input::Flushed);
            }
        }
    }

    fn answer(&mut self, back: usize, code: Option<i32>, zxid: i64) {
        if back < self.in_flight.len() {
            let (xid, opcode) = self.in_flight.remove(back);
            self.hear(match code {
                Some(code) => error(xid, zxid, ErrorCode::from_i32(code)),
                None => ok(xid, zxid, &reply(opcode)),
            });
        }
    }

    /// At each deadline a tick must make one that is later, before long.
    fn wait_until(&mut self, end: Timestamp) {
        let mut stuck = 0;
        while let Some(at) = self.machine.deadline().filter(|at| *at <= end) {
            stuck = if at > self.now { 0 } else { stuck + 1 };
            assert!(stuck < 20, "no progress: {self:?}");
            self.now = self.now.max(at);
            self.tell(Input::Tick);
        }
        self.now = end;
    }
}

impl std::fmt::Debug for Trial {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        let Self {
            machine,
            now,
            outcomes,
            ..
        } = self;
        write!(f, "at {now:?}: {machine:#?}, outcomes {outcomes:?}")
    }
}

fn request(kind: u8) -> Request {
    let (path, watch) = ("/l".into(), true);
    match kind % 4 {
        0 => Request::Sync { path },
        1 => Request::Exists { path, watch },
        2 => Request::GetChildren { path, watch },
        _ => Request::Delete { path, version: -1 },
    }
}

fn reply(opcode: OpCode) -> Reply {
    match opcode {
        OpCode::Exists => Reply::Exists {
            stat: Stat::default(),
        },
        OpCode::GetChildren => Reply::GetChildren {
            children: Children::default(),
        },
        OpCode::Delete => Reply::Delete,
        OpCode::Ping => Reply::Ping,
        OpCode::CloseSession => Reply::CloseSession,
        _ => Reply::Sync { path: "/l".into() },
    }
}
