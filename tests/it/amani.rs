//! What Amani's documents leave open, each way it may be meant.

use serde_json::{Value, json};
use usher_sandbox::vendors::{Fault, FaultKind, Options, Vendor};

use crate::contract::PASSWORD;
use crate::scene::{Scene, merge};

fn ada(further: Value) -> Value {
    let mut spec = json!({"email": "ada@example.com", "phone": "1", "passwordSecretRef": {"name": "login"}});
    merge(&mut spec, further);
    spec
}

async fn amani(change: impl FnOnce(&mut Options), settings: Value) -> Scene {
    let mut options = Options::default();
    change(&mut options);
    let scene = Scene::with(Vendor::Amani, options, json!({"provider": {"amani": settings}})).await;
    scene.secret("login", &json!({"password": PASSWORD})).await;
    scene
}

#[tokio::test]
async fn a_user_who_shall_not_be_active_is_blocked_right_after_he_is_made() {
    let scene = amani(|_| {}, json!({})).await;
    scene.user("ada", ada(json!({"active": false}))).await;
    scene.user_ready("ada").await;
    assert_eq!(scene.vendor.user("ada@example.com").unwrap()["is_active"], false);
    let writes: Vec<_> = scene.vendor.writes().iter().map(|call| call.operation).collect();
    assert_eq!(writes, ["users.create", "users.update"]);
    assert_eq!(scene.vendor.violations(), Vec::<String>::new());
}

#[tokio::test]
async fn a_block_that_failed_after_the_create_is_made_up_for() {
    let scene = amani(|_| {}, json!({})).await;
    scene.vendor.fault(Fault::once("users.update", FaultKind::LostBeforeCommit));
    scene.user("ada", ada(json!({"active": false}))).await;
    scene.user_ready("ada").await;
    assert_eq!(scene.vendor.user("ada@example.com").unwrap()["is_active"], false);
    assert_eq!(scene.vendor.count("users.create"), 1);
}
