//! What the documents say of the tests is true.

#![allow(
    clippy::unwrap_used,
    clippy::expect_used,
    clippy::panic,
    clippy::indexing_slicing,
    reason = "a test fails by panicking"
)]

use std::fs;
use std::path::{Path, PathBuf};

/// Whether `file::name`, as the documents write it, is a test: a path below
/// `tests`, or below the root if it begins with `src`.
fn is_a_test(reference: &str) -> bool {
    let (file, name) = reference.rsplit_once("::").unwrap();
    let root = Path::new(env!("CARGO_MANIFEST_DIR"));
    let folder = if file.starts_with("src/") {
        root.into()
    } else {
        root.join("tests")
    };
    let candidates: [PathBuf; 2] = [
        folder.join(format!("{file}.rs")),
        folder.join(file).join("main.rs"),
    ];
    let source = candidates
        .iter()
        .find_map(|path| fs::read_to_string(path).ok());
    source.is_some_and(|source| source.contains(&format!("fn {name}(")))
}

fn file(path: &str) -> String {
    fs::read_to_string(Path::new(env!("CARGO_MANIFEST_DIR")).join(path)).unwrap()
}

#[test]
fn the_readme_shows_a_test_that_runs() {
    let test = file("tests/readme.rs");
    let (_, code) = test.split_once("\n\n").unwrap();
    assert!(code.contains("#[tokio::test"));
    assert!(file("README.md").contains(&format!("```rust\n{code}```")));
}

#[test]
fn every_test_that_docs_traps_names_is_there() {
    let text = file("docs/traps.md");
    let references: Vec<&str> = text
        .split('`')
        .skip(1)
        .step_by(2)
        .filter(|code| code.contains("::"))
        .collect();
    assert!(references.len() > 40, "{}", references.len());
    let missing: Vec<_> = references
        .into_iter()
        .filter(|name| !is_a_test(name))
        .collect();
    assert!(missing.is_empty(), "{missing:#?}");
}
