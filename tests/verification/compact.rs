//! The form of a token: segments, base64url, JSON, header members, sizes.

use midil_auth::testing::SigningKey;
use serde_json::{Value, json};

use crate::signing::{KID, decode, encode, key};
use crate::{AUDIENCE, ISSUER, USUAL, builder, good, headed, minted, now, verdict, verifier, with};

const HEADER: &str = r#"{"alg":"EdDSA","kid":"k"}"#;

/// A signed token of any two segments.
fn of_segments(header: &str, payload: &str) -> String {
    let signed = format!("{header}.{payload}");
    let signature = key(USUAL).sign(signed.as_bytes());
    format!("{signed}.{}", encode(signature))
}

/// The usual claims as text, with `more` in front of them.
fn claims_after(more: &str) -> String {
    good().to_string().replacen('{', &format!("{{{more},"), 1)
}

/// JSON text with as many spaces after it that its length leaves `rest` when divided by three.
fn padded(text: &str, rest: usize) -> String {
    let mut text = text.to_owned();
    while text.len() % 3 != rest {
        text.push(' ');
    }
    text
}

/// Spellings of a segment that a lenient reader takes for the same bytes.
fn misspelt(segment: &str) -> Vec<String> {
    let mut spellings: Vec<String> = ["=", "==", " ", "\n", "\r\n", "\t", "A", "\0", "é"]
        .iter()
        .flat_map(|odd| {
            let (start, end) = segment.split_at(segment.len() / 2);
            [
                format!("{segment}{odd}"),
                format!("{odd}{segment}"),
                format!("{start}{odd}{end}"),
            ]
        })
        // One more character than whole bytes need may be rightly spelt.
        .filter(|spelling| spelling.len() % 4 == 1 || !spelling.bytes().all(is_base64url))
        .collect();
    spellings.push(segment.replacen('-', "+", 1));
    spellings.push(segment.replacen('_', "/", 1));
    spellings.push(segment.replace('_', "%5F"));
    spellings.retain(|spelling| spelling != segment);
    spellings.extend(with_trailing_bits(segment));
    spellings
}

fn is_base64url(byte: u8) -> bool {
    byte.is_ascii_alphanumeric() || byte == b'-' || byte == b'_'
}

/// The segment with bits set after the last whole byte.
fn with_trailing_bits(segment: &str) -> Vec<String> {
    let alphabet = b"ABCDEFGHIJKLMNOPQRSTUVWXYZabcdefghijklmnopqrstuvwxyz0123456789-_";
    let unused = match segment.len() % 4 {
        2 => 4,
        3 => 2,
        _ => return Vec::new(),
    };
    let (rest, last) = segment.split_at(segment.len() - 1);
    let last = alphabet.iter().position(|c| *c == last.as_bytes()[0]);
    let last = last.expect("base64url");
    (1..1 << unused)
        .map(|bits| format!("{rest}{}", char::from(alphabet[last | bits])))
        .collect()
}

/// T18
#[test]
fn base64url_has_one_spelling_in_every_segment() {
    let verifier = verifier(builder());
    let symbols = r#""x":"????????>>>>>>>>","#;
    for rest in 0..3 {
        let header = padded(&HEADER.replacen('{', &format!("{{{symbols}"), 1), rest);
        let payload = padded(
            &good().to_string().replacen('{', &format!("{{{symbols}"), 1),
            rest,
        );
        let (header, payload) = (encode(header), encode(payload));
        assert!(header.contains('_') && payload.contains('_'));
        assert!(header.contains('-') && payload.contains('-'));
        let token = of_segments(&header, &payload);
        assert_eq!(verdict(&verifier, &token), "accepted");
        for odd in misspelt(&header) {
            let token = of_segments(&odd, &payload);
            assert_eq!(verdict(&verifier, &token), "malformed", "{odd:?}");
        }
        for odd in misspelt(&payload) {
            let token = of_segments(&header, &odd);
            assert_eq!(verdict(&verifier, &token), "malformed", "{odd:?}");
        }
        let (signed, signature) = token.rsplit_once('.').expect("three segments");
        for odd in misspelt(signature) {
            let token = format!("{signed}.{odd}");
            assert_eq!(verdict(&verifier, &token), "malformed", "{odd:?}");
        }
    }
}

/// T17
#[test]
fn only_three_segments_are_a_token() {
    let verifier = verifier(builder());
    let token = minted(&good());
    let segments: Vec<&str> = token.split('.').collect();
    let [header, payload, signature] = segments[..] else {
        unreachable!("three segments")
    };
    for odd in [
        String::new(),
        ".".to_owned(),
        "..".to_owned(),
        "...".to_owned(),
        header.to_owned(),
        format!("{header}.{payload}"),
        format!("{header}.{payload}."),
        format!("{header}..{signature}"),
        format!(".{payload}.{signature}"),
        format!("{token}."),
        format!(".{token}"),
        format!("{token}.{signature}"),
        format!("{header}.{payload}..{signature}"),
        format!("{header}.AA.{payload}.AA.{signature}"),
        format!("Bearer {token}"),
        format!("{token}\n"),
        format!(" {token}"),
        format!("\"{token}\""),
        json!({"protected": header, "payload": payload, "signature": signature}).to_string(),
        json!({"payload": payload, "signatures": [{"protected": header, "signature": signature}]})
            .to_string(),
        ".".repeat(10_000),
    ] {
        assert_eq!(verdict(&verifier, &odd), "malformed", "{odd:?}");
    }
}

/// T17: nothing is decrypted, inflated or unwrapped.
#[test]
fn an_encrypted_compressed_or_nested_token_is_refused() {
    let verifier = verifier(builder());
    for header in [
        json!({"alg": "RSA-OAEP", "enc": "A256GCM", "kid": KID}),
        json!({"alg": "dir", "enc": "A128CBC-HS256", "kid": KID, "zip": "DEF"}),
        json!({"alg": "PBES2-HS256+A128KW", "enc": "A256GCM", "p2c": 2_147_483_647_u32, "p2s": "AA"}),
    ] {
        let header = encode(header.to_string());
        let five = format!("{header}.AA.AA.AA.AA");
        assert_eq!(verdict(&verifier, &five), "malformed");
        let refusal = verdict(
            &verifier,
            &of_segments(&header, &encode(good().to_string())),
        );
        assert!(["algorithm", "malformed"].contains(&refusal));
    }
    for cty in ["JWT", "jwt", "Jwt"] {
        assert_eq!(verdict(&verifier, &headed("cty", cty)), "malformed");
    }
    assert_eq!(
        verdict(&verifier, &headed("cty", json!(["JWT"]))),
        "malformed"
    );
    assert_eq!(verdict(&verifier, &headed("cty", "json")), "accepted");
    let nested = of_segments(&encode(HEADER), &encode(minted(&good())));
    assert_eq!(verdict(&verifier, &nested), "malformed");
}

/// T10
#[test]
fn a_critical_member_or_one_that_changes_the_payload_is_refused() {
    let verifier = verifier(builder());
    for (member, values) in [
        (
            "crit",
            json!([[], ["exp"], ["x"], ["b64"], ["alg"], "exp", null, 5, {}]),
        ),
        ("b64", json!([false, true, null, "false"])),
        ("zip", json!(["DEF", "", null])),
    ] {
        for value in values.as_array().expect("an array") {
            let verdict = verdict(&verifier, &headed(member, value.clone()));
            assert_eq!(verdict, "malformed", "{member} {value}");
        }
    }
}

/// T15
#[test]
fn a_member_given_twice_is_refused_wherever_it_stands() {
    let verifier = verifier(builder());
    let payload = good().to_string();
    for twice in [
        r#""alg":"EdDSA""#,
        r#""alg":"none""#,
        r#""kid":"k""#,
        r#""\u0061lg":"EdDSA""#,
        r#""x":1,"x":1"#,
        r#""x":{"y":1,"y":1}"#,
        r#""x":[[{"y":1,"\u0079":2}]]"#,
    ] {
        let header = HEADER.replacen('{', &format!("{{{twice},"), 1);
        let token = key(USUAL).token_of(&header, &payload);
        assert_eq!(verdict(&verifier, &token), "malformed", "{header}");
    }
    for twice in [
        r#""iss":"https://idp.example.com""#,
        r#""aud":"https://other.example""#,
        r#""sub":"root""#,
        r#""exp":9999999999"#,
        r#""s\u0075b":"root""#,
        r#""scope":"a","scope":"b""#,
        r#""custom":1,"custom":2"#,
        r#""custom":{"deep":[{"role":"user","role":"root"}]}"#,
        r#""":1,"":1"#,
    ] {
        let token = key(USUAL).token_of(HEADER, &claims_after(twice));
        assert_eq!(verdict(&verifier, &token), "malformed", "{twice}");
    }
}

#[test]
fn header_and_claims_are_strict_json() {
    let verifier = verifier(builder());
    let strict = claims_after(r#""custom":[1.5e3,-0,true,null,"\ud83d\ude00\n",{}]"#);
    let spaced = format!(" \t\r\n{strict} \t\r\n");
    for good in [&strict, &spaced] {
        let token = key(USUAL).token_of(&format!(" {HEADER}\n"), good);
        assert_eq!(verdict(&verifier, &token), "accepted");
    }
    for value in [
        "01",
        "+1",
        ".5",
        "1.",
        "1e",
        "0x10",
        "NaN",
        "Infinity",
        "-",
        "tru",
        "True",
        "undefined",
        "'x'",
        "\"\\x\"",
        "\"\\ud800\"",
        "\"\\udc00\"",
        "\"\\ud800\\u0041\"",
        "\"\u{1}\"",
        "\"\u{1f}\"",
        "\"\n\"",
        "[1,]",
        "{\"a\":1,}",
        "{a:1}",
        "[1 2]",
        "1 // x",
        "/* x */ 1",
        "\"x",
        "[",
        "1e999",
    ] {
        let member = format!(r#""custom":{value}"#);
        let header = HEADER.replacen('{', &format!("{{{member},"), 1);
        let in_header = key(USUAL).token_of(&header, &strict);
        assert_eq!(verdict(&verifier, &in_header), "malformed", "{header}");
        let in_claims = key(USUAL).token_of(HEADER, &claims_after(&member));
        assert_eq!(verdict(&verifier, &in_claims), "malformed", "{value}");
    }
    for (before, after) in [
        ("", "x"),
        ("", "{}"),
        ("", "\0"),
        ("\u{feff}", ""),
        ("[", "]"),
        ("x", ""),
        ("", ","),
        ("\u{a0}", ""),
        ("\u{b}", ""),
    ] {
        let header = format!("{before}{HEADER}{after}");
        let payload = format!("{before}{strict}{after}");
        let in_header = key(USUAL).token_of(&header, &strict);
        assert_eq!(verdict(&verifier, &in_header), "malformed", "{header}");
        let in_claims = key(USUAL).token_of(HEADER, &payload);
        assert_eq!(verdict(&verifier, &in_claims), "malformed", "{payload}");
    }
    for text in ["", "null", "5", "[]", "\"x\"", "true"] {
        let in_header = key(USUAL).token_of(text, &strict);
        let in_claims = key(USUAL).token_of(HEADER, text);
        assert_eq!(verdict(&verifier, &in_header), "malformed", "{text}");
        assert_eq!(verdict(&verifier, &in_claims), "malformed", "{text}");
    }
}

#[test]
fn header_and_claims_are_utf8() {
    let verifier = verifier(builder());
    for bad in [
        &b"\xff"[..],
        b"\xc3",
        b"\xc0\xaf",
        b"\xed\xa0\x80",
        b"\xf5\x80\x80\x80",
    ] {
        let within = |text: &str| {
            let (start, end) = text.split_at(text.len() - 1);
            encode([start.as_bytes(), b",\"x\":\"", bad, b"\"", end.as_bytes()].concat())
        };
        let claims = good().to_string();
        let in_header = of_segments(&within(HEADER), &encode(&claims));
        let in_claims = of_segments(&encode(HEADER), &within(&claims));
        assert_eq!(verdict(&verifier, &in_header), "malformed", "{bad:?}");
        assert_eq!(verdict(&verifier, &in_claims), "malformed", "{bad:?}");
    }
    let claims = with("name", "Ада 😀").to_string();
    let token = of_segments(&encode(HEADER), &encode(claims));
    assert_eq!(verdict(&verifier, &token), "accepted");
}

/// T7
#[test]
fn a_hostile_kid_is_an_unknown_key() {
    let verifier = verifier(builder());
    for kid in [
        "",
        "K",
        "k ",
        " k",
        "k\0",
        "\0",
        "../../../dev/null",
        "k/../k",
        "k' OR '1'='1",
        "k|k",
        "https://idp.example.com|k",
        "https://idp.example.com#k",
        ".*",
        "(a+)+$",
        "k\r\nlevel=ERROR",
        "\u{202e}k",
        "ｋ",
        "http://169.254.169.254/",
        "-",
        "__proto__",
    ] {
        let error = verifier.try_verify(&headed("kid", kid)).expect_err(kid);
        assert_eq!(error.as_str(), "unknown_key", "{kid:?}");
        let told = format!("{error} {error:?}");
        assert!(kid.len() < 3 || !told.contains(kid), "{told}");
    }
    assert_eq!(
        verdict(&verifier, &headed("kid", "k".repeat(1024))),
        "unknown_key"
    );
    for len in [1025, 1500, 2900, 1_000_000] {
        assert_eq!(
            verdict(&verifier, &headed("kid", "k".repeat(len))),
            "too_large"
        );
    }
    for kid in [
        json!(null),
        json!(5),
        json!(["k"]),
        json!({"k": 1}),
        json!(true),
    ] {
        assert_eq!(verdict(&verifier, &headed("kid", kid)), "malformed");
    }
    assert_eq!(verdict(&verifier, &headed("kid", "\u{6b}")), "accepted");
}

/// T19, RFC 8725 §3.11
#[test]
fn a_token_of_another_type_is_refused() {
    let usual = verifier(builder());
    for typ in [
        "JWT",
        "jwt",
        "at+jwt",
        "AT+JWT",
        "application/jwt",
        "Application/at+JWT",
    ] {
        assert_eq!(verdict(&usual, &headed("typ", typ)), "accepted", "{typ}");
    }
    for typ in [
        "logout+jwt",
        "dpop+jwt",
        "secevent+jwt",
        "oauth-authz-req+jwt",
        "token-introspection+jwt",
        "",
        "JWT ",
        " JWT",
        "JOSE",
        "JWE",
        "application/",
        "application/application/jwt",
        "at+jwt;x",
        "text/jwt",
        "jwt\0",
    ] {
        assert_eq!(verdict(&usual, &headed("typ", typ)), "type", "{typ}");
    }
    for typ in [json!(null), json!(5), json!(["JWT"]), json!({})] {
        assert_eq!(verdict(&usual, &headed("typ", typ)), "malformed");
    }
    let special = verifier(builder().typ("secevent+jwt"));
    for (typ, expected) in [
        ("secevent+jwt", "accepted"),
        ("application/SecEvent+jwt", "accepted"),
        ("JWT", "type"),
        ("at+jwt", "type"),
    ] {
        assert_eq!(verdict(&special, &headed("typ", typ)), expected, "{typ}");
    }
    let untyped = key(USUAL).token_of(HEADER, &good().to_string());
    assert_eq!(verdict(&usual, &untyped), "accepted");
    assert_eq!(verdict(&special, &untyped), "type");
}

/// T16
#[test]
fn a_token_over_the_cap_is_refused() {
    let usual = verifier(builder());
    let cap = 16 * 1024;
    let around = (11_900..12_100).map(|n| minted(&with("x", "x".repeat(n))));
    let (fits, over): (Vec<_>, Vec<_>) = around.partition(|token| token.len() <= cap);
    assert!(
        fits.iter()
            .all(|token| verdict(&usual, token) == "accepted")
    );
    assert!(
        over.iter()
            .all(|token| verdict(&usual, token) == "too_large")
    );
    assert!(fits.iter().any(|token| token.len() + 1 >= cap));
    assert!(over.iter().any(|token| token.len() <= cap + 2));
    for token in [
        minted(&with("x", "x".repeat(cap))),
        "a".repeat(cap + 1),
        ".".repeat(1_000_000),
        format!("{}.a.a", "a".repeat(4_000_000)),
    ] {
        assert_eq!(verdict(&usual, &token), "too_large");
    }
    let token = minted(&good());
    let exact = verifier(builder().max_token_bytes(token.len()));
    let less = verifier(builder().max_token_bytes(token.len() - 1));
    assert_eq!(verdict(&exact, &token), "accepted");
    assert_eq!(verdict(&less, &token), "too_large");
    let large = verifier(builder().max_token_bytes(2_000_000));
    let token = minted(&with("x", "x".repeat(1_000_000)));
    assert_eq!(verdict(&large, &token), "accepted");
    assert_eq!(verdict(&large, &".".repeat(1_000_000)), "malformed");
}

/// T16
#[test]
fn a_header_over_the_cap_is_refused() {
    let verifier = verifier(builder().max_token_bytes(10_000_000));
    // 3,072 bytes are 4,096 characters.
    for (len, expected) in [
        (3_072, "accepted"),
        (3_073, "too_large"),
        (3_000_000, "too_large"),
    ] {
        let header = format!("{HEADER}{}", " ".repeat(len - HEADER.len()));
        let token = key(USUAL).token_of(&header, &good().to_string());
        assert_eq!(verdict(&verifier, &token), expected, "{len}");
    }
}

/// T16
#[test]
fn json_too_deep_or_with_too_many_members_is_refused() {
    let verifier = verifier(builder().max_token_bytes(10_000_000));
    let nested = |depth| format!("{}{}", "[".repeat(depth), "]".repeat(depth));
    let objects = |depth| format!("{}1{}", r#"{"a":"#.repeat(depth), "}".repeat(depth));
    for (value, expected) in [
        (nested(15), "accepted"),
        (nested(16), "malformed"),
        (objects(15), "accepted"),
        (objects(16), "malformed"),
        (nested(100_000), "malformed"),
        ("[".repeat(100_000), "malformed"),
        (objects(100_000), "malformed"),
    ] {
        let token = key(USUAL).token_of(HEADER, &claims_after(&format!(r#""custom":{value}"#)));
        assert_eq!(
            verdict(&verifier, &token),
            expected,
            "{} bytes",
            value.len()
        );
    }
    let own = good().as_object().expect("an object").len();
    for (members, expected) in [
        (1_000 - own, "accepted"),
        (1_001 - own, "malformed"),
        (200_000, "malformed"),
    ] {
        let many: Vec<String> = (0..members).map(|n| format!(r#""m{n}":0"#)).collect();
        let token = key(USUAL).token_of(HEADER, &claims_after(&many.join(",")));
        assert_eq!(verdict(&verifier, &token), expected, "{members} members");
    }
    let elements = vec!["0"; 200_000].join(",");
    let token = key(USUAL).token_of(HEADER, &claims_after(&format!(r#""custom":[{elements}]"#)));
    assert_eq!(verdict(&verifier, &token), "malformed");
}

/// T16: names that mean something elsewhere are names like any other here.
#[test]
fn special_names_are_ordinary_claims() {
    let text = format!(
        r#"{{"__proto__":{{"aud":"{AUDIENCE}"}},"constructor":1,"iss":"{ISSUER}","exp":{}}}"#,
        now() + 60
    );
    let usual = verifier(builder());
    let token = key(USUAL).token_of(HEADER, &text);
    assert_eq!(verdict(&usual, &token), "missing_claim");
    let claims = with("__proto__", json!({"admin": true}));
    let claims = usual.try_verify(&minted(&claims)).expect("good");
    assert_eq!(claims.get("admin"), None::<Value>);
}

#[test]
fn a_signature_covers_the_header() {
    let verifier = verifier(builder());
    let token = minted(&good());
    let (header, rest) = token.split_once('.').expect("three segments");
    let mut other: Value = serde_json::from_slice(&decode(header)).expect("JSON");
    other["x"] = 1.into();
    let token = format!("{}.{rest}", encode(other.to_string()));
    assert_eq!(verdict(&verifier, &token), "signature");
    let stranger = SigningKey::generate(USUAL, KID);
    let swapped = format!(
        "{header}.{}",
        stranger.token(&good()).split_once('.').expect("dots").1
    );
    assert_eq!(verdict(&verifier, &swapped), "signature");
}
