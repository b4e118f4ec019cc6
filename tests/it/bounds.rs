//! Answers that are small on the wire and large in memory, that do not end, or that are about another account: each is refused, at every
//! operation of every vendor.

use std::collections::BTreeMap;
use std::sync::Arc;
use std::time::Duration;

use rstest::rstest;
use rstest_reuse::apply;
use secrecy::SecretString;
use serde_json::{Value, json};
use tokio::sync::mpsc;
use usher::api::credential_provider::CredentialProvider;
use usher::api::{Kind, ObjectKey};
use usher::plan::{Account, AccountKind, Changes, Desired, Limits, user_keys};
use usher::providers::{Access, AddressRules, Delivery, ErrorKind, Limiter, NoMetrics, Provider, SecretData, connect};
use usher_sandbox::vendors::{Fault, FaultKind, Flood, Simulator, Vendor};

use crate::contract::sample;
use crate::scene::merge;
use crate::vendors::{every_vendor, every_vendor_that_shows_accounts, known};

const KINDS: [AccountKind; 2] = [AccountKind::User, AccountKind::Group];

/// A connection to `vendor`.
fn connected(vendor: &Simulator) -> Arc<dyn Provider> {
    let settings = json!({vendor.vendor().name(): {"url": vendor.url()}});
    let provider: CredentialProvider = serde_json::from_value(settings).unwrap();
    let secret = vendor.secret().into_iter().map(|(key, value)| (key, value.into_bytes()));
    let limits = Limits { per_minute: 60_000, burst: 1000, concurrency: 8 };
    let (wake, credential) = (mpsc::unbounded_channel().0, ObjectKey::new(Kind::Credential, "identity", "main"));
    let access = Access {
        provider: &provider,
        secret: &SecretData::new("main", secret),
        limiter: Limiter::new(credential, known(vendor.vendor()), limits, wake, Arc::new(NoMetrics)),
        observer: Arc::new(NoMetrics),
        timeout: Duration::from_mins(1),
        addresses: AddressRules { insecure: true, ..AddressRules::default() },
        ca_bundle: None,
    };
    connect(&access).unwrap()
}

/// The user of the vendor's sample as changes, and as a search for it.
async fn ada(provider: &dyn Provider, vendor: Vendor) -> (Changes, Desired) {
    let mut spec = sample(vendor).user;
    merge(&mut spec, json!({"credentialRef": {"name": "main"}}));
    let spec = serde_json::from_value(spec).unwrap();
    let catalog = provider.catalog().await.unwrap_or_default();
    let desired = provider.desire_user(&spec, &catalog).unwrap();
    let keys = user_keys(provider.capabilities().user_fields, &spec);
    (Changes { fields: desired.fields.clone(), ..Changes::default() }, Desired { keys, ..Desired::default() })
}

/// The floods but for endless rows, of which 64 MiB are read.
fn that_end() -> impl Iterator<Item = &'static Flood> {
    Flood::ALL.iter().filter(|flood| **flood != Flood::Rows)
}

fn id_of(row: &Value) -> String {
    row["id"].as_str().map_or_else(|| row["id"].to_string(), str::to_owned)
}

#[apply(every_vendor)]
#[tokio::test]
async fn a_flood_in_answer_to_any_call_is_no_account(vendor: Vendor) {
    let simulator = Simulator::start(vendor).await.unwrap();
    let provider = connected(&simulator);
    let _ = provider.whoami().await;
    let (changes, desired) = ada(&*provider, vendor).await;
    let id = simulator.put_user(json!({"email": "eve@example.com", "username": "eve@example.com"}));
    let current = Account { id: id.clone(), ..Account::default() };
    let password = SecretString::from("Fake-Passw0rd-1");
    for flood in that_end() {
        simulator.heal();
        simulator.fault(Fault::always("*", FaultKind::Flood(*flood)));
        for kind in KINDS {
            assert!(provider.list(kind, &mut |_| Ok(())).await.is_err(), "{flood:?}: a list of {kind}");
            assert!(provider.read(kind, &id).await.is_err(), "{flood:?}: a read of {kind}");
        }
        assert!(provider.find(AccountKind::User, &desired).await.is_err(), "{flood:?}: a search");
        if let Err(error) = provider.create(AccountKind::User, &changes, Some(&password)).await {
            assert_eq!(
                (error.kind, error.delivery),
                (ErrorKind::Unavailable, Delivery::Answered),
                "{flood:?}: {error}"
            );
        } else {
            assert_eq!((vendor, *flood), (Vendor::Industrility, Flood::Deep), "{flood:?}: a create");
        }
        // What a change or a removal answers is nobody's business, unless it is about another account.
        let _ = provider.update(AccountKind::User, &current, &changes, Some(&password)).await;
        let _ = provider.delete(AccountKind::User, &id).await;
        let _ = provider.granted(&id, "pegasus2.0").await;
    }
    assert_eq!(simulator.violations(), Vec::<String>::new());
}

#[apply(every_vendor_that_shows_accounts)]
#[tokio::test]
async fn a_flood_in_answer_to_a_login_is_no_token(vendor: Vendor) {
    let simulator = Simulator::start(vendor).await.unwrap();
    simulator.set_secret("token", "fake-token-that-is-not-given");
    for flood in that_end() {
        simulator.heal();
        simulator.fault(Fault::always("*", FaultKind::Flood(*flood)));
        let error = connected(&simulator).whoami().await.unwrap_err();
        assert_eq!(error.kind, ErrorKind::Unavailable, "{flood:?}: {error}");
    }
}

#[apply(every_vendor_that_shows_accounts)]
#[tokio::test]
async fn a_list_that_never_ends_is_refused_with_the_number_and_the_way_out(vendor: Vendor) {
    let simulator = Simulator::start(vendor).await.unwrap();
    let provider = connected(&simulator);
    simulator.put_user(json!({"email": "eve@example.com", "username": "eve@example.com"}));
    let mut visited = 0_usize;
    let mut count = |_: Account| {
        visited += 1;
        Ok(())
    };
    simulator.fault(Fault::always("users.list", FaultKind::Flood(Flood::Rows)));
    let error = provider.list(AccountKind::User, &mut count).await.unwrap_err();
    let is_bounded = error.message.contains("more than 64 MiB") || error.message.contains("more than 200000 entries");
    assert!(error.kind == ErrorKind::Unavailable && is_bounded, "{error}");
    assert!(visited <= 200_000, "{visited}");
}

#[apply(every_vendor_that_shows_accounts)]
#[tokio::test]
async fn a_byte_order_mark_before_every_answer_is_skipped(vendor: Vendor) {
    let simulator = Simulator::start(vendor).await.unwrap();
    simulator.fault(Fault::always("*", FaultKind::Marked));
    let provider = connected(&simulator);
    provider.whoami().await.unwrap();
    let id = simulator.put_user(json!({"email": "eve@example.com", "username": "eve@example.com"}));
    assert_eq!(provider.read(AccountKind::User, &id).await.unwrap().unwrap().id, id);
    let mut listed = Vec::new();
    let mut note = |account: Account| {
        listed.push(account.id);
        Ok(())
    };
    provider.list(AccountKind::User, &mut note).await.unwrap();
    assert_eq!(listed, [id]);
    provider.catalog().await.unwrap();
}

#[apply(every_vendor_that_shows_accounts)]
#[tokio::test]
async fn another_account_in_answer_to_an_id_is_refused(vendor: Vendor) {
    let simulator = Simulator::start(vendor).await.unwrap();
    let provider = connected(&simulator);
    let put = |email: &str| simulator.put_user(json!({"email": email, "username": email}));
    let (ada, eve) = (put("ada@example.com"), put("eve@example.com"));
    let shown = simulator.user(&eve).unwrap();
    for operation in ["users.read", "users.update"] {
        simulator.fault(Fault::always(operation, FaultKind::Status(200, Some(shown.clone()))));
    }
    let error = provider.read(AccountKind::User, &ada).await.unwrap_err();
    assert!(error.kind == ErrorKind::Unavailable && error.message.contains(&eve), "{error}");
    let field = provider.capabilities().user_fields.iter().find(|field| !field.fixed).unwrap().name;
    let changes = Changes { fields: [(field.to_owned(), json!("ada.l@example.com"))].into(), ..Changes::default() };
    let current = Account { id: ada, ..Account::default() };
    let error = provider.update(AccountKind::User, &current, &changes, None).await.unwrap_err();
    assert!(error.kind == ErrorKind::Unavailable && error.message.contains(&eve), "{error}");
    assert_eq!(id_of(&shown), eve);
}

#[apply(every_vendor_that_shows_accounts)]
#[tokio::test]
async fn an_id_that_is_none_of_the_vendors_is_never_sent(vendor: Vendor) {
    let simulator = Simulator::start(vendor).await.unwrap();
    let provider = connected(&simulator);
    provider.whoami().await.unwrap();
    simulator.clear_calls();
    for id in ["../groups/1", "..%2Fgroups", "a/b", "1?x=1", "a b", "", "1\n"] {
        let current = Account { id: id.to_owned(), ..Account::default() };
        let changes = Changes { fields: [("email".to_owned(), json!("a@example.com"))].into(), ..Changes::default() };
        let refused = [
            provider.read(AccountKind::User, id).await.map(drop),
            provider.update(AccountKind::User, &current, &changes, None).await,
        ];
        for refused in refused {
            assert_eq!(refused.unwrap_err().kind, ErrorKind::Invalid, "{id}");
        }
        assert!(provider.delete(AccountKind::User, id).await.is_err(), "{id}");
    }
    assert_eq!(simulator.calls(), []);
}

#[tokio::test]
async fn a_refusal_of_any_size_is_told_by_its_status() {
    let simulator = Simulator::start(Vendor::Pegasus).await.unwrap();
    let provider = connected(&simulator);
    let words: BTreeMap<String, String> = (0..100).map(|number| (number.to_string(), "x".repeat(4096))).collect();
    simulator.fault(Fault::always("users.read", FaultKind::Status(403, Some(json!(words)))));
    let error = provider.read(AccountKind::User, "4711").await.unwrap_err();
    assert_eq!(error.kind, ErrorKind::PermissionDenied);
}

#[rstest]
#[case::absent("Projeto não existe", ErrorKind::Invalid)]
#[case::taken("E-mail já cadastrado", ErrorKind::Conflict)]
#[tokio::test]
async fn a_refusal_in_the_vendors_own_language_is_understood(#[case] words: &str, #[case] kind: ErrorKind) {
    let simulator = Simulator::start(Vendor::Ozmap).await.unwrap();
    let provider = connected(&simulator);
    let (changes, _) = ada(&*provider, Vendor::Ozmap).await;
    simulator.fault(Fault::always("users.create", FaultKind::Status(400, Some(json!({"message": words})))));
    let error = provider.create(AccountKind::User, &changes, None).await.unwrap_err();
    assert_eq!(error.kind, kind, "{error}");
}
