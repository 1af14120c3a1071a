//! How a session reads a connection on which much is in flight, in virtual time.

#![allow(
    clippy::unwrap_used,
    clippy::expect_used,
    clippy::panic,
    clippy::indexing_slicing,
    reason = "a test fails by panicking"
)]

use std::io;
use std::pin::Pin;
use std::sync::{Arc, Mutex};
use std::task::{Context, Poll};
use std::time::Duration;

use bytes::{Bytes, BytesMut};
use tokio::io::{
    AsyncRead, AsyncReadExt, AsyncWrite, AsyncWriteExt, DuplexStream, ReadBuf, duplex,
};
use tokio::task::yield_now;
use tokio::time::Instant;
use zklock::proto::{
    ConnectResponse, ErrorCode, EventType, FrameReader, KeeperState, Password, ReplyHeader,
    WatcherEvent, write_frame, xid,
};
use zklock::{Lock, Session};

/// A client's end of a connection that notes when something was read.
struct Watched(DuplexStream, Reads);

type Reads = Arc<Mutex<Vec<Instant>>>;

impl AsyncRead for Watched {
    fn poll_read(
        mut self: Pin<&mut Self>,
        cx: &mut Context<'_>,
        room: &mut ReadBuf<'_>,
    ) -> Poll<io::Result<()>> {
        let result = Pin::new(&mut self.0).poll_read(cx, room);
        if !room.filled().is_empty() {
            self.1.lock().unwrap().push(Instant::now());
        }
        result
    }
}

impl AsyncWrite for Watched {
    fn poll_write(
        mut self: Pin<&mut Self>,
        cx: &mut Context<'_>,
        bytes: &[u8],
    ) -> Poll<io::Result<usize>> {
        Pin::new(&mut self.0).poll_write(cx, bytes)
    }

    fn poll_flush(mut self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<io::Result<()>> {
        Pin::new(&mut self.0).poll_flush(cx)
    }

    fn poll_shutdown(mut self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<io::Result<()>> {
        Pin::new(&mut self.0).poll_shutdown(cx)
    }
}

/// A server that says hello, and what it is told to.
struct Server {
    stream: DuplexStream,
    received: BytesMut,
}

impl Server {
    async fn frame(&mut self) -> Bytes {
        loop {
            if let Some(frame) = FrameReader::default().read(&mut self.received).unwrap() {
                return frame;
            }
            assert!(self.stream.read_buf(&mut self.received).await.unwrap() > 0);
        }
    }

    async fn send(&mut self, write: impl FnOnce(&mut BytesMut)) {
        let mut out = BytesMut::new();
        write_frame(&mut out, write).unwrap();
        self.stream.write_all(&out).await.unwrap();
        // Whoever is woken has done its part when this returns.
        for _ in 0..10 {
            yield_now().await;
        }
    }

    async fn greet(&mut self) {
        self.frame().await;
        let welcome = ConnectResponse {
            protocol_version: 0,
            timeout_ms: 40_000,
            session_id: 7,
            password: Password::zeros(),
            read_only: Some(false),
        };
        self.send(|out| welcome.encode(out)).await;
    }

    /// Something that answers no request.
    async fn send_event(&mut self) {
        let header = ReplyHeader {
            xid: xid::WATCH_EVENT,
            zxid: -1,
            error: ErrorCode::Ok,
        };
        let event = WatcherEvent {
            kind: EventType::NodeDeleted,
            state: KeeperState::SyncConnected,
            path: "/nobodys".into(),
        };
        self.send(|out| {
            header.encode(out);
            event.encode(out);
        })
        .await;
    }
}

/// A session with so many requests in flight, on a connection whose reads are
/// noted. Each lock asks for a claim and for a listing, and gives up in time.
async fn busy(requests: usize, timeout: Duration) -> (Session, Server, Reads) {
    let (client, server) = duplex(1 << 20);
    let reads = Reads::default();
    let end = Mutex::new(Some(Watched(client, Arc::clone(&reads))));
    let mut server = Server {
        stream: server,
        received: BytesMut::new(),
    };
    let builder = Session::builder("unused").follow_tokio_time();
    let connecting = tokio::spawn(
        builder
            .dial_with(move |_| {
                let end = end.lock().unwrap().take();
                async move { end.ok_or(io::ErrorKind::ConnectionRefused.into()) }
            })
            .connect(),
    );
    server.greet().await;
    let session: Session = connecting.await.unwrap().unwrap();
    for lock in 0..requests / 2 {
        let lock = Lock::new(&session, format!("/{lock}")).unwrap();
        tokio::spawn(lock.acquire().timeout(timeout).into_future());
    }
    for _ in 0..requests {
        server.frame().await;
    }
    (session, server, reads)
}

/// Sends an event, so that what comes is measured from then on, and later one that
/// is followed at once by another.
async fn send_three_events(server: &mut Server, reads: &Reads) {
    server.send_event().await;
    tokio::time::advance(Duration::from_millis(10)).await;
    reads.lock().unwrap().clear();
    server.send_event().await;
    server.send_event().await;
}

/// How long after the second the third is read, with so many requests in flight.
async fn between_reads(requests: usize) -> Duration {
    let (_session, mut server, reads) = busy(requests, Duration::from_secs(60)).await;
    send_three_events(&mut server, &reads).await;
    tokio::time::sleep(Duration::from_millis(10)).await;
    let reads = reads.lock().unwrap();
    assert_eq!(reads.len(), 2, "{reads:?}");
    reads[1] - reads[0]
}

#[tokio::test(start_paused = true)]
async fn with_few_requests_in_flight_all_is_read_as_it_comes() {
    assert_eq!(between_reads(40).await, Duration::ZERO);
}

#[tokio::test(start_paused = true)]
async fn a_server_that_is_behind_is_read_by_the_millisecond() {
    let pause = between_reads(80).await;
    let range = Duration::from_millis(1)..=Duration::from_millis(3);
    assert!(range.contains(&pause), "{pause:?}");
}

#[tokio::test(start_paused = true)]
async fn all_that_has_come_is_read_before_a_deadline_is_missed() {
    // Half a millisecond after the second event, within the pause.
    let timeout = Duration::from_micros(10_500);
    let (session, mut server, reads) = busy(80, timeout).await;
    send_three_events(&mut server, &reads).await;
    assert_eq!(reads.lock().unwrap().len(), 1);
    tokio::time::advance(Duration::from_micros(600)).await;
    // Wakes the session's task.
    session.stats().await.unwrap();
    let reads = reads.lock().unwrap();
    assert_eq!(reads.len(), 2, "{reads:?}");
    assert_eq!(reads[1] - reads[0], Duration::from_micros(600));
}
