//! What time it is at a vendor, by the Date header of its answers; it judges nothing by it.

use std::sync::{Arc, Mutex, PoisonError};

use jiff::{SignedDuration, Timestamp};
use reqwest::header::{DATE, HeaderMap};

use super::retry;

/// How far a vendor's clock was ahead of ours when it last told.
#[derive(Clone, Debug, Default)]
pub struct Clock(Arc<Mutex<Option<SignedDuration>>>);

impl Clock {
    /// Takes the Date header of an answer that came at `now`, if there is one (RFC 9110, 6.6.1).
    pub fn heard(&self, headers: &HeaderMap, now: Timestamp) {
        if let Some(there) = headers.get(DATE).and_then(|date| retry::date(date.to_str().ok()?)) {
            *self.0.lock().unwrap_or_else(PoisonError::into_inner) = Some(there.duration_since(now));
        }
    }

    /// What the vendor's clock showed when ours showed `at`, up to two seconds early: the header has whole seconds, and was
    /// on its way. `None` if it never told.
    #[must_use]
    pub fn there(&self, at: Timestamp) -> Option<Timestamp> {
        let ahead = *self.0.lock().unwrap_or_else(PoisonError::into_inner);
        at.checked_add(ahead?).ok()
    }
}

#[cfg(test)]
mod tests {
    use reqwest::header::HeaderValue;

    use super::*;

    #[test]
    fn the_time_at_the_vendor_is_known_from_its_answers() {
        let clock = Clock::default();
        let now = Timestamp::from_second(1_000_090).unwrap();
        assert_eq!(clock.there(now), None);
        clock.heard(&HeaderMap::new(), now);
        assert_eq!(clock.there(now), None);
        // 1,000,000 seconds after the epoch.
        let date = HeaderValue::from_static("Mon, 12 Jan 1970 13:46:40 GMT");
        clock.heard(&[(DATE, date)].into_iter().collect(), now);
        assert_eq!(clock.there(Timestamp::from_second(1_000_100).unwrap()), Timestamp::from_second(1_000_010).ok());
    }
}
