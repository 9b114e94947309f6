//! Guides. Their code is compiled and run with the other tests.

#[doc = include_str!("../docs/guides/quickstart.md")]
pub mod quickstart {}

#[doc = include_str!("../docs/guides/providers.md")]
pub mod providers {}

#[cfg(feature = "axum")]
#[doc = include_str!("../docs/guides/axum.md")]
pub mod axum {}

#[cfg(feature = "tower")]
#[doc = include_str!("../docs/guides/tonic.md")]
pub mod tonic {}

#[cfg(all(feature = "reqwest-middleware", feature = "tower"))]
#[doc = include_str!("../docs/guides/reqwest.md")]
pub mod reqwest {}

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

#[doc = include_str!("../docs/guides/nginx.md")]
#[cfg(feature = "axum")]
pub mod nginx {}
