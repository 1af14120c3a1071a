//! What replies tell an acquisition; those to its watches stand beside this.

use std::sync::Arc;

use super::facts::{Claim, Doomed, Look, Predecessor, SyncState, Watch};
use super::{ClaimMachine, Context, Phase};
use crate::lock::acquisition::{Notice, Op};
use crate::lock::claim::{ClaimId, sequence_number};
use crate::lock::error::{AcquireError, ReleaseError};
use crate::lock::queue;
use crate::proto::{Children, ErrorCode, Reply};
use crate::session::Outcome;

impl ClaimMachine {
    /// Takes what became of one of its requests.
    pub(in crate::lock) fn completed(&mut self, op: Op, outcome: Outcome, cx: &mut Context<'_>) {
        match op {
            Op::Create(counter) => self.created(counter, outcome, cx),
            Op::CreateParent(level) => self.parent_created(level, &outcome, cx),
            Op::Sync(serial) => self.synced(serial, &outcome),
            Op::List(serial) => self.listed(serial, outcome, cx),
            Op::WatchOwn(serial) => self.own_watched(serial, outcome, cx),
            Op::WatchPredecessor(serial) => self.predecessor_watched(serial, &outcome, cx),
            Op::Delete(counter) => self.deleted(counter, outcome, cx),
        }
        self.settle(cx);
    }

    fn created(&mut self, counter: u64, outcome: Outcome, cx: &mut Context<'_>) {
        if self.creating != Some(counter) {
            return;
        }
        self.creating = None;
        match outcome {
            Outcome::Ok {
                zxid,
                reply: Reply::Create { path },
            } => {
                match self.claim_at(counter, path, Some(zxid), cx) {
                    Some(claim) => self.own(claim),
                    // Not the name that was asked for: another create's reply.
                    None => self.doubt(counter),
                }
            }
            Outcome::Ok { .. } | Outcome::MaybeSent => self.doubt(counter),
            Outcome::Server(code) => {
                if !code.is_refusal() {
                    self.doubt(counter);
                }
                self.create_refused(code, cx);
            }
            Outcome::NotSent | Outcome::SessionLost | Outcome::Closed => {}
        }
    }

    /// The claim at `path`, if it has the name that `counter` was given.
    fn claim_at(
        &self,
        counter: u64,
        path: Arc<str>,
        czxid: Option<i64>,
        cx: &Context<'_>,
    ) -> Option<Claim> {
        let name_at = self.below_lock("").len();
        let (parent, name) = path.split_at_checked(name_at)?;
        let id = ClaimId::parse(name.as_bytes())?;
        let number = sequence_number(name.as_bytes())?;
        let session_id = cx.live?.session_id;
        let asked_for = ClaimId {
            session_id,
            counter,
        };
        (*parent == *self.below_lock("") && id == asked_for).then_some(Claim {
            counter,
            path,
            name_at,
            number,
            czxid,
        })
    }

    /// Takes a claim as its own, or for deletion if it is not wanted any more.
    fn own(&mut self, claim: Claim) {
        let wanted = self.phase == Phase::Seeking && self.claim.is_none();
        if wanted {
            self.claim = Some(claim);
            self.own_watch = Watch::Unset;
        } else {
            self.doomed.push(claim.doomed());
        }
    }

    fn doubt(&mut self, counter: u64) {
        self.doubtful.push(counter);
        self.suspects.push(counter);
    }

    fn create_refused(&mut self, code: ErrorCode, cx: &mut Context<'_>) {
        let path = self.request.lock.path.clone();
        let error = match (code, self.parent_failure.take()) {
            (ErrorCode::NoNode, None) => {
                self.parents_missing = true;
                return;
            }
            (ErrorCode::ThrottledOp, _) => return self.retry_later(cx),
            (ErrorCode::NoNode, Some((path, code))) => AcquireError::MissingParent { path, code },
            (ErrorCode::NodeExists, _) => AcquireError::SequenceExhausted { path },
            (ErrorCode::NoChildrenForEphemerals, _) => AcquireError::EphemeralParent { path },
            (code, _) => AcquireError::Refused {
                operation: "create a claim",
                path,
                code,
            },
        };
        self.fail(error, cx);
    }

    fn parent_created(&mut self, level: usize, outcome: &Outcome, cx: &mut Context<'_>) {
        let Outcome::Server(code) = *outcome else {
            return;
        };
        if code == ErrorCode::ThrottledOp {
            return self.retry_later(cx);
        }
        // The server looks at the ACL first: a parent that may not be created
        // may yet be there. The last refusal is the one that matters, and
        // below it there is only NoNode.
        if matches!(code, ErrorCode::NodeExists | ErrorCode::NoNode) {
            return;
        }
        let path = self.request.lock.path.ancestors_from_root().nth(level);
        self.parent_failure = path.map(|path| (path, code));
    }

    fn synced(&mut self, serial: u32, outcome: &Outcome) {
        if let (
            Look::Asked {
                serial: asked,
                sync,
            },
            Outcome::Ok { .. },
        ) = (&mut self.look, outcome)
        {
            if *asked == serial {
                *sync = SyncState::Done;
            }
        }
    }

    fn listed(&mut self, serial: u32, outcome: Outcome, cx: &mut Context<'_>) {
        let Look::Asked {
            serial: asked,
            sync,
        } = self.look
        else {
            return;
        };
        if asked != serial {
            return;
        }
        self.look = Look::Needed {
            sync: sync != SyncState::NotAsked,
        };
        if sync == SyncState::Asked {
            // The sync failed: what the listing lacks may still be there.
            return self.retry_later(cx);
        }
        match outcome {
            Outcome::Ok {
                reply: Reply::GetChildren { children },
                ..
            } => {
                self.lock_path_watched(cx);
                self.look_at(&children, sync, cx);
            }
            Outcome::Server(ErrorCode::NoNode) => self.look_at(&Children::default(), sync, cx),
            Outcome::Server(ErrorCode::ThrottledOp) => self.retry_later(cx),
            Outcome::Server(code) if self.phase == Phase::Seeking => {
                let path = self.request.lock.path.clone();
                self.fail(
                    AcquireError::Refused {
                        operation: "list the claims",
                        path,
                        code,
                    },
                    cx,
                );
            }
            Outcome::Server(_) => self.retry_later(cx),
            _ => {}
        }
    }

    /// From its reply on, and not before: an event of an earlier watch, which
    /// some other acquisition set, may have come while this one was in flight.
    fn lock_path_watched(&self, cx: &mut Context<'_>) {
        if self.watch_parent {
            let path = self.request.lock.path.clone().into();
            cx.effects.watch(&path, self.request.id);
        }
    }

    fn look_at(&mut self, children: &Children, sync: SyncState, cx: &mut Context<'_>) {
        self.resolve_doubts(children, sync, cx);
        let Some(claim) = &self.claim else { return };
        let Some(place) = queue::place(children, claim.name(), claim.number) else {
            return self.claim_missed(cx);
        };
        if place.unordered && self.phase == Phase::Seeking {
            let path = self.request.lock.path.clone();
            return self.fail(AcquireError::SequenceExhausted { path }, cx);
        }
        self.look = Look::Known;
        self.recheck_at = None;
        self.predecessor = None;
        if let Some(name) = place.predecessor {
            let reused = queue::may_reuse_its_number(&name);
            let last = place.ahead == 1 && place.numbers_hold && !reused;
            self.stand_behind(&name, last);
            if self.watch_parent {
                self.recheck_later(cx);
            }
        }
    }

    fn stand_behind(&mut self, name: &[u8], last: bool) {
        let nameable = std::str::from_utf8(name);
        if nameable.is_err() && !self.watch_parent {
            // No request can name it: watch the lock path instead.
            self.watch_parent = true;
            self.look = Look::Needed { sync: false };
        }
        let path = self.below_lock(nameable.unwrap_or_default());
        let watch = Watch::Unset;
        self.predecessor = Some(Predecessor { path, watch, last });
    }

    /// After a `sync` a listing is final: what it shows of the doubtful creates
    /// is there, the others have not happened. What shows up all the same,
    /// however late, is not wanted twice.
    fn resolve_doubts(&mut self, children: &Children, sync: SyncState, cx: &mut Context<'_>) {
        if sync != SyncState::Done && !self.doubtful.is_empty() {
            return;
        }
        let mut suspects = std::mem::take(&mut self.doubtful);
        suspects.extend(&self.suspects);
        let Some(live) = cx.live.filter(|_| !suspects.is_empty()) else {
            return;
        };
        let mut found: Vec<Claim> = queue::of_session(children, live.session_id)
            .filter(|(counter, _)| suspects.contains(counter) && !self.knows(*counter))
            .filter_map(|(counter, name)| {
                let path = self.below_lock(std::str::from_utf8(name).ok()?);
                self.claim_at(counter, path, None, cx)
            })
            .collect();
        found.sort_by(|a, b| a.number.wrapping_sub(b.number).cmp(&0));
        for claim in found {
            self.own(claim);
        }
    }

    /// Whether the claim with this counter is its own or to be deleted already.
    fn knows(&self, counter: u64) -> bool {
        let own = self.claim.as_ref().map(|claim| claim.counter);
        let mut doomed = self.doomed.iter().map(|doomed| doomed.counter);
        own == Some(counter) || doomed.any(|other| other == counter)
    }

    fn deleted(&mut self, counter: u64, outcome: Outcome, cx: &mut Context<'_>) {
        let Some(index) = self
            .doomed
            .iter()
            .position(|doomed| doomed.counter == counter)
        else {
            return;
        };
        match outcome {
            Outcome::Ok { .. }
            | Outcome::Server(ErrorCode::NoNode)
            | Outcome::SessionLost
            | Outcome::Closed => {
                self.doomed.remove(index);
            }
            Outcome::NotSent | Outcome::MaybeSent => self.ask_anew(index),
            Outcome::Server(code) => {
                self.ask_anew(index);
                self.retry_later(cx);
                self.tell_refused(index, code, cx);
            }
        }
    }

    fn ask_anew(&mut self, index: usize) {
        if let Some(doomed) = self.doomed.get_mut(index) {
            doomed.asked = false;
        }
    }

    fn tell_refused(&mut self, index: usize, code: ErrorCode, cx: &mut Context<'_>) {
        let Some(Doomed { path: znode, .. }) = self.doomed.get(index) else {
            return;
        };
        let leaving = self.phase == Phase::Leaving;
        if code == ErrorCode::ThrottledOp || self.told_refused || !leaving {
            return;
        }
        let (znode, path) = (Arc::clone(znode), self.request.lock.path.clone());
        let result = Err(ReleaseError::Refused { znode, path, code });
        self.told_refused = true;
        cx.effects.notify(Notice::Left {
            id: self.request.id,
            result,
        });
    }

    /// What the server refused is asked again at the heartbeat's pace, never in
    /// a loop.
    pub(super) fn retry_later(&mut self, cx: &mut Context<'_>) {
        self.retry_at = cx.live.map(|live| cx.now + live.timeout / 6);
    }
}
