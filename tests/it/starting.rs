//! What `usher run` needs of a cluster, and what it says and does while that is missing.

use std::time::Duration;

use kube::Api;
use kube::api::{Patch, PatchParams};
use serde_json::{Value, json};
use usher::api::PlatformUser;
use usher::api::conditions::ConditionType;
use usher_sandbox::controlplane::{self, ControlPlane, Options};
use usher_sandbox::vendors::{Simulator, Vendor};

use crate::leaks;
use crate::process::{Operator, apply_ada, has_condition, until_user};
use crate::scene::PATIENCE;

/// The definitions of the kinds, changed.
fn definitions(change: impl Fn(&mut Value)) -> String {
    let mut documents = controlplane::documents(&controlplane::crds().unwrap()).unwrap();
    documents.iter_mut().for_each(|document| change(&mut document["spec"]["versions"][0]["schema"]["openAPIV3Schema"]));
    join(&documents)
}

fn join(documents: &[Value]) -> String {
    documents.iter().map(Value::to_string).collect::<Vec<_>>().join("\n---\n")
}

/// Waits until /readyz contains `words`, and returns the answer.
async fn until_readyz(address: &str, words: &str) -> String {
    let answer = || async { reqwest::get(format!("http://{address}/readyz")).await.unwrap().text().await.unwrap() };
    let waiting = async {
        while !answer().await.contains(words) {
            tokio::time::sleep(Duration::from_millis(100)).await;
        }
    };
    assert!(tokio::time::timeout(PATIENCE, waiting).await.is_ok(), "{words} is missing in {}", answer().await);
    answer().await
}

/// Waits until log and /readyz name all of `missing`.
async fn until_missing(operator: &mut Operator, address: &str, missing: &[&str]) {
    let said = operator.says("waiting, because").await;
    for words in missing {
        assert!(said.contains(words), "{words}: {said}");
        until_readyz(address, words).await;
    }
}

#[tokio::test]
async fn an_operator_newer_than_its_definitions_says_so_and_does_nothing() {
    let plane = ControlPlane::start(Options::default()).await.unwrap();
    let admin = plane.client().unwrap();
    let old = definitions(|schema| {
        let status = schema["properties"]["status"]["properties"].as_object_mut().unwrap();
        for field in ["refused", "vanished", "resolvedGroups", "renaming", "recentRemovals", "rateLimitedUntil"] {
            status.remove(field);
        }
        if let Some(creating) = status.get_mut("creating") {
            creating["properties"].as_object_mut().unwrap().remove("vendorTime");
        }
    });
    controlplane::apply(&admin, &old).await.unwrap();
    controlplane::apply(&admin, &controlplane::operator_manifests().unwrap()).await.unwrap();
    let vendor = Simulator::start(Vendor::Pegasus).await.unwrap();
    leaks::register_entries(&json!(vendor.secret()));
    apply_ada(&plane, &vendor).await;
    let mut operator = Operator::start(&plane, "newer").await;
    let address = operator.address().await;
    let missing = [
        "platformusers.usher.dev is of another version of usher and lacks status.creating.vendorTime, status.refused, status.renaming",
        "providercredentials.usher.dev is of another version of usher and lacks status.rateLimitedUntil, status.recentRemovals: kubectl apply -k crds",
    ];
    until_missing(&mut operator, &address, &missing).await;
    assert_eq!(vendor.calls().len(), 0);
    controlplane::apply(&admin, &controlplane::crds().unwrap()).await.unwrap();
    operator.says("nothing is missing any more").await;
    let users: Api<PlatformUser> = Api::namespaced(admin, "default");
    until_user(&users, "ada", |user| has_condition(user, ConditionType::Ready, "Synced")).await;
    assert_eq!(operator.terminate().await, Some(0));
}

#[tokio::test]
async fn an_operator_in_an_empty_cluster_says_once_what_is_missing_and_goes_on_when_it_is_there() {
    let plane = ControlPlane::start(Options::default()).await.unwrap();
    let admin = plane.client().unwrap();
    let mut operator = Operator::start_as(&plane, "first", plane.admin_token());
    let address = operator.address().await;
    let missing = [
        "there is no CustomResourceDefinition platformusers.usher.dev: kubectl apply -k crds",
        "there is no namespace usher-system: kubectl apply -k deploy",
    ];
    until_missing(&mut operator, &address, &missing).await;
    controlplane::apply(&admin, &controlplane::crds().unwrap()).await.unwrap();
    let said = operator.says("waiting, because there is no namespace").await;
    assert!(!said.contains("CustomResourceDefinition"), "{said}");
    // Two more checks, so that a message that is repeated is seen.
    tokio::time::sleep(Duration::from_secs(11)).await;
    controlplane::apply(&admin, &controlplane::operator_manifests().unwrap()).await.unwrap();
    let after = operator.says("").await;
    assert!(after.contains("nothing is missing any more"), "{after}");
    operator.says("took the lease").await;
    until_readyz(&address, "ok").await;
    assert_eq!(operator.terminate().await, Some(0));
}

#[tokio::test]
async fn an_operator_without_a_right_names_it() {
    let plane = ControlPlane::start(Options::default()).await.unwrap();
    let admin = plane.client().unwrap();
    controlplane::apply(&admin, &controlplane::crds().unwrap()).await.unwrap();
    let whole = controlplane::documents(&controlplane::operator_manifests().unwrap()).unwrap();
    let mut documents = whole.clone();
    for document in documents.iter_mut().filter(|document| document["kind"] == "ClusterRole") {
        let rules = document["rules"].as_array_mut().unwrap();
        rules.retain(|rule| rule["resources"] != json!(["secrets"]));
    }
    controlplane::apply(&admin, &join(&documents)).await.unwrap();
    let mut operator = Operator::start(&plane, "weak").await;
    let said = operator.says("waiting, because").await;
    let words = "usher may not get secrets, list secrets, watch secrets, patch secrets: kubectl apply -k deploy";
    assert!(said.contains(words), "{said}");
    controlplane::apply(&admin, &join(&whole)).await.unwrap();
    operator.says("took the lease").await;
    assert_eq!(operator.terminate().await, Some(0));
}

#[tokio::test]
async fn objects_stored_before_a_rule_keep_working_under_it() {
    let plane = ControlPlane::start(Options::default()).await.unwrap();
    let admin = plane.client().unwrap();
    controlplane::apply(&admin, &definitions(without_rules)).await.unwrap();
    let metadata = json!({"name": "ada", "namespace": "default"});
    let spec = json!({"credentialRef": {"name": "main"}, "email": "ada@example.com", "displayName": "Ada\u{a0}", "groups": [{"externalName": "Fleet\u{a0}North"}]});
    let user = json!({"apiVersion": "usher.dev/v1alpha1", "kind": "PlatformUser", "metadata": metadata, "spec": spec});
    controlplane::apply(&admin, &user.to_string()).await.unwrap();
    controlplane::apply(&admin, &controlplane::crds().unwrap()).await.unwrap();
    let users: Api<PlatformUser> = Api::namespaced(admin, "default");
    let patch = |spec: Value| {
        let (users, patch) = (users.clone(), Patch::Merge(json!({"spec": spec})));
        async move { users.patch("ada", &PatchParams::default(), &patch).await }
    };
    // The new rules take a moment until they apply.
    let refused = async { while patch(json!({"phone": "\u{a0}1"})).await.is_ok() {} };
    tokio::time::timeout(PATIENCE, refused).await.unwrap();
    patch(json!({"phone": "1"})).await.unwrap();
    let said = patch(json!({"displayName": "Ada\u{a0}\u{a0}"})).await.unwrap_err().to_string();
    assert!(said.contains("spec.displayName") && said.contains("nobody sees"), "{said}");
}

fn without_rules(schema: &mut Value) {
    match schema {
        Value::Object(fields) => {
            fields.remove("x-kubernetes-validations");
            fields.values_mut().for_each(without_rules);
        }
        Value::Array(entries) => entries.iter_mut().for_each(without_rules),
        _ => {}
    }
}
