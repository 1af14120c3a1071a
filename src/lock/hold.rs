//! A lock that is held, as its guard and its session's task share it.

use std::sync::atomic::{AtomicU64, Ordering, fence};
use std::sync::{Arc, OnceLock};
use std::time::Duration;

use tokio_util::sync::CancellationToken;

use super::error::LostReason;
use crate::session::{Clock, Timestamp};

/// Until when the session can be relied on. Written by its task only, read by
/// every guard.
#[derive(Clone, Debug, Default)]
pub(super) struct LeaseCell(Arc<AtomicU64>);

impl LeaseCell {
    pub(super) fn set(&self, until: Option<Timestamp>) {
        let nanos = until.unwrap_or(Timestamp::ZERO).as_nanos();
        self.0.store(nanos, Ordering::Release);
    }

    fn get(&self) -> Timestamp {
        Timestamp::from_nanos(self.0.load(Ordering::Acquire))
    }
}

/// Whether a lock is still held. Once it is lost it stays so.
#[derive(Debug)]
pub(super) struct Hold {
    lease: LeaseCell,
    /// When it ends by its TTL.
    until: Timestamp,
    reason: OnceLock<LostReason>,
    /// Made when it is first asked for: most holders never do.
    lost: OnceLock<CancellationToken>,
}

impl Hold {
    pub(super) fn new(lease: LeaseCell, until: Option<Timestamp>) -> Self {
        Self {
            lease,
            until: until.unwrap_or(Timestamp::MAX),
            reason: OnceLock::new(),
            lost: OnceLock::new(),
        }
    }

    /// The first reason given stays. Returns whether this is it.
    pub(super) fn lose(&self, reason: LostReason) -> bool {
        let first = self.reason.set(reason).is_ok();
        // Against the one below: either this sees the token, or it the reason.
        fence(Ordering::SeqCst);
        if let Some(lost) = self.lost.get().filter(|_| first) {
            lost.cancel();
        }
        first
    }

    pub(super) fn reason(&self) -> Option<LostReason> {
        self.reason.get().copied()
    }

    pub(super) fn lost(&self) -> &CancellationToken {
        let lost = self.lost.get_or_init(CancellationToken::new);
        fence(Ordering::SeqCst);
        if self.reason().is_some() {
            lost.cancel();
        }
        lost
    }

    /// How long the lock is held for sure, by its session's clock as it is now:
    /// a task that is late with its news cannot hide that the lease has run
    /// out. If it is found out here, `found_out` is called.
    pub(super) fn remaining(
        &self,
        clock: Clock,
        found_out: impl FnOnce(),
    ) -> Result<Duration, LostReason> {
        // The lease first: were the session lost and another begun between the
        // two reads, the reason would be there by now.
        let (lease, now) = (self.lease.get(), clock.now());
        let remaining = lease.min(self.until) - now;
        let reason = if lease <= now {
            LostReason::LeaseExpired
        } else {
            LostReason::TtlExpired
        };
        if remaining.is_zero() && self.lose(reason) {
            found_out();
        }
        self.reason().map_or(Ok(remaining), Err)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const CLOCK: Clock = Clock::System;

    #[test]
    fn a_loss_is_latched_with_its_first_reason() {
        let lease = LeaseCell::default();
        lease.set(Some(CLOCK.now() + Duration::from_secs(60)));
        let hold = Hold::new(lease.clone(), None);
        assert!(hold.remaining(CLOCK, || {}).unwrap() > Duration::from_secs(50));
        lease.set(None);
        assert_eq!(hold.remaining(CLOCK, || {}), Err(LostReason::LeaseExpired));
        assert!(hold.lost().is_cancelled());
        lease.set(Some(CLOCK.now() + Duration::from_secs(60)));
        hold.lose(LostReason::ClaimDeleted);
        assert_eq!(hold.remaining(CLOCK, || {}), Err(LostReason::LeaseExpired));
    }

    #[test]
    fn the_token_is_cancelled_whether_it_is_there_before_the_loss_or_not() {
        let hold = Hold::new(LeaseCell::default(), None);
        let before = hold.lost().clone();
        assert!(!before.is_cancelled());
        hold.lose(LostReason::Released);
        assert!(before.is_cancelled());
        let hold = Hold::new(LeaseCell::default(), None);
        hold.lose(LostReason::Released);
        assert!(hold.lost().is_cancelled());
    }

    #[test]
    fn a_ttl_ends_it_before_the_lease_does() {
        let lease = LeaseCell::default();
        lease.set(Some(CLOCK.now() + Duration::from_secs(60)));
        let until = CLOCK.now() + Duration::from_secs(30);
        let hold = Hold::new(lease.clone(), Some(until));
        assert!(hold.remaining(CLOCK, || {}).unwrap() <= Duration::from_secs(30));
        let hold = Hold::new(lease, Some(CLOCK.now()));
        assert_eq!(hold.remaining(CLOCK, || {}), Err(LostReason::TtlExpired));
    }
}
