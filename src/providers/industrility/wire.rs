//! Industrility's request (seed 003) and the meaning of its answers; it makes no call.

use serde_json::{Map, Value, json};

use crate::api::user::{IndustrilityPermission, IndustrilityRole, IndustrilityUser, UserProvider};
use crate::api::{PlatformUserSpec, Reason};
use crate::plan::{Changes, Compare, Desired, Field, KeySource, Rejection, group_keys, user_keys};
use crate::providers::decode::{self, put};
use crate::providers::error::{ErrorKind, ProviderError};
use crate::providers::http::Answer;
use crate::providers::words::says_taken;

/// Fields of a user. The vendor shows none, so they are compared with the values that were sent.
pub const USER: &[Field] = &[
    Field::fixed("email", Compare::Hidden).key(KeySource::Email),
    Field::fixed("firstName", Compare::Hidden),
    Field::fixed("lastName", Compare::Hidden),
    Field::fixed("orgName", Compare::Hidden),
    Field::fixed("userType", Compare::Hidden),
    Field::fixed("userLoginType", Compare::Hidden),
    Field::fixed("parentUser", Compare::Hidden),
    Field::fixed("toggleButtonValue", Compare::Hidden),
    Field::fixed("selectedRole", Compare::Hidden),
    Field::fixed("newRoleName", Compare::Hidden),
    Field::fixed("newRoleDescription", Compare::Hidden),
    Field::fixed("newRoles", Compare::Hidden),
    Field::fixed("installedAppsData", Compare::Hidden),
    Field::fixed("discountClasses", Compare::Hidden),
    Field::fixed("fileInfo", Compare::Hidden),
];

/// The natural key of a security group, which is neither sent nor shown.
pub const GROUP: &[Field] = &[Field::fixed("name", Compare::Hidden).key(KeySource::GroupName)];

/// The user that a manifest describes.
///
/// Errors: a field that is missing, or that Industrility does not have.
pub fn desire_user(spec: &PlatformUserSpec) -> Result<Desired, Rejection> {
    let Some(UserProvider::Industrility(block)) = &spec.provider else {
        return Err(invalid(
            "spec.provider.industrility with orgName, userType, userLoginType, parentUser and a role is needed",
        ));
    };
    let (Some(first), Some(last)) = (&spec.first_name, &spec.last_name) else {
        return Err(invalid("Industrility needs spec.firstName and spec.lastName: add both"));
    };
    if spec.password_secret_ref.is_some() {
        return Err(invalid("Industrility has no passwords in its API: remove spec.passwordSecretRef"));
    }
    for (field, set) in [("phone", spec.phone.is_some()), ("active", spec.active.is_some())] {
        if set {
            let message = format!("Industrility has no field for spec.{field}: remove it");
            return Err(Rejection::new(Reason::Unsupported, message));
        }
    }
    let mut desired = Desired { keys: user_keys(USER, spec), ..Desired::default() };
    desired.privileged = block.new_role.as_ref().map(|role| format!("the new role {}", role.name));
    put(&mut desired.fields, "email", Some(&spec.email));
    put(&mut desired.fields, "firstName", Some(first));
    put(&mut desired.fields, "lastName", Some(last));
    desired.roles = block.role.iter().cloned().collect();
    put_block(&mut desired, block);
    Ok(desired)
}

fn put_block(desired: &mut Desired, block: &IndustrilityUser) {
    let IndustrilityUser {
        org_name,
        user_type,
        user_login_type,
        parent_user,
        role,
        new_role,
        installed_apps,
        discount_classes,
        logo_url,
    } = block;
    let fields = &mut desired.fields;
    put(fields, "orgName", Some(org_name));
    put(fields, "userType", Some(user_type));
    put(fields, "userLoginType", Some(user_login_type));
    put(fields, "parentUser", Some(parent_user));
    put(fields, "installedAppsData", Some(installed_apps.clone().unwrap_or_default()));
    // A JSON object written into a text; "" when there is none.
    put(
        fields,
        "discountClasses",
        Some(discount_classes.as_ref().map_or_else(String::new, |classes| json!(classes).to_string())),
    );
    put(fields, "fileInfo", logo_url.as_ref().map(|url| json!({"cdnUrl": url})));
    put(fields, "selectedRole", Some(role.as_deref().unwrap_or_default()));
    put(fields, "toggleButtonValue", Some(if new_role.is_some() { "create" } else { "select" }));
    if let Some(IndustrilityRole { name, description, permissions }) = new_role {
        put(fields, "newRoleName", Some(name));
        put(fields, "newRoleDescription", Some(description.as_deref().unwrap_or_default()));
        let roles: Map<String, Value> =
            permissions.iter().map(|(app, rights)| (app.clone(), permission(*rights))).collect();
        put(fields, "newRoles", Some(roles));
    }
}

fn permission(rights: IndustrilityPermission) -> Value {
    let IndustrilityPermission { read, create, update, delete } = rights;
    json!({"read": read, "create": create, "update": update, "delete": delete})
}

/// A security group, which has no fields to write.
pub fn desire_group(name: &str) -> Desired {
    Desired { keys: group_keys(GROUP, name), ..Desired::default() }
}

/// The body of the create call, which requires a list of security groups, if only an empty one.
pub fn body(changes: &Changes) -> Value {
    let mut body: Map<String, Value> = changes.fields.clone().into_iter().collect();
    body.insert("selectedSecurityGroup".into(), json!(changes.groups.clone().unwrap_or_default()));
    body.into()
}

/// The id of a new user: the one in the answer, or the usual one.
pub fn id(answer: &Value, email: &str) -> String {
    shown_id(answer).unwrap_or_else(|| usual_id(email))
}

/// The usual id of a user: `US-<e-mail>`, as in the sample of `parentUser`.
pub fn usual_id(email: &str) -> String {
    format!("US-{email}")
}

fn shown_id(answer: &Value) -> Option<String> {
    ["userId", "id"].iter().find_map(|name| answer.get(*name).and_then(decode::id))
}

/// `answer` with the status that its body states: a status or a refusal in the body wins over a 2xx around it, as is
/// usual for functions behind a gateway (assumed). A function that failed is a 500, because it may have made the user
/// before.
pub fn unwrapped(answer: &Answer) -> Answer {
    let json = answer.json_or_null();
    let status = json.get("statusCode").and_then(Value::as_u64).and_then(|status| u16::try_from(status).ok());
    match status.filter(|status| (300..600).contains(status)) {
        _ if !answer.is_success() => answer.clone(),
        Some(status) => answer.restated(status),
        None if json.get("errorMessage").is_some() || json.get("errorType").is_some() => answer.restated(500),
        None if is_refusal(&json) || is_refusal(&inner(&json)) => answer.restated(400),
        None => answer.clone(),
    }
}

/// `success: false`, or words under `error` and no id of a user.
fn is_refusal(json: &Value) -> bool {
    let is_faulted = !decode::words(&json!({"error": json.get("error")})).is_empty();
    json.get("success") == Some(&Value::Bool(false)) || (is_faulted && shown_id(json).is_none())
}

/// The JSON in the text under `body` of a wrapped answer.
fn inner(json: &Value) -> Value {
    let body = json.get("body").and_then(Value::as_str);
    body.and_then(|body| serde_json::from_str(body).ok()).unwrap_or_default()
}

/// A refusal. The words are not documented: any that say that the user exists mean a conflict, and any that say that
/// the role exists mean a bad request.
pub fn refusal(answer: &Answer) -> ProviderError {
    let json = answer.json_or_null();
    let words = words(&json);
    let mut error = decode::refusal(answer, &words);
    match error.kind {
        ErrorKind::Conflict if is_about_role(&words) => error.kind = ErrorKind::Invalid,
        ErrorKind::Invalid if says_taken(&words) && !is_about_role(&words) => error.kind = ErrorKind::Conflict,
        _ => {}
    }
    error
}

/// The words in the usual fields, or in those of the text under `body` of a wrapped answer.
fn words(json: &Value) -> String {
    let broken = json.get("errorMessage").and_then(Value::as_str).unwrap_or_default();
    match decode::words(json) {
        words if !words.is_empty() => words,
        _ if !broken.is_empty() => broken.to_owned(),
        _ => decode::words(&inner(json)),
    }
}

/// Whether `words` say that a role exists: the part of the sentence that says so names a role, and no user before it.
fn is_about_role(words: &str) -> bool {
    let words = words.to_ascii_lowercase();
    let mut parts = words.split(['\n', ';']).flat_map(|part| part.split(": ")).flat_map(|part| part.split(", "));
    let part = parts.find(|part| says_taken(part)).unwrap_or(&words);
    let user = ["user", "email", "e-mail", "account"].iter().filter_map(|noun| part.find(noun)).min();
    part.find("role").is_some_and(|role| user.is_none_or(|user| role < user))
}

fn invalid(message: &str) -> Rejection {
    Rejection::new(Reason::Invalid, message)
}

#[cfg(test)]
mod tests {
    use super::*;
    use rstest::rstest;

    fn spec(block: &Value) -> PlatformUserSpec {
        serde_json::from_value(json!({
            "credentialRef": {"name": "main"}, "email": "ada@example.com", "firstName": "Ada", "lastName": "Lovelace",
            "provider": {"industrility": block},
        }))
        .unwrap()
    }

    #[rstest]
    #[case::status(409, json!({"message": "Conflict"}), ErrorKind::Conflict)]
    #[case::user(400, json!({"message": "User already exists"}), ErrorKind::Conflict)]
    #[case::registered(400, json!({"message": "This e-mail is registered"}), ErrorKind::Conflict)]
    #[case::user_with_role(409, json!({"message": "User ada@example.com with role UR-customer already exists"}), ErrorKind::Conflict)]
    #[case::role(409, json!({"message": "Role Reader already exists"}), ErrorKind::Invalid)]
    #[case::role_of_the_user(400, json!({"message": "Cannot create user: role Reader already exists"}), ErrorKind::Invalid)]
    #[case::role_name(400, json!({"message": "Duplicate newRoleName"}), ErrorKind::Invalid)]
    #[case::no_role(400, json!({"message": "Role UR-x does not exist"}), ErrorKind::Invalid)]
    #[case::unsuccessful(200, json!({"success": false, "message": "orgName is unknown"}), ErrorKind::Invalid)]
    #[case::wrapped(200, json!({"statusCode": 400, "body": "{\"message\": \"User already exists\"}"}), ErrorKind::Conflict)]
    #[case::wrapped_refusal(200, json!({"statusCode": 200, "body": "{\"success\": false, \"message\": \"User already exists\"}"}), ErrorKind::Conflict)]
    #[case::error(200, json!({"error": "User already exists"}), ErrorKind::Conflict)]
    #[case::broken(200, json!({"errorMessage": "Task timed out after 3.00 seconds", "errorType": "Sandbox.Timedout"}), ErrorKind::Unavailable)]
    #[case::wrapped_failure(200, json!({"statusCode": 502, "message": "Bad gateway"}), ErrorKind::Unavailable)]
    fn a_refusal_is_about_the_user_or_about_a_role(
        #[case] status: u16,
        #[case] body: Value,
        #[case] expected: ErrorKind,
    ) {
        let answer = Answer::new(status, body.to_string().as_bytes(), "POST /CreateNewUser answered");
        let answer = unwrapped(&answer);
        assert!(!answer.is_success());
        assert_eq!(refusal(&answer).kind, expected);
    }

    #[rstest]
    #[case::said(json!({"success": true}))]
    #[case::no_error(json!({"error": null, "message": "created"}))]
    #[case::warned(json!({"userId": "US-1", "error": "no welcome mail was sent"}))]
    #[case::wrapped(json!({"statusCode": 200, "body": "{}"}))]
    #[case::nothing_said(json!({"message": "User created"}))]
    fn a_body_without_a_refusal_leaves_a_success_as_it_is(#[case] body: Value) {
        assert!(unwrapped(&Answer::new(200, body.to_string().as_bytes(), "")).is_success());
    }

    #[test]
    fn a_user_with_a_role_has_every_required_field() {
        let block = json!({"orgName": "Example", "userType": "Customer", "userLoginType": "COGNITO", "parentUser": "US-root@example.com", "role": "UR-customer"});
        let desired = desire_user(&spec(&block)).unwrap();
        let body = body(&Changes { fields: desired.fields, ..Changes::default() });
        assert_eq!(
            body,
            json!({
                "email": "ada@example.com", "firstName": "Ada", "lastName": "Lovelace", "orgName": "Example",
                "userType": "Customer", "userLoginType": "COGNITO", "parentUser": "US-root@example.com",
                "selectedRole": "UR-customer", "toggleButtonValue": "select", "installedAppsData": {},
                "discountClasses": "", "selectedSecurityGroup": [],
            })
        );
    }

    #[test]
    fn a_new_role_is_privileged_and_leaves_the_selected_one_empty() {
        let block = json!({"orgName": "Example", "userType": "Customer", "userLoginType": "SSO", "parentUser": "US-root@example.com",
            "newRole": {"name": "Reader", "permissions": {"Maps": {"read": true}}}, "discountClasses": {"ClassA": "18"}});
        let desired = desire_user(&spec(&block)).unwrap();
        assert_eq!(desired.privileged.as_deref(), Some("the new role Reader"));
        assert_eq!(desired.fields["selectedRole"], "");
        assert_eq!(desired.fields["toggleButtonValue"], "create");
        assert_eq!(
            desired.fields["newRoles"],
            json!({"Maps": {"read": true, "create": false, "update": false, "delete": false}})
        );
        assert_eq!(desired.fields["discountClasses"], r#"{"ClassA":"18"}"#);
    }
}
