//! One error for all that can go wrong with a lock, for those who need no
//! finer one.

use std::fmt;

use crate::lock::{AcquireError, LostReason, QueueError, ReleaseError};
use crate::proto::PathError;
use crate::session::ConnectError;

/// Whatever can go wrong between connecting and releasing. The error of each of
/// these operations converts into it.
#[derive(Clone, Debug, PartialEq, Eq)]
#[non_exhaustive]
pub enum Error {
    /// There is no session.
    Connect(ConnectError),
    /// The lock path is no znode path.
    Path(PathError),
    /// The lock was not acquired.
    Acquire(AcquireError),
    /// The lock was lost.
    Lost(LostReason),
    /// The lock was not released.
    Release(ReleaseError),
    /// The queue could not be looked at.
    Queue(QueueError),
}

impl Error {
    const fn inner(&self) -> &(dyn std::error::Error + 'static) {
        match self {
            Self::Connect(error) => error,
            Self::Path(error) => error,
            Self::Acquire(error) => error,
            Self::Lost(error) => error,
            Self::Release(error) => error,
            Self::Queue(error) => error,
        }
    }
}

impl fmt::Display for Error {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        fmt::Display::fmt(self.inner(), f)
    }
}

impl std::error::Error for Error {
    fn source(&self) -> Option<&(dyn std::error::Error + 'static)> {
        self.inner().source()
    }
}

macro_rules! from {
    ($($error:ident => $variant:ident,)*) => {
        $(impl From<$error> for Error {
            fn from(error: $error) -> Self {
                Self::$variant(error)
            }
        })*
    };
}

from! {
    ConnectError => Connect,
    PathError => Path,
    AcquireError => Acquire,
    LostReason => Lost,
    ReleaseError => Release,
    QueueError => Queue,
}
