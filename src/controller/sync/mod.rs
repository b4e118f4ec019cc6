//! The account of a live object is made, bound, compared and changed.
//!
//! The decisions are [`crate::plan::next_binding`] and [`crate::plan::plan`]. This room gathers their facts, answers their questions and
//! carries them out. It may import ownership, resolve, connection, cluster and context. It takes validated live objects alone, and it
//! does not know the room deletion.

mod adopt;
mod bind;
mod checks;
mod create;
mod create_failed;
mod kept;
mod missing;
mod perform;
mod progress;
mod read_only;
pub mod reconciliation;
mod record;
mod refusals;
mod search;
