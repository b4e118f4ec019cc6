//! Groups of Pegasus: organisations that relate users, vehicles and assets.

use serde_json::{Map, Value, json};

use super::{Pegasus, VERSION, paging, users};
use crate::vendors::api::Api;
use crate::vendors::fake;
use crate::vendors::http::{Refusal, Request, Response};
use crate::vendors::schema::{Schema, Shape, optional, required};
use crate::vendors::state::{State, overlay};

const SCHEMA: Schema = Schema {
    fields: &[
        required("name", Shape::SomeText),
        optional("company_name", Shape::TextOrNull),
        optional("contact_name", Shape::TextOrNull),
        optional("contact_email", Shape::TextOrNull),
        optional("address_1", Shape::TextOrNull),
        optional("address_2", Shape::TextOrNull),
        optional("city", Shape::TextOrNull),
        optional("country", Shape::TextOrNull),
        optional("logo", Shape::TextOrNull),
    ],
    server_made: &["id", "users", "vehicles", "assets", "__created", "__updated", "__version"],
};

/// A group with all fields of a new one.
pub fn make(state: &mut State, given: Map<String, Value>) -> Value {
    let (id, now) = (3000 + state.next(), fake::epoch());
    let base = json!({
        "id": id,
        "name": format!("Group {id}"),
        "company_name": null,
        "contact_name": null,
        "contact_email": null,
        "address_1": null,
        "address_2": null,
        "city": null,
        "country": null,
        "logo": null,
        "vehicles": [],
        "assets": [],
        "__created": now,
        "__updated": now,
        "__version": VERSION,
    });
    overlay(base, given)
}

/// A group as the API shows it: its users' ids, and `false` for no logo ("User Creation").
pub fn view(state: &State, group: &Value) -> Value {
    let mut shown = group.clone();
    shown["users"] =
        state.users.iter().filter(|user| users::is_member(user, &group["id"])).map(|user| user["id"].clone()).collect();
    if shown["logo"].is_null() || state.options.pegasus.logo_as_flag {
        shown["logo"] = json!(!shown["logo"].is_null());
    }
    shown
}

pub fn list(state: &State, request: &Request) -> Result<Response, Refusal> {
    let view = |group: &Value| view(state, group);
    paging::page(&state.options, request, state.groups.iter(), view, true)
}

pub fn read(state: &State, request: &Request) -> Result<Response, Refusal> {
    request.allow_query(|name| name == "select")?;
    let group = find(state, request.last())?;
    Ok(Response::new(200, view(state, group)))
}

pub fn create(state: &mut State, request: &Request) -> Result<Response, Refusal> {
    let body = request.object()?;
    SCHEMA.whole(&body)?;
    let group = make(state, body);
    let shown = view(state, &group);
    state.groups.put(group);
    Ok(Response::new(201, shown))
}

pub fn update(state: &mut State, request: &Request) -> Result<Response, Refusal> {
    let body = request.object()?;
    SCHEMA.part(&body)?;
    let mut group = overlay(find(state, request.last())?.clone(), body);
    Pegasus.touch(&mut group);
    let shown = view(state, &group);
    state.groups.put(group);
    Ok(Response::new(200, shown))
}

/// 409 for "deleting a root object without cascade" (status table of the documents).
pub fn delete(state: &mut State, request: &Request) -> Result<Response, Refusal> {
    let shown = view(state, find(state, request.last())?);
    for content in ["users", "vehicles", "assets"] {
        if shown[content].as_array().is_some_and(|rows| !rows.is_empty()) {
            let message = format!("group still has {content}");
            return Err(Refusal::new(409, message));
        }
    }
    state.groups.remove(request.last());
    Ok(Response::no_content())
}

fn find<'a>(state: &'a State, id: &str) -> Result<&'a Value, Refusal> {
    state.groups.get(id).ok_or_else(|| Refusal::new(404, "group not found"))
}
