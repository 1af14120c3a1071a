//! A client whose every frame can be struck by faults, its rivals, and a
//! correct server, in virtual time.

use std::collections::VecDeque;
use std::sync::Arc;
use std::time::Duration;

use bytes::{BufMut, Bytes, BytesMut};
use zklock::lock::{AcquireError, AcquisitionId, Claims, Command, LostReason, Notice};
use zklock::proto::FrameReader;
use zklock::session::{Action, Cause, Engine, Io, SessionConfig, Timestamp};

use crate::cases::{Act, Position, Strike, Way};
use crate::support::model::{ClientId, Server};
use crate::support::scripted::client::acquire_request;
use crate::support::scripted::{START, config, frames};

/// A frame of ours takes four of these to cross.
const UNIT: Duration = Duration::from_micros(100);
/// A server that lags does so by as many transactions as it may.
const LAG: usize = usize::MAX;

/// A frame as it goes over the connection.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) struct Frame {
    pub(crate) way: Way,
    /// Its length prefix included.
    pub(crate) bytes: Bytes,
}

/// A frame that has crossed our connection, or had begun to.
#[derive(Clone, Debug)]
pub(crate) struct Crossing {
    pub(crate) frame: Frame,
    pub(crate) arrives: Timestamp,
}

impl Crossing {
    /// When what is in this position happens.
    pub(crate) fn instant(&self, position: Position) -> Timestamp {
        let begins = Timestamp::from_nanos(self.arrives.as_nanos() - 4 * UNIT.as_nanos() as u64);
        match position {
            Position::Before => begins + UNIT,
            Position::Inside(_) => begins + UNIT * 3,
            Position::With => self.arrives,
            Position::After => self.arrives + UNIT,
        }
    }
}

pub(crate) struct Client {
    pub(crate) engine: Engine<Claims>,
    link: Link,
    pub(crate) user: User,
}

enum Link {
    Down,
    Dialing,
    Up(Wire),
}

/// What is on its way, or has arrived in part.
#[derive(Default)]
struct Wire {
    outgoing: VecDeque<Bytes>,
    at_server: BytesMut,
    at_client: BytesMut,
}

/// What a user knows of the acquisition.
#[derive(Debug, Default)]
pub(crate) struct User {
    pub(crate) answer: Option<Result<Arc<str>, AcquireError>>,
    /// The user has ended it.
    left: bool,
    /// The claim is known to be gone.
    pub(crate) gone: bool,
}

impl User {
    pub(crate) fn waits(&self) -> bool {
        self.answer.is_none() && !self.left
    }

    pub(crate) fn holds(&self) -> Option<&Arc<str>> {
        let znode = self.answer.as_ref()?.as_ref().ok()?;
        (!self.left).then_some(znode)
    }

    /// Neither waits nor holds.
    pub(crate) fn is_done(&self) -> bool {
        !self.waits() && self.holds().is_none()
    }
}

/// A strike that was made.
#[derive(Clone, Debug)]
pub(crate) struct Hit {
    pub(crate) strike: Strike,
    pub(crate) frame: Frame,
    pub(crate) at: Timestamp,
    /// The session of that moment, if it was there yet.
    pub(crate) session: Option<i64>,
}

/// All clients, in the order in which they join the queue at `path`.
pub(crate) struct World {
    pub(crate) now: Timestamp,
    pub(crate) path: &'static str,
    /// Whether our connection takes bytes at once, or only as they arrive.
    buffers: bool,
    pub(crate) server: Server,
    pub(crate) clients: Vec<Client>,
    /// Which of them is the one that is struck.
    pub(crate) ours: ClientId,
    pub(crate) crossings: Vec<Crossing>,
    /// Those that are still to be made.
    pub(crate) strikes: VecDeque<Strike>,
    pub(crate) hits: Vec<Hit>,
    ticks: u32,
}

impl World {
    pub(crate) fn new(
        path: &'static str,
        buffers: bool,
        ours: ClientId,
        strikes: &[Strike],
    ) -> Self {
        Self {
            now: START,
            path,
            buffers,
            server: Server::default(),
            clients: Vec::new(),
            ours,
            crossings: Vec::new(),
            strikes: strikes.iter().copied().collect(),
            hits: Vec::new(),
            ticks: 0,
        }
    }

    /// Another client comes, and asks for the lock even before it has a
    /// session.
    pub(crate) fn join(&mut self, deadline: Timestamp) {
        let id = self.clients.len();
        let config = SessionConfig {
            seed: id as u64,
            ..config("a,b")
        };
        let mut request = acquire_request(AcquisitionId(id as u64), self.path);
        request.deadline = deadline;
        let mut engine = Engine::new(config, Claims::default(), self.now);
        engine.command(Command::Acquire(request), self.now);
        let (link, user) = (Link::Down, User::default());
        self.clients.push(Client { engine, link, user });
        self.settle();
    }

    /// A user releases the lock or leaves the queue.
    pub(crate) fn leave(&mut self, client: ClientId) {
        let Client { engine, user, .. } = &mut self.clients[client];
        user.left = true;
        engine.command(Command::Leave(AcquisitionId(client as u64)), self.now);
        self.act(client);
    }

    /// All that is on its way arrives, and what comes of it.
    pub(crate) fn settle(&mut self) {
        loop {
            let mut busy = false;
            self.tick();
            for client in 0..self.clients.len() {
                busy |= self.accept(client);
                for way in [Way::ToServer, Way::ToClient] {
                    busy |= if client == self.ours {
                        self.cross(way)
                    } else {
                        self.pass_on(client, way)
                    };
                }
            }
            self.check();
            if !busy {
                return;
            }
        }
    }

    /// Time passes, and what is sent arrives; ends early if a fault strikes.
    pub(crate) fn pass(&mut self, time: Duration) {
        let (end, hits) = (self.now + time, self.hits.len());
        self.settle();
        while let Some(at) = self.next_deadline().filter(|at| *at <= end) {
            if self.hits.len() > hits {
                return;
            }
            self.wait_until(at);
            self.settle();
        }
        self.wait_until(end);
    }

    /// A frame of ours crosses, and what is to strike it does.
    fn cross(&mut self, way: Way) -> bool {
        let Some(bytes) = self.next_frame(self.ours, way) else {
            return false;
        };
        let frame = Frame { way, bytes };
        let crossing = Crossing {
            frame: frame.clone(),
            arrives: self.now + UNIT * 4,
        };
        let index = self.crossings.len();
        self.crossings.push(crossing.clone());
        let next = self.strikes.front().copied();
        let strike = next.filter(|next| next.frame == index);
        self.strikes.drain(..usize::from(strike.is_some()));
        let early = |strike: &Strike| strike.position < Position::With;
        let mut rest = frame.bytes;
        if let Some(strike) = strike.filter(early) {
            if let Position::Inside(bytes) = strike.position {
                self.feed(self.ours, way, &rest.split_to(bytes));
            }
            self.strike(strike, &crossing);
        }
        self.wait_until(crossing.arrives);
        if self.is_up(self.ours) {
            self.feed(self.ours, way, &rest);
            self.flushed(self.ours, way);
        }
        if let Some(strike) = strike.filter(|strike| !early(strike)) {
            self.strike(strike, &crossing);
        }
        true
    }

    fn strike(&mut self, strike: Strike, crossing: &Crossing) {
        self.wait_until(crossing.instant(strike.position));
        let session = self.clients[self.ours].engine.session().session_id();
        let (frame, at) = (crossing.frame.clone(), self.now);
        self.hits.push(Hit {
            strike,
            frame,
            at,
            session,
        });
        for act in strike.fault.acts() {
            match act {
                Act::Drop => self.leave(self.ours),
                Act::Cut { lagging } => self.cut(*lagging),
                Act::Deadline => self.deadline(),
                Act::HandOff => (0..self.ours).for_each(|rival| self.leave(rival)),
            }
        }
    }

    /// The deadline of our request is now: whoever waits is told, and nobody
    /// else.
    fn deadline(&mut self) {
        let waited = self.user().waits();
        self.tick();
        let timed_out = self.user().answer == Some(Err(AcquireError::TimedOut));
        let answered_before = !waited;
        assert!(timed_out || answered_before, "{:?}", self.user());
    }

    fn cut(&mut self, lagging: bool) {
        self.server.lag = if lagging { LAG } else { 0 };
        if self.is_up(self.ours) {
            self.server.disconnect(self.ours);
            self.clients[self.ours].link = Link::Down;
            self.io(self.ours, Io::Disconnected(Cause::ClosedByServer));
        }
    }

    /// A frame of a rival's arrives.
    fn pass_on(&mut self, client: ClientId, way: Way) -> bool {
        let Some(bytes) = self.next_frame(client, way) else {
            return false;
        };
        self.feed(client, way, &bytes);
        self.flushed(client, way);
        true
    }

    fn next_frame(&mut self, client: ClientId, way: Way) -> Option<Bytes> {
        let Link::Up(wire) = &mut self.clients[client].link else {
            return None;
        };
        match way {
            Way::ToServer => wire.outgoing.pop_front(),
            Way::ToClient => self.server.send(client).map(|frame| with_prefix(&frame)),
        }
    }

    /// Bytes arrive, which may or may not make up a frame.
    fn feed(&mut self, client: ClientId, way: Way, bytes: &[u8]) {
        let Link::Up(wire) = &mut self.clients[client].link else {
            return;
        };
        match way {
            Way::ToServer => {
                wire.at_server.extend_from_slice(bytes);
                if let Some(frame) = read(&mut wire.at_server) {
                    self.server.take(client, &frame, self.now);
                }
            }
            Way::ToClient => {
                wire.at_client.extend_from_slice(bytes);
                let frame = read(&mut wire.at_client);
                self.io(client, frame.map_or(Io::Partial, Io::Frame));
            }
        }
    }

    fn flushed(&mut self, client: ClientId, way: Way) {
        let Link::Up(wire) = &self.clients[client].link else {
            return;
        };
        if way == Way::ToServer && !self.buffers && wire.outgoing.is_empty() {
            self.io(client, Io::Flushed);
        }
    }

    fn is_up(&self, client: ClientId) -> bool {
        matches!(self.clients[client].link, Link::Up(_))
    }

    fn accept(&mut self, client: ClientId) -> bool {
        let dials = matches!(self.clients[client].link, Link::Dialing);
        if dials {
            self.server.accept(client);
            self.clients[client].link = Link::Up(Wire::default());
            self.io(client, Io::Connected);
        }
        dials
    }

    fn io(&mut self, client: ClientId, io: Io) {
        let result = self.clients[client].engine.io(io, self.now);
        assert_eq!(result, Ok(()));
        self.act(client);
    }

    /// Does what a driver does.
    fn act(&mut self, id: ClientId) {
        let Client { engine, link, .. } = &mut self.clients[id];
        while let Some(action) = engine.poll() {
            self.server.disconnect(id);
            *link = match action {
                Action::Dial(_) => Link::Dialing,
                Action::HangUp => Link::Down,
            };
        }
        while engine.event().is_some() {}
        if let Link::Up(wire) = link {
            while let Some(written) = engine.transmit(self.now) {
                let frames = frames(written);
                wire.outgoing.extend(frames.iter().map(with_prefix));
                if self.buffers {
                    assert_eq!(engine.io(Io::Flushed, self.now), Ok(()));
                }
            }
        }
        while let Some(notice) = self.clients[id].engine.recipe_mut().notice() {
            self.note(id, notice);
        }
    }

    /// Each user gets one answer at the most, and none after the end.
    fn note(&mut self, client: ClientId, notice: Notice) {
        let user = &mut self.clients[client].user;
        match notice {
            Notice::Granted { znode, .. } => {
                assert!(user.waits(), "granted: {user:?}");
                user.answer = Some(Ok(znode));
            }
            Notice::Failed { error, .. } => {
                assert!(user.waits(), "{error:?}: {user:?}");
                user.answer = Some(Err(error));
            }
            // No fault here takes longer than a lease.
            Notice::Lost { reason, .. } => {
                assert!(
                    user.left && reason == LostReason::Released,
                    "{reason:?}: {user:?}"
                );
            }
            Notice::Left { result, .. } => {
                assert_eq!(result, Ok(()));
                assert!(user.is_done() && !user.gone, "{user:?}");
                user.gone = true;
            }
            other => panic!("not with a session that lives on: {other:?}"),
        }
    }

    /// Everything that is due before `at` happens.
    fn wait_until(&mut self, at: Timestamp) {
        while let Some(due) = self.next_deadline().filter(|due| *due < at) {
            self.now = self.now.max(due);
            self.tick();
        }
        self.now = self.now.max(at);
    }

    fn tick(&mut self) {
        self.ticks += 1;
        assert!(self.ticks < 100_000, "no progress at {:?}", self.now);
        self.server.expire(self.now);
        for client in 0..self.clients.len() {
            let engine = &mut self.clients[client].engine;
            if engine.deadline().is_some_and(|at| at <= self.now) {
                engine.tick(self.now);
                self.act(client);
            }
        }
    }

    fn next_deadline(&self) -> Option<Timestamp> {
        let deadlines = self
            .clients
            .iter()
            .filter_map(|client| client.engine.deadline());
        deadlines.chain(self.server.next_expiry()).min()
    }
}

fn read(buffer: &mut BytesMut) -> Option<Bytes> {
    FrameReader::default().read(buffer).expect("frames")
}

fn with_prefix(frame: &Bytes) -> Bytes {
    let mut bytes = BytesMut::new();
    bytes.put_u32(u32::try_from(frame.len()).expect("a short frame"));
    bytes.extend_from_slice(frame);
    bytes.freeze()
}
