//! A copy of the current header for each thread that sends it. Threads that clone one and the same
//! header meet at its reference count, and slow each other down severalfold.

use std::cell::{Ref, RefCell};
use std::fmt;
use std::sync::OnceLock;

use http::HeaderValue;
use thread_local::ThreadLocal;

use super::AccessToken;
use crate::refresh::Freshness;
use crate::refresh::handle::{Absent, Handle};

/// Credentials of one runtime that have copies; they are the few that many requests share. The
/// memory that copies take is bounded by this and the number of threads.
pub(crate) const MAX_CREDENTIALS: usize = 64;

/// Gone, and wiped, with the last handle of the credential. Takes room once somebody reads.
#[derive(Default)]
pub(super) struct Copies(OnceLock<Box<ThreadLocal<Own>>>);

/// What one thread has.
type Own = Apart<RefCell<Option<Copy>>>;

/// On cache lines of its own, since what lies next to it belongs to another thread. Two, because
/// processors fetch them in pairs.
#[derive(Default)]
#[repr(align(128))]
pub(super) struct Apart<T>(pub(super) T);

impl<T: AsRef<[u8]>> AsRef<[u8]> for Apart<T> {
    fn as_ref(&self) -> &[u8] {
        self.0.as_ref()
    }
}

struct Copy {
    /// Of the snapshot that it was made from.
    generation: u64,
    freshness: Freshness,
    authorization: HeaderValue,
}

impl Copies {
    /// This thread's copy, while it is of the current token.
    pub(super) fn current(&self, handle: &Handle<AccessToken>) -> Option<Ref<'_, HeaderValue>> {
        let Apart(own) = self.0.get()?.get()?;
        let copy = Ref::filter_map(own.borrow(), Option::as_ref).ok()?;
        let good = copy.generation == handle.generation()
            && copy.freshness.is_usable(handle.clock().coarse());
        good.then(|| Ref::map(copy, |copy| &copy.authorization))
    }

    /// The header of the current token, which this thread has a copy of from now on.
    pub(super) fn renewed(&self, handle: &Handle<AccessToken>) -> Result<HeaderValue, Absent> {
        let now = handle.clock().coarse();
        // What is published meanwhile belongs to a later generation, and is copied then.
        let generation = handle.generation();
        let Apart(own) = self.0.get_or_init(Box::default).get_or_default();
        let snapshot = handle.latest();
        let Some(token) = snapshot.usable(now) else {
            own.replace(None);
            return handle.read(|token| token.authorization());
        };
        let authorization = token.copy_authorization();
        own.replace(Some(Copy {
            generation,
            freshness: snapshot.freshness,
            authorization: authorization.clone(),
        }));
        Ok(authorization)
    }
}

impl fmt::Debug for Copies {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Copies").finish_non_exhaustive()
    }
}
