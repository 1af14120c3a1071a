//! What an acquisition's watches tell it, once set and once fired.

use std::sync::Arc;

use super::facts::{Claim, Look, Watch};
use super::{ClaimMachine, Context};
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
            self.refused("read a claim", code, cx);
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
        let claim = self.claim.clone();
        self.claim_gone(cx);
        self.doomed.extend(claim.map(Claim::doomed));
    }

    pub(super) fn ahead_watched(&mut self, serial: u32, outcome: &Outcome, cx: &mut Context<'_>) {
        let Some(index) = self.ahead.asked(serial) else {
            return;
        };
        let Some(ahead) = self.ahead.watched.get_mut(index) else {
            return;
        };
        ahead.watch = Watch::Unset;
        let throttled = matches!(outcome, Outcome::Server(ErrorCode::ThrottledOp));
        if matches!(outcome, Outcome::Server(_)) && !throttled {
            cx.effects.unwatch(&ahead.path, self.request.id, cx.trace);
        }
        match outcome {
            Outcome::Ok { .. } => {
                ahead.watch = Watch::Armed;
                if index == 0 {
                    self.recheck_later(cx);
                }
            }
            Outcome::Server(ErrorCode::NoNode) => self.look_again(),
            Outcome::Server(ErrorCode::ThrottledOp) => self.retry_later(cx),
            // It is no more than a convenience.
            Outcome::Server(_) if index > 0 => {
                self.ahead.watched.truncate(index);
                self.ahead.further = self.ahead.further.saturating_add(1);
            }
            Outcome::Server(ErrorCode::NoAuth) => self.watch_lock_path(),
            Outcome::Server(_) => self.retry_later(cx),
            _ => {}
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
        if let Some(index) = self.ahead.position(path) {
            self.ahead_changed(index, kind, cx);
        } else if self.watch_parent && *self.request.lock.path.as_str() == *path {
            self.lock_path_changed();
        }
    }

    /// Unlike a claim ahead it is watched by listings only, so that a listing
    /// from before the change is not as good as a new one.
    fn lock_path_changed(&mut self) {
        match &mut self.look {
            Look::Ranking(ranking) => ranking.outdated = true,
            _ => self.look_again(),
        }
    }

    /// What is ahead can only become less. If all of it is watched, and the own
    /// claim is there, since its watch says nothing, then the end of one leaves
    /// the others; the end of the last is the grant. Else look again.
    fn ahead_changed(&mut self, index: usize, kind: EventType, cx: &mut Context<'_>) {
        let all_watched = self.ahead.shrinks && self.ahead.further == 0;
        let deleted = kind == EventType::NodeDeleted;
        if deleted && all_watched && self.own_watch == Watch::Armed && self.look == Look::Known {
            self.ahead.watched.remove(index);
            self.recheck_at = None;
            self.moved_up(cx);
        } else {
            if let Some(ahead) = self.ahead.watched.get_mut(index) {
                ahead.watch = Watch::Unset;
            }
            self.look_again();
        }
    }

    /// A place ahead became free, and the others are as they were.
    fn moved_up(&mut self, cx: &mut Context<'_>) {
        let head = self.ahead.watched.last();
        let head = head.map(|head| Arc::clone(&head.path));
        self.watch_over(head, false, cx);
        if !self.ahead.watched.is_empty() {
            self.recheck_later(cx);
        }
    }
}
