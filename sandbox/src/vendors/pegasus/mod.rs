//! Pegasus Gateway, as its page "User Creation" and its API overview describe it.
//!
//! Header `Authenticate`, integer ids, pages of `{set, page, pages, total, data}`, PUT that merges. It knows
//! nothing of faults, which are in front of it.

mod apps;
mod groups;
mod paging;
mod users;

use std::time::{Duration, SystemTime};

use serde_json::{Map, Value, json};

use super::api::Api;
use super::fake;
use super::http::{Refusal, Request, Response};
use super::operation as op;
use super::schema::{Schema, Shape, optional, required};
use super::state::{Kind, State};

/// The version Pegasus shows on every row.
const VERSION: &str = "7.99.0-fake";

/// The vendor.
pub struct Pegasus;

const LOGIN: Schema = Schema {
    fields: &[
        required("username", Shape::SomeText),
        required("password", Shape::SomeText),
        optional("gateway", Shape::SomeText),
    ],
    server_made: &[],
};

impl Api for Pegasus {
    fn secret(&self) -> &'static [(&'static str, &'static str)] {
        &[("username", "usher@example.com"), ("password", "Fake-Pegasus-Password-1")]
    }

    fn user_keys(&self) -> &'static [&'static str] {
        &["username", "email"]
    }

    fn operations(&self) -> &'static [&'static str] {
        &[
            op::LOGIN,
            op::WHOAMI,
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
            op::APPS_READ,
            op::APPS_WRITE,
        ]
    }

    fn operation(&self, _state: &State, request: &Request) -> Option<&'static str> {
        let searches = request.query.keys().any(|key| key.starts_with("search."));
        Some(match (request.method.as_str(), &request.segments()[..]) {
            ("POST", [] | ["login"]) => op::LOGIN,
            ("GET", ["user"]) => op::WHOAMI,
            ("GET", ["users"]) if searches => op::USERS_FIND,
            ("GET", ["users"]) => op::USERS_LIST,
            ("POST", ["users"]) => op::USERS_CREATE,
            ("GET", ["users", _]) => op::USERS_READ,
            ("PUT", ["users", _]) => op::USERS_UPDATE,
            ("DELETE", ["users", _]) => op::USERS_DELETE,
            ("GET", ["groups"]) if searches => op::GROUPS_FIND,
            ("GET", ["groups"]) => op::GROUPS_LIST,
            ("POST", ["groups"]) => op::GROUPS_CREATE,
            ("GET", ["groups", _]) => op::GROUPS_READ,
            ("PUT", ["groups", _]) => op::GROUPS_UPDATE,
            ("DELETE", ["groups", _]) => op::GROUPS_DELETE,
            ("GET", ["apps", _]) => op::APPS_READ,
            ("PUT", ["apps", _]) => op::APPS_WRITE,
            _ => return None,
        })
    }

    fn answer(&self, state: &mut State, request: &Request) -> Result<Response, Refusal> {
        if request.operation == op::LOGIN {
            return login(state, request);
        }
        authenticate(state, request)?;
        match request.operation {
            op::WHOAMI => Ok(whoami(state)),
            op::USERS_LIST | op::USERS_FIND => users::list(state, request),
            op::USERS_CREATE => users::create(state, request),
            op::USERS_READ => users::read(state, request),
            op::USERS_UPDATE => users::update(state, request),
            op::USERS_DELETE => users::delete(state, request),
            op::GROUPS_LIST | op::GROUPS_FIND => groups::list(state, request),
            op::GROUPS_CREATE => groups::create(state, request),
            op::GROUPS_READ => groups::read(state, request),
            op::GROUPS_UPDATE => groups::update(state, request),
            op::GROUPS_DELETE => groups::delete(state, request),
            _ => apps::answer(state, request),
        }
    }

    fn refuse(&self, _state: &State, refusal: &Refusal) -> Response {
        Response::new(refusal.status, json!({"message": refusal.message}))
    }

    /// Headers and body of the page "Rates": a time in epoch seconds, and no `Retry-After`.
    fn throttle(&self, _state: &State, after: Option<Duration>) -> Response {
        throttled(20, after)
    }

    fn new_user(&self, state: &mut State, given: Map<String, Value>) -> Value {
        users::make(state, given)
    }

    fn new_group(&self, state: &mut State, given: Map<String, Value>) -> Value {
        groups::make(state, given)
    }

    fn touch(&self, row: &mut Value) {
        row["__updated"] = json!(fake::epoch());
    }

    fn group_changed(&self, state: &mut State, before: &Value, after: Option<&Value>) {
        if after.is_none() {
            users::leave(state, &before["id"]);
        }
    }

    fn whole_group(&self, state: &State, group: &Value) -> Value {
        groups::view(state, group)
    }
}

/// The page "Getting started": POST `/login`, or POST `/` of the central address with `gateway`.
fn login(state: &mut State, request: &Request) -> Result<Response, Refusal> {
    let body = request.object()?;
    LOGIN.whole(&body)?;
    if request.segments().is_empty() && !body.contains_key("gateway") {
        return Err(Refusal::malformed_as(400, "gateway: required"));
    }
    let user = ("username", &body["username"]);
    if !state.accepts(user, ("password", &body["password"])) {
        return Err(Refusal::new(401, "Invalid username or password"));
    }
    let token = format!("{:032x}", 0xfa4e_0000_0000_u64 + state.next());
    let life = state.options.token_life;
    state.sessions.open(Kind::Access, &token, life);
    let answer = json!({"message": "Login successful", "app": null, "auth": token});
    Ok(Response::new(200, answer))
}

/// A session lives on from its last use (the page "Getting started").
fn authenticate(state: &mut State, request: &Request) -> Result<(), Refusal> {
    let token = request.header("authenticate").unwrap_or_default();
    if !state.knows_token(token) {
        return Err(Refusal::new(401, "Unauthorized"));
    }
    let life = state.options.token_life;
    state.sessions.prolong(token, life);
    Ok(())
}

fn whoami(state: &State) -> Response {
    let username = state.secret.get("username").map_or("usher@example.com", String::as_str);
    if let Some(user) = state.users.with_key(username).next() {
        return Response::new(200, users::view(state, user));
    }
    let caller = json!({
        "id": 1,
        "username": username,
        "email": username,
        "first_name": "Usher",
        "last_name": "Example",
        "groups": [],
        "is_active": true,
        "is_staff": true,
        "is_superuser": false,
        "roles": [],
        "prefs": {},
        "scopes": {},
    });
    Response::new(200, users::view(state, &caller))
}

fn throttled(limit: u32, after: Option<Duration>) -> Response {
    let body = json!({
        "reason": "api",
        "message": "Rate exceeded",
        "limit": limit,
        "id": "usher@example.com",
        "value": limit + 1,
    });
    let answer = Response::new(429, body);
    let Some(after) = after else { return answer };
    // The reset is in whole seconds, rounded up so that it is never too early.
    let reset = fake::epoch_seconds(SystemTime::now() + after + Duration::from_millis(999));
    answer
        .with_header("x-ratelimit-limit", limit.to_string())
        .with_header("x-ratelimit-remaining", "0")
        .with_header("x-ratelimit-reset", reset.to_string())
}
