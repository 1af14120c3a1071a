//! The embedded server on a socket: clients that come, go, and do not read; and
//! its own beginning and end.

#![allow(
    clippy::unwrap_used,
    clippy::expect_used,
    clippy::panic,
    clippy::indexing_slicing,
    reason = "a test fails by panicking"
)]

use std::io::ErrorKind;
use std::sync::Arc;
use std::sync::atomic::{AtomicUsize, Ordering};
use std::time::Duration;

use bytes::BytesMut;
use tokio::io::{AsyncReadExt, AsyncWriteExt};
use tokio::net::TcpStream;
use tokio::time::sleep;
use zklock::embedded::EmbeddedServer;
use zklock::proto::{
    ConnectRequest, ErrorCode, FrameReader, Password, Reader, ReplyHeader, Request, write_frame,
};
use zklock::{Cause, Lock, Session, SessionState};

/// Far more than anything takes here.
const LONG: Duration = Duration::from_secs(60);

#[tokio::test]
async fn a_dropped_server_is_gone_and_its_port_free() {
    let server = EmbeddedServer::start().await.unwrap();
    let (address, in_memory) = (server.address().unwrap(), server.session());
    assert_eq!(server.connect_string(), address.to_string());
    let taken = EmbeddedServer::builder().port(address.port()).start().await;
    assert_eq!(taken.unwrap_err().kind(), ErrorKind::AddrInUse);

    let session = Session::connect(server.connect_string()).await.unwrap();
    let lock = Lock::new(&session, "/lock").unwrap();
    let guard = lock.acquire().await.unwrap();
    drop(server);
    let mut states = session.states();
    let cause = loop {
        if let SessionState::Suspended { cause, .. } = states.next().await.unwrap() {
            break cause;
        }
    };
    assert_eq!(cause, Cause::ClosedByServer);
    assert_eq!(guard.check(), Ok(()));
    let timeout = Duration::from_millis(300);
    let error = in_memory
        .connect_timeout(timeout)
        .connect()
        .await
        .unwrap_err();
    assert!(error.to_string().contains("connection refused"), "{error}");
    let again = EmbeddedServer::builder().port(address.port()).start();
    drop(again.await.expect("the port is free"));
}

#[test]
fn without_a_runtime_there_is_no_server_and_without_one_any_more_nothing_in_it() {
    assert!(EmbeddedServer::in_memory().is_err());
    let runtime = || {
        tokio::runtime::Builder::new_current_thread()
            .enable_all()
            .build()
            .unwrap()
    };
    let server = runtime().block_on(EmbeddedServer::start()).unwrap();
    runtime().block_on(async {
        server.pause().await;
        assert_eq!(server.znodes().await, []);
        assert!(!server.expire(1).await);
    });
}

/// A client without a library: its stream, once it has a session.
async fn raw_client(server: &EmbeddedServer, timeout: Duration) -> TcpStream {
    let mut client = TcpStream::connect(server.address().unwrap()).await.unwrap();
    let handshake = ConnectRequest {
        protocol_version: 0,
        last_zxid_seen: 0,
        timeout_ms: timeout.as_millis() as i32,
        session_id: 0,
        password: Password::zeros(),
        read_only: Some(false),
    };
    let mut hello = BytesMut::new();
    write_frame(&mut hello, |out| handshake.encode(out)).unwrap();
    client.write_all(&hello).await.unwrap();
    let mut welcome = [0; 4 + 37];
    client.read_exact(&mut welcome).await.unwrap();
    client
}

#[tokio::test]
async fn a_client_that_goes_takes_its_watches_along_at_once_and_its_session_in_time() {
    let tick = Duration::from_millis(200);
    let server = EmbeddedServer::builder()
        .tick(tick)
        .max_session_timeout(LONG);
    let server = server.start().await.unwrap();
    let mut client = raw_client(&server, LONG).await;
    let mut watch = BytesMut::new();
    let path = "/lock".into();
    let exists = Request::Exists { path, watch: true };
    write_frame(&mut watch, |out| exists.encode(1, out)).unwrap();
    client.write_all(&watch).await.unwrap();
    let mut answer = [0; 4 + ReplyHeader::SIZE];
    client.read_exact(&mut answer).await.unwrap();
    assert_eq!(server.watch_count().await, 1);
    drop(client);
    while server.watch_count().await > 0 {
        sleep(tick / 20).await;
    }
    assert_eq!(server.sessions().await.len(), 1);

    drop(raw_client(&server, tick).await);
    // Two ticks, and one more. Nobody asks it to look meanwhile.
    sleep(5 * tick).await;
    assert_eq!(server.sessions().await.len(), 1);
}

#[tokio::test]
async fn a_client_that_does_not_read_is_not_read_from_and_gets_all_its_answers() {
    const REQUESTS: i32 = 40_000;
    let builder = EmbeddedServer::builder().max_session_timeout(LONG);
    let server = builder.start().await.unwrap();
    let client = raw_client(&server, LONG).await;
    let (mut answers, mut requests) = client.into_split();
    let sent = Arc::new(AtomicUsize::new(0));
    let counter = Arc::clone(&sent);
    let sending = tokio::spawn(async move {
        let path = "x".repeat(1000).into();
        let echo = Request::Sync { path };
        let mut batch = BytesMut::new();
        for xid in 0..REQUESTS {
            write_frame(&mut batch, |out| echo.encode(xid, out)).unwrap();
            if batch.len() > 64 * 1024 || xid == REQUESTS - 1 {
                let piece = batch.split();
                requests.write_all(&piece).await.unwrap();
                counter.fetch_add(piece.len(), Ordering::SeqCst);
            }
        }
        requests
    });
    // Its socket's buffers and the server's limit do not hold all of it.
    let mut before = 0;
    while before < sent.load(Ordering::SeqCst) || before == 0 {
        before = sent.load(Ordering::SeqCst);
        sleep(Duration::from_millis(500)).await;
    }
    println!("stuck after {before} bytes");
    assert!(!sending.is_finished());
    let (frames, mut incoming) = (FrameReader::new(2048), BytesMut::new());
    let mut expected = 0;
    while expected < REQUESTS {
        assert!(answers.read_buf(&mut incoming).await.unwrap() > 0);
        while let Some(frame) = frames.read(&mut incoming).unwrap() {
            let header = ReplyHeader::decode(&mut Reader::new(&frame)).unwrap();
            assert_eq!((header.xid, header.error), (expected, ErrorCode::Ok));
            expected += 1;
        }
    }
    sending.await.unwrap();
}
