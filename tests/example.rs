//! The example as a person sees it, on a real server and where there is none.

#![allow(
    clippy::unwrap_used,
    clippy::expect_used,
    clippy::panic,
    clippy::indexing_slicing,
    reason = "a test fails by panicking"
)]

mod support;

use std::env;
use std::io::{BufRead, BufReader, Read};
use std::process::{Child, ChildStdout, Command, Stdio};
use std::time::{Duration, Instant};

use support::raw::RawClient;
use support::zookeeper::ZooKeeper;
use support::{eventually, free_port};

/// A run of the example in a terminal of its own.
struct Terminal {
    process: Child,
    output: BufReader<ChildStdout>,
}

impl Terminal {
    fn run(server: &str, flags: &[&str]) -> Self {
        let mut command = example();
        command.args(["--address", server]).args(flags);
        Self::open(command)
    }

    /// Without an address: the server is where one is expected.
    fn run_without_address(port: u16, flags: &[&str]) -> Self {
        let mut command = example();
        command.env("ZKLOCK_EXAMPLE_PORT", port.to_string());
        command.args(flags);
        Self::open(command)
    }

    fn open(mut command: Command) -> Self {
        let mut process = command
            .stdout(Stdio::piped())
            .stderr(Stdio::piped())
            .spawn()
            .expect("`cargo test` builds the examples; with --test, build them first");
        let output = BufReader::new(process.stdout.take().unwrap());
        Self { process, output }
    }

    /// The next line, without the date and time that must be in front of it.
    fn line(&mut self) -> String {
        let mut line = String::new();
        self.output.read_line(&mut line).unwrap();
        let (time, message) = line.trim_end().split_at_checked(20).unwrap_or_default();
        let shape = time.replace(|c: char| c.is_ascii_digit(), "0");
        assert_eq!(shape, "0000/00/00 00:00:00 ", "{line:?}");
        message.to_owned()
    }

    fn signal(&self, signal: &str) {
        let id = self.process.id().to_string();
        assert!(
            Command::new("kill")
                .args([signal, &id])
                .status()
                .unwrap()
                .success()
        );
    }

    /// The exit code, and what was printed that [`line`](Self::line) left.
    fn end(mut self) -> (Option<i32>, String) {
        eventually("it ends", || self.process.try_wait().unwrap().is_some());
        let code = self.process.wait().unwrap().code();
        let mut rest = String::new();
        self.output.read_to_string(&mut rest).unwrap();
        self.process
            .stderr
            .take()
            .unwrap()
            .read_to_string(&mut rest)
            .unwrap();
        (code, rest)
    }

    fn ends_with(self, code: i32) {
        assert_eq!(self.end(), (Some(code), String::new()));
    }
}

/// It does not outlive its test, even one that fails.
impl Drop for Terminal {
    fn drop(&mut self) {
        let _ = self.process.kill();
        let _ = self.process.wait();
    }
}

fn example() -> Command {
    let tests = env::current_exe().unwrap();
    let folder = tests.parent().unwrap().parent().unwrap().join("examples");
    Command::new(folder.join("zookeeper-example"))
}

fn claims(server: &ZooKeeper) -> Vec<String> {
    claims_at(server.port())
}

fn claims_at(port: u16) -> Vec<String> {
    RawClient::connect(&format!("127.0.0.1:{port}"))
        .children("/my/locks")
        .unwrap_or_default()
}

#[test]
fn the_second_gets_the_lock_when_the_first_is_interrupted() {
    let server = ZooKeeper::start();
    let mut first = Terminal::run(&server.address(), &[]);
    assert_eq!(first.line(), "I've got the lock!");
    let mut second = Terminal::run(&server.address(), &["-timeout=30s", "-owner", "user2"]);
    eventually("both are in the queue", || claims(&server).len() == 2);
    for name in claims(&server) {
        let (hex, number) = name
            .strip_prefix("_c_")
            .unwrap()
            .split_once("-lock-")
            .unwrap();
        assert_eq!((hex.len(), number.len()), (32, 10), "{name}");
    }

    first.signal("-INT");
    assert_eq!(first.line(), "I've released the lock");
    first.ends_with(0);
    assert_eq!(second.line(), "I've got the lock!");
    second.signal("-TERM");
    assert_eq!(second.line(), "I've released the lock");
    second.ends_with(0);
    assert!(claims(&server).is_empty());
}

#[test]
fn one_that_times_out_leaves_the_queue_and_stays() {
    let server = ZooKeeper::start();
    let mut first = Terminal::run(&server.address(), &[]);
    assert_eq!(first.line(), "I've got the lock!");
    let mut second = Terminal::run(&server.address(), &["--timeout", "300ms"]);
    assert_eq!(second.line(), "attempt to acquire lock timed out");
    eventually("one is left", || claims(&server).len() == 1);
    assert_eq!(second.process.try_wait().unwrap(), None, "it still lives");
    second.signal("-INT");
    second.ends_with(1);
    first.signal("-INT");
    assert_eq!(first.line(), "I've released the lock");
    first.ends_with(0);
}

#[test]
fn a_signal_while_waiting_withdraws() {
    let server = ZooKeeper::start();
    let mut first = Terminal::run(&server.address(), &[]);
    assert_eq!(first.line(), "I've got the lock!");
    let second = Terminal::run(&server.address(), &["--timeout", "1h"]);
    eventually("both are in the queue", || claims(&server).len() == 2);
    second.signal("-TERM");
    second.ends_with(0);
    assert_eq!(claims(&server).len(), 1);
    first.signal("-INT");
    assert_eq!(first.line(), "I've released the lock");
    first.ends_with(0);
}

#[test]
fn one_that_is_killed_leaves_when_its_session_expires() {
    let server = ZooKeeper::start();
    let mut first = Terminal::run(&server.address(), &["--session-timeout", "2s"]);
    assert_eq!(first.line(), "I've got the lock!");
    let start = Instant::now();
    first.signal("-KILL");
    let mut second = Terminal::run(&server.address(), &["--timeout", "30s"]);
    assert_eq!(second.line(), "I've got the lock!");
    // The last heartbeat was up to a sixth of the timeout earlier.
    assert!(
        start.elapsed() > Duration::from_millis(1_500),
        "{:?}",
        start.elapsed()
    );
    second.signal("-INT");
    assert_eq!(second.line(), "I've released the lock");
    second.ends_with(0);
}

#[test]
fn a_deleted_claim_is_told() {
    let server = ZooKeeper::start();
    let mut first = Terminal::run(&server.address(), &[]);
    assert_eq!(first.line(), "I've got the lock!");
    let claim = format!("/my/locks/{}", claims(&server)[0]);
    RawClient::connect(&server.address())
        .delete(&claim)
        .unwrap();
    assert_eq!(
        first.line(),
        "I've lost the lock: someone else has deleted its claim"
    );
    first.ends_with(1);
}

#[test]
fn an_unreachable_server_is_named_within_the_timeout() {
    let closed = std::net::TcpListener::bind("127.0.0.1:0").unwrap();
    let address = closed.local_addr().unwrap().to_string();
    drop(closed);
    let start = Instant::now();
    let mut terminal = Terminal::run(&address, &["--timeout", "1s"]);
    let line = terminal.line();
    assert!(
        start.elapsed() < Duration::from_secs(5),
        "{:?}",
        start.elapsed()
    );
    assert!(
        line.contains(&format!("{address}: connection refused")),
        "{line}"
    );
    terminal.ends_with(1);
}

#[test]
fn wrong_usage_is_explained() {
    for (flags, message) in [
        (
            &["--timeout", "soon"][..],
            "\"soon\" is no duration for --timeout",
        ),
        (&["--timeout", "0s"], "a --timeout of zero"),
        (&["--timeout"], "flag --timeout needs a value"),
        (&["--lock", "/x"], "unknown flag \"--lock\""),
        (&["now"], "unexpected argument \"now\""),
    ] {
        let (code, output) = Terminal::run("localhost", flags).end();
        assert_eq!(code, Some(2), "{flags:?}");
        assert!(
            output.contains(message) && output.contains("Usage:"),
            "{output}"
        );
    }
    let (code, output) = Terminal::run("localhost", &["-help"]).end();
    assert_eq!(code, Some(0));
    assert!(output.contains("--session-timeout"));
}

#[test]
fn bad_values_are_told() {
    let server = ZooKeeper::start();
    for (flags, message) in [
        (
            ["--path", "my/locks"],
            "znode path \"my/locks\" must start with \"/\"",
        ),
        (
            ["--session-timeout", "0s"],
            "a session timeout of 0ns is not possible",
        ),
    ] {
        let mut terminal = Terminal::run(&server.address(), &flags);
        let line = terminal.line();
        assert!(line.contains(message), "{line}");
        terminal.ends_with(1);
    }
}

/// A first run, which serves, and a second in the queue behind it.
fn two_without_a_server() -> (u16, Terminal, Terminal) {
    let port = free_port();
    let mut first = Terminal::run_without_address(port, &[]);
    assert_eq!(
        first.line(),
        format!("nothing listens on localhost:{port}: serving ZooKeeper there, from memory")
    );
    assert_eq!(first.line(), "I've got the lock!");
    let second = Terminal::run_without_address(port, &["--timeout", "30s"]);
    eventually("both are in the queue", || claims_at(port).len() == 2);
    (port, first, second)
}

#[test]
fn without_a_server_the_first_run_is_one_until_the_second_has_gone() {
    let (port, mut first, mut second) = two_without_a_server();
    let mut third = Terminal::run_without_address(port, &["--timeout", "300ms"]);
    assert_eq!(third.line(), "attempt to acquire lock timed out");
    third.signal("-INT");
    third.ends_with(1);

    first.signal("-INT");
    assert_eq!(first.line(), "I've released the lock");
    assert_eq!(
        first.line(),
        "others are connected: serving them until they leave, or until the next interrupt"
    );
    assert_eq!(second.line(), "I've got the lock!");
    assert_eq!(first.process.try_wait().unwrap(), None, "it still serves");
    second.signal("-INT");
    assert_eq!(second.line(), "I've released the lock");
    second.ends_with(0);
    first.ends_with(0);
}

#[test]
fn a_second_interrupt_ends_the_server_too() {
    let (_, mut first, mut second) = two_without_a_server();
    first.signal("-INT");
    assert_eq!(first.line(), "I've released the lock");
    assert_eq!(second.line(), "I've got the lock!");
    first.line();
    first.signal("-INT");
    first.ends_with(0);
}

#[test]
fn a_server_without_others_ends_with_its_run() {
    let mut alone = Terminal::run_without_address(free_port(), &[]);
    alone.line();
    assert_eq!(alone.line(), "I've got the lock!");
    alone.signal("-INT");
    assert_eq!(alone.line(), "I've released the lock");
    alone.ends_with(0);
}

#[test]
fn a_server_that_is_there_is_used() {
    let server = ZooKeeper::start();
    let mut terminal = Terminal::run_without_address(server.port(), &[]);
    assert_eq!(terminal.line(), "I've got the lock!");
    assert_eq!(claims(&server).len(), 1);
    terminal.signal("-INT");
    assert_eq!(terminal.line(), "I've released the lock");
    terminal.ends_with(0);
}
