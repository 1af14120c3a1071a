//! What others do to a queue.

use std::sync::Arc;

use zklock::proto::{CreateMode, Request};

use crate::plan::Fault;
use crate::users::LOCKS;
use crate::world::World;

/// Nobody counts claims that far.
const NEVER_COUNTED: u64 = u64::MAX;

impl World {
    /// Returns whether there was anything to do it to.
    pub(crate) fn strange(&mut self, fault: Fault) -> bool {
        let lock = LOCKS[self.dice.index(self.plan.locks)];
        let done = match fault {
            Fault::Foreign => self.come_or_go(lock),
            Fault::Orphan => self.orphan(lock),
            Fault::Wrap => self.wrap(),
            Fault::Raze => self.raze(lock),
            _ => self.meddle(fault, lock),
        };
        self.pump();
        done
    }

    fn come_or_go(&mut self, lock: &str) -> bool {
        let queue = self.servers.queue(lock);
        match queue.iter().find(|claim| claim.path.contains("stranger")) {
            Some(claim) => self.delete(&claim.path),
            None => {
                self.note(|_| format!("fault: a stranger queues for {lock}"));
                let path = format!("{lock}/stranger-lock-");
                self.servers.create(&path, CreateMode::EphemeralSequential);
            }
        }
        true
    }

    /// As a process would leave one behind that had the same session before.
    fn orphan(&mut self, lock: &str) -> bool {
        let victim = &self.clients[self.victim].engine;
        let Some(session) = victim.session().session_id() else {
            return false;
        };
        if !self
            .servers
            .truth()
            .sessions()
            .any(|other| other == session)
        {
            return false;
        }
        let path = format!("{lock}/_c_{session:016x}{NEVER_COUNTED:016x}-lock-");
        self.note(|_| format!("fault: {path} is there, and nobody knows why"));
        let mode = CreateMode::EphemeralSequential;
        self.servers.create_of(session, &path, mode);
        true
    }

    /// Servers up to 3.5 do so.
    fn wrap(&mut self) -> bool {
        let queue = self.servers.queue(LOCKS[0]);
        if !queue.iter().any(|claim| claim.path.ends_with("2147483647")) {
            return false;
        }
        self.note(|_| "fault: the numbers begin at the least");
        self.servers.set_counter(LOCKS[0], i32::MIN);
        true
    }

    fn meddle(&mut self, fault: Fault, lock: &str) -> bool {
        let queue = self.servers.queue(lock);
        let place = match self.dice.percent(50) {
            true => 0,
            false => self.dice.index(queue.len().max(1)),
        };
        let Some(claim) = queue.get(place) else {
            return false;
        };
        match fault {
            Fault::Touch => self.touch(&claim.path),
            _ => self.delete(&claim.path),
        }
        true
    }

    fn raze(&mut self, lock: &str) -> bool {
        let queue = self.servers.queue(lock);
        if queue.len() < 2 {
            return false;
        }
        let place = 1 + self.dice.index(queue.len() - 1);
        self.touch(&queue[place].path);
        self.delete(&queue[place].path);
        self.census.take(&self.servers, self.now);
        self.delete(&queue[place - 1].path);
        true
    }

    fn touch(&mut self, path: &Arc<str>) {
        self.note(|_| format!("fault: {path} is written to"));
        let (path, data, version) = (path.clone(), None, -1);
        self.servers.apply(Request::SetData {
            path,
            data,
            version,
        });
    }

    fn delete(&mut self, path: &Arc<str>) {
        self.note(|_| format!("fault: {path} is deleted"));
        self.census.purge(path.clone());
        let (path, version) = (path.clone(), -1);
        self.servers.apply(Request::Delete { path, version });
    }

    /// No stranger waits any more, and what a client finds only when it looks is
    /// not there.
    pub(crate) fn remove_strangers(&mut self) {
        self.servers.flush();
        for lock in &LOCKS[..self.plan.locks] {
            for claim in self.servers.queue(lock) {
                let orphan = format!("{NEVER_COUNTED:016x}-lock-");
                if claim.path.contains("stranger") || claim.path.contains(&orphan) {
                    self.delete(&claim.path);
                }
            }
        }
        self.servers.flush();
        self.pump();
    }
}
