//! Queues in a state in which no client leaves them, on servers of both
//! kinds: the lock is granted to whom it is due, or an error says what to do.

#![allow(
    clippy::unwrap_used,
    clippy::expect_used,
    clippy::panic,
    clippy::indexing_slicing,
    reason = "a test fails by panicking"
)]

mod support;

use std::time::Duration;

use support::proxy::{Direction, Proxy};
use support::raw::{EPHEMERAL, EPHEMERAL_SEQUENTIAL, PERSISTENT, RawClient};
use support::server::{TestServer, on_both_servers};
use tokio::time::{sleep, timeout};
use zklock::lock::Acquiring;
use zklock::{Acl, AcquireError, Guard, Lock, LostReason, Perms, ReleaseError, Session};

/// A short session timeout: after so long a waiter reads what the first of all
/// says of itself.
const T: Duration = Duration::from_secs(1);
/// Far more than any step takes; a test that waits so long has failed.
const LONG: Duration = Duration::from_secs(30);
/// Long enough for a server on this machine to have answered.
const SHORT: Duration = Duration::from_millis(300);

fn raw(server: &TestServer) -> RawClient {
    RawClient::connect(&server.address())
}

async fn connect(address: &str, session_timeout: Duration) -> Session {
    let builder = Session::builder(address).session_timeout(session_timeout);
    builder.connect().await.unwrap()
}

async fn lock(server: &TestServer, path: &str) -> Lock {
    let session = Session::connect(server.address()).await.unwrap();
    Lock::new(&session, path).unwrap()
}

async fn acquire(lock: &Lock) -> Guard {
    lock.acquire().timeout(LONG).await.unwrap()
}

/// Asks for the lock, and is made to wait for so long.
async fn wait(lock: &Lock, time: Duration) -> Acquiring {
    let mut request = lock.acquire().timeout(LONG).into_future();
    let answer = timeout(time, &mut request).await;
    assert!(answer.is_err(), "{answer:?}");
    request
}

/// The only child of `path` besides those.
fn other_child(raw: &mut RawClient, path: &str, known: &[&str]) -> Option<String> {
    let names = raw.children(path)?;
    let mut paths = names.iter().map(|name| format!("{path}/{name}"));
    paths.find(|path| !known.contains(&path.as_str()))
}

async fn children_that_are_no_claims_are_in_nobodys_way(server: &'static TestServer) {
    let shapes = [
        "config",
        "_c_",
        "lock-",
        "-",
        "--",
        "x-lock-00000000001",
        "x-lock-000000001",
        "x-lock-9999999999",
        "x-lock--000000000",
        "x-lock-000000000x",
        "_c_83c1bcf372c265e9ac7ee364e5d3bac5-lock-",
        "\u{9501}",
        "\u{e9}-\u{661}\u{661}\u{661}\u{661}\u{661}\u{661}\u{661}\u{661}\u{661}\u{661}",
    ];
    let many = (0..1000).map(|number| format!("junk-{number}"));
    let mut junk: Vec<_> = shapes.map(str::to_owned).into_iter().chain(many).collect();
    let mut raw = raw(server);
    raw.create_all("/junk");
    for name in &junk {
        raw.create(&format!("/junk/{name}"), b"", PERSISTENT)
            .unwrap();
    }
    let (first, second) = (lock(server, "/junk").await, lock(server, "/junk").await);
    let guard = first.try_acquire().await.unwrap();
    let waiting = wait(&second, SHORT).await;
    guard.release().await.unwrap();
    waiting.await.unwrap().release().await.unwrap();
    junk.sort();
    assert_eq!(raw.children("/junk"), Some(junk));
}

/// A lock path of its own for each.
fn lock_path(raw: &mut RawClient, test: &str, place: usize) -> String {
    let path = format!("/{test}/{place}");
    raw.create_all(&path);
    path
}

async fn a_name_that_ends_as_a_number_does_is_waited_for_however_it_begins(
    server: &'static TestServer,
) {
    let names = [
        "0000000000",
        "-0000000000",
        "x-0000000000",
        "\u{9501}0000000000",
        "_c_0000000000",
        "_c_-lock-0000000000",
        "x__WRIT__0000000000",
        "-000000001",
        "x--2147483648",
        "x__lock__-2147483648",
        "x-2147483648",
        "x-2147483647",
    ];
    let mut raw = raw(server);
    let session = Session::connect(server.address()).await.unwrap();
    let mut waiting = Vec::new();
    for (place, name) in names.iter().enumerate() {
        let path = lock_path(&mut raw, "shapes", place);
        let claim = format!("{path}/{name}");
        raw.create(&claim, b"", EPHEMERAL).unwrap();
        let lock = Lock::new(&session, path).unwrap();
        let request = lock.acquire().timeout(LONG).into_future();
        waiting.push((claim, tokio::spawn(request)));
    }
    sleep(SHORT).await;
    for (claim, request) in waiting {
        assert!(!request.is_finished(), "{claim} is not waited for");
        raw.delete(&claim).unwrap();
        let guard = request.await.unwrap().unwrap();
        guard.release().await.unwrap();
    }
}

async fn a_claim_that_stays_and_has_children_is_waited_for_until_it_is_deleted(
    server: &'static TestServer,
) {
    let (mut raw, lock) = (raw(server), lock(server, "/stays").await);
    raw.create_all("/stays/x-0000000000");
    let mut request = wait(&lock, SHORT).await;
    for _ in 0..3 {
        let child = raw.create("/stays/x-0000000000/y-0000000000", b"", EPHEMERAL);
        assert!(timeout(SHORT, &mut request).await.is_err());
        raw.delete(&child.unwrap()).unwrap();
    }
    raw.delete("/stays/x-0000000000").unwrap();
    request.await.unwrap().release().await.unwrap();
}

async fn whatever_a_claim_says_of_itself_it_is_waited_for(server: &'static TestServer) {
    let most = 1_000_000;
    let mut data = [
        "".into(),
        "127.0.0.1".into(),
        "{".into(),
        "[]".into(),
        r#"{"ttl_ms":1}"#.into(),
        r#"{"ttl_ms":-1,"session_timeout_ms":1}"#.into(),
        r#"{"ttl_ms":"1","session_timeout_ms":"1"}"#.into(),
        r#"{"ttl_ms":1e1,"session_timeout_ms":1}"#.into(),
        r#"{"ttl_deadline":"2021-12-08T10:46:31Z","owner_id":"x"}"#.into(),
        "[".repeat(most),
        r#"{"a":"#.repeat(most / 5),
        format!(r#"{{"owner_id":"{}"}}"#, "\u{9501}".repeat(most / 4)),
    ]
    .map(String::into_bytes)
    .to_vec();
    data.extend([vec![0xff; most], vec![0; most]]);
    let mut raw = raw(server);
    let session = connect(&server.address(), T).await;
    let mut waiting = Vec::new();
    for (place, data) in data.iter().enumerate() {
        let path = lock_path(&mut raw, "data", place);
        let claim = raw.create(&format!("{path}/x-"), data, EPHEMERAL_SEQUENTIAL);
        let lock = Lock::new(&session, path).unwrap();
        let request = lock.acquire().timeout(LONG).into_future();
        waiting.push((claim.unwrap(), tokio::spawn(request)));
    }
    sleep(T * 5 / 2).await;
    for (claim, request) in waiting {
        assert!(!request.is_finished(), "{claim} is not waited for");
        raw.delete(&claim).unwrap();
        let guard = request.await.unwrap().unwrap();
        guard.release().await.unwrap();
    }
}

async fn a_claim_that_may_not_be_read_is_waited_for(server: &'static TestServer) {
    let (mut raw, session) = (raw(server), connect(&server.address(), T).await);
    let lock = Lock::new(&session, "/unread").unwrap();
    raw.create_all("/unread");
    let write = 2;
    let ttl = br#"{"ttl_ms":1,"session_timeout_ms":1}"#;
    let claim = raw.create_with("/unread/x-", ttl, write, EPHEMERAL_SEQUENTIAL);
    let request = wait(&lock, T * 5 / 2).await;
    raw.delete(&claim.unwrap()).unwrap();
    request.await.unwrap().release().await.unwrap();
}

async fn a_claim_that_is_deleted_while_it_waits_is_made_anew(server: &'static TestServer) {
    let (mut raw, holder) = (raw(server), lock(server, "/deleted").await);
    let guard = acquire(&holder).await;
    let mut request = wait(&lock(server, "/deleted").await, SHORT).await;
    let mut claims = Vec::new();
    for _ in 0..3 {
        let claim = other_child(&mut raw, "/deleted", &[guard.znode()]).unwrap();
        raw.delete(&claim).unwrap();
        assert!(timeout(SHORT, &mut request).await.is_err());
        claims.push(claim);
    }
    let last = other_child(&mut raw, "/deleted", &[guard.znode()]).unwrap();
    assert!(!claims.contains(&last), "{last} {claims:?}");
    guard.release().await.unwrap();
    let next = request.await.unwrap();
    assert_eq!(next.znode(), last);
    next.release().await.unwrap();
}

/// An operator writes to a waiter's claim and deletes it, and then the one
/// ahead of it. The waiter hears of it all at once, or of the writing first.
async fn no_lock_is_granted_to_a_claim_that_is_gone(server: &'static TestServer) {
    for at_once in [true, false] {
        let path = format!("/gone/{at_once}");
        let (mut raw, proxy) = (raw(server), Proxy::start(&server.address()));
        raw.create_all(&path);
        let ahead = raw.create(&format!("{path}/x-"), b"", EPHEMERAL_SEQUENTIAL);
        let ahead = ahead.unwrap();
        let session = Session::connect(proxy.address()).await.unwrap();
        let lock = Lock::new(&session, &path).unwrap();
        let request = wait(&lock, SHORT).await;
        let own = other_child(&mut raw, &path, &[&ahead]).unwrap();

        if at_once {
            proxy.hold(Direction::ToClient);
        }
        raw.set_data(&own, b"revoked").unwrap();
        if !at_once {
            // Its watch is set again.
            sleep(SHORT).await;
            proxy.hold(Direction::ToClient);
        }
        raw.delete(&own).unwrap();
        raw.delete(&ahead).unwrap();
        proxy.release(Direction::ToClient);

        let guard = request.await.unwrap();
        assert_ne!(guard.znode(), own);
        let claim = other_child(&mut raw, &path, &[]);
        assert_eq!(claim.as_deref(), Some(guard.znode()));
        assert_eq!(guard.check(), Ok(()));
        guard.release().await.unwrap();
    }
}

async fn a_lock_path_that_is_deleted_is_made_again(server: &'static TestServer) {
    let (mut raw, proxy) = (raw(server), Proxy::start(&server.address()));
    let session = Session::connect(proxy.address()).await.unwrap();
    let lock = Lock::new(&session, "/removed/lock").unwrap();
    let mut tokens = Vec::new();
    for _ in 0..2 {
        let guard = acquire(&lock).await;
        assert!(guard.znode().ends_with("-lock-0000000000"), "{guard:?}");
        tokens.push(guard.fencing_token());
        guard.release().await.unwrap();
        raw.delete("/removed/lock").unwrap();
        raw.delete("/removed").unwrap();
    }
    // With a holder and a waiter in it.
    let guard = acquire(&lock).await;
    let request = wait(&lock, SHORT).await;
    proxy.pause();
    let claims = raw.children("/removed/lock").unwrap();
    // The holder's last: else the waiter would have held the lock for a moment.
    let claims = claims.iter().rev();
    let claims = claims.map(|name| format!("/removed/lock/{name}"));
    for path in claims.chain(["/removed/lock".into(), "/removed".into()]) {
        raw.delete(&path).unwrap();
    }
    proxy.resume();
    assert_eq!(guard.lost().await, LostReason::ClaimDeleted);
    let next = request.await.unwrap();
    assert!(next.znode().ends_with("-lock-0000000000"), "{next:?}");
    tokens.extend([guard.fencing_token(), next.fencing_token()]);
    assert!(tokens.is_sorted_by(|a, b| a < b), "{tokens:?}");
    next.release().await.unwrap();
}

async fn a_lock_path_may_have_data_of_its_own(server: &'static TestServer) {
    let (mut raw, lock) = (raw(server), lock(server, "/file/lock").await);
    raw.create("/file", b"one thing", PERSISTENT).unwrap();
    raw.create("/file/lock", b"another", PERSISTENT).unwrap();
    let guard = acquire(&lock).await;
    let would_block = lock.try_acquire().await.unwrap_err();
    assert_eq!(would_block, AcquireError::WouldBlock);
    guard.release().await.unwrap();
    assert_eq!(raw.get_data("/file").unwrap().0, b"one thing");
    assert_eq!(raw.get_data("/file/lock").unwrap().0, b"another");
}

const DELETE: i32 = 2;
const PING: i32 = 11;

/// How many requests of this kind the client has written.
fn count(proxy: &Proxy, opcode: i32) -> usize {
    let frames = proxy.frames_in(Direction::ToServer);
    let opcode = opcode.to_be_bytes();
    frames
        .iter()
        .filter(|frame| frame.payload.get(4..8) == Some(&opcode[..]))
        .count()
}

async fn a_lock_path_that_lets_nobody_delete_is_told_of_and_asked_once_a_heartbeat(
    server: &'static TestServer,
) {
    let proxy = Proxy::start(&server.address());
    let session = connect(&proxy.address(), T * 3).await;
    let no_delete = [Acl::new(Perms::READ | Perms::CREATE, "world", "anyone")];
    let lock = Lock::new(&session, "/kept").unwrap();
    let lock = lock.with_parent_acl(no_delete);
    let guard = acquire(&lock).await;
    let claim = guard.znode().to_owned();
    let error = guard.release().await.unwrap_err();
    assert!(matches!(error, ReleaseError::Refused { .. }), "{error:?}");
    assert_eq!(
        error.to_string(),
        format!("not allowed to delete {claim} (NoAuth); the ACL of /kept must grant DELETE")
    );
    // One that gives up waiting leaves another such claim.
    let waiting = lock.acquire().timeout(SHORT).await.unwrap_err();
    assert_eq!(waiting, AcquireError::TimedOut);

    proxy.clear();
    sleep(T * 2).await;
    let (deletes, heartbeats) = (count(&proxy, DELETE), count(&proxy, PING));
    println!("{deletes} deletes of 2 claims in {heartbeats} heartbeats");
    assert!(deletes >= 2 && deletes <= 2 * (heartbeats + 1));
    session.close().await;
    assert_eq!(raw(server).children("/kept"), Some(Vec::new()));
}

on_both_servers! {
    #[tokio::test(flavor = "multi_thread", worker_threads = 2)]
    children_that_are_no_claims_are_in_nobodys_way
    a_name_that_ends_as_a_number_does_is_waited_for_however_it_begins
    a_claim_that_stays_and_has_children_is_waited_for_until_it_is_deleted
    whatever_a_claim_says_of_itself_it_is_waited_for
    a_claim_that_may_not_be_read_is_waited_for
    a_claim_that_is_deleted_while_it_waits_is_made_anew
    no_lock_is_granted_to_a_claim_that_is_gone
    a_lock_path_that_is_deleted_is_made_again
    a_lock_path_may_have_data_of_its_own
    a_lock_path_that_lets_nobody_delete_is_told_of_and_asked_once_a_heartbeat;
}
