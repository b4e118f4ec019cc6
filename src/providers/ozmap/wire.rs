//! OZmap's fields and shapes, translated both ways; it makes no call.

use std::collections::BTreeSet;
use std::fmt::Write as _;

use aws_lc_rs::digest::{SHA256, digest};
use secrecy::{ExposeSecret, SecretString};
use serde_json::{Map, Value, json};

use crate::api::credential_provider::PasswordEncoding;
use crate::api::group::GroupProvider;
use crate::api::user::{OzmapProjectRole, OzmapResource, OzmapUser, Reference, UserProvider};
use crate::api::{PlatformGroupSpec, PlatformUserSpec, Reason};
use crate::plan::{
    Account, AccountKind, Catalog, Changes, Compare, Desired, Field, KeySource, ROLE, Rejection, group_keys, user_keys,
};
use crate::providers::decode::{self, put};
use crate::providers::error::{ErrorKind, ProviderError};
use crate::providers::http::Answer;
use crate::providers::resource::IdShape;
use crate::providers::words::means_taken;

/// Writable fields of a user (seed 004). That `username` never changes is assumed. A username that is an e-mail address
/// may be shown in lower case.
pub const USER: &[Field] = &[
    Field::fixed("username", Compare::Login).key(KeySource::Username),
    Field::new("email", Compare::FoldCase).key(KeySource::Email),
    Field::new("name", Compare::Exact).alias(),
    Field::new("phone", Compare::Exact),
    Field::new("resources", Compare::Set).access(),
    Field::new("role", Compare::Exact).access(),
    Field::new("projects", Compare::Set).access(),
    Field::new("observation", Compare::Exact),
    Field::new("locale", Compare::Exact),
];

/// Writable fields of a project group (SDK, docs/PROJECTGROUP.md).
pub const GROUP: &[Field] =
    &[Field::new("name", Compare::Exact).key(KeySource::GroupName), Field::new("projects", Compare::Set).access()];

/// The catalogue of projects.
pub const PROJECT: &str = "project";
/// The role that may do everything (help centre, 44001786995).
pub const ADMINISTRATOR: &str = "Administrator";
/// The names of the id, which both show the same value (seed 004).
pub const ID_NAMES: &[&str] = &["id", "_id"];
/// The form of every id (seed 004).
pub const ID: IdShape = IdShape::ObjectId;
/// The name of the list in a page (wiki, "User creation").
pub const LIST: &str = "rows";

/// The collection's path.
pub fn path(account_kind: AccountKind) -> &'static str {
    match account_kind {
        AccountKind::User => "/users",
        AccountKind::Group => "/project-groups",
    }
}

/// The user that a manifest describes.
///
/// Errors: the block is missing, a role or project that matches nothing or several, a field OZmap does not have.
pub fn desire_user(spec: &PlatformUserSpec, catalog: &Catalog) -> Result<Desired, Rejection> {
    let Some(UserProvider::Ozmap(block)) = &spec.provider else {
        let message = "OZmap needs spec.provider.ozmap with resources and role: add it";
        return Err(Rejection::new(Reason::Invalid, message));
    };
    if spec.active.is_some() {
        let message = "OZmap cannot block a user: remove spec.active, and delete the object to take access away";
        return Err(Rejection::new(Reason::Unsupported, message));
    }
    let username = spec.username.clone().unwrap_or_else(|| spec.email.clone());
    let mut desired = Desired { keys: user_keys(USER, spec), needs_password: true, ..Desired::default() };
    put(&mut desired.fields, "username", Some(username));
    put(&mut desired.fields, "email", Some(&spec.email));
    put(&mut desired.fields, "name", Some(decode::display_name(spec)));
    put(&mut desired.fields, "phone", spec.phone.as_ref());
    put_block(&mut desired, block, catalog)?;
    Ok(desired)
}

fn put_block(desired: &mut Desired, block: &OzmapUser, catalog: &Catalog) -> Result<(), Rejection> {
    let OzmapUser { resources, role, projects, observation, locale } = block;
    let role = resolve(catalog, ROLE, role, "spec.provider.ozmap.role")?;
    let access = projects.as_ref().map(|projects| project_roles(catalog, projects)).transpose()?;
    let used = access.iter().flatten().filter_map(|entry| entry["role"].as_str());
    desired.roles = [role.as_str()].into_iter().chain(used).map(str::to_owned).collect();
    desired.privileged = resources.contains(&OzmapResource::Api).then(|| "resource API".into());
    put(&mut desired.fields, "resources", Some(resources));
    put(&mut desired.fields, "role", Some(role));
    put(&mut desired.fields, "projects", access);
    put(&mut desired.fields, "observation", observation.as_ref());
    put(&mut desired.fields, "locale", locale.as_ref());
    Ok(())
}

fn project_roles(catalog: &Catalog, projects: &[OzmapProjectRole]) -> Result<Vec<Value>, Rejection> {
    let entry = |(position, entry): (usize, &OzmapProjectRole)| {
        let field = format!("spec.provider.ozmap.projects[{position}]");
        let project = resolve(catalog, PROJECT, &entry.project, &format!("{field}.project"))?;
        let role = resolve(catalog, ROLE, &entry.role, &format!("{field}.role"))?;
        Ok(json!({"project": project, "role": role}))
    };
    let entries: Result<Vec<Value>, Rejection> = projects.iter().enumerate().map(entry).collect();
    entries.map(each_once)
}

/// `entries` without repetitions: the schema admits them, because it can compare long lists of texts alone.
fn each_once(entries: Vec<Value>) -> Vec<Value> {
    let mut seen = BTreeSet::new();
    entries.into_iter().filter(|entry| seen.insert(entry.to_string())).collect()
}

/// The id of a role or project.
fn resolve(catalog: &Catalog, of: &str, reference: &Reference, field: &str) -> Result<String, Rejection> {
    match reference {
        Reference::Id(id) if catalog.get(of, id).is_some() => Ok(id.clone()),
        Reference::Id(id) => {
            Err(Rejection::new(Reason::NotFound, format!("{field}: OZmap lists no {of} with the id {id}; correct it")))
        }
        Reference::Name(name) => match catalog.ids(of, name).as_slice() {
            [id] => Ok((*id).to_owned()),
            [] => {
                Err(Rejection::new(Reason::NotFound, format!("{field}: OZmap lists no {of} named {name}; correct it")))
            }
            several => Err(Rejection::new(
                Reason::AmbiguousMatch,
                format!("{field}: {} {of}s of OZmap are named {name}; name one by id", several.len()),
            )),
        },
    }
}

/// The project group that a manifest describes.
///
/// Errors: a project that matches nothing or several.
pub fn desire_group(name: &str, spec: &PlatformGroupSpec, catalog: &Catalog) -> Result<Desired, Rejection> {
    let mut desired = Desired { keys: group_keys(GROUP, name), ..Desired::default() };
    put(&mut desired.fields, "name", Some(name));
    if let Some(GroupProvider::Ozmap(block)) = &spec.provider
        && let Some(projects) = &block.projects
    {
        let entry = |(position, project): (usize, &Reference)| {
            let field = format!("spec.provider.ozmap.projects[{position}]");
            Ok(json!({"project": resolve(catalog, PROJECT, project, &field)?}))
        };
        let projects: Result<Vec<Value>, Rejection> = projects.iter().enumerate().map(entry).collect();
        put(&mut desired.fields, "projects", Some(each_once(projects?)));
    }
    Ok(desired)
}

/// A user or project group as OZmap shows it. Another user's `apiKey`, which listings may hold, is not kept.
///
/// Errors: a row that is no object or has no id.
pub fn account(account_kind: AccountKind, row: &Value) -> Result<Account, ProviderError> {
    let table = match account_kind {
        AccountKind::User => USER,
        AccountKind::Group => GROUP,
    };
    let object = decode::object(row, path(account_kind))?;
    let mut account = Account {
        id: decode::id_of(object, ID_NAMES, ID, path(account_kind))?,
        fields: decode::fields(table, object),
        created: decode::instant(object.get("createdAt")),
        creator: object.get("creatorData").and_then(|creator| creator.get("username")).and_then(decode::id),
        ..Account::default()
    };
    let projects = projects(object.get("projects"));
    account.fields.insert("projects".into(), projects.into());
    if account_kind == AccountKind::User {
        if let Some(role) = object.get("role").and_then(reference) {
            account.fields.insert("role".into(), json!(role));
        }
        let groups = object.get("projectGroups").and_then(Value::as_array).into_iter().flatten();
        account.groups = Some(groups.filter_map(|entry| reference(entry.get("group").unwrap_or(entry))).collect());
        account.roles = roles(object);
        account.privileged = privilege(&account);
    }
    Ok(account)
}

/// The query that asks for rows in a fixed order: the natural order of the database may show a row on two pages and another on none. The
/// parameter is that of the SDK's sorter (APISorter.ts), in the url as older versions sent it (RESTAPI.ts).
pub fn ordered() -> (&'static str, String) {
    ("sort", json!([{"property": "_id", "direction": 1}]).to_string())
}

/// Whether `row` is not marked as deleted (`deletedAt` in the SDK's base model).
pub fn is_there(row: &Value) -> bool {
    row.get("deletedAt").is_none_or(Value::is_null)
}

/// The name in the answer to `GET /authenticated`; `None` where it shows none.
///
/// Errors: a name that cannot be read. Without an error the login would seem to be another one, and no object would be
/// bound to it.
pub fn name(me: &Value) -> Result<Option<String>, ProviderError> {
    let user = me.get("user").filter(|user| user.is_object()).unwrap_or(me);
    let names = || ["username", "email"].iter().filter_map(|name| user.get(*name).filter(|value| !value.is_null()));
    let shown = names().find_map(decode::login);
    if shown.is_none() && names().next().is_some() {
        return Err(decode::unexpected_answer("/authenticated", "no name that can be read"));
    }
    Ok(shown)
}

/// An id, or the id of the object in its place (`populate`).
fn reference(value: &Value) -> Option<String> {
    decode::id(value).or_else(|| ID_NAMES.iter().find_map(|name| value.get(*name).and_then(decode::id)))
}

/// Projects that the user has directly; those of a group (`fromGroup`) are never sent.
fn projects(list: Option<&Value>) -> Vec<Value> {
    let entries = list.and_then(Value::as_array).into_iter().flatten();
    entries
        .filter(|entry| entry.get("fromGroup") != Some(&Value::Bool(true)))
        .filter_map(|entry| {
            let project = reference(entry.get("project").unwrap_or(entry))?;
            Some(match entry.get("role").and_then(reference) {
                Some(role) => json!({"project": project, "role": role}),
                None => json!({"project": project}),
            })
        })
        .collect()
}

/// The user's own role and those in projects, whether given directly or with a group.
fn roles(user: &Map<String, Value>) -> BTreeSet<String> {
    let projects = user.get("projects").and_then(Value::as_array).into_iter().flatten();
    let given = projects.filter_map(|entry| entry.get("role"));
    user.get("role").into_iter().chain(given).filter_map(reference).collect()
}

fn privilege(account: &Account) -> Option<String> {
    let resources = account.fields.get("resources").and_then(Value::as_array);
    resources.is_some_and(|resources| resources.contains(&json!("API"))).then(|| "resource API".into())
}

/// The body of a POST, with every list that the SDK's type requires, if only an empty one.
pub fn creation(
    account_kind: AccountKind,
    changes: &Changes,
    password: Option<&SecretString>,
    encoding: PasswordEncoding,
) -> Value {
    let mut body = body(changes, password, encoding);
    let required: &[&str] = match account_kind {
        AccountKind::User => &["projects", "projectGroups"],
        AccountKind::Group => &["projects"],
    };
    for name in required {
        if body.get(name).is_none() {
            body[*name] = json!([]);
        }
    }
    body
}

/// The body of a PATCH: changed fields only, never `external_id`, which OZmap refuses when unchanged (SDK, UpdatableProxy).
pub fn body(changes: &Changes, password: Option<&SecretString>, encoding: PasswordEncoding) -> Value {
    let mut body: Map<String, Value> = changes.fields.clone().into_iter().collect();
    if let Some(groups) = &changes.groups {
        body.insert("projectGroups".into(), groups.iter().map(|group| json!({"group": group})).collect());
    }
    if let Some(password) = password {
        body.insert("password".into(), json!(encoded(password, encoding)));
    }
    body.into()
}

fn encoded(password: &SecretString, encoding: PasswordEncoding) -> String {
    let plain = password.expose_secret();
    match encoding {
        PasswordEncoding::Plain => plain.to_owned(),
        PasswordEncoding::Sha256Hex => {
            digest(&SHA256, plain.as_bytes()).as_ref().iter().fold(String::new(), |mut text, byte| {
                let _ = write!(text, "{byte:02x}");
                text
            })
        }
    }
}

/// A refusal; error bodies are not documented, so the usual fields are read.
pub fn refusal(answer: &Answer) -> ProviderError {
    let words = decode::words(&answer.json_or_null());
    let error = decode::refusal(answer, &words);
    // The database's own words (E11000) may come with a 500.
    let open = matches!(error.kind, ErrorKind::Invalid | ErrorKind::Unavailable) && answer.status >= 400;
    if open && means_taken(answer.status, &words) {
        return ProviderError::refused(ErrorKind::Conflict, error.message);
    }
    error
}

#[cfg(test)]
mod tests {
    use super::*;
    use rstest::rstest;

    #[test]
    fn an_entry_that_is_listed_twice_counts_once() {
        let entry = |project: &str| json!({"project": project, "role": "1"});
        let entries = vec![entry("b"), entry("a"), entry("b")];
        assert_eq!(each_once(entries), [entry("b"), entry("a")]);
    }

    #[test]
    fn a_taken_name_is_recognised_in_nested_words() {
        let body = json!({"message": "Bad request", "error": {"message": "User already exists"}});
        let answer = Answer::new(400, body.to_string().as_bytes(), "POST /users answered");
        assert_eq!(refusal(&answer).kind, ErrorKind::Conflict);
    }

    #[rstest]
    #[case::exists(400, "User already exists", ErrorKind::Conflict)]
    #[case::unique(422, "username must be unique", ErrorKind::Conflict)]
    #[case::database(500, "E11000 duplicate key error collection: ozmap.users", ErrorKind::Conflict)]
    #[case::absent(400, "Project does not exist", ErrorKind::Invalid)]
    #[case::exists_in_portuguese(400, "E-mail já cadastrado", ErrorKind::Conflict)]
    #[case::absent_in_portuguese(400, "Projeto não existe", ErrorKind::Invalid)]
    #[case::broken(500, "Something went wrong", ErrorKind::Unavailable)]
    #[case::cut_off(500, "An existing connection was forcibly closed", ErrorKind::Unavailable)]
    #[case::no_right(403, "You may not see whether it exists", ErrorKind::PermissionDenied)]
    fn a_taken_name_is_a_conflict_whatever_the_words(
        #[case] status: u16,
        #[case] words: &str,
        #[case] expected: ErrorKind,
    ) {
        let answer = Answer::new(status, json!({"message": words}).to_string().as_bytes(), "POST /users answered");
        assert_eq!(refusal(&answer).kind, expected);
    }

    #[rstest]
    #[case::plain(json!({"id": "1"}), true)]
    #[case::null(json!({"id": "1", "deletedAt": null}), true)]
    #[case::deleted(json!({"id": "1", "deletedAt": "2026-01-01T00:00:00Z"}), false)]
    fn a_row_that_is_marked_as_deleted_is_not_there(#[case] row: Value, #[case] there: bool) {
        assert_eq!(is_there(&row), there);
    }
}
