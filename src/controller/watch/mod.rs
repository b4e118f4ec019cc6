//! TODO-DOC

pub mod streams;
