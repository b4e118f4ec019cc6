//! How an answer reaches the client, or fails to. It does not decide the answer.

use std::convert::Infallible;
use std::time::Duration;

use axum::body::{Body, Bytes};
use axum::http::{StatusCode, header};
use axum::response::{IntoResponse, Response as HttpResponse};
use futures::{StreamExt, stream};
use serde_json::{Value, json};

use super::fault::{Flood, renumbered};
use super::http::Response;
use super::listener::Switch;

/// One way for a call to end.
#[derive(Debug)]
pub enum Delivery {
    /// The unchanged answer.
    Plain(Response),
    /// The answer, its body a byte at a time.
    Dripping(Response),
    /// The answer, its body without the second half.
    Torn(Response),
    /// The answer behind 64 MiB of blanks.
    Huge(Response),
    /// The answer behind a byte order mark.
    Marked(Response),
    /// A body that is large in memory; the usual answer has the row to repeat.
    Flood(Response, Flood),
    /// A web page.
    Html,
    /// A closed connection.
    Cut,
    /// No answer, on an open connection.
    Silence,
}

impl Delivery {
    /// The status that the client sees; 0 if none.
    pub fn status(&self) -> u16 {
        match self {
            Self::Plain(answer)
            | Self::Dripping(answer)
            | Self::Torn(answer)
            | Self::Huge(answer)
            | Self::Marked(answer) => answer.status,
            Self::Html | Self::Flood(..) => 200,
            Self::Cut | Self::Silence => 0,
        }
    }

    /// Sends it.
    pub async fn send(self, switch: &Switch) -> HttpResponse {
        match self {
            Self::Plain(answer) => with_body(&answer, Body::from(bytes_of(&answer))),
            Self::Dripping(answer) => with_body(&answer, dripping(bytes_of(&answer))),
            Self::Torn(answer) => {
                let bytes = bytes_of(&answer);
                with_body(&answer, Body::from(bytes.slice(..bytes.len() / 2)))
            }
            Self::Huge(answer) => with_body(&answer, behind_blanks(bytes_of(&answer))),
            Self::Marked(answer) => {
                let marked = ["\u{feff}".as_bytes(), &bytes_of(&answer)].concat();
                with_body(&answer, Body::from(marked))
            }
            Self::Flood(answer, flood) => {
                let answer = Response { status: 200, headers: Vec::new(), ..answer };
                with_body(&answer, flooding(&answer, flood))
            }
            Self::Html => {
                let page = "<!doctype html><title>Example</title><h1>Please sign in</h1>";
                ([(header::CONTENT_TYPE, "text/html; charset=utf-8")], page).into_response()
            }
            Self::Cut => {
                switch.cut();
                StatusCode::SERVICE_UNAVAILABLE.into_response()
            }
            Self::Silence => std::future::pending().await,
        }
    }
}

fn bytes_of(answer: &Response) -> Bytes {
    match &answer.body {
        Some(body) => Bytes::from(body.to_string()),
        None => Bytes::new(),
    }
}

fn with_body(answer: &Response, body: Body) -> HttpResponse {
    let mut response = HttpResponse::builder().status(answer.status);
    if answer.body.is_some() {
        response = response.header(header::CONTENT_TYPE, "application/json");
    }
    for (name, value) in &answer.headers {
        response = response.header(*name, value);
    }
    response.body(body).unwrap_or_else(|_| StatusCode::INTERNAL_SERVER_ERROR.into_response())
}

fn dripping(bytes: Bytes) -> Body {
    let drops = stream::iter(0..bytes.len()).then(move |place| {
        let drop = bytes.slice(place..=place);
        async move {
            tokio::time::sleep(Duration::from_millis(100)).await;
            Ok::<_, Infallible>(drop)
        }
    });
    Body::from_stream(drops)
}

/// Size of a flood that ends, in bytes.
const FLOOD: usize = 16 << 20;
/// Size of its parts, in bytes.
const PART: usize = 64 << 10;
/// The number in the id of a row that is repeated, in whose place others are put.
const PLACE: u64 = 0xfff_0000_0000;

fn flooding(answer: &Response, flood: Flood) -> Body {
    let names = |part: usize| {
        (0..PART / 16).map(|place| format!(r#""{:011x}":0,"#, part * PART + place)).collect::<Vec<_>>().concat()
    };
    match flood {
        Flood::Zeros => repeated("[", |_| "0,".repeat(PART / 2), "0]"),
        Flood::SmallObjects => repeated("[", |_| r#"{"a":0},"#.repeat(PART / 8), "{}]"),
        Flood::Names => repeated("{", names, r#""a":0}"#),
        Flood::Deep => repeated("[", |_| "[".repeat(PART), "["),
        Flood::Text => repeated(r#"{"id":""#, |_| "x".repeat(PART), r#""}"#),
        Flood::Rows => endless_rows(answer),
    }
}

/// `before`, each `part` with its number until the size is reached, and `behind`; made while it is sent.
fn repeated(before: &'static str, part: impl Fn(usize) -> String + Send + 'static, behind: &'static str) -> Body {
    let parts = [before.to_owned()].into_iter().chain((0..FLOOD / PART).map(part)).chain([behind.to_owned()]);
    Body::from_stream(stream::iter(parts.map(Ok::<_, Infallible>)))
}

/// The answer up to its rows, and then its first row under new ids without end.
fn endless_rows(answer: &Response) -> Body {
    let body = answer.body.clone().unwrap_or_default();
    let (name, rows) = match &body {
        Value::Array(rows) => (None, rows.first()),
        Value::Object(fields) => {
            let list = fields.iter().find_map(|(name, value)| Some((name, value.as_array()?)));
            (list.map(|(name, _)| name.clone()), list.and_then(|(_, rows)| rows.first()))
        }
        _ => (None, None),
    };
    let mut row = rows.cloned().unwrap_or_else(|| json!({"id": 1, "name": "Example"}));
    // Long rows, because a debug build reads few a second.
    row["about"] = json!("x".repeat(4000));
    let row = renumbered(&row, PLACE).to_string();
    let before = name.map_or_else(|| "[".to_owned(), |name| format!(r#"{{"success":true,"{name}":["#));
    let rows = (0_u64..).map(move |number| {
        let number = PLACE + 1 + number;
        let row = row.replace(&PLACE.to_string(), &number.to_string());
        row.replace(&format!("{PLACE:012x}"), &format!("{number:012x}")) + ","
    });
    Body::from_stream(stream::iter([before].into_iter().chain(rows).map(Ok::<_, Infallible>)))
}

fn behind_blanks(bytes: Bytes) -> Body {
    let blanks = Bytes::from(vec![b' '; 1 << 20]);
    let parts = stream::iter(std::iter::repeat_n(blanks, 64).chain([bytes]));
    Body::from_stream(parts.map(Ok::<_, Infallible>))
}
