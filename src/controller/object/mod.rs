//! TODO-DOC

pub mod group;
pub mod report;
pub mod user;
