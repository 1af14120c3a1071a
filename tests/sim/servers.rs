//! The servers, as clients and the network see them.

use std::time::Duration;

use bytes::Bytes;
use zklock::embedded::{Config, ConnectionId, Core, Output, Znode};
use zklock::proto::{Acl, CreateMode, Request};

use crate::clock::Nanos;
use crate::dice::Dice;
use crate::ensemble::Ensemble;
use crate::plan::{Fault, Plan};
use crate::report::Counts;
use crate::siege::Blow;

/// A connection, as its server knows it: which server, and which of its own.
pub(crate) type Port = (usize, ConnectionId);

/// What the servers want done.
pub(crate) enum Out {
    Write(Port, Bytes),
    Close(Port),
}

/// Somebody whose session does not end.
const STRANGER: i64 = i64::MAX;

pub(crate) enum Servers {
    One(Box<Single>),
    Three(Box<Ensemble>),
}

/// A server without others. While it is down its time stands still: started
/// again it gives every session what that had left.
pub(crate) struct Single {
    core: Core,
    slept: Nanos,
    /// When it was last down.
    from: Nanos,
    until: Nanos,
}

impl Single {
    fn new(core: Core) -> Self {
        let (slept, from, until) = (0, 0, 0);
        Self {
            core,
            slept,
            from,
            until,
        }
    }

    fn time(&self, now: Nanos) -> Duration {
        let asleep = now.min(self.until).saturating_sub(self.from);
        Duration::from_nanos(now - self.slept - asleep)
    }

    fn stop(&mut self, now: Nanos, until: Nanos) {
        if self.until <= now {
            self.slept += self.until - self.from;
            self.from = now;
        }
        self.until = self.until.max(until);
    }

    fn wake(&mut self, now: Nanos) {
        self.until = self.until.min(now).max(self.from);
    }

    fn deadline(&self) -> Option<Nanos> {
        let at = self.core.deadline()?.as_nanos() as u64;
        Some(at + self.slept + self.until - self.from)
    }
}

impl Servers {
    pub(crate) fn new(plan: &Plan, dice: &mut Dice) -> Self {
        let config = Config {
            tick: Duration::from_nanos(plan.tick),
            min_session_timeout: Some(Duration::from_millis(1)),
            seed: dice.seed(),
            ..Config::default()
        };
        match plan.servers {
            1 => Self::One(Box::new(Single::new(Core::new(config)))),
            _ => Self::Three(Box::new(Ensemble::new(
                plan,
                &config,
                Dice::new(dice.seed()),
            ))),
        }
    }

    /// The server that decides.
    pub(crate) fn truth(&self) -> &Core {
        match self {
            Self::One(it) => &it.core,
            Self::Three(ensemble) => &ensemble.truth,
        }
    }

    pub(crate) fn accept(&mut self, node: usize, now: Nanos) -> Option<Port> {
        match self {
            Self::One(it) => Some((node, it.core.accept(it.time(now)))),
            Self::Three(ensemble) => ensemble.accept(node, now),
        }
    }

    pub(crate) fn received(&mut self, port: Port, bytes: &[u8], now: Nanos) {
        match self {
            Self::One(it) => it.core.received(port.1, bytes, it.time(now)),
            Self::Three(ensemble) => ensemble.received(port, bytes, now),
        }
    }

    pub(crate) fn disconnected(&mut self, port: Port, now: Nanos) {
        match self {
            Self::One(it) => it.core.disconnected(port.1, it.time(now)),
            Self::Three(ensemble) => ensemble.disconnected(port, now),
        }
    }

    pub(crate) fn tick(&mut self, now: Nanos) {
        match self {
            Self::One(it) => it.core.tick(it.time(now)),
            Self::Three(ensemble) => ensemble.tick(now),
        }
    }

    pub(crate) fn deadline(&self) -> Option<Nanos> {
        match self {
            Self::One(it) => it.deadline(),
            Self::Three(ensemble) => ensemble.deadline(),
        }
    }

    pub(crate) fn poll(&mut self) -> Option<Out> {
        match self {
            Self::One(it) => Some(match it.core.poll()? {
                Output::Write { to, bytes } => Out::Write((0, to), bytes),
                Output::Close(connection) => Out::Close((0, connection)),
            }),
            Self::Three(ensemble) => ensemble.poll(),
        }
    }

    /// A stranger writes.
    pub(crate) fn apply(&mut self, request: Request) {
        self.apply_of(STRANGER, request);
    }

    fn apply_of(&mut self, session: i64, request: Request) {
        match self {
            Self::One(it) => {
                let _ = it.core.apply(session, request);
            }
            Self::Three(ensemble) => ensemble.apply(session, request),
        }
    }

    /// A stranger's claim.
    pub(crate) fn create(&mut self, path: &str, mode: CreateMode) {
        self.create_of(STRANGER, path, mode);
    }

    /// A claim of this session's, if that is not over.
    pub(crate) fn create_of(&mut self, session: i64, path: &str, mode: CreateMode) {
        let create = Request::Create {
            path: path.into(),
            data: None,
            acl: vec![Acl::world_anyone()].into(),
            mode,
        };
        let alive = match self {
            Self::One(_) => true,
            Self::Three(ensemble) => ensemble.table.knows(session),
        };
        if session == STRANGER || alive {
            self.apply_of(session, create);
        }
    }

    pub(crate) fn set_counter(&mut self, path: &'static str, next: i32) {
        match self {
            Self::One(it) => {
                it.core.set_counter(path, next);
            }
            Self::Three(ensemble) => ensemble.set_counter(path, next),
        }
    }

    /// Something goes wrong between servers, for so long.
    pub(crate) fn befalls(
        &mut self,
        fault: Fault,
        node: Option<usize>,
        lasts: Nanos,
        now: Nanos,
    ) -> bool {
        match self {
            Self::One(_) => false,
            Self::Three(ensemble) => ensemble.befalls(fault, node, lasts, now),
        }
    }

    pub(crate) fn leader(&self) -> Option<usize> {
        match self {
            Self::One(_) => None,
            Self::Three(ensemble) => ensemble.leader,
        }
    }

    /// When the leader next asks its followers of whom they have heard.
    pub(crate) fn next_poll(&self) -> Option<Nanos> {
        match self {
            Self::One(_) => None,
            Self::Three(ensemble) => Some(ensemble.polls_at),
        }
    }

    pub(crate) fn blow(&mut self, blow: Blow, now: Nanos) {
        if let Self::Three(ensemble) = self {
            ensemble.blow(blow, now);
        }
    }

    /// The only server is down.
    pub(crate) fn stop(&mut self, now: Nanos, until: Nanos) {
        if let Self::One(it) = self {
            it.stop(now, until);
        }
    }

    pub(crate) fn wake(&mut self, now: Nanos) {
        if let Self::One(it) = self {
            it.wake(now);
        }
    }

    /// Whether all servers serve, and hear each other.
    pub(crate) fn are_well(&self, now: Nanos) -> bool {
        match self {
            Self::One(_) => true,
            Self::Three(ensemble) => ensemble.is_well(now),
        }
    }

    /// What is under way among servers is done.
    pub(crate) fn flush(&mut self) {
        if let Self::Three(ensemble) = self {
            ensemble.flush();
        }
    }

    /// In the end all servers know the same.
    pub(crate) fn agree(&self) {
        if let Self::Three(ensemble) = self {
            for node in &ensemble.nodes {
                assert!(node.core.znodes().eq(ensemble.truth.znodes()));
                assert!(node.core.sessions().eq(ensemble.truth.sessions()));
            }
        }
    }

    pub(crate) fn counts(&self) -> Counts {
        match self {
            Self::One(_) => Counts::default(),
            Self::Three(ensemble) => ensemble.counts.clone(),
        }
    }

    /// The claims of a lock, in the order of their creation.
    pub(crate) fn queue(&self, lock: &str) -> Vec<Znode> {
        let mut claims: Vec<_> = self
            .truth()
            .znodes()
            .filter(|znode| {
                let name = znode.path.strip_prefix(lock);
                name.is_some_and(|name| name.starts_with('/'))
            })
            .collect();
        claims.sort_by_key(|znode| znode.stat.czxid);
        claims
    }
}
