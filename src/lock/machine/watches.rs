//! What an acquisition's watches tell it, once set and once fired.

use super::facts::{Look, Watch};
use super::{ClaimMachine, Context};
use crate::lock::error::AcquireError;
use crate::proto::{ErrorCode, EventType, Reply, Stat};
use crate::session::Outcome;

impl ClaimMachine {
    pub(super) fn own_watched(&mut self, serial: u32, outcome: Outcome, cx: &mut Context<'_>) {
        if self.own_watch != Watch::Asked(serial) {
            return;
        }
        match outcome {
            Outcome::Ok {
                reply: Reply::Exists { stat },
                ..
            } => self.own_seen(&stat, cx),
            Outcome::Server(ErrorCode::NoNode) => self.claim_gone(cx),
            Outcome::Server(ErrorCode::ThrottledOp) => {
                self.own_watch = Watch::Unset;
                self.retry_later(cx);
            }
            Outcome::Server(code) => self.own_watch_refused(code, cx),
            _ => self.own_watch = Watch::Unset,
        }
    }

    /// A claim that was created here is known without it. One that was found in
    /// a listing is not: it would wait for its token for ever.
    fn own_watch_refused(&mut self, code: ErrorCode, cx: &mut Context<'_>) {
        self.own_watch = Watch::Refused;
        if self
            .claim
            .as_ref()
            .is_some_and(|claim| claim.czxid.is_none())
        {
            let path = self.request.lock.path.clone();
            let operation = "read a claim";
            self.fail(
                AcquireError::Refused {
                    operation,
                    path,
                    code,
                },
                cx,
            );
        }
    }

    /// A znode of the right name is ours only if the present session owns it.
    fn own_seen(&mut self, stat: &Stat, cx: &mut Context<'_>) {
        let owned = cx
            .live
            .is_some_and(|live| live.session_id == stat.ephemeral_owner);
        match &mut self.claim {
            Some(claim) if owned && claim.czxid.is_none_or(|czxid| czxid == stat.czxid) => {
                claim.czxid = Some(stat.czxid);
                self.own_watch = Watch::Armed;
            }
            _ if owned => self.claim_missed(cx),
            _ => self.claim_gone(cx),
        }
    }

    /// The claim is not as it must be, or was not seen where it must be. It is
    /// given up, and deleted should it be there after all.
    pub(super) fn claim_missed(&mut self, cx: &mut Context<'_>) {
        if let Some(claim) = self.claim.take() {
            self.doomed.push(claim.doomed());
        }
        self.claim_gone(cx);
    }

    pub(super) fn predecessor_watched(
        &mut self,
        serial: u32,
        outcome: &Outcome,
        cx: &mut Context<'_>,
    ) {
        let Some(predecessor) = &mut self.predecessor else {
            return;
        };
        if predecessor.watch != Watch::Asked(serial) {
            return;
        }
        match outcome {
            Outcome::Ok { .. } => {
                predecessor.watch = Watch::Armed;
                self.recheck_later(cx);
            }
            Outcome::Server(ErrorCode::NoNode) => {
                cx.effects.unwatch(&predecessor.path, self.request.id);
                self.look_again();
            }
            Outcome::Server(ErrorCode::NoAuth) => {
                self.watch_parent = true;
                // A listing in flight brings no watch.
                self.look = Look::Needed { sync: false };
            }
            Outcome::Server(_) => {
                predecessor.watch = Watch::Unset;
                self.retry_later(cx);
            }
            _ => predecessor.watch = Watch::Unset,
        }
    }

    /// At every tenth heartbeat.
    pub(super) fn recheck_later(&mut self, cx: &Context<'_>) {
        self.recheck_at = cx.live.map(|live| cx.now + live.timeout * 10 / 6);
    }

    /// A listing in flight is as good as a new one: the watch that is set after
    /// it finds out if it was too old.
    pub(super) fn look_again(&mut self) {
        if self.look == Look::Known {
            self.look = Look::Needed { sync: false };
            self.recheck_at = None;
        }
    }

    /// A watch has fired, and is used up by that.
    pub(super) fn event(&mut self, kind: EventType, path: &str, cx: &mut Context<'_>) {
        if self
            .claim
            .as_ref()
            .is_some_and(|claim| *claim.path == *path)
        {
            return match kind {
                EventType::NodeDeleted => self.claim_gone(cx),
                _ => self.own_watch = Watch::Unset,
            };
        }
        let Some(predecessor) = &self.predecessor else {
            return;
        };
        if *predecessor.path == *path {
            self.predecessor_changed(kind);
        } else if self.watch_parent && *self.request.lock.path.as_str() == *path {
            self.look_again();
        }
    }

    /// The last claim ahead has gone, and ours is there, since its watch says
    /// nothing: then nothing is ahead. Else look again.
    fn predecessor_changed(&mut self, kind: EventType) {
        let last = self
            .predecessor
            .as_ref()
            .is_some_and(|predecessor| predecessor.last);
        let deleted = kind == EventType::NodeDeleted;
        if deleted && last && self.own_watch == Watch::Armed && self.look == Look::Known {
            self.predecessor = None;
            self.recheck_at = None;
        } else {
            self.look_again();
        }
    }
}
