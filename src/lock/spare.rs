//! Acquisitions, and the boxes of those that are gone.

use std::fmt;

use super::effects::Trace;
use super::machine::ClaimMachine;

/// So many boxes are kept.
const KEPT: usize = 16;

/// One acquisition of a session's.
#[derive(Clone, Debug)]
pub(super) struct Acquisition {
    pub(super) machine: ClaimMachine,
    pub(super) trace: Trace,
}

/// Boxes to be used again, with the room that their traces have: where one
/// acquisition follows the other, none takes new memory.
#[derive(Clone, Default)]
pub(super) struct Spare {
    #[expect(clippy::vec_box, reason = "the boxes are what is kept")]
    boxes: Vec<Box<Acquisition>>,
}

impl Spare {
    /// A box for this machine, with an empty trace.
    pub(super) fn fill(&mut self, machine: ClaimMachine) -> Box<Acquisition> {
        match self.boxes.pop() {
            Some(mut acquisition) => {
                acquisition.machine = machine;
                acquisition
            }
            None => Box::new(Acquisition {
                machine,
                trace: Trace::default(),
            }),
        }
    }

    /// Takes the box of one whose trace is empty.
    pub(super) fn keep(&mut self, acquisition: Box<Acquisition>) {
        if self.boxes.len() < KEPT {
            self.boxes.push(acquisition);
        }
    }

    /// Gives the boxes back.
    pub(super) fn clear(&mut self) {
        self.boxes = Vec::new();
    }
}

/// What is in the boxes means nothing.
impl fmt::Debug for Spare {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{} boxes", self.boxes.len())
    }
}
