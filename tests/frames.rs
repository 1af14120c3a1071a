//! What an acquisition costs, counted on the wire between the library and a
//! server, real or embedded.

#![allow(
    clippy::unwrap_used,
    clippy::expect_used,
    clippy::panic,
    clippy::indexing_slicing,
    reason = "a test fails by panicking"
)]

mod support;

use std::io;
use std::pin::Pin;
use std::sync::Arc;
use std::sync::atomic::{AtomicUsize, Ordering};
use std::task::{Context, Poll};

use bytes::Bytes;
use support::eventually;
use support::proxy::{Direction, Proxy, RecordedFrame};
use support::server::{TestServer, on_both_servers};
use tokio::io::{AsyncRead, AsyncWrite, ReadBuf};
use tokio::net::TcpStream;
use zklock::embedded::EmbeddedServer;
use zklock::proto::Request;
use zklock::{Lock, Session};

/// The requests among the recorded frames, heartbeats aside, each with the
/// write that it came in.
fn requests(proxy: &Proxy) -> Vec<(usize, Request)> {
    let request = |frame: RecordedFrame| {
        let (_, request) = Request::decode(&Bytes::from(frame.payload)).unwrap();
        (frame.write, request)
    };
    let heartbeat = |request: &Request| match request {
        Request::Ping => true,
        Request::Sync { path } => **path == *"/",
        _ => false,
    };
    let frames = proxy.frames_in(Direction::ToServer).into_iter();
    frames
        .map(request)
        .filter(|(_, request)| !heartbeat(request))
        .collect()
}

fn names(requests: &[(usize, Request)]) -> Vec<&'static str> {
    requests
        .iter()
        .map(|(_, request)| request.opcode().name())
        .collect()
}

async fn a_free_lock_costs_one_batch_and_a_release_one_request(server: &'static TestServer) {
    let proxy = Proxy::start(&server.address());
    let session = Session::connect(proxy.address()).await.unwrap();
    let lock = Lock::new(&session, "/frames").unwrap();
    // Makes the lock path.
    lock.acquire().await.unwrap().release().await.unwrap();

    proxy.clear();
    let guard = lock.acquire().await.unwrap();
    let claim = guard.znode().to_owned();
    eventually("the claim is watched", || requests(&proxy).len() == 3);
    let acquire = requests(&proxy);
    assert_eq!(names(&acquire), ["create", "getChildren", "exists"]);
    assert_eq!(
        acquire[0].0, acquire[1].0,
        "create and getChildren are one write"
    );
    assert_ne!(acquire[1].0, acquire[2].0, "the watch follows the reply");
    assert_eq!(
        acquire[2].1,
        Request::Exists {
            path: claim.as_str().into(),
            watch: true
        }
    );

    proxy.clear();
    guard.release().await.unwrap();
    let release = requests(&proxy);
    assert_eq!(names(&release), ["delete"]);
    assert_eq!(
        release[0].1.path().map(|path| &**path),
        Some(claim.as_str())
    );
}

async fn a_hand_off_between_two_costs_no_request(server: &'static TestServer) {
    let proxy = Proxy::start(&server.address());
    let holder = Session::connect(server.address()).await.unwrap();
    let waiter = Session::connect(proxy.address()).await.unwrap();
    proxy.clear();
    let guard = Lock::new(&holder, "/hand-off")
        .unwrap()
        .acquire()
        .await
        .unwrap();
    let waiting = tokio::spawn(
        Lock::new(&waiter, "/hand-off")
            .unwrap()
            .acquire()
            .into_future(),
    );
    eventually("the predecessor is watched", || {
        names(&requests(&proxy)) == ["create", "getChildren", "exists", "getChildren"]
    });
    // The answer to the watch is there before the next request's.
    Lock::new(&waiter, "/other")
        .unwrap()
        .acquire()
        .await
        .unwrap()
        .release()
        .await
        .unwrap();

    proxy.clear();
    guard.release().await.unwrap();
    let granted = waiting.await.unwrap().unwrap();
    assert!(requests(&proxy).is_empty(), "{:?}", requests(&proxy));
    granted.release().await.unwrap();
}

/// A connection that counts its writes.
struct Counted(TcpStream, Arc<AtomicUsize>);

impl AsyncRead for Counted {
    fn poll_read(
        mut self: Pin<&mut Self>,
        cx: &mut Context<'_>,
        room: &mut ReadBuf<'_>,
    ) -> Poll<io::Result<()>> {
        Pin::new(&mut self.0).poll_read(cx, room)
    }
}

impl AsyncWrite for Counted {
    fn poll_write(
        mut self: Pin<&mut Self>,
        cx: &mut Context<'_>,
        bytes: &[u8],
    ) -> Poll<io::Result<usize>> {
        self.1.fetch_add(1, Ordering::Relaxed);
        Pin::new(&mut self.0).poll_write(cx, bytes)
    }

    fn poll_flush(mut self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<io::Result<()>> {
        Pin::new(&mut self.0).poll_flush(cx)
    }

    fn poll_shutdown(mut self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<io::Result<()>> {
        Pin::new(&mut self.0).poll_shutdown(cx)
    }
}

/// On a runtime of one thread those who are granted a lock run before the
/// session's task writes.
#[tokio::test]
async fn a_release_at_once_goes_out_with_the_watch_of_its_claim() {
    const CYCLES: usize = 50;
    let server = EmbeddedServer::start().await.unwrap();
    let address = server.address().unwrap();
    let writes = Arc::new(AtomicUsize::new(0));
    let counter = Arc::clone(&writes);
    let builder = Session::builder(address.to_string()).dial_with(move |_| {
        let counter = Arc::clone(&counter);
        async move { Ok(Counted(TcpStream::connect(address).await?, counter)) }
    });
    let session = builder.connect().await.unwrap();
    let lock = Lock::new(&session, "/together").unwrap();
    let cycles = tokio::spawn(async move {
        for _ in 0..CYCLES {
            lock.acquire().await.unwrap().release().await.unwrap();
        }
    });
    cycles.await.unwrap();
    let writes = writes.load(Ordering::Relaxed);
    // Two for each, and a few for the handshake, the lock path and heartbeats.
    assert!(writes < 2 * CYCLES + CYCLES / 2, "{writes}");
}

on_both_servers! {
    #[tokio::test(flavor = "multi_thread", worker_threads = 2)]
    a_free_lock_costs_one_batch_and_a_release_one_request
    a_hand_off_between_two_costs_no_request;
}
