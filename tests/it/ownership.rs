//! Partial ownership over the real tables of every vendor: a field that the manifest names is sent once, any other field stays.

use std::collections::{BTreeMap, BTreeSet};

use proptest::prelude::*;
use serde_json::{Value, json};
use strum::IntoEnumIterator;
use usher::api::Vendor;
use usher::plan::{Account, AccountKind, Compare, Desired, Field, LastApplied, Membership, PriorState, Step, plan};
use usher::providers::capabilities;

type Values = BTreeMap<String, Value>;

/// Values that a manifest or a vendor may hold for a field compared in this way.
fn value(compare: Compare) -> BoxedStrategy<Value> {
    let nothing = || Just(json!(null));
    let map = || {
        let level = prop_oneof![Just("r"), Just("w")];
        prop::collection::btree_map("[a-c]", level, 0..4).prop_map(|map| json!(map))
    };
    match compare {
        Compare::Set => {
            prop_oneof![nothing(), prop::collection::vec(0..4_u8, 0..4).prop_map(|list| json!(list))].boxed()
        }
        Compare::PerKey => prop_oneof![nothing(), map(), map().prop_map(|inner| json!({"a": inner, "z": 1}))].boxed(),
        Compare::Scopes => prop_oneof![nothing(), map()].boxed(),
        Compare::Instant => {
            prop_oneof![Just(json!("2027-01-01T00:00:00Z")), Just(json!("2028-01-01T00:00:00Z"))].boxed()
        }
        Compare::FoldCase | Compare::Login => {
            prop_oneof![Just(json!("ada@example.com")), Just(json!("ADA@example.com")), Just(json!("eve@example.com"))]
                .boxed()
        }
        Compare::Exact | Compare::Synonym | Compare::Shy | Compare::Hidden => prop_oneof![
            nothing(),
            Just(json!("")),
            Just(json!(true)),
            Just(json!(false)),
            "[a-c]{1,2}".prop_map(Value::from)
        ]
        .boxed(),
    }
}

fn values(table: &'static [Field]) -> impl Strategy<Value = Values> {
    let entries: Vec<_> = table
        .iter()
        .map(|field| prop::option::of(value(field.compare)).prop_map(|value| (field.name.to_owned(), value)))
        .collect();
    entries.prop_map(|entries| entries.into_iter().filter_map(|(name, value)| Some((name, value?))).collect())
}

fn groups() -> impl Strategy<Value = BTreeSet<String>> {
    prop::collection::btree_set("[1-5]", 0..5)
}

/// A table, what is wanted of an account in it, what is there, and which groups we added.
#[derive(Clone, Debug)]
struct World {
    table: &'static [Field],
    desired: Desired,
    before: Account,
    added: BTreeSet<String>,
}

fn world() -> impl Strategy<Value = World> {
    let tables: Vec<&'static [Field]> = Vendor::iter()
        .flat_map(|vendor| {
            [AccountKind::User, AccountKind::Group].map(|account_kind| capabilities(vendor).fields(account_kind))
        })
        .filter(|table| !table.is_empty())
        .collect();
    prop::sample::select(tables).prop_flat_map(|table| {
        let membership = prop::option::of((groups(), groups(), any::<bool>()));
        (values(table), values(table), membership, groups(), groups()).prop_map(
            move |(mut wanted, there, member, own, added)| {
                // What the vendor never changes is another test's.
                wanted.retain(|name, _| !table.iter().any(|field| field.name == name && field.fixed));
                let groups = member.map(|(wanted, spared, additive)| Membership { wanted, spared, additive });
                World {
                    table,
                    desired: Desired { fields: wanted, groups, ..Desired::default() },
                    before: Account { id: "1".into(), fields: there, groups: Some(own), ..Account::default() },
                    added,
                }
            },
        )
    })
}

impl World {
    fn steps(&self, account: &Account, sent: &LastApplied, added: &BTreeSet<String>) -> Vec<Step> {
        plan(self.table, &self.desired, account, PriorState::new(sent, added, false)).unwrap()
    }

    /// The account once the steps are carried out, and whether there were any.
    fn applied(&self) -> (Account, bool) {
        let steps = self.steps(&self.before, &LastApplied::default(), &self.added);
        let after = steps.iter().fold(self.before.clone(), |account, step| match step {
            Step::Update(changes) => account.with(changes),
            Step::Grant { .. } => account,
        });
        (after, !steps.is_empty())
    }
}

/// Keys of a map that `wanted` does not name.
fn unnamed(wanted: &Value, there: &Value) -> Values {
    let named = |key: &String| wanted.get(key).is_some();
    let entries = there.as_object().into_iter().flatten();
    entries.filter(|(key, _)| !named(key)).map(|(key, value)| (key.clone(), value.clone())).collect()
}

fn turned(value: &Value) -> Value {
    match value {
        Value::Array(list) => list.iter().rev().cloned().collect(),
        other => other.clone(),
    }
}

proptest! {
    #![proptest_config(ProptestConfig { cases: 2000, failure_persistence: None, ..ProptestConfig::default() })]

    #[test]
    fn what_was_applied_needs_nothing_more(world in world()) {
        let (after, _) = world.applied();
        let sent = LastApplied::of(world.table, &world.desired);
        let wanted = world.desired.groups.as_ref().map(|membership| membership.wanted.clone());
        prop_assert_eq!(world.steps(&after, &sent, &wanted.unwrap_or_default()), vec![]);
    }

    #[test]
    fn what_is_not_mentioned_stays(world in world()) {
        let (after, _) = world.applied();
        for field in world.table {
            let (there, now) = (world.before.fields.get(field.name), after.fields.get(field.name));
            match world.desired.fields.get(field.name) {
                None => prop_assert_eq!(there, now, "{} is not mentioned", field.name),
                Some(wanted) if field.compare == Compare::PerKey && !wanted.is_null() => {
                    let null = Value::Null;
                    let (there, now) = (there.unwrap_or(&null), now.unwrap_or(&null));
                    prop_assert_eq!(unnamed(wanted, there), unnamed(wanted, now), "other keys of {}", field.name);
                }
                Some(_) => {}
            }
        }
        if world.desired.groups.is_none() {
            prop_assert_eq!(&world.before.groups, &after.groups);
        }
    }

    #[test]
    fn groups_are_the_whole_truth_or_only_what_we_added(world in world()) {
        let (after, _) = world.applied();
        let Some(Membership { wanted, spared, additive }) = &world.desired.groups else { return Ok(()) };
        let (there, now) = (world.before.groups.clone().unwrap(), after.groups.unwrap());
        prop_assert!(wanted.is_subset(&now), "all that are wanted are there");
        for group in there.difference(&now) {
            prop_assert!(!spared.contains(group), "{group} was to be spared");
            prop_assert!(!additive || world.added.contains(group), "{group} was not ours to take away");
        }
        for group in now.difference(wanted) {
            prop_assert!(there.contains(group), "{group} is given though nobody asked");
            prop_assert!(*additive || spared.contains(group), "{group} is left though it is not listed");
        }
    }

    #[test]
    fn nothing_wanted_is_nothing_done(world in world()) {
        let nothing = World { desired: Desired::default(), ..world };
        prop_assert!(!nothing.applied().1);
    }

    #[test]
    fn the_order_of_lists_never_matters(world in world()) {
        let mut other = world.clone();
        other.before.fields.values_mut().for_each(|value| *value = turned(value));
        other.desired.fields.values_mut().for_each(|value| *value = turned(value));
        prop_assert_eq!(world.applied().1, other.applied().1);
    }

    #[test]
    fn empty_clears_and_absent_does_not(world in world()) {
        for field in world.table.iter().filter(|field| !field.fixed && matches!(field.compare, Compare::Exact | Compare::Set | Compare::Scopes)) {
            let empty = if field.compare == Compare::Exact { json!("") } else if field.compare == Compare::Set { json!([]) } else { json!({}) };
            let desired = Desired { fields: [(field.name.to_owned(), empty.clone())].into(), ..Desired::default() };
            let one = World { desired, ..world.clone() };
            let there = world.before.fields.get(field.name).cloned().unwrap_or_default();
            let (after, _) = one.applied();
            let now = after.fields.get(field.name).cloned().unwrap_or_default();
            let is_empty = |value: &Value| value.is_null() || *value == json!("") || *value == json!([]) || *value == json!({});
            prop_assert!(is_empty(&now), "{} was {there} and is {now}", field.name);
        }
    }
}
