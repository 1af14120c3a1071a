//! What goes wrong, and how it ends.

use crate::client::{Link, Process};
use crate::clock::Nanos;
use crate::net::Chunk;
use crate::phases::Phase;
use crate::plan::Fault;
use crate::world::{Event, World};

impl World {
    pub(crate) fn fault(&mut self) {
        if self.phase != Phase::Storm || self.plan.faults.is_empty() {
            return;
        }
        let fault = self.dice.pick(&self.plan.faults.clone());
        if self.befalls(fault) {
            self.counts.add("faults", format!("{fault:?}"), 1);
        }
        // One seldom comes alone.
        let soon = self.dice.percent(30);
        let gap = if soon {
            self.plan.latency * 4
        } else {
            self.plan.fault_gap
        };
        let gap = self.dice.around(gap);
        self.later(gap, Event::Fault);
    }

    /// Returns whether there was anyone to befall.
    fn befalls(&mut self, fault: Fault) -> bool {
        if self.dice.percent(50) {
            self.victim = self.dice.index(self.clients.len());
        }
        let client = self.victim;
        let lasts = self.dice.around(self.plan.timeout);
        match fault {
            Fault::Cut | Fault::HoleUp | Fault::HoleDown | Fault::LoseReplies | Fault::Slow => {
                return self.harm_connection(fault, client, lasts);
            }
            Fault::Clog => self.clients[client].clogged = self.now + lasts / 4,
            Fault::Down => self.take_down(lasts / 2),
            Fault::Pause => return self.pause(client, lasts),
            Fault::Jump => {
                let now = self.now;
                self.note(|_| format!("client {client}: its clock jumps by {lasts} ns"));
                self.clients[client].clock.jump(now, lasts);
                // Whoever looks at its clock finds that its driver has.
                self.drive(client);
            }
            Fault::Kill | Fault::Crash => return self.kill(client, fault == Fault::Crash, lasts),
            Fault::Close => return self.close(client),
            Fault::Purge
            | Fault::Touch
            | Fault::Raze
            | Fault::Foreign
            | Fault::Orphan
            | Fault::Wrap => return self.strange(fault),
            Fault::Drop => return self.drop_one(),
            Fault::Siege => return self.besiege(),
            Fault::Isolate | Fault::Lag | Fault::Elect | Fault::Disk => {
                self.note(|_| format!("fault: {fault:?} for {lasts} ns"));
                let lasts = lasts.min(self.plan.timeout * 3 / 2);
                let node = match self.clients[client].link {
                    Link::Up(id) => self.conns.get(&id).map(|conn| conn.port.0),
                    _ => None,
                };
                let befalls = self.servers.befalls(fault, node, lasts, self.now);
                self.pump();
                return befalls;
            }
        }
        true
    }

    fn harm_connection(&mut self, fault: Fault, client: usize, lasts: Nanos) -> bool {
        let Link::Up(id) = self.clients[client].link else {
            return false;
        };
        self.note(|_| format!("fault: {fault:?} of {id}, client {client}'s"));
        match fault {
            Fault::Cut => self.cut(id),
            Fault::LoseReplies => {
                // What is under way arrives, and its answers do not.
                if let Some(conn) = self.conns.get_mut(&id) {
                    conn.down.hole = true;
                }
                self.later(lasts / 8, Event::Heal(id));
            }
            _ => {
                let up = self.dice.percent(50);
                if let Some(conn) = self.conns.get_mut(&id) {
                    match fault {
                        Fault::HoleUp => conn.up.hole = true,
                        Fault::HoleDown => conn.down.hole = true,
                        _ if up => conn.up.slow = lasts / 4,
                        _ => conn.down.slow = lasts / 4,
                    }
                }
                if fault == Fault::Slow {
                    self.later(lasts, Event::Heal(id));
                }
            }
        }
        true
    }

    /// A slow connection is fast again; one that lost answers ends.
    pub(crate) fn heal(&mut self, id: u64) {
        let Some(conn) = self.conns.get_mut(&id) else {
            return;
        };
        (conn.up.slow, conn.down.slow) = (0, 0);
        if std::mem::take(&mut conn.down.hole) {
            self.cut(id);
        }
    }

    /// It ends at any byte, in both directions.
    pub(crate) fn cut(&mut self, id: u64) {
        if let Some(conn) = self.conns.get_mut(&id) {
            conn.up.truncate(&mut self.dice);
            conn.down.truncate(&mut self.dice);
        }
        self.push_up(id, Chunk::End);
        self.push_down(id, Chunk::End);
    }

    fn take_down(&mut self, lasts: Nanos) {
        let node = self.dice.index(self.down.len());
        self.note(|_| format!("fault: server {node} is down for {lasts} ns"));
        self.down[node] = self.now + lasts;
        self.servers.stop(self.now, self.now + lasts);
        let here = self.conns.iter().filter(|(_, conn)| conn.port.0 == node);
        let here: Vec<_> = here.map(|(id, _)| *id).collect();
        for id in here {
            self.cut(id);
        }
    }

    pub(crate) fn pause(&mut self, client: usize, lasts: Nanos) -> bool {
        if !self.clients[client].runs() {
            return false;
        }
        let until = self.now + lasts;
        self.note(|_| format!("fault: client {client} is stopped until {until}"));
        self.clients[client].process = Process::Stopped(until);
        self.rest(client);
        self.at(until, Event::Resume(client));
        true
    }

    /// Its sockets are closed by its system, unless that is gone as well.
    fn kill(&mut self, client: usize, crash: bool, lasts: Nanos) -> bool {
        if self.clients[client].process == Process::Dead {
            return false;
        }
        self.note(|_| format!("fault: client {client} is killed (crash: {crash})"));
        if let (true, Link::Up(conn)) = (crash, self.clients[client].link) {
            if let Some(conn) = self.conns.get_mut(&conn) {
                (conn.up.hole, conn.down.hole) = (true, true);
            }
        }
        self.hang_up(client);
        self.clients[client].process = Process::Dead;
        self.rest(client);
        self.users.die(client);
        self.later(lasts, Event::Start(client));
        true
    }

    pub(crate) fn close(&mut self, client: usize) -> bool {
        if !self.clients[client].runs() {
            return false;
        }
        self.note(|_| format!("fault: client {client} closes"));
        let now = self.local(client);
        self.clients[client].engine.close(now);
        self.drive(client);
        true
    }

    /// The engine has stopped: its process begins anew some time.
    pub(crate) fn stopped(&mut self, client: usize) {
        assert_eq!(
            self.clients[client].engine.recipe().open(),
            0,
            "client {client} has stopped"
        );
        self.hang_up(client);
        self.users.all_answered(client);
        self.users.die(client);
        self.clients[client].process = Process::Dead;
        self.rest(client);
        if self.phase < Phase::Close {
            let gap = self.dice.around(self.plan.timeout / 4);
            self.later(gap, Event::Start(client));
        }
    }
}
