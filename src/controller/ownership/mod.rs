//! Whose account is it: conflicts between objects, and the hand-over from an object that is being deleted to its successor.
//!
//! It may import resolve, connection, cluster and context. It must not call a vendor.

pub mod conflict;
pub mod handover;
pub mod wake;
