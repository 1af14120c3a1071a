//! A session on a server, real or embedded: outages, strangers, shutdown.

#![allow(
    clippy::unwrap_used,
    clippy::expect_used,
    clippy::panic,
    clippy::indexing_slicing,
    reason = "a test fails by panicking"
)]

mod support;

use std::env;
use std::io::{BufRead, BufReader, Write};
use std::net::TcpListener;
use std::process::{Child, Command, Stdio};
use std::thread;
use std::time::{Duration, Instant};

use support::eventually;
use support::proxy::Proxy;
use support::raw::RawClient;
use support::server::{TestServer, on_both_servers};
use support::zookeeper::signal;
use tokio::runtime::Runtime;
use zklock::session::{SessionStats, Stopped};
use zklock::{AcquireError, Guard, Lock, LostReason, Session, SessionBuilder, SessionState};

/// Far more than any step takes; a test that waits so long has failed.
const LONG: Duration = Duration::from_secs(30);
/// Says "at once" on a machine that has much else to do.
const SOON: Duration = Duration::from_secs(5);

/// Where [`stopped_holder`] finds its server, and what it says before its news.
const ADDRESS: &str = "ZKLOCK_TEST_ADDRESS";
const NEWS: &str = "the holder: ";

async fn connect(address: &str, timeout: Duration) -> Session {
    let builder = Session::builder(address).session_timeout(timeout);
    builder.connect().await.unwrap()
}

async fn acquire(lock: &Lock) -> Guard {
    lock.acquire().timeout(LONG).await.unwrap()
}

fn session_id(session: &Session) -> Option<i64> {
    match session.state() {
        SessionState::Connected { session_id, .. } => Some(session_id),
        _ => None,
    }
}

fn is_suspended(session: &Session) -> bool {
    matches!(session.state(), SessionState::Suspended { .. })
}

fn is_reattached(session: &Session) -> bool {
    match session.state() {
        SessionState::Connected { reattached, .. } => reattached,
        _ => false,
    }
}

/// Cuts the session's connection, and waits until it has another.
fn reconnect(session: &Session, proxy: &Proxy) {
    proxy.refuse();
    proxy.cut();
    eventually("the loss is noticed", || is_suspended(session));
    proxy.accept();
    eventually("the session is back", || is_reattached(session));
}

async fn in_time<T>(what: &str, future: impl IntoFuture<Output = T>) -> T {
    let result = tokio::time::timeout(LONG, future).await;
    result.unwrap_or_else(|_| panic!("not within {LONG:?}: {what}"))
}

async fn a_crash_of_the_server_well_within_the_lease_costs_nothing(server: &'static TestServer) {
    let mut server = server.another();
    let session = connect(&server.address(), LONG).await;
    let id = session_id(&session);
    let guard = acquire(&Lock::new(&session, "/crash").unwrap()).await;
    server.kill();
    eventually("the loss is noticed", || is_suspended(&session));
    server.restart();
    eventually("the session is back", || is_reattached(&session));
    assert_eq!(session_id(&session), id);
    assert_eq!((guard.check(), guard.lost_reason()), (Ok(()), None));
    let mut lost = Box::pin(guard.lost());
    let told = tokio::time::timeout(Duration::from_millis(100), &mut lost).await;
    assert!(told.is_err(), "{told:?}");
}

async fn a_holder_that_is_cut_off_is_told_before_another_is_granted(server: &'static TestServer) {
    let proxy = Proxy::start(&server.address());
    let contender = connect(&server.address(), LONG).await;
    let lock = Lock::new(&contender, "/cut-off").unwrap();
    for timeout in [1_000, 1_500, 2_000].map(Duration::from_millis) {
        let session = connect(&proxy.address(), timeout).await;
        let guard = acquire(&Lock::new(&session, "/cut-off").unwrap()).await;
        let mut request = lock.acquire().timeout(LONG).into_future();
        // Past what the handshake has given, and time to join the queue.
        let early = tokio::time::timeout(timeout, &mut request).await;
        assert!(early.is_err(), "granted while another holds");

        let cut = Instant::now();
        proxy.pause();
        let granted = tokio::spawn(async move { (request.await.unwrap(), Instant::now()) });
        assert_eq!(guard.lost().await, LostReason::LeaseExpired);
        let lost = Instant::now();
        let (next, granted) = granted.await.unwrap();
        let after = [lost, granted].map(|at| at - cut);
        println!("T {timeout:?}: lost and granted {after:?} after the cut");
        assert!(lost < granted, "{after:?}");
        assert_eq!(guard.check(), Err(LostReason::LeaseExpired));
        next.release().await.unwrap();
        proxy.cut();
        proxy.resume();
    }
}

/// A process that does not outlive its test, even if it is stopped.
struct Process(Child);

impl Drop for Process {
    fn drop(&mut self) {
        let _ = self.0.kill();
        let _ = self.0.wait();
    }
}

async fn a_process_that_was_stopped_for_too_long_learns_of_it_from_its_first_check(
    server: &'static TestServer,
) {
    let mut holder = Command::new(env::current_exe().unwrap());
    holder
        .args(["--exact", "stopped_holder", "--ignored", "--nocapture"])
        .env(ADDRESS, server.address())
        .stdout(Stdio::piped());
    let mut holder = Process(holder.spawn().unwrap());
    let mut lines = BufReader::new(holder.0.stdout.take().unwrap()).lines();
    let mut news = || {
        let mut lines = lines.by_ref().map(Result::unwrap);
        lines.find_map(|line| Some(line.split_once(NEWS)?.1.to_owned()))
    };
    assert_eq!(news().as_deref(), Some("holds"));
    signal(holder.0.id(), "STOP");
    let session = connect(&server.address(), LONG).await;
    let guard = acquire(&Lock::new(&session, "/stopped").unwrap()).await;
    signal(holder.0.id(), "CONT");
    let said = news().expect("it goes on");
    println!("its first check: {said}");
    assert!(said.starts_with("Err("), "{said}");
    assert!(holder.0.wait().unwrap().success());
    assert_eq!(guard.check(), Ok(()));
}

#[ignore = "run by another test, as a process of its own"]
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn stopped_holder() {
    let address = env::var(ADDRESS).expect("the test that runs this sets it");
    let timeout = Duration::from_secs(2);
    let session = connect(&address, timeout).await;
    let guard = acquire(&Lock::new(&session, "/stopped").unwrap()).await;
    println!("{NEWS}holds");
    loop {
        let before = Instant::now();
        // Not on the runtime, which may get to tell us first.
        thread::sleep(Duration::from_millis(1));
        let slept = before.elapsed();
        let said = guard.check();
        if slept > timeout / 2 || said.is_err() {
            return println!("{NEWS}{said:?}");
        }
    }
}

/// A listener that says this to whoever connects, and then keeps silent.
fn stranger(says: &'static [u8]) -> String {
    let listener = TcpListener::bind("127.0.0.1:0").unwrap();
    let address = listener.local_addr().unwrap().to_string();
    thread::spawn(move || {
        let mut connections = Vec::new();
        for stream in listener.incoming() {
            let mut stream = stream.unwrap();
            let _ = stream.write_all(says);
            connections.push(stream);
        }
    });
    address
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_peer_that_is_no_zookeeper_is_said_to_be_none() {
    let peers: [(&[u8], &str); 5] = [
        (b"HTTP/1.1 400 Bad Request\r\n\r\n", "an HTTP server"),
        (b"\x15\x03\x03\x00\x02\x02\x28", "a TLS endpoint"),
        (b"This ZooKeeper instance is not", "begins with \"This\""),
        (b"", "no answer to the handshake"),
        (b"\x00\x00\x00\x25half", "no answer to the handshake"),
    ];
    let attempts = peers.map(|(says, expected)| {
        tokio::spawn(async move {
            let address = stranger(says);
            let limit = Duration::from_secs(2);
            let start = Instant::now();
            let builder: SessionBuilder = Session::builder(&*address).connect_timeout(limit);
            let error = builder.connect().await.unwrap_err().to_string();
            println!("{error}");
            assert!(error.contains(&address), "{error}");
            assert!(error.contains(expected), "{error}");
            assert!(start.elapsed() < limit + SOON, "{:?}", start.elapsed());
        })
    });
    for attempt in attempts {
        attempt.await.unwrap();
    }
}

async fn the_end_of_a_sessions_runtime_is_the_end_of_all_that_waits_for_it_elsewhere(
    server: &'static TestServer,
) {
    let runtime = Runtime::new().unwrap();
    let connecting = runtime.spawn(async move { connect(&server.address(), LONG).await });
    let session = connecting.await.unwrap();
    let lock = Lock::new(&session, "/runtime").unwrap();
    let guard = acquire(&lock).await;
    let mut request = lock.acquire().into_future();
    let early = tokio::time::timeout(Duration::from_millis(100), &mut request).await;
    assert!(early.is_err(), "{early:?}");
    let mut states = session.states();
    assert_eq!(states.next().await, Some(session.state()));

    runtime.shutdown_background();
    let error = in_time("a request that waits", request).await.unwrap_err();
    assert_eq!(error, AcquireError::Closed);
    let error = in_time("a new request", lock.acquire()).await.unwrap_err();
    assert_eq!(error, AcquireError::Closed);
    let stopped = SessionState::Stopped(Stopped::Closed);
    let told = in_time("the last state", states.next()).await;
    assert_eq!(told, Some(stopped.clone()));
    assert_eq!(session.state(), stopped);
    assert_eq!(in_time("stats", session.stats()).await, None);
    in_time("close", session.close()).await;
    let reason = in_time("the loss of the lock", guard.lost()).await;
    assert_eq!(reason, LostReason::Closed);
    assert_eq!(guard.check(), Err(LostReason::Closed));
    let released = in_time("a release", guard.release()).await;
    assert_eq!(released, Ok(()));
}

async fn closing_takes_a_moment_at_the_most_with_a_connection_or_without(
    server: &'static TestServer,
) {
    let proxy = Proxy::start(&server.address());
    let connected = connect(&proxy.address(), LONG).await;
    let silent = connect(&proxy.address(), LONG).await;
    let disconnected = connect(&proxy.address(), LONG).await;
    let start = Instant::now();
    connected.close().await;
    connected.close().await;
    proxy.pause();
    silent.close().await;
    silent.close().await;
    proxy.refuse();
    proxy.cut();
    eventually("the loss is noticed", || is_suspended(&disconnected));
    disconnected.close().await;
    disconnected.close().await;
    println!("three closes took {:?}", start.elapsed());
    // Each is given up after two seconds.
    assert!(start.elapsed() < 3 * SOON, "{:?}", start.elapsed());
    for session in [connected, silent, disconnected] {
        assert_eq!(session.state(), SessionState::Stopped(Stopped::Closed));
    }
}

async fn states_are_told_in_order_and_stats_rise(server: &'static TestServer) {
    let proxy = Proxy::start(&server.address());
    let timeout = Duration::from_secs(2);
    let session = connect(&proxy.address(), timeout).await;
    let mut states = session.states();
    let told = tokio::spawn(async move {
        let mut told = Vec::new();
        while let Some(state) = states.next().await {
            told.push(state);
        }
        told
    });
    let before = session.stats().await.unwrap();
    let guard = acquire(&Lock::new(&session, "/states").unwrap()).await;
    RawClient::connect(&server.address())
        .delete(guard.znode())
        .unwrap();
    assert_eq!(guard.lost().await, LostReason::ClaimDeleted);
    reconnect(&session, &proxy);
    tokio::time::sleep(timeout).await;
    let after = session.stats().await.unwrap();
    println!("{before:?}\n{after:?}");
    all_have_risen(&before, &after);
    assert_eq!((before.connections, after.connections), (1, 2));
    assert!(after.round_trip.is_some());
    assert!(!after.lease_left.is_zero() && after.lease_left < timeout);

    let id = session_id(&session).unwrap();
    session.close().await;
    let mut told = in_time("the last state", told).await.unwrap();
    told.retain(|state| *state != SessionState::Closing);
    let [first, second, third, last] = &told[..] else {
        panic!("{told:?}");
    };
    let connected = |state: &SessionState, again: bool| match state {
        SessionState::Connected {
            session_id,
            timeout: granted,
            reattached,
            ..
        } => (*session_id, *granted, *reattached) == (id, timeout, again),
        _ => false,
    };
    assert!(connected(first, false), "{told:?}");
    let SessionState::Suspended { lease_left, .. } = second else {
        panic!("{told:?}");
    };
    assert!(!lease_left.is_zero() && *lease_left < timeout, "{told:?}");
    assert!(connected(third, true), "{told:?}");
    assert_eq!(*last, SessionState::Stopped(Stopped::Closed));
}

fn all_have_risen(before: &SessionStats, after: &SessionStats) {
    let counts = |stats: &SessionStats| {
        [
            ("requests", stats.requests),
            ("replies", stats.replies),
            ("events", stats.events),
            ("heartbeats", stats.heartbeats),
            ("bytes sent", stats.bytes_sent),
            ("bytes received", stats.bytes_received),
        ]
    };
    for ((name, before), (_, after)) in counts(before).into_iter().zip(counts(after)) {
        assert!(before < after, "{name}: {before} and then {after}");
    }
}

on_both_servers! {
    #[tokio::test(flavor = "multi_thread", worker_threads = 2)]
    a_crash_of_the_server_well_within_the_lease_costs_nothing
    a_holder_that_is_cut_off_is_told_before_another_is_granted
    a_process_that_was_stopped_for_too_long_learns_of_it_from_its_first_check
    the_end_of_a_sessions_runtime_is_the_end_of_all_that_waits_for_it_elsewhere
    closing_takes_a_moment_at_the_most_with_a_connection_or_without
    states_are_told_in_order_and_stats_rise;
}
