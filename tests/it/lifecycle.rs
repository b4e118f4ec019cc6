//! The main job: group → user → application access, from apply to ids and conditions, and back out again.

use serde_json::{Value, json};
use usher::api::{PlatformGroup, PlatformUser};
use usher_sandbox::vendors::{Fault, FaultKind, Simulator, Vendor};

use crate::scene::{Scene, merge};

#[tokio::test]
async fn a_group_a_user_and_its_applications_are_made_in_order() {
    let scene = Scene::new(Vendor::Pegasus).await;
    scene.secret("ada-login", &json!({"password": "Fake-Passw0rd"})).await;
    scene
        .user(
            "ada",
            json!({
                "email": "ada@example.com",
                "firstName": "Ada",
                "passwordSecretRef": {"name": "ada-login"},
                "groups": [{"groupRef": {"name": "north"}}],
                "provider": {"pegasus": {"access": "basic", "applications": {"pegasus2.0": {"tracking": true}}}},
            }),
        )
        .await;
    scene.user_says("ada", "WaitingForGroup").await;
    scene.group("north", json!({"displayName": "Fleet North", "provider": {"pegasus": {"city": "Merida"}}})).await;
    let ada = scene.user_ready("ada").await;
    let group = scene.group_says("north", "Synced").await;

    let account = scene.vendor.user("ada@example.com").unwrap();
    assert_eq!(account["first_name"], "Ada");
    assert_eq!(account["password"], "Fake-Passw0rd");
    assert_eq!(account["is_active"], true);
    let id = ada.status.unwrap().identity.external_id.unwrap();
    assert_eq!(account["id"].to_string(), id);
    let group_id = group.status.unwrap().identity.external_id.unwrap();
    assert_eq!(account["groups"].to_string(), format!("[{group_id}]"));
    assert_eq!(
        scene.vendor.writes().iter().map(|call| call.operation).collect::<Vec<_>>(),
        ["groups.create", "users.create", "apps.write"]
    );
    assert_eq!(scene.vendor.violations(), Vec::<String>::new());
    scene.until_event("ada", "Created").await;
    let events = scene.events("ada").await;
    assert!(events.iter().any(|reason| reason == "WaitingForGroup"), "{events:?}");
    assert_eq!(events.iter().filter(|reason| *reason == "Created").count(), 1, "{events:?}");
}

#[tokio::test]
async fn an_edit_is_one_update_and_a_deletion_removes_the_account() {
    let scene = Scene::new(Vendor::Pegasus).await;
    scene.secret("ada-login", &json!({"password": "Fake-Passw0rd"})).await;
    let spec =
        |phone: &str| json!({"email": "ada@example.com", "phone": phone, "passwordSecretRef": {"name": "ada-login"}});
    scene.user("ada", spec("1")).await;
    scene.user_ready("ada").await;
    scene.user("ada", spec("2")).await;
    scene.user_ready("ada").await;
    assert_eq!(scene.vendor.user("ada@example.com").unwrap()["phone"], "2");
    assert_eq!(scene.vendor.count("users.update"), 1);

    scene.delete::<PlatformUser>("ada").await;
    scene.until_gone::<PlatformUser>("ada").await;
    assert!(scene.vendor.user("ada@example.com").is_none());
    assert_eq!(scene.vendor.violations(), Vec::<String>::new());
}

#[tokio::test]
async fn drift_is_repaired_and_an_unchanged_group_costs_no_write() {
    let scene = Scene::new(Vendor::Pegasus).await;
    scene.group("north", json!({"provider": {"pegasus": {"city": "Merida"}}})).await;
    let before = scene.group_says("north", "Synced").await;
    scene.annotate::<PlatformGroup>("north", "usher.dev/reconcile-at", "1").await;
    scene.group_handled("north", "1").await;
    assert_eq!(scene.vendor.writes().len(), 1, "only the create: {:#?}", scene.vendor.writes());

    scene.vendor.edit_group("north", json!({"city": "Bogota"}));
    scene.annotate::<PlatformGroup>("north", "usher.dev/reconcile-at", "2").await;
    let after = scene.group_handled("north", "2").await;
    assert_eq!(scene.vendor.group("north").unwrap()["city"], "Merida");
    assert_eq!(scene.vendor.count("groups.update"), 1);
    assert_eq!(before.metadata.generation, after.metadata.generation);
}

#[tokio::test]
async fn a_role_of_another_name_is_found_anew_and_its_members_move() {
    let scene = Scene::new(Vendor::Amani).await;
    scene.secret("login", &json!({"password": "Fake-Passw0rd"})).await;
    let (reviewer, auditor) =
        (scene.vendor.put_group(json!({"name": "Checker"})), scene.vendor.put_group(json!({"name": "Auditor"})));
    scene.group("team", json!({"displayName": "Checker"})).await;
    scene.user("ada", json!({"email": "ada@example.com", "passwordSecretRef": {"name": "login"}, "groups": [{"groupRef": {"name": "team"}}]})).await;
    scene.user_ready("ada").await;
    let is_in = |group: String| {
        move |vendor: &Simulator| vendor.user("ada@example.com").unwrap()["groups"].to_string().contains(&group)
    };
    assert!(is_in(reviewer)(&scene.vendor));
    scene.group("team", json!({"displayName": "Auditor"})).await;
    let team = scene.group_says("team", "Synced").await;
    assert_eq!(team.status.unwrap().identity.external_id.as_deref(), Some(auditor.as_str()));
    scene.vendor_until("the other role", is_in(auditor)).await;
}

#[tokio::test]
async fn members_follow_a_missing_group_that_was_made_again() {
    let scene = Scene::new(Vendor::Pegasus).await;
    scene.group("north", json!({})).await;
    let spec = json!({"email": "ada@example.com", "provider": {"pegasus": {"sendEmail": true}}, "groups": [{"groupRef": {"name": "north"}}]});
    scene.user("ada", spec).await;
    scene.user_ready("ada").await;
    scene.vendor.remove_group("north");
    scene.sweep("1").await;
    let follows = |vendor: &Simulator| {
        let group = vendor.group("north").map(|group| group["id"].clone());
        group.is_some_and(|id| vendor.user("ada@example.com").unwrap()["groups"] == json!([id]))
    };
    scene.vendor_until("the new group", follows).await;
}

#[tokio::test]
async fn rights_in_applications_are_read_and_repaired_when_someone_asks() {
    let scene = Scene::new(Vendor::Pegasus).await;
    let pegasus = json!({"pegasus": {"sendEmail": true, "applications": {"pegasus2.0": {"tracking": true}}}});
    scene.user("ada", json!({"email": "ada@example.com", "provider": pegasus})).await;
    scene.user_ready("ada").await;
    let apps = |vendor: &Simulator| {
        vendor.user("ada@example.com").unwrap()["applications"]["pegasus2.0"]["staff"]["apps"].clone()
    };
    let by_hand = json!({"pegasus2.0": {"staff": {"apps": {"tracking": false, "alerts": true}}}});
    scene.vendor.edit_user("ada@example.com", json!({"applications": by_hand}));
    scene.vendor.clear_calls();
    scene.sweep("1").await;
    assert_eq!(scene.vendor.count("apps.read"), 0, "nobody asked");
    scene.compare_user("ada").await;
    assert_eq!(apps(&scene.vendor), json!({"tracking": true, "alerts": true}));
    scene.until_event("ada", "DriftRepaired").await;
    scene.vendor.clear_calls();
    scene.compare_user("ada").await;
    assert!(scene.vendor.writes().is_empty(), "{:#?}", scene.vendor.writes());
}

#[tokio::test]
async fn a_password_is_sent_once_although_what_follows_it_is_refused() {
    let scene = Scene::new(Vendor::Pegasus).await;
    scene.secret("login", &json!({"password": "Fake-Passw0rd"})).await;
    let spec = |applications: Value| json!({"email": "ada@example.com", "passwordSecretRef": {"name": "login"}, "provider": {"pegasus": {"applications": applications}}});
    scene.user("ada", spec(json!({}))).await;
    scene.user_ready("ada").await;
    scene.vendor.fault(Fault::always("apps.write", FaultKind::Status(400, Some(json!({"message": "no such right"})))));
    scene.user("ada", spec(json!({"pegasus2.0": {"trackin": true}}))).await;
    scene.user_says("ada", "Invalid").await;
    scene.secret("login", &json!({"password": "Fake-Passw0rd-2"})).await;
    scene.vendor_until("the new password", |vendor| vendor.count("users.update") > 0).await;
    scene.compare_user("ada").await;
    scene.compare_user("ada").await;
    assert_eq!(scene.vendor.count("users.update"), 1);
}

#[tokio::test]
async fn an_account_adopted_before_its_secret_is_there_keeps_its_password() {
    let scene = Scene::new(Vendor::Pegasus).await;
    scene.vendor.put_user(json!({"email": "ada@example.com", "username": "ada@example.com"}));
    scene.user("ada", json!({"email": "ada@example.com", "adoptionPolicy": "Adopt", "passwordSecretRef": {"name": "login"}, "provider": {"pegasus": {}}})).await;
    scene.user_ready("ada").await;
    scene.secret("login", &json!({"password": "Fake-Passw0rd"})).await;
    let is_known = |user: &PlatformUser| {
        user.status.as_ref().is_some_and(|status| status.identity.password_version.as_deref() != Some("adopted"))
    };
    scene.until("ada", is_known).await;
    assert_eq!(scene.vendor.count("users.update"), 0, "the first value is what the account has");
    scene.secret("login", &json!({"password": "Fake-Passw0rd-2"})).await;
    scene.vendor_until("the new password", |vendor| vendor.count("users.update") == 1).await;
}

#[tokio::test]
async fn that_groups_may_not_be_listed_keeps_nobody_else_from_being_made() {
    let scene = Scene::new(Vendor::Pegasus).await;
    scene.vendor.fault(Fault::always("groups.list", FaultKind::Status(403, None)));
    let spec = |name: &str, groups: Value| json!({"email": format!("{name}@example.com"), "groups": groups, "provider": {"pegasus": {"sendEmail": true}}});
    scene.user("grouped", spec("grouped", json!([{"externalName": "North"}]))).await;
    scene.user_says("grouped", "WaitingForCredential").await;
    let mut ada = spec("ada", json!([]));
    merge(&mut ada, json!({"phone": "1"}));
    scene.user("ada", ada).await;
    scene.user_ready("ada").await;
    scene.vendor.edit_user("ada@example.com", json!({"phone": "9"}));
    scene.sweep("1").await;
    scene.vendor_until("the repair", |vendor| vendor.user("ada@example.com").unwrap()["phone"] == "1").await;
}

#[tokio::test]
async fn a_comparison_that_was_asked_for_is_made_once_whatever_it_finds() {
    let scene = Scene::new(Vendor::Pegasus).await;
    let spec = |mode: &str, phone: &str| json!({"email": "ada@example.com", "mode": mode, "phone": phone, "provider": {"pegasus": {"sendEmail": true}}});
    scene.user("ada", spec("Enforce", "1")).await;
    scene.user_ready("ada").await;
    scene.user("ada", spec("Plan", "2")).await;
    scene.user_says("ada", "ChangesPending").await;
    scene.compare_user("ada").await;
    let refusal = json!({"message": "no such telephone"});
    scene.vendor.fault(Fault::always("users.update", FaultKind::Status(400, Some(refusal))));
    scene.user("ada", spec("Enforce", "2")).await;
    scene.user_says("ada", "Invalid").await;
    scene.compare_user("ada").await;
}
