//! Prints objects as kubectl shows them, accounts as a vendor holds them, and calls as a vendor received them.

use std::process::Stdio;

use http::Request;
use http::header::ACCEPT;
use serde_json::Value;
use tokio::process::Command;

use super::stage::{NAMESPACE, Stage};
use super::{Failure, Out};
use crate::vendors::Simulator;

/// The media type that kubectl asks for, because the API server itself makes rows and columns of a list.
const AS_TABLE: &str = "application/json;as=Table;v=v1;g=meta.k8s.io";

/// Prints `kubectl get usher`, with kubectl itself if it is installed.
///
/// Errors: the cluster does not answer.
pub async fn usher(stage: &Stage, out: Out<'_>) -> Result<(), Failure> {
    let kubectl = Command::new("kubectl")
        .arg("--kubeconfig")
        .arg(stage.kubeconfig())
        .args(["--namespace", NAMESPACE, "--request-timeout", "10s", "get", "usher"])
        .stdin(Stdio::null())
        .kill_on_drop(true)
        .output()
        .await;
    match kubectl {
        Ok(output) if output.status.success() => out.write_all(&output.stdout)?,
        _ => without_kubectl(stage, out).await?,
    }
    Ok(())
}

async fn without_kubectl(stage: &Stage, out: Out<'_>) -> Result<(), Failure> {
    for (number, kind) in ["platformgroup", "platformuser", "providercredential"].into_iter().enumerate() {
        let path = format!("/apis/usher.dev/v1alpha1/namespaces/{NAMESPACE}/{kind}s");
        let request = Request::get(path).header(ACCEPT, AS_TABLE).body(Vec::new())?;
        let table: Value = stage.client.request(request).await?;
        if number > 0 {
            writeln!(out)?;
        }
        write_aligned(&rows(kind, &table), out)?;
    }
    Ok(())
}

/// Headings and rows of a Table, without the columns of `-o wide`.
fn rows(kind: &str, table: &Value) -> Vec<Vec<String>> {
    let columns: Vec<&Value> = list(&table["columnDefinitions"]).collect();
    let narrow = |cells: Vec<String>| -> Vec<String> {
        let both = cells.into_iter().zip(&columns);
        both.filter(|(_, column)| column["priority"] == 0).map(|(cell, _)| cell).collect()
    };
    let headings = columns.iter().map(|column| text(&column["name"]).to_uppercase()).collect();
    let mut rows = vec![narrow(headings)];
    for row in list(&table["rows"]) {
        let mut cells = narrow(list(&row["cells"]).map(text).collect());
        if let Some(name) = cells.first_mut() {
            *name = format!("{kind}.usher.dev/{name}");
        }
        rows.push(cells);
    }
    rows
}

/// Writes columns as wide as their widest cell, three blanks apart.
fn write_aligned(rows: &[Vec<String>], out: Out<'_>) -> Result<(), Failure> {
    let width = |column: usize| rows.iter().filter_map(|row| row.get(column)).map(|cell| cell.chars().count()).max();
    for row in rows {
        let cells = row.iter().enumerate();
        let padded = cells.map(|(column, cell)| format!("{cell:<0$}", width(column).unwrap_or_default() + 3));
        let line: Vec<String> = padded.collect();
        writeln!(out, "{}", line.concat().trim_end())?;
    }
    Ok(())
}

/// Prints the accounts and groups of one vendor.
///
/// Errors: `out` cannot be written.
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

/// Prints the calls that a vendor received, with names of fields and without values.
///
/// Errors: `out` cannot be written.
pub fn calls(vendor: &Simulator, out: Out<'_>) -> Result<(), Failure> {
    for call in vendor.calls() {
        let fields: Vec<String> = match &call.body {
            Some(Value::Object(body)) => body.keys().cloned().collect(),
            Some(Value::Array(operations)) => operations.iter().map(|operation| text(&operation["path"])).collect(),
            _ => Vec::new(),
        };
        let line = format!("  {:<6} {} {} {}", call.method, call.path, call.status, fields.join(", "));
        writeln!(out, "{}", line.trim_end())?;
    }
    Ok(())
}

fn list(value: &Value) -> impl Iterator<Item = &Value> {
    value.as_array().into_iter().flatten()
}

/// A cell as kubectl writes it.
fn text(value: &Value) -> String {
    match value {
        Value::Null => String::new(),
        Value::String(text) => text.clone(),
        other => other.to_string(),
    }
}

#[cfg(test)]
mod tests {
    use serde_json::json;

    use super::*;

    #[test]
    fn a_table_of_the_api_server_looks_as_with_kubectl() {
        let table = json!({
            "columnDefinitions": [
                {"name": "Name", "priority": 0}, {"name": "Users", "priority": 0}, {"name": "Mode", "priority": 1},
                {"name": "Reason", "priority": 0},
            ],
            "rows": [{"cells": ["a", 12, "Plan", null]}, {"cells": ["longer", 3, "Plan", "Synced"]}],
        });
        let mut shown = Vec::new();
        write_aligned(&rows("platformuser", &table), &mut shown).unwrap();
        let expected = "\
NAME                            USERS   REASON
platformuser.usher.dev/a        12
platformuser.usher.dev/longer   3       Synced
";
        assert_eq!(String::from_utf8(shown).unwrap(), expected);
    }
}
