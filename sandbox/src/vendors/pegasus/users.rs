//! Users of Pegasus. It keeps write-only fields and never shows them.

use std::time::SystemTime;

use serde_json::{Map, Value, json};

use super::{Pegasus, VERSION, paging};
use crate::vendors::api::Api;
use crate::vendors::fake;
use crate::vendors::http::{Refusal, Request, Response};
use crate::vendors::schema::{Field, Schema, Shape, optional, required};
use crate::vendors::state::{State, overlay, without};
use crate::vendors::table::text;

/// Fields that are accepted and never shown ("User Creation"), and the applications, which have their own call.
const HIDDEN: &[&str] = &["access", "app_url", "send_email", "password", "logo_url", "id_user", "applications"];

const SERVER_MADE: &[&str] = &["id", "id_user", "date_joined", "last_login", "__created", "__updated", "__version"];

const FIELDS: &[Field] = &[
    required("username", Shape::SomeText),
    required("email", Shape::SomeText),
    optional("access", Shape::SomeText),
    optional("app_url", Shape::TextOrNull),
    optional("send_email", Shape::Bool),
    optional("password", Shape::SomeText),
    optional("first_name", Shape::TextOrNull),
    optional("last_name", Shape::TextOrNull),
    optional("groups", Shape::List(&Shape::Integer)),
    optional("is_active", Shape::Bool),
    optional("is_staff", Shape::Bool),
    optional("is_superuser", Shape::Bool),
    optional("logo_url", Shape::TextOrNull),
    optional("phone", Shape::TextOrNull),
    optional("prefs", Shape::Open),
    optional("roles", Shape::List(&Shape::Integer)),
    optional("scopes", Shape::MapOf(&Shape::OneOf(&["r", "w"]))),
];

const SCHEMA: Schema = Schema { fields: FIELDS, server_made: SERVER_MADE };

/// Scopes of the simulator, among them sub-scopes of release 7.0.0.
const SCOPES: &[&str] = &[
    "assets",
    "assets.create",
    "assets.delete",
    "geofences",
    "geofences.path",
    "groups",
    "groups.users",
    "users",
    "users:application_data",
    "users:password_reset",
    "vehicles",
    "vehicles.create",
    "vehicles.delete",
    "vehicles:device",
];

/// A user with all fields of a new one.
pub fn make(state: &mut State, given: Map<String, Value>) -> Value {
    let (id, now) = (5000 + state.next(), fake::epoch());
    let joined = fake::epoch_seconds(SystemTime::now());
    let base = json!({
        "id": id,
        "username": given.get("email"),
        "email": given.get("username"),
        "password": null,
        "applications": {},
        "date_joined": joined,
        "last_login": joined,
        "__created": now,
        "__updated": now,
        "__version": VERSION,
    });
    let base = overlay(base, blank());
    overlay(base, given)
}

/// The defaults of a new user.
fn blank() -> Map<String, Value> {
    let blank = json!({
        "first_name": "",
        "last_name": "",
        "groups": [],
        "is_active": true,
        "is_staff": false,
        "is_superuser": false,
        "phone": null,
        "roles": [],
        "prefs": {},
        "scopes": {},
        "access": "basic",
        "app_url": null,
        "logo_url": null,
    });
    blank.as_object().cloned().unwrap_or_default()
}

/// A user as the API shows it.
pub fn view(state: &State, user: &Value) -> Value {
    let mut shown = without(user, HIDDEN);
    let is = |name: &str| user[name] == json!(true);
    if is("is_staff") || is("is_superuser") {
        shown["scopes"] = SCOPES.iter().map(|scope| (*scope, "w")).collect();
    } else if state.options.pegasus.inherited_scopes {
        shown["scopes"] = inherited(&user["scopes"]);
    }
    if state.options.pegasus.groups_hidden {
        return without(&shown, &["groups"]);
    }
    if state.options.pegasus.groups_as_objects {
        shown["groups"] = user["groups"].as_array().into_iter().flatten().map(|id| json!({"id": id})).collect();
    }
    shown
}

/// Sub-scopes not listed have the value of their parent.
fn inherited(scopes: &Value) -> Value {
    let mut shown = scopes.clone();
    for scope in SCOPES {
        let parent = scope.split(['.', ':']).next().unwrap_or_default();
        if let (Some(value), None) = (scopes.get(parent), scopes.get(*scope)) {
            shown[*scope] = value.clone();
        }
    }
    shown
}

pub fn list(state: &State, request: &Request) -> Result<Response, Refusal> {
    let searches = state.options.pegasus.search_users;
    let view = |user: &Value| view(state, user);
    let wanted = |name: &str| request.query.get(name).filter(|_| searches);
    match wanted("search.username").or(wanted("search.email")) {
        Some(key) => {
            let candidates = state.users.with_key(key.trim_matches('"'));
            paging::page(&state.options, request, candidates, view, searches)
        }
        None => paging::page(&state.options, request, state.users.iter(), view, searches),
    }
}

pub fn read(state: &State, request: &Request) -> Result<Response, Refusal> {
    request.allow_query(|name| name == "select")?;
    let user = find(state, request.last())?;
    Ok(Response::new(200, view(state, user)))
}

pub fn create(state: &mut State, request: &Request) -> Result<Response, Refusal> {
    let mut body = request.object()?;
    drop_leftovers(&mut body);
    SCHEMA.whole(&body)?;
    let sends_email = body.get("send_email") == Some(&json!(true));
    if !sends_email && !body.contains_key("password") {
        let message = "password: required, or send_email true";
        return Err(Refusal::malformed_as(400, message));
    }
    check(state, &body, "")?;
    let user = make(state, body);
    let shown = view(state, &user);
    state.users.put(user);
    Ok(Response::new(201, shown))
}

pub fn update(state: &mut State, request: &Request) -> Result<Response, Refusal> {
    let body = request.object()?;
    SCHEMA.part(&body)?;
    let mut user = find(state, request.last())?.clone();
    check(state, &body, request.last())?;
    if state.options.pegasus.put_replaces {
        user = overlay(user, blank());
    }
    let mut user = overlay(user, body);
    Pegasus.touch(&mut user);
    let shown = view(state, &user);
    state.users.put(user);
    Ok(Response::new(200, shown))
}

pub fn delete(state: &mut State, request: &Request) -> Result<Response, Refusal> {
    find(state, request.last())?;
    state.users.remove(request.last());
    Ok(Response::no_content())
}

/// Removes the group from every user.
pub fn leave(state: &mut State, group: &Value) {
    let members: Vec<Value> = state.users.iter().filter(|user| is_member(user, group)).cloned().collect();
    for mut user in members {
        if let Some(groups) = user["groups"].as_array_mut() {
            groups.retain(|each| each != group);
        }
        state.users.put(user);
    }
}

/// Whether the user is in the group of this id.
pub fn is_member(user: &Value, group: &Value) -> bool {
    user["groups"].as_array().is_some_and(|groups| groups.contains(group))
}

pub fn find<'a>(state: &'a State, id: &str) -> Result<&'a Value, Refusal> {
    state.users.get(id).ok_or_else(|| Refusal::new(404, "user not found"))
}

/// The web interface sends `id: null` and `id_user: "new"` with a new user ("User Creation").
fn drop_leftovers(body: &mut Map<String, Value>) {
    if body.get("id") == Some(&Value::Null) {
        body.remove("id");
    }
    if body.get("id_user") == Some(&json!("new")) {
        body.remove("id_user");
    }
}

fn check(state: &State, body: &Map<String, Value>, id: &str) -> Result<(), Refusal> {
    for key in ["username", "email"] {
        let given = body.get(key).and_then(Value::as_str);
        if given.is_some_and(|given| state.users.taken(given, id)) {
            return Err(Refusal::value(409, key, format!("{key} already exists")));
        }
    }
    for group in body.get("groups").and_then(Value::as_array).into_iter().flatten() {
        if state.groups.get(&text(group)).is_none() {
            let message = format!("group {group} does not exist");
            return Err(Refusal::value(400, "groups", message));
        }
    }
    match body.get("password").and_then(Value::as_str) {
        Some(password) if !is_strong(password) => Err(Refusal::value(
            400,
            "password",
            "password needs 8 characters with an upper-case and a lower-case letter and a digit",
        )),
        _ => Ok(()),
    }
}

/// The rule of release 6.11.1.
fn is_strong(password: &str) -> bool {
    password.chars().count() >= 8
        && password.contains(char::is_uppercase)
        && password.contains(char::is_lowercase)
        && password.contains(|each: char| each.is_ascii_digit())
}
