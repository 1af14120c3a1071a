//! Grants that race with deadlines: of the two exactly one happens, and what
//! timed out leaves nothing behind.

#![allow(
    clippy::unwrap_used,
    clippy::expect_used,
    clippy::panic,
    clippy::indexing_slicing,
    reason = "a test fails by panicking"
)]

#[path = "../support/mod.rs"]
mod support;

#[cfg(feature = "tokio")]
mod on_server;
mod track;

use std::env;
use std::time::Duration;

use support::scripted::client::keeps_nothing;
use track::{End, LONG_WAY, Phase, Track};
use zklock::session::Timestamp;

const RACES: usize = 10_000;
/// In each phase both must happen as often at the least.
const FEWEST: usize = RACES / Phase::ALL.len() / 5;

/// Numbers from a seed, by splitmix64.
pub(crate) struct Random(u64);

impl Random {
    /// Another seed each time, unless `ZKLOCK_TEST_SEED` gives one.
    pub(crate) fn from_environment() -> Self {
        let seed = env::var("ZKLOCK_TEST_SEED").ok();
        let seed = seed.map_or_else(support::random, |seed| seed.parse().unwrap());
        println!("ZKLOCK_TEST_SEED={seed}");
        Self(seed)
    }

    pub(crate) fn next(&mut self) -> u64 {
        self.0 = self.0.wrapping_add(0x9e37_79b9_7f4a_7c15);
        let mixed = (self.0 ^ (self.0 >> 30)).wrapping_mul(0xbf58_476d_1ce4_e5b9);
        let mixed = (mixed ^ (mixed >> 27)).wrapping_mul(0x94d0_49bb_1331_11eb);
        mixed ^ (mixed >> 31)
    }

    /// From nothing to less than `limit`.
    pub(crate) fn up_to(&mut self, limit: Duration) -> Duration {
        let limit = u64::try_from(limit.as_nanos()).expect("a short time");
        Duration::from_nanos(self.next() % limit)
    }
}

/// Each race is run without a deadline first, for the time of its grant, and
/// then with one close to that.
#[test]
fn of_grant_and_deadline_exactly_one_happens_whichever_is_first() {
    let mut random = Random::from_environment();
    let mut counts = [(0, 0); Phase::ALL.len()];
    for race in 0..RACES {
        let place = race % Phase::ALL.len();
        let (phase, seed) = (Phase::ALL[place], random.next());
        let free = Track::run(phase, seed, Timestamp::MAX);
        let granted_at = free.granted.expect("it is granted some time");
        let deadline = close_to(granted_at, &mut random).max(free.asked + MOMENT);

        let end = Track::run(phase, seed, deadline);
        let in_time = granted_at < deadline;
        let granted = in_time.then_some(granted_at);
        let told = free.pause.filter(|pause| pause.contains(&deadline));
        let told = told.map_or(deadline, |pause| pause.end);
        let timed_out = (!in_time).then_some(told);
        assert_eq!(
            (end.granted, end.timed_out),
            (granted, timed_out),
            "race {race}, {phase:?}, seed {seed}: {granted_at:?} against {deadline:?}"
        );
        assert_eq!(end.answers, 1, "race {race}, {phase:?}, seed {seed}");
        nothing_is_left(&end);
        let (grants, timeouts) = &mut counts[place];
        *(if in_time { grants } else { timeouts }) += 1;
    }
    for (phase, (grants, timeouts)) in Phase::ALL.iter().zip(counts) {
        println!("{phase:?}: {grants} granted, {timeouts} timed out");
        assert!(grants.min(timeouts) >= FEWEST, "no race: {phase:?}");
    }
}

const MOMENT: Duration = Duration::from_nanos(1);

/// The same instant, its neighbours, or as far away as frames may be.
fn close_to(at: Timestamp, random: &mut Random) -> Timestamp {
    let range = [MOMENT * 3, Duration::from_millis(1), LONG_WAY][(random.next() % 3) as usize];
    let later = at + random.up_to(range);
    let span = u64::try_from(range.as_nanos() / 2).expect("a short time");
    Timestamp::from_nanos(later.as_nanos() - span)
}

fn nothing_is_left(end: &End) {
    assert_eq!(end.children, [] as [&str; 0]);
    keeps_nothing(&end.claims);
}
