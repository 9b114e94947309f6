//! `KeySet::from_json`.

#![no_main]

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
    // What was read is JSON to another reader too, and no key was lost or made up.
    let document: Value = serde_json::from_slice(data).expect("JSON");
    let listed = document["keys"].as_array().expect("an array").len();
    assert_eq!(set.len() + set.skipped().len(), listed);
});
