//! Completes the three generated CustomResourceDefinitions: bounds on every text, list and map, no defaults under spec, and a
//! `status` that is never absent.

use k8s_openapi::apiextensions_apiserver::pkg::apis::apiextensions::v1::CustomResourceDefinition;
use kube::CustomResourceExt;
use kube::core::Rule;
use serde_json::{Map, Value, json};

use super::names::API_VERSION;
use super::{PlatformGroup, PlatformUser, ProviderCredential, rules};

/// Longest text where a field sets no bound of its own, in characters.
const TEXT_LIMIT: u64 = 1024;
/// Longest list or map where a field sets no bound of its own.
const LIST_LIMIT: u64 = 64;
/// Longest key of a map, in characters.
const KEY_LIMIT: u64 = 256;

/// Fields that may hold several lines or blanks at their ends: free texts, and names that Kubernetes looks up.
const FREE_TEXTS: [&str; 9] = [
    "description",
    "disabledMessage",
    "key",
    "matchLabels",
    "message",
    "namespace",
    "observation",
    "operator",
    "values",
];
/// Fields that hold the natural key or the id of an account, which no character outside of plain writing may be in.
const KEYS: [&str; 7] = ["contactEmail", "devices", "email", "externalId", "id", "protected", "username"];

/// The definitions in the order they are written to `crds/`.
///
/// Errors: the schema is not JSON of the expected form, which a test rules out.
pub fn definitions() -> Result<Vec<CustomResourceDefinition>, serde_json::Error> {
    [PlatformUser::crd(), PlatformGroup::crd(), ProviderCredential::crd()].into_iter().map(finish).collect()
}

/// Whether the API server serves a definition.
#[must_use]
pub fn is_established(definition: &CustomResourceDefinition) -> bool {
    let conditions = definition.status.as_ref().and_then(|status| status.conditions.as_ref());
    conditions.into_iter().flatten().any(|condition| condition.type_ == "Established" && condition.status == "True")
}

/// The fields of spec and status that `needed` has and `installed` would drop, by path, and the values in status that it would refuse.
#[must_use]
pub fn lacking(needed: &CustomResourceDefinition, installed: &CustomResourceDefinition) -> Vec<String> {
    let schema = |definition: &CustomResourceDefinition| {
        let version =
            definition.spec.versions.iter().find(|version| API_VERSION.ends_with(&format!("/{}", version.name)));
        json!(version.and_then(|version| version.schema.as_ref()?.open_api_v3_schema.as_ref()))
    };
    let mut lacking = Vec::new();
    compare(&schema(needed), &schema(installed), "", &mut lacking);
    lacking
}

/// Adds what the field `path` of `installed` lacks to `lacking`.
fn compare(needed: &Value, installed: &Value, path: &str, lacking: &mut Vec<String>) {
    if installed["x-kubernetes-preserve-unknown-fields"] == true {
        return;
    }
    for (field, property) in needed["properties"].as_object().into_iter().flatten() {
        let path = if path.is_empty() { field.clone() } else { format!("{path}.{field}") };
        match installed["properties"].get(field) {
            Some(known) => compare(property, known, &path, lacking),
            None => lacking.push(path),
        }
    }
    for inner in ["items", "additionalProperties"] {
        if let Some(schema) = needed.get(inner) {
            compare(schema, &installed[inner], path, lacking);
        }
    }
    if path.starts_with("status") && is_narrower(needed, installed) {
        lacking.push(format!("values of {path}"));
    }
}

/// Whether `installed` refuses a value that `needed` admits.
fn is_narrower(needed: &Value, installed: &Value) -> bool {
    let bounds = ["maxItems", "maxLength", "maxProperties"];
    let bound = |schema: &Value, keyword: &str| schema[keyword].as_u64().unwrap_or(u64::MAX);
    let refuses = |value: &Value| installed["enum"].as_array().is_some_and(|known| !known.contains(value));
    bounds.iter().any(|keyword| bound(installed, keyword) < bound(needed, keyword))
        || needed["enum"].as_array().into_iter().flatten().any(refuses)
}

fn finish(definition: CustomResourceDefinition) -> Result<CustomResourceDefinition, serde_json::Error> {
    let mut definition = serde_json::to_value(definition)?;
    if let Some(properties) = definition.pointer_mut("/spec/versions/0/schema/openAPIV3Schema/properties") {
        walk(&mut properties["spec"], "spec", &mut |schema, field| {
            choose_one(schema);
            bound(schema);
            write_plainly(schema, field);
            schema.remove("default");
        });
        // Dropped because the API server warns about formats that it does not know.
        for half in ["spec", "status"] {
            walk(&mut properties[half], half, &mut |schema, _| {
                schema.remove("format").filter(known).and_then(|format| schema.insert("format".into(), format));
            });
        }
        properties["status"]["default"] = json!({"observedGeneration": -1});
        properties["status"]["properties"]["observedGeneration"]["default"] = json!(-1);
        properties["status"]["description"] = json!("What usher found and did. Only usher writes it.");
    }
    serde_json::from_value(definition)
}

/// Calls `change` on the schema of `field` and every schema inside it, each with its field. An open object is left as it is.
fn walk(schema: &mut Value, field: &str, change: &mut impl FnMut(&mut Map<String, Value>, &str)) {
    let Value::Object(object) = schema else { return };
    if object.contains_key("x-kubernetes-preserve-unknown-fields") {
        return;
    }
    change(object, field);
    if let Some(Value::Object(properties)) = object.get_mut("properties") {
        properties.iter_mut().for_each(|(field, property)| walk(property, field, change));
    }
    for inner in ["items", "additionalProperties"] {
        if let Some(schema) = object.get_mut(inner) {
            walk(schema, field, change);
        }
    }
}

/// Replaces a choice between fields by a rule, because the API server's message on it names a single field.
fn choose_one(schema: &mut Map<String, Value>) {
    let Some(Value::Array(choices)) = schema.remove("oneOf") else { return };
    let fields: Vec<&str> = choices.iter().filter_map(|choice| choice["required"][0].as_str()).collect();
    add_rule(schema, &rules::exactly_one(&fields));
}

/// Sets a bound on a text, list or map without one. A list is atomic for server-side apply unless it is a set.
fn bound(schema: &mut Map<String, Value>) {
    match schema.get("type").and_then(Value::as_str) {
        Some("string") if !schema.contains_key("enum") => limit(schema, "maxLength", TEXT_LIMIT),
        Some("array") => {
            limit(schema, "maxItems", LIST_LIMIT);
            schema.entry("x-kubernetes-list-type").or_insert_with(|| json!("atomic"));
        }
        Some("object") if schema.contains_key("additionalProperties") => {
            limit(schema, "maxProperties", LIST_LIMIT);
            add_rule(schema, &rules::short_keys(KEY_LIMIT));
        }
        _ => {}
    }
}

/// Refuses characters in the text `field` that nobody sees. A rule of its own, which names the characters that it takes, is enough.
fn write_plainly(schema: &mut Map<String, Value>, field: &str) {
    let is_text = schema.get("type").is_some_and(|type_| type_ == "string") && !schema.contains_key("enum");
    let has_rule = schema.contains_key("x-kubernetes-validations");
    if is_text && KEYS.contains(&field) {
        add_rule(schema, &rules::plain_key());
    } else if is_text && !has_rule && !FREE_TEXTS.contains(&field) {
        add_rule(schema, &rules::plain_text());
    }
}

fn add_rule(schema: &mut Map<String, Value>, rule: &Rule) {
    if let Value::Array(rules) = schema.entry("x-kubernetes-validations").or_insert_with(|| json!([])) {
        rules.push(json!(rule));
    }
}

fn limit(schema: &mut Map<String, Value>, keyword: &str, most: u64) {
    schema.entry(keyword).or_insert_with(|| json!(most));
}

fn known(format: &Value) -> bool {
    matches!(format.as_str(), Some("int32" | "int64" | "double" | "date-time"))
}
