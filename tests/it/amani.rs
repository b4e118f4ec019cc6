//! What Amani's documents leave open, each way it may be meant.

use k8s_openapi::api::core::v1::Secret;
use rstest::rstest;
use serde_json::{Value, json};
use usher::api::{PlatformUser, ProviderCredential};
use usher_sandbox::vendors::{AmaniPaging, Fault, FaultKind, Options, Vendor};

use crate::contract::{PASSWORD, message};
use crate::scene::{Scene, merge};

fn ada(further: Value) -> Value {
    let mut spec = json!({"email": "ada@example.com", "phone": "1", "passwordSecretRef": {"name": "login"}});
    merge(&mut spec, further);
    spec
}

async fn amani(change: impl FnOnce(&mut Options), settings: Value) -> Scene {
    let mut options = Options::default();
    change(&mut options);
    let scene = Scene::with(Vendor::Amani, options, json!({"provider": {"amani": settings}})).await;
    scene.secret("login", &json!({"password": PASSWORD})).await;
    scene
}

#[tokio::test]
async fn an_inactive_user_is_blocked_right_after_the_create() {
    let scene = amani(|_| {}, json!({})).await;
    scene.user("ada", ada(json!({"active": false}))).await;
    scene.user_ready("ada").await;
    assert_eq!(scene.vendor.user("ada@example.com").unwrap()["is_active"], false);
    let writes: Vec<_> = scene.vendor.writes().iter().map(|call| call.operation).collect();
    assert_eq!(writes, ["users.create", "users.update"]);
    assert_eq!(scene.vendor.violations(), Vec::<String>::new());
}

#[tokio::test]
async fn a_block_that_failed_after_the_create_is_made_up_for() {
    let scene = amani(|_| {}, json!({})).await;
    scene.vendor.fault(Fault::once("users.update", FaultKind::LostBeforeCommit));
    scene.user("ada", ada(json!({"active": false}))).await;
    scene.user_ready("ada").await;
    assert_eq!(scene.vendor.user("ada@example.com").unwrap()["is_active"], false);
    assert_eq!(scene.vendor.count("users.create"), 1);
}

#[tokio::test]
async fn an_outage_is_no_news_about_users_that_no_listing_shows() {
    let scene = amani(|options| options.amani.listing = false, json!({})).await;
    scene.user("ada", ada(json!({}))).await;
    let ready = scene.user_ready("ada").await;
    scene.user("eve", ada(json!({"email": "eve@example.com"}))).await;
    scene.user_ready("eve").await;
    scene.vendor.clear_calls();
    scene.vendor.fault(Fault::always("users.read", FaultKind::Status(503, None)));
    scene
        .patch::<ProviderCredential>("main", json!({"metadata": {"annotations": {"usher.dev/reconcile-at": "1"}}}))
        .await;
    scene.vendor_until("both looked for", |vendor| vendor.count("users.read") >= 2).await;
    scene.user("eve", ada(json!({"email": "eve@example.com", "phone": "2"}))).await;
    scene.user_says("eve", "ProviderUnavailable").await;
    let after = scene.user_ready("ada").await;
    assert_eq!(after.status.unwrap().report.conditions, ready.status.unwrap().report.conditions);
}

#[tokio::test]
async fn a_server_without_a_user_listing_is_not_asked_for_it_at_each_removal() {
    let scene = amani(|options| options.amani.listing = false, json!({})).await;
    let names: Vec<String> = (0..6).map(|number| format!("user-{number}")).collect();
    for name in &names {
        scene.user(name, ada(json!({"email": format!("{name}@example.com"), "deletionPolicy": "Orphan"}))).await;
    }
    for name in &names {
        scene.user_ready(name).await;
    }
    scene.vendor.clear_calls();
    scene.sweep("1").await;
    scene.vendor_until("all looked at", |vendor| vendor.count("users.read") == names.len()).await;
    scene.vendor.clear_calls();
    for name in &names[1..] {
        scene.delete::<PlatformUser>(name).await;
        scene.until_gone::<PlatformUser>(name).await;
    }
    scene.sweep("2").await;
    let reads = scene.vendor.count("users.read");
    assert!(scene.vendor.count("users.list") <= 2 && reads <= 2, "{:#?}", scene.vendor.calls());
}

async fn insisting() -> Scene {
    amani(|options| options.amani.patch_requires_credentials = true, json!({"patchRequiresCredentials": true})).await
}

#[tokio::test]
async fn an_amani_that_insists_on_credentials_gets_them_with_every_change() {
    let scene = insisting().await;
    scene.user("ada", ada(json!({"active": false}))).await;
    scene.user_ready("ada").await;
    scene.user("ada", ada(json!({"active": true, "phone": "2"}))).await;
    scene.user_ready("ada").await;
    let account = scene.vendor.user("ada@example.com").unwrap();
    assert_eq!((&account["phone"], &account["is_active"]), (&json!("2"), &json!(true)));
    scene.vendor.edit_user("ada@example.com", json!({"password": "Fake-Other-Passw0rd", "phone": "9"}));
    scene.sweep("1").await;
    scene.vendor_until("the repair", |vendor| vendor.user("ada@example.com").unwrap()["phone"] == "2").await;
    assert_eq!(scene.vendor.user("ada@example.com").unwrap()["password"], PASSWORD);
    scene.delete::<PlatformUser>("ada").await;
    scene.until_gone::<PlatformUser>("ada").await;
    assert_eq!(scene.vendor.user("ada@example.com").unwrap()["is_active"], false);
    assert_eq!(scene.vendor.violations(), Vec::<String>::new());
}

#[tokio::test]
async fn an_insisting_amani_whose_secret_is_gone_blocks_the_removal_and_names_the_secret() {
    let scene = insisting().await;
    scene.user("ada", ada(json!({}))).await;
    scene.user_ready("ada").await;
    scene.delete::<Secret>("login").await;
    scene.user("ada", ada(json!({"phone": "2"}))).await;
    scene.user_says("ada", "WaitingForSecret").await;
    scene.delete::<PlatformUser>("ada").await;
    let user = scene.user_says("ada", "DeletionBlocked").await;
    assert!(message(&user).contains("Secret"), "{}", message(&user));
    scene.secret("login", &json!({"password": PASSWORD})).await;
    scene.until_gone::<PlatformUser>("ada").await;
    assert_eq!(scene.vendor.user("ada@example.com").unwrap()["is_active"], false);
}

#[rstest]
#[case::no_such_method(405)]
#[case::no_such_page(404)]
#[tokio::test]
async fn an_amani_that_shows_no_user_is_served_by_what_was_sent(#[case] status: u16) {
    let change = |options: &mut Options| {
        options.amani.listing = false;
        options.amani.reading_refused = Some(status);
    };
    let scene = amani(change, json!({})).await;
    scene.user("ada", ada(json!({"active": true, "groups": [{"externalName": "Reviewer"}]}))).await;
    scene.user_says("ada", "Synced").await;
    scene.sweep("1").await;
    let user = scene.user_says("ada", "Created").await;
    assert!(message(&user).contains("no way to check"), "{}", message(&user));
    scene.vendor.clear_calls();
    let change = json!({"email": "ada.l@example.com", "active": true, "phone": "2", "groups": [{"externalName": "Dispatchers"}]});
    scene.user("ada", ada(change)).await;
    scene.user_says("ada", "Created").await;
    scene.sweep("2").await;
    scene.compare_user("ada").await;
    let bodies: Vec<_> = scene.vendor.writes().into_iter().filter_map(|call| call.body).collect();
    // The group that she leaves is a call of its own.
    assert_eq!(bodies, [json!({"groups": [5]}), json!({"email": "ada.l@example.com", "phone": "2"})]);
    scene.delete::<PlatformUser>("ada").await;
    scene.until_gone::<PlatformUser>("ada").await;
    assert_eq!(scene.vendor.user("ada.l@example.com").unwrap()["is_active"], false);
    assert_eq!(scene.vendor.violations(), Vec::<String>::new());
}

#[rstest]
#[tokio::test]
async fn an_amani_is_swept_however_its_pages_name_the_next_one(
    #[values(AmaniPaging::Number, AmaniPaging::Offset, AmaniPaging::Cursor)] paging: AmaniPaging,
) {
    let change = |options: &mut Options| {
        options.amani.page_size = Some(2);
        options.amani.paging = paging;
    };
    let scene = amani(change, json!({})).await;
    for name in ["dora", "eve", "finn", "gus"] {
        scene.vendor.put_user(json!({"email": format!("{name}@example.com")}));
    }
    scene.user("ada", ada(json!({}))).await;
    scene.user_ready("ada").await;
    scene.vendor.edit_user("ada@example.com", json!({"phone": "9"}));
    scene.sweep("1").await;
    scene.vendor_until("the repair", |vendor| vendor.user("ada@example.com").unwrap()["phone"] == "1").await;
    scene.credential_says("Synced").await;
    assert_eq!(scene.vendor.violations(), Vec::<String>::new());
}

#[rstest]
#[tokio::test]
async fn a_login_is_tried_with_a_slash_where_it_is_not_served_without(#[values(301, 307, 404, 405)] status: u16) {
    let scene = amani(|options| options.amani.bare_login_refused = Some(status), json!({})).await;
    scene.credential_says("Synced").await;
}
