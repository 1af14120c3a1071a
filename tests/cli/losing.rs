//! A lock that is lost while the command runs: the command is gone before
//! anyone else can have it.

use std::fs;
use std::path::PathBuf;
use std::thread::sleep;
use std::time::{Duration, Instant};

use crate::harness::{Running, SERVER, claims, client, eventually, is_running, ran, zklock};
use crate::support::proxy::Proxy;
use crate::support::zookeeper::ZooKeeper;

/// A short session timeout, and yet one that a busy machine keeps.
const TIMEOUT: [&str; 2] = ["--session-timeout", "3s"];

/// By then its lease is no longer that of the session's first answer, which is
/// nearly as long as the session lives.
const SETTLED: Duration = Duration::from_secs(2);

/// Ends by no signal but SIGKILL, and writes the time into a file until then, or
/// for half a minute.
const STUBBORN: &str = "trap '' TERM HUP INT; echo $$
    for i in $(seq 10000); do date +%s%N > $BEAT.new; mv $BEAT.new $BEAT; done";

/// A file for [`STUBBORN`] to write to.
struct Beat(PathBuf);

impl Beat {
    fn new(name: &str) -> Self {
        let name = format!("zklock-beat-{}-{name}", std::process::id());
        // In memory if possible: a disk that is busy would hold its end up.
        let memory = PathBuf::from("/dev/shm");
        let folder = Some(memory).filter(|memory| memory.is_dir());
        Self(folder.unwrap_or_else(std::env::temp_dir).join(name))
    }

    /// Runs [`STUBBORN`] under a lock, at this server. Returns its process id.
    fn start(&self, address: &str, path: &str, flags: &[&str]) -> (Running, u32) {
        let args = [&["run", path], &TIMEOUT[..], flags, &["-c", STUBBORN]].concat();
        let mut command = zklock(&args);
        command.env("BEAT", &self.0).env("ZKLOCK_SERVERS", address);
        let mut running = Running::start(&mut command);
        let child = running.line().parse().unwrap();
        (running, child)
    }

    /// When it was alive, for the last time.
    fn last(&self) -> u64 {
        fs::read_to_string(&self.0).unwrap().trim().parse().unwrap()
    }
}

impl Drop for Beat {
    fn drop(&mut self) {
        let _ = fs::remove_file(&self.0);
    }
}

/// The process that watches the command beside this `zklock`.
fn second_process(running: &Running) -> u32 {
    let children = format!("/proc/{0}/task/{0}/children", running.id());
    let mut found = None;
    // The system's list may lack some while others come and go.
    eventually(|| {
        let children = fs::read_to_string(&children).unwrap();
        found = children.split_whitespace().find_map(|id| {
            let command = fs::read_to_string(format!("/proc/{id}/cmdline")).ok()?;
            command.contains("keep-watch").then(|| id.parse().unwrap())
        });
        found.is_some()
    });
    found.unwrap()
}

fn delete_claim(path: &str) {
    let claim = format!("{path}/{}", claims(path)[0]);
    client().delete(&claim).unwrap();
}

/// The network fails, the session expires, and the next one gets the lock while
/// the first `zklock` knows nothing of all that.
#[test]
fn a_command_that_ignores_term_is_gone_before_the_next_one_gets_the_lock() {
    let (proxy, beat) = (Proxy::start_raw(&SERVER.address()), Beat::new("cut"));
    let (holder, child) = beat.start(&proxy.address(), "/cut", &[]);
    let mut waiter = Running::waiting("/cut", &[]);
    sleep(SETTLED);
    proxy.pause();
    let granted: u64 = waiter.line().parse().unwrap();
    assert!(!is_running(child));
    let ahead = Duration::from_nanos(granted.checked_sub(beat.last()).expect("it is gone before"));
    println!("gone {ahead:?} before the next grant");
    holder
        .end()
        .says(74, "the servers could not be reached in time");
}

#[test]
fn a_server_that_stops_ends_the_command_in_time() {
    let server = ZooKeeper::start();
    let beat = Beat::new("stopped");
    let (holder, child) = beat.start(&server.address(), "/p", &[]);
    server.stop_process();
    eventually(|| !is_running(child));
    let ended = beat.last();
    holder
        .end()
        .says(74, "/p was lost: the servers could not be reached in time");
    server.continue_process();
    let mut next = zklock(&["run", "-s", &server.address(), "/p", "date", "+%s%N"]);
    let granted: u64 = Running::start(&mut next).end().out.trim().parse().unwrap();
    assert!(ended < granted);
}

#[test]
fn a_command_that_heeds_term_may_clean_up() {
    let proxy = Proxy::start_raw(&SERVER.address());
    let script =
        "exec 2> /dev/null; trap 'echo cleaned; exit 0' TERM; echo; while :; do sleep 0.01; done";
    let args = [
        &["run", "/clean"],
        &TIMEOUT[..],
        &["--grace", "500ms", "-c", script],
    ]
    .concat();
    let mut command = zklock(&args);
    let mut running = Running::start(command.env("ZKLOCK_SERVERS", proxy.address()));
    running.line();
    proxy.pause();
    assert_eq!(running.line(), "cleaned");
    running
        .end()
        .says(74, "the command was told to end, and did");
}

#[test]
fn what_the_command_has_started_ends_with_it() {
    let script = "sh -c \"trap '' TERM; echo \\$\\$; sleep 30; true\" & wait";
    let mut running = Running::start(&mut zklock(&["run", "/family", "-c", script]));
    let grandchild = running.line().parse().unwrap();
    assert!(is_running(grandchild));
    delete_claim("/family");
    eventually(|| !is_running(grandchild));
    let end = running.end();
    end.says(74, "someone else has deleted its claim");
}

#[test]
fn a_claim_that_was_deleted_ends_the_command_at_once() {
    let running = Running::holding("/deleted", &[], "echo; exec sleep 30");
    let start = Instant::now();
    delete_claim("/deleted");
    running
        .end()
        .says(74, "/deleted was lost: someone else has deleted its claim");
    assert!(
        start.elapsed() < Duration::from_secs(5),
        "{:?}",
        start.elapsed()
    );
}

#[test]
fn a_ttl_ends_the_command() {
    let beat = Beat::new("ttl");
    let (running, child) = beat.start(&SERVER.address(), "/ttl", &["--ttl", "2s"]);
    eventually(|| !is_running(child));
    let end = running.end();
    end.says(74, "its TTL is over; the command was killed");
    eventually(|| claims("/ttl").is_empty());
}

#[test]
fn a_short_ttl_is_not_over_before_it_has_begun() {
    let args = [
        "run",
        "/brief",
        "--ttl",
        "1500ms",
        "-c",
        "sleep 0.5; echo done",
    ];
    ran(&args).printed(0, "done\n");
}

#[test]
fn on_lost_kill_gives_no_warning() {
    let script = "trap 'echo told' TERM; echo; while :; do sleep 0.01; done";
    let running = Running::holding("/killed", &["--on-lost", "kill"], script);
    delete_claim("/killed");
    running.end().says(74, "the command was killed");
}

#[test]
fn on_lost_warn_says_so_and_lets_the_command_go_on() {
    let script = "echo; read line; echo went on; exit 5";
    let mut command = zklock(&["run", "/warned", "--on-lost", "warn", "-c", script]);
    command.stdin(std::process::Stdio::piped());
    let mut running = Running::start(&mut command);
    running.line();
    delete_claim("/warned");
    eventually(|| ran(&["run", "-n", "/warned", "true"]).code == Some(0));
    sleep(Duration::from_millis(200));
    running.close_input();
    let end = running.end();
    assert_eq!((end.code, &*end.out), (Some(5), "went on\n"));
    assert!(
        end.err.contains("the lock is lost") && end.err.contains("goes on"),
        "{end:?}"
    );
}

#[test]
fn a_zklock_that_is_killed_takes_its_command_with_it() {
    let beat = Beat::new("orphan");
    let (holder, child) = beat.start(&SERVER.address(), "/orphan", &[]);
    let mut waiter = Running::waiting("/orphan", &[]);
    sleep(SETTLED);
    holder.signal("KILL");
    let granted: u64 = waiter.line().parse().unwrap();
    assert!(!is_running(child) && beat.last() < granted);
    let err = holder.end().err;
    assert!(err.contains("zklock was killed"), "{err}");
}

/// As when a service is stopped, with all its processes.
#[test]
fn the_second_process_watches_on_whatever_signals_it_gets() {
    let beat = Beat::new("service");
    let (holder, child) = beat.start(&SERVER.address(), "/service", &[]);
    for signal in ["TERM", "INT", "HUP"] {
        crate::support::zookeeper::signal(second_process(&holder), signal);
    }
    holder.signal("KILL");
    eventually(|| !is_running(child));
    eventually(|| claims("/service").is_empty());
}

#[test]
fn a_zklock_that_is_stopped_keeps_no_command_alive() {
    let beat = Beat::new("stuck");
    let (holder, child) = beat.start(&SERVER.address(), "/stuck", &[]);
    let mut waiter = Running::waiting("/stuck", &[]);
    sleep(SETTLED);
    holder.signal("STOP");
    let granted: u64 = waiter.line().parse().unwrap();
    assert!(!is_running(child) && beat.last() < granted);
    holder.signal("CONT");
    let end = holder.end();
    assert_eq!(end.code, Some(74), "{end:?}");
    assert!(end.err.contains("the command gets SIGKILL"), "{end:?}");
}

/// A command that ended by itself did so under the lock, or its success counts
/// for nothing.
#[test]
fn an_end_that_comes_too_late_to_tell_is_no_success() {
    let args = [&["run", "/asleep"], &TIMEOUT[..], &["-c", "echo; sleep 1"]].concat();
    let mut running = Running::start(&mut zklock(&args));
    running.line();
    running.signal("STOP");
    eventually(|| claims("/asleep").is_empty());
    running.signal("CONT");
    let end = running.end();
    assert_eq!(end.code, Some(74), "{end:?}");
    assert!(end.err.contains("/asleep was lost"), "{end:?}");
}

#[test]
fn a_grace_period_that_the_granted_timeout_does_not_allow_is_cut() {
    let flags = ["--session-timeout", "2m", "--grace", "15s"];
    let args = [&["run", "/granted"], &flags[..], &["true"]].concat();
    ran(&args).says(
        0,
        "granted a session timeout of 60s: --grace is 10s, not 15s",
    );
}
