//! Contests for a lock between a holder on a follower and a contender on the
//! leader, while the two servers lose touch: the holder is told before the
//! contender is granted, whatever its follower still answers.

use std::sync::Arc;
use std::time::{Duration, Instant};

use tokio::task::JoinHandle;
use tokio::time::sleep;
use zklock::{Lock, LostReason};

use crate::shared::{LONG, acquire, connect, ensemble};
use crate::support::ensemble::Ensemble;
use crate::support::eventually;
use crate::support::raw::RawClient;

const AT_ONCE: Duration = Duration::ZERO;

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

/// The follower goes on answering pings and reads.
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn follower_cut_off_from_its_leader() {
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
async fn bytes_of_the_leader_held_back_for_less_than_a_heartbeat() {
    let ensemble = ensemble().await;
    let contests = Contests::begin_in_turn(&ensemble, &[4_000; 5], "/late-sync").await;
    contests.settle().await;
    hear_late(&ensemble, 600, contests).await;
}

/// Held for 0.6 to 0.75 of the session timeout: the sessions, which are fresh
/// and have most of their leases ahead of them, attach anew meanwhile, and what
/// comes late are answers to handshakes.
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn bytes_of_the_leader_held_back() {
    let timeouts = [4_000, 4_000, 4_200, 4_600];
    held_back(2_800, &timeouts, "/late-handshake").await;
    let timeouts = [5_800, 6_000, 6_000, 7_000];
    held_back(4_300, &timeouts, "/very-late-handshake").await;
}

async fn held_back(hold: u64, timeouts: &[u64], path: &str) {
    let ensemble = ensemble().await;
    let contests = Contests::begin(&ensemble, timeouts, AT_ONCE, path).await;
    hear_late(&ensemble, hold, contests).await;
}
