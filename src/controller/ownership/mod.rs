//! TODO-DOC

pub mod conflict;
pub mod handover;
