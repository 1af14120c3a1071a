//! Sessions: their ids and passwords, and when they expire.

use std::collections::BTreeMap;
use std::time::Duration;

use super::{Config, ConnectionId};

/// The sessions that are alive.
#[derive(Clone, Debug)]
pub(super) struct Sessions {
    clock: Ticks,
    shortest_ms: i32,
    longest_ms: i32,
    next_id: i64,
    alive: BTreeMap<i64, Session>,
}

#[derive(Clone, Debug)]
struct Session {
    expires: Duration,
    /// Where it is attached.
    connection: Option<ConnectionId>,
}

impl Sessions {
    pub(super) fn new(config: &Config) -> Self {
        let clock = Ticks::new(config.tick);
        let millis = |timeout: Option<Duration>, ticks: u32| {
            let timeout = timeout.unwrap_or(config.tick.saturating_mul(ticks));
            i32::try_from(timeout.as_millis()).unwrap_or(i32::MAX)
        };
        let shortest_ms = millis(config.min_session_timeout, 2).max(1);
        Self {
            clock,
            shortest_ms,
            longest_ms: millis(config.max_session_timeout, 20).max(shortest_ms),
            next_id: first_id(config.seed),
            alive: BTreeMap::new(),
        }
    }

    /// The timeout that is granted to who asks for this one.
    pub(super) fn clamp(&self, timeout_ms: i32) -> i32 {
        timeout_ms.clamp(self.shortest_ms, self.longest_ms)
    }

    /// Begins a session and returns its id.
    pub(super) fn open(&mut self, timeout_ms: i32, now: Duration) -> i64 {
        let id = self.next_id;
        self.next_id = id.wrapping_add(1);
        let session = Session {
            expires: self.clock.expiry(timeout_ms, now),
            connection: None,
        };
        self.alive.insert(id, session);
        id
    }

    /// Whether the session is alive and this its password.
    pub(super) fn knows(&self, id: i64, password: Option<&[u8]>) -> bool {
        self.is_alive(id) && password == Some(&password_of(id))
    }

    pub(super) fn is_alive(&self, id: i64) -> bool {
        self.alive.contains_key(&id)
    }

    /// Says where the session is from now on.
    pub(super) fn attach(&mut self, id: i64, connection: Option<ConnectionId>) {
        if let Some(session) = self.alive.get_mut(&id) {
            session.connection = connection;
        }
    }

    /// Where the session is attached.
    pub(super) fn connection(&self, id: i64) -> Option<ConnectionId> {
        self.alive.get(&id)?.connection
    }

    /// The session has been heard of.
    pub(super) fn touch(&mut self, id: i64, timeout_ms: i32, now: Duration) {
        if let Some(session) = self.alive.get_mut(&id) {
            session.expires = self.clock.expiry(timeout_ms, now);
        }
    }

    /// When the next one expires, and which.
    pub(super) fn next_expiry(&self) -> Option<(Duration, i64)> {
        let expiries = self.alive.iter().map(|(id, it)| (it.expires, *id));
        expiries.min()
    }

    pub(super) fn end(&mut self, id: i64) {
        self.alive.remove(&id);
    }

    /// The ids of those that are alive.
    pub(super) fn ids(&self) -> impl Iterator<Item = i64> {
        self.alive.keys().copied()
    }
}

/// Time in steps, because a server looks for dead sessions so often only.
#[derive(Clone, Copy, Debug)]
struct Ticks {
    tick_ms: u64,
}

impl Ticks {
    fn new(tick: Duration) -> Self {
        let tick_ms = u64::try_from(tick.as_millis()).unwrap_or(u64::MAX);
        Self {
            tick_ms: tick_ms.max(1),
        }
    }

    /// The end of a session that was last heard of now: at the first tick that
    /// is later than its timeout from now.
    fn expiry(self, timeout_ms: i32, now: Duration) -> Duration {
        let now_ms = u64::try_from(now.as_millis()).unwrap_or(u64::MAX);
        let timeout_ms = u64::try_from(timeout_ms).unwrap_or(0);
        let ticks = now_ms.saturating_add(timeout_ms) / self.tick_ms;
        Duration::from_millis(ticks.saturating_add(1).saturating_mul(self.tick_ms))
    }
}

/// As a server makes it of its number, 1, and of the time of its start, for
/// which the seed stands here: 8 and 40 bits above a counter.
fn first_id(seed: u64) -> i64 {
    let start = seed & 0xff_ffff_ffff;
    (1 << 56 | start << 16) as i64
}

/// A session's password follows from its id: the first bytes that Java's
/// `Random` gives for the id and the constant that every server has.
pub(super) fn password_of(id: i64) -> [u8; 16] {
    const SUPER_SECRET: u64 = 0xb341_5c00;
    const MULTIPLIER: u64 = 0x5_deec_e66d;
    const MASK: u64 = (1 << 48) - 1;
    let mut state = (id as u64 ^ SUPER_SECRET ^ MULTIPLIER) & MASK;
    let mut password = [0; 16];
    for bytes in password.chunks_exact_mut(4) {
        state = state.wrapping_mul(MULTIPLIER).wrapping_add(0xb) & MASK;
        let word = (state >> 16) as u32;
        bytes.copy_from_slice(&word.to_le_bytes());
    }
    password
}

#[cfg(test)]
mod tests {
    use super::*;

    fn sessions() -> Sessions {
        Sessions::new(&Config {
            tick: Duration::from_millis(500),
            ..Config::default()
        })
    }

    #[test]
    fn a_password_is_the_one_that_servers_make() {
        let password = password_of(0x0100_0012_3072_0005);
        let hex: String = password.iter().map(|byte| format!("{byte:02x}")).collect();
        assert_eq!(hex, "9b01383a39d977bb440e29a4ac172e6a");
    }

    #[test]
    fn ids_are_those_of_a_server_and_depend_on_the_seed() {
        assert_eq!(first_id(0x0012_3072), 0x0100_0012_3072_0000);
        assert_eq!(first_id(u64::MAX), 0x01ff_ffff_ffff_0000);
        let mut sessions = sessions();
        let ids = [(); 2].map(|()| sessions.open(1000, Duration::ZERO));
        assert_eq!(ids, [first_id(0), first_id(0) + 1]);
    }

    #[test]
    fn a_timeout_is_between_2_and_20_ticks() {
        let sessions = sessions();
        let granted = |asked| sessions.clamp(asked);
        assert_eq!([i32::MIN, 0, 999, 1000].map(granted), [1000; 4]);
        assert_eq!([1001, 9999].map(granted), [1001, 9999]);
        assert_eq!([10_000, 10_001, i32::MAX].map(granted), [10_000; 3]);
    }

    #[test]
    fn a_session_expires_at_the_first_tick_after_its_timeout() {
        let mut sessions = sessions();
        let id = sessions.open(1000, Duration::ZERO);
        let mut expiry = |timeout, now| {
            sessions.touch(id, timeout, Duration::from_millis(now));
            let (at, expiring) = sessions.next_expiry().unwrap();
            assert_eq!(expiring, id);
            at.as_millis()
        };
        assert_eq!(expiry(1000, 0), 1500);
        assert_eq!(expiry(1000, 1), 1500);
        assert_eq!(expiry(1000, 499), 1500);
        assert_eq!(expiry(1000, 500), 2000);
        assert_eq!(expiry(1499, 0), 1500);
        assert_eq!(expiry(1500, 0), 2000);
        assert_eq!(expiry(1700, 799), 2500);
        assert_eq!(expiry(1700, 800), 3000);
    }

    #[test]
    fn the_first_to_expire_is_the_next_and_those_that_ended_are_none() {
        let mut sessions = sessions();
        let late = sessions.open(5000, Duration::ZERO);
        let early = sessions.open(1000, Duration::ZERO);
        assert_eq!(sessions.next_expiry().map(|next| next.1), Some(early));
        sessions.end(early);
        sessions.touch(early, 1000, Duration::ZERO);
        assert_eq!(sessions.next_expiry().map(|next| next.1), Some(late));
        assert!(sessions.knows(late, Some(&password_of(late))));
        assert!(!sessions.knows(early, Some(&password_of(early))));
        assert!(!sessions.knows(late, Some(&[0; 16])));
        assert!(!sessions.knows(late, None));
    }
}
