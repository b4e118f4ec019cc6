//! Decides the steps from the observed to the desired state; reconciles, drift checks and `usher plan` use the same function.

use std::collections::{BTreeMap, BTreeSet};

use serde_json::{Map, Value, json};

use super::apart::{Calls, apart, taken_away};
use super::compare::{Compare, same};
use super::field::Field;
use super::last_applied::{LastApplied, short};
use super::model::{Account, Changes, Desired, Fields, Membership, Rejection};
use crate::api::Reason;
use crate::api::status::PendingCall;

/// The name under which the groups of a user are compared, as if they were a field.
const GROUPS: &str = "groups";

/// One change at the vendor.
#[derive(Clone, Debug, PartialEq)]
pub enum Step {
    /// Change it.
    Update(Changes),
    /// Set rights in one application.
    Grant {
        /// The application's name.
        application: String,
        /// The rights that the manifest names; others stay as they are.
        rights: BTreeMap<String, bool>,
    },
}

impl Step {
    /// Whether it is a grant that takes a right away.
    fn takes_rights(&self) -> bool {
        matches!(self, Self::Grant { rights, .. } if rights.values().any(|given| !given))
    }

    /// The steps that take away from `observed` what this one does and add nothing, for a vendor that refused it; empty if that would be
    /// the same step again.
    #[must_use]
    pub fn taking_away(&self, table: &[Field], observed: &Account) -> Vec<Self> {
        match self {
            Self::Update(changes) => taken_away(table, changes, observed).into_iter().map(Self::Update).collect(),
            Self::Grant { application, rights } => {
                let (given, taken): (BTreeMap<_, _>, BTreeMap<_, _>) =
                    rights.clone().into_iter().partition(|(_, is_given)| *is_given);
                let is_mixed = !given.is_empty() && !taken.is_empty();
                is_mixed.then(|| Self::Grant { application: application.clone(), rights: taken }).into_iter().collect()
            }
        }
    }

    /// A digest of all that the step sends, where `password_version` is the version of the password that goes along.
    #[must_use]
    pub fn digest(&self, password_version: Option<&str>) -> String {
        short(&match self {
            Self::Update(Changes { fields, groups, alongside, password: _ }) => {
                json!([fields, groups, alongside, password_version])
            }
            Self::Grant { application, rights } => json!([application, rights]),
        })
    }
}

/// What usher remembers of an account beside what the vendor shows.
#[derive(Clone, Copy, Debug)]
pub struct PriorState<'a> {
    /// Digests of hidden fields that usher sent.
    pub sent: &'a LastApplied,
    /// Groups to which usher added the user.
    pub added: &'a BTreeSet<String>,
    /// Whether the password has a value that usher has not sent yet.
    pub password_due: bool,
    /// Whether the vendor takes a password in a call of its own.
    pub is_password_apart: bool,
    /// Digests of values that the vendor accepted and does not show as they were sent.
    pub not_kept: &'a LastApplied,
}

static NOTHING: LastApplied = LastApplied::nothing();

impl<'a> PriorState<'a> {
    /// What is remembered of an account at a vendor that takes a password in a call of its own and keeps all that it is sent.
    #[must_use]
    pub fn new(sent: &'a LastApplied, added: &'a BTreeSet<String>, password_due: bool) -> Self {
        Self { sent, added, password_due, is_password_apart: true, not_kept: &NOTHING }
    }
}

/// The steps that make an account.
#[derive(Clone, Debug, PartialEq)]
pub struct Creation {
    /// The fields that the create carries.
    pub create: Changes,
    /// The steps that follow, because a create does not take them.
    pub then: Vec<Step>,
}

/// The steps from the account `observed` to `desired`; empty when they agree.
///
/// Errors: `Unsupported` for a difference in a field that the vendor never changes.
pub fn plan(
    table: &[Field],
    desired: &Desired,
    observed: &Account,
    known: PriorState<'_>,
) -> Result<Vec<Step>, Rejection> {
    let changes = changes(table, desired, observed, known)?;
    let Calls { taking_away, rest } = apart(table, changes, observed, known.is_password_apart);
    let with_others = |mut changes: Changes| {
        changes.alongside = alongside(table, desired, &changes.fields);
        changes
    };
    // A hidden value that was not accepted yet may be refused, and goes with the rest.
    let with_accepted = |changes: Changes| {
        let mut changes = with_others(changes);
        changes.alongside.retain(|name, value| !is_hidden(table, name) || known.sent.has(name, value));
        changes
    };
    let grants = grants(desired, |name, rights| !known.sent.has_grant(name, rights));
    // Rights that are taken away do not wait for values that the vendor may refuse.
    let (taken, given): (Vec<Step>, Vec<Step>) = grants.partition(Step::takes_rights);
    let (first, rest) = (taking_away.map(with_accepted), rest.into_iter().map(with_others));
    Ok(first.into_iter().map(Step::Update).chain(taken).chain(rest.map(Step::Update)).chain(given).collect())
}

/// The steps that make the account `desired`, with its password or without.
#[must_use]
pub fn creation(table: &[Field], desired: &Desired, password: bool) -> Creation {
    let (create, after) = split_creation(table, desired, password);
    Creation { create, then: follow_up(desired, after, |_, _| true) }
}

/// The calls that the creation of `target` makes.
#[must_use]
pub fn creation_calls(target: &str, creation: &Creation) -> Vec<PendingCall> {
    let create = PendingCall::new("create", target, creation.create.names());
    [create].into_iter().chain(step_calls(target, &creation.then)).collect()
}

/// The calls that `steps` make on `target`.
#[must_use]
pub fn step_calls(target: &str, steps: &[Step]) -> Vec<PendingCall> {
    let call = |operation: &str, fields: Vec<String>| PendingCall::new(operation, target, fields);
    let calls = steps.iter().map(|step| match step {
        Step::Update(changes) => call("update", changes.names()),
        Step::Grant { application, rights } => {
            call("grant", rights.keys().map(|right| format!("{application}.{right}")).collect())
        }
    });
    calls.collect()
}

/// The digests of the values that `steps` send.
#[must_use]
pub fn sent_by(steps: &[Step]) -> LastApplied {
    let mut sent = LastApplied::default();
    for step in steps {
        let Step::Update(Changes { fields, groups, .. }) = step else { continue };
        sent = fields.iter().fold(sent, |sent, (name, value)| sent.with(name, value));
        sent = groups.iter().fold(sent, |sent, groups| sent.with(GROUPS, &json!(groups)));
    }
    sent
}

/// The update with `changes`, if there are any, and the grants that are due.
fn follow_up(desired: &Desired, changes: Changes, is_due: impl Fn(&str, &BTreeMap<String, bool>) -> bool) -> Vec<Step> {
    let update = (!changes.is_empty()).then_some(Step::Update(changes));
    update.into_iter().chain(grants(desired, is_due)).collect()
}

/// The grants that are due.
fn grants(desired: &Desired, is_due: impl Fn(&str, &BTreeMap<String, bool>) -> bool) -> impl Iterator<Item = Step> {
    let grants = desired.grants.iter().filter(move |(name, rights)| is_due(name, rights));
    grants.map(|(name, rights)| Step::Grant { application: name.clone(), rights: rights.clone() })
}

/// What a create carries, and what has to follow it because a create does not take it.
fn split_creation(table: &[Field], desired: &Desired, password: bool) -> (Changes, Changes) {
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

/// A difference between the desired and the observed account.
#[derive(Clone, Debug)]
pub(super) struct Difference {
    /// The vendor's name of the field, or "groups".
    pub(super) field: String,
    /// The value to send.
    pub(super) wanted: Value,
    /// The value that the vendor shows.
    pub(super) there: Value,
    /// How the field is compared; `None` for groups.
    pub(super) compare: Option<Compare>,
    is_fixed: bool,
}

/// The differences between `desired` and `observed`, whether or not the vendor keeps what is sent.
pub(super) fn differences(
    table: &[Field],
    desired: &Desired,
    account: &Account,
    known: PriorState<'_>,
) -> Vec<Difference> {
    let field = |field: &Field| {
        let wanted = desired.fields.get(field.name)?;
        let there = account.fields.get(field.name).unwrap_or(&Value::Null);
        let agrees = match field.compare {
            Compare::Hidden => known.sent.has(field.name, wanted),
            Compare::Shy if !account.fields.contains_key(field.name) => known.sent.has(field.name, wanted),
            compare => same(compare, wanted, there, desired.synonyms.get(field.name)),
        };
        let wanted = merged(field.compare, wanted, there);
        let (there, compare) = (there.clone(), Some(field.compare));
        (!agrees).then(|| Difference { field: field.name.into(), wanted, there, compare, is_fixed: field.fixed })
    };
    let groups = desired.groups.as_ref().and_then(|membership| regroup(membership, account, known.added));
    let groups = groups.map(|target| Difference {
        field: GROUPS.into(),
        wanted: json!(target),
        there: json!(account.groups),
        compare: None,
        is_fixed: false,
    });
    table.iter().filter_map(field).chain(groups).collect()
}

fn changes(table: &[Field], desired: &Desired, account: &Account, known: PriorState<'_>) -> Result<Changes, Rejection> {
    let mut changes = Changes { password: known.password_due, ..Changes::default() };
    if desired.groups.as_ref().is_some_and(|membership| membership.additive && account.groups.is_none()) {
        return Err(groups_not_shown());
    }
    for Difference { field, wanted, there, compare, is_fixed } in differences(table, desired, account, known) {
        if known.not_kept.has_note(&field, &wanted, &there) {
            continue;
        }
        match compare {
            Some(_) if is_fixed => return Err(fixed(&field, &there)),
            Some(_) => drop(changes.fields.insert(field, wanted)),
            None => changes.groups = serde_json::from_value(wanted).ok(),
        }
    }
    Ok(changes)
}

/// The fields that accompany `changed` at a vendor that takes whole accounts only: hidden fields, because they would be lost,
/// and scopes as the manifest lists them, because the vendor also shows derived scopes and a write must not grant those.
#[must_use]
pub fn alongside(table: &[Field], desired: &Desired, changed: &Fields) -> Fields {
    let partly = |field: &&Field| matches!(field.compare, Compare::Scopes | Compare::Shy | Compare::Hidden);
    let named = table.iter().filter(partly).filter(|field| !changed.contains_key(field.name));
    named.filter_map(|field| Some((field.name.to_owned(), desired.fields.get(field.name)?.clone()))).collect()
}

fn is_hidden(table: &[Field], name: &str) -> bool {
    table.iter().any(|field| field.name == name && field.compare == Compare::Hidden)
}

/// The rejection of Additive membership where the vendor hides a user's groups, because groups that usher did not add could be
/// lost.
fn groups_not_shown() -> Rejection {
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

/// The value to send: a map that is compared per key keeps the keys that the manifest does not name.
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

/// The new set of groups, if it differs from the observed one.
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
