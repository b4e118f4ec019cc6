//! What any operator has: telemetry, metrics, an admin server, a lease, a shutdown.
//! It must not know what this operator is for, beyond the names of its metrics.

pub mod admin;
pub mod failure;
pub mod leader;
pub mod metrics;
pub mod readonly;
pub mod shutdown;
pub mod telemetry;
