//! When the next reconcile of a failing object is due.

use std::collections::HashMap;
use std::sync::Arc;
use std::time::Duration;

use jiff::Timestamp;
use parking_lot::Mutex;

use crate::api::ObjectKey;

/// First wait after a failure.
const FIRST: Duration = Duration::from_secs(1);
/// Longest wait after failures.
const LONGEST: Duration = Duration::from_mins(5);
/// An object that waits to be enqueued is reconciled after this in any case, so that a lost wake-up costs no more than that.
pub const LOST_WAKE_UP: Duration = Duration::from_mins(1);

/// What follows a reconcile.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Action {
    /// The time until the next reconcile; `None`: it waits for an event.
    pub wait: Option<Duration>,
}

impl Action {
    /// The next reconcile is due after `wait`, or at an event before.
    pub fn requeue(wait: Duration) -> Self {
        Self { wait: Some(wait) }
    }

    /// The next reconcile is due at an event.
    pub fn await_change() -> Self {
        Self { wait: None }
    }
}

/// Failures in a row, per object.
#[derive(Clone, Default)]
pub struct Backoff(Arc<Mutex<HashMap<ObjectKey, u32>>>);

impl Backoff {
    /// The wait after one more failure: doubling from 1 s to 5 min, with jitter of a quarter.
    pub fn next(&self, object: &ObjectKey) -> Duration {
        let mut failures = self.0.lock();
        let count = failures.entry(object.clone()).or_default();
        let wait = FIRST.saturating_mul(1_u32 << (*count).min(9)).min(LONGEST);
        *count += 1;
        jitter(wait)
    }

    /// Forgets failures of an object that did well or is gone.
    pub fn reset(&self, object: &ObjectKey) {
        self.0.lock().remove(object);
    }
}

/// `wait` or up to a quarter more, so that many do not come back at once.
pub fn jitter(wait: Duration) -> Duration {
    wait.mul_f64(1.0 + fastrand::f64() / 4.0)
}

/// Comes back shortly after `until`.
pub fn at(until: Timestamp) -> Action {
    let wait = Duration::try_from(until.duration_since(Timestamp::now())).unwrap_or_default();
    Action::requeue(jitter(wait.max(Duration::from_millis(200)).min(LONGEST * 12)))
}
