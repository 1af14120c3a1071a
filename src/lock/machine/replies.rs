//! What replies tell an acquisition; those to its listings and its watches
//! stand beside this.

use std::sync::Arc;

use super::facts::{Claim, Doomed, Watch};
use super::{ClaimMachine, Context, Phase};
use crate::lock::acquisition::{Notice, Op};
use crate::lock::claim::{ClaimId, sequence_number};
use crate::lock::error::{AcquireError, ReleaseError};
use crate::proto::{ErrorCode, Reply};
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
            Op::Rank(serial, index) => self.ranked(serial, index, outcome, cx),
            Op::WatchAhead(serial) => self.ahead_watched(serial, &outcome, cx),
            Op::ReadHead(serial) => self.head_read(serial, outcome, cx),
            Op::EndHead(serial) => self.head_ended(serial, &outcome, cx),
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
            Outcome::Ok { .. } | Outcome::MaybeSent | Outcome::TooLong { .. } => {
                self.doubt(counter);
            }
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
    pub(super) fn claim_at(
        &self,
        counter: u64,
        path: Arc<str>,
        czxid: Option<i64>,
        cx: &Context<'_>,
    ) -> Option<Claim> {
        let name = self.request.lock.name_of(&path)?;
        let name_at = path.len() - name.len();
        let id = ClaimId::parse(name.as_bytes())?;
        let number = sequence_number(name.as_bytes())?;
        let session_id = cx.live?.session_id;
        let asked_for = ClaimId {
            session_id,
            counter,
        };
        (id == asked_for).then_some(Claim {
            counter,
            path,
            name_at,
            number,
            czxid,
        })
    }

    /// Takes a claim as its own, or for deletion if it is not wanted any more.
    pub(super) fn own(&mut self, claim: Claim) {
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

    /// The server does not let it have its way, and says why.
    pub(super) fn refused(
        &mut self,
        operation: &'static str,
        code: ErrorCode,
        cx: &mut Context<'_>,
    ) {
        let path = self.request.lock.path.clone();
        self.fail(
            AcquireError::Refused {
                operation,
                path,
                code,
            },
            cx,
        );
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
            (code, _) => return self.refused("create a claim", code, cx),
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
            Outcome::NotSent | Outcome::MaybeSent | Outcome::TooLong { .. } => {
                self.ask_anew(index);
            }
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
