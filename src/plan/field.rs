//! The fields of a vendor's accounts as a table; it does not compare their values.

use super::compare::Compare;

/// One field of a vendor's account and how it is compared.
#[derive(Clone, Copy, Debug)]
pub struct Field {
    /// The vendor's name of it.
    pub name: &'static str,
    /// How desired and observed values are compared.
    pub compare: Compare,
    /// Whether the vendor refuses to change it after creation.
    pub fixed: bool,
    /// What every fresh account has in it, where a create does not take it.
    pub initial: Option<bool>,
}

impl Field {
    /// A field that may change.
    #[must_use]
    pub const fn new(name: &'static str, compare: Compare) -> Self {
        Self { name, compare, fixed: false, initial: None }
    }

    /// A field that stays as it was created.
    #[must_use]
    pub const fn fixed(name: &'static str, compare: Compare) -> Self {
        Self { name, compare, fixed: true, initial: None }
    }

    /// A field that a create does not take, and that is `initial` in a fresh account.
    #[must_use]
    pub const fn after_create(name: &'static str, compare: Compare, initial: bool) -> Self {
        Self { name, compare, fixed: false, initial: Some(initial) }
    }
}

/// A natural key: a field whose value no two accounts should share.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Key {
    /// The vendor's name of the field.
    pub field: &'static str,
    /// The value wanted.
    pub value: String,
}
