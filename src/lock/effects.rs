//! What acquisitions bring about outside themselves, and share.

use std::collections::{BTreeMap, VecDeque};
use std::sync::Arc;
use std::time::Duration;

use super::acquisition::{AcquisitionId, Notice, Op, Token};
use super::counters::CounterSet;
use crate::proto::{Request, ZnodePath};
use crate::session::Timestamp;

/// The session, while it has a connection.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub(super) struct LiveSession {
    pub(super) session_id: i64,
    pub(super) timeout: Duration,
}

/// A listing that is more than a frame takes.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub(super) struct LongListing {
    /// How long it was, and how long it may be, in bytes.
    pub(super) length: usize,
    pub(super) max: usize,
    /// Until when nobody tries again.
    pub(super) until: Timestamp,
}

/// A queue keeps room for so many entries, however few it has.
const KEPT_CAPACITY: usize = 16;

/// What acquisitions bring about outside themselves.
#[derive(Clone, Debug, Default)]
pub(super) struct Effects {
    pub(super) requests: VecDeque<(Token, Request)>,
    pub(super) notices: VecDeque<Notice>,
    /// Who wants to hear of a path's watches.
    watchers: BTreeMap<Arc<str>, Watchers>,
    /// Counters of claims that are, or may yet be, some acquisition's.
    counters: CounterSet,
    last_counter: u64,
    /// By lock path. Each cost the session its connection.
    long_listings: BTreeMap<ZnodePath, LongListing>,
    scratch: String,
}

/// Who wants to hear of a path: mostly one.
#[derive(Clone, Debug)]
struct Watchers {
    first: AcquisitionId,
    others: Vec<AcquisitionId>,
}

impl Watchers {
    fn contains(&self, id: AcquisitionId) -> bool {
        self.first == id || self.others.contains(&id)
    }

    fn into_iter(self) -> impl Iterator<Item = AcquisitionId> {
        [self.first].into_iter().chain(self.others)
    }
}

/// What of these is an acquisition's, and to be forgotten with it.
#[derive(Clone, Debug, Default)]
pub(super) struct Trace {
    counters: Vec<u64>,
    watched: Vec<Arc<str>>,
}

impl Trace {
    /// The watch of `path` has fired, or is not for this acquisition any more.
    pub(super) fn unwatch(&mut self, path: &str) {
        self.watched.retain(|other| **other != *path);
    }

    /// As [`Effects::forget_watches`].
    pub(super) fn forget_watches(&mut self) {
        self.watched.clear();
    }

    /// As [`Effects::forget_session`].
    pub(super) fn forget_session(&mut self) {
        self.watched.clear();
        self.counters.clear();
    }
}

impl Effects {
    pub(super) fn request(&mut self, id: AcquisitionId, op: Op, request: Request) {
        self.requests
            .push_back((Token::Acquisition(id, op), request));
    }

    pub(super) fn notify(&mut self, notice: Notice) {
        self.notices.push_back(notice);
    }

    /// A counter for a new claim; each create has another one, tried again or
    /// not, so that no two claims of a client ever share a name.
    pub(super) fn claim_counter(&mut self, trace: &mut Trace) -> u64 {
        self.last_counter = self.last_counter.wrapping_add(1);
        self.counters.insert(self.last_counter);
        trace.counters.push(self.last_counter);
        self.last_counter
    }

    /// The events of `path` are for `id` too: a connection gets each once,
    /// whoever set the watch.
    pub(super) fn watch(&mut self, path: &Arc<str>, id: AcquisitionId, trace: &mut Trace) {
        match self.watchers.get_mut(path) {
            Some(watchers) if watchers.contains(id) => return,
            Some(watchers) => watchers.others.push(id),
            None => {
                let (first, others) = (id, Vec::new());
                let watchers = Watchers { first, others };
                self.watchers.insert(Arc::clone(path), watchers);
            }
        }
        trace.watched.push(Arc::clone(path));
    }

    /// A text to fill and copy from; empty.
    pub(super) fn scratch(&mut self) -> &mut String {
        self.scratch.clear();
        &mut self.scratch
    }

    /// Who is to hear of an event of `path`. A watch fires once; each of their
    /// traces is to lose it too.
    pub(super) fn take_watchers(
        &mut self,
        path: &str,
    ) -> impl Iterator<Item = AcquisitionId> + use<> {
        let watchers = self.watchers.remove(path);
        watchers.into_iter().flat_map(Watchers::into_iter)
    }

    /// Events of `path` are not for `id` any more.
    pub(super) fn unwatch(&mut self, path: &str, id: AcquisitionId, trace: &mut Trace) {
        trace.unwatch(path);
        self.drop_watcher(path, id);
    }

    fn drop_watcher(&mut self, path: &str, id: AcquisitionId) {
        if let Some(watchers) = self.watchers.get_mut(path) {
            watchers.others.retain(|other| *other != id);
            if watchers.first == id && watchers.others.is_empty() {
                self.watchers.remove(path);
            } else if watchers.first == id {
                watchers.first = watchers.others.remove(0);
            }
        }
    }

    /// Whether the claim with this counter is, or may yet be, some
    /// acquisition's.
    pub(super) fn knows(&self, counter: u64) -> bool {
        self.counters.contains(counter)
    }

    pub(super) fn forget(&mut self, id: AcquisitionId, trace: &mut Trace) {
        for counter in trace.counters.drain(..) {
            self.counters.remove(counter);
        }
        for path in trace.watched.drain(..) {
            self.drop_watcher(&path, id);
        }
    }

    pub(super) fn note_long_listing(&mut self, path: ZnodePath, listing: LongListing) {
        self.long_listings.insert(path, listing);
    }

    /// The listing of this lock path, if it is in vain to ask for it now.
    pub(super) fn long_listing(&self, path: &ZnodePath, now: Timestamp) -> Option<LongListing> {
        let listing = self.long_listings.get(path)?;
        (now < listing.until).then_some(*listing)
    }

    /// Gives back the room that a burst has left, and what is over by now.
    pub(super) fn give_back(&mut self, now: Timestamp) {
        self.long_listings.retain(|_, listing| now < listing.until);
        self.requests.shrink_to(KEPT_CAPACITY);
        self.notices.shrink_to(KEPT_CAPACITY);
        self.scratch = String::new();
    }

    /// Those of the connection that is gone; each trace is to do the same.
    pub(super) fn forget_watches(&mut self) {
        self.watchers.clear();
    }

    /// All that was the session's; each trace is to do the same.
    pub(super) fn forget_session(&mut self) {
        self.watchers.clear();
        self.counters.clear();
    }
}
