//! From an object to everything that it needs: access to its credential, the connection, the mode, the listings, groups and password, and
//! from there to the account that it describes.
//!
//! It may import connection, cluster and context. It must not change anything at a vendor, and it does not know the rooms above it.

pub mod access;
pub mod binding;
pub mod connect;
pub mod deletion_policy;
pub mod freshness;
pub mod groups;
pub mod listing;
pub mod mode;
pub mod password;
pub mod resolved;
pub mod rights;
