//! The single things that stories are made of: manifests, waits, and what people do in several steps.

use std::sync::atomic::{AtomicUsize, Ordering};

use k8s_openapi::api::core::v1::Secret;
use kube::runtime::wait::await_condition;
use serde_json::{Value, json};
use usher::api::conditions::{ConditionType, find};
use usher::api::status::ObjectStatus;
use usher::api::{PlatformGroup, PlatformUser, ProviderCredential};
use usher_sandbox::vendors::{Simulator, Vendor};

use super::stage::Stage;
use crate::contract::{Sample, message, sample};
use crate::removal::printed;
use crate::scene::{PATIENCE, Scene, merge};

/// The first password and the one that follows it.
pub const PASSWORDS: [&str; 2] = ["Fake-Passw0rd", "Fake-Passw0rd-2"];
/// The annotation that lets a batch of removals go.
const RELEASE: &str = "usher.dev/release-removals";

/// Password, Secret and credential.
pub async fn basics(stage: &Stage) {
    let Stage { scene, people, .. } = stage;
    people.secret("login", &json!({"password": PASSWORDS[0]})).await;
    scene.apply_secret("main").await;
    let further = if stage.is_apart() { json!({"allowedNamespaces": {"from": "All"}}) } else { json!({}) };
    scene.apply_credential(further).await;
}

/// Edits user and group.
pub async fn edit(stage: &Stage) {
    let vendor = stage.scene.vendor.vendor();
    let mut spec = in_group(vendor, "team");
    let Sample { edit, mut group, .. } = sample(vendor);
    merge(&mut spec, if vendor == Vendor::Industrility { json!({"lastName": "King"}) } else { edit.0 });
    stage.user("ada", spec).await;
    let further = match vendor {
        Vendor::Pegasus => json!({"provider": {"pegasus": {"city": "Bogota"}}}),
        Vendor::Plaspy => json!({"provider": {"plaspy": {"description": "some"}}}),
        Vendor::Amani | Vendor::Industrility | Vendor::Ozmap => return,
    };
    merge(&mut group.0, further);
    stage.group("team", group.0).await;
}

/// Deletes user and group.
pub async fn leave(stage: &Stage) {
    stage.people.delete::<PlatformGroup>("team").await;
    stage.people.delete::<PlatformUser>("ada").await;
}

/// Deletes a second user once the first is gone: the budget holds it, and it is released as the message says.
pub async fn past_the_budget(stage: &Stage) {
    static COUNT: AtomicUsize = AtomicUsize::new(0);
    let Stage { scene, people, .. } = stage;
    people.until_gone::<PlatformUser>("ada").await;
    let credential = scene.api::<ProviderCredential>().get("main").await.unwrap();
    if !credential.metadata.annotations.is_some_and(|annotations| annotations.contains_key(RELEASE)) {
        people.delete::<PlatformUser>("bob").await;
        people.user_says("bob", "RemovalHeld").await;
        // The operator that runs now reconciles it once more.
        scene.sweep(&format!("held-{}", COUNT.fetch_add(1, Ordering::Relaxed))).await;
        let bob = people.user_says("bob", "RemovalHeld").await;
        let account = scene.vendor.user("bob@example.com").expect("a held user keeps its account");
        assert_ne!(account["is_active"], false, "a held user is not blocked");
        let token = printed(&message(&bob), &format!("{RELEASE}="), " ");
        scene.annotate::<ProviderCredential>("main", RELEASE, &token).await;
    }
    people.until_gone::<PlatformUser>("bob").await;
}

/// Makes the credential's Secret anew, with other values, once the old one is gone.
pub async fn renewed(scene: &Scene) {
    let is_free = |old: Option<&Secret>| old.is_none_or(|old| old.metadata.deletion_timestamp.is_none());
    let freed = await_condition(scene.api(), "main", is_free);
    tokio::time::timeout(PATIENCE, freed).await.expect("the old Secret goes").unwrap();
    for key in scene.vendor.secret().keys().filter(|key| *key != "username") {
        scene.vendor.set_secret(key, "fake-rotated-secret");
    }
    scene.apply_secret("main").await;
    let held = |secret: &Secret| secret.metadata.finalizers.is_some();
    scene.until("main", held).await;
}

/// Puts the user into a group of which no manifest speaks.
pub fn into_bystanders(vendor: &Simulator) {
    let group = vendor.group("Bystanders").unwrap()["id"].clone();
    let (field, entry) = match vendor.vendor() {
        Vendor::Ozmap => ("projectGroups", json!({"group": group})),
        Vendor::Pegasus | Vendor::Amani | Vendor::Plaspy | Vendor::Industrility => ("groups", group),
    };
    let mut groups = vendor.user("ada@example.com").unwrap()[field].clone();
    groups.as_array_mut().unwrap().push(entry);
    vendor.edit_user("ada@example.com", json!({field: groups}));
}

/// An account that someone made by hand.
pub fn person(vendor: Vendor, email: &str) -> Value {
    let mut person = json!({"email": email, "name": "Someone"});
    if vendor != Vendor::Plaspy {
        merge(&mut person, json!({"username": email, "phone": "9"}));
    }
    person
}

/// The user without groups, with something to make apart from him.
pub fn alone(vendor: Vendor, further: Value) -> Value {
    let mut spec = sample(vendor).user;
    if vendor == Vendor::Pegasus {
        merge(&mut spec, json!({"provider": {"pegasus": {"applications": {"pegasus2.0": {"tracking": true}}}}}));
    }
    merge(&mut spec, further);
    spec
}

/// The user in a group.
pub fn in_group(vendor: Vendor, group: &str) -> Value {
    alone(vendor, json!({"groups": [{"groupRef": {"name": group}}]}))
}

/// The spec of a second group.
pub fn other_group(vendor: Vendor) -> Value {
    match vendor {
        Vendor::Amani => json!({"displayName": "Dispatchers"}),
        Vendor::Industrility => json!({"externalId": "SG-2"}),
        Vendor::Pegasus | Vendor::Plaspy | Vendor::Ozmap => json!({"displayName": "Other"}),
    }
}

/// A leaf without its quotes.
pub fn text(value: &Value) -> String {
    value.as_str().map_or_else(|| value.to_string(), str::to_owned)
}

/// An object with a status of ours.
pub trait Reported:
    kube::Resource<DynamicType = (), Scope = k8s_openapi::NamespaceResourceScope>
    + Clone
    + std::fmt::Debug
    + serde::de::DeserializeOwned
    + Send
    + 'static
{
    /// What is said of it and its account.
    fn its_status(&self) -> Option<&ObjectStatus>;
}

impl Reported for PlatformUser {
    fn its_status(&self) -> Option<&ObjectStatus> {
        self.status.as_ref()
    }
}

impl Reported for PlatformGroup {
    fn its_status(&self) -> Option<&ObjectStatus> {
        self.status.as_ref()
    }
}

/// Waits until the object has an account and is Ready or Stalled for its present spec.
pub async fn settled<K: Reported>(stage: &Stage, name: &str) {
    let is_settled = |object: &K| {
        object.its_status().is_some_and(|ObjectStatus { identity, report, .. }| {
            identity.account.is_some()
                && Some(report.observed_generation) == object.meta().generation
                && find(&report.conditions, ConditionType::Ready).is_some()
                && find(&report.conditions, ConditionType::Reconciling).is_none()
        })
    };
    stage.people.until(name, is_settled).await;
}
