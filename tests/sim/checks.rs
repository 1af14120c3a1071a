//! What must hold after every step, and in the end.

use zklock::lock::AcquisitionId;

use crate::client::Client;
use crate::phases::Phase;
use crate::users::{Acquisition, LOCKS};
use crate::world::World;

impl World {
    pub(crate) fn check(&mut self) {
        self.census.take(&self.servers, self.now);
        self.holders_are_first();
        self.holders_hear_of_a_purge();
        self.deadlines_hold();
        self.idle_clients_have_what_they_want();
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

    /// A client that has nothing under way has one claim for each who waits or
    /// holds, and none else.
    fn idle_clients_have_what_they_want(&mut self) {
        for id in 0..self.clients.len() {
            let client = &self.clients[id];
            let recipe = client.engine.recipe();
            let idle = client.runs() && client.engine.session().is_live() && recipe.open() == 0;
            let state = (self.census.zxid, recipe.asked);
            if idle && !client.closing && client.checked != state {
                self.has_what_it_wants(client);
                self.clients[id].checked = state;
            }
        }
    }

    fn has_what_it_wants(&self, client: &Client) {
        let (recipe, session) = (client.engine.recipe(), client.engine.session());
        let mine = format!("/_c_{:016x}", session.session_id().unwrap_or(0));
        let mut wanted = Vec::new();
        for (lock, claim) in self.census.claims() {
            let Some(rest) = claim.path[lock.len()..].strip_prefix(&mine) else {
                continue;
            };
            let counter = u64::from_str_radix(&rest[..16], 16).expect("a counter");
            // What an old connection brought late is found by the next listing.
            if claim.czxid > recipe.listed(lock) {
                continue;
            }
            let id = recipe.creators.get(&counter);
            let id = id.unwrap_or_else(|| panic!("{claim:?} is left, which nobody has asked for"));
            let own = self.users.live.get(id);
            let is_wanted = own.is_some_and(|own| own.held.is_some() || !own.answered && !own.left);
            assert!(is_wanted, "{claim:?} of {id:?} is left: {own:?}");
            assert!(!wanted.contains(id), "{id:?} has another claim: {claim:?}");
            wanted.push(*id);
        }
    }

    /// When all is well whoever is first has the lock before long: within half a
    /// timeout, in which a lease is proven anew, and has left it in another quarter.
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
                holds || waited < self.plan.timeout,
                "{first} is first in its queue, and nobody has the lock"
            );
        }
    }

    /// All have left, and nothing is left of them anywhere.
    pub(crate) fn keeps_nothing(&self) {
        for lock in LOCKS {
            let left: Vec<_> = self.servers.queue(lock);
            assert!(left.is_empty(), "left in {lock}: {left:?}");
        }
        assert!(self.users.live.is_empty(), "{:?}", self.users.live);
        for (id, client) in self.clients.iter().enumerate() {
            let recipe = client.engine.recipe();
            assert!(recipe.claims.is_empty(), "client {id}: {:?}", recipe.claims);
            keeps_nothing(&format!("{:?}", recipe.claims));
            assert_eq!(recipe.open(), 0, "client {id}");
        }
    }

    /// All is over: every session was closed in time.
    pub(crate) fn finish(&mut self) {
        // What the leader has done, the others do a little later.
        self.servers.tick(self.now + self.plan.timeout / 10);
        self.servers.agree();
        let left: Vec<_> = self.servers.truth().sessions().collect();
        assert!(left.is_empty(), "sessions are left: {left:x?}");
        for id in 0..self.clients.len() {
            self.retire(id);
        }
        let (steps, seconds) = (self.steps, self.now / 1_000_000_000);
        self.counts.add("run", "schedules", 1);
        self.counts.add("run", "steps", steps);
        self.counts.add("run", "virtual seconds", seconds);
        self.counts.merge(self.servers.counts());
        let ends = self.census.ends;
        self.counts.add("claims", "ends of claims", ends);
    }
}

fn keeps_nothing(shown: &str) {
    for index in ["acquisitions", "schedule", "owners", "watchers", "counters"] {
        assert!(
            shown.contains(&format!(" {index}: {{}}")),
            "{index} in {shown}"
        );
    }
    assert!(shown.contains(" holders: 0,"), "{shown}");
}
