//! One gate per credential for everything that goes to the vendor: rate, burst, concurrency, and closed until the time a vendor named.
//!
//! An object that finds no room is parked and woken through a channel; it never holds a reconcile slot while it waits.

use std::collections::{HashMap, VecDeque};
use std::num::NonZeroU32;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::time::{Duration, Instant};

use governor::clock::DefaultClock;
use governor::state::{InMemoryState, NotKeyed};
use governor::{Quota, RateLimiter};
use jiff::{SignedDuration, Timestamp};
use tokio::sync::{mpsc, oneshot};

use super::error::ProviderError;
use super::observer::Observer;
use crate::api::{ObjectKey, Vendor};
use crate::plan::Limits;

/// How long an invited object may take to come before its place goes to the next.
const INVITATION: Duration = Duration::from_secs(5);
/// How long the gate closes on a first 429 that names no time; it doubles with each further one.
const UNNAMED: SignedDuration = SignedDuration::from_secs(2);
/// Longest time that a 429 may close the gate for; more is taken for a broken clock.
const LONGEST: SignedDuration = SignedDuration::from_hours(24);
/// One place in this many goes to the lowest lane that waits, so that no lane starves.
const FLOOR: u32 = 8;

/// Who goes first.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash, PartialOrd, Ord, strum::Display, strum::IntoStaticStr)]
#[strum(serialize_all = "lowercase")]
pub enum Lane {
    /// Edits and removals of what is there.
    Edit,
    /// New accounts.
    New,
    /// Sweeps and checks.
    Background,
}

const LANES: [Lane; 3] = [Lane::Edit, Lane::New, Lane::Background];

/// Bounds the work of one credential; cheap to clone.
#[derive(Clone)]
pub struct Gate(Arc<Inner>);

struct Inner {
    vendor: Vendor,
    rate: RateLimiter<NotKeyed, InMemoryState, DefaultClock>,
    concurrency: usize,
    line: Mutex<Line>,
    wake: mpsc::UnboundedSender<ObjectKey>,
    observer: Arc<dyn Observer>,
}

/// Who is inside, invited and waiting.
#[derive(Default)]
struct Line {
    inside: usize,
    invited: HashMap<ObjectKey, Instant>,
    waiting: [VecDeque<Waiting>; 3],
    served: u32,
    closed_until: Option<Timestamp>,
    /// Refusals in a row that named no time.
    refusals: u32,
}

struct Waiting {
    since: Instant,
    who: Who,
}

enum Who {
    /// Woken through the channel; its reconcile comes back by itself.
    Object(ObjectKey),
    /// Given its place directly.
    Task(oneshot::Sender<Permit>),
}

/// A place inside the gate, given back on drop.
pub struct Permit(Arc<Inner>);

impl Drop for Permit {
    fn drop(&mut self) {
        let mut line = self.0.line();
        line.inside -= 1;
        self.0.invite(&mut line);
    }
}

impl Gate {
    /// A gate with these bounds; parked objects are woken through `wake`.
    #[must_use]
    pub fn new(
        vendor: Vendor,
        limits: Limits,
        wake: mpsc::UnboundedSender<ObjectKey>,
        observer: Arc<dyn Observer>,
    ) -> Self {
        let at_least_one = |number: u32| NonZeroU32::new(number).unwrap_or(NonZeroU32::MIN);
        let quota = Quota::per_minute(at_least_one(limits.per_minute)).allow_burst(at_least_one(limits.burst));
        Self(Arc::new(Inner {
            vendor,
            rate: RateLimiter::direct(quota),
            concurrency: limits.concurrency.max(1) as usize,
            line: Mutex::default(),
            wake,
            observer,
        }))
    }

    /// A place for `object`, or `None`: it is parked and will be woken.
    #[must_use]
    pub fn try_enter(&self, lane: Lane, object: &ObjectKey) -> Option<Permit> {
        let mut line = self.0.line();
        line.forget_late_guests();
        let invited = line.invited.remove(object).is_some();
        if invited || (line.is_empty_up_to(lane) && line.taken() < self.0.concurrency) {
            line.leave(object);
            line.inside += 1;
            return Some(Permit(self.0.clone()));
        }
        line.park(lane, object);
        self.0.invite(&mut line);
        None
    }

    /// A place for a task that can wait.
    pub async fn enter(&self, lane: Lane) -> Option<Permit> {
        let (sender, receiver) = oneshot::channel();
        {
            let mut line = self.0.line();
            line.forget_late_guests();
            line.waiting[lane as usize].push_back(Waiting { since: Instant::now(), who: Who::Task(sender) });
            self.0.invite(&mut line);
        }
        receiver.await.ok()
    }

    /// Waits for the rate to allow one more call.
    ///
    /// Errors: `RateLimited` while the gate is closed; the caller comes back at `retry_at`.
    pub async fn call(&self) -> Result<(), ProviderError> {
        self.open()?;
        self.0.rate.until_ready().await;
        self.open()
    }

    /// Errors: `RateLimited` while the gate is closed.
    pub fn open(&self) -> Result<(), ProviderError> {
        match self.closed_until() {
            Some(until) => Err(ProviderError::rate_limited(
                format!("{} asked us to slow down; calls go on at {until:.0}", self.0.vendor.title()),
                Some(until),
            )),
            None => Ok(()),
        }
    }

    /// Until when the gate is closed, if it is.
    #[must_use]
    pub fn closed_until(&self) -> Option<Timestamp> {
        self.0.line().closed_until.filter(|until| *until > Timestamp::now())
    }

    /// Closes the gate until the time the vendor named, or with back-off from 2 s to 5 min if it named none.
    pub fn close(&self, named: Option<Timestamp>) -> Timestamp {
        let (mut line, now) = (self.0.line(), Timestamp::now());
        let backoff = UNNAMED * (1 << line.refusals.min(7));
        line.refusals += u32::from(named.is_none());
        let until = named.unwrap_or(now + backoff).min(now + LONGEST);
        line.closed_until = line.closed_until.max(Some(until));
        until
    }

    /// The vendor answered without asking to slow down.
    pub fn went_well(&self) {
        self.0.line().refusals = 0;
    }

    /// How many objects wait for a new account.
    #[must_use]
    pub fn waiting_for_new(&self) -> usize {
        self.0.line().waiting[Lane::New as usize].len()
    }
}

impl Inner {
    fn line(&self) -> MutexGuard<'_, Line> {
        self.line.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// Invites as many as there is room for.
    fn invite(self: &Arc<Self>, line: &mut Line) {
        while line.taken() < self.concurrency {
            let Some((lane, waiting)) = line.next() else { return };
            let Waiting { since, who } = waiting;
            match who {
                Who::Object(object) => {
                    line.invited.insert(object.clone(), Instant::now());
                    // The receiver lives as long as the process; without it nobody needs waking.
                    let _ = self.wake.send(object);
                }
                Who::Task(task) => {
                    line.inside += 1;
                    if let Err(permit) = task.send(Permit(self.clone())) {
                        // Nobody waits any more; forgetting the permit avoids locking the line twice.
                        line.inside -= 1;
                        std::mem::forget(permit);
                        continue;
                    }
                }
            }
            self.observer.gate_waited(self.vendor, lane.into(), since.elapsed());
        }
    }
}

impl Line {
    fn taken(&self) -> usize {
        self.inside + self.invited.len()
    }

    fn is_empty_up_to(&self, lane: Lane) -> bool {
        self.waiting[..=lane as usize].iter().all(VecDeque::is_empty)
    }

    fn park(&mut self, lane: Lane, object: &ObjectKey) {
        let same = |waiting: &Waiting| matches!(&waiting.who, Who::Object(parked) if parked == object);
        if self.waiting[lane as usize].iter().any(same) {
            return;
        }
        self.leave(object);
        self.waiting[lane as usize].push_back(Waiting { since: Instant::now(), who: Who::Object(object.clone()) });
    }

    fn leave(&mut self, object: &ObjectKey) {
        for queue in &mut self.waiting {
            queue.retain(|waiting| !matches!(&waiting.who, Who::Object(parked) if parked == object));
        }
    }

    fn next(&mut self) -> Option<(Lane, Waiting)> {
        self.served = self.served.wrapping_add(1);
        let lowest_first = self.served.is_multiple_of(FLOOR);
        let mut order = LANES;
        if lowest_first {
            order.reverse();
        }
        order.into_iter().find_map(|lane| Some((lane, self.waiting[lane as usize].pop_front()?)))
    }

    fn forget_late_guests(&mut self) {
        self.invited.retain(|_, since| since.elapsed() < INVITATION);
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::api::Kind;
    use crate::providers::Unobserved;

    fn gate(concurrency: u32) -> (Gate, mpsc::UnboundedReceiver<ObjectKey>) {
        let (wake, woken) = mpsc::unbounded_channel();
        let limits = Limits { per_minute: 60_000, burst: 100, concurrency };
        (Gate::new(Vendor::Pegasus, limits, wake, Arc::new(Unobserved)), woken)
    }

    fn user(name: &str) -> ObjectKey {
        ObjectKey::new(Kind::User, "identity", name)
    }

    #[tokio::test]
    async fn who_finds_no_room_is_woken_and_then_goes_before_newcomers() {
        let (gate, mut woken) = gate(1);
        let first = gate.try_enter(Lane::New, &user("first")).unwrap();
        assert!(gate.try_enter(Lane::New, &user("second")).is_none());
        assert!(woken.try_recv().is_err(), "nobody is woken while there is no room");
        drop(first);
        assert_eq!(woken.recv().await, Some(user("second")));
        assert!(gate.try_enter(Lane::New, &user("third")).is_none(), "the place is kept for who was woken");
        assert!(gate.try_enter(Lane::New, &user("second")).is_some());
    }

    #[tokio::test]
    async fn edits_go_before_new_accounts_and_these_before_sweeps() {
        let (gate, mut woken) = gate(1);
        let inside = gate.try_enter(Lane::Edit, &user("inside")).unwrap();
        for (lane, name) in [(Lane::Background, "sweep"), (Lane::New, "new"), (Lane::Edit, "edit")] {
            assert!(gate.try_enter(lane, &user(name)).is_none());
        }
        drop(inside);
        for name in ["edit", "new", "sweep"] {
            assert_eq!(woken.recv().await, Some(user(name)));
            drop(gate.try_enter(Lane::Edit, &user(name)).unwrap());
        }
    }

    #[tokio::test]
    async fn no_lane_starves() {
        let (gate, mut woken) = gate(1);
        let mut inside = gate.try_enter(Lane::Edit, &user("inside"));
        assert!(gate.try_enter(Lane::Background, &user("sweep")).is_none());
        for turn in 0..=FLOOR {
            let edit = user(&turn.to_string());
            assert!(gate.try_enter(Lane::Edit, &edit).is_none());
            drop(inside.take());
            let next = woken.recv().await.unwrap();
            if next == user("sweep") {
                return;
            }
            inside = gate.try_enter(Lane::Edit, &next);
        }
        panic!("the sweep never had its turn");
    }

    #[tokio::test]
    async fn a_closed_gate_lets_no_call_through_and_says_until_when() {
        let (gate, _woken) = gate(1);
        let until = gate.close(Some(Timestamp::now() + SignedDuration::from_mins(1)));
        let refused = gate.call().await.unwrap_err();
        assert_eq!(refused.retry_at, Some(until));
        assert!(gate.close(None) < until, "a shorter closing does not open it sooner");
        assert_eq!(gate.closed_until(), Some(until));
    }

    #[tokio::test]
    async fn refusals_without_a_time_close_it_longer_each_time() {
        let (gate, _woken) = gate(1);
        let begun = Timestamp::now();
        let (first, second) = (gate.close(None), gate.close(None));
        assert!(second.duration_since(begun) >= first.duration_since(begun) + UNNAMED);
        gate.went_well();
        assert!(gate.close(None) < second);
    }
}
