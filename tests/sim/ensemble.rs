//! Three servers: a leader that orders all writes and knows when sessions end,
//! and followers that learn of them later and answer reads by what they know.
//!
//! Each has the embedded server's core for its tree, sessions and watches. What
//! is here is what lies between them: an ordered log that each applies in its
//! own time; requests that only the leader can answer; sessions that move; the
//! touches of sessions, which a follower keeps to itself until the leader polls
//! it; and links between servers that are slow or cut.
//!
//! A write is in the log once a majority has it: no server has one that is undone
//! later. A leader that is deposed knows of it at once.

use std::collections::{BTreeMap, VecDeque};
use std::time::Duration;

use bytes::{Bytes, BytesMut};
use zklock::embedded::{Config, ConnectionId, Core, Output};
use zklock::proto::{FrameReader, Request};

use crate::clock::Nanos;
use crate::dice::Dice;
use crate::follower::Peer;
use crate::leader::{Proposal, Table};
use crate::plan::Plan;
use crate::report::Counts;
use crate::servers::{Out, Port};

/// The time of the replicas: in theirs no session ever expires.
const NEVER: Duration = Duration::ZERO;

/// A transaction, or the end of a session.
#[derive(Clone, Debug)]
pub(crate) enum Entry {
    Open {
        from: Port,
        timeout_ms: i32,
    },
    Write {
        session: i64,
        xid: i32,
        request: Request,
    },
    Close {
        session: i64,
        xid: i32,
    },
    Expire(i64),
    /// The next number in a queue is to be this.
    Counter(&'static str, i32),
}

/// What servers tell each other.
#[derive(Clone, Debug)]
pub(crate) enum Word {
    // To the leader.
    Open {
        from: Port,
        timeout_ms: i32,
    },
    Take {
        from: Port,
        session: i64,
    },
    Ask {
        from: Port,
        session: i64,
        xid: i32,
        request: Request,
    },
    Sync {
        from: Port,
        xid: i32,
    },
    Touches(Vec<i64>),
    // From the leader.
    Commit(usize),
    Taken {
        to: Port,
        alive: bool,
    },
    Synced {
        to: Port,
        xid: i32,
    },
    Moved {
        to: Port,
    },
    Poll,
}

/// A word on its way, in the life of a link.
#[derive(Clone, Debug)]
struct Letter {
    node: usize,
    up: bool,
    life: u64,
    word: Word,
}

/// A link to the leader, in one direction.
#[derive(Clone, Copy, Debug, Default)]
pub(crate) struct Link {
    last: Nanos,
    /// Nothing arrives before.
    pub(crate) cut_until: Nanos,
    pub(crate) slow: Nanos,
    pub(crate) slow_until: Nanos,
    /// When the last word arrived.
    pub(crate) heard: Nanos,
}

pub(crate) struct Node {
    pub(crate) core: Core,
    /// How much of the log it has done.
    pub(crate) applied: usize,
    pub(crate) peers: BTreeMap<ConnectionId, Peer>,
    /// Sessions heard of since the leader's last poll.
    pub(crate) touched: Vec<i64>,
    /// It serves clients.
    pub(crate) serves: bool,
    /// The leader counts it in.
    pub(crate) member: bool,
    /// What was sent in an earlier one does not arrive.
    pub(crate) life: u64,
    pub(crate) up: Link,
    pub(crate) down: Link,
}

pub(crate) struct Ensemble {
    pub(crate) now: Nanos,
    pub(crate) dice: Dice,
    pub(crate) nodes: Vec<Node>,
    pub(crate) leader: Option<usize>,
    pub(crate) elects_at: Nanos,
    /// What is not done yet, and when it will be.
    pub(crate) proposals: VecDeque<(Nanos, Proposal)>,
    /// So much longer writes take, until then.
    pub(crate) disk_slow: Nanos,
    pub(crate) disk_slow_until: Nanos,
    pub(crate) log: Vec<Entry>,
    /// All of the log, done.
    pub(crate) truth: Core,
    pub(crate) table: Table,
    pub(crate) latency: Nanos,
    pub(crate) tick: Nanos,
    /// So long servers wait for each other.
    pub(crate) patience: Nanos,
    pub(crate) polls_at: Nanos,
    letters: BTreeMap<(Nanos, u64), Letter>,
    serial: u64,
    pub(crate) outs: VecDeque<Out>,
    pub(crate) counts: Counts,
}

impl Ensemble {
    pub(crate) fn new(plan: &Plan, config: &Config, mut dice: Dice) -> Self {
        let node = || Node {
            core: Core::new(config.clone()),
            applied: 0,
            peers: BTreeMap::new(),
            touched: Vec::new(),
            serves: true,
            member: true,
            life: 0,
            up: Link::default(),
            down: Link::default(),
        };
        Self {
            now: 0,
            nodes: (0..plan.servers).map(|_| node()).collect(),
            leader: Some(dice.index(plan.servers)),
            elects_at: Nanos::MAX,
            proposals: VecDeque::new(),
            disk_slow: 0,
            disk_slow_until: 0,
            log: Vec::new(),
            truth: Core::new(config.clone()),
            table: Table::new(plan.tick),
            latency: plan.latency / 2 + 1,
            tick: plan.tick,
            patience: (plan.tick * dice.pick(&[2, 5, 20])).min(plan.timeout * 5 / 2),
            // Often just before sessions end, which is the worst for a lease.
            polls_at: match dice.below(4) {
                0 => dice.below(plan.tick / 2),
                _ => plan.tick / 2 - dice.below(plan.tick / 16),
            },
            letters: BTreeMap::new(),
            serial: 0,
            outs: VecDeque::new(),
            counts: Counts::default(),
            dice,
        }
    }

    pub(crate) fn accept(&mut self, node: usize, now: Nanos) -> Option<Port> {
        self.tick(now);
        let it = &mut self.nodes[node];
        if !it.serves {
            return None;
        }
        let connection = it.core.accept(NEVER);
        it.peers.insert(connection, Peer::default());
        Some((node, connection))
    }

    pub(crate) fn received(&mut self, port: Port, bytes: &[u8], now: Nanos) {
        self.tick(now);
        let Some(peer) = self.peer(port) else {
            return;
        };
        peer.incoming.extend_from_slice(bytes);
        let reader = FrameReader::new(1 << 20);
        while let Some(peer) = self.peer(port) {
            match reader.read(&mut peer.incoming) {
                Ok(Some(frame)) => self.take(port, frame),
                _ => break,
            }
        }
    }

    pub(crate) fn disconnected(&mut self, port: Port, now: Nanos) {
        self.tick(now);
        let node = &mut self.nodes[port.0];
        node.peers.remove(&port.1);
        node.core.disconnected(port.1, NEVER);
    }

    /// All that is due by now, in order.
    pub(crate) fn tick(&mut self, now: Nanos) {
        while let Some(at) = self.deadline().filter(|at| *at <= now) {
            self.now = self.now.max(at);
            let letter = self.letters.first_key_value().map(|((at, _), _)| *at);
            if letter == Some(at) {
                if let Some(((_, serial), letter)) = self.letters.pop_first() {
                    self.deliver(serial, letter);
                }
            } else {
                self.keep_time();
            }
        }
        self.now = self.now.max(now);
    }

    pub(crate) fn deadline(&self) -> Option<Nanos> {
        let letter = self.letters.first_key_value().map(|((at, _), _)| *at);
        let proposal = self.proposals.front().map_or(Nanos::MAX, |(at, _)| *at);
        let lead = [self.polls_at, self.table.next_expiry(), proposal];
        let lead = lead.into_iter().filter(|_| self.leader.is_some()).min();
        let patience = (0..self.nodes.len()).filter_map(|node| self.gives_up_at(node));
        let rejoin = (0..self.nodes.len()).filter_map(|node| self.rejoins_at(node));
        let times = letter.into_iter().chain(lead).chain(patience).chain(rejoin);
        times.chain([self.elects_at]).min()
    }

    fn keep_time(&mut self) {
        if self.elects_at <= self.now {
            self.elected();
        }
        for node in 0..self.nodes.len() {
            if self.gives_up_at(node).is_some_and(|at| at <= self.now) {
                self.count("a follower gives up");
                self.drop_out(node);
            }
            if self.rejoins_at(node).is_some_and(|at| at <= self.now) {
                self.join(node);
            }
        }
        if self.leader.is_some() {
            self.lead();
        }
    }

    /// When a follower that has heard nothing of its leader stops to serve.
    fn gives_up_at(&self, node: usize) -> Option<Nanos> {
        let it = &self.nodes[node];
        let follows = it.serves && self.leader != Some(node);
        follows.then_some(it.down.heard + self.patience + 1)
    }

    fn rejoins_at(&self, node: usize) -> Option<Nanos> {
        let it = &self.nodes[node];
        let waits = !it.serves && self.leader.is_some();
        waits.then_some(it.up.cut_until.max(it.down.cut_until))
    }

    /// It serves nobody any more, and what was under way to it is lost.
    pub(crate) fn drop_out(&mut self, node: usize) {
        let it = &mut self.nodes[node];
        (it.serves, it.member) = (false, false);
        it.life += 1;
        it.touched.clear();
        for connection in std::mem::take(&mut it.peers).into_keys() {
            it.core.disconnected(connection, NEVER);
            self.outs.push_back(Out::Close((node, connection)));
        }
    }

    /// It learns all that it has missed, and serves again.
    pub(crate) fn join(&mut self, node: usize) {
        self.count("a server joins");
        while self.nodes[node].applied < self.log.len() {
            self.apply_next(node);
        }
        let now = self.now;
        let it = &mut self.nodes[node];
        (it.serves, it.member) = (true, true);
        (it.up.heard, it.down.heard) = (now, now);
        it.life += 1;
    }

    /// To the leader, or from it: in order, and in its own time.
    pub(crate) fn send(&mut self, node: usize, up: bool, word: Word) {
        let takes = 1 + self.dice.below(self.latency);
        let own = self.leader == Some(node) && !matches!(word, Word::Commit(_));
        let it = &mut self.nodes[node];
        if !it.member {
            // It does not know yet that nobody listens.
            return;
        }
        let link = if up { &mut it.up } else { &mut it.down };
        let slow = if link.slow_until > self.now {
            link.slow
        } else {
            0
        };
        let takes = if own { 0 } else { takes + slow };
        link.last = link.last.max(self.now + takes);
        let (at, life) = (link.last, it.life);
        self.serial += 1;
        let letter = Letter {
            node,
            up,
            life,
            word,
        };
        self.letters.insert((at, self.serial), letter);
    }

    fn deliver(&mut self, serial: u64, letter: Letter) {
        let now = self.now;
        let it = &mut self.nodes[letter.node];
        let link = if letter.up { &mut it.up } else { &mut it.down };
        if link.cut_until > now {
            let at = link.cut_until;
            link.last = link.last.max(at);
            self.letters.insert((at, serial), letter);
            return;
        }
        if letter.life != it.life {
            return;
        }
        link.heard = now;
        if letter.up {
            self.leader_hears(letter.node, letter.word);
        } else {
            self.follower_hears(letter.node, letter.word);
        }
    }

    pub(crate) fn poll(&mut self) -> Option<Out> {
        self.outs.pop_front()
    }

    pub(crate) fn peer(&mut self, port: Port) -> Option<&mut Peer> {
        self.nodes[port.0].peers.get_mut(&port.1)
    }

    /// Lets a node's own core take a frame of its client's.
    pub(crate) fn feed(&mut self, port: Port, frame: &Bytes) {
        let mut bytes = BytesMut::with_capacity(frame.len() + 4);
        bytes.extend_from_slice(&(frame.len() as u32).to_be_bytes());
        bytes.extend_from_slice(frame);
        self.nodes[port.0].core.received(port.1, &bytes, NEVER);
        self.collect(port.0);
    }

    /// What a node's core has to say.
    pub(crate) fn collect(&mut self, node: usize) {
        while let Some(output) = self.nodes[node].core.poll() {
            self.outs.push_back(match output {
                Output::Write { to, bytes } => Out::Write((node, to), bytes),
                Output::Close(connection) => {
                    self.nodes[node].peers.remove(&connection);
                    Out::Close((node, connection))
                }
            });
        }
    }

    pub(crate) fn set_counter(&mut self, path: &'static str, next: i32) {
        self.propose(Entry::Counter(path, next));
    }

    pub(crate) fn is_well(&self, now: Nanos) -> bool {
        let well = |it: &Node| {
            let links = [it.up, it.down].into_iter();
            let ends = links.map(|link| link.cut_until.max(link.slow_until));
            it.serves && it.member && ends.max() <= Some(now)
        };
        self.leader.is_some() && self.nodes.iter().all(well) && self.disk_slow_until <= now
    }

    pub(crate) fn count(&mut self, what: &'static str) {
        self.counts.add("ensemble", what, 1);
    }
}
