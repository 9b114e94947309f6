//! The README names the test behind each promise: it is there, and it is a test.

use std::fs;
use std::path::Path;

#[test]
fn every_promise_names_a_test_that_exists() {
    let root = Path::new(env!("CARGO_MANIFEST_DIR"));
    let readme = fs::read_to_string(root.join("README.md")).expect("the README");
    let promises = readme
        .split("## What it promises")
        .nth(1)
        .and_then(|rest| rest.split("\n## ").next())
        .expect("the section");
    let mut found = 0;
    for named in promises.split('`').filter(|part| part.contains(".rs::")) {
        let (file, test) = named.split_once("::").expect("a file and a test");
        let text = fs::read_to_string(root.join("tests").join(file)).expect(file);
        let name = format!("fn {test}(");
        let at = text.find(&name).expect(named);
        let before = text.get(..at).expect("a boundary");
        let item = before.rsplit("\n}\n").next().expect("something");
        assert!(item.contains("test"), "{named} is not a test");
        found += 1;
    }
    assert!(found >= 20, "only {found} promises name a test");
}
