//! Goes through a text from value to value.

use std::borrow::Cow;
use std::ops::Range;

use memchr::memchr;

use super::names::Names;
use super::{Flaw, Kind, Value, wide};

/// Deepest nesting of arrays and objects.
const MAX_DEPTH: usize = 16;

/// Most members and elements in all.
const MAX_ITEMS: usize = 1_000;

/// A number of fewer characters, and without an exponent, is in the range of a double.
const SMALL_NUMBER: usize = 300;

/// Its methods begin at a place in the text and answer with the place behind what they read, so
/// that places are in registers.
pub(super) struct Scanner<'a> {
    text: &'a str,
    items: usize,
    /// Whether no byte of the text could be wrong or an escape within a string, so that each ends
    /// at the next quote.
    plain: bool,
}

impl<'a> Scanner<'a> {
    pub(super) fn new(text: &'a str) -> Result<Self, Flaw> {
        // Else a place in it would not fit into a `Value`.
        if u32::try_from(text.len()).is_err() {
            return Err(Flaw::TooMuch);
        }
        // Without a way out of the loop it is done in vectors.
        let see =
            |(least, escapes): (u8, bool), byte: u8| (least.min(byte), escapes | (byte == b'\\'));
        let (least, escapes) = text.bytes().fold((u8::MAX, false), see);
        Ok(Self {
            text,
            items: 0,
            plain: least >= b' ' && !escapes,
        })
    }

    /// Reads one object and nothing else. `each` is shown what a name says, the name and its value,
    /// and answers with the number of a name that it knows.
    pub(super) fn object(
        mut self,
        each: &mut impl FnMut(&[u8], Value<'a>, Value<'a>) -> Option<u8>,
    ) -> Result<(), Flaw> {
        let end = match self.next(0) {
            (b'{', at) => self.members(at + 1, 0, each)?,
            _ => return Err(Flaw::Syntax),
        };
        self.finish(end)
    }

    /// Reads one array and nothing else.
    pub(super) fn array(mut self, each: &mut impl FnMut(Value<'a>)) -> Result<(), Flaw> {
        let end = match self.next(0) {
            (b'[', at) => self.elements(at + 1, 0, each)?,
            _ => return Err(Flaw::Syntax),
        };
        self.finish(end)
    }

    fn finish(self, at: usize) -> Result<(), Flaw> {
        if self.next(at).1 == self.text.len() {
            Ok(())
        } else {
            Err(Flaw::Syntax)
        }
    }

    fn byte(&self, at: usize) -> Option<u8> {
        self.text.as_bytes().get(at).copied()
    }

    /// The next byte that is not white space, and where it is. Past the end it is zero, which means
    /// nothing in this grammar.
    #[inline]
    fn next(&self, at: usize) -> (u8, usize) {
        match self.byte(at) {
            Some(byte) if byte > b' ' => (byte, at),
            _ => self.next_after_space(at),
        }
    }

    // Tokens have none as a rule.
    #[cold]
    fn next_after_space(&self, mut at: usize) -> (u8, usize) {
        while let Some(b' ' | b'\t' | b'\n' | b'\r') = self.byte(at) {
            at += 1;
        }
        (self.byte(at).unwrap_or(0), at)
    }

    /// Goes past `byte`.
    fn past(&self, at: usize, byte: u8) -> Result<usize, Flaw> {
        if self.byte(at) == Some(byte) {
            Ok(at + 1)
        } else {
            Err(Flaw::Syntax)
        }
    }

    /// Counts one member or element.
    fn count(&mut self) -> Result<(), Flaw> {
        self.items += 1;
        if self.items > MAX_ITEMS {
            Err(Flaw::TooMuch)
        } else {
            Ok(())
        }
    }

    /// Goes past the end of what began with a brace.
    fn members(
        &mut self,
        at: usize,
        depth: usize,
        each: &mut impl FnMut(&[u8], Value<'a>, Value<'a>) -> Option<u8>,
    ) -> Result<usize, Flaw> {
        let (mut first, mut at) = self.next(at);
        if first == b'}' {
            return Ok(at + 1);
        }
        let mut known = 0_u32;
        let mut names = Names::new();
        loop {
            self.count()?;
            if first != b'"' {
                return Err(Flaw::Syntax);
            }
            let end = self.string(at + 1)?;
            let name = self.string_between(at, end);
            let says = self.says(name)?;
            let (b':', colon) = self.next(end) else {
                return Err(Flaw::Syntax);
            };
            (first, at) = self.next(colon + 1);
            let (kind, end) = self.value(first, at, depth)?;
            match each(&says, name, self.between(at, end, kind)) {
                Some(number) => {
                    let bit = 1_u32.wrapping_shl(number.into());
                    if known & bit != 0 {
                        return Err(Flaw::Duplicate);
                    }
                    known |= bit;
                }
                None => names.add(says)?,
            }
            (first, at) = match self.next(end) {
                (b',', comma) => self.next(comma + 1),
                (b'}', brace) => return Ok(brace + 1),
                _ => return Err(Flaw::Syntax),
            };
        }
    }

    /// Goes past the end of what began with a bracket.
    fn elements(
        &mut self,
        at: usize,
        depth: usize,
        each: &mut impl FnMut(Value<'a>),
    ) -> Result<usize, Flaw> {
        let (mut first, mut at) = self.next(at);
        if first == b']' {
            return Ok(at + 1);
        }
        loop {
            self.count()?;
            let (kind, end) = self.value(first, at, depth)?;
            each(self.between(at, end, kind));
            (first, at) = match self.next(end) {
                (b',', comma) => self.next(comma + 1),
                (b']', bracket) => return Ok(bracket + 1),
                _ => return Err(Flaw::Syntax),
            };
        }
    }

    /// Reads a value that begins with `first`.
    // A `Value` that is returned would go through memory.
    #[inline(always)]
    fn value(&mut self, first: u8, at: usize, depth: usize) -> Result<(Kind, usize), Flaw> {
        if first != b'"' {
            return self.other(first, at, depth);
        }
        let end = self.string(at + 1)?;
        Ok((self.string_between(at, end).kind, end))
    }

    /// Any value but a string.
    #[inline(never)]
    fn other(&mut self, first: u8, at: usize, depth: usize) -> Result<(Kind, usize), Flaw> {
        Ok(match first {
            b'{' | b'[' if depth + 1 >= MAX_DEPTH => return Err(Flaw::TooMuch),
            b'{' => (
                Kind::Object,
                self.members(at + 1, depth + 1, &mut |_, _, _| None)?,
            ),
            b'[' => {
                let mut of_strings = true;
                let mut each = |element: Value<'_>| of_strings &= element.is_string();
                let end = self.elements(at + 1, depth + 1, &mut each)?;
                (Kind::Array { of_strings }, end)
            }
            b't' => (Kind::Bool, self.word(at, "true")?),
            b'f' => (Kind::Bool, self.word(at, "false")?),
            b'n' => (Kind::Null, self.word(at, "null")?),
            _ => (Kind::Number, self.number(at)?),
        })
    }

    const fn between(&self, start: usize, end: usize, kind: Kind) -> Value<'a> {
        Value {
            kind,
            text: self.text,
            start: start as u32,
            end: end as u32,
        }
    }

    fn string_between(&self, start: usize, end: usize) -> Value<'a> {
        let within = || self.rest(start).iter().take(end - start);
        let escaped = !self.plain && within().any(|byte| *byte == b'\\');
        self.between(start, end, Kind::String { escaped })
    }

    fn says(&self, name: Value<'a>) -> Result<Cow<'a, [u8]>, Flaw> {
        if let Some(range) = name.plain() {
            let says = self.text.as_bytes().get(wide(range)).ok_or(Flaw::Syntax)?;
            return Ok(Cow::Borrowed(says));
        }
        let says = name.string().ok_or(Flaw::Syntax)?;
        Ok(Cow::Owned(says.into_owned().into_bytes()))
    }

    fn rest(&self, at: usize) -> &'a [u8] {
        self.text.as_bytes().get(at..).unwrap_or_default()
    }

    fn word(&self, at: usize, word: &str) -> Result<usize, Flaw> {
        if self.rest(at).starts_with(word.as_bytes()) {
            Ok(at + word.len())
        } else {
            Err(Flaw::Syntax)
        }
    }

    fn digits(&self, at: usize) -> Result<usize, Flaw> {
        let rest = self.rest(at).iter();
        match rest.take_while(|byte| byte.is_ascii_digit()).count() {
            0 => Err(Flaw::Syntax),
            digits => Ok(at + digits),
        }
    }

    fn number(&self, start: usize) -> Result<usize, Flaw> {
        let mut at = start;
        if self.byte(at) == Some(b'-') {
            at += 1;
        }
        if self.byte(at) == Some(b'0') {
            at += 1;
        } else {
            at = self.digits(at)?;
        }
        if self.byte(at) == Some(b'.') {
            at = self.digits(at + 1)?;
        }
        let exponent = matches!(self.byte(at), Some(b'e' | b'E'));
        if exponent {
            at += 1;
            if let Some(b'+' | b'-') = self.byte(at) {
                at += 1;
            }
            at = self.digits(at)?;
        }
        // One that overflows a double is infinite to some parsers and an error to others. One of
        // few characters can do so only by its exponent.
        let small = !exponent && at - start < SMALL_NUMBER;
        if small || self.is_finite(start..at) {
            Ok(at)
        } else {
            Err(Flaw::TooMuch)
        }
    }

    #[cold]
    fn is_finite(&self, number: Range<usize>) -> bool {
        let number = self.text.get(number).unwrap_or_default();
        number.parse().is_ok_and(f64::is_finite)
    }

    /// Goes past the end of what began with a quote.
    #[inline]
    fn string(&self, at: usize) -> Result<usize, Flaw> {
        if !self.plain {
            return self.end_of_string(at);
        }
        match quote(self.rest(at)) {
            Some(len) => Ok(at + len + 1),
            None => Err(Flaw::Syntax),
        }
    }

    /// Goes past the end of a string in which there may be anything.
    #[inline(never)]
    fn end_of_string(&self, mut at: usize) -> Result<usize, Flaw> {
        loop {
            at += plain_len(self.rest(at));
            match self.byte(at) {
                Some(b'"') => return Ok(at + 1),
                Some(b'\\') => at = self.escape(at + 1)?,
                _ => return Err(Flaw::Syntax),
            }
        }
    }

    /// Goes past what follows a backslash.
    fn escape(&self, at: usize) -> Result<usize, Flaw> {
        match self.byte(at).ok_or(Flaw::Syntax)? {
            b'"' | b'\\' | b'/' | b'b' | b'f' | b'n' | b'r' | b't' => Ok(at + 1),
            b'u' => {
                let (unit, end) = self.hex(at + 1)?;
                match unit {
                    0xD800..0xDC00 => {
                        let low = self.past(self.past(end, b'\\')?, b'u')?;
                        match self.hex(low)? {
                            (0xDC00..0xE000, end) => Ok(end),
                            _ => Err(Flaw::Syntax),
                        }
                    }
                    0xDC00..0xE000 => Err(Flaw::Syntax),
                    _ => Ok(end),
                }
            }
            _ => Err(Flaw::Syntax),
        }
    }

    fn hex(&self, at: usize) -> Result<(u32, usize), Flaw> {
        let digits = self.text.get(at..at + 4).ok_or(Flaw::Syntax)?;
        if !digits.bytes().all(|b| b.is_ascii_hexdigit()) {
            return Err(Flaw::Syntax);
        }
        let unit = u32::from_str_radix(digits, 16).map_err(|_| Flaw::Syntax)?;
        Ok((unit, at + 4))
    }
}

/// How many bytes from the start stand for themselves in a string: neither a quote, nor a
/// backslash, nor a control character. Eight at a time.
pub(super) fn plain_len(bytes: &[u8]) -> usize {
    let (words, rest) = bytes.as_chunks::<8>();
    for (index, word) in words.iter().enumerate() {
        let special = special(u64::from_le_bytes(*word));
        if special != 0 {
            return index * 8 + special.trailing_zeros() as usize / 8;
        }
    }
    let plain = |byte: &&u8| !matches!(byte, 0..0x20 | b'"' | b'\\');
    words.len() * 8 + rest.iter().take_while(plain).count()
}

/// Where the first quote is. Names and most values end within a few words.
#[inline]
fn quote(bytes: &[u8]) -> Option<usize> {
    const QUOTES: u64 = ONES * b'"' as u64;
    let (words, rest) = bytes.as_chunks::<8>();
    let mut at = 0;
    for word in words {
        let word = u64::from_le_bytes(*word);
        let found = (word ^ QUOTES).wrapping_sub(ONES) & !word & HIGH;
        if found != 0 {
            return Some(at + found.trailing_zeros() as usize / 8);
        }
        at += 8;
    }
    Some(at + memchr(b'"', rest)?)
}

const ONES: u64 = u64::from_le_bytes([1; 8]);
const HIGH: u64 = ONES << 7;

/// The high bit of the lowest byte that is special, and of no byte below it.
const fn special(word: u64) -> u64 {
    let quote = (word ^ (ONES * b'"' as u64)).wrapping_sub(ONES);
    let backslash = (word ^ (ONES * b'\\' as u64)).wrapping_sub(ONES);
    let control = word.wrapping_sub(ONES * 0x20);
    // To borrow from the byte above a byte must be special itself.
    (quote | backslash | control) & !word & HIGH
}
