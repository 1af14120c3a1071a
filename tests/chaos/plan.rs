//! Which faults a run makes, and when: all of it out of one seed.

use std::time::Duration;

use zklock::session::Random;

use crate::worker::SESSION_TIMEOUT;

/// A kind of fault.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub(crate) enum Fault {
    // Of workers.
    KillWorker,
    KillHolder,
    StopWorker,
    StopHolder,
    // Of the links between a worker and the servers.
    CutClient,
    CutAllClients,
    SilenceClient,
    HoldReplies,
    HoldRequests,
    SlowClient,
    TruncateReply,
    TruncateRequest,
    // Of servers, and of the links between them.
    KillFollower,
    KillLeader,
    StopFollower,
    StopLeader,
    IsolateFollower,
    IsolateLeader,
    HoldToFollower,
    HoldFromFollower,
    HoldAcks,
    CutFollower,
    SlowServers,
}

use Fault::{
    CutAllClients, CutClient, CutFollower, HoldAcks, HoldFromFollower, HoldReplies, HoldRequests,
    HoldToFollower, IsolateFollower, IsolateLeader, KillFollower, KillHolder, KillLeader,
    KillWorker, SilenceClient, SlowClient, SlowServers, StopFollower, StopHolder, StopLeader,
    StopWorker, TruncateReply, TruncateRequest,
};

/// Faults of one kind of thing: one at a time, while those of others go on.
pub(crate) struct Lane {
    faults: &'static [Fault],
    /// From the end of one to the beginning of the next, on the average.
    pause: Duration,
    random: Random,
    /// The next faults. Each comes once before any comes again.
    deck: Vec<Fault>,
}

/// One fault.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Step {
    pub(crate) pause: Duration,
    pub(crate) fault: Fault,
    /// Which of several it hits.
    pub(crate) target: usize,
    /// How long it goes on, if it does.
    pub(crate) lasts: Duration,
}

impl Fault {
    /// Four of workers, eight of their links, eleven of servers.
    pub(crate) const ALL: [Self; 23] = [
        KillWorker,
        KillHolder,
        StopWorker,
        StopHolder,
        CutClient,
        CutAllClients,
        SilenceClient,
        HoldReplies,
        HoldRequests,
        SlowClient,
        TruncateReply,
        TruncateRequest,
        KillFollower,
        KillLeader,
        StopFollower,
        StopLeader,
        IsolateFollower,
        IsolateLeader,
        HoldToFollower,
        HoldFromFollower,
        HoldAcks,
        CutFollower,
        SlowServers,
    ];

    /// For how long it goes on, in hundredths of a session timeout.
    const fn range(self) -> (u64, u64) {
        match self {
            StopWorker | StopHolder => (10, 200),
            SilenceClient | HoldReplies | HoldRequests => (5, 130),
            SlowClient => (20, 100),
            KillFollower | KillLeader => (5, 60),
            StopFollower | StopLeader | IsolateFollower | IsolateLeader => (20, 150),
            HoldToFollower | HoldFromFollower => (20, 130),
            HoldAcks | SlowServers => (20, 90),
            _ => (0, 1),
        }
    }
}

impl Lane {
    pub(crate) fn of_workers(seed: u64) -> Self {
        Self::new(&Fault::ALL[..4], Duration::from_millis(700), seed ^ 1)
    }

    pub(crate) fn of_clients(seed: u64) -> Self {
        Self::new(&Fault::ALL[4..12], Duration::from_millis(500), seed ^ 2)
    }

    pub(crate) fn of_servers(seed: u64) -> Self {
        Self::new(&Fault::ALL[12..], Duration::from_millis(600), seed ^ 4)
    }

    fn new(faults: &'static [Fault], pause: Duration, seed: u64) -> Self {
        // So that neighbouring seeds have nothing in common.
        let random = Random::new(Random::new(seed).next_u64());
        let deck = Vec::new();
        Self {
            faults,
            pause,
            random,
            deck,
        }
    }
}

/// Never ends.
impl Iterator for Lane {
    type Item = Step;

    fn next(&mut self) -> Option<Step> {
        if self.deck.is_empty() {
            self.deck = self.faults.to_vec();
            self.random.shuffle(&mut self.deck);
        }
        let fault = self.deck.pop()?;
        let (shortest, longest) = fault.range();
        let hundredths = shortest + self.random.below(longest - shortest);
        let pause = self.random.below(2 * self.pause.as_millis() as u64);
        Some(Step {
            pause: Duration::from_millis(pause),
            fault,
            target: self.random.below(60) as usize,
            lasts: SESSION_TIMEOUT * hundredths as u32 / 100,
        })
    }
}
