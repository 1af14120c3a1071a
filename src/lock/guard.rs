//! What a granted request gives: the guard.

use std::sync::Arc;
use std::time::Duration;

use tokio::sync::oneshot;
use tokio_util::sync::CancellationToken;

use super::acquisition::AcquisitionId;
use super::error::{LostReason, ReleaseError};
use super::hold::Hold;
use super::locks::{Ask, Grant, LockCommand};
use super::token::FencingToken;
use crate::session::{Clock, Link};

/// A lock that is held.
///
/// Dropping it releases the lock: the session's task deletes the claim, and
/// goes on trying if the connection is down. [`release`](Self::release) does
/// the same and waits for it. A guard that is lost has nothing left to release,
/// and its drop does no harm.
///
/// A holder must stop when the lock is lost, which is before anyone else can
/// get it, whatever the network does. [`check`](Self::check) and
/// [`remaining`](Self::remaining) read the clock themselves and are right
/// always; [`lost`](Self::lost) and the tokens tell it as soon as the session's
/// task runs, so keep its runtime free of blocking work. What no lock can
/// prevent is a pause between a check and its effect. Give the resource the
/// [`fencing_token`](Self::fencing_token) for that.
#[derive(Debug)]
#[must_use = "dropping a guard releases its lock at once"]
pub struct Guard {
    token: FencingToken,
    znode: Arc<str>,
    hold: Arc<Hold>,
    ticket: Ticket,
}

impl Guard {
    pub(super) fn new(grant: Grant, ticket: Ticket) -> Self {
        let Grant { token, znode, hold } = grant;
        Self {
            token,
            znode,
            hold,
            ticket,
        }
    }

    /// The number by which a resource tells this grant from earlier ones.
    #[must_use]
    pub const fn fencing_token(&self) -> FencingToken {
        self.token
    }

    /// The claim, from the server's root.
    #[must_use]
    pub fn znode(&self) -> &str {
        &self.znode
    }

    /// Whether the lock is held now. Reads the clock itself, so that it is
    /// right even in a process that was stopped meanwhile.
    ///
    /// # Errors
    ///
    /// Why the lock is lost. Once lost it stays so.
    pub fn check(&self) -> Result<(), LostReason> {
        self.remaining().map(|_| ())
    }

    /// How long the lock is held for sure, should nothing more be heard of the
    /// servers. In a healthy session this is renewed all the time, and between
    /// a quarter and 19/20 of the session timeout, unless the session has only
    /// pings for evidence, or what is left of the lock's TTL is less.
    ///
    /// # Errors
    ///
    /// Why the lock is lost. Once lost it stays so.
    pub fn remaining(&self) -> Result<Duration, LostReason> {
        let ticket = &self.ticket;
        self.hold.remaining(ticket.clock(), || ticket.leave())
    }

    /// Why the lock is lost, if it is. Unlike [`check`](Self::check) this reads
    /// no clock.
    #[must_use]
    pub fn lost_reason(&self) -> Option<LostReason> {
        self.hold.reason()
    }

    /// Waits until the lock is lost, and says why; at once if it is lost already.
    /// Can be awaited any number of times.
    ///
    /// # Cancel safety
    ///
    /// Dropping the future changes nothing.
    pub async fn lost(&self) -> LostReason {
        self.hold.lost().cancelled().await;
        self.hold.reason().unwrap_or(LostReason::Closed)
    }

    /// A token that is cancelled when the lock is lost or released, to hand
    /// down to work that must stop then. Each call gives a child of the
    /// guard's own: cancelling it stops no one else.
    #[must_use]
    pub fn cancellation_token(&self) -> CancellationToken {
        self.hold.lost().child_token()
    }

    /// Releases the lock and waits until its claim is gone from the queue, or
    /// its session is over or closed, which takes the claim with it, at the
    /// latest when its timeout has passed. Releasing a lock that was lost
    /// succeeds too: what matters is that no claim is left.
    ///
    /// # Errors
    ///
    /// [`ReleaseError::Refused`] if the server refuses to delete the claim. The
    /// session goes on trying.
    ///
    /// # Cancel safety
    ///
    /// The lock is released even if this future is dropped, polled or not.
    pub async fn release(self) -> Result<(), ReleaseError> {
        let (sender, released) = oneshot::channel();
        self.ticket.post(Ask::Release(self.ticket.id, sender));
        // If the task is gone the session is closed, or soon missed by its
        // server, and the claim goes with it.
        released.await.unwrap_or(Ok(()))
    }

    /// Keeps the lock held beyond the guard: until [`Lock::release_owner`], the
    /// end of its TTL or the session's end. For services that lock in one place
    /// and unlock in another; a lock taken without an owner or a TTL is held
    /// until the session ends.
    ///
    /// [`Lock::release_owner`]: crate::Lock::release_owner
    pub fn detach(mut self) {
        self.ticket.detached = true;
    }
}

impl Drop for Guard {
    fn drop(&mut self) {
        if !self.ticket.detached {
            self.hold.lose(LostReason::Released);
        }
    }
}

/// A place in the queue or a lock held: given back when dropped.
#[derive(Debug)]
pub(super) struct Ticket {
    id: AcquisitionId,
    link: Link<LockCommand>,
    detached: bool,
}

impl Ticket {
    pub(super) const fn new(id: AcquisitionId, link: Link<LockCommand>) -> Self {
        Self {
            id,
            link,
            detached: false,
        }
    }

    fn post(&self, ask: Ask) {
        self.link.post(LockCommand(ask));
    }

    pub(super) const fn clock(&self) -> Clock {
        self.link.clock()
    }

    pub(super) fn leave(&self) {
        self.post(Ask::Leave(self.id));
    }
}

impl Drop for Ticket {
    fn drop(&mut self) {
        if !self.detached {
            self.leave();
        }
    }
}
