//! The command and the lock: it ends before the lock does.

use std::io;
use std::process::{Command, ExitStatus};
use std::time::{Duration, Instant};

use nix::sys::signal::Signal;
use serde_json::json;
use tokio::signal::unix::{SignalKind, signal};
use zklock::{Guard, LostReason};

use crate::args::OnLost;
use crate::child::{Change, Child};
use crate::deadline::{Deadline, Order, Rules};
use crate::keeper::Keeper;
use crate::moment::Moment;
use crate::signals::Signals;
use crate::terminal::Terminal;
use crate::words::{Level, Words};

/// How the command has ended.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Ended {
    pub(crate) status: ExitStatus,
    /// What was done to it because of the lock.
    pub(crate) by_us: Option<Signal>,
}

/// Runs the command under the guard, until it has ended. An error says that it
/// did not start.
pub(crate) async fn run_under(
    guard: &Guard,
    command: &mut Command,
    rules: Rules,
    signals: &mut Signals,
    words: Words,
) -> io::Result<Ended> {
    let mut children = signal(SignalKind::child())?;
    signals.listen_to_all()?;
    let terminal = Terminal::open();
    let keeper = match rules.on_lost {
        OnLost::Warn => None,
        OnLost::Term | OnLost::Kill => Some(Keeper::start(words)?),
    };
    let mut supervisor = Supervisor {
        child: Child::start(command)?,
        keeper,
        margin: rules.margin,
        guard,
        deadline: Deadline::new(rules),
        by_us: None,
        terminal,
        words,
    };
    if let Some(keeper) = &mut supervisor.keeper {
        keeper.watch(supervisor.child.group());
    }
    loop {
        if let Some(status) = supervisor.watch_child() {
            return Ok(supervisor.ended(status));
        }
        let again = supervisor.watch_lock();
        tokio::select! {
            biased;
            _ = children.recv() => {}
            signal = signals.next() => supervisor.hand_on(signal),
            _ = guard.lost(), if supervisor.deadline.is_calm() => {}
            () = tokio::time::sleep(again) => {}
        }
    }
}

struct Supervisor<'a> {
    child: Child,
    /// For the case that this process cannot do it.
    keeper: Option<Keeper>,
    margin: Duration,
    guard: &'a Guard,
    deadline: Deadline,
    by_us: Option<Signal>,
    terminal: Terminal,
    words: Words,
}

impl Supervisor<'_> {
    fn watch_child(&mut self) -> Option<ExitStatus> {
        loop {
            match self.child.change()? {
                Change::Ended(status) => return Some(status),
                Change::Stopped(by) => self.terminal.stopped(&self.child, by),
            }
        }
    }

    /// Does what the lock's state asks for. Returns when to look again.
    fn watch_lock(&mut self) -> Duration {
        loop {
            // Before what is counted from it, in case this process is stopped
            // in between.
            let now = Moment::now();
            let remaining = self.guard.remaining();
            if let (Some(keeper), Ok(remaining)) = (&mut self.keeper, remaining) {
                // Later than we would, and before the end still.
                keeper.allow(now.after(remaining.saturating_sub(self.margin / 2)));
            }
            match self.deadline.look(remaining, Instant::now()) {
                Order::Wait(time) => return time,
                Order::Terminate => {
                    self.end_by(Signal::SIGTERM);
                    // It may be stopped, and has to do with what is left.
                    self.child.signal_group(Signal::SIGCONT);
                }
                Order::Kill => self.end_by(Signal::SIGKILL),
                Order::Tell(reason) => self.tell(reason),
            }
        }
    }

    fn end_by(&mut self, signal: Signal) {
        self.by_us = Some(signal);
        self.child.signal_group(signal);
    }

    fn tell(&self, reason: LostReason) {
        let message = format!("the lock is lost: {reason}; the command goes on");
        let token = [("token", json!(self.guard.fencing_token().get()))];
        self.words.say(Level::Error, "lost", message, &token);
    }

    fn hand_on(&mut self, signal: Signal) {
        if signal != Signal::SIGCONT {
            self.child.hand_on(signal);
            return;
        }
        // We may have been stopped, for long.
        self.watch_lock();
        if self.by_us.is_none() {
            self.terminal.continued(&self.child);
        }
    }

    fn ended(mut self, status: ExitStatus) -> Ended {
        if let Some(keeper) = &mut self.keeper {
            keeper.goodbye();
        }
        if self.by_us.is_some() {
            // What the command has left behind ends with it.
            self.child.signal_group(Signal::SIGKILL);
        }
        self.terminal.take_back(&self.child, status);
        Ended {
            status,
            by_us: self.by_us,
        }
    }
}
