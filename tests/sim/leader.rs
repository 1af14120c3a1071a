//! What the leader of an ensemble does: it orders the writes, and decides when
//! sessions end.

use std::collections::BTreeMap;

use zklock::proto::Request;

use crate::clock::Nanos;
use crate::ensemble::{Ensemble, Entry, Node, Word};
use crate::plan::Fault;
use crate::servers::Port;
use crate::siege::Blow;

/// The sessions, as the leader knows of them.
#[derive(Debug)]
pub(crate) struct Table {
    tick: Nanos,
    sessions: BTreeMap<i64, Session>,
    /// Those of all sessions there were.
    timeouts: BTreeMap<i64, Nanos>,
}

#[derive(Debug)]
struct Session {
    timeout: Nanos,
    expires: Nanos,
    /// Where it was last taken up.
    owner: Option<usize>,
}

/// What waits until a majority has written all before it.
#[derive(Clone, Debug)]
pub(crate) enum Proposal {
    Entry(Entry),
    /// A `sync` is answered once all that was proposed before it is done.
    Sync {
        from: Port,
        xid: i32,
    },
}

impl Table {
    pub(crate) fn new(tick: Nanos) -> Self {
        Self {
            tick,
            sessions: BTreeMap::new(),
            timeouts: BTreeMap::new(),
        }
    }

    pub(crate) fn touch(&mut self, session: i64, now: Nanos) {
        if let Some(it) = self.sessions.get_mut(&session) {
            it.expires = ((now + it.timeout) / self.tick + 1) * self.tick;
        }
    }

    pub(crate) fn knows(&self, session: i64) -> bool {
        self.sessions.contains_key(&session)
    }

    pub(crate) fn next_expiry(&self) -> Nanos {
        let expiries = self.sessions.values().map(|it| it.expires);
        expiries.min().unwrap_or(Nanos::MAX)
    }

    fn begin(&mut self, session: i64, timeout: Nanos, owner: Option<usize>, now: Nanos) {
        self.timeouts.insert(session, timeout);
        let expires = 0;
        let it = Session {
            timeout,
            expires,
            owner,
        };
        self.sessions.insert(session, it);
        self.touch(session, now);
    }

    /// A new leader knows of it, and not where it was taken up.
    fn begin_anew(&mut self, session: i64, now: Nanos) {
        let timeout = self.timeouts.get(&session).copied().unwrap_or(0);
        self.begin(session, timeout, None, now);
    }

    fn take_expired(&mut self, now: Nanos) -> Option<i64> {
        let mut sessions = self.sessions.iter();
        let (id, _) = sessions.find(|(_, it)| it.expires <= now)?;
        let id = *id;
        self.sessions.remove(&id);
        Some(id)
    }
}

impl Ensemble {
    /// All that is proposed is done at once.
    pub(crate) fn flush(&mut self) {
        while let Some((_, proposal)) = self.proposals.pop_front() {
            self.commit(proposal);
        }
    }

    /// Time has passed for the leader.
    pub(crate) fn lead(&mut self) {
        self.commit_due();
        while let Some(session) = self.table.take_expired(self.now) {
            self.count("a session expires");
            self.propose(Entry::Expire(session));
        }
        if self.polls_at <= self.now {
            self.polls_at = self.now + self.tick / 2;
            for node in 0..self.nodes.len() {
                if self.leader != Some(node) && self.nodes[node].member {
                    self.poll_follower(node);
                }
            }
        }
    }

    fn poll_follower(&mut self, node: usize) {
        let it = &mut self.nodes[node];
        if it.up.heard + self.patience >= self.now {
            return self.send(node, false, Word::Poll);
        }
        it.member = false;
        it.life += 1;
        self.count("a leader gives up a follower");
        if self.nodes[node].down.cut_until <= self.now {
            self.drop_out(node);
        }
    }

    /// A write of a stranger's.
    pub(crate) fn apply(&mut self, session: i64, request: Request) {
        let xid = 0;
        self.propose(Entry::Write {
            session,
            xid,
            request,
        });
    }

    pub(crate) fn propose(&mut self, entry: Entry) {
        let slow = if self.disk_slow_until > self.now {
            self.disk_slow
        } else {
            0
        };
        let takes = 1 + self.dice.below(self.latency) + slow;
        let last = self.proposals.back().map_or(0, |(at, _)| *at);
        // One at a time, so that nobody misses what was between two.
        let at = (last + 1).max(self.now + takes);
        self.proposals.push_back((at, Proposal::Entry(entry)));
    }

    /// Does what a majority has written by now.
    fn commit_due(&mut self) {
        while self
            .proposals
            .front()
            .is_some_and(|(at, _)| *at <= self.now)
        {
            if let Some((_, proposal)) = self.proposals.pop_front() {
                self.commit(proposal);
            }
        }
    }

    fn commit(&mut self, proposal: Proposal) {
        let entry = match proposal {
            Proposal::Sync { from, xid } => {
                return self.send(from.0, false, Word::Synced { to: from, xid });
            }
            Proposal::Entry(entry) => entry,
        };
        let index = self.log.len();
        self.log.push(entry.clone());
        for node in 0..self.nodes.len() {
            if self.nodes[node].member {
                self.send(node, false, Word::Commit(index));
            }
        }
        match entry {
            Entry::Write {
                session, request, ..
            } => {
                let _ = self.truth.apply(session, request);
            }
            Entry::Close { session, .. } | Entry::Expire(session) => {
                self.truth.expire(session);
            }
            Entry::Counter(path, next) => {
                self.truth.set_counter(path, next);
            }
            Entry::Open { from, timeout_ms } => {
                let id = self.truth.open_elsewhere(timeout_ms);
                let timeout = timeout_ms as Nanos * 1_000_000;
                self.table.begin(id, timeout, Some(from.0), self.now);
            }
        }
    }

    pub(crate) fn leader_hears(&mut self, node: usize, word: Word) {
        if self.leader.is_none() {
            return;
        }
        match word {
            Word::Open { from, timeout_ms } => {
                self.propose(Entry::Open { from, timeout_ms });
            }
            Word::Take { from, session } => {
                self.table.touch(session, self.now);
                let known = self.table.sessions.get_mut(&session);
                let alive = known.map(|it| it.owner = Some(node)).is_some();
                self.send(node, false, Word::Taken { to: from, alive });
            }
            Word::Ask {
                from,
                session,
                xid,
                request,
            } => self.asked(from, session, xid, request),
            Word::Sync { from, xid } => match self.proposals.back() {
                None => self.send(node, false, Word::Synced { to: from, xid }),
                Some((at, _)) => {
                    let sync = (*at, Proposal::Sync { from, xid });
                    self.proposals.push_back(sync);
                }
            },
            Word::Touches(sessions) => {
                for session in sessions {
                    self.table.touch(session, self.now);
                }
            }
            other => panic!("a leader is told {other:?}"),
        }
    }

    /// A session that has moved to another server is served there only.
    fn asked(&mut self, from: Port, session: i64, xid: i32, request: Request) {
        let owner = self.table.sessions.get(&session).and_then(|it| it.owner);
        if owner != Some(from.0) {
            self.count("a write of a session that has moved or ended");
            return self.send(from.0, false, Word::Moved { to: from });
        }
        if request == Request::CloseSession {
            self.table.sessions.remove(&session);
            self.propose(Entry::Close { session, xid });
        } else {
            self.propose(Entry::Write {
                session,
                xid,
                request,
            });
        }
    }

    /// Something goes wrong between servers, for so long; this one is the first
    /// choice.
    pub(crate) fn befalls(
        &mut self,
        fault: Fault,
        node: Option<usize>,
        lasts: Nanos,
        now: Nanos,
    ) -> bool {
        self.tick(now);
        let Some(leader) = self.leader else {
            return false;
        };
        if fault == Fault::Disk {
            (self.disk_slow, self.disk_slow_until) = (lasts / 4, now + lasts);
            return true;
        }
        if fault == Fault::Elect {
            self.depose(lasts / 2);
            return true;
        }
        if !self.all_are_there() {
            return false;
        }
        let step = 1 + self.dice.index(self.nodes.len() - 1);
        let any = (leader + step) % self.nodes.len();
        let node = node.filter(|node| *node != leader).unwrap_or(any);
        let both = self.dice.below(4);
        let it = &mut self.nodes[node];
        let links = [(both != 1, &mut it.up), (both != 2, &mut it.down)];
        for (_, link) in links.into_iter().filter(|(chosen, _)| *chosen) {
            if fault == Fault::Isolate {
                link.cut_until = now + lasts;
            } else {
                (link.slow, link.slow_until) = (lasts / 4, now + lasts);
            }
        }
        true
    }

    /// Only then does one more leave a majority.
    fn all_are_there(&self) -> bool {
        let there = |it: &Node| it.up.cut_until.max(it.down.cut_until) <= self.now && it.serves;
        self.nodes.iter().all(there)
    }

    /// A part of a siege, if the follower still is one.
    pub(crate) fn blow(&mut self, blow: Blow, now: Nanos) {
        self.tick(now);
        let (Blow::Part { node, .. } | Blow::Lag { node, .. }) = blow else {
            return;
        };
        if self.leader.is_none_or(|leader| leader == node) || !self.all_are_there() {
            return;
        }
        let it = &mut self.nodes[node];
        match blow {
            Blow::Part {
                up, down, lasts, ..
            } => {
                for (_, link) in [(up, &mut it.up), (down, &mut it.down)]
                    .into_iter()
                    .filter(|(chosen, _)| *chosen)
                {
                    link.cut_until = now + lasts;
                }
            }
            Blow::Lag { by, .. } => (it.down.slow, it.down.slow_until) = (by, now + by),
            Blow::Stop { .. } => {}
        }
    }

    /// All servers drop their clients, and agree on another leader.
    fn depose(&mut self, takes: Nanos) {
        // Some of what no majority is known to have is done all the same.
        let survive = self.dice.index(self.proposals.len() + 1);
        for (_, proposal) in std::mem::take(&mut self.proposals)
            .into_iter()
            .take(survive)
        {
            self.commit(proposal);
        }
        for node in 0..self.nodes.len() {
            let cut = self.nodes[node].down.cut_until > self.now;
            if !cut || self.leader == Some(node) {
                self.drop_out(node);
            }
            self.nodes[node].member = false;
            self.nodes[node].life += 1;
        }
        self.leader = None;
        self.elects_at = self.now + takes;
    }

    /// A new leader knows all that was done, and every session begins anew.
    pub(crate) fn elected(&mut self) {
        let cut = |node: &usize| {
            let it = &self.nodes[*node];
            it.up.cut_until.max(it.down.cut_until) > self.now || it.serves
        };
        let able: Vec<_> = (0..self.nodes.len()).filter(|node| !cut(node)).collect();
        self.elects_at = Nanos::MAX;
        self.leader = Some(self.dice.pick(&able));
        self.polls_at = self.now + self.tick / 2;
        for node in able {
            self.join(node);
        }
        for session in self.truth.sessions() {
            self.table.begin_anew(session, self.now);
        }
    }
}
