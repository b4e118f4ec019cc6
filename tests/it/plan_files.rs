//! Plan for files: the API server's own rules, and what Secrets and namespaces in the files lead to.

use std::time::Duration;

use k8s_openapi::api::core::v1::Secret;
use kube::Api;
use kube::api::{ListParams, Patch, PatchParams};
use rstest::rstest;
use rstest_reuse::apply;
use serde_json::{Value, json};
use usher::api::{PlatformUser, ProviderCredential};
use usher_sandbox::vendors::{Options, Simulator, Vendor};

use crate::admission::{Tenant, rule};
use crate::contract::{PASSWORD, sample};
use crate::leaks;
use crate::plan::{Said, no_secret, operations, usher_plan, usher_plan_as, versions, written};
use crate::scene::{PATIENCE, Scene, merge};
use crate::vendors::every_vendor_that_shows_accounts;
use crate::world::world;

/// Another password, which a test's output must not show either.
const NEW_PASSWORD: &str = "Fake-Passw0rd-of-files";

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

fn secret(name: &str, entries: &Value) -> Value {
    leaks::register_entries(entries);
    json!({"apiVersion": "v1", "kind": "Secret", "metadata": {"name": name}, "stringData": entries})
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
    assert!(!said.out.contains(NEW_PASSWORD) && !said.err.contains(NEW_PASSWORD));
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

/// A person with the right to read all that a plan needs in the scene's namespace.
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
async fn a_person_without_the_right_to_patch_gets_the_plan_and_one_note() {
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

#[tokio::test]
async fn without_the_right_to_create_only_new_objects_are_unchecked() {
    let scene = bound().await;
    let (tenant, token) = reader(&scene).await;
    tenant.may("patch", &scene.namespace, &rule(&["patch"])).await;
    let users = tenant_api::<PlatformUser>(&tenant, &scene);
    let dry = PatchParams { dry_run: true, ..PatchParams::default() };
    let labels = json!({"metadata": {"labels": {"team": "blue"}}});
    until("the tenant may patch", async || users.patch("ada", &dry, &Patch::Merge(&labels)).await.is_ok()).await;
    let changed = user("ada", json!({"passwordSecretRef": {"name": "hidden"}}));
    let mut new = invited("eve");
    new["spec"]["email"] = json!("eve@example.com");
    let input = in_one(&[changed, new]);
    let said = usher_plan_as(&token, &["-f", "-", "-n", &scene.namespace, "-o", "json"], &input).await;
    assert_eq!((said.code, &said.entry("ada")["reason"]), (1, &json!("PermissionDenied")), "{}{}", said.out, said.err);
    let message = said.entry("ada")["message"].clone();
    assert!(message.as_str().unwrap().contains("may not read Secret"), "{message}");
    assert_eq!(said.calls("eve")[0]["operation"], "create", "{}", said.out);
    let why = format!(": you may not create platformusers in namespace {}\n", scene.namespace);
    assert!(said.err.ends_with(&why), "{}", said.err);
}

#[apply(every_vendor_that_shows_accounts)]
#[tokio::test]
async fn a_folder_with_everything_in_it_is_planned_as_it_is_then_done(vendor: Vendor) {
    let scene = Scene::without_credential(vendor, Options::default()).await;
    let sample = sample(vendor);
    let (mut ada, mut team) = (user("ada", sample.user), document("PlatformGroup", "team", &sample.group.0));
    merge(&mut ada["spec"], json!({"groups": [{"groupRef": {"name": "team"}}]}));
    merge(&mut team["spec"], json!({"credentialRef": {"name": "main"}}));
    let login = secret("login", &json!({"password": PASSWORD}));
    let all = [credential(&scene, json!({})), ada, team, login, secret("main", &json!(scene.vendor.secret()))];
    let said = planned(&scene, &all).await;
    assert_eq!((said.code, &*said.err), (2, ""), "{}", said.out);
    let (group, user) = (said.calls("team"), said.calls("ada"));
    assert!(user[0]["fields"].as_array().unwrap().contains(&json!("password")), "{user:#}");

    apply(&scene, &all).await;
    scene.user_ready("ada").await;
    assert_eq!(written(&scene), [operations("groups", &group), operations("users", &user)].concat());
    assert_eq!(planned_again(&scene, &all).await, (0, json!([]), json!([])));
}

/// What is still to do once all is done.
async fn planned_again(scene: &Scene, all: &[Value]) -> (i32, Value, Value) {
    scene.vendor.clear_calls();
    let said = shown(scene, all).await;
    (said.code, said.calls("ada"), said.calls("team"))
}

#[tokio::test]
async fn a_new_password_in_the_files_is_shown_for_its_users_and_then_sent() {
    let scene = Scene::new(Vendor::Pegasus).await;
    scene.secret("login", &json!({"password": PASSWORD, "note": "old"})).await;
    apply(&scene, &[user("ada", json!({"passwordSecretRef": {"name": "login"}}))]).await;
    settled(&scene).await;
    let same = secret("login", &json!({"password": PASSWORD, "note": "new"}));
    assert_eq!(planned(&scene, std::slice::from_ref(&same)).await.code, 0);
    let fresh = secret("login", &json!({"password": NEW_PASSWORD}));
    let said = planned(&scene, std::slice::from_ref(&fresh)).await;
    assert_eq!((said.code, &said.calls("ada")[0]["fields"]), (2, &json!(["password"])), "{}", said.out);
    // A person without the right to read the key of usher's digests sees the same.
    let (_reader, token) = reader(&scene).await;
    for (document, code) in [(&same, 0), (&fresh, 2)] {
        let input = in_one(std::slice::from_ref(document));
        let said = usher_plan_as(&token, &["-f", "-", "-n", &scene.namespace, "-o", "json"], &input).await;
        assert_eq!((said.code, &*said.err), (code, ""), "{}", said.out);
        no_secret(&scene, &said);
    }

    apply(&scene, &[fresh]).await;
    scene
        .vendor_until("the new password", |vendor| vendor.user("ada@example.com").unwrap()["password"] == NEW_PASSWORD)
        .await;
    assert_eq!(written(&scene), ["users.update"]);
}

#[tokio::test]
async fn a_new_login_in_the_files_is_tried() {
    let scene = bound().await;
    let mut wrong = json!(scene.vendor.secret());
    wrong.as_object_mut().unwrap().values_mut().for_each(|value| *value = json!("fake-wrong-login"));
    let said = planned(&scene, &[secret("main", &wrong)]).await;
    assert_eq!((said.code, &said.entry("main")["reason"]), (1, &json!("Unauthenticated")), "{}", said.out);
    assert!(!said.out.contains("fake-wrong-login"), "{}", said.out);
}

/// Where no login of the scene may be sent.
async fn elsewhere() -> Simulator {
    Simulator::start(Vendor::Pegasus).await.unwrap()
}

#[rstest]
#[case::of_a_credential_that_exists("main", json!(null))]
#[case::of_a_new_credential("second", json!(null))]
#[case::with_a_part_of_the_secret("main", json!({"note": "fake"}))]
#[tokio::test]
async fn files_cannot_send_a_login_of_the_cluster_elsewhere(#[case] name: &str, #[case] part: Value) {
    let scene = bound().await;
    let thief = elsewhere().await;
    let mut moved = credential(&scene, json!({"provider": {"pegasus": {"url": thief.url()}}}));
    moved["metadata"]["name"] = json!(name);
    let mut eve = invited("eve");
    merge(&mut eve["spec"], json!({"email": "eve@example.com", "credentialRef": {"name": name}}));
    let mut files = vec![moved, eve];
    files.extend((!part.is_null()).then(|| secret("main", &part)));
    let said = planned(&scene, &files).await;
    assert_eq!((said.code, &said.entry(name)["reason"]), (1, &json!("PermissionDenied")), "{}", said.out);
    let message = said.entry(name)["message"].clone();
    assert!(message.as_str().unwrap().ends_with("the flag --log-in-as-files-say"), "{message}");
    assert_eq!(
        (&said.entry("eve")["reason"], said.calls("eve")),
        (&json!("WaitingForCredential"), json!([])),
        "{}",
        said.out
    );
    assert_eq!(thief.calls().len(), 0, "{:#?}", thief.calls());

    let arguments = ["-f", "-", "-n", &scene.namespace, "-o", "json", "--log-in-as-files-say"];
    let said = usher_plan(&arguments, &in_one(&files)).await;
    assert_ne!(said.entry(name)["reason"], "PermissionDenied", "{}", said.out);
    assert_ne!(thief.calls().len(), 0);
}

#[tokio::test]
async fn files_with_their_own_secret_or_another_pace_are_logged_in_with() {
    let scene = bound().await;
    let calmer = credential(&scene, json!({"requests": {"perMinute": 600}, "resyncInterval": "20m"}));
    let said = planned(&scene, &[calmer]).await;
    assert_eq!((said.code, &said.entry("main")["reason"]), (0, &json!("Synced")), "{}", said.out);
    let mut second = credential(&scene, json!({"secretRef": {"name": "second"}}));
    second["metadata"]["name"] = json!("second");
    let said = planned(&scene, &[second, secret("second", &json!(scene.vendor.secret()))]).await;
    assert_eq!((said.code, &said.entry("second")["reason"]), (0, &json!("Synced")), "{}", said.out);
}

#[tokio::test]
async fn a_secret_that_cannot_become_what_the_files_say_is_noted() {
    let scene = bound().await;
    let mut other = secret("main", &json!({"password": NEW_PASSWORD}));
    other["type"] = json!("kubernetes.io/basic-auth");
    let said = planned(&scene, &[other]).await;
    let expected = format!("usher: the files cannot change Secret {}/main: its type is Opaque", scene.namespace);
    assert!(said.code == 0 && said.err.starts_with(&expected), "{}", said.err);
}

#[tokio::test]
async fn a_namespace_in_the_files_is_planned_with_all_in_it_before_it_is_there() {
    let scene = Scene::without_credential(Vendor::Pegasus, Options::default()).await;
    let away = format!("{}-new", scene.namespace);
    let namespace =
        json!({"apiVersion": "v1", "kind": "Namespace", "metadata": {"name": away, "labels": {"team": "blue"}}});
    let all = [namespace, credential(&scene, json!({})), secret("main", &json!(scene.vendor.secret())), invited("ada")];
    let said = usher_plan(&["-f", "-", "-n", &away, "-o", "json"], &in_one(&all)).await;
    assert_eq!((said.code, &said.calls("ada")[0]["operation"]), (2, &json!("create")), "{}{}", said.out, said.err);
    assert!(said.err.ends_with(&format!(": there is no namespace {away} yet\n")), "{}", said.err);
    no_secret(&scene, &said);
}

#[tokio::test]
async fn labels_of_a_namespace_in_the_files_let_its_users_use_a_credential() {
    let scene = Scene::new(Vendor::Pegasus).await;
    let selector = json!({"matchLabels": {"team": "blue"}});
    scene.apply_credential(json!({"allowedNamespaces": {"from": "Selector", "selector": selector}})).await;
    scene.until("main", |main: &ProviderCredential| main.spec.allowed_namespaces.is_some()).await;
    let team = scene.beside().await;
    let mut ada = invited("ada");
    ada["spec"]["credentialRef"]["namespace"] = json!(scene.namespace);
    let said = planned(&team, std::slice::from_ref(&ada)).await;
    assert_eq!(said.entry("ada")["reason"], "NamespaceNotAllowed", "{}", said.out);
    let labels = json!({"apiVersion": "v1", "kind": "Namespace", "metadata": {"name": team.namespace, "labels": {"team": "blue"}}});
    let said = planned(&team, &[ada, labels]).await;
    assert_eq!((said.code, &said.calls("ada")[0]["operation"]), (2, &json!("create")), "{}", said.out);
}
