//! Chance, all of it out of one seed.

use zklock::session::Random;

#[derive(Clone, Debug)]
pub(crate) struct Dice(Random);

impl Dice {
    pub(crate) fn new(seed: u64) -> Self {
        // So that schedules of neighbouring seeds have nothing in common.
        let mut random = Random::new(seed ^ 0x5eed_0f51);
        Self(Random::new(random.next_u64()))
    }

    pub(crate) fn seed(&mut self) -> u64 {
        self.0.next_u64()
    }

    pub(crate) fn below(&mut self, bound: u64) -> u64 {
        self.0.below(bound)
    }

    pub(crate) fn index(&mut self, len: usize) -> usize {
        self.0.below(len as u64) as usize
    }

    /// Whether something happens that happens so often in a hundred times.
    pub(crate) fn percent(&mut self, percent: u64) -> bool {
        self.below(100) < percent
    }

    pub(crate) fn pick<T: Clone>(&mut self, from: &[T]) -> T {
        from[self.index(from.len())].clone()
    }

    /// A time around this one: mostly shorter, at times much longer.
    pub(crate) fn around(&mut self, mean: u64) -> u64 {
        let spread = self.below(2 * mean.max(1));
        if self.percent(10) { spread * 4 } else { spread }
    }
}
