//! Two things at the same moment, in the order that hurts: what people see in the end.

use std::sync::atomic::Ordering;

use rstest::rstest;
use rstest_reuse::apply;
use serde_json::json;
use usher::api::{PlatformGroup, PlatformUser, ProviderCredential};
use usher_sandbox::vendors::{Options, Simulator, Vendor};

use super::fuse::Breakpoint;
use super::operator::Operator;
use super::stage::Stage;
use super::steps::{alone, basics, person};
use crate::scene::Scene;
use crate::vendors::{every_vendor, every_vendor_that_renames, every_vendor_that_shows_accounts};

/// The status write that announces a create, and the one that follows it.
const ANNOUNCEMENT: &str = "PATCH platformusers/ada/status usher-identity";

/// How many accounts the user has.
pub fn accounts(scene: &Scene) -> usize {
    scene.vendor.users().iter().filter(|user| user["email"] == "ada@example.com").count()
}

/// A stage with a credential in use, and its operator.
pub async fn stage(vendor: Vendor) -> (Stage, Operator) {
    let stage = Stage::new(&super::clients(), vendor).await;
    let operator = stage.operator();
    basics(&stage).await;
    let ready = if vendor == Vendor::Industrility { "Unverified" } else { "Synced" };
    stage.scene.credential_says(ready).await;
    (stage, operator)
}

/// Applies the user.
pub async fn apply_ada(stage: &Stage) {
    stage.scene.user("ada", alone(stage.scene.vendor.vendor(), json!({}))).await;
}

#[rstest]
#[case::before_it_is_announced(ANNOUNCEMENT)]
#[case::after_it_is_announced("vendor users.create")]
#[tokio::test]
async fn an_account_made_by_hand_in_the_middle_of_a_create_is_not_taken(
    #[case] held: &str,
    #[values(Vendor::Pegasus, Vendor::Amani, Vendor::Plaspy, Vendor::Ozmap)] vendor: Vendor,
) {
    let (stage, operator) = stage(vendor).await;
    let scene = &stage.scene;
    let create = operator.fuse.hold(held);
    apply_ada(&stage).await;
    create.reached().await;
    scene.vendor.put_user(person(vendor, "ada@example.com"));
    let before = scene.vendor.user("ada@example.com");
    create.release.cancel();
    let ada = scene.user_says("ada", "AlreadyExists").await;
    assert_eq!(ada.status.unwrap().identity.creating, None);
    scene.sweep("1").await;
    scene.delete::<PlatformUser>("ada").await;
    scene.until_gone::<PlatformUser>("ada").await;
    assert_eq!(scene.vendor.user("ada@example.com"), before);
    assert_eq!(scene.vendor.count("users.create"), 1, "what was refused is not asked for again");
    operator.kill().await;
}

#[apply(every_vendor_that_shows_accounts)]
#[tokio::test]
async fn a_sweep_that_began_before_a_create_and_ends_after_it_does_not_undo_it(vendor: Vendor) {
    let (stage, operator) = stage(vendor).await;
    let scene = &stage.scene;
    scene.user("first", further(vendor, "first@example.com")).await;
    scene.user_ready("first").await;
    let answer = operator.fuse.delay("vendor users.list");
    scene.annotate::<ProviderCredential>("main", "usher.dev/reconcile-at", "1").await;
    answer.reached().await;
    apply_ada(&stage).await;
    scene.user_ready("ada").await;
    answer.release.cancel();
    swept(scene, "1").await;
    scene.sweep("2").await;
    scene.user_ready("ada").await;
    assert_eq!((scene.vendor.count("users.create"), accounts(scene)), (2, 1));
    assert_eq!(scene.vendor.count("users.update"), 0);
    operator.kill().await;
}

#[tokio::test]
async fn a_mode_set_while_a_listing_goes_on_holds_what_comes_after_it() {
    let (stage, operator) = stage(Vendor::Pegasus).await;
    let scene = &stage.scene;
    apply_ada(&stage).await;
    scene.user_ready("ada").await;
    let listing = operator.fuse.delay("vendor users.list");
    scene.annotate::<ProviderCredential>("main", "usher.dev/reconcile-at", "1").await;
    listing.reached().await;
    scene.patch::<ProviderCredential>("main", json!({"spec": {"mode": "Plan"}})).await;
    scene.patch::<PlatformUser>("ada", json!({"spec": {"phone": "2"}})).await;
    scene.vendor_until("a look at the account", |vendor| vendor.count("users.read") > 0).await;
    listing.release.cancel();
    scene.user_says("ada", "ChangesPending").await;
    assert_eq!(scene.vendor.count("users.update"), 0);
    operator.kill().await;
}

/// Deletes the user while no operator runs; the next operator, and when it may see the listing of users and their watch.
async fn deleted_before_a_late_watch(stage: &Stage) -> (Operator, Breakpoint, Breakpoint) {
    stage.scene.delete::<PlatformUser>("ada").await;
    let operator = stage.operator();
    let [listed, watched] = ["GET platformusers"; 2].map(|request| operator.fuse.delay(request));
    (operator, listed, watched)
}

#[tokio::test]
async fn a_policy_that_the_watch_does_not_show_applies() {
    let (stage, operator) = stage(Vendor::Pegasus).await;
    let scene = &stage.scene;
    apply_ada(&stage).await;
    scene.user_ready("ada").await;
    operator.kill().await;
    let (operator, listed, watched) = deleted_before_a_late_watch(&stage).await;
    let look = operator.fuse.delay("vendor users.read");
    listed.release.cancel();
    look.reached().await;
    watched.reached().await;
    scene.patch::<PlatformUser>("ada", json!({"spec": {"deletionPolicy": "Orphan"}})).await;
    look.release.cancel();
    scene.until_gone::<PlatformUser>("ada").await;
    assert_eq!((scene.vendor.count("users.delete"), accounts(scene)), (0, 1));
    watched.release.cancel();
    operator.kill().await;
}

#[rstest]
#[case::let_go_by_us(false)]
#[case::let_go_by_a_person(true)]
#[tokio::test]
async fn a_removal_that_the_watch_does_not_show_is_counted_once(#[case] by_a_person: bool) {
    let (stage, operator) = stage(Vendor::Pegasus).await;
    let scene = &stage.scene;
    scene.group("team", json!({"displayName": "Team"})).await;
    apply_ada(&stage).await;
    scene.group_says("team", "Synced").await;
    scene.user_ready("ada").await;
    operator.kill().await;
    let (operator, listed, watched) = deleted_before_a_late_watch(&stage).await;
    let leave = operator.fuse.hold("PATCH platformusers/ada usher");
    listed.release.cancel();
    watched.reached().await;
    leave.reached().await;
    if by_a_person {
        scene.patch::<PlatformUser>("ada", json!({"metadata": {"finalizers": null}})).await;
    }
    leave.release.cancel();
    scene.until_gone::<PlatformUser>("ada").await;
    scene.delete::<PlatformGroup>("team").await;
    scene.until_gone::<PlatformGroup>("team").await;
    let looks = operator.counts.users.load(Ordering::Relaxed);
    scene.sweep("1").await;
    scene.vendor_until("another look at her", |_| operator.counts.users.load(Ordering::Relaxed) > looks).await;
    let credential = scene.api::<ProviderCredential>().get("main").await.unwrap();
    let recent = credential.status.unwrap().recent_removals.unwrap();
    assert_eq!(recent.iter().map(|part| part.count).sum::<u32>(), 2, "{recent:?}");
    watched.release.cancel();
    operator.kill().await;
}

#[rstest]
#[case::the_objects(true)]
#[case::the_credentials(false)]
#[tokio::test]
async fn a_policy_changed_while_the_account_is_looked_at_for_removal_applies(#[case] of_the_object: bool) {
    let (stage, operator) = stage(Vendor::Pegasus).await;
    let scene = &stage.scene;
    apply_ada(&stage).await;
    scene.user_ready("ada").await;
    let look = operator.fuse.delay("vendor users.read");
    scene.delete::<PlatformUser>("ada").await;
    look.reached().await;
    let orphan = json!({"spec": {"deletionPolicy": "Orphan"}});
    if of_the_object {
        scene.patch::<PlatformUser>("ada", orphan).await;
    } else {
        scene.patch::<ProviderCredential>("main", orphan).await;
    }
    // Once he is made, the watch has shown what came before him.
    scene.user("next", further(Vendor::Pegasus, "next@example.com")).await;
    scene.user_ready("next").await;
    look.release.cancel();
    scene.until_gone::<PlatformUser>("ada").await;
    assert_eq!((scene.vendor.count("users.delete"), accounts(scene)), (0, 1));
    operator.kill().await;
}

#[tokio::test]
async fn a_successor_that_comes_while_the_account_is_looked_at_for_removal_takes_it_over() {
    let (stage, operator) = stage(Vendor::Pegasus).await;
    let scene = &stage.scene;
    apply_ada(&stage).await;
    scene.user_ready("ada").await;
    let look = operator.fuse.delay("vendor users.read");
    scene.delete::<PlatformUser>("ada").await;
    look.reached().await;
    scene.user("successor", alone(Vendor::Pegasus, json!({}))).await;
    // The watch has shown an object with a status.
    let has_status = |successor: &PlatformUser| successor.status.is_some();
    scene.until("successor", has_status).await;
    look.release.cancel();
    scene.until_gone::<PlatformUser>("ada").await;
    scene.user_ready("successor").await;
    let made = scene.vendor.count("users.create");
    assert_eq!((made, scene.vendor.count("users.delete"), accounts(scene)), (1, 0, 1));
    operator.kill().await;
}

#[apply(every_vendor)]
#[tokio::test]
async fn a_create_that_is_done_long_after_its_time_ran_out_is_still_ours(vendor: Vendor) {
    let (stage, operator) = stage(vendor).await;
    let scene = &stage.scene;
    let create = operator.fuse.detach("vendor users.create");
    apply_ada(&stage).await;
    create.reached().await;
    scene.user_says("ada", "ProviderUnavailable").await;
    create.release.cancel();
    scene.user_says("ada", if vendor == Vendor::Industrility { "Created" } else { "Synced" }).await;
    assert_eq!(accounts(scene), 1);
    operator.kill().await;
}

#[apply(every_vendor_that_shows_accounts)]
#[tokio::test]
async fn a_credential_rotated_in_the_middle_of_a_create_finishes_it(vendor: Vendor) {
    let (stage, operator) = stage(vendor).await;
    let scene = &stage.scene;
    let create = operator.fuse.hold("vendor users.create");
    apply_ada(&stage).await;
    create.reached().await;
    scene.vendor.revoke_tokens();
    for key in scene.vendor.secret().keys().filter(|key| *key != "username") {
        scene.vendor.set_secret(key, "fake-rotated-secret");
    }
    scene.apply_secret("main").await;
    create.release.cancel();
    scene.user_ready("ada").await;
    assert_eq!(accounts(scene), 1);
    operator.kill().await;
}

#[apply(every_vendor_that_shows_accounts)]
#[tokio::test]
async fn a_credential_pointed_elsewhere_in_the_middle_of_a_create_touches_nothing_there(vendor: Vendor) {
    let (stage, operator) = stage(vendor).await;
    let scene = &stage.scene;
    let elsewhere = Simulator::start_with(vendor, Options::default()).await.unwrap();
    let create = operator.fuse.detach("vendor users.create");
    apply_ada(&stage).await;
    create.reached().await;
    scene.apply_credential(json!({"provider": {vendor.name(): {"url": elsewhere.url()}}})).await;
    create.release.cancel();
    scene.user_says("ada", "ProviderMismatch").await;
    assert!(elsewhere.writes().is_empty(), "{:#?}", elsewhere.writes());
    scene.apply_credential(json!({})).await;
    scene.user_ready("ada").await;
    assert_eq!((accounts(scene), elsewhere.users().len()), (1, 0));
    operator.kill().await;
}

#[apply(every_vendor_that_shows_accounts)]
#[tokio::test]
async fn two_operators_for_a_moment_make_one_account(vendor: Vendor) {
    let (stage, first) = stage(vendor).await;
    let scene = &stage.scene;
    let announced = first.fuse.hold(ANNOUNCEMENT);
    apply_ada(&stage).await;
    announced.reached().await;
    let second = stage.operator();
    scene.user_ready("ada").await;
    announced.release.cancel();
    scene.sweep("1").await;
    scene.user_ready("ada").await;
    assert_eq!((scene.vendor.count("users.create"), accounts(scene)), (1, 1));
    first.kill().await;
    second.kill().await;
}

#[apply(every_vendor_that_renames)]
#[tokio::test]
async fn a_user_deleted_right_after_a_rename_that_nobody_recorded_is_removed(vendor: Vendor) {
    let (stage, operator) = stage(vendor).await;
    let scene = &stage.scene;
    apply_ada(&stage).await;
    scene.user_ready("ada").await;
    let record = operator.fuse.hold(ANNOUNCEMENT);
    scene.user("ada", further(vendor, "countess@example.com")).await;
    record.reached().await;
    operator.kill().await;
    scene.delete::<PlatformUser>("ada").await;
    let successor = stage.operator();
    scene.until_gone::<PlatformUser>("ada").await;
    let account = scene.vendor.user("countess@example.com");
    assert!(account.is_none_or(|account| account["is_active"] == false));
    successor.kill().await;
}

#[apply(every_vendor_that_renames)]
#[tokio::test]
async fn an_email_changed_after_an_unrecorded_create_leaves_no_second_account(vendor: Vendor) {
    let (stage, operator) = stage(vendor).await;
    let scene = &stage.scene;
    made_and_forgotten(&stage, operator).await;
    scene.user("ada", further(vendor, "countess@example.com")).await;
    let successor = stage.operator();
    scene.user_ready("ada").await;
    assert_eq!((accounts(scene), scene.vendor.users().len()), (0, 1));
    successor.kill().await;
}

/// An account whose id was not recorded.
pub async fn made_and_forgotten(stage: &Stage, operator: Operator) {
    let scene = &stage.scene;
    let create = operator.fuse.detach("vendor users.create");
    apply_ada(stage).await;
    create.reached().await;
    create.release.cancel();
    scene.vendor_until("the account", |vendor| vendor.user("ada@example.com").is_some()).await;
    operator.kill().await;
}

#[tokio::test]
async fn a_manifest_changed_after_an_unrecorded_create_says_that_it_cannot_be_done() {
    let (stage, operator) = stage(Vendor::Industrility).await;
    let scene = &stage.scene;
    made_and_forgotten(&stage, operator).await;
    scene.user("ada", alone(Vendor::Industrility, json!({"lastName": "King"}))).await;
    let successor = stage.operator();
    scene.user_says("ada", "Unsupported").await;
    successor.kill().await;
}

/// The user under another address.
pub fn further(vendor: Vendor, email: &str) -> serde_json::Value {
    alone(vendor, json!({"email": email}))
}

async fn swept(scene: &Scene, value: &'static str) {
    let handled = move |credential: &ProviderCredential| {
        let handled = credential.status.as_ref().and_then(|status| status.last_handled_reconcile_at.as_deref());
        handled == Some(value)
    };
    scene.until("main", handled).await;
}
