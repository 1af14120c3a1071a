//! Clients, a server and a network between them that cuts and delays.

use std::collections::{BTreeMap, VecDeque};
use std::sync::Arc;
use std::time::Duration;

use bytes::Bytes;
use zklock::lock::{AcquireRequest, AcquisitionId, Claims, Command, FencingToken, Notice};
use zklock::session::{Action, Cause, Engine, Io, SessionConfig, Timestamp};

use crate::step::Step;
use crate::support::model::{ClientId, Server};
use crate::support::scripted::client::{acquire_request, keeps_nothing};
use crate::support::scripted::{START, T, config, frames};

pub(crate) const CLIENTS: usize = 3;
/// The second's parent is missing at first, as is its own.
const LOCKS: [&str; 2] = ["/l", "/a/bc"];

/// What its user knows of an acquisition.
#[derive(Debug)]
struct Acquisition {
    client: ClientId,
    lock: usize,
    /// The user has ended it.
    left: bool,
    answers: u32,
    /// The znode, while the user has been told of the grant and of no loss.
    held: Option<Arc<str>>,
    /// When that ends by its TTL.
    until: Option<Timestamp>,
}

struct Client {
    engine: Engine<Claims>,
    link: Link,
    paused: bool,
}

enum Link {
    Down,
    Dialing,
    /// With what is on its way to the server.
    Up(VecDeque<Bytes>),
}

pub(crate) struct World {
    now: Timestamp,
    server: Server,
    clients: Vec<Client>,
    acquisitions: BTreeMap<AcquisitionId, Acquisition>,
    /// The last token granted of each lock.
    tokens: [Option<FencingToken>; LOCKS.len()],
}

impl World {
    pub(crate) fn new() -> Self {
        let client = |seed| Client {
            engine: Engine::new(
                SessionConfig {
                    seed,
                    ..config("a,b")
                },
                Claims::default(),
                START,
            ),
            link: Link::Down,
            paused: false,
        };
        let mut world = Self {
            now: START,
            server: Server::default(),
            clients: (0..CLIENTS as u64).map(client).collect(),
            acquisitions: BTreeMap::new(),
            tokens: [None; LOCKS.len()],
        };
        world.settle();
        world
    }

    pub(crate) fn take(&mut self, step: Step) {
        match step {
            Step::Acquire {
                client,
                lock,
                waits,
                deadline,
                ttl,
            } => {
                self.acquire(client, lock, |request, now| {
                    request.waits = waits;
                    request.deadline = deadline.map_or(Timestamp::MAX, |time| now + time);
                    request.metadata.ttl = ttl;
                });
            }
            Step::Leave(index) => {
                let ids: Vec<_> = self.acquisitions.keys().copied().collect();
                if !ids.is_empty() {
                    self.leave(*index.get(&ids));
                }
            }
            Step::Accept(client) => self.accept(client),
            Step::Deliver(client, frames) => {
                for _ in 0..frames {
                    self.deliver(client);
                }
            }
            Step::Receive(client, frames) => {
                for _ in 0..frames {
                    self.receive(client);
                }
            }
            Step::Cut(client) => self.cut(client),
            Step::Pause(client) => self.clients[client].paused = true,
            Step::Resume(client) => self.resume(client),
            Step::Throttle(requests) => self.server.throttled = requests,
            Step::Lag(transactions) => self.server.lag = transactions,
            Step::Touch(lock) => {
                if let Some(head) = self.server.head(LOCKS[lock]) {
                    self.server.touch(&head);
                }
            }
            Step::Foreign(lock) => self.foreign(lock),
            Step::Pass(time) => self.pass(time),
            Step::Settle => self.settle(),
        }
    }

    /// Whoever believes to hold a lock is first in its queue.
    pub(crate) fn check(&self) {
        for (id, acquisition) in &self.acquisitions {
            let (lock, client) = (LOCKS[acquisition.lock], &self.clients[acquisition.client]);
            let lease = client.engine.recipe().lease();
            let within = |until: Option<Timestamp>| until.is_some_and(|until| self.now < until);
            if let Some(znode) = &acquisition.held {
                if within(lease) && (acquisition.until.is_none() || within(acquisition.until)) {
                    let head = self.server.head(lock);
                    assert_eq!(head.as_deref(), Some(&**znode), "{id:?} at {:?}", self.now);
                }
            }
        }
    }

    /// From here on nothing fails, and nothing is slow.
    pub(crate) fn calm_down(&mut self) {
        for client in 0..CLIENTS {
            self.resume(client);
        }
        self.server.throttled = 0;
        for (lock, path) in LOCKS.iter().enumerate() {
            if self.foreign_claim(path).is_some() {
                self.foreign(lock);
            }
        }
        self.pass_calmly(T * 3);
    }

    /// Everyone who waits gets the lock, if those who have it leave.
    pub(crate) fn grant_all(&mut self) {
        while self.acquisitions.values().any(Acquisition::waits) {
            let held = |acquisition: &Acquisition| acquisition.held.is_some();
            let holders = self.acquisitions.iter().filter(|(_, other)| held(other));
            let holders: Vec<_> = holders.map(|(id, _)| *id).collect();
            assert!(
                !holders.is_empty(),
                "some wait for ever: {:?}",
                self.acquisitions
            );
            for id in holders {
                self.leave(id);
            }
            self.pass_calmly(T);
        }
    }

    /// All is over, and nothing is left of it anywhere.
    pub(crate) fn leave_all(&mut self) {
        for id in self.acquisitions.keys().copied().collect::<Vec<_>>() {
            self.leave(id);
        }
        self.pass_calmly(T * 2);
        for lock in LOCKS {
            assert_eq!(
                self.server.children(lock),
                Vec::<String>::new(),
                "in {lock}"
            );
        }
        for client in &self.clients {
            keeps_nothing(client.engine.recipe());
        }
        for (id, acquisition) in &self.acquisitions {
            assert!(
                acquisition.answers == 1 || acquisition.left,
                "{id:?}: {acquisition:?}"
            );
        }
    }

    fn acquire(
        &mut self,
        client: ClientId,
        lock: usize,
        change: impl FnOnce(&mut AcquireRequest, Timestamp),
    ) {
        if self.clients[client].paused {
            return;
        }
        let id = AcquisitionId(self.acquisitions.len() as u64);
        let mut request = acquire_request(id, LOCKS[lock]);
        change(&mut request, self.now);
        let acquisition = Acquisition {
            client,
            lock,
            left: false,
            answers: 0,
            held: None,
            until: None,
        };
        self.acquisitions.insert(id, acquisition);
        self.clients[client]
            .engine
            .command(Command::Acquire(request), self.now);
        self.act(client);
    }

    fn leave(&mut self, id: AcquisitionId) {
        let Some(acquisition) = self.acquisitions.get_mut(&id) else {
            return;
        };
        let client = acquisition.client;
        if !self.clients[client].paused {
            acquisition.left = true;
            acquisition.held = None;
            self.clients[client]
                .engine
                .command(Command::Leave(id), self.now);
            self.act(client);
        }
    }

    fn foreign(&mut self, lock: usize) {
        match self.foreign_claim(LOCKS[lock]) {
            Some(claim) => self.server.delete(&claim).expect("it is there"),
            None => self.server.create_foreign(LOCKS[lock]),
        }
    }

    fn foreign_claim(&self, path: &str) -> Option<String> {
        let names = self.server.children(path);
        let name = names.iter().find(|name| name.starts_with("foreign"))?;
        Some(format!("{path}/{name}"))
    }

    fn accept(&mut self, client: ClientId) {
        if !self.clients[client].paused && matches!(self.clients[client].link, Link::Dialing) {
            self.server.accept(client);
            self.clients[client].link = Link::Up(VecDeque::new());
            self.io(client, Io::Connected);
        }
    }

    /// One frame goes to the server. Returns whether there was one.
    fn deliver(&mut self, client: ClientId) -> bool {
        let Link::Up(frames) = &mut self.clients[client].link else {
            return false;
        };
        let frame = frames.pop_front();
        if let Some(frame) = &frame {
            self.server.take(client, frame, self.now);
        }
        frame.is_some()
    }

    /// One frame, or the news that there will be no more, goes to the client.
    fn receive(&mut self, client: ClientId) -> bool {
        if self.clients[client].paused || !matches!(self.clients[client].link, Link::Up(_)) {
            return false;
        }
        if let Some(frame) = self.server.send(client) {
            self.io(client, Io::Frame(frame));
            true
        } else if self.server.has_closed(client) {
            self.cut(client);
            true
        } else {
            false
        }
    }

    /// A stopped process learns of it later.
    fn cut(&mut self, client: ClientId) {
        if !self.clients[client].paused && matches!(self.clients[client].link, Link::Up(_)) {
            self.server.disconnect(client);
            self.clients[client].link = Link::Down;
            self.io(client, Io::Disconnected(Cause::ClosedByServer));
        }
    }

    /// What has arrived counts before what was missed.
    fn resume(&mut self, client: ClientId) {
        if std::mem::take(&mut self.clients[client].paused) {
            while self.receive(client) {}
            self.clients[client].engine.tick(self.now);
            self.act(client);
        }
    }

    fn io(&mut self, client: ClientId, io: Io) {
        let result = self.clients[client].engine.io(io, self.now);
        assert_eq!(result, Ok(()));
        self.act(client);
    }

    /// Does what a driver does.
    fn act(&mut self, id: ClientId) {
        let client = &mut self.clients[id];
        while let Some(action) = client.engine.poll() {
            self.server.disconnect(id);
            client.link = match action {
                Action::Dial(_) => Link::Dialing,
                Action::HangUp => Link::Down,
            };
        }
        while client.engine.event().is_some() {}
        if let Link::Up(outgoing) = &mut client.link {
            while let Some(written) = client.engine.transmit(self.now) {
                outgoing.extend(frames(written));
                assert_eq!(client.engine.io(Io::Flushed, self.now), Ok(()));
            }
        }
        while let Some(notice) = self.clients[id].engine.recipe_mut().notice() {
            self.note(notice);
        }
    }

    fn note(&mut self, notice: Notice) {
        match notice {
            Notice::Granted {
                id,
                token,
                znode,
                until,
            } => {
                let acquisition = self.acquisitions.get_mut(&id).expect("it was asked for");
                let last = self.tokens[acquisition.lock].replace(token);
                assert!(
                    last.is_none_or(|last| last < token),
                    "{last:?} before {token:?}"
                );
                acquisition.answer();
                acquisition.until = until;
                acquisition.held = Some(znode).filter(|_| !acquisition.left);
            }
            Notice::Failed { id, .. } => {
                self.acquisitions
                    .get_mut(&id)
                    .expect("it was asked for")
                    .answer();
            }
            Notice::Lost { id, .. } => {
                self.acquisitions
                    .get_mut(&id)
                    .expect("it was asked for")
                    .held = None;
            }
            Notice::Left { result, .. } => assert_eq!(result, Ok(())),
            Notice::PlaceLost { .. } => {}
            other => panic!("nobody looks at a queue here: {other:?}"),
        }
    }

    /// Time passes; what is on its way stays there.
    fn pass(&mut self, time: Duration) {
        let end = self.now + time;
        let mut steps = 0;
        while let Some(at) = self.next_deadline().filter(|at| *at <= end) {
            steps += 1;
            assert!(steps < 10_000, "no progress at {:?}", self.now);
            self.now = self.now.max(at);
            self.server.expire(self.now);
            for client in 0..CLIENTS {
                self.tick(client);
            }
            self.check();
        }
        self.now = end;
    }

    fn tick(&mut self, client: ClientId) {
        let Client { engine, paused, .. } = &mut self.clients[client];
        if !*paused && engine.deadline().is_some_and(|at| at <= self.now) {
            engine.tick(self.now);
            self.act(client);
        }
    }

    fn next_deadline(&self) -> Option<Timestamp> {
        let running = self.clients.iter().filter(|client| !client.paused);
        let deadlines = running.filter_map(|client| client.engine.deadline());
        deadlines.chain(self.server.next_expiry()).min()
    }

    /// Time passes, and what is sent arrives at once.
    fn pass_calmly(&mut self, time: Duration) {
        let end = self.now + time;
        self.settle();
        while let Some(at) = self.next_deadline().filter(|at| *at <= end) {
            self.pass(at - self.now);
            self.settle();
            self.check();
        }
        self.pass(end - self.now);
    }

    fn settle(&mut self) {
        let mut busy = true;
        while busy {
            busy = false;
            for client in 0..CLIENTS {
                self.tick(client);
                self.accept(client);
                busy |= self.deliver(client) | self.receive(client);
                self.check();
            }
        }
    }
}

impl Acquisition {
    fn waits(&self) -> bool {
        self.answers == 0 && !self.left
    }

    fn answer(&mut self) {
        self.answers += 1;
        assert_eq!(self.answers, 1, "{self:?}");
    }
}
