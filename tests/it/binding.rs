//! What ties an object to its account: it outlives a vendor that hides things, a group that is given up, a restore and its credential.

use kube::api::{Patch, PatchParams};
use serde_json::{Value, json};
use usher::api::conditions::{ConditionType, find};
use usher::api::{PlatformGroup, PlatformUser, ProviderCredential};
use usher_sandbox::vendors::{Fault, FaultKind, Vendor};

use crate::contract::message;
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

#[tokio::test]
async fn an_account_that_is_only_hidden_is_not_given_up() {
    let scene = scene_with_ada(json!({})).await;
    let id = scene.user_ready("ada").await.status.unwrap().identity.external_id;
    let hide = || {
        scene.vendor.fault(Fault::always("users.read", FaultKind::Status(404, None)));
        scene.vendor.fault(Fault::always("users.list", FaultKind::EmptyList));
        scene.vendor.fault(Fault::always("users.find", FaultKind::EmptyList));
    };
    hide();
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

    hide();
    scene.user("ada", ada(json!({"phone": "2"}))).await;
    scene.user_says("ada", "PermissionDenied").await;
    scene.delete::<PlatformUser>("ada").await;
    let blocked = scene.user_says("ada", "DeletionBlocked").await;
    assert!(message(&blocked).contains("sight of it"), "{}", message(&blocked));
    scene.vendor.heal();
    scene.sweep("healed again").await;
    scene.until_gone::<PlatformUser>("ada").await;
    assert!(scene.vendor.user("ada@example.com").is_none());
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
    // What he shall lose he loses all the same.
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
async fn an_edit_of_the_credential_that_went_ahead_is_heeded() {
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
