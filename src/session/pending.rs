//! The requests in flight on a connection, and which of them a reply answers.

use std::collections::VecDeque;

use super::state::Cause;
use super::time::Timestamp;
use crate::proto::{ErrorCode, OpCode};

/// Who waits for a reply.
#[derive(Clone, Debug, PartialEq, Eq, Hash)]
pub(super) enum Waiter<T> {
    /// The recipe, which named its request so.
    Recipe(T),
    /// The lease: the leader exchange of a heartbeat.
    Exchange { sent: Timestamp },
    /// The liveness of the connection: the ping of a heartbeat.
    Ping,
    /// The authentication of the connection.
    Auth,
    /// The orderly close.
    Close,
}

#[derive(Clone, Debug, PartialEq, Eq, Hash)]
pub(super) struct InFlight<T> {
    pub(super) xid: i32,
    pub(super) opcode: OpCode,
    pub(super) waiter: Waiter<T>,
}

/// Requests that were written, oldest first.
#[derive(Clone, Debug, PartialEq, Eq, Hash)]
pub(super) struct Pending<T> {
    in_flight: VecDeque<InFlight<T>>,
}

impl<T> Pending<T> {
    pub(super) const fn new() -> Self {
        Self {
            in_flight: VecDeque::new(),
        }
    }

    pub(super) fn push(&mut self, request: InFlight<T>) {
        self.in_flight.push_back(request);
    }

    /// Puts back a request whose reply could not be taken.
    pub(super) fn put_back(&mut self, request: InFlight<T>) {
        self.in_flight.push_front(request);
    }

    /// Gives back room that a burst has left.
    pub(super) fn shrink(&mut self, kept: usize) {
        self.in_flight.shrink_to(kept);
    }

    pub(super) fn len(&self) -> usize {
        self.in_flight.len()
    }

    /// The request that a reply with this header answers.
    ///
    /// Replies come in the order of their requests, so that is the oldest.
    /// But those that the server's receiving thread sends by itself overtake:
    /// to `auth`, and the refusals of [`overtakes`].
    pub(super) fn take(
        &mut self,
        xid: i32,
        zxid: i64,
        error: ErrorCode,
    ) -> Result<InFlight<T>, Cause> {
        let overtakes = overtakes(zxid, error);
        let position = self.in_flight.iter().position(|request| request.xid == xid);
        let matching = position.filter(|index| {
            let opcode = self.in_flight.get(*index).map(|request| request.opcode);
            *index == 0 || overtakes || opcode == Some(OpCode::Auth)
        });
        matching
            .and_then(|index| self.in_flight.remove(index))
            .ok_or_else(|| {
                let expected = self.in_flight.front().map(|request| request.xid);
                Cause::UnexpectedReply { xid, expected }
            })
    }

    /// Takes the oldest request, if it is the recipe's.
    pub(super) fn take_oldest_recipe(&mut self) -> Option<T> {
        let oldest = self.in_flight.pop_front()?;
        match oldest.waiter {
            Waiter::Recipe(token) => Some(token),
            _ => {
                self.in_flight.push_front(oldest);
                None
            }
        }
    }

    /// Takes all that is in flight, oldest first.
    pub(super) fn drain(&mut self) -> impl Iterator<Item = InFlight<T>> + use<T> {
        std::mem::take(&mut self.in_flight).into_iter()
    }
}

/// Whether the server may have refused a request before its turn: unknown
/// opcodes, missing authentication, and an early ACL check (whose zxid is 0).
fn overtakes(zxid: i64, error: ErrorCode) -> bool {
    match error {
        ErrorCode::Unimplemented | ErrorCode::SessionClosedRequireSaslAuth => true,
        ErrorCode::NoAuth | ErrorCode::InvalidAcl => zxid == 0,
        _ => false,
    }
}

/// The numbers that match replies to requests: 1 to `i32::MAX`, then 1 again.
///
/// They count on across the connections of a session: followers match commits
/// by session and xid, so that starting over at 1 on another server can get
/// another request's reply. 0 is left out, since old servers miscount it.
#[derive(Clone, Debug, PartialEq, Eq, Hash)]
pub(super) struct Xids {
    last: i32,
}

impl Xids {
    pub(super) const fn new() -> Self {
        Self { last: 0 }
    }

    pub(super) fn next(&mut self) -> i32 {
        self.last = self.last.checked_add(1).unwrap_or(1);
        self.last
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn pending(opcodes: &[OpCode]) -> Pending<()> {
        let mut pending = Pending::new();
        for (xid, opcode) in (1..).zip(opcodes) {
            pending.push(InFlight {
                xid,
                opcode: *opcode,
                waiter: Waiter::Recipe(()),
            });
        }
        pending
    }

    #[test]
    fn replies_match_the_oldest_request_only() {
        let mut pending = pending(&[OpCode::Create, OpCode::Delete]);
        assert_eq!(
            pending.take(2, 5, ErrorCode::Ok),
            Err(Cause::UnexpectedReply {
                xid: 2,
                expected: Some(1)
            })
        );
        assert_eq!(pending.take(1, 5, ErrorCode::Ok).unwrap().xid, 1);
        assert_eq!(pending.take(2, 6, ErrorCode::NoNode).unwrap().xid, 2);
        assert_eq!(
            pending.take(2, 6, ErrorCode::Ok),
            Err(Cause::UnexpectedReply {
                xid: 2,
                expected: None
            })
        );
    }

    #[test]
    fn auth_and_early_refusals_overtake() {
        let mut pending = pending(&[
            OpCode::Create,
            OpCode::Auth,
            OpCode::Create2,
            OpCode::Delete,
            OpCode::Sync,
        ]);
        assert_eq!(pending.take(2, 0, ErrorCode::Ok).unwrap().xid, 2);
        assert_eq!(
            pending.take(3, -1, ErrorCode::Unimplemented).unwrap().xid,
            3
        );
        assert_eq!(pending.take(4, 0, ErrorCode::NoAuth).unwrap().xid, 4);
        assert!(pending.take(5, 7, ErrorCode::NoAuth).is_err());
        assert_eq!(pending.take(1, 7, ErrorCode::Ok).unwrap().xid, 1);
    }

    #[test]
    fn xids_wrap_to_one() {
        let mut xids = Xids { last: i32::MAX - 1 };
        assert_eq!([xids.next(), xids.next(), xids.next()], [i32::MAX, 1, 2]);
    }
}
