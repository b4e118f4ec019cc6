//! Taking away: what is done to the account of an object that is being deleted, and when the object may go.
//!
//! The decision is [`crate::plan::next_deletion`]. This room gathers its facts, answers its questions and carries it out. It may import
//! ownership, resolve, connection, cluster and context. It must never make an account, and it does not know the room sync.

pub mod budget;
mod decide;
mod execute;
pub mod finalize;
mod lookup;
pub mod pending;
