//! The lock side of a session's task: the claims, and the futures and guards
//! that wait to hear of them.

use std::collections::BTreeMap;
use std::sync::Arc;

use tokio::sync::oneshot;

use super::acquisition::{AcquireRequest, AcquisitionId, Command, LockId, Notice, Token};
use super::claim::{SequenceNumber, sequence_number};
use super::claims::Claims;
use super::contenders::Queue;
use super::error::{AcquireError, QueueError, ReleaseError};
use super::hold::{Hold, LeaseCell};
use super::removal::{RemovalId, RemovalRequest};
use super::survey::{SurveyId, SurveyRequest};
use super::token::FencingToken;
use crate::proto::Request;
use crate::session::{Recipe, RecipeInput, Timestamp};
use crate::trace::event;

/// The recipe that lives on a `Session`: the locks of its users.
#[derive(Debug, Default)]
pub struct Locks {
    claims: Claims,
    lease: LeaseCell,
    waiters: BTreeMap<AcquisitionId, Waiter>,
    surveyors: BTreeMap<SurveyId, oneshot::Sender<Surveyed>>,
    removers: BTreeMap<RemovalId, oneshot::Sender<Removed>>,
}

/// What a lock's handles ask of its session's task.
#[derive(Debug)]
pub struct LockCommand(pub(super) Ask);

/// What is asked for, and where the answer goes.
#[derive(Debug)]
pub(super) enum Ask {
    Acquire(AcquireRequest, oneshot::Sender<Result<Grant, AcquireError>>),
    /// End an acquisition; nobody waits for it.
    Leave(AcquisitionId),
    /// End an acquisition and wait until its claim is gone.
    Release(AcquisitionId, oneshot::Sender<Released>),
    /// End the acquisition by which an owner holds a lock.
    ReleaseOwner(LockId, Arc<str>, oneshot::Sender<Released>),
    /// Say who holds a lock.
    Owner(LockId, oneshot::Sender<Option<Arc<str>>>),
    /// Look at the queue of a lock.
    Survey(SurveyRequest, oneshot::Sender<Surveyed>),
    /// Delete a claim.
    Remove(RemovalRequest, oneshot::Sender<Removed>),
}

pub(super) type Released = Result<(), ReleaseError>;
pub(super) type Surveyed = Result<Queue, QueueError>;
pub(super) type Removed = Result<bool, QueueError>;

/// A lock that was granted.
#[derive(Debug)]
pub(super) struct Grant {
    pub(super) token: FencingToken,
    pub(super) znode: Arc<str>,
    pub(super) hold: Arc<Hold>,
}

/// Who waits to hear of an acquisition.
#[derive(Debug, Default)]
struct Waiter {
    grant: Option<oneshot::Sender<Result<Grant, AcquireError>>>,
    hold: Option<Arc<Hold>>,
    /// Who waits for its end; one, unless the owner is released as well.
    released: Option<oneshot::Sender<Released>>,
    also_released: Vec<oneshot::Sender<Released>>,
    /// The server refuses to delete the claim.
    refused: Option<ReleaseError>,
}

/// Whether it is time to think of what comes after the last number.
fn is_far_along(number: SequenceNumber) -> bool {
    !(0..1 << 30).contains(&number)
}

/// Answers, unless the future that waited was dropped.
fn answer<T>(sender: oneshot::Sender<T>, answer: T) {
    let _ = sender.send(answer);
}

impl Locks {
    fn ask(&mut self, ask: Ask, now: Timestamp) {
        match ask {
            Ask::Acquire(request, grant) => {
                let waiter = Waiter {
                    grant: Some(grant),
                    ..Waiter::default()
                };
                self.waiters.insert(request.id, waiter);
                self.claims.command(Command::Acquire(request), now);
            }
            Ask::Leave(id) => self.claims.command(Command::Leave(id), now),
            Ask::Release(id, released) => self.release(id, released, now),
            Ask::ReleaseOwner(lock, owner, released) => match self.claims.held_by(lock, &owner) {
                Some(id) => self.release(id, released, now),
                None => answer(released, Err(ReleaseError::NotOwner)),
            },
            Ask::Owner(lock, owner) => answer(owner, self.claims.owner(lock)),
            Ask::Survey(request, surveyed) => {
                self.surveyors.insert(request.id, surveyed);
                self.claims.command(Command::Survey(request), now);
            }
            Ask::Remove(request, removed) => {
                self.removers.insert(request.id, removed);
                self.claims.command(Command::Remove(request), now);
            }
        }
    }

    fn release(&mut self, id: AcquisitionId, released: oneshot::Sender<Released>, now: Timestamp) {
        match self.waiters.get_mut(&id) {
            Some(Waiter {
                refused: Some(error),
                ..
            }) => answer(released, Err(error.clone())),
            Some(waiter) => {
                match &mut waiter.released {
                    None => waiter.released = Some(released),
                    Some(_) => waiter.also_released.push(released),
                }
                self.claims.command(Command::Leave(id), now);
            }
            // It has left the queue before.
            None => answer(released, Ok(())),
        }
    }

    /// Tells the users what has come of it. A grant comes after the lease that
    /// it rests on, and a loss before the lease is gone, so that its reason is
    /// the one that the guard reports.
    fn deliver(&mut self) {
        let lease = self.claims.lease();
        if lease.is_some() {
            self.lease.set(lease);
        }
        while let Some(notice) = self.claims.notice() {
            self.tell(notice);
        }
        self.lease.set(lease);
    }

    fn tell(&mut self, notice: Notice) {
        match notice {
            Notice::Granted {
                id,
                token,
                znode,
                until,
            } => {
                event!(info, znode = %znode, token = %token, "lock granted");
                if sequence_number(znode.as_bytes()).is_none_or(is_far_along) {
                    event!(warn, znode = %znode, "half of the lock path's numbers are used up");
                }
                let hold = Arc::new(Hold::new(self.lease.clone(), until));
                self.granted(id, Grant { token, znode, hold });
            }
            Notice::Failed { id, error } => {
                event!(info, error = %error, "lock not acquired");
                let waiter = self.waiters.get_mut(&id);
                if let Some(grant) = waiter.and_then(|waiter| waiter.grant.take()) {
                    answer(grant, Err(error));
                }
                if !self.claims.contains(id) {
                    self.waiters.remove(&id);
                }
            }
            Notice::PlaceLost { .. } => {
                event!(info, "place in the queue lost; queueing anew");
            }
            Notice::Lost { id, reason } => {
                event!(info, reason = %reason, "lock not held any more");
                let waiter = self.waiters.get_mut(&id);
                if let Some(hold) = waiter.and_then(|waiter| waiter.hold.take()) {
                    hold.lose(reason);
                }
            }
            Notice::Left { id, result } => self.left(id, result),
            Notice::Surveyed { id, result } => {
                if let Some(surveyed) = self.surveyors.remove(&id) {
                    answer(surveyed, result);
                }
            }
            Notice::Removed { id, result } => {
                if let Some(removed) = self.removers.remove(&id) {
                    answer(removed, result);
                }
            }
        }
    }

    fn left(&mut self, id: AcquisitionId, result: Released) {
        let Some(waiter) = self.waiters.get_mut(&id) else {
            return;
        };
        let first = waiter.released.take();
        for released in first.into_iter().chain(waiter.also_released.drain(..)) {
            answer(released, result.clone());
        }
        match result {
            Ok(()) => {
                self.waiters.remove(&id);
            }
            Err(error) => {
                event!(warn, error = %error, "claim not deleted");
                waiter.refused = Some(error);
            }
        }
    }

    fn granted(&mut self, id: AcquisitionId, granted: Grant) {
        let Some(waiter) = self.waiters.get_mut(&id) else {
            return;
        };
        waiter.hold = Some(Arc::clone(&granted.hold));
        if let Some(grant) = waiter.grant.take() {
            // If the future is gone, its drop has asked to leave the queue.
            answer(grant, Ok(granted));
        }
    }
}

impl Recipe for Locks {
    type Token = Token;
    type Command = LockCommand;

    fn command(&mut self, LockCommand(ask): LockCommand, now: Timestamp) {
        self.ask(ask, now);
        self.deliver();
    }

    fn handle(&mut self, input: RecipeInput<Token>, now: Timestamp) {
        self.claims.handle(input, now);
        self.deliver();
    }

    fn poll(&mut self) -> Option<(Token, Request)> {
        self.claims.poll()
    }

    fn deadline(&self) -> Option<Timestamp> {
        self.claims.deadline()
    }
}
