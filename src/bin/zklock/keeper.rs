//! A second process of this program that ends the command if the first cannot:
//! one that was killed, or stopped, watches over nothing.
//!
//! It hears until when the command may live, again and again, in messages of
//! eight bytes: by a clock that both read, so that a message may come late. When
//! that time is over, it kills the command's process group. If the other end is closed without a goodbye, the first process is gone; the
//! lock is held still, until the servers miss it: SIGTERM, and SIGKILL when the
//! time is up.

use std::io::{self, Read, Write};
use std::os::fd::{AsFd, OwnedFd};
use std::os::unix::net::UnixStream;
use std::os::unix::process::CommandExt;
use std::process::{Child as Process, Command, Stdio};
use std::time::Duration;

use clap::ValueEnum;
use nix::sys::signal::{SigSet, SigmaskHow, Signal, killpg};
use nix::unistd::Pid;

use crate::exit::Failure;
use crate::moment::Moment;
use crate::words::{Level, Words};

/// The name of the hidden command.
pub(crate) const NAME: &str = "keep-watch";

/// The command has ended, and there is nothing more to watch.
const GOODBYE: u64 = u64::MAX;

/// A machine that was asleep wakes up with its timers late.
const LONGEST_SLEEP: Duration = Duration::from_millis(500);
const POLL_INTERVAL: Duration = Duration::from_millis(20);

/// The first process's end.
#[derive(Debug)]
pub(crate) struct Keeper {
    stream: UnixStream,
    _process: Process,
}

impl Keeper {
    /// Starts the second process.
    pub(crate) fn start(words: Words) -> io::Result<Self> {
        let (stream, its_end) = UnixStream::pair()?;
        // It may be stopped, and we must not wait for it.
        stream.set_nonblocking(true)?;
        let form = words.form.to_possible_value();
        let form = form.as_ref().map_or("text", |form| form.get_name());
        let mut command = Command::new(this_program()?);
        command
            .arg0("zklock")
            .args([NAME, "--log", form])
            .stdin(Stdio::from(OwnedFd::from(its_end)))
            .stdout(Stdio::null())
            .current_dir("/")
            .process_group(0);
        Ok(Self {
            stream,
            _process: start_deaf(&mut command)?,
        })
    }

    /// Which process group is to be ended.
    pub(crate) fn watch(&mut self, group: Pid) {
        self.send(u64::from(group.as_raw().unsigned_abs()));
    }

    /// The command may live until then.
    pub(crate) fn allow(&mut self, until: Moment) {
        self.send(until.0.min(GOODBYE - 1));
    }

    pub(crate) fn goodbye(&mut self) {
        self.send(GOODBYE);
    }

    /// If it does not take it, it does not run, and nothing can be done here.
    fn send(&mut self, message: u64) {
        let _ = self.stream.write_all(&message.to_ne_bytes());
    }
}

/// Whoever sends a signal to all processes of a service means the others: this
/// one ends after them, and hears no signal from its first instant on.
fn start_deaf(command: &mut Command) -> io::Result<Process> {
    let heard = SigSet::all().thread_swap_mask(SigmaskHow::SIG_BLOCK)?;
    let started = command.spawn();
    heard.thread_set_mask()?;
    started
}

/// This program, even if its file was replaced meanwhile.
#[cfg(target_os = "linux")]
#[expect(clippy::unnecessary_wraps, reason = "elsewhere it may fail")]
fn this_program() -> io::Result<std::path::PathBuf> {
    Ok("/proc/self/exe".into())
}

#[cfg(not(target_os = "linux"))]
fn this_program() -> io::Result<std::path::PathBuf> {
    std::env::current_exe()
}

/// The second process.
pub(crate) fn keep_watch(words: Words) -> Result<u8, Failure> {
    let stream = io::stdin().as_fd().try_clone_to_owned();
    let stream = UnixStream::from(stream.map_err(Failure::system)?);
    Watch::begin(stream)
        .and_then(|watch| watch.map_or(Ok(()), |watch| watch.go_on(words)))
        .map_err(Failure::system)?;
    Ok(0)
}

struct Watch {
    stream: UnixStream,
    group: Pid,
    until: Moment,
}

/// What has come of waiting for a message.
enum Heard {
    Message(u64),
    /// Nothing, in time.
    Silence,
    /// The other end is closed.
    End,
}

impl Watch {
    /// `None` if there is nothing to watch: the command did not start.
    fn begin(mut stream: UnixStream) -> io::Result<Option<Self>> {
        let (Heard::Message(group), Heard::Message(until)) =
            (hear(&mut stream)?, hear(&mut stream)?)
        else {
            return Ok(None);
        };
        if until == GOODBYE {
            return Ok(None);
        }
        let group = i32::try_from(group).map_err(io::Error::other)?;
        Ok(Some(Self {
            stream,
            group: Pid::from_raw(group),
            until: Moment(until),
        }))
    }

    fn go_on(mut self, words: Words) -> io::Result<()> {
        loop {
            // Nothing at all would be for ever.
            let time = self.until.left().max(Duration::from_millis(1));
            self.stream
                .set_read_timeout(Some(time.min(LONGEST_SLEEP)))?;
            match hear(&mut self.stream)? {
                Heard::Message(GOODBYE) => return Ok(()),
                Heard::Message(until) => self.until = Moment(until),
                Heard::Silence if !self.until.left().is_zero() => {}
                Heard::Silence => {
                    self.kill();
                    say(
                        words,
                        "zklock does not run, and its lease is over: the command gets SIGKILL",
                    );
                    return Ok(());
                }
                Heard::End => {
                    self.signal(Signal::SIGTERM);
                    self.signal(Signal::SIGCONT);
                    say(
                        words,
                        "zklock was killed: the command gets SIGTERM, and SIGKILL before the lease is over",
                    );
                    while self.is_there() && !self.until.left().is_zero() {
                        std::thread::sleep(POLL_INTERVAL);
                    }
                    self.kill();
                    return Ok(());
                }
            }
        }
    }

    fn is_there(&self) -> bool {
        killpg(self.group, None).is_ok()
    }

    fn kill(&self) {
        self.signal(Signal::SIGKILL);
    }

    fn signal(&self, signal: Signal) {
        // An error says that there is nobody.
        let _ = killpg(self.group, signal);
    }
}

fn hear(stream: &mut UnixStream) -> io::Result<Heard> {
    let mut message = [0; 8];
    match stream.read(&mut message) {
        // Each is written at once, and so it is read.
        Ok(8) => Ok(Heard::Message(u64::from_ne_bytes(message))),
        Ok(_) => Ok(Heard::End),
        Err(error) => match error.kind() {
            io::ErrorKind::WouldBlock | io::ErrorKind::TimedOut | io::ErrorKind::Interrupted => {
                Ok(Heard::Silence)
            }
            io::ErrorKind::ConnectionReset => Ok(Heard::End),
            _ => Err(error),
        },
    }
}

fn say(words: Words, message: &str) {
    words.say(Level::Error, "lost", message, &[]);
}
