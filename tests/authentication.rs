//! Authentication and the ACLs that it is for, on a server, real or embedded.

#![allow(
    clippy::unwrap_used,
    clippy::expect_used,
    clippy::panic,
    clippy::indexing_slicing,
    reason = "a test fails by panicking"
)]

mod support;

use std::time::Duration;

use support::eventually;
use support::proxy::Proxy;
use support::raw::RawClient;
use support::server::{TestServer, on_both_servers};
use zklock::proto::ErrorCode;
use zklock::session::Stopped;
use zklock::{
    Acl, AcquireError, ConnectError, Guard, Lock, Perms, ReleaseError, Session, SessionState,
};

/// Far more than any step takes; a test that waits so long has failed.
const LONG: Duration = Duration::from_secs(30);

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

async fn connect(address: &str, timeout: Duration) -> Session {
    let builder = Session::builder(address).session_timeout(timeout);
    builder.connect().await.unwrap()
}

async fn acquire(lock: &Lock) -> Guard {
    lock.acquire().timeout(LONG).await.unwrap()
}

/// Cuts the session's connection, and waits until it has another.
fn reconnect(session: &Session, proxy: &Proxy) {
    let connected = |session: &Session| matches!(session.state(), SessionState::Connected { .. });
    proxy.refuse();
    proxy.cut();
    eventually("the loss is noticed", || !connected(session));
    proxy.accept();
    eventually("the session is back", || connected(session));
}

async fn an_identity_is_repeated_on_every_connection(server: &'static TestServer) {
    let proxy = Proxy::start(&server.address());
    let session = alice(&proxy.address()).await;
    let lock = private(&session, "/private/lock");
    let guard = acquire(&lock).await;
    reconnect(&session, &proxy);
    assert_eq!(guard.check(), Ok(()));
    guard.release().await.unwrap();
    acquire(&lock).await.release().await.unwrap();

    let other = connect(&server.address(), LONG).await;
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

async fn one_that_is_refused_ends_the_session(server: &'static TestServer) {
    let builder = Session::builder(server.address()).add_auth("nonsense", SECRET);
    let error = builder.connect().await.unwrap_err();
    let refused = matches!(error, ConnectError::Stopped(Stopped::AuthFailed(_)));
    assert!(refused, "{error:?}");
    assert!(!format!("{error:?} {error}").contains("sesame"));
}

async fn secrets_stay_secret(server: &'static TestServer) {
    let builder = Session::builder(server.address()).add_auth("digest", SECRET);
    let shown = format!("{builder:?}");
    assert!(shown.contains("digest"), "{shown}");
    let session = builder.connect().await.unwrap();
    let lock = private(&session, "/discreet");
    let guard = acquire(&lock).await;
    let acquire = lock.acquire();
    let shown = format!("{shown} {session:?} {lock:?} {guard:?} {acquire:?}");
    assert!(!shown.contains("alice") && !shown.contains("sesame"));
}

async fn a_release_that_is_refused_is_reported_and_not_repeated_in_a_loop(
    server: &'static TestServer,
) {
    let proxy = Proxy::start(&server.address());
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
    let left = RawClient::connect(&server.address()).children("/kept/lock");
    assert_eq!(left, Some(vec![]));
}

on_both_servers! {
    #[tokio::test(flavor = "multi_thread", worker_threads = 2)]
    an_identity_is_repeated_on_every_connection
    one_that_is_refused_ends_the_session
    secrets_stay_secret
    a_release_that_is_refused_is_reported_and_not_repeated_in_a_loop;
}
