//! What can be done to a server from outside, and what can be seen of it.

use std::fmt;
use std::sync::Arc;

use bytes::Bytes;

use crate::proto::{OpCode, Stat};

use super::core::{ConnectionId, Core};

/// A znode, for people and tests to look at.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Znode {
    /// Its path.
    pub path: Arc<str>,
    /// Its data; a server tells none from empty ones.
    pub data: Option<Bytes>,
    /// Its metadata.
    pub stat: Stat,
}

impl fmt::Display for Znode {
    /// On one line: the path, the session of an ephemeral, and the data.
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.path)?;
        if self.stat.ephemeral_owner != 0 {
            write!(f, " (of session {:#x})", self.stat.ephemeral_owner)?;
        }
        match &self.data {
            Some(data) if !data.is_empty() => write!(f, " {}", String::from_utf8_lossy(data)),
            _ => Ok(()),
        }
    }
}

/// What a server may do to its clients, and what may be done to it.
impl Core {
    /// Lets a session expire now, as if its time had passed. Its connection is
    /// closed; when its client comes back, it is told that there is no such
    /// session. Returns whether there was.
    pub fn expire(&mut self, session: i64) -> bool {
        let alive = self.sessions.is_alive(session);
        if alive {
            self.end_by_expiry(session);
        }
        alive
    }

    /// Closes every connection. What clients have sent and what this has not
    /// read is lost; their sessions live on until they expire.
    pub fn disconnect_all(&mut self) {
        let all: Vec<ConnectionId> = self.connections().collect();
        for connection in all {
            self.close(connection);
        }
    }

    /// Does the next request of this kind, whoever sends it, and then closes
    /// the connection instead of answering.
    pub fn drop_next_reply(&mut self, to: OpCode) {
        self.lost_reply = Some(to);
    }

    /// Whether the answer that is due now is the one to lose.
    pub(super) fn loses_reply(&mut self, to: OpCode) -> bool {
        self.lost_reply.take_if(|lost| *lost == to).is_some()
    }

    /// Sets what the number of the next sequential child of a znode will be, as
    /// if it had had so many children. Returns whether there is such a znode.
    pub fn set_counter(&mut self, path: &str, next: i32) -> bool {
        self.tree.set_counter(path, next)
    }

    /// All znodes, in the order of their paths, those that every server has
    /// included.
    pub fn znodes(&self) -> impl Iterator<Item = Znode> {
        self.tree.nodes().map(|(path, node)| Znode {
            path,
            data: node.data.clone(),
            stat: node.stat(),
        })
    }
}
