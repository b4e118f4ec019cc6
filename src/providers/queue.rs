//! The queue of a limiter: permits in use, reserved permits, calls that the rate limit counts, and waiters by priority. It wakes no
//! waiter itself.

use std::collections::HashMap;
use std::time::Duration;

use tokio::sync::oneshot;
use tokio::time::Instant;

use super::limiter::Permit;
use super::rate_limit::RateLimit;
use crate::api::ObjectKey;
use crate::plan::Turns;

/// How long a permit stays reserved for an object that was enqueued; afterwards the next waiter gets it.
pub const RESERVATION: Duration = Duration::from_secs(5);
/// A permit is given only if the rate limit allows its first call within this time, because an object waits in a reconcile slot for it.
pub const PROMPT: Duration = Duration::from_secs(1);
/// One permit in this many goes to one of the two lower priorities first, in turn, so that neither of them starves.
const LOWER_FIRST: u32 = 8;

/// The order in which waiters get permits.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash, PartialOrd, Ord, strum::Display, strum::IntoStaticStr)]
#[strum(serialize_all = "lowercase")]
pub enum Priority {
    /// Changes and removals of existing accounts.
    Edit,
    /// New accounts.
    New,
    /// Sweeps and checks.
    Background,
}

impl Priority {
    /// Whether one permit stays free of this priority, so that an edit or removal need not wait for calls that take long.
    fn is_lower(self) -> bool {
        self != Self::Edit
    }
}

/// Permits in use, reservations, counted calls and waiters.
pub struct Queue {
    permits: usize,
    acquired: usize,
    /// How many of the acquired permits are of a lower priority.
    acquired_lower: usize,
    reserved: HashMap<ObjectKey, (Priority, Instant)>,
    /// Per priority, by namespace and ticket: namespaces take turns, each with its oldest waiter first. Tasks have a line of their own.
    waiting: [Turns<String, u64, Waiting>; 3],
    /// The priority and the ticket of each queued object.
    tickets: HashMap<ObjectKey, (Priority, u64)>,
    last_ticket: u64,
    served: u32,
    rate_limit: RateLimit,
    /// The acquired and reserved permits whose first call is still to come.
    promised: usize,
    /// The calls under a permit that wait for the rate limit.
    delayed: usize,
    /// When the queue is served next without another reason.
    pub alarm: Option<Instant>,
}

/// One entry of the queue.
pub struct Waiting {
    /// When the waiter was queued.
    pub since: Instant,
    /// The waiter.
    pub waiter: Waiter,
}

/// What waits for a permit.
pub enum Waiter {
    /// An object: it is enqueued through a channel, and its reconcile asks again.
    Object(ObjectKey),
    /// A task: it gets its permit through this sender.
    Task(oneshot::Sender<Permit>),
}

impl Queue {
    /// An empty queue under `rate_limit`, with one permit.
    pub fn new(rate_limit: RateLimit) -> Self {
        Self {
            permits: 1,
            acquired: 0,
            acquired_lower: 0,
            reserved: HashMap::new(),
            waiting: std::array::from_fn(|_| Turns::default()),
            tickets: HashMap::new(),
            last_ticket: 0,
            served: 0,
            rate_limit,
            promised: 0,
            delayed: 0,
            alarm: None,
        }
    }

    /// Sets the bounds: the number of permits, at least 1, and those of the rate limit.
    pub fn set_bounds(&mut self, permits: u32, per_minute: u32, burst: u32) {
        self.permits = permits.max(1) as usize;
        self.rate_limit.set_bounds(per_minute, burst);
    }

    /// Takes a permit for `object` if one is reserved for it, or if one is free, its first call can go promptly, and no waiter of this
    /// or a higher priority is queued; queues it otherwise. Returns whether it took one.
    pub fn try_acquire(&mut self, priority: Priority, object: &ObjectKey, now: Instant) -> bool {
        self.expire_reservations(now);
        if self.reserved.contains_key(object) {
            self.cancel(object);
            self.acquire(priority);
            return true;
        }
        let is_first = self.waiting[..=priority as usize].iter().all(Turns::is_empty);
        if is_first && self.has_free(priority) && self.is_prompt(now) {
            self.cancel(object);
            self.acquire(priority);
            return true;
        }
        self.push_object(priority, object, now);
        false
    }

    /// Takes a permit for the task that `pop` returned.
    pub fn acquire(&mut self, priority: Priority) {
        self.acquired += 1;
        self.acquired_lower += usize::from(priority.is_lower());
        self.promised += 1;
    }

    /// Gives one permit back.
    pub fn release(&mut self, priority: Priority) {
        self.acquired -= 1;
        self.acquired_lower -= usize::from(priority.is_lower());
        self.promised = self.promised.min(self.acquired + self.reserved.len());
    }

    /// Queues a task.
    pub fn push_task(&mut self, priority: Priority, task: oneshot::Sender<Permit>, now: Instant) {
        self.push(priority, String::new(), Waiting { since: now, waiter: Waiter::Task(task) });
    }

    /// Reserves a permit for `object`, which is being enqueued.
    pub fn reserve(&mut self, priority: Priority, object: ObjectKey, now: Instant) {
        self.promised += 1;
        self.reserved.insert(object, (priority, now));
    }

    /// Removes `object` and its reservation.
    pub fn cancel(&mut self, object: &ObjectKey) {
        if self.reserved.remove(object).is_some() {
            self.promised = self.promised.saturating_sub(1);
        }
        if let Some((priority, ticket)) = self.tickets.remove(object) {
            self.waiting[priority as usize].remove(&object.namespace, &ticket);
        }
    }

    /// Removes and returns the next waiter, if a permit is free for it and its first call can go promptly.
    pub fn pop(&mut self, now: Instant) -> Option<(Priority, Waiting)> {
        self.expire_reservations(now);
        if !self.is_prompt(now) {
            return None;
        }
        let free = self.order().into_iter().filter(|priority| self.has_free(*priority));
        let priority = free.into_iter().find(|priority| !self.waiting[*priority as usize].is_empty())?;
        let waiting = self.waiting[priority as usize].pop()?;
        self.served = self.served.wrapping_add(1);
        if let Waiter::Object(object) = &waiting.waiter {
            self.tickets.remove(object);
        }
        Some((priority, waiting))
    }

    /// When the queue has to be served again although nobody gives a permit back: a reservation ends, or the rate limit allows a waiter's
    /// call. `None`: only a permit that is given back can help.
    #[must_use]
    pub fn next_event(&self, now: Instant) -> Option<Instant> {
        let expiry = self.reserved.values().map(|(_, since)| *since + RESERVATION).min();
        let waits = |priority: &Priority| !self.waiting[*priority as usize].is_empty() && self.has_free(*priority);
        let is_served_by_rate = self.order().iter().any(waits);
        let by_rate = is_served_by_rate.then(|| self.first_call(now)).and_then(|at| at.checked_sub(PROMPT));
        [expiry, by_rate].into_iter().flatten().min()
    }

    /// Counts a call at `now`.
    ///
    /// Errors: the earliest time for the call; it is not counted.
    pub fn try_call(&mut self, now: Instant) -> Result<(), Instant> {
        self.rate_limit.try_take(now)
    }

    /// Notes that a permit's first call does not wait for its permit any more.
    pub fn keep_promise(&mut self) {
        self.promised = self.promised.saturating_sub(1);
    }

    /// Notes that one more call waits for the rate limit.
    pub fn begin_delay(&mut self) {
        self.delayed += 1;
    }

    /// Notes that one call waits for the rate limit no longer.
    pub fn end_delay(&mut self) {
        self.delayed -= 1;
    }

    /// The number of waiters with this priority.
    #[must_use]
    pub fn waiting(&self, priority: Priority) -> usize {
        self.waiting[priority as usize].len()
    }

    /// The priorities in the order in which the next permit is offered to them.
    fn order(&self) -> [Priority; 3] {
        let number = self.served.wrapping_add(1);
        if !number.is_multiple_of(LOWER_FIRST) {
            [Priority::Edit, Priority::New, Priority::Background]
        } else if number.is_multiple_of(2 * LOWER_FIRST) {
            [Priority::New, Priority::Background, Priority::Edit]
        } else {
            [Priority::Background, Priority::New, Priority::Edit]
        }
    }

    /// Whether a permit is free. Where there are several, the lower priorities together leave one to edits and removals.
    fn has_free(&self, priority: Priority) -> bool {
        let reserved_lower = self.reserved.values().filter(|(priority, _)| priority.is_lower()).count();
        let for_lower = self.permits.saturating_sub(1).max(1);
        let has_share = !priority.is_lower() || self.acquired_lower + reserved_lower < for_lower;
        has_share && self.acquired + self.reserved.len() < self.permits
    }

    /// Whether the first call of one more permit can go promptly.
    fn is_prompt(&self, now: Instant) -> bool {
        self.first_call(now) <= now + PROMPT
    }

    /// When the first call of one more permit can go. Calls under the permits that were given before go first.
    fn first_call(&self, now: Instant) -> Instant {
        let before = u32::try_from(self.promised + self.delayed).unwrap_or(u32::MAX);
        self.rate_limit.earliest(before.saturating_add(1), now)
    }

    /// An object that is queued with this priority already keeps its ticket.
    fn push_object(&mut self, priority: Priority, object: &ObjectKey, now: Instant) {
        if self.tickets.get(object).is_some_and(|(queued, _)| *queued == priority) {
            return;
        }
        self.cancel(object);
        let waiting = Waiting { since: now, waiter: Waiter::Object(object.clone()) };
        let ticket = self.push(priority, object.namespace.clone(), waiting);
        self.tickets.insert(object.clone(), (priority, ticket));
    }

    fn push(&mut self, priority: Priority, line: String, waiting: Waiting) -> u64 {
        self.last_ticket += 1;
        self.waiting[priority as usize].insert(line, self.last_ticket, waiting);
        self.last_ticket
    }

    fn expire_reservations(&mut self, now: Instant) {
        let before = self.reserved.len();
        self.reserved.retain(|_, (_, since)| now.duration_since(*since) < RESERVATION);
        self.promised = self.promised.saturating_sub(before - self.reserved.len());
    }
}

#[cfg(test)]
mod tests {
    use rstest::rstest;

    use super::*;
    use crate::api::Kind;

    /// A queue with these permits and this rate.
    fn queue(permits: u32, per_minute: u32, burst: u32) -> Queue {
        let mut queue = Queue::new(RateLimit::new(per_minute, burst));
        queue.set_bounds(permits, per_minute, burst);
        queue
    }

    fn user(name: &str) -> ObjectKey {
        ObjectKey::new(Kind::User, "identity", name)
    }

    /// The name of the object that is served next.
    fn next(queue: &mut Queue, now: Instant) -> Option<String> {
        match queue.pop(now)?.1.waiter {
            Waiter::Object(object) => Some(object.name),
            Waiter::Task(_) => None,
        }
    }

    #[test]
    fn no_priority_starves_while_waiters_of_others_keep_coming() {
        let (now, mut queue) = (Instant::now(), queue(1, 60_000, 1000));
        for number in 0..40 {
            for priority in [Priority::Edit, Priority::New, Priority::Background] {
                queue.push_object(priority, &user(&format!("{priority}{number}")), now);
            }
        }
        let served: Vec<Priority> = (0..32).map(|_| queue.pop(now).unwrap().0).collect();
        let count = |priority| served.iter().filter(|served| **served == priority).count();
        assert_eq!((count(Priority::Edit), count(Priority::New), count(Priority::Background)), (28, 2, 2));
    }

    #[test]
    fn an_object_that_is_queued_twice_has_one_entry_and_changes_its_priority() {
        let (now, mut queue) = (Instant::now(), queue(1, 60_000, 1000));
        for name in ["first", "second", "first"] {
            queue.push_object(Priority::New, &user(name), now);
        }
        queue.push_object(Priority::Edit, &user("second"), now);
        assert_eq!((queue.waiting(Priority::New), queue.waiting(Priority::Edit)), (1, 1));
    }

    #[test]
    fn namespaces_take_turns_within_a_priority() {
        let (now, mut queue) = (Instant::now(), queue(1, 60_000, 1000));
        (0..100).for_each(|number| queue.push_object(Priority::New, &user(&number.to_string()), now));
        queue.push_object(Priority::New, &ObjectKey::new(Kind::User, "other", "eve"), now);
        assert_eq!([next(&mut queue, now), next(&mut queue, now)], [Some("0".into()), Some("eve".into())]);
    }

    #[rstest]
    #[case::one_permit(1, 1)]
    #[case::several(4, 3)]
    fn new_accounts_and_sweeps_leave_a_permit_to_edits(#[case] permits: u32, #[case] taken: usize) {
        let (now, mut queue) = (Instant::now(), queue(permits, 60_000, 1000));
        let lower = [Priority::New, Priority::Background, Priority::New, Priority::New, Priority::Background];
        let take = |(number, priority): (usize, Priority), queue: &mut Queue| {
            queue.try_acquire(priority, &user(&number.to_string()), now)
        };
        assert_eq!(lower.into_iter().enumerate().filter(|asking| take(*asking, &mut queue)).count(), taken);
        assert_eq!(queue.try_acquire(Priority::Edit, &user("edit"), now), permits > 1);
    }

    #[test]
    fn a_permit_is_given_only_when_its_first_call_can_go_promptly() {
        let mut queue = queue(256, 1, 1);
        let start = Instant::now();
        let objects: Vec<ObjectKey> = (0..200).map(|number| user(&number.to_string())).collect();
        let take = |queue: &mut Queue, now| {
            objects.iter().filter(|object| queue.try_acquire(Priority::New, object, now)).count()
        };
        assert_eq!(take(&mut queue, start), 1, "one call a minute lets one object in");
        queue.keep_promise();
        assert_eq!(queue.try_call(start), Ok(()));
        // Its second call waits for the rate, and no other object comes before it.
        let second = queue.try_call(start).unwrap_err();
        queue.begin_delay();
        assert!(queue.pop(second).is_none());
        queue.end_delay();
        assert_eq!(queue.try_call(second), Ok(()));
        queue.release(Priority::New);
        let third = queue.next_event(second).unwrap();
        assert!(third > second && queue.pop(third - PROMPT).is_none());
        assert_eq!(next(&mut queue, third), Some("1".into()));
    }

    #[test]
    fn a_permit_that_is_given_back_unused_frees_its_place_at_the_rate() {
        let (now, mut queue) = (Instant::now(), queue(4, 1, 1));
        assert!(queue.try_acquire(Priority::Edit, &user("first"), now));
        assert!(!queue.try_acquire(Priority::Edit, &user("second"), now));
        queue.release(Priority::Edit);
        assert_eq!(next(&mut queue, now), Some("second".into()));
        queue.reserve(Priority::Edit, user("second"), now);
        queue.cancel(&user("second"));
        assert!(queue.try_acquire(Priority::Edit, &user("third"), now), "a dropped reservation frees it, too");
    }
}
