//! Administrator rights: what a credential counts as such is neither made nor touched, and not knowing yet is no permission.

use rstest::rstest;
use serde_json::{Value, json};
use usher::api::{PlatformUser, ProviderCredential};
use usher_sandbox::vendors::{Fault, FaultKind, Options, Vendor};

use crate::contract::{PASSWORD, message, sample};
use crate::scene::{Scene, merge};

/// A scene with a list of what counts as privileged, and the password of everybody.
async fn scene(vendor: Vendor, privileged: &[&str]) -> Scene {
    let scene = Scene::with(vendor, Options::default(), json!({"privileged": privileged})).await;
    scene.secret("login", &json!({"password": PASSWORD})).await;
    scene
}

fn user(vendor: Vendor, further: Value) -> Value {
    let mut user = sample(vendor).user;
    merge(&mut user, further);
    user
}

/// The id of a role of OZmap.
fn role(scene: &Scene, name: &str) -> Value {
    let roles = scene.vendor.roles();
    roles.iter().find(|role| role["name"] == name).unwrap()["id"].clone()
}

#[rstest]
#[case::ozmap_role(Vendor::Ozmap, "Seller", json!({"provider": {"ozmap": {"role": {"name": "Seller"}}}}))]
#[case::pegasus_role(Vendor::Pegasus, "17", json!({"provider": {"pegasus": {"roles": [4, 17]}}}))]
#[case::industrility_role(Vendor::Industrility, "UR-customer", json!({}))]
#[tokio::test]
async fn a_role_on_the_list_is_not_given(#[case] vendor: Vendor, #[case] listed: &str, #[case] further: Value) {
    let scene = scene(vendor, &[listed]).await;
    scene.user("ada", user(vendor, further)).await;
    let ada = scene.user_says("ada", "Privileged").await;
    assert!(message(&ada).contains(listed), "{}", message(&ada));
    assert!(scene.vendor.writes().is_empty(), "{:#?}", scene.vendor.writes());
}

#[tokio::test]
async fn a_role_on_the_list_in_one_project_is_not_given() {
    let scene = scene(Vendor::Ozmap, &["Seller"]).await;
    let project = scene.vendor.projects()[0]["id"].clone();
    let projects = json!([{"project": {"id": project}, "role": {"name": "Seller"}}]);
    scene.user("ada", user(Vendor::Ozmap, json!({"provider": {"ozmap": {"projects": projects}}}))).await;
    scene.user_says("ada", "Privileged").await;
    assert!(scene.vendor.writes().is_empty(), "{:#?}", scene.vendor.writes());
}

#[tokio::test]
async fn a_user_with_a_role_on_the_list_is_neither_adopted_nor_changed() {
    let scene = scene(Vendor::Ozmap, &["Seller"]).await;
    let person = json!({"email": "ada@example.com", "username": "ada@example.com", "name": "Ada", "role": role(&scene, "Seller")});
    scene.vendor.put_user(person);
    scene.user("ada", user(Vendor::Ozmap, json!({"adoptionPolicy": "Adopt"}))).await;
    scene.user_says("ada", "Privileged").await;
    assert!(scene.vendor.writes().is_empty(), "{:#?}", scene.vendor.writes());
}

#[tokio::test]
async fn members_of_a_listed_group_are_not_touched_though_nobody_else_asks_for_groups() {
    let scene = scene(Vendor::Pegasus, &["Auditors"]).await;
    let group: i64 = scene.vendor.put_group(json!({"name": "Auditors"})).parse().unwrap();
    scene.vendor.put_user(json!({"email": "ada@example.com", "username": "ada@example.com", "groups": [group]}));
    scene.user("ada", user(Vendor::Pegasus, json!({"adoptionPolicy": "Adopt"}))).await;
    scene.user_says("ada", "Privileged").await;
    assert!(scene.vendor.writes().is_empty(), "{:#?}", scene.vendor.writes());
}

#[tokio::test]
async fn no_account_is_removed_while_its_rights_are_unknown() {
    let scene = scene(Vendor::Pegasus, &[]).await;
    scene.user("ada", user(Vendor::Pegasus, json!({}))).await;
    scene.user_ready("ada").await;
    let group: i64 = scene.vendor.put_group(json!({"name": "Auditors"})).parse().unwrap();
    assert!(scene.vendor.edit_user("ada@example.com", json!({"groups": [group]})));
    scene.vendor.fault(Fault::always("groups.list", FaultKind::Status(500, None)));
    scene.apply_credential(json!({"privileged": ["Auditors"]})).await;
    scene
        .until("main", |credential: &ProviderCredential| {
            let seen = credential.status.as_ref().map(|status| status.observed_generation);
            seen == credential.metadata.generation
        })
        .await;
    scene.delete::<PlatformUser>("ada").await;
    scene.user_says("ada", "DeletionBlocked").await;
    scene.vendor.heal();
    scene.sweep("1").await;
    let ada = scene.until("ada", |user: &PlatformUser| message(user).contains("Auditors")).await;
    assert!(message(&ada).contains("allowPrivileged"), "{}", message(&ada));
    assert!(scene.vendor.user("ada@example.com").is_some());
}

#[tokio::test]
async fn administrators_are_known_after_a_rotation_of_the_secret() {
    let scene = scene(Vendor::Ozmap, &[]).await;
    scene.user("ada", user(Vendor::Ozmap, json!({}))).await;
    scene.user_ready("ada").await;
    scene.vendor.set_secret("token", "fake-ozmap-api-key-2");
    scene.vendor.clear_calls();
    scene.apply_secret("main").await;
    scene.vendor_until("the new connection", |vendor| vendor.count("whoami") > 0).await;
    assert!(scene.vendor.edit_user("ada@example.com", json!({"role": role(&scene, "Administrator")})));
    scene.user("ada", user(Vendor::Ozmap, json!({"phone": "2"}))).await;
    scene.user_says("ada", "Privileged").await;
    scene.delete::<PlatformUser>("ada").await;
    scene.user_says("ada", "DeletionBlocked").await;
    assert_eq!(scene.vendor.user("ada@example.com").unwrap()["phone"], "1");
    assert!(scene.vendor.writes().is_empty(), "{:#?}", scene.vendor.writes());
}
