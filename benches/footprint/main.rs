//! What the library takes: heap for an idle session, allocations for an acquire
//! and release, and how often an idle session wakes its process.
//!
//! ```text
//! cargo bench --bench footprint -- [--json] [--server embedded]
//! cargo bench --bench footprint -- cycles N [TASKS]    only so many, for a profiler
//! cargo bench --bench footprint -- drain N             as many waiters, one session
//!
//! These two are against the embedded server, or with `real` a real one; with
//! `threads` on a runtime of several.
//! ```

#![allow(
    clippy::unwrap_used,
    clippy::expect_used,
    clippy::panic,
    clippy::indexing_slicing,
    missing_docs,
    unreachable_pub,
    dead_code,
    reason = "a measurement fails by panicking, and shares files with another"
)]

#[path = "../limit/counting.rs"]
mod counting;
#[path = "../limit/servers.rs"]
mod servers;
#[path = "../../tests/support/mod.rs"]
mod support;

use std::env;
use std::fs;
use std::time::Duration;

use servers::Server;
use tokio::task::JoinSet;
use zklock::{Lock, Session};

const SESSIONS: usize = 1_000;
const CYCLES: u64 = 1_000;
/// An acquire and release: create, getChildren, exists, delete.
const REQUESTS: f64 = 4.0;
/// What is idle is watched for so many session timeouts.
const TIMEOUTS: u32 = 3;
const SESSION_TIMEOUT: Duration = Duration::from_secs(6);

#[global_allocator]
static ALLOCATOR: counting::Counting = counting::Counting;

fn main() {
    if servers::serve_if_asked() {
        return;
    }
    let args: Vec<String> = env::args().skip(1).collect();
    let has = |name: &str| args.iter().any(|arg| arg == name);
    let number = |index: usize| args.get(index).and_then(|arg| arg.parse().ok());
    let after = |name: &str| Some(args.iter().position(|arg| arg == name)? + 1);
    let (cycles, drain) = (after("cycles"), after("drain"));
    let profiled = cycles.or(drain).is_some();
    let server = Server::start(has("embedded") || profiled && !has("real"));
    let mut runtime = if has("threads") {
        tokio::runtime::Builder::new_multi_thread()
    } else {
        tokio::runtime::Builder::new_current_thread()
    };
    let runtime = runtime.enable_all().build().unwrap();
    let address = server.address();
    runtime.block_on(async {
        if let Some(at) = cycles {
            let tasks = number(at + 1).unwrap_or(1);
            return run_cycles(&address, number(at).unwrap(), tasks).await;
        }
        if let Some(at) = drain {
            return run_drain(&address, number(at).unwrap()).await;
        }
        let print = Printer {
            json: has("--json"),
        };
        allocations(&address, &print).await;
        wake_ups(&address, &print).await;
        heap(&address, &print).await;
    });
}

struct Printer {
    json: bool,
}

impl Printer {
    fn line(&self, what: &str, value: f64, limit: f64) {
        if self.json {
            println!(r#"{{"measure":"{what}","value":{value:.2},"budget":{limit}}}"#);
        } else {
            // What counts is the figure as it is printed.
            let value = (value * 10.0).round() / 10.0;
            let missed = if value > limit { "  MISSED" } else { "" };
            println!("{what:<44} {value:>9.1}  <= {limit}{missed}");
        }
    }
}

/// Each of the tasks has a lock of its own.
async fn run_cycles(address: &str, count: usize, tasks: usize) {
    let session = Session::connect(address).await.unwrap();
    let mut running = JoinSet::new();
    for task in 0..tasks {
        let lock = Lock::new(&session, format!("/cycles/{task}")).unwrap();
        running.spawn(async move {
            for _ in 0..count / tasks {
                lock.acquire().await.unwrap().release().await.unwrap();
            }
        });
    }
    running.join_all().await;
    session.close().await;
}

/// All wait for one lock, and pass it on.
async fn run_drain(address: &str, waiters: usize) {
    let session = Session::connect(address).await.unwrap();
    let lock = Lock::new(&session, "/drain").unwrap();
    let holder = lock.acquire().await.unwrap();
    let mut running = JoinSet::new();
    for _ in 0..waiters {
        let lock = lock.clone();
        running.spawn(async move {
            lock.acquire().await.unwrap().release().await.unwrap();
        });
    }
    tokio::time::sleep(Duration::from_secs(1)).await;
    holder.release().await.unwrap();
    running.join_all().await;
    session.close().await;
}

async fn allocations(address: &str, print: &Printer) {
    let session = Session::connect(address).await.unwrap();
    let lock = Lock::new(&session, "/allocations").unwrap();
    let mut before = 0;
    for cycle in 0..2 * CYCLES {
        if cycle == CYCLES {
            before = counting::allocations();
        }
        lock.acquire().await.unwrap().release().await.unwrap();
    }
    let each = (counting::allocations() - before) as f64 / CYCLES as f64;
    print.line("allocations per request", each / REQUESTS, 2.0);
    print.line("allocations per acquire and release", each, 2.0 * REQUESTS);
    session.close().await;
}

/// How often this thread goes to sleep, and so is woken, with an idle session.
async fn wake_ups(address: &str, print: &Printer) {
    let builder = Session::builder(address).session_timeout(SESSION_TIMEOUT);
    let session = builder.connect().await.unwrap();
    tokio::time::sleep(SESSION_TIMEOUT / 6).await;
    let before = sleeps();
    tokio::time::sleep(SESSION_TIMEOUT * TIMEOUTS).await;
    let each = (sleeps() - before) as f64 / f64::from(TIMEOUTS);
    print.line("wake-ups per session timeout", each, 12.0);
    let a_minute = each * 60.0 / SESSION_TIMEOUT.as_secs_f64();
    print.line("wake-ups a minute, timeout of 6 s", a_minute, 120.0);
    session.close().await;
}

fn sleeps() -> u64 {
    let status = fs::read_to_string("/proc/thread-self/status").unwrap();
    let mut lines = status.lines();
    let count = lines.find_map(|line| line.strip_prefix("voluntary_ctxt_switches:"));
    count.unwrap().trim().parse().unwrap()
}

async fn heap(address: &str, print: &Printer) {
    let mut sessions = Vec::with_capacity(SESSIONS);
    let before = counting::live_bytes();
    for _ in 0..SESSIONS {
        let builder = Session::builder(address).session_timeout(SESSION_TIMEOUT);
        sessions.push(builder.connect().await.unwrap());
    }
    // Each has had heartbeats by then.
    tokio::time::sleep(SESSION_TIMEOUT / 2).await;
    let each = (counting::live_bytes() - before) as f64 / SESSIONS as f64;
    print.line("heap per idle session, bytes", each, 3.0 * 1024.0);
    for session in &sessions {
        session.close().await;
    }
}
