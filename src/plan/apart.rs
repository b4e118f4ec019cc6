//! Splits a change into calls, because the vendor refuses a call as a whole: what takes access away must not fail with a password or a
//! name that the vendor refuses.

use std::collections::BTreeSet;

use serde_json::Value;

use super::compare::same;
use super::field::Field;
use super::model::{Account, Changes, Fields};

/// A change as calls, in the order in which they are sent.
#[derive(Clone, Debug, Default, PartialEq)]
pub struct Calls {
    /// What takes access away, with all else that concerns access; empty if nothing takes access away.
    pub taking_away: Option<Changes>,
    /// The rest: fields, then the password.
    pub rest: Vec<Changes>,
}

/// `changes` of the account `observed` as calls. `is_password_apart`: the vendor takes a password in a call of its own.
#[must_use]
pub fn apart(table: &[Field], changes: Changes, observed: &Account, is_password_apart: bool) -> Calls {
    let Changes { fields, groups, password, alongside } = changes;
    let (access, others): (Fields, Fields) = fields.into_iter().partition(|(name, _)| is_access(table, name));
    let access = Changes { fields: access, groups, alongside: alongside.clone(), password: false };
    let mut rest = Changes { fields: others, alongside, password, groups: None };
    let taking_away = takes_away(&access, observed).then(|| access.clone());
    if taking_away.is_none() {
        rest.fields.extend(access.fields);
        rest.groups = access.groups;
    }
    let own_call = Changes { password: true, alongside: rest.alongside.clone(), ..Changes::default() };
    let is_split = is_password_apart && password && !(rest.fields.is_empty() && rest.groups.is_none());
    rest.password &= !is_split;
    let rest = [Some(rest), is_split.then_some(own_call)].into_iter().flatten().filter(|changes| !changes.is_empty());
    Calls { taking_away, rest: rest.collect() }
}

fn is_access(table: &[Field], name: &str) -> bool {
    table.iter().any(|field| field.name == name && field.is_access)
}

/// What `changes` take away from `observed`, each part by itself and without what they add, for a vendor that refused the whole; empty if
/// that is the whole again.
#[must_use]
pub fn taken_away(table: &[Field], changes: &Changes, observed: &Account) -> Vec<Changes> {
    let access = changes.fields.iter().filter(|(name, _)| is_access(table, name));
    let kept: Fields =
        access.map(|(name, wanted)| (name.clone(), without_new(wanted, observed.fields.get(name)))).collect();
    let part = |fields: Fields, groups: Option<BTreeSet<String>>| {
        // A vendor that takes whole accounts only is not to keep the entries that it showed and the manifest does not name.
        let lists = kept.iter().filter(|(name, value)| !is_single(value) && !fields.contains_key(*name));
        let alongside =
            changes.alongside.iter().chain(lists).map(|(name, value)| (name.clone(), value.clone())).collect();
        Changes { fields, groups, alongside, password: false }
    };
    let of_field = |field: &Field| {
        let (value, there) = (kept.get(field.name)?, observed.fields.get(field.name).unwrap_or(&Value::Null));
        let differs = !same(field.compare, value, there, None);
        differs.then(|| part(Fields::from([(field.name.to_owned(), value.clone())]), None))
    };
    let there = observed.groups.as_ref();
    let groups = changes.groups.as_ref().zip(there).map(|(wanted, there)| wanted & there);
    let groups = groups.filter(|groups| Some(groups) != there).map(|groups| part(Fields::new(), Some(groups)));
    let parts: Vec<Changes> = table.iter().filter_map(of_field).chain(groups).collect();
    let is_whole = |part: &Changes| part.fields == changes.fields && part.groups == changes.groups && !changes.password;
    if parts.iter().any(is_whole) { Vec::new() } else { parts }
}

/// Whether a value is no list and no map.
fn is_single(value: &Value) -> bool {
    !matches!(value, Value::Array(_) | Value::Object(_))
}

/// `wanted` without entries that are not `there`.
fn without_new(wanted: &Value, there: Option<&Value>) -> Value {
    match (wanted, there) {
        (Value::Array(wanted), Some(Value::Array(there))) => {
            wanted.iter().filter(|entry| there.contains(entry)).cloned().collect()
        }
        (Value::Object(wanted), Some(Value::Object(there))) => {
            let kept = wanted.iter().filter(|(key, _)| there.contains_key(*key));
            Value::Object(kept.map(|(key, value)| (key.clone(), value.clone())).collect())
        }
        (Value::Array(_), _) => Value::Array(Vec::new()),
        (Value::Object(_), _) => Value::Object(serde_json::Map::new()),
        _ => wanted.clone(),
    }
}

/// Whether `access` may take something away from what `observed` shows: an entry of a list or map, or by a new value that is neither, which
/// may be a limit.
fn takes_away(access: &Changes, observed: &Account) -> bool {
    let leaves = |groups| observed.groups.iter().flatten().any(|group| !BTreeSet::contains(groups, group));
    let narrows = |(name, wanted): (&String, &Value)| match (observed.fields.get(name), wanted) {
        (Some(Value::Array(there)), Value::Array(wanted)) => there.iter().any(|entry| !wanted.contains(entry)),
        (Some(Value::Object(there)), Value::Object(wanted)) => {
            there.iter().any(|(key, value)| wanted.get(key) != Some(value))
        }
        (None | Some(Value::Null), Value::Array(_) | Value::Object(_)) => false,
        _ => true,
    };
    access.groups.as_ref().is_some_and(leaves) || access.fields.iter().any(narrows)
}

#[cfg(test)]
mod tests {
    use rstest::rstest;
    use serde_json::json;

    use super::*;
    use crate::plan::Compare;

    const TABLE: &[Field] = &[
        Field::new("active", Compare::Exact).access(),
        Field::new("roles", Compare::Set).access(),
        Field::new("scopes", Compare::Scopes).access(),
        Field::new("phone", Compare::Exact),
    ];

    fn fields(value: &Value) -> Fields {
        value.as_object().unwrap().clone().into_iter().collect()
    }

    fn observed() -> Account {
        let there = json!({"active": true, "roles": ["a", "b"], "scopes": {"assets": "w"}, "phone": "1"});
        Account { fields: fields(&there), groups: Some(["g".to_owned()].into()), ..Account::default() }
    }

    fn calls(changed: &Value, groups: Option<&str>, password: bool, is_password_apart: bool) -> String {
        let groups = groups.map(|groups| groups.split_whitespace().map(str::to_owned).collect());
        let changes = Changes { fields: fields(changed), groups, password, ..Changes::default() };
        let Calls { taking_away, rest } = apart(TABLE, changes, &observed(), is_password_apart);
        taking_away.iter().chain(&rest).map(|call| call.names().join(" ")).collect::<Vec<_>>().join("; ")
    }

    #[rstest]
    #[case::block_and_password(json!({"active": false}), None, true, "active; password")]
    #[case::block_and_phone(json!({"active": false, "phone": "x"}), None, false, "active; phone")]
    #[case::out_of_a_group_and_phone(json!({"phone": "x"}), Some(""), false, "groups; phone")]
    #[case::a_role_less_and_phone(json!({"roles": ["a"], "phone": "x"}), None, false, "roles; phone")]
    #[case::a_role_for_another_and_phone(json!({"roles": ["a", "c"], "phone": "x"}), None, false, "roles; phone")]
    #[case::a_lower_scope_and_phone(json!({"scopes": {"assets": "r"}, "phone": "x"}), None, false, "scopes; phone")]
    #[case::a_role_more_and_phone(json!({"roles": ["a", "b", "c"], "phone": "x"}), None, false, "phone roles")]
    #[case::into_a_group_and_phone(json!({"phone": "x"}), Some("g h"), false, "phone groups")]
    #[case::a_group_for_another(json!({}), Some("h"), false, "groups")]
    #[case::all(
        json!({"active": false, "phone": "x"}), Some(""), true,
        "active groups; phone; password"
    )]
    #[case::a_password_alone(json!({}), None, true, "password")]
    fn what_takes_access_away_is_a_call_of_its_own(
        #[case] changed: Value,
        #[case] groups: Option<&str>,
        #[case] password: bool,
        #[case] expected: &str,
    ) {
        assert_eq!(calls(&changed, groups, password, true), expected);
    }

    #[rstest]
    #[case::block_and_a_new_role(json!({"active": false, "roles": ["a", "b", "c"]}), None, "active")]
    #[case::a_role_for_another(json!({"roles": ["a", "c"]}), None, r#"roles=["a"]"#)]
    #[case::block_and_a_group_for_another(json!({"active": false}), Some("h"), "active; groups=")]
    #[case::a_lower_and_a_new_scope(
        json!({"scopes": {"assets": "r", "users": "w"}}), None,
        r#"scopes={"assets":"r"}"#
    )]
    #[case::a_block_alone_is_the_whole_again(json!({"active": false}), None, "")]
    #[case::a_role_less_is_the_whole_again(json!({"roles": ["a"]}), None, "")]
    #[case::a_new_role_and_phone(json!({"roles": ["a", "b", "c"], "phone": "x"}), None, "")]
    fn what_a_refused_call_takes_away_goes_without_what_it_adds(
        #[case] changed: Value,
        #[case] groups: Option<&str>,
        #[case] expected: &str,
    ) {
        let groups = groups.map(|groups| groups.split_whitespace().map(str::to_owned).collect());
        let changes = Changes { fields: fields(&changed), groups, ..Changes::default() };
        let field = |(name, value): (&String, &Value)| {
            if is_single(value) { name.clone() } else { format!("{name}={value}") }
        };
        let words = |part: &Changes| {
            let groups =
                part.groups.iter().map(|groups| format!("groups={}", Vec::from_iter(groups.clone()).join(",")));
            part.fields.iter().map(field).chain(groups).collect::<Vec<_>>().join(" ")
        };
        let parts = taken_away(TABLE, &changes, &observed());
        assert_eq!(parts.iter().map(words).collect::<Vec<_>>().join("; "), expected);
    }

    #[test]
    fn a_scope_that_the_vendor_derives_is_not_taken_away_from_a_refused_call_again() {
        let wanted = json!({"scopes": {"assets": "w", "users": "w"}});
        let derived = json!({"scopes": {"assets": "w", "assets.groups": "w"}});
        let observed = Account { fields: fields(&derived), ..Account::default() };
        let changes = Changes { fields: fields(&wanted), ..Changes::default() };
        assert_eq!(taken_away(TABLE, &changes, &observed), []);
    }

    #[test]
    fn a_part_of_a_refused_call_carries_no_entry_that_the_manifest_does_not_name() {
        let wanted = json!({"active": false, "scopes": {"users": "w"}});
        let changes = Changes { fields: fields(&wanted), ..Changes::default() };
        let parts = taken_away(TABLE, &changes, &observed());
        assert_eq!(parts[0].alongside, fields(&json!({"scopes": {}})));
    }

    #[test]
    fn a_password_that_has_no_call_of_its_own_goes_with_the_fields() {
        assert_eq!(calls(&json!({"active": false, "phone": "x"}), None, true, false), "active; phone password");
    }
}
