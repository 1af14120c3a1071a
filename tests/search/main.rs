//! Exhaustive search: everything that can happen to two and three clients, in
//! every order, with every mix of a few faults.
//!
//! The clients are the machines that the driver drives, the server is the
//! embedded one's core, and what goes between them are frames. What can happen
//! is in `world` and `faults`, what must hold in `checks`. A violation is
//! printed with all the steps that lead to it.
//!
//! `scripts/search` looks at larger spaces; docs/proof.md says what was found.

#![allow(
    clippy::unwrap_used,
    clippy::expect_used,
    clippy::panic,
    clippy::indexing_slicing,
    clippy::print_stdout,
    clippy::cast_possible_truncation,
    reason = "a test fails by panicking"
)]

#[path = "../support/notices.rs"]
mod notices;
#[path = "../support/panics.rs"]
mod panics;

mod checks;
mod client;
mod faults;
mod order;
mod print;
mod search;
mod spaces;
mod user;
mod world;

use std::collections::BTreeSet;

use faults::{Fault, Plan, plans};
use search::{Order, search};
use spaces::{Space, all_of};
use world::World;

/// What takes seconds: two clients, and one of these faults.
#[test]
fn small_spaces() {
    for fault in [Fault::Cut, Fault::GiveUp, Fault::Deadline] {
        let plan = vec![Vec::new(), vec![fault], Vec::new()];
        let found = search(World::new(2, &plan), Order::Reduced, |_| {});
        println!("{plan:?}: {} states, {} deep", found.states, found.depth);
        assert_eq!(found.violation, None);
    }
    all_of(&[Space::new(2, 2, 0)]);
}

/// Those of `SEARCH`, each as clients, users and faults.
#[test]
#[ignore = "takes minutes, and is for a release build: scripts/search"]
fn large_spaces() {
    let spaces = std::env::var("SEARCH").expect("SEARCH, as in \"2,2,2 3,3,1\"");
    let spaces: Vec<_> = spaces.split_whitespace().map(Space::parse).collect();
    all_of(&spaces);
}

/// What the checks look at comes out the same with and without the reduction.
#[test]
fn reduction_loses_nothing() {
    for fault in [
        None,
        Some(Fault::Cut),
        Some(Fault::GiveUp),
        Some(Fault::Pause),
    ] {
        let mut plan: Plan = vec![Vec::new(); 3];
        plan[0].extend(fault);
        let [every, reduced] = [Order::Every, Order::Reduced].map(|order| {
            let mut seen = BTreeSet::new();
            let found = search(World::new(2, &plan), order, |world| {
                seen.insert(format!("{:?}", world.seen()));
            });
            println!("{plan:?} {order:?}: {found:?}, {} seen", seen.len());
            seen
        });
        assert_eq!(every.difference(&reduced).next(), None);
    }
    assert_eq!(plans(2, 2, 1).len(), 6);
}
