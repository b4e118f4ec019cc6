//! The seal that usher puts on a binding in status, made as its description says, to write a status that usher takes for its own.

use aws_lc_rs::digest::{SHA256, digest};
use aws_lc_rs::hmac::{self, HMAC_SHA256};
use data_encoding::HEXLOWER;
use k8s_openapi::api::core::v1::Secret;
use kube::api::{Patch, PatchParams};
use kube::{Api, ResourceExt};
use serde_json::{Value, json};
use usher::api::PlatformUser;

use crate::scene::{Scene, merge};

/// Changes the identity of a user as usher itself would, seal included.
pub async fn write(scene: &Scene, name: &str, changes: Value) {
    let users = scene.api::<PlatformUser>();
    let user = users.get(name).await.unwrap();
    let mut status = json!(user)["status"].clone();
    merge(&mut status, changes.clone());
    let mut patch = changes;
    patch["seal"] = json!(seal(scene, &user, &status).await);
    let params = PatchParams { field_manager: Some("usher-identity".into()), ..PatchParams::default() };
    users.patch_status(name, &params, &Patch::Merge(json!({"status": patch}))).await.unwrap();
}

/// The digest of a password as builds before the seals wrote it into `status.passwordVersion`.
pub async fn earlier_digest(scene: &Scene, password: &str) -> String {
    let key = own_key(scene).await;
    let code = hmac::sign(&hmac::Key::new(HMAC_SHA256, &key), password.as_bytes());
    format!("{}.{}", id(&key), HEXLOWER.encode(&code.as_ref()[..16]))
}

/// usher's own key.
async fn own_key(scene: &Scene) -> Vec<u8> {
    let secrets: Api<Secret> = Api::namespaced(scene.client.clone(), "usher-system");
    let stored = secrets.get("usher-password-digest").await.unwrap();
    stored.data.unwrap()["key"].0.clone()
}

fn id(key: &[u8]) -> String {
    HEXLOWER.encode(&digest(&SHA256, key).as_ref()[..4])
}

/// The seal on `status` as that of `user`.
async fn seal(scene: &Scene, user: &PlatformUser, status: &Value) -> String {
    let derived = hmac::sign(&hmac::Key::new(HMAC_SHA256, &own_key(scene).await), b"usher seals");
    let namespace = user.namespace().unwrap();
    let object = format!("PlatformUser {namespace}/{}", user.name_any());
    let reference = &user.spec.credential_ref;
    let home = reference.namespace.as_ref().unwrap_or(&namespace);
    let credential = format!("ProviderCredential {home}/{}", reference.name);
    let field = |name: &str| status.get(name).cloned().unwrap_or_default();
    let text = json!([
        object,
        credential,
        field("externalId"),
        field("key"),
        field("renaming"),
        field("account"),
        field("creating"),
        field("adopted"),
        field("vanished"),
        field("refused")
    ]);
    assert!(text[6].is_null(), "a pending create is sealed in parts, which this does not do");
    let text = text.to_string();
    let mut code = hmac::Context::with_key(&hmac::Key::new(HMAC_SHA256, derived.as_ref()));
    code.update(&text.len().to_be_bytes());
    code.update(text.as_bytes());
    format!("{}.{}", id(derived.as_ref()), HEXLOWER.encode(code.sign().as_ref()))
}
