//! Amani, as its pages "API" and "Creating a new user" describe it.
//!
//! Sessions with a refresh token, read-only roles, groups written as ids and read as objects, and no
//! removal. Where the documents are silent it follows Django REST Framework. It knows nothing of faults.

mod users;

use std::time::Duration;

use serde_json::{Map, Value, json};

use super::api::Api;
use super::fake;
use super::http::{Refusal, Request, Response};
use super::operation as op;
use super::schema::{Schema, Shape, required};
use super::state::{Kind, State, overlay};

/// The vendor.
pub struct Amani;

const COMPANY: &str = "00000000-0000-4000-8000-00000000c001";

const LOGIN: Schema = Schema {
    fields: &[required("username", Shape::SomeText), required("password", Shape::SomeText)],
    server_made: &[],
};

const REFRESH: Schema = Schema { fields: &[required("refresh", Shape::SomeText)], server_made: &[] };

/// How much longer a refresh token lives than an access token.
const REFRESH_FACTOR: u32 = 24;

impl Api for Amani {
    /// True, because the documents show the login without a slash and the refresh with one.
    fn slash_may_end(&self) -> bool {
        true
    }

    fn secret(&self) -> &'static [(&'static str, &'static str)] {
        &[("username", "usher@example.com"), ("password", "fake-amani-password")]
    }

    fn user_keys(&self) -> &'static [&'static str] {
        &["email"]
    }

    /// Id 2 "Company Admin" is the Web SDK page's sample; the others are made up.
    fn seed(&self, state: &mut State) {
        for (id, name, permissions) in [
            (2, "Company Admin", &["add_user", "view_group", "view_company"][..]),
            (3, "Reviewer", &["view_group", "view_profile"]),
            (5, "Dispatchers", &["add_profileextra", "view_profile"]),
        ] {
            let role = json!({"id": id, "name": name, "permissions": permissions});
            state.groups.put(role);
        }
    }

    fn operations(&self) -> &'static [&'static str] {
        &[
            op::LOGIN,
            op::REFRESH,
            op::GROUPS_LIST,
            op::USERS_LIST,
            op::USERS_READ,
            op::USERS_CREATE,
            op::USERS_UPDATE,
            op::USERS_DELETE,
        ]
    }

    fn operation(&self, _state: &State, request: &Request) -> Option<&'static str> {
        let mut segments = request.segments();
        segments.pop_if(|last| last.is_empty());
        let ["api", "v2", path @ ..] = &segments[..] else {
            return None;
        };
        Some(match (request.method.as_str(), path) {
            ("POST", ["user", "login"]) => op::LOGIN,
            ("POST", ["token", "refresh"]) => op::REFRESH,
            ("GET", ["group"]) => op::GROUPS_LIST,
            ("GET", ["user"]) => op::USERS_LIST,
            ("POST", ["user"]) => op::USERS_CREATE,
            ("GET", ["user", _]) => op::USERS_READ,
            ("PATCH", ["user", _]) => op::USERS_UPDATE,
            ("DELETE", ["user", _]) => op::USERS_DELETE,
            _ => return None,
        })
    }

    fn answer(&self, state: &mut State, request: &Request) -> Result<Response, Refusal> {
        request.allow_query(|name| request.operation == op::USERS_LIST && users::is_page_query(state, name))?;
        match request.operation {
            op::LOGIN => return login(state, request),
            op::REFRESH => return refresh(state, request),
            _ => authenticate(state, request)?,
        }
        match request.operation {
            op::GROUPS_LIST => Ok(Response::new(200, state.groups.iter().cloned().collect())),
            op::USERS_LIST => users::list(state, request),
            op::USERS_CREATE => users::create(state, request),
            op::USERS_READ => users::read(state, request),
            op::USERS_UPDATE => users::update(state, request),
            _ => Err(Refusal::malformed_as(405, "Method \"DELETE\" not allowed.")),
        }
    }

    /// Fields with their messages, or one `detail`.
    fn refuse(&self, _state: &State, refusal: &Refusal) -> Response {
        if refusal.fields.is_empty() {
            let mut body = json!({"detail": refusal.message});
            if refusal.status == 401 {
                body["code"] = json!("token_not_valid");
            }
            return Response::new(refusal.status, body);
        }
        let mut body = Map::new();
        for problem in &refusal.fields {
            body.insert(problem.field.clone(), json!([problem.message]));
        }
        Response::new(refusal.status, Value::Object(body))
    }

    fn throttle(&self, _state: &State, after: Option<Duration>) -> Response {
        let Some(after) = after else {
            return Response::new(429, json!({"detail": "Request was throttled."}));
        };
        let seconds = after.as_millis().div_ceil(1000);
        let detail = format!("Request was throttled. Expected available in {seconds} seconds.");
        Response::new(429, json!({"detail": detail})).with_header("retry-after", seconds.to_string())
    }

    fn new_user(&self, state: &mut State, given: Map<String, Value>) -> Value {
        users::make(state, given)
    }

    fn new_group(&self, state: &mut State, given: Map<String, Value>) -> Value {
        let id = 10 + state.next();
        let base = json!({"id": id, "name": format!("Role {id}"), "permissions": []});
        overlay(base, given)
    }
}

/// The page "API": both slash forms, user and both tokens in the answer.
fn login(state: &mut State, request: &Request) -> Result<Response, Refusal> {
    if let Some(status) = state.options.amani.bare_login_refused.filter(|_| !request.path.ends_with('/')) {
        return Err(Refusal::new(status, "Only with a slash at the end."));
    }
    let body = request.object()?;
    LOGIN.whole(&body)?;
    let user = ("username", &body["username"]);
    if !state.accepts(user, ("password", &body["password"])) {
        let message = "No active account found with the given credentials";
        return Err(Refusal::new(401, message));
    }
    let life = state.options.token_life;
    let access = open(state, Kind::Access, life);
    let refresh = open(state, Kind::Refresh, life * REFRESH_FACTOR);
    let answer = json!({
        "id": fake::uuid(0),
        "username": body["username"],
        "first_name": "Usher",
        "last_name": "Example",
        "phone": "",
        "refresh": refresh,
        "access": access,
        "groups": [state.groups.get("2")],
        "company_id": COMPANY,
        "permissions": ["add_user", "view_group", "view_company"],
    });
    Ok(Response::new(200, answer))
}

/// The page "API": a new access token and nothing else.
fn refresh(state: &mut State, request: &Request) -> Result<Response, Refusal> {
    let body = request.object()?;
    REFRESH.whole(&body)?;
    let token = body["refresh"].as_str().unwrap_or_default();
    if !state.sessions.holds(Kind::Refresh, token) {
        return Err(Refusal::new(401, "Token is invalid or expired"));
    }
    let life = state.options.token_life;
    let access = open(state, Kind::Access, life);
    Ok(Response::new(200, json!({"access": access})))
}

fn open(state: &mut State, kind: Kind, life: Duration) -> String {
    let word = match kind {
        Kind::Access => "access",
        Kind::Refresh => "refresh",
    };
    let token = fake::jwt(word, state.next(), life);
    state.sessions.open(kind, &token, life);
    token
}

fn authenticate(state: &State, request: &Request) -> Result<(), Refusal> {
    match request.bearer() {
        Some(token) if state.knows_token(token) => Ok(()),
        Some(_) => Err(Refusal::new(401, "Given token not valid for any token type")),
        None => Err(Refusal::new(401, "Authentication credentials were not provided.")),
    }
}
