//! Runs of the lock that are recorded, and struck by faults when run again.

use std::thread;
use std::time::Duration;

use zklock::session::Timestamp;

use crate::cases::{Act, Fault, Position, Strike, Table};
use crate::support::scripted::BEAT;
use crate::world::{Crossing, Frame, World};

/// A run: a queue with our client somewhere in it, where everyone waits, holds
/// and releases.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Scenario {
    pub(crate) path: &'static str,
    /// How many are ahead of us, and how many behind.
    pub(crate) ahead: usize,
    pub(crate) behind: usize,
    /// How long we wait before the first of them releases.
    pub(crate) wait: Duration,
    /// Whether our connection takes bytes at once, or only as they arrive.
    pub(crate) buffers: bool,
}

enum Step {
    Join,
    Wait(Duration),
    Release(usize),
}

/// What strikes a run, and the deadline of our request in it.
#[derive(Clone, Debug)]
struct Case {
    strikes: Vec<Strike>,
    deadline: Timestamp,
}

impl Case {
    const PLAIN: Self = Self {
        strikes: Vec::new(),
        deadline: Timestamp::MAX,
    };

    /// This, and another fault at a frame that was seen in a run of this.
    fn and(&self, strike: Strike, crossing: &Crossing) -> Self {
        let mut case = self.clone();
        case.strikes.push(strike);
        if strike.fault.has(Act::Deadline) {
            case.deadline = crossing.instant(strike.position);
        }
        case
    }
}

/// Names the case on the way out of a panic.
struct Named<'a>(Scenario, &'a Case);

impl Drop for Named<'_> {
    fn drop(&mut self) {
        if thread::panicking() {
            eprintln!("in {:?}\nwith {:?}", self.0, self.1);
        }
    }
}

impl Scenario {
    /// The frames of a run without a fault.
    pub(crate) fn record(&self) -> Vec<Crossing> {
        let mut world = self.run(&Case::PLAIN);
        let crossings = world.crossings.clone();
        world.wind_up();
        crossings
    }

    /// Every frame of the recording, struck by every fault in every position.
    pub(crate) fn strike_once(&self) -> Table<Frame> {
        let mut table = Table::new();
        for (strike, crossing) in strikes(&self.record(), 0, everywhere) {
            let world = self.judge(&Case::PLAIN.and(strike, crossing));
            let [hit] = &world.hits[..] else {
                panic!("one strike, but {:?}", world.hits);
            };
            table.note(hit.strike, hit.frame.clone());
        }
        table
    }

    /// Each frame struck by one of these, and then each frame of what comes of
    /// that by another one. Returns how many pairs there were.
    pub(crate) fn strike_twice(&self) -> usize {
        let mut pairs = 0;
        for (first, crossing) in strikes(&self.record(), 0, around) {
            let case = Case::PLAIN.and(first, crossing);
            let world = self.run(&case);
            for (second, crossing) in strikes(&world.crossings, first.frame + 1, around) {
                if first.fault.has(Act::Cut { lagging: true }) || second.fault != first.fault {
                    let world = self.judge(&case.and(second, crossing));
                    assert_eq!(world.hits.len(), 2);
                    pairs += 1;
                }
            }
        }
        pairs
    }

    fn judge(&self, case: &Case) -> World {
        let _named = Named(*self, case);
        let mut world = self.run(case);
        world.judge();
        world.wind_up();
        world
    }

    /// Runs until the end, or until the first strike and what comes of it.
    fn run(&self, case: &Case) -> World {
        let ours = self.ahead;
        let mut world = World::new(self.path, self.buffers, ours, &case.strikes);
        for _ in 0..self.ahead {
            world.join(Timestamp::MAX);
        }
        world.join(case.deadline);
        let behind = (0..self.behind).map(|_| Step::Join);
        let releases = (0..=ours).map(Step::Release);
        for step in behind.chain([Step::Wait(self.wait)]).chain(releases) {
            if !world.hits.is_empty() {
                break;
            }
            match step {
                Step::Join => world.join(Timestamp::MAX),
                Step::Wait(time) => world.pass(time),
                Step::Release(client) => {
                    world.leave(client);
                    world.pass(BEAT);
                }
            }
        }
        if !world.hits.is_empty() {
            world.pass(BEAT / 2);
        }
        world
    }
}

/// The strikes at the frames from `first` on, each with its frame.
fn strikes<I: IntoIterator<Item = (Position, Fault)>>(
    crossings: &[Crossing],
    first: usize,
    at: impl Fn(&Crossing) -> I,
) -> impl Iterator<Item = (Strike, &Crossing)> {
    let frames = crossings.iter().enumerate().skip(first);
    frames.flat_map(move |(frame, crossing)| {
        at(crossing).into_iter().map(move |(position, fault)| {
            let strike = Strike {
                frame,
                position,
                fault,
            };
            (strike, crossing)
        })
    })
}

/// Every fault before, inside and after a frame, and a deadline that is there
/// when the frame is.
fn everywhere(crossing: &Crossing) -> Vec<(Position, Fault)> {
    let inside = Position::inside(crossing.frame.bytes.len());
    let positions = inside.chain([Position::Before, Position::After]);
    let mut all: Vec<_> = positions
        .flat_map(|position| Fault::ALL.map(|fault| (position, fault)))
        .collect();
    all.push((Position::With, Fault::Deadline));
    all
}

/// The simple faults, before and after a frame.
fn around(_: &Crossing) -> Vec<(Position, Fault)> {
    let faults = [Fault::Drop, Fault::CutThenLag, Fault::Deadline];
    let positions = [Position::Before, Position::After];
    let all = positions.map(|position| faults.map(|fault| (position, fault)));
    all.as_flattened().to_vec()
}
