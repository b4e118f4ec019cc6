//! Whether an object is live or being deleted, as a type: accounts are made for a [`Live`] object alone, and taken away for a
//! [`Deleting`] one alone. Both are made by [`Lifecycle::of`] and nowhere else.

use std::ops::Deref;
use std::sync::Arc;

use super::object::Object;

/// An object, by what has to be done for it.
pub enum Lifecycle<K> {
    /// Its account is made and kept.
    Live(Live<K>),
    /// Its account is taken away.
    Deleting(Deleting<K>),
}

/// An object that is not being deleted.
#[derive(Clone)]
pub struct Live<K>(Arc<K>);

/// An object that is being deleted.
#[derive(Clone)]
pub struct Deleting<K>(Arc<K>);

impl<K: Object> Lifecycle<K> {
    /// The object by whether it has a deletion timestamp.
    pub fn of(object: Arc<K>) -> Self {
        if object.is_deleting() { Self::Deleting(Deleting(object)) } else { Self::Live(Live(object)) }
    }
}

impl<K: Object> Live<K> {
    /// The same object in its `latest` state, unless it is being deleted by now.
    pub fn refreshed(self, latest: Arc<K>) -> Option<Self> {
        (!latest.is_deleting()).then_some(Self(latest))
    }
}

impl<K> Deref for Live<K> {
    type Target = Arc<K>;

    fn deref(&self) -> &Arc<K> {
        &self.0
    }
}

impl<K> Deref for Deleting<K> {
    type Target = Arc<K>;

    fn deref(&self) -> &Arc<K> {
        &self.0
    }
}
