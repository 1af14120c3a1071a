//! The clock by which all processes of a run note what they do.

use std::time::Duration;

use nix::time::{ClockId, clock_gettime};

/// Nanoseconds on the machine's monotonic clock: the same in every process.
pub(crate) type Moment = u64;

pub(crate) fn now() -> Moment {
    let time = clock_gettime(ClockId::CLOCK_MONOTONIC).unwrap();
    Duration::from(time).as_nanos() as Moment
}

pub(crate) fn after(moment: Moment, time: Duration) -> Moment {
    moment + time.as_nanos() as Moment
}

/// From one moment to a later one.
pub(crate) fn between(from: Moment, to: Moment) -> Duration {
    Duration::from_nanos(to.saturating_sub(from))
}
