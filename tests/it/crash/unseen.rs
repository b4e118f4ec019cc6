//! Creates with unknown end at vendors where nobody can look whether there is an account: Industrility, and an Amani that lists no users.

use rstest::rstest;
use serde_json::json;
use usher::api::PlatformUser;
use usher::api::status::Identity;
use usher_sandbox::vendors::{AmaniOptions, Options, Vendor};

use super::interleavings::{accounts, apply_ada, further, made_and_forgotten};
use super::operator::Operator;
use super::stage::Stage;
use super::steps::{alone, basics, person};
use crate::contract::message;
use crate::removal::give_up;

/// A stage with a credential in use whose vendor cannot be searched, and its operator.
async fn stage(vendor: Vendor) -> (Stage, Operator) {
    let amani = AmaniOptions { listing: false, ..AmaniOptions::default() };
    let stage = Stage::with(&super::clients(), vendor, Options { amani, ..Options::default() }, false).await;
    let operator = stage.operator();
    basics(&stage).await;
    stage.scene.credential_says(if vendor == Vendor::Industrility { "Unverified" } else { "Synced" }).await;
    (stage, operator)
}

#[tokio::test]
async fn an_account_that_exists_after_a_lost_create_is_the_objects_although_its_id_is_not_known() {
    let (stage, operator) = stage(Vendor::Amani).await;
    let scene = &stage.scene;
    made_and_forgotten(&stage, operator).await;
    let successor = stage.operator();
    let ada = scene.user_says("ada", "Created").await;
    assert!(message(&ada).contains("spec.externalId"), "{}", message(&ada));
    assert_eq!(ada.status.unwrap().identity.external_id, None);
    assert_eq!((accounts(scene), scene.vendor.count("users.create")), (1, 2));

    scene.compare_user("ada").await;
    assert_eq!(scene.vendor.writes().len(), 2, "nothing is asked twice: {:#?}", scene.vendor.writes());
    scene.user("ada", alone(Vendor::Amani, json!({"phone": "2"}))).await;
    scene.user_says("ada", "Unsupported").await;
    apply_ada(&stage).await;
    scene.user_says("ada", "Created").await;

    scene.delete::<PlatformUser>("ada").await;
    give_up(scene, "ada", "DeletionBlocked").await;
    assert_eq!((accounts(scene), scene.vendor.writes().len()), (1, 2));
    successor.kill().await;
}

#[tokio::test]
async fn an_account_from_before_the_first_create_is_not_taken() {
    let (stage, operator) = stage(Vendor::Amani).await;
    let scene = &stage.scene;
    scene.vendor.put_user(person(Vendor::Amani, "ada@example.com"));
    let before = scene.vendor.user("ada@example.com");
    apply_ada(&stage).await;
    let ada = scene.user_says("ada", "AlreadyExists").await;
    let known = Identity { refused: Some("ada@example.com".into()), ..Identity::default() };
    assert_eq!(ada.status.unwrap().identity, known);
    scene.delete::<PlatformUser>("ada").await;
    scene.until_gone::<PlatformUser>("ada").await;
    assert_eq!(scene.vendor.user("ada@example.com"), before);
    operator.kill().await;
}

#[rstest]
#[tokio::test]
async fn an_email_changed_after_a_lost_create_leaves_no_account_behind_unsaid(
    #[values(Vendor::Amani, Vendor::Industrility)] vendor: Vendor,
    #[values(true, false)] arrived: bool,
) {
    let (stage, operator) = stage(vendor).await;
    let scene = &stage.scene;
    if arrived {
        made_and_forgotten(&stage, operator).await;
    } else {
        announced_only(&stage, operator).await;
    }
    scene.user("ada", further(vendor, "countess@example.com")).await;
    let successor = stage.operator();
    let told = message(&scene.user_says("ada", "Unsupported").await);
    assert!(told.contains("may have made ada@example.com"), "{told}");
    assert!(scene.vendor.user("countess@example.com").is_none());

    // The way out that the message names.
    apply_ada(&stage).await;
    let has_id = vendor == Vendor::Amani && !arrived;
    scene.user_says("ada", if has_id { "Synced" } else { "Created" }).await;
    assert_eq!(accounts(scene), 1);
    successor.kill().await;
}

/// A create that was announced, and never arrived.
async fn announced_only(stage: &Stage, operator: Operator) {
    let create = operator.fuse.hold("vendor users.create");
    apply_ada(stage).await;
    create.reached().await;
    operator.kill().await;
}
