//! A session on a real server: outages, authentication, strangers, shutdown.

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
use std::sync::LazyLock;
use std::thread;
use std::time::{Duration, Instant};

use support::eventually;
use support::proxy::Proxy;
use support::raw::RawClient;
use support::zookeeper::{ZooKeeper, signal};
use tokio::runtime::Runtime;
use zklock::proto::ErrorCode;
use zklock::session::Stopped;
use zklock::{
    Acl, AcquireError, ConnectError, Guard, Lock, LostReason, Perms, ReleaseError, Session,
    SessionBuilder, SessionState,
};

/// Far more than any step takes; a test that waits so long has failed.
const LONG: Duration = Duration::from_secs(30);
/// Says "at once" on a machine that has much else to do.
const SOON: Duration = Duration::from_secs(5);

/// Where [`stopped_holder`] finds its server, and what it says before its news.
const ADDRESS: &str = "ZKLOCK_TEST_ADDRESS";
const NEWS: &str = "the holder: ";

/// One server for all tests of this file that leave it alone.
static SERVER: LazyLock<ZooKeeper> = LazyLock::new(ZooKeeper::start);

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

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_crash_of_the_server_well_within_the_lease_costs_nothing() {
    let mut server = ZooKeeper::start();
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

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_holder_that_is_cut_off_is_told_before_another_is_granted() {
    let proxy = Proxy::start(&SERVER.address());
    let contender = connect(&SERVER.address(), LONG).await;
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

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_process_that_was_stopped_for_too_long_learns_of_it_from_its_first_check() {
    let mut holder = Command::new(env::current_exe().unwrap());
    holder
        .args(["--exact", "stopped_holder", "--ignored", "--nocapture"])
        .env(ADDRESS, SERVER.address())
        .stdout(Stdio::piped());
    let mut holder = Process(holder.spawn().unwrap());
    let mut lines = BufReader::new(holder.0.stdout.take().unwrap()).lines();
    let mut news = || {
        let mut lines = lines.by_ref().map(Result::unwrap);
        lines.find_map(|line| Some(line.split_once(NEWS)?.1.to_owned()))
    };
    assert_eq!(news().as_deref(), Some("holds"));
    signal(holder.0.id(), "STOP");
    let session = connect(&SERVER.address(), LONG).await;
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

mod authentication {
    use super::*;

    const SECRET: &str = "alice:open-sesame";

    async fn alice(address: &str) -> Session {
        let builder = Session::builder(address).add_auth("digest", SECRET);
        builder.connect().await.unwrap()
    }

    fn private(session: &Session, path: &str) -> Lock {
        let lock = Lock::new(session, path).unwrap();
        let mine = [Acl::creator_all()];
        lock.with_acl(mine.clone()).with_parent_acl(mine)
    }

    #[tokio::test(flavor = "multi_thread", worker_threads = 2)]
    async fn is_repeated_on_every_connection() {
        let proxy = Proxy::start(&SERVER.address());
        let session = alice(&proxy.address()).await;
        let lock = private(&session, "/private/lock");
        let guard = acquire(&lock).await;
        reconnect(&session, &proxy);
        assert_eq!(guard.check(), Ok(()));
        guard.release().await.unwrap();
        acquire(&lock).await.release().await.unwrap();

        let other = connect(&SERVER.address(), LONG).await;
        let theirs = Lock::new(&other, "/private/lock").unwrap();
        let error = theirs.acquire().timeout(LONG).await.unwrap_err();
        let AcquireError::Refused { path, code, .. } = &error else {
            panic!("{error:?}");
        };
        assert_eq!(path.as_str(), "/private/lock");
        assert_eq!(*code, ErrorCode::NoAuth);
        assert!(error.to_string().contains("/private/lock"), "{error}");
        let below = Lock::new(&other, "/private/other").unwrap();
        let error = below.acquire().timeout(LONG).await.unwrap_err();
        assert!(
            matches!(error, AcquireError::MissingParent { .. }),
            "{error:?}"
        );
    }

    #[tokio::test(flavor = "multi_thread", worker_threads = 2)]
    async fn that_is_refused_ends_the_session() {
        let builder = Session::builder(SERVER.address()).add_auth("nonsense", SECRET);
        let error = builder.connect().await.unwrap_err();
        let refused = matches!(error, ConnectError::Stopped(Stopped::AuthFailed(_)));
        assert!(refused, "{error:?}");
        assert!(!format!("{error:?} {error}").contains("sesame"));
    }

    #[tokio::test(flavor = "multi_thread", worker_threads = 2)]
    async fn stays_secret() {
        let builder = Session::builder(SERVER.address()).add_auth("digest", SECRET);
        let shown = format!("{builder:?}");
        assert!(shown.contains("digest"), "{shown}");
        let session = builder.connect().await.unwrap();
        let lock = private(&session, "/discreet");
        let guard = acquire(&lock).await;
        let acquire = lock.acquire();
        let shown = format!("{shown} {session:?} {lock:?} {guard:?} {acquire:?}");
        assert!(!shown.contains("alice") && !shown.contains("sesame"));
    }

    #[tokio::test(flavor = "multi_thread", worker_threads = 2)]
    async fn that_does_not_suffice_to_release_is_reported_and_not_repeated_in_a_loop() {
        let proxy = Proxy::start(&SERVER.address());
        let session = connect(&proxy.address(), Duration::from_secs(3)).await;
        let no_delete = [Acl::new(Perms::READ | Perms::CREATE, "world", "anyone")];
        let lock = Lock::new(&session, "/kept/lock").unwrap();
        let lock = lock.with_parent_acl(no_delete);
        let guard = lock.acquire().owner("user1").await.unwrap();
        let claim = guard.znode().to_owned();
        let error = lock.release_owner("user1").await.unwrap_err();
        let again = guard.release().await.unwrap_err();
        assert_eq!(again, error, "it is still there");
        let ReleaseError::Refused { znode, path, code } = &error else {
            panic!("{error:?}");
        };
        assert_eq!((&**znode, path.as_str()), (&*claim, "/kept/lock"));
        assert_eq!(*code, ErrorCode::NoAuth);
        assert!(error.to_string().contains("/kept/lock"), "{error}");

        proxy.clear();
        tokio::time::sleep(Duration::from_millis(1_500)).await;
        let frames = proxy.frames().len();
        println!("{frames} frames in half a session timeout");
        // Three heartbeats, three deletes, and their answers.
        assert!(frames <= 30, "{frames}");
        session.close().await;
        let left = RawClient::connect(&SERVER.address()).children("/kept/lock");
        assert_eq!(left, Some(vec![]));
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

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn the_end_of_a_sessions_runtime_is_the_end_of_all_that_waits_for_it_elsewhere() {
    let runtime = Runtime::new().unwrap();
    let connecting = runtime.spawn(async { connect(&SERVER.address(), LONG).await });
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

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn closing_takes_a_moment_at_the_most_with_a_connection_or_without() {
    let proxy = Proxy::start(&SERVER.address());
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

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn states_are_told_in_order_and_stats_rise() {
    let proxy = Proxy::start(&SERVER.address());
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
    RawClient::connect(&SERVER.address())
        .delete(guard.znode())
        .unwrap();
    assert_eq!(guard.lost().await, LostReason::ClaimDeleted);
    reconnect(&session, &proxy);
    tokio::time::sleep(timeout).await;
    let after = session.stats().await.unwrap();
    println!("{before:?}\n{after:?}");
    for (name, before, after) in [
        ("requests", before.requests, after.requests),
        ("replies", before.replies, after.replies),
        ("events", before.events, after.events),
        ("heartbeats", before.heartbeats, after.heartbeats),
        ("bytes sent", before.bytes_sent, after.bytes_sent),
        (
            "bytes received",
            before.bytes_received,
            after.bytes_received,
        ),
    ] {
        assert!(before < after, "{name}: {before} and then {after}");
    }
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
