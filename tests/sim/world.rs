//! Clients, servers, a network between them, and time.

use std::collections::BTreeMap;
use std::fmt::Display;

use crate::census::Census;
use crate::client::Client;
use crate::clock::Nanos;
use crate::dice::Dice;
use crate::net::Conn;
use crate::phases::Phase;
use crate::plan::Plan;
use crate::report::{Counts, History};
use crate::servers::{Port, Servers};
use crate::siege::Blow;
use crate::users::Users;

/// What is going to happen.
#[derive(Clone, Debug)]
pub(crate) enum Event {
    /// Bytes arrive: at the server, or at the client.
    Up(u64),
    Down(u64),
    /// A client's dial is answered.
    Dialed {
        client: usize,
        dial: u64,
    },
    /// A client's bytes are taken.
    Flushed {
        client: usize,
        conn: u64,
    },
    /// A stopped process goes on.
    Resume(usize),
    /// A process begins.
    Start(usize),
    /// A client's users want something.
    User(usize),
    /// A user has had the lock for long enough.
    Leave(zklock::lock::AcquisitionId),
    /// Something goes wrong.
    Fault,
    Blow(Blow),
    /// What was slow is not any more.
    Heal(u64),
    /// The next part of the schedule.
    Phase(Phase),
}

/// Many times as many as a schedule has.
const MOST_STEPS: u64 = 200_000;

pub(crate) struct World {
    pub(crate) now: Nanos,
    pub(crate) phase: Phase,
    pub(crate) dice: Dice,
    pub(crate) plan: Plan,
    pub(crate) servers: Servers,
    /// Until when each takes no connections.
    pub(crate) down: Vec<Nanos>,
    pub(crate) clients: Vec<Client>,
    pub(crate) conns: BTreeMap<u64, Conn>,
    pub(crate) ports: BTreeMap<Port, u64>,
    agenda: BTreeMap<(Nanos, u64), Event>,
    serial: u64,
    pub(crate) users: Users,
    /// Whom the last fault befell.
    pub(crate) victim: usize,
    pub(crate) census: Census,
    /// When all has become well.
    pub(crate) quiet_since: Nanos,
    pub(crate) counts: Counts,
    history: Option<History>,
    pub(crate) steps: u64,
}

impl World {
    pub(crate) fn new(seed: u64, history: Option<History>) -> Self {
        let mut dice = Dice::new(seed);
        let plan = Plan::new(&mut dice);
        let mut world = Self {
            now: 0,
            phase: Phase::Storm,
            servers: Servers::new(&plan, &mut dice),
            down: vec![0; plan.servers],
            clients: Vec::new(),
            conns: BTreeMap::new(),
            ports: BTreeMap::new(),
            agenda: BTreeMap::new(),
            serial: 0,
            users: Users::default(),
            victim: 0,
            census: Census::default(),
            quiet_since: 0,
            counts: Counts::default(),
            history,
            steps: 0,
            dice,
            plan,
        };
        world.note(|world| format!("{:?}", world.plan));
        world.begin();
        world
    }

    fn begin(&mut self) {
        if let Some(counter) = self.plan.counter {
            self.servers
                .create("/l", zklock::proto::CreateMode::Persistent);
            self.servers.set_counter("/l", counter);
            self.servers.flush();
        }
        for client in 0..self.plan.clients {
            let engine = Client::new(client, &self.plan, &mut self.dice);
            self.clients.push(engine);
            let gap = self.dice.around(self.plan.user_gap);
            self.later(gap, Event::User(client));
        }
        let gap = self.dice.around(self.plan.fault_gap);
        self.later(gap, Event::Fault);
        self.later(self.plan.storm, Event::Phase(Phase::Calm));
    }

    /// All of it, from the beginning to the end.
    pub(crate) fn run(&mut self) {
        while self.phase < Phase::Over {
            self.step();
            self.check();
            self.end_phase();
        }
        self.finish();
    }

    /// The next thing happens.
    fn step(&mut self) {
        let event = self.agenda.first_key_value().map(|((at, _), _)| *at);
        let event = event.unwrap_or(Nanos::MAX);
        let servers = self.servers.deadline().unwrap_or(Nanos::MAX);
        let (client, wakes) = self.next_to_wake();
        let next = event.min(servers).min(wakes).max(self.now);
        self.now = next;
        self.steps += 1;
        assert!(self.steps < MOST_STEPS, "something is done again and again");
        if event <= next {
            if let Some((_, event)) = self.agenda.pop_first() {
                self.happens(event);
            }
        } else if servers <= next {
            self.servers.tick(next);
            self.pump();
        } else {
            self.drive(client);
        }
    }

    fn next_to_wake(&self) -> (usize, Nanos) {
        let wakes = self.clients.iter().map(|it| it.wakes).enumerate();
        wakes.min_by_key(|(_, at)| *at).unwrap_or((0, Nanos::MAX))
    }

    fn happens(&mut self, event: Event) {
        match event {
            Event::Up(conn) => self.arrives_up(conn),
            Event::Down(conn) => self.arrives_down(conn),
            Event::Dialed { client, dial } => self.dialed(client, dial),
            Event::Flushed { client, conn } => self.flushed(client, conn),
            Event::Resume(client) => self.resume(client),
            Event::Start(client) => self.start(client),
            Event::User(client) => self.user(client),
            Event::Leave(id) => self.leave(id),
            Event::Fault => self.fault(),
            Event::Blow(blow) => self.blow(blow),
            Event::Heal(conn) => self.heal(conn),
            Event::Phase(phase) => self.begin_phase(phase),
        }
    }

    pub(crate) fn later(&mut self, after: Nanos, event: Event) {
        self.at(self.now + after, event);
    }

    pub(crate) fn at(&mut self, at: Nanos, event: Event) {
        self.serial += 1;
        self.agenda.insert((at, self.serial), event);
    }

    pub(crate) fn next_serial(&mut self) -> u64 {
        self.serial += 1;
        self.serial
    }

    /// Writes down what happened, if anyone will read it.
    pub(crate) fn note<D: Display>(&self, what: impl FnOnce(&Self) -> D) {
        if let Some(history) = &self.history {
            let line = format!("{:>12.6}  {}", self.now as f64 / 1e9, what(self));
            history.lock().unwrap().push(line);
        }
    }

    pub(crate) fn is_recorded(&self) -> bool {
        self.history.is_some()
    }
}
