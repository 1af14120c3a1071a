//! The users of the lock: what each has asked for, and what it was told.

use std::sync::Arc;

use zklock::lock::{
    AcquireError, AcquireRequest, AcquisitionId, Dialect, LockId, LockSpec, Metadata, Notice,
};
use zklock::proto::{Acl, ZnodePath};
use zklock::session::Timestamp;

pub(crate) const LOCK: &str = "/l";

#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub(crate) struct User {
    pub(crate) asked: bool,
    /// That it has the lock, or that it will not have it.
    pub(crate) answered: bool,
    pub(crate) left: bool,
    /// The claim by which it has the lock.
    pub(crate) held: Option<Arc<str>>,
    pub(crate) gone: bool,
}

impl User {
    pub(crate) fn waits(&self) -> bool {
        self.asked && !self.answered && !self.left
    }

    /// Each is answered once, and nothing follows the last word.
    pub(crate) fn told(&mut self, notice: Notice) {
        assert!(!self.gone, "{self:?} had gone: {notice:?}");
        match notice {
            Notice::Granted { znode, .. } => {
                assert!(self.waits(), "{self:?} is granted the lock");
                self.answered = true;
                self.held = Some(znode);
            }
            Notice::Failed { error, .. } => {
                assert!(self.waits(), "{self:?}: {error:?}");
                assert_eq!(error, AcquireError::TimedOut);
                self.answered = true;
                self.left = true;
            }
            Notice::PlaceLost { .. } => assert!(self.waits(), "{self:?} loses its place"),
            Notice::Lost { .. } => {
                assert!(self.held.is_some() || self.left, "{self:?} loses the lock");
                self.held = None;
            }
            Notice::Left { result, .. } => {
                assert_eq!(result, Ok(()));
                self.gone = true;
            }
            other => panic!("{other:?}: {self:?}"),
        }
    }
}

pub(crate) fn request(user: usize, deadline: Timestamp) -> AcquireRequest {
    let open: Arc<[Acl]> = [Acl::world_anyone()].into();
    AcquireRequest {
        id: AcquisitionId(user as u64),
        lock: Arc::new(LockSpec {
            id: LockId(0),
            path: ZnodePath::new(LOCK).expect("a path"),
            dialect: Dialect::default(),
            acl: Arc::clone(&open),
            parent_acl: open,
        }),
        metadata: Metadata::default(),
        deadline,
        waits: true,
    }
}
