//! What is shown: objects as kubectl shows them, accounts as the vendor holds them, calls as it got them.

use std::process::Stdio;

use kube::ResourceExt;
use kube::api::{DynamicObject, ListParams};
use serde_json::Value;
use tokio::process::Command;

use super::stage::{NAMESPACE, Stage};
use super::waiting::{api_of, condition};
use super::{Failure, Out};
use crate::vendors::Simulator;

/// `kubectl get usher`, by kubectl itself if it is there.
///
/// Errors: the cluster does not answer.
pub async fn usher(stage: &Stage, out: Out<'_>) -> Result<(), Failure> {
    let kubectl = Command::new("kubectl")
        .arg("--kubeconfig")
        .arg(stage.kubeconfig())
        .args(["--namespace", NAMESPACE, "get", "usher"])
        .stdin(Stdio::null())
        .output()
        .await;
    match kubectl {
        Ok(output) if output.status.success() => out.write_all(&output.stdout)?,
        _ => own_tables(stage, out).await?,
    }
    Ok(())
}

async fn own_tables(stage: &Stage, out: Out<'_>) -> Result<(), Failure> {
    for kind in ["PlatformUser", "PlatformGroup", "ProviderCredential"] {
        writeln!(out, "{:<36} {:<6} {:<11} {:<13} EXTERNAL ID", "NAME", "READY", "REASON", "PROVIDER")?;
        for object in api_of(stage, kind).list(&ListParams::default()).await? {
            row(kind, &object, out)?;
        }
        writeln!(out)?;
    }
    Ok(())
}

fn row(kind: &str, object: &DynamicObject, out: Out<'_>) -> Result<(), Failure> {
    let ready = condition(object);
    let status = &object.data["status"];
    writeln!(
        out,
        "{:<36} {:<6} {:<11} {:<13} {}",
        format!("{}/{}", kind.to_ascii_lowercase(), object.name_any()),
        text(&ready["status"]),
        text(&ready["reason"]),
        text(&status["provider"]),
        text(&status["externalId"])
    )?;
    Ok(())
}

/// The accounts and groups of one vendor.
///
/// Errors: the writer's.
pub fn vendor(vendor: &Simulator, out: Out<'_>) -> Result<(), Failure> {
    let names = |entries: Vec<Value>, keys: [&str; 2]| {
        let name = |entry: &Value| keys.iter().find_map(|key| entry[key].as_str()).unwrap_or("?").to_owned();
        let mut names: Vec<String> = entries.iter().map(name).collect();
        names.sort();
        names.join(", ")
    };
    let users = names(vendor.users(), ["email", "username"]);
    let groups = names(vendor.groups(), ["name", "id"]);
    writeln!(out, "{:<13} users: {users}; groups: {groups}", vendor.vendor().name())?;
    Ok(())
}

/// The calls a vendor got, with what was sent; passwords are not shown.
///
/// Errors: the writer's.
pub fn calls(vendor: &Simulator, out: Out<'_>) -> Result<(), Failure> {
    for call in vendor.calls() {
        let fields = match &call.body {
            Some(Value::Object(body)) => body.keys().cloned().collect::<Vec<_>>().join(", "),
            Some(Value::Array(operations)) => {
                operations.iter().map(|operation| text(&operation["path"])).collect::<Vec<_>>().join(", ")
            }
            _ => String::new(),
        };
        writeln!(out, "  {:<6} {} {} {fields}", call.method, call.path, call.status)?;
    }
    Ok(())
}

fn text(value: &Value) -> String {
    value.as_str().map_or_else(String::new, str::to_owned)
}
