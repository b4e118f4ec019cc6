//! Times in status that cannot be, as a wrong clock or a forger writes them, stop nothing.

use kube::api::{Patch, PatchParams};
use rstest::rstest;
use serde_json::{Value, json};
use usher::api::{PlatformUser, ProviderCredential};
use usher_sandbox::vendors::Vendor;

use crate::scene::{Scene, merge};

fn ada(further: Value) -> Value {
    let mut spec = json!({"email": "ada@example.com", "provider": {"pegasus": {"sendEmail": true}}});
    merge(&mut spec, further);
    spec
}

#[rstest]
#[case::first_year("0001-01-01T00:00:00Z")]
#[case::last_year("9999-12-30T21:59:59Z")]
#[tokio::test]
async fn times_that_cannot_be_neither_stop_the_process_nor_hold_a_removal(#[case] time: &str) {
    let scene = Scene::new(Vendor::Pegasus).await;
    scene.user("bob", ada(json!({"email": "bob@example.com"}))).await;
    scene.user_ready("bob").await;
    let credential = scene.credential_says("Synced").await;
    let account = credential.status.unwrap().account.unwrap();
    let forged = json!({
        "recentRemovals": [{"since": time, "count": u32::MAX}], "rateLimitedUntil": time, "lastSweepTime": time,
        "conditions": [{"type": "Ready", "status": "True", "reason": "Synced", "message": "", "lastTransitionTime": time}],
    });
    let (params, forged) = (PatchParams::default(), Patch::Merge(json!({"status": forged})));
    scene.api::<ProviderCredential>().patch_status("main", &params, &forged).await.unwrap();

    scene.user("ada", ada(json!({"mode": "Paused"}))).await;
    let creating = json!({"at": time, "since": time, "vendorTime": time, "key": "ada@example.com", "account": account});
    let forged = Patch::Merge(json!({"status": {"creating": creating}}));
    scene.api::<PlatformUser>().patch_status("ada", &params, &forged).await.unwrap();
    scene.sweep("1").await;
    scene.user("ada", ada(json!({"mode": "Enforce"}))).await;
    // A pending create that usher did not write does not count.
    scene.user_says("ada", "AlreadyExists").await;
    let removed = Patch::Merge(json!({"status": {"creating": null}}));
    scene.api::<PlatformUser>().patch_status("ada", &params, &removed).await.unwrap();
    scene.user("ada", ada(json!({"mode": "Enforce", "phone": "1"}))).await;
    scene.user_ready("ada").await;
    scene.delete::<PlatformUser>("bob").await;
    scene.until_gone::<PlatformUser>("bob").await;
    assert!(scene.vendor.user("bob@example.com").is_none());
}
