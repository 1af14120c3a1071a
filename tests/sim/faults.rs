//! What goes wrong, and how it ends.

use zklock::proto::{CreateMode, Request};

use crate::client::{Link, Process};
use crate::clock::Nanos;
use crate::net::Chunk;
use crate::plan::Fault;
use crate::users::LOCKS;
use crate::world::{Event, Phase, World};

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
                self.drive(client);
            }
            Fault::Kill | Fault::Crash => return self.kill(client, fault == Fault::Crash, lasts),
            Fault::Close => return self.close(client),
            Fault::Purge | Fault::Touch | Fault::Foreign => return self.strange(fault),
            Fault::Drop => return self.drop_one(),
            Fault::Isolate | Fault::Lag | Fault::Elect | Fault::Disk => {
                self.note(|_| format!("fault: {fault:?} for {lasts} ns"));
                let lasts = lasts.min(self.plan.timeout * 3 / 2);
                let befalls = self.servers.befalls(fault, lasts, self.now);
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
        let here = self.conns.iter().filter(|(_, conn)| conn.port.0 == node);
        let here: Vec<_> = here.map(|(id, _)| *id).collect();
        for id in here {
            self.cut(id);
        }
    }

    fn pause(&mut self, client: usize, lasts: Nanos) -> bool {
        if !self.clients[client].runs() {
            return false;
        }
        let until = self.now + lasts;
        self.note(|_| format!("fault: client {client} is stopped until {until}"));
        self.clients[client].process = Process::Stopped(until);
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
        self.users.die(client);
        self.later(lasts, Event::Start(client));
        true
    }

    fn close(&mut self, client: usize) -> bool {
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
        let gap = self.dice.around(self.plan.timeout / 4);
        self.later(gap, Event::Start(client));
    }

    /// What others do to a queue.
    fn strange(&mut self, fault: Fault) -> bool {
        let lock = LOCKS[self.dice.index(self.plan.locks)];
        let queue = self.servers.queue(lock);
        let stranger = queue.iter().find(|claim| claim.path.contains("stranger"));
        let path = match (fault, stranger) {
            (Fault::Foreign, Some(claim)) => claim.path.clone(),
            (Fault::Foreign, None) => {
                self.note(|_| format!("fault: a stranger queues for {lock}"));
                let path = format!("{lock}/stranger-lock-");
                self.servers.create(&path, CreateMode::EphemeralSequential);
                self.pump();
                return true;
            }
            _ => match queue.first() {
                Some(claim) => claim.path.clone(),
                None => return false,
            },
        };
        self.note(|_| format!("fault: {fault:?} of {path}"));
        let version = -1;
        if fault == Fault::Touch {
            let data = None;
            self.servers.apply(Request::SetData {
                path,
                data,
                version,
            });
        } else {
            self.census.purge(path.clone());
            self.servers.apply(Request::Delete { path, version });
        }
        self.pump();
        true
    }

    /// No more goes wrong. What is broken stays so, but is not used for ever.
    pub(crate) fn calm_down(&mut self) {
        let mut leave = Vec::new();
        self.plan.latency = self.plan.timeout / 5000;
        self.down.fill(0);
        for id in self.conns.keys().copied().collect::<Vec<_>>() {
            if let Some(conn) = self.conns.get_mut(&id) {
                (conn.up.slow, conn.down.slow) = (0, 0);
            }
        }
        self.servers.flush();
        for lock in &LOCKS[..self.plan.locks] {
            for claim in self.servers.queue(lock) {
                if claim.path.contains("stranger") {
                    let (path, version) = (claim.path, -1);
                    self.servers.apply(Request::Delete { path, version });
                }
            }
        }
        self.servers.flush();
        self.pump();
        for (id, own) in &self.users.live {
            let soon = self.dice.below(self.plan.timeout / 2);
            if own.held.is_some() {
                leave.push((*id, soon));
            }
        }
        for (id, soon) in leave {
            self.later(soon, Event::Leave(id));
        }
        for client in 0..self.clients.len() {
            self.clients[client].clogged = 0;
            if let Process::Stopped(until) = &mut self.clients[client].process {
                *until = self.now;
            }
            self.resume(client);
            self.start(client);
        }
    }
}
