//! A stored object that no longer fits its kind is reported, and does not stop the others.

use std::sync::Arc;
use std::time::Duration;

use kube::api::{Api, ApiResource, DynamicObject, PostParams};
use kube::core::GroupVersionKind;
use kube::runtime::wait::await_condition;
use serde_json::{Value, json};
use tokio_util::sync::CancellationToken;
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

#[tokio::test]
async fn a_broken_object_is_reported_and_the_others_go_on() {
    let plane = ControlPlane::start(Options::default()).await.unwrap();
    let admin = plane.client().unwrap();
    controlplane::apply(&admin, &unchecked_kinds()).await.unwrap();
    controlplane::apply(&admin, &controlplane::operator_manifests().unwrap()).await.unwrap();
    let vendor = Simulator::start(Vendor::Pegasus).await.unwrap();
    let resource = ApiResource::from_gvk(&GroupVersionKind::gvk("usher.dev", "v1alpha1", "PlatformUser"));
    let users: Api<DynamicObject> = Api::namespaced_with(admin.clone(), "default", &resource);
    let user = |name: &str, further: Value| {
        let mut spec = json!({"credentialRef": {"name": "main"}, "email": format!("{name}@example.com"), "provider": {"pegasus": {"sendEmail": true}}});
        crate::scene::merge(&mut spec, further);
        serde_json::from_value(json!({"apiVersion": "usher.dev/v1alpha1", "kind": "PlatformUser", "metadata": {"name": name}, "spec": spec})).unwrap()
    };
    users.create(&PostParams::default(), &user("broken", json!({"membership": "Sometimes"}))).await.unwrap();
    users.create(&PostParams::default(), &user("ada", json!({}))).await.unwrap();
    let secret = json!({"apiVersion": "v1", "kind": "Secret", "metadata": {"name": "main", "namespace": "default"}, "stringData": vendor.secret()});
    let credential = json!({"apiVersion": "usher.dev/v1alpha1", "kind": "ProviderCredential", "metadata": {"name": "main", "namespace": "default"}, "spec": {
        "provider": {"pegasus": {"url": vendor.url()}}, "secretRef": {"name": "main"}, "allowInsecureHttp": true}});
    controlplane::apply(&admin, &secret.to_string()).await.unwrap();
    controlplane::apply(&admin, &credential.to_string()).await.unwrap();

    let token = plane.service_account_token("usher-system", "usher").await.unwrap();
    let client = kube::Client::try_from(plane.config(&token).unwrap()).unwrap();
    let stop = CancellationToken::new();
    let operator = tokio::spawn(usher::controller::run(client, settings(), Arc::new(Uncounted), stop.clone(), |_| {}));
    for (name, reason) in [("ada", "Synced"), ("broken", "Invalid")] {
        let told = await_condition(users.clone(), name, |user: Option<&DynamicObject>| ready(user, reason));
        assert!(tokio::time::timeout(PATIENCE, told).await.is_ok(), "{:#?}", users.get(name).await);
    }
    let said = json!(users.get("broken").await.unwrap())["status"]["conditions"][0]["message"].to_string();
    assert!(said.contains("Sometimes"), "{said}");
    assert!(vendor.user("broken@example.com").is_none());
    stop.cancel();
    operator.await.unwrap();
}
