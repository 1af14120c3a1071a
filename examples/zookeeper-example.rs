//! Takes a lock and holds it until it is interrupted: the example of the Go
//! lock that zklock replaces. Where there is no ZooKeeper server, the first run
//! of it is one.

use std::env;
use std::error::Error;
use std::io::ErrorKind;
use std::process::ExitCode;
use std::time::Duration;

use jiff::{SignedDuration, ZonedDateTime};
use tokio::net::TcpStream;
use tokio::signal::unix::{Signal, SignalKind, signal};
use tokio::time::sleep;
use zklock::embedded::EmbeddedServer;
use zklock::{AcquireError, Guard, Lock, Session};

const USAGE: &str = "\
Takes a lock and holds it until SIGINT or SIGTERM.

Usage: zookeeper-example [OPTIONS]

Options:
  --address HOST:PORT        the ZooKeeper server, or several (default localhost:2181;
                             if nothing listens there, a server in memory is started)
  --path PATH                the lock path (default /my/locks)
  --timeout DURATION         lock wait timeout (default 3s)
  --owner OWNER              the lock owner ID (default user1)
  --session-timeout DURATION the ZooKeeper session timeout (default 10s)
  --help                     this text

A single dash does too. Durations are like 500ms, 3s or 1m30s.
Exit status: 0 after the lock was released or a wait was interrupted, 1 after a
failure or a time-out, 2 for wrong usage.";

struct Flags {
    address: Option<String>,
    path: String,
    timeout: Duration,
    owner: String,
    session_timeout: Duration,
}

#[tokio::main(flavor = "current_thread")]
async fn main() -> ExitCode {
    let flags = match parse(env::args().skip(1)) {
        Ok(Some(flags)) => flags,
        Ok(None) => {
            println!("{USAGE}");
            return ExitCode::SUCCESS;
        }
        Err(error) => {
            eprintln!("{error}\n\n{USAGE}");
            return ExitCode::from(2);
        }
    };
    match start(flags).await {
        Ok(code) => code,
        Err(error) => {
            log(error);
            ExitCode::FAILURE
        }
    }
}

async fn start(mut flags: Flags) -> Result<ExitCode, Box<dyn Error>> {
    let mut interrupted = Interrupted::listen();
    let (address, server) = match flags.address.take() {
        Some(address) => (address, None),
        None => {
            let port = default_port();
            let server = serve_if_nobody_does(port).await?;
            (format!("localhost:{port}"), server)
        }
    };
    let result = run(address, flags, &mut interrupted).await;
    if let Some(server) = server {
        serve_others(&server, &mut interrupted).await;
    }
    Ok(result?)
}

/// ZooKeeper's own, but for tests.
fn default_port() -> u16 {
    let port = env::var("ZKLOCK_EXAMPLE_PORT").ok();
    port.and_then(|port| port.parse().ok()).unwrap_or(2181)
}

/// A server at this port of this machine, if nothing else is there.
async fn serve_if_nobody_does(port: u16) -> Result<Option<EmbeddedServer>, Box<dyn Error>> {
    match TcpStream::connect(("localhost", port)).await {
        Err(error) if error.kind() == ErrorKind::ConnectionRefused => {}
        _ => return Ok(None),
    }
    match EmbeddedServer::builder().port(port).start().await {
        Ok(server) => {
            log(format_args!(
                "nothing listens on localhost:{port}: serving ZooKeeper there, from memory"
            ));
            Ok(Some(server))
        }
        // Another run was faster.
        Err(error) if error.kind() == ErrorKind::AddrInUse => Ok(None),
        Err(error) => Err(format!("cannot listen on localhost:{port}: {error}").into()),
    }
}

/// Goes on as long as others have sessions, or until a signal.
async fn serve_others(server: &EmbeddedServer, interrupted: &mut Interrupted) {
    if server.sessions().await.is_empty() {
        return;
    }
    log("others are connected: serving them until they leave, or until the next interrupt");
    let all_gone = async {
        while !server.sessions().await.is_empty() {
            sleep(Duration::from_millis(100)).await;
        }
    };
    tokio::select! {
        () = all_gone => {}
        () = interrupted.wait() => {}
    }
}

async fn run(
    address: String,
    flags: Flags,
    interrupted: &mut Interrupted,
) -> Result<ExitCode, zklock::Error> {
    let builder = Session::builder(address)
        .session_timeout(flags.session_timeout)
        .connect_timeout(flags.timeout);
    let session = tokio::select! {
        session = builder.connect() => session?,
        () = interrupted.wait() => return Ok(ExitCode::SUCCESS),
    };
    let lock = Lock::new(&session, flags.path)?;

    // Try the lock. Dropping the request, as a signal does, withdraws it.
    let acquired = tokio::select! {
        acquired = lock.acquire().owner(flags.owner).timeout(flags.timeout) => Some(acquired),
        () = interrupted.wait() => None,
    };
    let result = match acquired {
        None => Ok(ExitCode::SUCCESS),
        Some(Ok(guard)) => {
            log("I've got the lock!");
            hold(guard, interrupted).await
        }
        Some(Err(AcquireError::TimedOut)) => {
            log(AcquireError::TimedOut);
            // As the original, it stays: the queue is left, the session lives.
            interrupted.wait().await;
            Ok(ExitCode::FAILURE)
        }
        Some(Err(error)) => Err(error.into()),
    };
    session.close().await;
    result
}

/// Holds the lock until a signal, or until it is lost.
async fn hold(guard: Guard, interrupted: &mut Interrupted) -> Result<ExitCode, zklock::Error> {
    tokio::select! {
        () = interrupted.wait() => {
            guard.release().await?;
            log("I've released the lock");
            Ok(ExitCode::SUCCESS)
        }
        reason = guard.lost() => {
            log(format_args!("I've lost the lock: {reason}"));
            Ok(ExitCode::FAILURE)
        }
    }
}

/// SIGINT and SIGTERM.
struct Interrupted {
    interrupt: Signal,
    terminate: Signal,
}

impl Interrupted {
    fn listen() -> Self {
        let listen = |kind| signal(kind).expect("a process may always handle its own signals");
        Self {
            interrupt: listen(SignalKind::interrupt()),
            terminate: listen(SignalKind::terminate()),
        }
    }

    async fn wait(&mut self) {
        tokio::select! {
            _ = self.interrupt.recv() => {}
            _ = self.terminate.recv() => {}
        }
    }
}

/// Prints a line with the local date and time in front, as Go's `log` does.
fn log(message: impl std::fmt::Display) {
    println!(
        "{} {message}",
        ZonedDateTime::now().strftime("%Y/%m/%d %H:%M:%S")
    );
}

/// Reads flags as Go's `flag` package does: one dash or two, the value behind
/// a `=` or a space. `None` if help is asked for.
fn parse(mut args: impl Iterator<Item = String>) -> Result<Option<Flags>, String> {
    let mut flags = Flags {
        address: None,
        path: "/my/locks".into(),
        timeout: Duration::from_secs(3),
        owner: "user1".into(),
        session_timeout: Duration::from_secs(10),
    };
    while let Some(arg) = args.next() {
        let Some(flag) = arg.strip_prefix("--").or_else(|| arg.strip_prefix('-')) else {
            return Err(format!("unexpected argument {arg:?}"));
        };
        let (name, value) = match flag.split_once('=') {
            Some((name, value)) => (name, Some(value.to_owned())),
            None => (flag, None),
        };
        if matches!(name, "h" | "help") {
            return Ok(None);
        }
        let mut value = || {
            let value = value.clone().or_else(|| args.next());
            value.ok_or_else(|| format!("flag --{name} needs a value"))
        };
        match name {
            "address" => flags.address = Some(value()?),
            "path" => flags.path = value()?,
            "owner" => flags.owner = value()?,
            "timeout" => flags.timeout = duration(name, &value()?)?,
            "session-timeout" => flags.session_timeout = duration(name, &value()?)?,
            _ => return Err(format!("unknown flag {arg:?}")),
        }
    }
    if flags.timeout.is_zero() {
        return Err("a --timeout of zero leaves no time to wait".into());
    }
    Ok(Some(flags))
}

fn duration(flag: &str, text: &str) -> Result<Duration, String> {
    let wrong = || format!("{text:?} is no duration for --{flag}; write it like 3s or 1m30s");
    let duration: SignedDuration = text.parse().map_err(|_| wrong())?;
    Duration::try_from(duration).map_err(|_| wrong())
}
