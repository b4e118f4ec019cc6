//! Industrility, as its pages "Create a new user" and "`CreateNewUserRequest`" describe it.
//!
//! One call that creates a user, and no call that finds one. Address, header and scheme are not documented, so
//! they are options. It knows nothing of faults.

use std::time::Duration;

use serde_json::{Map, Value, json};

use super::api::Api;
use super::http::{Problem, Refusal, Request, Response};
use super::operation as op;
use super::schema::{Schema, Shape, optional, required};
use super::state::{State, overlay};
use super::table::text;

/// The vendor.
pub struct Industrility;

const PERMISSIONS: Schema = Schema {
    fields: &[
        required("read", Shape::Bool),
        required("create", Shape::Bool),
        required("update", Shape::Bool),
        required("delete", Shape::Bool),
    ],
    server_made: &[],
};

const FILE: Schema = Schema { fields: &[required("cdnUrl", Shape::SomeText)], server_made: &[] };

const SCHEMA: Schema = Schema {
    fields: &[
        required("firstName", Shape::SomeText),
        required("lastName", Shape::SomeText),
        required("email", Shape::SomeText),
        required("orgName", Shape::SomeText),
        required("parentUser", Shape::SomeText),
        required("selectedSecurityGroup", Shape::List(&Shape::SomeText)),
        required("userLoginType", Shape::OneOf(&["COGNITO", "SSO"])),
        required("userType", Shape::OneOf(&["Customer", "Manufacture", "Distributor", "SalesCompany"])),
        required("selectedRole", Shape::Text),
        required("installedAppsData", Shape::MapOf(&Shape::Bool)),
        optional("toggleButtonValue", Shape::OneOf(&["select", "create"])),
        optional("newRoleName", Shape::Text),
        optional("newRoleDescription", Shape::Text),
        optional("newRoles", Shape::MapOf(&Shape::Object(&PERMISSIONS))),
        optional("discountClasses", Shape::Text),
        optional("fileInfo", Shape::Object(&FILE)),
    ],
    server_made: &["id", "userId"],
};

impl Api for Industrility {
    fn secret(&self) -> &'static [(&'static str, &'static str)] {
        &[("token", "fake-industrility-token")]
    }

    fn user_keys(&self) -> &'static [&'static str] {
        &["email"]
    }

    /// `UR-customer` is the page's sample.
    fn seed(&self, state: &mut State) {
        for (id, name) in [("SG-operators", "Operators"), ("SG-service", "Service")] {
            state.groups.put(json!({"id": id, "name": name}));
        }
        for (id, name) in [("UR-customer", "customer"), ("UR-service", "service")] {
            state.roles.put(json!({"id": id, "name": name}));
        }
    }

    fn operations(&self) -> &'static [&'static str] {
        &[op::USERS_CREATE]
    }

    fn operation(&self, state: &State, request: &Request) -> Option<&'static str> {
        let options = &state.options.industrility;
        let (path, _) = options.create_path.split_once('?').unwrap_or((&options.create_path, ""));
        let is_create = request.method == "POST" && request.path == path;
        is_create.then_some(op::USERS_CREATE)
    }

    fn answer(&self, state: &mut State, request: &Request) -> Result<Response, Refusal> {
        authenticate(state, request)?;
        check_query(state, request)?;
        let body = request.object()?;
        SCHEMA.whole(&body)?;
        check_form(&body)?;
        check_content(state, &body)?;
        let creates_role = body.get("toggleButtonValue") == Some(&json!("create"));
        let user = self.new_user(state, body);
        if creates_role {
            let name = text(&user["newRoleName"]);
            let role = json!({
                "id": format!("UR-{name}"),
                "name": name,
                "description": user["newRoleDescription"],
                "permissions": user["newRoles"],
            });
            state.roles.put(role);
        }
        state.users.put(user);
        let answer = json!({"message": "User created successfully"});
        Ok(Response::new(200, answer))
    }

    /// By option within a 200, as a gateway answers that does not unwrap its function's response.
    fn refuse(&self, state: &State, refusal: &Refusal) -> Response {
        let body = json!({"message": refusal.message});
        if state.options.industrility.wrapped_refusals {
            return Response::new(200, json!({"statusCode": refusal.status, "body": body.to_string()}));
        }
        Response::new(refusal.status, body)
    }

    fn throttle(&self, _state: &State, _after: Option<Duration>) -> Response {
        Response::new(429, json!({"message": "Too Many Requests"}))
    }

    /// The id is `US-` and the e-mail, as in the page's `parentUser`.
    fn new_user(&self, _state: &mut State, given: Map<String, Value>) -> Value {
        let email = given.get("email").map(text).unwrap_or_default();
        overlay(json!({"id": format!("US-{email}")}), given)
    }

    fn new_group(&self, state: &mut State, given: Map<String, Value>) -> Value {
        let id = format!("SG-{}", state.next());
        overlay(json!({"id": id, "name": id}), given)
    }
}

fn authenticate(state: &State, request: &Request) -> Result<(), Refusal> {
    let options = &state.options.industrility;
    let given = request.header(&options.auth_header).unwrap_or_default();
    let token = match options.auth_scheme.as_str() {
        "" => Some(given),
        scheme => given.strip_prefix(scheme).and_then(|rest| rest.strip_prefix(' ')),
    };
    match token {
        Some(token) if state.knows_token(token) => Ok(()),
        _ => Err(Refusal::new(401, "Unauthorized")),
    }
}

/// Accepts exactly the parameters of the configured path.
fn check_query(state: &State, request: &Request) -> Result<(), Refusal> {
    let (_, wanted) = state.options.industrility.create_path.split_once('?').unwrap_or_default();
    let given: Vec<String> = request.query.iter().map(|(name, value)| format!("{name}={value}")).collect();
    let same = given.join("&") == wanted;
    if same { Ok(()) } else { Err(Refusal::malformed_as(404, "unknown query parameters")) }
}

/// Checks the page's rules for fields that depend on each other or hold text of a certain form.
fn check_form(body: &Map<String, Value>) -> Result<(), Refusal> {
    let given = |name: &str| body.get(name).and_then(Value::as_str).unwrap_or_default();
    let mut problems = Vec::new();
    let mut demand = |holds: bool, field: &str, message: &str| {
        if !holds {
            problems.push(Problem { field: field.to_owned(), message: message.to_owned() });
        }
    };
    let role = given("selectedRole");
    if given("toggleButtonValue") == "create" {
        demand(role.is_empty(), "selectedRole", "must be empty with create");
        let named = !given("newRoleName").is_empty();
        demand(named, "newRoleName", "required with create");
        let has_rights = body.contains_key("newRoles");
        demand(has_rights, "newRoles", "required with create");
    } else {
        let is_role = role.strip_prefix("UR-").is_some_and(|rest| !rest.is_empty());
        demand(is_role, "selectedRole", "expected the pattern UR-…");
        for field in ["newRoleName", "newRoleDescription"] {
            demand(given(field).is_empty(), field, "only with create");
        }
    }
    let parent = given("parentUser").strip_prefix("US-");
    let is_user = parent.is_some_and(|email| email.contains('@'));
    demand(is_user, "parentUser", "expected the pattern US-<e-mail>");
    let discounts = is_stringified(given("discountClasses"));
    let message = "expected a JSON object of strings as text, or nothing";
    demand(discounts, "discountClasses", message);
    let logo = body.get("fileInfo").map(|file| text(&file["cdnUrl"]));
    let is_https = logo.is_none_or(|url| url.starts_with("https://"));
    demand(is_https, "fileInfo.cdnUrl", "expected an https address");
    if problems.is_empty() { Ok(()) } else { Err(Refusal::malformed(problems)) }
}

/// Nothing, or a JSON object of strings written as text.
fn is_stringified(discounts: &str) -> bool {
    discounts.is_empty()
        || serde_json::from_str::<Map<String, Value>>(discounts)
            .is_ok_and(|classes| classes.values().all(Value::is_string))
}

/// Checks a body against the state: an unused e-mail and role name and, by option, known security groups.
fn check_content(state: &State, body: &Map<String, Value>) -> Result<(), Refusal> {
    let given = |name: &str| body.get(name).and_then(Value::as_str).unwrap_or_default();
    if !given("email").contains('@') {
        return Err(Refusal::new(400, "Invalid email"));
    }
    if state.users.with_key(given("email")).next().is_some() {
        return Err(Refusal::new(409, "User already exists"));
    }
    let role = given("newRoleName");
    if !role.is_empty() && state.roles.with_key(role).next().is_some() {
        return Err(Refusal::new(409, "Role already exists"));
    }
    if !state.options.industrility.check_security_groups {
        return Ok(());
    }
    let groups = body.get("selectedSecurityGroup").and_then(Value::as_array);
    for group in groups.into_iter().flatten() {
        if state.groups.get(&text(group)).is_none() {
            let message = format!("Security group {group} does not exist");
            return Err(Refusal::new(400, message));
        }
    }
    Ok(())
}

#[cfg(test)]
mod tests {
    use super::*;

    fn problems(patch: Value) -> Vec<String> {
        let mut body = json!({"selectedRole": "UR-customer", "parentUser": "US-boss@example.com"});
        super::super::state::merge(&mut body, patch);
        let refused = check_form(body.as_object().unwrap()).err();
        let fields = refused.map(|refusal| refusal.fields).unwrap_or_default();
        fields.into_iter().map(|problem| problem.field).collect()
    }

    #[test]
    fn a_role_is_selected_or_created_not_both() {
        assert!(problems(json!({})).is_empty());
        assert_eq!(problems(json!({"selectedRole": ""})), ["selectedRole"]);
        assert_eq!(problems(json!({"newRoleName": "x"})), ["newRoleName"]);
        assert_eq!(problems(json!({"toggleButtonValue": "create"})), ["selectedRole", "newRoleName", "newRoles"]);
    }

    #[test]
    fn discount_classes_are_an_object_in_a_string() {
        assert!(problems(json!({"discountClasses": ""})).is_empty());
        assert!(problems(json!({"discountClasses": "{\"ClassA\":\"18\"}"})).is_empty());
        let wrong = json!({"discountClasses": "{\"ClassA\":18}"});
        assert_eq!(problems(wrong), ["discountClasses"]);
    }
}
