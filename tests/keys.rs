//! JWK Sets taken key by key: one odd key never takes the others along, and none of them
//! verifies what it should not.

#![expect(
    clippy::expect_used,
    reason = "a test that cannot be set up has failed"
)]

mod signing;

use midil_auth::jwks::{Algorithm, KeySet, SkipReason};
use midil_auth::jwt::Verifier;
use midil_auth::testing::{SigningKey, TestClock};
use proptest::prelude::*;
use serde_json::{Value, json};

use signing::{KID, decode, encode, key, set};

const ISSUER: &str = "https://idp.example.com";
const NOW: u64 = 1_800_000_000;

/// The key that is in order in every set here.
const GOOD: Algorithm = Algorithm::EdDSA;

fn verifier(keys: KeySet) -> Verifier {
    Verifier::builder(ISSUER)
        .any_audience()
        .fixed_with_clock(keys, TestClock::fixed(NOW).clock())
        .expect("a verifier")
}

fn token(signer: &SigningKey) -> String {
    signer.token(&claims())
}

fn claims() -> Value {
    json!({"iss": ISSUER, "exp": NOW + 3600})
}

fn verdict(verifier: &Verifier, token: &str) -> &'static str {
    match verifier.try_verify(token) {
        Ok(_) => "accepted",
        Err(error) => error.as_str(),
    }
}

/// The public half of the key of that algorithm, with one member set, or dropped by `null`.
fn jwk_with(algorithm: Algorithm, member: &str, value: impl Into<Value>) -> Value {
    let mut jwk = key(algorithm).jwk();
    jwk["kid"] = "odd".into();
    match value.into() {
        Value::Null => drop(jwk.as_object_mut().expect("an object").remove(member)),
        value => jwk[member] = value,
    }
    jwk
}

/// Why the key is skipped, having made sure that its neighbours go on serving (T27).
fn skipped(odd: &str) -> SkipReason {
    let good = key(GOOD).jwk();
    let text = format!(r#"{{"keys":[{odd},{good},{odd}]}}"#);
    let keys = KeySet::from_json(text.as_bytes()).expect(odd);
    assert_eq!(keys.len(), 1, "{odd}");
    assert_eq!(keys.skipped().len(), 2, "{odd}");
    let reason = keys.skipped()[0].reason;
    assert_eq!(
        verdict(&verifier(keys), &token(key(GOOD))),
        "accepted",
        "{odd}"
    );
    reason
}

fn all_skipped(reason: SkipReason, odd: impl IntoIterator<Item = Value>) {
    for odd in odd {
        assert_eq!(skipped(&odd.to_string()), reason, "{odd}");
    }
}

/// A modulus of that many bits; whether it is a product of primes nobody asks.
fn modulus(bits: usize) -> String {
    let mut n = vec![0xff; bits.div_ceil(8)];
    n[0] >>= n.len() * 8 - bits;
    encode(n)
}

fn rsa(n: impl Into<Value>, e: impl Into<Value>) -> Value {
    json!({"kty": "RSA", "kid": "odd", "n": n.into(), "e": e.into()})
}

#[test]
fn every_kind_of_key_is_taken() {
    let keys = set(Algorithm::ALL.map(|algorithm| key(algorithm).jwk()));
    assert_eq!(keys.len(), Algorithm::ALL.len());
    assert!(keys.skipped().is_empty() && !keys.is_empty());
    assert_eq!(keys.kids().collect::<Vec<_>>(), [KID; Algorithm::ALL.len()]);
}

#[test]
fn members_that_mean_nothing_here_change_nothing() {
    for (member, value) in [
        ("x5c", json!(["not a certificate"])),
        ("x5t", json!("AAAA")),
        ("x5u", json!("http://attacker.example/cert")),
        ("issuer", json!("https://idp.example.com")),
        ("key_ops", json!(["verify"])),
        ("key_ops", json!(["sign", "verify"])),
        ("ext", json!(true)),
        ("use", Value::Null),
        ("alg", Value::Null),
        ("kid", Value::Null),
    ] {
        let keys = set([jwk_with(GOOD, member, value)]);
        assert_eq!(keys.len(), 1, "{member}");
    }
}

#[test]
fn what_is_not_an_object_is_skipped() {
    for odd in ["null", "5", r#""key""#, "[]", "true", "{}"] {
        assert_eq!(skipped(odd), SkipReason::Malformed, "{odd}");
    }
}

#[test]
fn a_member_of_the_wrong_type_is_skipped() {
    for algorithm in [Algorithm::RS256, Algorithm::ES256, Algorithm::EdDSA] {
        for member in ["kty", "kid", "alg", "use", "key_ops"] {
            for value in [json!(5), json!({}), json!(true)] {
                all_skipped(SkipReason::Malformed, [jwk_with(algorithm, member, value)]);
            }
        }
    }
    all_skipped(
        SkipReason::Malformed,
        [
            jwk_with(Algorithm::RS256, "n", 65_537),
            jwk_with(Algorithm::RS256, "e", 65_537),
            jwk_with(Algorithm::ES256, "crv", 256),
            jwk_with(Algorithm::ES256, "x", json!([1])),
            jwk_with(Algorithm::EdDSA, "x", json!({})),
            jwk_with(GOOD, "key_ops", "verify"),
        ],
    );
}

#[test]
fn a_null_member_is_not_an_absent_one() {
    for member in ["kty", "kid", "alg", "use", "key_ops", "crv", "x"] {
        let mut jwk = key(GOOD).jwk();
        jwk[member] = Value::Null;
        all_skipped(SkipReason::Malformed, [jwk]);
    }
}

#[test]
fn a_missing_member_is_skipped() {
    for (algorithm, members) in [
        (Algorithm::RS256, &["kty", "n", "e"][..]),
        (Algorithm::ES256, &["kty", "crv", "x", "y"]),
        (Algorithm::EdDSA, &["kty", "crv", "x"]),
    ] {
        for member in members {
            all_skipped(
                SkipReason::Malformed,
                [jwk_with(algorithm, member, Value::Null)],
            );
        }
    }
}

#[test]
fn a_member_given_twice_is_skipped() {
    let jwk = key(GOOD).jwk().to_string();
    for again in [r#""alg":"EdDSA""#, r#""\u0061lg":"EdDSA""#, r#""kid":"k""#] {
        let twice = jwk.replacen('{', &format!("{{{again},"), 1);
        assert_eq!(skipped(&twice), SkipReason::Malformed, "{again}");
    }
}

#[test]
fn an_unknown_type_or_curve_is_skipped() {
    let x = key(Algorithm::EdDSA).jwk()["x"].clone();
    all_skipped(
        SkipReason::Unsupported,
        [
            json!({"kty": "AKP", "alg": "ML-DSA-44", "pub": "AAAA"}),
            json!({"kty": "", "kid": "odd"}),
            jwk_with(Algorithm::RS256, "kty", "rsa"),
            jwk_with(Algorithm::ES256, "crv", "secp256k1"),
            jwk_with(Algorithm::ES256, "crv", "p-256"),
            jwk_with(Algorithm::EdDSA, "crv", "Ed448"),
            // T34: a key for key agreement, of the same size as one for signatures.
            json!({"kty": "OKP", "crv": "X25519", "x": x}),
        ],
    );
}

#[test]
fn bad_base64_is_skipped() {
    for (algorithm, member) in [
        (Algorithm::RS256, "n"),
        (Algorithm::RS256, "e"),
        (Algorithm::ES256, "x"),
        (Algorithm::ES256, "y"),
        (Algorithm::EdDSA, "x"),
    ] {
        let good = key(algorithm).jwk()[member]
            .as_str()
            .expect("a string")
            .to_owned();
        let bad = [
            String::new(),
            format!("{good}="),
            format!("{good}=="),
            format!(" {good}"),
            format!("{good}\n"),
            format!("{}+/", &good[2..]),
            format!("{}é", &good[2..]),
            format!("{good}AAAAA"),
        ];
        let bad = bad.map(|text| jwk_with(algorithm, member, text));
        all_skipped(SkipReason::Material, bad);
    }
    // 32 bytes leave two bits over, which must be zero.
    let mut x = key(GOOD).jwk()["x"].as_str().expect("x").to_owned();
    let last = x.pop().expect("a character");
    x.push(char::from(last as u8 + 1));
    all_skipped(SkipReason::Material, [jwk_with(GOOD, "x", x)]);
}

#[test]
fn a_point_off_the_curve_is_skipped() {
    for algorithm in [Algorithm::ES256, Algorithm::ES384, Algorithm::ES512] {
        let jwk = key(algorithm).jwk();
        let y = decode(jwk["y"].as_str().expect("y"));
        let mut off = y.clone();
        *off.last_mut().expect("a byte") ^= 1;
        let zeros = vec![0; y.len()];
        // The same octets, but not where they belong.
        let x = decode(jwk["x"].as_str().expect("x"));
        let (head, last) = x.split_at(x.len() - 1);
        let mut moved = jwk_with(algorithm, "x", encode(head));
        moved["y"] = encode([last, &y].concat()).into();
        let mut at_zero = jwk_with(algorithm, "x", encode(&zeros));
        at_zero["y"] = encode(&zeros).into();
        all_skipped(
            SkipReason::Material,
            [
                jwk_with(algorithm, "y", encode(off)),
                jwk_with(algorithm, "y", encode(&zeros)),
                jwk_with(algorithm, "y", encode(vec![0xff; y.len()])),
                jwk_with(algorithm, "y", encode(&y[1..])),
                jwk_with(algorithm, "y", encode([&[0][..], &y].concat())),
                at_zero,
                moved,
            ],
        );
    }
    all_skipped(
        SkipReason::Material,
        [
            jwk_with(Algorithm::ES256, "crv", "P-384"),
            jwk_with(Algorithm::ES384, "crv", "P-256"),
            jwk_with(Algorithm::EdDSA, "x", encode([7; 31])),
            jwk_with(Algorithm::EdDSA, "x", encode([7; 33])),
        ],
    );
}

/// Points of which one signature is good for every message, in each of their spellings.
#[test]
fn an_ed25519_point_of_small_order_is_skipped() {
    let y = |first: u8, middle: u8, top: u8| {
        let mut y = [middle; 32];
        (y[0], y[31]) = (first, top);
        y
    };
    let hex = |text: &str| {
        let byte = |at| u8::from_str_radix(&text[2 * at..2 * at + 2], 16).expect("hex");
        std::array::from_fn(byte)
    };
    let small = [
        y(0, 0, 0),
        y(1, 0, 0),
        // p - 1, p and p + 1.
        y(0xec, 0xff, 0x7f),
        y(0xed, 0xff, 0x7f),
        y(0xee, 0xff, 0x7f),
        hex("26e8958fc2b227b045c3f489f2ef98f0d5dfac05d3c63339b13802886d53fc05"),
        hex("c7176a703d4dd84fba3c0b760d10670f2a2053fa2c39ccc64ec7fd7792ac037a"),
    ];
    for point in small {
        for sign in [0, 0x80] {
            let mut x: [u8; 32] = point;
            x[31] |= sign;
            all_skipped(SkipReason::Material, [jwk_with(GOOD, "x", encode(x))]);
        }
        // Another octet makes it another point, or none.
        for at in [1, 15, 30, 31] {
            let mut x = point;
            x[at] ^= 1;
            assert_eq!(set([jwk_with(GOOD, "x", encode(x))]).len(), 1, "{x:?}");
        }
    }
    for near in [
        y(2, 0, 0),
        y(0xeb, 0xff, 0x7f),
        y(0xef, 0xff, 0x7f),
        y(0, 0, 1),
        y(0xed, 0xff, 0x7e),
    ] {
        assert_eq!(
            set([jwk_with(GOOD, "x", encode(near))]).len(),
            1,
            "{near:?}"
        );
    }
}

#[test]
fn an_rsa_modulus_outside_2048_to_8192_bits_is_skipped() {
    for bits in [8, 512, 1024, 2047, 8193, 16_384] {
        all_skipped(SkipReason::Material, [rsa(modulus(bits), "AQAB")]);
    }
    for bits in [2048, 2049, 3072, 4096, 8191, 8192] {
        assert_eq!(set([rsa(modulus(bits), "AQAB")]).len(), 1, "{bits}");
    }
    // Bits count, not octets: zeros before the number do not make it longer.
    let short = decode(&modulus(1024));
    let padded = [vec![0; 128], short].concat();
    let mut even = decode(&modulus(2048));
    *even.last_mut().expect("a byte") -= 1;
    all_skipped(
        SkipReason::Material,
        [rsa(encode(padded), "AQAB"), rsa(encode(even), "AQAB")],
    );
    let padded = [vec![0], decode(&modulus(2048))].concat();
    assert_eq!(
        set([rsa(encode(padded), "AAEAAQ")]).len(),
        1,
        "one zero before"
    );
}

#[test]
fn an_rsa_exponent_that_is_tiny_even_or_huge_is_skipped() {
    for e in [
        &[][..],
        &[0],
        &[1],
        &[0, 1],
        &[2],
        &[4],
        &[1, 0, 0],
        // More than 33 bits, with which the library verifies nothing.
        &[2, 0, 0, 0, 1],
        &[0xff; 8],
        &[0xff; 9],
        &[0xff; 256],
    ] {
        all_skipped(SkipReason::Material, [rsa(modulus(2048), encode(e))]);
    }
    for e in [&[3][..], &[17], &[1, 0, 1], &[1, 0, 0, 0, 1]] {
        assert_eq!(set([rsa(modulus(2048), encode(e))]).len(), 1, "{e:?}");
    }
}

#[test]
fn a_key_for_encryption_is_skipped() {
    for value in ["enc", "", "SIG", "sig ", "wrap"] {
        all_skipped(
            SkipReason::Use,
            Algorithm::ALL.map(|a| jwk_with(a, "use", value)),
        );
    }
}

#[test]
fn key_ops_without_verify_are_skipped() {
    for operations in [
        json!([]),
        json!(["sign"]),
        json!(["encrypt", "wrapKey"]),
        json!(["Verify"]),
        json!([null, 5]),
    ] {
        all_skipped(SkipReason::Use, [jwk_with(GOOD, "key_ops", operations)]);
    }
    // Both say what the key is for, and both must.
    let mut jwk = jwk_with(GOOD, "key_ops", json!(["verify"]));
    jwk["use"] = "enc".into();
    all_skipped(SkipReason::Use, [jwk]);
}

#[test]
fn an_alg_that_does_not_fit_the_key_is_skipped() {
    for alg in [
        "", "none", "HS256", "RSA-OAEP", "ECDH-ES", "ES256K", "rs256", "RS256 ",
    ] {
        all_skipped(
            SkipReason::Algorithm,
            Algorithm::ALL.map(|a| jwk_with(a, "alg", alg)),
        );
    }
    for (algorithm, alg) in [
        (Algorithm::RS256, "ES256"),
        (Algorithm::PS256, "EdDSA"),
        (Algorithm::ES256, "ES384"),
        (Algorithm::ES384, "ES512"),
        (Algorithm::ES512, "RS512"),
        (Algorithm::EdDSA, "ES256"),
    ] {
        all_skipped(SkipReason::Algorithm, [jwk_with(algorithm, "alg", alg)]);
    }
}

#[test]
fn a_private_key_is_skipped() {
    for (algorithm, members) in [
        (
            Algorithm::RS256,
            &["d", "p", "q", "dp", "dq", "qi", "oth"][..],
        ),
        (Algorithm::ES256, &["d"]),
        (Algorithm::EdDSA, &["d", "k", "priv"]),
    ] {
        for member in members {
            all_skipped(SkipReason::Private, [jwk_with(algorithm, member, "AAAA")]);
        }
    }
}

/// T4: whoever could verify with it could sign with it.
#[test]
fn a_symmetric_key_is_skipped() {
    let k = encode([7; 64]);
    for alg in ["HS256", "HS384", "HS512", "RS256", "EdDSA"] {
        all_skipped(
            SkipReason::Symmetric,
            [json!({"kty": "oct", "kid": "odd", "alg": alg, "k": k})],
        );
    }
    all_skipped(SkipReason::Symmetric, [json!({"kty": "oct"})]);
}

#[test]
fn what_is_skipped_is_told_briefly_and_printably() {
    let kid = format!("a\nb\u{1b}{}", "x".repeat(10_000));
    let keys = set([
        key(GOOD).jwk(),
        json!({"kty": "oct", "kid": kid}),
        json!({"kty": 5}),
    ]);
    let told = keys.skipped()[0].to_string();
    assert!(told.len() < 300 && told.ends_with(": symmetric"), "{told}");
    assert!(!told.contains(char::is_control));
    assert_eq!(keys.skipped()[1].to_string(), "-: malformed");
    let x = key(GOOD).jwk()["x"].as_str().expect("x").to_owned();
    assert!(!format!("{keys:?}").contains(&x), "no material");
}

#[test]
fn what_is_not_a_set_is_an_error() {
    let good = key(GOOD).jwk();
    for text in [
        String::new(),
        "<!doctype html>".to_owned(),
        "null".to_owned(),
        "[]".to_owned(),
        good.to_string(),
        format!("[{good}]"),
        format!("[[{good}]]"),
        r#"{"keys":null}"#.to_owned(),
        format!(r#"{{"keys":{good}}}"#),
        format!(r#"{{"Keys":[{good}]}}"#),
        format!(r#"{{"keys":[{good}],"keys":[]}}"#),
        format!(r#"{{"keys":[{good}]"#),
        format!(r#"{{"keys":[{good}]}} x"#),
        format!(r#"{{"keys":[{good},]}}"#),
        format!("\u{feff}{{\"keys\":[{good}]}}"),
    ] {
        let error = KeySet::from_json(text.as_bytes()).expect_err(&text);
        assert_eq!(error.as_str(), "malformed", "{text}");
    }
    let latin = b"{\"keys\":[],\"n\":\"\xe9\"}";
    assert_eq!(
        KeySet::from_json(latin).expect_err("Latin-1").as_str(),
        "malformed"
    );
    let other = format!(r#"{{"issuer":5,"keys":[{good}],"x":{{}}}}"#);
    assert_eq!(KeySet::try_from(&*other).expect("other members").len(), 1);
}

/// T26: a set without a usable key never is one.
#[test]
fn a_set_without_a_usable_key_is_an_error() {
    for (text, kind) in [
        (r#"{"keys":[]}"#, "empty"),
        (r#"{"keys":[null]}"#, "unusable"),
        (r#"{"keys":[{"kty":"oct","k":"AAAA"}]}"#, "unusable"),
    ] {
        let error = KeySet::from_json(text.as_bytes()).expect_err(text);
        assert_eq!(error.as_str(), kind, "{text}");
    }
}

#[test]
fn a_key_listed_twice_is_one_key() {
    let jwk = key(GOOD).jwk();
    let set = json!({"keys": [jwk, jwk]}).to_string();
    assert_eq!(KeySet::from_json(set.as_bytes()).expect("a set").len(), 1);
}

#[test]
fn a_key_listed_for_two_algorithms_is_two() {
    let jwk = key(Algorithm::RS256).jwk();
    let mut other = jwk.clone();
    other["alg"] = "PS256".into();
    assert_eq!(set([jwk, other]).len(), 2);
}

#[test]
fn a_set_of_too_many_keys_is_an_error() {
    let many = |n| {
        let named = |n: usize| {
            let mut jwk = key(GOOD).jwk();
            jwk["kid"] = n.to_string().into();
            jwk
        };
        json!({"keys": (0..n).map(named).collect::<Vec<_>>()}).to_string()
    };
    assert_eq!(
        KeySet::from_json(many(1_000).as_bytes())
            .expect("a thousand")
            .len(),
        1_000
    );
    let error = KeySet::from_json(many(1_001).as_bytes()).expect_err("one more");
    assert_eq!(error.as_str(), "too_large");
}

/// T33
#[test]
fn under_a_kid_given_twice_the_key_whose_type_and_alg_fit_is_used() {
    let listed = [
        Algorithm::RS256,
        Algorithm::PS256,
        Algorithm::RS512,
        Algorithm::ES256,
        Algorithm::ES512,
        Algorithm::EdDSA,
    ];
    let verifier = verifier(set(listed.map(|algorithm| key(algorithm).jwk())));
    for algorithm in listed {
        assert_eq!(
            verdict(&verifier, &token(key(algorithm))),
            "accepted",
            "{algorithm}"
        );
    }
    assert_eq!(
        verdict(&verifier, &token(key(Algorithm::ES384))),
        "algorithm"
    );
}

/// T33
#[test]
fn two_keys_that_fit_are_ambiguous_unless_all_may_be_tried() {
    for algorithm in [Algorithm::ES256, Algorithm::EdDSA, Algorithm::RS256] {
        let signers = [
            SigningKey::generate(algorithm, "twice"),
            SigningKey::generate(algorithm, "twice"),
        ];
        let stranger = SigningKey::generate(algorithm, "twice");
        let jwks = || set(signers.iter().map(SigningKey::jwk));
        let strict = verifier(jwks());
        let lenient = Verifier::builder(ISSUER)
            .any_audience()
            .try_ambiguous_keys()
            .fixed_with_clock(jwks(), TestClock::fixed(NOW).clock())
            .expect("a verifier");
        let without_kid = json!({"alg": algorithm.as_str()});
        for signer in &signers {
            for token in [
                token(signer),
                signer.token_with_header(&without_kid, &claims()),
            ] {
                assert_eq!(verdict(&strict, &token), "ambiguous");
                assert_eq!(verdict(&lenient, &token), "accepted");
            }
        }
        assert_eq!(verdict(&strict, &token(&stranger)), "ambiguous");
        assert_eq!(verdict(&lenient, &token(&stranger)), "signature");
    }
}

#[test]
fn a_broken_key_under_the_same_kid_makes_nothing_ambiguous() {
    let mut encryption = SigningKey::generate(GOOD, KID).jwk();
    encryption["use"] = "enc".into();
    let keys = set([encryption, key(GOOD).jwk()]);
    assert_eq!(verdict(&verifier(keys), &token(key(GOOD))), "accepted");
}

#[test]
fn a_token_without_a_kid_is_verified_by_the_one_key_that_fits() {
    let keys = set([Algorithm::RS256, Algorithm::ES256, GOOD].map(|a| key(a).jwk()));
    let verifier = verifier(keys);
    for algorithm in [Algorithm::RS256, Algorithm::ES256, GOOD] {
        let header = json!({"alg": algorithm.as_str()});
        let token = key(algorithm).token_with_header(&header, &claims());
        assert_eq!(verdict(&verifier, &token), "accepted", "{algorithm}");
    }
    let header = json!({"alg": "ES384"});
    let token = key(Algorithm::ES384).token_with_header(&header, &claims());
    assert_eq!(verdict(&verifier, &token), "algorithm");
}

/// T34
#[test]
fn a_key_verifies_only_what_its_alg_and_curve_say() {
    for (listed, signer) in [
        (Algorithm::PS256, Algorithm::RS256),
        (Algorithm::RS256, Algorithm::PS256),
        (Algorithm::RS256, Algorithm::RS512),
        (Algorithm::ES384, Algorithm::ES256),
        (Algorithm::ES256, Algorithm::ES512),
    ] {
        let verifier = verifier(set([key(listed).jwk()]));
        assert_eq!(verdict(&verifier, &token(key(signer))), "algorithm");
    }
    let mut x25519 = key(Algorithm::EdDSA).jwk();
    x25519["crv"] = "X25519".into();
    let verifier = verifier(set([x25519, key(Algorithm::ES256).jwk()]));
    assert_eq!(
        verdict(&verifier, &token(key(Algorithm::EdDSA))),
        "algorithm"
    );
}

/// Whether a compressed point is on the curve shows only when it is used.
#[test]
fn an_ed25519_key_that_is_no_point_verifies_nothing() {
    let no_point = [&[2][..], &[0; 31]].concat();
    let verifier = verifier(set([jwk_with(GOOD, "x", encode(no_point))]));
    let header = json!({"alg": "EdDSA", "kid": "odd"});
    let token = key(GOOD).token_with_header(&header, &claims());
    assert_eq!(verdict(&verifier, &token), "signature");
}

/// T25
#[test]
fn the_same_kid_with_new_material_is_the_new_key() {
    for algorithm in [Algorithm::ES256, Algorithm::EdDSA, Algorithm::RS256] {
        let (old, new) = (key(algorithm), SigningKey::generate(algorithm, KID));
        let before = verifier(set([old.jwk()]));
        let after = verifier(set([new.jwk()]));
        assert_eq!(verdict(&before, &token(old)), "accepted");
        assert_eq!(verdict(&before, &token(&new)), "signature");
        assert_eq!(verdict(&after, &token(old)), "signature");
        assert_eq!(verdict(&after, &token(&new)), "accepted");
    }
}

proptest! {
    #[test]
    fn bytes_never_make_it_panic(bytes in prop::collection::vec(any::<u8>(), 0..512)) {
        let _ = KeySet::from_json(&bytes);
        let _ = KeySet::from_json(&[b"{\"keys\":[".as_slice(), &bytes, b"]}"].concat());
    }

    #[test]
    fn a_damaged_set_never_makes_it_panic(
        at in any::<prop::sample::Index>(),
        len in 0..4_usize,
        with in "\\PC{0,4}",
    ) {
        let good = [Algorithm::ES256, Algorithm::EdDSA, Algorithm::ES512].map(|a| key(a).jwk());
        let mut text = json!({ "keys": good }).to_string();
        let at = at.index(text.len());
        text.replace_range(at..(at + len).min(text.len()), &with);
        if let Ok(keys) = KeySet::from_json(text.as_bytes()) {
            prop_assert!(keys.len() + keys.skipped().len() <= 4);
        }
    }

    #[test]
    fn members_of_any_value_never_make_it_panic(
        kty in prop_oneof![Just("RSA"), Just("EC"), Just("OKP")],
        crv in prop_oneof![Just("P-256"), Just("P-384"), Just("P-521"), Just("Ed25519")],
        first in prop::collection::vec(any::<u8>(), 0..300),
        second in prop::collection::vec(any::<u8>(), 0..70),
    ) {
        let (first, second) = (encode(first), encode(second));
        let odd = json!({
            "kty": kty, "crv": crv, "n": first, "e": second, "x": first, "y": second,
        });
        let keys = set([key(GOOD).jwk(), odd]);
        prop_assert_eq!(keys.len() + keys.skipped().len(), 2);
    }
}
