//! Credentials: a failure is reported once, in the credential's status, and its objects go on by themselves when it is over.

use std::time::Duration;

use k8s_openapi::api::core::v1::Secret;
use rstest::rstest;
use serde_json::{Value, json};
use usher::api::conditions::{ConditionType, find};
use usher::api::{PlatformUser, ProviderCredential};
use usher_sandbox::vendors::{Fault, FaultKind, Options, Vendor};

use crate::contract::{PASSWORD, sample};
use crate::scene::{Scene, merge};

fn ada() -> Value {
    json!({"email": "ada@example.com", "provider": {"pegasus": {"sendEmail": true}}})
}

fn said(credential: &ProviderCredential) -> String {
    find(&credential.status.as_ref().unwrap().conditions, ConditionType::Ready).unwrap().message.clone()
}

#[rstest]
#[case::closed_port(json!({"provider": {"pegasus": {"url": "http://127.0.0.1:1"}}}), "ProviderUnavailable", "127.0.0.1:1")]
#[case::metadata_address(json!({"provider": {"pegasus": {"url": "http://169.254.169.254"}}}), "Invalid", "metadata")]
#[case::loopback(json!({"provider": {"pegasus": {"url": "https://localhost:1"}}, "allowInsecureHttp": false}), "Invalid", "allowInsecureHttp")]
#[tokio::test]
async fn a_credential_that_cannot_work_says_why(
    #[case] spec: Value,
    #[case] reason: &'static str,
    #[case] words: &str,
) {
    let scene = Scene::with(Vendor::Pegasus, Options::default(), spec).await;
    let credential = scene.credential_says(reason).await;
    assert!(said(&credential).contains(words), "{}", said(&credential));
}

#[tokio::test]
async fn a_server_that_talks_html_is_unavailable_and_not_a_panic() {
    let scene = Scene::without_credential(Vendor::Pegasus, Options::default()).await;
    scene.vendor.fault(Fault::always("*", FaultKind::Html));
    scene.apply_secret("main").await;
    scene.apply_credential(json!({})).await;
    let credential = scene.credential_says("ProviderUnavailable").await;
    assert!(said(&credential).contains("not JSON"), "{}", said(&credential));
    scene.vendor.heal();
    scene.credential_says("Synced").await;
}

#[tokio::test]
async fn a_wrong_login_is_tried_once_and_taken_up_when_corrected() {
    let scene = Scene::without_credential(Vendor::Pegasus, Options::default()).await;
    scene.secret("main", &json!({"username": "usher@example.com", "password": "fake-wrong-password"})).await;
    scene.apply_credential(json!({})).await;
    scene.user("ada", ada()).await;
    let credential = scene.credential_says("Unauthenticated").await;
    assert!(!said(&credential).contains("fake-wrong-password"));
    scene.user_says("ada", "WaitingForCredential").await;
    assert_eq!(scene.vendor.count("login"), 1);
    scene.apply_secret("main").await;
    scene.user_ready("ada").await;
    scene.credential_says("Synced").await;
}

#[tokio::test]
async fn other_bounds_do_not_reopen_a_limiter_that_the_vendor_closed() {
    let scene = Scene::without_credential(Vendor::Pegasus, Options::default()).await;
    let closing = FaultKind::RateLimited(Some(Duration::from_mins(10)));
    scene.vendor.fault(Fault::always("login", closing));
    scene.apply_secret("main").await;
    scene.apply_credential(json!({})).await;
    scene.credential_says("RateLimited").await;
    scene.apply_credential(json!({"requests": {"perMinute": 30_000}})).await;
    scene
        .until("main", |credential: &ProviderCredential| {
            credential.status.as_ref().is_some_and(|status| status.observed_generation == 2)
        })
        .await;
    assert_eq!(scene.vendor.count("login"), 1);
}

#[tokio::test]
async fn a_missing_secret_is_waited_for() {
    let scene = Scene::without_credential(Vendor::Pegasus, Options::default()).await;
    scene.apply_credential(json!({})).await;
    scene.credential_says("WaitingForSecret").await;
    scene.apply_secret("main").await;
    scene.credential_says("Synced").await;
}

#[tokio::test]
async fn a_session_that_ended_is_renewed_once_for_all() {
    let scene = Scene::new(Vendor::Pegasus).await;
    scene.user("ada", ada()).await;
    scene.user_ready("ada").await;
    scene.vendor.revoke_tokens();
    scene.user("bob", json!({"email": "bob@example.com", "provider": {"pegasus": {"sendEmail": true}}})).await;
    scene.user_ready("bob").await;
    assert_eq!(scene.vendor.count("login"), 2);
}

#[tokio::test]
async fn an_outage_is_not_news_about_users_that_were_in_sync() {
    let scene = Scene::new(Vendor::Pegasus).await;
    scene.user("ada", ada()).await;
    let before = scene.user_ready("ada").await;
    scene.vendor.fault(Fault::always("*", FaultKind::Status(503, None)));
    scene.sweep("1").await;
    scene.credential_says("ProviderUnavailable").await;
    let after = scene.user_ready("ada").await;
    assert_eq!(before.metadata.resource_version, after.metadata.resource_version);
    scene.vendor.heal();
    scene.credential_says("Synced").await;
}

#[tokio::test]
async fn a_deleted_credential_serves_until_nothing_is_bound_through_it() {
    let scene = Scene::new(Vendor::Pegasus).await;
    scene.user("ada", ada()).await;
    scene.user_ready("ada").await;
    scene.delete::<ProviderCredential>("main").await;
    let credential = scene.credential_says("DeletionBlocked").await;
    assert!(said(&credential).contains("1 object is"), "{}", said(&credential));
    scene.delete::<PlatformUser>("ada").await;
    scene.until_gone::<PlatformUser>("ada").await;
    assert!(scene.vendor.user("ada@example.com").is_none());
    scene.until_gone::<ProviderCredential>("main").await;
}

#[tokio::test]
async fn a_listing_that_fails_is_tried_with_patience_and_said_on_the_credential() {
    let scene = Scene::without_credential(Vendor::Pegasus, Options::default()).await;
    scene.vendor.fault(Fault::always("users.list", FaultKind::Status(500, None)));
    scene.apply_secret("main").await;
    scene.apply_credential(json!({})).await;
    for number in 0..20 {
        let spec = json!({"email": format!("u{number}@example.com"), "provider": {"pegasus": {"sendEmail": true}}});
        scene.user(&format!("u{number}"), spec).await;
    }
    let credential = scene.credential_says("ProviderUnavailable").await;
    assert!(said(&credential).contains("500"), "{}", said(&credential));
    // This vendor can be searched, so that a listing that fails keeps nobody waiting.
    scene.user_ready("u19").await;
    assert!(scene.vendor.count("users.list") < 8, "{} listings for 20 users", scene.vendor.count("users.list"));
    scene.vendor.heal();
    scene.credential_says("Synced").await;
}

/// A vendor whose listing fails and is tried again with the usual back-off: a clock for what is not to happen meanwhile.
async fn a_few_seconds() {
    let scene = Scene::without_credential(Vendor::Pegasus, Options::default()).await;
    scene.vendor.fault(Fault::always("users.list", FaultKind::Status(500, None)));
    scene.apply_secret("main").await;
    scene.apply_credential(json!({})).await;
    scene.user("ada", ada()).await;
    scene.vendor_until("three listings", |vendor| vendor.count("users.list") >= 3).await;
}

#[rstest]
#[case::the_login(Vendor::Amani, "Unauthenticated", 2)]
#[case::the_act(Vendor::Pegasus, "PermissionDenied", 1)]
#[tokio::test]
async fn a_listing_that_is_refused_is_not_repeated_soon(
    #[case] vendor: Vendor,
    #[case] reason: &'static str,
    #[case] listings: usize,
) {
    let scene = Scene::without_credential(vendor, Options::default()).await;
    scene.vendor.fault(Fault::always("users.list", FaultKind::Status(401, None)));
    scene.apply_secret("main").await;
    scene.apply_credential(json!({})).await;
    for name in ["bob", "eve"] {
        scene.user(name, json!({"email": format!("{name}@example.com")})).await;
        scene.user_says(name, "WaitingForCredential").await;
    }
    scene.credential_says(reason).await;
    a_few_seconds().await;
    assert_eq!(scene.vendor.count("users.list"), listings, "once, and where a log-in may help, once more after one");
    scene.vendor.heal();
    scene.secret("main", &with_note(&scene)).await;
    scene.credential_says("Synced").await;
}

#[rstest]
#[tokio::test]
async fn a_new_user_in_an_outage_names_what_it_waits_for_and_goes_on_afterwards(
    #[values(Vendor::Amani, Vendor::Plaspy)] vendor: Vendor,
) {
    let scene = Scene::new(vendor).await;
    scene.secret("login", &json!({"password": PASSWORD})).await;
    let mut person = sample(vendor).user;
    scene.user("ada", person.clone()).await;
    scene.user_ready("ada").await;
    // From now on all users are listed before one is made.
    scene.let_listing_age().await;
    scene.vendor.shut_port().await;
    merge(&mut person, json!({"email": "bob@example.com"}));
    scene.user("bob", person).await;
    scene.user_says("bob", "WaitingForCredential").await;
    scene.credential_says("ProviderUnavailable").await;
    scene.vendor.open_port().await;
    scene.user_ready("bob").await;
}

/// The Secret, changed in nothing that matters.
fn with_note(scene: &Scene) -> Value {
    let mut entries = json!(scene.vendor.secret());
    entries["note"] = json!("written anew");
    entries
}

fn at_industrility(name: &str) -> Value {
    let block = json!({"orgName": "Example", "userType": "Customer", "userLoginType": "COGNITO", "parentUser": "US-root@example.com", "role": "UR-customer"});
    json!({"email": format!("{name}@example.com"), "firstName": name, "lastName": "Example", "provider": {"industrility": block}})
}

const CREW: [&str; 4] = ["bob", "eve", "joe", "kim"];

/// Industrility after it refused one create, with users that wait.
async fn industrility_that_refuses() -> Scene {
    let scene = Scene::new(Vendor::Industrility).await;
    scene.vendor.fault(Fault::always("users.create", FaultKind::Status(401, None)));
    scene.user("ada", at_industrility("ada")).await;
    let credential = scene.credential_says("Unauthenticated").await;
    assert!(said(&credential).contains("correct the Secret"), "{}", said(&credential));
    for name in CREW {
        scene.user(name, at_industrility(name)).await;
    }
    for name in CREW.iter().chain(&["ada"]) {
        scene.user_says(name, "WaitingForCredential").await;
    }
    scene
}

#[tokio::test]
async fn where_nothing_else_tells_one_create_at_a_time_probes_a_refused_credential() {
    let scene = industrility_that_refuses().await;
    a_few_seconds().await;
    assert_eq!(scene.vendor.count("users.create"), 1, "nobody comes back by himself");
    scene.sweep("1").await;
    scene.vendor_until("the probe", |vendor| vendor.count("users.create") == 2).await;
    a_few_seconds().await;
    assert_eq!(scene.vendor.count("users.create"), 2, "one of five tried");
    scene.credential_says("Unauthenticated").await;
    scene.vendor.heal();
    scene.sweep("2").await;
    for name in CREW.iter().chain(&["ada"]) {
        scene.user_says(name, "Created").await;
    }
    scene.credential_says("Unverified").await;
    assert_eq!(scene.vendor.count("users.create"), 2 + 5);
}

#[tokio::test]
async fn a_changed_secret_is_taken_up_at_once_where_nothing_else_tells() {
    let scene = industrility_that_refuses().await;
    scene.vendor.heal();
    scene.secret("main", &with_note(&scene)).await;
    scene.credential_says("Unverified").await;
    for name in CREW.iter().chain(&["ada"]) {
        scene.user_says(name, "Created").await;
    }
    assert_eq!(scene.vendor.count("users.create"), 1 + 5);
}

#[tokio::test]
async fn a_group_bound_by_its_id_keeps_its_name() {
    let scene = Scene::new(Vendor::Pegasus).await;
    let id = scene.vendor.put_group(json!({"name": "Old Fleet", "city": "Merida"}));
    scene.group("fleet", json!({"externalId": id, "provider": {"pegasus": {"city": "Bogota"}}})).await;
    scene.group_says("fleet", "Synced").await;
    let group = scene.vendor.group(&id).unwrap();
    assert_eq!((&group["name"], &group["city"]), (&json!("Old Fleet"), &json!("Bogota")));
    scene.vendor.edit_group(&id, json!({"city": "Merida"}));
    scene.sweep("1").await;
    scene.vendor_until("the repair", |vendor| vendor.group(&id).unwrap()["city"] == "Bogota").await;
}

#[tokio::test]
async fn a_credential_that_allows_more_enqueues_the_refused_users() {
    let scene = Scene::new(Vendor::Pegasus).await;
    let spec = json!({"email": "ada@example.com", "provider": {"pegasus": {"sendEmail": true, "isStaff": true}}});
    scene.user("ada", spec).await;
    scene.user_says("ada", "Privileged").await;
    scene.apply_credential(json!({"allowPrivileged": true})).await;
    scene.user_ready("ada").await;
}

#[tokio::test]
async fn a_paused_credential_pauses_all_its_users_and_releases_them() {
    let scene = Scene::new(Vendor::Pegasus).await;
    scene.credential_says("Synced").await;
    scene.annotate::<ProviderCredential>("main", "usher.dev/paused", "true").await;
    scene.user("ada", ada()).await;
    let user = scene
        .until("ada", |user: &PlatformUser| {
            let status = user.status.as_ref();
            status.is_some_and(|status| find(&status.report.conditions, ConditionType::Paused).is_some())
        })
        .await;
    assert_eq!(user.status.unwrap().report.observed_generation, -1, "nobody has looked at it");
    assert!(scene.vendor.writes().is_empty());
    scene.annotate::<ProviderCredential>("main", "usher.dev/paused", "false").await;
    scene.user_ready("ada").await;
}

#[tokio::test]
async fn an_amani_that_lists_no_users_says_so_and_serves_all_the_same() {
    let mut options = Options::default();
    options.amani.listing = false;
    let scene = Scene::with(Vendor::Amani, options, json!({})).await;
    scene.vendor.put_user(json!({"email": "eve@example.com"}));
    scene.secret("login", &json!({"password": "Fake-Passw0rd"})).await;
    let person = |name: &str, phone: &str| json!({"email": format!("{name}@example.com"), "phone": phone, "passwordSecretRef": {"name": "login"}});
    scene.user("ada", person("ada", "1")).await;
    scene.user_ready("ada").await;
    scene.sweep("0").await;
    let credential = scene.credential_says("Synced").await;
    assert!(said(&credential).contains("lists no users"), "{}", said(&credential));
    scene.user("ada", person("ada", "2")).await;
    scene.user_ready("ada").await;
    assert_eq!(scene.vendor.user("ada@example.com").unwrap()["phone"], "2");
    scene.user("eve", person("eve", "3")).await;
    scene.user_says("eve", "AlreadyExists").await;
    assert_eq!(scene.vendor.user("eve@example.com").unwrap()["phone"], "");
    assert!(scene.vendor.edit_user("ada@example.com", json!({"phone": "9"})));
    scene.sweep("1").await;
    scene.vendor_until("the repair", |vendor| vendor.user("ada@example.com").unwrap()["phone"] == "2").await;
    assert_eq!(scene.vendor.violations(), Vec::<String>::new());
}

#[tokio::test]
async fn an_update_that_is_refused_as_unauthenticated_is_not_hammered() {
    let scene = Scene::new(Vendor::Amani).await;
    scene.secret("login", &json!({"password": "Fake-Passw0rd"})).await;
    let person =
        |phone: &str| json!({"email": "ada@example.com", "phone": phone, "passwordSecretRef": {"name": "login"}});
    scene.user("ada", person("1")).await;
    scene.user_ready("ada").await;
    scene.vendor.fault(Fault::always("users.update", FaultKind::Status(401, None)));
    scene.user("ada", person("2")).await;
    scene.user_says("ada", "WaitingForCredential").await;
    // Two calls an attempt, for the one re-login: the waits between three attempts are 1 s and 2 s, or more.
    scene.vendor_until("three attempts", |vendor| vendor.count("users.update") >= 6).await;
    let calls = scene.vendor.calls();
    let updates: Vec<_> = calls.iter().filter(|call| call.operation == "users.update").collect();
    assert!(updates[5].at.duration_since(updates[0].at).as_secs() >= 2, "{updates:#?}");
    scene.vendor.heal();
    scene.user_ready("ada").await;
}

#[tokio::test]
async fn an_edit_of_what_a_credential_allows_applies_without_its_secret_and_without_a_new_log_in() {
    let scene = Scene::new(Vendor::Pegasus).await;
    scene.user("ada", ada()).await;
    scene.user_ready("ada").await;
    let logins = scene.vendor.count("login") + scene.vendor.count("whoami");
    scene.delete::<Secret>("main").await;
    scene.credential_says("WaitingForSecret").await;
    scene.apply_credential(json!({"mode": "Plan"})).await;
    let mut changed = ada();
    changed["phone"] = json!("1");
    scene.user("ada", changed.clone()).await;
    scene.user_says("ada", "ChangesPending").await;
    scene.apply_credential(json!({"mode": "Enforce", "protected": ["ada@example.com"]})).await;
    scene.user_says("ada", "Protected").await;
    assert_eq!(scene.vendor.user("ada@example.com").unwrap()["phone"], Value::Null);
    scene.apply_credential(json!({"mode": "Enforce", "protected": []})).await;
    scene.user_ready("ada").await;
    assert_eq!(scene.vendor.user("ada@example.com").unwrap()["phone"], "1");
    assert_eq!(scene.vendor.count("login") + scene.vendor.count("whoami"), logins);
}

#[tokio::test]
async fn a_credential_that_is_deleted_as_soon_as_it_is_applied_leaves_its_secret_free() {
    let scene = Scene::without_credential(Vendor::Pegasus, Options::default()).await;
    for round in 0..5 {
        scene.apply_secret("main").await;
        scene.apply_credential(json!({})).await;
        scene.until("main", |credential: &ProviderCredential| credential.metadata.finalizers.is_some()).await;
        scene.delete::<ProviderCredential>("main").await;
        scene.delete::<Secret>("main").await;
        scene.until_gone::<ProviderCredential>("main").await;
        scene.until_gone::<Secret>("main").await;
        assert_eq!(scene.vendor.writes().len(), 0, "round {round}");
    }
}
