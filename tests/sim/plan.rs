//! What a schedule is like: how many take part, and what befalls them. Each has
//! some of the faults only, so that none drowns the others.

use std::time::Duration;

use crate::clock::Nanos;
use crate::dice::Dice;

/// What may go wrong.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub(crate) enum Fault {
    /// A connection ends, wherever its bytes are.
    Cut,
    /// Nothing more arrives at the server, and nobody is told.
    HoleUp,
    /// Nothing more arrives at the client, and nobody is told.
    HoleDown,
    /// Requests are done, their answers are lost, and then the connection ends.
    LoseReplies,
    /// A connection is slow in one direction for a while.
    Slow,
    /// A client's connection takes no bytes for a while.
    Clog,
    /// A server takes no connections for a while, and ends those it has.
    Down,
    /// A process stops for a while; what arrives waits for it.
    Pause,
    /// A clock jumps ahead, further than one does while its machine sleeps.
    Jump,
    /// A process is killed and started again.
    Kill,
    /// A machine is gone, and nobody is told.
    Crash,
    /// A session is closed in order.
    Close,
    /// Someone deletes a claim.
    Purge,
    /// Someone writes to a claim.
    Touch,
    /// Someone writes to a claim, and deletes it and the one before it.
    Raze,
    /// Another client's claim comes, or goes.
    Foreign,
    /// There is a claim of a client's session that it has never asked for.
    Orphan,
    /// The numbers of a queue, which were at their end, begin at the least.
    Wrap,
    /// A user drops its future or its guard.
    Drop,
    /// A follower is cut off from its leader.
    Isolate,
    /// A follower hears late of all.
    Lag,
    /// Another server becomes the leader.
    Elect,
    /// The servers' disks are slow.
    Disk,
    /// A holder and its server are cut off from all others.
    Siege,
}

impl Fault {
    pub(crate) const ALL: [Self; 24] = [
        Self::Cut,
        Self::HoleUp,
        Self::HoleDown,
        Self::LoseReplies,
        Self::Slow,
        Self::Clog,
        Self::Down,
        Self::Pause,
        Self::Jump,
        Self::Kill,
        Self::Crash,
        Self::Close,
        Self::Purge,
        Self::Touch,
        Self::Raze,
        Self::Foreign,
        Self::Orphan,
        Self::Wrap,
        Self::Drop,
        Self::Isolate,
        Self::Lag,
        Self::Elect,
        Self::Disk,
        Self::Siege,
    ];

    const fn needs_ensemble(self) -> bool {
        matches!(
            self,
            Self::Isolate | Self::Lag | Self::Elect | Self::Disk | Self::Siege
        )
    }
}

#[derive(Clone, Debug)]
pub(crate) struct Plan {
    pub(crate) servers: usize,
    pub(crate) clients: usize,
    pub(crate) locks: usize,
    /// The session timeout.
    pub(crate) timeout: Nanos,
    pub(crate) tick: Nanos,
    pub(crate) syncs: bool,
    /// How long bytes are on their way, at the most.
    pub(crate) latency: Nanos,
    /// How many in a hundred transmissions come in pieces.
    pub(crate) chopped: u64,
    pub(crate) faults: Vec<Fault>,
    /// The time between two faults.
    pub(crate) fault_gap: Nanos,
    /// The time between two requests of a client's users.
    pub(crate) user_gap: Nanos,
    /// How long a lock is held.
    pub(crate) hold: Nanos,
    /// How long faults happen.
    pub(crate) storm: Nanos,
    /// How many in a million clocks are fast or slow at the most.
    pub(crate) drift: u64,
    pub(crate) deadlines: bool,
    pub(crate) ttls: bool,
    /// The number of the first claim, if not 0.
    pub(crate) counter: Option<i32>,
}

impl Plan {
    pub(crate) fn new(dice: &mut Dice) -> Self {
        let servers = dice.pick(&[1, 3]);
        // Half of those on three servers are there to put the lease to the test.
        let sieges = servers > 1 && dice.percent(50);
        let timeout = dice.pick(&[1_000_000_000, 2_000_000_000, 6_000_000_000]);
        let faults = Fault::ALL.into_iter();
        let faults = faults.filter(|fault| servers > 1 || !fault.needs_ensemble());
        let some = if sieges { 5 } else { dice.pick(&[10, 30, 60]) };
        let drift = if sieges {
            45_000
        } else {
            dice.pick(&[0, 45_000])
        };
        // Who removes a holder after its TTL relies on its own clock.
        let ttls = dice.percent(25);
        let faults = faults.filter(|fault| !ttls || *fault != Fault::Jump);
        let counters = [i32::MAX - 3, i32::MAX - 3, i32::MAX - 70_000, -2];
        let counter = dice.percent(10).then(|| dice.pick(&counters));
        // It is what such a queue is there for.
        let wraps = counter == Some(i32::MAX - 3);
        let faults = faults.filter(|fault| !matches!(fault, Fault::Wrap | Fault::Siege));
        let mut faults: Vec<_> = faults.filter(|_| dice.percent(some)).collect();
        faults.extend(wraps.then_some(Fault::Wrap));
        if sieges {
            faults.extend([Fault::Siege; 4]);
        }
        Self {
            servers,
            clients: dice.pick(&[2, 3, 3, 4]),
            locks: dice.pick(&[1, 1, 2]),
            timeout,
            tick: timeout
                / if sieges {
                    2
                } else {
                    dice.pick(&[2, 2, 3, 8, 20])
                },
            syncs: servers > 1 || dice.percent(85),
            latency: timeout / dice.pick(&[5000, 200, 30]),
            chopped: dice.pick(&[0, 10, 60]),
            faults,
            fault_gap: if sieges {
                timeout
            } else {
                timeout / dice.pick(&[1, 3, 10])
            },
            user_gap: timeout / dice.pick(&[1, 4, 20]),
            hold: if sieges {
                timeout * 3
            } else {
                timeout * 2 / dice.pick(&[1, 4, 40])
            },
            storm: timeout * dice.pick(&[3, 6]),
            drift,
            deadlines: dice.percent(50),
            ttls,
            counter,
        }
    }

    pub(crate) fn timeout(&self) -> Duration {
        Duration::from_nanos(self.timeout)
    }
}
