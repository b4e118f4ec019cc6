//! The one transport to a vendor: every call passes the limiter and is bounded in time and size; it follows no redirects and
//! calls no forbidden addresses. It does not interpret the answer, except for 429.

use std::borrow::Cow;
use std::fmt;
use std::sync::Arc;
use std::time::{Duration, Instant};

use jiff::Timestamp;
use percent_encoding::{AsciiSet, NON_ALPHANUMERIC, utf8_percent_encode};
use reqwest::header::{ACCEPT_LANGUAGE, HeaderMap, HeaderName, HeaderValue};
use reqwest::{Certificate, Client, Method, Url, redirect};
use serde_json::Value;
use tokio::sync::mpsc::Sender;

use super::address::{AddressRules, GuardedDns, check};
use super::error::{ErrorKind, ProviderError};
use super::exchange::{Body, Exchange, Rows, code, exchange, not_json, too_large};
use super::json::{self, BOM, LARGEST_DECODED, Unreadable};
use super::limiter::{Limiter, MAX_CLOSED};
use super::observer::Observer;
use super::rate_limit::SharedRateLimit;
use super::redact::Hidden;
use super::retry::{named_time, retry_after};
use crate::api::{Reason, Vendor};
use crate::plan::Rejection;

/// How long an idle connection is kept: load balancers cut one after 60 s, some after 30, and a call on a connection that is just being
/// cut is lost.
const IDLE: Duration = Duration::from_secs(20);

/// The characters that are encoded in paths and queries: all but the unreserved ones (RFC 3986, section 2.3).
const RESERVED: &AsciiSet = &NON_ALPHANUMERIC.remove(b'-').remove(b'_').remove(b'.').remove(b'~');

/// What a transport needs beside its base address.
#[derive(Clone)]
pub struct Settings {
    /// The vendor, for metrics and messages.
    pub vendor: Vendor,
    /// Bounds every call.
    pub limiter: Limiter,
    /// Observes every call.
    pub observer: Arc<dyn Observer>,
    /// The longest time for one call including its answer.
    pub timeout: Duration,
    /// The addresses that may be called.
    pub addresses: AddressRules,
    /// PEM of additional certificate authorities.
    pub ca_bundle: Option<Vec<u8>>,
}

/// A client for one base address; cheap to clone.
#[derive(Clone)]
pub struct Transport {
    client: Client,
    base: Url,
    settings: Settings,
}

/// One call, before the vendor's authentication is added. `Debug` shows no values, because they may be secrets.
#[derive(Clone)]
pub struct Call {
    operation: &'static str,
    method: Method,
    path: String,
    query: Vec<(Cow<'static, str>, String)>,
    header: Option<(HeaderName, HeaderValue)>,
    body: Option<Value>,
    rate_limit: Option<SharedRateLimit>,
    rows: Option<Rows>,
}

impl Call {
    /// A call of `operation` (a bounded word for metrics) to `path` under the base address; the caller encodes ids in it (`segment`).
    pub fn new(operation: &'static str, method: Method, path: impl Into<String>) -> Self {
        Self {
            operation,
            method,
            path: path.into(),
            query: Vec::new(),
            header: None,
            body: None,
            rate_limit: None,
            rows: None,
        }
    }

    /// With one more query parameter.
    #[must_use]
    pub fn query(mut self, name: impl Into<Cow<'static, str>>, value: impl Into<String>) -> Self {
        self.query.push((name.into(), value.into()));
        self
    }

    /// With a JSON body.
    #[must_use]
    pub fn json(mut self, body: Value) -> Self {
        self.body = Some(body);
        self
    }

    /// With a rate limit of its own beside the limiter's; each sending counts there too.
    #[must_use]
    pub fn within(mut self, rate_limit: SharedRateLimit) -> Self {
        self.rate_limit = Some(rate_limit);
        self
    }

    /// With a receiver of the rows in the list `list` of its answer, one by one; the answer keeps an empty list in their place.
    #[must_use]
    pub fn rows(mut self, list: &'static str, receiver: Sender<Vec<u8>>) -> Self {
        self.rows = Some((list, receiver));
        self
    }

    /// With the header that authenticates. Its value is marked as sensitive, so `Debug` does not print it.
    ///
    /// Errors: `Invalid` if the value has characters that a header cannot have.
    pub fn header(mut self, name: HeaderName, value: &str) -> Result<Self, ProviderError> {
        let mut value = HeaderValue::from_str(value).map_err(|_| {
            ProviderError::refused(
                ErrorKind::Invalid,
                "the token in the Secret has characters that an HTTP header cannot have",
            )
        })?;
        value.set_sensitive(true);
        self.header = Some((name, value));
        Ok(self)
    }
}

impl fmt::Debug for Call {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let Self { operation, method, path, query, header: _, body: _, rate_limit: _, rows: _ } = self;
        let query: Vec<_> = query.iter().map(|(name, _)| name).collect();
        let mut shown = f.debug_struct("Call");
        shown.field("operation", operation).field("method", method).field("path", path).field("query", &query);
        shown.finish_non_exhaustive()
    }
}

/// A complete answer of the vendor.
#[derive(Clone)]
pub struct Answer {
    /// The HTTP status.
    pub status: u16,
    body: Body,
    said: String,
    hidden: Hidden,
    retry_at: Option<Timestamp>,
}

impl Answer {
    /// An answer for tests.
    #[cfg(any(test, fuzzing))]
    pub fn new(status: u16, body: &[u8], said: &str) -> Self {
        Self { status, body: body.to_vec().into(), said: said.to_owned(), hidden: Hidden::default(), retry_at: None }
    }

    /// Whether the status is 2xx.
    #[must_use]
    pub fn is_success(&self) -> bool {
        (200..300).contains(&self.status)
    }

    /// The same answer with the status that its body means.
    #[must_use]
    pub fn restated(&self, status: u16) -> Self {
        Self { status, said: format!("{}, which by its body is {status}", self.said), ..self.clone() }
    }

    /// The body as JSON.
    ///
    /// Errors: `Unavailable` if the body is not JSON, because then the server may not be the vendor's API, or too large.
    pub fn json(&self) -> Result<Value, ProviderError> {
        json::parse(&self.body.bytes).map_err(|fault| match fault {
            Unreadable::NotJson => not_json(&self.said),
            Unreadable::TooLarge => too_large(&self.said, " of values", LARGEST_DECODED),
        })
    }

    /// The body as JSON; null if there is none, because a success may have an empty body.
    ///
    /// Errors: those of `json`.
    pub fn content(&self) -> Result<Value, ProviderError> {
        if self.is_empty() { Ok(Value::Null) } else { self.json() }
    }

    /// The body without a byte order mark and without blanks around it.
    fn text(&self) -> &[u8] {
        self.body.bytes.strip_prefix(BOM).unwrap_or(&self.body.bytes).trim_ascii()
    }

    /// Whether there is no body.
    #[must_use]
    pub fn is_empty(&self) -> bool {
        self.text().is_empty()
    }

    /// Whether the body is empty or plain text: neither an object nor a list nor a string in JSON.
    #[must_use]
    pub fn is_plain(&self) -> bool {
        !matches!(self.text().first(), Some(b'{' | b'[' | b'"'))
    }

    /// Whether the body is a web page, which a vendor's API never sends.
    #[must_use]
    pub fn is_page(&self) -> bool {
        self.text().starts_with(b"<")
    }

    /// The body as JSON; null if it is empty, not JSON or too large.
    #[must_use]
    pub fn json_or_null(&self) -> Value {
        json::parse(&self.body.bytes).unwrap_or(Value::Null)
    }

    /// The method, the address and the status, e.g. `GET https://…/users answered 404`.
    #[must_use]
    pub fn said(&self) -> &str {
        &self.said
    }

    /// The time of the Retry-After header, if there is one.
    #[must_use]
    pub fn retry_at(&self) -> Option<Timestamp> {
        self.retry_at
    }

    /// `words` of this answer for a message: shortened by `quote`, with the secrets of the call masked.
    #[must_use]
    pub fn quote(&self, words: &str) -> String {
        quote(&self.hidden.mask(words))
    }
}

impl Transport {
    /// A transport to `url`.
    ///
    /// Errors: `Invalid` for a forbidden address and for a CA bundle without certificates.
    pub fn new(url: &str, settings: Settings) -> Result<Self, Rejection> {
        let base = check(url, &settings.addresses)?;
        let mut builder = Client::builder()
            .redirect(redirect::Policy::none())
            .no_proxy()
            .timeout(settings.timeout)
            .connect_timeout(settings.timeout.min(Duration::from_secs(10)))
            .pool_idle_timeout(IDLE)
            .default_headers(headers())
            .user_agent(concat!("usher/", env!("CARGO_PKG_VERSION")))
            .dns_resolver(Arc::new(GuardedDns(settings.addresses.clone())));
        if let Some(pem) = &settings.ca_bundle {
            let bundle = Certificate::from_pem_bundle(pem).map_err(|_| {
                Rejection::new(Reason::Invalid, "spec.caBundle has no PEM certificates: write a PEM file in base64")
            })?;
            builder = builder.tls_certs_merge(bundle);
        }
        let client = builder.build().map_err(|error| {
            Rejection::new(Reason::Invalid, format!("no HTTP client for {url}: {}", error.without_url()))
        })?;
        Ok(Self { client, base, settings })
    }

    /// Host and path of the base address, and the port unless it is the default one. The path counts because it may name a
    /// tenant or a stage.
    #[must_use]
    pub fn place(&self) -> String {
        let host = self.base.host_str().unwrap_or_default();
        let port = self.base.port().map(|port| format!(":{port}")).unwrap_or_default();
        format!("{host}{port}{}", self.base.path().trim_end_matches('/'))
    }

    /// Sends `call` and returns the answer with any status but 429.
    ///
    /// Errors: `RateLimited` while the limiter is closed and on a 429, which closes it; `Unavailable` with unknown delivery
    /// without a complete answer, and without effect if the connection failed.
    pub async fn send(&self, call: Call) -> Result<Answer, ProviderError> {
        let Call { operation, method, path, query, header, body, rate_limit, rows } = call;
        if let Some(rate_limit) = rate_limit {
            rate_limit.until_ready().await;
        }
        let _permit = self.settings.limiter.until_ready().await?;
        let hidden = Hidden::of(header.as_ref().map(|(_, value)| value), body.as_ref());
        let said = format!("{method} {}", self.shown(&path));
        let mut request = self.client.request(method, self.address(&path, &query));
        if let Some((name, value)) = header {
            request = request.header(name, value);
        }
        if let Some(body) = body {
            request = request.json(&body);
        }
        let begun = Instant::now();
        let outcome = exchange(request, rows.as_ref(), &said, self.settings.timeout).await;
        let code = outcome.as_ref().map_or_else(|(word, _)| *word, |answer| code(answer.status));
        self.settings.observer.provider_request(self.settings.vendor, operation, code, begun.elapsed());
        let Exchange { status, headers, body } = outcome.map_err(|(_, error)| error)?;
        let now = Timestamp::now();
        self.settings.limiter.clock().observe(&headers, now);
        let said = format!("{said} answered {status}");
        if status == 429 {
            let until = self.settings.limiter.close(named_time(&headers, now));
            return Err(ProviderError::rate_limited(
                format!("{said}: too many requests; calls resume at {until:.0}"),
                Some(until),
            ));
        }
        let retry_at = retry_after(&headers, now).map(|until| until.min(now + MAX_CLOSED));
        Ok(Answer { status, body, said, hidden, retry_at })
    }

    /// The address of a call. Without a path it is the base address as written, because a slash at its end may matter.
    fn address<N: AsRef<str>>(&self, path: &str, query: &[(N, String)]) -> Url {
        let mut url = self.base.clone();
        if !path.is_empty() {
            url.set_path(&format!("{}{path}", self.base.path().trim_end_matches('/')));
        }
        let given = self.base.query().map(str::to_owned);
        let pairs =
            query.iter().map(|(name, value)| format!("{}={}", percent_encoded(name.as_ref()), percent_encoded(value)));
        let pairs: Vec<String> = given.into_iter().chain(pairs).collect();
        if !pairs.is_empty() {
            url.set_query(Some(&pairs.join("&")));
        }
        url
    }

    /// The address for messages, without the query, because that may hold personal data.
    fn shown(&self, path: &str) -> Url {
        let mut url = self.address::<&str>(path, &[]);
        url.set_query(None);
        url
    }

    /// Closes the limiter as on a 429 if `judged` is `RateLimited` by the vendor's words, and adds the time when it opens.
    pub fn observe_limit<T>(&self, judged: Result<T, ProviderError>) -> Result<T, ProviderError> {
        judged.map_err(|error| match (error.kind, error.retry_at) {
            (ErrorKind::RateLimited, None) => {
                ProviderError { retry_at: Some(self.settings.limiter.close(None)), ..error }
            }
            _ => error,
        })
    }
}

/// The headers of every call: refusals in English, because their words are read.
fn headers() -> HeaderMap {
    [(ACCEPT_LANGUAGE, HeaderValue::from_static("en"))].into_iter().collect()
}

/// `text` as one segment of a path.
#[must_use]
pub fn segment(text: &str) -> String {
    // A segment of dots is encoded twice, because clients and servers resolve it as a parent folder even if it is encoded once.
    if text.bytes().all(|byte| byte == b'.') {
        return "%252E".repeat(text.len());
    }
    percent_encoded(text).replace("%40", "@")
}

/// `text` for a path or a query. A blank becomes %20, because not every server decodes a plus sign.
#[must_use]
pub fn percent_encoded(text: &str) -> String {
    utf8_percent_encode(text, RESERVED).to_string()
}

/// The query parameters of `address`, which is a URL or a path; host and path are ignored.
#[must_use]
pub fn parameters(address: &str) -> Vec<(String, String)> {
    let whole = Url::parse("https://nowhere.invalid").and_then(|base| base.join(address));
    whole.map(|url| url.query_pairs().into_owned().collect()).unwrap_or_default()
}

/// A vendor's words for a message: one line of at most 256 characters, without control characters.
#[must_use]
pub fn quote(words: &str) -> String {
    let line = words.split_whitespace().collect::<Vec<_>>().join(" ");
    line.chars().filter(|letter| !letter.is_control()).take(256).collect()
}

#[cfg(test)]
mod tests {
    use rstest::rstest;

    use super::*;

    #[tokio::test]
    async fn words_that_ask_to_slow_down_close_the_limiter() {
        let transport = transport("https://example.com");
        let limited = ProviderError::rate_limited("Too many requests", None);
        let limited = transport.observe_limit::<()>(Err(limited)).unwrap_err();
        assert!(limited.retry_at.is_some());
        assert_eq!(transport.settings.limiter.closed_until(), limited.retry_at);
    }

    #[test]
    fn an_id_cannot_lead_out_of_its_path() {
        assert_eq!(segment("../users?x=1#y"), "..%2Fusers%3Fx%3D1%23y");
        let mut url = Url::parse("https://example.com/api/").unwrap();
        url.set_path(&format!("/api/users/{}", segment("..")));
        assert_eq!(url.path(), "/api/users/%252E%252E");
    }

    fn transport(url: &str) -> Transport {
        let wake = tokio::sync::mpsc::unbounded_channel().0;
        let limits = crate::plan::Limits { per_minute: 60, burst: 10, concurrency: 1 };
        let observer: Arc<dyn Observer> = Arc::new(crate::providers::NoMetrics);
        let credential = crate::api::ObjectKey::new(crate::api::Kind::Credential, "identity", "main");
        let limiter = Limiter::new(credential, Vendor::Pegasus, limits, wake, observer.clone());
        let timeout = Duration::from_secs(1);
        let settings = Settings {
            vendor: Vendor::Pegasus,
            limiter,
            observer,
            timeout,
            addresses: AddressRules::default(),
            ca_bundle: None,
        };
        Transport::new(url, settings).unwrap()
    }

    #[rstest]
    #[case::as_written("https://example.com/login/", "", "https://example.com/login/")]
    #[case::nothing_after_the_host("https://example.com", "", "https://example.com/")]
    #[case::below("https://example.com/api/", "/users", "https://example.com/api/users")]
    #[case::query_in_the_base("https://example.com/api?site=7", "/users", "https://example.com/api/users?site=7")]
    fn a_path_is_appended_to_the_base_address(#[case] base: &str, #[case] path: &str, #[case] expected: &str) {
        assert_eq!(transport(base).address::<&str>(path, &[]).as_str(), expected);
    }

    #[test]
    fn a_blank_in_a_query_is_encoded_as_20() {
        let query = [("search.name", "Fleet + North".to_owned()), ("page", "1".to_owned())];
        let url = transport("https://example.com").address("/groups", &query);
        assert_eq!(url.query(), Some("search.name=Fleet%20%2B%20North&page=1"));
    }

    #[rstest]
    #[case::words(b"OK", true)]
    #[case::nothing(b" ", true)]
    #[case::object(b"\n{\"name\": \"usher\"", false)]
    #[case::text(b"\"usher\"", false)]
    fn plain_text_is_distinguished_from_json(#[case] body: &[u8], #[case] plain: bool) {
        assert_eq!(Answer::new(200, body, "").is_plain(), plain);
    }

    #[test]
    fn debug_shows_no_value_of_a_call() {
        let call = Call::new("users.create", Method::POST, "/users").query("auth", "fake-token");
        let call = call.json(serde_json::json!({"password": "Fake-Pass-1"}));
        let call = call.header(HeaderName::from_static("authenticate"), "fake-token").unwrap();
        let shown = format!("{call:?}");
        assert!(shown.contains("users.create") && !shown.contains("ake-"), "{shown}");
    }
}
