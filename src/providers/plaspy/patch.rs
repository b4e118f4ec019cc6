//! Changes as a JSON Patch (RFC 6902), as Plaspy takes them (`rest_api`, patch); it makes no call.
//!
//! No operation is a `remove`, because the documents do not say whether a missing path is an error; "" clears a text.

use secrecy::{ExposeSecret, SecretString};
use serde_json::{Map, Value, json};

use super::wire;
use crate::plan::{Account, Changes};
use crate::providers::error::ProviderError;

/// The operations that make `changes` to `current`.
///
/// Errors: more than one group for a user.
pub fn operations(
    current: &Account,
    changes: &Changes,
    password: Option<&SecretString>,
) -> Result<Vec<Value>, ProviderError> {
    let mut operations = Vec::new();
    for (name, value) in &changes.fields {
        match (current.fields.get(name), value) {
            (Some(Value::Object(there)), Value::Object(wanted)) => entries(name, there, wanted, &mut operations),
            (there, value) => operations.push(set(&[name], is_shown(there), value)),
        }
    }
    if let Some(groups) = &changes.groups {
        let member = current.groups.as_ref().is_some_and(|groups| !groups.is_empty());
        operations.push(set(&["group"], member, &json!(wire::one_group(groups)?)));
    }
    if let Some(password) = password {
        operations.push(set(&["password"], false, &json!(password.expose_secret())));
    }
    Ok(operations)
}

/// One operation for each entry of a map that differs, so that entries set by others meanwhile stay.
fn entries(name: &str, there: &Map<String, Value>, wanted: &Map<String, Value>, operations: &mut Vec<Value>) {
    let differing = wanted.iter().filter(|(key, value)| there.get(*key) != Some(*value));
    operations.extend(differing.map(|(key, value)| set(&[name, key], is_shown(there.get(key)), value)));
}

/// Whether the path certainly exists. A `false` may stand for a field that was not shown.
fn is_shown(there: Option<&Value>) -> bool {
    !matches!(there, None | Some(Value::Null | Value::Bool(false)))
}

/// `replace` needs an existing path, `add` does not.
fn set(path: &[&str], shown: bool, value: &Value) -> Value {
    let path: Vec<String> = path.iter().map(|part| part.replace('~', "~0").replace('/', "~1")).collect();
    json!({"op": if shown { "replace" } else { "add" }, "path": format!("/{}", path.join("/")), "value": value})
}

#[cfg(test)]
mod tests {
    use std::collections::BTreeSet;

    use super::*;
    use crate::plan::Fields;
    use rstest::rstest;

    fn fields(value: Value) -> Fields {
        serde_json::from_value(value).unwrap()
    }

    #[rstest]
    #[case::there(json!({"name": "Ada"}), json!({"name": "Ada L"}), json!([{"op": "replace", "path": "/name", "value": "Ada L"}]))]
    #[case::absent(json!({}), json!({"message": "Hi"}), json!([{"op": "add", "path": "/message", "value": "Hi"}]))]
    #[case::null(json!({"message": null}), json!({"message": "Hi"}), json!([{"op": "add", "path": "/message", "value": "Hi"}]))]
    #[case::not_shown(json!({"disabled": false}), json!({"disabled": true}), json!([{"op": "add", "path": "/disabled", "value": true}]))]
    #[case::cleared(json!({"message": "Hi"}), json!({"message": ""}), json!([{"op": "replace", "path": "/message", "value": ""}]))]
    #[case::first_tags(json!({"tags": null}), json!({"tags": {"a": "1"}}), json!([{"op": "add", "path": "/tags", "value": {"a": "1"}}]))]
    #[case::tag_by_tag(
        json!({"tags": {"a/b": "1", "kept": "yes"}}),
        json!({"tags": {"a/b": "2", "c~d": "3", "kept": "yes"}}),
        json!([{"op": "replace", "path": "/tags/a~1b", "value": "2"}, {"op": "add", "path": "/tags/c~0d", "value": "3"}])
    )]
    fn an_existing_path_is_replaced_and_a_missing_one_is_added(
        #[case] there: Value,
        #[case] wanted: Value,
        #[case] expected: Value,
    ) {
        let current = Account { fields: fields(there), ..Account::default() };
        let changes = Changes { fields: fields(wanted), ..Changes::default() };
        assert_eq!(Value::Array(operations(&current, &changes, None).unwrap()), expected);
    }

    #[rstest]
    #[case::joins(&[], &["North"], "add", "North")]
    #[case::moves(&["South"], &["North"], "replace", "North")]
    #[case::leaves(&["South"], &[], "replace", "")]
    fn a_user_is_in_one_group_or_none(
        #[case] there: &[&str],
        #[case] wanted: &[&str],
        #[case] op: &str,
        #[case] value: &str,
    ) {
        let set = |names: &[&str]| Some(names.iter().map(|name| (*name).to_owned()).collect::<BTreeSet<_>>());
        let current = Account { groups: set(there), ..Account::default() };
        let changes = Changes { groups: set(wanted), ..Changes::default() };
        let expected = vec![json!({"op": op, "path": "/group", "value": value})];
        assert_eq!(operations(&current, &changes, None).unwrap(), expected);
    }
}
