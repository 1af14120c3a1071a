//! The queues as they are on the servers, and how they have come to be so.

use std::collections::{BTreeMap, BTreeSet};
use std::sync::Arc;

use crate::clock::Nanos;
use crate::servers::Servers;
use crate::users::LOCKS;

/// A claim in a queue.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) struct Queued {
    pub(crate) path: Arc<str>,
    pub(crate) czxid: i64,
}

/// The claims of each lock, in the order of their creation.
#[derive(Debug, Default)]
pub(crate) struct Census {
    pub(crate) zxid: i64,
    queues: [Vec<Queued>; LOCKS.len()],
    /// Since when the first of each is that.
    since: [Nanos; LOCKS.len()],
    /// All that have ever been first.
    firsts: BTreeSet<Arc<str>>,
    /// Which clients were told of a claim's end.
    told: BTreeMap<Arc<str>, BTreeSet<usize>>,
    /// How many have left behind a claim, each of which may have watched it.
    left_behind: BTreeMap<Arc<str>, usize>,
    /// When those that a stranger deletes have gone.
    purged: BTreeMap<Arc<str>, Option<i64>>,
    pub(crate) ends: u64,
}

impl Census {
    /// Looks again, if anything has changed.
    pub(crate) fn take(&mut self, servers: &Servers, now: Nanos) {
        let zxid = servers.truth().last_zxid();
        if zxid != self.zxid {
            self.zxid = zxid;
            for (index, lock) in LOCKS.into_iter().enumerate() {
                let queue = servers.queue(lock).into_iter().map(|claim| Queued {
                    path: claim.path,
                    czxid: claim.stat.czxid,
                });
                self.compare(index, queue.collect(), now);
            }
            self.count_herds();
        }
    }

    fn compare(&mut self, index: usize, queue: Vec<Queued>, now: Nanos) {
        let before = std::mem::replace(&mut self.queues[index], queue);
        let queue = &self.queues[index];
        if before.first() != queue.first() {
            self.since[index] = now;
            self.firsts.extend(queue.first().map(|it| it.path.clone()));
            // Of several that go at once each may have been first for a moment.
            let gone = before.iter().take_while(|it| !queue.contains(it));
            self.firsts.extend(gone.map(|it| it.path.clone()));
        }
        for (place, claim) in before.iter().enumerate() {
            if !queue.contains(claim) {
                self.ends += 1;
                if let Some(gone) = self.purged.get_mut(&claim.path) {
                    *gone = Some(self.zxid);
                }
                for ahead in &before[..place] {
                    *self.left_behind.entry(ahead.path.clone()).or_default() += 1;
                }
            }
        }
    }

    /// A stranger deletes this claim.
    pub(crate) fn purge(&mut self, path: Arc<str>) {
        self.purged.entry(path).or_default();
    }

    pub(crate) fn is_purged(&self, path: &str) -> bool {
        self.purged.contains_key(path)
    }

    /// Whether a stranger has deleted this claim no later than this.
    pub(crate) fn was_purged_by(&self, path: &str, zxid: i64) -> bool {
        let gone = self.purged.get(path).copied().flatten();
        gone.is_some_and(|gone| gone <= zxid)
    }

    pub(crate) fn told_of_end(&mut self, path: Arc<str>, client: usize) {
        self.told.entry(path).or_default().insert(client);
    }

    /// Of a claim's end its own client is told, and the next two: few, however
    /// many wait.
    fn count_herds(&mut self) {
        for (path, told) in std::mem::take(&mut self.told) {
            // Servers that lag tell later.
            let left = self.left_behind.get(&path).copied().unwrap_or(0);
            assert!(
                told.len() <= 3 + left,
                "a herd: {told:?} are told of the end of {path}, {left} have left"
            );
        }
    }

    /// The first claim of a queue, and since when it is that.
    pub(crate) fn first(&self, lock: usize) -> Option<(&Arc<str>, Nanos)> {
        let first = self.queues[lock].first()?;
        Some((&first.path, self.since[lock]))
    }

    pub(crate) fn was_first(&self, path: &str) -> bool {
        self.firsts.contains(path)
    }

    pub(crate) fn claims(&self) -> impl Iterator<Item = (&'static str, &Queued)> {
        let queues = LOCKS.into_iter().zip(&self.queues);
        queues.flat_map(|(lock, queue)| queue.iter().map(move |claim| (lock, claim)))
    }
}
