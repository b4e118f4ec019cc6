//! The one writer of finalizers. Each write applies only to the version of the object that was read.

use std::sync::Arc;

use k8s_openapi::api::core::v1::Secret;
use kube::ResourceExt;
use kube::api::{ObjectMeta, Patch, PatchParams};
use serde_json::{Value, json};

use super::Cluster;
use super::lenient::Lenient;
use super::object::Object;
use crate::api::Kind;
use crate::api::names::{FINALIZER, MANAGER, SECRET_FINALIZER, VELERO_RESTORE_STATUS};

/// Adds usher's finalizer to `object` unless it is there; to a user or group also the annotation by which a backup keeps the binding.
/// Returns the object as written.
///
/// Errors: the object was written meanwhile or is deleted; Kubernetes did not answer.
pub async fn add_finalizer<K: Object>(cluster: &Cluster, object: Arc<K>) -> Result<Arc<K>, kube::Error> {
    if object.has_finalizer() {
        return Ok(object);
    }
    set(cluster, &*object, true).await
}

/// Removes usher's finalizer, after which Kubernetes may delete the object. An object that is deleted already is no error.
///
/// Errors: the object was written meanwhile; Kubernetes did not answer.
pub async fn remove_finalizer<K: Object>(cluster: &Cluster, object: &K) -> Result<(), kube::Error> {
    match set(cluster, object, false).await {
        Ok(_) => Ok(()),
        Err(kube::Error::Api(status)) if status.code == 404 => {
            // Kubernetes knows the kind and has no object of this name, so the state in the watch is out of date.
            if status.details.as_ref().is_some_and(|details| details.name == object.name_any()) {
                let mut released = object.clone();
                released.finalizers_mut().clear();
                K::cache(cluster).assume(released);
            }
            Ok(())
        }
        Err(error) => Err(error),
    }
}

async fn set<K: Object>(cluster: &Cluster, object: &K, present: bool) -> Result<Arc<K>, kube::Error> {
    let keeps_binding = present && K::KIND != Kind::Credential;
    let annotations = if keeps_binding { json!({VELERO_RESTORE_STATUS: "true"}) } else { json!({}) };
    let patch = document(object.meta(), FINALIZER, present, &annotations);
    let api = cluster.api::<Lenient<K>>(&object.namespace().unwrap_or_default());
    // The whole object is decoded as far as possible, because the managed fields of one that is too deep cannot be.
    let Lenient(mut written) = api.patch(&object.name_any(), &params(), &patch).await?;
    written.check_seal(cluster);
    Ok(K::cache(cluster).assume(written))
}

/// Adds usher's finalizer on Secrets to the Secret with this metadata, or removes it.
///
/// Errors: the Secret was written meanwhile or is deleted; Kubernetes did not answer.
pub async fn patch_secret(cluster: &Cluster, meta: &ObjectMeta, present: bool) -> Result<(), kube::Error> {
    let api = cluster.api::<Secret>(meta.namespace.as_deref().unwrap_or_default());
    let patch = document(meta, SECRET_FINALIZER, present, &json!({}));
    api.patch_metadata(meta.name.as_deref().unwrap_or_default(), &params(), &patch).await.map(drop)
}

fn params() -> PatchParams {
    PatchParams { field_manager: Some(MANAGER.into()), ..PatchParams::default() }
}

/// The patch that adds `finalizer` to the object with this metadata, or removes it, and sets `annotations`. It applies only to the
/// version that was read.
fn document(meta: &ObjectMeta, finalizer: &str, present: bool, annotations: &Value) -> Patch<Value> {
    let others = meta.finalizers.iter().flatten().map(String::as_str).filter(|other| *other != finalizer);
    let finalizers: Vec<&str> = others.chain(present.then_some(finalizer)).collect();
    let metadata = json!({
        "finalizers": finalizers,
        "annotations": annotations,
        "uid": meta.uid,
        "resourceVersion": meta.resource_version,
    });
    Patch::Merge(json!({"metadata": metadata}))
}
