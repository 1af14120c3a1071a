//! What a process costs that has a session and nothing to do, or no server.

#![allow(
    clippy::unwrap_used,
    clippy::expect_used,
    clippy::panic,
    clippy::indexing_slicing,
    reason = "a test fails by panicking"
)]
#![cfg(target_os = "linux")]

mod support;

use std::collections::BTreeMap;
use std::env;
use std::fs;
use std::io::{BufRead, BufReader, Read};
use std::process::{Child, ChildStdout, Command, Stdio};
use std::thread;
use std::time::Duration;

use support::zookeeper::ZooKeeper;
use zklock::{Lock, Session};

/// How long the server is away; a minute if `ZKLOCK_LONG` is 1.
const OUTAGE: Duration = Duration::from_secs(10);
const LONG_OUTAGE: Duration = Duration::from_secs(60);

/// Of the session that is watched, and of the one that loses its server.
const SESSION_TIMEOUT: Duration = Duration::from_secs(6);
/// For how many session timeouts it is watched.
const TIMEOUTS: u64 = 2;

/// Of `/proc/PID/stat`; the same on every Linux.
const TICKS_PER_SECOND: f64 = 100.0;

/// What a process is to do, and where its server is.
const ADDRESS: &str = "ZKLOCK_TEST_ADDRESS";
const HOLDS: &str = "ZKLOCK_TEST_HOLDS";
const READY: &str = "the process is ready";

/// A process that has a session until it is dropped.
struct Process {
    child: Child,
    /// Kept open: its test harness ends when it cannot print.
    _output: BufReader<ChildStdout>,
}

impl Process {
    /// Runs [`idle_process`]; with a lock that is held, and waited for, too.
    fn start(server: &ZooKeeper, holds: bool) -> Self {
        let mut child = Command::new(env::current_exe().unwrap())
            .args(["--exact", "idle_process", "--ignored", "--nocapture"])
            .env(ADDRESS, server.address())
            .env(HOLDS, if holds { "1" } else { "0" })
            .stdout(Stdio::piped())
            .spawn()
            .unwrap();
        let mut output = BufReader::new(child.stdout.take().unwrap());
        let mut lines = output.by_ref().lines().map(Result::unwrap);
        assert!(lines.any(|line| line.contains(READY)), "it is not ready");
        Self {
            child,
            _output: output,
        }
    }

    /// What `/proc` says of it.
    fn read(&self, file: &str) -> String {
        fs::read_to_string(format!("/proc/{}/{file}", self.child.id())).unwrap()
    }

    /// Seconds of processor time, in user mode and in the kernel.
    fn cpu_seconds(&self) -> f64 {
        let stat = self.read("stat");
        // Behind the name, which may hold anything, in parentheses.
        let (_, rest) = stat.rsplit_once(')').unwrap();
        let fields: Vec<&str> = rest.split_whitespace().collect();
        let ticks = |index: usize| fields[index].parse::<f64>().unwrap();
        (ticks(11) + ticks(12)) / TICKS_PER_SECOND
    }

    /// How often each of its threads has gone to sleep, and so was woken.
    fn sleeps(&self) -> BTreeMap<String, u64> {
        let tasks = fs::read_dir(format!("/proc/{}/task", self.child.id())).unwrap();
        let sleeps = tasks.map(|task| {
            let id = task.unwrap().file_name().into_string().unwrap();
            let status = self.read(&format!("task/{id}/status"));
            let mut lines = status.lines();
            let count = lines.find_map(|line| line.strip_prefix("voluntary_ctxt_switches:"));
            (id, count.unwrap().trim().parse().unwrap())
        });
        sleeps.collect()
    }

    /// How often its threads, those that are still there, have since.
    fn sleeps_since(&self, before: &BTreeMap<String, u64>) -> u64 {
        let now = self.sleeps().into_iter();
        now.map(|(id, count)| count - before.get(&id).unwrap_or(&0))
            .sum()
    }
}

impl Drop for Process {
    fn drop(&mut self) {
        let _ = self.child.kill();
        let _ = self.child.wait();
    }
}

#[ignore = "run by another test, as a process of its own"]
#[tokio::test]
async fn idle_process() {
    let address = env::var(ADDRESS).expect("the test that runs this sets it");
    let builder = Session::builder(address).session_timeout(SESSION_TIMEOUT);
    let session = builder.connect().await.unwrap();
    let lock = Lock::new(&session, "/idle").unwrap();
    let mut waiting = None;
    if env::var(HOLDS).unwrap() == "1" {
        lock.acquire().await.unwrap().detach();
        waiting = Some(tokio::spawn(lock.acquire().into_future()));
    }
    println!("{READY}");
    // Until it is killed.
    tokio::time::sleep(LONG_OUTAGE * 10).await;
    drop(waiting);
}

#[test]
fn a_process_without_a_server_does_not_spin() {
    let mut server = ZooKeeper::start();
    let process = Process::start(&server, true);
    let long = env::var("ZKLOCK_LONG").is_ok_and(|value| value == "1");
    let outage = if long { LONG_OUTAGE } else { OUTAGE };
    let before = (process.cpu_seconds(), process.sleeps());
    server.kill();
    thread::sleep(outage);
    let used = process.cpu_seconds() - before.0;
    let sleeps = process.sleeps_since(&before.1);
    println!("{used:.2} s of processor time and {sleeps} wake-ups in {outage:?} without a server");
    assert!(used < outage.as_secs_f64() / 10.0, "{used} s");
}

#[test]
fn an_idle_session_wakes_its_process_a_few_times_per_session_timeout() {
    let server = ZooKeeper::start();
    let process = Process::start(&server, false);
    // Whatever the start still had to do is done.
    thread::sleep(SESSION_TIMEOUT / 6);
    let before = process.sleeps();
    thread::sleep(SESSION_TIMEOUT * TIMEOUTS as u32);
    let sleeps = process.sleeps_since(&before) as f64 / TIMEOUTS as f64;
    println!("{sleeps} wake-ups per session timeout of {SESSION_TIMEOUT:?}");
    assert!(sleeps <= 40.0, "{sleeps} per session timeout");
}
