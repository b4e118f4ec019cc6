//! A user's rights in one application: an upsert keyed by application and user ("User Creation", step 3).

use std::time::{Duration, SystemTime};

use serde_json::{Value, json};

use super::{throttled, users};
use crate::vendors::http::{Refusal, Request, Response};
use crate::vendors::operation::APPS_READ;
use crate::vendors::schema::{Schema, Shape, required};
use crate::vendors::state::State;

const SCHEMA: Schema =
    Schema { fields: &[required("staff", Shape::Open)], server_made: &["id", "app", "user", "disabled", "data"] };

const STAFF: Schema = Schema { fields: &[required("apps", Shape::MapOf(&Shape::Bool))], server_made: &[] };

/// Reads or writes the rights of `?user=`.
pub fn answer(state: &mut State, request: &Request) -> Result<Response, Refusal> {
    request.allow_query(|name| name == "user")?;
    let Some(user) = request.query.get("user") else {
        return Err(Refusal::malformed_as(400, "query parameter user: required"));
    };
    if user.parse::<u64>().is_err() {
        let message = "query parameter user: expected an integer";
        return Err(Refusal::malformed_as(400, message));
    }
    if let Some(wait) = wait(state) {
        return Ok(throttled(20, Some(wait)));
    }
    let user = users::find(state, user)?.clone();
    if request.operation == APPS_READ {
        return match user["applications"].get(request.last()) {
            Some(record) => Ok(Response::new(200, record.clone())),
            None => Err(Refusal::new(404, "application data not found")),
        };
    }
    write(state, request, user)
}

/// Replaces the stored rights by the sent ones. Beside `apps`, `staff` may hold anything.
fn write(state: &mut State, request: &Request, mut user: Value) -> Result<Response, Refusal> {
    let body = request.object()?;
    SCHEMA.whole(&body)?;
    let staff = &body["staff"];
    let apps = staff.as_object().into_iter().flatten();
    let apps = apps.filter(|(key, _)| *key == "apps");
    STAFF.whole(&apps.map(|(key, value)| (key.clone(), value.clone())).collect())?;
    let app = request.last();
    let id = match user["applications"].get(app) {
        Some(record) => record["id"].clone(),
        None => json!(4000 + state.next()),
    };
    let record = json!({
        "id": id,
        "app": app,
        "user": user["id"],
        "disabled": false,
        "data": {},
        "staff": staff,
    });
    user["applications"][app] = record.clone();
    state.users.put(user);
    Ok(Response::new(200, record))
}

/// How long the caller has to wait: 5 calls a second and 20 a minute (release notes 7.2.1).
fn wait(state: &mut State) -> Option<Duration> {
    if !state.options.pegasus.apps_limits {
        return None;
    }
    let now = SystemTime::now();
    let calls = &mut state.apps_calls;
    let age = |at: &SystemTime| now.duration_since(*at).unwrap_or_default();
    while calls.front().is_some_and(|at| age(at) >= Duration::from_mins(1)) {
        calls.pop_front();
    }
    for (limit, window) in [(5, Duration::from_secs(1)), (20, Duration::from_mins(1))] {
        let oldest = calls.len().checked_sub(limit).and_then(|at| calls.get(at));
        if let Some(oldest) = oldest.filter(|at| age(at) < window) {
            return Some(window.saturating_sub(age(oldest)));
        }
    }
    calls.push_back(now);
    None
}
