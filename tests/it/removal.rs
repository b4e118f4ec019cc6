//! Removal: the budget and its release, hand-over to a renamed manifest, and the ways out as they are printed.

use k8s_openapi::api::core::v1::Secret;
use serde_json::{Value, json};
use usher::api::conditions::{ConditionType, find};
use usher::api::{PlatformUser, ProviderCredential};
use usher_sandbox::vendors::{Fault, FaultKind, Options, Vendor};

use crate::contract::message;
use crate::leaks;
use crate::scene::{Scene, merge};

fn person(name: &str, further: Value) -> Value {
    let mut spec = json!({"email": format!("{name}@example.com"), "provider": {"pegasus": {"sendEmail": true}}});
    merge(&mut spec, further);
    spec
}

/// A scene with three users and room for two removals.
async fn three_users_and_a_budget_of_two() -> Scene {
    let removals = json!({"removals": {"after": "0s", "atMost": 2, "per": "1h"}});
    let scene = Scene::with(Vendor::Pegasus, Options::default(), removals).await;
    for name in ["ada", "bob", "eve"] {
        scene.user(name, person(name, json!({}))).await;
    }
    for name in ["ada", "bob", "eve"] {
        scene.user_ready(name).await;
    }
    scene
}

/// Deletes several users such that all are seen to go before the first is taken away.
async fn delete_at_once(scene: &Scene, names: &[&str]) {
    scene.annotate::<ProviderCredential>("main", "usher.dev/paused", "true").await;
    for name in names {
        scene.delete::<PlatformUser>(name).await;
    }
    for name in names {
        scene.user_says(name, "DeletionBlocked").await;
    }
    scene.annotate::<ProviderCredential>("main", "usher.dev/paused", "false").await;
}

/// What comes between `start` and `end` in a message, as a person would copy it.
pub fn printed(message: &str, start: &str, end: &str) -> String {
    let rest = message.split_once(start).unwrap_or_else(|| panic!("{start} is not in {message}")).1;
    rest.split(end).next().unwrap().to_owned()
}

#[tokio::test]
async fn one_slip_costs_no_more_accounts_than_the_removal_budget_admits() {
    let scene = three_users_and_a_budget_of_two().await;
    scene.delete::<PlatformUser>("ada").await;
    scene.until_gone::<PlatformUser>("ada").await;
    delete_at_once(&scene, &["bob", "eve"]).await;
    let held = scene.user_says("eve", "RemovalHeld").await;
    assert!(message(&held).contains("spec.removals.atMost"), "{}", message(&held));
    scene.user_says("bob", "RemovalHeld").await;
    let both = |credential: &ProviderCredential| {
        let held = credential.status.as_ref().and_then(|status| status.held_removals.as_ref());
        held.is_some_and(|held| held.count == 2)
    };
    scene.until("main", both).await;
    assert_eq!(scene.vendor.count("users.delete"), 1, "only what was within bounds");

    // A token of our own making releases nothing.
    scene.annotate::<ProviderCredential>("main", "usher.dev/release-removals", "99999999999-00000000").await;
    scene.sweep("1").await;
    scene.user_says("eve", "RemovalHeld").await;
    assert_eq!(scene.vendor.count("users.delete"), 1);

    // The one that was printed does, for this batch.
    let held = scene.user_says("eve", "RemovalHeld").await;
    let bob = scene.user_says("bob", "RemovalHeld").await;
    let token = |user: &PlatformUser| printed(&message(user), "usher.dev/release-removals=", " ");
    let last = std::cmp::max(token(&held), token(&bob));
    scene.annotate::<ProviderCredential>("main", "usher.dev/release-removals", &last).await;
    for name in ["bob", "eve"] {
        scene.until_gone::<PlatformUser>(name).await;
    }
    assert!(
        scene.vendor.users().iter().all(|user| user["email"] == "usher@example.com"),
        "{:#?}",
        scene.vendor.users()
    );
    scene
        .until("main", |credential: &ProviderCredential| credential.status.as_ref().unwrap().held_removals.is_none())
        .await;
}

/// Waits until a deleted user says `reason`, and applies the patch in its message, which gives its account up.
pub async fn give_up(scene: &Scene, name: &str, reason: &'static str) {
    let user = scene.user_says(name, reason).await;
    let patch: Value = serde_json::from_str(&printed(&message(&user), "--type merge -p '", "'")).unwrap();
    scene.patch::<PlatformUser>(name, patch).await;
    scene.until_gone::<PlatformUser>(name).await;
}

#[tokio::test]
async fn a_held_removal_ends_as_orphan_by_the_command_in_its_message() {
    let scene = three_users_and_a_budget_of_two().await;
    delete_at_once(&scene, &["ada", "bob", "eve"]).await;
    give_up(&scene, "ada", "RemovalHeld").await;
    assert!(scene.vendor.user("ada@example.com").is_some());
    // Two are left, which is within bounds.
    for name in ["bob", "eve"] {
        scene.until_gone::<PlatformUser>(name).await;
    }
}

#[tokio::test]
async fn the_removals_of_one_namespace_do_not_hold_those_of_another() {
    let further = json!({"removals": {"after": "0s", "atMost": 2, "per": "1h"}, "allowedNamespaces": {"from": "All"}});
    let scene = Scene::with(Vendor::Pegasus, Options::default(), further).await;
    let other = scene.beside().await;
    scene.user("ada", person("ada", json!({}))).await;
    scene.user_ready("ada").await;
    let crowd = ["bob", "eve", "joe"];
    for name in crowd {
        let elsewhere = json!({"credentialRef": {"name": "main", "namespace": scene.namespace}});
        other.user_as_is(name, person(name, elsewhere)).await;
        other.user_ready(name).await;
    }
    scene.annotate::<ProviderCredential>("main", "usher.dev/paused", "true").await;
    for name in crowd {
        other.delete::<PlatformUser>(name).await;
        other.user_says(name, "DeletionBlocked").await;
    }
    scene.annotate::<ProviderCredential>("main", "usher.dev/paused", "false").await;
    for name in crowd {
        other.user_says(name, "RemovalHeld").await;
    }
    scene.delete::<PlatformUser>("ada").await;
    scene.until_gone::<PlatformUser>("ada").await;
    assert!(scene.vendor.user("ada@example.com").is_none());
    assert_eq!(scene.vendor.count("users.delete"), 1, "those of the other namespace are held");
    // The release that their message names works as ever.
    let token = |user: &PlatformUser| printed(&message(user), "usher.dev/release-removals=", " ");
    let mut tokens = Vec::new();
    for name in crowd {
        tokens.push(token(&other.user_says(name, "RemovalHeld").await));
    }
    let last = tokens.into_iter().max().unwrap();
    scene.annotate::<ProviderCredential>("main", "usher.dev/release-removals", &last).await;
    for name in crowd {
        other.until_gone::<PlatformUser>(name).await;
    }
}

#[tokio::test]
async fn a_removal_waits_for_a_successor_and_is_then_made() {
    let removals = json!({"removals": {"after": "6s"}});
    let scene = Scene::with(Vendor::Pegasus, Options::default(), removals).await;
    scene.user("ada", person("ada", json!({}))).await;
    scene.user_ready("ada").await;
    scene.delete::<PlatformUser>("ada").await;
    let going = scene.user_says("ada", "Deleting").await;
    assert!(message(&going).contains("unless another object takes it over"), "{}", message(&going));
    assert!(scene.vendor.user("ada@example.com").is_some());
    scene.until_gone::<PlatformUser>("ada").await;
    assert!(scene.vendor.user("ada@example.com").is_none());
}

#[tokio::test]
async fn renaming_a_manifest_passes_the_account_on() {
    let removals = json!({"removals": {"after": "10m"}});
    let scene = Scene::with(Vendor::Pegasus, Options::default(), removals).await;
    scene.user("ada", person("ada", json!({"phone": "1"}))).await;
    let before = scene.user_ready("ada").await.status.unwrap().identity;
    // As a GitOps tool does it: the old one goes, the new one comes, in any order.
    scene.delete::<PlatformUser>("ada").await;
    scene.user_says("ada", "Deleting").await;
    scene.user("ada-lovelace", person("ada", json!({"phone": "2"}))).await;
    scene.until_gone::<PlatformUser>("ada").await;
    let after = scene.user_ready("ada-lovelace").await.status.unwrap().identity;
    assert_eq!(after.external_id, before.external_id);
    assert_eq!(after.adopted, None, "it stays ours, and goes when the new manifest goes");
    assert_eq!(scene.vendor.user("ada@example.com").unwrap()["phone"], "2");
    assert_eq!((scene.vendor.count("users.create"), scene.vendor.count("users.delete")), (1, 0));
    scene.until_event("ada", "HandedOver").await;
}

#[tokio::test]
async fn a_pending_create_passes_on_to_a_renamed_manifest() {
    let scene = Scene::new(Vendor::Pegasus).await;
    scene.credential_says("Synced").await;
    scene.vendor.fault(Fault::once("users.create", FaultKind::LostAfterCommit));
    scene.user("ada", person("ada", json!({}))).await;
    scene.user_says("ada", "ProviderUnavailable").await;
    scene.user("ada-lovelace", person("ada", json!({}))).await;
    scene.user_says("ada-lovelace", "Duplicate").await;
    scene.delete::<PlatformUser>("ada").await;
    scene.until_gone::<PlatformUser>("ada").await;
    let successor = scene.user_ready("ada-lovelace").await.status.unwrap().identity;
    assert_eq!(successor.adopted, None);
    assert_eq!((scene.vendor.count("users.create"), scene.vendor.count("users.delete")), (1, 0));
}

#[tokio::test]
async fn an_account_whose_rename_was_not_recorded_passes_on_under_its_new_name() {
    let scene = Scene::new(Vendor::Pegasus).await;
    scene.user("ada", person("ada", json!({}))).await;
    scene.user_ready("ada").await;
    scene.vendor.fault(Fault::always("users.update", FaultKind::LostAfterCommit));
    scene.user("ada", person("lovelace", json!({}))).await;
    scene.vendor_until("the new name", |vendor| vendor.user("lovelace@example.com").is_some()).await;
    scene.user("ada-lovelace", person("lovelace", json!({}))).await;
    scene.user_says("ada-lovelace", "Duplicate").await;
    scene.delete::<PlatformUser>("ada").await;
    scene.until_gone::<PlatformUser>("ada").await;
    scene.vendor.heal();
    scene.user_ready("ada-lovelace").await;
    assert_eq!((scene.vendor.count("users.create"), scene.vendor.count("users.delete")), (1, 0));
}

#[tokio::test]
async fn a_disabled_user_keeps_the_scopes_of_its_manifest() {
    let scene = Scene::new(Vendor::Pegasus).await;
    let pegasus = json!({"provider": {"pegasus": {"scopes": {"vehicles": "w"}}}, "deletionPolicy": "Disable"});
    scene.user("ada", person("ada", pegasus)).await;
    scene.user_ready("ada").await;
    scene.delete::<PlatformUser>("ada").await;
    scene.until_gone::<PlatformUser>("ada").await;
    let account = scene.vendor.user("ada@example.com").unwrap();
    assert_eq!((&account["scopes"], scene.vendor.count("users.update")), (&json!({"vehicles": "w"}), 1));
}

#[tokio::test]
async fn a_disable_of_an_account_that_is_inactive_already_sends_and_logs_no_write() {
    let scene = Scene::new(Vendor::Pegasus).await;
    for name in ["ada", "eve"] {
        scene.user(name, person(name, json!({"deletionPolicy": "Disable"}))).await;
        scene.user_ready(name).await;
    }
    scene.vendor.edit_user("ada@example.com", json!({"is_active": false}));
    scene.vendor.clear_calls();
    for (name, writes) in [("ada", 0), ("eve", 1)] {
        scene.delete::<PlatformUser>(name).await;
        scene.until_gone::<PlatformUser>(name).await;
        scene.until_event(name, "Disabled").await;
        assert_eq!(scene.vendor.user(&format!("{name}@example.com")).unwrap()["is_active"], false, "{name}");
        assert_eq!(scene.vendor.writes().len(), writes, "{name}: {:#?}", scene.vendor.writes());
        let object = format!("PlatformUser {}/{name} ", scene.namespace);
        let is_logged = leaks::has_line(&["vendor write", &object, "operation=Disabled"]);
        assert_eq!(is_logged, writes > 0, "{name}");
    }
}

#[tokio::test]
async fn few_listings_show_that_many_accounts_are_gone_already() {
    let scene = Scene::new(Vendor::Plaspy).await;
    let names: Vec<String> = (0..24).map(|number| format!("user-{number}")).collect();
    for name in &names {
        let block = json!({"plaspy": {"country": "CO", "timeZone": "America/Bogota"}});
        let email = format!("{name}@example.com");
        scene.user(name, json!({"email": email, "displayName": name, "provider": block})).await;
    }
    for name in &names {
        scene.user_ready(name).await;
        assert!(scene.vendor.remove_user(&format!("{name}@example.com")));
    }
    scene.vendor.clear_calls();
    for name in &names {
        scene.delete::<PlatformUser>(name).await;
    }
    for name in &names {
        scene.until_gone::<PlatformUser>(name).await;
    }
    assert_eq!(scene.vendor.count("users.delete"), 0);
    let listings = scene.vendor.count("users.list");
    // Removals at the same time, up to the credential's concurrency, do not share their listings.
    assert!(listings <= 8, "{listings} listings for {} removals", names.len());
}

#[tokio::test]
async fn a_second_object_for_an_account_is_a_duplicate_and_its_deletion_touches_nothing() {
    let scene = Scene::new(Vendor::Pegasus).await;
    scene.user("ada", person("ada", json!({}))).await;
    scene.user_ready("ada").await;
    scene.user("ada-2", person("ada", json!({"phone": "2"}))).await;
    let second = scene.user_says("ada-2", "Duplicate").await;
    assert!(message(&second).contains(&format!("PlatformUser {}/ada", scene.namespace)), "{}", message(&second));
    scene.delete::<PlatformUser>("ada-2").await;
    scene.until_gone::<PlatformUser>("ada-2").await;
    assert_eq!(scene.vendor.writes().len(), 1, "{:#?}", scene.vendor.writes());
    scene.user_ready("ada").await;
}

#[tokio::test]
async fn a_deletion_that_the_vendor_refuses_says_so_and_orphans_by_the_printed_command() {
    let scene = Scene::new(Vendor::Ozmap).await;
    scene.secret("login", &json!({"password": "Fake-Passw0rd"})).await;
    let spec = json!({"email": "ada@example.com", "passwordSecretRef": {"name": "login"}, "provider": {"ozmap": {"resources": ["OZmap"], "role": {"name": "Manager"}}}});
    scene.user("ada", spec.clone()).await;
    scene.user_ready("ada").await;
    let mut disable = spec;
    merge(&mut disable, json!({"deletionPolicy": "Disable"}));
    scene.user("ada", disable).await;
    let told = scene.user_says("ada", "Unsupported").await;
    assert!(message(&told).contains("spec.deletionPolicy"), "{}", message(&told));
    scene.delete::<PlatformUser>("ada").await;
    give_up(&scene, "ada", "DeletionBlocked").await;
    assert!(scene.vendor.user("ada@example.com").is_some());
}

#[tokio::test]
async fn a_secret_that_is_replaced_by_delete_and_create_interrupts_nothing() {
    let scene = Scene::new(Vendor::Pegasus).await;
    scene.user("ada", person("ada", json!({}))).await;
    scene.user_ready("ada").await;
    scene.until("main", is_held).await;
    scene.delete::<Secret>("main").await;
    scene.until_gone::<Secret>("main").await;
    scene.credential_says("WaitingForSecret").await;
    scene.user("ada", person("ada", json!({"phone": "2"}))).await;
    scene.user_ready("ada").await;
    assert_eq!(scene.vendor.user("ada@example.com").unwrap()["phone"], "2", "the session goes on");
    scene.apply_secret("main").await;
    let credential = scene.credential_says("Synced").await;
    let ready = find(&credential.status.as_ref().unwrap().conditions, ConditionType::Ready).unwrap();
    assert!(ready.message.contains("logged in"), "{}", ready.message);
}

#[tokio::test]
async fn a_secret_whose_credential_was_taken_away_by_force_can_be_deleted() {
    let scene = Scene::new(Vendor::Pegasus).await;
    scene.until("main", is_held).await;
    scene.patch::<ProviderCredential>("main", json!({"metadata": {"finalizers": null}})).await;
    scene.delete::<ProviderCredential>("main").await;
    scene.until_gone::<ProviderCredential>("main").await;
    scene.delete::<Secret>("main").await;
    scene.until_gone::<Secret>("main").await;
}

#[tokio::test]
async fn a_credential_that_goes_holds_its_secret_as_long_as_it_is_needed() {
    let scene = Scene::new(Vendor::Pegasus).await;
    scene.user("ada", person("ada", json!({}))).await;
    scene.user_ready("ada").await;
    scene.until("main", is_held).await;
    scene.delete::<ProviderCredential>("main").await;
    scene.credential_says("DeletionBlocked").await;
    scene.patch::<Secret>("main", json!({"metadata": {"finalizers": null}})).await;
    scene.until("main", is_held).await;
    scene.delete::<PlatformUser>("ada").await;
    scene.until_gone::<ProviderCredential>("main").await;
    scene.until("main", |secret: &Secret| !is_held(secret)).await;
}

/// Whether usher's finalizer is on a Secret.
fn is_held(secret: &Secret) -> bool {
    secret.metadata.finalizers.iter().flatten().any(|finalizer| finalizer == "usher.dev/credential-in-use")
}
