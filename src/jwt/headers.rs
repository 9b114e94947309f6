//! The headers of tokens that were verified lately, so that none is read twice: the tokens of one
//! key have the same header, byte for byte.
//!
//! Only headers of verified tokens get in. To be the same bytes is to mean the same, so what a
//! header was found to say, and that it passed, need not be found again; which key it names is
//! looked up in the set at hand every time.

use std::borrow::Cow;
use std::sync::Arc;

use arc_swap::{ArcSwapOption, Guard};

use super::compact::{Header, Segments};
use crate::jwks::Algorithm;

/// Headers that are remembered: about as many as an issuer has keys in use.
const PLACES: usize = 8;

pub(super) struct Headers([ArcSwapOption<Known>; PLACES]);

struct Known {
    encoded: Box<[u8]>,
    algorithm: Algorithm,
    kid: Option<Box<str>>,
}

impl Headers {
    pub(super) fn new() -> Self {
        Self([const { ArcSwapOption::const_empty() }; PLACES])
    }

    fn place(&self, encoded: &[u8]) -> Option<&ArcSwapOption<Known>> {
        // Key ids differ anywhere; a collision costs no more than reading.
        let mix = |sum: usize, byte: &u8| sum.wrapping_mul(31).wrapping_add(usize::from(*byte));
        let spread = encoded.iter().rev().step_by(5).take(12).fold(0, mix);
        self.0.get(spread % PLACES)
    }

    pub(super) fn find(&self, segments: &Segments<'_>) -> Option<Familiar> {
        let known = self.place(segments.header)?.load();
        let same = known
            .as_ref()
            .is_some_and(|known| *known.encoded == *segments.header);
        same.then_some(Familiar(known))
    }

    /// Remembers the header of a token that was verified.
    #[cold]
    pub(super) fn learn(&self, segments: &Segments<'_>, header: &Header<'_>) {
        if let Some(place) = self.place(segments.header) {
            place.store(Some(Arc::new(Known {
                encoded: segments.header.into(),
                algorithm: header.algorithm,
                kid: header.kid.as_deref().map(Into::into),
            })));
        }
    }
}

/// A header that was read before. Not to be held across an `.await`.
pub(super) struct Familiar(Guard<Option<Arc<Known>>>);

impl Familiar {
    /// What of the header still matters once it has passed.
    pub(super) fn header(&self) -> Option<Header<'_>> {
        let known = self.0.as_ref()?;
        let kid = known.kid.as_deref().map(Cow::Borrowed);
        Some(Header::passed(known.algorithm, kid))
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::jwt::compact::Scratch;

    #[test]
    fn a_header_is_familiar_by_all_of_its_bytes() {
        let token = |kid: &str| {
            let header = format!(r#"{{"alg":"ES256","kid":"{kid}"}}"#);
            let header = base64_simd::URL_SAFE_NO_PAD.encode_to_string(header);
            format!("{header}.e30.c2lnbmVk")
        };
        let headers = Headers::new();
        for kid in ["a-long-key-id-number-1", "a-long-key-id-number-2", "1"] {
            let token = token(kid);
            let segments = Segments::split(&token, 1_000).expect("a token");
            assert!(headers.find(&segments).is_none());
            let mut scratch = Scratch::new();
            let header = segments.header(&mut scratch).expect("a header");
            headers.learn(&segments, &header);
            let familiar = headers.find(&segments).expect("learnt");
            let again = familiar.header().expect("there");
            assert_eq!(again.algorithm, header.algorithm);
            assert_eq!(
                (again.kid.as_deref(), header.kid.as_deref()),
                (Some(kid), Some(kid))
            );
        }
    }
}
