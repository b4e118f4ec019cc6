//! What ties an object to its account: it outlives a vendor that hides things, a group that is given up, a restore and its credential.

use k8s_openapi::api::core::v1::Secret;
use k8s_openapi::apimachinery::pkg::apis::meta::v1::Condition;
use kube::api::{Patch, PatchParams};
use rstest::rstest;
use serde_json::{Value, json};
use usher::api::conditions::{ConditionType, find};
use usher::api::status::Identity;
use usher::api::{PlatformGroup, PlatformUser, ProviderCredential};
use usher_sandbox::vendors::{Fault, FaultKind, Options, Vendor};

use crate::contract::{PASSWORD, message, sample};
use crate::scene::{Scene, merge};

fn ada(further: Value) -> Value {
    let mut spec = json!({"email": "ada@example.com", "provider": {"pegasus": {"sendEmail": true}}});
    merge(&mut spec, further);
    spec
}

async fn scene_with_ada(further: Value) -> Scene {
    let scene = Scene::new(Vendor::Pegasus).await;
    scene.user("ada", ada(further)).await;
    scene.user_ready("ada").await;
    scene
}

/// Lets the vendor show no user any more.
fn hide(scene: &Scene) {
    scene.vendor.fault(Fault::always("users.read", FaultKind::Status(404, None)));
    scene.vendor.fault(Fault::always("users.list", FaultKind::EmptyList));
    scene.vendor.fault(Fault::always("users.find", FaultKind::EmptyList));
}

#[tokio::test]
async fn an_account_that_is_only_hidden_is_not_given_up() {
    let scene = scene_with_ada(json!({})).await;
    let id = scene.user_ready("ada").await.status.unwrap().identity.external_id;
    hide(&scene);
    scene.user("ada", ada(json!({"phone": "1"}))).await;
    let hidden = scene.user_says("ada", "PermissionDenied").await;
    assert!(message(&hidden).contains("because it is there"), "{}", message(&hidden));
    assert_eq!(hidden.status.unwrap().identity.external_id, id);
    let asked = scene.vendor.count("users.create");
    scene.sweep("again").await;
    assert_eq!(scene.vendor.count("users.create"), asked, "it is not tried again and again");
    scene.vendor.heal();
    scene.sweep("healed").await;
    scene.user_ready("ada").await;
    assert_eq!(scene.vendor.user("ada@example.com").unwrap()["phone"], "1");

    hide(&scene);
    scene.user("ada", ada(json!({"phone": "2"}))).await;
    scene.user_says("ada", "PermissionDenied").await;
    scene.delete::<PlatformUser>("ada").await;
    let blocked = scene.user_says("ada", "DeletionBlocked").await;
    assert!(message(&blocked).contains("access to it"), "{}", message(&blocked));
    scene.vendor.heal();
    scene.sweep("healed again").await;
    scene.until_gone::<PlatformUser>("ada").await;
    assert!(scene.vendor.user("ada@example.com").is_none());
}

/// How often the vendor was sent a password.
fn passwords_sent(scene: &Scene) -> usize {
    let bodies = scene.vendor.writes().into_iter().filter_map(|call| call.body);
    bodies.filter(|body| body.to_string().contains(PASSWORD)).count()
}

#[rstest]
#[case::while_it_may_not_be_made_anew(false)]
#[case::when_it_is_to_be_made_anew(true)]
#[tokio::test]
async fn an_account_that_comes_back_is_ours_and_has_its_password(#[case] with_secret: bool) {
    let scene = Scene::new(Vendor::Pegasus).await;
    let first = made_with_login(&scene).await;
    if !with_secret {
        lose_login(&scene).await;
    }
    hide(&scene);
    scene.user("ada", with_login("ada", "2")).await;
    scene.user_says("ada", if with_secret { "PermissionDenied" } else { "WaitingForSecret" }).await;
    scene.vendor.heal();
    scene.sweep("healed").await;
    let back = scene.user_ready("ada").await.status.unwrap().identity;
    assert_eq!((back.external_id, back.adopted), (first.external_id, None));
    assert_eq!(scene.vendor.user("ada@example.com").unwrap()["phone"], "2");
    assert_eq!(passwords_sent(&scene), if with_secret { 2 } else { 1 }, "the create that was refused carried it, too");
    assert_eq!(scene.vendor.count("users.update"), 1);
    scene.delete::<PlatformUser>("ada").await;
    scene.until_gone::<PlatformUser>("ada").await;
    assert!(scene.vendor.user("ada@example.com").is_none());
}

/// A user with a password: how he was bound.
async fn made_with_login(scene: &Scene) -> Identity {
    scene.secret("login", &json!({"password": PASSWORD})).await;
    scene.user("ada", with_login("ada", "1")).await;
    scene.user_ready("ada").await.status.unwrap().identity
}

async fn lose_login(scene: &Scene) {
    scene.delete::<Secret>("login").await;
    scene.until_gone::<Secret>("login").await;
}

/// A user whose account the vendor shows no longer, and which cannot be made again before its Secret is there: its status while bound.
async fn away(scene: &Scene) -> Identity {
    let bound = made_with_login(scene).await;
    lose_login(scene).await;
    hide(scene);
    scene.user("ada", with_login("ada", "2")).await;
    scene.user_says("ada", "WaitingForSecret").await;
    bound
}

fn with_login(name: &str, phone: &str) -> Value {
    json!({"email": format!("{name}@example.com"), "phone": phone, "passwordSecretRef": {"name": "login"}})
}

#[tokio::test]
async fn an_account_that_comes_back_while_its_object_goes_is_removed() {
    let scene = Scene::new(Vendor::Pegasus).await;
    away(&scene).await;
    scene.vendor.heal();
    scene.delete::<PlatformUser>("ada").await;
    scene.until_gone::<PlatformUser>("ada").await;
    assert!(scene.vendor.user("ada@example.com").is_none(), "usher made it, and does not leave it behind");
}

#[tokio::test]
async fn an_account_that_comes_back_is_renamed_and_not_made_twice() {
    let scene = Scene::new(Vendor::Pegasus).await;
    let bound = away(&scene).await;
    scene.user("ada", with_login("lovelace", "2")).await;
    scene.user_says("ada", "WaitingForSecret").await;
    scene.vendor.heal();
    scene.secret("login", &json!({"password": PASSWORD})).await;
    let back = scene.user_ready("ada").await.status.unwrap().identity;
    assert_eq!((back.external_id, scene.vendor.count("users.create")), (bound.external_id, 1));
    assert!(scene.vendor.user("lovelace@example.com").is_some());
    assert!(scene.vendor.user("ada@example.com").is_none());
    assert_eq!(passwords_sent(&scene), 1);
}

#[tokio::test]
async fn an_object_whose_account_is_missing_still_holds_it() {
    let scene = Scene::new(Vendor::Pegasus).await;
    // The older of the two, which once asked for another account and did not get it.
    let taker =
        |email: &str| json!({"email": email, "adoptionPolicy": "Adopt", "passwordSecretRef": {"name": "other"}});
    scene.user("taker", taker("taker@example.com")).await;
    scene.user_says("taker", "WaitingForSecret").await;
    let bound = away(&scene).await;
    scene.secret("other", &json!({"password": "Fake-Other-Passw0rd"})).await;
    scene.user("taker", taker("ada@example.com")).await;
    scene.user_says("taker", "Duplicate").await;
    scene.vendor.heal();
    scene.sweep("healed").await;
    let back = scene.user_ready("ada").await.status.unwrap().identity;
    assert_eq!(back.external_id, bound.external_id);
    scene.user_says("taker", "Duplicate").await;
}

#[tokio::test]
async fn an_object_whose_account_is_missing_takes_another_one_over() {
    let scene = Scene::new(Vendor::Pegasus).await;
    scene.user("holder", ada(json!({"email": "holder@example.com"}))).await;
    let held = scene.user_ready("holder").await.status.unwrap().identity.external_id;
    made_with_login(&scene).await;
    lose_login(&scene).await;
    assert!(scene.vendor.remove_user("ada@example.com"));
    scene.sweep("lost").await;
    scene.user_says("ada", "WaitingForSecret").await;
    scene.user("ada", with_login("holder", "2")).await;
    scene.user_says("ada", "Duplicate").await;
    scene.delete::<PlatformUser>("holder").await;
    scene.until_gone::<PlatformUser>("holder").await;
    let has_taken_over =
        move |user: &PlatformUser| user.status.as_ref().is_some_and(|status| status.identity.external_id == held);
    scene.until("ada", has_taken_over).await;
    assert_eq!(scene.vendor.count("users.delete"), 0);
    assert!(scene.vendor.user("holder@example.com").is_some());
}

#[tokio::test]
async fn a_key_that_is_taken_is_a_strangers_although_a_create_under_another_key_was_lost() {
    let scene = Scene::new(Vendor::Amani).await;
    scene.secret("login", &json!({"password": PASSWORD})).await;
    scene.vendor.put_user(json!({"email": "countess@example.com", "username": "countess@example.com"}));
    let before = scene.vendor.user("countess@example.com");
    scene.vendor.fault(Fault::always("users.list", FaultKind::EmptyList));
    scene.vendor.fault(Fault::once("users.create", FaultKind::LostBeforeCommit));
    scene.user("ada", sample(Vendor::Amani).user).await;
    scene.user_says("ada", "ProviderUnavailable").await;
    let mut renamed = sample(Vendor::Amani).user;
    merge(&mut renamed, json!({"email": "countess@example.com"}));
    scene.user("ada", renamed).await;
    scene.user_says("ada", "AlreadyExists").await;
    scene.vendor.heal();
    scene.sweep("healed").await;
    scene.compare_user("ada").await;
    let ada = scene.user_says("ada", "AlreadyExists").await;
    assert_eq!(ada.status.unwrap().identity.external_id, None);
    scene.delete::<PlatformUser>("ada").await;
    scene.until_gone::<PlatformUser>("ada").await;
    assert_eq!(scene.vendor.user("countess@example.com"), before);
}

#[tokio::test]
async fn another_site_behind_the_same_address_is_another_place() {
    let scene = Scene::without_credential(Vendor::Pegasus, Options::default()).await;
    scene.apply_secret("main").await;
    let at = |site: &str| json!({"provider": {"pegasus": {"gateway": site}}});
    scene.apply_credential(at("north.example.com")).await;
    scene.user("ada", ada(json!({"phone": "1"}))).await;
    let bound = scene.user_ready("ada").await.status.unwrap().identity;
    assert!(bound.account.as_ref().unwrap().contains("north.example.com"), "{bound:?}");
    scene.apply_credential(at("south.example.com")).await;
    scene.user("ada", ada(json!({"phone": "2"}))).await;
    let moved = scene.user_says("ada", "ProviderMismatch").await;
    assert!(message(&moved).contains("south.example.com"), "{}", message(&moved));
    scene.delete::<PlatformUser>("ada").await;
    scene.user_says("ada", "DeletionBlocked").await;
    assert_eq!((scene.vendor.count("users.update"), scene.vendor.count("users.delete")), (0, 0));
    scene.apply_credential(at("North.example.com")).await;
    scene.until_gone::<PlatformUser>("ada").await;
    assert!(scene.vendor.user("ada@example.com").is_none());
}

#[derive(Clone, Copy, PartialEq)]
enum Unseen {
    /// Amani lists no users.
    Unlisted,
    /// Amani lists the account only later.
    Hidden,
    /// Industrility shows nothing.
    Nothing,
}

#[rstest]
#[tokio::test]
async fn what_was_said_to_be_there_is_not_taken_for_a_lost_create(
    #[values(Unseen::Unlisted, Unseen::Hidden, Unseen::Nothing)] unseen: Unseen,
) {
    let vendor = if unseen == Unseen::Nothing { Vendor::Industrility } else { Vendor::Amani };
    let mut options = Options::default();
    options.amani.listing = unseen != Unseen::Unlisted;
    let scene = Scene::with(vendor, options, json!({})).await;
    scene.secret("login", &json!({"password": PASSWORD})).await;
    let stranger = json!({"email": "ada@example.com", "username": "ada@example.com", "first_name": "Eve"});
    scene.vendor.put_user(stranger);
    let before = scene.vendor.user("ada@example.com");
    if unseen == Unseen::Hidden {
        scene.vendor.fault(Fault::always("users.list", FaultKind::EmptyList));
    }
    scene.user("ada", sample(vendor).user).await;
    scene.user_says("ada", "AlreadyExists").await;
    scene.vendor.fault(Fault::once("users.create", FaultKind::LostAfterCommit));
    scene.annotate::<PlatformUser>("ada", "usher.dev/reconcile-at", "again").await;
    scene.user_says("ada", "ProviderUnavailable").await;
    if unseen == Unseen::Hidden {
        scene.vendor.heal();
    }
    let ada = scene.user_says("ada", "AlreadyExists").await;
    assert_eq!(ada.status.unwrap().identity.external_id, None);
    assert_eq!(scene.vendor.user("ada@example.com"), before);
    scene.delete::<PlatformUser>("ada").await;
    scene.until_gone::<PlatformUser>("ada").await;
    assert_eq!(scene.vendor.user("ada@example.com"), before);
}

#[tokio::test]
async fn two_credentials_of_one_place_bind_an_unseen_account_once() {
    let scene = Scene::new(Vendor::Industrility).await;
    scene.credential_says("Unverified").await;
    scene.apply_other_credential().await;
    scene.vendor.fault(Fault::once("users.create", FaultKind::LostAfterCommit));
    scene.user("ada", sample(Vendor::Industrility).user).await;
    scene.user_says("ada", "ProviderUnavailable").await;
    scene.vendor.fault(Fault::once("users.create", FaultKind::LostBeforeCommit));
    let mut through_other = sample(Vendor::Industrility).user;
    merge(&mut through_other, json!({"credentialRef": {"name": "other"}}));
    scene.user_as_is("ada-2", through_other).await;
    let is_settled = |reason: &str| ["Created", "Duplicate"].contains(&reason);
    let mut reasons = Vec::new();
    for name in ["ada", "ada-2"] {
        let settled = move |user: &PlatformUser| ready(user).is_some_and(|ready| is_settled(&ready.reason));
        reasons.push(ready(&scene.until(name, settled).await).unwrap().reason.clone());
    }
    reasons.sort();
    assert_eq!(reasons, ["Created", "Duplicate"]);
}

fn ready(user: &PlatformUser) -> Option<&Condition> {
    find(&user.status.as_ref()?.report.conditions, ConditionType::Ready)
}

#[tokio::test]
async fn a_group_that_is_given_up_keeps_its_members() {
    let scene = Scene::new(Vendor::Pegasus).await;
    for name in ["north", "south"] {
        scene.group(name, json!({"displayName": name, "deletionPolicy": "Orphan"})).await;
    }
    let groups = json!({"groups": [{"groupRef": {"name": "north"}}, {"groupRef": {"name": "south"}}]});
    scene.user("ada", ada(groups)).await;
    scene.user_ready("ada").await;
    let id = |name: &str| scene.vendor.group(name).unwrap()["id"].clone();
    scene.delete::<PlatformGroup>("north").await;
    scene.until_gone::<PlatformGroup>("north").await;
    // The group that the manifest no longer lists is removed all the same.
    scene.user("ada", ada(json!({"groups": [{"groupRef": {"name": "north"}}]}))).await;
    scene.user_says("ada", "WaitingForGroup").await;
    scene
        .vendor_until("the group that is left", |vendor| {
            vendor.user("ada@example.com").unwrap()["groups"] == json!([id("north")])
        })
        .await;
    assert!(scene.vendor.group("north").is_some());
}

#[tokio::test]
async fn what_a_restore_wrote_into_a_status_does_not_stay_there() {
    let scene = scene_with_ada(json!({})).await;
    let stale = json!({
        "apiVersion": "usher.dev/v1alpha1", "kind": "PlatformUser", "metadata": {"name": "ada"},
        "status": {
            "pending": [{"operation": "update", "target": "1", "fields": ["phone"]}],
            "conditions": [{"type": "Stalled", "status": "True", "reason": "Invalid", "message": "of old",
                "lastTransitionTime": "2026-01-01T00:00:00Z"}],
        },
    });
    let params = PatchParams::apply("backup").force();
    scene.api::<PlatformUser>().patch_status("ada", &params, &Patch::Apply(stale)).await.unwrap();
    scene.user("ada", ada(json!({"phone": "1"}))).await;
    scene.user_ready("ada").await;
    scene
        .until("ada", |user: &PlatformUser| {
            let report = &user.status.as_ref().unwrap().report;
            find(&report.conditions, ConditionType::Stalled).is_none() && report.pending.is_none()
        })
        .await;
}

#[tokio::test]
async fn a_credential_that_goes_as_orphan_sets_all_its_objects_free() {
    let scene = scene_with_ada(json!({})).await;
    scene.apply_credential(json!({"deletionPolicy": "Orphan"})).await;
    scene.delete::<ProviderCredential>("main").await;
    scene.until_gone::<ProviderCredential>("main").await;
    scene.delete::<PlatformUser>("ada").await;
    scene.until_gone::<PlatformUser>("ada").await;
    assert!(scene.vendor.user("ada@example.com").is_some());
}

#[tokio::test]
async fn an_edit_of_the_credential_that_went_ahead_applies() {
    let scene = Scene::new(Vendor::Pegasus).await;
    scene.credential_says("Synced").await;
    for round in 0..10 {
        scene.apply_credential(json!({"mode": "Plan"})).await;
        let name = format!("ada{round}");
        scene.user(&name, ada(json!({"email": format!("{name}@example.com")}))).await;
        scene.user_says(&name, "ChangesPending").await;
        assert!(scene.vendor.writes().is_empty(), "round {round}: {:#?}", scene.vendor.writes());
        scene.delete::<PlatformUser>(&name).await;
        scene.until_gone::<PlatformUser>(&name).await;
        scene.apply_credential(json!({"mode": "Enforce"})).await;
    }
}
