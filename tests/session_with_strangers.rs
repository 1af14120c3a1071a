//! The session's task with peers that no real server would be.

#![allow(
    clippy::unwrap_used,
    clippy::expect_used,
    clippy::panic,
    clippy::indexing_slicing,
    reason = "a test fails by panicking"
)]

mod support;

use std::io::{Read, Write};
use std::net::{TcpListener, TcpStream};
use std::sync::mpsc;
use std::thread;
use std::time::{Duration, Instant};

use bytes::BytesMut;
use support::zookeeper::ZooKeeper;
use zklock::proto::{
    ConnectResponse, ErrorCode, EventType, KeeperState, Password, ReplyHeader, WatcherEvent,
    write_frame, xid,
};
use zklock::{Lock, Session, SessionState};

const TIMEOUT: Duration = Duration::from_secs(3);

/// What a server says to a new session.
fn welcome() -> BytesMut {
    let response = ConnectResponse {
        protocol_version: 0,
        timeout_ms: TIMEOUT.as_millis() as i32,
        session_id: 7,
        password: Password::zeros(),
        read_only: Some(false),
    };
    let mut frame = BytesMut::new();
    write_frame(&mut frame, |out| response.encode(out)).unwrap();
    frame
}

/// So many events in one piece.
fn events(count: usize) -> BytesMut {
    let mut frames = BytesMut::new();
    for _ in 0..count {
        write_frame(&mut frames, |out| {
            ReplyHeader {
                xid: xid::WATCH_EVENT,
                zxid: -1,
                error: ErrorCode::Ok,
            }
            .encode(out);
            let (kind, state) = (EventType::NodeDeleted, KeeperState::SyncConnected);
            WatcherEvent {
                kind,
                state,
                path: "/nobody/waits/for/it".into(),
            }
            .encode(out);
        })
        .unwrap();
    }
    frames
}

/// Greets a client and then sends it events without a pause, for so long.
/// Tells when each batch of requests came.
fn flood(listener: &TcpListener, duration: Duration, heard: mpsc::Sender<Instant>) {
    let (mut client, _) = listener.accept().unwrap();
    client.read_exact(&mut [0; 49]).unwrap();
    client.write_all(&welcome()).unwrap();
    let mut requests: TcpStream = client.try_clone().unwrap();
    thread::spawn(move || {
        let mut buffer = [0; 4096];
        while requests.read(&mut buffer).is_ok_and(|read| read > 0) {
            if heard.send(Instant::now()).is_err() {
                return;
            }
        }
    });
    let (events, start) = (events(1_000), Instant::now());
    while start.elapsed() < duration && client.write_all(&events).is_ok() {}
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_flood_of_events_starves_no_heartbeat() {
    let listener = TcpListener::bind("127.0.0.1:0").unwrap();
    let address = listener.local_addr().unwrap().to_string();
    let (heard, batches) = mpsc::channel();
    let flooding = thread::spawn(move || flood(&listener, TIMEOUT, heard));

    let start = Instant::now();
    let builder = Session::builder(address).session_timeout(TIMEOUT);
    let session = builder.connect().await.unwrap();
    // The first heartbeat is due after a sixth of the timeout. It is never
    // answered, so that there is no second one.
    let heartbeat = tokio::task::spawn_blocking(move || batches.recv().unwrap());
    let heartbeat = heartbeat.await.unwrap();
    assert!(heartbeat - start < TIMEOUT / 2, "{:?}", heartbeat - start);
    let stats = session.stats().await.unwrap();
    assert_eq!(stats.heartbeats, 1);
    assert!(stats.events > 1_000, "{stats:?}");
    println!(
        "{} events before the first heartbeat was counted",
        stats.events
    );
    drop(session);
    flooding.join().unwrap();
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_name_that_cannot_be_resolved_and_a_server_that_is_down_are_passed_over() {
    let server = ZooKeeper::start();
    let down = TcpListener::bind("127.0.0.1:0")
        .unwrap()
        .local_addr()
        .unwrap();
    let servers = format!("no-such-host.invalid,{down},{}", server.address());
    // Whatever order the servers are tried in.
    for _ in 0..5 {
        let session = Session::connect(servers.as_str()).await.unwrap();
        assert!(matches!(session.state(), SessionState::Connected { .. }));
        let guard = Lock::new(&session, "/names")
            .unwrap()
            .acquire()
            .await
            .unwrap();
        guard.release().await.unwrap();
        session.close().await;
    }
}
