//! A holder's server is cut off from its leader, and the holder from all other
//! servers, at the moments at which a lease that is a little too long shows.
//!
//! A touch reaches the leader when it next polls: until then only a follower
//! knows that a session lives. So each siege parts the two between a touch and a
//! poll, and keeps the holder from telling the leader by another way.

use crate::client::Link;
use crate::clock::Nanos;
use crate::phases::Phase;
use crate::world::{Event, World};

/// What happens in the course of a siege.
#[derive(Clone, Copy, Debug)]
pub(crate) enum Blow {
    /// A follower is cut off from its leader, in one direction or in both.
    Part {
        node: usize,
        up: bool,
        down: bool,
        lasts: Nanos,
    },
    /// What the leader says is late.
    Lag { node: usize, by: Nanos },
    /// A process stops.
    Stop { client: usize, lasts: Nanos },
}

impl World {
    /// Returns whether there was a holder, and a leader.
    pub(crate) fn besiege(&mut self) -> bool {
        let (Some(leader), Some((client, conn, node))) = (self.servers.leader(), self.a_holder())
        else {
            return false;
        };
        let timeout = self.plan.timeout;
        let lasts = timeout + self.dice.below(timeout / 2);
        self.note(|_| format!("siege of client {client} at server {node}"));
        for (other, down) in self.down.iter_mut().enumerate() {
            // One at the leader moves to a follower.
            if (other == node) == (node == leader) {
                *down = self.now + lasts;
            }
        }
        if node == leader {
            self.cut(conn);
            return true;
        }
        let both = self.dice.below(4);
        let part = Blow::Part {
            node,
            up: both != 1,
            down: both != 2,
            lasts,
        };
        match self.dice.below(5) {
            0 => self.greet_late(client, conn, part),
            1 | 2 => self.poll_late(node, lasts),
            _ => {
                self.blow(part);
                if self.dice.percent(30) {
                    self.blow(Blow::Stop { client, lasts });
                }
            }
        }
        true
    }

    /// Some client that has a lock, and where it is.
    fn a_holder(&mut self) -> Option<(usize, u64, usize)> {
        let holders = self.users.live.values().filter(|own| own.held.is_some());
        let mut reached = Vec::new();
        for client in holders.map(|own| own.client) {
            if let Link::Up(conn) = self.clients[client].link {
                let node = self.conns.get(&conn).map(|it| it.port.0);
                reached.extend(node.map(|node| (client, conn, node)));
            }
        }
        (!reached.is_empty()).then(|| self.dice.pick(&reached))
    }

    /// The welcome waits for a process that has stopped.
    fn greet_late(&mut self, client: usize, conn: u64, part: Blow) {
        self.cut(conn);
        let greeted = 1 + self.dice.below(6 * self.plan.latency);
        let lasts = self.dice.below(self.plan.timeout / 2);
        self.later(greeted, Event::Blow(Blow::Stop { client, lasts }));
        let parted = greeted + 2 * self.plan.latency + self.dice.below(self.plan.tick / 4);
        self.later(parted, Event::Blow(part));
    }

    /// A leader's poll comes so late that two heartbeats are answered after the
    /// last one that a poll has told of, and its answer never comes. That last
    /// poll is one just before a tick, when sessions end soonest.
    fn poll_late(&mut self, node: usize, lasts: Nanos) {
        let (timeout, tick) = (self.plan.timeout, self.plan.tick);
        // After a sixth the holder would give up its server.
        let by = timeout / 8 + self.dice.below(timeout / 24);
        let mut polled = self.servers.next_poll().unwrap_or(self.now);
        if (polled + tick / 2) % tick < tick / 2 {
            polled += tick / 2;
        }
        self.at(polled - 1, Event::Blow(Blow::Lag { node, by }));
        let (up, down) = (true, false);
        let part = Blow::Part {
            node,
            up,
            down,
            lasts,
        };
        let parted = polled + by - self.dice.below(by / 4);
        self.at(parted, Event::Blow(part));
    }

    pub(crate) fn blow(&mut self, blow: Blow) {
        if self.phase != Phase::Storm {
            return;
        }
        self.note(|_| format!("siege: {blow:?}"));
        match blow {
            Blow::Stop { client, lasts } => {
                self.pause(client, lasts);
            }
            Blow::Part { .. } | Blow::Lag { .. } => self.servers.blow(blow, self.now),
        }
        self.pump();
    }
}
