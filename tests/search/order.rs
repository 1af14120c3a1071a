//! Which orders come to the same thing, so that one of them is enough.

use std::sync::Arc;

use zklock::proto::OpCode;

use crate::faults::Fault;
use crate::world::{Step, World};

impl World {
    /// A step that all others can wait for, if there is one: what could have
    /// happened before it can happen after it and comes to the same, and no
    /// check comes out otherwise in between. With it alone the search goes on.
    ///
    /// In the terms of partial order reduction it is an ample set of one:
    ///
    /// - It depends on nothing that can happen elsewhere. What a client makes of
    ///   a frame is its own affair: meanwhile more can be put behind that frame,
    ///   and the server can take what the client has sent. A ping or a sync
    ///   changes nothing at a server whose time stands still, and its answer says
    ///   the same whenever it is given.
    /// - It excludes nothing: it is all that this client can do, since no fault
    ///   may befall it, and none of its users has anything to do.
    /// - It is not seen: the server and the users know what they knew before,
    ///   but for who has asked, which no check looks at.
    /// - It does not go round: it takes away from what is under way, and only
    ///   other steps put something in its place without end.
    pub(crate) fn quiet_step(&self) -> Option<(Step, Self)> {
        (0..self.clients.len()).find_map(|client| {
            let step = self.only_step(client)?;
            let mut after = self.clone();
            after.take(step);
            let lease = |world: &Self| world.clients[client].has_lease();
            let unseen = match step {
                Step::Down(_) => {
                    let by_server = Arc::ptr_eq(&self.core, &after.core);
                    by_server && lease(self) == lease(&after) && self.users == after.users
                }
                _ => true,
            };
            unseen.then_some((step, after))
        })
    }

    /// What this client does next, if there is no choice.
    fn only_step(&self, id: usize) -> Option<Step> {
        let (client, left) = (&self.clients[id], &self.left[id]);
        let ends = left.contains(&Fault::Cut) || left.contains(&Fault::Expire);
        if !ends
            && client
                .up
                .front()
                .is_some_and(|frame| changes_nothing(frame))
        {
            return Some(Step::Up(id));
        }
        if !left.is_empty() || client.woken {
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

/// A ping or a sync. What a handshake has in this place is never as large.
fn changes_nothing(frame: &[u8]) -> bool {
    let opcode = frame.get(4..8).and_then(|bytes| bytes.try_into().ok());
    let opcode = opcode.and_then(|bytes| OpCode::from_i32(i32::from_be_bytes(bytes)));
    matches!(opcode, Some(OpCode::Ping | OpCode::Sync))
}
