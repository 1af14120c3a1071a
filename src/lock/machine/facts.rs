//! What an acquisition knows of the server.

use std::sync::Arc;

use crate::lock::claim::SequenceNumber;

/// A znode in the queue that is this acquisition's.
#[derive(Clone, Debug, PartialEq, Eq, Hash)]
pub(super) struct Claim {
    pub(super) counter: u64,
    /// The whole path.
    pub(super) path: Arc<str>,
    /// Where the name begins in `path`, in bytes.
    pub(super) name_at: usize,
    pub(super) number: SequenceNumber,
    /// The zxid of its creation, unless it was found in a listing only.
    pub(super) czxid: Option<i64>,
}

impl Claim {
    pub(super) fn name(&self) -> &[u8] {
        self.path.as_bytes().get(self.name_at..).unwrap_or_default()
    }

    pub(super) fn doomed(self) -> Doomed {
        Doomed {
            counter: self.counter,
            path: self.path,
            asked: false,
        }
    }
}

/// A claim that is to be deleted.
#[derive(Clone, Debug, PartialEq, Eq, Hash)]
pub(super) struct Doomed {
    pub(super) counter: u64,
    pub(super) path: Arc<str>,
    /// The delete is in flight.
    pub(super) asked: bool,
}

/// How far a watch is.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub(super) enum Watch {
    Unset,
    /// In flight, under this serial number.
    Asked(u32),
    /// The server has confirmed it, and it has not fired since.
    Armed,
    /// The server does not allow it.
    Refused,
}

/// How current the knowledge of the queue is.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub(super) enum Look {
    /// A listing is needed; behind a `sync` if the server may lag.
    Needed { sync: bool },
    /// In flight, under this serial number.
    Asked { serial: u32, sync: SyncState },
    /// The claim was seen, and `predecessor` is the one ahead of it, if any.
    Known,
}

/// The `sync` ahead of a listing.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub(super) enum SyncState {
    NotAsked,
    Asked,
    Done,
}

/// The claim directly ahead.
#[derive(Clone, Debug, PartialEq, Eq, Hash)]
pub(super) struct Predecessor {
    /// The whole path.
    pub(super) path: Arc<str>,
    pub(super) watch: Watch,
    /// Nothing else is ahead, and nothing can be once it has gone.
    pub(super) last: bool,
}
