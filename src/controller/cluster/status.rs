//! The two writers of a status and the finalizer; each write is answered with the object as it is now.

use std::sync::Arc;

use kube::ResourceExt;
use kube::api::{Patch, PatchParams};
use serde::Serialize;
use serde_json::{Value, json};

use super::cache::{Cache, Indexed};
use super::managed::Managed;
use crate::api::names::{API_VERSION, FINALIZER, MANAGER, MANAGER_IDENTITY, VELERO_RESTORE_STATUS};
use crate::api::status::{Identity, ObjectStatus, Report};
use crate::controller::context::Context;
use crate::controller::credential::reconcile as credential;
use crate::controller::resolve::access;
use crate::plan::{AccountKind, GroupSupport};
use crate::providers;

/// Access to the shelf of a kind, so that generic code can note what it wrote.
pub trait Cached: Managed + Indexed {
    /// The shelf of this kind.
    fn cache(context: &Context) -> &Cache<Self>;
}

impl Cached for crate::api::PlatformUser {
    fn cache(context: &Context) -> &Cache<Self> {
        &context.users
    }
}

impl Cached for crate::api::PlatformGroup {
    fn cache(context: &Context) -> &Cache<Self> {
        &context.groups
    }
}

/// Writes the identity as a whole. With `guarded`, only if nobody wrote the object since we read it.
///
/// Errors: a conflict when guarded: look again.
pub async fn identity<K: Cached>(
    context: &Context,
    object: &K,
    identity: &Identity,
    guarded: bool,
) -> Result<Arc<K>, kube::Error> {
    apply_status(context, object, MANAGER_IDENTITY, identity, |status| json!(status.identity), guarded).await
}

/// Writes everything in status but the identity.
pub async fn report<K: Cached>(context: &Context, object: &K, report: &Report) -> Result<Arc<K>, kube::Error> {
    apply_status(context, object, MANAGER, report, |status| json!(status.report), false).await
}

async fn apply_status<K: Cached>(
    context: &Context,
    object: &K,
    manager: &str,
    status: &(impl Serialize + Sync),
    half: fn(&ObjectStatus) -> Value,
    guarded: bool,
) -> Result<Arc<K>, kube::Error> {
    let mut metadata = json!({"name": object.name_any(), "uid": object.uid()});
    if guarded {
        metadata["resourceVersion"] = json!(object.resource_version());
    }
    let patch = json!({"apiVersion": API_VERSION, "kind": K::KIND.to_string(), "metadata": metadata, "status": status});
    let api = context.api::<K>(&object.namespace().unwrap_or_default());
    let written =
        api.patch_status(&object.name_any(), &PatchParams::apply(manager).force(), &Patch::Apply(patch)).await?;
    let left = left_over(&json!(status), &json!(written.status().map(half)));
    if left.as_object().is_some_and(serde_json::Map::is_empty) {
        return Ok(K::cache(context).assume(written));
    }
    let params = PatchParams { field_manager: Some(manager.into()), ..PatchParams::default() };
    let cleared = api.patch_status(&object.name_any(), &params, &Patch::Merge(json!({"status": left}))).await?;
    Ok(K::cache(context).assume(cleared))
}

/// What is still there although `wanted` lacks it, as a merge patch that removes it: an apply leaves alone what someone else
/// wrote too, as a restore from a backup does.
fn left_over(wanted: &Value, there: &Value) -> Value {
    let is_type = |condition: &Value, other: &Value| condition["type"] == other["type"];
    let known =
        |condition: &Value| wanted["conditions"].as_array().into_iter().flatten().any(|own| is_type(own, condition));
    let mut left = serde_json::Map::new();
    for (field, value) in there.as_object().into_iter().flatten() {
        match wanted.get(field) {
            None => drop(left.insert(field.clone(), Value::Null)),
            Some(own) if field == "conditions" && !value.as_array().into_iter().flatten().all(known) => {
                left.insert(field.clone(), own.clone());
            }
            Some(_) => {}
        }
    }
    left.into()
}

/// Adds our finalizer, and what makes a backup keep the binding, unless it is there.
pub async fn add_finalizer<K: Cached>(context: &Context, object: Arc<K>) -> Result<Arc<K>, kube::Error> {
    if object.has_finalizer() {
        return Ok(object);
    }
    let mut finalizers = object.finalizers().to_vec();
    finalizers.push(FINALIZER.into());
    patch_metadata(context, &*object, json!({"finalizers": finalizers, "annotations": {VELERO_RESTORE_STATUS: "true"}}))
        .await
}

/// Puts our finalizer back on an object that has an account and lost it, e.g. by `kubectl replace`: its deletion would leave the
/// account without a word. What is only found, never written, is not held; and what a credential releases as it goes is let go.
pub async fn ensure_finalizer<K: Cached>(context: &Context, object: &mut Arc<K>) -> Result<(), kube::Error> {
    // Without the credential nobody knows whether it released the object as it went.
    let Some(credential) = access::credential(context, &**object) else { return Ok(()) };
    if credential::releases_all(&credential) {
        if object.has_finalizer() && !context.preview {
            remove_finalizer(context, &**object).await?;
            *object = K::cache(context).latest(object.clone());
            context.enqueue(object.credential_key());
        }
        return Ok(());
    }
    let vendor = object.status().and_then(|status| status.report.provider);
    let managed = vendor.is_some_and(|vendor| providers::capabilities(vendor).groups == GroupSupport::Managed);
    let keeps = K::ACCOUNT_KIND == AccountKind::User || managed;
    if keeps && object.identity().tied_to().is_some() && !context.preview {
        *object = add_finalizer(context, object.clone()).await?;
    }
    Ok(())
}

/// Takes our finalizer away; the object may vanish with it.
pub async fn remove_finalizer<K: Cached>(context: &Context, object: &K) -> Result<(), kube::Error> {
    let finalizers: Vec<&String> = object.finalizers().iter().filter(|finalizer| *finalizer != FINALIZER).collect();
    match patch_metadata(context, object, json!({"finalizers": finalizers})).await {
        Ok(_) => Ok(()),
        Err(kube::Error::Api(status)) if status.code == 404 => {
            // Kubernetes knows the kind, and nothing by this name: what the watch still shows is gone.
            if status.details.is_some_and(|details| details.name == object.name_any()) {
                let mut gone = object.clone();
                gone.finalizers_mut().clear();
                K::cache(context).assume(gone);
            }
            Ok(())
        }
        Err(error) => Err(error),
    }
}

async fn patch_metadata<K: Cached>(
    context: &Context,
    object: &K,
    mut metadata: serde_json::Value,
) -> Result<Arc<K>, kube::Error> {
    metadata["resourceVersion"] = json!(object.resource_version());
    metadata["uid"] = json!(object.uid());
    let api = context.api::<K>(&object.namespace().unwrap_or_default());
    let patch = Patch::Merge(json!({"metadata": metadata}));
    let written = api
        .patch(
            &object.name_any(),
            &PatchParams { field_manager: Some(MANAGER.into()), ..PatchParams::default() },
            &patch,
        )
        .await?;
    Ok(K::cache(context).assume(written))
}
