//! The one place that reads a clock.

use tokio::time::Instant;

use super::time::Timestamp;

/// What a session and all that lives on it count time by.
#[derive(Clone, Copy, Debug)]
pub(crate) enum Clock {
    /// The system's.
    System,
    /// tokio's, which tests can pause, from this point on.
    Tokio(Instant),
}

impl Clock {
    pub(crate) fn now(self) -> Timestamp {
        match self {
            Self::System => system_now(),
            Self::Tokio(zero) => Timestamp::ZERO + Instant::now().saturating_duration_since(zero),
        }
    }
}

/// Now, on a clock that goes on while the machine is suspended.
///
/// A lease must run out during a suspend too, and the clocks of std and tokio
/// stop then on Linux. Its `CLOCK_BOOTTIME` does not.
#[cfg(target_os = "linux")]
#[expect(
    unsafe_code,
    reason = "std offers no clock that counts time in suspend"
)]
fn system_now() -> Timestamp {
    let mut time = libc::timespec {
        tv_sec: 0,
        tv_nsec: 0,
    };
    // SAFETY: `time` is a valid timespec for the call to write to.
    let result = unsafe { libc::clock_gettime(libc::CLOCK_BOOTTIME, &raw mut time) };
    assert_eq!(result, 0, "every Linux since 2.6.39 has CLOCK_BOOTTIME");
    let seconds = u64::try_from(time.tv_sec).unwrap_or(0);
    let nanos = u64::try_from(time.tv_nsec).unwrap_or(0);
    Timestamp::from_nanos(seconds.saturating_mul(1_000_000_000).saturating_add(nanos))
}

/// Now, on std's monotonic clock. Whether it goes on during a suspend depends
/// on the system: on Windows it does, on macOS it does not.
#[cfg(not(target_os = "linux"))]
fn system_now() -> Timestamp {
    use std::sync::OnceLock;
    use std::time::Instant;

    static START: OnceLock<Instant> = OnceLock::new();
    Timestamp::ZERO + START.get_or_init(Instant::now).elapsed()
}

#[cfg(test)]
mod tests {
    use super::*;
    use std::time::{Duration, Instant};

    #[test]
    fn it_runs_as_fast_as_stds_clock() {
        let (start, reference) = (system_now(), Instant::now());
        std::thread::sleep(Duration::from_millis(20));
        let (passed, expected) = (system_now() - start, reference.elapsed());
        assert!(passed >= Duration::from_millis(20), "{passed:?}");
        assert!(
            passed.abs_diff(expected) < Duration::from_secs(1),
            "{passed:?} {expected:?}"
        );
    }
}
