//! A credential used from other namespaces: which may use it, which may not, and what a foreign namespace can learn.

use rstest::rstest;
use serde_json::{Value, json};
use usher::api::{PlatformUser, ProviderCredential};
use usher_sandbox::vendors::{Options, Vendor};

use crate::contract::message;
use crate::scene::{Scene, merge};

/// A scene whose credential has these further fields, and a namespace beside it.
async fn neighbours(spec: Value) -> (Scene, Scene) {
    let owner = Scene::with(Vendor::Pegasus, Options::default(), spec).await;
    owner.credential_says("Synced").await;
    let tenant = owner.beside().await;
    (owner, tenant)
}

fn through(owner: &Scene, further: Value) -> Value {
    let mut spec = json!({
        "credentialRef": {"name": "main", "namespace": owner.namespace},
        "email": "ada@example.com",
        "provider": {"pegasus": {"sendEmail": true}},
    });
    merge(&mut spec, further);
    spec
}

#[tokio::test]
async fn a_shared_credential_serves_another_namespace_and_waits_for_it_to_end() {
    let (owner, tenant) = neighbours(json!({"allowedNamespaces": {"from": "All"}})).await;
    tenant.user_as_is("ada", through(&owner, json!({}))).await;
    tenant.user_ready("ada").await;
    assert!(owner.vendor.user("ada@example.com").is_some());
    owner.delete::<ProviderCredential>("main").await;
    owner.credential_says("DeletionBlocked").await;
    tenant.delete::<PlatformUser>("ada").await;
    tenant.until_gone::<PlatformUser>("ada").await;
    owner.until_gone::<ProviderCredential>("main").await;
    assert!(owner.vendor.user("ada@example.com").is_none());
}

#[tokio::test]
async fn a_namespace_cannot_tell_a_credential_it_may_not_use_from_an_absent_one() {
    let (owner, tenant) = neighbours(json!({})).await;
    owner.apply_credential(json!({"mode": "Paused"})).await;
    let paused = |credential: &ProviderCredential| {
        credential.status.as_ref().is_some_and(|status| status.mode == Some(usher::api::user::Mode::Paused))
    };
    owner.until("main", paused).await;
    tenant.user_as_is("ada", through(&owner, json!({}))).await;
    tenant.user_as_is("bob", through(&owner, json!({"credentialRef": {"name": "nowhere"}}))).await;
    let there = message(&tenant.user_says("ada", "NamespaceNotAllowed").await);
    let nowhere = message(&tenant.user_says("bob", "NamespaceNotAllowed").await);
    assert_eq!(there.replace("/main", "/nowhere"), nowhere);
    assert!(owner.vendor.writes().is_empty());
}

#[tokio::test]
async fn labels_of_the_namespace_decide_and_are_watched() {
    let (owner, tenant) =
        neighbours(json!({"allowedNamespaces": {"from": "Selector", "selector": {"matchLabels": {"team": "north"}}}}))
            .await;
    tenant.user_as_is("ada", through(&owner, json!({}))).await;
    tenant.user_says("ada", "NamespaceNotAllowed").await;
    let labelled = json!({"apiVersion": "v1", "kind": "Namespace", "metadata": {"name": tenant.namespace, "labels": {"team": "north"}}});
    tenant.apply(&labelled).await;
    tenant.user_ready("ada").await;
}

#[tokio::test]
async fn existing_accounts_and_groups_are_for_the_owners_namespace_unless_allowed() {
    let (owner, tenant) = neighbours(json!({"allowedNamespaces": {"from": "All"}})).await;
    let id = owner.vendor.put_user(json!({"email": "ada@example.com", "username": "ada@example.com"}));
    let group = owner.vendor.put_group(json!({"name": "Dispatchers"}));
    let before = owner.vendor.user(&id);
    for (name, further) in [
        ("adopt", json!({"adoptionPolicy": "Adopt"})),
        ("by-id", json!({"externalId": id})),
        ("group-id", json!({"email": "bob@example.com", "groups": [{"externalId": group}]})),
        ("group-name", json!({"email": "eve@example.com", "groups": [{"externalName": "Dispatchers"}]})),
    ] {
        tenant.user_as_is(name, through(&owner, further)).await;
        let told = tenant.user_says(name, "NamespaceNotAllowed").await;
        assert!(message(&told).contains("allowExisting"), "{name}: {}", message(&told));
        tenant.delete::<PlatformUser>(name).await;
        tenant.until_gone::<PlatformUser>(name).await;
    }
    assert!(owner.vendor.writes().is_empty(), "{:#?}", owner.vendor.writes());
    assert_eq!(owner.vendor.user(&id), before);
    owner.apply_credential(json!({"allowedNamespaces": {"from": "All"}, "allowExisting": "All"})).await;
    tenant.user_as_is("adopt", through(&owner, json!({"adoptionPolicy": "Adopt"}))).await;
    tenant.user_ready("adopt").await;
}

#[tokio::test]
async fn an_account_of_one_namespace_does_not_pass_to_another_that_only_claims_it() {
    let (owner, tenant) = neighbours(json!({"allowedNamespaces": {"from": "All"}})).await;
    owner.user_as_is("ada", through(&owner, json!({}))).await;
    owner.user_ready("ada").await;
    tenant.user_as_is("ada", through(&owner, json!({}))).await;
    let told = tenant.user_says("ada", "Duplicate").await;
    assert!(!message(&told).contains(&owner.namespace), "the other is not named: {}", message(&told));
    let id = owner.vendor.user("ada@example.com").unwrap()["id"].clone();
    owner.delete::<PlatformUser>("ada").await;
    owner.until_gone::<PlatformUser>("ada").await;
    tenant.user_ready("ada").await;
    let now = owner.vendor.user("ada@example.com").unwrap()["id"].clone();
    assert_ne!(id, now, "removed and made anew, not taken over");
}

#[tokio::test]
async fn from_same_is_what_it_says() {
    let (owner, tenant) = neighbours(json!({"allowedNamespaces": {"from": "Same"}})).await;
    tenant.user_as_is("ada", through(&owner, json!({}))).await;
    tenant.user_says("ada", "NamespaceNotAllowed").await;
    assert!(owner.vendor.writes().is_empty());
}

/// A namespace with a credential of its own, which leads to the same login.
async fn with_the_same_login(owner: &Scene) -> Scene {
    let other = owner.beside().await;
    other.apply_secret("main").await;
    other.apply_credential(json!({"allowExisting": "All"})).await;
    other.credential_says("Synced").await;
    other
}

#[rstest]
#[case::and_holder_and_successor_allow(json!({"allowExisting": "All"}), json!({}), true)]
#[case::and_the_holder_does_not_allow(json!({"allowExisting": "Same"}), json!({}), false)]
#[case::and_the_successor_only_plans(json!({"allowExisting": "All"}), json!({"mode": "Plan"}), false)]
#[case::and_the_successor_is_paused(json!({"allowExisting": "All"}), json!({"mode": "Paused"}), false)]
#[tokio::test]
async fn an_account_passes_to_another_namespace_with_the_same_login(
    #[case] holder: Value,
    #[case] successor: Value,
    #[case] passes: bool,
) {
    let mut spec = json!({"allowedNamespaces": {"from": "All"}});
    merge(&mut spec, holder);
    let owner = Scene::with(Vendor::Pegasus, Options::default(), spec).await;
    let other = with_the_same_login(&owner).await;
    let ada = json!({"email": "ada@example.com", "provider": {"pegasus": {"sendEmail": true}}});
    owner.user("ada", ada.clone()).await;
    owner.user_ready("ada").await;
    let id = owner.vendor.user("ada@example.com").unwrap()["id"].clone();
    let mut claim = ada;
    merge(&mut claim, json!({"adoptionPolicy": "Adopt"}));
    merge(&mut claim, successor);
    other.user("ada", claim).await;
    other
        .until("ada", |user: &PlatformUser| user.status.as_ref().is_some_and(|status| status.report.mode.is_some()))
        .await;
    owner.delete::<PlatformUser>("ada").await;
    owner.until_gone::<PlatformUser>("ada").await;
    let is_still_there = owner.vendor.users().iter().any(|user| user["id"] == id);
    assert_eq!(is_still_there, passes, "{:#?}", owner.vendor.calls());
}

#[tokio::test]
async fn an_unproved_login_blocks_nobody_elsewhere() {
    let owner = Scene::new(Vendor::Industrility).await;
    let other = owner.beside().await;
    other.apply_secret("main").await;
    other.apply_credential(json!({})).await;
    let spec = crate::contract::sample(Vendor::Industrility).user;
    other.user("squatter", spec.clone()).await;
    other.user_says("squatter", "Created").await;
    owner.user("ada", spec).await;
    // The vendor's word and not that of another namespace.
    owner.user_says("ada", "AlreadyExists").await;
}
