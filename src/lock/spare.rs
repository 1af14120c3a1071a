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

#[cfg(test)]
mod tests {
    use super::*;
    use crate::lock::{AcquireRequest, AcquisitionId, Dialect, LockId, LockSpec, Metadata};
    use crate::proto::ZnodePath;
    use crate::session::Timestamp;

    fn machine(id: u64) -> ClaimMachine {
        let lock = LockSpec {
            id: LockId(1),
            path: ZnodePath::root(),
            dialect: Dialect::default(),
            acl: [].into(),
            parent_acl: [].into(),
        };
        ClaimMachine::new(AcquireRequest {
            id: AcquisitionId(id),
            lock: lock.into(),
            metadata: Metadata::default(),
            deadline: Timestamp::MAX,
            waits: true,
        })
    }

    #[test]
    fn a_box_is_used_again_for_another_machine() {
        let mut spare = Spare::default();
        let first = spare.fill(machine(1));
        let place: *const Acquisition = &raw const *first;
        spare.keep(first);
        let second = spare.fill(machine(2));
        assert_eq!(&raw const *second, place);
        assert_eq!(second.machine.request().id, AcquisitionId(2));
    }

    #[test]
    fn a_burst_leaves_few_boxes_and_a_tick_none() {
        let mut spare = Spare::default();
        let burst: Vec<_> = (0..100).map(|id| spare.fill(machine(id))).collect();
        burst.into_iter().for_each(|one| spare.keep(one));
        assert_eq!(spare.boxes.len(), KEPT);
        spare.clear();
        assert_eq!(spare.boxes.capacity(), 0);
    }
}
