//! The command as a process, the first of a process group of its own.
//!
//! Its own group, so that all of a shell's pipeline can be ended with the lock,
//! and so that a signal reaches it once: what a terminal sends goes to this
//! program's group, which hands it on, and never to both. See `terminal` for how
//! it gets to the keyboard all the same.

use std::io;
use std::os::unix::process::{CommandExt, ExitStatusExt};
use std::process::{Child as Process, Command, ExitStatus};

use nix::sys::signal::{Signal, kill, killpg};
use nix::unistd::Pid;

use crate::exit::after_signal;

/// The running command.
#[derive(Debug)]
pub(crate) struct Child {
    process: Process,
    id: Pid,
}

/// What has become of it.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Change {
    Ended(ExitStatus),
    /// It does not run, for the time being.
    Stopped(Signal),
}

impl Child {
    pub(crate) fn start(command: &mut Command) -> io::Result<Self> {
        let process = command.process_group(0).spawn()?;
        let id = i32::try_from(process.id()).map_err(io::Error::other)?;
        Ok(Self {
            process,
            id: Pid::from_raw(id),
        })
    }

    /// The process group: also the id of the command itself.
    pub(crate) const fn group(&self) -> Pid {
        self.id
    }

    /// What has become of it since the last call, if anything.
    pub(crate) fn change(&mut self) -> Option<Change> {
        match self.process.try_wait() {
            Ok(Some(status)) => Some(Change::Ended(status)),
            _ => self.stop_signal().map(Change::Stopped),
        }
    }

    #[cfg(any(target_os = "linux", target_os = "android", target_os = "freebsd"))]
    fn stop_signal(&self) -> Option<Signal> {
        use nix::sys::wait::{Id, WaitPidFlag, WaitStatus, waitid};

        let flags = WaitPidFlag::WSTOPPED | WaitPidFlag::WNOHANG;
        match waitid(Id::Pid(self.id), flags) {
            Ok(WaitStatus::Stopped(_, signal)) => Some(signal),
            _ => None,
        }
    }

    /// Where one cannot ask for stops alone, one does not ask: the command can
    /// neither be stopped by the keyboard there nor read from it.
    #[cfg(not(any(target_os = "linux", target_os = "android", target_os = "freebsd")))]
    fn stop_signal(&self) -> Option<Signal> {
        None
    }

    /// Hands a signal on. What a terminal sends to whole groups goes to the
    /// whole group; what is meant for a process, to the command alone.
    pub(crate) fn hand_on(&self, signal: Signal) {
        match signal {
            Signal::SIGTERM | Signal::SIGUSR1 | Signal::SIGUSR2 => {
                // An error says that it has ended, of which we are about to hear.
                let _ = kill(self.id, signal);
            }
            _ => self.signal_group(signal),
        }
    }

    pub(crate) fn signal_group(&self, signal: Signal) {
        let _ = killpg(self.id, signal);
    }
}

/// As shells tell it.
pub(crate) fn exit_code(status: ExitStatus) -> u8 {
    match (status.code(), status.signal()) {
        (Some(code), _) => u8::try_from(code).unwrap_or(u8::MAX),
        (None, Some(signal)) => after_signal(signal),
        (None, None) => u8::MAX,
    }
}
