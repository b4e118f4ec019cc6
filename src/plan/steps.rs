//! From desired and observed to at most a few steps; the same function serves reconciles, drift checks and plans.

use std::collections::BTreeSet;

use serde_json::{Map, Value};

use super::compare::{Compare, same};
use super::field::Field;
use super::model::{Account, Changes, Desired, Fields, Membership, Rejection};
use super::sent::LastApplied;
use crate::api::Reason;

/// One thing to do at the vendor.
#[derive(Clone, Debug, PartialEq)]
pub enum Step {
    /// Make the account.
    Create(Changes),
    /// Change it.
    Update(Changes),
    /// Set rights in one application.
    Grant {
        /// The application's name.
        application: String,
        /// The rights named in the manifest; others stay.
        rights: std::collections::BTreeMap<String, bool>,
    },
}

/// What we know beside what the vendor shows.
#[derive(Clone, Copy, Debug)]
pub struct PriorState<'a> {
    /// Digests of hidden fields that were sent.
    pub sent: &'a LastApplied,
    /// Groups that we added.
    pub added: &'a BTreeSet<String>,
    /// Whether the password's value is one that was not sent yet.
    pub password_due: bool,
}

/// The steps from `observed` (`None`: not there) to `desired`; empty when they agree.
///
/// Errors: a difference in a field that the vendor never changes is `Unsupported`.
pub fn plan(
    table: &[Field],
    desired: &Desired,
    observed: Option<&Account>,
    known: PriorState<'_>,
) -> Result<Vec<Step>, Rejection> {
    let (create, changes) = match observed {
        None => {
            let (create, after) = creation(table, desired, known.password_due);
            (Some(Step::Create(create)), after)
        }
        Some(account) => (None, difference(table, desired, account, known)?),
    };
    let update = (!changes.is_empty()).then_some(Step::Update(changes));
    let fresh = observed.is_none();
    let grants = desired.grants.iter().filter(|(name, rights)| fresh || !known.sent.has_grant(name, rights));
    let grants = grants.map(|(name, rights)| Step::Grant { application: name.clone(), rights: rights.clone() });
    Ok(create.into_iter().chain(update).chain(grants).collect())
}

/// What a create carries, and what has to follow it because a create does not take it.
fn creation(table: &[Field], desired: &Desired, password: bool) -> (Changes, Changes) {
    let mut fields = desired.at_create.clone();
    fields.extend(desired.fields.clone());
    let mut after = Changes::default();
    for (field, initial) in table.iter().filter_map(|field| Some((field, field.initial?))) {
        let wanted = fields.remove(field.name).filter(|wanted| *wanted != Value::Bool(initial));
        after.fields.extend(wanted.map(|wanted| (field.name.to_owned(), wanted)));
    }
    let groups = desired.groups.as_ref().map(|membership| membership.wanted.clone());
    (Changes { fields, groups, password, ..Changes::default() }, after)
}

fn difference(
    table: &[Field],
    desired: &Desired,
    account: &Account,
    known: PriorState<'_>,
) -> Result<Changes, Rejection> {
    let mut changes = Changes { password: known.password_due, ..Changes::default() };
    for field in table {
        let Some(wanted) = desired.fields.get(field.name) else { continue };
        let there = account.fields.get(field.name).unwrap_or(&Value::Null);
        let agrees = match field.compare {
            Compare::Hidden => known.sent.has(field.name, wanted),
            Compare::Shy if !account.fields.contains_key(field.name) => known.sent.has(field.name, wanted),
            compare => same(compare, wanted, there, desired.synonyms.get(field.name)),
        };
        if agrees {
            continue;
        }
        if field.fixed {
            return Err(fixed(field.name, there));
        }
        changes.fields.insert(field.name.into(), merged(field.compare, wanted, there));
    }
    if let Some(membership) = &desired.groups {
        if membership.additive && account.groups.is_none() {
            return Err(unseen());
        }
        changes.groups = regroup(membership, account, known.added);
    }
    if !changes.is_empty() {
        changes.alongside = alongside(table, desired, &changes.fields);
    }
    Ok(changes)
}

/// What goes along with `changed` where all that is read is written back: hidden fields, which would be lost, and scopes as
/// listed, because the vendor shows them with what it derives from them, and derived rights must never become given ones.
#[must_use]
pub fn alongside(table: &[Field], desired: &Desired, changed: &Fields) -> Fields {
    let partly = |field: &&Field| matches!(field.compare, Compare::Scopes | Compare::Shy | Compare::Hidden);
    let named = table.iter().filter(partly).filter(|field| !changed.contains_key(field.name));
    named.filter_map(|field| Some((field.name.to_owned(), desired.fields.get(field.name)?.clone()))).collect()
}

/// The groups of others, which are to stay, are not known.
fn unseen() -> Rejection {
    let message = "spec.membership: the vendor does not show which groups this user is in; set Exclusive";
    Rejection::new(Reason::Unsupported, message)
}

fn fixed(field: &str, there: &Value) -> Rejection {
    Rejection::new(
        Reason::Unsupported,
        format!(
            "the vendor cannot change {field} of an existing account: set it back to {there}, or delete this object and make a new one"
        ),
    )
}

/// The value to send: per-key maps keep the keys that the manifest does not name.
fn merged(compare: Compare, wanted: &Value, there: &Value) -> Value {
    match (compare, wanted, there) {
        (Compare::PerKey, Value::Object(wanted), Value::Object(there)) => merge(wanted, there).into(),
        _ => wanted.clone(),
    }
}

fn merge(wanted: &Map<String, Value>, there: &Map<String, Value>) -> Map<String, Value> {
    let mut merged = there.clone();
    for (key, value) in wanted {
        let value = match (value, there.get(key)) {
            (Value::Object(inner), Some(Value::Object(old))) => merge(inner, old).into(),
            _ => value.clone(),
        };
        merged.insert(key.clone(), value);
    }
    merged
}

/// The new set of groups, if it differs from what is there.
fn regroup(membership: &Membership, account: &Account, added: &BTreeSet<String>) -> Option<BTreeSet<String>> {
    let none = BTreeSet::new();
    let there = account.groups.as_ref().unwrap_or(&none);
    let target: BTreeSet<String> = if membership.additive {
        let kept = |group: &&String| !added.contains(*group) || membership.spared.contains(*group);
        there.iter().filter(kept).chain(&membership.wanted).cloned().collect()
    } else {
        membership.wanted.iter().chain(there.intersection(&membership.spared)).cloned().collect()
    };
    (target != *there).then_some(target)
}
