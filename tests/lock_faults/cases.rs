//! Faults, where they strike, and the table of those that did.

use std::collections::BTreeSet;
use std::fmt;

/// Which way a frame goes.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub(crate) enum Way {
    ToServer,
    ToClient,
}

/// How far a frame has come when a fault strikes.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub(crate) enum Position {
    /// Nothing of it has arrived.
    Before,
    /// So many bytes have, those of its length prefix included.
    Inside(usize),
    /// It arrives at the very instant, for deadlines.
    With,
    /// It has arrived.
    After,
}

/// A position, wherever inside.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub(crate) enum Place {
    Before,
    Inside,
    After,
}

impl Position {
    pub(crate) const fn place(self) -> Option<Place> {
        match self {
            Self::Before => Some(Place::Before),
            Self::Inside(_) => Some(Place::Inside),
            Self::With => None,
            Self::After => Some(Place::After),
        }
    }

    /// The places inside a frame of so many bytes: within its length prefix
    /// and behind it, in the middle, and ahead of its last byte.
    pub(crate) fn inside(bytes: usize) -> impl Iterator<Item = Self> {
        let places = BTreeSet::from([1, 3, 4, bytes / 2, bytes - 1]);
        places.into_iter().map(Self::Inside)
    }
}

/// What strikes.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub(crate) enum Fault {
    /// The user drops the future or the guard.
    Drop,
    /// The connection is cut, and all that is on its way is lost.
    Cut,
    /// As `Cut`; the next server lags as far behind as it may.
    CutThenLag,
    /// The request's deadline passes.
    Deadline,
    /// The user drops what it has while there is no connection.
    CutThenDrop,
    /// What is written because of the drop is lost.
    DropThenCut,
    /// The deadline passes while there is no connection.
    CutThenDeadline,
    /// Everyone ahead leaves while there is no connection, which the next
    /// server does not know yet.
    CutThenHandOff,
}

/// A part of a fault.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Act {
    Drop,
    Cut { lagging: bool },
    Deadline,
    HandOff,
}

impl Fault {
    pub(crate) const ALL: [Self; 8] = [
        Self::Drop,
        Self::Cut,
        Self::CutThenLag,
        Self::Deadline,
        Self::CutThenDrop,
        Self::DropThenCut,
        Self::CutThenDeadline,
        Self::CutThenHandOff,
    ];

    pub(crate) const fn acts(self) -> &'static [Act] {
        match self {
            Self::Drop => &[Act::Drop],
            Self::Cut => &[Act::Cut { lagging: false }],
            Self::CutThenLag => &[Act::Cut { lagging: true }],
            Self::Deadline => &[Act::Deadline],
            Self::CutThenDrop => &[Act::Cut { lagging: true }, Act::Drop],
            Self::DropThenCut => &[Act::Drop, Act::Cut { lagging: true }],
            Self::CutThenDeadline => &[Act::Cut { lagging: true }, Act::Deadline],
            Self::CutThenHandOff => &[Act::Cut { lagging: true }, Act::HandOff],
        }
    }

    pub(crate) fn has(self, act: Act) -> bool {
        self.acts().contains(&act)
    }
}

/// Where a fault strikes: at which of the frames so far, and when.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) struct Strike {
    pub(crate) frame: usize,
    pub(crate) position: Position,
    pub(crate) fault: Fault,
}

/// The faults that struck, each with the frame that was there to be seen then.
#[derive(Clone, Debug)]
pub(crate) struct Table<F>(Vec<(Strike, F)>);

impl<F: PartialEq + fmt::Debug> Table<F> {
    pub(crate) const fn new() -> Self {
        Self(Vec::new())
    }

    pub(crate) fn note(&mut self, strike: Strike, seen: F) {
        self.0.push((strike, seen));
    }

    /// How many cases there were.
    pub(crate) fn len(&self) -> usize {
        self.0.len()
    }

    /// The frames of a recording that were not struck as they must be: what
    /// struck another frame, though in the same place, does not count.
    pub(crate) fn missing(
        &self,
        recording: &[F],
        required: impl Fn(usize) -> Vec<(Place, Fault)>,
    ) -> Vec<String> {
        let mut missing = Vec::new();
        for (index, frame) in recording.iter().enumerate() {
            let here = |(strike, seen): &&(Strike, F)| strike.frame == index && seen == frame;
            let struck: BTreeSet<_> = self
                .0
                .iter()
                .filter(here)
                .map(|(strike, _)| (strike.position.place(), strike.fault))
                .collect();
            for (place, fault) in required(index) {
                if !struck.contains(&(Some(place), fault)) {
                    missing.push(format!("{fault:?} {place:?} frame {index}, {frame:?}"));
                }
            }
        }
        missing
    }

    /// Forgets what struck this frame so, to see that it is missed.
    pub(crate) fn forget(&mut self, frame: usize, place: Place, fault: Fault) {
        let forgotten = |strike: &Strike| {
            strike.frame == frame && strike.position.place() == Some(place) && strike.fault == fault
        };
        self.0.retain(|(strike, _)| !forgotten(strike));
    }
}
