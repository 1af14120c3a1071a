//! A look at a queue on a real ZooKeeper server, and on the embedded one.

#![allow(
    clippy::unwrap_used,
    clippy::expect_used,
    clippy::panic,
    clippy::indexing_slicing,
    reason = "a test fails by panicking"
)]

mod support;

use std::time::{Duration, SystemTime};

use support::eventually;
use support::raw::{EPHEMERAL_SEQUENTIAL, RawClient};
use support::server::{TestServer, on_both_servers};
use zklock::{AcquireError, Dialect, Lock, LostReason, QueueError, Session, SessionState};

async fn lock(server: &TestServer, path: &str) -> (Session, Lock) {
    let session = Session::connect(server.address()).await.unwrap();
    let lock = Lock::new(&session, path).unwrap();
    (session, lock)
}

async fn holder_and_waiters_are_shown_in_order_with_what_they_say(server: &'static TestServer) {
    let mut raw = RawClient::connect(&server.address());
    let (session, lock) = lock(server, "/shown").await;
    assert_eq!(lock.queue().await.unwrap().contenders, []);

    let guard = lock.acquire().owner("me").await.unwrap();
    let kazoo = lock.clone().with_dialect(Dialect::Kazoo);
    let waiting = tokio::spawn(kazoo.acquire().ttl(Duration::from_secs(60)).into_future());
    eventually("both are queued", || {
        raw.children("/shown").unwrap().len() == 2
    });
    let foreign = raw.create("/shown/x-", b"127.0.0.1", EPHEMERAL_SEQUENTIAL);
    raw.create("/shown/junk", b"", 0).unwrap();

    let queue = lock.queue().await.unwrap();
    assert_eq!(queue.path.as_str(), "/shown");
    assert_eq!(queue.others, ["junk"]);
    assert_eq!(queue.headroom, i32::MAX as u32 - 4);
    let [holder, waiter, last] = &queue.contenders[..] else {
        panic!("{queue:?}");
    };
    let SessionState::Connected { session_id, .. } = session.state() else {
        panic!("{:?}", session.state());
    };
    assert_eq!(format!("/shown/{}", holder.name), guard.znode());
    assert_eq!(holder.token, guard.fencing_token());
    assert_eq!(holder.session_id, Some(session_id));
    assert_eq!(holder.owner(), Some("me"));
    assert_eq!(holder.dialect, Some(Dialect::Protected));
    assert_eq!(holder.data.as_ref().unwrap().pid, Some(std::process::id()));
    assert!(holder.age(SystemTime::now()) < Duration::from_secs(60));
    assert_eq!(waiter.dialect, Some(Dialect::Kazoo));
    let ttl = waiter.data.as_ref().unwrap().ttl;
    assert_eq!(ttl, Some(Duration::from_secs(60)));
    assert_eq!(format!("/shown/{}", last.name), foreign.unwrap());
    assert_eq!((&last.data, last.dialect), (&None, None));
    assert_eq!(last.session_id, Some(raw.session_id()));

    guard.release().await.unwrap();
    waiting.await.unwrap().unwrap().release().await.unwrap();
}

async fn an_operator_breaks_a_claim_and_its_holder_is_told(server: &'static TestServer) {
    let (_session, held) = lock(server, "/broken").await;
    let guard = held.acquire().await.unwrap();
    let (_operators, looked_at) = lock(server, "/broken").await;
    let holder = looked_at.queue().await.unwrap().contenders.remove(0);
    assert_eq!(looked_at.break_claim(&holder).await, Ok(true));
    assert_eq!(guard.lost().await, LostReason::ClaimDeleted);
    let guard = held.acquire().await.unwrap();
    assert_eq!(looked_at.break_claim(&holder).await, Ok(false));
    assert_eq!(guard.check(), Ok(()));
}

async fn a_closed_session_shows_no_queue_and_breaks_no_claim(server: &'static TestServer) {
    let (session, lock) = lock(server, "/closed").await;
    let guard = lock.acquire().await.unwrap();
    let holder = lock.queue().await.unwrap().contenders.remove(0);
    session.close().await;
    assert_eq!(guard.lost_reason(), Some(LostReason::Closed));
    assert_eq!(lock.queue().await.unwrap_err(), QueueError::Closed);
    let broken = lock.break_claim(&holder).await;
    assert_eq!(broken.unwrap_err(), QueueError::Closed);
}

async fn a_queue_that_does_not_fit_into_a_frame_ends_requests_and_no_hold(
    server: &'static TestServer,
) {
    let mut raw = RawClient::connect(&server.address());
    let session = Session::builder(server.address())
        .max_frame(4 * 1024)
        .connect()
        .await
        .unwrap();
    let lock = Lock::new(&session, "/long").unwrap();
    let guard = lock.acquire().await.unwrap();
    for number in 0..100 {
        let path = format!("/long/{number:0>60}x");
        raw.create(&path, b"", 0).unwrap();
    }
    let too_long = lock.acquire().await.unwrap_err();
    let AcquireError::QueueTooLong { length, max, .. } = too_long else {
        panic!("{too_long:?}");
    };
    assert!(length > max && max == 4 * 1024);
    assert!(matches!(
        lock.queue().await.unwrap_err(),
        QueueError::TooLong { .. }
    ));
    eventually("the claim of the failed request is deleted", || {
        raw.children("/long").unwrap().len() == 101
    });
    assert_eq!(guard.check(), Ok(()));
    guard.release().await.unwrap();
    assert_eq!(raw.children("/long").unwrap().len(), 100);
}

on_both_servers! {
    #[tokio::test(flavor = "multi_thread", worker_threads = 2)]
    holder_and_waiters_are_shown_in_order_with_what_they_say
    an_operator_breaks_a_claim_and_its_holder_is_told
    a_closed_session_shows_no_queue_and_breaks_no_claim
    a_queue_that_does_not_fit_into_a_frame_ends_requests_and_no_hold;
}
