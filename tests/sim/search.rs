//! All that can happen in a small world: each state is looked at once.

use std::collections::HashSet;
use std::panic::{AssertUnwindSafe, catch_unwind};
use std::time::Instant;

use crate::run::{catch_panics, number, take_panic};
use crate::small::{Bounds, Small, Step};

/// A state on the way to the present one, and what is still to be tried in it.
struct Place {
    state: Small,
    by: Option<Step>,
    untried: Vec<Step>,
}

impl Place {
    fn new(state: Small, by: Option<Step>) -> Self {
        let untried = state.enabled();
        Self { state, by, untried }
    }
}

/// Looks at all states, or as many as are allowed; prints how many there were.
pub(crate) fn all_of(bounds: Bounds, most: usize) {
    catch_panics();
    let most = number("SIM_STATES").map_or(most, |states| states as usize);
    let began = Instant::now();
    let small = Small::new(bounds);
    let mut seen = HashSet::from([small.fingerprint()]);
    let mut way = vec![Place::new(small, None)];
    let (mut depth, mut steps) = (0, 0_u64);
    while let Some(place) = way.last_mut() {
        let Some(step) = place.untried.pop() else {
            way.pop();
            continue;
        };
        steps += 1;
        let mut after = place.state.clone();
        let taken = catch_unwind(AssertUnwindSafe(|| after.take(step)));
        if taken.is_err() {
            for step in way.iter().filter_map(|place| place.by) {
                println!("{step:?}");
            }
            panic!("SIM_SEARCH {bounds:?}: after {step:?} {}", take_panic());
        }
        if seen.insert(after.fingerprint()) {
            way.push(Place::new(after, Some(step)));
            depth = depth.max(way.len());
            if seen.len() >= most {
                break;
            }
        }
    }
    let (what, states) = (if way.is_empty() { "all" } else { "some" }, seen.len());
    let took = began.elapsed();
    println!("{bounds:?}: {what} {states} states, {steps} steps, {depth} deep, {took:?}");
}
