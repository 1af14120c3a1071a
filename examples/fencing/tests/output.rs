//! What the example prints, with the server that it brings along.

#![allow(
    clippy::unwrap_used,
    clippy::indexing_slicing,
    reason = "a test fails by panicking"
)]

use std::process::Command;

#[test]
fn the_late_write_is_refused() {
    let output = Command::new(env!("CARGO_BIN_EXE_fencing"))
        .output()
        .unwrap();
    let text = String::from_utf8(output.stdout).unwrap();
    assert!(output.status.success(), "{text}");
    let lines: Vec<&str> = text.lines().collect();
    let begin = |line: usize, expected: &str| assert!(lines[line].starts_with(expected), "{text}");
    begin(0, "the first reads a balance of 100, and is paused");
    begin(1, "the second sets the balance to 30 with token ");
    assert!(lines[1].ends_with(": written"), "{text}");
    begin(2, "the first wakes, and writes before it looks");
    begin(3, "the first sets the balance to 50 with token ");
    assert!(lines[3].ends_with(": refused"), "{text}");
    begin(4, "the first looks now: ");
    begin(5, "the balance is 30");
}
