//! Who has the keyboard.
//!
//! The command is in a process group of its own, and a terminal has one group
//! in its foreground: this program's, to begin with. Ctrl-C then comes here,
//! and to the script that called us, and is handed on: once. Only a command that
//! reads the terminal or changes its settings is stopped by the system for not
//! being in the foreground, and then gets there and goes on, without noticing;
//! from then on the keyboard is its own, until it ends.
//!
//! Ctrl-Z stops the command, and then this program with all its group, so that
//! the shell has its job back. While both are stopped the lock runs out like
//! that of a machine that was switched off. The command goes on only after this
//! program has seen that the lock is held still; otherwise it is killed.

use std::fs::File;
use std::os::unix::process::{CommandExt, ExitStatusExt};
use std::process::{Command, ExitStatus};

use nix::sys::signal::{SigSet, Signal, kill};
use nix::unistd::{Pid, getpgrp, getppid, getsid, tcgetpgrp, tcsetpgrp};

use crate::child::Child;

/// Ends this program by SIGINT, if there is a person to have sent it. A shell
/// goes on with its script or its loop after a command that exits with 130, and
/// not after one that has ended by Ctrl-C.
pub(crate) fn end_by_interrupt() {
    if Terminal::open().is_in_foreground(getpgrp()) {
        // What is executed has the signals' default actions.
        let _ = Command::new("/bin/sh")
            .args(["-c", "kill -s INT $$"])
            .exec();
    }
}

/// The keyboard of a command.
#[derive(Debug)]
pub(crate) struct Terminal {
    /// The controlling terminal, if there is one.
    tty: Option<File>,
    /// The command has been in the foreground.
    handed_over: bool,
}

impl Terminal {
    pub(crate) fn open() -> Self {
        Self {
            tty: File::open("/dev/tty").ok(),
            handed_over: false,
        }
    }

    /// The command was stopped by a signal.
    pub(crate) fn stopped(&mut self, child: &Child, by: Signal) {
        let wants_terminal = matches!(by, Signal::SIGTTIN | Signal::SIGTTOU);
        if wants_terminal && self.is_in_foreground(getpgrp()) {
            self.hand_over(child);
        } else if (wants_terminal || by == Signal::SIGTSTP) && self.has_job_control() {
            // Returns when the shell continues this job.
            let _ = kill(Pid::from_raw(0), Signal::SIGSTOP);
        } else if by == Signal::SIGTSTP && self.tty.is_some() {
            // Nobody could continue us, so nothing is stopped.
            child.signal_group(Signal::SIGCONT);
        }
        // Otherwise someone has stopped the command alone, and may continue it.
    }

    /// This program was continued, and so is the command.
    pub(crate) fn continued(&mut self, child: &Child) {
        if self.handed_over && self.is_in_foreground(getpgrp()) {
            self.hand_over(child);
        } else {
            child.signal_group(Signal::SIGCONT);
        }
    }

    /// The command has ended.
    pub(crate) fn take_back(&self, child: &Child, status: ExitStatus) {
        if self.handed_over && self.is_in_foreground(child.group()) {
            self.set_foreground(getpgrp());
            if status.signal() == Some(Signal::SIGINT as i32) {
                // What Ctrl-C would have told a script, had it been there.
                let _ = kill(Pid::from_raw(0), Signal::SIGINT);
            }
        }
    }

    fn hand_over(&mut self, child: &Child) {
        self.handed_over = true;
        self.set_foreground(child.group());
        child.signal_group(Signal::SIGCONT);
    }

    fn is_in_foreground(&self, group: Pid) -> bool {
        self.tty
            .as_ref()
            .is_some_and(|tty| tcgetpgrp(tty) == Ok(group))
    }

    fn set_foreground(&self, group: Pid) {
        let Some(tty) = &self.tty else {
            return;
        };
        // From the background this is allowed to those who do not hear this
        // signal.
        let mut deaf = SigSet::empty();
        deaf.add(Signal::SIGTTOU);
        let heard = SigSet::thread_get_mask();
        if deaf.thread_block().is_ok() {
            let _ = tcsetpgrp(tty, group);
            if let Ok(heard) = heard {
                let _ = heard.thread_set_mask();
            }
        }
    }

    /// Whether a shell can continue this group once it is stopped: one that has
    /// started it as a job, that is in a group other than its own.
    fn has_job_control(&self) -> bool {
        let session = getsid(None);
        self.tty.is_some()
            && session.is_ok_and(|session| session != getpgrp())
            && getsid(Some(getppid())) == session
    }
}
