//! A world so small that all that can happen in it can be looked at: a few
//! clients and one server, and whole frames in flight.
//!
//! The server's time stands still, and so does a client's but for its faults:
//! that heartbeats are answered changes nothing else. A cut is one for both
//! sides at once. In fact a server may still do requests of a connection that
//! its client has given up: as if it had done them before, since the client
//! sends nothing new until the server has taken its handshake, and with that has
//! closed the old connection. A dial is answered at once, since the handshake
//! waits for its turn all the same.

use std::sync::Arc;
use std::time::Duration;

use bytes::BytesMut;
use zklock::embedded::{Config, Core, Output};
use zklock::lock::{AcquisitionId, Command, Notice};
use zklock::proto::{Acl, CreateMode, Request, xid};
use zklock::session::{Action, Cause, Io, Timestamp};

use crate::client::{Client, T};
use crate::faults::{Fault, Plan};
use crate::notices::whose;
use crate::print::Print;
use crate::user::{LOCK, User, request};

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Step {
    /// A user asks for the lock.
    Acquire(usize),
    /// A user who has the lock gives it back.
    Release(usize),
    /// The next frame reaches the server, or the client.
    Up(usize),
    Down(usize),
    /// A client notices how late it is, once its clock has moved: perhaps only
    /// after it has taken what had arrived meanwhile.
    Tick(usize),
    /// To a client.
    Fault(Fault, usize),
    /// The claim in this place of the queue is deleted.
    Break(usize),
}

#[derive(Clone, Debug)]
pub(crate) struct World {
    pub(crate) core: Arc<Core>,
    core_print: Option<Print>,
    pub(crate) clients: Vec<Client>,
    pub(crate) users: Vec<User>,
    /// What may still go wrong.
    pub(crate) left: Plan,
    /// Claims that were deleted while their clients may not know of it.
    pub(crate) broken: Vec<Arc<str>>,
    pub(crate) last_token: u64,
}

impl World {
    /// All clients have their sessions, and nothing has been asked. The users
    /// are dealt out to the clients in turn.
    pub(crate) fn new(users: usize, plan: &Plan) -> Self {
        let mut core = Core::new(Config {
            tick: T / 2,
            ..Config::default()
        });
        let parent = Request::Create {
            path: LOCK.into(),
            data: None,
            acl: vec![Acl::world_anyone()].into(),
            mode: CreateMode::Persistent,
        };
        core.apply(i64::MAX, parent).expect("the lock path");
        let clients = plan.len() - 1;
        let mut world = Self {
            core: Arc::new(core),
            core_print: None,
            clients: (0..clients).map(|_| Client::new()).collect(),
            users: vec![User::default(); users],
            left: vec![Vec::new(); clients + 1],
            broken: Vec::new(),
            last_token: 0,
        };
        for client in 0..clients {
            world.take(Step::Tick(client));
        }
        let deliveries = |world: &Self| world.enabled().into_iter().find(Step::is_delivery);
        while let Some(step) = deliveries(&world) {
            world.take(step);
        }
        world.left.clone_from(plan);
        world
    }

    /// The clients' users.
    pub(crate) fn users_of(&self, client: usize) -> impl Iterator<Item = usize> {
        (client..self.users.len()).step_by(self.clients.len())
    }

    /// What can happen now.
    pub(crate) fn enabled(&self) -> Vec<Step> {
        let mut steps = Vec::new();
        for (index, client) in self.clients.iter().enumerate() {
            if !client.up.is_empty() {
                steps.push(Step::Up(index));
            }
            if !client.down.is_empty() {
                steps.push(Step::Down(index));
            }
            if client.woken {
                steps.push(Step::Tick(index));
            }
            let mut faults = self.left[index].clone();
            faults.dedup();
            faults.retain(|fault| self.can_befall(*fault, index));
            steps.extend(faults.into_iter().map(|fault| Step::Fault(fault, index)));
        }
        for (index, user) in self.users.iter().enumerate() {
            if !user.asked {
                steps.push(Step::Acquire(index));
            } else if user.held.is_some() && !user.left {
                steps.push(Step::Release(index));
            }
        }
        if !self.left[self.clients.len()].is_empty() {
            steps.extend((0..self.queue().len()).map(Step::Break));
        }
        steps
    }

    fn can_befall(&self, fault: Fault, client: usize) -> bool {
        match fault {
            Fault::Cut => self.clients[client].connection.is_some(),
            Fault::GiveUp | Fault::Deadline => self.who_waits(client).is_some(),
            Fault::Pause => true,
            Fault::Expire => self.session_of(client).is_some(),
            Fault::Break => false,
        }
    }

    fn who_waits(&self, client: usize) -> Option<usize> {
        self.users_of(client).find(|user| self.users[*user].waits())
    }

    /// The client's session, if the server has it.
    pub(crate) fn session_of(&self, client: usize) -> Option<i64> {
        let session = self.clients[client].engine().session().session_id()?;
        self.core.sessions().find(|alive| *alive == session)
    }

    pub(crate) fn take(&mut self, step: Step) {
        match step {
            Step::Acquire(user) => {
                let client = user % self.clients.len();
                let ends = self.left[client].contains(&Fault::Deadline);
                let soon = self.clients[client].clock + T / 100;
                let deadline = if ends { soon } else { Timestamp::MAX };
                self.users[user].asked = true;
                self.command(user, Command::Acquire(request(user, deadline)));
            }
            Step::Release(user) => self.leave(user),
            Step::Up(client) => self.up(client),
            Step::Down(client) => self.down(client),
            Step::Tick(client) => {
                self.clients[client].woken = false;
                self.drive(client);
            }
            Step::Fault(fault, client) => self.befall(fault, client),
            Step::Break(place) => self.break_claim(place),
        }
        self.forget_faults();
        self.check();
    }

    /// Nothing befalls a client whose users are gone, and nobody ends a wait that
    /// is over.
    fn forget_faults(&mut self) {
        for client in 0..self.clients.len() {
            let users = || self.users_of(client).map(|user| &self.users[user]);
            let gone = users().all(|user| user.gone);
            let answered = users().all(|user| user.answered || user.left);
            let ends_a_wait = |fault: &Fault| matches!(fault, Fault::GiveUp | Fault::Deadline);
            let possible = |fault: &Fault| !(gone || answered && ends_a_wait(fault));
            let mut left = std::mem::take(&mut self.left[client]);
            left.retain(possible);
            self.left[client] = left;
        }
    }

    fn befall(&mut self, fault: Fault, client: usize) {
        let at = self.left[client].iter().position(|other| *other == fault);
        self.left[client].remove(at.expect("a fault that may happen"));
        match fault {
            Fault::Cut => self.end(client),
            Fault::GiveUp => {
                let user = self.who_waits(client);
                self.leave(user.expect("someone waits"));
            }
            Fault::Deadline => self.pass(client, T / 100),
            Fault::Pause => self.pass(client, T),
            Fault::Expire => {
                let session = self.session_of(client).expect("a session");
                self.pass(client, T);
                self.core_mut().expire(session);
                self.collect();
            }
            Fault::Break => {}
        }
    }

    pub(crate) fn pass(&mut self, client: usize, time: Duration) {
        let client = &mut self.clients[client];
        client.clock = client.clock + time;
        client.woken = client.is_due();
    }

    fn break_claim(&mut self, place: usize) {
        let server = self.clients.len();
        self.left[server].pop();
        let path = self.queue().remove(place);
        self.broken.push(Arc::clone(&path));
        let delete = Request::Delete { path, version: -1 };
        let deleted = self.core_mut().apply(i64::MAX, delete);
        assert!(deleted.is_ok(), "{deleted:?}");
        self.collect();
    }

    pub(crate) fn core_mut(&mut self) -> &mut Core {
        self.core_print = None;
        Arc::make_mut(&mut self.core)
    }

    fn leave(&mut self, user: usize) {
        self.users[user].held = None;
        self.users[user].left = true;
        self.command(user, Command::Leave(AcquisitionId(user as u64)));
    }

    fn command(&mut self, user: usize, command: Command) {
        let id = user % self.clients.len();
        let client = &mut self.clients[id];
        let now = client.clock;
        client.engine_mut().command(command, now);
        self.drive(id);
    }

    fn up(&mut self, client: usize) {
        let frame = self.clients[client].up.pop_front().expect("a frame");
        let Some(connection) = self.clients[client].connection else {
            return;
        };
        let mut bytes = BytesMut::from(&(frame.len() as u32).to_be_bytes()[..]);
        bytes.extend_from_slice(&frame);
        let now = Duration::ZERO;
        self.core_mut().received(connection, &bytes, now);
        self.collect();
    }

    /// What the server has to say is under way. Of one request no more than
    /// three clients hear: whose claim it deletes, and the two behind.
    pub(crate) fn collect(&mut self) {
        let mut events = 0;
        while let Some(output) = self.core_mut().poll() {
            let (to, what) = match output {
                Output::Write { to, bytes } => (to, Some(bytes.slice(4..))),
                Output::Close(connection) => (connection, None),
            };
            let event = xid::WATCH_EVENT.to_be_bytes();
            events += u8::from(what.as_ref().is_some_and(|what| what.starts_with(&event)));
            let mut clients = self.clients.iter_mut();
            if let Some(client) = clients.find(|client| client.connection == Some(to)) {
                client.down.push_back(what);
            }
        }
        assert!(events <= 3, "a herd: {events} are woken at once");
    }

    fn down(&mut self, client: usize) {
        match self.clients[client].down.pop_front().expect("a frame") {
            Some(frame) => self.io(client, Io::Frame(frame)),
            None => self.end(client),
        }
    }

    fn end(&mut self, client: usize) {
        self.leave_connection(client);
        self.io(client, Io::Disconnected(Cause::ClosedByServer));
    }

    fn leave_connection(&mut self, id: usize) {
        let client = &mut self.clients[id];
        client.up.clear();
        client.down.clear();
        if let Some(connection) = client.connection.take() {
            self.core_mut().disconnected(connection, Duration::ZERO);
            self.collect();
        }
    }

    fn io(&mut self, id: usize, io: Io) {
        let client = &mut self.clients[id];
        let now = client.clock;
        let result = client.engine_mut().io(io, now);
        assert_eq!(result, Ok(()));
        self.drive(id);
    }

    /// A turn of a client's driver.
    fn drive(&mut self, id: usize) {
        self.act(id);
        while self.clients[id].is_due() && !self.clients[id].woken {
            self.tick(id);
        }
        if self.clients[id].connection.is_some() {
            self.clients[id].transmit();
        }
        while self.clients[id].engine_mut().event().is_some() {}
        while let Some(notice) = self.clients[id].engine_mut().recipe_mut().claims.notice() {
            self.told(notice);
        }
    }

    fn tick(&mut self, id: usize) {
        let client = &mut self.clients[id];
        let now = client.clock;
        client.engine_mut().tick(now);
        self.act(id);
    }

    fn act(&mut self, id: usize) {
        let mut last = None;
        while let Some(action) = self.clients[id].engine_mut().poll() {
            self.leave_connection(id);
            last = Some(action);
        }
        if let Some(Action::Dial(_)) = last {
            let connection = self.core_mut().accept(Duration::ZERO);
            let client = &mut self.clients[id];
            client.connection = Some(connection);
            let now = client.clock;
            let result = client.engine_mut().io(Io::Connected, now);
            assert_eq!(result, Ok(()));
        }
    }

    fn told(&mut self, notice: Notice) {
        let user = whose(&notice).0 as usize;
        match &notice {
            Notice::Granted { token, znode, .. } if !self.broken.contains(znode) => {
                assert!(token.get() > self.last_token, "{notice:?} is out of order");
                self.last_token = token.get();
            }
            _ => {}
        }
        self.users[user].told(notice);
    }

    /// What tells this state from others.
    pub(crate) fn print(&mut self) -> Print {
        let core = &self.core;
        let core = *self.core_print.get_or_insert_with(|| Print::of(core));
        let own = (&self.users, &self.left, &self.broken, self.last_token);
        let print = core.and(Print::of(&own));
        let clients = self.clients.iter_mut();
        clients.fold(print, |print, client| print.and(client.print()))
    }
}

impl Step {
    pub(crate) fn is_delivery(&self) -> bool {
        matches!(self, Self::Up(_) | Self::Down(_))
    }

    pub(crate) fn is_fault(&self) -> bool {
        matches!(self, Self::Fault(..) | Self::Break(_))
    }
}
