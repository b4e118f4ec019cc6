//! The control endpoint: shows and changes a simulator's accounts and faults over HTTP, for people and other processes.
//!
//! It needs no credentials, and its calls are not counted.

use serde_json::{Value, json};

use super::fault::Fault;
use super::http::{Request, Response, segments};
use super::server::{Call, Shared};
use super::simulator::Rows;

/// The first segment of its paths.
pub const PREFIX: &str = "/_control/";

/// Answers a request to the control endpoint.
pub fn answer(shared: &Shared, request: &Request) -> Response {
    let path = segments(&request.path);
    match (request.method.as_str(), &path[1..]) {
        ("GET", ["state"]) => Response::new(200, state(shared)),
        ("POST", ["faults"]) => with_json(request, |given| {
            let fault = Fault::from_json(&given)?;
            let shown = fault.to_json();
            shared.change(|desk| desk.faults.push(fault));
            Ok(Response::new(201, shown))
        }),
        ("DELETE", ["faults"]) => {
            shared.change(|desk| desk.faults.clear());
            Response::no_content()
        }
        ("POST", ["users"]) => put(shared, request, Rows::Users),
        ("POST", ["groups"]) => put(shared, request, Rows::Groups),
        ("PATCH", ["users", id]) => edit(shared, request, Rows::Users, id),
        ("PATCH", ["groups", id]) => edit(shared, request, Rows::Groups, id),
        ("DELETE", ["users", id]) => found(Rows::Users.remove(shared, id)),
        ("DELETE", ["groups", id]) => found(Rows::Groups.remove(shared, id)),
        _ => Response::new(404, json!({"message": "no such control"})),
    }
}

fn state(shared: &Shared) -> Value {
    let users = Rows::Users.all(shared);
    let groups = Rows::Groups.all(shared);
    let desk = shared.look();
    json!({
        "vendor": shared.vendor.name(),
        "users": users,
        "groups": groups,
        "calls": desk.calls.iter().map(show).collect::<Vec<_>>(),
        "violations": desk.violations,
        "faults": desk.faults.iter().map(Fault::to_json).collect::<Vec<_>>(),
    })
}

fn show(call: &Call) -> Value {
    json!({
        "at": call.at.to_string(),
        "method": call.method,
        "path": call.path,
        "query": call.query,
        "operation": call.operation,
        "status": call.status,
        "body": call.body,
    })
}

fn put(shared: &Shared, request: &Request, rows: Rows) -> Response {
    with_json(request, |given| {
        let id = rows.put(shared, given);
        Ok(Response::new(201, json!({"id": id})))
    })
}

fn edit(shared: &Shared, request: &Request, rows: Rows, id: &str) -> Response {
    with_json(request, |patch| Ok(found(rows.edit(shared, id, patch))))
}

fn with_json(request: &Request, act: impl FnOnce(Value) -> Result<Response, String>) -> Response {
    serde_json::from_slice(&request.body)
        .map_err(|error| error.to_string())
        .and_then(act)
        .unwrap_or_else(|message| Response::new(400, json!({"message": message})))
}

fn found(yes: bool) -> Response {
    if yes { Response::no_content() } else { Response::new(404, json!({"message": "no such row"})) }
}
