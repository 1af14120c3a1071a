//! A set of numbers that are given out one after the other.

use std::collections::BTreeMap;
use std::fmt;

/// Numbers, most of which have near neighbours: 64 of them to an entry, so that
/// to ask for each in a listing of a thousand takes no long way.
#[derive(Clone, Default)]
pub(super) struct CounterSet {
    /// By the number without its last six bits, those that are there; none is 0.
    blocks: BTreeMap<u64, u64>,
}

/// Where a number is: its block, and its bit there.
const fn place(counter: u64) -> (u64, u64) {
    (counter / 64, 1 << (counter % 64))
}

impl CounterSet {
    pub(super) fn insert(&mut self, counter: u64) {
        let (block, bit) = place(counter);
        *self.blocks.entry(block).or_default() |= bit;
    }

    pub(super) fn remove(&mut self, counter: u64) {
        let (block, bit) = place(counter);
        if let Some(bits) = self.blocks.get_mut(&block) {
            *bits &= !bit;
            if *bits == 0 {
                self.blocks.remove(&block);
            }
        }
    }

    pub(super) fn contains(&self, counter: u64) -> bool {
        let (block, bit) = place(counter);
        self.blocks.get(&block).is_some_and(|bits| bits & bit != 0)
    }

    pub(super) fn clear(&mut self) {
        self.blocks.clear();
    }
}

impl fmt::Debug for CounterSet {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let counters = self.blocks.iter().flat_map(|(block, bits)| {
            let there = (0..64).filter(move |bit| bits >> bit & 1 == 1);
            there.map(move |bit| block * 64 + bit)
        });
        f.debug_set().entries(counters).finish()
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use std::collections::BTreeSet;

    use proptest::collection::vec;
    use proptest::prelude::*;

    proptest! {
        #[test]
        fn it_is_a_set(changes in vec((any::<bool>(), 0_u64..200), 0..300)) {
            let (mut counters, mut set) = (CounterSet::default(), BTreeSet::new());
            for (insert, counter) in changes {
                // Those at the end as well.
                for counter in [counter, u64::MAX - counter] {
                    if insert {
                        counters.insert(counter);
                        set.insert(counter);
                    } else {
                        counters.remove(counter);
                        set.remove(&counter);
                    }
                }
            }
            prop_assert_eq!(format!("{counters:?}"), format!("{set:?}"));
            for counter in (0..300).flat_map(|counter| [counter, u64::MAX - counter]) {
                prop_assert_eq!(counters.contains(counter), set.contains(&counter));
            }
            // Nothing is kept for those that are gone.
            for counter in set {
                counters.remove(counter);
            }
            prop_assert!(counters.blocks.is_empty());
        }
    }
}
