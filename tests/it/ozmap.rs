//! What OZmap's documents leave open, each way it may be meant.

use rstest::rstest;
use serde_json::{Value, json};
use usher::api::{PlatformUser, ProviderCredential};
use usher_sandbox::vendors::{Fault, FaultKind, Options, OzmapOptions, OzmapWhoami, Vendor};

use crate::contract::{PASSWORD, message};
use crate::scene::{Scene, merge};

fn ada(further: Value) -> Value {
    let block = json!({"resources": ["OZmap"], "role": {"name": "Manager"}});
    let mut spec = json!({"email": "ada@example.com", "displayName": "Ada", "passwordSecretRef": {"name": "login"}, "provider": {"ozmap": block}});
    merge(&mut spec, further);
    spec
}

async fn ozmap(ozmap: OzmapOptions) -> Scene {
    let scene = Scene::with(Vendor::Ozmap, Options { ozmap, ..Options::default() }, json!({})).await;
    scene.secret("login", &json!({"password": PASSWORD})).await;
    scene
}

#[rstest]
#[case::nothing(OzmapWhoami::Nothing)]
#[case::missing(OzmapWhoami::Missing)]
#[tokio::test]
async fn a_server_that_does_not_name_our_login_is_served(#[case] whoami: OzmapWhoami) {
    let scene = ozmap(OzmapOptions { whoami, ..OzmapOptions::default() }).await;
    scene.credential_says("Synced").await;
    scene.user("ada", ada(json!({}))).await;
    scene.user_ready("ada").await;
}

#[rstest]
#[case::capped(25, false)]
#[case::capped_and_counted_as_asked(100, true)]
#[tokio::test]
async fn a_listing_is_whole_however_its_pages_are_capped(#[case] largest_page: usize, #[case] start_as_asked: bool) {
    let scene = ozmap(OzmapOptions { largest_page, start_as_asked, ..OzmapOptions::default() }).await;
    for number in 0..230 {
        let name = format!("person{number}@example.com");
        scene.vendor.put_user(json!({"email": name, "username": name}));
    }
    scene.user("ada", ada(json!({}))).await;
    scene.user_ready("ada").await;
    scene.vendor.edit_user("ada@example.com", json!({"name": "Eve"}));
    scene.sweep("1").await;
    scene.vendor_until("the repair", |vendor| vendor.user("ada@example.com").unwrap()["name"] == "Ada").await;
    scene.credential_says("Synced").await;
}

#[tokio::test]
async fn an_account_that_is_marked_as_deleted_is_gone() {
    let scene = ozmap(OzmapOptions { soft_deletion: true, ..OzmapOptions::default() }).await;
    scene.user("ada", ada(json!({}))).await;
    scene.user_ready("ada").await;
    scene.delete::<PlatformUser>("ada").await;
    scene.until_gone::<PlatformUser>("ada").await;
    scene.user("ada", ada(json!({}))).await;
    scene.user_ready("ada").await;
    assert_eq!(scene.vendor.count("users.create"), 2);
}

#[tokio::test]
async fn a_username_that_is_an_address_may_be_kept_in_lower_case() {
    let scene = ozmap(OzmapOptions { lower_case: true, ..OzmapOptions::default() }).await;
    scene.vendor.fault(Fault::once("users.create", FaultKind::LostAfterCommit));
    scene.user("ada", ada(json!({"email": "Ada@Example.com"}))).await;
    scene.user_ready("ada").await;
    scene.user("ada", ada(json!({"email": "Ada@Example.com", "phone": "2"}))).await;
    scene.user_ready("ada").await;
    assert_eq!(scene.vendor.count("users.create"), 1);
}

/// `{"module": "api", "user": "64b0c0ffee64b0c0ffee0001"}`, as the sample of an API key in the SDK's documents.
const TOKEN: &str = "fake.eyJtb2R1bGUiOiAiYXBpIiwgInVzZXIiOiAiNjRiMGMwZmZlZTY0YjBjMGZmZWUwMDAxIn0.fake";

#[tokio::test]
async fn the_user_in_a_tokens_claims_is_protected_where_the_server_names_no_login() {
    let options = OzmapOptions { whoami: OzmapWhoami::Missing, ..OzmapOptions::default() };
    let scene = Scene::without_credential(Vendor::Ozmap, Options { ozmap: options, ..Options::default() }).await;
    let id = "64b0c0ffee64b0c0ffee0001";
    scene.vendor.put_user(json!({"id": id, "email": "usher@example.com", "username": "usher@example.com"}));
    scene.vendor.set_secret("token", TOKEN);
    scene.apply_secret("main").await;
    scene.apply_credential(json!({})).await;
    scene.secret("login", &json!({"password": PASSWORD})).await;
    scene
        .until("main", |credential: &ProviderCredential| {
            credential.status.as_ref().is_some_and(|status| status.account.is_some())
        })
        .await;
    scene.user("usher", ada(json!({"email": "usher@example.com", "adoptionPolicy": "Adopt"}))).await;
    let user = scene.user_says("usher", "Protected").await;
    assert!(message(&user).contains("logs in with"), "{}", message(&user));
}
