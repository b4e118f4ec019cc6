//! Reading vendors' JSON without trusting it, and the refusals they have in common; no vendor's field names.

use std::collections::BTreeSet;

use jiff::Timestamp;
use serde::Serialize;
use serde_json::{Map, Value, json};

use super::error::{ErrorKind, ProviderError};
use super::http::Answer;
use crate::api::PlatformUserSpec;
use crate::plan::{Account, AccountKind, Compare, Field, Fields, Key, folds};

/// The object in `value`.
///
/// Errors: anything else is an answer that makes no sense.
pub fn object<'a>(value: &'a Value, said: &str) -> Result<&'a Map<String, Value>, ProviderError> {
    value.as_object().ok_or_else(|| unexpected_answer(said, "something that is no JSON object"))
}

/// The list under `name` of `value`.
///
/// Errors: anything else is an answer that makes no sense.
pub fn list<'a>(value: &'a Value, name: &str, said: &str) -> Result<&'a [Value], ProviderError> {
    value
        .get(name)
        .and_then(Value::as_array)
        .map(Vec::as_slice)
        .ok_or_else(|| unexpected_answer(said, &format!("no list under {name}")))
}

/// The whole number under `name`.
///
/// Errors: anything else is an answer that makes no sense.
pub fn count(value: &Value, name: &str, said: &str) -> Result<usize, ProviderError> {
    let number = value.get(name).and_then(Value::as_u64).and_then(|number| usize::try_from(number).ok());
    number.ok_or_else(|| unexpected_answer(said, &format!("no number under {name}")))
}

/// An id, which vendors write as number or text.
#[must_use]
pub fn id(value: &Value) -> Option<String> {
    match value {
        Value::String(text) if !text.is_empty() => Some(text.clone()),
        Value::Number(number) => Some(number.to_string()),
        _ => None,
    }
}

/// The id under one of `names`.
///
/// Errors: without one an account cannot be told from others.
pub fn id_of(object: &Map<String, Value>, names: &[&str], said: &str) -> Result<String, ProviderError> {
    names
        .iter()
        .find_map(|name| object.get(*name).and_then(id))
        .ok_or_else(|| unexpected_answer(said, "an entry without an id"))
}

/// The writable fields that the vendor shows.
#[must_use]
pub fn fields(table: &[Field], object: &Map<String, Value>) -> Fields {
    let shown = table.iter().filter(|field| field.compare != Compare::Hidden);
    shown.filter_map(|field| Some((field.name.to_owned(), object.get(field.name)?.clone()))).collect()
}

/// A point in time: RFC 3339, or seconds since 1970.
#[must_use]
pub fn instant(value: Option<&Value>) -> Option<Timestamp> {
    match value? {
        Value::String(text) => text.parse().ok(),
        #[expect(clippy::cast_possible_truncation, reason = "whole milliseconds of this era fit by far")]
        Value::Number(number) => number.as_f64().and_then(|s| Timestamp::from_millisecond((s * 1000.0) as i64).ok()),
        _ => None,
    }
}

/// `accounts` if no id is there twice.
///
/// Errors: a repeated page or a listing that moved under us is no evidence.
pub fn distinct(accounts: Vec<Account>, said: &str) -> Result<Vec<Account>, ProviderError> {
    let ids: BTreeSet<&str> = accounts.iter().map(|account| account.id.as_str()).collect();
    if ids.len() == accounts.len() {
        Ok(accounts)
    } else {
        Err(unexpected_answer(said, "the same account twice in one listing"))
    }
}

/// What to search for, one after the other until something is found: vendors' searches mind case, and some keys do not.
#[must_use]
pub fn search_terms(table: &[Field], key: &Key) -> Vec<String> {
    let lower = Some(key.value.to_ascii_lowercase()).filter(|lower| folds(table, key) && *lower != key.value);
    [key.value.clone()].into_iter().chain(lower).collect()
}

/// Whether a search that ended so is one that the vendor does not offer, rather than one that failed.
#[must_use]
pub fn is_no_search(error: &ProviderError) -> bool {
    matches!(error.kind, ErrorKind::Invalid | ErrorKind::NotFound | ErrorKind::Unsupported)
}

/// A successful answer whose body is nobody's business, as long as it is the vendor's.
///
/// Errors: a web page, which any sign-in page or proxy may send with status 200.
pub fn done(answer: &Answer) -> Result<(), ProviderError> {
    if answer.is_page() { Err(unexpected_answer(answer.said(), "a web page")) } else { Ok(()) }
}

/// An answer that makes no sense; what was sent may have been done all the same.
#[must_use]
pub fn unexpected_answer(said: &str, what: &str) -> ProviderError {
    ProviderError::lost(format!("{said} with {what}; is the url right?"))
}

/// The usual meaning of a status that is not 2xx; `words` are the vendor's own, from known error fields. Without them the
/// fields that everybody uses are looked through.
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
            let message = format!("{message}: redirects are not followed; set the url to where the API really is");
            return ProviderError::refused(ErrorKind::Unavailable, message);
        }
        // A fault of ours, whichever it is, but for those that pass with time: too slow, too early, too many.
        400..=499 if !matches!(answer.status, 408 | 425 | 429) => ErrorKind::Invalid,
        _ => return ProviderError { retry_at: answer.retry_at(), ..ProviderError::lost(message) },
    };
    ProviderError::refused(kind, message)
}

/// The words in the error fields of `body` that everybody uses; none where it is no object, as raw bodies are never quoted.
#[must_use]
pub fn words(body: &Value) -> String {
    if body.is_object() { usual_words(body) } else { String::new() }
}

/// The words in the error fields that everybody uses, however they are nested: a text, a list of texts, an object with
/// such fields; under `errors` also by the names of the fields at fault.
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

/// The words about one field.
fn by_field((field, value): (&String, &Value)) -> String {
    match usual_words(value) {
        words if words.is_empty() => words,
        words => format!("{field}: {words}"),
    }
}

fn joined(words: impl Iterator<Item = String>) -> String {
    words.filter(|words| !words.is_empty()).collect::<Vec<_>>().join("; ")
}

/// How many entries a listing shall have, as its pages say one after the other.
#[derive(Default)]
pub struct Total(Option<usize>);

impl Total {
    /// Takes what one more page says.
    ///
    /// Errors: it shrank: what was removed from an earlier page has moved an entry there, unseen.
    pub fn heard(&mut self, total: usize, path: &str) -> Result<(), ProviderError> {
        match self.0.replace(total) {
            Some(before) if total < before => Err(unexpected_answer(path, "a total that shrank: a listing that moved")),
            _ => Ok(()),
        }
    }
}

/// Whether `words` say that something with this key is there already, in any dress: no vendor documents its own.
#[must_use]
pub fn says_taken(words: &str) -> bool {
    let words = words.to_ascii_lowercase();
    let has = |signs: &[&str]| signs.iter().any(|sign| words.contains(sign));
    let absent =
        has(&["not exist", "n't exist", "no longer exist", "non-exist", "nonexist", "not found", "not registered"]);
    let signs = ["already", "exist", "unique", "taken", "in use", "duplicate", "registered", "e11000"];
    !absent && has(&signs)
}

/// Whether the words of an answer with this status say so. Those of a 5xx or a time-out may be about the server itself.
#[must_use]
pub fn means_taken(status: u16, words: &str) -> bool {
    if status >= 500 || status == 408 { surely_says_taken(words) } else { says_taken(words) }
}

fn surely_says_taken(words: &str) -> bool {
    let lower = words.to_ascii_lowercase();
    let signs = ["e11000", "duplicate", "must be unique", "already exist", "already taken", "already registered"];
    says_taken(words) && signs.iter().any(|sign| lower.contains(sign))
}

/// What a call does to a user or group, as metrics name it.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Verb {
    /// All of them.
    List,
    /// Some of them, by a filter.
    Find,
    /// One.
    Read,
    /// Make one.
    Create,
    /// Change one.
    Update,
    /// Remove one.
    Delete,
}

/// The bounded word for metrics.
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

/// Adds a field if the manifest manages it.
pub fn put<T: Serialize>(fields: &mut Fields, name: &str, value: Option<T>) {
    if let Some(value) = value {
        fields.insert(name.into(), json!(value));
    }
}

/// The display name, or the names, or the e-mail address.
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
    fn an_error_in_any_usual_dress_is_quoted(#[case] body: Value, #[case] words: &str) {
        let said = refusal(&Answer::new(400, body.to_string().as_bytes(), "POST /users answered 400"), "").message;
        assert_eq!(said.trim_start_matches("POST /users answered 400").trim_start_matches(": "), words);
    }

    #[test]
    fn a_listing_that_shrinks_on_the_way_is_not_whole() {
        let mut total = Total::default();
        total.heard(1500, "/users").unwrap();
        total.heard(1501, "/users").unwrap();
        assert_eq!(total.heard(1500, "/users").unwrap_err().kind, ErrorKind::Unavailable);
    }

    #[rstest]
    #[case::database("E11000 duplicate key error collection: ozmap.users index: email_1", true)]
    #[case::duplicate("Duplicate email", true)]
    #[case::plain("The user already exists", true)]
    #[case::connection("An existing connection was forcibly closed by the remote host.", false)]
    #[case::headers("Cannot set headers: headers already sent", false)]
    #[case::transaction("Transaction already in progress", false)]
    #[case::port("Address in use", false)]
    fn a_failure_of_the_server_is_not_taken_for_a_key_that_is_there(#[case] words: &str, #[case] taken: bool) {
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
    fn a_key_that_is_taken_is_recognised_in_any_dress(#[case] words: &str, #[case] taken: bool) {
        assert_eq!(says_taken(words), taken);
    }
}
