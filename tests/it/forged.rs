//! A status that usher did not write binds no object to an account, also without the admission policy, past which the administrator
//! writes here.

use k8s_openapi::api::core::v1::Secret;
use kube::Api;
use kube::api::{DeleteParams, Patch, PatchParams};
use kube::runtime::wait::await_condition;
use rstest::rstest;
use rstest_reuse::apply;
use serde_json::{Value, json};
use usher::api::{PlatformGroup, PlatformUser};
use usher_sandbox::controlplane::{self, ControlPlane};
use usher_sandbox::vendors::{Simulator, Vendor};

use crate::contract::{PASSWORD, message, sample};
use crate::scene::{PATIENCE, Scene, merge};
use crate::vendors::every_vendor_that_shows_accounts;
use crate::world::{operator, own_plane, settings};

const VICTIM: &str = "victim@example.com";
const KEY: &str = "usher-password-digest";

/// A user of `vendor` with this e-mail.
fn person(vendor: Vendor, email: &str, further: Value) -> Value {
    let mut spec = sample(vendor).user;
    merge(&mut spec, json!({"email": email, "username": null}));
    merge(&mut spec, further);
    spec
}

/// A scene with a victim and Eve, both in sync.
async fn victim_and_eve(vendor: Vendor) -> Scene {
    let scene = Scene::new(vendor).await;
    scene.secret("login", &json!({"password": PASSWORD})).await;
    scene.user("victim", person(vendor, VICTIM, json!({}))).await;
    scene.user("eve", person(vendor, "eve@example.com", json!({}))).await;
    scene.user_ready("victim").await;
    scene.user_ready("eve").await;
    scene
}

/// Writes these fields into the status of a user, as someone with the right to do so.
async fn forge(scene: &Scene, name: &str, status: Value) {
    let patch = Patch::Merge(json!({"status": status}));
    scene.api::<PlatformUser>().patch_status(name, &PatchParams::default(), &patch).await.unwrap();
}

#[apply(every_vendor_that_shows_accounts)]
#[tokio::test]
async fn a_forged_status_takes_over_no_account_and_removes_none(vendor: Vendor) {
    let scene = victim_and_eve(vendor).await;
    let victim = scene.user_ready("victim").await.status.unwrap().identity;
    let before = scene.vendor.user(VICTIM).unwrap();
    scene.vendor.clear_calls();
    let stolen = json!({"externalId": victim.external_id, "key": victim.key, "account": victim.account});
    for seal in [json!({}), json!({"seal": null}), json!({"seal": victim.seal})] {
        let mut status = stolen.clone();
        merge(&mut status, seal);
        forge(&scene, "eve", status).await;
        scene.user("eve", person(vendor, "eve@example.com", json!({"firstName": "Mallory"}))).await;
        let eve = scene.user_says("eve", "AlreadyExists").await;
        assert!(message(&eve).contains("without usher's seal"), "{}", message(&eve));
        scene.user("eve", person(vendor, "eve@example.com", json!({}))).await;
    }
    scene.delete::<PlatformUser>("eve").await;
    scene.until_gone::<PlatformUser>("eve").await;
    scene.until_event("eve", "Orphaned").await;
    assert_eq!(scene.vendor.user(VICTIM).unwrap(), before);
    assert_eq!(scene.vendor.writes(), Vec::new(), "{:#?}", scene.vendor.writes());
    scene.user_ready("victim").await;
}

#[apply(every_vendor_that_shows_accounts)]
#[tokio::test]
async fn a_forged_pending_create_claims_no_stranger(vendor: Vendor) {
    let scene = victim_and_eve(vendor).await;
    let account = scene.user_ready("victim").await.status.unwrap().identity.account;
    scene.user("victim", person(vendor, VICTIM, json!({"deletionPolicy": "Orphan"}))).await;
    scene.delete::<PlatformUser>("victim").await;
    scene.until_gone::<PlatformUser>("victim").await;
    scene.user("mallory", person(vendor, VICTIM, json!({}))).await;
    scene.user_says("mallory", "AlreadyExists").await;
    let before = scene.vendor.user(VICTIM).unwrap();
    scene.vendor.clear_calls();
    let long_ago = json!({"at": "1970-01-01T00:00:00Z", "key": VICTIM, "account": account});
    forge(&scene, "mallory", json!({"creating": long_ago})).await;
    scene.compare_user("mallory").await;
    let mallory = scene.user_says("mallory", "AlreadyExists").await;
    assert!(message(&mallory).contains("without usher's seal"), "{}", message(&mallory));
    scene.delete::<PlatformUser>("mallory").await;
    scene.until_gone::<PlatformUser>("mallory").await;
    assert_eq!(scene.vendor.user(VICTIM).unwrap(), before);
    assert_eq!(scene.vendor.writes(), Vec::new(), "{:#?}", scene.vendor.writes());
}

#[tokio::test]
async fn where_nothing_can_be_searched_a_forged_status_makes_no_account() {
    let scene = Scene::new(Vendor::Industrility).await;
    scene.user("eve", sample(Vendor::Industrility).user).await;
    scene.user_says("eve", "Created").await;
    forge(&scene, "eve", json!({"externalId": "US-victim@example.com"})).await;
    scene.compare_user("eve").await;
    let eve = scene.user_says("eve", "AlreadyExists").await;
    assert!(message(&eve).contains("US-victim@example.com without usher's seal"), "{}", message(&eve));
    assert_eq!(scene.vendor.count("users.create"), 1);
}

#[tokio::test]
async fn a_forged_group_has_no_members() {
    let scene = Scene::new(Vendor::Pegasus).await;
    let admins = scene.vendor.put_group(json!({"name": "Administrators"}));
    scene.group("mine", json!({"displayName": "Mine"})).await;
    scene.group_says("mine", "Synced").await;
    let patch = Patch::Merge(json!({"status": {"externalId": admins, "key": "Administrators"}}));
    scene.api::<PlatformGroup>().patch_status("mine", &PatchParams::default(), &patch).await.unwrap();
    let spec = json!({"email": "eve@example.com", "groups": [{"groupRef": {"name": "mine"}}], "provider": {"pegasus": {"sendEmail": true}}});
    scene.user("eve", spec).await;
    scene.user_says("eve", "WaitingForGroup").await;
    assert!(scene.vendor.user("eve@example.com").is_none());
}

#[tokio::test]
async fn a_forged_binding_is_taken_over_by_the_rules_of_adoption() {
    let scene = victim_and_eve(Vendor::Pegasus).await;
    let own = scene.vendor.user("eve@example.com").unwrap()["id"].clone();
    forge(&scene, "eve", json!({"externalId": "999"})).await;
    scene.user("eve", person(Vendor::Pegasus, "eve@example.com", json!({"adoptionPolicy": "Adopt"}))).await;
    let eve = scene.user_ready("eve").await.status.unwrap().identity;
    let id = own.as_str().map_or_else(|| own.to_string(), str::to_owned);
    assert_eq!((eve.external_id, eve.adopted), (Some(id), Some(true)));
    assert_eq!(scene.vendor.count("users.create"), 2);
}

#[tokio::test]
async fn a_status_from_a_backup_binds_the_object_of_the_same_name_again() {
    let scene = victim_and_eve(Vendor::Pegasus).await;
    let backup = json!(scene.user_ready("eve").await)["status"].clone();
    scene.user("eve", person(Vendor::Pegasus, "eve@example.com", json!({"deletionPolicy": "Orphan"}))).await;
    scene.delete::<PlatformUser>("eve").await;
    scene.until_gone::<PlatformUser>("eve").await;
    scene.vendor.clear_calls();
    scene.user("eve", person(Vendor::Pegasus, "eve@example.com", json!({}))).await;
    scene.user_says("eve", "AlreadyExists").await;
    forge(&scene, "eve", backup).await;
    scene.compare_user("eve").await;
    scene.user_ready("eve").await;
    assert_eq!(scene.vendor.writes(), Vec::new(), "{:#?}", scene.vendor.writes());
}

/// A cluster of its own, whose operator can be started again.
struct Stage {
    plane: ControlPlane,
    vendor: Simulator,
    users: Api<PlatformUser>,
    secrets: Api<Secret>,
}

impl Stage {
    async fn new() -> Self {
        let plane = own_plane().await;
        let admin = plane.client().unwrap();
        let vendor = Simulator::start(Vendor::Pegasus).await.unwrap();
        let kind = |kind: &str, name: &str, spec: Value| json!({"apiVersion": "usher.dev/v1alpha1", "kind": kind, "metadata": {"name": name, "namespace": "default"}, "spec": spec});
        let metadata = json!({"name": "main", "namespace": "default"});
        let login = json!({"apiVersion": "v1", "kind": "Secret", "metadata": metadata, "stringData": vendor.secret()});
        let provider = json!({"pegasus": {"url": vendor.url()}});
        let credential = json!({"provider": provider, "secretRef": {"name": "main"}, "allowInsecureHttp": true});
        let ada = json!({"credentialRef": {"name": "main"}, "email": "ada@example.com", "provider": {"pegasus": {"sendEmail": true}}});
        for document in [login, kind("ProviderCredential", "main", credential), kind("PlatformUser", "ada", ada)] {
            controlplane::apply(&admin, &document.to_string()).await.unwrap();
        }
        let users = Api::namespaced(admin.clone(), "default");
        let secrets = Api::namespaced(admin, "usher-system");
        Self { plane, vendor, users, secrets }
    }

    async fn until_user(&self, wanted: impl Fn(&PlatformUser) -> bool) -> PlatformUser {
        let condition = |user: Option<&PlatformUser>| user.is_some_and(&wanted);
        let found = tokio::time::timeout(PATIENCE, await_condition(self.users.clone(), "ada", condition)).await;
        found.unwrap_or_else(|_| panic!("Ada never came to be as wanted")).unwrap().unwrap()
    }

    /// Waits until bindings count with a seal alone.
    async fn until_sealed(&self) -> PlatformUser {
        let noted = |secret: Option<&Secret>| {
            let annotations = secret.and_then(|secret| secret.metadata.annotations.as_ref());
            annotations.is_some_and(|annotations| annotations.contains_key("usher.dev/bindings-sealed"))
        };
        let found = tokio::time::timeout(PATIENCE, await_condition(self.secrets.clone(), KEY, noted)).await;
        assert!(found.is_ok(), "it was never noted that the bindings are sealed");
        self.until_user(|user| {
            let identity = user.status.as_ref().map(|status| &status.identity);
            identity.is_some_and(|identity| identity.external_id.is_some() && identity.seal.is_some())
        })
        .await
    }

    async fn remove_seal(&self) {
        let patch = Patch::Merge(json!({"status": {"seal": null}}));
        self.users.patch_status("ada", &PatchParams::default(), &patch).await.unwrap();
    }

    async fn compare(&self, value: &str) -> PlatformUser {
        let patch = Patch::Merge(json!({"metadata": {"annotations": {"usher.dev/reconcile-at": value}}}));
        self.users.patch("ada", &PatchParams::default(), &patch).await.unwrap();
        let handled = |user: &PlatformUser| {
            let report = user.status.as_ref().map(|status| &status.report);
            report.is_some_and(|report| report.last_handled_reconcile_at.as_deref() == Some(value))
        };
        self.until_user(handled).await
    }
}

#[rstest]
#[case::of_an_earlier_build(false)]
#[case::with_a_lost_key(true)]
#[tokio::test]
async fn bindings_without_a_seal_of_this_key_stay_when_usher_starts(#[case] is_key_lost: bool) {
    let stage = Stage::new().await;
    let first = operator(&stage.plane, settings()).await;
    let sealed = stage.until_sealed().await.status.unwrap().identity;
    drop(first);
    if is_key_lost {
        stage.secrets.delete(KEY, &DeleteParams::default()).await.unwrap();
    } else {
        let patch = Patch::Merge(json!({"metadata": {"annotations": {"usher.dev/bindings-sealed": null}}}));
        stage.secrets.patch(KEY, &PatchParams::default(), &patch).await.unwrap();
        stage.remove_seal().await;
    }
    stage.vendor.clear_calls();
    let _second = operator(&stage.plane, settings()).await;
    let seal = sealed.seal.clone();
    stage.until_sealed().await;
    let changed = move |user: &PlatformUser| {
        let now = user.status.as_ref().and_then(|status| status.identity.seal.clone());
        now.is_some() && (now != seal) == is_key_lost
    };
    stage.until_user(changed).await;
    let ada = stage.compare("again").await;
    assert_eq!(ada.status.unwrap().identity.external_id, sealed.external_id);
    assert_eq!(stage.vendor.writes(), Vec::new(), "{:#?}", stage.vendor.writes());
    // From now on a seal is required.
    stage.remove_seal().await;
    let ada = stage.compare("and again").await;
    assert!(message(&ada).contains("without usher's seal"), "{}", message(&ada));
    assert!(stage.vendor.user("ada@example.com").is_some());
}
