//! How long to wait before the next attempt to connect, and the small
//! generator behind it.

use std::time::Duration;

/// The first delay is drawn from `0..BASE`, each further one from twice that.
const BASE: Duration = Duration::from_millis(50);
/// No delay is longer: a lock wants its server back soon.
const CAP: Duration = Duration::from_millis(500);

/// A seeded generator (SplitMix64): one seed decides every choice a machine
/// makes, so that a simulation can be replayed. Not for secrets.
#[derive(Clone, Debug, PartialEq, Eq, Hash)]
pub struct Random(u64);

impl Random {
    /// A generator that always yields the same numbers for the same seed.
    #[must_use]
    pub const fn new(seed: u64) -> Self {
        Self(seed)
    }

    /// The next number, uniform over all 64 bits.
    pub const fn next_u64(&mut self) -> u64 {
        self.0 = self.0.wrapping_add(0x9e37_79b9_7f4a_7c15);
        let mut z = self.0;
        z = (z ^ (z >> 30)).wrapping_mul(0xbf58_476d_1ce4_e5b9);
        z = (z ^ (z >> 27)).wrapping_mul(0x94d0_49bb_1331_11eb);
        z ^ (z >> 31)
    }

    /// A number in `0..bound`, or 0 if `bound` is 0. The bias of the remainder
    /// is below 2^-32 for every bound used here.
    pub fn below(&mut self, bound: u64) -> u64 {
        self.next_u64().checked_rem(bound).unwrap_or(0)
    }

    /// Puts the items in a random order (Fisher-Yates).
    pub fn shuffle<T>(&mut self, items: &mut [T]) {
        for last in (1..items.len()).rev() {
            let bound = last as u64 + 1;
            let other = usize::try_from(self.below(bound)).unwrap_or(0);
            items.swap(last, other);
        }
    }
}

/// Full jitter: each delay is uniform between nothing and a ceiling that
/// doubles up to half a second, so that a fleet that lost its server together
/// does not come back together.
#[derive(Clone, Debug, Default, PartialEq, Eq, Hash)]
pub(super) struct Backoff {
    delays: u32,
}

impl Backoff {
    /// Starts over at the shortest ceiling.
    pub(super) fn reset(&mut self) {
        self.delays = 0;
    }

    /// The next delay.
    pub(super) fn delay(&mut self, random: &mut Random) -> Duration {
        let ceiling = BASE.saturating_mul(1 << self.delays.min(8)).min(CAP);
        self.delays = self.delays.saturating_add(1);
        let nanos = u64::try_from(ceiling.as_nanos()).unwrap_or(u64::MAX);
        Duration::from_nanos(random.below(nanos))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn delays_are_jittered_and_capped() {
        let mut random = Random::new(7);
        let mut backoff = Backoff::default();
        let delays: Vec<_> = (0..1_000).map(|_| backoff.delay(&mut random)).collect();
        assert!(delays.iter().all(|delay| *delay < CAP));
        assert!(delays[0] < BASE);
        let long = delays.iter().filter(|delay| **delay > CAP / 2).count();
        assert!(
            (300..700).contains(&long),
            "{long} of 1000 in the upper half"
        );
    }

    #[test]
    fn a_seed_replays_and_a_shuffle_keeps_every_item() {
        let mut first: Vec<u32> = (0..20).collect();
        let mut second = first.clone();
        Random::new(3).shuffle(&mut first);
        Random::new(3).shuffle(&mut second);
        assert_eq!(first, second);
        assert_ne!(first, (0..20).collect::<Vec<_>>());
        first.sort_unstable();
        assert_eq!(first, (0..20).collect::<Vec<_>>());
    }
}
