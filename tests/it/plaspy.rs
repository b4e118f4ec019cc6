//! What Plaspy's documents leave open, each way it may be meant.

use k8s_openapi::api::core::v1::Secret;
use rstest::rstest;
use serde_json::{Value, json};
use usher_sandbox::vendors::{Fault, FaultKind, Options, PlaspyOptions, Vendor};

use crate::contract::message;
use crate::scene::{Scene, merge};

fn ada(further: Value) -> Value {
    let block = json!({"country": "CO", "timeZone": "America/Bogota"});
    let mut spec = json!({"email": "ada@example.com", "displayName": "Ada", "provider": {"plaspy": block}});
    merge(&mut spec, further);
    spec
}

async fn plaspy(plaspy: PlaspyOptions, settings: Value) -> Scene {
    let options = Options { plaspy, ..Options::default() };
    Scene::with(Vendor::Plaspy, options, json!({"provider": {"plaspy": settings}})).await
}

fn refused(words: &str) -> FaultKind {
    FaultKind::Status(200, Some(json!({"success": false, "error": words})))
}

#[tokio::test]
async fn a_plaspy_without_countries_is_served_and_a_country_shown_by_name_is_no_drift() {
    let options = PlaspyOptions { no_countries: true, country_as_name: true, ..PlaspyOptions::default() };
    let scene = plaspy(options, json!({})).await;
    scene.credential_says("Synced").await;
    scene.user("ada", ada(json!({}))).await;
    scene.user_ready("ada").await;
    scene.vendor.clear_calls();
    scene.sweep("1").await;
    scene.compare_user("ada").await;
    scene.credential_says("Synced").await;
    assert!(scene.vendor.writes().is_empty(), "{:#?}", scene.vendor.writes());
}

#[rstest]
#[case::name_shown_as_id(false, "Name")]
#[case::id_shown_as_name(true, "Id")]
#[tokio::test]
async fn a_group_that_is_shown_in_the_other_form_is_no_drift(#[case] group_by_id: bool, #[case] group_by: &str) {
    let options = PlaspyOptions { group_by_id, group_shown_otherwise: true, ..PlaspyOptions::default() };
    let scene = plaspy(options, json!({"groupBy": group_by})).await;
    scene.group("team", json!({"displayName": "Trucks"})).await;
    scene.group_says("team", "Synced").await;
    scene.user("ada", ada(json!({"groups": [{"groupRef": {"name": "team"}}]}))).await;
    scene.user_ready("ada").await;
    scene.vendor.clear_calls();
    scene.sweep("1").await;
    scene.compare_user("ada").await;
    assert!(scene.vendor.writes().is_empty(), "{:#?}", scene.vendor.writes());
}

#[tokio::test]
async fn a_group_shown_by_its_id_is_known_after_a_new_log_in() {
    let options = PlaspyOptions { group_shown_otherwise: true, ..PlaspyOptions::default() };
    let scene = plaspy(options, json!({})).await;
    scene.group("team", json!({"displayName": "Trucks"})).await;
    scene.group_says("team", "Synced").await;
    scene.user("ada", ada(json!({"groups": [{"externalName": "Trucks"}]}))).await;
    scene.user_ready("ada").await;
    scene.vendor.clear_calls();
    // Another entry makes another content, and so a new session.
    scene.patch::<Secret>("main", json!({"stringData": {"further": "1"}})).await;
    scene.vendor_until("a new session", |vendor| vendor.count("login") > 0).await;
    scene.compare_user("ada").await;
    assert!(scene.vendor.writes().is_empty(), "{:#?}", scene.vendor.writes());
}

#[tokio::test]
async fn a_new_user_in_no_group_is_made_where_the_group_must_exist() {
    let scene = plaspy(PlaspyOptions { strict_group: true, ..PlaspyOptions::default() }, json!({})).await;
    scene.user("ada", ada(json!({"groups": []}))).await;
    scene.user_ready("ada").await;
}

#[rstest]
#[case::group("Group not found", "Invalid")]
#[case::right("Unauthorized access", "PermissionDenied")]
#[tokio::test]
async fn a_refused_change_is_not_taken_for_a_missing_user_or_a_bad_token(
    #[case] words: &str,
    #[case] reason: &'static str,
) {
    let scene = plaspy(PlaspyOptions::default(), json!({})).await;
    scene.user("ada", ada(json!({}))).await;
    scene.user_ready("ada").await;
    scene.vendor.fault(Fault::always("users.update", refused(words)));
    scene.user("ada", ada(json!({"displayName": "Ada L"}))).await;
    let user = scene.user_says("ada", reason).await;
    assert!(message(&user).contains(words), "{}", message(&user));
    scene.credential_says("Synced").await;
}
