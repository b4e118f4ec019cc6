//! Faults that tests switch on in front of a vendor. It knows no single vendor.

use std::sync::atomic::{AtomicU64, Ordering};
use std::time::Duration;

use serde_json::{Value, json};

use super::http::Response;
use super::operation;

/// A fault of some calls.
#[derive(Clone, Debug, PartialEq)]
pub struct Fault {
    /// The operation it strikes; `*` is any, `users.*` any of the users'.
    pub on: String,
    /// How many calls it strikes; `None`: all calls until healed.
    pub times: Option<u32>,
    /// The kind of fault.
    pub kind: FaultKind,
    /// It strikes only calls with this text in their body.
    pub body: Option<String>,
}

/// The kind of fault, and whether the call takes effect at the vendor.
#[derive(Clone, Debug, PartialEq)]
pub enum FaultKind {
    /// Nothing is done; this status, with this body or the vendor's own error body.
    Status(u16, Option<Value>),
    /// Nothing is done; 429, with the time to wait if given: `X-RateLimit-Reset` (Pegasus), `Retry-After` (Amani), nothing elsewhere.
    RateLimited(Option<Duration>),
    /// Nothing is done; the connection is closed without an answer.
    LostBeforeCommit,
    /// It is done; the connection is closed without an answer.
    LostAfterCommit,
    /// Nothing is done; no answer ever comes.
    Hang,
    /// It is done; the answer comes at ten bytes a second.
    SlowDrip,
    /// Nothing is done; 200 with a web page.
    Html,
    /// It is done; the answer stops in the middle, as if it were complete.
    TruncatedJson,
    /// It is done; the answer has its status and no body.
    NoBody,
    /// It is done; every value in the answer is of another type.
    WrongTypes,
    /// It is done; 64 MiB of blanks precede the answer.
    HugeBody,
    /// Nothing is done; 200 with a body that is small on the wire and large in memory.
    Flood(Flood),
    /// It is done; a byte order mark precedes the answer.
    Marked,
    /// Nothing is done; 307 to this address.
    Redirect(String),
    /// It is done, and answered as ever, but this field of the body has another value, or none.
    Rewritten(String, Option<Value>),
    /// Lists: the later half of the rows is missing; the counts are unchanged.
    ShortList,
    /// Lists: no rows, and counts of zero.
    EmptyList,
    /// Lists: always the first page.
    RepeatedPage,
    /// Lists: each page is full of new rows, and there is always another one.
    EndlessList,
}

/// A body that needs much more memory as JSON values than as text, or does not end.
#[derive(Clone, Copy, Debug, PartialEq, Eq, strum::EnumString, strum::VariantArray)]
pub enum Flood {
    /// 16 MiB of `[0,0,…]`.
    Zeros,
    /// 16 MiB of `[{"a":0},…]`.
    SmallObjects,
    /// 16 MiB of an object with many names.
    Names,
    /// 16 MiB of lists that are not closed.
    Deep,
    /// 16 MiB of an id.
    Text,
    /// The vendor's usual answer with its rows, or a row made up, repeated under new ids without end.
    Rows,
}

impl Flood {
    /// Every kind.
    pub const ALL: &[Self] = <Self as strum::VariantArray>::VARIANTS;
}

impl Fault {
    /// A fault that strikes once.
    #[must_use]
    pub fn once(on: &str, kind: FaultKind) -> Self {
        Self { on: on.to_owned(), times: Some(1), kind, body: None }
    }

    /// A fault that strikes until healed.
    #[must_use]
    pub fn always(on: &str, kind: FaultKind) -> Self {
        Self { on: on.to_owned(), times: None, kind, body: None }
    }

    /// The same fault of calls with this text in their body alone.
    #[must_use]
    pub fn with_body(self, text: &str) -> Self {
        Self { body: Some(text.to_owned()), ..self }
    }

    fn strikes(&self, operation: &str, body: &str) -> bool {
        let meant = match self.on.strip_suffix('*') {
            Some(start) => operation.starts_with(start),
            None => self.on == operation,
        };
        let lists_only = matches!(
            self.kind,
            FaultKind::ShortList | FaultKind::EmptyList | FaultKind::RepeatedPage | FaultKind::EndlessList
        );
        let has_body = self.body.as_ref().is_none_or(|text| body.contains(text));
        meant && has_body && (!lists_only || operation::is_list(operation))
    }

    /// Reads the body of a call to the control endpoint: `on`, `times`, `kind`, `body_has`, and by kind `status`, `body`, `seconds`, `location`,
    /// `field`, `value`, `flood`.
    pub(super) fn from_json(given: &Value) -> Result<Self, String> {
        let times = match &given["times"] {
            Value::Null => None,
            times => {
                Some(times.as_u64().and_then(|times| u32::try_from(times).ok()).ok_or("times: expected a number")?)
            }
        };
        Ok(Self {
            on: given["on"].as_str().unwrap_or("*").to_owned(),
            times,
            kind: FaultKind::from_json(given)?,
            body: given["body_has"].as_str().map(str::to_owned),
        })
    }

    /// The form that the control endpoint shows.
    pub(super) fn to_json(&self) -> Value {
        json!({"on": self.on, "times": self.times, "kind": format!("{:?}", self.kind)})
    }
}

impl FaultKind {
    fn from_json(given: &Value) -> Result<Self, String> {
        let kind = given["kind"].as_str().ok_or("kind: expected a string")?;
        Ok(match kind {
            "Status" => {
                let status = given["status"]
                    .as_u64()
                    .and_then(|status| u16::try_from(status).ok())
                    .filter(|status| (200..600).contains(status))
                    .ok_or("status: expected 200 to 599")?;
                Self::Status(status, given.get("body").cloned())
            }
            "RateLimited" => Self::RateLimited(given["seconds"].as_u64().map(Duration::from_secs)),
            "LostBeforeCommit" => Self::LostBeforeCommit,
            "LostAfterCommit" => Self::LostAfterCommit,
            "Hang" => Self::Hang,
            "SlowDrip" => Self::SlowDrip,
            "Html" => Self::Html,
            "TruncatedJson" => Self::TruncatedJson,
            "NoBody" => Self::NoBody,
            "WrongTypes" => Self::WrongTypes,
            "HugeBody" => Self::HugeBody,
            "Flood" => {
                let flood = given["flood"].as_str().and_then(|flood| flood.parse().ok());
                Self::Flood(flood.ok_or("flood: expected Zeros, SmallObjects, Names, Deep, Text or Rows")?)
            }
            "Marked" => Self::Marked,
            "Redirect" => {
                let location = given["location"].as_str();
                Self::Redirect(location.ok_or("location: expected a string")?.to_owned())
            }
            "Rewritten" => {
                let field = given["field"].as_str().ok_or("field: expected a string")?;
                Self::Rewritten(field.to_owned(), given.get("value").cloned())
            }
            "ShortList" => Self::ShortList,
            "EmptyList" => Self::EmptyList,
            "RepeatedPage" => Self::RepeatedPage,
            "EndlessList" => Self::EndlessList,
            other => return Err(format!("kind: {other} is unknown")),
        })
    }
}

/// Takes the first fault that strikes this operation, counting it down.
pub(super) fn take(faults: &mut Vec<Fault>, operation: &str, body: &[u8]) -> Option<FaultKind> {
    faults.retain(|fault| fault.times != Some(0));
    let body = String::from_utf8_lossy(body);
    let fault = faults.iter_mut().find(|fault| fault.strikes(operation, &body))?;
    fault.times = fault.times.map(|times| times - 1);
    Some(fault.kind.clone())
}

/// The body with another value in `field`, or without that field; a list of changes has it as a path.
pub(super) fn rewritten(body: &[u8], field: &str, value: Option<&Value>) -> Vec<u8> {
    let mut body: Value = serde_json::from_slice(body).unwrap_or_default();
    let path = format!("/{field}");
    match (&mut body, value) {
        (Value::Object(fields), Some(value)) if fields.contains_key(field) => {
            drop(fields.insert(field.to_owned(), value.clone()));
        }
        (Value::Object(fields), None) => drop(fields.remove(field)),
        (Value::Array(changes), None) => changes.retain(|change| change["path"] != path),
        (Value::Array(changes), Some(value)) => {
            let meant = changes.iter_mut().filter(|change| change["path"] == path);
            meant.for_each(|change| change["value"] = value.clone());
        }
        _ => {}
    }
    body.to_string().into_bytes()
}

/// The answer with every value of another type.
pub(super) fn with_wrong_types(mut answer: Response) -> Response {
    fn distort(value: &mut Value) {
        match value {
            Value::Object(fields) => fields.values_mut().for_each(distort),
            Value::Array(items) => items.iter_mut().for_each(distort),
            leaf => *leaf = json!({"unexpected": leaf.take()}),
        }
    }
    if let Some(body) = &mut answer.body {
        distort(body);
    }
    answer
}

/// A list's answer without the later half of its rows.
pub(super) fn with_half_the_rows(mut answer: Response) -> Response {
    if let Some(rows) = answer.body.as_mut().and_then(rows_of) {
        rows.truncate(rows.len() / 2);
    }
    answer
}

/// A list's answer without rows.
pub(super) fn without_rows(mut answer: Response) -> Response {
    let Some(body) = &mut answer.body else {
        return answer;
    };
    if let Some(rows) = rows_of(body) {
        rows.clear();
    }
    for (counter, nothing) in [
        ("total", json!(0)),
        ("count", json!(0)),
        ("set", json!(0)),
        ("pages", json!(1)),
        ("hasNextPage", json!(false)),
        ("nextUrl", Value::Null),
        ("next", Value::Null),
    ] {
        if let Some(shown) = body.get_mut(counter) {
            *shown = nothing;
        }
    }
    answer
}

/// Rows of a full page.
const FULL: usize = 1000;
/// A count that no listing reaches.
const ENDLESS: u64 = 1_000_000_000;

/// A list's answer with a full page of copies of its first row under new ids, and counts that no listing reaches.
pub(super) fn without_end(mut answer: Response, path: &str) -> Response {
    let Some(body) = &mut answer.body else {
        return answer;
    };
    if let Some(rows) = rows_of(body)
        && let Some(row) = rows.first().cloned()
    {
        *rows = (0..FULL).map(|_| renumbered(&row, fresh())).collect();
    }
    for (counter, endless) in [
        ("total", json!(ENDLESS)),
        ("count", json!(ENDLESS)),
        ("pages", json!(ENDLESS)),
        ("next", json!(format!("http://localhost{path}?page={}", fresh()))),
    ] {
        if let Some(shown) = body.get_mut(counter) {
            *shown = endless;
        }
    }
    answer
}

/// A number that no row of this process has.
fn fresh() -> u64 {
    static NEXT: AtomicU64 = AtomicU64::new(1 << 40);
    NEXT.fetch_add(1, Ordering::Relaxed)
}

/// `row` under the id with this number, in the form that its id has.
pub(super) fn renumbered(row: &Value, number: u64) -> Value {
    let mut row = row.clone();
    for name in ["id", "_id"] {
        match row.get_mut(name) {
            Some(Value::String(id)) if id.len() > 12 => {
                id.truncate(id.len() - 12);
                *id = format!("{id}{number:012x}");
            }
            Some(Value::String(id)) => *id = format!("id-{number}"),
            Some(id @ Value::Number(_)) => *id = json!(number),
            _ => {}
        }
    }
    row
}

fn rows_of(body: &mut Value) -> Option<&mut Vec<Value>> {
    match body {
        Value::Array(rows) => Some(rows),
        Value::Object(fields) => fields.values_mut().find_map(Value::as_array_mut),
        _ => None,
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_fault_strikes_its_operation_as_often_as_configured() {
        let mut faults = vec![Fault::once("users.*", FaultKind::Hang)];
        assert_eq!(take(&mut faults, operation::GROUPS_LIST, b""), None);
        assert_eq!(take(&mut faults, operation::USERS_READ, b""), Some(FaultKind::Hang));
        assert_eq!(take(&mut faults, operation::USERS_READ, b""), None);
    }

    #[test]
    fn list_faults_leave_other_calls_alone() {
        let mut faults = vec![Fault::always("*", FaultKind::ShortList)];
        assert_eq!(take(&mut faults, operation::USERS_CREATE, b""), None);
        assert!(take(&mut faults, operation::USERS_LIST, b"").is_some());
    }

    #[test]
    fn an_endless_list_has_new_ids_on_each_page() {
        let answer = || Response::new(200, json!({"total": 3, "data": [{"id": 1, "email": "ada@example.com"}]}));
        let id = |answer: Response| without_end(answer, "/users").body.unwrap()["data"][999]["id"].clone();
        assert_ne!(id(answer()), id(answer()));
        assert_eq!(without_end(answer(), "/users").body.unwrap()["total"], json!(ENDLESS));
    }

    #[test]
    fn a_short_list_keeps_its_counts() {
        let answer = Response::new(200, json!({"total": 3, "data": [1, 2, 3]}));
        let body = with_half_the_rows(answer).body;
        assert_eq!(body, Some(json!({"total": 3, "data": [1]})));
    }
}
