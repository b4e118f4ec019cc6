//! The time at which a vendor takes calls again, by the headers of its answer.

use jiff::{SignedDuration, Timestamp};
use reqwest::header::HeaderMap;

/// The time that a 429 names, if it is in the future: the later of Retry-After and X-RateLimit-Reset, the latter in seconds
/// since 1970 (Pegasus).
pub fn named_time(headers: &HeaderMap, now: Timestamp) -> Option<Timestamp> {
    let reset = text(headers, "x-ratelimit-reset").and_then(seconds);
    let reset = reset.and_then(|seconds| Timestamp::from_second(seconds).ok()).filter(|until| *until > now);
    retry_after(headers, now).max(reset)
}

/// The time of Retry-After, if it is in the future: in seconds, or as a date (RFC 9110, 10.2.3).
pub fn retry_after(headers: &HeaderMap, now: Timestamp) -> Option<Timestamp> {
    let text = text(headers, "retry-after")?;
    let until = match seconds(text) {
        Some(seconds) => now.checked_add(SignedDuration::from_secs(seconds)).ok(),
        None => date(text),
    };
    until.filter(|until| *until > now)
}

/// An HTTP date (RFC 9110, 5.6.7).
pub fn date(text: &str) -> Option<Timestamp> {
    Timestamp::try_from(httpdate::parse_http_date(text).ok()?).ok()
}

fn text<'a>(headers: &'a HeaderMap, name: &str) -> Option<&'a str> {
    Some(headers.get(name)?.to_str().ok()?.trim())
}

#[expect(clippy::cast_possible_truncation, reason = "a value beyond i64 saturates and then is no valid time")]
fn seconds(text: &str) -> Option<i64> {
    text.parse::<f64>().ok().filter(|number| number.is_finite()).map(|number| number.ceil() as i64)
}

#[cfg(test)]
mod tests {
    use reqwest::header::{HeaderName, HeaderValue};
    use rstest::rstest;

    use super::*;

    #[rstest]
    #[case::seconds("retry-after", "3", Some(3))]
    #[case::nothing("retry-after", "soon", None)]
    #[case::at_once("retry-after", "0", None)]
    #[case::negative("retry-after", "-5", None)]
    #[case::date("retry-after", "Mon, 12 Jan 1970 13:47:10 GMT", Some(30))]
    #[case::date_of_rfc_850("retry-after", "Monday, 12-Jan-70 13:47:10 GMT", Some(30))]
    #[case::date_gone_by("retry-after", "Sun, 06 Nov 1966 08:49:37 GMT", None)]
    #[case::epoch("x-ratelimit-reset", "1000030", Some(30))]
    #[case::past("x-ratelimit-reset", "999999", None)]
    #[case::endless("retry-after", "1e300", None)]
    #[case::not_a_number("x-ratelimit-reset", "NaN", None)]
    fn a_429_names_its_time_in_seconds_or_as_a_date(
        #[case] name: &'static str,
        #[case] value: &'static str,
        #[case] after: Option<i64>,
    ) {
        let now = Timestamp::from_second(1_000_000).unwrap();
        let headers = [(HeaderName::from_static(name), HeaderValue::from_static(value))].into_iter().collect();
        assert_eq!(named_time(&headers, now), after.map(|seconds| now + SignedDuration::from_secs(seconds)));
    }

    #[test]
    fn the_later_of_two_times_counts() {
        let now = Timestamp::from_second(1_000_000).unwrap();
        let header = |name, value| (HeaderName::from_static(name), HeaderValue::from_static(value));
        let headers = [header("retry-after", "3"), header("x-ratelimit-reset", "1000030")].into_iter().collect();
        assert_eq!(named_time(&headers, now), Some(now + SignedDuration::from_secs(30)));
    }
}
