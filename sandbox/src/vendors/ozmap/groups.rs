//! Project groups of `OZmap`: names for sets of projects (SDK, `PROJECTGROUP.md`).

use serde_json::{Map, Value, json};

use super::{Ozmap, creator, fresh, ids, listing, users};
use crate::vendors::api::Api;
use crate::vendors::http::{Refusal, Request, Response};
use crate::vendors::schema::{Schema, Shape, optional, required};
use crate::vendors::state::{State, overlay};

const PROJECT: Schema = Schema { fields: &[required("project", Shape::SomeText)], server_made: &[] };

const SCHEMA: Schema = Schema {
    fields: &[required("name", Shape::SomeText), optional("projects", Shape::List(&Shape::Object(&PROJECT)))],
    server_made: &["_id", "id", "hasLogo", "creatorData", "createdAt", "updatedAt", "deletedAt", "__v"],
};

/// A project group with all fields of a new one.
pub fn make(state: &mut State, given: Map<String, Value>, creator: &Value) -> Value {
    let mut base = fresh(state, &given, creator);
    base["name"] = json!("Project group");
    base["projects"] = json!([]);
    base["hasLogo"] = json!(false);
    overlay(base, given)
}

pub fn list(state: &State, request: &Request) -> Result<Response, Refusal> {
    listing::page(&state.options, request, state.groups.iter(), Value::clone)
}

pub fn read(state: &State, request: &Request) -> Result<Response, Refusal> {
    let group = find(state, request.last())?.clone();
    Ok(Response::new(200, listing::select(request, group)))
}

pub fn create(state: &mut State, request: &Request) -> Result<Response, Refusal> {
    let body = request.object()?;
    SCHEMA.whole(&body)?;
    check(state, &body)?;
    let creator = creator(state);
    let group = make(state, body, &creator);
    state.groups.put(group.clone());
    Ok(Response::new(201, group))
}

pub fn update(state: &mut State, request: &Request) -> Result<Response, Refusal> {
    let body = request.object()?;
    SCHEMA.part(&body)?;
    let group = find(state, request.last())?.clone();
    check(state, &body)?;
    let mut group = overlay(group, body);
    Ozmap.touch(&mut group);
    state.groups.put(group.clone());
    Ok(Response::new(200, group))
}

pub fn delete(state: &mut State, request: &Request) -> Result<Response, Refusal> {
    find(state, request.last())?;
    if let Some(group) = state.groups.remove(request.last()) {
        users::leave(state, &group["id"]);
    }
    Ok(Response::no_content())
}

fn find<'a>(state: &'a State, id: &str) -> Result<&'a Value, Refusal> {
    state.groups.get(id).ok_or_else(|| Refusal::new(404, "Project group not found"))
}

fn check(state: &State, body: &Map<String, Value>) -> Result<(), Refusal> {
    let projects = body.get("projects").unwrap_or(&Value::Null);
    for id in ids(projects, "project") {
        if state.projects.get(&id).is_none() {
            let message = format!("Project {id} not found");
            return Err(Refusal::value(400, "projects", message));
        }
    }
    Ok(())
}
