//! Sessions on a real ensemble of three servers, some of which are killed or
//! cut off from each other.

#![allow(
    clippy::unwrap_used,
    clippy::expect_used,
    clippy::panic,
    clippy::indexing_slicing,
    reason = "a test fails by panicking"
)]

mod support;

use std::sync::{Arc, LazyLock};
use std::time::{Duration, Instant};

use support::ensemble::{Ensemble, SERVERS};
use support::raw::RawClient;
use support::{becomes_true, eventually};
use tokio::sync::{Mutex, MutexGuard};
use tokio::task::JoinHandle;
use tokio::time::sleep;
use zklock::{Guard, Lock, LostReason, Session, SessionState};

/// Far more than any step takes; a test that waits so long has failed.
const LONG: Duration = Duration::from_secs(30);

const AT_ONCE: Duration = Duration::ZERO;

/// A server that is out of touch with its leader serves its clients on for
/// eight seconds, so that nothing but the lease warns them.
const SYNC_LIMIT: u32 = 40;

/// One ensemble for all tests of this file, which take turns.
static ENSEMBLE: LazyLock<Mutex<Ensemble>> =
    LazyLock::new(|| Mutex::new(Ensemble::builder().sync_limit(SYNC_LIMIT).start()));

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

/// A holder on a follower, and a contender on the leader that waits for it.
struct Contest {
    timeout: Duration,
    lost: JoinHandle<(LostReason, Instant)>,
    /// What the holder's guard says once the contender is granted, and when
    /// that is.
    granted: JoinHandle<(Result<(), LostReason>, Instant)>,
}

/// Contests that are under way.
struct Contests {
    follower: usize,
    all: Vec<Contest>,
}

impl Contest {
    async fn begin(follower: String, leader: String, timeout: Duration, path: String) -> Self {
        let contender = connect(leader, LONG).await;
        let session = connect(follower, timeout).await;
        let guard = Arc::new(acquire(&Lock::new(&session, &path).unwrap()).await);
        let lock = Lock::new(&contender, &path).unwrap();
        let lost = tokio::spawn({
            let guard = Arc::clone(&guard);
            async move { (guard.lost().await, Instant::now()) }
        });
        let granted = tokio::spawn(async move {
            let next = acquire(&lock).await;
            let told = (guard.check(), Instant::now());
            next.release().await.unwrap();
            told
        });
        Self {
            timeout,
            lost,
            granted,
        }
    }
}

impl Contests {
    /// One contest for each session timeout in milliseconds, begun over the
    /// time of a heartbeat.
    async fn begin_in_turn(ensemble: &Ensemble, timeouts: &[u64], path: &str) -> Self {
        let heartbeat = Duration::from_millis(timeouts[0]) / 6;
        let apart = heartbeat / u32::try_from(timeouts.len()).unwrap();
        Self::begin(ensemble, timeouts, apart, path).await
    }

    async fn begin(ensemble: &Ensemble, timeouts: &[u64], apart: Duration, path: &str) -> Self {
        let follower = ensemble.followers()[0];
        let leader = ensemble.address(ensemble.leader());
        let begun: Vec<_> = (0..)
            .zip(timeouts)
            .map(|(index, timeout)| {
                let (follower, leader) = (ensemble.address(follower), leader.clone());
                let timeout = Duration::from_millis(*timeout);
                let path = format!("{path}/{index}");
                tokio::spawn(async move {
                    sleep(apart * index).await;
                    Contest::begin(follower, leader, timeout, path).await
                })
            })
            .collect();
        let mut all = Vec::new();
        for contest in begun {
            all.push(contest.await.unwrap());
        }
        let mut observer = RawClient::connect(&leader);
        let mut waits = |index| {
            let claims = observer.children(&format!("{path}/{index}"));
            claims.is_some_and(|claims| claims.len() == 2)
        };
        for index in 0..timeouts.len() {
            eventually("the contender waits", || waits(index));
        }
        Self { follower, all }
    }

    /// Waits until the leases rest on heartbeats, not on the handshakes.
    async fn settle(&self) {
        let timeouts = self.all.iter().map(|contest| contest.timeout);
        sleep(timeouts.max().unwrap()).await;
    }

    fn all_hold(&self) -> bool {
        self.all.iter().all(|contest| !contest.lost.is_finished())
    }

    /// In each the holder is told first. `cut` is when the trouble began.
    async fn end(self, cut: Instant) {
        let mut too_early = Vec::new();
        for Contest {
            timeout,
            lost,
            granted,
        } in self.all
        {
            let (reason, lost) = lost.await.unwrap();
            let (said, granted) = granted.await.unwrap();
            assert_eq!(reason, LostReason::LeaseExpired);
            let share = |at: Instant| (at - cut).as_secs_f64() / timeout.as_secs_f64();
            let (lost_after, granted_after) = (share(lost), share(granted));
            println!("T {timeout:?}: lost at {lost_after:.2} T, granted at {granted_after:.2} T");
            if lost >= granted || said != Err(LostReason::LeaseExpired) {
                too_early.push((timeout, lost_after, granted_after, said));
            }
        }
        assert!(too_early.is_empty(), "granted too early: {too_early:?}");
    }
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_holder_on_a_follower_that_is_cut_off_is_told_before_another_is_granted() {
    let ensemble = ensemble().await;
    let timeouts = [2_000, 2_000, 2_000, 3_000, 4_000];
    let contests = Contests::begin_in_turn(&ensemble, &timeouts, "/cut-off").await;
    contests.settle().await;
    assert!(contests.all_hold());
    let cut = Instant::now();
    ensemble.isolate(contests.follower);
    contests.end(cut).await;
}

/// What the leader sends to the follower is held for a while. When it is let
/// through, and the follower's clients hear what the leader has said to what
/// they had sent meanwhile, the other way is cut: it does not hear of them any
/// more.
async fn hear_late(ensemble: &Ensemble, hold: u64, contests: Contests) {
    assert!(contests.all_hold());
    let cut = Instant::now();
    ensemble.hold_to(contests.follower);
    sleep(Duration::from_millis(hold)).await;
    let held = contests.all_hold();
    ensemble.hold_from(contests.follower);
    ensemble.release_to(contests.follower);
    contests.end(cut).await;
    assert!(held, "the late answers came too late to matter");
}

/// The connections live through it: what comes late are answers to syncs.
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn syncs_that_are_answered_late_do_not_hide_that_the_follower_is_cut_off() {
    let ensemble = ensemble().await;
    let contests = Contests::begin_in_turn(&ensemble, &[4_000; 5], "/late-sync").await;
    contests.settle().await;
    hear_late(&ensemble, 600, contests).await;
}

/// Held for 0.6 to 0.75 of the session timeout: the sessions, which are fresh
/// and have most of their leases ahead of them, attach anew meanwhile, and what
/// comes late are answers to handshakes.
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn handshakes_that_are_answered_late_do_not_hide_it() {
    let ensemble = ensemble().await;
    let timeouts = [4_000, 4_000, 4_200, 4_600];
    let contests = Contests::begin(&ensemble, &timeouts, AT_ONCE, "/late-handshake").await;
    hear_late(&ensemble, 2_800, contests).await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn handshakes_that_are_answered_very_late_do_not_hide_it() {
    let ensemble = ensemble().await;
    let timeouts = [5_800, 6_000, 6_000, 7_000];
    let contests = Contests::begin(&ensemble, &timeouts, AT_ONCE, "/very-late-handshake").await;
    hear_late(&ensemble, 4_300, contests).await;
}
