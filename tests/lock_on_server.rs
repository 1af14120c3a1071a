//! The lock on a real ZooKeeper server.

#![allow(
    clippy::unwrap_used,
    clippy::expect_used,
    clippy::panic,
    clippy::indexing_slicing,
    reason = "a test fails by panicking"
)]

mod support;

use std::sync::LazyLock;
use std::time::{Duration, Instant};

use support::raw::{EPHEMERAL_SEQUENTIAL, RawClient};
use support::zookeeper::ZooKeeper;
use support::{becomes_true, eventually};
use tokio::task::JoinSet;
use zklock::{AcquireError, Guard, Lock, LostReason, ReleaseError, Session, SessionState};

/// Far more than any step takes; a test that waits so long has failed.
const LONG: Duration = Duration::from_secs(30);
/// Long enough for a server on this machine to have answered.
const SHORT: Duration = Duration::from_millis(300);

/// One server for all tests of this file; each has a path of its own.
static SERVER: LazyLock<ZooKeeper> = LazyLock::new(ZooKeeper::start);

async fn connect() -> Session {
    Session::connect(SERVER.address()).await.unwrap()
}

fn children(path: &str) -> Vec<String> {
    RawClient::connect(&SERVER.address())
        .children(path)
        .unwrap_or_default()
}

async fn acquire(lock: &Lock) -> Guard {
    lock.acquire().timeout(LONG).await.unwrap()
}

fn session_id(session: &Session) -> i64 {
    match session.state() {
        SessionState::Connected { session_id, .. } => session_id,
        other => panic!("{other:?}"),
    }
}

/// Whether a request waits in the queue, rather than being answered.
async fn waits<T>(future: impl Future<Output = T> + Unpin) -> bool {
    tokio::time::timeout(SHORT, future).await.is_err()
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn acquire_and_release_leave_nothing() {
    let session = connect().await;
    let lock = Lock::new(&session, "/basic/deep/path").unwrap();
    let guard = acquire(&lock).await;

    let claims = children("/basic/deep/path");
    assert_eq!(guard.znode(), format!("/basic/deep/path/{}", claims[0]));
    let (data, czxid, owner) = RawClient::connect(&SERVER.address())
        .get_data(guard.znode())
        .unwrap();
    assert_eq!(guard.fencing_token().get(), czxid as u64);
    let session_id = session_id(&session);
    assert_eq!(owner, session_id);
    let data: serde_json::Value = serde_json::from_slice(&data).unwrap();
    assert_eq!(data["pid"], std::process::id());
    assert_eq!(data["session_timeout_ms"], 10_000);

    assert_eq!(guard.check(), Ok(()));
    assert!(guard.remaining().unwrap() > Duration::from_secs(2));
    guard.release().await.unwrap();
    assert!(children("/basic/deep/path").is_empty());
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn claims_are_named_after_their_session() {
    let session = connect().await;
    let guard = acquire(&Lock::new(&session, "/names").unwrap()).await;
    let name = guard.znode().strip_prefix("/names/_c_").unwrap();
    let (hex, number) = name.split_once("-lock-").unwrap();
    assert_eq!((hex.len(), number), (32, "0000000000"));
    assert!(
        hex.bytes()
            .all(|byte| matches!(byte, b'0'..=b'9' | b'a'..=b'f'))
    );
    let session_id = session_id(&session);
    assert!(hex.starts_with(&format!("{:016x}", session_id as u64)));
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn requests_are_granted_in_order() {
    let mut sessions = Vec::new();
    for _ in 0..5 {
        sessions.push(connect().await);
    }
    let first = acquire(&Lock::new(&sessions[0], "/order").unwrap()).await;
    let mut waiting = JoinSet::new();
    let (granted, mut grants) = tokio::sync::mpsc::unbounded_channel();
    for (place, session) in sessions.iter().enumerate() {
        let lock = Lock::new(session, "/order").unwrap();
        let granted = granted.clone();
        waiting.spawn(async move {
            let guard = acquire(&lock).await;
            granted.send((place, guard.fencing_token())).unwrap();
            guard.release().await.unwrap();
        });
        // The next one asks once this one is in the queue.
        let queued = tokio::task::spawn_blocking(move || {
            becomes_true(LONG, || children("/order").len() == place + 2)
        });
        assert!(queued.await.unwrap());
    }
    let mut token = first.fencing_token();
    drop(first);
    for expected in 0..5 {
        let (place, next) = grants.recv().await.unwrap();
        assert_eq!(place, expected);
        assert!(next > token, "tokens rise");
        token = next;
    }
    while let Some(done) = waiting.join_next().await {
        done.unwrap();
    }
    assert!(children("/order").is_empty());
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_request_that_times_out_leaves_the_queue_while_its_session_lives() {
    let (holder, waiter) = (connect().await, connect().await);
    let guard = acquire(&Lock::new(&holder, "/deadline").unwrap()).await;
    let lock = Lock::new(&waiter, "/deadline").unwrap();

    let start = Instant::now();
    let error = lock.acquire().timeout(SHORT).await.unwrap_err();
    assert_eq!(error, AcquireError::TimedOut);
    assert_eq!(error.to_string(), "attempt to acquire lock timed out");
    assert!(start.elapsed() >= SHORT);

    eventually("one claim is left", || children("/deadline").len() == 1);
    assert!(matches!(waiter.state(), SessionState::Connected { .. }));
    assert!(guard.znode().ends_with(&children("/deadline")[0]));
    guard.release().await.unwrap();
    acquire(&lock).await.release().await.unwrap();
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_dropped_guard_releases() {
    let session = connect().await;
    let lock = Lock::new(&session, "/drop").unwrap();
    drop(acquire(&lock).await);
    drop(acquire(&lock).await);
    eventually("no claim is left", || children("/drop").is_empty());
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_dropped_request_leaves_no_claim() {
    let (holder, waiter) = (connect().await, connect().await);
    let guard = acquire(&Lock::new(&holder, "/cancel").unwrap()).await;
    let lock = Lock::new(&waiter, "/cancel").unwrap();
    // Dropped at once, after a moment in the queue, and unpolled.
    for patience in [Duration::ZERO, Duration::from_micros(100), SHORT] {
        let request = lock.acquire().into_future();
        assert!(tokio::time::timeout(patience, request).await.is_err());
    }
    drop(lock.acquire().into_future());
    eventually("the holder's claim is left", || {
        children("/cancel").len() == 1
    });
    guard.release().await.unwrap();
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn try_acquire_does_not_wait_for_the_queue() {
    let (holder, other) = (connect().await, connect().await);
    let (held, lock) = (
        Lock::new(&holder, "/try").unwrap(),
        Lock::new(&other, "/try").unwrap(),
    );
    let guard = held.try_acquire().await.unwrap();
    assert_eq!(
        lock.try_acquire().await.unwrap_err(),
        AcquireError::WouldBlock
    );
    eventually("the holder's claim is left", || children("/try").len() == 1);
    guard.release().await.unwrap();
    lock.try_acquire().await.unwrap().release().await.unwrap();
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn an_owner_has_a_lock_once() {
    let session = connect().await;
    let lock = Lock::new(&session, "/owner").unwrap();
    let guard = lock.acquire().owner("user1").timeout(LONG).await.unwrap();

    assert_eq!(lock.owner().await.as_deref(), Some("user1"));
    assert_eq!(Lock::new(&session, "/owner").unwrap().owner().await, None);
    let again = lock
        .acquire()
        .owner("user1")
        .timeout(LONG)
        .await
        .unwrap_err();
    assert_eq!(again, AcquireError::AlreadyOwned);
    assert_eq!(again.to_string(), "requestor already has an active lock");
    let other = lock
        .acquire()
        .owner("user2")
        .timeout(SHORT)
        .await
        .unwrap_err();
    assert_eq!(other, AcquireError::TimedOut);

    let wrong = lock.release_owner("user2").await.unwrap_err();
    assert_eq!(wrong, ReleaseError::NotOwner);
    assert_eq!(wrong.to_string(), "non-owner attempted to call unlock");
    assert_eq!(guard.check(), Ok(()));

    lock.release_owner("user1").await.unwrap();
    assert_eq!(guard.check(), Err(LostReason::Released));
    assert_eq!(lock.owner().await, None);
    assert!(children("/owner").is_empty());
    assert_eq!(
        lock.release_owner("user1").await,
        Err(ReleaseError::NotOwner)
    );
    lock.acquire()
        .owner("user1")
        .timeout(LONG)
        .await
        .unwrap()
        .release()
        .await
        .unwrap();
    guard.release().await.unwrap();
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_detached_guard_holds_until_its_owner_releases() {
    let session = connect().await;
    let lock = Lock::new(&session, "/detached").unwrap();
    lock.acquire()
        .owner("user1")
        .timeout(LONG)
        .await
        .unwrap()
        .detach();
    assert_eq!(
        lock.try_acquire().await.unwrap_err(),
        AcquireError::WouldBlock
    );
    lock.release_owner("user1").await.unwrap();
    lock.try_acquire().await.unwrap().release().await.unwrap();
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn claims_of_other_clients_are_waited_for_and_other_children_are_not() {
    let mut other = RawClient::connect(&SERVER.address());
    other.create_all("/shared");
    for junk in [
        "shard1",
        "lock-",
        "lock-00000000001",
        "\u{9501}\u{1f}".trim_end_matches('\u{1f}'),
    ] {
        other.create(&format!("/shared/{junk}"), b"", 0).unwrap();
    }
    let theirs = "/shared/_c_83c1bcf372c265e9ac7ee364e5d3bac5-lock-";
    let theirs = other.create(theirs, b"", EPHEMERAL_SEQUENTIAL).unwrap();

    let session = connect().await;
    let lock = Lock::new(&session, "/shared").unwrap();
    let mut request = lock.acquire().timeout(LONG).into_future();
    assert!(waits(&mut request).await);
    other.delete(&theirs).unwrap();
    request.await.unwrap().release().await.unwrap();
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_client_that_dies_leaves_the_queue_when_its_session_expires() {
    let dying = RawClient::connect_with_timeout(&SERVER.address(), Duration::from_secs(1));
    let mut dying = dying;
    dying.create_all("/dies");
    dying
        .create("/dies/x-lock-", b"", EPHEMERAL_SEQUENTIAL)
        .unwrap();
    let timeout = dying.session_timeout();
    let start = Instant::now();
    dying.abandon();

    let session = connect().await;
    let guard = acquire(&Lock::new(&session, "/dies").unwrap()).await;
    assert!(start.elapsed() >= timeout * 9 / 10, "{:?}", start.elapsed());
    guard.release().await.unwrap();
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn the_holder_is_told_when_its_claim_is_deleted() {
    let session = connect().await;
    let lock = Lock::new(&session, "/deleted").unwrap();
    let guard = lock.acquire().owner("user1").timeout(LONG).await.unwrap();
    let stopped = guard.cancellation_token();
    RawClient::connect(&SERVER.address())
        .delete(guard.znode())
        .unwrap();
    assert_eq!(guard.lost().await, LostReason::ClaimDeleted);
    assert!(stopped.is_cancelled());
    assert_eq!(guard.check(), Err(LostReason::ClaimDeleted));
    // Ownership has gone with the claim.
    lock.acquire()
        .owner("user1")
        .timeout(LONG)
        .await
        .unwrap()
        .release()
        .await
        .unwrap();
    guard.release().await.unwrap();
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn closing_the_session_ends_everything() {
    let session = connect().await;
    let lock = Lock::new(&session, "/closed").unwrap();
    let guard = acquire(&lock).await;
    let mut request = lock.acquire().into_future();
    assert!(waits(&mut request).await);

    session.close().await;
    session.close().await;
    assert!(children("/closed").is_empty());
    assert_eq!(guard.check(), Err(LostReason::Closed));
    assert_eq!(request.await.unwrap_err(), AcquireError::Closed);
    assert_eq!(lock.acquire().await.unwrap_err(), AcquireError::Closed);
    guard.release().await.unwrap();
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn dropping_every_handle_closes_the_session() {
    let session = connect().await;
    let guard = acquire(&Lock::new(&session, "/handles").unwrap()).await;
    drop(session);
    assert_eq!(guard.check(), Ok(()), "a guard keeps its session");
    guard.detach();
    eventually("the claim is gone long before the timeout", || {
        children("/handles").is_empty()
    });
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn paths_are_below_the_chroot() {
    let session = Session::connect(format!("{}/app/one", SERVER.address()))
        .await
        .unwrap();
    let lock = Lock::new(&session, "/locks").unwrap();
    assert_eq!(lock.path().as_str(), "/app/one/locks");
    let guard = acquire(&lock).await;
    assert_eq!(children("/app/one/locks").len(), 1);
    guard.release().await.unwrap();
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_lock_path_that_can_have_no_children_is_said_to_be_one() {
    let mut raw = RawClient::connect(&SERVER.address());
    raw.create("/ephemeral", b"", support::raw::EPHEMERAL)
        .unwrap();
    let session = connect().await;
    let error = Lock::new(&session, "/ephemeral")
        .unwrap()
        .acquire()
        .timeout(LONG)
        .await
        .unwrap_err();
    assert!(
        error
            .to_string()
            .contains("/ephemeral is an ephemeral znode"),
        "{error}"
    );
    let below = Lock::new(&session, "/ephemeral/below").unwrap();
    let error = below.acquire().timeout(LONG).await.unwrap_err();
    assert!(
        error.to_string().contains("/ephemeral/below is missing"),
        "{error}"
    );
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_restart_of_the_server_keeps_the_lock() {
    let mut server = ZooKeeper::start();
    let timeout = Duration::from_secs(20);
    let builder = Session::builder(server.address()).session_timeout(timeout);
    let session = builder.connect().await.unwrap();
    let session_id = session_id(&session);
    let guard = acquire(&Lock::new(&session, "/restart").unwrap()).await;

    server.kill();
    eventually("the loss is noticed", || {
        matches!(session.state(), SessionState::Suspended { .. })
    });
    assert_eq!(guard.check(), Ok(()));
    server.restart();
    eventually("the session is back", || {
        matches!(
            session.state(),
            SessionState::Connected {
                reattached: true,
                ..
            }
        )
    });
    assert_eq!(self::session_id(&session), session_id);
    assert_eq!(guard.check(), Ok(()));
    guard.release().await.unwrap();
    let left = RawClient::connect(&server.address()).children("/restart");
    assert_eq!(left, Some(vec![]));
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn an_outage_longer_than_the_lease_is_told_at_its_end() {
    let server = ZooKeeper::start();
    let timeout = Duration::from_secs(1);
    let builder = Session::builder(server.address()).session_timeout(timeout);
    let session = builder.connect().await.unwrap();
    let guard = acquire(&Lock::new(&session, "/outage").unwrap()).await;
    let remaining = guard.remaining().unwrap();
    let start = Instant::now();
    server.stop_process();
    assert_eq!(guard.lost().await, LostReason::LeaseExpired);
    assert!(
        start.elapsed() <= timeout,
        "{:?} of {remaining:?}",
        start.elapsed()
    );
    server.continue_process();
    let after = Lock::new(&session, "/outage")
        .unwrap()
        .acquire()
        .timeout(LONG)
        .await
        .unwrap();
    assert_ne!(after.znode(), guard.znode());
    after.release().await.unwrap();
}

#[tokio::test]
async fn a_grant_that_comes_too_late_to_the_one_who_asked_is_none() {
    let timeout = Duration::from_secs(1);
    let builder = Session::builder(SERVER.address()).session_timeout(timeout);
    let session = builder.connect().await.unwrap();
    let lock = Lock::new(&session, "/late").unwrap();
    let mut request = lock.acquire().into_future();
    let asked = std::future::poll_fn(|cx| {
        std::task::Poll::Ready(std::pin::Pin::new(&mut request).poll(cx).is_pending())
    });
    assert!(asked.await);
    // The task grants the lock; the one who asked does not look. Then the whole
    // process, as it were, is stopped.
    tokio::time::sleep(SHORT).await;
    std::thread::sleep(timeout);
    let error = request.await.unwrap_err();
    assert_eq!(error, AcquireError::Lost(LostReason::LeaseExpired));
    acquire(&lock).await.release().await.unwrap();
}
