//! The steps on the account of a live object are carried out, and recorded so that nothing is sent twice and nothing is lost.
//!
//! It may import ownership, resolve, connection, cluster and context. It decides neither whose account it is nor what the steps are.

mod checks;
mod kept;
mod perform;
pub mod progress;
pub mod reconciliation;
mod record;
mod refusals;
