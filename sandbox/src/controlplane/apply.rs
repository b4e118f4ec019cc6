//! `kubectl apply --server-side` for whole files, without kubectl; it knows no kind.

use std::time::Duration;

use kube::api::{DynamicObject, Patch, PatchParams};
use kube::core::{GroupVersionKind, TypeMeta};
use kube::discovery::{Scope, pinned_kind};
use kube::{Api, Client, ResourceExt};
use serde_json::Value;

use super::Error;

/// Field manager of what the workshop applies.
const MANAGER: &str = "workshop";

/// The documents of a YAML file.
///
/// Errors: YAML that is none.
pub fn documents(yaml: &str) -> Result<Vec<Value>, Error> {
    let parsed: Vec<Value> = serde_saphyr::from_multiple(yaml).map_err(|error| Error::Manifest(error.to_string()))?;
    Ok(parsed.into_iter().filter(|document| !document.is_null()).collect())
}

/// Applies every document in turn and waits for CustomResourceDefinitions to be served.
///
/// Errors: the API server's own words.
pub async fn apply(client: &Client, yaml: &str) -> Result<(), Error> {
    for document in documents(yaml)? {
        apply_one(client, document).await?;
    }
    Ok(())
}

async fn apply_one(client: &Client, document: Value) -> Result<(), Error> {
    let object: DynamicObject = serde_json::from_value(document).map_err(|error| Error::Manifest(error.to_string()))?;
    let TypeMeta { api_version, kind } = object.types.clone().ok_or_else(|| Error::Manifest("no kind".into()))?;
    let (group, version) = api_version.rsplit_once('/').unwrap_or(("", &api_version));
    let (resource, capabilities) = pinned_kind(client, &GroupVersionKind::gvk(group, version, &kind)).await?;
    let name = object.name_any();
    let api: Api<DynamicObject> = match (capabilities.scope, object.namespace()) {
        (Scope::Cluster, _) => Api::all_with(client.clone(), &resource),
        (Scope::Namespaced, Some(namespace)) => Api::namespaced_with(client.clone(), &namespace, &resource),
        (Scope::Namespaced, None) => Api::default_namespaced_with(client.clone(), &resource),
    };
    api.patch(&name, &PatchParams::apply(MANAGER).force(), &Patch::Apply(&object)).await?;
    while kind == "CustomResourceDefinition" && !is_established(&api.get(&name).await?) {
        tokio::time::sleep(Duration::from_millis(50)).await;
    }
    Ok(())
}

fn is_established(definition: &DynamicObject) -> bool {
    let conditions = definition.data.pointer("/status/conditions").and_then(Value::as_array);
    conditions
        .into_iter()
        .flatten()
        .any(|condition| condition["type"] == "Established" && condition["status"] == "True")
}
