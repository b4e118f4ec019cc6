//! Completes the three generated CustomResourceDefinitions: bounds on every text, list and map, no defaults under spec, and a
//! `status` that is never absent.

use k8s_openapi::apiextensions_apiserver::pkg::apis::apiextensions::v1::CustomResourceDefinition;
use kube::CustomResourceExt;
use schemars::{Schema, SchemaGenerator, json_schema};
use serde_json::{Map, Value, json};

use super::{PlatformGroup, PlatformUser, ProviderCredential};

/// Longest text where a field sets no bound of its own, in characters.
const TEXT_LIMIT: u64 = 1024;
/// Longest list or map where a field sets no bound of its own.
const LIST_LIMIT: u64 = 64;

/// The definitions in the order they are written to `crds/`.
///
/// Errors: the schema is not JSON of the expected form, which a test rules out.
pub fn definitions() -> Result<Vec<CustomResourceDefinition>, serde_json::Error> {
    [PlatformUser::crd(), PlatformGroup::crd(), ProviderCredential::crd()].into_iter().map(finish).collect()
}

/// Schema of an open JSON object that the API server must not prune.
pub(super) fn open_object(_: &mut SchemaGenerator) -> Schema {
    // Atomic, because a server-side apply that removes the last key would otherwise leave null instead of {}.
    json_schema!({
        "type": "object",
        "x-kubernetes-preserve-unknown-fields": true,
        "x-kubernetes-map-type": "atomic",
        "maxProperties": LIST_LIMIT,
    })
}

fn finish(definition: CustomResourceDefinition) -> Result<CustomResourceDefinition, serde_json::Error> {
    let mut definition = serde_json::to_value(definition)?;
    if let Some(properties) = definition.pointer_mut("/spec/versions/0/schema/openAPIV3Schema/properties") {
        walk(&mut properties["spec"], &mut |schema| {
            bound(schema);
            schema.remove("default");
        });
        // Dropped because the API server warns about formats that it does not know.
        for half in ["spec", "status"] {
            walk(&mut properties[half], &mut |schema| {
                schema.remove("format").filter(known).and_then(|format| schema.insert("format".into(), format));
            });
        }
        properties["status"]["default"] = json!({"observedGeneration": -1});
        properties["status"]["properties"]["observedGeneration"]["default"] = json!(-1);
        properties["status"]["description"] = json!("What usher found and did. Only usher writes it.");
    }
    serde_json::from_value(definition)
}

/// Calls `change` on a schema and every schema inside it.
fn walk(schema: &mut Value, change: &mut impl FnMut(&mut Map<String, Value>)) {
    let Value::Object(object) = schema else { return };
    change(object);
    if let Some(Value::Object(properties)) = object.get_mut("properties") {
        properties.values_mut().for_each(|property| walk(property, change));
    }
    for inner in ["items", "additionalProperties"] {
        if let Some(schema) = object.get_mut(inner) {
            walk(schema, change);
        }
    }
}

/// Sets a bound on a text, list or map without one, and makes a list atomic for server-side apply.
fn bound(schema: &mut Map<String, Value>) {
    match schema.get("type").and_then(Value::as_str) {
        Some("string") if !schema.contains_key("enum") => limit(schema, "maxLength", TEXT_LIMIT),
        Some("array") => {
            limit(schema, "maxItems", LIST_LIMIT);
            schema.entry("x-kubernetes-list-type").or_insert_with(|| json!("atomic"));
        }
        Some("object") if schema.contains_key("additionalProperties") => limit(schema, "maxProperties", LIST_LIMIT),
        _ => {}
    }
}

fn limit(schema: &mut Map<String, Value>, keyword: &str, most: u64) {
    schema.entry(keyword).or_insert_with(|| json!(most));
}

fn known(format: &Value) -> bool {
    matches!(format.as_str(), Some("int32" | "int64" | "double" | "date-time"))
}
