//! What the examples print, each with the server that it brings along. Those that
//! are missing here have a test of their own, or are one.

#![allow(
    clippy::unwrap_used,
    clippy::expect_used,
    clippy::panic,
    clippy::indexing_slicing,
    reason = "a test fails by panicking"
)]

mod support;

use std::env;
use std::process::{Command, Stdio};
use std::time::Duration;

use support::becomes_true;

/// Far more than any of them takes.
const LONG: Duration = Duration::from_secs(60);

/// The lines that an example prints, numbers as `#`.
fn lines(example: &str) -> Vec<String> {
    let tests = env::current_exe().unwrap();
    let folder = tests.parent().unwrap().parent().unwrap().join("examples");
    let mut process = Command::new(folder.join(example))
        .stdout(Stdio::piped())
        .stderr(Stdio::piped())
        .spawn()
        .expect("`cargo test` builds the examples; with --test, build them first");
    if !becomes_true(LONG, || process.try_wait().unwrap().is_some()) {
        process.kill().unwrap();
    }
    let output = process.wait_with_output().unwrap();
    let [text, errors] = [output.stdout, output.stderr].map(|it| String::from_utf8(it).unwrap());
    assert!(output.status.success(), "{example}: {text}{errors}");
    text.lines().map(without_numbers).collect()
}

fn without_numbers(line: &str) -> String {
    let words = line.split(' ').map(|word| {
        let number = word
            .trim_start_matches('-')
            .starts_with(|c: char| c.is_ascii_digit());
        if number { "#" } else { word }
    });
    words.collect::<Vec<_>>().join(" ")
}

#[test]
fn leader() {
    let expected = [
        "red leads in term #",
        "red steps down",
        "green leads in term #",
        "green leads no more: the ZooKeeper session has expired",
        "blue leads in term #",
        "blue steps down",
        "green leads in term #",
        "green steps down",
    ];
    let mut lines = lines("leader");
    // These two come in either order.
    lines[3..5].sort_by_key(|line| line.starts_with("blue"));
    assert_eq!(lines, expected);
}

#[test]
fn sans_io() {
    let expected = [
        "session: established # with a timeout of #",
        "acquired with token #",
        "held, for more than a second to come: true",
        "held, for more than a second to come: true",
        "released",
        "session: closing",
        "session: stopped: closed",
    ];
    assert_eq!(lines("sans_io"), expected);
}
