//! Slots of several calls each under a rate limit of their own, because Pegasus counts the calls to `/apps` apart from all others.
//! It makes no call.

use std::collections::HashMap;
use std::sync::Arc;

use parking_lot::{Mutex, MutexGuard};
use tokio::time::Instant;

use crate::providers::rate_limit::{RateLimit, SharedRateLimit};

/// Slots of a rate limit; cheap to clone. A caller that gets no slot gets a time at which to ask again, and each caller another
/// time, because callers that ask at the same time would get one slot between them.
#[derive(Clone)]
pub struct RateLimitedSlots {
    rate_limit: SharedRateLimit,
    calls: u32,
    state: Arc<Mutex<State>>,
}

/// The number of slots in use, and the times given to callers.
#[derive(Default)]
struct State {
    in_use: u32,
    appointments: HashMap<String, Instant>,
}

/// The right to make the calls of one slot; dropping it gives the slot back.
pub struct Slot(RateLimitedSlots);

impl Drop for Slot {
    fn drop(&mut self) {
        self.0.state().in_use -= 1;
    }
}

impl RateLimitedSlots {
    /// Slots of `calls` calls each under `rate_limit`.
    #[must_use]
    pub fn new(rate_limit: RateLimit, calls: u32) -> Self {
        Self { rate_limit: SharedRateLimit::new(rate_limit), calls, state: Arc::default() }
    }

    /// A slot for `caller`.
    ///
    /// Errors: the time at which to ask again; it stays the same for a caller that asks sooner.
    pub fn try_acquire(&self, caller: &str) -> Result<Slot, Instant> {
        let (now, mut state) = (Instant::now(), self.state());
        let (earliest, spacing) = {
            let rate_limit = self.rate_limit.lock();
            (rate_limit.earliest(self.calls * (state.in_use + 1), now), rate_limit.interval() * self.calls)
        };
        state.appointments.retain(|_, at| *at > now);
        if earliest <= now {
            state.appointments.remove(caller);
            state.in_use += 1;
            return Ok(Slot(self.clone()));
        }
        let ahead = u32::try_from(state.appointments.len()).unwrap_or(u32::MAX);
        Err(*state.appointments.entry(caller.to_owned()).or_insert(earliest + spacing * ahead))
    }

    /// The rate limit that counts each call of a slot. Within a slot a call need not wait, unless it is a repeated one.
    #[must_use]
    pub fn rate_limit(&self) -> &SharedRateLimit {
        &self.rate_limit
    }

    fn state(&self) -> MutexGuard<'_, State> {
        self.state.lock()
    }
}

#[cfg(test)]
mod tests {
    use std::time::Duration;

    use super::*;

    #[tokio::test(start_paused = true)]
    async fn a_caller_without_a_slot_gets_a_time_of_its_own_and_keeps_it() {
        let slots = RateLimitedSlots::new(RateLimit::new(20, 5), 2);
        for _ in 0..4 {
            slots.rate_limit().until_ready().await;
        }
        let times: Vec<Instant> =
            ["ada", "bob", "eve"].iter().map(|caller| slots.try_acquire(caller).err().unwrap()).collect();
        assert_eq!((times[1] - times[0], times[2] - times[1]), (Duration::from_secs(6), Duration::from_secs(6)));
        assert_eq!(slots.try_acquire("bob").err(), Some(times[1]));
        tokio::time::sleep_until(times[0]).await;
        let slot = slots.try_acquire("ada").ok().unwrap();
        assert!(slots.try_acquire("eve").is_err(), "the calls of a slot in use are not available to others");
        drop(slot);
        assert!(slots.try_acquire("eve").is_ok());
    }
}
