//! `OZmap`, as its wiki page "User creation" and the sources of `@ozmap/ozmap-sdk` describe it.
//!
//! A raw token, rows with `_id` and `id`, filters as JSON in the address, and project groups whose projects
//! appear at their members. It knows nothing of faults.

mod filter;
mod groups;
mod listing;
mod users;

use std::time::Duration;

use serde_json::{Map, Value, json};

use super::OzmapWhoami;
use super::api::Api;
use super::fake;
use super::http::{Refusal, Request, Response};
use super::operation as op;
use super::schema::{Schema, Shape, required};
use super::state::{Kind, State};
use super::table::text;

/// The vendor.
pub struct Ozmap;

/// The seven default roles and the ends of their ids (help centre, article 44001786995).
const ROLES: &[(&str, u64)] = &[
    ("Administrator", 0xa001),
    ("Manager", 0xa002),
    ("Seller", 0xa003),
    ("Network Technician", 0xa004),
    ("Field Technician", 0xa005),
    ("Monitor", 0xa006),
    ("Support", 0xa007),
];

const PROJECTS: &[(&str, u64)] = &[("Example City", 0xb001), ("Example Harbour", 0xb002), ("Example Hills", 0xb003)];

/// Ids of rows that are created later begin here.
const FIRST_ID: u64 = 0xf_0000;

const LOGIN: Schema =
    Schema { fields: &[required("login", Shape::SomeText), required("password", Shape::SomeText)], server_made: &[] };

impl Api for Ozmap {
    fn base(&self) -> &'static str {
        "/api/v2"
    }

    fn secret(&self) -> &'static [(&'static str, &'static str)] {
        &[("token", "fake-ozmap-api-key")]
    }

    fn user_keys(&self) -> &'static [&'static str] {
        &["username", "email"]
    }

    fn seed(&self, state: &mut State) {
        for (name, number) in ROLES {
            let id = fake::object_id(*number);
            let role = json!({"_id": id, "id": id, "name": name, "actions": []});
            state.roles.put(role);
        }
        for (name, number) in PROJECTS {
            let id = fake::object_id(*number);
            let project = json!({"_id": id, "id": id, "name": name, "lat": 0.0, "lng": 0.0});
            state.projects.put(project);
        }
    }

    fn operations(&self) -> &'static [&'static str] {
        &[
            op::LOGIN,
            op::WHOAMI,
            op::ROLES_LIST,
            op::PROJECTS_LIST,
            op::USERS_LIST,
            op::USERS_FIND,
            op::USERS_READ,
            op::USERS_CREATE,
            op::USERS_UPDATE,
            op::USERS_DELETE,
            op::GROUPS_LIST,
            op::GROUPS_FIND,
            op::GROUPS_READ,
            op::GROUPS_CREATE,
            op::GROUPS_UPDATE,
            op::GROUPS_DELETE,
        ]
    }

    fn operation(&self, _state: &State, request: &Request) -> Option<&'static str> {
        let segments = request.segments();
        let ["api", "v2", path @ ..] = &segments[..] else {
            return None;
        };
        let filters = request.query.contains_key("filter");
        Some(match (request.method.as_str(), path) {
            ("POST", ["users", "login"]) => op::LOGIN,
            ("GET", ["authenticated"]) => op::WHOAMI,
            ("GET", ["roles"] | ["roles", _]) => op::ROLES_LIST,
            ("GET", ["projects"] | ["projects", _]) => op::PROJECTS_LIST,
            ("GET", ["users"]) if filters => op::USERS_FIND,
            ("GET", ["users"]) => op::USERS_LIST,
            ("POST", ["users"]) => op::USERS_CREATE,
            ("GET", ["users", _]) => op::USERS_READ,
            ("PATCH", ["users", _]) => op::USERS_UPDATE,
            ("DELETE", ["users", _]) => op::USERS_DELETE,
            ("GET", ["project-groups"]) if filters => op::GROUPS_FIND,
            ("GET", ["project-groups"]) => op::GROUPS_LIST,
            ("POST", ["project-groups"]) => op::GROUPS_CREATE,
            ("GET", ["project-groups", _]) => op::GROUPS_READ,
            ("PATCH", ["project-groups", _]) => op::GROUPS_UPDATE,
            ("DELETE", ["project-groups", _]) => op::GROUPS_DELETE,
            _ => return None,
        })
    }

    fn answer(&self, state: &mut State, request: &Request) -> Result<Response, Refusal> {
        if request.operation == op::LOGIN {
            return login(state, request);
        }
        authenticate(state, request)?;
        if !op::is_list(request.operation) {
            request.allow_query(|name| name == "select")?;
        }
        match request.operation {
            op::WHOAMI => match state.options.ozmap.whoami {
                OzmapWhoami::User => Ok(Response::new(200, caller(state))),
                OzmapWhoami::Nothing => Ok(Response { body: None, ..Response::new(200, Value::Null) }),
                OzmapWhoami::Missing => Err(Refusal::new(404, "Cannot GET /api/v2/authenticated")),
            },
            op::ROLES_LIST => listing::of_names(&state.options, request, &state.roles, "roles"),
            op::PROJECTS_LIST => listing::of_names(&state.options, request, &state.projects, "projects"),
            op::USERS_LIST | op::USERS_FIND => users::list(state, request),
            op::USERS_CREATE => users::create(state, request),
            op::USERS_READ => users::read(state, request),
            op::USERS_UPDATE => users::update(state, request),
            op::USERS_DELETE => users::delete(state, request),
            op::GROUPS_LIST | op::GROUPS_FIND => groups::list(state, request),
            op::GROUPS_CREATE => groups::create(state, request),
            op::GROUPS_READ => groups::read(state, request),
            op::GROUPS_UPDATE => groups::update(state, request),
            _ => groups::delete(state, request),
        }
    }

    fn refuse(&self, _state: &State, refusal: &Refusal) -> Response {
        Response::new(refusal.status, json!({"message": refusal.message}))
    }

    /// No limits are documented.
    fn throttle(&self, _state: &State, _after: Option<Duration>) -> Response {
        Response::new(429, json!({"message": "Too many requests"}))
    }

    fn new_user(&self, state: &mut State, given: Map<String, Value>) -> Value {
        users::make(state, given, &stranger())
    }

    fn new_group(&self, state: &mut State, given: Map<String, Value>) -> Value {
        groups::make(state, given, &stranger())
    }

    fn touch(&self, row: &mut Value) {
        row["updatedAt"] = json!(fake::now());
        row["__v"] = json!(row["__v"].as_u64().unwrap_or_default() + 1);
    }

    fn group_changed(&self, state: &mut State, before: &Value, after: Option<&Value>) {
        if after.is_none() {
            users::leave(state, &before["id"]);
        }
    }
}

/// The SDK's login: `?type=API`, and `authorization` in the answer. Needs `username` and `password` in the secret.
fn login(state: &mut State, request: &Request) -> Result<Response, Refusal> {
    if request.query.get("type").map(String::as_str) != Some("API") {
        return Err(Refusal::malformed_as(400, "query parameter type: expected API"));
    }
    let body = request.object()?;
    LOGIN.whole(&body)?;
    let user = ("username", &body["login"]);
    if !state.accepts(user, ("password", &body["password"])) {
        return Err(Refusal::new(401, "Invalid login or password"));
    }
    let life = state.options.token_life;
    let token = fake::jwt("access", state.next(), life);
    state.sessions.open(Kind::Access, &token, life);
    let id = fake::object_id(1);
    Ok(Response::new(200, json!({"authorization": token, "id": id})))
}

/// The token as it is, without a word before it.
fn authenticate(state: &State, request: &Request) -> Result<(), Refusal> {
    let token = request.header("authorization").unwrap_or_default();
    if state.knows_token(token) { Ok(()) } else { Err(Refusal::new(401, "Unauthorized")) }
}

/// The user of the token.
fn caller(state: &State) -> Value {
    let mut caller = creator(state);
    caller["_id"] = caller["id"].clone();
    caller["email"] = caller["username"].clone();
    caller
}

/// `creatorData` of rows that are created through the API.
fn creator(state: &State) -> Value {
    let username = state.secret.get("username").map(String::as_str);
    json!({
        "id": fake::object_id(1),
        "name": "Usher Example",
        "username": username.unwrap_or("usher@example.com"),
    })
}

/// `creatorData` of rows that are created by hand.
fn stranger() -> Value {
    json!({
        "id": fake::object_id(2),
        "name": "Other Person",
        "username": "other.person@example.com",
    })
}

/// The fields of every new row, with a new id or the given one.
fn fresh(state: &mut State, given: &Map<String, Value>, creator: &Value) -> Value {
    let id = match given.get("id").or(given.get("_id")) {
        Some(id) => text(id),
        None => fake::object_id(FIRST_ID + state.next()),
    };
    let now = state.now();
    json!({
        "_id": id,
        "id": id,
        "creatorData": creator,
        "createdAt": now,
        "updatedAt": now,
        "__v": 0,
    })
}

/// The ids behind `key` in a list of objects.
fn ids(list: &Value, key: &str) -> Vec<String> {
    let items = list.as_array().into_iter().flatten();
    items.map(|item| text(&item[key])).collect()
}
