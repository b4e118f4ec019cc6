//! Waits until all objects are Ready and prints a line for each; it changes nothing.

use std::time::{Duration, Instant};

use kube::api::DynamicObject;
use kube::runtime::wait::await_condition;
use serde_json::Value;

use super::stage::{Applied, Stage};
use super::{Failure, Out};

/// Longest wait for any condition of the demo.
pub const PATIENCE: Duration = Duration::from_mins(2);

/// Waits until all of `objects` are Ready.
///
/// Errors: some are not Ready in time; their messages are printed to `out`.
pub async fn until_ready(stage: &Stage, objects: &[Applied], out: Out<'_>) -> Result<(), Failure> {
    let begun = Instant::now();
    for Applied { kind, name } in objects {
        let ready = await_condition(stage.objects(kind), name, |object: Option<&DynamicObject>| {
            object.is_some_and(|object| condition(object)["status"] == "True")
        });
        let Ok(object) = tokio::time::timeout(PATIENCE.saturating_sub(begun.elapsed()), ready).await else {
            return Err(complain(stage, objects, out).await?.into());
        };
        let said = object?.map(|object| condition(&object)).unwrap_or_default();
        writeln!(out, "{kind:<19} {name:<13} {}", text(&said["reason"]))?;
        out.flush()?;
    }
    writeln!(out, "All {} are Ready after {:.1} s.", objects.len(), begun.elapsed().as_secs_f64())?;
    Ok(())
}

/// Prints the messages of objects that are not Ready and returns a summary.
async fn complain(stage: &Stage, objects: &[Applied], out: Out<'_>) -> Result<String, Failure> {
    let mut count = 0;
    for Applied { kind, name } in objects {
        let said = condition(&stage.objects(kind).get(name).await?);
        if said["status"] != "True" {
            count += 1;
            writeln!(out, "{kind} {name} is not Ready: {}: {}", text(&said["reason"]), text(&said["message"]))?;
        }
    }
    Ok(format!("{count} of {} objects are not Ready after {} s", objects.len(), PATIENCE.as_secs()))
}

/// The Ready condition, or null.
fn condition(object: &DynamicObject) -> Value {
    let conditions = object.data.pointer("/status/conditions").and_then(Value::as_array);
    conditions.into_iter().flatten().find(|condition| condition["type"] == "Ready").cloned().unwrap_or_default()
}

fn text(value: &Value) -> &str {
    value.as_str().unwrap_or("not reconciled yet")
}
