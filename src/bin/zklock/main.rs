//! `zklock`: runs a command under a lock, and shows and mends its queue.
//!
//! What each file is for:
//!
//! | | |
//! |---|---|
//! | `args`, `values` | the flags, and what their values may be |
//! | `exit` | the exit codes, and which error has which |
//! | `words` | what is said on standard error, as text or JSON |
//! | `signals`, `terminal` | what may interrupt, and who has the keyboard |
//! | `connect`, `auth`, `tls`, `secret` | the session |
//! | `run`, `waiting`, `supervise`, `deadline`, `child`, `keeper`, `moment` | `zklock run` |
//! | `status`, `table` | `zklock status` |
//! | `breaking` | `zklock break` |
//! | `serve` | `zklock serve` |
//! | `papers` | completions and man pages |

#![cfg_attr(
    not(test),
    warn(
        clippy::unwrap_used,
        clippy::expect_used,
        clippy::indexing_slicing,
        clippy::panic
    )
)]

#[cfg(not(unix))]
compile_error!("the command `zklock` is for Unix: build the library without the feature `cli`");

mod args;
mod auth;
mod breaking;
mod child;
mod connect;
mod deadline;
mod exit;
mod keeper;
mod moment;
mod papers;
mod run;
mod secret;
mod serve;
mod signals;
mod status;
mod supervise;
mod table;
mod terminal;
mod tls;
mod values;
mod waiting;
mod words;

use std::io;
use std::os::unix::net::UnixStream;
use std::process::ExitCode;

use args::Command;
use exit::Failure;
use nix::sys::signal::Signal;
use signals::Signals;
use words::Words;

fn main() -> ExitCode {
    let cli = match args::parse() {
        Ok(cli) => cli,
        Err(code) => return ExitCode::from(code),
    };
    let words = cli.command.words();
    let code = perform(&cli.command, words).unwrap_or_else(|failure| {
        words.failure(&failure);
        failure.code
    });
    if code == exit::after_signal(Signal::SIGINT as i32) {
        terminal::end_by_interrupt();
    }
    ExitCode::from(code)
}

fn perform(command: &Command, words: Words) -> Result<u8, Failure> {
    match command {
        Command::Run(options) => listening(async |signals| run::run(options, words, signals).await),
        Command::Status(options) => {
            listening(async |signals| status::status(options, words, signals).await)
        }
        Command::Break(options) => {
            listening(async |signals| breaking::break_holder(options, words, signals).await)
        }
        Command::Serve(options) => {
            listening(async |signals| serve::serve(options, words, signals).await)
        }
        Command::KeepWatch { .. } => keeper::keep_watch(words),
        Command::Completions { shell } => papers::completions(*shell),
        Command::Man { command } => papers::man(command.as_deref()),
    }
}

/// Does what takes a session, and has signals come in from the start.
fn listening(work: impl AsyncFnOnce(&mut Signals) -> Result<u8, Failure>) -> Result<u8, Failure> {
    room_for_runtime().map_err(Failure::system)?;
    // The session's task has a thread of its own: nothing that this one does,
    // such as writing to a terminal that is held up, keeps it from its lease.
    let runtime = tokio::runtime::Builder::new_multi_thread()
        .worker_threads(1)
        .enable_all()
        .build()
        .map_err(Failure::system)?;
    let result = runtime.block_on(async {
        let mut signals = Signals::listen().map_err(Failure::system)?;
        work(&mut signals).await
    });
    // Not by a drop, which would wait for a name that is still being resolved.
    runtime.shutdown_background();
    result
}

/// Where tokio cannot have the six file descriptors of a runtime that listens
/// to signals it panics, instead of saying so.
fn room_for_runtime() -> io::Result<()> {
    let pairs = [UnixStream::pair(), UnixStream::pair(), UnixStream::pair()];
    pairs.into_iter().try_for_each(|pair| pair.map(drop))
}
