//! How an answer reaches the client, or fails to. It does not decide the answer.

use std::convert::Infallible;
use std::time::Duration;

use axum::body::{Body, Bytes};
use axum::http::{StatusCode, header};
use axum::response::{IntoResponse, Response as HttpResponse};
use futures::{StreamExt, stream};

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
            Self::Plain(answer) | Self::Dripping(answer) | Self::Torn(answer) | Self::Huge(answer) => answer.status,
            Self::Html => 200,
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

fn behind_blanks(bytes: Bytes) -> Body {
    let blanks = Bytes::from(vec![b' '; 1 << 20]);
    let parts = stream::iter(std::iter::repeat_n(blanks, 64).chain([bytes]));
    Body::from_stream(parts.map(Ok::<_, Infallible>))
}
