//! What must hold in every state, and how all must end.

use std::sync::Arc;

use crate::client::T;
use crate::user::{LOCK, User};
use crate::world::{Step, World};

/// So much time, in sixths of the session timeout, is enough for everything.
const LONG: usize = 60;
/// A server ends a session that it has not heard of for so long.
const UNHEARD: usize = 9;

/// What the checks look at: what users know, the leases, and the queue.
pub(crate) type Seen = (Vec<User>, Vec<bool>, Vec<Arc<str>>);

impl World {
    /// The claims, in the order of their creation.
    pub(crate) fn queue(&self) -> Vec<Arc<str>> {
        let below = |path: &str| path.len() > LOCK.len() && path.starts_with(LOCK);
        let claims = self.core.znodes().filter(|znode| below(&znode.path));
        let mut claims: Vec<_> = claims.map(|znode| (znode.stat.czxid, znode.path)).collect();
        claims.sort();
        claims.into_iter().map(|(_, path)| path).collect()
    }

    pub(crate) fn seen(&self) -> Seen {
        let leases = self.clients.iter().map(|client| client.has_lease());
        let asked = true;
        let users = self.users.iter().map(|user| User {
            asked,
            ..user.clone()
        });
        (users.collect(), leases.collect(), self.queue())
    }

    pub(crate) fn check(&self) {
        let queue = self.queue();
        self.check_holders(&queue);
        if self.is_at_rest() {
            self.check_rest(&queue);
        }
    }

    /// Whoever believes to have the lock is the first in the queue, so that it
    /// is one at the most: but for claims that someone else has deleted.
    fn check_holders(&self, queue: &[Arc<str>]) {
        for (index, user) in self.users.iter().enumerate() {
            let client = &self.clients[index % self.clients.len()];
            let Some(znode) = user.held.as_ref().filter(|_| client.has_lease()) else {
                continue;
            };
            if !self.broken.contains(znode) {
                assert_eq!(queue.first(), Some(znode), "user {index} believes to hold");
            }
        }
    }

    /// Nothing is under way, and nobody waits for a timer.
    fn is_at_rest(&self) -> bool {
        let mut clients = self.clients.iter();
        let known = (0..self.clients.len()).all(|client| self.session_of(client).is_some());
        let orphans = self.core.sessions().count() > self.clients.len();
        known
            && !orphans
            && clients.all(|client| {
                let silent = client.up.is_empty() && client.down.is_empty() && !client.is_due();
                silent && client.has_lease() && client.engine().session().is_live()
            })
    }

    /// Whoever is first has the lock, and who has left has left nothing.
    fn check_rest(&self, queue: &[Arc<str>]) {
        let users = &self.users;
        let waits = users.iter().filter(|user| user.waits()).count();
        let holds = users.iter().filter(|user| user.held.is_some()).count();
        assert!(waits == 0 || holds == 1, "nobody has the lock: {users:?}");
        assert_eq!(queue.len(), waits + holds, "{queue:?}: {users:?}");
        for client in &self.clients {
            let open = &client.engine().recipe().open;
            assert!(open.is_empty(), "requests are not answered: {open:?}");
        }
    }

    /// From here on nothing goes wrong, and time passes: all are to have had
    /// the lock or to have left, and no claim is there.
    pub(crate) fn finish(mut self) {
        for round in 0..LONG {
            while let Some(step) = self.enabled().into_iter().find(|step| !step.is_fault()) {
                self.take(step);
            }
            if self.users.iter().all(|user| user.gone) && self.queue().is_empty() {
                return;
            }
            if round > UNHEARD {
                self.end_orphans();
            }
            for client in 0..self.clients.len() {
                self.pass(client, T / 6);
            }
        }
        panic!("it does not end: {:?} in {:?}", self.users, self.queue());
    }

    fn end_orphans(&mut self) {
        let known: Vec<_> = (0..self.clients.len())
            .filter_map(|client| self.session_of(client))
            .collect();
        let all: Vec<_> = self.core.sessions().collect();
        for session in all.into_iter().filter(|id| !known.contains(id)) {
            self.core_mut().expire(session);
            self.collect();
        }
    }

    /// A step after which all that could have happened before it can happen as
    /// well, and no check could have come out otherwise in between.
    ///
    /// With it alone the search goes on, as partial order reduction has it: what
    /// reaches a client depends on what else that client does, and on nothing
    /// that happens elsewhere. There all that can happen is that more is put
    /// behind it, or that the server takes what the client has sent. So it must
    /// be all that this client can do (no fault may befall it, none of its users
    /// has anything to do); the server must not notice; and users must know what
    /// they knew before. Nor does it go round: such steps only take away what is
    /// under way to clients, or use up a user.
    pub(crate) fn quiet_step(&self) -> Option<(Step, Self)> {
        (0..self.clients.len()).find_map(|client| {
            let step = self.only_step(client)?;
            let mut after = self.clone();
            after.take(step);
            let asks = matches!(step, Step::Acquire(_));
            let unseen = Arc::ptr_eq(&self.core, &after.core)
                && self.clients[client].has_lease() == after.clients[client].has_lease()
                && (asks || self.users == after.users);
            unseen.then_some((step, after))
        })
    }

    /// What this client does next, if there is no choice.
    fn only_step(&self, id: usize) -> Option<Step> {
        let client = &self.clients[id];
        if !self.left[id].is_empty() || client.is_due() {
            return None;
        }
        let mut users = self.users_of(id);
        if client.is_untouched() {
            // Nothing can reach it before.
            return match (users.next(), users.next()) {
                (Some(user), None) if !self.users[user].asked => Some(Step::Acquire(user)),
                _ => None,
            };
        }
        let idle = users.all(|user| self.users[user].asked && self.users[user].held.is_none());
        (idle && !client.down.is_empty()).then_some(Step::Down(id))
    }
}
