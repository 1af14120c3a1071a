//! Which operation a request asks for, and the xids that are no request's.

use std::fmt;

/// The operations this crate speaks, from ZooKeeper's `ZooDefs.OpCode`.
///
/// All but [`Create2`](Self::Create2) (3.5) exist since 3.4. A server answers an opcode it does not
/// know with [`ErrorCode::Unimplemented`](super::ErrorCode::Unimplemented) and closes the
/// connection.
///
/// Opcode 13, `check`, is left out on purpose and must never be sent outside a `multi`: servers up
/// to 3.8.4 and 3.9.2 log it as a transaction that keeps them from ever starting again
/// (ZOOKEEPER-2623).
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
#[non_exhaustive]
pub enum OpCode {
    /// Create a znode; answers its path.
    Create,
    /// Delete a znode.
    Delete,
    /// Ask for a znode's [`Stat`](super::Stat).
    Exists,
    /// Read a znode's data.
    GetData,
    /// Replace a znode's data.
    SetData,
    /// List a znode's children.
    GetChildren,
    /// Have the server catch up with the leader.
    Sync,
    /// Keep the session alive.
    Ping,
    /// List a znode's children, and its own `Stat`.
    GetChildren2,
    /// Create a znode; answers its path and `Stat`. Since 3.5.
    Create2,
    /// Add an identity to the connection.
    Auth,
    /// Set the watches of a former connection again.
    SetWatches,
    /// End the session.
    CloseSession,
}

impl OpCode {
    /// The operation with this number, or `None` if it is not one of those above.
    pub fn from_i32(value: i32) -> Option<Self> {
        Some(match value {
            1 => Self::Create,
            2 => Self::Delete,
            3 => Self::Exists,
            4 => Self::GetData,
            5 => Self::SetData,
            8 => Self::GetChildren,
            9 => Self::Sync,
            11 => Self::Ping,
            12 => Self::GetChildren2,
            15 => Self::Create2,
            100 => Self::Auth,
            101 => Self::SetWatches,
            -11 => Self::CloseSession,
            _ => return None,
        })
    }

    /// The number on the wire.
    pub fn as_i32(self) -> i32 {
        match self {
            Self::Create => 1,
            Self::Delete => 2,
            Self::Exists => 3,
            Self::GetData => 4,
            Self::SetData => 5,
            Self::GetChildren => 8,
            Self::Sync => 9,
            Self::Ping => 11,
            Self::GetChildren2 => 12,
            Self::Create2 => 15,
            Self::Auth => 100,
            Self::SetWatches => 101,
            Self::CloseSession => -11,
        }
    }

    /// ZooKeeper's own name, such as `"getChildren2"`.
    pub fn name(self) -> &'static str {
        match self {
            Self::Create => "create",
            Self::Delete => "delete",
            Self::Exists => "exists",
            Self::GetData => "getData",
            Self::SetData => "setData",
            Self::GetChildren => "getChildren",
            Self::Sync => "sync",
            Self::Ping => "ping",
            Self::GetChildren2 => "getChildren2",
            Self::Create2 => "create2",
            Self::Auth => "auth",
            Self::SetWatches => "setWatches",
            Self::CloseSession => "closeSession",
        }
    }
}

impl fmt::Display for OpCode {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(self.name())
    }
}

/// The xids that do not count requests. Requests use 1 to `i32::MAX`, never 0 and nothing below.
pub mod xid {
    /// In a reply header: not a reply but a [`WatcherEvent`](crate::proto::WatcherEvent).
    pub const WATCH_EVENT: i32 = -1;

    /// A ping and its reply. The reply carries it whatever xid the ping had.
    pub const PING: i32 = -2;

    /// An `auth` and its reply, by convention; the server echoes any other xid just as well.
    pub const AUTH: i32 = -4;
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn every_known_number_maps_back_to_itself_and_check_is_not_among_them() {
        let known: Vec<i32> = (-200..200)
            .filter(|value| OpCode::from_i32(*value).is_some())
            .collect();
        assert_eq!(known, [-11, 1, 2, 3, 4, 5, 8, 9, 11, 12, 15, 100, 101]);
        for value in known {
            assert_eq!(OpCode::from_i32(value).map(OpCode::as_i32), Some(value));
        }
    }
}
