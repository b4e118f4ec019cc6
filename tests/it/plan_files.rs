//! Plan for files: what the API server's own rules refuse.

use std::time::Duration;

use k8s_openapi::api::core::v1::Secret;
use kube::Api;
use kube::api::{ListParams, Patch, PatchParams};
use serde_json::{Value, json};
use usher::api::PlatformUser;
use usher_sandbox::vendors::{Options, Vendor};

use crate::admission::{Tenant, rule};
use crate::plan::{Said, no_secret, usher_plan, usher_plan_as, versions};
use crate::scene::{Scene, merge};
use crate::world::world;

const PATIENCE: Duration = Duration::from_secs(30);

fn document(kind: &str, name: &str, spec: &Value) -> Value {
    json!({"apiVersion": "usher.dev/v1alpha1", "kind": kind, "metadata": {"name": name}, "spec": spec})
}

fn user(name: &str, further: Value) -> Value {
    let mut spec = json!({"credentialRef": {"name": "main"}, "email": "ada@example.com"});
    merge(&mut spec, further);
    document("PlatformUser", name, &spec)
}

fn invited(name: &str) -> Value {
    user(name, json!({"provider": {"pegasus": {"sendEmail": true}}}))
}

fn credential(scene: &Scene, further: Value) -> Value {
    let mut spec = json!({
        "provider": {scene.vendor.vendor().name(): {"url": scene.vendor.url()}}, "secretRef": {"name": "main"},
        "allowInsecureHttp": true, "removals": {"after": "0s"},
    });
    merge(&mut spec, further);
    document("ProviderCredential", "main", &spec)
}

fn in_one(documents: &[Value]) -> String {
    documents.iter().map(Value::to_string).collect::<Vec<_>>().join("\n---\n")
}

/// What `usher plan` says to these documents in the scene's namespace, where all is quiet: nothing is written.
async fn planned(scene: &Scene, documents: &[Value]) -> Said {
    let before = versions(scene).await;
    let said = shown(scene, documents).await;
    assert_eq!(versions(scene).await, before);
    said
}

/// What `usher plan` says to these documents in the scene's namespace; whatever it says, it holds no secret.
async fn shown(scene: &Scene, documents: &[Value]) -> Said {
    let said = usher_plan(&["-f", "-", "-n", &scene.namespace, "-o", "json"], &in_one(documents)).await;
    assert!(scene.vendor.writes().is_empty(), "{:#?}", scene.vendor.writes());
    no_secret(scene, &said);
    said
}

async fn apply(scene: &Scene, documents: &[Value]) {
    for document in documents {
        let mut document = document.clone();
        document["metadata"]["namespace"] = json!(scene.namespace);
        scene.apply(&document).await;
    }
}

/// Invited, bound and quiet.
async fn bound() -> Scene {
    let scene = Scene::new(Vendor::Pegasus).await;
    apply(&scene, &[invited("ada")]).await;
    settled(&scene).await;
    scene
}

/// Waits until there is nothing left to write about Ada.
async fn settled(scene: &Scene) {
    scene.user_ready("ada").await;
    scene.until_event("ada", "Created").await;
    scene.sweep("settled").await;
    scene.vendor.clear_calls();
}

#[tokio::test]
async fn what_the_schema_forbids_is_blocked_in_its_words_and_nothing_is_stored() {
    let scene = Scene::new(Vendor::Pegasus).await;
    scene.credential_says("Synced").await;
    let mut nobody = invited("nobody");
    nobody["spec"]["email"] = json!("nobody");
    let said = planned(&scene, &[nobody, invited("ada")]).await;
    assert_eq!((said.code, &*said.err), (1, ""), "{}", said.out);
    let entry = said.entry("nobody");
    assert_eq!((&entry["reason"], &entry["calls"]), (&json!("Invalid"), &json!([])));
    let message = entry["message"].as_str().unwrap();
    assert!(message.starts_with("the API server refuses it: spec.email: "), "{message}");
    assert!(message.contains("not an e-mail address of at most 254 characters: write it as"), "{message}");
    assert_eq!(said.calls("ada")[0]["operation"], "create");
    let none = scene.api::<PlatformUser>().list(&ListParams::default()).await.unwrap();
    assert!(none.items.is_empty());
}

#[tokio::test]
async fn what_a_bound_object_cannot_change_is_blocked() {
    let scene = bound().await;
    let mut other = invited("ada");
    other["spec"]["externalId"] = json!("999");
    let said = planned(&scene, &[other]).await;
    assert_eq!(said.code, 1, "{}", said.out);
    let message = said.entry("ada")["message"].clone();
    assert!(message.as_str().unwrap().contains("spec.externalId cannot change once the object is bound"), "{message}");
}

#[tokio::test]
async fn a_credential_that_would_be_refused_is_not_logged_in_with() {
    let scene = Scene::without_credential(Vendor::Pegasus, Options::default()).await;
    scene.apply_secret("main").await;
    let said = planned(&scene, &[credential(&scene, json!({"resyncInterval": "1s"})), invited("ada")]).await;
    assert_eq!((said.code, &said.entry("main")["reason"]), (1, &json!("Invalid")), "{}", said.out);
    assert_eq!(said.entry("ada")["reason"], "WaitingForCredential");
    assert!(scene.vendor.calls().is_empty(), "{:#?}", scene.vendor.calls());
}

#[tokio::test]
async fn a_field_that_the_file_leaves_out_breaks_no_rule() {
    let scene = Scene::new(Vendor::Pegasus).await;
    let selector = json!({"matchLabels": {"team": "blue"}});
    scene.apply_credential(json!({"allowedNamespaces": {"from": "Selector", "selector": selector}})).await;
    scene.credential_says("Synced").await;
    let said = planned(&scene, &[credential(&scene, json!({"allowedNamespaces": {"from": "All"}}))]).await;
    assert_eq!((said.code, &said.entry("main")["reason"]), (0, &json!("Synced")), "{}", said.out);
}

/// Someone who may read all that a plan needs in the scene's namespace.
async fn reader(scene: &Scene) -> (Tenant<'static>, String) {
    let plane = &world().plane;
    let tenant = Tenant::without_rights(plane, &scene.namespace).await;
    let secrets = json!({"apiGroups": [""], "resources": ["secrets"], "verbs": ["list"]});
    let main =
        json!({"apiGroups": [""], "resources": ["secrets"], "resourceNames": ["main", "login"], "verbs": ["get"]});
    for (name, rule) in [("kinds", &rule(&["get", "list"])), ("secrets", &secrets), ("main", &main)] {
        tenant.may(name, &scene.namespace, rule).await;
    }
    let (users, secrets) = (tenant_api::<PlatformUser>(&tenant, scene), tenant_api::<Secret>(&tenant, scene));
    until("he may read", async || {
        let all = ListParams::default();
        users.list(&all).await.is_ok() && secrets.list(&all).await.is_ok() && secrets.get_opt("main").await.is_ok()
    })
    .await;
    let token = plane.service_account_token(&scene.namespace, "tenant").await.unwrap();
    (tenant, token)
}

fn tenant_api<K>(tenant: &Tenant, scene: &Scene) -> Api<K>
where
    K: kube::Resource<DynamicType = (), Scope = k8s_openapi::NamespaceResourceScope>,
{
    Api::namespaced(tenant.client.clone(), &scene.namespace)
}

/// Waits: rights take a moment until they are known.
async fn until(what: &str, is_so: impl AsyncFn() -> bool) {
    let begun = std::time::Instant::now();
    while !is_so().await {
        assert!(begun.elapsed() < PATIENCE, "{what}: never");
        tokio::time::sleep(Duration::from_millis(50)).await;
    }
}

#[tokio::test]
async fn who_may_not_patch_gets_the_plan_and_one_note() {
    let scene = bound().await;
    let (_reader, token) = reader(&scene).await;
    let plan = async |documents: &[Value]| {
        usher_plan_as(&token, &["-f", "-", "-n", &scene.namespace, "-o", "json"], &in_one(documents)).await
    };
    let (mut eve, mut bob) = (invited("eve"), invited("bob"));
    eve["spec"]["email"] = json!("eve@example.com");
    bob["spec"]["email"] = json!("bob@example.com");
    let said = plan(&[eve, bob]).await;
    assert_eq!((said.code, &said.calls("eve")[0]["operation"]), (2, &json!("create")), "{}{}", said.out, said.err);
    let expected = format!(
        "usher: some files were not checked against the API server's own rules, which may refuse them: you may not create and patch platformusers in namespace {}\n",
        scene.namespace
    );
    assert_eq!(said.err, expected);
    let said = plan(&[invited("ada")]).await;
    assert_eq!((said.code, &*said.err), (0, ""), "what is applied already needs no check: {}", said.out);
}

#[tokio::test]
async fn an_admission_policy_blocks_a_file() {
    let scene = Scene::new(Vendor::Pegasus).await;
    scene.credential_says("Synced").await;
    let (tenant, token) = reader(&scene).await;
    tenant.may("write", &scene.namespace, &rule(&["create", "patch"])).await;
    let users = tenant_api::<PlatformUser>(&tenant, &scene);
    let dry = PatchParams { dry_run: true, ..PatchParams::apply("test") };
    until("he may write", async || users.patch("ada", &dry, &Patch::Apply(invited("ada"))).await.is_ok()).await;
    let named = user("ada", json!({"passwordSecretRef": {"name": "hidden"}}));
    let said = usher_plan_as(&token, &["-f", "-", "-n", &scene.namespace, "-o", "json"], &in_one(&[named])).await;
    assert_eq!((said.code, &said.entry("ada")["reason"]), (1, &json!("PermissionDenied")), "{}{}", said.out, said.err);
    let message = said.entry("ada")["message"].clone();
    assert!(message.as_str().unwrap().contains("may not read Secret"), "{message}");
    assert_eq!(said.err, "");
}
