//! All that can happen in a small world: each state is looked at once.

use std::collections::HashSet;

use crate::panics;
use crate::world::{Step, World};

/// No way that comes to an end is as long.
const TOO_DEEP: usize = 300;

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Order {
    /// Everything in every order.
    Every,
    /// Of orders that come to the same thing, one.
    Reduced,
}

/// What was found.
#[derive(Debug, Default)]
pub(crate) struct Found {
    pub(crate) states: usize,
    pub(crate) steps: u64,
    pub(crate) depth: usize,
    /// States in which all is done, unless a fault happens.
    pub(crate) ends: usize,
    /// What went wrong, and on which way.
    pub(crate) violation: Option<String>,
}

impl Found {
    pub(crate) fn add(&mut self, other: Self) {
        self.states += other.states;
        self.steps += other.steps;
        self.depth = self.depth.max(other.depth);
        self.ends += other.ends;
        self.violation = self.violation.take().or(other.violation);
    }
}

/// A state on the way to the present one, the steps from the one before, and
/// what is still to be tried.
struct Place {
    world: World,
    by: Vec<Step>,
    untried: Vec<Step>,
}

/// Looks at all states that can be reached, depth first.
pub(crate) fn search(world: World, order: Order, mut look: impl FnMut(&World)) -> Found {
    let mut found = Found::default();
    let mut seen = HashSet::new();
    let mut way: Vec<Place> = Vec::new();
    let mut depth = 0;
    let mut next = Some((world, None));
    loop {
        if let Some((mut world, step)) = next.take() {
            let mut by = Vec::from_iter(step);
            let ended = panics::catch(|| enter(&mut world, &mut by, order, &mut seen, &mut look));
            found.steps += by.len() as u64;
            let untried = match ended {
                Ok(untried) => untried,
                Err(why) => {
                    found.violation = Some(told(&way, &by, &why));
                    break;
                }
            };
            if let Some(untried) = untried {
                depth += by.len();
                found.depth = found.depth.max(depth);
                found.ends += usize::from(untried.iter().all(Step::is_fault));
                way.push(Place { world, by, untried });
                if depth > TOO_DEEP {
                    found.violation = Some(told(&way, &[], "it goes on for ever"));
                    break;
                }
            }
        }
        let Some(place) = way.last_mut() else { break };
        match place.untried.pop() {
            Some(step) => next = Some((place.world.clone(), Some(step))),
            None => {
                depth -= place.by.len();
                way.pop();
            }
        }
    }
    found.states = seen.len();
    found
}

/// Takes the step, and those that follow without a choice. Returns what can be
/// tried then, if the state is a new one.
fn enter(
    world: &mut World,
    by: &mut Vec<Step>,
    order: Order,
    seen: &mut HashSet<crate::print::Print>,
    look: &mut impl FnMut(&World),
) -> Option<Vec<Step>> {
    if let Some(step) = by.first() {
        world.take(*step);
    }
    if order == Order::Reduced {
        while let Some((step, after)) = world.quiet_step() {
            by.push(step);
            *world = after;
        }
    }
    if !seen.insert(world.print()) {
        return None;
    }
    look(world);
    let steps = world.enabled();
    if steps.iter().all(Step::is_fault) {
        world.clone().finish();
    }
    Some(steps)
}

fn told(way: &[Place], last: &[Step], why: &str) -> String {
    let steps = way.iter().flat_map(|place| &place.by).chain(last);
    let steps: Vec<_> = steps
        .enumerate()
        .map(|(at, it)| format!("{:4} {it:?}", at + 1))
        .collect();
    format!("{}\n{why}", steps.join("\n"))
}
