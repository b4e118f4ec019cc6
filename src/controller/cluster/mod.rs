//! TODO-DOC

pub mod cache;
pub mod lenient;
pub mod managed;
pub mod secrets;
pub mod status;
