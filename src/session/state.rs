//! What happens to a session and to its connection, and why.

use std::fmt;
use std::io;
use std::sync::Arc;
use std::time::Duration;

use super::connect_string::Server;
use super::tls_error::TlsError;
use crate::proto::{DecodeError, ErrorCode, FrameError};

/// A change in the life of a session, as the machine reports it.
#[derive(Clone, Debug, PartialEq, Eq)]
#[non_exhaustive]
pub enum SessionEvent {
    /// A new session is there. Nothing of an earlier one is left.
    Established {
        /// The server's name for the session.
        session_id: i64,
        /// The session timeout that the server granted.
        timeout: Duration,
    },
    /// The connection is gone; the session may be alive.
    Suspended(Cause),
    /// The same session has a new connection. Its watches are gone.
    Reattached {
        /// The session timeout that the server granted this time.
        timeout: Duration,
    },
    /// The session is over, and with it every ephemeral znode. The machine
    /// goes on to get a new one.
    Lost(SessionLost),
    /// An orderly close has begun: no more requests are taken.
    Closing,
    /// The machine has stopped and takes no more requests.
    Stopped(Stopped),
}

impl fmt::Display for SessionEvent {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Established {
                session_id,
                timeout,
            } => {
                write!(
                    f,
                    "established {session_id:#x} with a timeout of {timeout:?}"
                )
            }
            Self::Suspended(cause) => write!(f, "suspended: {cause}"),
            Self::Reattached { timeout } => write!(f, "re-attached with a timeout of {timeout:?}"),
            Self::Lost(reason) => write!(f, "lost: {reason}"),
            Self::Closing => f.write_str("closing"),
            Self::Stopped(why) => write!(f, "stopped: {why}"),
        }
    }
}

/// Why a session is over.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
#[non_exhaustive]
pub enum SessionLost {
    /// The server said that the session has expired. It says the same of a
    /// session it does not know and of a wrong password.
    Expired,
    /// No frame came from any server for twice the session timeout.
    Unreachable,
    /// The server answered a re-attach with a session of another id.
    Replaced,
}

impl fmt::Display for SessionLost {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(match self {
            Self::Expired => "the ZooKeeper session has expired",
            Self::Unreachable => "no ZooKeeper server answered for twice the session timeout",
            Self::Replaced => "the server answered with another session",
        })
    }
}

/// Why a session machine has stopped for good.
#[derive(Clone, Debug, PartialEq, Eq)]
#[non_exhaustive]
pub enum Stopped {
    /// It was closed.
    Closed,
    /// No server gave it a first session within the connect timeout.
    ConnectTimedOut {
        /// How many attempts were made.
        attempts: u32,
        /// The last failure of each server that was tried.
        failures: Vec<(Server, Cause)>,
    },
    /// The server refused the authentication.
    AuthFailed(ErrorCode),
}

impl fmt::Display for Stopped {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Closed => f.write_str("closed"),
            Self::ConnectTimedOut { attempts, failures } => {
                f.write_str("cannot connect to ZooKeeper")?;
                for (index, (server, cause)) in failures.iter().enumerate() {
                    let separator = if index == 0 { " at" } else { ";" };
                    write!(f, "{separator} {server}: {cause}")?;
                }
                let plural = if *attempts == 1 { "" } else { "s" };
                write!(f, " (after {attempts} attempt{plural})")
            }
            Self::AuthFailed(code) => write!(f, "the server refused the authentication: {code}"),
        }
    }
}

/// Why a connection, or an attempt at one, came to its end.
#[derive(Clone, Debug, PartialEq, Eq)]
#[non_exhaustive]
pub enum Cause {
    /// The host name could not be resolved.
    Unresolved(Arc<str>),
    /// The operating system reported an error.
    Io(io::ErrorKind, Arc<str>),
    /// The server closed the connection without a word.
    ClosedByServer,
    /// The server closed the connection instead of answering the handshake, as
    /// one does that is not serving yet, and one whose port expects TLS.
    ClosedInHandshake,
    /// No TLS connection came about, or it broke.
    Tls(TlsError),
    /// No connection came about in the time of one attempt.
    DialTimedOut,
    /// No answer to the handshake came in the time of one attempt.
    HandshakeTimedOut,
    /// Nothing came from the server for a sixth of the session timeout after a
    /// heartbeat.
    Silent,
    /// The bytes are no frame of ZooKeeper's protocol.
    Frame(FrameError),
    /// A frame does not hold what it must.
    Malformed(DecodeError),
    /// A reply belongs to no request, or came out of order.
    UnexpectedReply {
        /// The reply's xid.
        xid: i32,
        /// The xid of the request that was next in line, if any.
        expected: Option<i32>,
    },
    /// The server refused to open a new session.
    Refused,
    /// The server is read-only: it has lost its ensemble and can hold no lock.
    ReadOnly,
}

impl From<io::Error> for Cause {
    fn from(error: io::Error) -> Self {
        #[cfg(feature = "tls")]
        if let Some(error) = super::tls::find(&error) {
            return error.into();
        }
        match error.kind() {
            io::ErrorKind::UnexpectedEof => Self::ClosedByServer,
            kind => Self::Io(kind, error.to_string().into()),
        }
    }
}

impl From<TlsError> for Cause {
    fn from(error: TlsError) -> Self {
        Self::Tls(error)
    }
}

impl From<FrameError> for Cause {
    fn from(error: FrameError) -> Self {
        Self::Frame(error)
    }
}

impl From<DecodeError> for Cause {
    fn from(error: DecodeError) -> Self {
        Self::Malformed(error)
    }
}

impl fmt::Display for Cause {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Unresolved(error) => write!(f, "the host name cannot be resolved ({error})"),
            Self::Io(io::ErrorKind::ConnectionRefused, _) => f.write_str("connection refused"),
            Self::Io(_, error) => f.write_str(error),
            Self::ClosedByServer => f.write_str("the server closed the connection"),
            Self::ClosedInHandshake => f.write_str(
                "the server closed the connection without an answer to the handshake; \
                 it may not be serving yet, or its port may expect TLS",
            ),
            Self::Tls(error) => error.fmt(f),
            Self::DialTimedOut => f.write_str("no connection in time"),
            Self::HandshakeTimedOut => f.write_str("connected, but no answer to the handshake"),
            Self::Silent => f.write_str("the server stopped answering"),
            Self::Frame(error) => error.fmt(f),
            Self::Malformed(error) => write!(f, "malformed answer: {error}"),
            Self::UnexpectedReply {
                xid,
                expected: Some(expected),
            } => {
                write!(f, "a reply to request {xid} came, but {expected} is next")
            }
            Self::UnexpectedReply {
                xid,
                expected: None,
            } => {
                write!(f, "a reply to request {xid} came, but none is waiting")
            }
            Self::Refused => f.write_str("the server refused to open a session"),
            Self::ReadOnly => f.write_str("the server is read-only"),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_end_of_a_session_says_why() {
        let lost = SessionEvent::Lost(SessionLost::Expired).to_string();
        assert_eq!(lost, "lost: the ZooKeeper session has expired");
    }
}
