//! What cannot be asked for is refused with an error that says which and why,
//! before anything is sent.

#![allow(
    clippy::unwrap_used,
    clippy::expect_used,
    clippy::panic,
    clippy::indexing_slicing,
    reason = "a test fails by panicking"
)]

mod support;

use std::time::Duration;

use support::raw::RawClient;
use support::server::{TestServer, on_both_servers};
use zklock::{AcquireError, Lock, Session};

/// Long enough for a few attempts to connect.
const SHORT: Duration = Duration::from_millis(300);

async fn paths(server: &'static TestServer) {
    let session = Session::connect(server.address()).await.unwrap();
    for (path, message) in [
        ("", "empty"),
        ("my/locks", "must start with \"/\""),
        ("/my/locks/", "must not end"),
        ("/my//locks", "empty"),
        ("/my/./locks", "\".\""),
        ("/my/../locks", "\"..\""),
        ("/my/\0locks", "character"),
    ] {
        let error = Lock::new(&session, path).unwrap_err().to_string();
        assert!(error.contains(message), "{path:?}: {error}");
    }
}

async fn requests(server: &'static TestServer) {
    let session = Session::connect(server.address()).await.unwrap();
    let lock = Lock::new(&session, "/input").unwrap();
    let error = lock.acquire().timeout(Duration::ZERO).await.unwrap_err();
    assert!(error.to_string().contains("try_acquire"), "{error}");
    let long = "x".repeat(zklock::lock::MAX_OWNER + 1);
    let error = lock.acquire().owner(long).await.unwrap_err();
    assert_eq!(error, AcquireError::OwnerTooLong { bytes: 65_537 });
    let left = RawClient::connect(&server.address()).children("/input");
    assert_eq!(left, None, "nothing was sent");
    let longest = "\u{1}".repeat(zklock::lock::MAX_OWNER);
    let guard = lock
        .acquire()
        .owner(longest)
        .timeout(Duration::MAX)
        .await
        .unwrap();
    guard.release().await.unwrap();
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn addresses() {
    for (address, message) in [
        ("", "names no server"),
        ("localhost:zk", "port \"zk\" of server \"localhost:zk\""),
        ("localhost:0", "port \"0\""),
        ("::1", "brackets"),
        ("localhost:2181/a/", "chroot"),
    ] {
        let error = Session::connect(address).await.unwrap_err().to_string();
        assert!(error.contains(message), "{address:?}: {error}");
    }
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn servers_that_cannot_be_reached() {
    let port = {
        let closed = std::net::TcpListener::bind("127.0.0.1:0").unwrap();
        closed.local_addr().unwrap().port()
    };
    for (server, message) in [
        (
            format!("127.0.0.1:{port}"),
            format!("127.0.0.1:{port}: connection refused"),
        ),
        (
            "no-such-host.invalid".into(),
            "no-such-host.invalid:2181: the host name".into(),
        ),
    ] {
        let builder = Session::builder(server).connect_timeout(SHORT);
        let error = builder.connect().await.unwrap_err().to_string();
        assert!(error.contains(&message), "{error}");
    }
    let zero = Session::builder("localhost").session_timeout(Duration::ZERO);
    assert!(
        zero.connect()
            .await
            .unwrap_err()
            .to_string()
            .contains("session timeout")
    );
}

on_both_servers! {
    #[tokio::test(flavor = "multi_thread", worker_threads = 2)]
    paths
    requests;
}
