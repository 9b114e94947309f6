//! A token handle with nobody behind it.

use std::fmt;
use std::sync::Arc;

use super::{SourceFn, TestClock};
use crate::clock::Clock;
use crate::fault::FetchError;
use crate::oauth2::{AccessToken, LifetimePolicy, TokenHandle};
use crate::refresh::address::{Address, Entry, Registration};
use crate::refresh::handle::Handle;
use crate::refresh::{RefreshPolicy, Start};

/// An access token that a test replaces by hand, behind a real [`TokenHandle`]: no issuer, no
/// runtime, no refresh.
///
/// It is judged as any other and expires. [`TokenHandle::renew`] and a
/// [`ready`](TokenHandle::ready) that finds none wait for the next [`set`](Self::set).
///
/// ```
/// use std::time::Duration;
/// use midil_auth::oauth2::AccessToken;
/// use midil_auth::testing::TestToken;
///
/// # fn main() -> Result<(), midil_auth::FetchError> {
/// let hour = Duration::from_secs(3600);
/// let token = TestToken::new(AccessToken::bearer("first")?.expires_in(hour))?;
/// let handle = token.handle(); // for the service under test
/// assert_eq!(handle.authorization().expect("a token"), "Bearer first");
///
/// token.set(AccessToken::bearer("second")?.expires_in(hour))?;
/// assert_eq!(handle.authorization().expect("a token"), "Bearer second");
/// # Ok(())
/// # }
/// ```
#[derive(Clone)]
pub struct TestToken {
    entry: Arc<Entry<AccessToken>>,
    handle: TokenHandle,
    clock: Clock,
}

impl TestToken {
    /// By the system's clock.
    ///
    /// # Errors
    ///
    /// As [`set`](Self::set).
    pub fn new(token: AccessToken) -> Result<Self, FetchError> {
        Self::with(token, Clock::system())
    }

    /// By a test's own clock.
    ///
    /// # Errors
    ///
    /// As [`set`](Self::set).
    pub fn with_clock(token: AccessToken, clock: &TestClock) -> Result<Self, FetchError> {
        Self::with(token, clock.clock())
    }

    fn with(token: AccessToken, clock: Clock) -> Result<Self, FetchError> {
        let address = Arc::new(Address::new(None));
        let entry = address.register(Registration {
            name: "test".into(),
            source: Arc::new(SourceFn::new(|_| std::future::pending())),
            policy: LifetimePolicy::default(),
            refresh: RefreshPolicy::for_tokens(),
            endpoint: None,
            store_key: None,
            start: Start::Lazy,
        });
        let handle = Handle::new(address, Arc::clone(&entry), None, clock.clone());
        let test = Self {
            entry,
            handle: TokenHandle::new(handle, true),
            clock,
        };
        test.set(token)?;
        Ok(test)
    }

    /// Replaces the token: every handle has this one from now on.
    ///
    /// # Errors
    ///
    /// [`FetchError`] when it has expired already or is about to; the last one stays.
    pub fn set(&self, token: AccessToken) -> Result<(), FetchError> {
        self.entry.serve(token, self.clock.now())
    }

    /// What reads it.
    #[must_use]
    pub fn handle(&self) -> TokenHandle {
        self.handle.clone()
    }
}

impl fmt::Debug for TestToken {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("TestToken").finish_non_exhaustive()
    }
}
