//! A process with a session, and what a driver does for it.

use std::collections::VecDeque;
use std::sync::Arc;

use bytes::{Bytes, BytesMut};
use zklock::proto::{ConnectRequest, FrameReader, Reader, ReplyHeader, Request, xid};
use zklock::session::{
    Action, Cause, Engine, Heartbeat, Io, Server, SessionConfig, SessionEvent, Timestamp,
};

use crate::audit::Audited;
use crate::clock::{Clock, Nanos};
use crate::dice::Dice;
use crate::net::Chunk;
use crate::phases::Phase;
use crate::plan::Plan;
use crate::world::{Event, World};

const MAX_FRAME: usize = 1 << 20;

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Link {
    Down,
    Dialing { dial: u64, node: usize },
    Up(u64),
}

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Process {
    Runs,
    /// Until then.
    Stopped(Nanos),
    Dead,
}

pub(crate) struct Client {
    pub(crate) engine: Engine<Audited>,
    pub(crate) clock: Clock,
    pub(crate) link: Link,
    pub(crate) process: Process,
    /// What has arrived and is not read.
    pub(crate) inbox: VecDeque<Chunk>,
    buffer: BytesMut,
    /// Its connection takes no bytes until then.
    pub(crate) clogged: Nanos,
    /// The highest zxid that a reply has shown.
    pub(crate) seen: i64,
    /// When its timer rings.
    pub(crate) wakes: Nanos,
    /// How far the servers and its requests were when its claims were counted.
    pub(crate) checked: (i64, u64),
    /// It says goodbye.
    pub(crate) closing: bool,
}

impl Client {
    pub(crate) fn new(id: usize, plan: &Plan, dice: &mut Dice) -> Self {
        let slowest = 1_000_000 - plan.drift;
        let any = slowest + dice.below(2 * plan.drift + 1);
        let rate = dice.pick(&[any, slowest]);
        let clock = Clock::new(0, 1_000_000_000 * (id as u64 + 1), rate);
        Self {
            engine: engine(plan, dice, clock.at(0)),
            clock,
            link: Link::Down,
            process: Process::Runs,
            inbox: VecDeque::new(),
            buffer: BytesMut::new(),
            clogged: 0,
            seen: 0,
            wakes: 0,
            checked: (0, 0),
            closing: false,
        }
    }

    pub(crate) fn runs(&self) -> bool {
        self.process == Process::Runs
    }

    /// All that happened up to it is known to the client, if it watched. No
    /// server that it moves to knows less.
    fn note_zxid(&mut self, frame: &Bytes) {
        let header = ReplyHeader::decode(&mut Reader::new(frame));
        if let (true, Ok(header)) = (self.engine.session().is_live(), header) {
            if header.xid != xid::WATCH_EVENT {
                let seen = self.seen;
                assert!(header.zxid >= seen, "after {seen:#x} came {header:?}");
                self.seen = header.zxid;
            }
        }
    }

    fn forget_bytes(&mut self) {
        self.inbox.clear();
        self.buffer.clear();
    }
}

fn engine(plan: &Plan, dice: &mut Dice, now: Timestamp) -> Engine<Audited> {
    let hosts: Vec<_> = (0..plan.servers).map(|node| format!("s{node}")).collect();
    let config = SessionConfig {
        ensemble: hosts.join(",").parse().expect("hosts"),
        timeout: plan.timeout(),
        connect_timeout: plan.timeout() * 10,
        max_in_flight: dice.pick(&[2, 100]),
        auth: Vec::new(),
        heartbeat: if plan.syncs {
            Heartbeat::Sync
        } else {
            Heartbeat::Ping
        },
        seed: dice.seed(),
    };
    Engine::new(config, Audited::default(), now)
}

impl World {
    /// A turn of a client's driver: read, keep the time, act, write.
    pub(crate) fn drive(&mut self, id: usize) {
        if self.clients[id].runs() {
            self.turn(id);
        }
        self.rest(id);
    }

    fn turn(&mut self, id: usize) {
        while let Some(chunk) = self.clients[id].inbox.pop_front() {
            self.read(id, chunk);
        }
        let now = self.local(id);
        let client = &mut self.clients[id];
        if client.engine.deadline().is_some_and(|at| at <= now) {
            client.engine.tick(now);
        }
        self.act(id);
        self.write(id);
    }

    /// It sleeps until something comes, or its timer rings.
    pub(crate) fn rest(&mut self, id: usize) {
        let client = &mut self.clients[id];
        let deadline = client.engine.deadline().filter(|_| client.runs());
        client.wakes = deadline.map_or(Nanos::MAX, |at| client.clock.when(at));
    }

    pub(crate) fn local(&self, id: usize) -> Timestamp {
        self.clients[id].clock.at(self.now)
    }

    fn read(&mut self, id: usize, chunk: Chunk) {
        let Chunk::Bytes(bytes) = chunk else {
            self.clients[id].link = Link::Down;
            self.clients[id].forget_bytes();
            return self.io(id, Io::Disconnected(Cause::ClosedByServer));
        };
        let link = self.clients[id].link;
        self.clients[id].buffer.extend_from_slice(&bytes);
        let reader = FrameReader::new(MAX_FRAME);
        // A frame may end the connection: what is behind it is not read.
        while self.clients[id].link == link {
            match reader.read(&mut self.clients[id].buffer) {
                Ok(Some(frame)) => {
                    self.clients[id].note_zxid(&frame);
                    self.io(id, Io::Frame(frame));
                }
                Ok(None) if self.clients[id].buffer.is_empty() => return,
                Ok(None) => return self.io(id, Io::Partial),
                Err(error) => panic!("client {id} cannot read this: {error:?}"),
            }
        }
    }

    pub(crate) fn io(&mut self, id: usize, io: Io) {
        let now = self.local(id);
        let result = self.clients[id].engine.io(io, now);
        assert_eq!(result, Ok(()), "client {id}");
        self.act(id);
    }

    /// Does what the engine asks for.
    pub(crate) fn act(&mut self, id: usize) {
        while let Some(action) = self.clients[id].engine.poll() {
            self.hang_up(id);
            if let Action::Dial(server) = action {
                self.dial(id, &server);
            }
        }
        let mut stopped = false;
        while let Some(event) = self.clients[id].engine.event() {
            self.note(|_| format!("client {id}: {event}"));
            if matches!(event, SessionEvent::Lost(_)) {
                self.clients[id].seen = 0;
            }
            self.counts.add("session", name_of(&event), 1);
            self.clients[id].closing |= event == SessionEvent::Closing;
            stopped |= matches!(event, SessionEvent::Stopped(_));
        }
        while let Some(notice) = self.clients[id].engine.recipe_mut().claims.notice() {
            self.told(id, notice);
        }
        if stopped {
            self.stopped(id);
        }
    }

    fn dial(&mut self, id: usize, server: &Server) {
        let node = server.host()[1..].parse().expect("a server's number");
        let dial = self.next_serial();
        self.clients[id].link = Link::Dialing { dial, node };
        let takes = self.takes();
        self.later(takes, Event::Dialed { client: id, dial });
    }

    /// Its socket is closed, and what was written goes on, or some of it.
    pub(crate) fn hang_up(&mut self, id: usize) {
        let link = std::mem::replace(&mut self.clients[id].link, Link::Down);
        self.clients[id].forget_bytes();
        if let Link::Up(conn) = link {
            self.client_leaves(conn);
        }
    }

    /// The dial succeeds, if there is anyone.
    pub(crate) fn dialed(&mut self, id: usize, dial: u64) {
        let Link::Dialing { dial: last, node } = self.clients[id].link else {
            return;
        };
        if last != dial {
            return;
        }
        if !self.clients[id].runs() {
            // The system takes it; to the process it is news later.
            let Process::Stopped(until) = self.clients[id].process else {
                return;
            };
            return self.at(until, Event::Dialed { client: id, dial });
        }
        match self.connect(id, node) {
            Some(conn) => {
                self.clients[id].link = Link::Up(conn);
                self.io(id, Io::Connected);
            }
            None => {
                self.clients[id].link = Link::Down;
                let refused =
                    Cause::Io(std::io::ErrorKind::ConnectionRefused, Arc::from("refused"));
                self.io(id, Io::Disconnected(refused));
            }
        }
        self.drive(id);
    }

    fn write(&mut self, id: usize) {
        while let Link::Up(conn) = self.clients[id].link {
            let now = self.local(id);
            let Some(bytes) = self.clients[id].engine.transmit(now) else {
                return;
            };
            if self.is_recorded() {
                self.note_written(id, &bytes);
            }
            self.send_up(conn, bytes);
            let flushed = self.clients[id].clogged;
            if flushed > self.now {
                return self.at(flushed, Event::Flushed { client: id, conn });
            }
            self.io(id, Io::Flushed);
        }
    }

    pub(crate) fn flushed(&mut self, id: usize, conn: u64) {
        if self.clients[id].link != Link::Up(conn) {
            return;
        }
        match self.clients[id].process {
            Process::Runs => {
                self.io(id, Io::Flushed);
                self.drive(id);
            }
            Process::Stopped(until) => self.at(until, Event::Flushed { client: id, conn }),
            Process::Dead => {}
        }
    }

    fn note_written(&self, id: usize, bytes: &Bytes) {
        let mut bytes = BytesMut::from(&bytes[..]);
        let reader = FrameReader::new(MAX_FRAME);
        while let Ok(Some(frame)) = reader.read(&mut bytes) {
            match Request::decode_strict(&frame) {
                Ok((_, Request::Ping)) => {}
                Ok((header, request)) => {
                    self.note(|_| format!("client {id} asks {}: {request:?}", header.xid));
                }
                Err(_) => {
                    let request = ConnectRequest::decode(&mut Reader::new(&frame));
                    self.note(|_| format!("client {id} greets: {request:?}"));
                }
            }
        }
    }

    /// A process begins, or begins again.
    pub(crate) fn start(&mut self, id: usize) {
        if self.clients[id].process != Process::Dead || self.phase >= Phase::Close {
            return;
        }
        let now = self.local(id);
        self.note(|_| format!("client {id} starts"));
        self.retire(id);
        self.clients[id].engine = engine(&self.plan, &mut self.dice, now);
        self.clients[id].process = Process::Runs;
        self.clients[id].closing = false;
        self.drive(id);
    }

    /// Counts what the engine has seen.
    pub(crate) fn retire(&mut self, id: usize) {
        let outcomes = std::mem::take(&mut self.clients[id].engine.recipe_mut().outcomes);
        for ((kind, ending), times) in outcomes {
            self.counts
                .add("requests", format!("{kind}: {ending}"), times);
        }
    }

    /// What has arrived counts before what was missed.
    pub(crate) fn resume(&mut self, id: usize) {
        if matches!(self.clients[id].process, Process::Stopped(until) if until <= self.now) {
            self.note(|_| format!("client {id} goes on"));
            self.clients[id].process = Process::Runs;
            self.drive(id);
        }
    }
}

fn name_of(event: &SessionEvent) -> &'static str {
    match event {
        SessionEvent::Established { .. } => "established",
        SessionEvent::Suspended(_) => "suspended",
        SessionEvent::Reattached { .. } => "reattached",
        SessionEvent::Lost(_) => "lost",
        SessionEvent::Closing => "closing",
        SessionEvent::Stopped(zklock::session::Stopped::Closed) => "stopped: closed",
        SessionEvent::Stopped(_) => "stopped: no server",
        other => panic!("{other:?}"),
    }
}
