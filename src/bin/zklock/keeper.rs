//! A second process of this program that ends the command if the first cannot:
//! one that was killed, or stopped, watches over nothing.
//!
//! It hears how long the command may live, again and again, in messages of eight
//! bytes. If it hears nothing for so long, it kills the command's process group.
//! If the other end is closed without a goodbye, the first process is gone; the
//! lock is held still, until the servers miss it: SIGTERM, and SIGKILL when the
//! time is up.

use std::io::{self, Read, Write};
use std::os::fd::{AsFd, OwnedFd};
use std::os::unix::net::UnixStream;
use std::os::unix::process::CommandExt;
use std::process::{Child as Process, Command, Stdio};
use std::time::{Duration, Instant};

use clap::ValueEnum;
use nix::sys::signal::{SigSet, Signal, killpg};
use nix::unistd::Pid;

use crate::exit::Failure;
use crate::words::{Level, Words};

/// The name of the hidden command.
pub(crate) const NAME: &str = "keep-watch";

/// The command has ended, and there is nothing more to watch.
const GOODBYE: u64 = u64::MAX;

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
        let process = Command::new(this_program()?)
            .arg0("zklock")
            .args([NAME, "--log", form])
            .stdin(Stdio::from(OwnedFd::from(its_end)))
            .stdout(Stdio::null())
            .current_dir("/")
            .process_group(0)
            .spawn()?;
        Ok(Self {
            stream,
            _process: process,
        })
    }

    /// Which process group is to be ended.
    pub(crate) fn watch(&mut self, group: Pid) {
        self.send(u64::from(group.as_raw().unsigned_abs()));
    }

    /// The command may live for so long.
    pub(crate) fn allow(&mut self, time: Duration) {
        self.send(u64::try_from(time.as_millis()).unwrap_or(GOODBYE - 1));
    }

    pub(crate) fn goodbye(&mut self) {
        self.send(GOODBYE);
    }

    /// If it does not take it, it does not run, and nothing can be done here.
    fn send(&mut self, message: u64) {
        let _ = self.stream.write_all(&message.to_ne_bytes());
    }
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
    // Whoever ends all processes of a service means the others: this one ends
    // after them.
    let deaf = SigSet::all().thread_block();
    deaf.map_err(|error| Failure::system(error.into()))?;
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
    until: Instant,
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
        let (Heard::Message(group), Heard::Message(millis)) =
            (hear(&mut stream)?, hear(&mut stream)?)
        else {
            return Ok(None);
        };
        if millis == GOODBYE {
            return Ok(None);
        }
        let group = i32::try_from(group).map_err(io::Error::other)?;
        Ok(Some(Self {
            stream,
            group: Pid::from_raw(group),
            until: after(millis),
        }))
    }

    fn go_on(mut self, words: Words) -> io::Result<()> {
        loop {
            // Nothing at all would be for ever.
            let time = self.time_left().max(Duration::from_millis(1));
            self.stream.set_read_timeout(Some(time))?;
            match hear(&mut self.stream)? {
                Heard::Message(GOODBYE) => return Ok(()),
                Heard::Message(millis) => self.until = after(millis),
                Heard::Silence if !self.time_left().is_zero() => {}
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
                    while self.is_there() && !self.time_left().is_zero() {
                        std::thread::sleep(POLL_INTERVAL);
                    }
                    self.kill();
                    return Ok(());
                }
            }
        }
    }

    fn time_left(&self) -> Duration {
        self.until.saturating_duration_since(Instant::now())
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

fn after(millis: u64) -> Instant {
    let now = Instant::now();
    now.checked_add(Duration::from_millis(millis))
        .unwrap_or(now)
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
