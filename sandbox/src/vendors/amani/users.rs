//! Users of Amani: groups kept as ids, shown as objects; users are blocked by `is_active` and never removed.

use serde_json::{Map, Value, json};

use super::COMPANY;
use crate::vendors::AmaniPaging;
use crate::vendors::fake;
use crate::vendors::http::{Problem, Refusal, Request, Response};
use crate::vendors::schema::{Schema, Shape, optional, required};
use crate::vendors::state::{State, overlay, without};
use crate::vendors::table::{text, unordered};

const SCHEMA: Schema = Schema {
    fields: &[
        required("email", Shape::SomeText),
        required("password", Shape::SomeText),
        optional("first_name", Shape::Text),
        optional("last_name", Shape::Text),
        optional("phone", Shape::Text),
        optional("groups", Shape::List(&Shape::Integer)),
        optional("is_active", Shape::Bool),
    ],
    server_made: &["id", "username", "company", "mfa", "reset_pw", "reset_2fa", "permissions"],
};

/// A user with all fields of a new one.
pub fn make(state: &mut State, given: Map<String, Value>) -> Value {
    let base = json!({
        "id": fake::uuid(state.next()),
        "email": "",
        "username": given.get("email"),
        "password": null,
        "first_name": "",
        "last_name": "",
        "phone": "",
        "company": COMPANY,
        "groups": [],
        "mfa": false,
        "reset_pw": false,
        "reset_2fa": false,
        "is_active": true,
    });
    overlay(base, given)
}

/// A user as the API shows it: roles as objects, and their permissions repeated at the user.
fn view(state: &State, user: &Value) -> Value {
    let mut shown = without(user, &["password"]);
    let roles: Vec<Value> =
        user["groups"].as_array().into_iter().flatten().filter_map(|id| state.groups.get(&text(id)).cloned()).collect();
    let mut permissions: Vec<String> =
        roles.iter().filter_map(|role| role["permissions"].as_array()).flatten().map(text).collect();
    permissions.sort_unstable();
    permissions.dedup();
    shown["permissions"] = json!(permissions);
    shown["groups"] = Value::Array(roles);
    shown
}

/// A bare array, or a page of Django REST Framework.
pub fn list(state: &State, request: &Request) -> Result<Response, Refusal> {
    if !state.options.amani.listing {
        return Err(Refusal::new(405, "Method \"GET\" not allowed."));
    }
    let view = |user| view(state, user);
    let Some(size) = state.options.amani.page_size else {
        return Ok(Response::new(200, state.users.iter().map(view).collect()));
    };
    let size = size.max(1);
    let total = state.users.iter().count();
    let first = place(state.options.amani.paging, request, size)?;
    if first > 0 && first >= total {
        return Err(Refusal::new(404, "Invalid page."));
    }
    let host = request.header("host").unwrap_or_default();
    let order = request.query.get("ordering").map(|field| format!("&ordering={field}")).unwrap_or_default();
    let link = |first: usize| {
        let page = query(state.options.amani.paging, first, size);
        format!("http://{host}{}?{page}{order}", request.path)
    };
    let mut rows: Vec<&Value> = state.users.iter().collect();
    if state.options.unordered && !request.query.contains_key("ordering") {
        rows = unordered(rows, first / size);
    }
    let rows = rows.into_iter().skip(first).take(size);
    let body = json!({
        "count": total,
        "next": (first + size < total).then(|| link(first + size)),
        "previous": first.checked_sub(size).map(link),
        "results": rows.map(view).collect::<Vec<_>>(),
    });
    Ok(Response::new(200, body))
}

/// Whether a query parameter may ask for a page, or for an order (Django REST Framework, OrderingFilter).
pub fn is_page_query(state: &State, name: &str) -> bool {
    name == "ordering"
        || match state.options.amani.paging {
            AmaniPaging::Number => name == "page",
            AmaniPaging::Offset => matches!(name, "limit" | "offset"),
            AmaniPaging::Cursor => name == "cursor",
        }
}

/// Number of rows before the requested page.
fn place(paging: AmaniPaging, request: &Request, size: usize) -> Result<usize, Refusal> {
    let number = |text: &str| text.parse().map_err(|_| Refusal::new(404, "Invalid page."));
    match paging {
        AmaniPaging::Number => Ok(size * (request.positive("page", 1)? - 1)),
        AmaniPaging::Offset => request.query.get("offset").map_or(Ok(0), |offset| number(offset)),
        AmaniPaging::Cursor => {
            let cursor =
                request.query.get("cursor").map(|cursor| cursor.trim_start_matches("p=").trim_end_matches('='));
            cursor.map_or(Ok(0), number)
        }
    }
}

fn query(paging: AmaniPaging, first: usize, size: usize) -> String {
    match paging {
        AmaniPaging::Number => format!("page={}", first / size + 1),
        AmaniPaging::Offset => format!("limit={size}&offset={first}"),
        AmaniPaging::Cursor => format!("cursor=p%3D{first}%3D"),
    }
}

/// A user; by option no call at all.
pub fn read(state: &State, request: &Request) -> Result<Response, Refusal> {
    if let Some(status) = state.options.amani.reading_refused {
        return Err(Refusal::new(status, "Method \"GET\" not allowed."));
    }
    let user = find(state, request.last())?;
    Ok(Response::new(200, view(state, user)))
}

pub fn create(state: &mut State, request: &Request) -> Result<Response, Refusal> {
    let body = request.object()?;
    SCHEMA.whole(&body)?;
    if body.contains_key("is_active") {
        return Err(Refusal::malformed_as(400, "is_active: not in the table of a create"));
    }
    check(state, &body, "")?;
    let user = make(state, body);
    let shown = view(state, &user);
    state.users.put(user);
    Ok(Response::new(201, shown))
}

/// A merge; by option with e-mail and password in every call, as the page's table says.
pub fn update(state: &mut State, request: &Request) -> Result<Response, Refusal> {
    let body = request.object()?;
    SCHEMA.part(&body)?;
    if state.options.amani.patch_requires_credentials {
        credentials(&body)?;
    }
    let mut user = find(state, request.last())?.clone();
    check(state, &body, request.last())?;
    if let Some(email) = body.get("email") {
        user["username"] = email.clone();
    }
    let user = overlay(user, body);
    let shown = view(state, &user);
    state.users.put(user);
    Ok(Response::new(200, shown))
}

fn credentials(body: &Map<String, Value>) -> Result<(), Refusal> {
    let missing: Vec<Problem> = ["email", "password"]
        .into_iter()
        .filter(|name| !body.contains_key(*name))
        .map(|name| Problem { field: name.to_owned(), message: "This field is required.".to_owned() })
        .collect();
    if missing.is_empty() { Ok(()) } else { Err(Refusal::malformed(missing)) }
}

fn find<'a>(state: &'a State, id: &str) -> Result<&'a Value, Refusal> {
    state.users.get(id).ok_or_else(|| Refusal::new(404, "Not found."))
}

/// Valid and unused e-mail, password of six characters (page "Studio user management"), roles that exist.
fn check(state: &State, body: &Map<String, Value>, id: &str) -> Result<(), Refusal> {
    let given = |name: &str| body.get(name).and_then(Value::as_str);
    if let Some(email) = given("email") {
        if !email.contains('@') {
            let message = "Enter a valid email address.";
            return Err(Refusal::value(400, "email", message));
        }
        if state.users.taken(email, id) {
            let message = "user with this email already exists.";
            return Err(Refusal::value(400, "email", message));
        }
    }
    if given("password").is_some_and(|password| password.chars().count() < 6) {
        let message = "Ensure this field has at least 6 characters.";
        return Err(Refusal::value(400, "password", message));
    }
    for role in body.get("groups").and_then(Value::as_array).into_iter().flatten() {
        if state.groups.get(&text(role)).is_none() {
            let message = format!("Invalid pk \"{role}\" - object does not exist.");
            return Err(Refusal::value(400, "groups", message));
        }
    }
    Ok(())
}
