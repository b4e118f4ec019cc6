//! Lists of `OZmap`: `{total, count, rows, start, limit, hasNextPage, nextUrl}` (wiki page and SDK).

use serde_json::{Value, json};

use super::filter::Filter;
use crate::vendors::Options;
use crate::vendors::http::{Refusal, Request, Response};
use crate::vendors::table::{Table, unordered};

const PAGE: usize = 25;

/// The requested page of `rows`, each row as `view` shows it.
pub fn page<'a>(
    options: &Options,
    request: &Request,
    rows: impl Iterator<Item = &'a Value>,
    view: impl Fn(&Value) -> Value,
) -> Result<Response, Refusal> {
    request.allow_query(|name| matches!(name, "page" | "limit" | "select" | "filter" | "sort"))?;
    let number = request.positive("page", 1)?;
    let asked = request.positive("limit", PAGE)?;
    let limit = asked.min(options.ozmap.largest_page);
    let filter = Filter::of(request)?;
    let mut rows: Vec<&Value> = rows.filter(|row| filter.admits(row)).collect();
    if options.unordered && !is_sorted(request)? {
        rows = unordered(rows, number);
    }
    let total = rows.len();
    let start = if options.ozmap.start_as_asked { asked } else { limit }.saturating_mul(number - 1);
    let shown: Vec<Value> = rows.iter().skip(start).take(limit).map(|row| select(request, view(row))).collect();
    let more = start.saturating_add(limit) < total;
    // The filter is not part of it, so a client has to send it again.
    let next = more.then(|| format!("{}?page={}&limit={limit}", request.path, number + 1));
    let body = json!({
        "total": total,
        "count": shown.len(),
        "rows": shown,
        "start": start,
        "limit": limit,
        "hasNextPage": more,
        "nextUrl": next,
    });
    Ok(Response::new(200, body))
}

/// Whether the client asks for an order, as the SDK's sorter writes it: a list of `{property, direction}`.
fn is_sorted(request: &Request) -> Result<bool, Refusal> {
    let Some(sort) = request.query.get("sort") else { return Ok(false) };
    let sort: Value = serde_json::from_str(sort).unwrap_or_default();
    let is_order = |one: &Value| one["property"].is_string() && matches!(one["direction"].as_i64(), Some(1 | -1));
    match sort.as_array() {
        Some(orders) if orders.iter().all(is_order) => Ok(true),
        _ => Err(Refusal::malformed_as(400, "query parameter sort: expected a list of {property, direction}")),
    }
}

/// A list, or one row of it when the path continues after `collection`.
pub fn of_names(options: &Options, request: &Request, table: &Table, collection: &str) -> Result<Response, Refusal> {
    let id = request.last();
    if id == collection {
        return page(options, request, table.iter(), Value::clone);
    }
    match table.get(id) {
        Some(row) => Ok(Response::new(200, row.clone())),
        None => Err(Refusal::new(404, "Not found")),
    }
}

/// The named fields, and always both ids.
pub fn select(request: &Request, mut row: Value) -> Value {
    if let (Some(wanted), Value::Object(fields)) = (request.query.get("select"), &mut row) {
        let wanted: Vec<&str> = wanted.split([' ', ',']).collect();
        fields.retain(|name, _| matches!(name.as_str(), "id" | "_id") || wanted.contains(&name.as_str()));
    }
    row
}
