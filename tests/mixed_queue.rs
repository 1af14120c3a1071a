//! Two clients in one queue on a server, real or embedded: this library and kazoo, each as
//! several contenders, with a counter that nothing but the lock protects.

#![allow(
    clippy::unwrap_used,
    clippy::expect_used,
    clippy::panic,
    clippy::indexing_slicing,
    reason = "a test fails by panicking"
)]

mod support;

use std::io::{BufRead, BufReader, Read, Write};
use std::process::{Child, ChildStdout, Stdio};
use std::time::Duration;

use support::eventually;
use support::other_clients::kazoo;
use support::raw::{PERSISTENT, RawClient};
use support::server::{TestServer, on_both_servers};
use tokio::task::{JoinSet, block_in_place};
use zklock::{Dialect, Lock, Session};

/// Contenders of each client, and how often each takes the lock.
const CONTENDERS: usize = 3;
const ROUNDS: usize = 50;
const TOTAL: usize = 2 * CONTENDERS * ROUNDS;

const LOCK: &str = "/mixed";
const COUNTER: &str = "/counter";
/// Far more than a turn takes to come.
const LIMIT: Duration = Duration::from_secs(60);

async fn kazoo_shares_a_queue_with_our_names_when_told_of_them(server: &'static TestServer) {
    share_a_queue(server.another(), |lock| lock, &["lock-"]).await;
}

async fn kazoo_shares_a_queue_with_names_like_its_own_untold(server: &'static TestServer) {
    share_a_queue(
        server.another(),
        |lock| lock.with_dialect(Dialect::Kazoo),
        &[],
    )
    .await;
}

/// Lets contenders of both clients take their turns, and checks that there was
/// one holder at a time, in the order of the queue.
async fn share_a_queue(server: TestServer, configure: fn(Lock) -> Lock, kazoo_patterns: &[&str]) {
    let mut raw = RawClient::connect(&server.address());
    raw.create(COUNTER, b"0", PERSISTENT).unwrap();
    let mut locks = Vec::new();
    for _ in 0..CONTENDERS {
        let session = Session::connect(server.address()).await.unwrap();
        locks.push(configure(Lock::new(&session, LOCK).unwrap()));
    }
    let mut kazoos: Vec<_> = (0..CONTENDERS)
        .map(|_| Kazoo::start(&server, kazoo_patterns))
        .collect();
    kazoos.iter_mut().for_each(Kazoo::wait_until_ready);

    // They begin together, behind this one.
    let first = locks[0].acquire().timeout(LIMIT).await.unwrap();
    kazoos.iter_mut().for_each(Kazoo::contend);
    let ours: JoinSet<_> = locks
        .into_iter()
        .map(|lock| contend(lock, RawClient::connect(&server.address())))
        .collect();
    eventually("all are in the queue", || {
        raw.children(LOCK).unwrap().len() == 1 + 2 * CONTENDERS
    });
    first.release().await.unwrap();
    let mut grants = ours.join_all().await.concat();
    grants.extend(kazoos.into_iter().flat_map(Kazoo::grants));

    grants.sort_by_key(|grant| grant.found);
    let found: Vec<usize> = grants.iter().map(|grant| grant.found).collect();
    assert_eq!(found, (0..TOTAL).collect::<Vec<_>>(), "one at a time");
    assert_eq!(read_counter(&mut raw), TOTAL);
    assert!(
        grants.is_sorted_by(|a, b| a.number < b.number),
        "in the order of their numbers: {grants:?}"
    );
    assert_eq!(raw.children(LOCK), Some(vec![]), "no claim is left");
    let pairs = grants.windows(2);
    let mixed = pairs.filter(|pair| pair[0].client != pair[1].client);
    let mixed = mixed.count();
    println!("{TOTAL} grants in order, {mixed} from one client to the other");
    assert!(mixed >= CONTENDERS, "they have hardly met");
}

/// One turn.
#[derive(Clone, Debug)]
struct Grant {
    /// What the counter was.
    found: usize,
    /// The number of the claim.
    number: u32,
    client: Client,
}

#[derive(Clone, Copy, Debug, PartialEq)]
enum Client {
    Ours,
    Kazoo,
}

impl Grant {
    fn new(client: Client, found: usize, claim: &str) -> Self {
        let (_, number) = claim.split_at(claim.len() - 10);
        let number = number.parse().unwrap();
        Self {
            found,
            number,
            client,
        }
    }
}

/// As kazoo_contender.py does.
async fn contend(lock: Lock, mut raw: RawClient) -> Vec<Grant> {
    let mut grants = Vec::new();
    for _ in 0..ROUNDS {
        let guard = lock.acquire().timeout(LIMIT).await.unwrap();
        let found = block_in_place(|| {
            let found = read_counter(&mut raw);
            let next = (found + 1).to_string();
            raw.set_data(COUNTER, next.as_bytes()).unwrap();
            found
        });
        grants.push(Grant::new(Client::Ours, found, guard.znode()));
        guard.release().await.unwrap();
    }
    grants
}

fn read_counter(raw: &mut RawClient) -> usize {
    let (data, ..) = raw.get_data(COUNTER).unwrap();
    String::from_utf8(data).unwrap().parse().unwrap()
}

/// A process that runs kazoo_contender.py.
struct Kazoo {
    process: Child,
    output: BufReader<ChildStdout>,
}

impl Kazoo {
    fn start(server: &TestServer, patterns: &[&str]) -> Self {
        let mut process = kazoo("kazoo_contender.py")
            .args([&server.address(), LOCK, COUNTER, &ROUNDS.to_string()])
            .args(patterns)
            .stdin(Stdio::piped())
            .stdout(Stdio::piped())
            .spawn()
            .expect("run python3; on Debian: apt-get install python3");
        let output = BufReader::new(process.stdout.take().unwrap());
        Self { process, output }
    }

    fn wait_until_ready(&mut self) {
        let mut line = String::new();
        self.output.read_line(&mut line).unwrap();
        assert_eq!(line, "ready\n");
    }

    fn contend(&mut self) {
        let input = self.process.stdin.as_mut().unwrap();
        input.write_all(b"\n").unwrap();
    }

    fn grants(mut self) -> Vec<Grant> {
        let mut lines = String::new();
        self.output.read_to_string(&mut lines).unwrap();
        assert!(self.process.wait().unwrap().success());
        let grants = lines.lines().map(|line| {
            let (found, claim) = line.split_once(' ').unwrap();
            Grant::new(Client::Kazoo, found.parse().unwrap(), claim)
        });
        grants.collect()
    }
}

impl Drop for Kazoo {
    fn drop(&mut self) {
        let _ = self.process.kill();
        let _ = self.process.wait();
    }
}

on_both_servers! {
    #[tokio::test(flavor = "multi_thread", worker_threads = 2)]
    kazoo_shares_a_queue_with_our_names_when_told_of_them
    kazoo_shares_a_queue_with_names_like_its_own_untold;
}
