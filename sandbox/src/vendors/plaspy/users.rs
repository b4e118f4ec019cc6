//! Users of Plaspy: fields that were never set are not shown, the password is always null.

use std::collections::BTreeSet;

use jiff::Timestamp;
use serde_json::{Map, Value, json};

use super::{Plaspy, patch, places, wrapped};
use crate::vendors::api::Api;
use crate::vendors::http::{Refusal, Request, Response};
use crate::vendors::schema::{Schema, Shape, optional, required};
use crate::vendors::state::{State, overlay};

const SERVER_MADE: &[&str] = &["id", "creation", "modification", "lastLogin"];

/// The table of the page "POST /api/users". Its three times are accepted there but "typically
/// system-generated": here they count as made by the server.
const SCHEMA: Schema = Schema {
    fields: &[
        required("name", Shape::SomeText),
        required("email", Shape::SomeText),
        required("country", Shape::SomeText),
        required("timeZone", Shape::SomeText),
        optional("description", Shape::TextOrNull),
        optional("message", Shape::TextOrNull),
        optional("disabled", Shape::Bool),
        optional("disabledMessage", Shape::TextOrNull),
        optional("tags", Shape::MapOf(&Shape::Text)),
        optional("privileges", Shape::List(&Shape::Text)),
        optional("group", Shape::TextOrNull),
        optional("deviceId", Shape::TextOrNull),
        optional("adminDevices", Shape::Integer),
        optional("from", Shape::TextOrNull),
        optional("expires", Shape::TextOrNull),
        optional("password", Shape::TextOrNull),
    ],
    server_made: SERVER_MADE,
};

/// A user with all fields of a new one.
pub fn make(state: &mut State, given: Map<String, Value>) -> Value {
    let now = state.now();
    let base = json!({
        "id": format!("usr-{}", 10_000 + state.next()),
        "name": given.get("email"),
        "country": "US",
        "timeZone": "UTC",
        "password": null,
        "creation": now,
        "modification": now,
        "lastLogin": null,
    });
    overlay(base, given)
}

fn view(state: &State, user: &Value) -> Value {
    let mut shown = user.clone();
    shown["password"] = Value::Null;
    if state.options.plaspy.country_as_name {
        let name = user["country"].as_str().and_then(places::country_name);
        if let Some(name) = name {
            shown["country"] = json!(name);
        }
    }
    if state.options.plaspy.group_shown_otherwise {
        let (written, otherwise) = if state.options.plaspy.group_by_id { ("id", "name") } else { ("name", "id") };
        let group = state.groups.iter().find(|group| Some(&group[written]) == user.get("group"));
        if let Some(group) = group {
            shown["group"] = group[otherwise].clone();
        }
    }
    shown
}

pub fn list(state: &State) -> Response {
    let users: Vec<Value> = state.users.iter().map(|user| view(state, user)).collect();
    wrapped(state, 200, json!({"users": users}))
}

pub fn read(state: &State, request: &Request) -> Result<Response, Refusal> {
    let user = find(state, request.last())?;
    Ok(wrapped(state, 200, view(state, user)))
}

pub fn create(state: &mut State, request: &Request) -> Result<Response, Refusal> {
    let body = request.object()?;
    SCHEMA.whole(&body)?;
    check(state, &body, "")?;
    if state.options.plaspy.strict_group && body.get("group") == Some(&json!("")) {
        return Err(Refusal::new(400, "Group not found"));
    }
    let user = make(state, body);
    let shown = view(state, &user);
    state.users.put(user);
    Ok(wrapped(state, 201, shown))
}

/// PUT replaces all but the password; PATCH is a JSON Patch.
pub fn update(state: &mut State, request: &Request) -> Result<Response, Refusal> {
    let id = request.last();
    let before = find(state, id)?.clone();
    let (made, mut fields) = split(&before);
    if request.method == "PUT" {
        let body = request.object()?;
        SCHEMA.whole(&body)?;
        check(state, &body, id)?;
        fields.retain(|name, _| name == "password");
        fields.extend(body);
    } else {
        let touched = patch::apply(&SCHEMA, &mut fields, &request.json()?)?;
        check(state, &only(&fields, &touched), id)?;
    }
    let mut user = overlay(made, fields);
    Plaspy.touch(&mut user);
    let shown = view(state, &user);
    state.users.put(user);
    Ok(wrapped(state, 200, shown))
}

pub fn delete(state: &mut State, request: &Request) -> Result<Response, Refusal> {
    find(state, request.last())?;
    state.users.remove(request.last());
    Ok(wrapped(state, 200, json!({})))
}

/// Users follow a group that is renamed and leave one that is removed.
pub fn follow_group(state: &mut State, before: &Value, after: Option<&Value>) {
    let field = reference(state);
    let now = after.map_or(Value::Null, |group| group[field].clone());
    let old = &before[field];
    let still_there = state.groups.iter().any(|group| &group[field] == old);
    if &now == old || still_there {
        return;
    }
    let members: Vec<Value> = state.users.iter().filter(|user| user.get("group") == Some(old)).cloned().collect();
    for mut user in members {
        user["group"] = now.clone();
        state.users.put(user);
    }
}

/// The field of a group that a user's `group` holds: the name as in every documented example, the id by option.
fn reference(state: &State) -> &'static str {
    if state.options.plaspy.group_by_id { "id" } else { "name" }
}

/// Splits a user into the fields that the server made and all others.
fn split(user: &Value) -> (Value, Map<String, Value>) {
    let fields = user.as_object().cloned().unwrap_or_default();
    let is_made = |name: &String| SERVER_MADE.contains(&name.as_str());
    let (made, rest): (Map<_, _>, Map<_, _>) = fields.into_iter().partition(|(name, _)| is_made(name));
    (Value::Object(made), rest)
}

fn only(fields: &Map<String, Value>, names: &BTreeSet<String>) -> Map<String, Value> {
    let mut fields = fields.clone();
    fields.retain(|name, _| names.contains(name));
    fields
}

fn find<'a>(state: &'a State, id: &str) -> Result<&'a Value, Refusal> {
    state.users.get(id).ok_or_else(|| Refusal::new(404, "User not found."))
}

fn check(state: &State, body: &Map<String, Value>, id: &str) -> Result<(), Refusal> {
    let given = |name: &str| body.get(name).and_then(Value::as_str);
    let wrong = |message: String| Err(Refusal::new(400, message));
    if let Some(email) = given("email") {
        if !email.contains('@') {
            return wrong("Invalid email address.".to_owned());
        }
        if state.users.taken(email, id) {
            return Err(Refusal::new(409, "A user with this email already exists."));
        }
    }
    if let Some(country) = given("country").filter(|country| !places::is_country(country)) {
        return wrong(format!("Invalid input: country {country}"));
    }
    if let Some(zone) = given("timeZone").filter(|zone| !places::is_time_zone(zone)) {
        return wrong(format!("Invalid input: timeZone {zone}"));
    }
    for field in ["from", "expires"] {
        let time = given(field);
        if time.is_some_and(|time| time.parse::<Timestamp>().is_err()) {
            return wrong(format!("Invalid input: {field}"));
        }
    }
    let field = reference(state);
    match given("group") {
        None | Some("") => Ok(()),
        Some(group) if state.groups.iter().any(|each| each[field] == json!(group)) => Ok(()),
        Some(_) => wrong("Group not found".to_owned()),
    }
}
