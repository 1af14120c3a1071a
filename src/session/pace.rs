//! How often a busy connection is read.
//!
//! A server that is behind sends its answers one by one, as it gets done with
//! them. To be woken for each, and to ask for the next with a write of its own,
//! takes the client, and the server, several times the work of doing it by the
//! dozen. So where much is in flight, and would keep the server busy for a while,
//! there is a pause between two reads. What arrives is then late by a quarter of
//! the time that it took anyway, at the most.

use std::time::Duration;

use super::time::Timestamp;

/// The pause. A timer may make two of it, since it counts whole milliseconds.
const PAUSE: Duration = Duration::from_millis(1);

/// It is not worth it with fewer requests in flight.
const MANY: usize = 64;

/// For so many pauses the server has to be busy with what is in flight.
const BACKLOG: u128 = 8;

/// When to read.
#[derive(Clone, Debug, Default)]
pub(super) struct Pace {
    /// Since when many requests were in flight, or the last measure was taken.
    since: Option<Timestamp>,
    /// What came since then.
    frames: usize,
    pause: Option<Timestamp>,
}

impl Pace {
    /// So many frames, or parts of them, were read, and so many requests are still
    /// in flight.
    pub(super) fn read(&mut self, frames: usize, in_flight: usize, now: impl Fn() -> Timestamp) {
        if in_flight < MANY {
            *self = Self::default();
            return;
        }
        let now = now();
        let Some(since) = self.since else {
            self.since = Some(now);
            return;
        };
        self.frames = self.frames.saturating_add(frames);
        let elapsed = now - since;
        if elapsed < PAUSE {
            return;
        }
        // How long it will take at the rate at which frames came.
        let busy = elapsed.as_nanos() * in_flight as u128;
        let pauses = BACKLOG * PAUSE.as_nanos() * self.frames as u128;
        self.pause = (busy >= pauses).then(|| now + PAUSE);
        self.since = Some(now);
        self.frames = 0;
    }

    /// Until when not to read, if that is still to come.
    pub(super) const fn pause(&self) -> Option<Timestamp> {
        self.pause
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn at(millis: u32) -> Timestamp {
        Timestamp::from_nanos(1_000_000_000) + PAUSE * millis
    }

    impl Pace {
        fn read_at(&mut self, frames: usize, in_flight: usize, now: Timestamp) {
            self.read(frames, in_flight, || now);
        }
    }

    /// The end of the pause after a read each millisecond.
    fn pace(frames: usize, in_flight: usize) -> Option<Timestamp> {
        let mut pace = Pace::default();
        (0..=10).for_each(|millis| pace.read_at(frames, in_flight, at(millis)));
        pace.pause()
    }

    #[test]
    fn a_server_that_is_behind_is_read_once_in_a_millisecond() {
        assert_eq!(pace(8, MANY), Some(at(11)));
        assert_eq!(pace(100, 800), Some(at(11)));
    }

    #[test]
    fn one_that_keeps_up_is_read_at_once() {
        assert_eq!(pace(9, MANY), None);
        assert_eq!(pace(101, 800), None);
    }

    #[test]
    fn few_requests_never_wait() {
        assert_eq!(pace(0, MANY - 1), None);
    }

    #[test]
    fn how_long_nothing_was_asked_for_says_nothing_of_the_server() {
        let mut pace = Pace::default();
        for (millis, in_flight) in [(0, MANY), (1, MANY - 1), (9, MANY)] {
            pace.read_at(1, in_flight, at(millis));
            assert_eq!(pace.pause(), None);
        }
    }

    #[test]
    fn the_rate_is_taken_over_a_whole_pause() {
        let mut pace = Pace::default();
        pace.read_at(9, MANY, at(9));
        assert_eq!(pace.pause(), None);
        pace.read_at(8, MANY, at(10));
        assert_eq!(pace.pause(), Some(at(11)));
        // Three frames in three reads tell nothing yet; nine in all do.
        for _ in 0..3 {
            pace.read_at(3, MANY, at(10) + PAUSE / 2);
            assert_eq!(pace.pause(), Some(at(11)));
        }
        pace.read_at(0, MANY, at(11));
        assert_eq!(pace.pause(), None);
        // Of what came before nothing counts any more.
        pace.read_at(8, MANY, at(12));
        assert_eq!(pace.pause(), Some(at(13)));
    }
}
