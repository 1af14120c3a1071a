//! A client's clock, which is a little fast or slow, and may jump ahead.

use std::time::Duration;

use zklock::session::Timestamp;

/// True time, in nanoseconds: what the servers count by.
pub(crate) type Nanos = u64;

const MILLION: u64 = 1_000_000;

#[derive(Clone, Copy, Debug)]
pub(crate) struct Clock {
    since: Nanos,
    shows: u64,
    /// How much it advances in a million.
    rate: u64,
}

impl Clock {
    pub(crate) fn new(now: Nanos, shows: u64, rate: u64) -> Self {
        Self {
            since: now,
            shows,
            rate,
        }
    }

    pub(crate) fn at(&self, now: Nanos) -> Timestamp {
        if self.rate == MILLION {
            return Timestamp::from_nanos(self.shows + now - self.since);
        }
        let passed = u128::from(now - self.since) * u128::from(self.rate) / u128::from(MILLION);
        Timestamp::from_nanos(self.shows + passed as u64)
    }

    /// When it shows this.
    pub(crate) fn when(&self, shows: Timestamp) -> Nanos {
        let ahead = shows.as_nanos().saturating_sub(self.shows);
        if self.rate == MILLION {
            return self.since.saturating_add(ahead);
        }
        let passes = (u128::from(ahead) * u128::from(MILLION)).div_ceil(u128::from(self.rate));
        u64::try_from(passes).map_or(Nanos::MAX, |passes| self.since.saturating_add(passes))
    }

    /// It jumps ahead, as that of a suspended machine does.
    pub(crate) fn jump(&mut self, now: Nanos, by: Nanos) {
        let shows = self.at(now) + Duration::from_nanos(by);
        *self = Self::new(now, shows.as_nanos(), self.rate);
    }
}
