//! This room needs an allocator and nothing else of an operating system.

use std::fs;
use std::path::{Path, PathBuf};

fn sources(folder: &Path) -> Vec<PathBuf> {
    let entries = fs::read_dir(folder)
        .expect("a folder")
        .map(|entry| entry.expect("an entry").path());
    entries
        .flat_map(|path| if path.is_dir() { sources(&path) } else { vec![path] })
        .collect()
}

/// With `#![no_std]` the compiler refuses every use of `std`, unless a file names the crate by hand.
#[test]
fn no_source_file_asks_for_std() {
    let files = sources(&Path::new(env!("CARGO_MANIFEST_DIR")).join("src"));
    let text = |path: &PathBuf| fs::read_to_string(path).expect("a source file");
    assert!(files.len() > 10);
    assert!(
        files
            .iter()
            .any(|path| path.ends_with("src/lib.rs") && text(path).contains("\n#![no_std]\n"))
    );
    for path in &files {
        assert!(!text(path).contains("extern crate std"), "{}", path.display());
    }
}

/// Dependencies are taken without their default features, which ask for `std`.
#[test]
fn dependencies_are_taken_without_std() {
    let workspace = include_str!("../../../Cargo.toml");
    let ours = include_str!("../Cargo.toml");
    let dependencies = ours
        .split("[dependencies]")
        .nth(1)
        .and_then(|rest| rest.split('[').next())
        .expect("a table");
    for name in dependencies
        .lines()
        .filter_map(|line| line.strip_suffix(".workspace = true"))
    {
        let start = format!("{name} = ");
        let line = workspace
            .lines()
            .find(|line| line.starts_with(&start))
            .expect("a workspace dependency");
        assert!(line.contains("default-features = false"), "{line}");
    }
}
