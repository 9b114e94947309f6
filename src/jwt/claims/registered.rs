//! The registered claims of a payload, found and strictly typed.

use std::num::NonZeroU32;
use std::ops::Range;
use std::sync::Arc;

use serde::de::DeserializeOwned;

use super::claim::{Claim, Class};
use crate::json::{self, Kind, Value};
use crate::jwt::error::VerifyError;

/// The payload and where in it the claims stand.
#[derive(Default)]
pub(in crate::jwt) struct Registered {
    /// The payload, and behind it what strings that were written with escapes say.
    text: String,
    payload_len: usize,
    pub(in crate::jwt) exp: Option<f64>,
    pub(in crate::jwt) nbf: Option<f64>,
    pub(in crate::jwt) iat: Option<f64>,
    /// By [`Claim`].
    spans: [Option<Span>; Claim::TEXTS],
}

/// A slice of the text of the claims. It is small, since claims are moved about.
#[derive(Clone, Copy)]
pub(in crate::jwt) struct Span {
    start: u32,
    /// A claim never ends where the payload begins.
    end: NonZeroU32,
}

impl Span {
    fn new(range: Range<u32>) -> Option<Self> {
        Some(Self {
            start: range.start,
            end: NonZeroU32::new(range.end)?,
        })
    }

    const fn range(self) -> Range<usize> {
        self.start as usize..self.end.get() as usize
    }
}

/// Seconds since 1970 that a date may be: to the year 9999, which every platform's clock can tell.
const DATES: Range<f64> = 0.0..253_402_300_800.0;

impl Registered {
    /// Reads the claims, strictly typed, and shows each member to `note`, its name first.
    /// `groups_claim` is the claim that holds the groups.
    pub(in crate::jwt) fn read(
        payload: String,
        groups_claim: &str,
        mut note: impl FnMut(Value<'_>, Value<'_>),
    ) -> Result<Arc<Self>, VerifyError> {
        let mut found = [None; Claim::ALL.len()];
        json::object_of(
            &payload,
            |name| Claim::of(name, groups_claim),
            |name, claim, value| {
                note(name, value);
                if let Some(slot) = claim.and_then(|claim| found.get_mut(claim as usize)) {
                    *slot = Some(value.place());
                }
            },
        )
        .map_err(|_| VerifyError::Malformed("the claims are not one strict JSON object"))?;
        let mut claims = Self::default();
        let mut unescaped = String::new();
        for (claim, place) in Claim::ALL.iter().zip(&found) {
            if let Some(place) = place {
                claims
                    .set(*claim, &payload, &mut unescaped, place.of(&payload))
                    .ok_or_else(|| VerifyError::InvalidClaim(claim.name()))?;
            }
        }
        claims.payload_len = payload.len();
        claims.text = payload;
        claims.text.push_str(&unescaped);
        Ok(Arc::new(claims))
    }

    /// `None` where it is not of its type.
    fn set(
        &mut self,
        claim: Claim,
        payload: &str,
        unescaped: &mut String,
        value: Value<'_>,
    ) -> Option<()> {
        if value.kind == Kind::Null && claim.may_be_null() {
            return Some(());
        }
        let span = match claim.class() {
            Class::Text => text(payload, unescaped, value)?,
            Class::Texts => strings(value)?,
            Class::Other => Span::new(value.range())?,
            Class::Date => {
                let date = value.number().filter(|seconds| DATES.contains(seconds))?;
                let slot = match claim {
                    Claim::Expiry => &mut self.exp,
                    Claim::NotBefore => &mut self.nbf,
                    _ => &mut self.iat,
                };
                *slot = Some(date);
                return Some(());
            }
        };
        *self.spans.get_mut(claim as usize)? = Some(span);
        Some(())
    }

    fn span(&self, claim: Claim) -> Option<Span> {
        self.spans.get(claim as usize).copied().flatten()
    }

    pub(super) fn payload(&self) -> &str {
        self.text.get(..self.payload_len).unwrap_or_default()
    }

    /// A claim as it stands in the payload, a string without its quotes.
    pub(in crate::jwt) fn text(&self, claim: Claim) -> Option<&str> {
        self.text.get(self.span(claim)?.range())
    }

    /// Whether the claim of that name is there, `null` or not.
    pub(in crate::jwt) fn has(&self, name: &str) -> bool {
        match name {
            "aud" => self.span(Claim::Audience).is_some(),
            "client_id" => self.span(Claim::ClientId).is_some(),
            "exp" => self.exp.is_some(),
            "iat" => self.iat.is_some(),
            "jti" => self.span(Claim::TokenId).is_some(),
            "sub" => self.span(Claim::Subject).is_some(),
            other => self.raw(other).is_some(),
        }
    }

    pub(super) fn raw(&self, wanted: &str) -> Option<Value<'_>> {
        let mut found = None;
        let _ = json::object(self.payload(), |name, value| {
            if name == wanted {
                found = Some(value);
            }
        });
        found
    }

    /// Shows each string of a claim that is a string or an array of strings.
    fn each(&self, claim: Claim, mut each: impl FnMut(&str)) {
        let mut show = |value: Value<'_>| {
            if let Some(text) = value.string() {
                each(&text);
            }
        };
        match self.text(claim) {
            Some(raw) if raw.starts_with('"') => show(Value::of_string(raw)),
            // It was read once already, so it cannot fail.
            Some(raw) => json::array(raw, show).unwrap_or_default(),
            None => {}
        }
    }

    pub(super) fn list(&self, claim: Claim) -> Vec<String> {
        let mut list = Vec::new();
        self.each(claim, |text| list.push(text.to_owned()));
        list
    }

    /// Whether every audience is one of those, or whether any is.
    pub(in crate::jwt) fn audiences(&self, ours: impl Fn(&str) -> bool) -> Quantified {
        let mut found = Quantified {
            all: true,
            any: false,
        };
        self.each(Claim::Audience, |audience| {
            let ours = ours(audience);
            found.all &= ours;
            found.any |= ours;
        });
        found
    }

    /// Shows each scope: space-separated in a string (RFC 8693 §4.2), or one to an element.
    fn each_scope(&self, mut each: impl FnMut(&str)) {
        let claim = match self.span(Claim::Scope) {
            Some(_) => Claim::Scope,
            None => Claim::Scp,
        };
        self.each(claim, |words| {
            words
                .split(' ')
                .filter(|word| !word.is_empty())
                .for_each(&mut each);
        });
    }

    pub(super) fn scopes(&self) -> Vec<String> {
        let mut scopes = Vec::new();
        self.each_scope(|scope| scopes.push(scope.to_owned()));
        scopes
    }

    pub(in crate::jwt) fn has_scope(&self, wanted: &str) -> bool {
        let mut found = false;
        self.each_scope(|scope| found |= scope == wanted);
        found
    }

    pub(in crate::jwt) fn has_group(&self, wanted: &str) -> bool {
        let mut found = false;
        self.each(Claim::Groups, |group| found |= group == wanted);
        found
    }

    pub(super) fn deserialize<T: DeserializeOwned>(&self) -> Result<T, serde_json::Error> {
        serde_json::from_str(self.payload())
    }
}

/// How many of several: see [`Registered::audiences`].
pub(in crate::jwt) struct Quantified {
    pub(in crate::jwt) all: bool,
    pub(in crate::jwt) any: bool,
}

/// A string that the claims point to: in the payload, or behind it where it has escapes.
fn text(payload: &str, unescaped: &mut String, value: Value<'_>) -> Option<Span> {
    if let Some(range) = value.plain() {
        return Span::new(range);
    }
    let end = |unescaped: &str| u32::try_from(payload.len() + unescaped.len()).ok();
    let start = end(unescaped)?;
    unescaped.push_str(&value.string()?);
    Span::new(start..end(unescaped)?)
}

/// A string, or an array of nothing but strings.
fn strings(value: Value<'_>) -> Option<Span> {
    let good = value.is_string() || value.kind == Kind::Array { of_strings: true };
    Span::new(value.range()).filter(|_| good)
}
