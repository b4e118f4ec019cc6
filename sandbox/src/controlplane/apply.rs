//! `kubectl apply --server-side` for whole files, without kubectl; it treats no kind specially but CustomResourceDefinition.

use std::collections::BTreeMap;
use std::sync::{Mutex, PoisonError};
use std::time::Duration;

use kube::api::{ApiResource, DynamicObject, Patch, PatchParams};
use kube::core::{GroupVersionKind, TypeMeta};
use kube::discovery::{ApiCapabilities, Scope, pinned_kind};
use kube::{Api, Client, ResourceExt};
use serde_json::Value;

use super::Error;

/// Field manager of objects that the sandbox applies.
const MANAGER: &str = "workshop";
/// The one kind that `apply` waits for.
const DEFINITION: &str = "CustomResourceDefinition";
/// Longest wait for a new kind to be served; named in `Error::NotServed`.
const SERVED: Duration = Duration::from_secs(30);
/// Pause between two checks.
const PAUSE: Duration = Duration::from_millis(50);

/// The documents of a YAML file.
///
/// Errors: the text is not YAML.
pub fn documents(yaml: &str) -> Result<Vec<Value>, Error> {
    let parsed: Vec<Value> = serde_saphyr::from_multiple(yaml).map_err(|error| Error::Manifest(error.to_string()))?;
    Ok(parsed.into_iter().filter(|document| !document.is_null()).collect())
}

/// Applies every document in turn and waits until the API server serves new kinds.
///
/// Errors: the API server refuses a document.
pub async fn apply(client: &Client, yaml: &str) -> Result<(), Error> {
    for document in documents(yaml)? {
        apply_one(client, document).await?;
    }
    Ok(())
}

async fn apply_one(client: &Client, document: Value) -> Result<(), Error> {
    let object: DynamicObject = serde_json::from_value(document).map_err(|error| Error::Manifest(error.to_string()))?;
    let types = object.types.as_ref().ok_or_else(|| Error::Manifest("an object without a kind".into()))?;
    let name = object.name_any();
    let refused = |source| Error::Apply { object: format!("{} {name}", types.kind), source };
    let (resource, scope) = known(client, types).await.map_err(refused)?;
    let api: Api<DynamicObject> = match (scope, object.namespace()) {
        (Scope::Cluster, _) => Api::all_with(client.clone(), &resource),
        (Scope::Namespaced, Some(namespace)) => Api::namespaced_with(client.clone(), &namespace, &resource),
        (Scope::Namespaced, None) => Api::default_namespaced_with(client.clone(), &resource),
    };
    api.patch(&name, &PatchParams::apply(MANAGER).force(), &Patch::Apply(&object)).await.map_err(refused)?;
    if types.kind == DEFINITION {
        let served = tokio::time::timeout(SERVED, wait_until_served(client, &object));
        served.await.map_err(|_| Error::NotServed(name))?;
    }
    Ok(())
}

/// The API resource of a kind, looked up once because all control planes of a process serve the same kinds.
async fn known(client: &Client, types: &TypeMeta) -> kube::Result<(ApiResource, Scope)> {
    static KNOWN: Mutex<BTreeMap<(String, String), (ApiResource, Scope)>> = Mutex::new(BTreeMap::new());
    let kind = (types.api_version.clone(), types.kind.clone());
    let known = KNOWN.lock().unwrap_or_else(PoisonError::into_inner).get(&kind).cloned();
    if let Some(known) = known {
        return Ok(known);
    }
    let (resource, capabilities) = discover(client, types).await?;
    let found = (resource, capabilities.scope);
    KNOWN.lock().unwrap_or_else(PoisonError::into_inner).insert(kind, found.clone());
    Ok(found)
}

async fn discover(client: &Client, types: &TypeMeta) -> kube::Result<(ApiResource, ApiCapabilities)> {
    let (group, version) = types.api_version.rsplit_once('/').unwrap_or(("", &types.api_version));
    pinned_kind(client, &GroupVersionKind::gvk(group, version, &types.kind)).await
}

/// Ends when every version of the new kind can be listed, which is a moment after the kind is Established.
async fn wait_until_served(client: &Client, definition: &DynamicObject) {
    let spec = &definition.data["spec"];
    let text = |value: &Value| value.as_str().unwrap_or_default().to_owned();
    for version in spec["versions"].as_array().into_iter().flatten().filter(|version| version["served"] == true) {
        let types = TypeMeta {
            api_version: format!("{}/{}", text(&spec["group"]), text(&version["name"])),
            kind: text(&spec["names"]["kind"]),
        };
        while !is_served(client, &types).await {
            tokio::time::sleep(PAUSE).await;
        }
    }
}

async fn is_served(client: &Client, types: &TypeMeta) -> bool {
    let Ok((resource, _)) = discover(client, types).await else { return false };
    let api: Api<DynamicObject> = Api::all_with(client.clone(), &resource);
    api.list_metadata(&kube::api::ListParams::default().limit(1)).await.is_ok()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn empty_documents_are_left_out() {
        let found = documents("---\n# nothing\n---\nkind: A\n---\n---\nkind: B\n").unwrap();
        assert_eq!(found, [serde_json::json!({"kind": "A"}), serde_json::json!({"kind": "B"})]);
    }

    #[test]
    fn invalid_yaml_is_an_error() {
        assert!(matches!(documents("kind: [A"), Err(Error::Manifest(_))));
    }
}
