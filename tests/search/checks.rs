//! What must hold in every state, and how all must end.

use std::sync::Arc;

use crate::client::T;
use crate::user::{LOCK, User};
use crate::world::World;

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
                let silent = client.up.is_empty() && client.down.is_empty() && !client.woken;
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
}
