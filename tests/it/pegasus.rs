//! What Pegasus' documents leave open works in every reading: the provider alone against the simulated vendor.

use std::collections::{BTreeMap, BTreeSet};
use std::sync::Arc;
use std::time::Duration;

use rstest::rstest;
use serde_json::{Value, json};
use tokio::sync::mpsc;
use usher::api::{Kind, ObjectKey, PlatformGroupSpec, PlatformUserSpec};
use usher::plan::{Account, AccountKind, Catalog, Changes, Desired, LastApplied, PriorState, Step, creation, plan};
use usher::providers::{self, Access, AddressRules, Delivery, ErrorKind, Limiter, NoMetrics, Provider, SecretData};
use usher_sandbox::vendors::{Fault, FaultKind, Options, PegasusOptions, Simulator, Vendor};

use crate::contract::PASSWORD;
use crate::scene::merge;

/// The vendor, and the way to it.
struct Wire {
    vendor: Simulator,
    provider: Arc<dyn Provider>,
}

impl Wire {
    async fn new(pegasus: PegasusOptions) -> Self {
        let options = Options { pegasus, ..Options::default() };
        let vendor = Simulator::start_with(Vendor::Pegasus, options).await.unwrap();
        let secret = vendor.secret().into_iter().map(|(key, value)| (key, value.into_bytes()));
        let limits = providers::capabilities(usher::api::Vendor::Pegasus).default_limits;
        let (wake, _) = mpsc::unbounded_channel();
        let credential = ObjectKey::new(Kind::Credential, "identity", "main");
        let provider = providers::connect(&Access {
            provider: &serde_json::from_value(json!({"pegasus": {"url": vendor.url()}})).unwrap(),
            secret: &SecretData::new("main", secret),
            limiter: Limiter::new(credential, usher::api::Vendor::Pegasus, limits, wake, Arc::new(NoMetrics)),
            observer: Arc::new(NoMetrics),
            timeout: Duration::from_secs(5),
            addresses: AddressRules { insecure: true, ..AddressRules::default() },
            ca_bundle: None,
        });
        Self { vendor, provider: provider.unwrap() }
    }

    fn user(&self, further: Value) -> Desired {
        let mut spec = json!({"credentialRef": {"name": "main"}, "email": "ada@example.com"});
        merge(&mut spec, further);
        let spec: PlatformUserSpec = serde_json::from_value(spec).unwrap();
        self.provider.desire_user(&spec, &Catalog::default()).unwrap()
    }

    fn group(&self, name: &str, further: Value) -> Desired {
        let mut spec = json!({"credentialRef": {"name": "main"}});
        merge(&mut spec, further);
        let spec: PlatformGroupSpec = serde_json::from_value(spec).unwrap();
        self.provider.desire_group(name, &spec, &Catalog::default()).unwrap()
    }

    /// What is to be sent to make `account` as `desired`; what is hidden was sent already.
    fn changes(
        &self,
        account_kind: AccountKind,
        desired: &Desired,
        account: Option<&Account>,
        password_due: bool,
    ) -> Changes {
        let table = self.provider.capabilities().fields(account_kind);
        let (sent, added) = (LastApplied::of(table, desired), BTreeSet::new());
        let known = PriorState::new(&sent, &added, password_due);
        let Some(account) = account else { return creation(table, desired, password_due).create };
        match plan(table, desired, account, known).unwrap().into_iter().next() {
            Some(Step::Update(changes)) => changes,
            Some(Step::Grant { .. }) | None => Changes::default(),
        }
    }

    async fn create(&self, account_kind: AccountKind, desired: &Desired) -> Result<Account, providers::ProviderError> {
        let password = (account_kind == AccountKind::User).then(|| PASSWORD.into());
        let changes = self.changes(account_kind, desired, None, password.is_some());
        self.provider.create(account_kind, &changes, password.as_ref()).await
    }

    async fn read(&self, id: &str) -> Account {
        self.provider.read(AccountKind::User, id).await.unwrap().unwrap()
    }
}

fn ada(further: Value) -> Value {
    let mut user = json!({"email": "ada@example.com", "username": "ada@example.com"});
    merge(&mut user, further);
    user
}

#[tokio::test]
async fn a_success_without_a_body_is_a_success() {
    let wire = Wire::new(PegasusOptions::default()).await;
    for operation in ["users.create", "users.update", "users.delete", "apps.write"] {
        wire.vendor.fault(Fault::always(operation, FaultKind::NoBody));
    }
    let made = wire.create(AccountKind::User, &wire.user(json!({}))).await.unwrap();
    assert_eq!(wire.vendor.user("ada@example.com").unwrap()["id"].to_string(), made.id);
    let changes = Changes { password: true, ..Changes::default() };
    wire.provider.update(AccountKind::User, &made, &changes, Some(&"Fake-Passw0rd-2".into())).await.unwrap();
    wire.provider.grant(&made.id, "pegasus2.0", &BTreeMap::from([("trips".into(), true)])).await.unwrap();
    wire.provider.delete(AccountKind::User, &made.id).await.unwrap();
    assert!(wire.vendor.users().is_empty());
}

#[tokio::test]
async fn a_create_without_a_body_whose_user_is_not_found_stays_pending() {
    let wire = Wire::new(PegasusOptions::default()).await;
    wire.vendor.fault(Fault::always("users.create", FaultKind::NoBody));
    for kind in [FaultKind::EmptyList, FaultKind::Status(403, None)] {
        wire.vendor.fault(Fault::once("users.find", kind));
        let lost = wire.create(AccountKind::User, &wire.user(json!({}))).await.unwrap_err();
        assert_eq!(lost.delivery, Delivery::Answered, "{lost}");
        wire.vendor.remove_user("ada@example.com");
    }
}

#[rstest]
#[case::not_found(404)]
#[case::no_such_method(405)]
#[case::not_implemented(501)]
#[tokio::test]
async fn rights_are_granted_where_they_cannot_be_read(#[case] status: u16) {
    let wire = Wire::new(PegasusOptions::default()).await;
    let id = wire.vendor.put_user(ada(json!({})));
    wire.vendor.fault(Fault::always("apps.read", FaultKind::Status(status, None)));
    wire.provider.grant(&id, "pegasus2.0", &BTreeMap::from([("trips".into(), true)])).await.unwrap();
    let user = wire.vendor.user(&id).unwrap();
    assert_eq!(user["applications"]["pegasus2.0"]["staff"]["apps"], json!({"trips": true}));
}

#[tokio::test]
async fn a_missing_scope_costs_no_login() {
    let wire = Wire::new(PegasusOptions::default()).await;
    let id = wire.vendor.put_user(ada(json!({})));
    wire.vendor.fault(Fault::always("users.read", FaultKind::Status(401, None)));
    for _ in 0..3 {
        let denied = wire.provider.read(AccountKind::User, &id).await.unwrap_err();
        assert_eq!(denied.kind, ErrorKind::PermissionDenied);
    }
    assert_eq!((wire.vendor.count("login"), wire.vendor.count("users.read")), (1, 3));
    wire.vendor.heal();
    wire.vendor.revoke_tokens();
    wire.read(&id).await;
    assert_eq!(wire.vendor.count("login"), 2);
}

#[rstest]
#[case::offered(PegasusOptions::default(), None)]
#[case::ignored(PegasusOptions { search_users: false, ..PegasusOptions::default() }, None)]
#[case::bare(PegasusOptions { bare_lists: true, ..PegasusOptions::default() }, None)]
#[case::bad_request(PegasusOptions::default(), Some(400))]
#[case::not_found(PegasusOptions::default(), Some(404))]
#[case::no_such_method(PegasusOptions::default(), Some(405))]
#[case::not_implemented(PegasusOptions::default(), Some(501))]
#[tokio::test]
async fn a_user_is_found_whatever_becomes_of_the_search(#[case] options: PegasusOptions, #[case] refusal: Option<u16>) {
    let wire = Wire::new(options).await;
    (0..1200).for_each(|number| {
        let email = format!("user{number}@example.com");
        wire.vendor.put_user(json!({"email": email, "username": email}));
    });
    let id = wire.vendor.put_user(ada(json!({})));
    if let Some(status) = refusal {
        wire.vendor.fault(Fault::always("users.find", FaultKind::Status(status, None)));
    }
    for email in ["ada@example.com", "Ada@Example.com"] {
        let desired = wire.user(json!({"email": email}));
        let found = wire.provider.find(AccountKind::User, &desired).await.unwrap();
        assert_eq!(found.iter().map(|account| &account.id).collect::<Vec<_>>(), [&id], "{email}");
    }
    let nobody = wire.user(json!({"email": "nobody@example.com"}));
    assert_eq!(wire.provider.find(AccountKind::User, &nobody).await.unwrap(), []);
    let mut listed = 0;
    let mut count = |_| {
        listed += 1;
        Ok(())
    };
    wire.provider.list(AccountKind::User, &mut count).await.unwrap();
    assert_eq!(listed, 1201);
}

#[rstest]
#[case::as_it_is(false)]
#[case::in_quotes(true)]
#[tokio::test]
async fn a_group_whose_name_has_blanks_is_found_by_exactly_that_name(#[case] search_needs_quotes: bool) {
    let wire = Wire::new(PegasusOptions { search_needs_quotes, ..PegasusOptions::default() }).await;
    wire.vendor.put_group(json!({"name": "fleet north"}));
    let id = wire.vendor.put_group(json!({"name": "Fleet North"}));
    let found = wire.provider.find(AccountKind::Group, &wire.group("Fleet North", json!({}))).await.unwrap();
    assert_eq!(found.iter().map(|group| &group.id).collect::<Vec<_>>(), [&id]);
}

#[tokio::test]
async fn an_empty_page_ends_a_listing_however_many_pages_are_announced() {
    let wire = Wire::new(PegasusOptions::default()).await;
    let page = json!({"set": 0, "page": 1, "pages": 1_000_000, "total": 5, "data": []});
    wire.vendor.fault(Fault::always("users.list", FaultKind::Status(200, Some(page))));
    wire.provider.list(AccountKind::User, &mut |_| Ok(())).await.unwrap_err();
    assert_eq!(wire.vendor.count("users.list"), 1);
}

#[rstest]
#[case::field(json!({"phone": "2"}), false)]
#[case::password(json!({}), true)]
#[tokio::test]
async fn a_put_keeps_what_is_hidden_and_what_is_derived(#[case] edit: Value, #[case] password: bool) {
    let wire = Wire::new(PegasusOptions { put_replaces: true, ..PegasusOptions::default() }).await;
    let block = json!({"access": "full", "appUrl": "https://app.example.com", "logoUrl": "https://example.com/l.png", "scopes": {"vehicles": "w"}});
    let spec = json!({"phone": "1", "provider": {"pegasus": block}});
    let made = wire.create(AccountKind::User, &wire.user(spec.clone())).await.unwrap();
    let mut edited = spec;
    merge(&mut edited, edit);
    let account = wire.read(&made.id).await;
    let changes = wire.changes(AccountKind::User, &wire.user(edited), Some(&account), password);
    assert!(!changes.names().contains(&"access".to_owned()), "{changes:?}");
    let password = password.then(|| "Fake-Passw0rd-2".into());
    wire.provider.update(AccountKind::User, &account, &changes, password.as_ref()).await.unwrap();
    let user = wire.vendor.user(&made.id).unwrap();
    let kept = (&user["access"], &user["app_url"], &user["logo_url"], &user["scopes"]);
    let url = |text: &str| json!(text);
    assert_eq!(
        kept,
        (&url("full"), &url("https://app.example.com"), &url("https://example.com/l.png"), &json!({"vehicles": "w"}))
    );
}

#[rstest]
#[case::objects(PegasusOptions { groups_as_objects: true, ..PegasusOptions::default() })]
#[case::hidden(PegasusOptions { groups_hidden: true, ..PegasusOptions::default() })]
#[tokio::test]
async fn groups_that_are_not_managed_stay_however_they_are_shown(#[case] options: PegasusOptions) {
    let wire = Wire::new(options).await;
    let group: i64 = wire.vendor.put_group(json!({"name": "North"})).parse().unwrap();
    let id = wire.vendor.put_user(ada(json!({"groups": [group]})));
    let account = wire.read(&id).await;
    let changes = wire.changes(AccountKind::User, &wire.user(json!({"phone": "2"})), Some(&account), false);
    wire.provider.update(AccountKind::User, &account, &changes, None).await.unwrap();
    let user = wire.vendor.user(&id).unwrap();
    assert_eq!((&user["groups"], &user["phone"]), (&json!([group]), &json!("2")));
}

#[rstest]
#[case::own(json!({"message": "username already in use"}))]
#[case::by_field(json!({"message": "Validation failed", "errors": {"username": ["must be unique"]}}))]
#[tokio::test]
async fn a_taken_name_is_a_conflict_in_any_wording(#[case] body: Value) {
    let wire = Wire::new(PegasusOptions::default()).await;
    wire.vendor.fault(Fault::once("users.create", FaultKind::Status(400, Some(body))));
    let refused = wire.create(AccountKind::User, &wire.user(json!({}))).await.unwrap_err();
    assert_eq!(refused.kind, ErrorKind::Conflict);
    let other = json!({"message": "phone already in use"});
    wire.vendor.fault(Fault::once("users.create", FaultKind::Status(400, Some(other))));
    let refused = wire.create(AccountKind::User, &wire.user(json!({}))).await.unwrap_err();
    assert_eq!(refused.kind, ErrorKind::Invalid);
}

#[rstest]
#[case::text(json!("3"))]
#[case::names(json!([{"name": "North"}]))]
#[tokio::test]
async fn groups_that_make_no_sense_are_no_evidence(#[case] groups: Value) {
    let wire = Wire::new(PegasusOptions::default()).await;
    let user = json!({"id": 5001, "username": "ada@example.com", "groups": groups});
    wire.vendor.fault(Fault::always("users.read", FaultKind::Status(200, Some(user))));
    wire.provider.read(AccountKind::User, "5001").await.unwrap_err();
}

#[rstest]
#[case::address(false)]
#[case::flag(true)]
#[tokio::test]
async fn a_logo_is_sent_once_however_it_is_shown(#[case] logo_as_flag: bool) {
    let wire = Wire::new(PegasusOptions { logo_as_flag, ..PegasusOptions::default() }).await;
    let spec = json!({"provider": {"pegasus": {"logoUrl": "https://example.com/l.png"}}});
    let desired = wire.group("North", spec);
    let made = wire.create(AccountKind::Group, &desired).await.unwrap();
    let account = wire.provider.read(AccountKind::Group, &made.id).await.unwrap().unwrap();
    assert_eq!(wire.changes(AccountKind::Group, &desired, Some(&account), false), Changes::default());
    let unmanaged = wire.group("South", json!({}));
    let changes = wire.changes(AccountKind::Group, &unmanaged, Some(&account), false);
    wire.provider.update(AccountKind::Group, &account, &changes, None).await.unwrap();
    assert_eq!(
        wire.vendor.group("South").unwrap()["logo"],
        if logo_as_flag { json!(true) } else { json!("https://example.com/l.png") }
    );
}
