//! Requests, answers and refusals as the vendors see them. It knows no single vendor.

use std::collections::BTreeMap;

use serde_json::{Map, Value};

/// One request, decoded.
#[derive(Clone, Debug, Default)]
pub struct Request {
    /// Verb in capitals.
    pub method: String,
    /// Path without the query.
    pub path: String,
    /// Query parameters, decoded; of a repeated one the last counts.
    pub query: BTreeMap<String, String>,
    /// Headers, names in lower case.
    pub headers: BTreeMap<String, String>,
    /// The body as it came.
    pub body: Vec<u8>,
    /// Which of [`super::operation`] this is.
    pub operation: &'static str,
}

impl Request {
    /// The path's parts; a slash at the end adds an empty one.
    pub fn segments(&self) -> Vec<&str> {
        segments(&self.path)
    }

    /// The last part of the path that is not empty.
    pub fn last(&self) -> &str {
        let parts = self.segments().into_iter();
        parts.rev().find(|part| !part.is_empty()).unwrap_or_default()
    }

    /// A header's value.
    pub fn header(&self, name: &str) -> Option<&str> {
        self.headers.get(&name.to_ascii_lowercase()).map(String::as_str)
    }

    /// The token behind `Authorization: Bearer`.
    pub fn bearer(&self) -> Option<&str> {
        self.header("authorization")?.strip_prefix("Bearer ")
    }

    /// The body as JSON, if it is sent as such.
    pub fn json(&self) -> Result<Value, Refusal> {
        let kind = self.header("content-type").unwrap_or_default();
        if kind.split(';').next().map(str::trim) != Some("application/json") {
            let message = format!("unsupported media type {kind:?}: expected application/json");
            return Err(Refusal::malformed_as(415, message));
        }
        serde_json::from_slice(&self.body)
            .map_err(|error| Refusal::malformed_as(400, format!("body is not JSON: {error}")))
    }

    /// The body as a JSON object.
    pub fn object(&self) -> Result<Map<String, Value>, Refusal> {
        match self.json()? {
            Value::Object(object) => Ok(object),
            _ => Err(Refusal::malformed_as(400, "body is not an object")),
        }
    }

    /// A query parameter that counts from 1.
    pub fn positive(&self, name: &str, default: usize) -> Result<usize, Refusal> {
        let Some(text) = self.query.get(name) else {
            return Ok(default);
        };
        match text.parse() {
            Ok(number) if number > 0 => Ok(number),
            _ => Err(Refusal::malformed_as(400, format!("query parameter {name}: expected a positive integer"))),
        }
    }

    /// Refuses query parameters the vendor does not know.
    pub fn allow_query(&self, known: impl Fn(&str) -> bool) -> Result<(), Refusal> {
        match self.query.keys().find(|name| !known(name)) {
            Some(name) => Err(Refusal::malformed_as(400, format!("unknown query parameter {name}"))),
            None => Ok(()),
        }
    }
}

/// A path's parts; a slash at the end adds an empty one.
pub fn segments(path: &str) -> Vec<&str> {
    match path.strip_prefix('/').unwrap_or(path) {
        "" => Vec::new(),
        inner => inner.split('/').collect(),
    }
}

/// One answer.
#[derive(Clone, Debug, PartialEq)]
pub struct Response {
    /// HTTP status.
    pub status: u16,
    /// Headers beside the content type.
    pub headers: Vec<(&'static str, String)>,
    /// The body, if there is one.
    pub body: Option<Value>,
}

impl Response {
    /// An answer with a body.
    pub fn new(status: u16, body: Value) -> Self {
        Self { status, headers: Vec::new(), body: Some(body) }
    }

    /// 204.
    pub fn no_content() -> Self {
        Self { status: 204, headers: Vec::new(), body: None }
    }

    /// The same answer with one more header.
    pub fn with_header(mut self, name: &'static str, value: impl Into<String>) -> Self {
        self.headers.push((name, value.into()));
        self
    }
}

/// A problem with one field.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Problem {
    /// The field's path.
    pub field: String,
    /// The problem with it.
    pub message: String,
}

/// Why a request is refused, before the vendor puts it in its own form.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Refusal {
    /// HTTP status.
    pub status: u16,
    /// The whole reason.
    pub message: String,
    /// The fields at fault, if it is about fields.
    pub fields: Vec<Problem>,
    /// The request breaks the vendor's interface; no well-made client sends it.
    pub malformed: bool,
}

impl Refusal {
    /// A well-made request that cannot be fulfilled.
    pub fn new(status: u16, message: impl Into<String>) -> Self {
        Self { status, message: message.into(), fields: Vec::new(), malformed: false }
    }

    /// A well-made request with an unacceptable value.
    pub fn value(status: u16, field: &str, message: impl Into<String>) -> Self {
        let message = message.into();
        Self {
            status,
            message: message.clone(),
            fields: vec![Problem { field: field.to_owned(), message }],
            malformed: false,
        }
    }

    /// A request no well-made client sends.
    pub fn malformed_as(status: u16, message: impl Into<String>) -> Self {
        Self { malformed: true, ..Self::new(status, message) }
    }

    /// A body whose fields are wrong.
    pub fn malformed(fields: Vec<Problem>) -> Self {
        let told: Vec<String> =
            fields.iter().map(|problem| format!("{}: {}", problem.field, problem.message)).collect();
        Self { status: 400, message: told.join("; "), fields, malformed: true }
    }
}
