//! `KeySet::from_json`.

#![no_main]

use std::collections::HashSet;

use libfuzzer_sys::fuzz_target;
use midil_auth::jwks::KeySet;
use serde_json::Value;

fuzz_target!(|data: &[u8]| {
    let Ok(set) = KeySet::from_json(data) else {
        return;
    };
    let _ = format!("{set:?}");
    assert!(!set.is_empty());
    assert!(set.kids().count() <= set.len());
    // What is not understood is skipped by its grammar alone. There may be numbers and strings in
    // it that are JSON but no value of this other reader's.
    let Ok(document) = serde_json::from_slice::<Value>(data) else {
        serde_json::from_slice::<serde::de::IgnoredAny>(data).expect("JSON");
        return;
    };
    // No key was lost or made up, but that one listed twice is one.
    let listed = document["keys"].as_array().expect("an array");
    assert!(set.len() + set.skipped().len() <= listed.len());
    let mut kids = HashSet::new();
    if listed.iter().all(|key| kids.insert(key["kid"].as_str())) {
        assert_eq!(set.len() + set.skipped().len(), listed.len());
    }
});
