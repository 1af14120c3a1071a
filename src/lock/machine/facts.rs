//! What an acquisition knows of the server.

use std::sync::Arc;

use crate::lock::claim::SequenceNumber;
use crate::lock::queue::Czxids;
use crate::proto::Children;

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
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) enum Look {
    /// A listing is needed; behind a `sync` if the server may lag.
    Needed { sync: bool },
    /// In flight, under this serial number.
    Asked { serial: u32, sync: SyncState },
    /// Listed, but the numbers leave open who is first.
    Ranking(Box<Ranking>),
    /// The claim was seen, and what is ahead of it is known.
    Known,
}

/// The `sync` ahead of a listing.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub(super) enum SyncState {
    NotAsked,
    Asked,
    Done,
}

/// A listing whose claims are being asked when they were created.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) struct Ranking {
    pub(super) serial: u32,
    pub(super) children: Children,
    /// Those that are asked, and how many of them have not answered.
    pub(super) names: Vec<Box<[u8]>>,
    pub(super) open: usize,
    pub(super) czxids: Czxids,
    /// The lock path has changed since it was listed.
    pub(super) outdated: bool,
}

/// What is ahead of the claim.
#[derive(Clone, Debug, PartialEq, Eq, Default)]
pub(super) struct Ahead {
    /// Those that are watched, or are to be: the nearest first.
    pub(super) watched: Vec<Watched>,
    /// How many more there were at the last look.
    pub(super) further: usize,
    /// What is gone of it is gone for good, and nothing is ever added.
    pub(super) shrinks: bool,
}

impl Ahead {
    pub(super) fn position(&self, path: &str) -> Option<usize> {
        self.watched.iter().position(|other| *other.path == *path)
    }

    /// The watch whose request is in flight under this serial number.
    pub(super) fn asked(&self, serial: u32) -> Option<usize> {
        let asked = Watch::Asked(serial);
        self.watched.iter().position(|other| other.watch == asked)
    }

    pub(super) fn len(&self) -> usize {
        self.further.saturating_add(self.watched.len())
    }
}

/// A claim ahead.
#[derive(Clone, Debug, PartialEq, Eq, Hash)]
pub(super) struct Watched {
    /// The whole path.
    pub(super) path: Arc<str>,
    pub(super) watch: Watch,
}
