//! Clients that die, servers that do, and time that is lost: on a real ZooKeeper
//! server and on the embedded one.

#![allow(
    clippy::unwrap_used,
    clippy::expect_used,
    clippy::panic,
    clippy::indexing_slicing,
    reason = "a test fails by panicking"
)]

mod support;

use std::time::{Duration, Instant};

use support::eventually;
use support::raw::{EPHEMERAL_SEQUENTIAL, RawClient};
use support::server::{TestServer, on_both_servers};
use zklock::{AcquireError, Guard, Lock, LostReason, Session, SessionState};

/// Far more than any step takes; a test that waits so long has failed.
const LONG: Duration = Duration::from_secs(30);
/// Long enough for a server on this machine to have answered.
const SHORT: Duration = Duration::from_millis(300);

async fn acquire(lock: &Lock) -> Guard {
    lock.acquire().timeout(LONG).await.unwrap()
}

fn session_id(session: &Session) -> i64 {
    match session.state() {
        SessionState::Connected { session_id, .. } => session_id,
        other => panic!("{other:?}"),
    }
}

async fn a_client_that_dies_leaves_the_queue_when_its_session_expires(server: &'static TestServer) {
    let dying = RawClient::connect_with_timeout(&server.address(), Duration::from_secs(1));
    let mut dying = dying;
    dying.create_all("/dies");
    dying
        .create("/dies/x-lock-", b"", EPHEMERAL_SEQUENTIAL)
        .unwrap();
    let timeout = dying.session_timeout();
    let start = Instant::now();
    dying.abandon();

    let session = Session::connect(server.address()).await.unwrap();
    let guard = acquire(&Lock::new(&session, "/dies").unwrap()).await;
    assert!(start.elapsed() >= timeout * 9 / 10, "{:?}", start.elapsed());
    guard.release().await.unwrap();
}

async fn a_restart_of_the_server_keeps_the_lock(server: &'static TestServer) {
    let mut server = server.another();
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

async fn an_outage_longer_than_the_lease_is_told_at_its_end(server: &'static TestServer) {
    let server = server.another();
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

async fn a_grant_that_comes_too_late_to_the_one_who_asked_is_none(server: &'static TestServer) {
    let timeout = Duration::from_secs(1);
    let builder = Session::builder(server.address()).session_timeout(timeout);
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

on_both_servers! {
    #[tokio::test(flavor = "multi_thread", worker_threads = 2)]
    a_client_that_dies_leaves_the_queue_when_its_session_expires
    a_restart_of_the_server_keeps_the_lock
    an_outage_longer_than_the_lease_is_told_at_its_end;
    #[tokio::test]
    a_grant_that_comes_too_late_to_the_one_who_asked_is_none;
}
