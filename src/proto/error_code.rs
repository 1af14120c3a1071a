//! The error field of a reply.

open_enum! {
    /// How a request ended, from ZooKeeper's `KeeperException.Code`. Displayed as `NoNode (-101)`.
    pub enum ErrorCode {
        /// No error; the reply's record follows.
        Ok = 0,
        /// The server failed.
        SystemError = -1,
        /// In a `multi`: not tried, because an earlier operation failed.
        RuntimeInconsistency = -2,
        /// The server's data is inconsistent.
        DataInconsistency = -3,
        /// Made by clients only: the connection broke, the outcome is unknown.
        ConnectionLoss = -4,
        /// The server could not decode the request. The connection stays usable.
        MarshallingError = -5,
        /// The server does not know the opcode. It closes the connection.
        Unimplemented = -6,
        /// Made by clients only: no answer in time.
        OperationTimeout = -7,
        /// An invalid path or create mode.
        BadArguments = -8,
        /// The server does not know the session.
        UnknownSession = -12,
        /// A reconfiguration would leave no quorum.
        NewConfigNoQuorum = -13,
        /// Another reconfiguration is under way.
        ReconfigInProgress = -14,
        /// The upper end of the errors that belong to an operation; never sent itself.
        ApiError = -100,
        /// The znode, or the parent of one to create, is not there.
        NoNode = -101,
        /// The ACL does not allow it.
        NoAuth = -102,
        /// The version asked for is not the znode's.
        BadVersion = -103,
        /// The parent is ephemeral and can have no children.
        NoChildrenForEphemerals = -108,
        /// The znode exists. For a **sequential** create: the parent's counter is used up.
        NodeExists = -110,
        /// The znode has children.
        NotEmpty = -111,
        /// The session has expired or was closed.
        SessionExpired = -112,
        /// An invalid callback.
        InvalidCallback = -113,
        /// The ACL is empty, malformed, or asks for identities the connection has not got.
        InvalidAcl = -114,
        /// The `auth` or `sasl` was refused. The server closes the connection.
        AuthFailed = -115,
        /// The session lives on another server by now. Servers close the connection instead of
        /// sending it.
        SessionMoved = -118,
        /// A write or sync at a read-only server.
        NotReadOnly = -119,
        /// The server keeps sessions local, and local sessions cannot have ephemerals.
        EphemeralOnLocalSession = -120,
        /// There is no such watch to remove.
        NoWatcher = -121,
        /// The request took too long inside the server.
        RequestTimeout = -122,
        /// Reconfiguration is switched off.
        ReconfigDisabled = -123,
        /// The server wants authentication first. It closes the connection.
        SessionClosedRequireSaslAuth = -124,
        /// A quota forbids it.
        QuotaExceeded = -125,
        /// The server is overloaded; certainly not executed.
        ThrottledOp = -127,
    }
}

impl std::error::Error for ErrorCode {}

impl ErrorCode {
    /// Whether a server that answers a request so has certainly not done it. The others (a
    /// timeout, an internal error, a code nobody knows) leave that open.
    pub fn is_refusal(self) -> bool {
        matches!(
            self,
            Self::Unimplemented
                | Self::MarshallingError
                | Self::BadArguments
                | Self::NoNode
                | Self::NoAuth
                | Self::BadVersion
                | Self::NoChildrenForEphemerals
                | Self::NodeExists
                | Self::NotEmpty
                | Self::InvalidAcl
                | Self::NotReadOnly
                | Self::EphemeralOnLocalSession
                | Self::QuotaExceeded
                | Self::ThrottledOp
        )
    }
}

#[cfg(test)]
mod tests {
    use super::ErrorCode;

    #[test]
    fn an_unknown_code_is_kept_as_a_number() {
        for value in [-9999, -126, -116, 1, i32::MIN, i32::MAX] {
            assert_eq!(ErrorCode::from_i32(value), ErrorCode::Other(value));
            assert_eq!(ErrorCode::Other(value).as_i32(), value);
        }
        assert_eq!(ErrorCode::Other(-9999).to_string(), "Other (-9999)");
    }

    #[test]
    fn a_known_code_shows_name_and_number() {
        assert_eq!(ErrorCode::from_i32(-101), ErrorCode::NoNode);
        assert_eq!(ErrorCode::NoNode.to_string(), "NoNode (-101)");
    }

    #[test]
    fn every_code_maps_back_to_its_number() {
        for value in -200..=10 {
            assert_eq!(ErrorCode::from_i32(value).as_i32(), value);
        }
    }
}
