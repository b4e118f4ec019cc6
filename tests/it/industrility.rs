//! What Industrility's documents leave open, each way it may be meant.

use serde_json::{Value, json};
use usher_sandbox::vendors::{IndustrilityOptions, Options, Vendor};

use crate::contract::sample;
use crate::scene::{Scene, merge};

async fn industrility(industrility: IndustrilityOptions, settings: Value) -> Scene {
    let options = Options { industrility, ..Options::default() };
    Scene::with(Vendor::Industrility, options, json!({"provider": {"industrility": settings}})).await
}

#[tokio::test]
async fn a_refusal_inside_a_success_is_no_user() {
    let options =
        IndustrilityOptions { wrapped_refusals: true, check_security_groups: true, ..IndustrilityOptions::default() };
    let scene = industrility(options, json!({})).await;
    scene.vendor.put_user(json!({"email": "ada@example.com"}));
    scene.user("ada", sample(Vendor::Industrility).user).await;
    scene.user_says("ada", "AlreadyExists").await;
    let mut eve = sample(Vendor::Industrility).user;
    merge(&mut eve, json!({"email": "eve@example.com", "groups": [{"externalId": "SG-nowhere"}]}));
    scene.user("eve", eve).await;
    scene.user_says("eve", "Invalid").await;
}

#[tokio::test]
async fn a_create_path_may_end_with_parameters() {
    let path = "/rpc/CreateNewUser?stage=prod";
    let options = IndustrilityOptions { create_path: path.into(), ..IndustrilityOptions::default() };
    let scene = industrility(options, json!({"createPath": path})).await;
    scene.user("ada", sample(Vendor::Industrility).user).await;
    scene.user_says("ada", "Created").await;
}
