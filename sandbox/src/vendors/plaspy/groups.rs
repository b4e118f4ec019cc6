//! Groups of Plaspy: sets of tracked devices. Users only point at one.

use serde_json::{Map, Value, json};

use super::{Plaspy, patch, users, wrapped};
use crate::vendors::api::Api;
use crate::vendors::http::{Refusal, Request, Response};
use crate::vendors::schema::{Schema, Shape, optional, required};
use crate::vendors::state::{State, overlay};

const SCHEMA: Schema = Schema {
    fields: &[
        required("name", Shape::SomeText),
        optional("description", Shape::TextOrNull),
        optional("devices", Shape::List(&Shape::Text)),
    ],
    server_made: &["id", "creation", "lastModified"],
};

/// A group with all fields of a new one.
pub fn make(state: &mut State, given: Map<String, Value>) -> Value {
    let (number, now) = (20_000 + state.next(), state.now());
    let base = json!({
        "id": format!("grp-{number}"),
        "name": format!("Group {number}"),
        "description": null,
        "devices": [],
        "creation": now,
        "lastModified": now,
    });
    overlay(base, given)
}

/// On groups, success carries `error: null` (pages of the groups' API).
fn answer(state: &State, status: u16, fields: &Value) -> Response {
    let mut fields = fields.clone();
    fields["error"] = Value::Null;
    wrapped(state, status, fields)
}

pub fn list(state: &State) -> Response {
    let groups: Vec<&Value> = state.groups.iter().collect();
    answer(state, 200, &json!({"groups": groups}))
}

pub fn read(state: &State, request: &Request) -> Result<Response, Refusal> {
    Ok(answer(state, 200, find(state, request.last())?))
}

pub fn create(state: &mut State, request: &Request) -> Result<Response, Refusal> {
    let body = request.object()?;
    SCHEMA.whole(&body)?;
    let group = make(state, body);
    state.groups.put(group.clone());
    Ok(answer(state, 201, &group))
}

/// PUT replaces; PATCH is a JSON Patch.
pub fn update(state: &mut State, request: &Request) -> Result<Response, Refusal> {
    let before = find(state, request.last())?.clone();
    let fresh = json!({
        "id": before["id"],
        "creation": before["creation"],
        "description": null,
        "devices": [],
    });
    let fields = if request.method == "PUT" {
        let body = request.object()?;
        SCHEMA.whole(&body)?;
        body
    } else {
        let mut fields = before.as_object().cloned().unwrap_or_default();
        fields.retain(|name, _| !SCHEMA.server_made.contains(&name.as_str()));
        patch::apply(&SCHEMA, &mut fields, &request.json()?)?;
        fields
    };
    let mut group = overlay(fresh, fields);
    Plaspy.touch(&mut group);
    state.groups.put(group.clone());
    users::follow_group(state, &before, Some(&group));
    Ok(answer(state, 200, &group))
}

pub fn delete(state: &mut State, request: &Request) -> Result<Response, Refusal> {
    find(state, request.last())?;
    if let Some(before) = state.groups.remove(request.last()) {
        users::follow_group(state, &before, None);
    }
    Ok(answer(state, 200, &json!({})))
}

fn find<'a>(state: &'a State, id: &str) -> Result<&'a Value, Refusal> {
    state.groups.get(id).ok_or_else(|| Refusal::new(404, "Group not found"))
}
