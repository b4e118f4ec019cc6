//! A rate limit: a number of calls in any minute, and a number of calls at once.
//!
//! It is our own because governor implements GCRA, which bounds an average: it has no "N in any minute", which is what vendors
//! count, and no change of bounds that keeps the calls counted so far.

use std::collections::VecDeque;
use std::sync::Arc;
use std::time::Duration;

use parking_lot::{Mutex, MutexGuard};
use tokio::time::Instant;

/// The window of a limit per minute: one second longer, because a vendor counts calls when they arrive and not when they leave.
const WINDOW: Duration = Duration::from_secs(61);

/// Upper bounds for calls, and the recent calls. It never waits.
pub struct RateLimit {
    per_minute: u32,
    burst: u32,
    /// The times of the recent calls, oldest first; at most `per_minute` of them.
    sent: VecDeque<Instant>,
    /// When the whole burst is available again.
    burst_ready: Instant,
}

impl RateLimit {
    /// At most `per_minute` calls in any minute, and at most `burst` of them at once after a pause; both at least 1.
    #[must_use]
    pub fn new(per_minute: u32, burst: u32) -> Self {
        let (per_minute, burst) = (per_minute.max(1), burst.max(1));
        Self { per_minute, burst, sent: VecDeque::new(), burst_ready: Instant::now() }
    }

    /// Changes the bounds; the recent calls stay counted.
    pub fn set_bounds(&mut self, per_minute: u32, burst: u32) {
        (self.per_minute, self.burst) = (per_minute.max(1), burst.max(1));
    }

    /// The earliest time for the last of `calls` more calls, each sent as soon as it is allowed: `now` or later.
    #[must_use]
    pub fn earliest(&self, calls: u32, now: Instant) -> Instant {
        // A call comes a window after the one that is a minute's calls before it, which may be one of these calls itself.
        let windows = calls.saturating_sub(1) / self.per_minute;
        self.earliest_in_window(calls - windows * self.per_minute, now) + WINDOW * windows
    }

    /// The earliest time for the last of `calls` more calls, which are no more than those of a minute.
    fn earliest_in_window(&self, calls: u32, now: Instant) -> Instant {
        let by_burst = match self.burst.checked_sub(calls) {
            Some(left) => self.burst_ready.checked_sub(self.interval() * left),
            None => Some(self.burst_ready.max(now) + self.interval() * (calls - self.burst)),
        };
        let too_many = (self.sent.len() + calls as usize).checked_sub(self.per_minute as usize + 1);
        let by_minute = too_many.and_then(|last| self.sent.get(last)).map(|sent| *sent + WINDOW);
        by_burst.max(by_minute).unwrap_or(now).max(now)
    }

    /// Counts a call at `now`.
    ///
    /// Errors: the earliest time for the call; it is not counted.
    pub fn try_take(&mut self, now: Instant) -> Result<(), Instant> {
        let earliest = self.earliest(1, now);
        if earliest > now {
            return Err(earliest);
        }
        self.burst_ready = self.burst_ready.max(now) + self.interval();
        self.sent.push_back(now);
        let stale = self.sent.len().saturating_sub(self.per_minute as usize);
        self.sent.drain(..stale);
        Ok(())
    }

    /// The average time between two calls at this rate.
    #[must_use]
    pub fn interval(&self) -> Duration {
        Duration::from_mins(1) / self.per_minute
    }
}

/// A rate limit that several callers share; cheap to clone.
#[derive(Clone)]
pub struct SharedRateLimit(Arc<Mutex<RateLimit>>);

impl SharedRateLimit {
    /// Shares `rate_limit`.
    #[must_use]
    pub fn new(rate_limit: RateLimit) -> Self {
        Self(Arc::new(Mutex::new(rate_limit)))
    }

    /// The rate limit, locked.
    pub fn lock(&self) -> MutexGuard<'_, RateLimit> {
        self.0.lock()
    }

    /// Waits until one more call is allowed, and counts it.
    pub async fn until_ready(&self) {
        loop {
            let taken = self.lock().try_take(Instant::now());
            let Err(earliest) = taken else { return };
            tokio::time::sleep_until(earliest).await;
        }
    }
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    /// Makes a call at the earliest time; returns the time since `start`.
    fn call(rate_limit: &mut RateLimit, start: Instant, now: &mut Instant) -> Duration {
        if let Err(earliest) = rate_limit.try_take(*now) {
            *now = earliest;
            rate_limit.try_take(earliest).unwrap();
        }
        *now - start
    }

    proptest! {
        #[test]
        fn no_minute_sees_more_calls_than_allowed_and_no_second_more_than_the_burst(
            per_minute in 1_u32..60, burst in 1_u32..30, pauses in proptest::collection::vec(0_u64..20_000, 1..150),
        ) {
            let (start, mut rate_limit) = (Instant::now(), RateLimit::new(per_minute, burst));
            let (mut now, mut sent) = (start, Vec::new());
            for pause in pauses {
                // Three of four calls follow at once, the others after a pause.
                now += Duration::from_millis(if pause < 15_000 { 0 } else { pause });
                sent.push(call(&mut rate_limit, start, &mut now));
            }
            for (count, window) in [(per_minute, 60), (burst.max(1) + per_minute.div_ceil(60), 1)] {
                for calls in sent.windows(count as usize + 1) {
                    prop_assert!(calls[count as usize] >= calls[0] + Duration::from_secs(window), "{sent:?}");
                }
            }
        }
    }

    #[test]
    fn a_burst_is_sent_at_once_and_counts_toward_the_minute() {
        let (start, mut rate_limit) = (Instant::now(), RateLimit::new(20, 5));
        let mut now = start;
        let sent: Vec<u64> = (0..25).map(|_| call(&mut rate_limit, start, &mut now).as_secs()).collect();
        assert_eq!(sent[..6], [0, 0, 0, 0, 0, 3]);
        assert_eq!((sent[19], sent[20]), (45, 61));
    }

    #[rstest::rstest]
    #[case::within_the_burst(5, 0)]
    #[case::beyond_the_burst(6, 3)]
    #[case::the_last_of_the_minute(20, 45)]
    #[case::the_next_minute(21, 61)]
    #[case::two_minutes_later(45, 122)]
    fn the_last_of_many_calls_is_foretold(#[case] calls: u32, #[case] seconds: u64) {
        let (start, mut rate_limit) = (Instant::now(), RateLimit::new(20, 5));
        assert_eq!((rate_limit.earliest(calls, start) - start).as_secs(), seconds);
        let mut now = start;
        let sent = (0..calls).map(|_| call(&mut rate_limit, start, &mut now).as_secs()).last();
        assert_eq!(sent, Some(seconds));
    }

    #[test]
    fn changed_bounds_keep_the_calls_counted() {
        let mut rate_limit = RateLimit::new(3, 3);
        let now = Instant::now();
        (0..3).for_each(|_| rate_limit.try_take(now).unwrap());
        rate_limit.set_bounds(2, 2);
        assert_eq!(rate_limit.try_take(now), Err(now + WINDOW));
    }
}
