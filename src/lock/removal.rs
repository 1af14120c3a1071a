//! The removal of a claim by someone else than its maker: an operator, for a
//! holder that neither goes on nor leaves.
//!
//! The claim is looked at first. One of the same name that was created by
//! another transaction is another claim, and stays. A connection that breaks
//! means starting over: what the first attempt has deleted is gone then.

use std::collections::BTreeMap;
use std::sync::Arc;

use super::acquisition::{LockSpec, Notice, Token};
use super::effects::{Effects, LiveSession};
use super::error::QueueError;
use super::token::FencingToken;
use crate::proto::{ErrorCode, Reply, Request};
use crate::session::{Outcome, Timestamp};

/// Names a removal among those of a session.
#[derive(Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash, Debug)]
pub struct RemovalId(pub u64);

/// A request for the removal of a claim.
#[derive(Clone, Debug, PartialEq, Eq, Hash)]
pub struct RemovalRequest {
    /// Its name; every removal has another one.
    pub id: RemovalId,
    /// The lock in whose queue the claim is.
    pub lock: Arc<LockSpec>,
    /// The claim's name, below the lock path.
    pub name: Arc<str>,
    /// The claim's token.
    pub token: FencingToken,
    /// When to give up.
    pub deadline: Timestamp,
}

/// Which request of a removal a reply belongs to.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub struct RemovalStep {
    /// Which removal.
    pub id: RemovalId,
    /// How often it has begun.
    pub attempt: u32,
    /// What was asked.
    pub op: RemovalOp,
}

/// What a removal asks.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
#[non_exhaustive]
pub enum RemovalOp {
    /// When the claim was created.
    Look,
    /// For its deletion.
    Delete,
}

/// The removals under way.
#[derive(Clone, Debug, Default)]
pub(super) struct Removals(BTreeMap<RemovalId, Removal>);

/// One removal.
#[derive(Clone, Debug)]
struct Removal {
    request: RemovalRequest,
    attempt: u32,
    retry_at: Option<Timestamp>,
}

impl Removals {
    pub(super) fn begin(
        &mut self,
        request: RemovalRequest,
        live: Option<LiveSession>,
        effects: &mut Effects,
    ) {
        let removal = self.0.entry(request.id).or_insert(Removal {
            request,
            attempt: 0,
            retry_at: None,
        });
        if live.is_some() {
            removal.start(effects);
        }
    }

    /// There is a new connection.
    pub(super) fn start_over(&mut self, effects: &mut Effects) {
        for removal in self.0.values_mut() {
            removal.start(effects);
        }
    }

    /// There is nothing to do before there is one.
    pub(super) fn disconnected(&mut self) {
        for removal in self.0.values_mut() {
            removal.retry_at = None;
        }
    }

    pub(super) fn close(&mut self, effects: &mut Effects) {
        for id in std::mem::take(&mut self.0).into_keys() {
            let result = Err(QueueError::Closed);
            effects.notify(Notice::Removed { id, result });
        }
    }

    pub(super) fn completed(
        &mut self,
        RemovalStep { id, attempt, op }: RemovalStep,
        outcome: Outcome,
        live: Option<LiveSession>,
        now: Timestamp,
        effects: &mut Effects,
    ) {
        let Some(removal) = self.0.get_mut(&id).filter(|it| it.attempt == attempt) else {
            return;
        };
        let result = match (op, outcome) {
            (RemovalOp::Look, Outcome::Ok { reply, .. }) if removal.is_claim(&reply) => {
                return removal.ask(RemovalOp::Delete, effects);
            }
            (RemovalOp::Look, Outcome::Ok { .. }) => Ok(false),
            (RemovalOp::Delete, Outcome::Ok { .. }) => Ok(true),
            (_, Outcome::Server(ErrorCode::NoNode)) => Ok(false),
            (_, Outcome::Server(ErrorCode::ThrottledOp)) => {
                removal.retry_at = live.map(|live| now + live.timeout / 6);
                return;
            }
            (_, Outcome::Server(code)) => Err(removal.refused(op, code)),
            // A new connection will begin anew.
            _ => return,
        };
        self.0.remove(&id);
        effects.notify(Notice::Removed { id, result });
    }

    pub(super) fn keep_time(
        &mut self,
        live: Option<LiveSession>,
        now: Timestamp,
        effects: &mut Effects,
    ) {
        self.0.retain(|id, removal| {
            let in_time = now < removal.request.deadline;
            if !in_time {
                let (id, result) = (*id, Err(QueueError::TimedOut));
                effects.notify(Notice::Removed { id, result });
            } else if live.is_some() && removal.retry_at.is_some_and(|at| at <= now) {
                removal.start(effects);
            }
            in_time
        });
    }

    pub(super) fn deadline(&self) -> Option<Timestamp> {
        let times = |removal: &Removal| [Some(removal.request.deadline), removal.retry_at];
        let times = self.0.values().flat_map(times).flatten();
        times.filter(|at| *at != Timestamp::MAX).min()
    }
}

impl Removal {
    fn start(&mut self, effects: &mut Effects) {
        self.attempt = self.attempt.wrapping_add(1);
        self.retry_at = None;
        self.ask(RemovalOp::Look, effects);
    }

    fn ask(&self, op: RemovalOp, effects: &mut Effects) {
        let path = self.request.lock.below(&self.request.name);
        let request = match op {
            RemovalOp::Look => Request::Exists { path, watch: false },
            RemovalOp::Delete => Request::Delete { path, version: -1 },
        };
        let step = RemovalStep {
            id: self.request.id,
            attempt: self.attempt,
            op,
        };
        effects.requests.push_back((Token::Removal(step), request));
    }

    fn is_claim(&self, reply: &Reply) -> bool {
        let Reply::Exists { stat } = reply else {
            return false;
        };
        FencingToken::new(stat.czxid as u64) == self.request.token
    }

    fn refused(&self, op: RemovalOp, code: ErrorCode) -> QueueError {
        match op {
            RemovalOp::Look => QueueError::Unreadable {
                znode: self.request.lock.below(&self.request.name),
                code,
            },
            RemovalOp::Delete => QueueError::Refused {
                operation: "delete a claim",
                path: self.request.lock.path.clone(),
                code,
            },
        }
    }
}
