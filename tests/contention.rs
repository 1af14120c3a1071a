//! Many processes and tasks contend for one lock, on a real server and on the
//! embedded one, over a file that nothing else protects.

#![allow(
    clippy::unwrap_used,
    clippy::expect_used,
    clippy::panic,
    clippy::indexing_slicing,
    reason = "a test fails by panicking"
)]

mod support;

use std::env;
use std::fs::{self, OpenOptions};
use std::io::Write;
use std::path::{Path, PathBuf};
use std::process::{Child, Command, Stdio};
use std::time::Duration;

use support::raw::RawClient;
use support::server::{TestServer, on_both_servers};
use tokio::task::JoinSet;
use zklock::{Lock, Session};

const PROCESSES: usize = 10;
const TASKS: usize = 10;
const ROUNDS: usize = 20;
const LOCK: &str = "/contended";
const ADDRESS: &str = "ZKLOCK_TEST_ADDRESS";
const FOLDER: &str = "ZKLOCK_TEST_FOLDER";

async fn a_hundred_tasks_in_ten_processes_add_up(server: &'static TestServer) {
    let folder = format!("contention at {}", server.address());
    let folder = Path::new(env!("CARGO_TARGET_TMPDIR")).join(folder);
    fs::create_dir_all(&folder).unwrap();
    fs::write(folder.join("number"), "0").unwrap();
    fs::write(folder.join("tokens"), "").unwrap();
    let watches = server.watch_count();

    let contenders: Vec<Child> = (0..PROCESSES).map(|_| contend(server, &folder)).collect();
    for mut contender in contenders {
        assert!(contender.wait().unwrap().success());
    }

    let total = PROCESSES * TASKS * ROUNDS;
    assert_eq!(
        fs::read_to_string(folder.join("number")).unwrap(),
        total.to_string()
    );
    let tokens = fs::read_to_string(folder.join("tokens")).unwrap();
    let tokens: Vec<u64> = tokens.lines().map(|line| line.parse().unwrap()).collect();
    assert_eq!(tokens.len(), total);
    assert!(
        tokens.is_sorted_by(|a, b| a < b),
        "grants are in the order of their tokens"
    );
    let left = RawClient::connect(&server.address()).children(LOCK);
    assert_eq!(left, Some(vec![]), "no claim is left");
    assert_eq!(server.watch_count(), watches, "no watch is left");
    println!("{total} grants, all in order; {watches} watches before and after");
    fs::remove_dir_all(&folder).unwrap();
}

/// Runs [`contender`] as a process.
fn contend(server: &TestServer, folder: &Path) -> Child {
    Command::new(env::current_exe().unwrap())
        .args(["--exact", "contender", "--ignored"])
        .env(ADDRESS, server.address())
        .env(FOLDER, folder)
        .stdout(Stdio::null())
        .spawn()
        .unwrap()
}

#[ignore = "run by another test, as a process of its own"]
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn contender() {
    let address = env::var(ADDRESS).expect("the test that runs this sets it");
    let folder = PathBuf::from(env::var(FOLDER).expect("the test that runs this sets it"));
    let session = Session::connect(address).await.unwrap();
    let lock = Lock::new(&session, LOCK).unwrap();
    let mut tasks = JoinSet::new();
    for _ in 0..TASKS {
        let (lock, folder) = (lock.clone(), folder.clone());
        tasks.spawn(async move {
            for _ in 0..ROUNDS {
                add_one(&lock, &folder).await;
            }
        });
    }
    while let Some(done) = tasks.join_next().await {
        done.unwrap();
    }
    session.close().await;
}

async fn add_one(lock: &Lock, folder: &Path) {
    let guard = lock
        .acquire()
        .timeout(Duration::from_secs(300))
        .await
        .unwrap();
    let number = folder.join("number");
    let value: usize = fs::read_to_string(&number).unwrap().parse().unwrap();
    // Gives a second holder every chance to read the same number.
    tokio::task::yield_now().await;
    fs::write(&number, (value + 1).to_string()).unwrap();
    let mut tokens = OpenOptions::new()
        .append(true)
        .create(true)
        .open(folder.join("tokens"))
        .unwrap();
    writeln!(tokens, "{}", guard.fencing_token()).unwrap();
    guard.release().await.unwrap();
}

on_both_servers! {
    #[tokio::test(flavor = "multi_thread", worker_threads = 2)]
    a_hundred_tasks_in_ten_processes_add_up;
}
