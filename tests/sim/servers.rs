//! The servers, as clients and the network see them.

use std::time::Duration;

use bytes::Bytes;
use zklock::embedded::{Config, ConnectionId, Core, Output, Znode};
use zklock::proto::{Acl, CreateMode, Request};

use crate::clock::Nanos;
use crate::plan::Plan;

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
}

impl Servers {
    pub(crate) fn new(plan: &Plan, seed: u64) -> Self {
        let config = Config {
            tick: Duration::from_nanos(plan.tick),
            min_session_timeout: Some(Duration::from_millis(1)),
            seed,
            ..Config::default()
        };
        Self::One(Box::new(Core::new(config)))
    }

    /// The server that decides.
    pub(crate) fn truth(&self) -> &Core {
        match self {
            Self::One(core) => core,
        }
    }

    pub(crate) fn accept(&mut self, node: usize, now: Nanos) -> Option<Port> {
        match self {
            Self::One(core) => Some((node, core.accept(time(now)))),
        }
    }

    pub(crate) fn received(&mut self, port: Port, bytes: &[u8], now: Nanos) {
        match self {
            Self::One(core) => core.received(port.1, bytes, time(now)),
        }
    }

    pub(crate) fn disconnected(&mut self, port: Port, now: Nanos) {
        match self {
            Self::One(core) => core.disconnected(port.1, time(now)),
        }
    }

    pub(crate) fn tick(&mut self, now: Nanos) {
        match self {
            Self::One(core) => core.tick(time(now)),
        }
    }

    pub(crate) fn deadline(&self) -> Option<Nanos> {
        match self {
            Self::One(core) => core.deadline().map(|at| at.as_nanos() as u64),
        }
    }

    pub(crate) fn poll(&mut self) -> Option<Out> {
        match self {
            Self::One(core) => Some(match core.poll()? {
                Output::Write { to, bytes } => Out::Write((0, to), bytes),
                Output::Close(connection) => Out::Close((0, connection)),
            }),
        }
    }

    /// A stranger writes.
    pub(crate) fn apply(&mut self, request: Request) {
        match self {
            Self::One(core) => {
                let _ = core.apply(STRANGER, request);
            }
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
