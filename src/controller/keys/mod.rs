//! usher's own key: digests of passwords, and seals on bindings.
//!
//! It may import outcome. It knows neither caches nor vendors.

pub mod digest_key;
pub mod seal;
