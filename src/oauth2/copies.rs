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

/// How often a thread reads a token before it has a copy of it: to make one, and to wipe it, takes
/// as long as so many clones of what all share.
const READS: u32 = 16;

/// What one thread has.
type Own = Apart<RefCell<Reader>>;

#[derive(Default)]
struct Reader {
    /// The snapshot that it read last, and how often.
    generation: u64,
    reads: u32,
    copy: Option<Copy>,
}

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
    freshness: Freshness,
    authorization: HeaderValue,
}

impl Reader {
    fn current(&self, handle: &Handle<AccessToken>) -> Option<&HeaderValue> {
        let copy = self.copy.as_ref()?;
        let good = self.generation == handle.generation()
            && copy.freshness.is_usable(handle.clock().coarse());
        good.then_some(&copy.authorization)
    }
}

impl Copies {
    /// This thread's copy, while it is of the current token.
    pub(super) fn current(&self, handle: &Handle<AccessToken>) -> Option<Ref<'_, HeaderValue>> {
        let Apart(own) = self.0.get()?.get()?;
        Ref::filter_map(own.borrow(), |own| own.current(handle)).ok()
    }

    /// The header of the current token, which this thread has a copy of once it has read it
    /// [`READS`] times.
    pub(super) fn renewed(&self, handle: &Handle<AccessToken>) -> Result<HeaderValue, Absent> {
        // What is published meanwhile belongs to a later generation, and is copied then.
        let generation = handle.generation();
        let Apart(own) = self.0.get_or_init(Box::default).get_or_default();
        let mut own = own.borrow_mut();
        if own.generation != generation {
            *own = Reader {
                generation,
                ..Reader::default()
            };
        }
        own.reads = own.reads.saturating_add(1);
        if own.reads >= READS {
            let snapshot = handle.latest();
            let token = snapshot.usable(handle.clock().coarse());
            own.copy = token.map(|token| Copy {
                freshness: snapshot.freshness,
                authorization: token.copy_authorization(),
            });
            if let Some(copy) = &own.copy {
                return Ok(copy.authorization.clone());
            }
        }
        handle.read(|token| token.authorization())
    }
}

impl fmt::Debug for Copies {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Copies").finish_non_exhaustive()
    }
}
