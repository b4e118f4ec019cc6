//! TODO-DOC

pub mod budget;
pub mod finalize;
