//! What must hold: at every moment, one session timeout after a fault, and when
//! all is over.

use zklock::lock::{AcquireError, ClaimId};

use crate::cases::Act;
use crate::support::scripted::client::keeps_nothing;
use crate::support::scripted::{BEAT, T};
use crate::world::{Client, User, World};

impl World {
    /// Whoever believes to hold the lock is first in the queue, and we are in
    /// it once at the most.
    pub(crate) fn check(&self) {
        for client in &self.clients {
            if let Some(znode) = client.user.holds() {
                let head = self.server.head(self.path);
                assert_eq!(head.as_deref(), Some(&**znode), "{:?}", client.user);
            }
        }
        let claims = self.claims_of_ours();
        assert!(claims.len() <= 1, "{claims:?}");
    }

    /// After the last fault the network is healthy for one session timeout.
    /// Then we are in the queue if, and only if, our user is to be.
    pub(crate) fn judge(&mut self) {
        let hit = self.hits.last().expect("a strike").clone();
        assert!(self.strikes.is_empty(), "not made: {:?}", self.strikes);
        self.pass(hit.at + T - self.now);
        let session = self.clients[self.ours].engine.session().session_id();
        let session = session.expect("a session");
        assert!(self.server.knows(session), "the session has ended");
        assert!(hit.session.is_none_or(|before| before == session));
        let wanted = self.user().waits() || self.user().holds().is_some();
        let claims = self.claims_of_ours();
        assert_eq!(
            claims.len(),
            usize::from(wanted),
            "{claims:?}, {:?}",
            self.user()
        );
        if let Some(znode) = self.user().holds() {
            assert!(znode.ends_with(&claims[0]), "{znode} but {claims:?}");
        }
    }

    /// Everyone gets the lock and leaves in turn, until nothing is left of
    /// anyone.
    pub(crate) fn wind_up(&mut self) {
        while self.clients.iter().any(|client| !client.user.is_done()) {
            let holds = |client: &Client| client.user.holds().is_some();
            let holder = self.clients.iter().position(holds);
            self.leave(holder.expect("someone waits for ever"));
            self.pass(BEAT / 10);
        }
        self.pass(BEAT);
        assert_eq!(self.server.children(self.path), Vec::<String>::new());
        for client in &self.clients {
            keeps_nothing(client.engine.recipe());
            assert!(client.user.gone, "nobody was told: {:?}", client.user);
        }
        self.check_answer();
    }

    /// Without a drop there is one answer: the lock, unless the deadline came
    /// first.
    fn check_answer(&self) {
        let struck_by = |act| self.hits.iter().any(|hit| hit.strike.fault.has(act));
        match &self.user().answer {
            Some(Ok(_)) => {}
            Some(Err(AcquireError::TimedOut)) => assert!(struck_by(Act::Deadline)),
            None => assert!(struck_by(Act::Drop)),
            other => panic!("{other:?}"),
        }
    }

    pub(crate) fn user(&self) -> &User {
        &self.clients[self.ours].user
    }

    /// The claims in the queue that are of no rival.
    fn claims_of_ours(&self) -> Vec<String> {
        let rivals = self
            .clients
            .iter()
            .enumerate()
            .filter(|(client, _)| *client != self.ours);
        let sessions: Vec<_> = rivals
            .filter_map(|(_, rival)| rival.engine.session().session_id())
            .collect();
        let ours = |name: &String| {
            let id = ClaimId::parse(name.as_bytes());
            id.is_none_or(|id| !sessions.contains(&id.session_id))
        };
        self.server
            .children(self.path)
            .into_iter()
            .filter(ours)
            .collect()
    }
}
