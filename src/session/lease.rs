//! The lease: until when a holder may rely on its session, whatever the
//! network and the servers do.
//!
//! # The argument
//!
//! T is the session timeout that the server granted. A server deletes the
//! session's ephemerals no sooner than T after the *leader* last heard of it.
//! So the lease must rest on an instant that the leader is known to have heard
//! of, and it must count from the moment a request was **sent**: its answer may
//! have sat in a buffer while this process was stopped.
//!
//! Pings prove nothing. A follower that is cut off from its leader answers
//! pings and reads for as long as syncLimit ticks. Only an answer that needed
//! the leader counts. A *leader exchange* is a `sync`, a write, or the
//! handshake.
//!
//! - **Handshake.** It touches the session at the leader: the lease runs until
//!   `sent + 19T/20` at once. (T/20 is for clock drift and rounding.)
//! - **Afterwards.** Through a follower a request's touch waits in the
//!   follower's table until it answers the leader's next ping, one every half
//!   tick, in order with all else on the two streams. Let e1 and e2 be leader
//!   exchanges, both answered, e2 sent after e1's answer; let m be any request
//!   that was answered at least half a tick before e1 was sent. The leader's
//!   last ping ahead of e1's answer was sent after m was in the table; the
//!   follower answered that ping before e1's answer passed; and that answer
//!   reached the leader ahead of e2. So the leader touched the session no
//!   earlier than m was sent, and the lease runs until `sent(m) + 19T/20`. A
//!   server grants no T below two ticks, so T/4 stands in for the half tick,
//!   which a client does not know.
//!
//! All servers of an ensemble must have the same bounds for session timeouts:
//! one that granted less at a re-attach whose answer was lost would count from
//! there, unknown to the client.
//!
//! What it assumes: the leader's ping thread is on time. If its next ping is
//! late by d while its other threads run, and e1 and e2 are both answered
//! before it, the lease can outlive the claim by up to tick/2 - T/20 + d. The
//! handshake's rule is immune to that. The fencing token closes what is left.

use std::collections::VecDeque;
use std::time::Duration;

use super::time::Timestamp;

/// What a session sends every sixth of its timeout.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Hash)]
#[non_exhaustive]
pub enum Heartbeat {
    /// A `sync`, which only the leader can answer, and a `ping`. A lease that
    /// rests on it does not outlive the session, whichever servers are cut off
    /// from which.
    #[default]
    Sync,
    /// A `ping` alone, which costs the leader nothing, for fleets so large that
    /// their syncs would be a load. The lease runs for half a timeout from the
    /// sending of the last ping that was answered, and ends with the
    /// connection: a holder does not survive a reconnect.
    ///
    /// It is safe only if the session timeout is longer than syncLimit + 1
    /// ticks of the ensemble, so that a server that is cut off from its leader
    /// drops its clients before the leader drops their sessions; and as long
    /// as no client is cut off from a server that is itself cut off.
    Ping,
}

/// With an exchange every T/6 the evidence is never older than this many.
const HISTORY: usize = 8;

/// An answered leader exchange.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
struct Exchange {
    sent: Timestamp,
    answered: Timestamp,
}

/// The lease of one session.
#[derive(Clone, Debug, PartialEq, Eq, Hash)]
pub struct Lease {
    timeout: Duration,
    until: Timestamp,
    heartbeat: Heartbeat,
    /// On the present connection, oldest first.
    exchanges: VecDeque<Exchange>,
}

impl Lease {
    /// The lease that a handshake gives: `timeout` is what the server granted.
    /// A re-attach starts over with this too, since the argument holds within
    /// one connection only.
    #[must_use]
    pub fn from_handshake(
        sent: Timestamp,
        answered: Timestamp,
        timeout: Duration,
        heartbeat: Heartbeat,
    ) -> Self {
        Self {
            timeout,
            until: sent + usable(timeout, heartbeat),
            heartbeat,
            exchanges: VecDeque::from([Exchange { sent, answered }]),
        }
    }

    /// The holder must have stopped by then.
    #[must_use]
    pub const fn until(&self) -> Timestamp {
        self.until
    }

    /// Takes an answered leader exchange as e2 and extends the lease by what
    /// it proves. Returns whether it did.
    pub fn exchange(&mut self, sent: Timestamp, answered: Timestamp) -> bool {
        let proven = self.proven_by(sent);
        if self.exchanges.len() == HISTORY {
            self.exchanges.pop_front();
        }
        self.exchanges.push_back(Exchange { sent, answered });
        let until = proven.map_or(Timestamp::ZERO, |sent| {
            sent + usable(self.timeout, self.heartbeat)
        });
        let extends = until > self.until;
        self.until = self.until.max(until);
        extends
    }

    /// Takes an answered ping, for [`Heartbeat::Ping`]. Returns whether it
    /// extends the lease.
    pub fn ping(&mut self, sent: Timestamp) -> bool {
        let until = sent + usable(self.timeout, self.heartbeat);
        let extends = until > self.until;
        self.until = self.until.max(until);
        extends
    }

    /// Ends the lease.
    pub fn cut(&mut self, now: Timestamp) {
        self.until = self.until.min(now);
    }

    /// The send time of m, for an e2 sent at `second`.
    fn proven_by(&self, second: Timestamp) -> Option<Timestamp> {
        let newest_first = || self.exchanges.iter().rev();
        let first = newest_first().find(|e1| e1.answered <= second)?;
        newest_first()
            .find(|m| m.answered + self.timeout / 4 <= first.sent)
            .map(|m| m.sent)
    }
}

/// What of the timeout is used: 19T/20, or half where pings are all there is.
fn usable(timeout: Duration, heartbeat: Heartbeat) -> Duration {
    match heartbeat {
        Heartbeat::Sync => timeout * 19 / 20,
        Heartbeat::Ping => timeout / 2,
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const T: Duration = Duration::from_secs(6);
    const RTT: Duration = Duration::from_millis(2);

    fn at(seconds: f64) -> Timestamp {
        Timestamp::ZERO + Duration::from_secs_f64(seconds)
    }

    /// A lease after `beats` heartbeats, one a second, from a handshake at 0.
    fn after(beats: u32) -> Lease {
        let mut lease = Lease::from_handshake(at(0.0), at(0.0) + RTT, T, Heartbeat::Sync);
        for beat in 1..=beats {
            let sent = at(f64::from(beat));
            lease.exchange(sent, sent + RTT);
        }
        lease
    }

    #[test]
    fn a_handshake_counts_from_its_sending() {
        assert_eq!(after(0).until(), at(5.7));
    }

    #[test]
    fn two_exchanges_credit_a_request_answered_a_quarter_timeout_before_the_first() {
        // e2 at 3, e1 at 2: m must be answered by 0.5, which is the handshake.
        assert_eq!(after(3).until(), at(5.7));
        // e2 at 4, e1 at 3: m is the heartbeat at 1.
        assert_eq!(after(4).until(), at(1.0 + 5.7));
        assert_eq!(after(5).until(), at(2.0 + 5.7));
    }

    #[test]
    fn steady_state_is_between_a_quarter_and_nine_twentieths_ahead() {
        for beats in 4..20 {
            let lease = after(beats);
            let answered = at(f64::from(beats)) + RTT;
            assert!(lease.until() - answered <= T * 9 / 20);
            assert!(lease.until() - (answered + T / 6) >= T / 4);
        }
    }

    #[test]
    fn an_exchange_sent_before_the_firsts_answer_is_no_second_one() {
        let mut lease = Lease::from_handshake(at(0.0), at(0.0), T, Heartbeat::Sync);
        lease.exchange(at(1.0), at(1.0));
        // Sent at 3, answered at 4.5: not answered when the next one is sent,
        // so e1 for that one is the exchange at 1, which proves nothing new.
        lease.exchange(at(3.0), at(4.5));
        lease.exchange(at(4.0), at(4.5));
        assert_eq!(lease.until(), at(5.7));
    }

    #[test]
    fn a_late_answer_counts_from_its_sending() {
        let mut lease = after(5);
        let before = lease.until();
        // e2 is answered ten seconds late: m is still the heartbeat at 3.
        assert!(lease.exchange(at(6.0), at(16.0)));
        assert_eq!(lease.until(), at(3.0 + 5.7));
        assert!(lease.until() > before);
    }

    #[test]
    fn the_history_is_bounded() {
        assert_eq!(after(100).exchanges.len(), HISTORY);
    }

    #[test]
    fn pings_give_half_a_timeout_and_nothing_after_a_cut() {
        let mut lease = Lease::from_handshake(at(0.0), at(0.0), T, Heartbeat::Ping);
        assert_eq!(lease.until(), at(3.0));
        assert!(lease.ping(at(1.0)));
        assert!(!lease.ping(at(1.0)), "no longer than it was");
        assert_eq!(lease.until(), at(4.0));
        lease.cut(at(2.0));
        assert_eq!(lease.until(), at(2.0));
    }
}
