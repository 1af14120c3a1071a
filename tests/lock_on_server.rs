//! The lock on a real ZooKeeper server, and on the embedded one.

#![allow(
    clippy::unwrap_used,
    clippy::expect_used,
    clippy::panic,
    clippy::indexing_slicing,
    reason = "a test fails by panicking"
)]

mod support;

use std::time::{Duration, Instant};

use support::raw::{EPHEMERAL_SEQUENTIAL, RawClient};
use support::server::{TestServer, on_both_servers};
use support::{becomes_true, eventually};
use tokio::task::JoinSet;
use zklock::{AcquireError, Guard, Lock, LostReason, ReleaseError, Session, SessionState};

/// Far more than any step takes; a test that waits so long has failed.
const LONG: Duration = Duration::from_secs(30);
/// Long enough for a server on this machine to have answered.
const SHORT: Duration = Duration::from_millis(300);

async fn connect(server: &TestServer) -> Session {
    Session::connect(server.address()).await.unwrap()
}

fn children(server: &TestServer, path: &str) -> Vec<String> {
    RawClient::connect(&server.address())
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

async fn acquire_and_release_leave_nothing(server: &'static TestServer) {
    let session = connect(server).await;
    let lock = Lock::new(&session, "/basic/deep/path").unwrap();
    let guard = acquire(&lock).await;

    let claims = children(server, "/basic/deep/path");
    assert_eq!(guard.znode(), format!("/basic/deep/path/{}", claims[0]));
    let (data, czxid, owner) = RawClient::connect(&server.address())
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
    assert!(children(server, "/basic/deep/path").is_empty());
}

async fn claims_are_named_after_their_session(server: &'static TestServer) {
    let session = connect(server).await;
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

async fn requests_are_granted_in_order(server: &'static TestServer) {
    let mut sessions = Vec::new();
    for _ in 0..5 {
        sessions.push(connect(server).await);
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
            becomes_true(LONG, || children(server, "/order").len() == place + 2)
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
    assert!(children(server, "/order").is_empty());
}

async fn a_request_that_times_out_leaves_the_queue_while_its_session_lives(
    server: &'static TestServer,
) {
    let (holder, waiter) = (connect(server).await, connect(server).await);
    let guard = acquire(&Lock::new(&holder, "/deadline").unwrap()).await;
    let lock = Lock::new(&waiter, "/deadline").unwrap();

    let start = Instant::now();
    let error = lock.acquire().timeout(SHORT).await.unwrap_err();
    assert_eq!(error, AcquireError::TimedOut);
    assert_eq!(error.to_string(), "attempt to acquire lock timed out");
    assert!(start.elapsed() >= SHORT);

    eventually("one claim is left", || {
        children(server, "/deadline").len() == 1
    });
    assert!(matches!(waiter.state(), SessionState::Connected { .. }));
    assert!(guard.znode().ends_with(&children(server, "/deadline")[0]));
    guard.release().await.unwrap();
    acquire(&lock).await.release().await.unwrap();
}

async fn a_dropped_guard_releases(server: &'static TestServer) {
    let session = connect(server).await;
    let lock = Lock::new(&session, "/drop").unwrap();
    drop(acquire(&lock).await);
    drop(acquire(&lock).await);
    eventually("no claim is left", || children(server, "/drop").is_empty());
}

async fn a_dropped_request_leaves_no_claim(server: &'static TestServer) {
    let (holder, waiter) = (connect(server).await, connect(server).await);
    let guard = acquire(&Lock::new(&holder, "/cancel").unwrap()).await;
    let lock = Lock::new(&waiter, "/cancel").unwrap();
    // Dropped at once, after a moment in the queue, and unpolled.
    for patience in [Duration::ZERO, Duration::from_micros(100), SHORT] {
        let request = lock.acquire().into_future();
        assert!(tokio::time::timeout(patience, request).await.is_err());
    }
    drop(lock.acquire().into_future());
    eventually("the holder's claim is left", || {
        children(server, "/cancel").len() == 1
    });
    guard.release().await.unwrap();
}

async fn try_acquire_does_not_wait_for_the_queue(server: &'static TestServer) {
    let (holder, other) = (connect(server).await, connect(server).await);
    let (held, lock) = (
        Lock::new(&holder, "/try").unwrap(),
        Lock::new(&other, "/try").unwrap(),
    );
    let guard = held.try_acquire().await.unwrap();
    assert_eq!(
        lock.try_acquire().await.unwrap_err(),
        AcquireError::WouldBlock
    );
    eventually("the holder's claim is left", || {
        children(server, "/try").len() == 1
    });
    guard.release().await.unwrap();
    lock.try_acquire().await.unwrap().release().await.unwrap();
}

async fn an_owner_has_a_lock_once(server: &'static TestServer) {
    let session = connect(server).await;
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
    assert!(children(server, "/owner").is_empty());
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

async fn a_detached_guard_holds_until_its_owner_releases(server: &'static TestServer) {
    let session = connect(server).await;
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

async fn claims_of_other_clients_are_waited_for_and_other_children_are_not(
    server: &'static TestServer,
) {
    let mut other = RawClient::connect(&server.address());
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

    let session = connect(server).await;
    let lock = Lock::new(&session, "/shared").unwrap();
    let mut request = lock.acquire().timeout(LONG).into_future();
    assert!(waits(&mut request).await);
    other.delete(&theirs).unwrap();
    request.await.unwrap().release().await.unwrap();
}

async fn the_holder_is_told_when_its_claim_is_deleted(server: &'static TestServer) {
    let session = connect(server).await;
    let lock = Lock::new(&session, "/deleted").unwrap();
    let guard = lock.acquire().owner("user1").timeout(LONG).await.unwrap();
    let stopped = guard.cancellation_token();
    RawClient::connect(&server.address())
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

async fn closing_the_session_ends_everything(server: &'static TestServer) {
    let session = connect(server).await;
    let lock = Lock::new(&session, "/closed").unwrap();
    let guard = acquire(&lock).await;
    let mut request = lock.acquire().into_future();
    assert!(waits(&mut request).await);

    session.close().await;
    session.close().await;
    assert!(children(server, "/closed").is_empty());
    assert_eq!(guard.check(), Err(LostReason::Closed));
    assert_eq!(request.await.unwrap_err(), AcquireError::Closed);
    assert_eq!(lock.acquire().await.unwrap_err(), AcquireError::Closed);
    guard.release().await.unwrap();
}

async fn dropping_every_handle_closes_the_session(server: &'static TestServer) {
    let session = connect(server).await;
    let guard = acquire(&Lock::new(&session, "/handles").unwrap()).await;
    drop(session);
    assert_eq!(guard.check(), Ok(()), "a guard keeps its session");
    guard.detach();
    eventually("the claim is gone long before the timeout", || {
        children(server, "/handles").is_empty()
    });
}

async fn paths_are_below_the_chroot(server: &'static TestServer) {
    let session = Session::connect(format!("{}/app/one", server.address()))
        .await
        .unwrap();
    let lock = Lock::new(&session, "/locks").unwrap();
    assert_eq!(lock.path().as_str(), "/app/one/locks");
    let guard = acquire(&lock).await;
    assert_eq!(children(server, "/app/one/locks").len(), 1);
    guard.release().await.unwrap();
}

async fn a_lock_path_that_can_have_no_children_is_said_to_be_one(server: &'static TestServer) {
    let mut raw = RawClient::connect(&server.address());
    raw.create("/ephemeral", b"", support::raw::EPHEMERAL)
        .unwrap();
    let session = connect(server).await;
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

on_both_servers! {
    #[tokio::test(flavor = "multi_thread", worker_threads = 2)]
    acquire_and_release_leave_nothing
    claims_are_named_after_their_session
    requests_are_granted_in_order
    a_request_that_times_out_leaves_the_queue_while_its_session_lives
    a_dropped_guard_releases
    a_dropped_request_leaves_no_claim
    try_acquire_does_not_wait_for_the_queue
    an_owner_has_a_lock_once
    a_detached_guard_holds_until_its_owner_releases
    claims_of_other_clients_are_waited_for_and_other_children_are_not
    the_holder_is_told_when_its_claim_is_deleted
    closing_the_session_ends_everything
    dropping_every_handle_closes_the_session
    paths_are_below_the_chroot
    a_lock_path_that_can_have_no_children_is_said_to_be_one;
}
