//! Clusters that are restored, copied or moved: an account belongs to the cluster that bound it, until a person names another one.

use std::fmt::Debug;

use k8s_openapi::NamespaceResourceScope;
use k8s_openapi::api::core::v1::{Namespace, Secret};
use kube::api::{DeleteParams, ListParams, Patch, PatchParams};
use kube::runtime::wait::await_condition;
use kube::{Api, Client, Resource, ResourceExt};
use serde::de::DeserializeOwned;
use serde_json::{Value, json};
use usher::api::conditions::{ConditionType, find};
use usher::api::{PlatformGroup, PlatformUser, ProviderCredential};
use usher_sandbox::controlplane;
use usher_sandbox::vendors::{Fault, FaultKind, Options, Vendor};

use crate::contract::message;
use crate::removal::{give_up, printed};
use crate::scene::{PATIENCE, Scene, merge};
use crate::world::{operator, own_plane, settings};

const OTHER_CLUSTER: &str = "0b5cde7e-0000-4000-8000-00000000000b";

fn person(name: &str, further: Value) -> Value {
    let mut spec = json!({"email": format!("{name}@example.com"), "provider": {"pegasus": {"sendEmail": true}}});
    merge(&mut spec, further);
    spec
}

async fn own_cluster(client: &Client) -> String {
    Api::<Namespace>::all(client.clone()).get("kube-system").await.unwrap().uid().unwrap()
}

/// Writes a status as a restore does.
async fn restore_status<K>(api: &Api<K>, name: &str, status: &Value)
where
    K: Resource<DynamicType = ()> + Clone + Debug + DeserializeOwned,
{
    let patch = json!({"status": status});
    api.patch_status(name, &PatchParams::default(), &Patch::Merge(patch)).await.unwrap();
}

/// A scene whose user ada was bound in another cluster.
async fn with_a_user_from_elsewhere(credential: Value) -> Scene {
    let scene = Scene::with(Vendor::Pegasus, Options::default(), credential).await;
    scene.user("ada", person("ada", json!({}))).await;
    scene.user_ready("ada").await;
    restore_status(&scene.api::<PlatformUser>(), "ada", &json!({"cluster": OTHER_CLUSTER})).await;
    scene
}

fn owner_of(user: &PlatformUser) -> Option<&str> {
    user.status.as_ref()?.identity.cluster.as_deref()
}

#[tokio::test]
async fn a_binding_names_its_cluster() {
    let scene = Scene::new(Vendor::Pegasus).await;
    scene.user("ada", person("ada", json!({}))).await;
    let ada = scene.user_ready("ada").await;
    assert_eq!(owner_of(&ada), Some(&*own_cluster(&scene.client).await));
}

#[tokio::test]
async fn a_binding_of_an_earlier_build_stays_and_names_its_cluster() {
    let scene = with_a_user_from_elsewhere(json!({})).await;
    restore_status(&scene.api::<PlatformUser>(), "ada", &json!({"cluster": null})).await;
    scene.user("ada", person("ada", json!({"phone": "1"}))).await;
    let own = own_cluster(&scene.client).await;
    scene.until("ada", move |user: &PlatformUser| owner_of(user) == Some(&*own)).await;
    scene.user_ready("ada").await;
    assert_eq!(scene.vendor.user("ada@example.com").unwrap()["phone"], "1");
}

#[tokio::test]
async fn nothing_is_sent_for_another_clusters_account_until_the_object_names_this_cluster() {
    let scene = with_a_user_from_elsewhere(json!({})).await;
    let before = scene.vendor.writes().len();
    scene.user("ada", person("ada", json!({"phone": "1"}))).await;
    let ada = scene.user_says("ada", "OwnedElsewhere").await;
    assert!(message(&ada).contains(OTHER_CLUSTER), "{}", message(&ada));
    scene.sweep("1").await;
    scene.user_says("ada", "OwnedElsewhere").await;
    assert_eq!(scene.vendor.writes().len(), before, "{:#?}", scene.vendor.writes());

    // The annotation of another cluster's backup means nothing here.
    scene.annotate::<PlatformUser>("ada", "usher.dev/owner-cluster", OTHER_CLUSTER).await;
    scene.sweep("2").await;
    scene.user_says("ada", "OwnedElsewhere").await;

    let command = printed(&message(&ada), "puser ada ", ", or");
    let (annotation, value) = command.split_once('=').unwrap();
    scene.annotate::<PlatformUser>("ada", annotation, value).await;
    let ada = scene.user_ready("ada").await;
    assert_eq!(owner_of(&ada), Some(&*own_cluster(&scene.client).await));
    assert_eq!(scene.vendor.user("ada@example.com").unwrap()["phone"], "1");
}

#[tokio::test]
async fn another_clusters_account_is_not_removed_until_the_credential_names_this_cluster() {
    let scene = with_a_user_from_elsewhere(json!({})).await;
    scene.delete::<PlatformUser>("ada").await;
    let ada = scene.user_says("ada", "DeletionBlocked").await;
    assert!(message(&ada).contains("usher.dev/owner-cluster="), "{}", message(&ada));
    assert!(scene.vendor.user("ada@example.com").is_some());
    let own = own_cluster(&scene.client).await;
    scene.annotate::<ProviderCredential>("main", "usher.dev/owner-cluster", &own).await;
    scene.until_gone::<PlatformUser>("ada").await;
    assert!(scene.vendor.user("ada@example.com").is_none());
}

#[tokio::test]
async fn another_clusters_account_stays_when_its_object_is_given_up() {
    let scene = with_a_user_from_elsewhere(json!({})).await;
    scene.delete::<PlatformUser>("ada").await;
    give_up(&scene, "ada", "DeletionBlocked").await;
    assert!(scene.vendor.user("ada@example.com").is_some());
}

#[tokio::test]
async fn another_clusters_account_passes_on_to_no_renamed_manifest() {
    let scene = with_a_user_from_elsewhere(json!({"removals": {"after": "2s"}})).await;
    scene.delete::<PlatformUser>("ada").await;
    scene.user("ada-renamed", person("ada", json!({}))).await;
    scene.user_says("ada", "DeletionBlocked").await;
    scene.user_says("ada-renamed", "Duplicate").await;
}

#[tokio::test]
async fn a_pending_create_of_another_cluster_is_neither_repeated_nor_claimed() {
    let scene = Scene::new(Vendor::Pegasus).await;
    scene.credential_says("Synced").await;
    scene.vendor.fault(Fault::once("users.create", FaultKind::LostAfterCommit));
    scene.user("ada", person("ada", json!({}))).await;
    let is_pending =
        |user: &PlatformUser| user.status.as_ref().is_some_and(|status| status.identity.creating.is_some());
    scene.until("ada", is_pending).await;
    restore_status(&scene.api::<PlatformUser>(), "ada", &json!({"cluster": OTHER_CLUSTER})).await;
    scene.user_says("ada", "OwnedElsewhere").await;
    assert_eq!(scene.vendor.count("users.create"), 1);
    let still_pending = scene.api::<PlatformUser>().get("ada").await.unwrap();
    assert!(is_pending(&still_pending), "{still_pending:#?}");
}

/// What a backup of `scene` holds of one kind.
async fn backup<K>(scene: &Scene) -> Vec<Value>
where
    K: Resource<DynamicType = (), Scope = NamespaceResourceScope> + Clone + Debug + DeserializeOwned + serde::Serialize,
{
    scene.api::<K>().list(&ListParams::default()).await.unwrap().items.iter().map(|object| json!(object)).collect()
}

/// Restores the objects of a backup with their status.
async fn restore<K>(client: &Client, namespace: &str, objects: Vec<Value>)
where
    K: Resource<DynamicType = (), Scope = NamespaceResourceScope> + Clone + Debug + DeserializeOwned,
{
    let api: Api<K> = Api::namespaced(client.clone(), namespace);
    for mut object in objects {
        let name = object["metadata"]["name"].as_str().unwrap().to_owned();
        let finalizers = object["metadata"]["finalizers"].clone();
        object["metadata"] = json!({"name": name, "namespace": namespace, "finalizers": finalizers});
        controlplane::apply(client, &object.to_string()).await.unwrap();
        if object["status"].is_object() {
            restore_status(&api, &name, &object["status"]).await;
        }
    }
}

#[tokio::test]
async fn a_copy_of_the_cluster_leaves_the_original_alone() {
    let scene = Scene::new(Vendor::Pegasus).await;
    scene.group("north", json!({})).await;
    let in_north = json!({"groups": [{"groupRef": {"name": "north"}}]});
    for name in ["ada", "bob"] {
        scene.user(name, person(name, in_north.clone())).await;
    }
    for name in ["ada", "bob"] {
        scene.user_ready(name).await;
    }
    let (vendor, namespace) = (&scene.vendor, &*scene.namespace);
    let before = (vendor.users(), vendor.writes().len());

    let copy = own_plane().await;
    let admin = copy.client().unwrap();
    let manifest = json!({"apiVersion": "v1", "kind": "Namespace", "metadata": {"name": namespace}});
    controlplane::apply(&admin, &manifest.to_string()).await.unwrap();
    let mut secrets = backup::<Secret>(&scene).await;
    secrets.iter_mut().for_each(|secret| merge(secret, json!({"apiVersion": "v1", "kind": "Secret"})));
    restore::<Secret>(&admin, namespace, secrets).await;
    restore::<ProviderCredential>(&admin, namespace, backup::<ProviderCredential>(&scene).await).await;
    restore::<PlatformGroup>(&admin, namespace, backup::<PlatformGroup>(&scene).await).await;
    restore::<PlatformUser>(&admin, namespace, backup::<PlatformUser>(&scene).await).await;
    let operator = operator(&copy, settings()).await;

    let users: Api<PlatformUser> = Api::namespaced(admin.clone(), namespace);
    let until_says = async |name: &str, reason: &'static str| {
        let says = |user: Option<&PlatformUser>| {
            let conditions = user.and_then(|user| user.status.as_ref()).map(|status| &status.report.conditions);
            conditions.and_then(|all| find(all, ConditionType::Ready)).is_some_and(|ready| ready.reason == reason)
        };
        let waiting = tokio::time::timeout(PATIENCE, await_condition(users.clone(), name, says));
        assert!(waiting.await.is_ok(), "{reason}: {:#?}", users.get(name).await);
    };
    for name in ["ada", "bob"] {
        until_says(name, "OwnedElsewhere").await;
        users.delete(name, &DeleteParams::background()).await.unwrap();
    }
    for name in ["ada", "bob"] {
        until_says(name, "DeletionBlocked").await;
    }
    drop(operator);
    assert_eq!((vendor.users(), vendor.writes().len()), before, "{:#?}", vendor.writes());
    scene.compare_user("ada").await;
    scene.user_ready("ada").await;
}
