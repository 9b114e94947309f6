//! The tables of the reference guide say what the code says.

#![expect(
    clippy::expect_used,
    reason = "a test that cannot be set up has failed"
)]

#[path = "reference/defaults.rs"]
mod defaults;
#[path = "reference/errors.rs"]
mod errors;
#[path = "reference/log.rs"]
mod log;

use std::collections::{BTreeMap, BTreeSet};
use std::fs;
use std::path::{Path, PathBuf};

const GUIDE: &str = include_str!("../docs/guides/reference.md");
const README: &str = include_str!("../README.md");
const EVENTS: &str = include_str!("../src/event.rs");

/// The rows of every table under a heading, a cell each.
fn rows<'a>(text: &'a str, heading: &str) -> Vec<Vec<&'a str>> {
    let section = text.split(&format!("\n## {heading}\n")).nth(1);
    let section = section.and_then(|rest| rest.split("\n## ").next());
    let lines = section.expect(heading).lines();
    let rows = lines.filter(|line| line.starts_with("| ") && !line.starts_with("|---"));
    rows.map(|row| {
        let inner = row.trim_matches('|');
        inner.split(" | ").map(|cell| plain(cell.trim())).collect()
    })
    .collect()
}

/// A cell that is code and nothing else, without its marks.
fn plain(cell: &str) -> &str {
    let inner = cell
        .strip_prefix('`')
        .and_then(|rest| rest.strip_suffix('`'));
    inner.filter(|inner| !inner.contains('`')).unwrap_or(cell)
}

/// The code in a cell, piece by piece.
fn pieces(cell: &str) -> BTreeSet<String> {
    let names = cell.split(", ").map(|name| name.trim_matches('`'));
    names
        .filter(|name| !name.is_empty())
        .map(str::to_owned)
        .collect()
}

/// Every file of `src/`, but for the testing kit.
fn sources() -> Vec<(PathBuf, String)> {
    fn walk(at: &Path, found: &mut Vec<(PathBuf, String)>) {
        for entry in fs::read_dir(at).expect("a directory") {
            let path = entry.expect("an entry").path();
            let name = path
                .file_stem()
                .and_then(|name| name.to_str())
                .unwrap_or("");
            if path.is_dir() {
                walk(&path, found);
            } else if !path.components().any(|part| part.as_os_str() == "testing")
                && name != "tests"
            {
                let text = fs::read_to_string(&path).expect("a source");
                found.push((path, text));
            }
        }
    }
    let mut found = Vec::new();
    walk(
        &Path::new(env!("CARGO_MANIFEST_DIR")).join("src"),
        &mut found,
    );
    assert!(found.len() > 50, "only {} files", found.len());
    found.sort();
    found
}

/// The variants of an enum, with the names of their fields.
fn variants(source: &str, name: &str) -> BTreeMap<String, Vec<String>> {
    let body = source.split(&format!("pub enum {name} {{\n")).nth(1);
    let body = body
        .and_then(|rest| rest.split("\n}\n").next())
        .expect(name);
    let mut found: BTreeMap<String, Vec<String>> = BTreeMap::new();
    let mut last = String::new();
    for line in body.lines() {
        let indent = line.len() - line.trim_start().len();
        let word: String = line
            .trim_start()
            .chars()
            .take_while(|c| c.is_alphanumeric() || *c == '_')
            .collect();
        match indent {
            4 if !word.is_empty() => {
                found.insert(word.clone(), Vec::new());
                last = word;
            }
            8 if line.contains(&format!("{word}: ")) && !word.is_empty() => {
                found.entry(last.clone()).or_default().push(word);
            }
            _ => {}
        }
    }
    found
}

#[test]
fn every_feature_is_listed() {
    let manifest = include_str!("../Cargo.toml");
    let section = manifest.split("\n[features]\n").nth(1);
    let section = section
        .and_then(|rest| rest.split("\n[").next())
        .expect("features");
    let features: BTreeSet<_> = section
        .lines()
        .filter(|line| !line.starts_with('#'))
        .filter_map(|line| line.split_once(" = "))
        .map(|(name, _)| name)
        .filter(|name| *name != "default")
        .collect();
    assert!(
        section.contains("default = []"),
        "the guide says that none is on"
    );
    for text in [GUIDE, README] {
        let listed = rows(text, "Features").into_iter().map(|row| row[0]);
        let listed: BTreeSet<_> = listed.filter(|name| *name != "feature").collect();
        assert_eq!(listed, features);
    }
}

#[test]
fn every_event_is_listed_with_its_label_and_what_it_tells() {
    let refreshed = EVENTS.split("pub struct Refreshed {\n").nth(1);
    let refreshed = refreshed
        .and_then(|rest| rest.split("\n}\n").next())
        .expect("the struct");
    let of_a_token: BTreeSet<_> = refreshed
        .lines()
        .filter_map(|line| line.trim().strip_prefix("pub "))
        .filter_map(|line| Some(line.split_once(':')?.0.to_owned()))
        .collect();
    let mut expected = BTreeMap::new();
    for (name, fields) in variants(EVENTS, "Change") {
        let fields = match EVENTS.contains(&format!("\n    {name}(Refreshed),\n")) {
            true => of_a_token.clone(),
            false => fields.into_iter().collect(),
        };
        expected.insert(name.clone(), (label(EVENTS, &name), fields));
    }
    let listed: BTreeMap<_, _> = rows(GUIDE, "Events")
        .into_iter()
        .filter(|row| row[0] != "event")
        .map(|row| {
            (
                row[0].to_owned(),
                (row[1].to_owned(), pieces(row.get(2).unwrap_or(&""))),
            )
        })
        .collect();
    assert_eq!(listed, expected);

    let in_readme = rows(README, "Events").into_iter().map(|row| row[0]);
    let in_readme: BTreeSet<_> = in_readme.filter(|label| *label != "event").collect();
    let labels = expected.values().map(|(label, _)| label.as_str()).collect();
    assert_eq!(in_readme, labels);
}

/// What `as_str` calls a variant.
fn label(source: &str, variant: &str) -> String {
    let arm = source.lines().find(|line| {
        let rest = line
            .trim()
            .strip_prefix("Self::")
            .and_then(|rest| rest.strip_prefix(variant));
        rest.is_some_and(|rest| !rest.starts_with(char::is_alphanumeric)) && line.contains("=> \"")
    });
    let label = arm.and_then(|arm| arm.split('"').nth(1));
    label.expect(variant).to_owned()
}
