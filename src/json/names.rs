//! The names of one object, to find a duplicate among.

use std::borrow::Cow;
use std::collections::HashSet;

use super::Flaw;

/// Names that are compared without a set.
const FEW: usize = 24;

pub(super) struct Names<'a> {
    /// Those of the first that stand for themselves.
    few: [&'a [u8]; FEW],
    len: usize,
    /// A bit for each look of a name; a look that is new is that of a new name.
    looks: u64,
    /// All of them, once they are more or one is written with escapes.
    many: Option<HashSet<Cow<'a, [u8]>>>,
}

impl<'a> Names<'a> {
    pub(super) const fn new() -> Self {
        Self {
            few: [b""; FEW],
            len: 0,
            looks: 0,
            many: None,
        }
    }

    #[inline]
    pub(super) fn add(&mut self, name: Cow<'a, [u8]>) -> Result<(), Flaw> {
        if let Cow::Borrowed(plain) = name
            && let Some(slot) = self.few.get_mut(self.len)
            && self.many.is_none()
        {
            *slot = plain;
            let look = 1 << look(plain);
            if self.looks & look != 0 && self.is_known(plain) {
                return Err(Flaw::Duplicate);
            }
            self.looks |= look;
            self.len += 1;
            return Ok(());
        }
        self.add_to_many(name)
    }

    #[cold]
    fn is_known(&self, name: &[u8]) -> bool {
        self.few.iter().take(self.len).any(|known| *known == name)
    }

    /// To the set, which the names so far are in from now on.
    #[cold]
    fn add_to_many(&mut self, name: Cow<'a, [u8]>) -> Result<(), Flaw> {
        let known = self.few.get(..self.len).unwrap_or_default();
        let all = || known.iter().copied().map(Cow::Borrowed).collect();
        if self.many.get_or_insert_with(all).insert(name) {
            Ok(())
        } else {
            Err(Flaw::Duplicate)
        }
    }
}

/// How many looks there are.
pub(crate) const LOOKS: usize = 64;

/// What is quickly seen of a name.
pub(crate) const fn look(name: &[u8]) -> usize {
    match name {
        [first, .., last] => (name.len() + *first as usize * 3 + *last as usize * 2) % LOOKS,
        _ => 0,
    }
}
