//! How the command ends: its exit codes, and which error has which.

use std::fmt::Display;
use std::io;

use nix::sys::signal::Signal;
use zklock::{AcquireError, ConnectError, ErrorCode, QueueError, SessionState, Stopped};

/// The command line cannot be obeyed.
pub(crate) const USAGE: u8 = 64;
/// No server can be reached, or it cannot do what is asked.
pub(crate) const UNAVAILABLE: u8 = 69;
/// The operating system refuses what every program may do.
const SYSTEM: u8 = 71;
/// The lock was lost while the command ran.
pub(crate) const LOST: u8 = 74;
/// The lock was not acquired.
pub(crate) const NOT_ACQUIRED: u8 = 75;
/// The server or a file's mode does not allow it.
pub(crate) const NOT_ALLOWED: u8 = 77;
/// The command is there and cannot be run.
pub(crate) const CANNOT_RUN: u8 = 126;
/// The command is not there.
pub(crate) const NOT_FOUND: u8 = 127;

/// The exit codes of `zklock run`, for its help and its man page.
pub(crate) const RUN_TABLE: &str = "\
Exit status:
  that of the command, or 128 + n if signal n ended it; otherwise
  64    wrong usage
  69    no server can be reached, or it cannot give the lock
  71    the operating system refuses something
  74    the lock was lost while the command ran
  75    the lock was not acquired: it is taken, or the time was over (see -E)
  77    not allowed: by the server, or a file with secrets that others can read
  126   the command cannot be executed
  127   the command was not found
  128+n signal n came while waiting for the lock";

/// Those of the other commands.
pub(crate) const TABLE: &str = "\
Exit status:
  0     done
  64    wrong usage
  69    no server can be reached, or the port cannot be listened on
  71    the operating system refuses something
  75    not done: see standard error
  77    not allowed: by the server, or a file with secrets that others can read
  128+n ended by signal n";

/// An end without success: the exit code, and what there is to say.
#[derive(Debug)]
pub(crate) struct Failure {
    pub(crate) code: u8,
    /// For `--log json`: what kind of end it is.
    pub(crate) event: &'static str,
    /// Nothing if the code says it all.
    pub(crate) message: String,
}

impl Failure {
    pub(crate) fn new(code: u8, message: impl Display) -> Self {
        let event = match code {
            USAGE => "usage",
            UNAVAILABLE => "unavailable",
            LOST => "lost",
            NOT_ACQUIRED => "not acquired",
            NOT_ALLOWED => "not allowed",
            CANNOT_RUN | NOT_FOUND => "not started",
            _ => "failed",
        };
        Self {
            code,
            event,
            message: message.to_string(),
        }
    }

    /// Ended by a signal, as asked.
    pub(crate) fn signal(signal: Signal) -> Self {
        let code = after_signal(signal as i32);
        Self::new(code, "")
    }

    pub(crate) fn system(error: io::Error) -> Self {
        Self::new(SYSTEM, format_args!("the operating system: {error}"))
    }

    /// A reader of our output has gone: what `SIGPIPE` does to others.
    pub(crate) fn output(error: &io::Error) -> Self {
        if error.kind() == io::ErrorKind::BrokenPipe {
            Self::signal(Signal::SIGPIPE)
        } else {
            let message = format!("cannot write to standard output: {error}");
            Self::new(SYSTEM, message)
        }
    }

    /// Nobody takes requests any more.
    pub(crate) fn closed(state: &SessionState) -> Self {
        match state {
            SessionState::Stopped(why) => Self::stopped(why),
            _ => Self::new(UNAVAILABLE, "the session was closed"),
        }
    }

    fn stopped(stopped: &Stopped) -> Self {
        // What the library advises is done by a flag here.
        let why = stopped.to_string();
        let why = why.replace("`tls_server_name`", "--tls-server-name");
        match stopped {
            Stopped::AuthFailed(_) => {
                Self::new(NOT_ALLOWED, format_args!("{why}; check --auth-file"))
            }
            Stopped::ConnectTimedOut { .. } => {
                let message = format!("{why}; check --server or ZKLOCK_SERVERS");
                Self::new(UNAVAILABLE, message)
            }
            _ => Self::new(UNAVAILABLE, why),
        }
    }

    fn refused(code: ErrorCode, message: impl Display) -> Self {
        match code {
            ErrorCode::NoAuth => Self::new(NOT_ALLOWED, message),
            ErrorCode::InvalidAcl => {
                let message = format!("{message}; check --acl, and --auth-file for `auth`");
                Self::new(USAGE, message)
            }
            _ => Self::new(UNAVAILABLE, message),
        }
    }
}

/// As shells have it.
pub(crate) fn after_signal(signal: i32) -> u8 {
    u8::try_from(128 + signal).unwrap_or(u8::MAX)
}

impl From<ConnectError> for Failure {
    fn from(error: ConnectError) -> Self {
        match &error {
            ConnectError::Stopped(why) => Self::stopped(why),
            ConnectError::Servers(_)
            | ConnectError::SessionTimeout(_)
            | ConnectError::ZeroConnectTimeout => Self::new(USAGE, error),
            _ => Self::new(UNAVAILABLE, error),
        }
    }
}

impl From<AcquireError> for Failure {
    fn from(error: AcquireError) -> Self {
        match &error {
            AcquireError::TimedOut | AcquireError::WouldBlock | AcquireError::AlreadyOwned => {
                Self::new(NOT_ACQUIRED, error)
            }
            AcquireError::Lost(_) => Self::new(LOST, error),
            AcquireError::ZeroTimeout
            | AcquireError::ZeroTtl
            | AcquireError::OwnerTooLong { .. }
            | AcquireError::EphemeralParent { .. } => Self::new(USAGE, error),
            AcquireError::MissingParent { code, .. } | AcquireError::Refused { code, .. } => {
                Self::refused(*code, &error)
            }
            _ => Self::new(UNAVAILABLE, error),
        }
    }
}

impl From<QueueError> for Failure {
    fn from(error: QueueError) -> Self {
        match &error {
            QueueError::Refused { code, .. } | QueueError::Unreadable { code, .. } => {
                Self::refused(*code, &error)
            }
            _ => Self::new(UNAVAILABLE, error),
        }
    }
}
