//! The one transport: bounded in time and size, through the gate, no redirects, no forbidden addresses; it judges no vendor's answer.

use std::borrow::Cow;
use std::fmt::Write as _;
use std::net::{IpAddr, SocketAddr};
use std::sync::Arc;
use std::time::{Duration, Instant};

use jiff::{SignedDuration, Timestamp};
use reqwest::dns::{Addrs, Name, Resolve, Resolving};
use reqwest::header::{HeaderMap, HeaderName, HeaderValue};
use reqwest::{Certificate, Client, Method, Url, redirect};
use serde_json::Value;

use super::error::{ErrorKind, ProviderError};
use super::gate::Gate;
use super::observer::Observer;
use crate::api::{Reason, Vendor};
use crate::plan::Rejection;

/// Largest answer that is read, in bytes: a page of 1,000 users is under 2 MiB.
const LARGEST_BODY: usize = 16 * 1024 * 1024;

/// What a transport needs to know beside its base address.
#[derive(Clone)]
pub struct Settings {
    /// For metrics and messages.
    pub vendor: Vendor,
    /// Bounds every call.
    pub gate: Gate,
    /// Is told of every call.
    pub observer: Arc<dyn Observer>,
    /// Longest time for one call, answer included.
    pub timeout: Duration,
    /// Whether http:// and loopback are allowed.
    pub insecure: bool,
    /// PEM of further certificate authorities.
    pub ca_bundle: Option<Vec<u8>>,
}

/// Calls to one base address.
#[derive(Clone)]
pub struct Transport {
    client: Client,
    base: Url,
    settings: Settings,
}

/// One call, before a vendor's authentication is added.
#[derive(Clone, Debug)]
pub struct Call {
    operation: &'static str,
    method: Method,
    path: String,
    query: Vec<(Cow<'static, str>, String)>,
    header: Option<(HeaderName, HeaderValue)>,
    body: Option<Value>,
}

impl Call {
    /// A call of `operation` (a bounded word for metrics) to `path` under the base address; ids in it must be encoded.
    pub fn new(operation: &'static str, method: Method, path: impl Into<String>) -> Self {
        Self { operation, method, path: path.into(), query: Vec::new(), header: None, body: None }
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

    /// With the header that authenticates; its value is marked sensitive so that nothing prints it.
    ///
    /// Errors: `Invalid` when the secret cannot be a header's value.
    pub fn header(mut self, name: HeaderName, value: &str) -> Result<Self, ProviderError> {
        let mut value = HeaderValue::from_str(value).map_err(|_| {
            ProviderError::refused(
                ErrorKind::Invalid,
                "the token in the Secret has characters that no HTTP header can carry",
            )
        })?;
        value.set_sensitive(true);
        self.header = Some((name, value));
        Ok(self)
    }
}

/// Whatever the vendor answered, read to its end.
#[derive(Clone)]
pub struct Answer {
    /// The HTTP status.
    pub status: u16,
    body: Vec<u8>,
    said: String,
}

impl Answer {
    /// An answer as if it had come.
    #[cfg(any(test, fuzzing))]
    pub fn new(status: u16, body: &[u8], said: &str) -> Self {
        Self { status, body: body.to_vec(), said: said.to_owned() }
    }

    /// Whether the status is 2xx.
    #[must_use]
    pub fn is_success(&self) -> bool {
        (200..300).contains(&self.status)
    }

    /// It with the status that its body means.
    #[must_use]
    pub fn restated(&self, status: u16) -> Self {
        Self { status, said: format!("{}, by its body {status}", self.said), ..self.clone() }
    }

    /// The body as JSON.
    ///
    /// Errors: `Unavailable` with unknown effect when it is not JSON: a server that talks HTML is not the vendor's API.
    pub fn json(&self) -> Result<Value, ProviderError> {
        serde_json::from_slice(&self.body)
            .map_err(|_| ProviderError::lost(format!("{} with a body that is not JSON: is the url right?", self.said)))
    }

    /// Whether there is no body.
    #[must_use]
    pub fn is_empty(&self) -> bool {
        self.body.is_empty()
    }

    /// Whether the body is a web page: whoever sent it is not the vendor's API, whatever the status.
    #[must_use]
    pub fn is_page(&self) -> bool {
        self.body.trim_ascii_start().starts_with(b"<")
    }

    /// The body as JSON, or null when it is empty or unreadable.
    #[must_use]
    pub fn json_or_null(&self) -> Value {
        serde_json::from_slice(&self.body).unwrap_or(Value::Null)
    }

    /// Where the answer came from and its status, e.g. `GET https://…/users answered 404`.
    #[must_use]
    pub fn said(&self) -> &str {
        &self.said
    }
}

impl Transport {
    /// A transport to `url`.
    ///
    /// Errors: an address that may not be used, or a CA bundle that is none, is `Invalid`.
    pub fn new(url: &str, settings: Settings) -> Result<Self, Rejection> {
        let base = check(url, settings.insecure)?;
        let insecure = settings.insecure;
        let mut builder = Client::builder()
            .redirect(redirect::Policy::none())
            .no_proxy()
            .timeout(settings.timeout)
            .connect_timeout(settings.timeout.min(Duration::from_secs(10)))
            .user_agent(concat!("usher/", env!("CARGO_PKG_VERSION")))
            .dns_resolver(Arc::new(GuardedDns { insecure }));
        if let Some(pem) = &settings.ca_bundle {
            let bundle = Certificate::from_pem_bundle(pem).map_err(|_| {
                Rejection::new(Reason::Invalid, "spec.caBundle holds no PEM certificates: write base64 of a PEM file")
            })?;
            builder = builder.tls_certs_merge(bundle);
        }
        let client = builder.build().map_err(|error| {
            Rejection::new(Reason::Invalid, format!("no HTTP client for {url}: {}", error.without_url()))
        })?;
        Ok(Self { client, base, settings })
    }

    /// Host of the base address, with the port if it is not the usual one.
    #[must_use]
    pub fn host(&self) -> String {
        let host = self.base.host_str().unwrap_or_default();
        self.base.port().map_or_else(|| host.to_owned(), |port| format!("{host}:{port}"))
    }

    /// Sends `call` and reads the answer, whatever its status but 429.
    ///
    /// Errors: `RateLimited` on 429 (and the gate closes) or while the gate is closed; `Unavailable` with unknown effect
    /// when there is no complete answer, without effect when the connection never came about.
    pub async fn send(&self, call: Call) -> Result<Answer, ProviderError> {
        self.settings.gate.call().await?;
        let Call { operation, method, path, query, header, body } = call;
        let said = format!("{method} {}{path}", self.base.as_str().trim_end_matches('/'));
        let mut request = self.client.request(method, self.address(&path)).query(&query);
        if let Some((name, value)) = header {
            request = request.header(name, value);
        }
        if let Some(body) = body {
            request = request.json(&body);
        }
        let begun = Instant::now();
        let outcome = exchange(request, &said).await;
        let code = outcome.as_ref().map_or_else(|(word, _)| (*word).to_owned(), |(status, ..)| status.to_string());
        self.settings.observer.provider_request(self.settings.vendor, operation, &code, begun.elapsed());
        let (status, headers, body) = outcome.map_err(|(_, error)| error)?;
        let answer = Answer { status, body, said: format!("{said} answered {status}") };
        if status == 429 {
            return Err(self.slow_down(&headers, &answer));
        }
        self.settings.gate.went_well();
        Ok(answer)
    }

    fn address(&self, path: &str) -> Url {
        let mut url = self.base.clone();
        let joined = format!("{}{path}", self.base.path().trim_end_matches('/'));
        url.set_path(&joined);
        url
    }

    fn slow_down(&self, headers: &HeaderMap, answer: &Answer) -> ProviderError {
        let until = self.settings.gate.close(named_time(headers, Timestamp::now()));
        ProviderError::rate_limited(format!("{}: too many calls; they go on at {until:.0}", answer.said), Some(until))
    }
}

/// The time a 429 names: Retry-After in seconds, or X-RateLimit-Reset in seconds since 1970 (Pegasus).
pub fn named_time(headers: &HeaderMap, now: Timestamp) -> Option<Timestamp> {
    let number = |name: &str| headers.get(name)?.to_str().ok()?.trim().parse::<f64>().ok().filter(|n| n.is_finite());
    #[expect(
        clippy::cast_possible_truncation,
        reason = "seconds; a value beyond i64 saturates and is capped by the caller"
    )]
    let whole = |seconds: f64| seconds.ceil() as i64;
    if let Some(seconds) = number("retry-after") {
        return now.checked_add(SignedDuration::from_secs(whole(seconds).max(0))).ok();
    }
    number("x-ratelimit-reset")
        .and_then(|seconds| Timestamp::from_second(whole(seconds)).ok())
        .filter(|until| *until > now)
}

type Exchange = (u16, HeaderMap, Vec<u8>);

/// Sends and reads to the end; the word in the error is the metric's code.
async fn exchange(request: reqwest::RequestBuilder, said: &str) -> Result<Exchange, (&'static str, ProviderError)> {
    let mut response = request.send().await.map_err(|error| failed(said, error))?;
    let (status, headers) = (response.status().as_u16(), response.headers().clone());
    let mut body = Vec::new();
    while let Some(chunk) = response.chunk().await.map_err(|error| failed(said, error))? {
        if body.len() + chunk.len() > LARGEST_BODY {
            return Err(("error", ProviderError::lost(format!("{said} answered {status} with more than 16 MiB"))));
        }
        body.extend_from_slice(&chunk);
    }
    Ok((status, headers, body))
}

/// A failure without its address (a query may hold personal data) but with its innermost cause.
fn failed(said: &str, error: reqwest::Error) -> (&'static str, ProviderError) {
    let error = error.without_url();
    if error.is_timeout() && !error.is_connect() {
        return ("timeout", ProviderError::lost(format!("{said}: no answer in time")));
    }
    let mut cause: &dyn std::error::Error = &error;
    while let Some(inner) = cause.source() {
        cause = inner;
    }
    let message = format!("{said}: {cause}");
    if error.is_connect() {
        return ("error", ProviderError::refused(ErrorKind::Unavailable, message));
    }
    ("error", ProviderError::lost(message))
}

/// The base address, if it may be used.
fn check(url: &str, insecure: bool) -> Result<Url, Rejection> {
    let invalid = |why: &str| Rejection::new(Reason::Invalid, format!("url {url}: {why}"));
    let parsed =
        Url::parse(url).map_err(|error| invalid(&format!("{error}; write it as https://host[:port][/path]")))?;
    match parsed.scheme() {
        "https" => {}
        "http" if insecure => {}
        "http" => {
            return Err(invalid(
                "http:// would send the token in clear; use https://, or allowInsecureHttp: true for a test server",
            ));
        }
        _ => return Err(invalid("only https:// is spoken")),
    }
    if !parsed.username().is_empty() || parsed.password().is_some() {
        let message = "url: a user in the address would leak; put it in the Secret";
        return Err(Rejection::new(Reason::Invalid, message));
    }
    let host = parsed.host_str().ok_or_else(|| invalid("has no host"))?;
    let literal = host.trim_start_matches('[').trim_end_matches(']').parse::<IpAddr>().ok();
    if let Some(why) = literal.and_then(|address| forbidden(address, insecure)) {
        return Err(invalid(why));
    }
    if !insecure && (host.eq_ignore_ascii_case("localhost") || host.ends_with(".localhost")) {
        return Err(invalid(LOOPBACK));
    }
    Ok(parsed)
}

const LOOPBACK: &str = "loopback addresses need allowInsecureHttp: true";

/// Why an address may not be called, if it may not.
fn forbidden(address: IpAddr, insecure: bool) -> Option<&'static str> {
    let address = address.to_canonical();
    let link_local = match address {
        IpAddr::V4(v4) => v4.is_link_local(),
        IpAddr::V6(v6) => v6.is_unicast_link_local() || v6.segments()[..2] == [0xfd00, 0x0ec2],
    };
    if link_local || address.is_unspecified() || address.is_multicast() {
        return Some("link-local, metadata, multicast and unspecified addresses are never called; correct the address");
    }
    (address.is_loopback() && !insecure).then_some(LOOPBACK)
}

/// Resolves names and refuses forbidden addresses, so that a name cannot lead where a literal may not.
struct GuardedDns {
    insecure: bool,
}

impl Resolve for GuardedDns {
    fn resolve(&self, name: Name) -> Resolving {
        let insecure = self.insecure;
        Box::pin(async move {
            let found: Vec<SocketAddr> = tokio::net::lookup_host((name.as_str(), 0)).await?.collect();
            if let Some(why) = found.iter().find_map(|address| forbidden(address.ip(), insecure)) {
                return Err(format!("{} leads to a forbidden address: {why}", name.as_str()).into());
            }
            Ok(Box::new(found.into_iter()) as Addrs)
        })
    }
}

/// `text` as one segment of a path.
#[must_use]
pub fn segment(text: &str) -> String {
    // Dots alone, even encoded once, would climb out of the path.
    if text.bytes().all(|byte| byte == b'.') {
        return "%252E".repeat(text.len());
    }
    let mut encoded = String::with_capacity(text.len());
    for byte in text.bytes() {
        if byte.is_ascii_alphanumeric() || matches!(byte, b'-' | b'_' | b'.' | b'~' | b'@') {
            encoded.push(char::from(byte));
        } else {
            // Writing to a String does not fail.
            let _ = write!(encoded, "%{byte:02X}");
        }
    }
    encoded
}

/// The parameters of `address`, be it whole or a path alone; where it leads is not looked at.
#[must_use]
pub fn parameters(address: &str) -> Vec<(String, String)> {
    let whole = Url::parse("https://nowhere.invalid").and_then(|base| base.join(address));
    whole.map(|url| url.query_pairs().into_owned().collect()).unwrap_or_default()
}

/// A vendor's own words for a message: known fields only, one line, at most 256 characters.
#[must_use]
pub fn quote(words: &str) -> String {
    let line = words.split_whitespace().collect::<Vec<_>>().join(" ");
    line.chars().filter(|letter| !letter.is_control()).take(256).collect()
}

#[cfg(test)]
mod tests {
    use rstest::rstest;

    use super::*;

    #[rstest]
    #[case::loopback("127.0.0.1", false, true)]
    #[case::loopback_allowed("127.0.0.1", true, false)]
    #[case::loopback_v6("::1", false, true)]
    #[case::mapped_loopback("::ffff:127.0.0.1", false, true)]
    #[case::metadata("169.254.169.254", true, true)]
    #[case::mapped_metadata("::ffff:169.254.169.254", true, true)]
    #[case::link_local_v6("fe80::1", true, true)]
    #[case::aws_metadata_v6("fd00:ec2::254", true, true)]
    #[case::unspecified("0.0.0.0", true, true)]
    #[case::private("10.0.0.1", false, false)]
    #[case::public("192.0.2.1", false, false)]
    fn addresses_that_lead_astray_are_forbidden(#[case] address: &str, #[case] insecure: bool, #[case] refused: bool) {
        assert_eq!(forbidden(address.parse().unwrap(), insecure).is_some(), refused);
    }

    #[rstest]
    #[case::plain_http("http://example.com", "send the token in clear")]
    #[case::other_scheme("ftp://example.com", "only https")]
    #[case::user("https://me:secret@example.com", "would leak")]
    #[case::localhost("https://localhost", "loopback")]
    #[case::literal("https://[::1]/", "loopback")]
    #[case::decimal("https://2130706433/", "loopback")]
    #[case::nonsense("example.com", "write it as")]
    fn a_url_that_may_not_be_used_says_why(#[case] url: &str, #[case] words: &str) {
        let rejection = check(url, false).unwrap_err();
        assert!(rejection.message.contains(words), "{rejection}");
        assert!(!rejection.message.contains("secret@"), "{rejection}");
    }

    #[rstest]
    #[case::seconds("retry-after", "3", Some(3))]
    #[case::nothing("retry-after", "soon", None)]
    #[case::negative("retry-after", "-5", Some(0))]
    #[case::epoch("x-ratelimit-reset", "1000030", Some(30))]
    #[case::past("x-ratelimit-reset", "999999", None)]
    #[case::endless("retry-after", "1e300", None)]
    #[case::not_a_number("x-ratelimit-reset", "NaN", None)]
    fn the_time_a_429_names_is_read(
        #[case] name: &'static str,
        #[case] value: &'static str,
        #[case] after: Option<i64>,
    ) {
        let now = Timestamp::from_second(1_000_000).unwrap();
        let headers = [(HeaderName::from_static(name), HeaderValue::from_static(value))].into_iter().collect();
        assert_eq!(named_time(&headers, now), after.map(|seconds| now + SignedDuration::from_secs(seconds)));
    }

    #[test]
    fn an_id_cannot_lead_out_of_its_path() {
        assert_eq!(segment("../users?x=1#y"), "..%2Fusers%3Fx%3D1%23y");
        let mut url = Url::parse("https://example.com/api/").unwrap();
        url.set_path(&format!("/api/users/{}", segment("..")));
        assert_eq!(url.path(), "/api/users/%252E%252E");
    }
}
