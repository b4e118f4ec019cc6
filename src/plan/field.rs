//! The fields of a vendor's accounts as a table; it does not compare their values.

use super::compare::Compare;

/// One field of a vendor's account: how it is compared and whether it names the account.
#[derive(Clone, Copy, Debug)]
pub struct Field {
    /// The vendor's name of it.
    pub name: &'static str,
    /// How desired and observed values are compared.
    pub compare: Compare,
    /// Whether the vendor refuses to change it after creation.
    pub fixed: bool,
    /// The value in every new account, where a create does not take the field.
    pub initial: Option<bool>,
    /// Whether its value names the account.
    pub naming: Naming,
    /// Whether its value decides what the person may do.
    pub is_access: bool,
}

impl Field {
    /// A field that may change and names nothing.
    #[must_use]
    pub const fn new(name: &'static str, compare: Compare) -> Self {
        Self { name, compare, fixed: false, initial: None, naming: Naming::None, is_access: false }
    }

    /// A field that keeps the value of the create.
    #[must_use]
    pub const fn fixed(name: &'static str, compare: Compare) -> Self {
        Self { fixed: true, ..Self::new(name, compare) }
    }

    /// A field that a create does not take, and that is `initial` in a new account.
    #[must_use]
    pub const fn after_create(name: &'static str, compare: Compare, initial: bool) -> Self {
        Self { initial: Some(initial), ..Self::new(name, compare) }
    }

    /// The same field as a natural key: accounts are looked up by it, with the value that `source` has in the manifest.
    #[must_use]
    pub const fn key(self, source: KeySource) -> Self {
        Self { naming: Naming::Key(source), ..self }
    }

    /// The same field as one that decides what the person may do.
    #[must_use]
    pub const fn access(self) -> Self {
        Self { is_access: true, ..self }
    }

    /// The same field as a second name: people may mean the account by it, and no account is looked up by it.
    #[must_use]
    pub const fn alias(self) -> Self {
        Self { naming: Naming::Alias, ..self }
    }
}

/// Whether the value of a field names an account.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Naming {
    /// It does not.
    None,
    /// It is a name for people, as in `spec.protected`; several accounts may share it.
    Alias,
    /// It is a natural key: no two accounts should share it.
    Key(KeySource),
}

/// The part of a manifest that gives a natural key its value.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum KeySource {
    /// `spec.username` of a user, or `spec.email` without one.
    Username,
    /// `spec.email` of a user.
    Email,
    /// The name of a group: `spec.displayName`, or `metadata.name` without one.
    GroupName,
}

/// A natural key: a field whose value no two accounts should share.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Key {
    /// The vendor's name of the field.
    pub field: &'static str,
    /// The value wanted.
    pub value: String,
}
