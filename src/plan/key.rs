//! Natural keys: which fields name an account, and which accounts carry a key; it compares no other field.

use super::compare::{Compare, is_address};
use super::field::{Field, Key};
use super::model::Account;

/// Whether `account` carries the natural key `key`, compared as `table` says.
#[must_use]
pub fn matches_key(table: &[Field], account: &Account, key: &Key) -> bool {
    let Some(text) = account.text(key.field) else { return false };
    if folds(table, key) { text.eq_ignore_ascii_case(&key.value) } else { text == key.value }
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
