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

/// How much of its accounts a vendor shows.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Visibility {
    /// Users are listed, and each account is read by its id.
    Full,
    /// Users are read by their ids and not listed, so that none can be looked up; groups are listed.
    NoListing,
    /// Nothing is shown: all that is known of an account is the answer to its create.
    WriteOnly,
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

/// What a vendor can do, so that the caller need not try it.
#[derive(Clone, Copy, Debug)]
pub struct Capabilities {
    /// Writable fields of a user.
    pub user_fields: &'static [Field],
    /// Writable fields of a group.
    pub group_fields: &'static [Field],
    /// How much of its accounts it shows.
    pub visibility: Visibility,
    /// Whether `find` costs one filtered call rather than a listing.
    pub filter: bool,
    /// Whether a user can be changed after creation.
    pub updates: bool,
    /// Whether each change of a user must carry the user's password, which it sets again.
    pub change_needs_password: bool,
    /// Whether a user can be removed.
    pub deletes: bool,
    /// How log-in is blocked, if it can be.
    pub switch: Option<Switch>,
    /// What can be done with groups.
    pub groups: GroupSupport,
    /// Whether users show only the ids of their roles, whose names and rights are in the catalogue.
    pub named_roles: bool,
    /// Whether a cheap authenticated call checks a credential.
    pub checkable: bool,
    /// Bounds on calls where a credential sets none.
    pub default_limits: Limits,
    /// Names, in lower case, of the fields of its requests whose values are secrets: no message repeats those values.
    pub secret_fields: &'static [&'static str],
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

    /// Whether an account is shown to a caller that knows its id.
    #[must_use]
    pub fn shows_accounts(&self) -> bool {
        match self.visibility {
            Visibility::Full | Visibility::NoListing => true,
            Visibility::WriteOnly => false,
        }
    }

    /// Whether accounts of this kind are listed, and so can be looked up by their natural keys.
    #[must_use]
    pub fn lists(&self, account_kind: AccountKind) -> bool {
        match (account_kind, self.visibility) {
            (AccountKind::User, Visibility::Full) => true,
            (AccountKind::Group, Visibility::Full | Visibility::NoListing) => self.groups != GroupSupport::Given,
            (AccountKind::User, Visibility::NoListing) | (_, Visibility::WriteOnly) => false,
        }
    }
}

#[cfg(test)]
mod tests {
    use rstest::rstest;

    use super::*;

    const VENDOR: Capabilities = Capabilities {
        user_fields: &[],
        group_fields: &[],
        visibility: Visibility::Full,
        filter: true,
        updates: true,
        change_needs_password: false,
        deletes: true,
        switch: None,
        groups: GroupSupport::Managed,
        named_roles: false,
        checkable: true,
        default_limits: Limits { per_minute: 1, burst: 1, concurrency: 1 },
        secret_fields: &[],
    };

    #[rstest]
    #[case::full(Visibility::Full, GroupSupport::Managed, (true, true, true))]
    #[case::no_group_api(Visibility::Full, GroupSupport::Given, (true, true, false))]
    #[case::no_listing(Visibility::NoListing, GroupSupport::ReadOnly, (true, false, true))]
    #[case::write_only(Visibility::WriteOnly, GroupSupport::Given, (false, false, false))]
    fn visibility_tells_what_can_be_read_and_listed(
        #[case] visibility: Visibility,
        #[case] groups: GroupSupport,
        #[case] (read, users, listed_groups): (bool, bool, bool),
    ) {
        let vendor = Capabilities { visibility, groups, ..VENDOR };
        assert_eq!(vendor.shows_accounts(), read);
        assert_eq!((vendor.lists(AccountKind::User), vendor.lists(AccountKind::Group)), (users, listed_groups));
    }
}
