//! The reconcile of a PlatformUser or PlatformGroup: resolve → validate → plan → apply → report.
//!
//! Each step takes a type that only the step before can make: [`Live`](super::cluster::lifecycle::Live) →
//! [`Resolved`](super::resolve::resolved::Resolved) → [`Validated`](super::resolve::resolved::Validated) →
//! [`Outcome`](super::outcome::Outcome). An object that is being deleted takes the other way, through the room deletion. This room may
//! import sync, deletion, resolve, cluster and context.

mod account;
mod finalizer;
pub mod group;
pub mod reconcile;
pub mod report;
pub mod user;
