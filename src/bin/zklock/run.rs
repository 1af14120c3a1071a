//! `zklock run`: acquire, run, release.

use std::ffi::OsStr;
use std::io;
use std::process::Command;
use std::time::{Duration, Instant};

use nix::sys::signal::Signal;
use serde_json::json;
use zklock::lock::ClaimId;
use zklock::{AcquireError, Guard, Lock, LostReason, Session, SessionState};

use crate::args::{OnLost, Run};
use crate::child::exit_code;
use crate::connect::{CONNECT_TIMEOUT, connect};
use crate::deadline::{Rules, lease};
use crate::exit::{CANNOT_RUN, Failure, LOST, NOT_ACQUIRED, NOT_FOUND, USAGE};
use crate::signals::Signals;
use crate::supervise::{Ended, run_under};
use crate::waiting;
use crate::words::{Level, Words, one_line};

/// Runs the command under the lock. Returns the command's exit code.
pub(crate) async fn run(options: &Run, words: Words, signals: &mut Signals) -> Result<u8, Failure> {
    let patience = Patience::of(options);
    let connection = &options.connection;
    let limit = patience
        .left()
        .unwrap_or(CONNECT_TIMEOUT)
        .min(CONNECT_TIMEOUT);
    let session = connect(connection, options.session_timeout, limit, signals).await?;
    let result = under_lock(options, &patience, &session, words, signals).await;
    // With the session goes the claim, whether it was granted or not. Whatever
    // comes meanwhile, it is waited for: two seconds at the most, and a lock that
    // is left would be taken for longer.
    session.close().await;
    if result.is_ok() {
        let message = format!("{} released", options.path);
        words.say(Level::Info, "released", message, &[]);
    }
    result
}

/// How long to wait.
struct Patience {
    until: Option<Instant>,
    nonblock: bool,
    timeout: Duration,
}

impl Patience {
    fn of(options: &Run) -> Self {
        let timeout = options.timeout.unwrap_or(Duration::MAX);
        let nonblock = options.nonblock || timeout.is_zero();
        let until = Instant::now().checked_add(timeout);
        Self {
            until: until.filter(|_| !nonblock),
            nonblock,
            timeout,
        }
    }

    /// `None` is for ever.
    fn left(&self) -> Option<Duration> {
        let until = self.until?;
        Some(
            until
                .saturating_duration_since(Instant::now())
                .max(Duration::from_millis(1)),
        )
    }
}

async fn under_lock(
    options: &Run,
    patience: &Patience,
    session: &Session,
    words: Words,
    signals: &mut Signals,
) -> Result<u8, Failure> {
    let lock = Lock::new(session, &options.path)
        .map_err(|error| Failure::new(USAGE, error))?
        .with_acl(options.acl.0.clone())
        .with_parent_acl(options.acl.0.clone());
    let timeout = match session.state() {
        SessionState::Connected { timeout, .. } => timeout,
        _ => options.session_timeout,
    };
    let guard = acquire(options, patience, &lock, session, words, signals).await?;
    let granted = Instant::now();
    let token = guard.fencing_token();
    let message = format!("{} acquired, with the token {token}", options.path);
    let details = [
        ("path", json!(options.path.as_str())),
        ("token", json!(token.get())),
    ];
    words.say(Level::Info, "acquired", message, &details);

    let rules = Rules::new(options.on_lost, options.grace, lease(timeout, options.ttl));
    if let Some(grace) = options.grace.filter(|grace| *grace > rules.grace) {
        let message = format!(
            "the server has granted a session timeout of {timeout:?}: --grace is {:?}, not {grace:?}",
            rules.grace
        );
        words.say(Level::Warn, "grace", message, &[]);
    }
    let mut command = command(options, &guard);
    let ended = run_under(&guard, &mut command, rules, signals, words)
        .await
        .map_err(|error| not_started(command.get_program(), &error))?;
    let lost = options
        .ttl
        .map(|ttl| granted.elapsed() + rules.grace + rules.margin >= ttl);
    verdict(options, &guard, ended, lost.unwrap_or(false))
}

async fn acquire(
    options: &Run,
    patience: &Patience,
    lock: &Lock,
    session: &Session,
    words: Words,
    signals: &mut Signals,
) -> Result<Guard, Failure> {
    let mut request = if patience.nonblock {
        lock.try_acquire()
    } else {
        lock.acquire()
            .timeout(patience.left().unwrap_or(Duration::MAX))
    };
    if let Some(owner) = &options.owner {
        request = request.owner(owner.as_str());
    }
    if let Some(ttl) = options.ttl {
        request = request.ttl(ttl);
    }
    let acquired = signals
        .unless(async {
            tokio::select! {
                acquired = request => acquired,
                never = waiting::show(&options.path, lock, session, words) => match never {},
            }
        })
        .await?;
    acquired.map_err(|error| not_acquired(options, patience, session, error))
}

fn not_acquired(
    options: &Run,
    patience: &Patience,
    session: &Session,
    error: AcquireError,
) -> Failure {
    let path = &options.path;
    let message = match error {
        AcquireError::WouldBlock => format!("{path} is taken"),
        AcquireError::TimedOut if !patience.nonblock => {
            format!("{path} was not to be had within {:?}", patience.timeout)
        }
        AcquireError::TimedOut => {
            let message = format!("{path}: no server has answered in time");
            return Failure::new(crate::exit::UNAVAILABLE, message);
        }
        AcquireError::Closed => return Failure::closed(&session.state()),
        error => return error.into(),
    };
    Failure {
        code: options.conflict_exit_code,
        ..Failure::new(NOT_ACQUIRED, message)
    }
}

fn command(options: &Run, guard: &Guard) -> Command {
    let mut command = match (&options.shell, options.command.split_first()) {
        (None, Some((program, args))) => {
            let mut command = Command::new(program);
            command.args(args);
            command
        }
        (text, _) => {
            let mut command = Command::new("/bin/sh");
            command.arg("-c").args(text);
            command
        }
    };
    let (_, claim) = guard.znode().rsplit_once('/').unwrap_or_default();
    let session = ClaimId::parse(claim.as_bytes()).map_or(0, |claim| claim.session_id);
    command
        .env("ZKLOCK_PATH", options.path.as_str())
        .env("ZKLOCK_ZNODE", guard.znode())
        .env("ZKLOCK_FENCING_TOKEN", guard.fencing_token().to_string())
        .env("ZKLOCK_SESSION", format!("{session:#x}"))
        .env("ZKLOCK_OWNER", options.owner.as_deref().unwrap_or_default());
    command
}

fn not_started(program: &OsStr, error: &io::Error) -> Failure {
    let code = match error.kind() {
        io::ErrorKind::NotFound => NOT_FOUND,
        _ => CANNOT_RUN,
    };
    let program = one_line(&program.to_string_lossy());
    Failure::new(code, format_args!("cannot run {program}: {error}"))
}

/// What the end of the command means: its exit code, if the lock was held all
/// the time.
fn verdict(options: &Run, guard: &Guard, ended: Ended, ttl_was_over: bool) -> Result<u8, Failure> {
    let lost = match (ended.by_us, guard.check()) {
        (_, Err(reason)) if options.on_lost != OnLost::Warn => Some(reason),
        (Some(_), Ok(())) if ttl_was_over => Some(LostReason::TtlExpired),
        // It was ended before that could happen.
        (Some(_), Ok(())) => Some(LostReason::LeaseExpired),
        _ => None,
    };
    let Some(reason) = lost else {
        return Ok(exit_code(ended.status));
    };
    let how = match ended.by_us {
        Some(Signal::SIGKILL) => "the command was killed",
        Some(_) => "the command was told to end, and did",
        None => "the command had ended before that was known",
    };
    let path = &options.path;
    Err(Failure::new(
        LOST,
        format_args!("{path} was lost: {reason}; {how}"),
    ))
}
