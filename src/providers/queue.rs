//! The queue of a limiter: permits in use, reserved permits and waiters by priority. It wakes no waiter itself.

use std::collections::{BTreeMap, HashMap};
use std::time::Duration;

use tokio::sync::oneshot;
use tokio::time::Instant;

use super::limiter::Permit;
use crate::api::ObjectKey;

/// How long a permit stays reserved for an object that was enqueued; afterwards the next waiter gets it.
pub const RESERVATION: Duration = Duration::from_secs(5);
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

/// Permits in use, reservations and waiters.
#[derive(Default)]
pub struct Queue {
    permits: usize,
    acquired: usize,
    reserved: HashMap<ObjectKey, Instant>,
    /// Per priority, by ticket: the oldest waiter first.
    waiting: [BTreeMap<u64, Waiting>; 3],
    /// The priority and the ticket of each queued object.
    tickets: HashMap<ObjectKey, (Priority, u64)>,
    last_ticket: u64,
    served: u32,
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
    /// Sets the number of permits, at least 1.
    pub fn set_permits(&mut self, permits: u32) {
        self.permits = permits.max(1) as usize;
    }

    /// Takes a permit for `object` if one is reserved for it, or if one is free and no waiter of this or a higher priority
    /// is queued; queues it otherwise. Returns whether it took one.
    pub fn try_acquire(&mut self, priority: Priority, object: &ObjectKey, now: Instant) -> bool {
        self.expire_reservations(now);
        let reserved = self.reserved.remove(object).is_some();
        if reserved || (self.has_free() && self.waiting[..=priority as usize].iter().all(BTreeMap::is_empty)) {
            self.cancel(object);
            self.acquired += 1;
            return true;
        }
        self.push_object(priority, object, now);
        false
    }

    /// Takes a permit for the task that `pop` returned.
    pub fn acquire(&mut self) {
        self.acquired += 1;
    }

    /// Gives one permit back.
    pub fn release(&mut self) {
        self.acquired -= 1;
    }

    /// Queues a task.
    pub fn push_task(&mut self, priority: Priority, task: oneshot::Sender<Permit>, now: Instant) {
        self.push(priority, Waiter::Task(task), now);
    }

    /// Reserves a permit for `object`, which is being enqueued.
    pub fn reserve(&mut self, object: ObjectKey, now: Instant) {
        self.reserved.insert(object, now);
    }

    /// Removes `object` and its reservation.
    pub fn cancel(&mut self, object: &ObjectKey) {
        self.reserved.remove(object);
        if let Some((priority, ticket)) = self.tickets.remove(object) {
            self.waiting[priority as usize].remove(&ticket);
        }
    }

    /// Removes and returns the next waiter, if a permit is free.
    pub fn pop(&mut self, now: Instant) -> Option<(Priority, Waiting)> {
        self.expire_reservations(now);
        if !self.has_free() {
            return None;
        }
        let (priority, (_, waiting)) = self
            .order()
            .into_iter()
            .find_map(|priority| Some((priority, self.waiting[priority as usize].pop_first()?)))?;
        self.served = self.served.wrapping_add(1);
        if let Waiter::Object(object) = &waiting.waiter {
            self.tickets.remove(object);
        }
        Some((priority, waiting))
    }

    /// Whether a permit is reserved.
    #[must_use]
    pub fn has_reservations(&self) -> bool {
        !self.reserved.is_empty()
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

    fn has_free(&self) -> bool {
        self.acquired + self.reserved.len() < self.permits
    }

    /// An object that is queued with this priority already keeps its ticket.
    fn push_object(&mut self, priority: Priority, object: &ObjectKey, now: Instant) {
        if self.tickets.get(object).is_some_and(|(queued, _)| *queued == priority) {
            return;
        }
        self.cancel(object);
        let ticket = self.push(priority, Waiter::Object(object.clone()), now);
        self.tickets.insert(object.clone(), (priority, ticket));
    }

    fn push(&mut self, priority: Priority, waiter: Waiter, now: Instant) -> u64 {
        self.last_ticket += 1;
        self.waiting[priority as usize].insert(self.last_ticket, Waiting { since: now, waiter });
        self.last_ticket
    }

    fn expire_reservations(&mut self, now: Instant) {
        self.reserved.retain(|_, since| now.duration_since(*since) < RESERVATION);
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::api::Kind;

    #[test]
    fn no_priority_starves_while_waiters_of_others_keep_coming() {
        let (now, mut queue) = (Instant::now(), Queue::default());
        queue.set_permits(1);
        for number in 0..40 {
            for priority in [Priority::Edit, Priority::New, Priority::Background] {
                let user = ObjectKey::new(Kind::User, "identity", format!("{priority}{number}"));
                queue.push_object(priority, &user, now);
            }
        }
        let served: Vec<Priority> = (0..32).map(|_| queue.pop(now).unwrap().0).collect();
        let count = |priority| served.iter().filter(|served| **served == priority).count();
        assert_eq!((count(Priority::Edit), count(Priority::New), count(Priority::Background)), (28, 2, 2));
    }

    #[test]
    fn an_object_that_is_queued_twice_has_one_entry_and_changes_its_priority() {
        let (now, mut queue) = (Instant::now(), Queue::default());
        let user = |name: &str| ObjectKey::new(Kind::User, "identity", name);
        for name in ["first", "second", "first"] {
            queue.push_object(Priority::New, &user(name), now);
        }
        queue.push_object(Priority::Edit, &user("second"), now);
        assert_eq!((queue.waiting(Priority::New), queue.waiting(Priority::Edit)), (1, 1));
    }
}
