//! The text of a token in words, which are wiped in an eighth of the time that bytes take.

use std::hint::black_box;

use zeroize::Zeroizing;

pub(super) struct Words {
    len: usize,
    whole: Zeroizing<Box<[u64]>>,
    /// The bytes that do not fill a word, with zeros behind them.
    last: Zeroizing<u64>,
}

impl Words {
    pub(super) fn of(text: &str) -> Self {
        let (whole, last) = split(text);
        Self {
            len: text.len(),
            whole: Zeroizing::new(whole.iter().copied().map(u64::from_le_bytes).collect()),
            last: Zeroizing::new(last),
        }
    }

    /// Whether `text` is the same, in constant time for its length: who knows the end of a token
    /// must not find out the rest.
    pub(super) fn are(&self, text: &str) -> bool {
        let (whole, last) = split(text);
        let differences = self
            .whole
            .iter()
            .zip(whole)
            .fold(*self.last ^ last, |all, (ours, theirs)| {
                all | (ours ^ u64::from_le_bytes(*theirs))
            });
        self.len == text.len() && black_box(differences) == 0
    }
}

fn split(text: &str) -> (&[[u8; 8]], u64) {
    let (whole, rest) = text.as_bytes().as_chunks();
    let last = rest
        .iter()
        .rev()
        .fold(0, |last, byte| (last << 8) | u64::from(*byte));
    (whole, last)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn are_the_text_that_they_are_of_and_no_other() {
        let text = "0123456789abcdefghijklmnopqrstuvwxyz";
        for len in 0..=text.len() {
            let words = Words::of(&text[..len]);
            for other in 0..=text.len() {
                assert_eq!(words.are(&text[..other]), len == other, "{len} {other}");
            }
            for at in 0..len {
                let mut changed = text[..len].to_owned();
                changed.replace_range(at..=at, "!");
                assert!(!words.are(&changed), "{changed}");
            }
            assert!(!words.are(&format!("{}\0", &text[..len])));
        }
    }
}
