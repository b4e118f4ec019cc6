//! Tables and properties of the plan: equal values need no step, and a step sends only fields that differ.

use std::collections::{BTreeMap, BTreeSet};

use proptest::prelude::*;
use rstest::rstest;
use serde_json::{Value, json};

use super::{
    Account, AccountKind, Capabilities, Changes, Compare, Creation, DeletionPolicy, Desired, Field, GroupSupport, Key,
    LastApplied, Limits, Membership, PriorState, Removal, Step, Switch, Visibility, creation, folds, matches_key, plan,
    removal, same,
};
use crate::api::Reason;

const TABLE: &[Field] = &[
    Field::fixed("username", Compare::Exact),
    Field::new("email", Compare::FoldCase),
    Field::new("phone", Compare::Exact),
    Field::new("roles", Compare::Set),
    Field::new("prefs", Compare::PerKey),
    Field::new("scopes", Compare::Scopes),
    Field::new("logo", Compare::Shy),
    Field::new("access", Compare::Hidden),
];

#[rstest]
#[case::null_is_empty(Compare::Exact, json!(""), json!(null), true)]
#[case::text(Compare::Exact, json!("a"), json!("A"), false)]
#[case::false_is_not_nothing(Compare::Exact, json!(false), json!(null), false)]
#[case::email_case(Compare::FoldCase, json!("Ada@example.com"), json!("ada@EXAMPLE.com"), true)]
#[case::email(Compare::FoldCase, json!("ada@example.com"), json!("eve@example.com"), false)]
#[case::order(Compare::Set, json!([1, 2]), json!([2, 1]), true)]
#[case::more(Compare::Set, json!([1]), json!([1, 2]), false)]
#[case::none(Compare::Set, json!([]), json!(null), true)]
#[case::other_keys(Compare::PerKey, json!({"a": 1}), json!({"a": 1, "b": 2}), true)]
#[case::inner_keys(Compare::PerKey, json!({"a": {"b": 1}}), json!({"a": {"b": 1, "c": 2}}), true)]
#[case::inner_value(Compare::PerKey, json!({"a": {"b": 1}}), json!({"a": {"b": 2}}), false)]
#[case::missing_key(Compare::PerKey, json!({"a": 1}), json!({}), false)]
#[case::derived(Compare::Scopes, json!({"vehicles": "w"}), json!({"vehicles": "w", "vehicles:device": "r"}), true)]
#[case::too_much(Compare::Scopes, json!({"vehicles": "r"}), json!({"vehicles": "r", "vehicles:device": "w"}), false)]
#[case::unlisted(Compare::Scopes, json!({"vehicles": "r"}), json!({"vehicles": "r", "users": "r"}), false)]
#[case::instant(Compare::Instant, json!("2027-01-01T00:00:00Z"), json!("2027-01-01T01:00:00+01:00"), true)]
#[case::login_address(Compare::Login, json!("Ada@example.com"), json!("ada@example.com"), true)]
#[case::login_name(Compare::Login, json!("Ada"), json!("ada"), false)]
#[case::code_and_name(Compare::Synonym, json!("CO"), json!("Colombia"), true)]
#[case::other_code(Compare::Synonym, json!("CO"), json!("US"), false)]
#[case::other_name(Compare::Synonym, json!("Colombia"), json!("Brazil"), false)]
#[case::numbers(Compare::Synonym, json!(1), json!(1), true)]
#[case::other_numbers(Compare::Synonym, json!(1), json!(2), false)]
#[case::no_map(Compare::PerKey, json!("a"), json!("a"), true)]
#[case::other_no_map(Compare::PerKey, json!("a"), json!("b"), false)]
#[case::no_instant(Compare::Instant, json!("soon"), json!("soon"), false)]
fn values_are_compared_by_meaning(
    #[case] compare: Compare,
    #[case] desired: Value,
    #[case] observed: Value,
    #[case] agrees: bool,
) {
    assert_eq!(same(compare, &desired, &observed, None), agrees);
}

#[rstest]
#[case::same("co", "CO", None, true)]
#[case::known("CO", "Colombia", Some("colombia"), true)]
#[case::known_otherwise("CO", "Columbia", Some("colombia"), false)]
#[case::not_known("CO", "Colombia", None, true)]
fn other_spellings_of_the_same_agree(
    #[case] desired: &str,
    #[case] observed: &str,
    #[case] spelling: Option<&str>,
    #[case] agrees: bool,
) {
    let synonyms = spelling.map(|spelling| BTreeSet::from([spelling.to_owned()]));
    assert_eq!(same(Compare::Synonym, &json!(desired), &json!(observed), synonyms.as_ref()), agrees);
}

#[rstest]
#[case::address("email", "ADA@example.com", true, true)]
#[case::other_address("email", "eve@example.com", true, false)]
#[case::exact("phone", "Five", false, false)]
#[case::login_address("login", "ADA@example.com", true, true)]
#[case::login_name("name", "ADA", false, false)]
#[case::same_name("name", "ada", false, true)]
#[case::not_there("logo", "ada", false, false)]
fn an_account_carries_a_key_as_its_field_is_compared(
    #[case] field: &'static str,
    #[case] value: &str,
    #[case] is_folded: bool,
    #[case] carries: bool,
) {
    let login = |name| Field::new(name, Compare::Login);
    let table: Vec<Field> = TABLE.iter().copied().chain([login("login"), login("name")]).collect();
    let there = json!({"email": "ada@example.com", "login": "ada@example.com", "phone": "five", "name": "ada"});
    let key = Key { field, value: value.to_owned() };
    assert_eq!((folds(&table, &key), matches_key(&table, &account(there), &key)), (is_folded, carries));
}

#[test]
fn users_and_groups_have_fields_of_their_own() {
    let names = |account_kind| CAPABLE.fields(account_kind).iter().map(|field| field.name).collect::<Vec<_>>();
    assert_eq!((names(AccountKind::User).len(), names(AccountKind::Group)), (TABLE.len(), vec![]));
}

#[test]
fn every_sent_field_is_remembered_where_the_vendor_shows_none() {
    let mut wanted = desired(json!({"phone": "1"}));
    wanted.groups = Some(Membership { wanted: ["g".to_owned()].into(), ..Membership::default() });
    let sent = LastApplied::whole(TABLE, &wanted);
    assert!(sent.has("phone", &json!("1")) && sent.has("groups", &json!(["g"])));
    assert!(!LastApplied::of(TABLE, &wanted).has("phone", &json!("1")), "the vendor shows it, so no digest is kept");
}

#[test]
fn rights_are_remembered_by_application_and_value() {
    let rights = |right: &str, given| BTreeMap::from([(right.to_owned(), given)]);
    let sent = LastApplied::default().with_grant("pegasus2.0", &rights("tracking", true));
    assert!(sent.has_grant("pegasus2.0", &rights("tracking", true)));
    assert!(!sent.has_grant("pegasus2.0", &rights("tracking", false)));
    assert!(!sent.has_grant("pegasus2.0", &rights("alerts", true)));
    assert!(!sent.has_grant("pegasus1.0", &rights("tracking", true)));
    let both = sent.with_grant("pegasus1.0", &rights("alerts", true));
    assert!(both.has_grant("pegasus2.0", &rights("tracking", true)), "both applications are remembered");
}

#[test]
fn a_new_right_of_an_existing_user_is_granted() {
    let rights = BTreeMap::from([("tracking".to_owned(), true)]);
    let grants = BTreeMap::from([("pegasus2.0".to_owned(), rights.clone())]);
    let wanted = Desired { grants, ..Desired::default() };
    let grant = Step::Grant { application: "pegasus2.0".into(), rights };
    assert_eq!(steps(&wanted, &account(json!({})), &LastApplied::default(), &[]), [grant]);
}

#[test]
fn a_create_carries_the_groups() {
    let mut wanted = desired(json!({"phone": "1"}));
    wanted.groups = Some(Membership { wanted: ["g".to_owned()].into(), ..Membership::default() });
    let made = creation(TABLE, &wanted, false);
    assert_eq!((made.create.groups, made.then), (Some(["g".to_owned()].into()), vec![]));
}

#[test]
fn a_map_is_sent_with_its_unmanaged_keys_at_every_depth() {
    let wanted = desired(json!({"prefs": {"a": {"b": 1}, "e": 5}}));
    let there = account(json!({"prefs": {"a": {"c": 2}, "d": 3, "e": {"f": 4}}}));
    let planned = steps(&wanted, &there, &LastApplied::default(), &[]);
    let [Step::Update(changes)] = &planned[..] else { panic!("one update, not {planned:?}") };
    assert_eq!(changes.fields["prefs"], json!({"a": {"b": 1, "c": 2}, "d": 3, "e": 5}));
}

#[test]
fn additive_membership_is_rejected_where_groups_are_hidden() {
    let mut wanted = desired(json!({}));
    wanted.groups = Some(Membership { wanted: ["g".to_owned()].into(), additive: true, ..Membership::default() });
    let (sent, added) = (LastApplied::default(), BTreeSet::new());
    let known = PriorState::new(&sent, &added, false);
    let refused = plan(TABLE, &wanted, &Account { groups: None, ..account(json!({})) }, known).unwrap_err();
    assert!(refused.message.starts_with("spec.membership"), "{}", refused.message);
}

#[rstest]
#[case::managed(GroupSupport::Managed, Removal::Delete)]
#[case::read_only(GroupSupport::ReadOnly, Removal::Orphan { unexpected: false })]
#[case::given(GroupSupport::Given, Removal::Orphan { unexpected: false })]
fn only_groups_that_are_managed_are_removed(#[case] groups: GroupSupport, #[case] expected: Removal) {
    let capabilities = Capabilities { groups, ..CAPABLE };
    assert_eq!(
        removal(&capabilities, AccountKind::Group, Some(DeletionPolicy::Delete), false, None).unwrap(),
        expected
    );
}

fn desired(fields: Value) -> Desired {
    Desired { fields: serde_json::from_value(fields).unwrap(), ..Desired::default() }
}

fn account(fields: Value) -> Account {
    Account { id: "1".into(), fields: serde_json::from_value(fields).unwrap(), ..Account::default() }
}

fn steps(desired: &Desired, account: &Account, sent: &LastApplied, added: &[&str]) -> Vec<Step> {
    let added = added.iter().map(ToString::to_string).collect();
    plan(TABLE, desired, account, PriorState::new(sent, &added, false)).unwrap()
}

#[test]
fn a_hidden_field_is_sent_again_only_when_it_changes() {
    let (before, after) = (desired(json!({"access": "basic"})), desired(json!({"access": "full"})));
    let sent = LastApplied::parse(&LastApplied::of(TABLE, &before).text().unwrap());
    assert_eq!(steps(&before, &account(json!({})), &sent, &[]), []);
    let changes = Changes { fields: [("access".into(), json!("full"))].into(), ..Changes::default() };
    assert_eq!(steps(&after, &account(json!({})), &sent, &[]), [Step::Update(changes)]);
}

#[test]
fn a_fixed_field_is_not_changed_but_explained() {
    let (sent, added) = (LastApplied::default(), BTreeSet::new());
    let known = PriorState::new(&sent, &added, false);
    let refused = plan(TABLE, &desired(json!({"username": "b"})), &account(json!({"username": "a"})), known);
    let refused = refused.unwrap_err();
    assert_eq!(refused.reason, Reason::Unsupported);
    assert!(refused.message.contains("username"), "{}", refused.message);
}

#[rstest]
#[case::field(json!({"phone": "2"}), None, false)]
#[case::groups(json!({}), Some("a"), false)]
#[case::password(json!({}), None, true)]
fn listed_scopes_and_hidden_fields_accompany_every_change(
    #[case] edit: Value,
    #[case] group: Option<&str>,
    #[case] password_due: bool,
) {
    let mut wanted = desired(json!({"scopes": {"vehicles": "w"}, "access": "full"}));
    wanted.fields.extend(desired(edit.clone()).fields);
    wanted.groups = group.map(|group| Membership { wanted: [group.to_owned()].into(), ..Membership::default() });
    let there = account(json!({"phone": "1", "scopes": {"vehicles": "w", "vehicles:device": "w"}}));
    let (sent, added) = (LastApplied::of(TABLE, &wanted), BTreeSet::new());
    let known = PriorState::new(&sent, &added, password_due);
    let planned = plan(TABLE, &wanted, &there, known).unwrap();
    let [Step::Update(changes)] = &planned[..] else { panic!("one update, not {planned:?}") };
    assert_eq!(json!(changes.fields), edit);
    assert_eq!(json!(changes.alongside), json!({"scopes": {"vehicles": "w"}, "access": "full"}));
}

#[rstest]
#[case::shown(json!({"logo": "a"}), true, false)]
#[case::shown_otherwise(json!({"logo": "b"}), true, true)]
#[case::not_shown_but_sent(json!({}), true, false)]
#[case::not_shown_and_not_sent(json!({}), false, true)]
fn a_field_shown_only_at_times_is_compared_by_value_or_by_digest(
    #[case] there: Value,
    #[case] was_sent: bool,
    #[case] is_sent: bool,
) {
    let wanted = desired(json!({"logo": "a"}));
    let sent = if was_sent { LastApplied::of(TABLE, &wanted) } else { LastApplied::default() };
    assert_eq!(!steps(&wanted, &account(there), &sent, &[]).is_empty(), is_sent);
}

#[rstest]
#[case::exclusive(false, &["a"], &[], &["a", "b"], Some(&["a"][..]))]
#[case::exclusive_in_sync(false, &["a"], &[], &["a"], None)]
#[case::additive_keeps_others(true, &["a"], &[], &["b"], Some(&["a", "b"][..]))]
#[case::additive_takes_away_ours(true, &["a"], &["c"], &["a", "b", "c"], Some(&["a", "b"][..]))]
#[case::additive_in_sync(true, &["a"], &["a"], &["a", "b"], None)]
#[case::none(false, &[], &[], &["a"], Some(&[][..]))]
fn groups_are_the_complete_list_unless_additive(
    #[case] additive: bool,
    #[case] wanted: &[&str],
    #[case] added: &[&str],
    #[case] there: &[&str],
    #[case] target: Option<&[&str]>,
) {
    let set = |names: &[&str]| names.iter().map(ToString::to_string).collect::<BTreeSet<_>>();
    let desired = Desired {
        groups: Some(Membership { wanted: set(wanted), additive, ..Membership::default() }),
        ..Desired::default()
    };
    let there = Account { groups: Some(set(there)), ..account(json!({})) };
    let expected = target.map(|names| Step::Update(Changes { groups: Some(set(names)), ..Changes::default() }));
    assert_eq!(steps(&desired, &there, &LastApplied::default(), added), expected.into_iter().collect::<Vec<_>>());
}

#[test]
fn rights_in_an_application_are_granted_after_the_user_and_once() {
    let grants = BTreeMap::from([("pegasus2.0".to_owned(), BTreeMap::from([("tracking".to_owned(), true)]))]);
    let wanted = Desired { grants, ..desired(json!({"phone": "1"})) };
    let made = creation(TABLE, &wanted, false);
    assert!(matches!(&made.then[..], [Step::Grant { .. }]), "{made:?}");
    let sent = LastApplied::of(TABLE, &wanted);
    assert_eq!(steps(&wanted, &account(json!({"phone": "1"})), &sent, &[]), []);
}

#[rstest]
#[case::as_made(Some(true), None)]
#[case::otherwise(Some(false), Some(false))]
#[case::not_managed(None, None)]
fn a_field_that_a_create_does_not_take_is_sent_after_it(#[case] wanted: Option<bool>, #[case] sent: Option<bool>) {
    let table = [Field::new("phone", Compare::Exact), Field::after_create("is_active", Compare::Exact, true)];
    let mut wanted = desired(wanted.map_or(json!({}), |active| json!({"is_active": active})));
    wanted.fields.insert("phone".into(), json!("1"));
    let create = Changes { fields: [("phone".into(), json!("1"))].into(), password: true, ..Changes::default() };
    let after =
        sent.map(|active| Changes { fields: [("is_active".into(), json!(active))].into(), ..Changes::default() });
    let expected = Creation { create, then: after.map(Step::Update).into_iter().collect() };
    assert_eq!(creation(&table, &wanted, true), expected);
}

const CAPABLE: Capabilities = Capabilities {
    user_fields: TABLE,
    group_fields: &[],
    visibility: Visibility::Full,
    filter: true,
    updates: true,
    change_needs_password: false,
    deletes: true,
    switch: Some(Switch { field: "is_active", blocked: false }),
    groups: GroupSupport::Managed,
    named_roles: false,
    checkable: true,
    default_limits: Limits { per_minute: 1, burst: 1, concurrency: 1 },
    secret_fields: &[],
};

#[rstest]
#[case::default(CAPABLE, None, false, None, Ok(Removal::Delete))]
#[case::own_wins(CAPABLE, Some(DeletionPolicy::Disable), true, Some(DeletionPolicy::Delete), Ok(Removal::Disable))]
#[case::pre_existing_stays(CAPABLE, None, true, Some(DeletionPolicy::Delete), Ok(Removal::Orphan { unexpected: false }))]
#[case::credential(CAPABLE, None, false, Some(DeletionPolicy::Orphan), Ok(Removal::Orphan { unexpected: false }))]
#[case::no_delete(Capabilities { deletes: false, ..CAPABLE }, Some(DeletionPolicy::Delete), false, None, Ok(Removal::Disable))]
#[case::no_switch(Capabilities { switch: None, ..CAPABLE }, Some(DeletionPolicy::Disable), false, None, Err(Reason::Unsupported))]
#[case::no_policy(Capabilities { switch: None, deletes: false, ..CAPABLE }, None, false, None, Ok(Removal::Orphan { unexpected: true }))]
#[case::nothing_possible(Capabilities { switch: None, deletes: false, ..CAPABLE }, Some(DeletionPolicy::Delete), false, None, Err(Reason::Unsupported))]
fn the_removal_of_a_user_follows_policies_and_capabilities(
    #[case] capabilities: Capabilities,
    #[case] own: Option<DeletionPolicy>,
    #[case] found: bool,
    #[case] fallback: Option<DeletionPolicy>,
    #[case] expected: Result<Removal, Reason>,
) {
    let decided = removal(&capabilities, AccountKind::User, own, found, fallback);
    assert_eq!(decided.map_err(|rejection| rejection.reason), expected);
}

/// Values that a manifest or a vendor may hold for a field of `TABLE`.
fn value(name: &'static str) -> BoxedStrategy<Value> {
    let text = prop_oneof![Just(json!(null)), Just(json!("")), "[a-c]{1,2}".prop_map(Value::from)];
    let level = prop_oneof![Just("r"), Just("w")];
    let map = prop::collection::btree_map("[a-c](\\.[a-c])?", level, 0..4).prop_map(|map| json!(map));
    match name {
        "roles" => prop::collection::vec(0..4_u8, 0..4).prop_map(|list| json!(list)).boxed(),
        "prefs" | "scopes" => map.boxed(),
        _ => text.boxed(),
    }
}

fn fields() -> impl Strategy<Value = BTreeMap<String, Value>> {
    let names = ["email", "phone", "roles", "prefs", "scopes", "access"];
    let entry = |name: &'static str| prop::option::of(value(name)).prop_map(move |value| (name, value));
    names
        .map(entry)
        .to_vec()
        .prop_map(|entries| entries.into_iter().filter_map(|(name, value)| Some((name.to_owned(), value?))).collect())
}

proptest! {
    #[test]
    fn steps_reach_the_desired_state_and_change_only_named_fields(wanted in fields(), there in fields()) {
        let wanted = Desired { fields: wanted, ..Desired::default() };
        let before = Account { id: "1".into(), fields: there, ..Account::default() };
        let mut after = before.clone();
        for step in steps(&wanted, &before, &LastApplied::default(), &[]) {
            let Step::Update(changes) = step else { panic!("only updates") };
            for name in changes.fields.keys() {
                prop_assert!(wanted.fields.contains_key(name), "{name} is not mentioned");
            }
            after = after.with(&changes);
        }
        let sent = LastApplied::of(TABLE, &wanted);
        prop_assert_eq!(steps(&wanted, &after, &sent, &[]), vec![]);
    }

    #[test]
    fn the_order_of_a_list_never_matters(list in prop::collection::vec(0..5_u8, 0..5)) {
        let mut turned = list.clone();
        turned.reverse();
        prop_assert!(same(Compare::Set, &json!(list), &json!(turned), None));
    }
}

#[rstest]
#[case::mixed(json!({"view": true, "edit": false}), Some(json!({"edit": false})))]
#[case::only_given(json!({"view": true}), None)]
#[case::only_taken_is_the_same_step_again(json!({"edit": false}), None)]
fn a_refused_grant_still_takes_rights_away(#[case] rights: Value, #[case] expected: Option<Value>) {
    let grant = |rights: Value| Step::Grant {
        application: "pegasus2.0".into(),
        rights: serde_json::from_value(rights).unwrap(),
    };
    let steps = grant(rights).taking_away(TABLE, &Account::default());
    assert_eq!(steps, expected.map(grant).into_iter().collect::<Vec<_>>());
}
