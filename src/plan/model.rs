//! The words that desired and observed state are spoken in; data only, no decisions.

use std::collections::{BTreeMap, BTreeSet};

use jiff::Timestamp;
use serde_json::Value;

use super::compare::Compare;
use crate::api::Reason;

/// Fields of an account by the vendor's own names, in the form we write them.
pub type Fields = BTreeMap<String, Value>;

/// What a call is about.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash, PartialOrd, Ord, strum::Display, strum::IntoStaticStr)]
#[strum(serialize_all = "lowercase")]
pub enum AccountKind {
    /// A user account.
    User,
    /// A group of users, devices, projects or rights, as the vendor has it.
    Group,
}

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

/// An account or group as the vendor shows it, brought into the form in which we write.
#[derive(Clone, Debug, Default, PartialEq)]
pub struct Account {
    /// The vendor's id.
    pub id: String,
    /// The writable fields that the vendor shows. A field that is missing here is empty at the vendor.
    pub fields: Fields,
    /// Groups of a user, as written; `None` for a group, and where the vendor does not show them.
    pub groups: Option<BTreeSet<String>>,
    /// Roles that it holds beside its groups, by id.
    pub roles: BTreeSet<String>,
    /// Why it counts as an administrator, if what is shown of it says so; a role may do so too.
    pub privileged: Option<String>,
    /// When the vendor says it was made.
    pub created: Option<Timestamp>,
    /// Who the vendor says made it.
    pub creator: Option<String>,
    /// Why it cannot be removed now, if the vendor shows that (a group that is not empty).
    pub in_use: Option<String>,
}

impl Account {
    /// The value of a text field, if it is there and a text.
    #[must_use]
    pub fn text(&self, field: &str) -> Option<&str> {
        self.fields.get(field).and_then(Value::as_str)
    }

    /// What it will look like once `changes` are made; what the vendor showed wins over nothing, what was sent over that.
    #[must_use]
    pub fn with(mut self, changes: &Changes) -> Self {
        for (name, value) in &changes.fields {
            self.fields.insert(name.clone(), value.clone());
        }
        if let Some(groups) = &changes.groups {
            self.groups = Some(groups.clone());
        }
        self
    }
}

/// A group that a user names, as far as it is known.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct GroupHandle {
    /// The vendor's id.
    pub id: String,
    /// The vendor's name of it, where known.
    pub name: Option<String>,
}

/// The groups a user shall be in.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Membership {
    /// The groups, as the vendor takes them in a user.
    pub wanted: BTreeSet<String>,
    /// Groups that are neither given nor taken, because what the manifest says of them cannot be told yet.
    pub spared: BTreeSet<String>,
    /// Whether groups that we did not add are left alone.
    pub additive: bool,
}

/// What an account shall be. A field that is missing here is not managed.
#[derive(Clone, Debug, Default, PartialEq)]
pub struct Desired {
    /// Natural keys in the order of look-up.
    pub keys: Vec<Key>,
    /// Fields that are managed.
    pub fields: Fields,
    /// Fields that are sent when the account is made and not looked at afterwards.
    pub at_create: Fields,
    /// Groups, if they are managed.
    pub groups: Option<Membership>,
    /// Rights per application that are granted by calls of their own (Pegasus).
    pub grants: BTreeMap<String, BTreeMap<String, bool>>,
    /// Per field, values that mean the same as the desired one; a field is missing where that is not known.
    pub synonyms: BTreeMap<&'static str, BTreeSet<String>>,
    /// Roles that it holds beside its groups, by id.
    pub roles: BTreeSet<String>,
    /// Why it counts as an administrator, if the manifest alone says so; a role may do so too.
    pub privileged: Option<String>,
    /// Whether the vendor makes no account without a password for this one.
    pub needs_password: bool,
}

impl Desired {
    /// The first natural key, which status and messages show.
    #[must_use]
    pub fn key(&self) -> &str {
        self.keys.first().map_or("", |key| key.value.as_str())
    }
}

/// What is to be sent in one call.
#[derive(Clone, Debug, Default, PartialEq)]
pub struct Changes {
    /// Fields and their new values.
    pub fields: Fields,
    /// The whole new set of groups, if it changes.
    pub groups: Option<BTreeSet<String>>,
    /// Whether the password goes along.
    pub password: bool,
    /// Managed fields that do not change but that the vendor does not show as they were given: for whoever must write the
    /// account as a whole.
    pub alongside: Fields,
}

impl Changes {
    /// Whether there is nothing to send.
    #[must_use]
    pub fn is_empty(&self) -> bool {
        self.fields.is_empty() && self.groups.is_none() && !self.password
    }

    /// Names of what is sent, for logs and people.
    #[must_use]
    pub fn names(&self) -> Vec<String> {
        let groups = self.groups.is_some().then(|| "groups".to_owned());
        let password = self.password.then(|| "password".to_owned());
        self.fields.keys().cloned().chain(groups).chain(password).collect()
    }
}

/// Something a vendor lists beside users and groups: roles, projects, countries.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct CatalogEntry {
    /// Which catalogue, e.g. `role`.
    pub catalog: &'static str,
    /// The vendor's id.
    pub id: String,
    /// The vendor's name.
    pub name: String,
    /// Whether it makes its holders administrators.
    pub privileged: bool,
}

/// The catalogue of roles.
pub const ROLE: &str = "role";

/// What a vendor lists beside users and groups.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Catalog {
    /// All entries.
    pub entries: Vec<CatalogEntry>,
}

impl Catalog {
    /// Ids of the entries of `catalog` with exactly this name.
    #[must_use]
    pub fn ids(&self, catalog: &str, name: &str) -> Vec<&str> {
        self.entries
            .iter()
            .filter(|entry| entry.catalog == catalog && entry.name == name)
            .map(|entry| entry.id.as_str())
            .collect()
    }

    /// The entry of `catalog` with this id.
    #[must_use]
    pub fn get(&self, catalog: &str, id: &str) -> Option<&CatalogEntry> {
        self.entries.iter().find(|entry| entry.catalog == catalog && entry.id == id)
    }
}

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

/// A manifest that cannot be done as written.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
#[error("{message}")]
pub struct Rejection {
    /// Why.
    pub reason: Reason,
    /// Which field, and what to do.
    pub message: String,
}

impl Rejection {
    /// A rejection from its parts.
    pub fn new(reason: Reason, message: impl Into<String>) -> Self {
        Self { reason, message: message.into() }
    }
}

#[cfg(test)]
mod tests {
    use serde_json::json;

    use super::*;

    fn fields(value: Value) -> Fields {
        serde_json::from_value(value).unwrap()
    }

    #[test]
    fn an_account_shows_texts_and_a_manifest_its_first_key() {
        let there = Account { fields: fields(json!({"phone": "1", "roles": ["a"]})), ..Account::default() };
        assert_eq!((there.text("phone"), there.text("roles"), there.text("email")), (Some("1"), None, None));
        let keys = ["ada", "ada@example.com"].map(|value| Key { field: "name", value: value.to_owned() });
        assert_eq!(Desired { keys: keys.to_vec(), ..Desired::default() }.key(), "ada");
    }

    #[test]
    fn what_is_sent_is_told_by_name() {
        let groups = Some(BTreeSet::from(["g".to_owned()]));
        let changes = Changes { fields: fields(json!({"phone": "1"})), groups, password: true, ..Changes::default() };
        assert_eq!(changes.names(), ["phone", "groups", "password"]);
        assert_eq!(Changes::default().names(), Vec::<String>::new());
    }

    #[test]
    fn a_catalogue_is_searched_by_kind_and_name_or_id() {
        let entry = |catalog, id: &str, name: &str| CatalogEntry {
            catalog,
            id: id.into(),
            name: name.into(),
            privileged: false,
        };
        let entries = vec![entry(ROLE, "1", "Manager"), entry(ROLE, "2", "Viewer"), entry("project", "3", "Manager")];
        let catalog = Catalog { entries };
        assert_eq!(catalog.ids(ROLE, "Manager"), ["1"]);
        assert_eq!(catalog.ids(ROLE, "manager"), Vec::<&str>::new());
        assert_eq!(catalog.get(ROLE, "2").map(|entry| &*entry.name), Some("Viewer"));
        assert_eq!(catalog.get(ROLE, "3"), None);
    }
}
