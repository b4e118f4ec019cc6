//! TODO-DOC

pub mod account;
pub mod group;
pub mod report;
pub mod user;
