//! Waiting until all objects are Ready, with a line for each; it changes nothing.

use std::time::{Duration, Instant};

use kube::Api;
use kube::api::{ApiResource, DynamicObject};
use kube::core::GroupVersionKind;
use kube::runtime::wait::await_condition;
use serde_json::Value;

use super::stage::{Applied, NAMESPACE, Stage};
use super::{Failure, Out};

/// Longest time until anything comes true.
pub const PATIENCE: Duration = Duration::from_mins(2);

/// Waits until all of `objects` are Ready.
///
/// Errors: one that is not in time, with what it says of itself.
pub async fn until_ready(stage: &Stage, objects: &[Applied], out: Out<'_>) -> Result<(), Failure> {
    let begun = Instant::now();
    for (kind, name) in objects {
        let api = api_of(stage, kind);
        let left = PATIENCE.saturating_sub(begun.elapsed());
        let ready = await_condition(api.clone(), name, |object: Option<&DynamicObject>| {
            object.is_some_and(|object| condition(object)["status"] == "True")
        });
        let Ok(object) = tokio::time::timeout(left, ready).await else {
            let said = condition(&api.get(name).await?);
            return Err(format!("{kind} {name} is not Ready: {}: {}", said["reason"], said["message"]).into());
        };
        let reason = object?.map(|object| condition(&object)["reason"].clone()).unwrap_or_default();
        writeln!(out, "Ready: {kind:<19} {name:<13} {}", reason.as_str().unwrap_or_default())?;
        out.flush()?;
    }
    writeln!(out, "All {} are Ready after {:.1} s.", objects.len(), begun.elapsed().as_secs_f64())?;
    Ok(())
}

/// The API of one of usher's kinds in the examples' namespace.
pub fn api_of(stage: &Stage, kind: &str) -> Api<DynamicObject> {
    let plural = format!("{}s", kind.to_ascii_lowercase());
    let resource = ApiResource::from_gvk_with_plural(&GroupVersionKind::gvk("usher.dev", "v1alpha1", kind), &plural);
    Api::namespaced_with(stage.client.clone(), NAMESPACE, &resource)
}

/// The Ready condition, or null.
pub fn condition(object: &DynamicObject) -> Value {
    let conditions = object.data.pointer("/status/conditions").and_then(Value::as_array);
    conditions.into_iter().flatten().find(|condition| condition["type"] == "Ready").cloned().unwrap_or_default()
}
