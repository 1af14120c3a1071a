//! A world so small that all that can happen in it can be looked at: a few
//! clients and one server, whole frames in flight, and a clock that moves by
//! steps if at all.

use std::collections::VecDeque;
use std::fmt::{self, Write};
use std::hash::{DefaultHasher, Hasher};
use std::sync::Arc;
use std::time::Duration;

use bytes::{Bytes, BytesMut};
use zklock::embedded::{Config, ConnectionId, Core, Output};
use zklock::lock::{AcquisitionId, Command, Notice};
use zklock::proto::{CreateMode, FrameReader, Request, xid};
use zklock::session::{Action, Cause, Engine, Heartbeat, Io, SessionConfig, Timestamp};

use crate::audit::Audited;
use crate::users::{LOCKS, request};

pub(crate) const T: Duration = Duration::from_secs(2);

/// What there is, and how much of it may happen.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Bounds {
    pub(crate) clients: usize,
    /// How many acquisitions, dealt out to the clients in turn.
    pub(crate) users: usize,
    pub(crate) cuts: usize,
    /// Steps of the clock, of half a session timeout each.
    pub(crate) time: usize,
    /// How many may leave before they have the lock.
    pub(crate) drops: usize,
}

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Step {
    /// A user asks for the lock.
    Acquire(usize),
    /// A user leaves, whether it has the lock or not.
    Leave(usize),
    /// The next frame reaches the server, or the client.
    Up(usize),
    Down(usize),
    Dial(usize),
    /// A client's connection ends, and with it what is under way.
    Cut(usize),
    /// The clock moves: the server sees it first, or the clients do.
    Time {
        server_first: bool,
    },
}

#[derive(Clone, Debug)]
struct Party {
    engine: Engine<Audited>,
    link: Link,
    up: VecDeque<Bytes>,
    /// `None` is the end of the connection.
    down: VecDeque<Option<Bytes>>,
}

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Link {
    Down,
    Dialing,
    Up(ConnectionId),
}

#[derive(Clone, Debug, Default, PartialEq, Eq)]
struct User {
    asked: bool,
    answered: bool,
    left: bool,
    held: Option<Arc<str>>,
    gone: bool,
}

#[derive(Clone)]
pub(crate) struct Small {
    bounds: Bounds,
    now: Duration,
    core: Core,
    parties: Vec<Party>,
    users: Vec<User>,
}

impl Small {
    /// All clients have their sessions, and nothing has been asked.
    pub(crate) fn new(bounds: Bounds) -> Self {
        let mut core = Core::new(Config {
            tick: T / 2,
            ..Config::default()
        });
        let parent = Request::Create {
            path: LOCKS[0].into(),
            data: None,
            acl: vec![zklock::proto::Acl::world_anyone()].into(),
            mode: CreateMode::Persistent,
        };
        core.apply(i64::MAX, parent).expect("the lock path");
        let mut small = Self {
            bounds,
            now: Duration::ZERO,
            core,
            parties: (0..bounds.clients as u64).map(Party::new).collect(),
            users: vec![User::default(); bounds.users],
        };
        for party in 0..bounds.clients {
            small.drive(party);
        }
        while let Some(step) = small.enabled().into_iter().find(Step::is_delivery) {
            small.take(step);
        }
        small
    }

    /// What can happen now.
    pub(crate) fn enabled(&self) -> Vec<Step> {
        let mut steps = Vec::new();
        for (index, party) in self.parties.iter().enumerate() {
            if !party.up.is_empty() {
                steps.push(Step::Up(index));
            }
            if !party.down.is_empty() {
                steps.push(Step::Down(index));
            }
            match party.link {
                Link::Dialing => steps.push(Step::Dial(index)),
                Link::Up(_) if self.bounds.cuts > 0 => steps.push(Step::Cut(index)),
                _ => {}
            }
        }
        for (index, user) in self.users.iter().enumerate() {
            let mine = !user.left && (user.held.is_some() || self.bounds.drops > 0);
            if !user.asked {
                steps.push(Step::Acquire(index));
            } else if mine {
                steps.push(Step::Leave(index));
            }
        }
        if self.bounds.time > 0 {
            steps.extend([true, false].map(|server_first| Step::Time { server_first }));
        }
        steps
    }

    pub(crate) fn take(&mut self, step: Step) {
        match step {
            Step::Acquire(user) => {
                self.users[user].asked = true;
                let request = request(AcquisitionId(user as u64), 0);
                self.command(user, Command::Acquire(request));
            }
            Step::Leave(user) => {
                let own = &mut self.users[user];
                if own.held.take().is_none() {
                    self.bounds.drops -= 1;
                }
                own.left = true;
                self.command(user, Command::Leave(AcquisitionId(user as u64)));
            }
            Step::Up(party) => self.up(party),
            Step::Down(party) => self.down(party),
            Step::Dial(party) => {
                let connection = self.core.accept(self.now);
                self.parties[party].link = Link::Up(connection);
                self.io(party, Io::Connected);
            }
            Step::Cut(party) => {
                self.bounds.cuts -= 1;
                self.parties[party].up.clear();
                self.parties[party].down.clear();
                self.end(party);
            }
            Step::Time { server_first } => self.pass(server_first),
        }
        self.check();
    }

    fn command(&mut self, user: usize, command: Command) {
        let party = user % self.parties.len();
        let now = self.local();
        self.parties[party].engine.command(command, now);
        self.drive(party);
    }

    fn up(&mut self, party: usize) {
        let frame = self.parties[party].up.pop_front();
        let (Some(frame), Link::Up(connection)) = (frame, self.parties[party].link) else {
            return;
        };
        let mut bytes = BytesMut::from(&(frame.len() as u32).to_be_bytes()[..]);
        bytes.extend_from_slice(&frame);
        self.core.received(connection, &bytes, self.now);
        self.collect();
    }

    /// What the server has to say is under way.
    fn collect(&mut self) {
        while let Some(output) = self.core.poll() {
            let (to, what) = match output {
                Output::Write { to, bytes } => (to, Some(bytes.slice(4..))),
                Output::Close(connection) => (connection, None),
            };
            let mut parties = self.parties.iter_mut();
            if let Some(party) = parties.find(|party| party.link == Link::Up(to)) {
                party.down.push_back(what);
            }
        }
    }

    fn down(&mut self, party: usize) {
        match self.parties[party].down.pop_front() {
            Some(Some(frame)) => {
                self.io(party, Io::Frame(frame));
            }
            Some(None) => self.end(party),
            None => {}
        }
    }

    fn end(&mut self, party: usize) {
        self.leave_connection(party);
        self.io(party, Io::Disconnected(Cause::ClosedByServer));
    }

    fn leave_connection(&mut self, party: usize) {
        let link = std::mem::replace(&mut self.parties[party].link, Link::Down);
        self.parties[party].up.clear();
        self.parties[party].down.clear();
        if let Link::Up(connection) = link {
            self.core.disconnected(connection, self.now);
            self.collect();
        }
    }

    fn pass(&mut self, server_first: bool) {
        self.bounds.time -= 1;
        self.now += T / 2;
        if server_first {
            self.core.tick(self.now);
            self.collect();
        }
        for party in 0..self.parties.len() {
            self.drive(party);
        }
        self.core.tick(self.now);
        self.collect();
    }

    fn io(&mut self, party: usize, io: Io) {
        let now = self.local();
        let result = self.parties[party].engine.io(io, now);
        assert_eq!(result, Ok(()));
        self.drive(party);
    }

    /// A turn of a client's driver.
    fn drive(&mut self, id: usize) {
        let now = self.local();
        self.act(id);
        while self.parties[id]
            .engine
            .deadline()
            .is_some_and(|at| at <= now)
        {
            self.parties[id].engine.tick(now);
            self.act(id);
        }
        while let Link::Up(_) = self.parties[id].link {
            let Some(bytes) = self.parties[id].engine.transmit(now) else {
                break;
            };
            let mut bytes = BytesMut::from(&bytes[..]);
            let reader = FrameReader::new(1 << 20);
            while let Ok(Some(frame)) = reader.read(&mut bytes) {
                self.parties[id].up.push_back(frame);
            }
            let result = self.parties[id].engine.io(Io::Flushed, now);
            assert_eq!(result, Ok(()));
            self.act(id);
        }
    }

    fn act(&mut self, id: usize) {
        while let Some(action) = self.parties[id].engine.poll() {
            self.leave_connection(id);
            if matches!(action, Action::Dial(_)) {
                self.parties[id].link = Link::Dialing;
            }
        }
        while self.parties[id].engine.event().is_some() {}
        while let Some(notice) = self.parties[id].engine.recipe_mut().claims.notice() {
            self.told(notice);
        }
    }

    fn told(&mut self, notice: Notice) {
        let id = match &notice {
            Notice::Granted { id, .. }
            | Notice::Failed { id, .. }
            | Notice::PlaceLost { id }
            | Notice::Lost { id, .. }
            | Notice::Left { id, .. } => *id,
            Notice::Surveyed { .. } | Notice::Removed { .. } => {
                panic!("nobody looks at a queue here")
            }
        };
        let others = self.users.iter().filter(|other| other.held.is_some());
        let others = others.count();
        let own = &mut self.users[id.0 as usize];
        assert!(!own.gone, "{id:?} had gone: {notice:?}");
        match notice {
            Notice::Granted { znode, .. } => {
                assert!(!own.answered && !own.left, "{id:?}: {own:?}");
                assert_eq!(others, 0, "{id:?} is granted before another is told");
                own.answered = true;
                own.held = Some(znode);
            }
            Notice::Lost { .. } => {
                assert!(own.held.is_some() || own.left, "{id:?}: {own:?}");
                own.held = None;
            }
            Notice::Left { result, .. } => {
                assert_eq!(result, Ok(()));
                own.gone = true;
            }
            Notice::PlaceLost { .. } => {}
            other => panic!("{other:?}: {own:?}"),
        }
    }

    fn local(&self) -> Timestamp {
        Timestamp::ZERO + self.now
    }

    fn queue(&self) -> Vec<Arc<str>> {
        let lock = LOCKS[0];
        let below = |path: &str| path.len() > lock.len() && path.starts_with(lock);
        let claims = self.core.znodes().filter(|znode| below(&znode.path));
        let mut claims: Vec<_> = claims.map(|znode| (znode.stat.czxid, znode.path)).collect();
        claims.sort();
        claims.into_iter().map(|(_, path)| path).collect()
    }

    /// What must hold always, and where nothing is under way.
    fn check(&self) {
        let queue = self.queue();
        for (index, user) in self.users.iter().enumerate() {
            let party = &self.parties[index % self.parties.len()];
            let lease = party.engine.recipe().claims.lease();
            if let (Some(znode), true) = (&user.held, lease > Some(self.local())) {
                assert_eq!(queue.first(), Some(znode), "{index} believes to hold");
            }
        }
        let under_way = self.enabled().iter().any(Step::is_delivery);
        let fresh = |party: &Party| {
            let lease = party.engine.recipe().claims.lease();
            party.engine.session().is_live() && lease > Some(self.local())
        };
        if !under_way && self.parties.iter().all(fresh) {
            self.check_rest(&queue);
        }
    }

    /// Nothing is under way, and nobody waits for a timer: whoever is first has
    /// the lock, and who has left has left nothing.
    fn check_rest(&self, queue: &[Arc<str>]) {
        let users = || self.users.iter().filter(|user| user.asked);
        let waits = users().filter(|user| !user.left && !user.answered).count();
        let holds = users().filter(|user| user.held.is_some()).count();
        assert!(
            waits == 0 || holds == 1,
            "nobody has the lock: {:?}",
            self.users
        );
        assert_eq!(queue.len(), waits + holds, "{queue:?}: {:?}", self.users);
        for party in &self.parties {
            assert_eq!(party.engine.recipe().open(), 0, "requests are not answered");
        }
    }

    /// What tells this state from others. A session machine does not show what
    /// it has written: that is in the links, or in what is open.
    pub(crate) fn fingerprint(&self) -> u64 {
        let mut text = Text(DefaultHasher::new());
        let _ = write!(
            text,
            "{:?}{:?}{:?}{:?}",
            self.now, self.bounds, self.core, self.users
        );
        for party in &self.parties {
            let recipe = party.engine.recipe();
            let _ = write!(text, "{:?}{:?}", party.engine.session(), recipe.claims);
            let _ = write!(text, "{:?}{}", party.link, recipe.open());
            for frame in &party.up {
                match Request::decode_strict(frame) {
                    Ok((_, request)) => drop(write!(text, "{request:?}")),
                    Err(_) => drop(write!(text, "{frame:?}")),
                }
            }
            text.0.write_u8(0);
            for frame in party.down.iter().flatten() {
                // Which request it answers is clear without its number, and
                // what the server's last zxid was means nothing to a client.
                text.0.write(frame.get(12..).unwrap_or_default());
                let event = frame.starts_with(&xid::WATCH_EVENT.to_be_bytes());
                text.0.write_u8(event.into());
            }
            text.0.write_usize(party.down.len());
        }
        text.0.finish()
    }
}

impl Party {
    fn new(seed: u64) -> Self {
        let config = SessionConfig {
            // So many that a cut is followed by a dial without delay.
            ensemble: "a,b,c,d".parse().expect("hosts"),
            timeout: T,
            connect_timeout: T * 10,
            max_in_flight: 100,
            auth: Vec::new(),
            heartbeat: Heartbeat::Sync,
            seed,
        };
        Self {
            engine: Engine::new(config, Audited::default(), Timestamp::ZERO),
            link: Link::Down,
            up: VecDeque::new(),
            down: VecDeque::new(),
        }
    }
}

impl Step {
    pub(crate) fn is_delivery(&self) -> bool {
        matches!(self, Self::Up(_) | Self::Down(_) | Self::Dial(_))
    }
}

/// Hashes text without keeping it.
struct Text(DefaultHasher);

impl Write for Text {
    fn write_str(&mut self, text: &str) -> fmt::Result {
        self.0.write(text.as_bytes());
        Ok(())
    }
}
