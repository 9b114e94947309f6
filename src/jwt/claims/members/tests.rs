use std::collections::{BTreeMap, HashMap};
use std::fmt::Debug;

use proptest::prelude::*;
use serde::Deserialize;
use serde::de::DeserializeOwned;
use serde_json::value::RawValue;

use super::*;
use crate::json::{self, tests::any_json};

fn filled<T: DeserializeOwned>(payload: &str) -> Result<T, Error> {
    let mut members = Members::new();
    json::object_of(
        payload,
        |_| None::<u8>,
        |name, _, value| members.note(name, value),
    )
    .expect("an object");
    members.deserialize(payload)
}

/// Both ways to the type come to the same, or both fail.
fn agree<T: DeserializeOwned + Debug + PartialEq>(payload: &str) {
    let read = serde_json::from_str::<T>(payload).ok();
    assert_eq!(filled::<T>(payload).ok(), read, "{payload}");
}

#[derive(Debug, Deserialize, PartialEq)]
#[serde(rename_all = "lowercase")]
enum Tier {
    Free,
    Paid { until: u64 },
}

#[derive(Debug, Deserialize, Eq, Hash, PartialEq)]
struct Tenant(String);

#[derive(Debug, Deserialize, PartialEq)]
struct Own {
    sub: String,
    tenant: Option<Tenant>,
    #[serde(default, alias = "roles")]
    groups: Vec<String>,
    level: Option<i128>,
    share: Option<f32>,
    tier: Option<Tier>,
    address: Option<BTreeMap<String, String>>,
    pair: Option<(u8, char)>,
    nothing: Option<()>,
}

#[derive(Debug, Deserialize, PartialEq)]
#[serde(deny_unknown_fields)]
struct Strict {
    sub: String,
}

#[derive(Debug, Deserialize, PartialEq)]
struct Flat {
    sub: String,
    #[serde(flatten)]
    rest: HashMap<String, serde_json::Value>,
}

#[derive(Debug, Deserialize, PartialEq)]
#[serde(untagged)]
enum Either {
    Numbered { id: u64 },
    Named { sub: String },
}

#[derive(Debug, Deserialize, PartialEq)]
struct Wrapped(Strict);

#[test]
fn a_type_is_filled_as_serde_json_fills_it() {
    for payload in [
        "{}",
        r#"{"sub":"ada"}"#,
        r#"{"sub":null}"#,
        r#"{"sub":7}"#,
        r#"{"sub":"a\u0064\na","tenant":"t"}"#,
        r#"{"s\u0075b":"ada"}"#,
        r#" { "sub" : "ada" , "groups" : [ "a" , "\u0062" ] } "#,
        r#"{"sub":"ada","roles":["a"]}"#,
        r#"{"sub":"ada","roles":["a"],"groups":[]}"#,
        r#"{"sub":"ada","groups":["a",1]}"#,
        r#"{"sub":"ada","groups":null}"#,
        r#"{"sub":"ada","level":-170141183460469231731687303715884105728,"share":0.5}"#,
        r#"{"sub":"ada","level":1.5}"#,
        r#"{"sub":"ada","tier":"free"}"#,
        r#"{"sub":"ada","tier":{"paid":{"until":7}}}"#,
        r#"{"sub":"ada","tier":"none"}"#,
        r#"{"sub":"ada","address":{"city":"\u00e9"},"pair":[7,"x"],"nothing":null}"#,
        r#"{"sub":"ada","tenant":null,"pair":[7]}"#,
        r#"{"sub":"ada","id":7,"more":[{"x":[]}]}"#,
        r#"{"id":18446744073709551615}"#,
        r#"{"1":"a","22":"b"}"#,
        r#"{"true":"a"}"#,
    ] {
        agree::<Own>(payload);
        agree::<Strict>(payload);
        agree::<Flat>(payload);
        agree::<Either>(payload);
        agree::<Wrapped>(payload);
        agree::<Option<Strict>>(payload);
        agree::<serde_json::Value>(payload);
        agree::<HashMap<String, serde_json::Value>>(payload);
        agree::<HashMap<String, String>>(payload);
        agree::<HashMap<u8, String>>(payload);
        agree::<HashMap<bool, String>>(payload);
        agree::<HashMap<Tenant, String>>(payload);
        agree::<(String,)>(payload);
        agree::<Tier>(payload);
        agree::<String>(payload);
        agree::<u64>(payload);
        agree::<()>(payload);
        agree::<serde::de::IgnoredAny>(payload);
    }
}

#[test]
fn raw_values_are_as_they_are_written() {
    let payload = r#" {"a" : [1, 2 ] } "#;
    let whole: Box<RawValue> = filled(payload).expect("a value");
    assert_eq!(whole.get(), payload.trim());
    let members: HashMap<String, Box<RawValue>> = filled(payload).expect("values");
    assert_eq!(members["a"].get(), "[1, 2 ]");
}

#[test]
fn more_members_than_are_noted_are_all_read() {
    for count in [MOST - 1, MOST, MOST + 1, 3 * MOST] {
        let members: Vec<String> = (0..count).map(|n| format!(r#""m{n}":{n}"#)).collect();
        let payload = format!("{{{}}}", members.join(","));
        agree::<HashMap<String, usize>>(&payload);
        let all: HashMap<String, usize> = filled(&payload).expect("numbers");
        assert_eq!(all.len(), count);
    }
}

proptest! {
    #[test]
    fn any_object_is_filled_as_serde_json_fills_it(
        object in prop::collection::hash_map(".*", any_json(), 0..40),
    ) {
        let payload = serde_json::to_string(&object).expect("serializable");
        agree::<serde_json::Value>(&payload);
        agree::<HashMap<String, serde_json::Value>>(&payload);
        agree::<HashMap<String, Option<String>>>(&payload);
        agree::<HashMap<String, Vec<f64>>>(&payload);
        agree::<HashMap<String, bool>>(&payload);
    }
}
