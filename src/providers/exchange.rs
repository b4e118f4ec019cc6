//! One request and its answer, read in bounded memory: whole, or row by row. It does not interpret the answer.

use std::sync::Arc;
use std::time::Duration;

use reqwest::header::HeaderMap;
use reqwest::{RequestBuilder, Response};
use tokio::sync::{Semaphore, SemaphorePermit, mpsc};
use tokio_util::bytes::Bytes;

use super::error::{ErrorKind, ProviderError};
use super::split::{Fault, LARGEST_ROW, Splitter};

/// The largest answer that is not a listing, in bytes; a Pegasus group with 100,000 vehicles has less.
const LARGEST_ANSWER: usize = 1 << 20;
/// The largest answer to a listing, in bytes; 60,000 users in one answer have 27 MiB. Of them only one row is held at a time.
const LARGEST_LISTING: usize = 64 << 20;
/// The part of a refusal that is read, in bytes; its status says what it is without the rest.
const LARGEST_REFUSAL: usize = SMALL;
/// What every answer may hold at a time, in bytes: nearly all hold less, so that they never wait for the large answers of others.
const SMALL: usize = 64 << 10;
/// The number of answers of the process that hold more, up to `LARGEST_ANSWER` each. Others wait in the order in which they came.
static LARGE: Semaphore = Semaphore::const_new(32);

/// Where the rows of a listing go: the name of their list, and the receiver.
pub type Rows = (&'static str, mpsc::Sender<Vec<u8>>);

/// Status, headers and body of an answer.
pub struct Exchange {
    /// The HTTP status.
    pub status: u16,
    /// The headers.
    pub headers: HeaderMap,
    /// The body, or the rest of a listing.
    pub body: Body,
}

/// A body, and its share of the memory for large ones.
#[derive(Clone)]
pub struct Body {
    /// The bytes.
    pub bytes: Vec<u8>,
    _room: Option<Arc<SemaphorePermit<'static>>>,
}

impl From<Vec<u8>> for Body {
    fn from(bytes: Vec<u8>) -> Self {
        Self { bytes, _room: None }
    }
}

/// A failed exchange and its code for metrics.
pub type Failed = (&'static str, ProviderError);

/// Sends a request and reads its whole answer within `timeout`; `rows` receives the rows of a successful listing. `said` begins messages.
///
/// Errors: `Unavailable` without a complete answer, or with one that is too large.
pub async fn exchange(
    request: RequestBuilder,
    rows: Option<&Rows>,
    said: &str,
    timeout: Duration,
) -> Result<Exchange, Failed> {
    let mut response = request.send().await.map_err(|error| failed(said, error))?;
    let (status, headers) = (response.status().as_u16(), response.headers().clone());
    let is_success = response.status().is_success();
    let said = format!("{said} answered {status}");
    let reader = Reader { response: &mut response, said: &said, timeout, read: 0, room: None };
    let body = match rows.filter(|_| is_success) {
        Some(rows) => reader.split(rows).await?,
        None if is_success => reader.whole().await?,
        None => reader.beginning().await?,
    };
    Ok(Exchange { status, headers, body })
}

/// Reads the body of one answer.
struct Reader<'a> {
    response: &'a mut Response,
    said: &'a str,
    timeout: Duration,
    read: usize,
    room: Option<Arc<SemaphorePermit<'static>>>,
}

impl Reader<'_> {
    /// The next part of the body, if it has one within `limit` bytes.
    async fn next(&mut self, limit: usize) -> Result<Option<impl AsRef<[u8]> + use<>>, Failed> {
        let part = self.response.chunk().await.map_err(|error| failed(self.said, error))?;
        self.read += part.as_ref().map_or(0, Bytes::len);
        if self.read > limit { Err(self.too_large("", limit)) } else { Ok(part) }
    }

    async fn whole(mut self) -> Result<Body, Failed> {
        let mut bytes = Vec::new();
        while let Some(part) = self.next(LARGEST_ANSWER).await? {
            self.make_room(bytes.len() + part.as_ref().len()).await?;
            bytes.extend_from_slice(part.as_ref());
        }
        Ok(Body { bytes, _room: self.room })
    }

    async fn beginning(mut self) -> Result<Body, Failed> {
        let mut bytes = Vec::new();
        while bytes.len() < LARGEST_REFUSAL
            && let Some(part) = self.next(usize::MAX).await?
        {
            bytes.extend_from_slice(part.as_ref());
        }
        bytes.truncate(LARGEST_REFUSAL);
        Ok(bytes.into())
    }

    async fn split(mut self, (list, receiver): &Rows) -> Result<Body, Failed> {
        let mut splitter = Splitter::new(list);
        while let Some(part) = self.next(LARGEST_LISTING).await? {
            let mut part = part.as_ref();
            self.make_room(splitter.held() + part.len()).await?;
            while let Some(row) = splitter.next_row(&mut part).map_err(|fault| self.unsplit(fault))? {
                // The receiver is gone only if it found a fault, which ends this exchange.
                if receiver.send(row).await.is_err() {
                    return Err(self.unsplit(Fault::NotJson));
                }
            }
        }
        let bytes = splitter.finish().map_err(|fault| self.unsplit(fault))?;
        Ok(Body { bytes, _room: self.room })
    }

    /// Waits until `bytes` may be held.
    async fn make_room(&mut self, bytes: usize) -> Result<(), Failed> {
        if bytes <= SMALL || self.room.is_some() {
            return Ok(());
        }
        let room = tokio::time::timeout(self.timeout, LARGE.acquire()).await;
        self.room = room.ok().and_then(Result::ok).map(Arc::new);
        if self.room.is_some() {
            return Ok(());
        }
        let message = format!("{}: no memory for it, because other large answers are being read", self.said);
        Err(("error", ProviderError::answered(message)))
    }

    fn unsplit(&self, fault: Fault) -> Failed {
        match fault {
            Fault::NotJson => ("error", not_json(self.said)),
            Fault::LargeRow => self.too_large(" in one row", LARGEST_ROW),
            Fault::LargeRest => self.too_large(" beside the rows", SMALL),
        }
    }

    fn too_large(&self, place: &str, limit: usize) -> Failed {
        ("error", too_large(self.said, place, limit))
    }
}

/// The error for a body that is not JSON, because then the server may not be the vendor's API.
#[must_use]
pub fn not_json(said: &str) -> ProviderError {
    ProviderError::answered(format!("{said} with a body that is not JSON; check the url"))
}

/// The error for an answer of more than `limit` bytes at `place`.
#[must_use]
pub fn too_large(said: &str, place: &str, limit: usize) -> ProviderError {
    let limit = if limit < 1 << 20 { format!("{} KiB", limit >> 10) } else { format!("{} MiB", limit >> 20) };
    let message =
        format!("{said} with more than {limit}{place}, the most that usher reads of such an answer; check the url");
    ProviderError::answered(message)
}

/// The error for a failed exchange: without the query, which may hold personal data, but with the innermost cause.
fn failed(said: &str, error: reqwest::Error) -> Failed {
    let error = error.without_url();
    if error.is_timeout() && !error.is_connect() {
        return ("timeout", ProviderError::lost(format!("{said}: no answer in time")));
    }
    let mut cause: &dyn std::error::Error = &error;
    while let Some(inner) = cause.source() {
        cause = inner;
    }
    let cause = cause.to_string();
    let message = format!("{said}: {cause}{}", certificate_help(&cause));
    if error.is_connect() {
        return ("error", ProviderError::refused(ErrorKind::Unavailable, message));
    }
    ("error", ProviderError::lost(message))
}

/// What to do where the cause is a certificate that is not accepted; empty for any other cause.
fn certificate_help(cause: &str) -> &'static str {
    if cause.contains("CaUsedAsEndEntity") {
        "; the server shows a CA certificate as its own: make a CA, let it sign a certificate with the server's name as subjectAltName, and put the CA into spec.caBundle"
    } else if cause.contains("UnknownIssuer") {
        "; put the certificate of the CA that issued the server's certificate into spec.caBundle"
    } else {
        ""
    }
}

/// The code of a status for metrics, of a fixed set, because a vendor may answer with any number.
#[must_use]
pub fn code(status: u16) -> &'static str {
    const CODES: [&str; 24] = [
        "200", "201", "202", "204", "301", "302", "307", "308", "400", "401", "403", "404", "405", "408", "409", "410",
        "413", "415", "422", "429", "500", "502", "503", "504",
    ];
    let own = CODES.iter().find(|code| code.parse() == Ok(status));
    own.copied().unwrap_or(match status {
        200..300 => "2xx",
        300..400 => "3xx",
        400..500 => "4xx",
        500..600 => "5xx",
        _ => "other",
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn codes_for_metrics_are_few() {
        let codes: std::collections::BTreeSet<&str> = (0..=999).map(code).collect();
        assert_eq!((code(404), code(451), code(777), codes.len()), ("404", "4xx", "other", 29));
    }

    #[test]
    fn a_limit_is_named_in_its_unit() {
        let message = |limit| too_large("GET /users answered 200", "", limit).message;
        assert!(message(LARGEST_LISTING).contains("more than 64 MiB, the most"));
        assert!(message(LARGEST_ROW).contains("more than 256 KiB, the most"));
    }
}
