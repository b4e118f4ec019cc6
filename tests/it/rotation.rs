//! A Secret that changes between a token and a username with password of the same login, at vendors that do not name the login.

use k8s_openapi::api::core::v1::Secret;
use rstest::rstest;
use serde_json::{Value, json};
use usher::api::{PlatformGroup, PlatformUser, ProviderCredential};
use usher_sandbox::vendors::{Options, OzmapOptions, OzmapWhoami, Vendor};

use crate::contract::{PASSWORD, message, sample};
use crate::scene::{Scene, merge};
use crate::sealed;

const TOKEN: &str = "fake-rotated-token";
const USERNAME: &str = "usher@example.com";

/// A vendor without a credential, whose login has a token, and a username with password.
async fn vendor(vendor: Vendor) -> Scene {
    let ozmap = OzmapOptions { whoami: OzmapWhoami::Missing, ..OzmapOptions::default() };
    let scene = Scene::without_credential(vendor, Options { ozmap, ..Options::default() }).await;
    for (key, value) in [("username", USERNAME), ("password", "fake-vendor-password"), ("token", TOKEN)] {
        scene.vendor.set_secret(key, value);
    }
    scene.secret("login", &json!({"password": PASSWORD})).await;
    scene
}

fn by_token() -> Value {
    json!({"token": TOKEN})
}

fn by_login() -> Value {
    json!({"username": USERNAME, "password": "fake-vendor-password"})
}

/// The same with the user `ada` and the group `team` bound by `secret`.
async fn bound(of: Vendor, secret: &Value) -> Scene {
    let scene = vendor(of).await;
    scene.secret("main", secret).await;
    scene.apply_credential(json!({})).await;
    scene.group("team", sample(of).group.0).await;
    scene.group_says("team", "Synced").await;
    scene.user("ada", user(of, json!({"phone": "1"}))).await;
    scene.user_ready("ada").await;
    scene
}

fn user(of: Vendor, further: Value) -> Value {
    let mut user = sample(of).user;
    merge(&mut user, further);
    user
}

/// Replaces the entries of the Secret `main`, and waits until usher uses them.
async fn rotate(scene: &Scene, entries: &Value) {
    let mut stale = json!({"token": null, "username": null, "password": null});
    for key in entries.as_object().unwrap().keys() {
        stale.as_object_mut().unwrap().remove(key);
    }
    scene.vendor.clear_calls();
    scene.patch::<Secret>("main", json!({"data": stale, "stringData": entries})).await;
    scene.vendor_until("a connection with the new entries", |vendor| !vendor.calls().is_empty()).await;
    scene.credential_says("Synced").await;
}

async fn account(scene: &Scene) -> String {
    let user = scene.until("ada", |user: &PlatformUser| user.status.is_some()).await;
    user.status.unwrap().identity.account.unwrap()
}

#[rstest]
#[tokio::test]
async fn a_rotation_between_token_and_login_changes_nothing_for_bound_objects(
    #[values(Vendor::Amani, Vendor::Ozmap)] of: Vendor,
    #[values(true, false)] token_first: bool,
) {
    let (before, after) = if token_first { (by_token(), by_login()) } else { (by_login(), by_token()) };
    let scene = bound(of, &before).await;
    let mut both = before;
    merge(&mut both, after.clone());
    for (phone, entries) in [("2", &both), ("3", &after)] {
        rotate(&scene, entries).await;
        scene.user("ada", user(of, json!({"phone": phone}))).await;
        scene.vendor_until("the change", |vendor| vendor.user("ada@example.com").unwrap()["phone"] == phone).await;
        scene.user_ready("ada").await;
        scene.annotate::<PlatformGroup>("team", "usher.dev/reconcile-at", phone).await;
        scene.group_handled("team", phone).await;
        scene.group_says("team", "Synced").await;
    }
    scene.delete::<PlatformUser>("ada").await;
    scene.until_gone::<PlatformUser>("ada").await;
    match of {
        Vendor::Amani => assert_eq!(scene.vendor.user("ada@example.com").unwrap()["is_active"], false),
        _ => assert_eq!(scene.vendor.user("ada@example.com"), None),
    }
    assert_eq!(scene.vendor.violations(), Vec::<String>::new());
}

#[rstest]
#[case::spelled(Vendor::Amani, by_login(), USERNAME)]
#[case::unknown(Vendor::Amani, by_token(), "token")]
#[case::spelled_at_ozmap(Vendor::Ozmap, by_login(), USERNAME)]
#[case::unknown_at_ozmap(Vendor::Ozmap, by_token(), "token")]
#[tokio::test]
async fn an_account_in_the_form_of_earlier_builds_is_accepted_and_rewritten(
    #[case] of: Vendor,
    #[case] secret: Value,
    #[case] login: &str,
) {
    let scene = bound(of, &secret).await;
    let current = account(&scene).await;
    let place = current.split(' ').take(2).collect::<Vec<_>>().join(" ");
    sealed::write(&scene, "ada", json!({"account": format!("{place} {login}")})).await;
    scene.compare_user("ada").await;
    scene.user_ready("ada").await;
    // While the vendor names no login, the one that is stored stays: the call that names it may be out of order.
    let is_kept = current == place && login != "token";
    assert_eq!(account(&scene).await, if is_kept { format!("{place} {login}") } else { current });
    assert_eq!(scene.vendor.count("users.create"), 1);
}

#[rstest]
#[case::other_login("eve@example.com")]
#[case::other_id("00000000-0000-4000-8000-0000000000ff")]
#[tokio::test]
async fn another_login_that_the_vendor_names_is_a_mismatch(#[case] login: &str) {
    let scene = bound(Vendor::Amani, &by_login()).await;
    let place = account(&scene).await.split(' ').take(2).collect::<Vec<_>>().join(" ");
    sealed::write(&scene, "ada", json!({"account": format!("{place} {login}")})).await;
    scene.annotate::<PlatformUser>("ada", "usher.dev/reconcile-at", "1").await;
    let ada = scene.user_says("ada", "ProviderMismatch").await;
    assert!(message(&ada).contains(login), "{}", message(&ada));
}

#[rstest]
#[tokio::test]
async fn two_credentials_of_one_login_bind_an_account_once(#[values(Vendor::Amani, Vendor::Ozmap)] of: Vendor) {
    let scene = bound(of, &by_login()).await;
    scene.secret("other", &by_token()).await;
    let provider = json!({of.name(): {"url": scene.vendor.url()}});
    let spec = json!({"provider": provider, "secretRef": {"name": "other"}, "allowInsecureHttp": true});
    scene
        .apply(&json!({
            "apiVersion": "usher.dev/v1alpha1", "kind": "ProviderCredential",
            "metadata": {"name": "other", "namespace": scene.namespace}, "spec": spec,
        }))
        .await;
    let is_up =
        |credential: &ProviderCredential| credential.status.as_ref().is_some_and(|status| status.account.is_some());
    scene.until("other", is_up).await;
    let taker = user(of, json!({"credentialRef": {"name": "other"}, "adoptionPolicy": "Adopt"}));
    scene.user_as_is("taker", taker).await;
    let taker = scene.user_says("taker", "Duplicate").await;
    assert!(message(&taker).contains("/ada"), "{}", message(&taker));
}

/// The digest in the version of the password that was sent to a user last.
async fn password_digest(scene: &Scene, name: &str) -> String {
    let version = scene.user_ready(name).await.status.unwrap().identity.password_version.unwrap();
    version.rsplit_once('/').unwrap().1.to_owned()
}

#[tokio::test]
async fn equal_passwords_do_not_show() {
    let scene = Scene::new(Vendor::Pegasus).await;
    for name in ["ada", "eve"] {
        scene.secret(&format!("{name}-login"), &json!({"password": PASSWORD})).await;
        let spec =
            json!({"email": format!("{name}@example.com"), "passwordSecretRef": {"name": format!("{name}-login")}});
        scene.user(name, spec).await;
    }
    assert_ne!(password_digest(&scene, "ada").await, password_digest(&scene, "eve").await);
}

#[tokio::test]
async fn a_digest_of_an_earlier_build_is_accepted_and_rewritten() {
    let scene = Scene::new(Vendor::Pegasus).await;
    scene.secret("login", &json!({"password": PASSWORD})).await;
    scene.user("ada", json!({"email": "ada@example.com", "passwordSecretRef": {"name": "login"}})).await;
    let current = password_digest(&scene, "ada").await;
    let earlier = sealed::earlier_digest(&scene, PASSWORD).await;
    scene.vendor.clear_calls();
    sealed::write(&scene, "ada", json!({"passwordVersion": format!("other/1/password/{earlier}")})).await;
    scene.compare_user("ada").await;
    assert_eq!(password_digest(&scene, "ada").await, current);
    assert_eq!(scene.vendor.writes(), Vec::new(), "{:#?}", scene.vendor.writes());
}
