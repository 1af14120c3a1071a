//! A time by a clock that all processes of a machine share.

use std::time::Duration;

use nix::time::{ClockId, clock_gettime};

/// Nanoseconds since the machine was started.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) struct Moment(pub(crate) u64);

/// One that goes on while the machine sleeps, where there is one.
#[cfg(any(target_os = "linux", target_os = "android"))]
const CLOCK: ClockId = ClockId::CLOCK_BOOTTIME;
#[cfg(not(any(target_os = "linux", target_os = "android")))]
const CLOCK: ClockId = ClockId::CLOCK_MONOTONIC;

impl Moment {
    pub(crate) fn now() -> Self {
        // An error would say that there is no such clock.
        let now = clock_gettime(CLOCK).map(Duration::from);
        Self(nanos(now.unwrap_or_default()))
    }

    pub(crate) fn after(self, time: Duration) -> Self {
        Self(self.0.saturating_add(nanos(time)))
    }

    /// How long until then.
    pub(crate) fn left(self) -> Duration {
        Duration::from_nanos(self.0.saturating_sub(Self::now().0))
    }
}

fn nanos(time: Duration) -> u64 {
    u64::try_from(time.as_nanos()).unwrap_or(u64::MAX)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_moment_comes_and_then_nothing_is_left() {
        let (second, now) = (Duration::from_secs(1), Moment::now());
        let left = now.after(second).left();
        assert!(!left.is_zero() && left <= second, "{left:?}");
        assert_eq!(Moment(0).left(), Duration::ZERO);
        assert_eq!(now.after(Duration::MAX), Moment(u64::MAX));
    }
}
