//! What a run comes to, without what differs from run to run: ids, times, ports.

use std::collections::{BTreeMap, BTreeSet};

use k8s_openapi::api::core::v1::Secret;
use kube::api::ListParams;
use kube::{Resource, ResourceExt};
use serde::Serialize;
use serde_json::{Value, json};
use usher::api::conditions::{ConditionType, find};
use usher::api::status::ObjectStatus;
use usher::api::{PlatformGroup, PlatformUser, ProviderCredential};

use super::stage::Stage;

/// All that vendor and cluster hold at this moment, made comparable.
pub async fn present(Stage { scene, people, .. }: &Stage) -> Value {
    let all = ListParams::default();
    let users = people.api::<PlatformUser>().list(&all).await.unwrap();
    let groups = people.api::<PlatformGroup>().list(&all).await.unwrap();
    let credentials = scene.api::<ProviderCredential>().list(&all).await.unwrap();
    let login = scene.api::<Secret>().get_metadata_opt("main").await.unwrap();
    let (accounts, remote_groups) = (scene.vendor.users(), scene.vendor.groups());
    let names = names(&accounts, &remote_groups);
    let mut state = json!({
        "users": users.iter().map(|user| object(user, user.status.as_ref())).collect::<Vec<_>>(),
        "groups": groups.iter().map(|group| object(group, group.status.as_ref())).collect::<Vec<_>>(),
        "credentials": credentials.iter().map(credential).collect::<Vec<_>>(),
        "login": login.map(|login| json!({"finalizers": login.metadata.finalizers, "going": login.metadata.deletion_timestamp.is_some()})),
        "accounts": accounts,
        "remoteGroups": remote_groups,
    });
    normalise("", &mut state, &names);
    for list in ["accounts", "remoteGroups"] {
        state[list].as_array_mut().unwrap().sort_by_key(|row| text(&row["email"]) + &text(&row["name"]));
    }
    state
}

/// Every id the vendor gave out, and what it belongs to.
fn names(accounts: &[Value], groups: &[Value]) -> BTreeMap<String, String> {
    let named = |key: &'static str| move |row: &Value| (text(&row["id"]), format!("<id of {}>", text(&row[key])));
    accounts.iter().map(named("email")).chain(groups.iter().map(named("name"))).collect()
}

fn text(value: &Value) -> String {
    value.as_str().map_or_else(|| value.to_string(), str::to_owned)
}

fn object<K: Resource<DynamicType = ()> + Serialize>(object: &K, status: Option<&ObjectStatus>) -> Value {
    let meta = object.meta();
    let identity = status.map(|status| &status.identity);
    let report = status.map(|status| &status.report);
    let ready = report.and_then(|report| find(&report.conditions, ConditionType::Ready));
    json!({
        "object": object.name_any(),
        "finalizers": meta.finalizers,
        "going": meta.deletion_timestamp.is_some(),
        "isCurrent": report.map(|report| Some(report.observed_generation) == meta.generation),
        "reason": ready.map(|ready| &ready.reason),
        "mode": report.map(|report| report.mode),
        "externalId": identity.map(|identity| &identity.external_id),
        "key": identity.map(|identity| &identity.key),
        "isBound": identity.map(|identity| identity.account.is_some()),
        "creating": identity.map(|identity| identity.creating.is_some()),
        "adopted": identity.map(|identity| identity.adopted),
        "sent": identity.map(|identity| &identity.sent),
        "passwordSent": identity.map(|identity| identity.password_version.is_some()),
        "groupsAdded": identity.map(|identity| &identity.groups),
    })
}

fn credential(credential: &ProviderCredential) -> Value {
    let status = credential.status.as_ref();
    let ready = status.and_then(|status| find(&status.conditions, ConditionType::Ready));
    json!({
        "object": credential.name_any(),
        "finalizers": credential.metadata.finalizers,
        "going": credential.metadata.deletion_timestamp.is_some(),
        "reason": ready.map(|ready| &ready.reason),
        "isCurrent": status.map(|status| Some(status.observed_generation) == credential.metadata.generation),
        "removals": status.and_then(|status| status.recent_removals.as_ref()).map(|recent| recent.iter().map(|part| part.count).sum::<u32>()),
        "holdsRemovals": status.is_some_and(|status| status.held_removals.is_some()),
    })
}

fn normalise(key: &str, value: &mut Value, names: &BTreeMap<String, String>) {
    match value {
        Value::Object(fields) => fields.iter_mut().for_each(|(key, value)| normalise(key, value, names)),
        Value::Array(items) => items.iter_mut().for_each(|value| normalise(key, value, names)),
        Value::Bool(_) | Value::Null => {}
        leaf => {
            if let Some(name) = names.get(&text(leaf)) {
                *leaf = json!(name);
            } else if is_time(key, leaf) {
                *leaf = json!("<time>");
            } else if matches!(key, "id" | "_id") {
                *leaf = json!("<id>");
            }
        }
    }
}

fn is_time(key: &str, value: &Value) -> bool {
    match value {
        Value::String(text) => text.parse::<jiff::Timestamp>().is_ok(),
        Value::Number(_) => {
            ["created", "updated", "joined", "login", "version", "__v"].iter().any(|part| key.contains(part))
        }
        _ => false,
    }
}

/// Every place where two states differ, one a line.
pub fn differences(wanted: &Value, found: &Value) -> String {
    let mut lines = Vec::new();
    compare("", wanted, found, &mut lines);
    lines.join("\n")
}

fn compare(place: &str, wanted: &Value, found: &Value, lines: &mut Vec<String>) {
    match (wanted, found) {
        (Value::Object(left), Value::Object(right)) => {
            let keys: BTreeSet<&String> = left.keys().chain(right.keys()).collect();
            keys.iter().for_each(|key| compare(&format!("{place}/{key}"), &wanted[*key], &found[*key], lines));
        }
        (Value::Array(left), Value::Array(right)) if left.len() == right.len() => {
            let pairs = left.iter().zip(right).enumerate();
            pairs.for_each(|(number, (left, right))| compare(&format!("{place}/{number}"), left, right, lines));
        }
        _ if wanted == found => {}
        _ => lines.push(format!("{place}: {found} instead of {wanted}")),
    }
}
