//! Natural keys, the texts by which a vendor names an account (username, e-mail, group name): which fields hold them, which accounts
//! carry one, and when two are the same.

use serde_json::json;

use super::compare::{Compare, fold, is_address};
use super::field::{Field, Key, KeySource, Naming};
use super::model::{Account, Desired, Fields};
use crate::api::PlatformUserSpec;
use crate::api::status::{Creating, Identity};

/// The vendor's name of the first natural key in `table`; `None` for a table without one.
#[must_use]
pub fn first_key_field(table: &[Field]) -> Option<&'static str> {
    keyed(table).map(|(name, _)| name).next()
}

/// The vendor's names of the fields that name an account: natural keys in the order of `table`, then aliases.
pub fn naming_fields(table: &[Field]) -> impl Iterator<Item = &'static str> {
    let aliases = table.iter().filter(|field| field.naming == Naming::Alias).map(|field| field.name);
    keyed(table).map(|(name, _)| name).chain(aliases)
}

/// The natural keys that `account` shows, in the order of `table`.
pub fn keys<'a>(table: &'a [Field], account: &'a Account) -> impl Iterator<Item = &'a str> {
    keyed(table).filter_map(|(field, _)| account.text(field))
}

/// What `account` shows under the first natural key: the name of a group.
#[must_use]
pub fn shown_key<'a>(table: &[Field], account: &'a Account) -> Option<&'a str> {
    account.text(first_key_field(table)?)
}

/// The names that `account` shows: its natural keys, then its aliases.
pub fn names<'a>(table: &'a [Field], account: &'a Account) -> impl Iterator<Item = &'a str> {
    naming_fields(table).filter_map(|field| account.text(field))
}

/// The natural keys of the user `spec`, in the order of `table`.
#[must_use]
pub fn user_keys(table: &[Field], spec: &PlatformUserSpec) -> Vec<Key> {
    let value = |source: KeySource| match source {
        KeySource::Username => Some(spec.username.as_ref().unwrap_or(&spec.email)),
        KeySource::Email => Some(&spec.email),
        KeySource::GroupName => None,
    };
    keyed(table).filter_map(|(field, source)| Some(Key { field, value: value(source)?.clone() })).collect()
}

/// The natural keys of the group `name`, in the order of `table`.
#[must_use]
pub fn group_keys(table: &[Field], name: &str) -> Vec<Key> {
    keyed(table).map(|(field, _)| Key { field, value: name.to_owned() }).collect()
}

/// Whether `account` carries the natural key `key`, compared as `table` says.
#[must_use]
pub fn matches_key(table: &[Field], account: &Account, key: &Key) -> bool {
    let Some(text) = account.text(key.field) else { return false };
    if folds(table, key) { fold(text) == fold(&key.value) } else { text == key.value }
}

/// Whether `table` says that the case of `key` does not matter.
#[must_use]
pub fn folds(table: &[Field], key: &Key) -> bool {
    let folds = |compare: Compare| match compare {
        Compare::FoldCase => true,
        Compare::Login => is_address(&key.value),
        _ => false,
    };
    table.iter().any(|field| field.name == key.field && folds(field.compare))
}

/// Whether two natural keys are the same: e-mail addresses ignore case, other keys are exact.
#[must_use]
pub fn same_key(one: &str, other: &str) -> bool {
    one == other || (is_address(one) && fold(one) == fold(other))
}

/// The account that the create `creating` may have made, for a search: its natural key alone, whatever the manifest says now.
#[must_use]
pub fn as_created(table: &[Field], creating: &Creating) -> Desired {
    let key = first_key_field(table).map(|field| Key { field, value: creating.key.clone() });
    Desired { keys: key.into_iter().collect(), ..Desired::default() }
}

/// An account that the vendor does not show, as far as usher knows it: its id, its natural key, the groups that usher added,
/// and `fields`.
#[must_use]
pub fn assumed_account(id: String, identity: &Identity, table: &[Field], mut fields: Fields) -> Account {
    let key = first_key_field(table).zip(identity.key.as_ref());
    fields.extend(key.map(|(field, key)| (field.to_owned(), json!(key))));
    Account { id, fields, groups: Some(identity.groups.iter().flatten().cloned().collect()), ..Account::default() }
}

fn keyed(table: &[Field]) -> impl Iterator<Item = (&'static str, KeySource)> {
    table.iter().filter_map(|field| match field.naming {
        Naming::Key(source) => Some((field.name, source)),
        Naming::Alias | Naming::None => None,
    })
}

#[cfg(test)]
mod tests {
    use rstest::rstest;

    use super::*;

    /// A vendor that is unlike the others: the first natural key is called `login`.
    const TABLE: &[Field] = &[
        Field::new("nick", Compare::Exact).alias(),
        Field::fixed("login", Compare::Login).key(KeySource::Username),
        Field::new("mail", Compare::FoldCase).key(KeySource::Email),
        Field::new("phone", Compare::Exact),
    ];

    fn account(id: &str, fields: &[(&str, &str)]) -> Account {
        let fields = fields.iter().map(|(name, value)| ((*name).to_owned(), (*value).into())).collect();
        Account { id: id.into(), fields, ..Account::default() }
    }

    #[test]
    fn the_table_tells_which_fields_name_an_account() {
        assert_eq!(first_key_field(TABLE), Some("login"));
        assert_eq!(first_key_field(&[Field::new("nick", Compare::Exact).alias()]), None);
        let ada = account("1", &[("phone", "5"), ("nick", "Countess"), ("mail", "ada@example.com"), ("login", "ada")]);
        assert_eq!(names(TABLE, &ada).collect::<Vec<_>>(), ["ada", "ada@example.com", "Countess"]);
    }

    #[test]
    fn a_key_takes_its_value_from_the_part_of_the_manifest_that_the_table_names() {
        let values =
            |spec: &PlatformUserSpec| user_keys(TABLE, spec).into_iter().map(|key| key.value).collect::<Vec<_>>();
        let spec = PlatformUserSpec { email: "ada@example.com".into(), ..PlatformUserSpec::default() };
        assert_eq!(values(&spec), ["ada@example.com", "ada@example.com"]);
        assert_eq!(values(&PlatformUserSpec { username: Some("ada".into()), ..spec }), ["ada", "ada@example.com"]);
    }

    #[test]
    fn accounts_are_found_by_every_key_and_by_no_alias() {
        let accounts = [
            account("1", &[("login", "ada"), ("mail", "other@example.com")]),
            account("2", &[("login", "eve"), ("mail", "ADA@example.com")]),
            account("3", &[("login", "Ada"), ("nick", "ada")]),
        ];
        let spec = PlatformUserSpec {
            email: "ada@example.com".into(),
            username: Some("ada".into()),
            ..PlatformUserSpec::default()
        };
        let keys = user_keys(TABLE, &spec);
        let is_found = |account: &&Account| keys.iter().any(|key| matches_key(TABLE, account, key));
        assert_eq!(accounts.iter().filter(is_found).map(|account| &*account.id).collect::<Vec<_>>(), ["1", "2"]);
    }

    #[rstest]
    #[case::same("ada", "ada", true)]
    #[case::other_case_of_a_name("ada", "Ada", false)]
    #[case::other_case_of_an_address("ada@example.com", "Ada@Example.com", true)]
    #[case::other_case_of_an_accent("éva@example.com", "ÉVA@example.com", true)]
    #[case::other_form_of_an_accent("e\u{301}va@example.com", "\u{c9}va@example.com", true)]
    #[case::another_address("ada@example.com", "eve@example.com", false)]
    fn only_addresses_ignore_case(#[case] one: &str, #[case] other: &str, #[case] same: bool) {
        assert_eq!(same_key(one, other), same);
    }
}
