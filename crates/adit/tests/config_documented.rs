//! docs/configuration.md is what the table of keys says. `UPDATE_DOCS=1 cargo test -p adit` rewrites it.

use std::path::Path;

use adit::config::{help, keys, markdown};

#[test]
fn the_page_is_current() {
    let path = Path::new(env!("CARGO_MANIFEST_DIR")).join("../../docs/configuration.md");
    if std::env::var_os("UPDATE_DOCS").is_some() {
        std::fs::write(&path, markdown()).unwrap();
    }
    let page = std::fs::read_to_string(&path).unwrap();
    assert!(
        page == markdown(),
        "docs/configuration.md is old: UPDATE_DOCS=1 cargo test -p adit"
    );
}

#[test]
fn every_key_is_explained() {
    let (page, help) = (markdown(), help());
    for key in keys() {
        let (_, name) = key.split();
        assert!(page.contains(&format!("| `{name}` |")), "{}", key.path);
        assert!(help.contains(&format!("\n{} = ", key.path)), "{}", key.path);
        assert!(help.contains(&key.environment()), "{}", key.path);
        assert!(
            key.doc.trim().ends_with('.') && key.doc.len() > 25,
            "{}: {}",
            key.path,
            key.doc
        );
    }
    assert!(
        page.lines().all(|line| line.matches(" | ").count() <= 3),
        "a cell holds a bar"
    );
}

#[test]
fn names_are_unique() {
    let mut names: Vec<_> = keys().iter().map(|key| key.environment()).collect();
    names.sort();
    names.dedup();
    assert_eq!(names.len(), keys().len());
}
