//! The one writer of finalizers. Each write applies only to the version of the object that was read.

use std::fmt::Debug;
use std::sync::Arc;

use k8s_openapi::NamespaceResourceScope;
use kube::api::{ObjectMeta, Patch, PatchParams};
use kube::{Resource, ResourceExt};
use serde::de::DeserializeOwned;
use serde_json::json;

use super::Cluster;
use super::object::Object;
use crate::api::Kind;
use crate::api::names::{FINALIZER, MANAGER, VELERO_RESTORE_STATUS};

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
        Err(kube::Error::Api(status)) if status.is_not_found() => {
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
    let metadata = patch::<K>(cluster, object.meta(), FINALIZER, present, annotations).await?;
    // The patch applies only to the version that was read, so spec and status are still those of `object`.
    let mut written = object.clone();
    *written.meta_mut() = metadata;
    written.managed_fields_mut().clear();
    Ok(K::cache(cluster).assume(written))
}

/// Adds or removes `finalizer` on the object of kind `K` with this metadata, and sets `annotations`. Returns its metadata as
/// written.
///
/// Errors: the object was written meanwhile or is deleted; Kubernetes did not answer.
pub async fn patch<K>(
    cluster: &Cluster,
    meta: &ObjectMeta,
    finalizer: &str,
    present: bool,
    annotations: serde_json::Value,
) -> Result<ObjectMeta, kube::Error>
where
    K: Resource<DynamicType = (), Scope = NamespaceResourceScope> + Clone + Debug + DeserializeOwned,
{
    let others = meta.finalizers.iter().flatten().map(String::as_str).filter(|other| *other != finalizer);
    let finalizers: Vec<&str> = others.chain(present.then_some(finalizer)).collect();
    let metadata = json!({
        "finalizers": finalizers,
        "annotations": annotations,
        "uid": meta.uid,
        "resourceVersion": meta.resource_version,
    });
    let params = PatchParams { field_manager: Some(MANAGER.into()), ..PatchParams::default() };
    let api = cluster.api::<K>(meta.namespace.as_deref().unwrap_or_default());
    let name = meta.name.as_deref().unwrap_or_default();
    let written = api.patch_metadata(name, &params, &Patch::Merge(json!({"metadata": metadata}))).await?;
    Ok(written.metadata)
}
