//! One slow tenant or vendor delays no other: what another tenant asks for is done while the slow one is still busy.

use std::sync::Arc;
use std::time::Duration;

use serde_json::{Value, json};
use tokio_util::sync::CancellationToken;
use usher::api::{PlatformUser, ProviderCredential};
use usher_sandbox::vendors::{AmaniOptions, Options, Ruling, Vendor};

use crate::scene::{Scene, merge};

/// Longer than any call may take in another vendor's test, and shorter than the operator waits for an answer.
const SLOW: Duration = Duration::from_millis(2500);

/// A user of Pegasus whose welcome mail is sent, because that needs no password.
fn person(name: &str, further: Value) -> Value {
    let mut spec = json!({"email": format!("{name}@example.com"), "provider": {"pegasus": {"sendEmail": true}}});
    merge(&mut spec, further);
    spec
}

/// `count` new users.
async fn crowd(scene: &Scene, count: usize) {
    for number in 0..count {
        let name = format!("crowd-{number}");
        scene.user(&name, person(&name, json!({}))).await;
    }
}

/// A new user of another tenant is made, changed and removed.
async fn serve(scene: &Scene) {
    scene.user("ada", person("ada", json!({}))).await;
    scene.user_ready("ada").await;
    scene.user("ada", person("ada", json!({"phone": "1"}))).await;
    scene
        .vendor_until("the edit", |vendor| vendor.user("ada@example.com").is_some_and(|ada| ada["phone"] == "1"))
        .await;
    scene.delete::<PlatformUser>("ada").await;
    scene.until_gone::<PlatformUser>("ada").await;
}

/// A tenant with one user and 80 new ones that wait for its rate.
async fn waiting_for_rate(requests: Value) -> Scene {
    let scene = Scene::with(Vendor::Pegasus, Options::default(), json!({"requests": requests})).await;
    scene.user("ada", person("ada", json!({}))).await;
    scene.user_ready("ada").await;
    crowd(&scene, 80).await;
    scene
}

#[tokio::test]
async fn a_tenant_that_waits_for_its_rate_delays_no_other() {
    let slow = waiting_for_rate(json!({"perMinute": 6, "burst": 3, "concurrency": 256})).await;
    let other = Scene::new(Vendor::Pegasus).await;
    other.credential_says("Synced").await;
    serve(&other).await;
    assert!(slow.vendor.count("users.create") < 20, "at 6 calls a minute most users of the slow tenant still wait");
    slow.annotate::<ProviderCredential>("main", "usher.dev/paused", "true").await;
}

#[tokio::test]
async fn a_removal_goes_before_the_new_accounts_of_a_credential_that_waits_for_its_rate() {
    let scene = waiting_for_rate(json!({"perMinute": 12, "burst": 6, "concurrency": 256})).await;
    scene.vendor_until("a new account", |vendor| vendor.count("users.create") > 1).await;
    let made = scene.vendor.count("users.create");
    scene.delete::<PlatformUser>("ada").await;
    scene.until_gone::<PlatformUser>("ada").await;
    assert!(scene.vendor.user("ada@example.com").is_none());
    let since = scene.vendor.count("users.create") - made;
    assert!(since <= 3, "{since} new accounts went before the removal");
    scene.annotate::<ProviderCredential>("main", "usher.dev/paused", "true").await;
}

#[tokio::test]
async fn a_vendor_that_answers_late_delays_no_other() {
    let slow = Scene::with(Vendor::Pegasus, Options::default(), json!({"requests": {"concurrency": 256}})).await;
    let other = Scene::new(Vendor::Pegasus).await;
    other.credential_says("Synced").await;
    slow.user("first", person("first", json!({}))).await;
    slow.user_ready("first").await;
    let released = CancellationToken::new();
    let held = released.clone();
    let ruling = move |_: &str, operation: &'static str| {
        if operation == "users.create" { Ruling::Hold(held.clone()) } else { Ruling::Serve }
    };
    slow.vendor.intercept(Some(Arc::new(ruling)));
    crowd(&slow, 200).await;
    serve(&other).await;
    assert_eq!(slow.vendor.count("users.create"), 1, "the vendor has not answered yet");
    slow.annotate::<ProviderCredential>("main", "usher.dev/paused", "true").await;
    released.cancel();
}

#[tokio::test]
async fn sweeps_that_take_long_delay_no_other_credential() {
    let amani = AmaniOptions { page_size: Some(1), ..AmaniOptions::default() };
    let slow = Scene::without_credential(Vendor::Amani, Options { latency: SLOW, amani, ..Options::default() }).await;
    for number in 0..120 {
        slow.vendor.put_user(json!({"email": format!("eve-{number}@example.com"), "password": "Fake-Pass-1"}));
    }
    slow.apply_secret("main").await;
    for number in 0..70 {
        let (name, spec) = (format!("slow-{number}"), json!({"email": format!("bob-{number}@example.com")}));
        slow.apply_credential_as(&name, json!({})).await;
        slow.user_as_is(&name, merged(spec, json!({"credentialRef": {"name": name}}))).await;
    }
    slow.vendor_until("64 sweeps at once", |vendor| vendor.count("users.list") >= 64).await;
    let other = Scene::new(Vendor::Pegasus).await;
    serve(&other).await;
    for number in 0..70 {
        let credential = slow.api::<ProviderCredential>().get(&format!("slow-{number}")).await.unwrap();
        assert_eq!(credential.status.and_then(|status| status.last_sweep_time), None, "slow-{number} is done");
    }
    for number in 0..70 {
        slow.annotate::<ProviderCredential>(&format!("slow-{number}"), "usher.dev/paused", "true").await;
    }
}

#[tokio::test]
async fn a_sweep_ends_when_its_credential_is_paused() {
    let amani = AmaniOptions { page_size: Some(1), ..AmaniOptions::default() };
    let latency = Duration::from_millis(500);
    let scene = Scene::without_credential(Vendor::Amani, Options { latency, amani, ..Options::default() }).await;
    for number in 0..40 {
        scene.vendor.put_user(json!({"email": format!("eve-{number}@example.com"), "password": "Fake-Pass-1"}));
    }
    scene.apply_secret("main").await;
    scene.apply_credential(json!({})).await;
    scene.user("bob", json!({"email": "bob@example.com"})).await;
    scene.vendor_until("the sweep", |vendor| vendor.count("users.list") > 1).await;
    scene.annotate::<ProviderCredential>("main", "usher.dev/paused", "true").await;
    let is_paused = |credential: &ProviderCredential| {
        let status = credential.status.iter().flat_map(|status| &status.conditions);
        status.into_iter().any(|condition| condition.type_ == "Paused" && condition.status == "True")
    };
    scene.until("main", is_paused).await;
    let listed = scene.vendor.count("users.list");
    // That nothing comes any more is what is asserted, so time has to pass.
    tokio::time::sleep(4 * latency).await;
    assert!(scene.vendor.count("users.list") <= listed + 1, "the sweep goes on");
}

fn merged(mut value: Value, further: Value) -> Value {
    merge(&mut value, further);
    value
}
