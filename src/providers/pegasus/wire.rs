//! Pegasus' fields and shapes, translated both ways; it makes no call.

use std::collections::BTreeSet;

use secrecy::{ExposeSecret, SecretString};
use serde_json::{Map, Value, json};

use crate::api::group::GroupProvider;
use crate::api::user::{PegasusUser, Scope, UserProvider};
use crate::api::{PlatformGroupSpec, PlatformUserSpec};
use crate::plan::{Account, AccountKind, Compare, Desired, Field, Fields, Key, KeySource, group_keys, user_keys};
use crate::providers::decode::{self, put};
use crate::providers::error::{ErrorKind, ProviderError};
use crate::providers::http::Answer;
use crate::providers::resource::IdShape;
use crate::providers::words;

/// Writable fields of a user (docs/user-creation); `access`, `app_url` and `logo_url` are sent but never shown.
pub const USER: &[Field] = &[
    Field::new("email", Compare::FoldCase).alias(),
    Field::new("username", Compare::FoldCase).key(KeySource::Username),
    Field::new("first_name", Compare::Exact),
    Field::new("last_name", Compare::Exact),
    Field::new("phone", Compare::Exact),
    Field::new("is_active", Compare::Exact).access(),
    Field::new("is_staff", Compare::Exact).access(),
    Field::new("is_superuser", Compare::Exact).access(),
    Field::new("prefs", Compare::PerKey),
    Field::new("roles", Compare::Set).access(),
    Field::new("scopes", Compare::Scopes).access(),
    Field::new("access", Compare::Hidden).access(),
    Field::new("app_url", Compare::Hidden),
    Field::new("logo_url", Compare::Hidden),
];

/// Writable fields of a group (docs/user-creation).
pub const GROUP: &[Field] = &[
    Field::new("name", Compare::Exact).key(KeySource::GroupName),
    Field::new("company_name", Compare::Exact),
    Field::new("contact_name", Compare::Exact),
    Field::new("contact_email", Compare::FoldCase),
    Field::new("address_1", Compare::Exact),
    Field::new("address_2", Compare::Exact),
    Field::new("city", Compare::Exact),
    Field::new("country", Compare::Exact),
    Field::new("logo", Compare::Shy),
];

/// The form of the ids of users and groups (docs/user-creation).
pub const ID: IdShape = IdShape::Integer;
/// The name of the id.
pub const ID_NAMES: &[&str] = &["id"];
/// The name of the list in a page (docs/api-overview).
pub const LIST: &str = "data";

/// The collection's path.
pub fn path(account_kind: AccountKind) -> &'static str {
    match account_kind {
        AccountKind::User => "/users",
        AccountKind::Group => "/groups",
    }
}

/// The search terms, in the order in which they are tried. A value with blanks is also tried in double quotes, as a
/// client of the vendor's own writes it (qconnect_pass_wizard), because the documents give no form.
pub fn search_terms(table: &[Field], key: &Key) -> Vec<String> {
    let quoted = key.value.contains(char::is_whitespace).then(|| format!("\"{}\"", key.value));
    decode::search_terms(table, key).into_iter().chain(quoted).collect()
}

/// The user that a manifest describes.
pub fn desire_user(spec: &PlatformUserSpec) -> Desired {
    let block = match &spec.provider {
        Some(UserProvider::Pegasus(block)) => block.clone(),
        _ => PegasusUser::default(),
    };
    let username = spec.username.clone().unwrap_or_else(|| spec.email.clone());
    let send_email = block.send_email;
    let mut desired = Desired {
        keys: user_keys(USER, spec),
        needs_password: send_email != Some(true),
        privileged: privilege(&block),
        roles: block.roles.iter().flatten().map(i64::to_string).collect(),
        grants: block.applications.clone().unwrap_or_default(),
        ..Desired::default()
    };
    desired.fields.insert("email".into(), json!(spec.email));
    desired.fields.insert("username".into(), json!(username));
    put(&mut desired.fields, "first_name", spec.first_name.as_ref());
    put(&mut desired.fields, "last_name", spec.last_name.as_ref());
    put(&mut desired.fields, "phone", spec.phone.as_ref());
    put(&mut desired.fields, "is_active", spec.active.as_ref());
    if spec.active.is_none() {
        desired.at_create.insert("is_active".into(), json!(true));
    }
    put(&mut desired.at_create, "send_email", send_email.as_ref());
    put_block(&mut desired, block);
    desired
}

fn put_block(desired: &mut Desired, block: PegasusUser) {
    let PegasusUser {
        access,
        app_url,
        send_email: _,
        is_staff,
        is_superuser,
        logo_url,
        prefs,
        roles,
        scopes,
        applications: _,
    } = block;
    put(&mut desired.fields, "access", access.as_ref());
    put(&mut desired.fields, "app_url", app_url.as_ref());
    put(&mut desired.fields, "is_staff", is_staff.as_ref());
    put(&mut desired.fields, "is_superuser", is_superuser.as_ref());
    put(&mut desired.fields, "logo_url", logo_url.as_ref());
    put(&mut desired.fields, "prefs", prefs.as_ref());
    put(&mut desired.fields, "roles", roles.as_ref());
    // Not compared for staff, because staff hold every scope (reference).
    let target = if is_staff == Some(true) { &mut desired.at_create } else { &mut desired.fields };
    put(target, "scopes", scopes.as_ref());
}

fn privilege(block: &PegasusUser) -> Option<String> {
    if block.is_staff == Some(true) {
        return Some("isStaff".into());
    }
    if block.is_superuser == Some(true) {
        return Some("isSuperuser".into());
    }
    let writes = |(scope, level): (&String, &Scope)| *level == Scope::W && matches!(scope.as_str(), "users" | "groups");
    let scope = block.scopes.iter().flatten().find(|entry| writes(*entry));
    scope.map(|(scope, _)| format!("write on scope {scope}"))
}

/// The group that a manifest describes.
pub fn desire_group(name: &str, spec: &PlatformGroupSpec) -> Desired {
    let mut desired = Desired { keys: group_keys(GROUP, name), ..Desired::default() };
    desired.fields.insert("name".into(), json!(name));
    if let Some(GroupProvider::Pegasus(block)) = &spec.provider {
        put(&mut desired.fields, "company_name", block.company_name.as_ref());
        put(&mut desired.fields, "contact_name", block.contact_name.as_ref());
        put(&mut desired.fields, "contact_email", block.contact_email.as_ref());
        put(&mut desired.fields, "address_1", block.address_1.as_ref());
        put(&mut desired.fields, "address_2", block.address_2.as_ref());
        put(&mut desired.fields, "city", block.city.as_ref());
        put(&mut desired.fields, "country", block.country.as_ref());
        put(&mut desired.fields, "logo", block.logo_url.as_ref());
    }
    desired
}

/// A user or group as Pegasus shows it.
///
/// Errors: an entry that is no object or has no id, or groups that cannot be read.
pub fn account(account_kind: AccountKind, entry: &Value) -> Result<Account, ProviderError> {
    let said = path(account_kind);
    let table = match account_kind {
        AccountKind::User => USER,
        AccountKind::Group => GROUP,
    };
    let object = decode::object(entry, said)?;
    let mut account = Account {
        id: decode::id_of(object, ID_NAMES, ID, said)?,
        fields: decode::fields(table, object),
        created: decode::instant(object.get("__created")),
        ..Account::default()
    };
    match account_kind {
        AccountKind::User => {
            account.groups = groups(object.get("groups"))?;
            account.roles = elements(object.get("roles")).filter_map(element_id).collect();
            account.privileged = privilege_of(object);
        }
        AccountKind::Group => {
            // A logo is written as an address or null, and shown as false without one (docs/user-creation) or always.
            account.fields.retain(|name, shown| name != "logo" || !shown.is_boolean());
            account.in_use = in_use(object);
        }
    }
    Ok(account)
}

/// The groups of a user; `None` where the answer does not show them, which is not an empty list.
///
/// Errors: an element that is neither an id nor an object with one, because the next PUT would drop it.
fn groups(list: Option<&Value>) -> Result<Option<BTreeSet<String>>, ProviderError> {
    let Some(list) = list.filter(|list| !list.is_null()) else { return Ok(None) };
    let all: Option<BTreeSet<String>> = list.as_array().and_then(|list| list.iter().map(element_id).collect());
    all.map(Some).ok_or_else(|| decode::unexpected_answer(path(AccountKind::User), "groups that are no list of ids"))
}

fn elements(list: Option<&Value>) -> impl Iterator<Item = &Value> {
    list.and_then(Value::as_array).into_iter().flatten()
}

fn element_id(element: &Value) -> Option<String> {
    decode::id(element.get("id").unwrap_or(element))
}

/// The number of entries on all pages, where the server says it: a page `{set, page, pages, total, data}` (docs/api-overview) does, a
/// bare array, which a client of the vendor's own accepts too (qconnect_pass_wizard), does not. `rest` is the answer without its rows.
///
/// Errors: any other shape.
pub fn total(account_kind: AccountKind, rest: &Value) -> Result<Option<usize>, ProviderError> {
    let said = path(account_kind);
    if rest.is_array() {
        return Ok(None);
    }
    decode::ensure_list(rest, LIST, said)?;
    decode::count(rest, "total", said).map(Some)
}

fn privilege_of(object: &Map<String, Value>) -> Option<String> {
    for flag in ["is_staff", "is_superuser"] {
        if object.get(flag) == Some(&Value::Bool(true)) {
            return Some(flag.into());
        }
    }
    let scopes = object.get("scopes").and_then(Value::as_object)?;
    let writes = |scope: &&str| scopes.get(*scope).and_then(Value::as_str) == Some("w");
    ["users", "groups"].into_iter().find(writes).map(|scope| format!("write on scope {scope}"))
}

/// The members of a group, which keep it from being removed: Pegasus would refuse the removal, or remove the members
/// too (reference: cascade).
fn in_use(object: &Map<String, Value>) -> Option<String> {
    let count = |name: &str| object.get(name).and_then(Value::as_array).map_or(0, Vec::len);
    let held: Vec<String> = ["users", "vehicles", "assets"]
        .into_iter()
        .map(|name| (name, count(name)))
        .filter(|(_, count)| *count > 0)
        .map(|(name, count)| format!("{count} {name}"))
        .collect();
    (!held.is_empty()).then(|| held.join(", "))
}

/// The body of a POST or PUT.
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

/// The JSON of a successful answer; null for an empty body, which the documents allow for 201 (reference: status
/// table).
///
/// Errors: any other status.
pub fn judge(answer: &Answer) -> Result<Value, ProviderError> {
    if answer.is_success() { answer.content() } else { Err(refusal(answer)) }
}

/// The refusal of a call with a valid token (reference: status table).
pub fn denied(answer: &Answer) -> ProviderError {
    let mut error = refusal(answer);
    error.kind = ErrorKind::PermissionDenied;
    error.message += ": the login works but lacks the scope, or shares no group with the account";
    error
}

/// A refusal; errors carry `message` (reference: the 429 body; assumed for the others).
pub fn refusal(answer: &Answer) -> ProviderError {
    let json = answer.json_or_null();
    let own = json.get("message").and_then(Value::as_str).unwrap_or_default();
    let mut error = decode::refusal(answer, own);
    // 409 is what the reference has for it; a 400 may say so too. Of a telephone that is taken it says nothing.
    let says_so = |words: &str| words::says_taken(words) && is_about_key(words);
    if error.kind == ErrorKind::Invalid && (says_so(own) || says_so(&decode::words(&json))) {
        error.kind = ErrorKind::Conflict;
    }
    error
}

/// Whether `words` name a natural key.
fn is_about_key(words: &str) -> bool {
    let words = words.to_ascii_lowercase();
    ["user", "name", "email", "e-mail", "account", "group"].iter().any(|noun| words.contains(noun))
}
