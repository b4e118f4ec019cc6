//! A stored object that no longer fits its kind is reported, and does not stop the others.

use std::sync::Arc;
use std::time::Duration;

use kube::api::{Api, ApiResource, DeleteParams, DynamicObject, Patch, PatchParams, PostParams};
use kube::core::GroupVersionKind;
use kube::runtime::wait::await_condition;
use serde_json::{Value, json};
use tokio_util::sync::DropGuard;
use usher::controller::preview::{self, Documents, Effect, Item, Scope};
use usher_sandbox::controlplane::{self, ControlPlane, Options};
use usher_sandbox::vendors::{Simulator, Vendor};

use crate::scene::PATIENCE;
use crate::world::{Uncounted, operator, settings};

/// The kinds as an older version might have had them: nothing is checked.
fn unchecked_kinds() -> String {
    let mut documents = controlplane::documents(&controlplane::crds().unwrap()).unwrap();
    for document in &mut documents {
        let schema = json!({"type": "object", "x-kubernetes-preserve-unknown-fields": true});
        document["spec"]["versions"][0]["schema"]["openAPIV3Schema"] = schema;
        document["spec"]["versions"][0].as_object_mut().unwrap().remove("selectableFields");
    }
    documents.iter().map(Value::to_string).collect::<Vec<_>>().join("\n---\n")
}

fn ready(object: Option<&DynamicObject>, reason: &str) -> bool {
    let conditions = object.and_then(|object| object.data.pointer("/status/conditions")).and_then(Value::as_array);
    conditions.into_iter().flatten().any(|condition| condition["type"] == "Ready" && condition["reason"] == reason)
}

/// A cluster without schemas, an operator, and a credential.
struct Stage {
    admin: kube::Client,
    vendor: Simulator,
    users: Api<DynamicObject>,
    credentials: Api<DynamicObject>,
    plane: ControlPlane,
    operator: DropGuard,
}

impl Stage {
    async fn new() -> Self {
        Self::at(Vendor::Pegasus).await
    }

    async fn at(vendor: Vendor) -> Self {
        Self::after(vendor, &[]).await
    }

    /// Whose operator starts after these documents were applied.
    async fn after(vendor: Vendor, documents: &[Value]) -> Self {
        let plane = ControlPlane::start(Options::default()).await.unwrap();
        let admin = plane.client().unwrap();
        controlplane::apply(&admin, &unchecked_kinds()).await.unwrap();
        controlplane::apply(&admin, &controlplane::operator_manifests().unwrap()).await.unwrap();
        let vendor = Simulator::start(vendor).await.unwrap();
        let metadata = json!({"name": "main", "namespace": "default"});
        let spec = json!({"provider": {vendor.vendor().name(): {"url": vendor.url()}}, "secretRef": {"name": "main"},
            "allowInsecureHttp": true, "removals": {"after": "0s"}});
        for document in [
            json!({"apiVersion": "v1", "kind": "Secret", "metadata": metadata, "stringData": vendor.secret()}),
            json!({"apiVersion": "usher.dev/v1alpha1", "kind": "ProviderCredential", "metadata": metadata, "spec": spec}),
        ] {
            controlplane::apply(&admin, &document.to_string()).await.unwrap();
        }
        for document in documents {
            controlplane::apply(&admin, &document.to_string()).await.unwrap();
        }
        let operator = operator(&plane, settings()).await;
        let api = |kind: &str| {
            let resource = ApiResource::from_gvk(&GroupVersionKind::gvk("usher.dev", "v1alpha1", kind));
            Api::namespaced_with(admin.clone(), "default", &resource)
        };
        let (users, credentials) = (api("PlatformUser"), api("ProviderCredential"));
        Self { admin, vendor, users, credentials, plane, operator }
    }

    async fn secret(&self, namespace: &str, name: &str, entries: Value) {
        let metadata = json!({"name": name, "namespace": namespace});
        let secret = json!({"apiVersion": "v1", "kind": "Secret", "metadata": metadata, "stringData": entries});
        controlplane::apply(&self.admin, &secret.to_string()).await.unwrap();
    }

    async fn create(&self, name: &str, further: Value) {
        let mut spec = json!({"credentialRef": {"name": "main"}, "email": format!("{name}@example.com")});
        if self.vendor.vendor() == Vendor::Pegasus {
            spec["provider"] = json!({"pegasus": {"sendEmail": true}});
        }
        crate::scene::merge(&mut spec, further);
        let user = json!({"apiVersion": "usher.dev/v1alpha1", "kind": "PlatformUser", "metadata": {"name": name}, "spec": spec});
        self.users.create(&PostParams::default(), &serde_json::from_value(user).unwrap()).await.unwrap();
    }

    /// Stores this provider block in a credential, and returns `status.provider` once the credential says `reason` about it.
    async fn provider_after(&self, name: &str, provider: Value, reason: &str) -> Value {
        let credential = json!({"apiVersion": "usher.dev/v1alpha1", "kind": "ProviderCredential", "metadata": {"name": name},
            "spec": {"secretRef": {"name": "main"}, "allowInsecureHttp": true, "provider": provider}});
        let patch = Patch::Apply(credential);
        self.credentials.patch(name, &PatchParams::apply("admin").force(), &patch).await.unwrap();
        let judged = await_condition(self.credentials.clone(), name, |credential: Option<&DynamicObject>| {
            let seen = credential.map(|credential| credential.data["status"]["observedGeneration"].as_i64());
            ready(credential, reason) && seen == credential.map(|credential| credential.metadata.generation)
        });
        assert!(tokio::time::timeout(PATIENCE, judged).await.is_ok(), "{:#?}", self.credentials.get(name).await);
        self.credentials.get(name).await.unwrap().data["status"]["provider"].take()
    }

    async fn patch(&self, name: &str, spec: Value) {
        let patch = Patch::Merge(json!({"spec": spec}));
        self.users.patch(name, &PatchParams::default(), &patch).await.unwrap();
    }

    async fn says(&self, name: &str, reason: &str) -> String {
        let told = await_condition(self.users.clone(), name, |user: Option<&DynamicObject>| ready(user, reason));
        assert!(tokio::time::timeout(PATIENCE, told).await.is_ok(), "{:#?}", self.users.get(name).await);
        json!(self.users.get(name).await.unwrap())["status"]["conditions"][0]["message"].to_string()
    }

    async fn until_gone(&self, name: &str) {
        let gone = await_condition(self.users.clone(), name, |user: Option<&DynamicObject>| user.is_none());
        assert!(tokio::time::timeout(PATIENCE, gone).await.is_ok(), "{:#?}", self.users.get(name).await);
    }
}

#[tokio::test]
async fn a_broken_object_is_reported_and_the_others_go_on() {
    let stage = Stage::new().await;
    stage.create("broken", json!({"membership": "Sometimes"})).await;
    stage.create("ada", json!({})).await;
    stage.says("ada", "Synced").await;
    let said = stage.says("broken", "Invalid").await;
    assert!(said.contains("Sometimes"), "{said}");
    assert!(stage.vendor.user("broken@example.com").is_none());
    drop(stage.operator);
}

#[tokio::test]
async fn taking_rights_away_does_not_wait_for_a_password_that_cannot_be_read() {
    let metadata = json!({"name": "usher-password-digest", "namespace": "usher-system"});
    let key = json!({"apiVersion": "v1", "kind": "Secret", "metadata": metadata, "stringData": {"key": "short"}});
    let stage = Stage::after(Vendor::Pegasus, &[key]).await;
    stage.secret("default", "login", json!({"password": "Fake-Passw0rd"})).await;
    stage.create("ada", json!({"active": true})).await;
    stage.says("ada", "Synced").await;
    stage.patch("ada", json!({"active": false, "passwordSecretRef": {"name": "login"}})).await;
    let said = stage.says("ada", "Invalid").await;
    assert!(said.contains("no usable key"), "{said}");
    assert_eq!(stage.vendor.user("ada@example.com").unwrap()["is_active"], false);
}

#[tokio::test]
async fn an_object_whose_mode_cannot_be_read_loses_nothing_until_it_can() {
    let stage = Stage::new().await;
    stage.create("ada", json!({})).await;
    stage.says("ada", "Synced").await;
    stage.patch("ada", json!({"mode": "Pause"})).await;
    stage.says("ada", "Invalid").await;
    stage.users.delete("ada", &DeleteParams::default()).await.unwrap();
    let said = stage.says("ada", "DeletionBlocked").await;
    assert!(said.contains("Pause") && said.contains("kubectl"), "{said}");
    assert!(stage.vendor.user("ada@example.com").is_some());
    stage.patch("ada", json!({"mode": "Enforce"})).await;
    stage.until_gone("ada").await;
    assert!(stage.vendor.user("ada@example.com").is_none());
}

#[tokio::test]
async fn an_object_that_no_longer_parses_keeps_its_account_and_goes_as_its_policy_says() {
    let stage = Stage::new().await;
    let policies = [("gone", "Delete"), ("stays", "Orphan"), ("odd", "Retain")];
    for (name, _) in policies {
        stage.create(name, json!({})).await;
        stage.says(name, "Synced").await;
    }
    for (name, policy) in policies {
        stage.patch(name, json!({"membership": "Sometimes", "deletionPolicy": policy})).await;
        stage.says(name, "Invalid").await;
    }
    stage.create("competitor", json!({"email": "gone@example.com"})).await;
    stage.says("competitor", "Duplicate").await;
    stage.users.delete("competitor", &DeleteParams::default()).await.unwrap();
    stage.until_gone("competitor").await;
    for (name, _) in policies {
        stage.users.delete(name, &DeleteParams::default()).await.unwrap();
    }
    stage.until_gone("gone").await;
    stage.until_gone("stays").await;
    let said = stage.says("odd", "DeletionBlocked").await;
    assert!(said.contains("Retain") && said.contains("kubectl"), "{said}");
    assert!(stage.vendor.user("gone@example.com").is_none());
    assert!(stage.vendor.user("stays@example.com").is_some());
    stage.patch("odd", json!({"deletionPolicy": "Orphan"})).await;
    stage.until_gone("odd").await;
    assert!(stage.vendor.user("odd@example.com").is_some());
}

#[tokio::test]
async fn a_credential_that_no_longer_parses_keeps_its_vendor() {
    let stage = Stage::at(Vendor::Ozmap).await;
    for (name, provider, expected) in [
        ("by-key", json!({"ozmap": {"url": 7}}), json!("ozmap")),
        ("no-address", json!({"industrility": {}}), json!("industrility")),
        ("unknown", json!({"other": {"url": "https://vendor.example"}}), json!(null)),
    ] {
        assert_eq!(stage.provider_after(name, provider, "Invalid").await, expected, "{name}");
    }
    let address = json!({"ozmap": {"url": stage.vendor.url()}});
    assert_eq!(stage.provider_after("before", address, "Synced").await, "ozmap");
    assert_eq!(stage.provider_after("before", json!({"other": {}}), "Invalid").await, "ozmap");
}

#[tokio::test]
async fn an_object_under_a_credential_that_no_longer_parses_is_deleted_by_the_rules_of_its_vendor() {
    let stage = Stage::at(Vendor::Industrility).await;
    let block = json!({"orgName": "Example", "userType": "Customer", "userLoginType": "COGNITO", "parentUser": "US-root@example.com", "role": "UR-customer"});
    let person = json!({"firstName": "Ada", "lastName": "Lovelace", "provider": {"industrility": block}});
    stage.create("ada", person).await;
    stage.says("ada", "Created").await;
    assert_eq!(stage.provider_after("main", json!({"industrility": {"url": 7}}), "Invalid").await, "industrility");
    stage.users.delete("ada", &DeleteParams::default()).await.unwrap();
    stage.until_gone("ada").await;
    assert!(stage.vendor.user("ada@example.com").is_some());
}

/// Lists in lists.
fn deep(levels: usize) -> String {
    "[".repeat(levels) + &"]".repeat(levels)
}

/// What these tests read of an object that no client can decode as a whole.
#[derive(Default, serde::Deserialize)]
#[serde(default)]
struct Shallow {
    status: Conditions,
}

#[derive(Default, serde::Deserialize)]
#[serde(default)]
struct Conditions {
    conditions: Vec<Value>,
}

impl Stage {
    fn path(plural: &str, name: &str) -> String {
        format!("/apis/usher.dev/v1alpha1/namespaces/default/{plural}/{name}")
    }

    /// The text of the answer to a request; `None` if there is no such object.
    async fn request(&self, method: &str, path: &str, body: String) -> Option<String> {
        let request = http::Request::builder().method(method).uri(path);
        let request = request.header("content-type", "application/merge-patch+json").body(body.into_bytes()).unwrap();
        match self.admin.request_text(request).await {
            Err(kube::Error::Api(status)) if status.code == 404 => None,
            answer => Some(answer.unwrap()),
        }
    }

    /// Applies a merge patch of any depth.
    async fn patch_text(&self, plural: &str, name: &str, patch: String) {
        self.request("PATCH", &Self::path(plural, name), patch).await.unwrap();
    }

    /// Waits until the Ready condition has this reason and returns its message.
    async fn deep_says(&self, plural: &str, name: &str, reason: &str) -> String {
        let path = Self::path(plural, name);
        let reading = async {
            loop {
                let text = self.request("GET", &path, String::new()).await.unwrap();
                let Shallow { status: Conditions { conditions } } = serde_json::from_str(&text).unwrap();
                let said =
                    conditions.iter().find(|condition| condition["type"] == "Ready" && condition["reason"] == reason);
                if let Some(said) = said {
                    return said["message"].to_string();
                }
                tokio::time::sleep(Duration::from_millis(100)).await;
            }
        };
        tokio::time::timeout(PATIENCE, reading).await.unwrap_or_else(|_| panic!("{plural} {name} never says {reason}"))
    }

    async fn delete_deep(&self, plural: &str, name: &str) {
        let path = Self::path(plural, name);
        self.request("DELETE", &path, String::new()).await.unwrap();
        let going = async {
            while self.request("GET", &path, String::new()).await.is_some() {
                tokio::time::sleep(Duration::from_millis(100)).await;
            }
        };
        assert!(tokio::time::timeout(PATIENCE, going).await.is_ok(), "{plural} {name} never went");
    }
}

#[tokio::test]
async fn objects_of_too_many_levels_harm_no_other_and_go_as_their_policies_say() {
    let mut stage = Stage::new().await;
    for (name, policy) in [("gone", "Delete"), ("stays", "Orphan"), ("good", "Delete")] {
        stage.create(name, json!({"deletionPolicy": policy})).await;
        stage.says(name, "Synced").await;
    }
    let metadata = json!({"name": "fleet", "namespace": "default"});
    let group = json!({"apiVersion": "usher.dev/v1alpha1", "kind": "PlatformGroup", "metadata": metadata, "spec": {"credentialRef": {"name": "main"}}});
    controlplane::apply(&stage.admin, &group.to_string()).await.unwrap();
    stage.deep_says("platformgroups", "fleet", "Synced").await;
    stage.provider_after("spare", json!({"pegasus": {"url": stage.vendor.url()}}), "Synced").await;

    let prefs = format!(r#"{{"spec": {{"provider": {{"pegasus": {{"prefs": {{"a": {}}}}}}}}}}}"#, deep(140));
    let more = format!(r#"{{"spec": {{"provider": {{"pegasus": {{"more": {}}}}}}}}}"#, deep(3000));
    let status = format!(r#"{{"status": {{"more": {}}}}}"#, deep(3000));
    for (plural, name, patch) in [
        ("platformusers", "gone", &prefs),
        ("platformusers", "stays", &more),
        ("platformgroups", "fleet", &more),
        ("providercredentials", "spare", &more),
    ] {
        stage.patch_text(plural, &format!("{name}/status"), status.clone()).await;
        stage.patch_text(plural, name, patch.clone()).await;
        let said = stage.deep_says(plural, name, "Invalid").await;
        assert!(
            said.contains("spec.provider has ") && said.contains("levels of objects and lists, more than 64"),
            "{said}"
        );
    }

    // The next process lists them before it watches.
    drop(std::mem::replace(&mut stage.operator, operator(&stage.plane, settings()).await));
    stage.patch("good", json!({"phone": "7"})).await;
    stage.create("new", json!({})).await;
    stage.says("new", "Synced").await;
    let planned = Box::pin(preview(&stage.admin)).await;
    let blocked: Vec<_> =
        planned.iter().filter(|item| item.effect == Effect::Blocked).map(|item| &*item.key.name).collect();
    assert_eq!(blocked, ["spare", "fleet", "gone", "stays"], "{planned:#?}");
    for (plural, name) in [
        ("platformusers", "gone"),
        ("platformusers", "stays"),
        ("platformgroups", "fleet"),
        ("providercredentials", "spare"),
    ] {
        stage.delete_deep(plural, name).await;
    }
    assert!(stage.vendor.user("gone@example.com").is_none());
    assert!(stage.vendor.user("stays@example.com").is_some());
    assert_eq!(stage.vendor.groups(), Vec::<Value>::new());
    assert_eq!(stage.vendor.user("good@example.com").unwrap()["phone"], "7");
}

/// `usher plan --all`.
async fn preview(client: &kube::Client) -> Vec<Item> {
    let (settings, metrics) = (settings(), Arc::new(Uncounted));
    let all = Scope::Cluster(None);
    Box::pin(preview::preview(client.clone(), settings, metrics, Documents::default(), &all)).await.unwrap().items
}

#[tokio::test]
async fn an_object_that_is_too_large_is_left_out_and_says_so() {
    let stage = Stage::new().await;
    stage.create("good", json!({})).await;
    stage.create("large", json!({"more": "x".repeat(600_000), "deletionPolicy": "Orphan"})).await;
    let said = stage.says("large", "Invalid").await;
    assert!(said.contains("more than 524288; the longest field is spec.more"), "{said}");
    stage.create("prefs", json!({"provider": {"pegasus": {"prefs": {"a": "x".repeat(20_000)}}}})).await;
    let said = stage.says("prefs", "Invalid").await;
    assert!(said.contains("an open object of 20008 bytes, more than 16384"), "{said}");
    stage.says("good", "Synced").await;
}
