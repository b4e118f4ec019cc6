//! The live side of a credential: its link to the vendor, the inventory of the vendor's accounts, creates in flight, and when a failed
//! attempt is repeated.
//!
//! It may import [`crate::providers`], [`crate::plan`], [`crate::api`] and the cluster's object traits. It must not read or write
//! Kubernetes, and it makes no decision about an object.

pub mod breaker;
pub mod budget_memory;
pub mod evidence;
pub mod in_flight;
pub mod inventory;
pub mod known;
pub mod link;
pub mod listing;
pub mod object_memory;
pub mod retry;
pub mod session;
