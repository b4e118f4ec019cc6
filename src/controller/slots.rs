//! Which of the waiting objects of one kind is reconciled next. It runs nothing and knows no time.
//!
//! A kind has a number of common slots. The credential with the fewest objects in slots is next, and the namespaces of a credential take
//! turns. A quarter of the common slots is out of reach of any one credential, and another one of its new accounts; new accounts of all
//! credentials together leave a quarter, too. Beside the common slots each credential has two of its own, one for an object with an
//! account and one for an object without, because any number of slow credentials may hold the common ones.

use std::collections::{HashMap, VecDeque};
use std::sync::Arc;

use parking_lot::Mutex;

use crate::api::ObjectKey;
use crate::plan::Turns;

/// The common slots are divided into this many parts, of which some are kept free: for credentials that come later, and for edits and
/// removals.
const PARTS: usize = 4;

/// What an object waits for.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Class {
    /// The edit or removal of an account, or a credential.
    Known,
    /// A new account.
    New,
}

/// Where an object waits.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Place {
    /// The credential whose slots it takes.
    pub credential: ObjectKey,
    /// What it waits for.
    pub class: Class,
    /// Whether a limiter has a permit for it, so that it goes before the others of its namespace.
    pub is_admitted: bool,
}

/// How many new accounts of each credential wait for a slot. Cheap to clone.
#[derive(Clone, Default)]
pub struct Backlog(Arc<Mutex<HashMap<ObjectKey, usize>>>);

impl Backlog {
    /// How many of this credential wait.
    pub fn of(&self, credential: &ObjectKey) -> usize {
        self.0.lock().get(credential).copied().unwrap_or_default()
    }

    fn add(&self, place: &Place) {
        if place.class == Class::New {
            *self.0.lock().entry(place.credential.clone()).or_default() += 1;
        }
    }

    fn remove(&self, place: &Place) {
        if place.class == Class::New {
            let mut waiting = self.0.lock();
            let left = waiting.remove(&place.credential).unwrap_or_default().saturating_sub(1);
            if left > 0 {
                waiting.insert(place.credential.clone(), left);
            }
        }
    }
}

/// The slots of one kind, the objects in them, and those that wait for one; each object once.
pub struct Slots {
    common: usize,
    running: HashMap<ObjectKey, Running>,
    running_new: usize,
    /// The credentials with waiting or running objects.
    lanes: HashMap<ObjectKey, Lane>,
    /// Per class, the credentials with waiting objects: the one whose turn is next comes first.
    rotation: [VecDeque<ObjectKey>; 2],
    waiting: HashMap<ObjectKey, (Place, Order)>,
    backlog: Backlog,
    last_ticket: u64,
}

/// The order within a namespace: those with a permit first, then by ticket.
type Order = (bool, u64);

/// An object in a slot.
struct Running {
    place: Place,
    /// Where it waits afterwards, because it was enqueued meanwhile.
    again: Option<Place>,
}

/// The objects of one credential.
#[derive(Default)]
struct Lane {
    /// Per class.
    running: [usize; 2],
    /// Per class, by namespace.
    waiting: [Turns<String, Order, ObjectKey>; 2],
}

impl Slots {
    /// This many common slots, at least 1. New accounts that wait are counted in `backlog`.
    pub fn new(common: u16, backlog: Backlog) -> Self {
        Self {
            common: usize::from(common.max(1)),
            running: HashMap::new(),
            running_new: 0,
            lanes: HashMap::new(),
            rotation: Default::default(),
            waiting: HashMap::new(),
            backlog,
            last_ticket: 0,
        }
    }

    /// Lets `object` wait at `place`. If it is in a slot, it waits there when it leaves the slot.
    pub fn enqueue(&mut self, object: ObjectKey, place: Place) {
        if let Some(running) = self.running.get_mut(&object) {
            let is_admitted = place.is_admitted || running.again.as_ref().is_some_and(|again| again.is_admitted);
            running.again = Some(Place { is_admitted, ..place });
            return;
        }
        if let Some((before, _)) = self.waiting.get(&object) {
            if *before == place || (before.is_admitted && *before == (Place { is_admitted: true, ..place.clone() })) {
                return;
            }
            self.forget(&object);
        }
        self.last_ticket += 1;
        let (class, order) = (place.class as usize, (!place.is_admitted, self.last_ticket));
        let lane = self.lanes.entry(place.credential.clone()).or_default();
        if lane.waiting[class].is_empty() {
            self.rotation[class].push_back(place.credential.clone());
        }
        lane.waiting[class].insert(object.namespace.clone(), order, object.clone());
        self.backlog.add(&place);
        self.waiting.insert(object, (place, order));
    }

    /// The next object that has a slot now; it is in that slot from now on.
    pub fn start(&mut self) -> Option<ObjectKey> {
        let class = [Class::Known, Class::New].into_iter().find(|class| self.turn_to_next(*class))?;
        let credential = self.rotation[class as usize].pop_front()?;
        let lane = self.lanes.get_mut(&credential)?;
        let object = lane.waiting[class as usize].pop()?;
        lane.running[class as usize] += 1;
        if !lane.waiting[class as usize].is_empty() {
            self.rotation[class as usize].push_back(credential);
        }
        let (place, _) = self.waiting.remove(&object)?;
        self.backlog.remove(&place);
        self.running_new += usize::from(class == Class::New);
        self.running.insert(object.clone(), Running { place, again: None });
        Some(object)
    }

    /// Frees the slot of `object`. Returns whether it waits again, because it was enqueued meanwhile.
    pub fn finish(&mut self, object: &ObjectKey) -> bool {
        let Some(Running { place, again }) = self.running.remove(object) else { return false };
        self.running_new -= usize::from(place.class == Class::New);
        if let Some(lane) = self.lanes.get_mut(&place.credential) {
            lane.running[place.class as usize] -= 1;
        }
        self.drop_idle(&place.credential);
        let waits = again.is_some();
        again.into_iter().for_each(|place| self.enqueue(object.clone(), place));
        waits
    }

    /// Removes a waiting object.
    fn forget(&mut self, object: &ObjectKey) {
        let Some((place, order)) = self.waiting.remove(object) else { return };
        self.backlog.remove(&place);
        let class = place.class as usize;
        if let Some(lane) = self.lanes.get_mut(&place.credential) {
            lane.waiting[class].remove(&object.namespace, &order);
            if lane.waiting[class].is_empty() {
                self.rotation[class].retain(|credential| *credential != place.credential);
            }
        }
        self.drop_idle(&place.credential);
    }

    fn drop_idle(&mut self, credential: &ObjectKey) {
        let is_idle = |lane: &Lane| lane.running == [0, 0] && lane.waiting.iter().all(Turns::is_empty);
        if self.lanes.get(credential).is_some_and(is_idle) {
            self.lanes.remove(credential);
        }
    }

    /// Brings the next credential that has a slot for this class to the front; `false` if none has.
    fn turn_to_next(&mut self, class: Class) -> bool {
        let running = |lane: &ObjectKey| self.lanes.get(lane).map(|lane| lane.running).unwrap_or_default();
        let waiting = self.rotation[class as usize].iter().map(running).enumerate();
        let open = waiting.filter(|(_, running)| self.has_slot(class, *running));
        let Some((turns, _)) = open.min_by_key(|(_, running)| running[0] + running[1]) else { return false };
        self.rotation[class as usize].rotate_left(turns);
        true
    }

    /// Whether a credential with this many `running` objects per class has a slot for one more of `class`.
    fn has_slot(&self, class: Class, running: [usize; 2]) -> bool {
        let part = self.common / PARTS;
        let is_open = self.running.len() < self.common && running[0] + running[1] < self.common - part;
        let is_open_to_new = self.running_new < self.common - part && running[1] < self.common - 2 * part;
        running[class as usize] == 0 || (is_open && (class == Class::Known || is_open_to_new))
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::api::Kind;

    fn user(namespace: &str, name: impl Into<String>) -> ObjectKey {
        ObjectKey::new(Kind::User, namespace, name)
    }

    fn place(credential: &str, class: Class) -> Place {
        let credential = ObjectKey::new(Kind::Credential, "identity", credential);
        Place { credential, class, is_admitted: false }
    }

    fn slots(common: u16) -> Slots {
        Slots::new(common, Backlog::default())
    }

    /// `count` objects of a namespace that wait at a credential.
    fn enqueue(slots: &mut Slots, (credential, namespace): (&str, &str), class: Class, count: usize) {
        for number in 0..count {
            slots.enqueue(user(namespace, format!("{credential}-{class:?}-{number}")), place(credential, class));
        }
    }

    /// Everything that starts now.
    fn started(slots: &mut Slots) -> Vec<ObjectKey> {
        std::iter::from_fn(|| slots.start()).collect()
    }

    fn count(started: &[ObjectKey], prefix: &str) -> usize {
        started.iter().filter(|object| object.name.starts_with(prefix)).count()
    }

    #[test]
    fn credentials_share_the_slots_and_none_takes_all() {
        let mut slots = self::slots(64);
        enqueue(&mut slots, ("slow", "identity"), Class::Known, 100);
        assert_eq!(started(&mut slots).len(), 48, "a quarter is left to credentials that come later");
        enqueue(&mut slots, ("quick", "identity"), Class::Known, 100);
        let quick = started(&mut slots);
        assert_eq!((quick.len(), count(&quick, "quick")), (16, 16));
        for number in 0..10 {
            slots.finish(&user("identity", format!("slow-Known-{number}")));
        }
        assert_eq!(count(&started(&mut slots), "quick"), 10, "the credential with fewer objects in slots is next");
    }

    #[test]
    fn new_accounts_leave_slots_to_edits_and_removals() {
        let mut slots = self::slots(64);
        enqueue(&mut slots, ("a", "identity"), Class::New, 100);
        assert_eq!(started(&mut slots).len(), 32);
        enqueue(&mut slots, ("b", "identity"), Class::New, 100);
        assert_eq!(started(&mut slots).len(), 16);
        enqueue(&mut slots, ("a", "identity"), Class::Known, 100);
        assert_eq!(started(&mut slots).len(), 16);
    }

    #[test]
    fn a_credential_has_slots_of_its_own_when_slow_ones_hold_all_others() {
        let mut slots = self::slots(8);
        for slow in 0..70 {
            enqueue(&mut slots, (&format!("slow{slow}"), "identity"), Class::Known, 5);
            enqueue(&mut slots, (&format!("slow{slow}"), "identity"), Class::New, 5);
        }
        let held = started(&mut slots);
        assert_eq!(held.len(), 140, "each has its own two, and all common ones are among them");
        enqueue(&mut slots, ("quick", "identity"), Class::New, 2);
        enqueue(&mut slots, ("quick", "identity"), Class::Known, 2);
        let names: Vec<String> = started(&mut slots).into_iter().map(|object| object.name).collect();
        assert_eq!(names, ["quick-Known-0", "quick-New-0"]);
    }

    #[test]
    fn namespaces_of_a_credential_take_turns() {
        let mut slots = self::slots(1);
        enqueue(&mut slots, ("a", "large"), Class::Known, 100);
        enqueue(&mut slots, ("a", "small"), Class::Known, 1);
        let first = slots.start().unwrap();
        slots.finish(&first);
        assert_eq!(slots.start().map(|object| object.namespace), Some("small".into()));
    }

    #[test]
    fn an_object_with_a_permit_goes_first_in_its_namespace() {
        let mut slots = self::slots(1);
        enqueue(&mut slots, ("a", "identity"), Class::New, 10);
        let admitted = Place { is_admitted: true, ..place("a", Class::New) };
        slots.enqueue(user("identity", "a-New-7"), admitted);
        slots.enqueue(user("identity", "a-New-7"), place("a", Class::New));
        assert_eq!(slots.start().unwrap().name, "a-New-7");
        assert_eq!(slots.waiting.len(), 9);
    }

    #[test]
    fn an_object_runs_once_at_a_time_and_again_if_it_was_enqueued_meanwhile() {
        let mut slots = self::slots(8);
        let ada = user("identity", "ada");
        slots.enqueue(ada.clone(), place("a", Class::New));
        slots.enqueue(ada.clone(), place("a", Class::New));
        assert_eq!(started(&mut slots), std::slice::from_ref(&ada));
        slots.enqueue(ada.clone(), place("a", Class::Known));
        assert_eq!(started(&mut slots), []);
        assert!(slots.finish(&ada));
        assert_eq!(started(&mut slots), std::slice::from_ref(&ada));
        assert!(!slots.finish(&ada) && slots.waiting.is_empty());
        assert!(slots.lanes.is_empty() && slots.running_new == 0);
    }

    #[test]
    fn new_accounts_count_in_the_backlog_while_they_wait() {
        let mut slots = self::slots(8);
        let (backlog, credential) = (slots.backlog.clone(), place("a", Class::New).credential);
        enqueue(&mut slots, ("a", "identity"), Class::New, 10);
        enqueue(&mut slots, ("a", "identity"), Class::Known, 10);
        assert_eq!(backlog.of(&credential), 10);
        started(&mut slots);
        assert_eq!(backlog.of(&credential), 9, "edits and removals take the common slots first");
        slots.enqueue(user("identity", "a-New-9"), place("b", Class::Known));
        assert_eq!((backlog.of(&credential), backlog.of(&place("b", Class::New).credential)), (8, 0));
    }

    #[test]
    fn an_object_that_waits_elsewhere_leaves_its_place() {
        let mut slots = self::slots(8);
        slots.enqueue(user("identity", "ada"), place("a", Class::New));
        slots.enqueue(user("identity", "ada"), place("b", Class::Known));
        assert_eq!((slots.lanes.len(), slots.rotation[1].len(), started(&mut slots).len()), (1, 0, 1));
    }
}
