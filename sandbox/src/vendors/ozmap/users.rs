//! Users of `OZmap`: the password is never shown, the API key is shown in lists, and projects of their groups
//! appear among their own.

use serde_json::{Map, Value, json};

use super::{Ozmap, creator, fresh, ids, listing};
use crate::vendors::api::Api;
use crate::vendors::fake;
use crate::vendors::http::{Refusal, Request, Response};
use crate::vendors::schema::{Schema, Shape, optional, required};
use crate::vendors::state::{State, overlay, without};
use crate::vendors::table::text;

const PROJECT: Schema = Schema {
    fields: &[
        required("project", Shape::SomeText),
        required("role", Shape::SomeText),
        optional("fromGroup", Shape::Bool),
    ],
    server_made: &[],
};

const GROUP: Schema = Schema { fields: &[required("group", Shape::SomeText)], server_made: &[] };

/// Required as in the SDK's `User.ts`.
const SCHEMA: Schema = Schema {
    fields: &[
        required("username", Shape::SomeText),
        required("email", Shape::SomeText),
        required("resources", Shape::List(&Shape::OneOf(&["OZmap", "OZmob", "Loki", "API"]))),
        required("name", Shape::SomeText),
        required("role", Shape::SomeText),
        required("projects", Shape::List(&Shape::Object(&PROJECT))),
        required("projectGroups", Shape::List(&Shape::Object(&GROUP))),
        required("password", Shape::SomeText),
        optional("phone", Shape::TextOrNull),
        optional("observation", Shape::TextOrNull),
        optional("locale", Shape::SomeText),
        optional("external_id", Shape::TextOrNull),
    ],
    server_made: &[
        "_id",
        "id",
        "allProjects",
        "apiKey",
        "email_confirmed",
        "creatorData",
        "createdAt",
        "updatedAt",
        "deletedAt",
        "__v",
    ],
};

/// A user with all fields of a new one.
pub fn make(state: &mut State, given: Map<String, Value>, creator: &Value) -> Value {
    let mut base = fresh(state, &given, creator);
    let key = format!("fake-api-key-of-{}", text(&base["id"]));
    let rest = json!({
        "username": given.get("email"),
        "email": given.get("username"),
        "name": given.get("email"),
        "password": null,
        "apiKey": key,
        "allProjects": false,
        "resources": ["OZmap"],
        "role": fake::object_id(0xa006),
        "projects": [],
        "projectGroups": [],
        "locale": "pt_BR",
        "email_confirmed": false,
    });
    if let Value::Object(rest) = rest {
        base = overlay(base, rest);
    }
    overlay(base, given)
}

/// A user as the API shows it: own projects with `fromGroup: false`, those of the groups with true (`USER.md`).
fn view(state: &State, user: &Value, hidden: &[&str]) -> Value {
    let mut shown = without(user, hidden);
    let own = user["projects"].as_array().into_iter().flatten();
    let mut projects: Vec<Value> =
        own.map(|entry| json!({"project": entry["project"], "role": entry["role"], "fromGroup": false})).collect();
    for group in ids(&user["projectGroups"], "group") {
        let group = state.groups.get(&group).unwrap_or(&Value::Null);
        for project in ids(&group["projects"], "project") {
            let entry = json!({"project": project, "role": user["role"], "fromGroup": true});
            projects.push(entry);
        }
    }
    shown["projects"] = Value::Array(projects);
    shown
}

/// Rows show the API key in clear (`USER.md`).
pub fn list(state: &State, request: &Request) -> Result<Response, Refusal> {
    let view = |user: &Value| view(state, user, &["password"]);
    listing::page(&state.options, request, state.users.iter(), view)
}

pub fn read(state: &State, request: &Request) -> Result<Response, Refusal> {
    let user = find(state, request.last())?;
    let shown = view(state, user, &["password", "apiKey"]);
    Ok(Response::new(200, listing::select(request, shown)))
}

/// 201 without password and locale (wiki page "User creation").
pub fn create(state: &mut State, request: &Request) -> Result<Response, Refusal> {
    let mut body = request.object()?;
    SCHEMA.whole(&body)?;
    check(state, &body, "")?;
    if state.options.ozmap.lower_case {
        for key in ["username", "email"] {
            body[key] = json!(text(&body[key]).to_lowercase());
        }
    }
    let creator = creator(state);
    let user = make(state, body, &creator);
    let shown = view(state, &user, &["password", "apiKey", "locale"]);
    state.users.put(user);
    Ok(Response::new(201, shown))
}

/// A merge that replaces lists; `external_id` is an error (SDK, `UpdatableProxy.ts`).
pub fn update(state: &mut State, request: &Request) -> Result<Response, Refusal> {
    let body = request.object()?;
    SCHEMA.part(&body)?;
    if body.contains_key("external_id") {
        let message = "external_id: cannot be updated";
        return Err(Refusal::malformed_as(400, message));
    }
    let user = find(state, request.last())?.clone();
    check(state, &body, request.last())?;
    let mut user = overlay(user, body);
    Ozmap.touch(&mut user);
    let shown = view(state, &user, &["password", "apiKey"]);
    state.users.put(user);
    Ok(Response::new(200, shown))
}

/// By option the row stays with `deletedAt` set (base model of the SDK).
pub fn delete(state: &mut State, request: &Request) -> Result<Response, Refusal> {
    let mut user = find(state, request.last())?.clone();
    if state.options.ozmap.soft_deletion {
        user["deletedAt"] = json!(fake::now());
        state.users.put(user);
    } else {
        state.users.remove(request.last());
    }
    Ok(Response::no_content())
}

/// Removes the project group from every user.
pub fn leave(state: &mut State, group: &Value) {
    let group = text(group);
    let members: Vec<Value> =
        state.users.iter().filter(|user| ids(&user["projectGroups"], "group").contains(&group)).cloned().collect();
    for mut user in members {
        if let Some(groups) = user["projectGroups"].as_array_mut() {
            groups.retain(|each| text(&each["group"]) != group);
        }
        state.users.put(user);
    }
}

fn find<'a>(state: &'a State, id: &str) -> Result<&'a Value, Refusal> {
    state.users.get(id).ok_or_else(|| Refusal::new(404, "User not found"))
}

/// Unused names, and roles, projects and project groups that exist.
fn check(state: &State, body: &Map<String, Value>, id: &str) -> Result<(), Refusal> {
    let given = |name: &str| body.get(name).unwrap_or(&Value::Null);
    let derived = given("projects").as_array().into_iter().flatten();
    if derived.into_iter().any(|entry| entry["fromGroup"] == json!(true)) {
        let message = "projects: entries with fromGroup true are made by the server";
        return Err(Refusal::malformed_as(400, message));
    }
    for key in ["username", "email"] {
        let is_other = |row: &Value| text(&row["id"]) != id && row["deletedAt"].is_null();
        let taken = given(key).as_str().is_some_and(|key| state.users.with_key(key).any(is_other));
        if taken {
            return Err(Refusal::value(409, key, format!("{key} already in use")));
        }
    }
    let roles = given("role").as_str().map(str::to_owned);
    let roles = roles.into_iter().chain(ids(given("projects"), "role"));
    for (field, table, wanted) in [
        ("role", &state.roles, roles.collect()),
        ("projects", &state.projects, ids(given("projects"), "project")),
        ("projectGroups", &state.groups, ids(given("projectGroups"), "group")),
    ] {
        if let Some(id) = wanted.iter().find(|id| table.get(id).is_none()) {
            let message = format!("{field}: {id} not found");
            return Err(Refusal::value(400, field, message));
        }
    }
    Ok(())
}
