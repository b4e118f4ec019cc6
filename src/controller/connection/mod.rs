//! TODO-DOC

pub mod breaker;
pub mod in_flight;
pub mod inventory;
pub mod link;
pub mod retry;
