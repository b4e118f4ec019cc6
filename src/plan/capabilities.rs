//! What a vendor can do, as data; it decides nothing.

use super::field::Field;
use super::model::AccountKind;

/// The field that blocks log-in.
#[derive(Clone, Copy, Debug)]
pub struct Switch {
    /// The vendor's name of the field.
    pub field: &'static str,
    /// Its value when log-in is blocked.
    pub blocked: bool,
}

/// What a vendor does with groups.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum GroupSupport {
    /// Made, changed and removed.
    Managed,
    /// Found, never written.
    ReadOnly,
    /// No API: an id is taken as given.
    Given,
}

/// Bounds on calls where a credential sets none.
#[derive(Clone, Copy, Debug)]
pub struct Limits {
    /// Calls a minute.
    pub per_minute: u32,
    /// Calls at once after a rest.
    pub burst: u32,
    /// Objects worked on at a time.
    pub concurrency: u32,
}

/// What a vendor can do, as data that is asked instead of tried.
#[derive(Clone, Copy, Debug)]
pub struct Capabilities {
    /// Writable fields of a user.
    pub user_fields: &'static [Field],
    /// Writable fields of a group.
    pub group_fields: &'static [Field],
    /// Whether accounts can be read at all.
    pub readable: bool,
    /// Whether users can be listed, and so looked up.
    pub listable: bool,
    /// Whether `find` costs one filtered call rather than a listing.
    pub filter: bool,
    /// Whether a user can be changed after creation.
    pub updates: bool,
    /// Whether no change of a user is taken without the user's password, so that each sets it again.
    pub change_needs_password: bool,
    /// Whether a user can be removed.
    pub deletes: bool,
    /// How log-in is blocked, if it can be.
    pub switch: Option<Switch>,
    /// What can be done with groups.
    pub groups: GroupSupport,
    /// Whether users show their roles by id only, and the catalogue tells what those are.
    pub named_roles: bool,
    /// Whether there is a cheap authenticated call to check a credential with.
    pub checkable: bool,
    /// Bounds on calls where a credential sets none.
    pub default_limits: Limits,
}

impl Capabilities {
    /// The writable fields of users or groups.
    #[must_use]
    pub fn fields(&self, account_kind: AccountKind) -> &'static [Field] {
        match account_kind {
            AccountKind::User => self.user_fields,
            AccountKind::Group => self.group_fields,
        }
    }
}
