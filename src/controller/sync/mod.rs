//! TODO-DOC

pub mod checks;
pub mod create;
pub mod create_failed;
pub mod missing;
pub mod reconciliation;
