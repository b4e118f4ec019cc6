//! How fast calls may go: so many in any minute, so many at once; and turns for calls whose pace is tighter than the rest's.

use std::collections::{HashMap, VecDeque};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::time::Duration;

use tokio::time::Instant;

/// What counts as a minute: a second more, because a vendor counts when calls arrive and not when they leave.
const MINUTE: Duration = Duration::from_secs(61);

/// Upper bounds for calls, and the calls that went out of late. It waits for nobody.
pub struct Pace {
    per_minute: u32,
    burst: u32,
    /// When calls went out, the latest last; no more than matter.
    sent: VecDeque<Instant>,
    /// When the whole burst may go out again.
    rested: Instant,
}

impl Pace {
    /// At most `per_minute` calls in any minute, and `burst` of them at once after a rest.
    #[must_use]
    pub fn new(per_minute: u32, burst: u32) -> Self {
        let (per_minute, burst) = (per_minute.max(1), burst.max(1));
        Self { per_minute, burst, sent: VecDeque::new(), rested: Instant::now() }
    }

    /// Other bounds from now on; what went out stays counted.
    pub fn limit(&mut self, per_minute: u32, burst: u32) {
        (self.per_minute, self.burst) = (per_minute.max(1), burst.max(1));
    }

    /// When `calls` at once may go out: `now` or later.
    #[must_use]
    pub fn next(&self, calls: u32, now: Instant) -> Instant {
        let calls = calls.min(self.per_minute);
        let by_burst = self.rested.checked_sub(self.interval() * self.burst.saturating_sub(calls));
        let too_many = (self.sent.len() + calls as usize).checked_sub(self.per_minute as usize + 1);
        let by_minute = too_many.and_then(|last| self.sent.get(last)).map(|sent| *sent + MINUTE);
        by_burst.max(by_minute).unwrap_or(now).max(now)
    }

    /// Counts a call that goes out now.
    ///
    /// Errors: when it may go out instead.
    pub fn take(&mut self, now: Instant) -> Result<(), Instant> {
        let next = self.next(1, now);
        if next > now {
            return Err(next);
        }
        self.rested = self.rested.max(now) + self.interval();
        self.sent.push_back(now);
        let stale = self.sent.len().saturating_sub(self.per_minute as usize);
        self.sent.drain(..stale);
        Ok(())
    }

    fn interval(&self) -> Duration {
        Duration::from_mins(1) / self.per_minute
    }
}

/// Waits until `pace` lets one more call go out, and counts it.
pub async fn keep(pace: &Mutex<Pace>) {
    loop {
        let taken = pace.lock().unwrap_or_else(PoisonError::into_inner).take(Instant::now());
        let Err(next) = taken else { return };
        tokio::time::sleep_until(next).await;
    }
}

/// Turns of several calls each, for calls with a pace of their own. Who finds no room is told a time when to come, each
/// another one, so that not all come at once and in vain.
pub struct Turns {
    pace: Mutex<Pace>,
    calls: u32,
    given: Mutex<Given>,
}

/// Turns that are being used, and the times that were told.
#[derive(Default)]
struct Given {
    now: u32,
    later: HashMap<String, Instant>,
}

/// The right to make the calls of one turn, given back on drop.
pub struct Turn(Arc<Turns>);

impl Drop for Turn {
    fn drop(&mut self) {
        self.0.given().now -= 1;
    }
}

impl Turns {
    /// Turns of `calls` calls at this pace.
    #[must_use]
    pub fn new(pace: Pace, calls: u32) -> Self {
        Self { pace: Mutex::new(pace), calls, given: Mutex::default() }
    }

    /// A turn for `who`.
    ///
    /// Errors: when to come instead; whoever comes sooner is told the same again.
    pub fn turn(self: &Arc<Self>, who: &str) -> Result<Turn, Instant> {
        let (now, mut given) = (Instant::now(), self.given());
        let (free, between) = {
            let pace = self.pace.lock().unwrap_or_else(PoisonError::into_inner);
            (pace.next(self.calls * (given.now + 1), now), pace.interval() * self.calls)
        };
        given.later.retain(|_, at| *at > now);
        if free <= now {
            given.later.remove(who);
            given.now += 1;
            return Ok(Turn(self.clone()));
        }
        let last = u32::try_from(given.later.len()).unwrap_or(u32::MAX);
        Err(*given.later.entry(who.to_owned()).or_insert(free + between * last))
    }

    /// Waits until one call may go out, and counts it: within a turn it may at once, unless it is a repeated one.
    pub async fn call(&self) {
        keep(&self.pace).await;
    }

    fn given(&self) -> MutexGuard<'_, Given> {
        self.given.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    /// Makes a call as soon as it may; how long after `begun`.
    fn call(pace: &mut Pace, begun: Instant, now: &mut Instant) -> Duration {
        if let Err(next) = pace.take(*now) {
            *now = next;
            pace.take(next).unwrap();
        }
        *now - begun
    }

    proptest! {
        #[test]
        fn no_minute_sees_more_calls_than_allowed_and_no_second_more_than_the_burst(
            per_minute in 1_u32..60, burst in 1_u32..30, pauses in proptest::collection::vec(0_u64..20_000, 1..150),
        ) {
            let (begun, mut pace) = (Instant::now(), Pace::new(per_minute, burst));
            let (mut now, mut sent) = (begun, Vec::new());
            for pause in pauses {
                // Often at once, sometimes after a rest.
                now += Duration::from_millis(if pause < 15_000 { 0 } else { pause });
                sent.push(call(&mut pace, begun, &mut now));
            }
            for (count, window) in [(per_minute, 60), (burst.max(1) + per_minute.div_ceil(60), 1)] {
                for calls in sent.windows(count as usize + 1) {
                    prop_assert!(calls[count as usize] >= calls[0] + Duration::from_secs(window), "{sent:?}");
                }
            }
        }
    }

    #[test]
    fn a_burst_goes_out_at_once_and_the_minute_is_used_up() {
        let (begun, mut pace) = (Instant::now(), Pace::new(20, 5));
        let mut now = begun;
        let sent: Vec<u64> = (0..25).map(|_| call(&mut pace, begun, &mut now).as_secs()).collect();
        assert_eq!(sent[..6], [0, 0, 0, 0, 0, 3]);
        assert_eq!((sent[19], sent[20]), (45, 61));
    }

    #[test]
    fn other_bounds_do_not_forget_what_went_out() {
        let mut pace = Pace::new(3, 3);
        let now = Instant::now();
        (0..3).for_each(|_| pace.take(now).unwrap());
        pace.limit(2, 2);
        assert_eq!(pace.take(now), Err(now + MINUTE));
    }

    #[tokio::test(start_paused = true)]
    async fn who_waits_for_a_turn_is_told_a_time_of_his_own_and_keeps_it() {
        let turns = Arc::new(Turns::new(Pace::new(20, 5), 2));
        for _ in 0..4 {
            turns.call().await;
        }
        let told: Vec<Instant> = ["ada", "bob", "eve"].iter().map(|who| turns.turn(who).err().unwrap()).collect();
        assert_eq!((told[1] - told[0], told[2] - told[1]), (Duration::from_secs(6), Duration::from_secs(6)));
        assert_eq!(turns.turn("bob").err(), Some(told[1]));
        tokio::time::sleep_until(told[0]).await;
        let turn = turns.turn("ada").ok().unwrap();
        assert!(turns.turn("eve").is_err(), "what one turn will use is not given away");
        drop(turn);
        assert!(turns.turn("eve").is_ok());
    }
}
