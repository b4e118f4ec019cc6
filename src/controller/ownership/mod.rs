//! Whose account is it: conflicts between objects, the hand-over from an object that is being deleted to its successor, and the cluster
//! that owns an account.
//!
//! It may import resolve, connection, cluster and context. It must not call a vendor.

pub mod cluster;
pub mod conflict;
pub mod handover;
pub mod wake;
