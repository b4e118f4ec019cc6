//! The account of a live object is made, bound, compared and changed.
//!
//! The decisions are [`crate::plan::next_binding`] and [`crate::plan::plan`]. This room gathers their facts, answers their questions and
//! lets apply carry them out. It may import apply, ownership, resolve, connection, cluster and context. It takes validated live objects
//! alone, and it does not know the room deletion.

mod adopt;
mod bind;
mod converge;
mod create;
mod create_failed;
mod missing;
mod read_only;
mod search;
