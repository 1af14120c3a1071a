//! All that can happen in a small world, looked at breadth first: each state
//! once, and so each fault by its shortest story.

use std::collections::HashSet;
use std::panic::{AssertUnwindSafe, catch_unwind};
use std::time::Instant;

use crate::run::{catch_panics, number, take_panic};
use crate::small::{Bounds, Small, Step};

/// How a state was reached: from which one, by which step.
type Stories = Vec<(usize, Option<Step>)>;

/// Looks at all states, or as many as are allowed; prints how many there were.
pub(crate) fn all_of(bounds: Bounds, most: usize) {
    catch_panics();
    let most = number("SIM_STATES").map_or(most, |states| states as usize);
    let began = Instant::now();
    let small = Small::new(bounds);
    let mut seen = HashSet::from([small.fingerprint()]);
    let mut stories: Stories = vec![(0, None)];
    let (mut layer, mut depth, mut steps) = (vec![(small, 0)], 0, 0_u64);
    while !layer.is_empty() && seen.len() < most {
        let mut next = Vec::new();
        for (state, story) in layer {
            for step in state.enabled() {
                steps += 1;
                let mut after = state.clone();
                let taken = catch_unwind(AssertUnwindSafe(|| after.take(step)));
                if taken.is_err() {
                    tell(&stories, story, step);
                    panic!("SIM_SEARCH {bounds:?}: {}", take_panic());
                }
                if seen.insert(after.fingerprint()) {
                    stories.push((story, Some(step)));
                    next.push((after, stories.len() - 1));
                }
            }
        }
        depth += 1;
        layer = next;
    }
    let end = if layer.is_empty() { "all" } else { "the first" };
    println!(
        "{bounds:?}: {end} {} states, {steps} steps, {depth} deep, {:?}",
        seen.len(),
        began.elapsed()
    );
}

fn tell(stories: &Stories, mut story: usize, last: Step) {
    let mut steps = vec![last];
    while let (before, Some(step)) = stories[story] {
        steps.push(step);
        story = before;
    }
    for step in steps.iter().rev() {
        println!("{step:?}");
    }
}
