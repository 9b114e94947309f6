//! A strict reader of one JSON object (RFC 8259), for headers and claims of a JWT.
//!
//! General-purpose parsers let the last of two members with the same name win, and two parsers
//! then disagree about what a token says. Here a duplicate member is an error at any depth
//! (RFC 7515 §4, RFC 7519 §4), as are trailing bytes, lone surrogates, and more depth or members
//! than the limits allow. Nothing is built: the caller is shown each member of the object as a
//! slice of the input.

mod names;
mod scanner;
#[cfg(test)]
pub(crate) mod tests;

use std::borrow::Cow;
use std::ops::Range;

pub(crate) use names::{LOOKS, look};
use scanner::Scanner;

/// What is wrong with the text.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Flaw {
    Duplicate,
    Syntax,
    TooMuch,
}

/// A value, as it stands in the text.
#[derive(Clone, Copy, Debug, PartialEq)]
pub(crate) struct Value<'a> {
    pub(crate) kind: Kind,
    text: &'a str,
    start: u32,
    end: u32,
}

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Kind {
    // First, so that a list of nothing is made of zeros.
    Null,
    /// `of_strings` where it holds nothing else.
    Array {
        of_strings: bool,
    },
    Bool,
    Number,
    Object,
    /// `escaped` where what stands between the quotes is not the string itself.
    String {
        escaped: bool,
    },
}

/// Where in its text a value stands.
#[derive(Clone, Copy)]
pub(crate) struct Place {
    kind: Kind,
    start: u32,
    end: u32,
}

impl Place {
    /// Nowhere.
    pub(crate) const NONE: Self = Self {
        kind: Kind::Null,
        start: 0,
        end: 0,
    };

    /// The value that stands there in `text`.
    pub(crate) const fn of(self, text: &str) -> Value<'_> {
        Value {
            kind: self.kind,
            text,
            start: self.start,
            end: self.end,
        }
    }
}

impl<'a> Value<'a> {
    /// A string as it stands in text that was read before, quotes included.
    pub(crate) fn of_string(text: &'a str) -> Self {
        let escaped = text.contains('\\');
        Self {
            kind: Kind::String { escaped },
            text,
            start: 0,
            // It stood in a text that is not too long.
            end: u32::try_from(text.len()).unwrap_or_default(),
        }
    }

    /// Where it stands in the text.
    pub(crate) const fn place(self) -> Place {
        Place {
            kind: self.kind,
            start: self.start,
            end: self.end,
        }
    }

    /// The same, from where to where.
    pub(crate) const fn range(self) -> Range<u32> {
        self.start..self.end
    }

    /// The value as it is written.
    pub(crate) fn raw(self) -> &'a str {
        self.text.get(wide(self.range())).unwrap_or_default()
    }

    /// Where the characters of a string stand that is written without escapes.
    pub(crate) const fn plain(self) -> Option<Range<u32>> {
        match self.kind {
            Kind::String { escaped: false } => Some(self.start + 1..self.end - 1),
            _ => None,
        }
    }

    /// The string, if it is one that is written without escapes.
    pub(crate) fn plain_text(self) -> Option<&'a str> {
        self.text.get(wide(self.plain()?))
    }

    pub(crate) const fn is_string(self) -> bool {
        matches!(self.kind, Kind::String { .. })
    }

    /// The string, if it is one.
    #[inline]
    pub(crate) fn string(self) -> Option<Cow<'a, str>> {
        match self.plain_text() {
            Some(plain) => Some(Cow::Borrowed(plain)),
            None => self.unescaped().map(Cow::Owned),
        }
    }

    #[inline(never)]
    fn unescaped(self) -> Option<String> {
        let escaped = self.kind == (Kind::String { escaped: true });
        escaped.then(|| serde_json::from_str(self.raw()).ok())?
    }

    /// The number, if it is one.
    pub(crate) fn number(self) -> Option<f64> {
        if self.kind != Kind::Number {
            return None;
        }
        let raw = self.raw();
        // A date is a whole number as a rule, and those are read faster.
        whole(raw).or_else(|| raw.parse().ok())
    }
}

const fn wide(range: Range<u32>) -> Range<usize> {
    range.start as usize..range.end as usize
}

/// A number of so few digits that every one of them is a double.
fn whole(digits: &str) -> Option<f64> {
    if digits.len() > 15 {
        return None;
    }
    let digit = |number: u64, byte: u8| {
        byte.is_ascii_digit()
            .then(|| number * 10 + u64::from(byte - b'0'))
    };
    let number = digits.bytes().try_fold(0, digit)?;
    Some(number as f64)
}

/// Shows every member of the one object in `text` to `each`, in order.
pub(crate) fn object<'a>(text: &'a str, mut each: impl FnMut(&str, Value<'a>)) -> Result<(), Flaw> {
    Scanner::new(text)?.object(&mut |_, name, value| {
        each(&name.string().unwrap_or_default(), value);
        None
    })
}

/// As [`object`], but shows a name as it is written, and says what `known` knows about it. That
/// must be less than 32 names, each by another number.
pub(crate) fn object_of<'a, K: Copy + Into<u8>>(
    text: &'a str,
    known: impl Fn(&[u8]) -> Option<K>,
    mut each: impl FnMut(Value<'a>, Option<K>, Value<'a>),
) -> Result<(), Flaw> {
    Scanner::new(text)?.object(&mut |says, name, value| {
        let known = known(says);
        each(name, known, value);
        known.map(K::into)
    })
}

/// Shows every element of the one array in `text` to `each`, in order.
pub(crate) fn array<'a>(text: &'a str, mut each: impl FnMut(Value<'a>)) -> Result<(), Flaw> {
    Scanner::new(text)?.array(&mut each)
}
