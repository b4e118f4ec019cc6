//! Whether two values of a field mean the same; it does not decide what follows.

use std::collections::{BTreeMap, BTreeSet};

use icu_normalizer::ComposingNormalizerBorrowed;
use jiff::Timestamp;
use serde_json::{Map, Value};

/// How desired and observed values of a field are compared.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Compare {
    /// The same value; an absent value, null and "" are equal.
    Exact,
    /// The same text without regard to case, for e-mail addresses.
    FoldCase,
    /// A login name: as `FoldCase` if it is an e-mail address, otherwise exactly.
    Login,
    /// A list whose order and repetitions do not matter.
    Set,
    /// A map in which only the desired keys count; the others stay.
    PerKey,
    /// A map in which every key counts, except keys that follow from a desired parent (Pegasus scopes).
    Scopes,
    /// A point in time, however it is written.
    Instant,
    /// A text with other spellings of the same, see `Desired::synonyms`. Without known spellings a two-letter code and
    /// a name count as equal, because they may be.
    Synonym,
    /// As `Exact` where the vendor shows a value, and as `Hidden` where it shows none.
    Shy,
    /// Never shown by the vendor; sent when its digest differs.
    Hidden,
}

/// Whether `observed` already means `desired`.
#[must_use]
pub fn same(compare: Compare, desired: &Value, observed: &Value, synonyms: Option<&BTreeSet<String>>) -> bool {
    if is_empty(desired) && is_empty(observed) {
        return true;
    }
    match compare {
        Compare::Exact | Compare::Shy | Compare::Hidden => desired == observed,
        Compare::FoldCase => folded(desired) == folded(observed),
        Compare::Login => {
            desired == observed || (desired.as_str().is_some_and(is_address) && folded(desired) == folded(observed))
        }
        Compare::Set => as_set(desired) == as_set(observed),
        Compare::PerKey => per_key(desired, observed),
        Compare::Scopes => scopes(desired, observed),
        Compare::Instant => instant(desired).is_some() && instant(desired) == instant(observed),
        Compare::Synonym => match (folded(desired), folded(observed), synonyms) {
            (Some(desired), Some(observed), _) if desired == observed => true,
            (Some(_), Some(observed), Some(known)) => known.contains(&observed),
            (Some(desired), Some(observed), None) => {
                desired.len().min(observed.len()) == 2 && desired.len() != observed.len()
            }
            _ => desired == observed,
        },
    }
}

/// Whether a value is empty: null, "", an empty list or map.
fn is_empty(value: &Value) -> bool {
    match value {
        Value::Null => true,
        Value::String(text) => text.is_empty(),
        Value::Array(list) => list.is_empty(),
        Value::Object(map) => map.is_empty(),
        Value::Bool(_) | Value::Number(_) => false,
    }
}

fn folded(value: &Value) -> Option<String> {
    value.as_str().map(fold)
}

/// A text in the form in which texts are compared without regard to case: in lower case, with accents composed.
#[must_use]
pub fn fold(text: &str) -> String {
    if text.is_ascii() {
        return text.to_ascii_lowercase();
    }
    ComposingNormalizerBorrowed::new_nfc().normalize(&text.to_lowercase()).into_owned()
}

/// Whether a login name is an e-mail address.
pub(super) fn is_address(text: &str) -> bool {
    text.contains('@')
}

fn instant(value: &Value) -> Option<Timestamp> {
    value.as_str()?.parse().ok()
}

/// Elements by their JSON text, so that any kind of element can be in a set.
fn as_set(value: &Value) -> BTreeSet<String> {
    value.as_array().into_iter().flatten().map(Value::to_string).collect()
}

fn per_key(desired: &Value, observed: &Value) -> bool {
    let (Value::Object(desired), observed) = (desired, observed.as_object()) else { return desired == observed };
    desired.iter().all(|(key, value)| match observed.and_then(|map| map.get(key)) {
        Some(there) => value == there || (value.is_object() && per_key(value, there)),
        None => is_empty(value),
    })
}

/// Whether the scopes are as desired. A shown scope that is not desired is allowed when a desired parent gives at least
/// as much.
fn scopes(desired: &Value, observed: &Value) -> bool {
    let empty = Map::new();
    let desired = desired.as_object().unwrap_or(&empty);
    let observed = observed.as_object().unwrap_or(&empty);
    let all_there = desired.iter().all(|(scope, level)| observed.get(scope) == Some(level));
    let wanted: BTreeMap<&str, &Value> = desired.iter().map(|(scope, level)| (scope.as_str(), level)).collect();
    all_there
        && observed.iter().all(|(scope, level)| wanted.contains_key(scope.as_str()) || derived(&wanted, scope, level))
}

/// Whether a desired parent of `scope` (the part before a `.` or `:`) gives `level` or more.
fn derived(wanted: &BTreeMap<&str, &Value>, scope: &str, level: &Value) -> bool {
    scope
        .char_indices()
        .filter(|(_, letter)| matches!(letter, '.' | ':'))
        .filter_map(|(end, _)| wanted.get(&scope[..end]))
        .any(|parent| *parent == level || parent.as_str() == Some("w"))
}
