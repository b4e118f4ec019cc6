//! What the process remembers of single objects between their reconciles. It outlives a new log-in, because a refusal may be the reason
//! for that; a restart forgets it without harm.

use std::collections::HashMap;

use parking_lot::Mutex;

use crate::api::ObjectKey;
use crate::plan::LastApplied;

/// What is remembered of the objects of a credential.
#[derive(Default)]
pub struct ObjectMemory(Mutex<HashMap<ObjectKey, Remembered>>);

/// What is remembered of one object.
#[derive(Default)]
struct Remembered {
    /// The generation whose drift was found and is not repaired yet.
    drifting: Option<i64>,
    /// What the last update sent, to notice that a value is sent once more.
    last_sent: Option<LastApplied>,
    /// The values that the vendor did not show right after it accepted them, perhaps because its reads lag.
    doubts: Option<LastApplied>,
}

impl ObjectMemory {
    /// Whether drift of this generation of the object was found and is not repaired yet.
    pub fn is_drifting(&self, object: &ObjectKey, generation: i64) -> bool {
        self.0.lock().get(object).is_some_and(|remembered| remembered.drifting == Some(generation))
    }

    /// Notes drift of this generation of the object.
    pub fn note_drift(&self, object: ObjectKey, generation: i64) {
        self.0.lock().entry(object).or_default().drifting = Some(generation);
    }

    /// Notes that the object is in sync.
    pub fn forget_drift(&self, object: &ObjectKey) {
        self.0.lock().get_mut(object).into_iter().for_each(|remembered| remembered.drifting = None);
    }

    /// Notes what an update of the object sent, and returns what the update before sent.
    pub fn note_sent(&self, object: ObjectKey, sent: LastApplied) -> LastApplied {
        self.0.lock().entry(object).or_default().last_sent.replace(sent).unwrap_or_default()
    }

    /// Notes the values of the object that the vendor did not show right after it accepted them.
    pub fn note_doubts(&self, object: ObjectKey, doubts: LastApplied) {
        self.0.lock().entry(object).or_default().doubts = Some(doubts);
    }

    /// Returns those values and forgets them; `None`: there are none.
    pub fn take_doubts(&self, object: &ObjectKey) -> Option<LastApplied> {
        self.0.lock().get_mut(object)?.doubts.take()
    }

    /// Forgets an object that is gone.
    pub fn forget(&self, object: &ObjectKey) {
        self.0.lock().remove(object);
    }
}
