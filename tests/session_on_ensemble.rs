//! Sessions on a real ensemble of three servers, some of which are killed.

#![allow(
    clippy::unwrap_used,
    clippy::expect_used,
    clippy::panic,
    clippy::indexing_slicing,
    reason = "a test fails by panicking"
)]

mod support;

use std::sync::LazyLock;
use std::time::{Duration, Instant};

use support::becomes_true;
use support::ensemble::{Ensemble, SERVERS};
use support::raw::RawClient;
use tokio::sync::{Mutex, MutexGuard};
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
