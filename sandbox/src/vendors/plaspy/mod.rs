//! Plaspy, as the pages of its REST API (docs.plaspy.com, repository `plaspy-dev/docs`) describe it.
//!
//! One envelope around every answer, changes by JSON Patch, groups of devices. It knows nothing of faults.

mod groups;
mod patch;
mod places;
mod users;

use std::time::{Duration, SystemTime};

use serde_json::{Map, Value, json};

use super::api::Api;
use super::fake;
use super::http::{Refusal, Request, Response};
use super::operation as op;
use super::schema::{Schema, Shape, required};
use super::state::{Kind, State};

/// The vendor.
pub struct Plaspy;

const TOKEN: Schema =
    Schema { fields: &[required("userName", Shape::SomeText), required("apiKey", Shape::SomeText)], server_made: &[] };

impl Api for Plaspy {
    fn secret(&self) -> &'static [(&'static str, &'static str)] {
        &[("username", "usher@example.com"), ("apiKey", "fake-plaspy-api-key")]
    }

    fn user_keys(&self) -> &'static [&'static str] {
        &["email"]
    }

    fn operations(&self) -> &'static [&'static str] {
        &[
            op::LOGIN,
            op::COUNTRIES_LIST,
            op::TIME_ZONES_LIST,
            op::USERS_LIST,
            op::USERS_READ,
            op::USERS_CREATE,
            op::USERS_UPDATE,
            op::USERS_DELETE,
            op::GROUPS_LIST,
            op::GROUPS_READ,
            op::GROUPS_CREATE,
            op::GROUPS_UPDATE,
            op::GROUPS_DELETE,
        ]
    }

    fn operation(&self, state: &State, request: &Request) -> Option<&'static str> {
        let segments = request.segments();
        let ["api", path @ ..] = &segments[..] else {
            return None;
        };
        Some(match (request.method.as_str(), path) {
            ("POST", ["Auth", "Token"]) => op::LOGIN,
            ("GET", ["users", "countries"]) if !state.options.plaspy.no_countries => op::COUNTRIES_LIST,
            ("GET", ["users", "timeZones"]) => op::TIME_ZONES_LIST,
            ("GET", ["users"]) => op::USERS_LIST,
            ("POST", ["users"]) => op::USERS_CREATE,
            ("GET", ["users", _]) => op::USERS_READ,
            ("PUT" | "PATCH", ["users", _]) => op::USERS_UPDATE,
            ("DELETE", ["users", _]) => op::USERS_DELETE,
            ("GET", ["groups"]) => op::GROUPS_LIST,
            ("POST", ["groups"]) => op::GROUPS_CREATE,
            ("GET", ["groups", _]) => op::GROUPS_READ,
            ("PUT" | "PATCH", ["groups", _]) => op::GROUPS_UPDATE,
            ("DELETE", ["groups", _]) => op::GROUPS_DELETE,
            _ => return None,
        })
    }

    fn answer(&self, state: &mut State, request: &Request) -> Result<Response, Refusal> {
        state.usage += 1;
        request.allow_query(|_| false)?;
        if request.operation == op::LOGIN {
            return login(state, request);
        }
        authenticate(state, request)?;
        match request.operation {
            op::COUNTRIES_LIST => Ok(wrapped(state, 200, json!({"countries": places::countries()}))),
            op::TIME_ZONES_LIST => Ok(wrapped(state, 200, json!({"timeZones": places::time_zones()}))),
            op::USERS_LIST => Ok(users::list(state)),
            op::USERS_CREATE => users::create(state, request),
            op::USERS_READ => users::read(state, request),
            op::USERS_UPDATE => users::update(state, request),
            op::USERS_DELETE => users::delete(state, request),
            op::GROUPS_LIST => Ok(groups::list(state)),
            op::GROUPS_CREATE => groups::create(state, request),
            op::GROUPS_READ => groups::read(state, request),
            op::GROUPS_UPDATE => groups::update(state, request),
            _ => groups::delete(state, request),
        }
    }

    /// `success: false` with the reason; by option with status 200.
    fn refuse(&self, state: &State, refusal: &Refusal) -> Response {
        let status = if state.options.plaspy.errors_with_200 { 200 } else { refusal.status };
        let body = json!({
            "success": false,
            "error": refusal.message,
            "apiUsage": state.usage,
            "apiDailyUsage": state.usage,
        });
        Response::new(status, body)
    }

    /// 429 is listed; no header is documented.
    fn throttle(&self, state: &State, _after: Option<Duration>) -> Response {
        let body = json!({
            "success": false,
            "error": "Too many requests",
            "apiUsage": state.usage,
            "apiDailyUsage": state.usage,
        });
        Response::new(429, body)
    }

    fn new_user(&self, state: &mut State, given: Map<String, Value>) -> Value {
        users::make(state, given)
    }

    fn new_group(&self, state: &mut State, given: Map<String, Value>) -> Value {
        groups::make(state, given)
    }

    fn touch(&self, row: &mut Value) {
        let field = match row.get("email") {
            Some(_) => "modification",
            None => "lastModified",
        };
        row[field] = json!(fake::now());
    }

    fn group_changed(&self, state: &mut State, before: &Value, after: Option<&Value>) {
        users::follow_group(state, before, after);
    }
}

/// A successful answer: the fields and the envelope beside each other.
fn wrapped(state: &State, status: u16, mut fields: Value) -> Response {
    fields["success"] = json!(true);
    fields["apiUsage"] = json!(state.usage);
    fields["apiDailyUsage"] = json!(state.usage);
    Response::new(status, fields)
}

/// The page "Authentication": `userName` and `apiKey` for a token with its `expires`.
fn login(state: &mut State, request: &Request) -> Result<Response, Refusal> {
    let body = request.object()?;
    TOKEN.whole(&body)?;
    let user = ("username", &body["userName"]);
    if !state.accepts(user, ("apiKey", &body["apiKey"])) {
        return Err(Refusal::new(401, "Invalid API key or username."));
    }
    let life = state.options.token_life;
    let token = fake::jwt("access", state.next(), life);
    state.sessions.open(Kind::Access, &token, life);
    let expires = fake::iso(SystemTime::now() + life);
    let fields = json!({"token": token, "expires": expires});
    Ok(wrapped(state, 200, fields))
}

fn authenticate(state: &State, request: &Request) -> Result<(), Refusal> {
    match request.bearer() {
        Some(token) if state.knows_token(token) => Ok(()),
        Some(_) => Err(Refusal::new(401, "Authentication failed. Invalid token.")),
        None => Err(Refusal::new(401, "Unauthorized access")),
    }
}
