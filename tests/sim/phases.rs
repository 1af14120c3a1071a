//! The parts of a schedule. Each ends as soon as nothing more is to come of it,
//! or when its time is over.

use crate::client::{Client, Link, Process};
use crate::clock::Nanos;
use crate::net::Conn;
use crate::world::{Event, World};

#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub(crate) enum Phase {
    /// Anything may go wrong.
    Storm,
    /// No more goes wrong, and what has is noticed.
    Calm,
    /// All is well, and must go on without delay.
    Quiet,
    /// Nobody asks any more, and all who wait are to have it.
    Drain,
    /// All leave.
    Leave,
    /// All sessions are closed.
    Close,
    Over,
}

impl World {
    pub(crate) fn begin_phase(&mut self, phase: Phase) {
        if phase <= self.phase {
            // The one before it has ended early.
            return;
        }
        self.note(|_| format!("---- {phase:?}"));
        self.phase = phase;
        let timeout = self.plan.timeout;
        let (lasts, next) = match phase {
            Phase::Storm | Phase::Calm => (timeout * 4, Phase::Quiet),
            Phase::Quiet => (timeout, Phase::Drain),
            Phase::Drain => (timeout * 2, Phase::Leave),
            Phase::Leave => (timeout * 2, Phase::Close),
            Phase::Close | Phase::Over => (timeout / 2, Phase::Over),
        };
        self.later(lasts, Event::Phase(next));
        match phase {
            Phase::Calm => self.calm_down(),
            Phase::Quiet => self.quiet_since = self.now,
            Phase::Leave => self.leave_all(),
            Phase::Close => self.close_all(),
            Phase::Storm | Phase::Drain | Phase::Over => {}
        }
    }

    /// Goes on to the next part, if nothing more is to come of this one.
    pub(crate) fn end_phase(&mut self) {
        match self.phase {
            Phase::Calm if self.is_calm() => self.begin_phase(Phase::Quiet),
            Phase::Drain if self.users.all_have_had_it() => self.begin_phase(Phase::Leave),
            Phase::Leave if self.nothing_is_left() => self.begin_phase(Phase::Close),
            Phase::Close if self.all_are_closed() => self.begin_phase(Phase::Over),
            _ => {}
        }
    }

    /// Every client has a session, a lease and a sound connection, and no server has any
    /// other session.
    fn is_calm(&self) -> bool {
        let live = |client: &Client| {
            let Link::Up(conn) = client.link else {
                return false;
            };
            let sound = self.conns.get(&conn).is_some_and(Conn::is_sound);
            let recipe = client.engine.recipe();
            let lease = recipe.claims.lease();
            // One from a greeting that was answered late may end before heartbeats
            // extend it.
            let soon = client.clock.at(self.now) + self.plan.timeout() / 4;
            let idle = recipe.open() == 0 && lease > Some(soon);
            let flows = client.clogged <= self.now;
            let session = client.engine.session();
            let id = session.session_id();
            let known = self.servers.truth().sessions().any(|it| Some(it) == id);
            sound && flows && idle && client.runs() && session.is_live() && known
        };
        self.clients.iter().all(live)
            && self.servers.truth().sessions().count() == self.clients.len()
            && self.servers.are_well(self.now)
    }

    fn nothing_is_left(&self) -> bool {
        let idle = |client: &Client| client.engine.recipe().open() == 0;
        self.users.live.is_empty() && self.clients.iter().all(idle)
    }

    fn all_are_closed(&self) -> bool {
        let dead = |client: &Client| client.process == Process::Dead;
        self.clients.iter().all(dead) && self.servers.truth().sessions().next().is_none()
    }

    fn close_all(&mut self) {
        self.keeps_nothing();
        for client in 0..self.clients.len() {
            self.close(client);
        }
    }

    /// No more goes wrong. What is broken stays so, but is not used for ever.
    fn calm_down(&mut self) {
        self.plan.latency = self.plan.timeout / 5000;
        self.down.fill(0);
        self.servers.wake(self.now);
        for conn in self.conns.values_mut() {
            (conn.up.slow, conn.down.slow) = (0, 0);
        }
        self.remove_strangers();
        let held = self.users.live.iter().filter(|(_, own)| own.held.is_some());
        for id in held.map(|(id, _)| *id).collect::<Vec<_>>() {
            let soon: Nanos = self.dice.below(self.plan.timeout / 4);
            self.later(soon, Event::Leave(id));
        }
        for client in 0..self.clients.len() {
            if let Process::Stopped(until) = &mut self.clients[client].process {
                *until = self.now;
            }
            self.resume(client);
            self.start(client);
        }
    }
}
