//! The writers of status, one for each field manager. Each write returns the object in its state after it.

use std::sync::Arc;

use kube::ResourceExt;
use kube::api::{Patch, PatchParams};
use serde_json::{Map, Value, json};

use super::Cluster;
use super::lenient::Lenient;
use super::managed::Managed;
use super::object::Object;
use super::sealing;
use crate::api::credential::RecentRemovals;
use crate::api::names::{API_VERSION, MANAGER, MANAGER_IDENTITY, MANAGER_REMOVALS};
use crate::api::status::{Identity, Report};
use crate::api::{ProviderCredential, ProviderCredentialStatus};

/// Writes the identity as a whole, with its seal. A `guarded` write succeeds only if the object was not written since it was read.
///
/// Errors: a guarded write met a conflict, so the object has to be read again; Kubernetes did not answer.
pub async fn write_identity<K: Managed>(
    cluster: &Cluster,
    object: &K,
    identity: &Identity,
    guarded: bool,
) -> Result<Arc<K>, kube::Error> {
    let status = json!(sealing::sealed(cluster, object, identity));
    let before = json!(object.status().map(|status| &status.identity));
    let written =
        apply(cluster, object, MANAGER_IDENTITY, Change { status: &status, before: &before, guarded }).await?;
    let there = json!(written.status().map(|status| &status.identity));
    clear_left_over(cluster, written, MANAGER_IDENTITY, &status, &there).await
}

/// Writes the report, which is the status of a user or group without the identity.
///
/// Errors: Kubernetes did not answer.
pub async fn write_report<K: Managed>(cluster: &Cluster, object: &K, report: &Report) -> Result<Arc<K>, kube::Error> {
    let (status, before) = (json!(report), json!(object.status().map(|status| &status.report)));
    let written = apply(cluster, object, MANAGER, Change { status: &status, before: &before, guarded: false }).await?;
    let there = json!(written.status().map(|status| &status.report));
    clear_left_over(cluster, written, MANAGER, &status, &there).await
}

/// Writes the status of a credential without the count of its removals, which has a field manager of its own.
///
/// Errors: Kubernetes did not answer.
pub async fn write_credential(
    cluster: &Cluster,
    credential: &ProviderCredential,
    status: &ProviderCredentialStatus,
) -> Result<Arc<ProviderCredential>, kube::Error> {
    let without_removals =
        |status: &ProviderCredentialStatus| json!(ProviderCredentialStatus { recent_removals: None, ..status.clone() });
    let (status, before) =
        (without_removals(status), credential.status.as_ref().map(without_removals).unwrap_or_default());
    let written =
        apply(cluster, credential, MANAGER, Change { status: &status, before: &before, guarded: false }).await?;
    Ok(cluster.credentials.assume(written))
}

/// Writes the count of a credential's removals if the credential was not written since it was read.
///
/// Errors: a conflict, or Kubernetes did not answer. After an error the removal must not be made.
pub async fn write_removals(
    cluster: &Cluster,
    credential: &ProviderCredential,
    recent: &[RecentRemovals],
) -> Result<(), kube::Error> {
    let status = json!({"recentRemovals": recent});
    let change = Change { status: &status, before: &Value::Null, guarded: true };
    let written = apply(cluster, credential, MANAGER_REMOVALS, change).await?;
    cluster.credentials.assume(written);
    Ok(())
}

/// A write of the part of a status that one field manager has.
#[derive(Clone, Copy)]
struct Change<'a> {
    /// That part as it is wanted.
    status: &'a Value,
    /// That part before.
    before: &'a Value,
    /// Whether the write applies only to the version of the object that was read.
    guarded: bool,
}

/// Writes a status by server-side apply.
///
/// An apply removes the fields of a field manager alone. Of an object in the status that another field manager wrote too, for example a
/// restore from a backup, it may leave a part that the schema refuses. That object is then removed in the same write.
async fn apply<K: Object>(
    cluster: &Cluster,
    object: &K,
    manager: &str,
    Change { status, before, guarded }: Change<'_>,
) -> Result<K, kube::Error> {
    let mut metadata = json!({"name": object.name_any(), "uid": object.uid()});
    if guarded {
        metadata["resourceVersion"] = json!(object.resource_version());
    }
    let mut patch =
        json!({"apiVersion": API_VERSION, "kind": K::KIND.to_string(), "metadata": metadata, "status": status});
    let applied =
        patch_status(cluster, object, &PatchParams::apply(manager).force(), &Patch::Apply(patch.clone())).await;
    match applied {
        Err(kube::Error::Api(refused)) if refused.code == 422 => {
            patch["status"].as_object_mut().into_iter().for_each(|wanted| wanted.extend(left_over(status, before)));
            let params = PatchParams { field_manager: Some(manager.into()), ..PatchParams::default() };
            patch_status(cluster, object, &params, &Patch::Merge(patch)).await
        }
        applied => applied,
    }
}

/// Removes the fields of `there` that `wanted` lacks, because an apply keeps fields that another field manager wrote too, for example a
/// restore from a backup.
async fn clear_left_over<K: Managed>(
    cluster: &Cluster,
    written: K,
    manager: &str,
    wanted: &Value,
    there: &Value,
) -> Result<Arc<K>, kube::Error> {
    let left = left_over(wanted, there);
    if left.is_empty() {
        return Ok(K::cache(cluster).assume(written));
    }
    let params = PatchParams { field_manager: Some(manager.into()), ..PatchParams::default() };
    let cleared = patch_status(cluster, &written, &params, &Patch::Merge(json!({"status": left}))).await?;
    Ok(K::cache(cluster).assume(cleared))
}

/// The object after a patch of its status, as far as it can be decoded.
async fn patch_status<K: Object>(
    cluster: &Cluster,
    object: &K,
    params: &PatchParams,
    patch: &Patch<Value>,
) -> Result<K, kube::Error> {
    let api = cluster.api::<Lenient<K>>(&object.namespace().unwrap_or_default());
    let Lenient(mut written) = api.patch_status(&object.name_any(), params, patch).await?;
    written.check_seal(cluster);
    Ok(written)
}

/// The fields of `there` that `wanted` lacks, as a merge patch that removes them.
fn left_over(wanted: &Value, there: &Value) -> Map<String, Value> {
    let is_type = |condition: &Value, other: &Value| condition["type"] == other["type"];
    let known =
        |condition: &Value| wanted["conditions"].as_array().into_iter().flatten().any(|own| is_type(own, condition));
    let mut left = Map::new();
    for (field, value) in there.as_object().into_iter().flatten() {
        match wanted.get(field) {
            None => drop(left.insert(field.clone(), Value::Null)),
            Some(own) if field == "conditions" && !value.as_array().into_iter().flatten().all(known) => {
                left.insert(field.clone(), own.clone());
            }
            Some(_) => {}
        }
    }
    left
}
