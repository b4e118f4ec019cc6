//! The Secrets of credentials that go at an awkward moment: nothing of ours stays on them.

use k8s_openapi::api::core::v1::Secret;
use usher::api::{PlatformUser, ProviderCredential};
use usher_sandbox::vendors::Vendor;

use super::interleavings::{apply_ada, stage};
use super::stage::Stage;
use super::steps::basics;

#[tokio::test]
async fn a_credential_deleted_just_before_it_is_held_leaves_nothing_on_its_secret() {
    let stage = Stage::new(&super::clients(), Vendor::Pegasus).await;
    let scene = &stage.scene;
    let operator = stage.operator();
    operator.fuse.arm(None);
    let hold = operator.fuse.hold("PATCH providercredentials/main");
    basics(&stage).await;
    hold.reached().await;
    scene.delete::<ProviderCredential>("main").await;
    scene.until_gone::<ProviderCredential>("main").await;
    hold.release.cancel();
    apply_ada(&stage).await;
    let is_told = |ada: &PlatformUser| ada.status.is_some();
    scene.until("ada", is_told).await;
    let touched = operator.fuse.effects().into_iter().find(|effect| effect.contains("secrets/main"));
    assert_eq!(touched, None);
    operator.kill().await;
}

#[tokio::test]
async fn two_credentials_that_go_together_leave_nothing_on_their_secret() {
    let (stage, operator) = stage(Vendor::Pegasus).await;
    let scene = &stage.scene;
    scene.apply_other_credential().await;
    let is_ready =
        |credential: &ProviderCredential| credential.status.as_ref().is_some_and(|status| status.account.is_some());
    scene.until("other", is_ready).await;
    let is_held = |secret: &Secret| secret.metadata.finalizers.is_some();
    scene.until("main", is_held).await;
    let leaves = ["main", "other"].map(|name| operator.fuse.hold(&format!("PATCH providercredentials/{name} ")));
    for (name, leave) in ["main", "other"].into_iter().zip(&leaves) {
        scene.delete::<ProviderCredential>(name).await;
        leave.reached().await;
    }
    leaves.iter().for_each(|leave| leave.release.cancel());
    let is_free = |secret: &Secret| secret.metadata.finalizers.is_none();
    scene.until("main", is_free).await;
    operator.kill().await;
}
