//! When the command has to end, so that it is gone before its lock is.
//!
//! A guard says how long the lock is held for sure, should nothing more be
//! heard of the servers. As long as they are heard of, that never falls below
//! about a quarter of the session timeout T. So what is less means that they
//! are not, and the time that is left is used:
//!
//! ```text
//!   remaining:  T/4 and more      grace + margin          margin          0
//!   ------------- calm -------------|------ SIGTERM --------|-- SIGKILL --|
//! ```
//!
//! The margin is for the system to end the process. The grace period is T/10
//! unless asked for, and T/6 at the most, so that `grace + margin` stays below
//! a quarter of T with room for an answer that is late. A TTL that is shorter
//! than T takes its place: that end comes for sure.
//!
//! Once SIGTERM was sent there is no way back, whatever is heard of the servers
//! then: the command has been told to end, and gets its grace period at the
//! most.
//!
//! Where the lock is lost without such a warning, there is no lease left to use:
//! - its claim was deleted by someone, who may expect the command to end, but
//!   who did not wait for it: SIGTERM, and SIGKILL after the grace period;
//! - anything else, as when this process was stopped for too long: SIGKILL.

use std::time::{Duration, Instant};

use zklock::LostReason;

use crate::args::OnLost;

/// The grace period is this part of the session timeout at the most, and by
/// default that one.
pub(crate) const SHARE_OF_GRACE: u32 = 6;
const DEFAULT_SHARE_OF_GRACE: u32 = 10;

/// How often to look even so: a machine that was asleep wakes up with its
/// timers late, and a guard that is not.
const LONGEST_SLEEP: Duration = Duration::from_millis(500);

/// What the grace period is a part of: a TTL is a lease that ends for good.
pub(crate) fn lease(session_timeout: Duration, ttl: Option<Duration>) -> Duration {
    ttl.map_or(session_timeout, |ttl| ttl.min(session_timeout))
}

/// How the time that is left is used.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) struct Rules {
    pub(crate) on_lost: OnLost,
    pub(crate) grace: Duration,
    pub(crate) margin: Duration,
}

impl Rules {
    /// For a [`lease`] under the session timeout that the server has granted.
    pub(crate) fn new(on_lost: OnLost, grace: Option<Duration>, lease: Duration) -> Self {
        let most = lease / SHARE_OF_GRACE;
        let grace = grace.unwrap_or(lease / DEFAULT_SHARE_OF_GRACE).min(most);
        let margin = (lease / 40).clamp(Duration::from_millis(50), Duration::from_secs(1));
        Self {
            on_lost,
            grace,
            margin: margin.min(lease / 20),
        }
    }
}

/// What is to be done with the command.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Order {
    /// Nothing, but look again after this time at the latest.
    Wait(Duration),
    Terminate,
    Kill,
    /// Only say that the lock is lost.
    Tell(LostReason),
}

/// Where the command stands.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum State {
    Calm,
    Terminated { kill_at: Instant },
    Killed,
    Told,
}

/// Watches over the lock of a command.
#[derive(Debug)]
pub(crate) struct Deadline {
    rules: Rules,
    state: State,
}

impl Deadline {
    pub(crate) const fn new(rules: Rules) -> Self {
        Self {
            rules,
            state: State::Calm,
        }
    }

    /// Whether nothing had to be done so far.
    pub(crate) fn is_calm(&self) -> bool {
        self.state == State::Calm
    }

    /// What to do, given what the guard says. Orders other than to wait are
    /// given once each.
    pub(crate) fn look(&mut self, remaining: Result<Duration, LostReason>, now: Instant) -> Order {
        let Rules {
            on_lost,
            grace,
            margin,
        } = self.rules;
        match (self.state, on_lost, remaining) {
            (State::Killed | State::Told, ..) => Order::Wait(LONGEST_SLEEP),
            (State::Calm, OnLost::Warn, Err(reason)) => {
                self.state = State::Told;
                Order::Tell(reason)
            }
            (State::Calm, OnLost::Warn, Ok(remaining)) => wait(remaining),
            (State::Calm, OnLost::Kill, Ok(remaining)) if remaining > margin => {
                wait(remaining - margin)
            }
            (State::Calm, OnLost::Term, Ok(remaining)) if remaining > margin + grace => {
                wait(remaining - margin - grace)
            }
            (State::Calm, OnLost::Term, Ok(_) | Err(LostReason::ClaimDeleted)) => {
                let kill_at = now + grace;
                self.state = State::Terminated { kill_at };
                Order::Terminate
            }
            (State::Terminated { kill_at }, _, Ok(remaining))
                if remaining > margin && now < kill_at =>
            {
                wait((remaining - margin).min(kill_at - now))
            }
            (State::Terminated { kill_at }, _, Err(LostReason::ClaimDeleted)) if now < kill_at => {
                wait(kill_at - now)
            }
            _ => {
                self.state = State::Killed;
                Order::Kill
            }
        }
    }
}

/// Never not at all: a timer may be early by a hair.
fn wait(time: Duration) -> Order {
    Order::Wait(time.clamp(Duration::from_millis(1), LONGEST_SLEEP))
}

#[cfg(test)]
mod tests {
    use super::*;

    const T: Duration = Duration::from_secs(10);
    const GRACE: Duration = Duration::from_secs(1);
    const MARGIN: Duration = Duration::from_millis(250);
    const HAIR: Duration = Duration::from_millis(1);

    fn deadline(on_lost: OnLost) -> (Deadline, Instant) {
        let rules = Rules::new(on_lost, None, T);
        assert_eq!((rules.grace, rules.margin), (GRACE, MARGIN));
        (Deadline::new(rules), Instant::now())
    }

    #[test]
    fn a_healthy_session_never_comes_near_the_grace_period() {
        for millis in [1, 100, 500, 1_000, 4_000, 10_000, 40_000, 600_000] {
            let timeout = Duration::from_millis(millis);
            let rules = Rules::new(OnLost::Term, Some(Duration::MAX), timeout);
            assert!(rules.grace + rules.margin < timeout / 4, "{timeout:?}");
        }
    }

    #[test]
    fn term_comes_in_time_and_kill_before_the_end() {
        let (mut deadline, now) = deadline(OnLost::Term);
        let calm = deadline.look(Ok(MARGIN + GRACE + HAIR), now);
        assert_eq!(calm, Order::Wait(HAIR));
        assert!(deadline.is_calm());
        let term = deadline.look(Ok(MARGIN + GRACE), now);
        assert_eq!(term, Order::Terminate);
        let wait = deadline.look(Ok(MARGIN + HAIR), now + GRACE - 2 * HAIR);
        assert_eq!(wait, Order::Wait(HAIR));
        assert_eq!(deadline.look(Ok(MARGIN), now + GRACE - HAIR), Order::Kill);
        let killed = deadline.look(Err(LostReason::LeaseExpired), now + T);
        assert_eq!(killed, Order::Wait(LONGEST_SLEEP));
    }

    #[test]
    fn servers_that_are_heard_of_again_change_nothing_once_term_is_sent() {
        let (mut deadline, now) = deadline(OnLost::Term);
        assert_eq!(deadline.look(Ok(GRACE), now), Order::Terminate);
        let wait = deadline.look(Ok(T), now + GRACE - HAIR);
        assert_eq!(wait, Order::Wait(HAIR));
        assert_eq!(deadline.look(Ok(T), now + GRACE), Order::Kill);
    }

    #[test]
    fn a_deleted_claim_leaves_the_grace_period() {
        let deleted = Err(LostReason::ClaimDeleted);
        let (mut deadline, now) = deadline(OnLost::Term);
        assert_eq!(deadline.look(deleted, now), Order::Terminate);
        assert_eq!(
            deadline.look(deleted, now + GRACE - HAIR),
            Order::Wait(HAIR)
        );
        assert_eq!(deadline.look(deleted, now + GRACE), Order::Kill);
    }

    #[test]
    fn a_lease_that_is_over_leaves_nothing() {
        for on_lost in [OnLost::Term, OnLost::Kill] {
            let (mut deadline, now) = deadline(on_lost);
            let order = deadline.look(Err(LostReason::LeaseExpired), now);
            assert_eq!(order, Order::Kill);
        }
        let (mut deadline, now) = deadline(OnLost::Term);
        assert_eq!(deadline.look(Ok(GRACE), now), Order::Terminate);
        let order = deadline.look(Err(LostReason::LeaseExpired), now);
        assert_eq!(order, Order::Kill);
    }

    #[test]
    fn kill_waits_for_the_last_moment_and_warn_for_the_end() {
        let (mut kill, now) = deadline(OnLost::Kill);
        assert_eq!(kill.look(Ok(MARGIN + HAIR), now), Order::Wait(HAIR));
        assert_eq!(kill.look(Ok(MARGIN), now), Order::Kill);
        let (mut warn, now) = deadline(OnLost::Warn);
        assert_eq!(warn.look(Ok(HAIR), now), Order::Wait(HAIR));
        let reason = LostReason::LeaseExpired;
        assert_eq!(warn.look(Err(reason), now), Order::Tell(reason));
        assert_eq!(warn.look(Err(reason), now), Order::Wait(LONGEST_SLEEP));
    }
}
