//! The compact serialization (RFC 7515 §7.1): segments, header, signature. Strict, bounded, and
//! blind to every header member that would name a key.

use std::borrow::Cow;
use std::mem::MaybeUninit;

use base64_simd::{Out, URL_SAFE_NO_PAD};
use memchr::memchr_iter;

use super::error::VerifyError;
use crate::json::{self, Value};
use crate::jwks::{Algorithm, Key};

/// The most that a header may take, encoded, in bytes.
const MAX_HEADER: usize = 4 * 1024;

/// The longest signature there is: RSA with 8192 bits.
const MAX_SIGNATURE: usize = 1024;

/// Longest key id that is looked up, in bytes.
const MAX_KID: usize = 1024;

/// The three segments, still encoded.
pub(super) struct Segments<'a> {
    pub(super) header: &'a [u8],
    pub(super) payload: &'a [u8],
    /// Bytes that nobody can choose who cannot sign.
    pub(super) signature: &'a [u8],
    /// What is signed: header and payload with the dot between them.
    signed: &'a [u8],
}

/// What the header says that matters here.
pub(super) struct Header<'a> {
    pub(super) algorithm: Algorithm,
    pub(super) kid: Option<Cow<'a, str>>,
    pub(super) typ: Option<Cow<'a, str>>,
    cty: Option<Cow<'a, str>>,
}

/// Where a header is decoded to: on the stack, and not cleared first.
pub(super) struct Scratch([MaybeUninit<u8>; MAX_HEADER]);

impl Scratch {
    pub(super) const fn new() -> Self {
        Self([const { MaybeUninit::uninit() }; MAX_HEADER])
    }
}

impl<'a> Segments<'a> {
    pub(super) fn split(token: &'a str, max_len: usize) -> Result<Self, VerifyError> {
        const SHAPE: VerifyError = VerifyError::Malformed("not three segments");
        let token = token.as_bytes();
        if token.len() > max_len {
            return Err(VerifyError::TooLarge);
        }
        // From the front to the end, as memory is fetched.
        let mut dots = memchr_iter(b'.', token);
        let (Some(first), Some(last), None) = (dots.next(), dots.next(), dots.next()) else {
            return Err(SHAPE);
        };
        let (Some(header), Some(payload), Some(signature), Some(signed)) = (
            token.get(..first),
            token.get(first + 1..last),
            token.get(last + 1..),
            token.get(..last),
        ) else {
            return Err(SHAPE);
        };
        if header.is_empty() {
            return Err(SHAPE);
        }
        if signature.is_empty() {
            return Err(VerifyError::Malformed("no signature"));
        }
        if header.len() > MAX_HEADER {
            return Err(VerifyError::TooLarge);
        }
        Ok(Self {
            header,
            payload,
            signature,
            signed,
        })
    }

    pub(super) fn header<'b>(&self, scratch: &'b mut Scratch) -> Result<Header<'b>, VerifyError> {
        const JSON: VerifyError =
            VerifyError::Malformed("the header is not one strict JSON object");
        let decoded = URL_SAFE_NO_PAD
            .decode(self.header, Out::from_uninit_slice(&mut scratch.0))
            .map_err(|_| VerifyError::Malformed("the header is not base64url"))?;
        let text = std::str::from_utf8(decoded).map_err(|_| JSON)?;
        let mut raw = RawHeader::default();
        json::object(text, |name, value| raw.set(name, value)).map_err(|_| JSON)?;
        raw.judge()
    }

    /// Checks the signature with `key`, which must be one for `algorithm`.
    pub(super) fn verify(&self, key: &Key, algorithm: Algorithm) -> Result<(), VerifyError> {
        let key = key.verifier(algorithm).ok_or(VerifyError::Algorithm)?;
        let mut buffer = [const { MaybeUninit::uninit() }; MAX_SIGNATURE];
        if self.signature.len() > (MAX_SIGNATURE * 4).div_ceil(3) {
            return Err(VerifyError::Signature);
        }
        let signature = URL_SAFE_NO_PAD
            .decode(self.signature, Out::from_uninit_slice(&mut buffer))
            .map_err(|_| VerifyError::Malformed("the signature is not base64url"))?;
        key.verify(self.signed, signature)
            .map_err(|_| VerifyError::Signature)
    }

    /// The payload, decoded.
    pub(super) fn message(&self) -> Result<Vec<u8>, VerifyError> {
        URL_SAFE_NO_PAD
            .decode_to_vec(self.payload)
            .map_err(|_| VerifyError::Malformed("the payload is not base64url"))
    }

    /// The payload of a JWT.
    pub(super) fn claims(&self) -> Result<String, VerifyError> {
        String::from_utf8(self.message()?)
            .map_err(|_| VerifyError::Malformed("the payload is not UTF-8"))
    }
}

#[derive(Default)]
struct RawHeader<'a> {
    alg: Option<Value<'a>>,
    kid: Option<Value<'a>>,
    typ: Option<Value<'a>>,
    cty: Option<Value<'a>>,
    /// A member that changes what the rest means and that is not understood here.
    foreign: bool,
}

impl<'a> RawHeader<'a> {
    fn set(&mut self, name: &str, value: Value<'a>) {
        match name {
            "alg" => self.alg = Some(value),
            "kid" => self.kid = Some(value),
            "typ" => self.typ = Some(value),
            "cty" => self.cty = Some(value),
            // RFC 7515 §4.1.11, RFC 7797, RFC 7516 §4.1.3.
            "crit" | "b64" | "zip" => self.foreign = true,
            // `jwk`, `jku`, `x5u` and `x5c` would let the token bring its own key.
            _ => {}
        }
    }

    fn judge(self) -> Result<Header<'a>, VerifyError> {
        let text = |value: Option<Value<'a>>, problem: &'static str| match value {
            None => Ok(None),
            Some(value) => match value.string() {
                Some(text) => Ok(Some(text)),
                None => Err(VerifyError::Malformed(problem)),
            },
        };
        if self.foreign {
            return Err(VerifyError::Malformed(
                "a critical header member is not understood",
            ));
        }
        let name = text(self.alg, "alg is not a string")?;
        let name = name.ok_or(VerifyError::Malformed("the header has no alg"))?;
        let algorithm = Algorithm::from_name(&name).ok_or(VerifyError::Algorithm)?;
        let kid = text(self.kid, "kid is not a string")?;
        if kid.as_ref().is_some_and(|kid| kid.len() > MAX_KID) {
            return Err(VerifyError::TooLarge);
        }
        Ok(Header {
            algorithm,
            kid,
            typ: text(self.typ, "typ is not a string")?,
            cty: text(self.cty, "cty is not a string")?,
        })
    }
}

impl<'a> Header<'a> {
    /// One that has passed already.
    pub(super) const fn passed(algorithm: Algorithm, kid: Option<Cow<'a, str>>) -> Self {
        Self {
            algorithm,
            kid,
            typ: None,
            cty: None,
        }
    }

    /// Whether the payload is another JWT (RFC 7519 §5.2); `application/` may be left out of a
    /// media type (RFC 7515 §4.1.10).
    pub(super) fn is_nested(&self) -> bool {
        self.cty.as_ref().is_some_and(|cty| {
            ["jwt", "application/jwt"]
                .iter()
                .any(|name| cty.eq_ignore_ascii_case(name))
        })
    }
}
