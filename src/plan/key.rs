//! Natural keys: the texts by which a vendor names an account (username, e-mail, group name), and when two of them are the same.

use serde_json::json;

use super::model::{Account, Desired, Field, Fields, Key};
use crate::api::status::{Creating, Identity};

/// Fields that name an account, at all vendors; the first one that a vendor has is its first natural key.
pub const KEYS: [&str; 3] = ["username", "email", "name"];

/// Whether two natural keys are the same: e-mail addresses ignore ASCII case, other keys are exact.
#[must_use]
pub fn same_key(one: &str, other: &str) -> bool {
    one == other || (one.contains('@') && one.eq_ignore_ascii_case(other))
}

/// The field of `table` that holds the first natural key.
#[must_use]
pub fn first_key_field(table: &[Field]) -> Option<&'static str> {
    KEYS.into_iter().find(|key| table.iter().any(|field| field.name == *key))
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

#[cfg(test)]
mod tests {
    use rstest::rstest;

    use super::*;

    #[rstest]
    #[case::same("ada", "ada", true)]
    #[case::other_case_of_a_name("ada", "Ada", false)]
    #[case::other_case_of_an_address("ada@example.com", "Ada@Example.com", true)]
    #[case::another_address("ada@example.com", "eve@example.com", false)]
    fn only_addresses_ignore_case(#[case] one: &str, #[case] other: &str, #[case] same: bool) {
        assert_eq!(same_key(one, other), same);
    }
}
