//! What the documents say of the tests is true, and their links lead somewhere.

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

/// The documents of the project, from its root.
fn documents() -> Vec<PathBuf> {
    let mut found = Vec::new();
    for folder in ["", "docs", "docs/guide"] {
        for entry in fs::read_dir(Path::new(env!("CARGO_MANIFEST_DIR")).join(folder)).unwrap() {
            let name = entry.unwrap().file_name();
            if Path::new(&name).extension().is_some_and(|end| end == "md") {
                found.push(Path::new(folder).join(name));
            }
        }
    }
    found
}

/// Where the links of a document lead, without those to the web and into rustdoc.
fn links(text: &str) -> impl Iterator<Item = &str> {
    let targets = text.split("](").skip(1).filter_map(|rest| {
        let (target, _) = rest.split_once(')')?;
        Some(target)
    });
    targets.filter(|target| !target.contains("::"))
}

/// The anchor that a heading has where documents are shown.
fn anchor(heading: &str) -> String {
    let words = heading.trim_start_matches('#').trim().to_lowercase();
    let kept = |c: &char| c.is_alphanumeric() || matches!(c, ' ' | '-' | '_');
    words
        .chars()
        .filter(kept)
        .collect::<String>()
        .replace(' ', "-")
}

#[test]
fn every_link_between_the_documents_leads_somewhere() {
    let root = Path::new(env!("CARGO_MANIFEST_DIR"));
    let (mut count, mut broken) = (0, Vec::new());
    for document in documents() {
        let text = file(document.to_str().unwrap());
        for link in links(&text).filter(|link| !link.starts_with("http")) {
            count += 1;
            let (path, section) = link.split_once('#').unwrap_or((link, ""));
            let target = match path {
                "" => document.clone(),
                path => document.parent().unwrap().join(path),
            };
            let is_there = root.join(&target).exists();
            let headings = fs::read_to_string(root.join(&target)).unwrap_or_default();
            let mut headings = headings.lines().filter(|line| line.starts_with('#'));
            if !is_there || !(section.is_empty() || headings.any(|line| anchor(line) == section)) {
                broken.push(format!("{}: {link}", document.display()));
            }
        }
    }
    assert!(count > 15, "{count}");
    assert!(broken.is_empty(), "{broken:#?}");
}
