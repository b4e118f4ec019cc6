//! Renders a plan as a table for people or as JSON for programs. It decides nothing.

use serde_json::json;

use crate::controller::preview::{Effect, Item};

/// The columns of a row.
type Row = [String; 4];

/// One line per call, and a line with reason and message for an object that is blocked or paused or has a message with its calls.
pub fn table(items: &[Item]) -> String {
    let mut rows: Vec<Row> = vec![["OBJECT", "OPERATION", "TARGET", "FIELDS"].map(str::to_owned)];
    let mut lines = Vec::new();
    for item in items {
        let object = item.key.to_string();
        for call in &item.calls {
            rows.push([object.clone(), call.operation.clone(), call.target.clone(), call.fields.join(",")]);
            lines.push(None);
        }
        let has_message = item.effect == Effect::Blocked || item.reason == "Paused" || !item.calls.is_empty();
        if has_message && !item.message.is_empty() {
            let mark = if item.effect == Effect::Blocked { "BLOCKED " } else { "" };
            rows.push([object, String::new(), String::new(), String::new()]);
            lines.push(Some(format!("{mark}{}: {}", item.reason, item.message)));
        }
    }
    let mut text = String::new();
    if rows.len() > 1 {
        let width = |column: usize| rows.iter().map(|row| row[column].chars().count()).max().unwrap_or_default();
        let widths = [width(0), width(1), width(2)];
        let messages = std::iter::once(None).chain(lines);
        for (row, message) in rows.iter().zip(messages) {
            text.push_str(line(row, widths, message.as_deref()).trim_end());
            text.push('\n');
        }
    }
    text.push_str(&summary(items));
    text
}

fn line(
    [object, operation, target, fields]: &Row,
    [first, second, third]: [usize; 3],
    message: Option<&str>,
) -> String {
    match message {
        Some(message) => format!("{object:first$}  {message}"),
        None => format!("{object:first$}  {operation:second$}  {target:third$}  {fields}"),
    }
}

fn summary(items: &[Item]) -> String {
    let calls: usize = items.iter().map(|item| item.calls.len()).sum();
    let count = |effect| items.iter().filter(|item| item.effect == effect).count();
    let (changed, blocked) = (count(Effect::Changes), count(Effect::Blocked));
    let tail = if blocked > 0 { format!("; {blocked} blocked") } else { String::new() };
    let plural = |count: usize| if count == 1 { "" } else { "s" };
    if calls + blocked == 0 {
        return format!("nothing to do for {} object{}\n", items.len(), plural(items.len()));
    }
    format!("{calls} call{} for {changed} of {} object{}{tail}\n", plural(calls), items.len(), plural(items.len()))
}

/// An array of `{kind, namespace, name, reason, message, calls}`.
///
/// Errors: rendering failed; no cause is known.
pub fn json(items: &[Item]) -> Result<String, serde_json::Error> {
    let entry = |item: &Item| {
        json!({
            "kind": item.key.kind.to_string(),
            "namespace": item.key.namespace,
            "name": item.key.name,
            "reason": item.reason,
            "message": item.message,
            "calls": item.calls,
        })
    };
    let mut text = serde_json::to_string_pretty(&items.iter().map(entry).collect::<Vec<_>>())?;
    text.push('\n');
    Ok(text)
}
