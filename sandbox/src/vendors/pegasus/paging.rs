//! Pages, search and selection, the same for every collection ("API overview"). It does not know what it lists.

use serde_json::{Value, json};

use crate::vendors::http::{Refusal, Request, Response};
use crate::vendors::options::{Options, PegasusOptions};
use crate::vendors::table::{text, unordered};

const PAGE: usize = 200;
const LARGEST_PAGE: usize = 1000;

/// The requested page of `rows`, each row as `view` shows it.
pub fn page<'a>(
    options: &Options,
    request: &Request,
    rows: impl Iterator<Item = &'a Value>,
    view: impl Fn(&Value) -> Value,
    search: bool,
) -> Result<Response, Refusal> {
    request.allow_query(|name| matches!(name, "page" | "set" | "select") || name.starts_with("search."))?;
    let number = request.positive("page", 1)?;
    let size = request.positive("set", PAGE)?.min(LARGEST_PAGE);
    let mut rows: Vec<&Value> = rows.collect();
    if search && request.query.keys().any(|name| name.starts_with("search.")) {
        rows.retain(|row| matches(&options.pegasus, request, &view(row)));
    }
    if options.pegasus.bare_lists {
        let all = rows.iter().map(|row| select(request, view(row))).collect();
        return Ok(Response::new(200, Value::Array(all)));
    }
    if options.unordered {
        rows = unordered(rows, number);
    }
    let data: Vec<Value> =
        rows.iter().skip(size.saturating_mul(number - 1)).take(size).map(|row| select(request, view(row))).collect();
    let body = json!({
        "set": data.len(),
        "page": number,
        "pages": rows.len().div_ceil(size).max(1),
        "total": rows.len(),
        "data": data,
    });
    Ok(Response::new(200, body))
}

/// Every `search.<key>` must equal the value, in the same case. Dotted keys go into objects; quotes around the value are dropped.
fn matches(options: &PegasusOptions, request: &Request, row: &Value) -> bool {
    request.query.iter().filter_map(|(name, wanted)| Some((name.strip_prefix("search.")?, wanted))).all(
        |(key, wanted)| {
            let found = key.split('.').fold(row, |value, part| &value[part]);
            let is_torn = options.search_needs_quotes && wanted.contains(' ') && !wanted.starts_with('"');
            text(found) == wanted.trim_matches('"') && !is_torn
        },
    )
}

/// The named fields, and always the id.
fn select(request: &Request, mut row: Value) -> Value {
    if let (Some(wanted), Value::Object(fields)) = (request.query.get("select"), &mut row) {
        let names: Vec<&str> = wanted.split(',').map(str::trim).collect();
        fields.retain(|name, _| name == "id" || names.contains(&name.as_str()));
    }
    row
}
