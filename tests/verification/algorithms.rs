//! Signatures: every algorithm with its own key, and with nothing else.

use jsonwebtoken::EncodingKey;
use midil_auth::jwks::Algorithm;
use midil_auth::testing::{SigningKey, TestClock};
use proptest::prelude::*;
use serde_json::{Value, json};

use crate::signing::{KID, decode, encode, key};
use crate::{USUAL, builder, good, headed, minted, verdict, verifier, with_keys};

/// Two names of one operation with one key (RFC 9864 §2.2).
fn same(a: Algorithm, b: Algorithm) -> bool {
    let ed25519 = |a| matches!(a, Algorithm::EdDSA | Algorithm::Ed25519);
    a == b || ed25519(a) && ed25519(b)
}

fn header(algorithm: &str) -> Value {
    json!({"alg": algorithm, "kid": KID})
}

/// The JWK with and without its `alg`.
fn with_and_without_alg(jwk: Value) -> [Value; 2] {
    let mut free = jwk.clone();
    free.as_object_mut().expect("an object").remove("alg");
    [jwk, free]
}

/// The token with another signature.
fn resigned(token: &str, signature: &[u8]) -> String {
    let (signed, _) = token.rsplit_once('.').expect("three segments");
    format!("{signed}.{}", encode(signature))
}

fn signature(token: &str) -> Vec<u8> {
    decode(token.rsplit_once('.').expect("three segments").1)
}

#[test]
fn every_algorithm_is_taken_with_its_own_key() {
    for algorithm in Algorithm::ALL {
        let token = key(algorithm).token(&good());
        for jwk in with_and_without_alg(key(algorithm).jwk()) {
            let verifier = with_keys(builder(), [jwk]);
            assert_eq!(verdict(&verifier, &token), "accepted", "{algorithm}");
        }
    }
}

/// T3: whatever the header says of the signature that is there.
#[test]
fn a_header_that_names_another_algorithm_is_refused() {
    for signer in Algorithm::ALL {
        for jwk in with_and_without_alg(key(signer).jwk()) {
            let verifier = with_keys(builder(), [jwk]);
            for claimed in Algorithm::ALL.into_iter().filter(|a| !same(*a, signer)) {
                let token = key(signer).token_with_header(&header(claimed.as_str()), &good());
                let verdict = verdict(&verifier, &token);
                assert!(
                    ["algorithm", "signature"].contains(&verdict),
                    "{signer} as {claimed}: {verdict}"
                );
            }
        }
    }
}

/// T34
#[test]
fn a_key_for_another_algorithm_is_refused_under_the_same_kid() {
    for listed in Algorithm::ALL {
        for jwk in with_and_without_alg(key(listed).jwk()) {
            let verifier = with_keys(builder(), [jwk]);
            for signer in Algorithm::ALL.into_iter().filter(|a| *a != listed) {
                let verdict = verdict(&verifier, &key(signer).token(&good()));
                assert!(
                    ["algorithm", "signature"].contains(&verdict),
                    "{signer} with a key for {listed}: {verdict}"
                );
            }
        }
    }
}

#[test]
fn eddsa_and_ed25519_are_one() {
    let names = [Algorithm::EdDSA, Algorithm::Ed25519];
    for (listed, claimed) in names.into_iter().flat_map(|a| names.map(|b| (a, b))) {
        let token = key(listed).token_with_header(&header(claimed.as_str()), &good());
        let verifier = with_keys(builder(), [key(listed).jwk()]);
        assert_eq!(verdict(&verifier, &token), "accepted");
    }
}

#[test]
fn an_algorithm_outside_the_allow_list_is_refused() {
    let jwks = || Algorithm::ALL.map(|algorithm| key(algorithm).jwk());
    for allowed in Algorithm::ALL {
        let verifier = with_keys(builder().algorithms([allowed]).try_ambiguous_keys(), jwks());
        for signer in Algorithm::ALL {
            let expected = if signer == allowed {
                "accepted"
            } else {
                "algorithm"
            };
            let token = key(signer).token(&good());
            assert_eq!(
                verdict(&verifier, &token),
                expected,
                "{signer} of {allowed}"
            );
        }
    }
}

/// T1
#[test]
fn every_other_name_of_an_algorithm_is_refused() {
    let verifier = with_keys(builder(), [key(USUAL).jwk(), key(Algorithm::RS256).jwk()]);
    for name in [
        "none",
        "None",
        "NONE",
        "nOnE",
        "none ",
        "HS256",
        "HS384",
        "HS512",
        "hs256",
        "eddsa",
        "EDDSA",
        "EdDSA ",
        " EdDSA",
        "EdDSA\0",
        "ed25519",
        "Ed448",
        "rs256",
        "Rs256",
        "ES256K",
        "ML-DSA-44",
        "",
        "dir",
        "RSA-OAEP",
        "RSA1_5",
        "PBES2-HS256+A128KW",
        "ＥdDSA",
    ] {
        assert_eq!(
            verdict(&verifier, &headed("alg", name)),
            "algorithm",
            "{name}"
        );
        let unsigned = format!(
            "{}.{}.",
            encode(header(name).to_string()),
            encode(good().to_string())
        );
        assert_eq!(verdict(&verifier, &unsigned), "malformed", "{name}");
        assert_eq!(
            verdict(&verifier, &format!("{unsigned}AA")),
            "algorithm",
            "{name}"
        );
    }
    for value in [
        json!(null),
        json!(5),
        json!(["EdDSA"]),
        json!({}),
        json!(true),
    ] {
        assert_eq!(verdict(&verifier, &headed("alg", value)), "malformed");
    }
    let none = key(USUAL).token_with_header(&json!({"kid": KID}), &good());
    assert_eq!(verdict(&verifier, &none), "malformed");
}

/// T2: what is public is no secret, in no spelling.
#[test]
fn hmac_with_the_public_key_as_its_secret_is_refused() {
    for algorithm in [Algorithm::RS256, Algorithm::ES256, Algorithm::EdDSA] {
        let jwk = key(algorithm).jwk();
        let material = ["n", "x"].map(|member| jwk[member].as_str().unwrap_or_default());
        let material = material.concat();
        let der = [
            b"\x30\x2a\x30\x05\x06\x03\x2b\x65\x70\x03\x21\x00",
            &*decode(&material),
        ]
        .concat();
        let pem = format!(
            "-----BEGIN PUBLIC KEY-----\n{}\n-----END PUBLIC KEY-----\n",
            base64_simd::STANDARD.encode_to_string(&der)
        );
        for secret in [
            jwk.to_string().into_bytes(),
            format!(" \n{jwk}").into_bytes(),
            format!("\n{pem}").into_bytes(),
            pem.into_bytes(),
            decode(&material),
            material.into_bytes(),
            der,
            Vec::new(),
        ] {
            for jwk in with_and_without_alg(jwk.clone()) {
                let verifier = with_keys(builder(), [jwk]);
                for hmac in [
                    jsonwebtoken::Algorithm::HS256,
                    jsonwebtoken::Algorithm::HS384,
                    jsonwebtoken::Algorithm::HS512,
                ] {
                    let mut header = jsonwebtoken::Header::new(hmac);
                    header.kid = Some(KID.to_owned());
                    let secret = EncodingKey::from_secret(&secret);
                    let token = jsonwebtoken::encode(&header, &good(), &secret).expect("an HMAC");
                    assert_eq!(verdict(&verifier, &token), "algorithm");
                }
            }
        }
    }
}

/// T4
#[test]
fn a_key_that_is_not_for_signatures_verifies_none() {
    let encryption = SigningKey::generate(Algorithm::ES256, "enc");
    let mut jwk = encryption.jwk();
    jwk["use"] = "enc".into();
    let secret = [7; 64];
    let symmetric = json!({"kty": "oct", "kid": "oct", "alg": "HS256", "k": encode(secret)});
    let verifier = with_keys(builder(), [jwk, symmetric, key(USUAL).jwk()]);
    assert_eq!(
        verdict(&verifier, &encryption.token(&good())),
        "unknown_key"
    );
    let mut header = jsonwebtoken::Header::new(jsonwebtoken::Algorithm::HS256);
    header.kid = Some("oct".to_owned());
    let token = jsonwebtoken::encode(&header, &good(), &EncodingKey::from_secret(&secret));
    assert_eq!(verdict(&verifier, &token.expect("an HMAC")), "algorithm");
}

/// The order of the group, big-endian.
fn order(algorithm: Algorithm) -> Vec<u8> {
    let hex = match algorithm {
        Algorithm::ES256 => {
            "ffffffff00000000ffffffffffffffffbce6faada7179e84f3b9cac2fc632551".to_owned()
        }
        Algorithm::ES384 => format!(
            "{}c7634d81f4372ddf581a0db248b0a77aecec196accc52973",
            "f".repeat(48)
        ),
        _ => format!(
            "01{}fa51868783bf2f966b7fcc0148f709a5d03bb5c9b8899c47aebb6fb71e91386409",
            "f".repeat(64)
        ),
    };
    let digits = hex.as_bytes().chunks(2);
    let byte = |pair| u8::from_str_radix(std::str::from_utf8(pair).expect("hex"), 16);
    digits.map(|pair| byte(pair).expect("hex")).collect()
}

/// `a - b`, big-endian, for `a >= b` of one length.
fn minus(a: &[u8], b: &[u8]) -> Vec<u8> {
    let mut borrow = 0;
    let mut digits: Vec<u8> = a
        .iter()
        .zip(b)
        .rev()
        .map(|(a, b)| {
            let digit = i16::from(*a) - i16::from(*b) - borrow;
            borrow = i16::from(digit < 0);
            digit.rem_euclid(256) as u8
        })
        .collect();
    digits.reverse();
    digits
}

/// ASN.1 DER of a signature whose halves may have their top bit set.
fn der(r: &[u8], s: &[u8]) -> Vec<u8> {
    let integer = |number: &[u8]| {
        let zeros = number.iter().take_while(|byte| **byte == 0).count();
        let mut body = number[zeros..].to_vec();
        if body.first().is_none_or(|top| *top >= 0x80) {
            body.insert(0, 0);
        }
        [&[2, body.len() as u8][..], &body].concat()
    };
    let body = [integer(r), integer(s)].concat();
    let len = match body.len() {
        len @ ..0x80 => vec![len as u8],
        len => vec![0x81, len as u8],
    };
    [&[0x30][..], &len, &body].concat()
}

/// T5, CVE-2022-21449
#[test]
fn ecdsa_signatures_out_of_range_or_in_another_form_are_refused() {
    for algorithm in [Algorithm::ES256, Algorithm::ES384, Algorithm::ES512] {
        let verifier = with_keys(builder(), [key(algorithm).jwk()]);
        let token = key(algorithm).token(&good());
        let good = signature(&token);
        let (r, s) = good.split_at(good.len() / 2);
        let n = order(algorithm);
        assert_eq!(n.len(), r.len());
        let zero = vec![0; n.len()];
        let mut one = zero.clone();
        one[n.len() - 1] = 1;
        let all = vec![0xff; n.len()];
        let mut forged = Vec::new();
        for edge in [&zero, &one, &n, &all] {
            forged.push([&edge[..], s].concat());
            forged.push([r, edge].concat());
            forged.extend([&zero, &one, &n, &all].map(|other| [&edge[..], other].concat()));
        }
        forged.extend([
            der(r, s),
            r.to_vec(),
            [s, r].concat(),
            [&good[..], &[0]].concat(),
            [&[0], &good[..]].concat(),
            [&[0], r, &[0], s].concat(),
            [&good[..], &good].concat(),
            good[..good.len() - 1].to_vec(),
            good[1..].to_vec(),
            vec![0],
        ]);
        for forged in forged {
            let token = resigned(&token, &forged);
            assert_eq!(
                verdict(&verifier, &token),
                "signature",
                "{algorithm} {forged:?}"
            );
        }
    }
}

/// Legal in ECDSA; nothing here may depend on a token having one spelling only.
#[test]
fn the_other_ecdsa_signature_of_the_same_token_is_taken() {
    for algorithm in [Algorithm::ES256, Algorithm::ES384, Algorithm::ES512] {
        let token = key(algorithm).token(&good());
        let good = signature(&token);
        let (r, s) = good.split_at(good.len() / 2);
        let token = resigned(&token, &[r, &minus(&order(algorithm), s)].concat());
        let verifier = with_keys(builder(), [key(algorithm).jwk()]);
        assert_eq!(verdict(&verifier, &token), "accepted", "{algorithm}");
    }
}

/// RFC 8032 §5.1.7: `S` is below the order of the group.
#[test]
fn an_ed25519_signature_with_the_order_added_is_refused() {
    const ORDER: [u8; 16] = [
        0xed, 0xd3, 0xf5, 0x5c, 0x1a, 0x63, 0x12, 0x58, 0xd6, 0x9c, 0xf7, 0xa2, 0xde, 0xf9, 0xde,
        0x14,
    ];
    let token = minted(&good());
    let mut signature = signature(&token);
    let order = ORDER.into_iter().chain([0; 15]).chain([0x10]);
    let mut carry = 0;
    for (digit, add) in signature[32..].iter_mut().zip(order) {
        let sum = u16::from(*digit) + u16::from(add) + carry;
        *digit = sum as u8;
        carry = sum >> 8;
    }
    assert_eq!(carry, 0);
    let forged = resigned(&token, &signature);
    assert_eq!(verdict(&verifier(builder()), &forged), "signature");
}

#[test]
fn signatures_of_the_wrong_size_or_of_nothing_are_refused() {
    for algorithm in Algorithm::ALL {
        let verifier = with_keys(builder(), [key(algorithm).jwk()]);
        let token = key(algorithm).token(&good());
        let good = signature(&token);
        for forged in [
            vec![0; good.len()],
            vec![0xff; good.len()],
            [&[0], &good[..]].concat(),
            [&good[..], &[0]].concat(),
            good[..good.len() - 1].to_vec(),
            good[..1].to_vec(),
            vec![0; 1023],
            vec![0; 1024],
            vec![0; 1025],
            vec![0; 2048],
        ] {
            let token = resigned(&token, &forged);
            assert_eq!(verdict(&verifier, &token), "signature", "{algorithm}");
        }
        assert_eq!(verdict(&verifier, &resigned(&token, &[])), "malformed");
    }
}

#[test]
fn a_stranger_under_the_same_kid_is_refused() {
    for algorithm in Algorithm::ALL {
        let stranger = SigningKey::generate(algorithm, KID);
        let verifier = with_keys(builder(), [key(algorithm).jwk()]);
        assert_eq!(verdict(&verifier, &stranger.token(&good())), "signature");
        let other = SigningKey::generate(algorithm, "other");
        assert_eq!(verdict(&verifier, &other.token(&good())), "unknown_key");
    }
}

/// T6, CVE-2018-0114
#[test]
fn a_key_that_the_token_brings_along_is_not_used() {
    let attacker = SigningKey::generate(USUAL, "attacker");
    let verifier = verifier(builder());
    for (member, value) in [
        ("jwk", attacker.jwk()),
        ("jku", json!("https://attacker.example/jwks.json")),
        ("x5u", json!("https://attacker.example/cert.pem")),
        ("x5c", json!([encode("certificate")])),
        ("x5t", json!("AAAA")),
        ("x5t#S256", json!("AAAA")),
    ] {
        for (kid, expected) in [
            (Some(KID), "signature"),
            (Some("attacker"), "unknown_key"),
            (None, "signature"),
        ] {
            let mut header = json!({"alg": USUAL.as_str(), member: value});
            if let Some(kid) = kid {
                header["kid"] = kid.into();
            }
            let token = attacker.token_with_header(&header, &good());
            assert_eq!(verdict(&verifier, &token), expected, "{member} {kid:?}");
        }
        // Beside the issuer's own signature they mean nothing.
        assert_eq!(
            verdict(&verifier, &headed(member, value)),
            "accepted",
            "{member}"
        );
    }
}

const LARGE_MODULUS: &str = "\
    lVOvLZMbS-qQqW8eH6z4zZcaRdsBCx83fqls2klOSjOoLSIAaNyFzBcDjXgFWFybR4miWSFYB0R8muww0zroUYbcBF_wMr\
    sJoGF8wcbbxj6zn6QhFUnDPZMezeP4SgCLvlgBKND8QQe8hmpERfUe7aDUSwiX4l2VykhyEDNeY8jIR04HLgfU5D8-hHVy\
    0fn3sfqhU6lDS7sXxnCnc-dyZwr4DoX4NlMb6d3njfeMH7FCdXneZS77LUmsgQ4S_w-u-xMMIlOeeYgZ0rVq1k1l7RAUnC\
    h2aRYAEx32_fE9YYWnXlcegAgUZAA9gAi8IpPuZaASwyVBQGFj_eKxzozdkLAJePK0lfHHF-kAS5ZOjrw01bQr28BiXeKM\
    xcKhnylSyrOG9T5ZaP2ttS36UJsfDTulkj7H8dJqSVMqMM6rgZOXil1H3B69aTtTnvssUNgFrm3XZb8NsjKv8tnQsF80cW\
    g2gVEHDdL_ZTlmNpbwkYvkYpKVlHA1dkI1D-x_0J8UtLabxejRZLbwGzy5FxK6MfyiBGQGcWNjBgKPdV8rrOjViyGGJL7W\
    FdWvPeeLaTinhebED0PvcG7e-mm83tD90uxShYjP00cuPldoI-nu9oOc6IR4rxKrZRQV5dBEOc3H2K_UgJlFFqq9Zbeaso\
    qohAU6Cti5g_O7Qd-lsAiB3eYayvjdVUa_zx1P-8Z4kKsJ79XovBp5uLxz18ntZTGt5AJG72989Gtch-LsqVRZ-vpTC-aW\
    FHo0r24R_hMjUybA3wG36lm1C-OxPLcHNcbBk59uNmQCjh-CLFIcqRMPTFQdGNytZPUIiHP9Olc9j7ja_lQyrI5c-p0LiC\
    G6Fd5y0ANRYraO-QTb-0an8xgujXd0BI8L08lr89d_09MmxJ8hvVYk0l5ZxPce4K6dr_AwDCYeyXGT5alVvJoSccgHuJEt\
    kLJwYebzTTx4h3S2qjbOVT4QZ2u4OCkbBcToB4wT1UdaHix23jOCUpQATs88sEvUog-nYZltbcnofD_j4Xxux--d3giJlM\
    kA9532uSRm25dQOoYIZIDwycxTGEx7LShMPbMGmzeUfLpA2V3HEmvYLdMN-XKC487JtLOaQZd60ioCXX1WVCVWtZ94-xHx\
    jG43EoXG-HTXxhTe1ehkXKi0PjzETglLEpty5xe7Qlxx66OsKZJppuMeSjCnC3kBThvKOReBoCtlxda4_D8av9p2BybuZ5\
    1F8omTJOd3tmaLpaPH8QzLPwbUvh_1xCwf0gcPFkmRtbR_Fu8Pz9liX-JDux1Jlr1bH0UfBheF7GJMwDG274kg3ymEwCGd\
    VR62O6drlDqDRpIODxbPksQvIYFNkRIM2b1Z_JmO38Ic5g7PZw";

const LARGE_SIGNATURE: &str = "\
    hEHw8nDlkxERjc2phwy2Apwg7foQy4pZIG5nGgiKAJSB4cmpZn-3h5s-2IJXvvwrUCC8oMxQ_021xDplA9kT6Lze-NA3-4\
    WvOs2iCvx1u1wygRbmpY3kKwt-aNzdNs2zySx8ma6cZLnAacYbtJvJ7dAlYmhjt3YdVA5ao9dUDjDpnxPiVdvljYqIbr3R\
    J2UVw2uoLWnZT8iop5g1zRvE6Q1tp4K_NLhBlfOM52UNpWJLgoUFLq1MrQ84KpKO_fIO8VfmB2ARZjqiXvl9yD_NPqFEwR\
    b9o5MdgURRCTgScNVvvEq7a63K55CYbuTyFhlXF1WjmBC1-z4PH2EDSqI-Nt_WrmQzbGz19fxomkOBvUVDJBONPn3f4Csx\
    iG6UP0L9Hd1XjaBNToEYcItR2gWe7yqDVhBZ0PxnAX_hEHWDxHVTZ3Qroru5OrgC6O7qnbLaF7IXWf3WLiffNEvSUiB9B0\
    hKZbe4Nd-e4I0iEqLO7XDVvUNwtqikkh8srqStOIKr8ewIrEI0b8wmdG8wW-MCAZg0Pg1UVwgWilic--xaQoMLQepp75Cj\
    EJH0cKOfIV56jEXOuXOyhuCKzPWy-ywdL4Pqk7rjq6nzEa18DBIU2jDYiBUV5jzRCAtvlsj4iNjGDH00obgO5DvI5EmkxD\
    adyyqyFTNxVZ3RRe0OWQHieeatJEy7vHwm2PBg6nlFvm4Bl7eeMID1gwRv9lfEQTA_u5GoWuBaGCsA2JwuqiBXZ-BcKbxy\
    XPPpyFU7PD-Ykee8QGIvgas7E9s4ITBWfiM4OLZ7XTBJDrPZSe8fwOSoTD3zHJpufWLQBVcjDDahTmZwaIjGjeLGTUvPKU\
    b-y0FT8NIZ1fTss7QzxCG2r2SCpTrJNlU-L-fOQKov1OKR0xSYvbWzqjlZc8TI4ZbYq-Wqhgvon7JmEhLipEck4VQytGYI\
    QzyQdHaMGZFM1UtATehJW9ZNlnaVzRBj491s8C3Ip58AIQVyxbVrUMp1GLR_NUa2sWtOngLKHFEll1OKDM8eeBJU6mji2x\
    eX6SrQGsqzf0ihspaZb99bQyf0MOpvKrwrVbosFqpoko_awSSuxrh-AzALC9RAPxchnQ3wR48Y713sHEH9wo8uLcjsyfj_\
    y6Ddm2EqlSiVp8qnwy8_oQhOiHxJAIm4XAyyUOv12z6l38c3hk6bl2OolsPBI8vjFu_f_16sEErT1tEFMpSgwBAUqmJMpW\
    KEU0_ln77_2D36t6LhoJM24J7TniT1kuXxkssdLdpvaJQ5t-CWb034KGlXm1o9w8ik4_j4m0X12YniqV6Fq8Ruys9dwtfe\
    uD-VjS2zVY6zsG44E_k3ZgYb-AzcTAUXHv4dIo8MIKI5dXOrhg";

/// The largest key that is taken; making one takes too long for a test.
#[test]
fn an_rsa_key_of_8192_bits_verifies() {
    let jwk = json!({"kty": "RSA", "kid": "big", "alg": "RS256", "n": LARGE_MODULUS, "e": "AQAB"});
    let header = r#"{"alg":"RS256","kid":"big"}"#;
    let claims = r#"{"iss":"https://idp.example.com","aud":"https://api.example.com","sub":"ada","exp":1800003600}"#;
    let token = format!("{}.{}.{LARGE_SIGNATURE}", encode(header), encode(claims));
    let clock = TestClock::fixed(1_800_000_000).clock();
    let verifier = builder()
        .fixed_with_clock(crate::set([jwk]), clock)
        .expect("a verifier");
    assert_eq!(verdict(&verifier, &token), "accepted");
    let longer = resigned(&token, &[&[0], &*signature(&token)].concat());
    assert_eq!(verdict(&verifier, &longer), "signature");
}

fn some_algorithm() -> impl Strategy<Value = Algorithm> {
    prop_oneof![
        Just(Algorithm::EdDSA),
        Just(Algorithm::ES256),
        Just(Algorithm::ES512),
        Just(Algorithm::RS256),
        Just(Algorithm::PS256),
    ]
}

proptest! {
    #[test]
    fn a_flipped_bit_of_the_signature_is_refused(
        algorithm in some_algorithm(),
        at in any::<prop::sample::Index>(),
        bit in 0..8_u32,
    ) {
        let token = key(algorithm).token(&good());
        let mut signature = signature(&token);
        let at = at.index(signature.len());
        signature[at] ^= 1 << bit;
        let verifier = with_keys(builder(), [key(algorithm).jwk()]);
        prop_assert_eq!(verdict(&verifier, &resigned(&token, &signature)), "signature");
    }

    #[test]
    fn a_flipped_bit_of_the_payload_is_refused(
        algorithm in some_algorithm(),
        at in any::<prop::sample::Index>(),
        bit in 0..8_u32,
    ) {
        let token = key(algorithm).token(&good());
        let mut segments: Vec<&str> = token.split('.').collect();
        let mut payload = decode(segments[1]);
        let at = at.index(payload.len());
        payload[at] ^= 1 << bit;
        let payload = encode(payload);
        segments[1] = &payload;
        let verifier = with_keys(builder(), [key(algorithm).jwk()]);
        prop_assert_eq!(verdict(&verifier, &segments.join(".")), "signature");
    }

    #[test]
    fn a_token_with_another_character_anywhere_is_refused(
        algorithm in some_algorithm(),
        at in any::<prop::sample::Index>(),
        character in "[A-Za-z0-9_.=+/ -]",
    ) {
        let token = key(algorithm).token(&good());
        let at = at.index(token.len());
        let mut other = token.clone();
        other.replace_range(at..=at, &character);
        let verifier = with_keys(builder(), [key(algorithm).jwk()]);
        if other != token {
            prop_assert_ne!(verdict(&verifier, &other), "accepted");
        }
    }
}
