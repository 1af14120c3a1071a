//! Properties of the machines: under any inputs whatever the session machine
//! keeps its promises, and among clients of a correct server, on a network
//! that cuts and delays, the lock keeps its own.

#[path = "../support/mod.rs"]
mod support;

mod session;
mod step;
mod world;

use std::time::Duration;

use proptest::collection::vec;
use proptest::prelude::*;

use session::{SessionInput, Trial};
use step::Step;
use world::World;

proptest! {
    #![proptest_config(at_least(1000))]

    #[test]
    fn a_session_machine_survives_any_inputs_and_answers_every_request_once(
        seed: u64,
        inputs in vec(SessionInput::any(), 0..120),
    ) {
        let mut trial = Trial::new(seed);
        for input in inputs {
            trial.take(input);
        }
        trial.end();
    }
}

proptest! {
    #![proptest_config(at_least(600))]

    #[test]
    fn a_lock_has_one_holder_grants_in_order_and_leaves_nothing_behind(
        steps in vec(Step::any(), 1..150),
    ) {
        let mut world = World::new();
        for step in steps {
            world.take(step);
            world.check();
        }
        world.calm_down();
        world.grant_all();
        world.leave_all();
    }
}

/// More of them if the environment says so, as for a night's search.
fn at_least(cases: u32) -> ProptestConfig {
    let default = ProptestConfig::default();
    ProptestConfig {
        cases: default.cases.max(cases),
        ..default
    }
}

fn up_to(longest: Duration) -> impl Strategy<Value = Duration> {
    let longest = u64::try_from(longest.as_millis()).expect("a short time");
    (0..=longest).prop_map(Duration::from_millis)
}

/// It comes to the head while its process is stopped, and hears of it when the
/// session's lease is over; those behind have counted all along.
#[test]
fn a_grant_that_is_late_ends_before_those_behind_remove_the_claim() {
    let (holder, waiter, lock) = (1, 0, 0);
    let mut world = World::new();
    let acquire = |client, ttl| Step::Acquire {
        client,
        lock,
        waits: true,
        deadline: None,
        ttl,
    };
    let mut go = |step| {
        world.take(step);
        world.check();
    };
    go(Step::Settle);
    // So that the lock path is there.
    go(acquire(waiter, Some(Duration::from_secs(1))));
    go(Step::Settle);
    go(Step::Pass(Duration::from_secs(1)));
    go(Step::Settle);
    go(Step::Foreign(lock));
    go(acquire(holder, Some(Duration::from_secs(3))));
    go(Step::Settle);
    go(acquire(waiter, None));
    go(Step::Settle);
    for _ in 0..5 {
        go(Step::Pass(Duration::from_secs(1)));
        go(Step::Settle);
    }
    go(Step::Pause(holder));
    go(Step::Foreign(lock));
    for tenth in 0..120 {
        go(Step::Pass(Duration::from_millis(100)));
        go(Step::Settle);
        if tenth == 55 {
            go(Step::Resume(holder));
        }
    }
}
