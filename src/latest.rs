//! Sharing what neighbours have alike.

use std::sync::{Arc, Weak};

use parking_lot::Mutex;

/// Remembers the last value that it was given, for as long as anybody holds it. A hundred thousand
/// neighbours that are registered one after the other with the same value keep it once.
pub(crate) struct Latest<T>(Mutex<Weak<T>>);

impl<T: PartialEq> Latest<T> {
    pub(crate) const fn new() -> Self {
        Self(Mutex::new(Weak::new()))
    }

    /// The last value if this is the same, else this one.
    pub(crate) fn share(&self, value: T) -> Arc<T> {
        let mut latest = self.0.lock();
        match latest.upgrade() {
            Some(same) if *same == value => same,
            _ => {
                let value = Arc::new(value);
                *latest = Arc::downgrade(&value);
                value
            }
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_is_alike_is_kept_once_and_not_for_ever() {
        let latest = Latest::new();
        let (one, same, other) = (latest.share("a"), latest.share("a"), latest.share("b"));
        assert!(Arc::ptr_eq(&one, &same) && !Arc::ptr_eq(&one, &other));
        assert_eq!((*one, *other), ("a", "b"));
        let weak = Arc::downgrade(&other);
        drop(other);
        assert!(weak.upgrade().is_none());
        assert_eq!(*latest.share("b"), "b");
    }
}
