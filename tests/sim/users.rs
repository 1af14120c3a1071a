//! What the users of locks do, and what they know.

use std::collections::BTreeMap;
use std::sync::Arc;

use zklock::lock::{
    AcquireError, AcquireRequest, AcquisitionId, Command, Dialect, FencingToken, LockId, LockSpec,
    Metadata, Notice,
};
use zklock::proto::{Acl, ZnodePath};
use zklock::session::Timestamp;

use crate::client::Process;
use crate::notices::whose;
use crate::phases::Phase;
use crate::world::{Event, World};

/// The second's parent is missing at first, as is its own.
pub(crate) const LOCKS: [&str; 2] = ["/l", "/a/bc"];
/// So many acquisitions a client has at once, at the most.
const MOST: usize = 3;

/// What its user knows of an acquisition.
#[derive(Debug)]
pub(crate) struct Acquisition {
    pub(crate) client: usize,
    pub(crate) lock: usize,
    pub(crate) waits: bool,
    /// By its client's clock.
    pub(crate) deadline: Timestamp,
    pub(crate) answered: bool,
    /// The user has ended it.
    pub(crate) left: bool,
    /// The user has been told of the grant and of no loss: the claim, and when
    /// that ends by its TTL.
    pub(crate) held: Option<(Arc<str>, Timestamp)>,
    gone: bool,
}

#[derive(Debug, Default)]
pub(crate) struct Users {
    /// Those whose client runs, and that have left a trace.
    pub(crate) live: BTreeMap<AcquisitionId, Acquisition>,
    last: u64,
    tokens: [Option<FencingToken>; LOCKS.len()],
}

impl Users {
    /// The process of these users is gone, and so are they.
    pub(crate) fn die(&mut self, client: usize) {
        self.live.retain(|_, other| other.client != client);
    }

    /// Nobody waits any more, or has to be told of anything.
    pub(crate) fn all_have_had_it(&self) -> bool {
        let mut live = self.live.values();
        live.all(|own| own.answered || own.left)
    }

    /// Its session is closed: nobody waits any more, and nobody holds.
    pub(crate) fn all_answered(&self, client: usize) {
        for (id, other) in &self.live {
            if other.client == client {
                assert!(
                    other.answered || other.left,
                    "{id:?} hears of no close: {other:?}"
                );
                assert!(other.held.is_none(), "{id:?} is not told: {other:?}");
            }
        }
    }
}

impl World {
    pub(crate) fn user(&mut self, client: usize) {
        if self.phase < Phase::Drain {
            let storms = self.phase == Phase::Storm;
            let rarely = if storms { 0 } else { self.plan.timeout / 6 };
            let gap = self.dice.around(self.plan.user_gap.max(rarely));
            self.later(gap, Event::User(client));
            let live = self.users.live.values();
            let own = live.filter(|other| other.client == client).count();
            if self.clients[client].runs() && own < MOST {
                self.acquire(client);
            }
        }
    }

    fn acquire(&mut self, client: usize) {
        self.users.last += 1;
        let id = AcquisitionId(self.users.last);
        let lock = self.dice.index(self.plan.locks);
        let now = self.local(client);
        let mut request = request(id, lock);
        request.waits = self.dice.percent(90);
        if self.plan.deadlines && self.dice.percent(40) {
            request.deadline = now + self.plan.timeout() * self.dice.below(100) as u32 / 50;
        }
        if self.plan.ttls && self.dice.percent(50) {
            request.metadata.ttl =
                Some(self.plan.timeout() * (1 + self.dice.below(30) as u32) / 20);
        }
        self.note(|_| {
            let AcquireRequest {
                waits, deadline, ..
            } = &request;
            format!(
                "client {client} acquires {}: {id:?} {waits} {deadline:?}",
                LOCKS[lock]
            )
        });
        self.counts.add("claims", "acquires", 1);
        let acquisition = Acquisition {
            client,
            lock,
            waits: request.waits,
            deadline: request.deadline,
            answered: false,
            left: false,
            held: None,
            gone: false,
        };
        self.users.live.insert(id, acquisition);
        let engine = &mut self.clients[client].engine;
        engine.command(Command::Acquire(request), now);
        self.drive(client);
    }

    /// A user ends an acquisition, whatever it has come to.
    pub(crate) fn leave(&mut self, id: AcquisitionId) {
        let Some(acquisition) = self.users.live.get_mut(&id) else {
            return;
        };
        let client = acquisition.client;
        match self.clients[client].process {
            Process::Stopped(until) => return self.at(until, Event::Leave(id)),
            Process::Dead => return,
            Process::Runs => {}
        }
        acquisition.left = true;
        acquisition.held = None;
        self.note(|_| format!("client {client} leaves {id:?}"));
        let now = self.local(client);
        let engine = &mut self.clients[client].engine;
        engine.command(Command::Leave(id), now);
        self.drive(client);
    }

    /// A future is dropped, or a guard.
    pub(crate) fn drop_one(&mut self) -> bool {
        let live = self.users.live.iter().filter(|(_, other)| !other.left);
        let ids: Vec<_> = live.map(|(id, _)| *id).collect();
        if ids.is_empty() {
            return false;
        }
        let id = self.dice.pick(&ids);
        self.leave(id);
        true
    }

    pub(crate) fn leave_all(&mut self) {
        for (id, other) in &self.users.live {
            assert!(
                other.answered || other.left,
                "{id:?} waits for ever: {other:?}"
            );
        }
        for id in self.users.live.keys().copied().collect::<Vec<_>>() {
            self.leave(id);
        }
    }

    /// What the users of a client are told.
    pub(crate) fn told(&mut self, client: usize, notice: Notice) {
        self.note(|_| format!("client {client} is told: {notice:?}"));
        let id = whose(&notice);
        let now = self.local(client);
        let Some(own) = self.users.live.get_mut(&id) else {
            panic!("{id:?} was over: {notice:?}");
        };
        assert_eq!(own.client, client);
        assert!(!own.gone, "{id:?} had gone: {notice:?}");
        match notice {
            Notice::Granted {
                token,
                znode,
                until,
                ..
            } => {
                assert!(!own.answered && !own.left, "{id:?}: {own:?}");
                assert!(now < own.deadline, "{id:?} is granted late: {own:?}");
                own.answered = true;
                own.held = Some((Arc::clone(&znode), until.unwrap_or(Timestamp::MAX)));
                let lock = own.lock;
                if self.may_be_granted(client, id, &znode) {
                    self.in_order(id, lock, token);
                }
                self.granted(id);
            }
            Notice::Failed { error, .. } => {
                assert!(!own.answered, "{id:?}: {own:?}");
                own.answered = true;
                let why = match error {
                    AcquireError::TimedOut if now >= own.deadline => "timed out",
                    AcquireError::WouldBlock if !own.waits => "would block",
                    AcquireError::Closed => "closed",
                    AcquireError::Lost(_) => "lost at once",
                    other => panic!("{id:?} fails: {other:?}, {own:?}"),
                };
                if own.waits || why != "closed" {
                    self.counts.add("told", format!("failed: {why}"), 1);
                }
            }
            Notice::Lost { reason, .. } => {
                let held = own.held.take();
                assert!(held.is_some() || own.left, "{id:?} did not hold: {own:?}");
                self.counts.add("told", format!("lost: {reason:?}"), 1);
            }
            Notice::Left { result, .. } => {
                assert_eq!(result, Ok(()), "{id:?}");
                assert!(own.held.is_none(), "{id:?} holds without a claim: {own:?}");
                own.gone = true;
                self.counts.add("told", "left", 1);
            }
            _ => self.counts.add("told", "place lost", 1),
        }
        self.forget_if_over(id);
    }

    /// The claim has been first, and is not known to be gone. Whether it is there
    /// at all.
    fn may_be_granted(&mut self, client: usize, id: AcquisitionId, znode: &str) -> bool {
        let purged = self.census.is_purged(znode);
        let it = &self.clients[client];
        let looked = it.engine.recipe().looked(id, it.seen);
        assert!(
            !self.census.was_purged_by(znode, looked),
            "{id:?} is granted on a claim that is known to be gone"
        );
        self.census.take(&self.servers, self.now);
        assert!(
            self.census.was_first(znode),
            "{id:?} is granted though {znode} has never been first"
        );
        if purged {
            self.counts
                .add("told", "granted on a claim that was purged", 1);
        }
        !purged
    }

    fn in_order(&mut self, id: AcquisitionId, lock: usize, token: FencingToken) {
        let last = self.users.tokens[lock].replace(token);
        assert!(
            last.is_none_or(|last| last < token),
            "{last:?} before {token:?}"
        );
        self.all_others_know(id, lock);
    }

    fn granted(&mut self, id: AcquisitionId) {
        self.counts.add("told", "granted", 1);
        let storms = self.phase == Phase::Storm;
        let hold = if storms {
            self.plan.hold
        } else {
            self.plan.timeout / 50
        };
        let lasts = self.dice.around(hold);
        self.later(lasts, Event::Leave(id));
    }

    fn forget_if_over(&mut self, id: AcquisitionId) {
        if self
            .users
            .live
            .get(&id)
            .is_some_and(|own| own.gone && (own.answered || own.left))
        {
            self.users.live.remove(&id);
        }
    }
}

pub(crate) fn request(id: AcquisitionId, lock: usize) -> AcquireRequest {
    let open: Arc<[Acl]> = [Acl::world_anyone()].into();
    AcquireRequest {
        id,
        lock: Arc::new(LockSpec {
            id: LockId(lock as u64),
            path: ZnodePath::new(LOCKS[lock]).expect("a path"),
            dialect: Dialect::default(),
            acl: Arc::clone(&open),
            parent_acl: open,
        }),
        metadata: Metadata::default(),
        deadline: Timestamp::MAX,
        waits: true,
    }
}
