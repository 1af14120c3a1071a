//! Sessions on a real ensemble of three servers, some of which are killed.

#![allow(
    clippy::unwrap_used,
    clippy::expect_used,
    clippy::panic,
    clippy::indexing_slicing,
    reason = "a test fails by panicking"
)]

mod support;

use std::io::{ErrorKind, Read, Write};
use std::net::TcpStream;
use std::sync::LazyLock;
use std::time::{Duration, Instant};

use bytes::BytesMut;
use support::becomes_true;
use support::ensemble::{Ensemble, SERVERS};
use support::raw::RawClient;
use tokio::sync::{Mutex, MutexGuard};
use zklock::proto::{ConnectRequest, ConnectResponse, FrameReader, Password, Reader, write_frame};
use zklock::{Guard, Lock, Session, SessionState};

/// Far more than any step takes; a test that waits so long has failed.
const LONG: Duration = Duration::from_secs(30);

/// One ensemble for all tests of this file, which take turns.
static ENSEMBLE: LazyLock<Mutex<Ensemble>> = LazyLock::new(|| Mutex::new(Ensemble::start()));

/// The ensemble, complete, whatever the test before has left.
async fn ensemble() -> MutexGuard<'static, Ensemble> {
    let mut ensemble = ENSEMBLE.lock().await;
    ensemble.heal();
    for index in 0..SERVERS {
        if !ensemble.runs(index) {
            ensemble.restart(index);
        }
    }
    ensemble.wait_until_complete();
    ensemble
}

async fn connect(servers: String, timeout: Duration) -> Session {
    let builder = Session::builder(servers).session_timeout(timeout);
    builder.connect().await.unwrap()
}

async fn acquire(lock: &Lock) -> Guard {
    lock.acquire().timeout(LONG).await.unwrap()
}

fn session_id(session: &Session) -> Option<i64> {
    match session.state() {
        SessionState::Connected { session_id, .. } => Some(session_id),
        _ => None,
    }
}

/// A session that knows all servers and happens to be on this one.
async fn connect_to(ensemble: &Ensemble, server: usize) -> Session {
    for _ in 0..100 {
        let session = connect(ensemble.connect_string(), LONG).await;
        if ensemble.server_of(session_id(&session).unwrap()) == Some(server) {
            return session;
        }
        session.close().await;
    }
    panic!("of a hundred sessions none was on server {server}");
}

/// A connection on which this session is asked for, and nothing else is sent.
fn greet(server: &str, session_id: i64, password: Password) -> TcpStream {
    let greeting = ConnectRequest {
        protocol_version: 0,
        last_zxid_seen: 0,
        timeout_ms: 4000,
        session_id,
        password,
        read_only: Some(false),
    };
    let mut bytes = BytesMut::new();
    write_frame(&mut bytes, |out| greeting.encode(out)).unwrap();
    let mut connection = TcpStream::connect(server).unwrap();
    connection.set_read_timeout(Some(LONG)).unwrap();
    connection.write_all(&bytes).unwrap();
    connection
}

fn welcome(connection: &mut TcpStream) -> ConnectResponse {
    let (reader, mut bytes) = (FrameReader::new(1024), BytesMut::new());
    let frame = loop {
        if let Some(frame) = reader.read(&mut bytes).unwrap() {
            break frame;
        }
        let mut chunk = [0; 64];
        let length = connection.read(&mut chunk).unwrap();
        assert!(length > 0, "the server hangs up");
        bytes.extend_from_slice(&chunk[..length]);
    };
    ConnectResponse::decode(&mut Reader::new(&frame)).unwrap()
}

/// Kills the server that a holder's session is on, and sees it go on elsewhere.
async fn outlives(ensemble: &mut Ensemble, server: usize, path: &str) {
    let session = connect_to(ensemble, server).await;
    let id = session_id(&session);
    let guard = acquire(&Lock::new(&session, path).unwrap()).await;

    let start = Instant::now();
    ensemble.kill(server);
    let goes_on = becomes_true(LONG, || {
        ensemble.server_of(id.unwrap()).is_some() && session_id(&session).is_some()
    });
    assert!(goes_on, "{:?}", session.state());
    println!("{path}: re-attached after {:?}", start.elapsed());
    let state = session.state();
    assert!(
        matches!(
            state,
            SessionState::Connected {
                reattached: true,
                ..
            }
        ),
        "{state:?}"
    );
    assert_eq!(session_id(&session), id);
    assert_eq!((guard.check(), guard.lost_reason()), (Ok(()), None));
    let elsewhere = ensemble.server_of(id.unwrap()).unwrap();
    let mut observer = RawClient::connect(&ensemble.address(elsewhere));
    let claims = observer.children(path).unwrap();
    assert_eq!(guard.znode(), format!("{path}/{}", claims[0]));
    guard.release().await.unwrap();
    assert_eq!(observer.children(path), Some(vec![]));
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_lock_outlives_the_follower_that_its_session_is_on() {
    let mut ensemble = ensemble().await;
    let follower = ensemble.followers()[0];
    outlives(&mut ensemble, follower, "/follower").await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_lock_outlives_the_leader_that_its_session_is_on() {
    let mut ensemble = ensemble().await;
    let leader = ensemble.leader();
    outlives(&mut ensemble, leader, "/leader").await;
}

/// Which is why a request that is stuck on a connection given up cannot be let
/// in later, when the session has come back to that server: the simulation's
/// servers do the same.
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_server_hangs_up_on_the_earlier_connection_before_the_leader_knows() {
    let ensemble = ensemble().await;
    let follower = ensemble.followers()[0];
    let server = ensemble.address(follower);
    let mut earlier = greet(&server, 0, Password::zeros());
    let ConnectResponse {
        session_id,
        password,
        ..
    } = welcome(&mut earlier);
    assert!(session_id != 0);

    ensemble.hold_from(follower);
    let mut later = greet(&server, session_id, password);
    assert_eq!(earlier.read(&mut [0; 64]).unwrap(), 0, "it is closed");
    later.set_nonblocking(true).unwrap();
    let answer = later.read(&mut [0; 64]);
    let waits = answer
        .as_ref()
        .is_err_and(|error| error.kind() == ErrorKind::WouldBlock);
    assert!(waits, "{answer:?}");
    ensemble.heal();
}
