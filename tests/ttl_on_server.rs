//! Locks that are held for a limited time, on a real ZooKeeper server and on
//! the embedded one.

#![allow(
    clippy::unwrap_used,
    clippy::expect_used,
    clippy::panic,
    clippy::indexing_slicing,
    reason = "a test fails by panicking"
)]

mod support;

use std::time::{Duration, Instant};

use support::proxy::Proxy;
use support::raw::{EPHEMERAL_SEQUENTIAL, RawClient};
use support::server::{TestServer, on_both_servers};
use tokio::time::timeout;
use zklock::{Guard, Lock, LostReason, Session};

/// The timeout of the sessions that wait, and that claims speak of.
const T: Duration = Duration::from_secs(1);
const TTL: Duration = Duration::from_millis(800);
/// Far more than any step takes; a test that waits so long has failed.
const LONG: Duration = Duration::from_secs(30);

/// Of those who wait and do as the others' claims say.
async fn lock(server: &TestServer, path: &str) -> Lock {
    lock_in_session(&server.address(), T, path).await
}

/// Of those who hold, and whom nobody else ends.
async fn lock_in_long_session(address: &str, path: &str) -> Lock {
    lock_in_session(address, LONG * 2, path).await
}

async fn lock_in_session(address: &str, session_timeout: Duration, path: &str) -> Lock {
    let builder = Session::builder(address).session_timeout(session_timeout);
    Lock::new(&builder.connect().await.unwrap(), path).unwrap()
}

async fn acquire(lock: &Lock) -> Guard {
    lock.acquire().timeout(LONG).await.unwrap()
}

/// Another client's claim, of a session that lives on for 20 s.
struct Foreign {
    raw: RawClient,
    claim: String,
}

impl Foreign {
    fn join(server: &TestServer, path: &str, data: &str) -> Self {
        let mut raw = RawClient::connect(&server.address());
        raw.create_all(path);
        let claim = raw.create(&format!("{path}/x-"), data.as_bytes(), EPHEMERAL_SEQUENTIAL);
        let claim = claim.unwrap();
        Self { raw, claim }
    }

    fn is_there(&mut self) -> bool {
        self.raw.get_data(&self.claim).is_ok()
    }
}

/// What a claim says that is to be held for `TTL`, in a session as all here.
fn limited() -> String {
    let (ttl, timeout) = (TTL.as_millis(), T.as_millis());
    format!(r#"{{"ttl_ms":{ttl},"session_timeout_ms":{timeout}}}"#)
}

async fn a_holder_that_never_releases_ends_at_its_ttl_and_the_next_gets_the_lock(
    server: &'static TestServer,
) {
    let lock = lock_in_long_session(&server.address(), "/kept").await;
    let start = Instant::now();
    let guard = lock.acquire().ttl(TTL).timeout(LONG).await.unwrap();
    assert!(guard.remaining().unwrap() <= TTL);
    let next = acquire(&lock).await;
    let waited = start.elapsed();
    println!("granted {:.2} TTLs after the request", ratio(waited, TTL));
    assert!(waited >= TTL, "{waited:?}");
    assert!(next.fencing_token() > guard.fencing_token());
    assert_eq!(guard.check(), Err(LostReason::TtlExpired));
    assert_eq!(guard.lost().await, LostReason::TtlExpired);
    assert_eq!(guard.release().await, Ok(()));
    assert_eq!(next.check(), Ok(()));
    next.release().await.unwrap();
}

async fn a_holder_without_a_guard_ends_at_its_ttl_and_the_next_gets_the_lock(
    server: &'static TestServer,
) {
    for leaked in [false, true] {
        let path = format!("/detached/{leaked}");
        let lock = lock_in_long_session(&server.address(), &path).await;
        let start = Instant::now();
        let request = lock.acquire().owner("user1").ttl(TTL).timeout(LONG);
        let guard = request.await.unwrap();
        if leaked {
            std::mem::forget(guard);
        } else {
            guard.detach();
        }
        assert_eq!(lock.owner().await.as_deref(), Some("user1"));
        let next = lock.acquire().owner("user1");
        let next = next.timeout(LONG).await.unwrap_err();
        assert_eq!(next.to_string(), "requestor already has an active lock");
        let next = acquire(&lock).await;
        assert!(start.elapsed() >= TTL, "{:?}", start.elapsed());
        assert_eq!(lock.owner().await, None);
        next.release().await.unwrap();
    }
}

async fn a_holder_that_is_stuck_is_removed_after_its_ttl_and_timeout(server: &'static TestServer) {
    let mut stuck = Foreign::join(server, "/stuck", &limited());
    let locks = [lock(server, "/stuck").await, lock(server, "/stuck").await];
    let start = Instant::now();
    let [first, second] = locks.map(|lock| {
        tokio::spawn(async move {
            let guard = acquire(&lock).await;
            let waited = start.elapsed();
            guard.release().await.unwrap();
            waited
        })
    });
    let (first, second) = (first.await.unwrap(), second.await.unwrap());
    let (first, limit) = (first.min(second), TTL + T);
    println!(
        "removed {:.2} limits after it was seen",
        ratio(first, limit)
    );
    assert!(first >= limit, "{first:?} is too early");
    assert!(!stuck.is_there());
    // Its session was left alone.
    stuck.raw.ping();
}

async fn a_claim_that_waits_is_never_removed_and_has_its_time_from_the_head_on(
    server: &'static TestServer,
) {
    let limit = TTL + T;
    let mut holder = Foreign::join(server, "/patient", "127.0.0.1");
    let mut waiter = Foreign::join(server, "/patient", &limited());
    let lock = lock(server, "/patient").await;
    let mut request = lock.acquire().ttl(TTL).timeout(LONG).into_future();
    // Longer than any of them may hold it.
    let answer = timeout(limit * 3 / 2, &mut request).await;
    assert!(answer.is_err(), "{answer:?}");
    assert!(holder.is_there() && waiter.is_there());

    // The waiter's turn, which it does not take.
    let turn = Instant::now();
    holder.raw.delete(&holder.claim).unwrap();
    let guard = request.await.unwrap();
    let held = turn.elapsed();
    println!(
        "removed {:.2} limits after its turn came",
        ratio(held, limit)
    );
    assert!(held >= limit, "{held:?} is too early");
    assert!(!waiter.is_there());
    guard.release().await.unwrap();
}

async fn a_holder_that_is_removed_hears_of_it(server: &'static TestServer) {
    // Its claim says less than the holder counts.
    let counted = r#""ttl_ms":60000,"session_timeout_ms":60000"#;
    let (ttl, timeout_ms) = (TTL.as_millis(), T.as_millis());
    let says = format!(r#""ttl_ms":{ttl:<5},"session_timeout_ms":{timeout_ms:<5}"#);
    let proxy = Proxy::start_rewriting(&server.address(), counted, &says);
    let holder = lock_in_long_session(&proxy.address(), "/told").await;
    let request = holder.acquire().ttl(Duration::from_secs(60));
    let guard = request.timeout(LONG).await.unwrap();
    let start = Instant::now();
    let next = acquire(&lock(server, "/told").await).await;
    assert!(start.elapsed() >= TTL + T, "{:?}", start.elapsed());
    let lost = timeout(LONG, guard.lost()).await.unwrap();
    assert_eq!(lost, LostReason::ClaimDeleted);
    assert_eq!(guard.release().await, Ok(()));
    assert_eq!(next.check(), Ok(()));
    next.release().await.unwrap();
}

fn ratio(time: Duration, unit: Duration) -> f64 {
    time.as_secs_f64() / unit.as_secs_f64()
}

on_both_servers! {
    #[tokio::test(flavor = "multi_thread", worker_threads = 2)]
    a_holder_that_never_releases_ends_at_its_ttl_and_the_next_gets_the_lock
    a_holder_without_a_guard_ends_at_its_ttl_and_the_next_gets_the_lock
    a_holder_that_is_stuck_is_removed_after_its_ttl_and_timeout
    a_claim_that_waits_is_never_removed_and_has_its_time_from_the_head_on
    a_holder_that_is_removed_hears_of_it;
}
