//! Who may write what: status, credentials whose Secret one may not read, and what usher's own token is good for.

use std::time::{Duration, Instant};

use k8s_openapi::api::authorization::v1::{ResourceAttributes, SelfSubjectAccessReview, SelfSubjectAccessReviewSpec};
use k8s_openapi::api::core::v1::Secret;
use k8s_openapi::api::rbac::v1::ClusterRole;
use kube::api::{ApiResource, Patch, PatchParams, PostParams};
use kube::core::DynamicObject;
use kube::{Api, Client, ResourceExt};
use rstest::rstest;
use serde_json::{Value, json};
use usher::api::{Kind, PlatformGroup, PlatformUser, ProviderCredential};
use usher_sandbox::vendors::{Options, Vendor};

use crate::admission::{Tenant, credential};
use crate::scene::{PATIENCE, Scene};
use crate::world::world;

/// Everything a namespace's own Role can grant on usher's kinds.
const EVERYTHING: &[&str] = &["*"];

/// A scene with one object of each kind, and someone with all rights on them that a Role can grant.
async fn scene_and_tenant() -> (Scene, Tenant<'static>) {
    let scene = Scene::new(Vendor::Pegasus).await;
    scene.group("north", json!({})).await;
    scene.user("ada", json!({"email": "ada@example.com", "provider": {"pegasus": {"sendEmail": true}}})).await;
    scene.user_ready("ada").await;
    let tenant = Tenant::without_rights(&world().plane, &scene.namespace).await;
    let all = json!({"apiGroups": ["usher.dev"], "resources": ["*"], "verbs": EVERYTHING});
    tenant.may("everything", &scene.namespace, &all).await;
    (scene, tenant)
}

/// The API of a kind in the scene's namespace, and the name of its object there.
fn object(scene: &Scene, client: &Client, kind: Kind) -> (Api<DynamicObject>, &'static str) {
    let (resource, name) = match kind {
        Kind::User => (ApiResource::erase::<PlatformUser>(&()), "ada"),
        Kind::Group => (ApiResource::erase::<PlatformGroup>(&()), "north"),
        Kind::Credential => (ApiResource::erase::<ProviderCredential>(&()), "main"),
    };
    (Api::namespaced_with(client.clone(), &scene.namespace, &resource), name)
}

/// What the API server says to a dry run of a merge patch.
async fn patched(scene: &Scene, client: &Client, kind: Kind, patch: Value) -> Result<(), String> {
    let (api, name) = object(scene, client, kind);
    let params = PatchParams { dry_run: true, ..PatchParams::default() };
    let is_status = patch.get("status").is_some();
    let patch = Patch::Merge(patch);
    let answer =
        if is_status { api.patch_status(name, &params, &patch).await } else { api.patch(name, &params, &patch).await };
    answer.map(drop).map_err(|error| error.to_string())
}

/// Waits until a dry run is answered as wanted, because rights take a moment until they are known.
async fn until(scene: &Scene, client: &Client, kind: Kind, patch: Value, wanted: impl Fn(&Result<(), String>) -> bool) {
    let begun = Instant::now();
    loop {
        let answer = patched(scene, client, kind, patch.clone()).await;
        if wanted(&answer) {
            return;
        }
        assert!(begun.elapsed() < PATIENCE, "{kind} with {patch} still gets {answer:?}");
        tokio::time::sleep(Duration::from_millis(100)).await;
    }
}

fn says(words: &str) -> impl Fn(&Result<(), String>) -> bool {
    move |answer| answer.as_ref().is_err_and(|said| said.contains(words))
}

#[rstest]
#[case::of_a_user(Kind::User, json!({"externalId": "1", "key": "victim@example.com", "account": "pegasus"}))]
#[case::of_a_group(Kind::Group, json!({"externalId": "1"}))]
#[case::of_a_credential(Kind::Credential, json!({"recentRemovals": [{"since": "9999-12-30T21:59:59Z", "count": 1}]}))]
#[tokio::test]
async fn status_is_written_by_usher_and_by_backup_tools_alone(#[case] kind: Kind, #[case] status: Value) {
    let (scene, tenant) = scene_and_tenant().await;
    let forged = json!({"status": status});
    // Once he may edit the object, his Role is known, and his right to patch the status too.
    until(&scene, &tenant.client, kind, json!({"metadata": {"labels": {"a": "b"}}}), Result::is_ok).await;
    until(&scene, &tenant.client, kind, forged.clone(), says("may not write it, because it binds the object")).await;
    tenant.may_as("usher-restore", true).await;
    until(&scene, &tenant.client, kind, forged, Result::is_ok).await;
}

#[rstest]
#[case::protected(json!({"protected": ["nobody"]}))]
#[case::privileged(json!({"privileged": ["nobody"]}))]
#[case::allow_privileged(json!({"allowPrivileged": true}))]
#[case::allowed_namespaces(json!({"allowedNamespaces": {"from": "All"}}))]
#[case::allow_existing(json!({"allowExisting": "All"}))]
#[case::removals(json!({"removals": {"after": "0s", "atMost": 100_000}}))]
#[case::adoption(json!({"adoptionPolicy": "Adopt"}))]
#[case::deletion(json!({"deletionPolicy": "Disable"}))]
#[case::a_removed_field(json!({"removals": null}))]
#[case::the_address(json!({"provider": {"pegasus": {"url": "http://127.0.0.1:1"}}}))]
#[tokio::test]
async fn what_a_login_may_be_used_for_is_set_by_those_who_may_read_it(#[case] spec: Value) {
    let scene = Scene::new(Vendor::Pegasus).await;
    let tenant = Tenant::new(&world().plane, &scene.namespace).await;
    let edit = json!({"spec": spec});
    until(&scene, &tenant.client, Kind::Credential, edit.clone(), says("may not read Secret")).await;
    let calmer = json!({"spec": {"mode": "Plan", "resyncInterval": "20m", "requests": {"perMinute": 30}}});
    patched(&scene, &tenant.client, Kind::Credential, calmer).await.unwrap();
    tenant.may_read("main").await;
    until(&scene, &tenant.client, Kind::Credential, edit, Result::is_ok).await;
}

#[tokio::test]
async fn a_credential_is_moved_to_another_secret_by_those_who_may_read_the_present_one() {
    let scene = Scene::new(Vendor::Pegasus).await;
    scene.apply_secret("his").await;
    let tenant = Tenant::new(&world().plane, &scene.namespace).await;
    tenant.may_read("his").await;
    let moved = json!({"spec": {"secretRef": {"name": "his"}, "provider": {"pegasus": {"url": "http://127.0.0.1:1"}}}});
    until(&scene, &tenant.client, Kind::Credential, moved.clone(), says("/main, which the credential names now")).await;
    // A credential of his own is another matter.
    let mut own = credential(&scene.vendor.url());
    own["secretRef"]["name"] = json!("his");
    tenant.accepted(Kind::Credential, &own).await;
    tenant.may_read("main").await;
    until(&scene, &tenant.client, Kind::Credential, moved, Result::is_ok).await;
}

/// usher's own client, with the rights of deploy/.
fn operator() -> Client {
    Client::try_from(world().plane.config(&world().operator_token).unwrap()).unwrap()
}

#[rstest]
#[case::a_user(Kind::User, json!({"email": "eve@example.com"}))]
#[case::a_group(Kind::Group, json!({"displayName": "Others"}))]
#[case::a_credential(Kind::Credential, json!({"provider": {"pegasus": {"url": "http://127.0.0.1:1"}}}))]
#[tokio::test]
async fn the_token_of_usher_changes_no_spec(#[case] kind: Kind, #[case] spec: Value) {
    let (scene, _) = scene_and_tenant().await;
    let said = patched(&scene, &operator(), kind, json!({"spec": spec})).await.unwrap_err();
    assert!(said.contains("may change only metadata and status"), "{said}");
    patched(&scene, &operator(), kind, json!({"metadata": {"finalizers": null}})).await.unwrap();
}

#[tokio::test]
async fn the_token_of_usher_changes_nothing_of_a_secret_but_its_own_finalizer() {
    let scene = Scene::new(Vendor::Pegasus).await;
    scene.credential_says("Synced").await;
    let secrets: Api<Secret> = Api::namespaced(operator(), &scene.namespace);
    let params = PatchParams { dry_run: true, ..PatchParams::default() };
    for (patch, words) in [
        (json!({"stringData": {"token": "fake"}}), "may change only metadata.finalizers"),
        (json!({"data": null}), "may change only metadata.finalizers"),
        (json!({"immutable": true}), "may change only metadata.finalizers"),
        (json!({"metadata": {"labels": {"a": "b"}}}), "may change only metadata.finalizers"),
        (json!({"metadata": {"annotations": {"a": "b"}}}), "may change only metadata.finalizers"),
        (json!({"metadata": {"finalizers": ["example.com/other"]}}), "no finalizer but usher.dev/credential-in-use"),
    ] {
        let said = secrets.patch("main", &params, &Patch::Merge(&patch)).await.unwrap_err().to_string();
        assert!(said.contains(words), "{patch}: {said}");
    }
    let released = json!({"metadata": {"finalizers": null}});
    secrets.patch("main", &params, &Patch::Merge(&released)).await.unwrap();
    let own: Api<Secret> = Api::namespaced(operator(), "usher-system");
    let another = serde_json::from_value(json!({"metadata": {"name": "another"}})).unwrap();
    let said = own.create(&PostParams::default(), &another).await.unwrap_err().to_string();
    assert!(said.contains("may create no Secret but usher-password-digest"), "{said}");
}

/// Whether the client may use `verb` on `resource`, which may name a subresource, in a namespace.
async fn may(client: &Client, namespace: &str, verb: &str, resource: &str) -> bool {
    let (resource, subresource) = resource.split_once('/').unwrap_or((resource, ""));
    let attributes = ResourceAttributes {
        namespace: Some(namespace.into()),
        group: Some("usher.dev".into()),
        resource: Some(resource.into()),
        subresource: Some(subresource.into()),
        verb: Some(verb.into()),
        ..ResourceAttributes::default()
    };
    let spec = SelfSubjectAccessReviewSpec { resource_attributes: Some(attributes), ..Default::default() };
    let review = SelfSubjectAccessReview { spec, ..SelfSubjectAccessReview::default() };
    let answer = Api::all(client.clone()).create(&PostParams::default(), &review).await.unwrap();
    answer.status.unwrap().allowed
}

#[rstest]
#[case::view("usher-view", false, &["view", "edit", "admin"])]
#[case::edit("usher-edit", true, &["edit", "admin"])]
#[tokio::test]
async fn the_roles_for_people_grant_no_status_and_no_right_of_its_own(
    #[case] role: &str,
    #[case] writes: bool,
    #[case] aggregated: &[&str],
) {
    let scene = Scene::without_credential(Vendor::Pegasus, Options::default()).await;
    let tenant = Tenant::without_rights(&world().plane, &scene.namespace).await;
    tenant.may_as(role, false).await;
    for kind in [Kind::User, Kind::Group, Kind::Credential].map(Kind::plural) {
        let begun = Instant::now();
        while !may(&tenant.client, &scene.namespace, "list", kind).await {
            assert!(begun.elapsed() < PATIENCE, "{role} does not grant list on {kind}");
            tokio::time::sleep(Duration::from_millis(100)).await;
        }
        for verb in ["create", "update", "patch", "delete"] {
            assert_eq!(may(&tenant.client, &scene.namespace, verb, kind).await, writes, "{role}: {verb} {kind}");
        }
        for verb in ["use", "adopt", "restore", "deletecollection"] {
            assert!(!may(&tenant.client, &scene.namespace, verb, kind).await, "{role}: {verb} {kind}");
        }
        for verb in ["update", "patch", "restore"] {
            let status = format!("{kind}/status");
            assert!(!may(&tenant.client, &scene.namespace, verb, &status).await, "{role}: {verb} {status}");
        }
    }
    let stored = Api::<ClusterRole>::all(scene.client.clone()).get(role).await.unwrap();
    for to in ["view", "edit", "admin"] {
        let label = stored.labels().get(&format!("rbac.authorization.k8s.io/aggregate-to-{to}"));
        assert_eq!(label.is_some_and(|value| value == "true"), aggregated.contains(&to), "{role}: {to}");
    }
}
