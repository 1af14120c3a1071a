//! Why a lock was not acquired, not released, or lost, or its queue not seen.

use std::fmt;
use std::sync::Arc;

use crate::proto::{ErrorCode, ZnodePath};
use crate::session::SessionLost;

/// Why a lock was not acquired. The request has left the queue, or leaves it
/// as soon as the server can be told.
#[derive(Clone, Debug, PartialEq, Eq)]
#[non_exhaustive]
pub enum AcquireError {
    /// The deadline came first.
    TimedOut,
    /// Someone else holds the lock or is ahead in the queue, and the request
    /// was not to wait.
    WouldBlock,
    /// The owner of the request already holds this lock.
    AlreadyOwned,
    /// The timeout is zero. Nothing was sent.
    ZeroTimeout,
    /// The TTL is zero. Nothing was sent.
    ZeroTtl,
    /// The owner is longer than [`MAX_OWNER`](crate::lock::MAX_OWNER). Nothing
    /// was sent.
    OwnerTooLong {
        /// Its length in bytes.
        bytes: usize,
    },
    /// A znode above the claims is missing and the server refused to create it.
    MissingParent {
        /// The one that could not be created.
        path: ZnodePath,
        /// What the server said.
        code: ErrorCode,
    },
    /// The lock path is an ephemeral znode, which can have no children.
    EphemeralParent {
        /// The lock path.
        path: ZnodePath,
    },
    /// The lock path has run out of numbers, after 2^31 children, and the
    /// server gave the claim a name that is taken.
    SequenceExhausted {
        /// The lock path.
        path: ZnodePath,
    },
    /// The queue is too long to be listed: its names do not fit into a frame
    /// that this session takes. To find that out costs the session its
    /// connection, so that for a minute its other requests for the lock fail
    /// without another try.
    QueueTooLong {
        /// The lock path.
        path: ZnodePath,
        /// How long the listing is, in bytes.
        length: usize,
        /// How long a frame may be, in bytes.
        max: usize,
    },
    /// The server refused the request.
    Refused {
        /// What was asked of it.
        operation: &'static str,
        /// The lock path.
        path: ZnodePath,
        /// What the server said.
        code: ErrorCode,
    },
    /// The lock was granted, and lost before the request could be answered.
    Lost(LostReason),
    /// The session was closed, or a server refused its authentication, which
    /// closes it as well: `Session::state` says which.
    Closed,
}

impl fmt::Display for AcquireError {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::TimedOut => f.write_str("attempt to acquire lock timed out"),
            Self::WouldBlock => f.write_str("the lock is taken"),
            Self::AlreadyOwned => f.write_str("requestor already has an active lock"),
            Self::ZeroTimeout => f.write_str(
                "a timeout of zero leaves no time to acquire; use try_acquire to ask without waiting",
            ),
            Self::ZeroTtl => f.write_str("a TTL of zero ends a lock before it begins; leave it out"),
            Self::OwnerTooLong { bytes } => write!(
                f,
                "an owner of {bytes} bytes is too long; at most {} are possible",
                crate::lock::MAX_OWNER
            ),
            Self::MissingParent { path, code } => write!(
                f,
                "{path} is missing and cannot be created: {code}; create it, or grant CREATE on its parent"
            ),
            Self::EphemeralParent { path } => write!(
                f,
                "{path} is an ephemeral znode, which can have no children; choose another lock path"
            ),
            Self::SequenceExhausted { path } => write!(
                f,
                "{path} has run out of sequence numbers; let its queue run empty, delete it and go on"
            ),
            Self::QueueTooLong { path, length, max } => write_too_long(f, path, *length, *max),
            Self::Refused {
                operation,
                path,
                code,
            } => write_refusal(f, operation, path, *code),
            Self::Lost(reason) => {
                write!(f, "the lock was lost as soon as it was granted: {reason}")
            }
            Self::Closed => f.write_str(CLOSED),
        }
    }
}

/// As far as is known where a request finds that nobody takes it any more.
const CLOSED: &str =
    "the session was closed, or a server refused its authentication; Session::state says which";

impl std::error::Error for AcquireError {}

/// Why a queue could not be looked at, or a claim in it not be deleted.
#[derive(Clone, Debug, PartialEq, Eq)]
#[non_exhaustive]
pub enum QueueError {
    /// No server has answered in time.
    TimedOut,
    /// The queue is too long to be listed: its names do not fit into a frame
    /// that this session takes.
    TooLong {
        /// The lock path.
        path: ZnodePath,
        /// How long the listing is, in bytes.
        length: usize,
        /// How long a frame may be, in bytes.
        max: usize,
    },
    /// The server refused.
    Refused {
        /// What was asked of it.
        operation: &'static str,
        /// The lock path.
        path: ZnodePath,
        /// What the server said.
        code: ErrorCode,
    },
    /// The server refused to say anything of a claim, not even when it was
    /// created, which decides on the order.
    Unreadable {
        /// The claim.
        znode: Arc<str>,
        /// What the server said.
        code: ErrorCode,
    },
    /// The session was closed, or a server refused its authentication, which
    /// closes it as well: `Session::state` says which.
    Closed,
}

impl fmt::Display for QueueError {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::TimedOut => f.write_str("no server has answered in time"),
            Self::TooLong { path, length, max } => write_too_long(f, path, *length, *max),
            Self::Refused {
                operation,
                path,
                code,
            } => write_refusal(f, operation, path, *code),
            Self::Unreadable {
                znode,
                code: ErrorCode::NoAuth,
            } => write!(
                f,
                "not allowed to read {znode} (NoAuth); its ACL must grant READ"
            ),
            Self::Unreadable { znode, code } => {
                write!(f, "the server refused to read {znode}: {code}")
            }
            Self::Closed => f.write_str(CLOSED),
        }
    }
}

impl std::error::Error for QueueError {}

fn write_too_long(
    f: &mut fmt::Formatter<'_>,
    path: &ZnodePath,
    length: usize,
    max: usize,
) -> fmt::Result {
    write!(
        f,
        "the children of {path} take {length} bytes to list, and {max} are the most that is \
         accepted; delete what does not belong there, or raise the session's max_frame"
    )
}

fn write_refusal(
    f: &mut fmt::Formatter<'_>,
    operation: &str,
    path: &ZnodePath,
    code: ErrorCode,
) -> fmt::Result {
    if code == ErrorCode::NoAuth {
        write!(
            f,
            "not allowed to {operation} below {path} (NoAuth); check the ACL of {path}"
        )
    } else {
        write!(f, "the server refused to {operation} below {path}: {code}")
    }
}

/// Why a release did not succeed.
#[derive(Clone, Debug, PartialEq, Eq)]
#[non_exhaustive]
pub enum ReleaseError {
    /// The lock is not held by this owner.
    NotOwner,
    /// The server refused to delete the claim. The deletion is tried again, at
    /// the pace of the session's heartbeat, until it succeeds or the session
    /// ends, and the claim with it.
    Refused {
        /// The claim.
        znode: Arc<str>,
        /// The lock path, whose ACL decides.
        path: ZnodePath,
        /// What the server said.
        code: ErrorCode,
    },
}

impl fmt::Display for ReleaseError {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::NotOwner => f.write_str("non-owner attempted to call unlock"),
            Self::Refused {
                znode,
                path,
                code: ErrorCode::NoAuth,
            } => write!(
                f,
                "not allowed to delete {znode} (NoAuth); the ACL of {path} must grant DELETE"
            ),
            Self::Refused { znode, code, .. } => {
                write!(f, "the server refused to delete {znode}: {code}")
            }
        }
    }
}

impl std::error::Error for ReleaseError {}

/// Why a lock that was held is not held any more.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
#[non_exhaustive]
pub enum LostReason {
    /// The session could not be shown to be alive in time. The claim may still
    /// be there, but someone else may get the lock at any moment.
    LeaseExpired,
    /// The session is over, and the claim with it.
    Session(SessionLost),
    /// The time for which it was asked is over.
    TtlExpired,
    /// Someone else has deleted the claim.
    ClaimDeleted,
    /// It was released.
    Released,
    /// The session was closed.
    Closed,
}

impl fmt::Display for LostReason {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::LeaseExpired => {
                f.write_str("the servers could not be reached in time to keep the session")
            }
            Self::Session(reason) => reason.fmt(f),
            Self::TtlExpired => f.write_str("its TTL is over"),
            Self::ClaimDeleted => f.write_str("someone else has deleted its claim"),
            Self::Released => f.write_str("it was released"),
            Self::Closed => f.write_str("the session was closed"),
        }
    }
}

impl std::error::Error for LostReason {}
