//! The limiter of one credential: it bounds rate, burst and concurrency of all calls to the vendor, and closes until the time
//! that the vendor named.
//!
//! An object that gets no permit is queued and enqueued through a channel, so it holds no reconcile slot while it waits, neither for a
//! permit nor for the rate. Its further calls may wait for the rate in the slot, because it would lose what it has read; no other
//! object gets a permit before they are sent, so that at a low rate one object of a credential waits that way.

use std::sync::{Arc, Weak};

use http::Extensions;
use jiff::{SignedDuration, Timestamp};
use parking_lot::Mutex;
use tokio::runtime::Handle;
use tokio::sync::{mpsc, oneshot};
use tokio::time::Instant;

use super::clock::Clock;
use super::error::ProviderError;
use super::observer::Observer;
use super::queue::{Priority, Queue, Waiter, Waiting};
use super::rate_limit::RateLimit;
use crate::api::{ObjectKey, Vendor};
use crate::plan::Limits;

/// The back-off after a first refusal; it doubles with each further one.
const FIRST_BACKOFF: SignedDuration = SignedDuration::from_secs(2);
/// The longest time for which a vendor can close a limiter; a longer one comes from a wrong clock.
pub const MAX_CLOSED: SignedDuration = SignedDuration::from_hours(24);

tokio::task_local! {
    /// The priority with which each call of this future gets a permit of its own; `None`: the calls need none, or have one.
    static EACH_CALL: Option<Priority>;
}

/// Bounds the calls of one credential; cheap to clone.
#[derive(Clone)]
pub struct Limiter(Arc<Inner>);

struct Inner {
    credential: ObjectKey,
    vendor: Vendor,
    queue: Mutex<Queue>,
    extensions: Mutex<Extensions>,
    closing: Mutex<Closing>,
    clock: Clock,
    wake: mpsc::UnboundedSender<ObjectKey>,
    observer: Arc<dyn Observer>,
}

/// The right to make calls, one at a time; dropping it gives it back. It is empty once it was given back.
pub struct Permit {
    limiter: Option<Arc<Inner>>,
    priority: Priority,
}

impl Drop for Permit {
    fn drop(&mut self) {
        let Some(limiter) = self.limiter.take() else { return };
        let mut queue = limiter.queue.lock();
        queue.release(self.priority);
        limiter.serve(&mut queue);
    }
}

/// A call that waits for the rate limit.
struct Delay<'a>(&'a Arc<Inner>);

impl Drop for Delay<'_> {
    fn drop(&mut self) {
        let mut queue = self.0.queue.lock();
        queue.end_delay();
        self.0.serve(&mut queue);
    }
}

impl Limiter {
    /// The limiter of `credential` with these bounds; it wakes queued objects through `wake`.
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
            queue: Mutex::new(Queue::new(RateLimit::new(limits.per_minute, limits.burst))),
            extensions: Mutex::default(),
            closing: Mutex::default(),
            clock: Clock::default(),
            wake,
            observer,
        }));
        limiter.set_limits(limits);
        limiter
    }

    /// Changes the bounds; the queue, the calls counted so far and the closing stay.
    pub fn set_limits(&self, limits: Limits) {
        // A burst of the whole minute would make the next call wait for the rest of that minute.
        let burst = limits.burst.min(limits.per_minute.div_ceil(2));
        let mut queue = self.0.queue.lock();
        queue.set_bounds(limits.concurrency, limits.per_minute, burst);
        self.0.serve(&mut queue);
    }

    /// A vendor's own limiter state, one value per type, made by `make` on first use. It outlives every connection, because a
    /// vendor counts on when the Secret is rotated.
    pub fn extension<T: Clone + Send + Sync + 'static>(&self, make: impl FnOnce() -> T) -> T {
        self.0.extensions.lock().get_or_insert_with(make).clone()
    }

    /// The vendor's clock, set by every answer.
    #[must_use]
    pub fn clock(&self) -> &Clock {
        &self.0.clock
    }

    /// A permit for `object`, whose first call can go within a second; `None` queues it, and it is enqueued when there is one.
    #[must_use]
    pub fn try_acquire(&self, priority: Priority, object: &ObjectKey) -> Option<Permit> {
        let mut queue = self.0.queue.lock();
        if queue.try_acquire(priority, object, Instant::now()) {
            return Some(Permit { limiter: Some(self.0.clone()), priority });
        }
        self.0.serve(&mut queue);
        None
    }

    /// Removes `object` from the queue and drops its reservation, if it has one.
    pub fn cancel(&self, object: &ObjectKey) {
        let mut queue = self.0.queue.lock();
        queue.cancel(object);
        self.0.serve(&mut queue);
    }

    /// Waits for a permit, for a task that belongs to no object. `None` cannot happen while the limiter exists.
    pub async fn acquire(&self, priority: Priority) -> Option<Permit> {
        let (sender, receiver) = oneshot::channel();
        {
            let mut queue = self.0.queue.lock();
            queue.push_task(priority, sender, Instant::now());
            self.0.serve(&mut queue);
        }
        receiver.await.ok()
    }

    /// Runs `calls`, each of which gets a permit of its own with `priority`, so that objects of a higher priority go in between.
    pub async fn each<T>(priority: Priority, calls: impl Future<Output = T>) -> T {
        EACH_CALL.scope(Some(priority), calls).await
    }

    /// Runs `calls` without permits of their own, also within [`Limiter::each`]: those for which another call with a permit may wait.
    pub async fn beside<T>(calls: impl Future<Output = T>) -> T {
        EACH_CALL.scope(None, calls).await
    }

    /// Waits until the rate limit allows one more call, and counts it. Within [`Limiter::each`] it waits for a permit first; that is to
    /// be held until the call has ended.
    ///
    /// Errors: `RateLimited` with `retry_at` while the limiter is closed.
    pub async fn until_ready(&self) -> Result<Option<Permit>, ProviderError> {
        self.ensure_open()?;
        let permit = match EACH_CALL.try_with(|priority| *priority).ok().flatten() {
            Some(priority) => self.acquire(priority).await,
            None => None,
        };
        self.0.queue.lock().keep_promise();
        self.until_rate().await;
        self.ensure_open()?;
        Ok(permit)
    }

    /// Waits until the rate limit allows one more call, and counts it.
    async fn until_rate(&self) {
        let mut delay = None;
        loop {
            let taken = self.0.queue.lock().try_call(Instant::now());
            let Err(earliest) = taken else { return };
            delay.get_or_insert_with(|| self.0.delay());
            tokio::time::sleep_until(earliest).await;
        }
    }

    /// Errors: `RateLimited` with `retry_at` while the limiter is closed.
    pub fn ensure_open(&self) -> Result<(), ProviderError> {
        match self.closed_until() {
            Some(until) => Err(ProviderError::rate_limited(
                format!("{} is rate limiting us; calls resume at {until:.0}", self.0.vendor.title()),
                Some(until),
            )),
            None => Ok(()),
        }
    }

    /// When the limiter opens; `None` if it is open.
    #[must_use]
    pub fn closed_until(&self) -> Option<Timestamp> {
        self.0.closing.lock().until.filter(|until| *until > Timestamp::now())
    }

    /// Closes the limiter until the later of the time that the vendor `named` and the back-off (2 s to 256 s); returns when it
    /// opens. Wakes the credential if that time changed, because the credential's status keeps it past a restart.
    pub fn close(&self, named: Option<Timestamp>) -> Timestamp {
        let mut closing = self.0.closing.lock();
        let before = closing.until.map(full_second);
        let until = closing.close(named, Timestamp::now());
        if closing.until.map(full_second) != before {
            // The receiver lives as long as the process.
            let _ = self.0.wake.send(self.0.credential.clone());
        }
        until
    }

    /// When the limiter opens, rounded up to a full second, for status; `None` if it is open.
    #[must_use]
    pub fn closed_until_second(&self) -> Option<Timestamp> {
        self.closed_until().map(full_second)
    }

    /// Closes the limiter until the time that status kept past a restart.
    pub fn restore(&self, closed_until: Option<Timestamp>) {
        let kept = credible_closing(closed_until);
        let mut closing = self.0.closing.lock();
        closing.until = closing.until.max(kept);
    }

    /// The number of objects that wait for a permit to create their account.
    #[must_use]
    pub fn queued_creates(&self) -> usize {
        self.0.queue.lock().waiting(Priority::New)
    }
}

/// When a limiter opens, and the number of refusals in a row that closed it.
#[derive(Default)]
struct Closing {
    until: Option<Timestamp>,
    refusals: u32,
}

impl Closing {
    /// A refusal continues the row if the last closing ended less than its back-off ago: calls that succeeded in between prove
    /// little where a vendor counts calls. Refusals of calls that were in flight when the limiter closed do not count.
    fn close(&mut self, named: Option<Timestamp>, now: Timestamp) -> Timestamp {
        self.refusals = match self.until {
            Some(until) if now < until => self.refusals,
            Some(until) if now < until + backoff(self.refusals) => self.refusals + 1,
            _ => 1,
        };
        let until = (now + backoff(self.refusals)).max(named.unwrap_or(now)).min(now + MAX_CLOSED);
        *self.until.insert(self.until.map_or(until, |before| before.max(until)))
    }
}

/// `time` if it is in the future and no further away than a closing can last, rounded up; a later one comes from a wrong clock.
#[must_use]
pub fn credible_closing(time: Option<Timestamp>) -> Option<Timestamp> {
    let now = Timestamp::now();
    time.filter(|time| now < *time && *time <= now + MAX_CLOSED + FIRST_BACKOFF)
}

/// `time` rounded up to a full second, so that calls refused at the same moment report the same time.
fn full_second(time: Timestamp) -> Timestamp {
    let begun = i64::from(time.subsec_nanosecond() > 0);
    Timestamp::from_second(time.as_second() + begun).unwrap_or(time)
}

/// From 2 s to 256 s.
fn backoff(refusals: u32) -> SignedDuration {
    FIRST_BACKOFF * (1 << refusals.clamp(1, 8).saturating_sub(1))
}

impl Inner {
    /// Hands free permits to waiters: a task gets one, an object gets a reservation and is enqueued.
    fn serve(self: &Arc<Self>, queue: &mut Queue) {
        while let Some((priority, Waiting { since, waiter })) = queue.pop(Instant::now()) {
            match waiter {
                Waiter::Object(object) => {
                    queue.reserve(priority, object.clone(), Instant::now());
                    // The receiver lives as long as the process; without it no object needs waking.
                    let _ = self.wake.send(object);
                }
                Waiter::Task(task) => {
                    queue.acquire(priority);
                    if let Err(mut permit) = task.send(Permit { limiter: Some(self.clone()), priority }) {
                        // The task was cancelled. The permit is emptied, because its drop would lock the queue twice.
                        permit.limiter = None;
                        queue.release(priority);
                        continue;
                    }
                }
            }
            self.observer.limiter_waited(self.vendor, priority.into(), since.elapsed());
        }
        self.set_alarm(queue);
    }

    /// Starts a task that serves the queue at its next event, unless one serves it sooner.
    fn set_alarm(self: &Arc<Self>, queue: &mut Queue) {
        // Without a runtime the process is ending.
        let Ok(runtime) = Handle::try_current() else { return };
        let Some(at) = queue.next_event(Instant::now()) else { return };
        if queue.alarm.is_none_or(|alarm| at < alarm) {
            queue.alarm = Some(at);
            runtime.spawn(serve_at(Arc::downgrade(self), at));
        }
    }

    /// Counts a call that waits for the rate limit, until it is dropped.
    fn delay(self: &Arc<Self>) -> Delay<'_> {
        self.queue.lock().begin_delay();
        Delay(self)
    }
}

/// Serves the queue at `at`, if the limiter exists then.
async fn serve_at(limiter: Weak<Inner>, at: Instant) {
    tokio::time::sleep_until(at).await;
    let Some(limiter) = limiter.upgrade() else { return };
    let mut queue = limiter.queue.lock();
    queue.alarm.take_if(|alarm| *alarm == at);
    limiter.serve(&mut queue);
}

#[cfg(test)]
mod tests {
    use std::time::Duration;

    use super::*;
    use crate::api::Kind;
    use crate::providers::NoMetrics;
    use crate::providers::queue::RESERVATION;

    fn limiter(concurrency: u32) -> (Limiter, mpsc::UnboundedReceiver<ObjectKey>) {
        let (wake, enqueued) = mpsc::unbounded_channel();
        let limits = Limits { per_minute: 60_000, burst: 100, concurrency };
        let credential = ObjectKey::new(Kind::Credential, "identity", "main");
        (Limiter::new(credential, Vendor::Pegasus, limits, wake, Arc::new(NoMetrics)), enqueued)
    }

    fn user(name: &str) -> ObjectKey {
        ObjectKey::new(Kind::User, "identity", name)
    }

    #[tokio::test]
    async fn an_object_without_a_permit_is_enqueued_and_then_goes_before_newcomers() {
        let (limiter, mut enqueued) = limiter(1);
        let first = limiter.try_acquire(Priority::New, &user("first")).unwrap();
        assert!(limiter.try_acquire(Priority::New, &user("second")).is_none());
        assert!(enqueued.try_recv().is_err(), "no object is enqueued while no permit is free");
        drop(first);
        assert_eq!(enqueued.recv().await, Some(user("second")));
        assert!(
            limiter.try_acquire(Priority::New, &user("third")).is_none(),
            "the permit is reserved for the enqueued object"
        );
        assert!(limiter.try_acquire(Priority::New, &user("second")).is_some());
    }

    #[tokio::test]
    async fn edits_go_before_new_accounts_and_these_before_sweeps() {
        let (limiter, mut enqueued) = limiter(1);
        let inside = limiter.try_acquire(Priority::Edit, &user("inside")).unwrap();
        for (priority, name) in [(Priority::Background, "sweep"), (Priority::New, "new"), (Priority::Edit, "edit")] {
            assert!(limiter.try_acquire(priority, &user(name)).is_none());
        }
        drop(inside);
        for name in ["edit", "new", "sweep"] {
            assert_eq!(enqueued.recv().await, Some(user(name)));
            drop(limiter.try_acquire(Priority::Edit, &user(name)).unwrap());
        }
    }

    #[tokio::test(start_paused = true)]
    async fn an_expired_reservation_goes_to_a_waiting_task() {
        let (limiter, mut enqueued) = limiter(1);
        let inside = limiter.try_acquire(Priority::Edit, &user("inside")).unwrap();
        assert!(limiter.try_acquire(Priority::Edit, &user("gone")).is_none());
        drop(inside);
        assert_eq!(enqueued.recv().await, Some(user("gone")));
        let acquired = tokio::time::timeout(3 * RESERVATION, limiter.acquire(Priority::Background)).await;
        assert!(acquired.is_ok_and(|permit| permit.is_some()));
    }

    #[tokio::test]
    async fn a_cancelled_object_gives_up_its_reservation_and_its_place_in_the_queue() {
        let (limiter, mut enqueued) = limiter(1);
        let inside = limiter.try_acquire(Priority::Edit, &user("inside")).unwrap();
        for name in ["reserved", "queued", "next"] {
            assert!(limiter.try_acquire(Priority::New, &user(name)).is_none());
        }
        limiter.cancel(&user("queued"));
        assert_eq!(limiter.queued_creates(), 2);
        drop(inside);
        assert_eq!(enqueued.recv().await, Some(user("reserved")));
        limiter.cancel(&user("reserved"));
        assert_eq!(enqueued.recv().await, Some(user("next")));
    }

    #[tokio::test]
    async fn a_cancelled_task_keeps_neither_a_permit_nor_the_limiter() {
        let (limiter, _enqueued) = limiter(1);
        let permit = limiter.try_acquire(Priority::Edit, &user("first")).unwrap();
        let cancelled = tokio::time::timeout(Duration::ZERO, limiter.acquire(Priority::Background)).await;
        assert!(cancelled.is_err());
        drop(permit);
        drop(limiter.try_acquire(Priority::Edit, &user("second")).expect("the permit is free again"));
        let inner = Arc::downgrade(&limiter.0);
        drop(limiter);
        assert!(inner.upgrade().is_none(), "the limiter is freed");
    }

    #[tokio::test(start_paused = true)]
    async fn an_object_that_would_wait_for_the_rate_is_queued_and_enqueued_in_time() {
        let (limiter, mut enqueued) = limiter(256);
        limiter.set_limits(Limits { per_minute: 1, burst: 1, concurrency: 256 });
        let begun = Instant::now();
        let first = limiter.try_acquire(Priority::New, &user("first")).unwrap();
        limiter.until_ready().await.ok().unwrap();
        assert!(limiter.try_acquire(Priority::New, &user("new")).is_none());
        assert!(limiter.try_acquire(Priority::Edit, &user("edit")).is_none());
        // The second call of the first object goes before both.
        limiter.until_ready().await.ok().unwrap();
        assert_eq!((begun.elapsed().as_secs(), enqueued.try_recv().is_err()), (61, true));
        drop(first);
        for (name, calls) in [("edit", 2), ("new", 3)] {
            assert_eq!(enqueued.recv().await, Some(user(name)));
            let permit = limiter.try_acquire(Priority::New, &user(name)).unwrap();
            let promised = Instant::now();
            limiter.until_ready().await.ok().unwrap();
            assert!(promised.elapsed() <= Duration::from_secs(1));
            assert_eq!(begun.elapsed().as_secs(), calls * 61);
            drop(permit);
        }
    }

    #[tokio::test]
    async fn each_call_of_a_sweep_lets_edits_go_first() {
        let (limiter, mut enqueued) = limiter(1);
        let inside = limiter.try_acquire(Priority::Edit, &user("inside")).unwrap();
        let sweep = tokio::spawn({
            let limiter = limiter.clone();
            Limiter::each(Priority::Background, async move {
                let first = limiter.until_ready().await.ok().unwrap();
                // A log-in within a call makes another one without a permit.
                assert!(Limiter::beside(limiter.until_ready()).await.ok().unwrap().is_none());
                assert!(first.is_some());
                drop(first);
                limiter.until_ready().await.ok().unwrap().is_some()
            })
        });
        tokio::task::yield_now().await;
        assert!(limiter.try_acquire(Priority::Edit, &user("edit")).is_none());
        drop(inside);
        assert_eq!(enqueued.recv().await, Some(user("edit")));
        assert!(!sweep.is_finished(), "the sweep waits for the edit");
        drop(limiter.try_acquire(Priority::Edit, &user("edit")).unwrap());
        assert!(sweep.await.unwrap());
    }

    #[tokio::test]
    async fn changed_limits_keep_the_queue_and_the_closing() {
        let (limiter, mut enqueued) = limiter(1);
        let _inside = limiter.try_acquire(Priority::Edit, &user("inside")).unwrap();
        assert!(limiter.try_acquire(Priority::Edit, &user("second")).is_none());
        let until = limiter.close(None);
        assert_eq!(enqueued.recv().await, Some(ObjectKey::new(Kind::Credential, "identity", "main")));
        limiter.set_limits(Limits { per_minute: 60, burst: 10, concurrency: 2 });
        assert_eq!(enqueued.recv().await, Some(user("second")));
        assert_eq!(limiter.closed_until(), Some(until));
    }

    #[tokio::test]
    async fn a_closed_limiter_refuses_calls_and_reports_when_it_opens() {
        let (limiter, _enqueued) = limiter(1);
        let until = limiter.close(Some(Timestamp::now() + SignedDuration::from_mins(1)));
        let refused = limiter.until_ready().await.err().unwrap();
        assert_eq!(refused.retry_at, Some(until));
        assert_eq!(limiter.close(None), until, "a shorter closing opens it no sooner");
        assert_eq!(limiter.closed_until(), Some(until));
    }

    #[tokio::test]
    async fn a_closing_wakes_the_credential_and_is_restored_after_a_restart() {
        let (before, mut enqueued) = limiter(1);
        let until = before.close(None);
        assert_eq!(enqueued.recv().await, Some(ObjectKey::new(Kind::Credential, "identity", "main")));
        assert_eq!(
            before.closed_until_second(),
            Some(full_second(until)),
            "a closing without a named time is kept, too"
        );
        let named = full_second(Timestamp::now() + SignedDuration::from_mins(1));
        before.close(Some(named));
        assert_eq!(enqueued.recv().await, Some(ObjectKey::new(Kind::Credential, "identity", "main")));
        assert_eq!(before.closed_until_second(), Some(named));
        let (after, _enqueued) = limiter(1);
        after.restore(before.closed_until_second());
        assert_eq!((after.closed_until(), after.closed_until_second()), (Some(named), Some(named)));
        let (sound, _enqueued) = limiter(1);
        sound.restore(Some(Timestamp::now() + MAX_CLOSED + FIRST_BACKOFF + FIRST_BACKOFF));
        assert_eq!(sound.closed_until(), None, "a time this far away comes from a wrong clock");
    }

    #[test]
    fn refusals_in_a_row_double_the_closing_even_if_they_name_a_time() {
        let (mut closing, mut now, mut waits) = (Closing::default(), Timestamp::UNIX_EPOCH, Vec::new());
        for named in [None, Some(now), None, Some(now + SignedDuration::from_secs(7))] {
            let until = closing.close(named, now);
            waits.push(until.duration_since(now).as_secs());
            now = until;
        }
        assert_eq!(waits, [2, 4, 8, 16]);
    }

    #[test]
    fn refusals_of_calls_in_flight_and_after_a_quiet_time_do_not_count_as_in_a_row() {
        let (mut closing, now) = (Closing::default(), Timestamp::UNIX_EPOCH);
        let until = closing.close(None, now);
        assert_eq!(closing.close(None, now), until);
        let later = until + FIRST_BACKOFF;
        assert_eq!(closing.close(None, later), later + FIRST_BACKOFF);
    }
}
