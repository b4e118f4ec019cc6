//! Desired and observed accounts as data; it decides nothing.

use std::collections::{BTreeMap, BTreeSet};

use jiff::Timestamp;
use serde::{Deserialize, Serialize};
use serde_json::Value;

use super::field::Key;
use crate::api::Reason;

/// Fields of an account by the vendor's own names, in the form in which usher writes them.
pub type Fields = BTreeMap<String, Value>;

/// Users or groups.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash, PartialOrd, Ord, strum::Display, strum::IntoStaticStr)]
#[strum(serialize_all = "lowercase")]
pub enum AccountKind {
    /// A user account.
    User,
    /// A group of users, devices, projects or rights, as the vendor has it.
    Group,
}

/// A user or group as the vendor shows it, translated to the form in which usher writes. As JSON it needs a fraction of the memory.
#[derive(Serialize, Deserialize, Clone, Debug, Default, PartialEq)]
#[serde(default)]
pub struct Account {
    /// The vendor's id.
    pub id: String,
    /// The writable fields that the vendor shows. A field that is absent here is empty at the vendor.
    pub fields: Fields,
    /// Groups of a user, as written; `None` for a group, and where the vendor does not show them.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub groups: Option<BTreeSet<String>>,
    /// The roles that it has beside its groups, by id.
    #[serde(skip_serializing_if = "BTreeSet::is_empty")]
    pub roles: BTreeSet<String>,
    /// Why it counts as an administrator, if its own fields say so; a role may too.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub privileged: Option<String>,
    /// The time of its create, by the vendor.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub created: Option<Timestamp>,
    /// The login that created it, by the vendor.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub creator: Option<String>,
    /// Why it cannot be removed now, if the vendor shows it (a group with members).
    #[serde(skip_serializing_if = "Option::is_none")]
    pub in_use: Option<String>,
}

impl Account {
    /// The value of a field that is a text.
    #[must_use]
    pub fn text(&self, field: &str) -> Option<&str> {
        self.fields.get(field).and_then(Value::as_str)
    }

    /// The account after `changes`.
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

/// A group that a user is to be in.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct GroupHandle {
    /// The vendor's id.
    pub id: String,
    /// The vendor's name of it, where known.
    pub name: Option<String>,
}

/// The groups that a user is to be in.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Membership {
    /// The groups in the form that the vendor takes in a user.
    pub wanted: BTreeSet<String>,
    /// Groups that are neither added nor removed, because the entries for them cannot be resolved yet.
    pub spared: BTreeSet<String>,
    /// Whether groups stay that usher did not add.
    pub additive: bool,
}

/// The desired account. A field that is absent here is not managed.
#[derive(Clone, Debug, Default, PartialEq)]
pub struct Desired {
    /// Natural keys in the order of search.
    pub keys: Vec<Key>,
    /// The managed fields.
    pub fields: Fields,
    /// Fields that are sent with the create and not compared afterwards.
    pub at_create: Fields,
    /// The groups, if they are managed.
    pub groups: Option<Membership>,
    /// Rights per application, which calls of their own grant (Pegasus).
    pub grants: BTreeMap<String, BTreeMap<String, bool>>,
    /// Per field, values that mean the same as the desired one; absent where they are not known.
    pub synonyms: BTreeMap<&'static str, BTreeSet<String>>,
    /// The roles that it has beside its groups, by id.
    pub roles: BTreeSet<String>,
    /// Why it counts as an administrator, if the manifest alone says so; a role may too.
    pub privileged: Option<String>,
    /// Whether the vendor creates this account only with a password.
    pub needs_password: bool,
}

impl Desired {
    /// The first natural key, which status and messages show.
    #[must_use]
    pub fn key(&self) -> &str {
        self.keys.first().map_or("", |key| key.value.as_str())
    }
}

/// The content of one call.
#[derive(Clone, Debug, Default, PartialEq)]
pub struct Changes {
    /// Fields and their new values.
    pub fields: Fields,
    /// The complete new set of groups, if it changes.
    pub groups: Option<BTreeSet<String>>,
    /// Whether the password is sent too.
    pub password: bool,
    /// Managed fields that do not change and that the vendor does not show as they were sent: a vendor whose accounts
    /// are written as a whole needs them.
    pub alongside: Fields,
}

impl Changes {
    /// Whether there is nothing to send.
    #[must_use]
    pub fn is_empty(&self) -> bool {
        self.fields.is_empty() && self.groups.is_none() && !self.password
    }

    /// The names of the fields sent, for logs and status.
    #[must_use]
    pub fn names(&self) -> Vec<String> {
        let groups = self.groups.is_some().then(|| "groups".to_owned());
        let password = self.password.then(|| "password".to_owned());
        self.fields.keys().cloned().chain(groups).chain(password).collect()
    }
}

/// An entry that a vendor lists beside users and groups: a role, project or country.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct CatalogEntry {
    /// The catalogue it is in, e.g. `role`.
    pub catalog: &'static str,
    /// The vendor's id.
    pub id: String,
    /// The vendor's name.
    pub name: String,
    /// Whether it makes its users administrators.
    pub privileged: bool,
}

/// The catalogue of roles.
pub const ROLE: &str = "role";

/// The roles, projects or countries that a vendor lists.
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

/// A manifest that the vendor cannot follow.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
#[error("{message}")]
pub struct Rejection {
    /// Why.
    pub reason: Reason,
    /// The field, and what to do.
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
    fn changes_are_listed_by_the_names_of_their_fields() {
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
