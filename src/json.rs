//! A strict reader of one JSON object (RFC 8259), for headers and claims of a JWT.
//!
//! General-purpose parsers let the last of two members with the same name win, and two parsers
//! then disagree about what a token says. Here a duplicate member is an error at any depth
//! (RFC 7515 §4, RFC 7519 §4), as are trailing bytes, lone surrogates, and more depth or members
//! than the limits allow. Nothing is built: the caller is shown each member of the object as a
//! slice of the input.

use std::borrow::Cow;
use std::collections::HashSet;
use std::ops::Range;

use memchr::memchr;

/// Deepest nesting of arrays and objects.
const MAX_DEPTH: usize = 16;

/// Most members and elements in all.
const MAX_ITEMS: usize = 1_000;

/// Names that are compared without a set.
const FEW: usize = 24;

/// A number of fewer characters, and without an exponent, is in the range of a double.
const SMALL_NUMBER: usize = 300;

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
    start: usize,
    end: usize,
}

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Kind {
    Array,
    Bool,
    Null,
    Number,
    Object,
    /// `escaped` where what stands between the quotes is not the string itself.
    String {
        escaped: bool,
    },
}

impl<'a> Value<'a> {
    /// A string as it stands in text that was read before, quotes included.
    pub(crate) fn of_string(text: &'a str) -> Self {
        let escaped = text.contains('\\');
        Self {
            kind: Kind::String { escaped },
            text,
            start: 0,
            end: text.len(),
        }
    }

    /// Where it stands in the text.
    pub(crate) const fn range(self) -> Range<usize> {
        self.start..self.end
    }

    /// The value as it is written.
    pub(crate) fn raw(self) -> &'a str {
        self.text.get(self.range()).unwrap_or_default()
    }

    /// Where the characters of a string stand that is written without escapes.
    pub(crate) const fn plain(self) -> Option<Range<usize>> {
        match self.kind {
            Kind::String { escaped: false } => Some(self.start + 1..self.end - 1),
            _ => None,
        }
    }

    /// The string, if it is one.
    #[inline]
    pub(crate) fn string(self) -> Option<Cow<'a, str>> {
        match self.plain() {
            Some(range) => self.text.get(range).map(Cow::Borrowed),
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
    read_object(text, &mut |name, value| {
        each(name, value);
        None
    })
}

/// Shows the members of the one object in `text` that `known` knows, in order. It must know fewer
/// than 32, and each by another number.
pub(crate) fn object_of<'a, K: Copy + Into<u8>>(
    text: &'a str,
    known: impl Fn(&str) -> Option<K>,
    mut each: impl FnMut(K, Value<'a>),
) -> Result<(), Flaw> {
    read_object(text, &mut |name, value| {
        let known = known(name)?;
        each(known, value);
        Some(known.into())
    })
}

/// `each` answers with the number of a name that it knows.
fn read_object<'a>(
    text: &'a str,
    each: &mut impl FnMut(&str, Value<'a>) -> Option<u8>,
) -> Result<(), Flaw> {
    let mut scanner = Scanner::new(text);
    scanner.space();
    scanner.members(0, each)?;
    scanner.finish()
}

/// Shows every element of the one array in `text` to `each`, in order.
pub(crate) fn array<'a>(text: &'a str, mut each: impl FnMut(Value<'a>)) -> Result<(), Flaw> {
    let mut scanner = Scanner::new(text);
    scanner.space();
    scanner.elements(0, &mut each)?;
    scanner.finish()
}

struct Scanner<'a> {
    text: &'a str,
    at: usize,
    items: usize,
    /// Whether no byte of the text could be wrong or an escape within a string, so that each ends
    /// at the next quote.
    plain: bool,
}

impl<'a> Scanner<'a> {
    fn new(text: &'a str) -> Self {
        // Without a way out of the loop it is done in vectors.
        let plain = |plain: bool, byte: u8| plain & (byte >= 0x20) & (byte != b'\\');
        Self {
            text,
            at: 0,
            items: 0,
            plain: text.bytes().fold(true, plain),
        }
    }

    fn peek(&self) -> Option<u8> {
        self.text.as_bytes().get(self.at).copied()
    }

    fn space(&mut self) {
        while let Some(b' ' | b'\t' | b'\n' | b'\r') = self.peek() {
            self.at += 1;
        }
    }

    fn expect(&mut self, byte: u8) -> Result<(), Flaw> {
        if self.peek() != Some(byte) {
            return Err(Flaw::Syntax);
        }
        self.at += 1;
        Ok(())
    }

    fn finish(mut self) -> Result<(), Flaw> {
        self.space();
        if self.at == self.text.len() {
            Ok(())
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

    fn members(
        &mut self,
        depth: usize,
        each: &mut impl FnMut(&str, Value<'a>) -> Option<u8>,
    ) -> Result<(), Flaw> {
        self.expect(b'{')?;
        self.space();
        if self.peek() == Some(b'}') {
            self.at += 1;
            return Ok(());
        }
        let mut known = 0_u32;
        let mut names = Names::new();
        loop {
            self.count()?;
            let start = self.at;
            let kind = self.string(quote_nearby)?;
            let name = self.slice(start, kind).string().ok_or(Flaw::Syntax)?;
            self.space();
            self.expect(b':')?;
            self.space();
            let start = self.at;
            let kind = self.value(depth)?;
            match each(&name, self.slice(start, kind)) {
                Some(number) => {
                    let bit = 1_u32.wrapping_shl(number.into());
                    if known & bit != 0 {
                        return Err(Flaw::Duplicate);
                    }
                    known |= bit;
                }
                None => names.add(name)?,
            }
            self.space();
            match self.peek() {
                Some(b',') => self.at += 1,
                Some(b'}') => {
                    self.at += 1;
                    return Ok(());
                }
                _ => return Err(Flaw::Syntax),
            }
            self.space();
        }
    }

    fn elements(&mut self, depth: usize, each: &mut impl FnMut(Value<'a>)) -> Result<(), Flaw> {
        self.expect(b'[')?;
        self.space();
        if self.peek() == Some(b']') {
            self.at += 1;
            return Ok(());
        }
        loop {
            self.count()?;
            let start = self.at;
            let kind = self.value(depth)?;
            each(self.slice(start, kind));
            self.space();
            match self.peek() {
                Some(b',') => self.at += 1,
                Some(b']') => {
                    self.at += 1;
                    return Ok(());
                }
                _ => return Err(Flaw::Syntax),
            }
            self.space();
        }
    }

    // What was read is in registers; a `Value` that is returned goes through memory.
    fn value(&mut self, depth: usize) -> Result<Kind, Flaw> {
        match self.peek().ok_or(Flaw::Syntax)? {
            b'"' => self.string(|rest| memchr(b'"', rest)),
            b'{' | b'[' if depth + 1 >= MAX_DEPTH => Err(Flaw::TooMuch),
            b'{' => {
                self.members(depth + 1, &mut |_, _| None)?;
                Ok(Kind::Object)
            }
            b'[' => {
                self.elements(depth + 1, &mut |_| {})?;
                Ok(Kind::Array)
            }
            b't' => self.word("true", Kind::Bool),
            b'f' => self.word("false", Kind::Bool),
            b'n' => self.word("null", Kind::Null),
            _ => self.number(),
        }
    }

    const fn slice(&self, start: usize, kind: Kind) -> Value<'a> {
        Value {
            kind,
            text: self.text,
            start,
            end: self.at,
        }
    }

    fn word(&mut self, word: &str, kind: Kind) -> Result<Kind, Flaw> {
        let rest = self.text.as_bytes().get(self.at..).unwrap_or_default();
        if !rest.starts_with(word.as_bytes()) {
            return Err(Flaw::Syntax);
        }
        self.at += word.len();
        Ok(kind)
    }

    fn digits(&mut self) -> Result<(), Flaw> {
        let start = self.at;
        while self.peek().is_some_and(|b| b.is_ascii_digit()) {
            self.at += 1;
        }
        if self.at == start {
            Err(Flaw::Syntax)
        } else {
            Ok(())
        }
    }

    fn number(&mut self) -> Result<Kind, Flaw> {
        let start = self.at;
        if self.peek() == Some(b'-') {
            self.at += 1;
        }
        if self.peek() == Some(b'0') {
            self.at += 1;
        } else {
            self.digits()?;
        }
        if self.peek() == Some(b'.') {
            self.at += 1;
            self.digits()?;
        }
        let exponent = matches!(self.peek(), Some(b'e' | b'E'));
        if exponent {
            self.at += 1;
            if let Some(b'+' | b'-') = self.peek() {
                self.at += 1;
            }
            self.digits()?;
        }
        // One that overflows a double is infinite to some parsers and an error to others. One of
        // few characters can do so only by its exponent.
        let number = self.text.get(start..self.at).unwrap_or_default();
        let small = !exponent && number.len() < SMALL_NUMBER;
        if small || number.parse().is_ok_and(f64::is_finite) {
            Ok(Kind::Number)
        } else {
            Err(Flaw::TooMuch)
        }
    }

    /// Reads a string, whose closing quote `quote` finds where there are no escapes.
    #[inline]
    fn string(&mut self, quote: impl FnOnce(&[u8]) -> Option<usize>) -> Result<Kind, Flaw> {
        self.expect(b'"')?;
        let mut escaped = false;
        if self.plain {
            let rest = self.text.as_bytes().get(self.at..).unwrap_or_default();
            self.at += quote(rest).ok_or(Flaw::Syntax)? + 1;
        } else {
            escaped = self.end_of_string()?;
        }
        Ok(Kind::String { escaped })
    }

    /// Goes past the end of a string; whether there are escapes in it.
    #[inline(never)]
    fn end_of_string(&mut self) -> Result<bool, Flaw> {
        let mut escaped = false;
        loop {
            let rest = self.text.as_bytes().get(self.at..).unwrap_or_default();
            self.at += plain_len(rest);
            match self.peek() {
                Some(b'"') => {
                    self.at += 1;
                    return Ok(escaped);
                }
                Some(b'\\') => {
                    escaped = true;
                    self.escape()?;
                }
                _ => return Err(Flaw::Syntax),
            }
        }
    }

    fn escape(&mut self) -> Result<(), Flaw> {
        self.expect(b'\\')?;
        match self.peek().ok_or(Flaw::Syntax)? {
            b'"' | b'\\' | b'/' | b'b' | b'f' | b'n' | b'r' | b't' => self.at += 1,
            b'u' => {
                self.at += 1;
                match self.hex()? {
                    0xD800..0xDC00 => {
                        self.expect(b'\\')?;
                        self.expect(b'u')?;
                        if !(0xDC00..0xE000).contains(&self.hex()?) {
                            return Err(Flaw::Syntax);
                        }
                    }
                    0xDC00..0xE000 => return Err(Flaw::Syntax),
                    _ => {}
                }
            }
            _ => return Err(Flaw::Syntax),
        }
        Ok(())
    }

    fn hex(&mut self) -> Result<u32, Flaw> {
        let digits = self.text.get(self.at..self.at + 4).ok_or(Flaw::Syntax)?;
        if !digits.bytes().all(|b| b.is_ascii_hexdigit()) {
            return Err(Flaw::Syntax);
        }
        self.at += 4;
        u32::from_str_radix(digits, 16).map_err(|_| Flaw::Syntax)
    }
}

/// How many bytes from the start stand for themselves in a string: neither a quote, nor a
/// backslash, nor a control character. Eight at a time.
fn plain_len(bytes: &[u8]) -> usize {
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

/// Where the first quote is. Most names end within a word.
fn quote_nearby(bytes: &[u8]) -> Option<usize> {
    const QUOTES: u64 = ONES * b'"' as u64;
    let word = bytes.first_chunk().copied().map_or(0, u64::from_le_bytes);
    match (word ^ QUOTES).wrapping_sub(ONES) & !word & HIGH {
        0 => memchr(b'"', bytes),
        found => Some(found.trailing_zeros() as usize / 8),
    }
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

/// The names of one object, to find a duplicate among.
struct Names<'a> {
    /// Those of the first that stand for themselves.
    few: [&'a str; FEW],
    len: usize,
    /// A bit for each look of a name; a look that is new is that of a new name.
    looks: u64,
    /// All of them, once they are more or one is written with escapes.
    many: Option<HashSet<Cow<'a, str>>>,
}

impl<'a> Names<'a> {
    const fn new() -> Self {
        Self {
            few: [""; FEW],
            len: 0,
            looks: 0,
            many: None,
        }
    }

    fn add(&mut self, name: Cow<'a, str>) -> Result<(), Flaw> {
        let known = self.few.get(..self.len).unwrap_or_default();
        let many = match (&name, &mut self.many) {
            (Cow::Borrowed(name), None) if known.len() < FEW => {
                let look = look(name);
                if self.looks & look != 0 && known.contains(name) {
                    return Err(Flaw::Duplicate);
                }
                self.looks |= look;
                if let Some(slot) = self.few.get_mut(self.len) {
                    *slot = name;
                }
                self.len += 1;
                return Ok(());
            }
            (_, many) => many,
        };
        let all = || known.iter().copied().map(Cow::Borrowed).collect();
        if many.get_or_insert_with(all).insert(name) {
            Ok(())
        } else {
            Err(Flaw::Duplicate)
        }
    }
}

/// One bit, by what is quickly seen of a name.
fn look(name: &str) -> u64 {
    let bytes = name.as_bytes();
    let byte = |byte: Option<&u8>| usize::from(byte.copied().unwrap_or(0));
    let look = bytes.len() * 5 + byte(bytes.first()) * 3 + byte(bytes.last());
    1 << (look % 64)
}

#[cfg(test)]
mod tests;
