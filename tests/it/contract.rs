//! One contract for all vendors: what a manifest asks for comes about, stays so, costs nothing when unchanged, and goes.

use rstest::rstest;
use rstest_reuse::apply;
use serde_json::{Value, json};
use usher::api::{PlatformGroup, PlatformUser};
use usher_sandbox::vendors::{Fault, FaultKind, Options, Simulator, Vendor};

use crate::scene::{Scene, merge};
use crate::vendors::{every_vendor, every_vendor_that_shows_accounts};

/// One vendor's manifests and what they look like at the vendor.
pub struct Sample {
    /// The vendor.
    pub vendor: Vendor,
    /// Spec of a group, its name at the vendor, and how it becomes ready.
    pub group: (Value, &'static str, &'static str),
    /// Spec of a user without his groups.
    pub user: Value,
    /// A change of the spec and where it shows at the vendor.
    pub edit: (Value, &'static str, Value),
    /// Someone's change at the vendor, undone at the same place.
    pub drift: Value,
    /// What it takes to find a user in.
    pub groups_shown_as: fn(&Value, &Value) -> bool,
}

fn holds_id(user: &Value, group: &Value) -> bool {
    user["groups"].as_array().is_some_and(|groups| groups == &vec![group["id"].clone()])
}

/// A vendor's manifests.
pub fn sample(vendor: Vendor) -> Sample {
    let person = |further: Value| {
        let mut spec = json!({"email": "ada@example.com", "firstName": "Ada", "lastName": "Lovelace", "passwordSecretRef": {"name": "login"}});
        merge(&mut spec, further);
        spec
    };
    match vendor {
        Vendor::Pegasus => Sample {
            vendor,
            group: (json!({"displayName": "Fleet", "provider": {"pegasus": {"city": "Merida"}}}), "Fleet", "Synced"),
            user: person(json!({"phone": "1", "provider": {"pegasus": {
                "access": "basic", "prefs": {"language": "es"}, "scopes": {"assets": "r", "vehicles": "w"}, "roles": [],
            }}})),
            edit: (json!({"phone": "2"}), "/phone", json!("2")),
            drift: json!({"phone": "3"}),
            groups_shown_as: holds_id,
        },
        Vendor::Amani => Sample {
            vendor,
            group: (json!({"displayName": "Reviewer"}), "Reviewer", "Synced"),
            user: person(json!({"phone": "1"})),
            edit: (json!({"phone": "2"}), "/phone", json!("2")),
            drift: json!({"phone": "3"}),
            groups_shown_as: |user, group| {
                let groups = user["groups"].as_array().unwrap();
                groups.len() == 1 && (groups[0] == group["id"] || groups[0]["id"] == group["id"])
            },
        },
        Vendor::Plaspy => plaspy(person),
        Vendor::Ozmap => Sample {
            vendor,
            group: (json!({"displayName": "North"}), "North", "Synced"),
            user: person(json!({"phone": "1", "provider": {"ozmap": {
                "resources": ["OZmap", "Loki"], "role": {"name": "Manager"}, "locale": "en_US",
            }}})),
            edit: (json!({"phone": "2"}), "/phone", json!("2")),
            drift: json!({"phone": "3"}),
            groups_shown_as: |user, group| user["projectGroups"] == json!([{"group": group["id"]}]),
        },
        Vendor::Industrility => unseen(person(json!({"provider": {"industrility": {
            "orgName": "Example", "userType": "Customer", "userLoginType": "COGNITO",
            "parentUser": "US-root@example.com", "role": "UR-customer", "discountClasses": {"ClassA": "18"},
        }}}))),
    }
}

/// Plaspy's manifests; `person` adds what all users have.
fn plaspy(person: impl Fn(Value) -> Value) -> Sample {
    Sample {
        vendor: Vendor::Plaspy,
        group: (json!({"displayName": "Trucks", "provider": {"plaspy": {"description": "all"}}}), "Trucks", "Synced"),
        user: person(json!({"provider": {"plaspy": {
            "country": "CO", "timeZone": "America/Bogota", "description": "one", "tags": {"a/b": "1"}, "privileges": ["read"],
        }}})),
        edit: (json!({"provider": {"plaspy": {"description": "two"}}}), "/description", json!("two")),
        drift: json!({"description": "three"}),
        groups_shown_as: |user, _| user["group"] == "Trucks",
    }
}

/// Manifests where nothing can be read, changed or given a password.
fn unseen(mut user: Value) -> Sample {
    user.as_object_mut().unwrap().remove("passwordSecretRef");
    Sample {
        vendor: Vendor::Industrility,
        group: (json!({"externalId": "SG-1"}), "", "Unverified"),
        user,
        edit: (json!({}), "", json!(null)),
        drift: json!({}),
        groups_shown_as: |user, _| user["selectedSecurityGroup"] == json!(["SG-1"]),
    }
}

/// Every user's password.
pub const PASSWORD: &str = "Fake-Passw0rd";

async fn with_group_and_user(sample: &Sample) -> Scene {
    let scene = Scene::new(sample.vendor).await;
    scene.secret("login", &json!({"password": PASSWORD})).await;
    scene.group("team", sample.group.0.clone()).await;
    scene.group_says("team", sample.group.2).await;
    let mut user = sample.user.clone();
    merge(&mut user, json!({"groups": [{"groupRef": {"name": "team"}}]}));
    scene.user("ada", user).await;
    scene
}

/// The reason of a user in sync.
pub fn ready(vendor: Vendor) -> &'static str {
    if vendor == Vendor::Industrility { "Created" } else { "Synced" }
}

#[apply(every_vendor)]
#[tokio::test]
async fn a_user_is_made_once_with_its_group_and_password(vendor: Vendor) {
    let sample = sample(vendor);
    let scene = with_group_and_user(&sample).await;
    let ada = scene.user_says("ada", ready(vendor)).await;
    let account = scene.vendor.user("ada@example.com").expect("the account is there");
    let identity = ada.status.unwrap().identity;
    if vendor == Vendor::Industrility {
        assert_eq!(identity.external_id.as_deref(), Some("US-ada@example.com"));
    } else {
        assert_eq!(account["password"], PASSWORD);
        let id = account["id"].as_str().map_or_else(|| account["id"].to_string(), str::to_owned);
        assert_eq!(identity.external_id, Some(id));
    }
    let group = scene.vendor.group(sample.group.1).unwrap_or_default();
    assert!((sample.groups_shown_as)(&account, &group), "{account:#} is not in {group:#}");
    assert_eq!(scene.vendor.count("users.create"), 1);
    assert_eq!(identity.creating, None);
    assert_eq!(scene.vendor.violations(), Vec::<String>::new());
}

#[apply(every_vendor_that_shows_accounts)]
#[tokio::test]
async fn an_unchanged_user_costs_no_write_anywhere(vendor: Vendor) {
    let sample = sample(vendor);
    let scene = with_group_and_user(&sample).await;
    scene.user_ready("ada").await;
    scene.vendor.clear_calls();
    scene.compare_user("ada").await;
    let before = scene.user_ready("ada").await.metadata.resource_version;
    scene.sweep("1").await;
    scene.sweep("2").await;
    assert!(scene.vendor.writes().is_empty(), "{:#?}", scene.vendor.writes());
    assert_eq!(scene.user_ready("ada").await.metadata.resource_version, before);
}

#[apply(every_vendor_that_shows_accounts)]
#[tokio::test]
async fn an_edit_is_one_update_of_that_field(vendor: Vendor) {
    let sample = sample(vendor);
    let scene = with_group_and_user(&sample).await;
    scene.user_ready("ada").await;
    let mut user = sample.user.clone();
    merge(&mut user, sample.edit.0.clone());
    merge(&mut user, json!({"groups": [{"groupRef": {"name": "team"}}]}));
    scene.user("ada", user).await;
    scene.user_ready("ada").await;
    assert_eq!(scene.vendor.user("ada@example.com").unwrap().pointer(sample.edit.1), Some(&sample.edit.2));
    assert_eq!(scene.vendor.count("users.update"), 1);
    assert_eq!(scene.vendor.violations(), Vec::<String>::new());
}

#[apply(every_vendor_that_shows_accounts)]
#[tokio::test]
async fn a_change_behind_our_back_is_found_by_the_sweep_and_repaired(vendor: Vendor) {
    let sample = sample(vendor);
    let scene = with_group_and_user(&sample).await;
    scene.user_ready("ada").await;
    let before = scene.vendor.user("ada@example.com").unwrap();
    assert!(scene.vendor.edit_user("ada@example.com", sample.drift.clone()));
    scene.sweep("1").await;
    let place = sample.edit.1;
    scene
        .vendor_until("the repair", |vendor| {
            vendor.user("ada@example.com").unwrap().pointer(place) == before.pointer(place)
        })
        .await;
    assert_eq!(scene.vendor.count("users.update"), 1);
    let password = |body: &Option<Value>| body.as_ref().is_some_and(|body| body.to_string().contains("assword"));
    let updates = scene.vendor.writes().into_iter().filter(|call| call.operation == "users.update");
    assert!(!updates.map(|call| call.body).any(|body| password(&body)), "a repair sends no password");
}

#[apply(every_vendor_that_shows_accounts)]
#[tokio::test]
async fn a_new_password_is_sent_once(vendor: Vendor) {
    let sample = sample(vendor);
    let scene = with_group_and_user(&sample).await;
    scene.user_ready("ada").await;
    scene.secret("login", &json!({"password": "Fake-Passw0rd-2"})).await;
    let has =
        |value: &'static str| move |vendor: &Simulator| vendor.user("ada@example.com").unwrap()["password"] == value;
    scene.vendor_until("the new password", has("Fake-Passw0rd-2")).await;
    // The same value again: nothing to send, but the Secret has a new version.
    scene.secret("login", &json!({"password": "Fake-Passw0rd-2", "next": "Fake-Passw0rd-3"})).await;
    scene.compare_user("ada").await;
    assert_eq!(scene.vendor.count("users.update"), 1);
    // Another key of the same Secret, of the same version.
    let next = json!({"spec": {"passwordSecretRef": {"key": "next"}}});
    scene.patch::<PlatformUser>("ada", next).await;
    scene.vendor_until("the next password", has("Fake-Passw0rd-3")).await;
    assert_eq!(scene.vendor.count("users.update"), 2);
    assert_eq!(scene.vendor.violations(), Vec::<String>::new());
}

#[apply(every_vendor_that_shows_accounts)]
#[tokio::test]
async fn groups_that_are_no_longer_listed_are_taken_away(vendor: Vendor) {
    let sample = sample(vendor);
    let scene = with_group_and_user(&sample).await;
    scene.user_ready("ada").await;
    let mut user = sample.user.clone();
    merge(&mut user, json!({"groups": []}));
    scene.user("ada", user).await;
    scene.user_ready("ada").await;
    let account = scene.vendor.user("ada@example.com").unwrap();
    let group = scene.vendor.group(sample.group.1).unwrap();
    assert!(!(sample.groups_shown_as)(&account, &group), "{account:#}");
    assert_eq!(scene.vendor.violations(), Vec::<String>::new());
}

#[apply(every_vendor)]
#[tokio::test]
async fn deleting_the_objects_takes_away_what_the_vendor_lets_us(vendor: Vendor) {
    let sample = sample(vendor);
    let scene = with_group_and_user(&sample).await;
    scene.user_says("ada", ready(vendor)).await;
    scene.delete::<PlatformGroup>("team").await;
    scene.delete::<PlatformUser>("ada").await;
    scene.until_gone::<PlatformUser>("ada").await;
    scene.until_gone::<PlatformGroup>("team").await;
    let account = scene.vendor.user("ada@example.com");
    match vendor {
        Vendor::Amani => {
            assert_eq!(account.unwrap()["is_active"], false);
            assert_eq!(scene.vendor.count("users.delete"), 0, "Amani refuses it, so it is not even tried");
        }
        Vendor::Industrility => assert!(account.is_some(), "Industrility has no way to remove it"),
        Vendor::Pegasus | Vendor::Plaspy | Vendor::Ozmap => {
            assert_eq!(account, None);
            assert_eq!(scene.vendor.group(sample.group.1), None);
        }
    }
    assert_eq!(scene.vendor.violations(), Vec::<String>::new());
}

#[apply(every_vendor_that_shows_accounts)]
#[tokio::test]
async fn an_account_that_is_there_already_is_left_alone(vendor: Vendor) {
    let sample = sample(vendor);
    let scene = Scene::new(vendor).await;
    scene.secret("login", &json!({"password": PASSWORD})).await;
    scene.vendor.put_user(json!({"email": "ada@example.com", "username": "ada@example.com", "name": "Someone"}));
    let before = scene.vendor.user("ada@example.com");
    scene.user("ada", sample.user.clone()).await;
    let ada = scene.user_says("ada", "AlreadyExists").await;
    assert!(message(&ada).contains("adoptionPolicy"), "{}", message(&ada));
    assert_eq!(scene.vendor.user("ada@example.com"), before);
    assert!(scene.vendor.writes().is_empty(), "{:#?}", scene.vendor.writes());
    scene.delete::<PlatformUser>("ada").await;
    scene.until_gone::<PlatformUser>("ada").await;
    assert_eq!(scene.vendor.user("ada@example.com"), before);
}

#[apply(every_vendor)]
#[tokio::test]
async fn a_lost_create_answer_does_not_create_twice(vendor: Vendor) {
    let sample = sample(vendor);
    let scene = Scene::new(vendor).await;
    scene.secret("login", &json!({"password": PASSWORD})).await;
    scene.vendor.fault(Fault::once("users.create", FaultKind::LostAfterCommit));
    scene.user("ada", sample.user.clone()).await;
    scene.user_says("ada", ready(vendor)).await;
    assert_eq!(scene.vendor.users().iter().filter(|user| user["email"] == "ada@example.com").count(), 1);
    let creates = scene.vendor.count("users.create");
    assert!(creates <= if vendor == Vendor::Industrility { 2 } else { 1 }, "{creates} creates");
    let sent = scene.vendor.calls().into_iter().filter_map(|call| call.body).map(|body| body.to_string());
    let passwords = sent.filter(|body| body.contains(PASSWORD)).count();
    assert_eq!(passwords, usize::from(vendor != Vendor::Industrility), "sent with the create, and not once more");
}

#[tokio::test]
async fn a_password_that_changed_while_a_create_was_pending_is_sent() {
    let scene = Scene::new(Vendor::Amani).await;
    scene.secret("login", &json!({"password": PASSWORD})).await;
    scene.vendor.fault(Fault::once("users.create", FaultKind::LostAfterCommit));
    scene.user("ada", sample(Vendor::Amani).user).await;
    scene.user_says("ada", "ProviderUnavailable").await;
    scene.secret("login", &json!({"password": "Fake-Passw0rd-2"})).await;
    let has_new = |vendor: &Simulator| vendor.user("ada@example.com").unwrap()["password"] == "Fake-Passw0rd-2";
    scene.vendor_until("the new password", has_new).await;
    scene.user_ready("ada").await;
}

#[apply(every_vendor)]
#[tokio::test]
async fn a_create_that_did_not_reach_the_vendor_is_not_pending(vendor: Vendor) {
    let sample = sample(vendor);
    let scene = Scene::new(vendor).await;
    scene.secret("login", &json!({"password": PASSWORD})).await;
    let person = |name: &str| {
        let mut spec = sample.user.clone();
        merge(&mut spec, json!({"email": format!("{name}@example.com")}));
        spec
    };
    scene.user("bob", person("bob")).await;
    scene.user_says("bob", ready(vendor)).await;
    scene.vendor.shut_port().await;
    scene.user("ada", person("ada")).await;
    let ada = scene.user_says("ada", "ProviderUnavailable").await;
    assert_eq!(ada.status.unwrap().identity.creating, None);
    scene.vendor.open_port().await;
    scene.user_says("ada", ready(vendor)).await;
    assert_eq!(scene.vendor.count("users.create"), 2, "one for each");
}

#[apply(every_vendor_that_shows_accounts)]
#[case::server_error(FaultKind::Status(500, None), "ProviderUnavailable")]
#[case::forbidden(FaultKind::Status(403, None), "PermissionDenied")]
#[case::bad_request(FaultKind::Status(422, None), "Invalid")]
#[case::slow_down(FaultKind::RateLimited(Some(std::time::Duration::from_secs(2))), "RateLimited")]
#[case::web_page(FaultKind::Html, "ProviderUnavailable")]
#[case::hang(FaultKind::Hang, "ProviderUnavailable")]
#[case::redirect(FaultKind::Redirect("http://127.0.0.1:1/".into()), "ProviderUnavailable")]
#[tokio::test]
async fn a_refused_create_says_why_and_recovers_when_the_fault_ends(
    #[case] kind: FaultKind,
    #[case] reason: &'static str,
    vendor: Vendor,
) {
    let sample = sample(vendor);
    let scene = Scene::new(vendor).await;
    scene.secret("login", &json!({"password": PASSWORD})).await;
    scene.vendor.fault(Fault::always("users.create", kind));
    scene.user("ada", sample.user.clone()).await;
    let ada = scene.user_says("ada", reason).await;
    assert!(!message(&ada).is_empty());
    scene.vendor.heal();
    scene.sweep("1").await;
    scene.user_ready("ada").await;
    let emitted = scene.emitted().await;
    // The name of a login is no secret and is shown; its password is one.
    let secrets = scene.vendor.secret().into_iter().filter(|(key, _)| key != "username").map(|(_, value)| value);
    for secret in secrets.chain([PASSWORD.to_owned()]) {
        assert!(!emitted.contains(&secret), "{secret} leaked into\n{emitted}");
    }
    assert_eq!(scene.vendor.users().iter().filter(|user| user["email"] == "ada@example.com").count(), 1);
}

#[tokio::test]
async fn plaspy_errors_with_status_200_are_errors() {
    let mut options = Options::default();
    options.plaspy.errors_with_200 = true;
    let scene = Scene::with(Vendor::Plaspy, options, json!({})).await;
    let mut spec = sample(Vendor::Plaspy).user;
    merge(&mut spec, json!({"passwordSecretRef": null, "provider": {"plaspy": {"country": "Atlantis"}}}));
    spec.as_object_mut().unwrap().remove("passwordSecretRef");
    scene.user("ada", spec).await;
    scene.user_says("ada", "Invalid").await;
}

/// The message of the Ready condition.
pub fn message(user: &PlatformUser) -> String {
    let conditions = &user.status.as_ref().unwrap().report.conditions;
    conditions.iter().find(|condition| condition.type_ == "Ready").unwrap().message.clone()
}
