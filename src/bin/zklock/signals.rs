//! The signals that may come, from the first instant on.

use std::future::Future;
use std::io;

use nix::sys::signal::Signal;
use tokio::signal::unix::{SignalKind, signal};
use tokio::sync::mpsc;

use crate::exit::Failure;

/// Those that end a program which does not expect them.
const ENDING: [Signal; 6] = [
    Signal::SIGHUP,
    Signal::SIGINT,
    Signal::SIGQUIT,
    Signal::SIGUSR1,
    Signal::SIGUSR2,
    Signal::SIGTERM,
];

/// Those that are of interest to a running command only.
const OTHERS: [Signal; 3] = [Signal::SIGWINCH, Signal::SIGTSTP, Signal::SIGCONT];

/// The signals that have come, in order.
pub(crate) struct Signals {
    received: mpsc::UnboundedReceiver<Signal>,
    sender: mpsc::UnboundedSender<Signal>,
    /// Those that we were started to ignore, and do, as the command will: by
    /// `nohup`, or in the background of a script.
    ignored: u64,
}

impl Signals {
    /// Begins to listen to those that would end this program.
    pub(crate) fn listen() -> io::Result<Self> {
        let (sender, received) = mpsc::unbounded_channel();
        let signals = Self {
            received,
            sender,
            ignored: ignored(),
        };
        for kind in ENDING {
            signals.listen_to(kind)?;
        }
        Ok(signals)
    }

    /// Listens to what a terminal may send as well.
    pub(crate) fn listen_to_all(&self) -> io::Result<()> {
        OTHERS.into_iter().try_for_each(|kind| self.listen_to(kind))
    }

    fn listen_to(&self, kind: Signal) -> io::Result<()> {
        let number = kind as i32;
        if self.ignored & (1 << (number - 1)) != 0 {
            return Ok(());
        }
        let mut signals = signal(SignalKind::from_raw(number))?;
        let sender = self.sender.clone();
        tokio::spawn(async move {
            while signals.recv().await.is_some() && sender.send(kind).is_ok() {}
        });
        Ok(())
    }

    /// The next signal.
    pub(crate) async fn next(&mut self) -> Signal {
        match self.received.recv().await {
            Some(signal) => signal,
            // Not while a sender is here.
            None => std::future::pending().await,
        }
    }

    /// Does the work, unless a signal comes that means to end this program.
    pub(crate) async fn unless<T>(&mut self, work: impl Future<Output = T>) -> Result<T, Failure> {
        tokio::select! {
            biased;
            signal = self.ending() => Err(Failure::signal(signal)),
            done = work => Ok(done),
        }
    }

    async fn ending(&mut self) -> Signal {
        loop {
            let signal = self.next().await;
            if ENDING.contains(&signal) {
                return signal;
            }
        }
    }
}

/// The signals that this process ignores, a bit each, where the system tells.
fn ignored() -> u64 {
    let status = std::fs::read_to_string("/proc/self/status").unwrap_or_default();
    let mut lines = status.lines();
    let mask = lines.find_map(|line| line.strip_prefix("SigIgn:"));
    mask.and_then(|mask| u64::from_str_radix(mask.trim(), 16).ok())
        .unwrap_or(0)
}
