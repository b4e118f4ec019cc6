//! Amani's fields and shapes, translated both ways; it makes no call.

use std::collections::BTreeSet;

use secrecy::{ExposeSecret, SecretString};
use serde_json::{Map, Value, json};

use crate::api::{PlatformGroupSpec, PlatformUserSpec};
use crate::plan::{Account, AccountKind, Compare, Desired, Field, Fields, KeySource, group_keys, user_keys};
use crate::providers::decode::{self, put};
use crate::providers::error::{ErrorKind, ProviderError};
use crate::providers::http::{Answer, parameters};
use crate::providers::resource::IdShape;
use crate::providers::words::says_taken;

/// Writable fields of a user (seed 001). That `is_active` can be written is assumed, because Studio's Block does it; a
/// create does not take it and makes active users.
pub const USER: &[Field] = &[
    Field::new("email", Compare::FoldCase).key(KeySource::Email),
    Field::new("first_name", Compare::Exact),
    Field::new("last_name", Compare::Exact),
    Field::new("phone", Compare::Exact),
    Field::after_create("is_active", Compare::Exact, true).access(),
];

/// Fields of a role; roles are never written.
pub const GROUP: &[Field] = &[Field::new("name", Compare::Exact).key(KeySource::GroupName)];

/// The name of the id.
pub const ID_NAMES: &[&str] = &["id"];
/// The name of the list in a page (Django REST Framework).
pub const LIST: &str = "results";

/// The permission that makes an administrator: its holder may make users (documents/studio).
const ADD_USER: &str = "add_user";
/// The role that makes an administrator whatever its permissions (documents/websdk).
const ADMINISTRATOR: &str = "Company Admin";
/// Fields of an error body that are quoted (usual in Django REST Framework).
const QUOTED: &[&str] = &[
    "detail",
    "non_field_errors",
    "message",
    "error",
    "email",
    "username",
    "password",
    "first_name",
    "last_name",
    "phone",
    "groups",
    "is_active",
];

/// The name of a listing in metrics, and its path.
pub fn listing(account_kind: AccountKind) -> (&'static str, &'static str) {
    match account_kind {
        AccountKind::User => ("users.list", "/api/v2/user"),
        AccountKind::Group => ("groups.list", "/api/v2/group"),
    }
}

/// The form of ids: a user's is a UUID (seed 001), a role's a number (documents/websdk).
pub fn id_shape(account_kind: AccountKind) -> IdShape {
    match account_kind {
        AccountKind::User => IdShape::Uuid,
        AccountKind::Group => IdShape::Integer,
    }
}

/// The user that a manifest describes. Amani makes the username from the e-mail address and has no display name.
pub fn desire_user(spec: &PlatformUserSpec) -> Desired {
    let mut desired = Desired { keys: user_keys(USER, spec), needs_password: true, ..Desired::default() };
    desired.fields.insert("email".into(), json!(spec.email));
    put(&mut desired.fields, "first_name", spec.first_name.as_ref());
    put(&mut desired.fields, "last_name", spec.last_name.as_ref());
    put(&mut desired.fields, "phone", spec.phone.as_ref());
    put(&mut desired.fields, "is_active", spec.active.as_ref());
    desired
}

/// The role that a manifest names.
pub fn desire_group(name: &str, _: &PlatformGroupSpec) -> Desired {
    Desired {
        keys: group_keys(GROUP, name),
        fields: Fields::from([("name".to_owned(), json!(name))]),
        ..Desired::default()
    }
}

/// A user or role as Amani shows it.
///
/// Errors: an entry that is no object or has no id.
pub fn account(account_kind: AccountKind, entry: &Value) -> Result<Account, ProviderError> {
    let (_, said) = listing(account_kind);
    let object = decode::object(entry, said)?;
    let id = decode::id_of(object, ID_NAMES, id_shape(account_kind), said)?;
    Ok(match account_kind {
        AccountKind::User => Account {
            id,
            fields: decode::fields(USER, object),
            groups: object
                .get("groups")
                .and_then(Value::as_array)
                .map(|roles| roles.iter().filter_map(role_id).collect()),
            privileged: privilege_of(object),
            ..Account::default()
        },
        AccountKind::Group => Account {
            id,
            fields: decode::fields(GROUP, object),
            privileged: role_privilege(object),
            ..Account::default()
        },
    })
}

fn elements(list: Option<&Value>) -> impl Iterator<Item = &Value> {
    list.and_then(Value::as_array).into_iter().flatten()
}

/// A user's role is written as its id and shown as an object (seed 001).
fn role_id(role: &Value) -> Option<String> {
    decode::id(role.get("id").unwrap_or(role))
}

/// Why a user is an administrator: by one of its roles, or by its own list of permissions.
fn privilege_of(user: &Map<String, Value>) -> Option<String> {
    let by_role = elements(user.get("groups")).filter_map(Value::as_object).find_map(role_privilege);
    by_role.or_else(|| adds_users(user).then(|| format!("permission {ADD_USER}")))
}

fn role_privilege(role: &Map<String, Value>) -> Option<String> {
    let name = role.get("name").and_then(Value::as_str).unwrap_or_default();
    if name.eq_ignore_ascii_case(ADMINISTRATOR) {
        return Some(format!("role {name}"));
    }
    adds_users(role).then(|| format!("role {name} with permission {ADD_USER}"))
}

/// Whether `holder` has the permission, written alone or after the application's name, as Django does.
fn adds_users(holder: &Map<String, Value>) -> bool {
    let names = elements(holder.get("permissions")).filter_map(Value::as_str);
    names.filter_map(|name| name.rsplit('.').next()).any(|name| name == ADD_USER)
}

/// One page of a listing beside its rows.
#[derive(Debug)]
pub struct Page {
    /// The number of entries on all pages, where the server says it.
    pub count: Option<usize>,
    /// The query of the next page, if there is one.
    pub next: Option<Query>,
}

/// Parameters of an address.
pub type Query = Vec<(String, String)>;

/// The query of the first page of users, in a fixed order: without one, Django may show a user on two pages and another on none. That
/// the parameter is there is assumed (Django REST Framework, OrderingFilter); a server without it ignores it.
pub fn ordered() -> Query {
    vec![("ordering".into(), "id".into())]
}

/// A bare array (seed 001, roles), or a page `{count, next, previous, results}` (Django REST Framework; assumed for
/// users); `rest` is either without its rows. Only the query of `next` is used, because its host may be an internal one.
///
/// Errors: any other shape, and a `next` without a query.
pub fn page(account_kind: AccountKind, rest: &Value) -> Result<Page, ProviderError> {
    let (_, said) = listing(account_kind);
    if rest.is_array() {
        return Ok(Page { count: None, next: None });
    }
    decode::ensure_list(rest, LIST, said)?;
    let next = rest.get("next").filter(|next| !next.is_null()).map(|next| {
        let query = next.as_str().map(parameters).filter(|query| !query.is_empty());
        query.ok_or_else(|| decode::unexpected_answer(said, "a next page that cannot be asked for"))
    });
    Ok(Page { count: Some(decode::count(rest, "count", said)?), next: next.transpose()? })
}

/// The body of a POST or PATCH, with the given values only.
pub fn body(fields: Fields, groups: Option<&BTreeSet<String>>, password: Option<&SecretString>) -> Value {
    let mut body: Map<String, Value> = fields.into_iter().collect();
    if let Some(groups) = groups {
        let ids = groups.iter().map(|id| id.parse::<i64>().map_or_else(|_| json!(id), |number| json!(number)));
        body.insert("groups".into(), ids.collect());
    }
    if let Some(password) = password {
        body.insert("password".into(), json!(password.expose_secret()));
    }
    body.into()
}

/// A refusal in Django REST Framework's words: `{detail}`, `{field: [messages]}` or `[messages]`. A taken address is a
/// 400 there.
pub fn refusal(answer: &Answer) -> ProviderError {
    let json = answer.json_or_null();
    let mut error = decode::refusal(answer, &words(&json));
    if error.kind == ErrorKind::Invalid && is_taken(&json) {
        error.kind = ErrorKind::Conflict;
    }
    error
}

fn words(json: &Value) -> String {
    if json.is_array() {
        return messages(json);
    }
    let known = QUOTED.iter().filter_map(|name| Some((*name, json.get(*name)?)));
    let said = known.map(|(name, value)| match name {
        "detail" | "non_field_errors" | "message" | "error" => messages(value),
        field => format!("{field}: {}", messages(value)),
    });
    said.collect::<Vec<_>>().join("; ")
}

fn messages(value: &Value) -> String {
    match value {
        Value::String(text) => text.clone(),
        Value::Array(list) => list.iter().filter_map(Value::as_str).collect::<Vec<_>>().join(" "),
        _ => String::new(),
    }
}

fn is_taken(json: &Value) -> bool {
    let keys = ["email", "username", "non_field_errors", "detail", "message", "error"];
    says_taken(&messages(json))
        || keys.iter().filter_map(|key| json.get(*key)).any(|value| says_taken(&messages(value)))
}

#[cfg(test)]
mod tests {
    use super::*;
    use rstest::rstest;

    #[test]
    fn roles_are_read_as_objects_and_written_as_integers() {
        let entry = json!({
            "id": "00000000-0000-4000-8000-00000000b6d1", "email": "ada@example.com", "is_active": true, "company": "c1", "username": "ada@example.com",
            "groups": [{"id": 2, "name": "Viewer", "permissions": ["view_group"]}, {"id": 10, "name": "Clerk", "permissions": []}],
        });
        let account = account(AccountKind::User, &entry).unwrap();
        let groups = account.groups.unwrap();
        assert_eq!(groups, BTreeSet::from(["10".to_owned(), "2".to_owned()]));
        assert_eq!(account.privileged, None);
        assert!(!account.fields.contains_key("company"));
        assert_eq!(body(Fields::new(), Some(&groups), None), json!({"groups": [10, 2]}));
    }

    #[rstest]
    #[case::by_permission(json!({"id": 1, "name": "Office", "permissions": ["view_group", "add_user"]}), true)]
    #[case::by_qualified_permission(json!({"id": 1, "name": "Office", "permissions": ["users.add_user"]}), true)]
    #[case::by_name(json!({"id": 2, "name": "Company Admin", "permissions": []}), true)]
    #[case::another_permission(json!({"id": 3, "name": "Clerk", "permissions": ["add_userprofile"]}), false)]
    fn a_role_that_makes_users_is_privileged(#[case] role: Value, #[case] privileged: bool) {
        assert_eq!(account(AccountKind::Group, &role).unwrap().privileged.is_some(), privileged);
        let user = json!({"id": "00000000-0000-4000-8000-00000000b6d1", "groups": [role]});
        assert_eq!(account(AccountKind::User, &user).unwrap().privileged.is_some(), privileged);
    }

    #[rstest]
    #[case::array(json!([]), Ok((None, None)))]
    #[case::last_page(json!({"count": 1, "next": null, "previous": null, "results": []}), Ok((Some(1), None)))]
    #[case::page(json!({"count": 9, "next": "http://inner:80/api/v2/user?size=1&page=2", "results": []}), Ok((Some(9), Some("size=1&page=2"))))]
    #[case::offset(json!({"count": 9, "next": "https://host/api/v2/user?limit=1&offset=1", "results": []}), Ok((Some(9), Some("limit=1&offset=1"))))]
    #[case::cursor(json!({"count": 9, "next": "/api/v2/user?cursor=cD0y%3D", "results": []}), Ok((Some(9), Some("cursor=cD0y="))))]
    #[case::nowhere(json!({"count": 9, "next": "https://host/api/v2/user", "results": []}), Err(()))]
    #[case::no_count(json!({"next": null, "results": []}), Err(()))]
    #[case::two_lists(json!({"count": 1, "next": null, "results": [{"id": 1}]}), Err(()))]
    #[case::error(json!({"detail": "Not found."}), Err(()))]
    fn a_listing_is_an_array_or_a_page(
        #[case] answer: Value,
        #[case] expected: Result<(Option<usize>, Option<&str>), ()>,
    ) {
        let text =
            |query: Query| query.iter().map(|(name, value)| format!("{name}={value}")).collect::<Vec<_>>().join("&");
        let page = page(AccountKind::User, &answer).map(|page| (page.count, page.next.map(text)));
        let expected = expected.map(|(count, next)| (count, next.map(str::to_owned)));
        assert_eq!(page.map_err(|_| ()), expected);
    }

    #[rstest]
    #[case::duplicate(json!({"email": ["user with this email already exists."]}), true)]
    #[case::unique(json!({"username": ["This field must be unique."]}), true)]
    #[case::message(json!({"message": "User already exists"}), true)]
    #[case::list(json!(["user with this email already exists."]), true)]
    #[case::bad_role(json!({"groups": ["Invalid pk \"9\" - object does not exist."]}), false)]
    #[case::bad_address(json!({"email": ["Enter a valid email address."]}), false)]
    fn a_taken_address_is_told_from_a_bad_one(#[case] body: Value, #[case] taken: bool) {
        assert_eq!(is_taken(&body), taken);
    }

    #[test]
    fn only_known_fields_are_quoted() {
        let body = json!({"phone": ["Too long.", "Digits only."], "token": ["fake-token"], "detail": "No."});
        assert_eq!(words(&body), "No.; phone: Too long. Digits only.");
    }
}
