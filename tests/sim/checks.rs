//! What must hold after every step, and in the end.

use zklock::lock::AcquisitionId;

use crate::users::{Acquisition, LOCKS};
use crate::world::{Phase, World};

impl World {
    pub(crate) fn check(&mut self) {
        self.census.take(&self.servers, self.now);
        self.holders_are_first();
        self.holders_hear_of_a_purge();
        self.deadlines_hold();
        if (Phase::Quiet..Phase::Leave).contains(&self.phase) {
            self.nothing_waits();
        }
    }

    /// Whoever believes to hold a lock is first in its queue: so there is one
    /// at the most, and grants are in order.
    fn holders_are_first(&self) {
        for (id, own) in &self.users.live {
            if let (Some((znode, _)), true) = (&own.held, self.believes(own)) {
                let first = self.census.first(own.lock).map(|(first, _)| first);
                assert_eq!(first, Some(znode), "{id:?} believes to hold: {own:?}");
            }
        }
    }

    /// A holder whose claim a stranger has deleted is told of it as soon as
    /// anything from after that has come.
    fn holders_hear_of_a_purge(&self) {
        for (id, own) in &self.users.live {
            let client = &self.clients[own.client];
            let live = client.engine.session().is_live();
            let idle = live && client.engine.recipe().open() == 0;
            if let (Some((znode, _)), true) = (&own.held, idle) {
                let known = self.census.was_purged_by(znode, client.seen);
                assert!(
                    !known,
                    "{id:?} does not hear that its claim is gone: {own:?}"
                );
            }
        }
    }

    /// Whether its user, who looks at the clock, believes to hold the lock.
    fn believes(&self, own: &Acquisition) -> bool {
        let Some((znode, until)) = &own.held else {
            return false;
        };
        if self.census.is_purged(znode) {
            return false;
        }
        let lease = self.clients[own.client].engine.recipe().claims.lease();
        let now = self.local(own.client);
        now < *until && lease.is_some_and(|lease| now < lease)
    }

    /// Another is granted a lock: whoever held it has been told, or has looked
    /// at the clock as soon as its process went on.
    pub(crate) fn all_others_know(&self, id: AcquisitionId, lock: usize) {
        for (other, own) in &self.users.live {
            let Some((znode, _)) = &own.held else {
                continue;
            };
            if own.lock == lock && *other != id && !self.census.is_purged(znode) {
                let stopped = !self.clients[own.client].runs();
                assert!(
                    stopped && !self.believes(own),
                    "{id:?} is granted the lock before {other:?} is told: {own:?}"
                );
            }
        }
    }

    /// A running process answers in time.
    fn deadlines_hold(&self) {
        for (id, own) in &self.users.live {
            if !own.answered && !own.left && self.clients[own.client].runs() {
                let now = self.local(own.client);
                assert!(now <= own.deadline, "{id:?} is not answered: {own:?}");
            }
        }
    }

    /// When all is well whoever is first has the lock before long.
    fn nothing_waits(&self) {
        for lock in 0..self.plan.locks {
            let Some((first, since)) = self.census.first(lock) else {
                continue;
            };
            let holds = self.users.live.values().any(|own| {
                let held = own.held.as_ref();
                held.is_some_and(|(znode, _)| znode == first)
            });
            let waited = self.now - since.max(self.quiet_since);
            assert!(
                holds || waited < self.plan.timeout / 2,
                "{first} is first in its queue, and nobody has the lock"
            );
        }
    }

    /// All is over, and nothing is left of it anywhere.
    pub(crate) fn finish(&mut self) {
        for lock in LOCKS {
            let left: Vec<_> = self.servers.queue(lock);
            assert!(left.is_empty(), "left in {lock}: {left:?}");
        }
        self.servers.agree();
        assert!(self.users.live.is_empty(), "{:?}", self.users.live);
        for id in 0..self.clients.len() {
            let recipe = self.clients[id].engine.recipe();
            assert!(recipe.claims.is_empty(), "client {id}: {:?}", recipe.claims);
            keeps_nothing(&format!("{:?}", recipe.claims));
            assert_eq!(recipe.open(), 0, "client {id}");
            self.retire(id);
        }
        self.counts.add("run", "schedules", 1);
        self.counts
            .add("run", "virtual seconds", self.now / 1_000_000_000);
        self.counts.merge(self.servers.counts());
        self.counts
            .add("claims", "ends of claims", self.census.ends);
    }
}

fn keeps_nothing(shown: &str) {
    for index in [
        "machines", "schedule", "held", "owners", "watchers", "counters", "traces",
    ] {
        assert!(
            shown.contains(&format!(" {index}: {{}}")),
            "{index} in {shown}"
        );
    }
}
