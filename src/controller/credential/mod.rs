//! TODO-DOC

pub mod reconcile;
pub mod resync;
pub mod secret_finalizer;
pub mod status;
