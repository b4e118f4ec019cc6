//! TODO-DOC

pub mod access;
pub mod object;
pub mod password;
pub mod rights;
