//! Binding: which object is bound to which account, and which account is refused because another object or person has it.

use std::sync::Arc;
use std::sync::atomic::{AtomicUsize, Ordering};
use std::time::{Duration, SystemTime, UNIX_EPOCH};

use jiff::Timestamp;
use rstest::rstest;
use serde_json::{Value, json};
use usher::api::conditions::{ConditionType, find};
use usher::api::status::Identity;
use usher::api::{PlatformGroup, PlatformUser};
use usher_sandbox::vendors::{Fault, FaultKind, Ruling, Simulator, Vendor};

use crate::contract::message;
use crate::scene::{Scene, merge};

fn ada(further: Value) -> Value {
    let mut spec = json!({"email": "ada@example.com", "provider": {"pegasus": {"sendEmail": true}}});
    merge(&mut spec, further);
    spec
}

#[tokio::test]
async fn an_account_is_bound_by_its_id_and_stays_when_the_object_goes() {
    let scene = Scene::new(Vendor::Pegasus).await;
    let id = scene.vendor.put_user(json!({"email": "ada@example.com", "username": "ada@example.com", "phone": "9"}));
    scene.user("ada", ada(json!({"externalId": id, "phone": "1"}))).await;
    let user = scene.user_ready("ada").await;
    assert_eq!(user.status.unwrap().identity.external_id.as_deref(), Some(id.as_str()));
    assert_eq!(scene.vendor.user(&id).unwrap()["phone"], "1");
    assert_eq!(scene.vendor.count("users.create"), 0);
    scene.delete::<PlatformUser>("ada").await;
    scene.until_gone::<PlatformUser>("ada").await;
    assert!(scene.vendor.user(&id).is_some());
}

#[tokio::test]
async fn an_id_of_another_person_is_refused_with_the_name_of_that_person() {
    let scene = Scene::new(Vendor::Pegasus).await;
    let id = scene.vendor.put_user(json!({"email": "eve@example.com", "username": "eve@example.com"}));
    let before = scene.vendor.user(&id);
    scene.user("ada", ada(json!({"externalId": id}))).await;
    let user = scene.user_says("ada", "Invalid").await;
    assert!(message(&user).contains("eve@example.com"), "{}", message(&user));
    assert_eq!(scene.vendor.user(&id), before);
    assert!(scene.vendor.writes().is_empty());
}

#[tokio::test]
async fn a_bound_account_that_was_given_to_another_person_is_neither_written_nor_removed() {
    let scene = Scene::new(Vendor::Pegasus).await;
    scene.user("ada", ada(json!({"phone": "1"}))).await;
    scene.user_ready("ada").await;
    let given_away = json!({"email": "eve@example.com", "username": "eve@example.com", "phone": "9"});
    scene.vendor.edit_user("ada@example.com", given_away);
    scene.vendor.clear_calls();
    scene.user("ada", ada(json!({"phone": "2"}))).await;
    scene.user_says("ada", "ProviderMismatch").await;
    scene.delete::<PlatformUser>("ada").await;
    let blocked = scene.user_says("ada", "DeletionBlocked").await;
    assert!(message(&blocked).contains("Orphan"), "{}", message(&blocked));
    assert!(scene.vendor.writes().is_empty(), "{:#?}", scene.vendor.writes());
}

/// Ada's account was adopted, and is gone.
pub async fn adopted_and_gone() -> Scene {
    let scene = Scene::new(Vendor::Pegasus).await;
    scene.vendor.put_user(json!({"email": "ada@example.com", "username": "ada@example.com"}));
    scene.user("ada", ada(json!({"adoptionPolicy": "Adopt"}))).await;
    scene.user_ready("ada").await;
    scene.vendor.remove_user("ada@example.com");
    scene.sweep("1").await;
    scene
}

#[tokio::test]
async fn a_missing_account_that_was_adopted_is_not_made_again() {
    let scene = adopted_and_gone().await;
    let user = scene.user_says("ada", "NotFound").await;
    assert!(message(&user).contains("did not make"), "{}", message(&user));
    assert_eq!(scene.vendor.count("users.create"), 0);
}

#[tokio::test]
async fn a_group_of_the_same_name_is_not_taken_and_none_is_made_beside_it() {
    let scene = Scene::new(Vendor::Pegasus).await;
    scene.vendor.put_group(json!({"name": "north"}));
    scene.group("north", json!({})).await;
    scene.group_says("north", "AlreadyExists").await;
    assert!(scene.vendor.writes().is_empty());
}

#[tokio::test]
async fn of_two_new_objects_for_one_group_one_makes_it() {
    let scene = Scene::new(Vendor::Pegasus).await;
    let names = ["first", "second"];
    for name in names {
        scene.group(name, json!({"displayName": "North"})).await;
    }
    let reason = |group: &PlatformGroup| {
        let conditions = group.status.as_ref().map(|status| status.report.conditions.clone()).unwrap_or_default();
        find(&conditions, ConditionType::Ready).map(|ready| ready.reason.clone()).unwrap_or_default()
    };
    // Within one second the API server tells no age apart; then the uid decides.
    let decided = move |group: &PlatformGroup| ["Synced", "Duplicate"].contains(&&*reason(group));
    let mut reasons = Vec::new();
    for name in names {
        reasons.push(reason(&scene.until(name, decided).await));
    }
    reasons.sort();
    assert_eq!(reasons, ["Duplicate", "Synced"]);
    assert_eq!(scene.vendor.groups().iter().filter(|group| group["name"] == "North").count(), 1);
}

#[tokio::test]
async fn losing_a_group_does_not_wait_for_another_one() {
    let scene = Scene::new(Vendor::Pegasus).await;
    scene.group("north", json!({})).await;
    scene.group_says("north", "Synced").await;
    scene.group("south", json!({})).await;
    scene.group_says("south", "Synced").await;
    let groups = |names: &[&str]| {
        let entries: Vec<Value> = names.iter().map(|name| json!({"groupRef": {"name": name}})).collect();
        ada(json!({"groups": entries}))
    };
    scene.user("ada", groups(&["north", "south"])).await;
    scene.user_ready("ada").await;
    scene.user("ada", groups(&["south", "not-there-yet"])).await;
    scene.user_says("ada", "WaitingForGroup").await;
    let south = scene.vendor.group("south").unwrap()["id"].clone();
    assert_eq!(scene.vendor.user("ada@example.com").unwrap()["groups"], json!([south]));
}

#[tokio::test]
async fn a_second_object_sends_nothing_where_no_account_can_be_looked_up() {
    let scene = Scene::new(Vendor::Industrility).await;
    let spec = crate::contract::sample(Vendor::Industrility).user;
    scene.user("ada", spec.clone()).await;
    scene.user_says("ada", "Created").await;
    scene.user("ada-2", spec).await;
    scene.user_says("ada-2", "Duplicate").await;
    assert_eq!(scene.vendor.count("users.create"), 1);
}

#[tokio::test]
async fn a_first_create_that_was_refused_ties_the_object_to_no_login() {
    let scene = Scene::new(Vendor::Pegasus).await;
    scene.credential_says("Synced").await;
    scene.vendor.fault(Fault::always("users.create", FaultKind::Status(400, None)));
    scene.user("ada", ada(json!({}))).await;
    let user = scene.user_says("ada", "Invalid").await;
    assert_eq!(user.status.unwrap().identity, Identity::default());
    // The credential was the wrong one: the object goes to another vendor altogether.
    let elsewhere = Simulator::start(Vendor::Pegasus).await.unwrap();
    scene.secret("main", &json!(elsewhere.secret())).await;
    scene.apply_credential(json!({"provider": {"pegasus": {"url": elsewhere.url()}}})).await;
    scene.user_ready("ada").await;
    assert!(elsewhere.user("ada@example.com").is_some());
}

#[tokio::test]
async fn a_field_that_the_vendor_ignores_makes_no_object_a_duplicate() {
    let scene = Scene::new(Vendor::Plaspy).await;
    let plaspy = json!({"plaspy": {"country": "CO", "timeZone": "America/Bogota"}});
    for name in ["ada", "eve"] {
        let email = format!("{name}@example.com");
        scene.user(name, json!({"email": email, "username": "countess", "provider": plaspy})).await;
    }
    scene.user_ready("ada").await;
    scene.user_ready("eve").await;
}

#[tokio::test]
async fn an_account_bound_through_one_credential_is_not_taken_through_another_to_the_same_place() {
    let scene = Scene::new(Vendor::Pegasus).await;
    scene.user("ada", ada(json!({"phone": "1"}))).await;
    scene.user_ready("ada").await;
    scene.apply_other_credential().await;
    let taker = ada(json!({"credentialRef": {"name": "other"}, "adoptionPolicy": "Adopt", "phone": "2"}));
    scene.user_as_is("taker", taker).await;
    let taker = scene.user_says("taker", "Duplicate").await;
    assert!(message(&taker).contains("/ada"), "{}", message(&taker));
    assert_eq!(scene.vendor.user("ada@example.com").unwrap()["phone"], "1");
    let held = scene.user_ready("ada").await.status.unwrap().identity.external_id;
    scene.delete::<PlatformUser>("ada").await;
    scene.until_gone::<PlatformUser>("ada").await;
    let taken = scene.user_ready("taker").await.status.unwrap().identity.external_id;
    assert_eq!((taken, scene.vendor.count("users.delete")), (held, 0), "it passes on");
    assert_eq!(scene.vendor.user("ada@example.com").unwrap()["phone"], "2");
}

#[tokio::test]
async fn an_object_that_may_not_take_existing_accounts_takes_none_over_through_another_credential() {
    let scene = Scene::new(Vendor::Pegasus).await;
    scene.user("ada", ada(json!({}))).await;
    scene.user_ready("ada").await;
    scene.apply_other_credential().await;
    scene.user_as_is("next", ada(json!({"credentialRef": {"name": "other"}}))).await;
    scene.user_says("next", "Duplicate").await;
    scene.delete::<PlatformUser>("ada").await;
    scene.until_gone::<PlatformUser>("ada").await;
    assert_eq!(scene.vendor.count("users.delete"), 1);
}

#[rstest]
#[case::left_alone(false)]
#[case::deleted(true)]
#[tokio::test]
async fn a_pending_create_takes_no_account_that_another_object_is_bound_to(#[case] deleted: bool) {
    let scene = Scene::new(Vendor::Pegasus).await;
    scene.apply_other_credential().await;
    scene.credential_says("Synced").await;
    scene.vendor.fault(Fault::once("users.create", FaultKind::LostBeforeCommit));
    scene.user("ada", ada(json!({"phone": "1"}))).await;
    scene.user_says("ada", "ProviderUnavailable").await;
    // However long the other object takes, this one is not reconciled before.
    scene.annotate::<PlatformUser>("ada", "usher.dev/paused", "true").await;
    scene.user_as_is("holder", ada(json!({"credentialRef": {"name": "other"}, "phone": "2"}))).await;
    scene.user_ready("holder").await;
    scene.annotate::<PlatformUser>("ada", "usher.dev/paused", "false").await;
    if deleted {
        scene.delete::<PlatformUser>("ada").await;
        scene.until_gone::<PlatformUser>("ada").await;
    } else {
        scene.user_says("ada", "Duplicate").await;
    }
    assert_eq!(scene.vendor.user("ada@example.com").expect("it is the holder's")["phone"], "2");
    scene.user_ready("holder").await;
}

#[tokio::test]
async fn a_key_that_may_just_have_been_made_by_another_object_is_waited_for() {
    let scene = Scene::new(Vendor::Pegasus).await;
    scene.credential_says("Synced").await;
    scene.vendor.fault(Fault::once("users.create", FaultKind::LostAfterCommit));
    scene.user("ada", ada(json!({}))).await;
    scene.user_says("ada", "ProviderUnavailable").await;
    scene.user("ada", ada(json!({"email": "lovelace@example.com"}))).await;
    scene.user("next", ada(json!({}))).await;
    let first = scene.user_ready("ada").await.status.unwrap().identity;
    scene.compare_user("next").await;
    let next = scene.user_ready("next").await.status.unwrap().identity;
    assert_ne!(first.external_id, next.external_id);
    let events = scene.events("next").await;
    assert!(
        !events.iter().any(|event| event.contains("AlreadyExists")),
        "no event names a foreign account: {events:?}"
    );
    let username = |id: Option<String>| scene.vendor.user(&id.unwrap()).unwrap()["username"].clone();
    assert_eq!(
        (username(first.external_id), username(next.external_id)),
        (json!("lovelace@example.com"), json!("ada@example.com"))
    );
}

#[tokio::test]
async fn the_next_in_line_goes_on_when_the_first_is_deleted() {
    let scene = Scene::new(Vendor::Pegasus).await;
    scene.user("first", ada(json!({"mode": "Plan"}))).await;
    let first = scene.user_says("first", "ChangesPending").await;
    // Kubernetes dates objects in whole seconds.
    let made = first.metadata.creation_timestamp.unwrap().0.as_second();
    while Timestamp::now().as_second() <= made {
        tokio::time::sleep(Duration::from_millis(50)).await;
    }
    scene.user("next", ada(json!({}))).await;
    scene.user_says("next", "Duplicate").await;
    scene.delete::<PlatformUser>("first").await;
    scene.user_ready("next").await;
    assert_eq!(scene.vendor.count("users.create"), 1);
}

#[tokio::test]
async fn many_existing_accounts_that_the_vendor_hides_are_tried_once_each() {
    let scene = Scene::new(Vendor::Plaspy).await;
    scene.credential_says("Synced").await;
    let refusal = json!({"success": false, "error": "Email already exists."});
    scene.vendor.fault(Fault::always("users.create", FaultKind::Status(400, Some(refusal))));
    let names: Vec<String> = (0..8).map(|number| format!("user-{number}")).collect();
    for name in &names {
        let block = json!({"plaspy": {"country": "CO", "timeZone": "America/Bogota"}});
        scene.user(name, json!({"email": format!("{name}@example.com"), "displayName": name, "provider": block})).await;
    }
    for name in &names {
        let refused = scene.user_says(name, "AlreadyExists").await;
        assert!(message(&refused).contains("did not show it"), "{}", message(&refused));
    }
    scene.vendor.clear_calls();
    scene.user("last", json!({"email": "last@example.com", "displayName": "Last", "provider": {"plaspy": {"country": "CO", "timeZone": "America/Bogota"}}})).await;
    scene.user_says("last", "AlreadyExists").await;
    scene.sweep("1").await;
    assert_eq!(scene.vendor.count("users.create"), 1, "for the last one");
    assert!(scene.vendor.count("users.list") <= 3, "{} listings", scene.vendor.count("users.list"));
    scene.vendor.heal();
    scene.annotate::<PlatformUser>("user-0", "usher.dev/reconcile-at", "now").await;
    scene.user_ready("user-0").await;
}

#[tokio::test]
async fn an_account_that_the_first_create_made_late_is_claimed_when_the_second_create_meets_it() {
    let scene = Scene::new(Vendor::Pegasus).await;
    scene.credential_says("Synced").await;
    let (vendor, creates) = (scene.vendor.clone(), AtomicUsize::new(0));
    let ruling = move |_: &str, operation: &'static str| {
        if operation != "users.create" {
            return Ruling::Serve;
        }
        if creates.fetch_add(1, Ordering::Relaxed) == 0 {
            return Ruling::Swallow;
        }
        // The account of the first call is seen only now.
        let id = vendor.put_user(json!({"email": "ada@example.com", "username": "ada@example.com"}));
        let now = SystemTime::now().duration_since(UNIX_EPOCH).unwrap().as_secs_f64();
        vendor.edit_user(&id, json!({"__created": now - 10.0}));
        Ruling::Serve
    };
    scene.vendor.intercept(Some(Arc::new(ruling)));
    scene.user("ada", ada(json!({}))).await;
    let user = scene.user_ready("ada").await;
    scene.vendor.intercept(None);
    assert_eq!(user.status.unwrap().identity.adopted, None);
}

#[tokio::test]
async fn an_account_is_known_by_a_name_whose_record_was_lost_when_it_gets_yet_another() {
    let scene = Scene::new(Vendor::Pegasus).await;
    scene.user("ada", ada(json!({}))).await;
    scene.user_ready("ada").await;
    let once = AtomicUsize::new(0);
    let ruling = move |_: &str, operation: &'static str| {
        if operation == "users.update" && once.fetch_add(1, Ordering::Relaxed) == 0 {
            Ruling::Mute
        } else {
            Ruling::Serve
        }
    };
    scene.vendor.intercept(Some(Arc::new(ruling)));
    scene.user("ada", ada(json!({"email": "bob@example.com"}))).await;
    scene.vendor_until("the second name", |vendor| vendor.user("bob@example.com").is_some()).await;
    scene.user("ada", ada(json!({"email": "eve@example.com"}))).await;
    scene.user_ready("ada").await;
    scene.sweep("1").await;
    let is_known = |user: &PlatformUser| user.status.as_ref().is_some_and(|status| status.identity.renaming.is_none());
    scene.until("ada", is_known).await;
    assert!(scene.vendor.user("eve@example.com").is_some());
    assert_eq!(scene.vendor.count("users.create"), 1);
}

#[tokio::test]
async fn an_update_is_announced_although_the_user_then_waits_for_a_group() {
    let scene = Scene::new(Vendor::Pegasus).await;
    scene.user("ada", ada(json!({"phone": "1"}))).await;
    scene.user_ready("ada").await;
    scene.user("ada", ada(json!({"phone": "2", "groups": [{"groupRef": {"name": "not-there-yet"}}]}))).await;
    scene.user_says("ada", "WaitingForGroup").await;
    assert_eq!(scene.vendor.user("ada@example.com").unwrap()["phone"], "2");
    scene.until_event("ada", "Updated").await;
    // The next reconcile changes nothing, and announces nothing.
    scene.compare_user("ada").await;
    let updates = scene.events("ada").await.into_iter().filter(|event| event == "Updated").count();
    assert_eq!((updates, scene.vendor.count("users.update")), (1, 1));
}
