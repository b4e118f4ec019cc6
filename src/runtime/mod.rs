//! The parts of any operator: logging, metrics, admin server, leader election and shutdown.
//!
//! It knows nothing of users and vendors beyond the names of usher's metrics; it imports no other room.

pub mod admin;
pub mod failure;
pub mod leader;
pub mod metrics;
pub mod readonly;
pub mod shutdown;
pub mod telemetry;
