//! A stored object that no longer fits its kind is reported, and does not stop the others.

use std::sync::Arc;
use std::time::Duration;

use kube::api::{Api, ApiResource, DeleteParams, DynamicObject, Patch, PatchParams, PostParams};
use kube::core::GroupVersionKind;
use kube::runtime::wait::await_condition;
use serde_json::{Value, json};
use tokio_util::sync::{CancellationToken, DropGuard};
use usher_sandbox::controlplane::{self, ControlPlane, Options};
use usher_sandbox::vendors::{Simulator, Vendor};

use crate::world::{Uncounted, settings};

const PATIENCE: Duration = Duration::from_secs(30);

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
    _plane: ControlPlane,
    operator: DropGuard,
}

impl Stage {
    async fn new() -> Self {
        let plane = ControlPlane::start(Options::default()).await.unwrap();
        let admin = plane.client().unwrap();
        controlplane::apply(&admin, &unchecked_kinds()).await.unwrap();
        controlplane::apply(&admin, &controlplane::operator_manifests().unwrap()).await.unwrap();
        let vendor = Simulator::start(Vendor::Pegasus).await.unwrap();
        let metadata = json!({"name": "main", "namespace": "default"});
        let spec = json!({"provider": {"pegasus": {"url": vendor.url()}}, "secretRef": {"name": "main"},
            "allowInsecureHttp": true, "removals": {"after": "0s"}});
        for document in [
            json!({"apiVersion": "v1", "kind": "Secret", "metadata": metadata, "stringData": vendor.secret()}),
            json!({"apiVersion": "usher.dev/v1alpha1", "kind": "ProviderCredential", "metadata": metadata, "spec": spec}),
        ] {
            controlplane::apply(&admin, &document.to_string()).await.unwrap();
        }
        let token = plane.service_account_token("usher-system", "usher").await.unwrap();
        let client = kube::Client::try_from(plane.config(&token).unwrap()).unwrap();
        let stop = CancellationToken::new();
        tokio::spawn(usher::controller::run(client, settings(), Arc::new(Uncounted), stop.clone(), Box::new(|_| {})));
        let resource = ApiResource::from_gvk(&GroupVersionKind::gvk("usher.dev", "v1alpha1", "PlatformUser"));
        let users = Api::namespaced_with(admin.clone(), "default", &resource);
        Self { admin, vendor, users, _plane: plane, operator: stop.drop_guard() }
    }

    async fn secret(&self, namespace: &str, name: &str, entries: Value) {
        let metadata = json!({"name": name, "namespace": namespace});
        let secret = json!({"apiVersion": "v1", "kind": "Secret", "metadata": metadata, "stringData": entries});
        controlplane::apply(&self.admin, &secret.to_string()).await.unwrap();
    }

    async fn create(&self, name: &str, further: Value) {
        let mut spec = json!({"credentialRef": {"name": "main"}, "email": format!("{name}@example.com"), "provider": {"pegasus": {"sendEmail": true}}});
        crate::scene::merge(&mut spec, further);
        let user = json!({"apiVersion": "usher.dev/v1alpha1", "kind": "PlatformUser", "metadata": {"name": name}, "spec": spec});
        self.users.create(&PostParams::default(), &serde_json::from_value(user).unwrap()).await.unwrap();
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
    let stage = Stage::new().await;
    stage.secret("usher-system", "usher-password-digest", json!({"key": "short"})).await;
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
    stage.create("rival", json!({"email": "gone@example.com"})).await;
    stage.says("rival", "Duplicate").await;
    stage.users.delete("rival", &DeleteParams::default()).await.unwrap();
    stage.until_gone("rival").await;
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
