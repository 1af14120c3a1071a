//! The same on servers of both kinds, with the futures that users await.

use std::future::{IntoFuture, poll_fn};
use std::pin::Pin;
use std::sync::Arc;
use std::task::Poll;
use std::time::{Duration, Instant};

use tokio::task::JoinSet;
use tokio::time::{sleep, sleep_until, timeout};
use zklock::lock::Acquiring;
use zklock::{AcquireError, Guard, Lock, Session};

use crate::support::eventually;
use crate::support::proxy::{Direction, Proxy};
use crate::support::raw::{EPHEMERAL_SEQUENTIAL, RawClient};
use crate::support::server::{TestServer, on_both_servers};

/// Each with a lock of its own.
const LANES: usize = 4;
/// In each lane, of either kind.
const RACES: usize = 100;
/// In which a waiter is to get the lock.
const PATIENCE: Duration = Duration::from_millis(20);
/// A test that waits so long has failed.
const LONG: Duration = Duration::from_secs(30);
/// Long enough for a server on this machine to have answered.
const SHORT: Duration = Duration::from_millis(300);

async fn lock(server: &TestServer, path: &str) -> Lock {
    let session = Session::connect(server.address()).await.unwrap();
    Lock::new(&session, path).unwrap()
}

/// Their sessions live on, and there are no others.
fn no_watch_is_left(server: &TestServer) {
    eventually("no watch is left", || server.watch_count() == 0);
}

#[derive(Clone, Copy, Default)]
struct Count {
    granted: usize,
    timed_out: usize,
}

impl Count {
    fn add(&mut self, granted: bool) {
        self.granted += usize::from(granted);
        self.timed_out += usize::from(!granted);
    }
}

/// Lets the two come ever closer: each time the one that has won gets a worse
/// start.
async fn each_request_is_answered_once_by_grant_or_deadline_and_leaves_no_claim(
    server: &'static TestServer,
) {
    let server = Arc::new(server.another());
    let mut lanes = JoinSet::new();
    for lane in 0..LANES {
        lanes.spawn(race_both(Arc::clone(&server), format!("/races/{lane}")));
    }
    let (mut on_hand_off, mut on_creation) = (Count::default(), Count::default());
    while let Some(lane) = lanes.join_next().await {
        let (hand_off, creation) = lane.unwrap();
        for (sum, count) in [(&mut on_hand_off, hand_off), (&mut on_creation, creation)] {
            sum.granted += count.granted;
            sum.timed_out += count.timed_out;
        }
    }
    no_watch_is_left(&server);
    for (what, count) in [("hand-off", on_hand_off), ("creation", on_creation)] {
        let Count { granted, timed_out } = count;
        println!("deadline against {what}: {granted} granted, {timed_out} timed out");
        assert_eq!(granted + timed_out, LANES * RACES);
        assert!(granted.min(timed_out) >= LANES * RACES / 10, "no race");
    }
}

async fn race_both(server: Arc<TestServer>, path: String) -> (Count, Count) {
    let (held, lock) = (lock(&server, &path).await, lock(&server, &path).await);
    let mut raw = RawClient::connect(&server.address());

    let (mut on_hand_off, mut on_creation) = (Count::default(), Count::default());
    let mut hold = PATIENCE;
    for _ in 0..RACES {
        let granted = race_hand_off(&held, &lock, &mut raw, hold).await;
        on_hand_off.add(granted);
        let step = PATIENCE / 40;
        hold = if granted {
            hold + step
        } else {
            hold.saturating_sub(step)
        };
    }
    let mut patience = PATIENCE;
    for _ in 0..RACES {
        let granted = race_creation(&lock, patience).await;
        on_creation.add(granted);
        patience = patience.mul_f64(if granted { 0.8 } else { 1.25 });
    }
    timeout(LONG, emptied(&mut raw, &path))
        .await
        .expect("no claim is left");
    (on_hand_off, on_creation)
}

/// Leaves the runtime to the sessions meanwhile.
async fn emptied(raw: &mut RawClient, path: &str) {
    while raw.children(path) != Some(Vec::new()) {
        sleep(Duration::from_millis(20)).await;
    }
}

/// Whether the racer gets the lock, which is released after `hold`.
async fn race_hand_off(held: &Lock, lock: &Lock, raw: &mut RawClient, hold: Duration) -> bool {
    let guard = held.acquire().timeout(LONG).await.unwrap();
    let start = tokio::time::Instant::now();
    let release = async {
        sleep_until(start + hold).await;
        guard.release().await.unwrap();
    };
    let request = lock.acquire().timeout(PATIENCE).into_future();
    let (answer, ()) = tokio::join!(only_answer(request), release);
    let Some(guard) = answer else { return false };
    assert_eq!(guard.check(), Ok(()));
    let claims = raw.children(lock.path().as_str()).unwrap();
    assert!(guard.znode().ends_with(&claims[0]), "{claims:?}");
    guard.release().await.unwrap();
    true
}

/// Whether the racer gets the lock, which is free.
async fn race_creation(lock: &Lock, patience: Duration) -> bool {
    let request = lock.acquire().timeout(patience).into_future();
    let Some(guard) = only_answer(request).await else {
        return false;
    };
    guard.release().await.unwrap();
    true
}

/// The guard, if it is granted. No other answer follows.
async fn only_answer(mut request: Acquiring) -> Option<Guard> {
    let answer = timeout(LONG, &mut request).await.expect("an answer");
    let silent = poll_fn(|cx| Poll::Ready(Pin::new(&mut request).poll(cx).is_pending()));
    assert!(silent.await, "a second answer");
    match answer {
        Ok(guard) => Some(guard),
        Err(error) => {
            assert_eq!(error, AcquireError::TimedOut);
            None
        }
    }
}

async fn a_claim_that_goes_before_it_is_watched_is_no_wait_and_leaves_no_watch(
    server: &'static TestServer,
) {
    let server = server.another();
    let mut raw = RawClient::connect(&server.address());
    raw.create_all("/unwatched");
    let ahead = raw.create("/unwatched/x-", b"", EPHEMERAL_SEQUENTIAL);
    let proxy = Proxy::start(&server.address());
    let session = Session::connect(proxy.address()).await.unwrap();
    let lock = Lock::new(&session, "/unwatched").unwrap();
    proxy.hold(Direction::ToClient);
    let request = tokio::spawn(lock.acquire().timeout(LONG).into_future());
    let listed = ahead.unwrap();
    eventually("the claim is created", || {
        raw.children("/unwatched").unwrap().len() == 2
    });
    // The listing is behind it in the same write.
    sleep(SHORT).await;
    raw.delete(&listed).unwrap();
    proxy.release(Direction::ToClient);
    let guard = request.await.unwrap().unwrap();
    guard.release().await.unwrap();
    no_watch_is_left(&server);
}

async fn a_deadline_holds_whatever_the_server_does(server: &'static TestServer) {
    let mut server = server.another();
    let proxy = Proxy::start(&server.address());
    let session = Session::connect(proxy.address()).await.unwrap();
    let lock = Lock::new(&session, "/deaf").unwrap();
    lock.acquire().await.unwrap().release().await.unwrap();
    // Every byte is held back, both ways.
    proxy.pause();
    times_out(&lock).await;
    proxy.resume();
    // Behind the claims that were asked for meanwhile.
    let guard = lock.acquire().timeout(LONG).await.unwrap();
    guard.release().await.unwrap();
    let mut raw = RawClient::connect(&server.address());
    let left = timeout(LONG, emptied(&mut raw, "/deaf")).await;
    left.expect("no claim is left");
    drop(raw);
    server.kill();
    times_out(&lock).await;
}

async fn times_out(lock: &Lock) {
    for request in [lock.acquire(), lock.try_acquire()] {
        let start = Instant::now();
        let request = request.timeout(SHORT).into_future();
        assert!(only_answer(request).await.is_none());
        let waited = start.elapsed();
        assert!(waited >= SHORT && waited < SHORT * 30, "{waited:?}");
    }
}

on_both_servers! {
    #[tokio::test(flavor = "multi_thread", worker_threads = 2)]
    each_request_is_answered_once_by_grant_or_deadline_and_leaves_no_claim
    a_claim_that_goes_before_it_is_watched_is_no_wait_and_leaves_no_watch
    a_deadline_holds_whatever_the_server_does;
}
