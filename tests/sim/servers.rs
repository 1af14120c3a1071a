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
    One(Box<Core>),
    Three(Box<Ensemble>),
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
            1 => Self::One(Box::new(Core::new(config))),
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
            Self::One(core) => core,
            Self::Three(ensemble) => &ensemble.truth,
        }
    }

    pub(crate) fn accept(&mut self, node: usize, now: Nanos) -> Option<Port> {
        match self {
            Self::One(core) => Some((node, core.accept(time(now)))),
            Self::Three(ensemble) => ensemble.accept(node, now),
        }
    }

    pub(crate) fn received(&mut self, port: Port, bytes: &[u8], now: Nanos) {
        match self {
            Self::One(core) => core.received(port.1, bytes, time(now)),
            Self::Three(ensemble) => ensemble.received(port, bytes, now),
        }
    }

    pub(crate) fn disconnected(&mut self, port: Port, now: Nanos) {
        match self {
            Self::One(core) => core.disconnected(port.1, time(now)),
            Self::Three(ensemble) => ensemble.disconnected(port, now),
        }
    }

    pub(crate) fn tick(&mut self, now: Nanos) {
        match self {
            Self::One(core) => core.tick(time(now)),
            Self::Three(ensemble) => ensemble.tick(now),
        }
    }

    pub(crate) fn deadline(&self) -> Option<Nanos> {
        match self {
            Self::One(core) => core.deadline().map(|at| at.as_nanos() as u64),
            Self::Three(ensemble) => ensemble.deadline(),
        }
    }

    pub(crate) fn poll(&mut self) -> Option<Out> {
        match self {
            Self::One(core) => Some(match core.poll()? {
                Output::Write { to, bytes } => Out::Write((0, to), bytes),
                Output::Close(connection) => Out::Close((0, connection)),
            }),
            Self::Three(ensemble) => ensemble.poll(),
        }
    }

    /// A stranger writes.
    pub(crate) fn apply(&mut self, request: Request) {
        match self {
            Self::One(core) => {
                let _ = core.apply(STRANGER, request);
            }
            Self::Three(ensemble) => ensemble.apply(STRANGER, request),
        }
    }

    /// A stranger's claim.
    pub(crate) fn create(&mut self, path: &str, mode: CreateMode) {
        self.apply(Request::Create {
            path: path.into(),
            data: None,
            acl: vec![Acl::world_anyone()].into(),
            mode,
        });
    }

    pub(crate) fn set_counter(&mut self, path: &str, next: i32) {
        match self {
            Self::One(core) => {
                core.set_counter(path, next);
            }
            Self::Three(ensemble) => ensemble.set_counter(path, next),
        }
    }

    /// Something goes wrong between servers, for so long.
    pub(crate) fn befalls(&mut self, fault: Fault, lasts: Nanos, now: Nanos) -> bool {
        match self {
            Self::One(_) => false,
            Self::Three(ensemble) => ensemble.befalls(fault, lasts, now),
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

fn time(now: Nanos) -> Duration {
    Duration::from_nanos(now)
}
