//! Decodes untrusted JSON of vendors and the errors that vendors have in common. It knows no vendor's field names.

use std::collections::BTreeSet;

use jiff::Timestamp;
use serde::Serialize;
use serde_json::{Map, Value, json};

use super::error::{ErrorKind, ProviderError};
use super::http::Answer;
use crate::api::PlatformUserSpec;
use crate::plan::{Account, AccountKind, Compare, Field, Fields, Key, fold, folds};

/// `value` as an object.
///
/// Errors: an unexpected answer for any other type.
pub fn object<'a>(value: &'a Value, said: &str) -> Result<&'a Map<String, Value>, ProviderError> {
    value.as_object().ok_or_else(|| unexpected_answer(said, "a body that is not a JSON object"))
}

/// The list in the field `name` of `value`.
///
/// Errors: an unexpected answer without such a list.
pub fn list<'a>(value: &'a Value, name: &str, said: &str) -> Result<&'a [Value], ProviderError> {
    value
        .get(name)
        .and_then(Value::as_array)
        .map(Vec::as_slice)
        .ok_or_else(|| unexpected_answer(said, &format!("no list under {name}")))
}

/// The whole number in the field `name` of `value`.
///
/// Errors: an unexpected answer without such a number.
pub fn count(value: &Value, name: &str, said: &str) -> Result<usize, ProviderError> {
    let number = value.get(name).and_then(Value::as_u64).and_then(|number| usize::try_from(number).ok());
    number.ok_or_else(|| unexpected_answer(said, &format!("no number under {name}")))
}

/// An id, which vendors write as a number or a text.
#[must_use]
pub fn id(value: &Value) -> Option<String> {
    match value {
        Value::String(text) if !text.is_empty() => Some(text.clone()),
        Value::Number(number) => Some(number.to_string()),
        _ => None,
    }
}

/// The id in the first of the fields `names`.
///
/// Errors: an unexpected answer without an id, because an account needs one.
pub fn id_of(object: &Map<String, Value>, names: &[&str], said: &str) -> Result<String, ProviderError> {
    names
        .iter()
        .find_map(|name| object.get(*name).and_then(id))
        .ok_or_else(|| unexpected_answer(said, "an entry without an id"))
}

/// The fields of `table` that the vendor returns.
#[must_use]
pub fn fields(table: &[Field], object: &Map<String, Value>) -> Fields {
    let shown = table.iter().filter(|field| field.compare != Compare::Hidden);
    shown.filter_map(|field| Some((field.name.to_owned(), object.get(field.name)?.clone()))).collect()
}

/// A point in time, written by RFC 3339 or in seconds since 1970.
#[must_use]
pub fn instant(value: Option<&Value>) -> Option<Timestamp> {
    match value? {
        Value::String(text) => text.parse().ok(),
        #[expect(clippy::cast_possible_truncation, reason = "milliseconds of this era fit into i64")]
        Value::Number(number) => number.as_f64().and_then(|s| Timestamp::from_millisecond((s * 1000.0) as i64).ok()),
        _ => None,
    }
}

/// `accounts`, if their ids are distinct.
///
/// Errors: an unexpected answer otherwise, because a repeated page or a listing that changed meanwhile proves nothing.
pub fn distinct(accounts: Vec<Account>, said: &str) -> Result<Vec<Account>, ProviderError> {
    let ids: BTreeSet<&str> = accounts.iter().map(|account| account.id.as_str()).collect();
    if ids.len() == accounts.len() {
        Ok(accounts)
    } else {
        Err(unexpected_answer(said, "the same account twice in one listing"))
    }
}

/// The terms to search for, one after the other until one finds an account: a vendor's search is case-sensitive even where its
/// key is not.
#[must_use]
pub fn search_terms(table: &[Field], key: &Key) -> Vec<String> {
    let lower = Some(fold(&key.value)).filter(|lower| folds(table, key) && *lower != key.value);
    [key.value.clone()].into_iter().chain(lower).collect()
}

/// Whether `error` means that the vendor does not support the search.
#[must_use]
pub fn is_no_search(error: &ProviderError) -> bool {
    matches!(error.kind, ErrorKind::Invalid | ErrorKind::NotFound | ErrorKind::Unsupported)
}

/// Accepts a successful answer whose body is not needed.
///
/// Errors: an unexpected answer for a web page, because a sign-in page or a proxy may send one with status 200.
pub fn done(answer: &Answer) -> Result<(), ProviderError> {
    if answer.is_page() { Err(unexpected_answer(answer.said(), "a web page")) } else { Ok(()) }
}

/// The error for an unexpected answer: `Unavailable` with unknown delivery. `what` follows "with" in the message.
#[must_use]
pub fn unexpected_answer(said: &str, what: &str) -> ProviderError {
    ProviderError::lost(format!("{said} with {what}; check the url"))
}

/// The error for a status that is not 2xx. `words` come from the vendor's error fields; if they are empty, the usual error fields
/// are searched.
#[must_use]
pub fn refusal(answer: &Answer, words: &str) -> ProviderError {
    let words = if words.is_empty() { self::words(&answer.json_or_null()) } else { words.to_owned() };
    let message = match answer.quote(&words) {
        words if words.is_empty() => answer.said().to_owned(),
        words => format!("{}: {words}", answer.said()),
    };
    let kind = match answer.status {
        401 => ErrorKind::Unauthenticated,
        403 => ErrorKind::PermissionDenied,
        404 | 410 => ErrorKind::NotFound,
        405 | 501 => ErrorKind::Unsupported,
        409 => ErrorKind::Conflict,
        300..400 => {
            let message = format!("{message}: redirects are not followed; set the url to the address of the API");
            return ProviderError::refused(ErrorKind::Unavailable, message);
        }
        // All other 4xx blame the request, except for those that pass with time: too slow, too early, too many.
        400..=499 if !matches!(answer.status, 408 | 425 | 429) => ErrorKind::Invalid,
        _ => return ProviderError { retry_at: answer.retry_at(), ..ProviderError::lost(message) },
    };
    ProviderError::refused(kind, message)
}

/// The words in the usual error fields of `body`; empty if it is not an object, because raw bodies are never quoted.
#[must_use]
pub fn words(body: &Value) -> String {
    if body.is_object() { usual_words(body) } else { String::new() }
}

/// The words in the usual error fields at any depth: a text, a list, or an object with such fields. The objects in `errors` are
/// also read by the names of the rejected fields.
fn usual_words(json: &Value) -> String {
    const FIELDS: [&str; 6] = ["message", "error", "errors", "detail", "description", "reason"];
    match json {
        Value::String(text) => text.clone(),
        Value::Array(items) => joined(items.iter().map(usual_words)),
        Value::Object(object) => {
            joined(FIELDS.iter().filter_map(|field| Some((*field, object.get(*field)?))).map(|(field, value)| {
                match value {
                    Value::Object(faults) if field == "errors" => joined(faults.iter().map(by_field)),
                    value => usual_words(value),
                }
            }))
        }
        _ => String::new(),
    }
}

/// The words about one rejected field.
fn by_field((field, value): (&String, &Value)) -> String {
    match usual_words(value) {
        words if words.is_empty() => words,
        words => format!("{field}: {words}"),
    }
}

fn joined(words: impl Iterator<Item = String>) -> String {
    words.filter(|words| !words.is_empty()).collect::<Vec<_>>().join("; ")
}

/// The total of a listing, which each of its pages repeats.
#[derive(Default)]
pub struct Total(Option<usize>);

impl Total {
    /// Takes over the total of the next page.
    ///
    /// Errors: an unexpected answer if it shrank, because a removal moves an unread entry to a page that was read already.
    pub fn observe(&mut self, total: usize, path: &str) -> Result<(), ProviderError> {
        match self.0.replace(total) {
            Some(before) if total < before => {
                Err(unexpected_answer(path, "a total that shrank while the listing was read"))
            }
            _ => Ok(()),
        }
    }
}

/// Whether `words` mean that an account with this key exists. It knows the usual phrases, because no vendor documents its own.
#[must_use]
pub fn says_taken(words: &str) -> bool {
    let words = words.to_ascii_lowercase();
    let has = |signs: &[&str]| signs.iter().any(|sign| words.contains(sign));
    let absent =
        has(&["not exist", "n't exist", "no longer exist", "non-exist", "nonexist", "not found", "not registered"]);
    let signs = ["already", "exist", "unique", "taken", "in use", "duplicate", "registered", "e11000"];
    !absent && has(&signs)
}

/// The same for an answer with this status: the words of a 5xx and of a time-out may be about the server itself, so only
/// unambiguous phrases count.
#[must_use]
pub fn means_taken(status: u16, words: &str) -> bool {
    if status >= 500 || status == 408 { surely_says_taken(words) } else { says_taken(words) }
}

fn surely_says_taken(words: &str) -> bool {
    let lower = words.to_ascii_lowercase();
    let signs = ["e11000", "duplicate", "must be unique", "already exist", "already taken", "already registered"];
    says_taken(words) && signs.iter().any(|sign| lower.contains(sign))
}

/// The verb of a call, for metrics.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Verb {
    /// Lists all accounts.
    List,
    /// Lists some accounts by a filter.
    Find,
    /// Reads one account.
    Read,
    /// Creates an account.
    Create,
    /// Changes an account.
    Update,
    /// Removes an account.
    Delete,
}

/// The operation of a call, a bounded label of metrics.
#[must_use]
pub fn operation(account_kind: AccountKind, verb: Verb) -> &'static str {
    match (account_kind, verb) {
        (AccountKind::User, Verb::List) => "users.list",
        (AccountKind::User, Verb::Find) => "users.find",
        (AccountKind::User, Verb::Read) => "users.read",
        (AccountKind::User, Verb::Create) => "users.create",
        (AccountKind::User, Verb::Update) => "users.update",
        (AccountKind::User, Verb::Delete) => "users.delete",
        (AccountKind::Group, Verb::List) => "groups.list",
        (AccountKind::Group, Verb::Find) => "groups.find",
        (AccountKind::Group, Verb::Read) => "groups.read",
        (AccountKind::Group, Verb::Create) => "groups.create",
        (AccountKind::Group, Verb::Update) => "groups.update",
        (AccountKind::Group, Verb::Delete) => "groups.delete",
    }
}

/// Adds the field `name` if the manifest sets it.
pub fn put<T: Serialize>(fields: &mut Fields, name: &str, value: Option<T>) {
    if let Some(value) = value {
        fields.insert(name.into(), json!(value));
    }
}

/// The display name of a manifest; without one first and last name; without these the e-mail address.
#[must_use]
pub fn display_name(spec: &PlatformUserSpec) -> String {
    if let Some(name) = &spec.display_name {
        return name.clone();
    }
    let parts = [&spec.first_name, &spec.last_name].into_iter().flatten();
    let name = parts.map(String::as_str).filter(|part| !part.is_empty()).collect::<Vec<_>>().join(" ");
    if name.is_empty() { spec.email.clone() } else { name }
}

#[cfg(test)]
mod tests {
    use rstest::rstest;

    use super::super::error::Delivery;
    use super::*;

    #[rstest]
    #[case(402)]
    #[case(406)]
    #[case(411)]
    #[case(413)]
    #[case(414)]
    #[case(415)]
    #[case(423)]
    #[case(451)]
    fn a_status_that_blames_us_had_no_effect(#[case] status: u16) {
        let error = refusal(&Answer::new(status, b"", "POST /users answered"), "");
        assert_eq!((error.kind, error.delivery), (ErrorKind::Invalid, Delivery::NoEffect));
    }

    #[rstest]
    #[case::too_slow(408)]
    #[case::too_early(425)]
    #[case::broken(500)]
    #[case::away(503)]
    fn a_status_that_passes_with_time_may_have_had_an_effect(#[case] status: u16) {
        let error = refusal(&Answer::new(status, b"", "POST /users answered"), "");
        assert_eq!((error.kind, error.delivery), (ErrorKind::Unavailable, Delivery::Unknown));
    }

    #[rstest]
    #[case::object(json!({"error": {"message": "No such plan", "code": 7}}), "No such plan")]
    #[case::list(json!({"errors": [{"detail": "Too short"}, "Too plain"]}), "Too short; Too plain")]
    #[case::by_field(json!({"message": "Check these", "errors": {"email": ["is taken"], "phone": []}}), "Check these; email: is taken")]
    #[case::unknown(json!({"token": "fake-token-1"}), "")]
    #[case::raw(json!("anything"), "")]
    fn an_error_in_any_usual_form_is_quoted(#[case] body: Value, #[case] words: &str) {
        let said = refusal(&Answer::new(400, body.to_string().as_bytes(), "POST /users answered 400"), "").message;
        assert_eq!(said.trim_start_matches("POST /users answered 400").trim_start_matches(": "), words);
    }

    #[test]
    fn a_listing_whose_total_shrinks_is_rejected() {
        let mut total = Total::default();
        total.observe(1500, "/users").unwrap();
        total.observe(1501, "/users").unwrap();
        assert_eq!(total.observe(1500, "/users").unwrap_err().kind, ErrorKind::Unavailable);
    }

    #[rstest]
    #[case::database("E11000 duplicate key error collection: ozmap.users index: email_1", true)]
    #[case::duplicate("Duplicate email", true)]
    #[case::plain("The user already exists", true)]
    #[case::connection("An existing connection was forcibly closed by the remote host.", false)]
    #[case::headers("Cannot set headers: headers already sent", false)]
    #[case::transaction("Transaction already in progress", false)]
    #[case::port("Address in use", false)]
    fn a_failure_of_the_server_is_not_mistaken_for_a_taken_key(#[case] words: &str, #[case] taken: bool) {
        assert_eq!(surely_says_taken(words), taken);
    }

    #[rstest]
    #[case::plain("User already exists", true)]
    #[case::django("user with this email already exists.", true)]
    #[case::unique("This field must be unique.", true)]
    #[case::taken("That username is TAKEN", true)]
    #[case::in_use("E-mail in use", true)]
    #[case::mongo("E11000 duplicate key error collection: ozmap.users index: email_1", true)]
    #[case::registered("This address is registered", true)]
    #[case::absent("Role does not exist", false)]
    #[case::absent_short("The project doesn't exist", false)]
    #[case::not_registered("Device not registered", false)]
    #[case::bad("Enter a valid email address.", false)]
    fn a_taken_key_is_recognised_by_the_usual_phrases(#[case] words: &str, #[case] taken: bool) {
        assert_eq!(says_taken(words), taken);
    }
}
