//! What an acquisition asks for next, given what it wants and what it knows.

use std::sync::Arc;

use bytes::Bytes;

use super::facts::{Look, Watch};
use super::{ClaimMachine, Context, Phase};
use crate::lock::acquisition::{Notice, Op};
use crate::lock::claim::ClaimId;
use crate::lock::effects::LiveSession;
use crate::lock::error::AcquireError;
use crate::lock::token::FencingToken;
use crate::proto::{CreateMode, Request};

impl ClaimMachine {
    /// Asks for whatever is missing between what is wanted and what is known.
    pub(super) fn advance(&mut self, cx: &mut Context<'_>) {
        let Some(live) = cx.live else {
            return self.finish(cx);
        };
        if self.look == Look::Known && self.ahead.len() == 0 {
            self.grant(cx);
        }
        if self.creating.is_some() || self.retry_at.is_some() {
            return;
        }
        self.heed_long_listing(cx);
        if !self.doubtful.is_empty() {
            self.delete_doomed(cx);
            return self.ask_for_listing(true, cx);
        }
        match self.phase {
            Phase::Seeking | Phase::Held => self.pursue(live, cx),
            Phase::Leaving => self.clear_away(cx),
            Phase::Gone => {}
        }
    }

    fn pursue(&mut self, live: LiveSession, cx: &mut Context<'_>) {
        self.delete_doomed(cx);
        let Some(claim) = &self.claim else {
            return self.enqueue(live, cx);
        };
        let path = Arc::clone(&claim.path);
        match self.look {
            Look::Needed { .. } if self.phase == Phase::Held && self.unlistable.is_some() => {}
            Look::Needed { sync } => self.ask_for_listing(sync, cx),
            _ => {}
        }
        // Ahead of the predecessor's watch: what the grant without a round
        // trip rests on.
        if self.own_watch == Watch::Unset {
            let serial = self.next_serial();
            self.own_watch = Watch::Asked(serial);
            cx.effects.watch(&path, self.request.id, cx.trace);
            self.ask(
                Op::WatchOwn(serial),
                Request::Exists { path, watch: true },
                cx,
            );
        }
        if self.look == Look::Known && self.ahead.len() > 0 {
            self.take_place(cx);
        }
    }

    fn take_place(&mut self, cx: &mut Context<'_>) {
        if !self.request.waits {
            self.fail(AcquireError::WouldBlock, cx);
            self.clear_away(cx);
        } else if !self.watch_parent {
            self.watch_ahead(cx);
        }
    }

    /// Held only if the claim was made in the present session, was seen to be
    /// there with nothing ahead, and the session can be relied on right now.
    /// With a stale lease the next evidence leads here again.
    fn grant(&mut self, cx: &mut Context<'_>) {
        let Some(claim) = self.claim.as_ref().filter(|_| self.phase == Phase::Seeking) else {
            return;
        };
        let Some(czxid) = claim.czxid.filter(|_| cx.lease_holds()) else {
            return;
        };
        let (late, ttl) = (self.counts_from < cx.now, self.request.metadata.ttl);
        let until = ttl.map(|ttl| cx.now.min(self.counts_from) + ttl);
        if late && until.is_some_and(|until| until <= cx.now) {
            // Those behind may be about to remove it.
            return self.claim_missed(cx);
        }
        cx.effects.notify(Notice::Granted {
            id: self.request.id,
            token: FencingToken::new(czxid as u64),
            znode: Arc::clone(&claim.path),
            until,
        });
        self.phase = Phase::Held;
        self.term = until;
        // Who comes and goes is no concern of a holder's.
        self.watch_parent = false;
    }

    /// That someone is ahead, by the last that was heard, is as new as what the
    /// lease rests on: that was heard before.
    pub(super) fn note_place(&mut self, cx: &Context<'_>) {
        let watched = self.ahead.watched.iter();
        let armed = watched
            .map(|ahead| ahead.watch)
            .any(|watch| watch == Watch::Armed);
        let by_lock_path = self.watch_parent && self.look == Look::Known;
        if armed || by_lock_path && self.ahead.len() > 0 {
            self.counts_from = self.counts_from.max(cx.lease.unwrap_or_default());
        }
    }

    /// Joins the queue. The listing is in the same write: the server answers a
    /// session's requests in order, so that it shows the new claim.
    fn enqueue(&mut self, live: LiveSession, cx: &mut Context<'_>) {
        self.parent_failure = None;
        if std::mem::take(&mut self.parents_missing) {
            self.make_parents(cx);
        }
        let counter = cx.effects.claim_counter(cx.trace);
        self.creating = Some(counter);
        self.counts_from = cx.now + live.timeout * 19 / 20;
        let id = ClaimId {
            session_id: live.session_id,
            counter,
        };
        let lock = &self.request.lock;
        let text = cx.effects.scratch();
        lock.push_parent(text);
        id.push_prefix(lock.dialect, text);
        let path = text.as_str().into();
        let text = cx.effects.scratch();
        self.request.metadata.push(live.timeout, text);
        let data = Some(Bytes::copy_from_slice(text.as_bytes()));
        let create = Request::Create {
            path,
            data,
            acl: Arc::clone(&self.request.lock.acl),
            mode: CreateMode::EphemeralSequential,
        };
        self.ask(Op::Create(counter), create, cx);
        self.ask_for_listing(false, cx);
    }

    /// Creates every znode above the claims, in one go: those that are there
    /// answer NodeExists, which is as good.
    fn make_parents(&mut self, cx: &mut Context<'_>) {
        let lock = Arc::clone(&self.request.lock);
        for (level, path) in lock.path.ancestors_from_root().enumerate() {
            let create = Request::Create {
                path: path.into(),
                data: None,
                acl: Arc::clone(&lock.parent_acl),
                mode: CreateMode::Persistent,
            };
            self.ask(Op::CreateParent(level), create, cx);
        }
    }

    /// By `getChildren`, since a claim has none: it fires only when the claim
    /// goes, it brings no data, every server checks READ for it, and on a claim
    /// that has just gone it leaves no watch behind.
    fn watch_ahead(&mut self, cx: &mut Context<'_>) {
        for index in 0..self.ahead.watched.len() {
            let serial = self.next_serial();
            let Some(ahead) = self.ahead.watched.get_mut(index) else {
                continue;
            };
            if ahead.watch != Watch::Unset {
                continue;
            }
            ahead.watch = Watch::Asked(serial);
            let path = Arc::clone(&ahead.path);
            cx.effects.watch(&path, self.request.id, cx.trace);
            let request = Request::GetChildren { path, watch: true };
            self.ask(Op::WatchAhead(serial), request, cx);
        }
    }

    /// Deletes what is left of this acquisition, until nothing is.
    fn clear_away(&mut self, cx: &mut Context<'_>) {
        self.delete_doomed(cx);
        if !self.doomed.is_empty() {
            return;
        }
        self.tell_left(cx);
        if self.suspects.is_empty() {
            self.finish(cx);
        } else {
            // A create whose reply was lost may show up late: one more look.
            self.doubtful = std::mem::take(&mut self.suspects);
            self.look = Look::Needed { sync: true };
            self.ask_for_listing(true, cx);
        }
    }

    fn delete_doomed(&mut self, cx: &mut Context<'_>) {
        for index in 0..self.doomed.len() {
            let Some(doomed) = self.doomed.get_mut(index).filter(|doomed| !doomed.asked) else {
                continue;
            };
            doomed.asked = true;
            let (counter, path) = (doomed.counter, Arc::clone(&doomed.path));
            self.ask(
                Op::Delete(counter),
                Request::Delete { path, version: -1 },
                cx,
            );
        }
    }

    /// Done, if nothing of it can be left on the server.
    fn finish(&mut self, cx: &mut Context<'_>) {
        let traceless = self.doomed.is_empty()
            && self.creating.is_none()
            && self.doubtful.is_empty()
            && self.suspects.is_empty();
        if self.phase == Phase::Leaving && traceless {
            self.tell_left(cx);
            self.phase = Phase::Gone;
        }
    }

    fn tell_left(&mut self, cx: &mut Context<'_>) {
        if !std::mem::replace(&mut self.told_left, true) {
            cx.effects.notify(Notice::Left {
                id: self.request.id,
                result: Ok(()),
            });
        }
    }

    pub(super) fn ask(&self, op: Op, request: Request, cx: &mut Context<'_>) {
        cx.effects.request(self.request.id, op, request);
    }

    pub(super) fn next_serial(&mut self) -> u32 {
        self.serial = self.serial.wrapping_add(1);
        self.serial
    }
}
