//! The vendor's clock, read from the Date header of its answers.

use std::sync::Arc;

use jiff::{SignedDuration, Timestamp};
use parking_lot::Mutex;
use reqwest::header::{DATE, HeaderMap};

use super::retry;

/// How far the vendor's clock is ahead of ours, by its latest answer with a Date header.
#[derive(Clone, Debug, Default)]
pub struct Clock(Arc<Mutex<Option<SignedDuration>>>);

impl Clock {
    /// Takes over the Date header of an answer received at `now`, if it has one (RFC 9110, 6.6.1).
    pub fn observe(&self, headers: &HeaderMap, now: Timestamp) {
        if let Some(there) = headers.get(DATE).and_then(|date| retry::date(date.to_str().ok()?)) {
            *self.0.lock() = Some(there.duration_since(now));
        }
    }

    /// The vendor's time when ours was `at`, up to two seconds too early, because the header has whole seconds and the answer
    /// travelled. `None` before the first Date header.
    #[must_use]
    pub fn there(&self, at: Timestamp) -> Option<Timestamp> {
        let ahead = *self.0.lock();
        at.checked_add(ahead?).ok()
    }
}

#[cfg(test)]
mod tests {
    use reqwest::header::HeaderValue;

    use super::*;

    #[test]
    fn the_date_header_sets_the_vendors_time() {
        let clock = Clock::default();
        let now = Timestamp::from_second(1_000_090).unwrap();
        assert_eq!(clock.there(now), None);
        clock.observe(&HeaderMap::new(), now);
        assert_eq!(clock.there(now), None);
        // 1,000,000 seconds after the epoch.
        let date = HeaderValue::from_static("Mon, 12 Jan 1970 13:46:40 GMT");
        clock.observe(&[(DATE, date)].into_iter().collect(), now);
        assert_eq!(clock.there(Timestamp::from_second(1_000_100).unwrap()), Timestamp::from_second(1_000_010).ok());
    }
}
