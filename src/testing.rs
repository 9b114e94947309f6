//! For tests: an issuer in process, mocks of both interfaces, a token to replace, sources by
//! closure, one clock to advance. Feature `testing`.

mod clock;
mod fault;
// The unit tests have these parsers already.
#[cfg(not(test))]
#[doc(hidden)]
pub mod fuzzing;
mod issuer;
mod keys;
mod mock;
mod requests;
mod server;
mod token;

pub use clock::TestClock;
pub use fault::{Endpoint, Fault};
pub use issuer::{Counts, TestIssuer, TestIssuerBuilder};
pub use keys::SigningKey;
pub use mock::{MockAuthn, MockAuthz, SourceFn, claims};
pub use requests::LoggedRequest;
pub use token::TestToken;
