//! Decodes untrusted JSON of vendors and the errors that vendors have in common. It knows no vendor's field names.

use jiff::Timestamp;
use serde::Serialize;
use serde_json::{Map, Value, json};

use super::error::{ErrorKind, ProviderError};
use super::exchange::too_large;
use super::http::{Answer, Call, quote};
use super::json::{self, LARGEST_DECODED, Unreadable};
use super::resource::IdShape;
use crate::api::PlatformUserSpec;
use crate::plan::{AccountKind, Compare, Field, Fields, Key, Naming, fold, folds};

/// `value` as an object.
///
/// Errors: an unexpected answer for any other type.
pub fn object<'a>(value: &'a Value, said: &str) -> Result<&'a Map<String, Value>, ProviderError> {
    value.as_object().ok_or_else(|| unexpected_answer(said, "a body that is not a JSON object"))
}

/// Accepts `rest`, a listing without its rows, if it has the list `name` and every row of it was taken.
///
/// Errors: an unexpected answer otherwise.
pub fn ensure_list(rest: &Value, name: &str, said: &str) -> Result<(), ProviderError> {
    match rest.get(name).and_then(Value::as_array) {
        Some(left) if left.is_empty() => Ok(()),
        Some(_) => Err(unexpected_answer(said, &format!("several lists under {name}"))),
        None => Err(unexpected_answer(said, &format!("no list under {name}"))),
    }
}

/// The whole number in the field `name` of `value`.
///
/// Errors: an unexpected answer without such a number.
pub fn count(value: &Value, name: &str, said: &str) -> Result<usize, ProviderError> {
    let number = value.get(name).and_then(Value::as_u64).and_then(|number| usize::try_from(number).ok());
    number.ok_or_else(|| unexpected_answer(said, &format!("no number under {name}")))
}

/// The longest text that may name something, in bytes; a manifest's are at most 1,024 characters.
const LONGEST_NAME: usize = 4096;

/// An id or a login, which vendors write as a number or a text.
#[must_use]
pub fn id(value: &Value) -> Option<String> {
    match value {
        Value::String(text) if (1..=LONGEST_NAME).contains(&text.len()) => Some(text.clone()),
        Value::Number(number) => Some(number.to_string()),
        _ => None,
    }
}

/// The login in a value, for status and messages.
#[must_use]
pub fn login(value: &Value) -> Option<String> {
    id(value).map(|login| quote(&login)).filter(|login| !login.is_empty())
}

/// The id of the form `shape` in the first of the fields `names`.
///
/// Errors: an unexpected answer without such an id, because an account needs one.
pub fn id_of(object: &Map<String, Value>, names: &[&str], shape: IdShape, said: &str) -> Result<String, ProviderError> {
    match names.iter().find_map(|name| object.get(*name).and_then(id)) {
        Some(id) if shape.fits(&id) => Ok(id),
        Some(id) => {
            let what = format!("an entry with the id {}, which is not {}", quote(&id), shape.described());
            Err(unexpected_answer(said, &what))
        }
        None => Err(unexpected_answer(said, "an entry without an id")),
    }
}

/// The fields of `table` that the vendor returns. A name that is too long for one is left out, because no manifest can ask for it.
#[must_use]
pub fn fields(table: &[Field], object: &Map<String, Value>) -> Fields {
    let is_name = |field: &Field, value: &Value| {
        field.naming == Naming::None || value.as_str().is_none_or(|name| name.len() <= LONGEST_NAME)
    };
    let shown = table.iter().filter(|field| field.compare != Compare::Hidden);
    let shown = shown.filter_map(|field| Some((field, object.get(field.name)?)));
    shown
        .filter(|(field, value)| is_name(field, value))
        .map(|(field, value)| (field.name.to_owned(), value.clone()))
        .collect()
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

/// The error for an unexpected answer: `Unavailable`; the call has ended. `what` follows "with" in the message.
#[must_use]
pub fn unexpected_answer(said: &str, what: &str) -> ProviderError {
    ProviderError::answered(format!("{said} with {what}; check the url"))
}

/// Sends `call`, a listing, by `send`, and passes the rows under `list` to `take` while they arrive. It returns the answer with an empty
/// list in place of the rows. `said` begins messages about a row.
///
/// Errors: those of `send` and `take`, and a row that is not JSON or too large.
pub async fn rows<T, F: Future<Output = Result<T, ProviderError>>>(
    call: Call,
    list: &'static str,
    said: &str,
    send: impl FnOnce(Call) -> F,
    mut take: impl FnMut(&Value) -> Result<(), ProviderError>,
) -> Result<T, ProviderError> {
    let (sender, mut rows) = tokio::sync::mpsc::channel::<Vec<u8>>(1);
    let taking = async {
        while let Some(row) = rows.recv().await {
            take(&row_of(&row, said)?)?;
        }
        Ok(())
    };
    let (answer, ()) = tokio::try_join!(send(call.rows(list, sender)), taking)?;
    Ok(answer)
}

fn row_of(bytes: &[u8], said: &str) -> Result<Value, ProviderError> {
    json::parse(bytes).map_err(|fault| match fault {
        Unreadable::NotJson => unexpected_answer(said, "a row that is not JSON"),
        Unreadable::TooLarge => too_large(said, " of values in one row", LARGEST_DECODED),
    })
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
        status if is_gateway(status) => {
            return ProviderError { retry_at: answer.retry_at(), ..ProviderError::lost(message) };
        }
        _ => return ProviderError { retry_at: answer.retry_at(), ..ProviderError::answered(message) },
    };
    ProviderError::refused(kind, message)
}

/// Whether a gateway answers with this status in place of a server that may still work on the call: bad answer or none in time, and
/// the same of Cloudflare (520, 522, 524) and of other proxies (598, 599).
fn is_gateway(status: u16) -> bool {
    matches!(status, 502 | 504 | 520 | 522 | 524 | 598 | 599)
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
    #[case::too_slow(408, Delivery::Answered)]
    #[case::too_early(425, Delivery::Answered)]
    #[case::broken(500, Delivery::Answered)]
    #[case::away(503, Delivery::Answered)]
    #[case::bad_gateway(502, Delivery::Unknown)]
    #[case::gateway_gave_up(504, Delivery::Unknown)]
    #[case::cloudflare_gave_up(524, Delivery::Unknown)]
    fn a_status_that_passes_with_time_may_have_had_an_effect(#[case] status: u16, #[case] delivery: Delivery) {
        let error = refusal(&Answer::new(status, b"", "POST /users answered"), "");
        assert_eq!((error.kind, error.delivery), (ErrorKind::Unavailable, delivery));
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
}
