//! What acquisitions bring about outside themselves, and share.

use std::collections::{BTreeMap, BTreeSet, VecDeque};
use std::sync::Arc;
use std::time::Duration;

use super::acquisition::{AcquisitionId, Notice, Op, Token};
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
    counters: BTreeSet<u64>,
    last_counter: u64,
    traces: BTreeMap<AcquisitionId, Trace>,
    /// Those of acquisitions that are gone, for their room.
    spare: Vec<Trace>,
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
    fn iter(&self) -> impl Iterator<Item = AcquisitionId> {
        [self.first].into_iter().chain(self.others.iter().copied())
    }

    fn into_iter(self) -> impl Iterator<Item = AcquisitionId> {
        [self.first].into_iter().chain(self.others)
    }
}

/// What is to be forgotten with an acquisition.
#[derive(Clone, Debug, Default)]
struct Trace {
    counters: Vec<u64>,
    watched: Vec<Arc<str>>,
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
    pub(super) fn claim_counter(&mut self, id: AcquisitionId) -> u64 {
        self.last_counter = self.last_counter.wrapping_add(1);
        self.counters.insert(self.last_counter);
        let counter = self.last_counter;
        self.trace(id).counters.push(counter);
        counter
    }

    /// The events of `path` are for `id` too: a connection gets each once,
    /// whoever set the watch.
    pub(super) fn watch(&mut self, path: &Arc<str>, id: AcquisitionId) {
        match self.watchers.get_mut(path) {
            Some(watchers) if watchers.iter().any(|other| other == id) => return,
            Some(watchers) => watchers.others.push(id),
            None => {
                let (first, others) = (id, Vec::new());
                let watchers = Watchers { first, others };
                self.watchers.insert(Arc::clone(path), watchers);
            }
        }
        self.trace(id).watched.push(Arc::clone(path));
    }

    fn trace(&mut self, id: AcquisitionId) -> &mut Trace {
        let spare = &mut self.spare;
        let entry = self.traces.entry(id);
        entry.or_insert_with(|| spare.pop().unwrap_or_default())
    }

    /// A text to fill and copy from; empty.
    pub(super) fn scratch(&mut self) -> &mut String {
        self.scratch.clear();
        &mut self.scratch
    }

    /// Who is to hear of an event of `path`. A watch fires once.
    pub(super) fn take_watchers(
        &mut self,
        path: &str,
    ) -> impl Iterator<Item = AcquisitionId> + use<> {
        let watchers = self.watchers.remove(path);
        for id in watchers.iter().flat_map(Watchers::iter) {
            if let Some(trace) = self.traces.get_mut(&id) {
                trace.watched.retain(|other| **other != *path);
            }
        }
        watchers.into_iter().flat_map(Watchers::into_iter)
    }

    /// Events of `path` are not for `id` any more.
    pub(super) fn unwatch(&mut self, path: &str, id: AcquisitionId) {
        if let Some(watchers) = self.watchers.get_mut(path) {
            watchers.others.retain(|other| *other != id);
            if watchers.first == id && watchers.others.is_empty() {
                self.watchers.remove(path);
            } else if watchers.first == id {
                watchers.first = watchers.others.remove(0);
            }
        }
        if let Some(trace) = self.traces.get_mut(&id) {
            trace.watched.retain(|other| **other != *path);
        }
    }

    /// Whether the claim with this counter is, or may yet be, some
    /// acquisition's.
    pub(super) fn knows(&self, counter: u64) -> bool {
        self.counters.contains(&counter)
    }

    pub(super) fn forget(&mut self, id: AcquisitionId) {
        let mut trace = self.traces.remove(&id).unwrap_or_default();
        for counter in trace.counters.drain(..) {
            self.counters.remove(&counter);
        }
        for path in trace.watched.drain(..) {
            self.unwatch(&path, id);
        }
        if self.spare.len() < KEPT_CAPACITY {
            self.spare.push(trace);
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
        self.spare = Vec::new();
        self.scratch = String::new();
    }

    pub(super) fn forget_watches(&mut self) {
        self.watchers.clear();
        for trace in self.traces.values_mut() {
            trace.watched.clear();
        }
    }

    pub(super) fn forget_session(&mut self) {
        self.watchers.clear();
        self.counters.clear();
        self.traces.clear();
    }
}
