//! Looking at the queue: the listing, and where the claim stands in it.

use std::sync::Arc;
use std::time::Duration;

use super::facts::{Claim, Look, Ranking, SyncState, Watch, Watched};
use super::{ClaimMachine, Context, Phase};
use crate::lock::acquisition::Op;
use crate::lock::effects::LongListing;
use crate::lock::error::AcquireError;
use crate::lock::queue::{self, Czxids, Place, Standing};
use crate::proto::{Children, ErrorCode, Reply, Request};
use crate::session::Outcome;

/// For so long no other listing is tried after one that was too long.
const UNLISTABLE_FOR: Duration = Duration::from_secs(60);

impl ClaimMachine {
    pub(super) fn ask_for_listing(&mut self, sync: bool, cx: &mut Context<'_>) {
        let in_vain = self.unlistable.is_some_and(|until| cx.now < until);
        if in_vain || matches!(self.look, Look::Asked { .. }) {
            return;
        }
        let serial = self.next_serial();
        let path: Arc<str> = self.request.lock.path.clone().into();
        if sync {
            self.ask(
                Op::Sync(serial),
                Request::Sync {
                    path: Arc::clone(&path),
                },
                cx,
            );
        }
        let watch = self.watch_parent;
        self.look = Look::Asked {
            serial,
            sync: if sync {
                SyncState::Asked
            } else {
                SyncState::NotAsked
            },
        };
        self.ask(Op::List(serial), Request::GetChildren { path, watch }, cx);
    }

    pub(super) fn synced(&mut self, serial: u32, outcome: &Outcome) {
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

    pub(super) fn listed(&mut self, serial: u32, outcome: Outcome, cx: &mut Context<'_>) {
        if let Outcome::TooLong { length, max } = outcome {
            let until = cx.now + UNLISTABLE_FOR;
            let listing = LongListing { length, max, until };
            let path = self.request.lock.path.clone();
            cx.effects.note_long_listing(path, listing);
            return self.cannot_list(listing, cx);
        }
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
                self.look_at(children, sync, cx);
            }
            Outcome::Server(ErrorCode::NoNode) => self.look_at(Children::default(), sync, cx),
            Outcome::Server(ErrorCode::ThrottledOp) => self.retry_later(cx),
            Outcome::Server(code) if self.phase == Phase::Seeking => {
                self.refused("list the claims", code, cx);
            }
            Outcome::Server(_) => self.retry_later(cx),
            _ => {}
        }
    }

    /// Whoever waits cannot know its place then. A holder does without: its own
    /// watch tells it that its claim is there. Whoever leaves and has to look
    /// for what may be there tries again, but rarely, since each time it costs
    /// the session its connection.
    fn cannot_list(&mut self, listing: LongListing, cx: &mut Context<'_>) {
        let LongListing { length, max, until } = listing;
        self.unlistable = Some(until);
        let path = self.request.lock.path.clone();
        self.fail(AcquireError::QueueTooLong { path, length, max }, cx);
    }

    /// What another acquisition of the session has found out it need not.
    pub(super) fn heed_long_listing(&mut self, cx: &mut Context<'_>) {
        let known = cx.effects.long_listing(&self.request.lock.path, cx.now);
        if let (Look::Needed { .. }, Some(listing)) = (&self.look, known) {
            self.cannot_list(listing, cx);
        }
    }

    /// From its reply on, and not before: an event of an earlier watch, which
    /// some other acquisition set, may have come while this one was in flight.
    fn lock_path_watched(&self, cx: &mut Context<'_>) {
        if self.watch_parent {
            let path = self.request.lock.path.clone().into();
            cx.effects.watch(&path, self.request.id, cx.trace);
        }
    }

    fn look_at(&mut self, children: Children, sync: SyncState, cx: &mut Context<'_>) {
        self.resolve_doubts(&children, sync, cx);
        let Some(claim) = &self.claim else { return };
        match queue::standing(&children, claim.name(), claim.number) {
            Standing::Missing => self.claim_missed(cx),
            // A holder only has to be there.
            _ if self.phase == Phase::Held => self.stand(Place::default(), cx),
            Standing::Unclear(names) => self.rank(children, names, cx),
            Standing::Place(place) => self.stand(place, cx),
        }
    }

    /// Asks each of these claims when it was created. One whose name is no
    /// text cannot be asked, and counts as the oldest. The own claim comes last:
    /// what is ahead is known by then, and it must be there still.
    fn rank(&mut self, children: Children, mut names: Vec<Box<[u8]>>, cx: &mut Context<'_>) {
        let own = self.claim.as_ref().map(Claim::name).unwrap_or_default();
        names.sort_by_key(|name| **name == *own);
        let serial = self.next_serial();
        let mut czxids = Czxids::new();
        let mut open = 0;
        for (index, name) in names.iter().enumerate() {
            let Ok(name) = std::str::from_utf8(name) else {
                czxids.insert(name.clone(), i64::MIN);
                continue;
            };
            open += 1;
            let path = self.request.lock.below(name);
            let exists = Request::Exists { path, watch: false };
            self.ask(Op::Rank(serial, index), exists, cx);
        }
        self.look = Look::Ranking(Box::new(Ranking {
            serial,
            children,
            names,
            open,
            czxids,
            outdated: false,
        }));
    }

    pub(super) fn ranked(
        &mut self,
        serial: u32,
        index: usize,
        outcome: Outcome,
        cx: &mut Context<'_>,
    ) {
        let Look::Ranking(ranking) = &mut self.look else {
            return;
        };
        if ranking.serial != serial {
            return;
        }
        ranking.open = ranking.open.saturating_sub(1);
        match outcome {
            Outcome::Ok {
                reply: Reply::Exists { stat },
                ..
            } => {
                let name = ranking.names.get(index).cloned().unwrap_or_default();
                ranking.czxids.insert(name, stat.czxid);
            }
            Outcome::Server(ErrorCode::NoNode) => {}
            Outcome::Server(ErrorCode::ThrottledOp) => {
                self.look = Look::Needed { sync: false };
                return self.retry_later(cx);
            }
            Outcome::Server(code) => return self.refused("read a claim", code, cx),
            _ => return self.look = Look::Needed { sync: true },
        }
        if ranking.open == 0 {
            self.rank_all(cx);
        }
    }

    fn rank_all(&mut self, cx: &mut Context<'_>) {
        let look = std::mem::replace(&mut self.look, Look::Needed { sync: false });
        let (Look::Ranking(ranking), Some(claim)) = (look, &self.claim) else {
            return;
        };
        let Ranking {
            children,
            czxids,
            outdated,
            ..
        } = *ranking;
        match queue::standing_by_creation(&children, claim.name(), claim.number, &czxids) {
            Standing::Place(place) => self.stand(place, cx),
            _ => self.claim_missed(cx),
        }
        if outdated && self.ahead.len() > 0 {
            self.look_again();
        }
    }

    /// Takes its place behind these. What was watched and is still ahead is
    /// still watched.
    fn stand(&mut self, place: Place, cx: &mut Context<'_>) {
        self.look = Look::Known;
        self.recheck_at = None;
        let mut before = std::mem::take(&mut self.ahead).watched;
        self.ahead.further = place.further;
        self.ahead.shrinks = place.shrinks;
        for name in &place.nearest {
            let Ok(name) = std::str::from_utf8(name) else {
                // No request can name it.
                self.ahead.further += 1;
                continue;
            };
            let path = self.request.lock.below(name);
            let known = before.iter().position(|other| other.path == path);
            let watched = known.map(|index| before.swap_remove(index));
            let watch = Watch::Unset;
            self.ahead
                .watched
                .push(watched.unwrap_or(Watched { path, watch }));
        }
        let head = place.head.as_deref().map(std::str::from_utf8);
        let head = head
            .and_then(Result::ok)
            .map(|name| self.request.lock.below(name));
        self.watch_over(head, place.head_tied, cx);
        let nameable = place
            .nearest
            .first()
            .is_none_or(|name| std::str::from_utf8(name).is_ok());
        if !nameable && !self.watch_parent {
            self.watch_lock_path();
        }
        let predecessor = self.ahead.watched.first().map(|first| first.watch);
        if predecessor == Some(Watch::Armed) || self.watch_parent {
            self.recheck_later(cx);
        }
    }

    /// For a predecessor that cannot be watched: from the next listing on.
    pub(super) fn watch_lock_path(&mut self) {
        self.watch_parent = true;
        // A listing in flight brings no watch.
        self.look = Look::Needed { sync: false };
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
        let suspect = |counter| suspects.contains(&counter) && !self.knows(counter);
        let mut found: Vec<Claim> = queue::of_session(children, live.session_id, suspect)
            .filter_map(|(counter, name)| {
                let path = self.request.lock.below(std::str::from_utf8(name).ok()?);
                self.claim_at(counter, path, None, cx)
            })
            .collect();
        // The first to be created is the first in the queue.
        found.sort_by_key(|claim| claim.counter);
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
}
