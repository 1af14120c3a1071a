//! What an acquisition is: what is asked for, what it asks of the server, and
//! what its users are told.

use std::sync::Arc;

use super::claim::Dialect;
use super::contenders::Queue;
use super::error::{AcquireError, LostReason, QueueError, ReleaseError};
use super::metadata::Metadata;
use super::removal::{RemovalId, RemovalRequest, RemovalStep};
use super::survey::{SurveyId, SurveyRequest, SurveyStep};
use super::token::FencingToken;
use crate::proto::{Acl, ZnodePath};
use crate::session::Timestamp;

/// Names an acquisition among those of a session.
#[derive(Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash, Debug)]
pub struct AcquisitionId(pub u64);

/// Names a `Lock`: owners are told apart within one.
#[derive(Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash, Debug)]
pub struct LockId(pub u64);

/// A lock: where its queue is and how its znodes are made.
#[derive(Clone, Debug, PartialEq, Eq, Hash)]
pub struct LockSpec {
    /// Which lock it is.
    pub id: LockId,
    /// The parent of the claims, from the server's root.
    pub path: ZnodePath,
    /// How the claims are named.
    pub dialect: Dialect,
    /// The ACL of the claims.
    pub acl: Arc<[Acl]>,
    /// The ACL of the znodes above them, where those are missing.
    pub parent_acl: Arc<[Acl]>,
}

impl LockSpec {
    /// The path of the child of this name.
    pub(super) fn below(&self, name: &str) -> Arc<str> {
        let mut path = String::with_capacity(self.path.as_str().len() + 1 + name.len());
        self.push_parent(&mut path);
        path.push_str(name);
        path.into()
    }

    /// What every child's path begins with.
    pub(super) fn push_parent(&self, path: &mut String) {
        path.push_str(self.path.as_str());
        if !self.path.is_root() {
            path.push('/');
        }
    }

    /// The name of the child at this path, if it is one of the lock's.
    pub(super) fn name_of<'a>(&self, path: &'a str) -> Option<&'a str> {
        let rest = path.strip_prefix(self.path.as_str())?;
        if self.path.is_root() {
            Some(rest)
        } else {
            rest.strip_prefix('/')
        }
    }
}

/// A request for a lock.
#[derive(Clone, Debug, PartialEq, Eq, Hash)]
pub struct AcquireRequest {
    /// Its name; every request has another one.
    pub id: AcquisitionId,
    /// What to acquire.
    pub lock: Arc<LockSpec>,
    /// What the claim is to say of the requestor.
    pub metadata: Metadata,
    /// When to give up.
    pub deadline: Timestamp,
    /// Whether to wait for claims ahead.
    pub waits: bool,
}

/// What the users are told.
#[derive(Clone, Debug, PartialEq, Eq)]
#[non_exhaustive]
pub enum Notice {
    /// The lock is held from now on.
    Granted {
        /// Which acquisition.
        id: AcquisitionId,
        /// The claim's token.
        token: FencingToken,
        /// The claim.
        znode: Arc<str>,
        /// When it ends by its TTL, if it has one.
        until: Option<Timestamp>,
    },
    /// The lock will not be held.
    Failed {
        /// Which acquisition.
        id: AcquisitionId,
        /// Why.
        error: AcquireError,
    },
    /// The place in the queue is gone, with the session or by someone's
    /// deletion of the claim: the request queues anew, at the end.
    PlaceLost {
        /// Which acquisition.
        id: AcquisitionId,
    },
    /// The lock is not held any more.
    Lost {
        /// Which acquisition.
        id: AcquisitionId,
        /// Why.
        reason: LostReason,
    },
    /// The claim is gone from the queue: the last notice of an acquisition that
    /// was let in. Before it, once, that the server refuses to delete the
    /// claim, which is tried again.
    Left {
        /// Which acquisition.
        id: AcquisitionId,
        /// Whether it is gone.
        result: Result<(), ReleaseError>,
    },
    /// A survey is done: its only notice.
    Surveyed {
        /// Which survey.
        id: SurveyId,
        /// What it has found.
        result: Result<Queue, QueueError>,
    },
    /// A removal is done: its only notice.
    Removed {
        /// Which removal.
        id: RemovalId,
        /// Whether it has deleted the claim; not if that was gone before.
        result: Result<bool, QueueError>,
    },
}

/// What the users of locks ask for.
#[derive(Clone, Debug)]
#[non_exhaustive]
pub enum Command {
    /// Acquire a lock.
    Acquire(AcquireRequest),
    /// End the acquisition, whatever it has come to: release the lock, leave
    /// the queue, or never join it.
    Leave(AcquisitionId),
    /// Look at the queue of a lock.
    Survey(SurveyRequest),
    /// Delete a claim, whoever made it.
    Remove(RemovalRequest),
}

/// Whose request a reply is for.
#[derive(Clone, Debug, PartialEq, Eq, Hash)]
#[non_exhaustive]
pub enum Token {
    /// A request of an acquisition's.
    Acquisition(AcquisitionId, Op),
    /// The delete of a claim of this session that no acquisition knows.
    Orphan(Arc<str>),
    /// A request of a survey's.
    Survey(SurveyStep),
    /// A request of a removal's.
    Removal(RemovalStep),
}

/// Which of an acquisition's requests a reply belongs to.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
#[non_exhaustive]
pub enum Op {
    /// The create of the claim with this counter.
    Create(u64),
    /// The create of the znode so many levels below the root.
    CreateParent(usize),
    /// The sync ahead of a listing.
    Sync(u32),
    /// A listing of the lock path.
    List(u32),
    /// The watch on the own claim.
    WatchOwn(u32),
    /// The question when a claim was created, by its place among those asked.
    Rank(u32, usize),
    /// The watch on a claim ahead.
    WatchAhead(u32),
    /// What the claim at the head of the queue says of its TTL.
    ReadHead(u32),
    /// The delete of a claim whose TTL is over.
    EndHead(u32),
    /// The delete of the claim with this counter.
    Delete(u64),
}
