//! Guides. Their code is compiled and run with the other tests.

#[doc = include_str!("../docs/guides/providers.md")]
pub mod providers {}

#[doc = include_str!("../docs/guides/testing.md")]
pub mod testing {}

#[doc = include_str!("../docs/guides/operating.md")]
pub mod operating {}

#[doc = include_str!("../docs/guides/security.md")]
pub mod security {}

#[doc = include_str!("../docs/guides/reference.md")]
pub mod reference {}

#[doc = include_str!("../docs/guides/migrating.md")]
pub mod migrating {}
