//! The session machine's timers: a fixed table, one slot each.

use super::time::Timestamp;

/// What is to happen at a point in time.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub(super) enum Timer {
    /// The next attempt to connect begins.
    Dial,
    /// The attempt under way (dial and handshake) is given up.
    Attempt,
    /// The next heartbeat is due.
    Heartbeat,
    /// The server has been silent for too long after a heartbeat.
    Silence,
    /// The session is over, since no frame was decoded for twice its timeout.
    SessionEnd,
    /// The first session must be there.
    Connect,
    /// An orderly close is given up.
    Close,
}

impl Timer {
    /// Of those due at once, the first comes first: an attempt that is cut short
    /// by the connect timeout has not failed.
    const ALL: [Self; 7] = [
        Self::Dial,
        Self::Connect,
        Self::Attempt,
        Self::Heartbeat,
        Self::Silence,
        Self::SessionEnd,
        Self::Close,
    ];
}

/// When each timer fires, if it is set.
#[derive(Clone, Debug, Default, PartialEq, Eq, Hash)]
pub(super) struct Timers {
    at: [Option<Timestamp>; Timer::ALL.len()],
}

impl Timers {
    pub(super) fn set(&mut self, timer: Timer, at: Timestamp) {
        self.put(timer, Some(at));
    }

    pub(super) fn stop(&mut self, timer: Timer) {
        self.put(timer, None);
    }

    /// When this timer fires, if it is set.
    pub(super) fn get(&self, timer: Timer) -> Option<Timestamp> {
        let mut slots = Timer::ALL.into_iter().zip(self.at);
        slots.find(|(candidate, _)| *candidate == timer)?.1
    }

    /// The first timer that is due at `now`, taken out of the table.
    pub(super) fn take_due(&mut self, now: Timestamp) -> Option<Timer> {
        let (timer, _) = Timer::ALL
            .into_iter()
            .zip(self.at)
            .filter_map(|(timer, at)| Some((timer, at?)))
            .filter(|(_, at)| *at <= now)
            .min_by_key(|(_, at)| *at)?;
        self.stop(timer);
        Some(timer)
    }

    /// When the next timer fires.
    pub(super) fn next(&self) -> Option<Timestamp> {
        self.at.iter().flatten().min().copied()
    }

    fn put(&mut self, timer: Timer, at: Option<Timestamp>) {
        for (slot, candidate) in self.at.iter_mut().zip(Timer::ALL) {
            if candidate == timer {
                *slot = at;
            }
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn due_timers_come_in_order_and_once() {
        let at = Timestamp::from_nanos;
        let mut timers = Timers::default();
        timers.set(Timer::Close, at(30));
        timers.set(Timer::Dial, at(20));
        timers.set(Timer::Heartbeat, at(10));
        timers.stop(Timer::Heartbeat);
        assert_eq!(timers.next(), Some(at(20)));
        assert_eq!(timers.take_due(at(19)), None);
        assert_eq!(timers.take_due(at(40)), Some(Timer::Dial));
        assert_eq!(timers.take_due(at(40)), Some(Timer::Close));
        assert_eq!(timers.take_due(at(40)), None);
        assert_eq!(timers.next(), None);
    }
}
