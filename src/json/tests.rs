use super::*;
use proptest::prelude::*;

fn members(text: &str) -> Result<Vec<(String, String)>, Flaw> {
    let mut members = Vec::new();
    object(text, |name, value| {
        members.push((name.to_owned(), value.raw().to_owned()));
    })?;
    Ok(members)
}

#[test]
fn shows_members_as_they_stand() {
    let shown = members(r#" {"a" : [1, {"b":null}], "\u0063":"x\ny" , "d":-1.5e+3} "#);
    let pair = |a: &str, b: &str| (a.to_owned(), b.to_owned());
    assert_eq!(
        shown,
        Ok(vec![
            pair("a", r#"[1, {"b":null}]"#),
            pair("c", r#""x\ny""#),
            pair("d", "-1.5e+3")
        ])
    );
}

#[test]
fn a_number_is_the_double_that_its_digits_say() {
    for number in [
        "0",
        "-0",
        "7",
        "-7",
        "1.5",
        "1e3",
        "1900000000",
        "999999999999999",
        "9007199254740993",
        "123456789012345678901234567890",
    ] {
        let mut read = None;
        let shown = array(&format!("[{number}]"), |value| read = value.number());
        assert_eq!((shown, read), (Ok(()), number.parse().ok()), "{number}");
    }
}

#[test]
fn refuses_duplicates_at_any_depth_and_in_any_spelling() {
    for text in [
        r#"{"a":1,"a":1}"#,
        r#"{"a":1,"\u0061":1}"#,
        r#"{"x":[{"a":{"b":1,"b":2}}]}"#,
    ] {
        assert_eq!(members(text), Err(Flaw::Duplicate), "{text}");
        // A line feed, and the quick way through strings is not taken.
        let slowly = members(&format!("{text}\n"));
        assert_eq!(slowly, Err(Flaw::Duplicate), "{text}");
    }
    let many: Vec<String> = (0..40).map(|n| format!(r#""m{n}":0"#)).collect();
    assert!(members(&format!("{{{}}}", many.join(","))).is_ok());
    let twice = format!(r#"{{{},"m39":1}}"#, many.join(","));
    assert_eq!(members(&twice), Err(Flaw::Duplicate));
    for (at, name) in [(39, "m3"), (0, "m39"), (20, "m21")] {
        let mut escaped = many.clone();
        escaped[at] = format!(r#""\u006d{}":0"#, &name[1..]);
        let twice = format!("{{{}}}", escaped.join(","));
        assert_eq!(members(&twice), Err(Flaw::Duplicate), "{twice}");
    }
}

#[test]
fn refuses_what_is_not_one_object() {
    for text in [
        "",
        "[]",
        "null",
        "{",
        "{}{}",
        "{} x",
        r#"{"a":1,}"#,
        r#"{"a"}"#,
        r#"{a:1}"#,
        r#"{"a":01}"#,
        r#"{"a":1.}"#,
        r#"{"a":.5}"#,
        r#"{"a":+1}"#,
        r#"{"a":1e}"#,
        r#"{"a":NaN}"#,
        r#"{"a":tru}"#,
        r#"{"a":"\x"}"#,
        r#"{"a":"\ud800"}"#,
        r#"{"a":"\udc00x"}"#,
        r#"{"a":"\ud800\u0041"}"#,
        "{\"a\":\"\n\"}",
        r#"{"a":"\u12g4"}"#,
        "\u{feff}{}",
        r#"{'a':1}"#,
        "\0{}",
        "{\0}",
        "{\"a\":1\0}",
        "{\"a\"\0:1}",
        "{}\0",
    ] {
        assert_eq!(members(text), Err(Flaw::Syntax), "{text}");
        let slowly = members(&format!("{text}\n"));
        assert_eq!(slowly, Err(Flaw::Syntax), "{text}");
    }
}

#[test]
fn a_number_is_one_that_every_parser_can_hold() {
    let digits = |n: usize| format!(r#"{{"a":1{}}}"#, "0".repeat(n));
    for (text, fits) in [
        (digits(298), true),
        (digits(308), true),
        (digits(309), false),
        (digits(2_000), false),
        (r#"{"a":1e308}"#.to_owned(), true),
        (r#"{"a":1e309}"#.to_owned(), false),
        (r#"{"a":-1E+400}"#.to_owned(), false),
        (r#"{"a":1e-400}"#.to_owned(), true),
    ] {
        assert_eq!(members(&text).is_ok(), fits, "{text}");
    }
}

#[test]
fn a_string_ends_at_the_first_quote_wherever_it_stands() {
    for len in 0..40 {
        for special in ['"', '\\', '\n', '\u{1f}', '\0'] {
            let text = format!(
                "{}{special}{}",
                "é".repeat(len / 2) + &"x".repeat(len % 2),
                "\"zz"
            );
            let wanted = text.find(special).expect("there");
            assert_eq!(scanner::plain_len(text.as_bytes()), wanted, "{text:?}");
        }
        let plain = "\u{80}\u{7f} !#[]~é".repeat(len);
        assert_eq!(scanner::plain_len(plain.as_bytes()), plain.len());
    }
}

#[test]
fn is_bounded_in_depth_and_number() {
    let deep = format!(r#"{{"a":{}{}}}"#, "[".repeat(10_000), "]".repeat(10_000));
    assert_eq!(members(&deep), Err(Flaw::TooMuch));
    let wide: Vec<String> = (0..2_000).map(|n| format!(r#""{n}":0"#)).collect();
    assert_eq!(
        members(&format!("{{{}}}", wide.join(","))),
        Err(Flaw::TooMuch)
    );
}

pub(crate) fn any_json() -> impl Strategy<Value = serde_json::Value> {
    let leaf = prop_oneof![
        Just(serde_json::Value::Null),
        any::<bool>().prop_map(Into::into),
        any::<f64>().prop_map(Into::into),
        ".*".prop_map(Into::into),
    ];
    leaf.prop_recursive(4, 64, 8, |inner| {
        prop_oneof![
            prop::collection::vec(inner.clone(), 0..8).prop_map(Into::into),
            prop::collection::hash_map(".*", inner, 0..8).prop_map(|map| map.into_iter().collect()),
        ]
    })
}

proptest! {
    #[test]
    fn agrees_with_serde_json_on_what_it_accepts(
        object in prop::collection::hash_map(".*", any_json(), 0..6),
    ) {
        let text = serde_json::to_string(&object).expect("serializable");
        let shown = members(&text).expect("valid");
        prop_assert_eq!(shown.len(), object.len());
        for (name, raw) in shown {
            prop_assert_eq!(raw, object[&name].to_string());
        }
    }

    #[test]
    fn never_accepts_what_serde_json_refuses(text in r#"[{}\[\]",:0-9a-e\\u .+-]{0,40}"#) {
        if members(&text).is_ok() {
            prop_assert!(serde_json::from_str::<serde_json::Value>(&text).is_ok(), "{}", text);
        }
    }
}
