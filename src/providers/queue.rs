//! Who is inside a gate, who is invited, and who waits in which lane; it wakes nobody.

use std::collections::{BTreeMap, HashMap};
use std::time::Duration;

use tokio::sync::oneshot;
use tokio::time::Instant;

use super::limiter::Permit;
use crate::api::ObjectKey;

/// How long an invited object may take to come before its place goes to the next.
pub const INVITATION: Duration = Duration::from_secs(5);
/// One place in this many goes to a lower lane first, to each of the two in turn, so that no lane starves.
const FLOOR: u32 = 8;

/// Who goes first.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash, PartialOrd, Ord, strum::Display, strum::IntoStaticStr)]
#[strum(serialize_all = "lowercase")]
pub enum Priority {
    /// Edits and removals of what is there.
    Edit,
    /// New accounts.
    New,
    /// Sweeps and checks.
    Background,
}

/// Who is inside, invited and waiting.
#[derive(Default)]
pub struct Line {
    places: usize,
    inside: usize,
    invited: HashMap<ObjectKey, Instant>,
    /// By ticket, the oldest first.
    waiting: [BTreeMap<u64, Waiting>; 3],
    /// Where each parked object waits.
    parked: HashMap<ObjectKey, (Priority, u64)>,
    tickets: u64,
    served: u32,
}

/// Someone without a place.
pub struct Waiting {
    /// Since when.
    pub since: Instant,
    /// Who it is.
    pub who: Who,
}

/// Who waits.
pub enum Who {
    /// Woken through the channel; its reconcile comes back by itself.
    Object(ObjectKey),
    /// Given its place directly.
    Task(oneshot::Sender<Permit>),
}

impl Line {
    /// At most so many inside from now on.
    pub fn limit(&mut self, places: u32) {
        self.places = places.max(1) as usize;
    }

    /// Takes a place for `object` if it is invited, or if there is room and nobody waits before it; parks it otherwise.
    pub fn enter(&mut self, priority: Priority, object: &ObjectKey, now: Instant) -> bool {
        self.forget_late_guests(now);
        let invited = self.invited.remove(object).is_some();
        if invited || (self.has_room() && self.waiting[..=priority as usize].iter().all(BTreeMap::is_empty)) {
            self.leave(object);
            self.inside += 1;
            return true;
        }
        self.park(priority, object, now);
        false
    }

    /// Gives a place to who was found by `next` and is here already.
    pub fn let_in(&mut self) {
        self.inside += 1;
    }

    /// Gives back a place.
    pub fn let_out(&mut self) {
        self.inside -= 1;
    }

    /// A task waits.
    pub fn queue(&mut self, priority: Priority, task: oneshot::Sender<Permit>, now: Instant) {
        self.push(priority, Who::Task(task), now);
    }

    /// Keeps a place for `object`, which is on its way.
    pub fn invite(&mut self, object: ObjectKey, now: Instant) {
        self.invited.insert(object, now);
    }

    /// `object` wants no place any more.
    pub fn leave(&mut self, object: &ObjectKey) {
        self.invited.remove(object);
        if let Some((priority, ticket)) = self.parked.remove(object) {
            self.waiting[priority as usize].remove(&ticket);
        }
    }

    /// Who comes next, if there is room for anyone.
    pub fn next(&mut self, now: Instant) -> Option<(Priority, Waiting)> {
        self.forget_late_guests(now);
        if !self.has_room() {
            return None;
        }
        let (priority, (_, waiting)) = self
            .order()
            .into_iter()
            .find_map(|priority| Some((priority, self.waiting[priority as usize].pop_first()?)))?;
        self.served = self.served.wrapping_add(1);
        if let Who::Object(object) = &waiting.who {
            self.parked.remove(object);
        }
        Some((priority, waiting))
    }

    /// Whether someone is invited and has not come yet.
    #[must_use]
    pub fn expects_guests(&self) -> bool {
        !self.invited.is_empty()
    }

    /// How many wait in a lane.
    #[must_use]
    pub fn waiting(&self, priority: Priority) -> usize {
        self.waiting[priority as usize].len()
    }

    /// Edits, new ones, background; a lower lane first at its turn.
    fn order(&self) -> [Priority; 3] {
        let turn = self.served.wrapping_add(1);
        if !turn.is_multiple_of(FLOOR) {
            [Priority::Edit, Priority::New, Priority::Background]
        } else if turn.is_multiple_of(2 * FLOOR) {
            [Priority::New, Priority::Background, Priority::Edit]
        } else {
            [Priority::Background, Priority::New, Priority::Edit]
        }
    }

    fn has_room(&self) -> bool {
        self.inside + self.invited.len() < self.places
    }

    /// Who waits in this lane already keeps his place.
    fn park(&mut self, priority: Priority, object: &ObjectKey, now: Instant) {
        if self.parked.get(object).is_some_and(|(parked, _)| *parked == priority) {
            return;
        }
        self.leave(object);
        let ticket = self.push(priority, Who::Object(object.clone()), now);
        self.parked.insert(object.clone(), (priority, ticket));
    }

    fn push(&mut self, priority: Priority, who: Who, now: Instant) -> u64 {
        self.tickets += 1;
        self.waiting[priority as usize].insert(self.tickets, Waiting { since: now, who });
        self.tickets
    }

    fn forget_late_guests(&mut self, now: Instant) {
        self.invited.retain(|_, since| now.duration_since(*since) < INVITATION);
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::api::Kind;

    #[test]
    fn no_lane_starves_while_others_never_end() {
        let (now, mut line) = (Instant::now(), Line::default());
        line.limit(1);
        for number in 0..40 {
            for priority in [Priority::Edit, Priority::New, Priority::Background] {
                line.park(priority, &ObjectKey::new(Kind::User, "identity", format!("{priority}{number}")), now);
            }
        }
        let served: Vec<Priority> = (0..32).map(|_| line.next(now).unwrap().0).collect();
        let count = |priority| served.iter().filter(|served| **served == priority).count();
        assert_eq!((count(Priority::Edit), count(Priority::New), count(Priority::Background)), (28, 2, 2));
    }

    #[test]
    fn who_parks_again_keeps_his_place_and_who_changes_lanes_has_one() {
        let (now, mut line) = (Instant::now(), Line::default());
        let user = |name: &str| ObjectKey::new(Kind::User, "identity", name);
        for name in ["first", "second", "first"] {
            line.park(Priority::New, &user(name), now);
        }
        line.park(Priority::Edit, &user("second"), now);
        assert_eq!((line.waiting(Priority::New), line.waiting(Priority::Edit)), (1, 1));
    }
}
