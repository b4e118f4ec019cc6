//! Vendors whose reads lag behind their writes: what was made or changed a moment ago is not taken for gone.

use std::sync::Arc;
use std::time::Duration;

use futures::future::join_all;
use serde_json::{Value, json};
use usher::api::PlatformUser;
use usher::controller::Settings;
use usher_sandbox::controlplane::ControlPlane;
use usher_sandbox::vendors::{Options, Simulator, Vendor};

use crate::contract::sample;
use crate::scene::{Scene, merge};
use crate::world::{operator, own_plane, settings};

/// How far reads lag behind.
const LAG: Duration = Duration::from_secs(3);

/// How long the operator expects them to lag behind at most.
const EXPECTED: Duration = Duration::from_secs(8);

const USERS: usize = 8;

async fn lagging(plane: &ControlPlane, vendor: Vendor) -> Scene {
    let options = Options { read_lag: LAG, ..Options::default() };
    let vendor = Arc::new(Simulator::start_with(vendor, options).await.unwrap());
    let scene = Scene::on(plane.client().unwrap(), vendor).await;
    scene.apply_secret("main").await;
    scene.secret("login", &json!({"password": "Fake-Pass-1"})).await;
    scene.apply_credential(json!({"resyncInterval": "1h"})).await;
    scene
}

/// The manifest of one of several users.
fn person(vendor: Vendor, number: usize) -> Value {
    let mut spec = sample(vendor).user;
    merge(&mut spec, json!({"email": format!("u{number}@example.com")}));
    if sample(vendor).group.2 == "Synced" {
        merge(&mut spec, json!({"groups": [{"groupRef": {"name": "team"}}]}));
    }
    spec
}

/// Sweeps that begin while the vendor does not show yet what was made.
async fn sweep_meanwhile(scene: &Scene) {
    for round in 0..6 {
        scene.sweep(&format!("meanwhile-{round}")).await;
        tokio::time::sleep(LAG / 5).await;
    }
}

async fn is_made_once(scene: &Scene) {
    let vendor = scene.vendor.vendor();
    scene.credential_says("Synced").await;
    scene.group("team", sample(vendor).group.0).await;
    for number in 0..USERS {
        scene.user(&format!("u{number}"), person(vendor, number)).await;
    }
    sweep_meanwhile(scene).await;
    for number in 0..USERS {
        scene.user_ready(&format!("u{number}")).await;
    }
    // Past the lag, the sweep shows everything as it is.
    tokio::time::sleep(EXPECTED).await;
    scene.sweep("after").await;
    for number in 0..USERS {
        scene.user_ready(&format!("u{number}")).await;
    }
    assert_eq!(scene.vendor.count("users.create"), USERS, "{vendor:?}: {:#?}", scene.vendor.writes());
    assert_eq!(scene.vendor.count("groups.create"), usize::from(vendor != Vendor::Amani), "{vendor:?}");
}

/// A user that is deleted before the vendor shows it is removed all the same.
async fn is_removed_although_not_shown(scene: &Scene) {
    scene.user("late", person(scene.vendor.vendor(), 99)).await;
    scene.vendor_until("the account", |vendor| vendor.count("users.create") > USERS).await;
    scene.delete::<PlatformUser>("late").await;
    scene.until_gone::<PlatformUser>("late").await;
    let left = scene.vendor.user("u99@example.com");
    if scene.vendor.vendor() == Vendor::Amani {
        // Amani removes nobody.
        assert_eq!(left.unwrap()["is_active"], false);
    } else {
        assert_eq!(left, None);
    }
}

#[tokio::test]
async fn what_was_made_a_moment_ago_is_neither_made_again_nor_left_behind() {
    let plane = own_plane().await;
    let _operator = operator(&plane, Settings { read_lag: EXPECTED, ..settings() }).await;
    let vendors = [Vendor::Pegasus, Vendor::Amani, Vendor::Plaspy, Vendor::Ozmap];
    let scenes = join_all(vendors.map(|vendor| lagging(&plane, vendor))).await;
    join_all(scenes.iter().map(is_made_once)).await;
    join_all(scenes.iter().map(is_removed_although_not_shown)).await;
}

#[tokio::test]
async fn what_somebody_added_a_moment_ago_stays_where_an_update_sends_the_changed_fields_only() {
    let options = Options { read_lag: LAG, ..Options::default() };
    let changed_fields = json!({"provider": {"pegasus": {"updates": "ChangedFields"}}});
    let scene = Scene::with(Vendor::Pegasus, options, changed_fields).await;
    let night_shift: i64 = scene.vendor.put_group(json!({"name": "Night shift"})).parse().unwrap();
    scene.secret("login", &json!({"password": "Fake-Pass-1"})).await;
    let person = |phone: &str| {
        let password = json!({"name": "login", "key": "password"});
        json!({"email": "ada@example.com", "firstName": "Ada", "phone": phone, "passwordSecretRef": password})
    };
    scene.user("ada", person("1")).await;
    scene.user_ready("ada").await;
    tokio::time::sleep(LAG).await;

    assert!(scene.vendor.edit_user("ada@example.com", json!({"groups": [night_shift]})));
    scene.user("ada", person("2")).await;
    scene.vendor_until("the phone", |vendor| vendor.user("ada@example.com").unwrap()["phone"] == "2").await;
    let shown = scene.vendor.user("ada@example.com").unwrap();
    assert_eq!(shown["groups"], json!([night_shift]), "{:#?}", scene.vendor.writes());
    scene.user_ready("ada").await;
}
