//! A server as one of several: what the clients of the other ones have done.
//! It is for simulations, and no ensemble.

use crate::proto::{ErrorCode, Reply, Request};

use super::core::{ConnectionId, Core};

/// No client is there.
const ELSEWHERE: ConnectionId = ConnectionId(0);

impl Core {
    /// Does a write of a session whose client is at another server.
    #[doc(hidden)]
    pub fn apply(&mut self, session: i64, request: Request) -> Result<Reply, ErrorCode> {
        self.zxid += 1;
        self.execute(ELSEWHERE, session, request)
    }

    /// Begins a session for a client of another server.
    #[doc(hidden)]
    pub fn open_elsewhere(&mut self, timeout_ms: i32) -> i64 {
        self.zxid += 1;
        let timeout_ms = self.sessions.clamp(timeout_ms);
        self.sessions.open(timeout_ms, self.now)
    }
}
