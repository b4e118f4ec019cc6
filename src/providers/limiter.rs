//! One gate per credential for everything that goes to the vendor: rate, burst, concurrency, and closed until the time a vendor named.
//!
//! An object that finds no room is parked and woken through a channel; it never holds a reconcile slot while it waits.

use std::sync::atomic::{AtomicBool, Ordering};
use std::sync::{Arc, Mutex, MutexGuard, OnceLock, PoisonError, Weak};

use jiff::{SignedDuration, Timestamp};
use tokio::runtime::Handle;
use tokio::sync::{mpsc, oneshot};
use tokio::time::Instant;

use super::clock::Clock;
use super::error::ProviderError;
use super::observer::Observer;
use super::queue::{INVITATION, Line, Priority, Waiting, Who};
use super::rate_limit::{Pace, Turns, keep};
use crate::api::{ObjectKey, Vendor};
use crate::plan::Limits;

/// How long the gate closes at least on a first refusal; it doubles with each further one.
const FIRST: SignedDuration = SignedDuration::from_secs(2);
/// Longest time that a vendor may keep us away for; more is taken for a broken clock.
pub const LONGEST_CLOSING: SignedDuration = SignedDuration::from_hours(24);

/// Bounds the work of one credential; cheap to clone.
#[derive(Clone)]
pub struct Limiter(Arc<Inner>);

struct Inner {
    credential: ObjectKey,
    vendor: Vendor,
    line: Mutex<Line>,
    pace: Mutex<Pace>,
    turns: OnceLock<Arc<Turns>>,
    closing: Mutex<Closing>,
    clock: Clock,
    /// Whether someone looks after guests who do not come.
    watched: AtomicBool,
    wake: mpsc::UnboundedSender<ObjectKey>,
    observer: Arc<dyn Observer>,
}

/// A place inside the gate, given back on drop.
pub struct Permit(Arc<Inner>);

impl Drop for Permit {
    fn drop(&mut self) {
        let mut line = lock(&self.0.line);
        line.let_out();
        self.0.invite(&mut line);
    }
}

impl Limiter {
    /// The gate of `credential` with these bounds; parked objects are woken through `wake`.
    #[must_use]
    pub fn new(
        credential: ObjectKey,
        vendor: Vendor,
        limits: Limits,
        wake: mpsc::UnboundedSender<ObjectKey>,
        observer: Arc<dyn Observer>,
    ) -> Self {
        let limiter = Self(Arc::new(Inner {
            credential,
            vendor,
            line: Mutex::default(),
            pace: Mutex::new(Pace::new(limits.per_minute, limits.burst)),
            turns: OnceLock::new(),
            closing: Mutex::default(),
            clock: Clock::default(),
            watched: AtomicBool::new(false),
            wake,
            observer,
        }));
        limiter.limit(limits);
        limiter
    }

    /// Other bounds from now on; who waits, what went out and until when it is closed stay as they are.
    pub fn limit(&self, limits: Limits) {
        // A burst of the whole minute would let the next call wait for the rest of it.
        let burst = limits.burst.min(limits.per_minute.div_ceil(2));
        lock(&self.0.pace).limit(limits.per_minute, burst);
        let mut line = lock(&self.0.line);
        line.limit(limits.concurrency);
        self.0.invite(&mut line);
    }

    /// Turns for calls with a pace of their own beside the gate's, made once: they outlive every connection.
    pub fn turns(&self, make: impl FnOnce() -> Turns) -> Arc<Turns> {
        self.0.turns.get_or_init(|| Arc::new(make())).clone()
    }

    /// The vendor's clock, which every answer sets.
    #[must_use]
    pub fn clock(&self) -> &Clock {
        &self.0.clock
    }

    /// A place for `object`, or `None`: it is parked and will be woken.
    #[must_use]
    pub fn try_enter(&self, priority: Priority, object: &ObjectKey) -> Option<Permit> {
        let mut line = lock(&self.0.line);
        if line.enter(priority, object, Instant::now()) {
            return Some(Permit(self.0.clone()));
        }
        self.0.invite(&mut line);
        None
    }

    /// `object` wants no place any more, invited or parked: the next one's turn.
    pub fn leave(&self, object: &ObjectKey) {
        let mut line = lock(&self.0.line);
        line.leave(object);
        self.0.invite(&mut line);
    }

    /// A place for a task that can wait.
    pub async fn enter(&self, priority: Priority) -> Option<Permit> {
        let (sender, receiver) = oneshot::channel();
        {
            let mut line = lock(&self.0.line);
            line.queue(priority, sender, Instant::now());
            self.0.invite(&mut line);
        }
        receiver.await.ok()
    }

    /// Waits for the rate to allow one more call.
    ///
    /// Errors: `RateLimited` while the gate is closed; the caller comes back at `retry_at`.
    pub async fn call(&self) -> Result<(), ProviderError> {
        self.open()?;
        keep(&self.0.pace).await;
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
        lock(&self.0.closing).until.filter(|until| *until > Timestamp::now())
    }

    /// Closes the gate until the time the vendor named, and with back-off from 2 s to 5 min at least; until when it is closed.
    /// Its credential is woken, to keep that time where it outlives the process.
    pub fn close(&self, named: Option<Timestamp>) -> Timestamp {
        let mut closing = lock(&self.0.closing);
        let before = closing.until.map(full_second);
        let until = closing.close(named, Timestamp::now());
        if closing.until.map(full_second) != before {
            // The receiver lives as long as the process.
            let _ = self.0.wake.send(self.0.credential.clone());
        }
        until
    }

    /// The full second to come before which no process shall call, if any.
    #[must_use]
    pub fn kept(&self) -> Option<Timestamp> {
        self.closed_until().map(full_second)
    }

    /// Takes over the time until which the gate of a process before this one was closed.
    pub fn resume(&self, kept: Option<Timestamp>) {
        let kept = to_come(kept);
        let mut closing = lock(&self.0.closing);
        closing.until = closing.until.max(kept);
    }

    /// How many objects wait for a new account.
    #[must_use]
    pub fn waiting_for_new(&self) -> usize {
        lock(&self.0.line).waiting(Priority::New)
    }
}

/// Until when a gate is closed, and how many refusals in a row led there.
#[derive(Default)]
struct Closing {
    until: Option<Timestamp>,
    refusals: u32,
}

impl Closing {
    /// A refusal is one more in a row if the last closing ended less than its back-off ago: calls that went well in between
    /// say little where a vendor counts calls. Those that were under way when it closed are no further refusals.
    fn close(&mut self, named: Option<Timestamp>, now: Timestamp) -> Timestamp {
        self.refusals = match self.until {
            Some(until) if now < until => self.refusals,
            Some(until) if now < until + backoff(self.refusals) => self.refusals + 1,
            _ => 1,
        };
        let until = (now + backoff(self.refusals)).max(named.unwrap_or(now)).min(now + LONGEST_CLOSING);
        *self.until.insert(self.until.map_or(until, |before| before.max(until)))
    }
}

/// A time that is still to come; one that is further away than a closing may last, rounded up, is a broken clock's.
#[must_use]
pub fn to_come(time: Option<Timestamp>) -> Option<Timestamp> {
    let now = Timestamp::now();
    time.filter(|time| now < *time && *time <= now + LONGEST_CLOSING + FIRST)
}

/// The first full second not before `time`: calls that are refused at the same moment are told the same.
fn full_second(time: Timestamp) -> Timestamp {
    let begun = i64::from(time.subsec_nanosecond() > 0);
    Timestamp::from_second(time.as_second() + begun).unwrap_or(time)
}

/// From 2 s to 256 s.
fn backoff(refusals: u32) -> SignedDuration {
    FIRST * (1 << refusals.clamp(1, 8).saturating_sub(1))
}

fn lock<T>(mutex: &Mutex<T>) -> MutexGuard<'_, T> {
    mutex.lock().unwrap_or_else(PoisonError::into_inner)
}

impl Inner {
    /// Invites as many as there is room for.
    fn invite(self: &Arc<Self>, line: &mut Line) {
        while let Some((priority, Waiting { since, who })) = line.next(Instant::now()) {
            match who {
                Who::Object(object) => {
                    line.invite(object.clone(), Instant::now());
                    // The receiver lives as long as the process; without it nobody needs waking.
                    let _ = self.wake.send(object);
                }
                Who::Task(task) => {
                    line.let_in();
                    if let Err(permit) = task.send(Permit(self.clone())) {
                        // Nobody waits any more; forgetting the permit avoids locking the line twice.
                        line.let_out();
                        std::mem::forget(permit);
                        continue;
                    }
                }
            }
            self.observer.limiter_waited(self.vendor, priority.into(), since.elapsed());
        }
        self.watch(line);
    }

    /// Sees to it that the place of a guest who does not come goes to the next, even if nobody else comes by.
    fn watch(self: &Arc<Self>, line: &Line) {
        // Without a runtime the process ends.
        let Ok(runtime) = Handle::try_current() else { return };
        if line.expects_guests() && !self.watched.swap(true, Ordering::Relaxed) {
            runtime.spawn(look_after(Arc::downgrade(self)));
        }
    }
}

/// Looks every now and then whether guests are late, as long as any are expected and the gate is there.
async fn look_after(limiter: Weak<Inner>) {
    loop {
        tokio::time::sleep(INVITATION).await;
        let Some(limiter) = limiter.upgrade() else { return };
        let mut line = lock(&limiter.line);
        limiter.invite(&mut line);
        if !line.expects_guests() {
            limiter.watched.store(false, Ordering::Relaxed);
            return;
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::api::Kind;
    use crate::providers::NoMetrics;

    fn limiter(concurrency: u32) -> (Limiter, mpsc::UnboundedReceiver<ObjectKey>) {
        let (wake, woken) = mpsc::unbounded_channel();
        let limits = Limits { per_minute: 60_000, burst: 100, concurrency };
        let credential = ObjectKey::new(Kind::Credential, "identity", "main");
        (Limiter::new(credential, Vendor::Pegasus, limits, wake, Arc::new(NoMetrics)), woken)
    }

    fn user(name: &str) -> ObjectKey {
        ObjectKey::new(Kind::User, "identity", name)
    }

    #[tokio::test]
    async fn who_finds_no_room_is_woken_and_then_goes_before_newcomers() {
        let (limiter, mut woken) = limiter(1);
        let first = limiter.try_enter(Priority::New, &user("first")).unwrap();
        assert!(limiter.try_enter(Priority::New, &user("second")).is_none());
        assert!(woken.try_recv().is_err(), "nobody is woken while there is no room");
        drop(first);
        assert_eq!(woken.recv().await, Some(user("second")));
        assert!(limiter.try_enter(Priority::New, &user("third")).is_none(), "the place is kept for who was woken");
        assert!(limiter.try_enter(Priority::New, &user("second")).is_some());
    }

    #[tokio::test]
    async fn edits_go_before_new_accounts_and_these_before_sweeps() {
        let (limiter, mut woken) = limiter(1);
        let inside = limiter.try_enter(Priority::Edit, &user("inside")).unwrap();
        for (priority, name) in [(Priority::Background, "sweep"), (Priority::New, "new"), (Priority::Edit, "edit")] {
            assert!(limiter.try_enter(priority, &user(name)).is_none());
        }
        drop(inside);
        for name in ["edit", "new", "sweep"] {
            assert_eq!(woken.recv().await, Some(user(name)));
            drop(limiter.try_enter(Priority::Edit, &user(name)).unwrap());
        }
    }

    #[tokio::test(start_paused = true)]
    async fn the_place_of_a_guest_who_does_not_come_goes_to_a_task_that_waits() {
        let (limiter, mut woken) = limiter(1);
        let inside = limiter.try_enter(Priority::Edit, &user("inside")).unwrap();
        assert!(limiter.try_enter(Priority::Edit, &user("gone")).is_none());
        drop(inside);
        assert_eq!(woken.recv().await, Some(user("gone")));
        let entered = tokio::time::timeout(3 * INVITATION, limiter.enter(Priority::Background)).await;
        assert!(entered.is_ok_and(|permit| permit.is_some()));
    }

    #[tokio::test]
    async fn who_leaves_gives_up_his_invitation_and_his_place_in_the_line() {
        let (limiter, mut woken) = limiter(1);
        let inside = limiter.try_enter(Priority::Edit, &user("inside")).unwrap();
        for name in ["invited", "parked", "patient"] {
            assert!(limiter.try_enter(Priority::New, &user(name)).is_none());
        }
        limiter.leave(&user("parked"));
        assert_eq!(limiter.waiting_for_new(), 2);
        drop(inside);
        assert_eq!(woken.recv().await, Some(user("invited")));
        limiter.leave(&user("invited"));
        assert_eq!(woken.recv().await, Some(user("patient")));
    }

    #[tokio::test]
    async fn other_bounds_keep_the_line_and_the_closing() {
        let (limiter, mut woken) = limiter(1);
        let _inside = limiter.try_enter(Priority::Edit, &user("inside")).unwrap();
        assert!(limiter.try_enter(Priority::Edit, &user("second")).is_none());
        let until = limiter.close(None);
        assert_eq!(woken.recv().await, Some(ObjectKey::new(Kind::Credential, "identity", "main")));
        limiter.limit(Limits { per_minute: 60, burst: 10, concurrency: 2 });
        assert_eq!(woken.recv().await, Some(user("second")));
        assert_eq!(limiter.closed_until(), Some(until));
    }

    #[tokio::test]
    async fn a_closed_gate_lets_no_call_through_and_says_until_when() {
        let (limiter, _woken) = limiter(1);
        let until = limiter.close(Some(Timestamp::now() + SignedDuration::from_mins(1)));
        let refused = limiter.call().await.unwrap_err();
        assert_eq!(refused.retry_at, Some(until));
        assert_eq!(limiter.close(None), until, "a shorter closing does not open it sooner");
        assert_eq!(limiter.closed_until(), Some(until));
    }

    #[tokio::test]
    async fn until_when_it_is_closed_is_told_to_the_credential_and_closes_the_next_gate() {
        let (told, mut woken) = limiter(1);
        let until = told.close(None);
        assert_eq!(woken.recv().await, Some(ObjectKey::new(Kind::Credential, "identity", "main")));
        assert_eq!(told.kept(), Some(full_second(until)), "a vendor that names no time wants to be left alone, too");
        let named = full_second(Timestamp::now() + SignedDuration::from_mins(1));
        told.close(Some(named));
        assert_eq!(woken.recv().await, Some(ObjectKey::new(Kind::Credential, "identity", "main")));
        assert_eq!(told.kept(), Some(named));
        let (next, _woken) = limiter(1);
        next.resume(told.kept());
        assert_eq!((next.closed_until(), next.kept()), (Some(named), Some(named)));
        let (sound, _woken) = limiter(1);
        sound.resume(Some(Timestamp::now() + LONGEST_CLOSING + FIRST + FIRST));
        assert_eq!(sound.closed_until(), None, "a clock was wrong");
    }

    #[test]
    fn refusals_in_a_row_close_it_longer_each_time_even_if_they_name_a_time() {
        let (mut closing, mut now, mut waits) = (Closing::default(), Timestamp::UNIX_EPOCH, Vec::new());
        for named in [None, Some(now), None, Some(now + SignedDuration::from_secs(7))] {
            let until = closing.close(named, now);
            waits.push(until.duration_since(now).as_secs());
            now = until;
        }
        assert_eq!(waits, [2, 4, 8, 16]);
    }

    #[test]
    fn refusals_of_calls_under_way_or_after_a_calm_time_are_not_in_a_row() {
        let (mut closing, now) = (Closing::default(), Timestamp::UNIX_EPOCH);
        let until = closing.close(None, now);
        assert_eq!(closing.close(None, now), until);
        let later = until + FIRST;
        assert_eq!(closing.close(None, later), later + FIRST);
    }
}
