//! Faults at every frame of a lock's life.
//!
//! A run of acquire, wait, hand-off and release is recorded, and then run again
//! for every frame of it, in either direction: before the frame has arrived,
//! inside it and after it, the user drops the future or the guard, the
//! connection is cut, or the deadline passes. Whatever happened, one session
//! timeout later our claim is in the queue if it is to be, and not otherwise,
//! and the session lives on.

#![allow(
    clippy::unwrap_used,
    clippy::expect_used,
    clippy::panic,
    clippy::indexing_slicing,
    reason = "a test fails by panicking"
)]

#[path = "../support/mod.rs"]
mod support;

mod cases;
#[cfg(feature = "tokio")]
mod gate;
#[cfg(feature = "tokio")]
mod real;
mod scenario;
mod verdict;
mod world;

use cases::{Fault, Place, Position, Strike, Table, Way};
use scenario::Scenario;
use support::scripted::BEAT;
use world::Frame;
use zklock::proto::{Request, xid};

/// What every frame must have been struck by.
const REQUIRED: [(Place, Fault); 9] = [
    (Place::Before, Fault::Drop),
    (Place::Before, Fault::Cut),
    (Place::Before, Fault::Deadline),
    (Place::Inside, Fault::Drop),
    (Place::Inside, Fault::Cut),
    (Place::Inside, Fault::Deadline),
    (Place::After, Fault::Drop),
    (Place::After, Fault::Cut),
    (Place::After, Fault::Deadline),
];

/// Behind one other, for some heartbeats.
const BEHIND_ONE: Scenario = Scenario {
    path: "/l",
    ahead: 1,
    behind: 0,
    wait: BEAT.saturating_mul(2),
    buffers: true,
};

/// Until the claim ahead is asked after, whatever its watch says.
const IN_A_LONG_WAIT: Scenario = Scenario {
    wait: BEAT.saturating_mul(11),
    ..BEHIND_ONE
};

const AMONG_OTHERS: Scenario = Scenario {
    ahead: 2,
    behind: 1,
    ..BEHIND_ONE
};

/// The first at a path that is not there. Nothing is written ahead of its turn.
const AT_A_MISSING_PATH: Scenario = Scenario {
    path: "/a/bc",
    ahead: 0,
    behind: 0,
    wait: BEAT,
    buffers: false,
};

/// Strikes every frame, and compares that with another recording.
fn strike_once(name: &str, scenario: Scenario) {
    let table = scenario.strike_once();
    let frames = frames(scenario);
    let missing = table.missing(&frames, |_| REQUIRED.to_vec());
    assert!(missing.is_empty(), "{name}: there was no {missing:#?}");
    println!("{name}: {} frames, {} cases", frames.len(), table.len());
}

fn strike_twice(name: &str, scenario: Scenario) {
    let (frames, cases) = (scenario.record().len(), scenario.strike_twice());
    println!("{name}, twice: {frames} frames, {cases} cases");
}

fn frames(scenario: Scenario) -> Vec<Frame> {
    let recording = scenario.record().into_iter();
    recording.map(|crossing| crossing.frame).collect()
}

#[test]
fn behind_one() {
    strike_once("behind one", BEHIND_ONE);
}

#[test]
fn behind_one_on_a_connection_that_takes_bytes_slowly() {
    let buffers = false;
    strike_once(
        "behind one, slowly",
        Scenario {
            buffers,
            ..BEHIND_ONE
        },
    );
}

#[test]
fn behind_one_twice() {
    strike_twice("behind one", BEHIND_ONE);
}

#[test]
fn in_a_long_wait() {
    strike_once("in a long wait", IN_A_LONG_WAIT);
}

#[test]
fn among_others() {
    strike_once("among others", AMONG_OTHERS);
}

#[test]
fn at_a_missing_path() {
    strike_once("at a missing path", AT_A_MISSING_PATH);
}

#[test]
fn at_a_missing_path_twice() {
    strike_twice("at a missing path", AT_A_MISSING_PATH);
}

/// What makes sure that no case is left out does notice.
#[test]
fn a_frame_without_its_cases_is_missed() {
    let missing = |table: &Table<_>, frames: &[_]| {
        let missing = table.missing(frames, |_| REQUIRED.to_vec());
        missing.len()
    };
    let mut whole = Table::new();
    for (frame, seen) in ["create", "list"].into_iter().enumerate() {
        for (place, fault) in REQUIRED {
            let position = match place {
                Place::Before => Position::Before,
                Place::Inside => Position::Inside(4),
                Place::After => Position::After,
            };
            let strike = Strike {
                frame,
                position,
                fault,
            };
            whole.note(strike, seen);
        }
    }
    assert_eq!(missing(&whole, &["create", "list"]), 0);
    for (place, fault) in REQUIRED {
        let mut table = whole.clone();
        table.forget(1, place, fault);
        assert_eq!(missing(&table, &["create", "list"]), 1);
    }
    let one = REQUIRED.len();
    assert_eq!(missing(&whole, &["create", "list", "ping"]), one);
    assert_eq!(missing(&whole, &["create", "delete"]), one);
    assert_eq!(missing(&whole, &["list", "create"]), one * 2);
}

/// Nothing that belongs to a lock's life is out of the faults' reach.
#[test]
fn the_recordings_hold_all_that_a_lock_does() {
    let count = |scenario, what: &str| verbs(scenario).filter(|verb| verb == what).count();
    for verb in ["create", "exists", "delete", "sync", "ping", "event"] {
        assert!(count(BEHIND_ONE, verb) > 0, "{verb}");
    }
    // A listing, and a watch on the claim ahead.
    assert!(count(BEHIND_ONE, "getChildren") >= 2);
    assert!(count(IN_A_LONG_WAIT, "getChildren") > count(BEHIND_ONE, "getChildren"));
    assert!(count(AMONG_OTHERS, "event") > count(BEHIND_ONE, "event"));
    // In vain, then both parents, then the claim.
    assert_eq!(count(AT_A_MISSING_PATH, "create"), 4);
}

/// What a recording holds: the requests, and the events.
fn verbs(scenario: Scenario) -> impl Iterator<Item = String> {
    let frames = frames(scenario).into_iter().skip(2); // the handshake
    frames.filter_map(|frame| {
        let payload = frame.bytes.slice(4..);
        match frame.way {
            Way::ToServer => {
                let (_, request) = Request::decode_strict(&payload).expect("a request");
                Some(request.opcode().name().to_owned())
            }
            Way::ToClient => {
                let is_event = payload.starts_with(&xid::WATCH_EVENT.to_be_bytes());
                is_event.then(|| "event".to_owned())
            }
        }
    })
}
