//! What a schema cannot judge gets its reason and a way out, and nothing is sent to the vendor.

use std::time::Duration;

use rstest::rstest;
use serde_json::{Value, json};
use usher::api::{PlatformGroup, PlatformUser};
use usher_sandbox::vendors::{Call, Fault, FaultKind, Options, Vendor};

use crate::contract::{PASSWORD, message, sample};
use crate::scene::{Scene, merge};

fn ada(further: Value) -> Value {
    let mut spec = json!({"email": "ada@example.com", "provider": {"pegasus": {"sendEmail": true}}});
    merge(&mut spec, further);
    spec
}

#[rstest]
#[case::staff(json!({"provider": {"pegasus": {"isStaff": true}}}), "Privileged", "allowPrivileged")]
#[case::users_scope(json!({"provider": {"pegasus": {"scopes": {"users": "w"}}}}), "Privileged", "scope users")]
#[case::no_password(json!({"provider": {"pegasus": {"sendEmail": false}}}), "Invalid", "passwordSecretRef")]
#[case::no_secret(json!({"provider": {"pegasus": {"sendEmail": false}}, "passwordSecretRef": {"name": "nowhere"}}), "WaitingForSecret", "create secret")]
#[case::no_such_group(json!({"groups": [{"externalId": "17"}]}), "NotFound", "spec.groups[0].externalId")]
#[case::no_such_name(json!({"groups": [{"externalName": "Nobody"}]}), "NotFound", "Nobody")]
#[case::two_of_a_name(json!({"groups": [{"externalName": "Twins"}]}), "AmbiguousMatch", "externalId")]
#[case::protected(json!({"email": "root@example.com"}), "Protected", "root@example.com")]
#[case::our_own_login(json!({"email": "usher@example.com"}), "Protected", "logs in with")]
#[case::another_namespace(json!({"credentialRef": {"namespace": "elsewhere"}}), "NamespaceNotAllowed", "this namespace")]
#[case::no_credential(json!({"credentialRef": {"name": "nowhere"}}), "WaitingForCredential", "create it")]
#[tokio::test]
async fn a_manifest_that_cannot_be_done_says_why_and_sends_nothing(
    #[case] further: Value,
    #[case] reason: &'static str,
    #[case] words: &str,
) {
    let scene = Scene::with(Vendor::Pegasus, Options::default(), json!({"protected": ["root@example.com"]})).await;
    scene.vendor.put_group(json!({"name": "Twins"}));
    scene.vendor.put_group(json!({"name": "Twins"}));
    scene.user_as_is("ada", ada(further)).await;
    let user = scene.user_says("ada", reason).await;
    assert!(message(&user).contains(words), "{}", message(&user));
    assert!(scene.vendor.writes().is_empty(), "{:#?}", scene.vendor.writes());
    scene.delete::<PlatformUser>("ada").await;
    scene.until_gone::<PlatformUser>("ada").await;
}

#[tokio::test]
async fn a_block_of_another_vendor_is_a_mismatch() {
    let scene = Scene::new(Vendor::Pegasus).await;
    scene.user("ada", json!({"email": "ada@example.com", "provider": {"amani": {}}})).await;
    let user = scene.user_says("ada", "ProviderMismatch").await;
    assert!(message(&user).contains("spec.provider.pegasus"), "{}", message(&user));
    assert!(scene.vendor.writes().is_empty());
}

#[tokio::test]
async fn an_unknown_role_name_says_so_and_a_known_one_is_found() {
    let scene = Scene::new(Vendor::Ozmap).await;
    scene.secret("login", &json!({"password": "Fake-Passw0rd"})).await;
    let spec = |role: &str| json!({"email": "ada@example.com", "passwordSecretRef": {"name": "login"}, "provider": {"ozmap": {"resources": ["OZmap"], "role": {"name": role}}}});
    scene.user("ada", spec("Wizard")).await;
    let user = scene.user_says("ada", "NotFound").await;
    assert!(message(&user).contains("spec.provider.ozmap.role"), "{}", message(&user));
    scene.user("ada", spec("Administrator")).await;
    scene.user_says("ada", "Privileged").await;
    assert!(scene.vendor.writes().is_empty());
    scene.user("ada", spec("Manager")).await;
    scene.user_ready("ada").await;
}

#[tokio::test]
async fn a_user_waits_for_its_secret_and_is_enqueued_by_it() {
    let scene = Scene::new(Vendor::Pegasus).await;
    scene.user("ada", json!({"email": "ada@example.com", "passwordSecretRef": {"name": "login"}})).await;
    scene.user_says("ada", "WaitingForSecret").await;
    scene.secret("login", &json!({"password": "Fake-Passw0rd"})).await;
    scene.user_ready("ada").await;
}

#[tokio::test]
async fn a_secret_of_another_type_is_neither_read_nor_sent() {
    let scene = Scene::new(Vendor::Pegasus).await;
    let metadata = json!({"name": "session", "namespace": scene.namespace});
    let entries = json!({"password": "Fake-Session-1", "token": "fake-session-1"});
    scene.apply(&json!({"apiVersion": "v1", "kind": "Secret", "metadata": metadata, "type": "example.com/session", "stringData": entries})).await;
    scene.user("ada", ada(json!({"passwordSecretRef": {"name": "session"}}))).await;
    let refused = scene.user_says("ada", "Invalid").await;
    assert!(message(&refused).contains("only Opaque"), "{}", message(&refused));
    scene.apply_credential(json!({"secretRef": {"name": "session"}})).await;
    scene.credential_says("Invalid").await;
    assert!(scene.vendor.writes().is_empty());
    let shown = |call: &Call| call.body.as_ref().is_some_and(|body| body.to_string().contains("Fake-Session"));
    assert!(!scene.vendor.calls().iter().any(shown));
}

#[tokio::test]
async fn a_paused_user_costs_no_call_and_goes_on_when_released() {
    let scene = Scene::new(Vendor::Pegasus).await;
    scene.user("ada", ada(json!({"phone": "1"}))).await;
    scene.user_ready("ada").await;
    scene.annotate::<PlatformUser>("ada", "usher.dev/paused", "true").await;
    scene
        .until("ada", |user: &PlatformUser| {
            let status = user.status.as_ref().unwrap();
            status.report.conditions.iter().any(|condition| condition.type_ == "Paused")
        })
        .await;
    scene.vendor.clear_calls();
    scene.user("ada", ada(json!({"phone": "2"}))).await;
    scene.sweep("1").await;
    assert_eq!(scene.vendor.user("ada@example.com").unwrap()["phone"], "1");
    scene.annotate::<PlatformUser>("ada", "usher.dev/paused", "false").await;
    scene.user_ready("ada").await;
    assert_eq!(scene.vendor.user("ada@example.com").unwrap()["phone"], "2");
}

#[rstest]
#[case::orphan("Orphan", true, json!(true))]
#[case::disable("Disable", true, json!(false))]
#[case::delete("Delete", false, json!(null))]
#[tokio::test]
async fn the_deletion_policy_decides_what_becomes_of_the_account(
    #[case] policy: &str,
    #[case] stays: bool,
    #[case] active: Value,
) {
    let scene = Scene::new(Vendor::Pegasus).await;
    scene.user("ada", ada(json!({"deletionPolicy": policy}))).await;
    scene.user_ready("ada").await;
    scene.delete::<PlatformUser>("ada").await;
    scene.until_gone::<PlatformUser>("ada").await;
    let account = scene.vendor.user("ada@example.com");
    assert_eq!(account.is_some(), stays);
    assert_eq!(account.unwrap_or_default()["is_active"], active);
}

/// The group `north` is deleted, and holds a user that is not ours.
pub async fn full_group_deleted() -> Scene {
    let scene = Scene::new(Vendor::Pegasus).await;
    scene.group("north", json!({})).await;
    let group = scene.group_says("north", "Synced").await;
    let id: i64 = group.status.unwrap().identity.external_id.unwrap().parse().unwrap();
    scene.vendor.put_user(json!({"email": "eve@example.com", "username": "eve@example.com", "groups": [id]}));
    scene.delete::<PlatformGroup>("north").await;
    scene
}

#[tokio::test]
async fn a_group_that_still_holds_others_is_not_removed() {
    let scene = full_group_deleted().await;
    let group = scene.group_says("north", "DeletionBlocked").await;
    let said = group.status.unwrap().report.conditions[0].message.clone();
    assert!(said.contains("1 users") && said.contains("kubectl -n"), "{said}");
    assert!(scene.vendor.group("north").is_some());
    scene.vendor.remove_user("eve@example.com");
    scene.sweep("1").await;
    scene.until_gone::<PlatformGroup>("north").await;
    assert!(scene.vendor.group("north").is_none());
}

#[tokio::test]
async fn plan_mode_shows_the_calls_and_makes_none() {
    let scene = Scene::new(Vendor::Pegasus).await;
    scene.user("ada", ada(json!({"mode": "Plan"}))).await;
    let user = scene.user_says("ada", "ChangesPending").await;
    let pending = user.status.unwrap().report.pending.unwrap();
    assert_eq!(pending[0].operation, "create");
    assert_eq!(pending[0].target, "ada@example.com");
    assert!(scene.vendor.writes().is_empty());
    scene.user("ada", ada(json!({"mode": "Enforce"}))).await;
    scene.user_ready("ada").await;
    assert_eq!(scene.vendor.count("users.create"), 1);
}

#[tokio::test]
async fn a_missing_account_is_made_again_if_usher_made_it() {
    let scene = Scene::new(Vendor::Pegasus).await;
    scene.user("ada", ada(json!({}))).await;
    scene.user_ready("ada").await;
    scene.vendor.remove_user("ada@example.com");
    scene.sweep("1").await;
    scene.vendor_until("the new account", |vendor| vendor.user("ada@example.com").is_some()).await;
    scene.user_ready("ada").await;
    assert_eq!(scene.vendor.count("users.create"), 2);
}

#[tokio::test]
async fn an_account_whose_key_is_written_in_other_case_is_not_taken_for_gone() {
    let scene = Scene::new(Vendor::Pegasus).await;
    scene.user("ada", ada(json!({}))).await;
    scene.user_ready("ada").await;
    assert!(scene.vendor.edit_user("ada@example.com", json!({"username": "ADA@example.com"})));
    scene.sweep("1").await;
    scene.vendor.fault(Fault::always("users.read", FaultKind::Status(404, None)));
    scene.annotate::<PlatformUser>("ada", "usher.dev/reconcile-at", "masked").await;
    scene.user_says("ada", "PermissionDenied").await;
    assert_eq!(scene.vendor.count("users.create"), 1);
}

#[tokio::test]
async fn a_lost_create_is_claimed_though_the_vendor_writes_the_key_in_other_case() {
    let scene = Scene::new(Vendor::Pegasus).await;
    scene.vendor.fault(Fault::once("users.create", FaultKind::LostAfterCommit));
    scene.user("ada", ada(json!({}))).await;
    scene.vendor_until("the account", |vendor| vendor.user("ada@example.com").is_some()).await;
    assert!(scene.vendor.edit_user("ada@example.com", json!({"username": "ADA@example.com"})));
    scene.user_ready("ada").await;
    assert_eq!(scene.vendor.count("users.create"), 1);
}

#[rstest]
#[tokio::test]
async fn a_lost_create_is_claimed_though_the_vendors_clock_is_behind(
    #[values(Vendor::Plaspy, Vendor::Ozmap)] vendor: Vendor,
) {
    let options = Options { clock_behind: Duration::from_secs(90), ..Options::default() };
    let scene = Scene::with(vendor, options, json!({})).await;
    scene.secret("login", &json!({"password": "Fake-Passw0rd"})).await;
    scene.vendor.fault(Fault::once("users.create", FaultKind::LostAfterCommit));
    scene.user("ada", sample(vendor).user).await;
    scene.user_ready("ada").await;
    assert_eq!(scene.vendor.count("users.create"), 1);
}

#[tokio::test]
async fn an_adopted_account_keeps_what_is_not_mentioned_and_stays_on_deletion() {
    let scene = Scene::new(Vendor::Pegasus).await;
    scene.vendor.put_user(
        json!({"email": "ada@example.com", "username": "ada@example.com", "last_name": "Lovelace", "phone": "9"}),
    );
    scene.user("ada", ada(json!({"adoptionPolicy": "Adopt", "phone": "1"}))).await;
    let user = scene.user_ready("ada").await;
    assert_eq!(user.status.unwrap().identity.adopted, Some(true));
    let account = scene.vendor.user("ada@example.com").unwrap();
    assert_eq!((&account["last_name"], &account["phone"]), (&json!("Lovelace"), &json!("1")));
    assert_eq!(scene.vendor.count("users.create"), 0);
    scene.delete::<PlatformUser>("ada").await;
    scene.until_gone::<PlatformUser>("ada").await;
    assert!(scene.vendor.user("ada@example.com").is_some());
}

#[rstest]
#[tokio::test]
async fn a_create_that_the_vendor_refuses_is_sent_once(
    #[values(Vendor::Pegasus, Vendor::Amani, Vendor::Plaspy)] vendor: Vendor,
) {
    let scene = Scene::new(vendor).await;
    scene.secret("login", &json!({"password": PASSWORD})).await;
    scene.vendor.fault(Fault::always("users.create", FaultKind::Status(422, None)));
    scene.user("ada", sample(vendor).user).await;
    scene.user_says("ada", "Invalid").await;
    // Whatever the refusal led to has been looked at once this other user is there.
    scene.vendor.heal();
    let mut bob = sample(vendor).user;
    merge(&mut bob, json!({"email": "bob@example.com"}));
    scene.user("bob", bob).await;
    scene.user_ready("bob").await;
    let refused =
        scene.vendor.calls().into_iter().filter(|call| call.operation == "users.create" && call.status == 422);
    assert_eq!(refused.count(), 1);
    assert!(scene.vendor.user("ada@example.com").is_none());
}
