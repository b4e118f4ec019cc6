//! Whether an object is live or being deleted, as a type: usher creates accounts only for a [`Live`] object, and removes them only for
//! a [`Deleting`] one. Only [`Lifecycle::of`] and [`Live::refreshed`] make these types.

use std::ops::Deref;
use std::sync::Arc;

use super::object::Object;

/// An object by whether it is being deleted.
pub enum Lifecycle<K> {
    /// usher creates its account and keeps it in sync.
    Live(Live<K>),
    /// usher removes its account, as the deletion policy asks.
    Deleting(Deleting<K>),
}

/// An object that is not being deleted.
#[derive(Clone)]
pub struct Live<K>(Arc<K>);

/// An object that is being deleted.
#[derive(Clone)]
pub struct Deleting<K>(Arc<K>);

impl<K: Object> Lifecycle<K> {
    /// `object` by whether it has a deletion timestamp.
    pub fn of(object: Arc<K>) -> Self {
        if object.is_deleting() { Self::Deleting(Deleting(object)) } else { Self::Live(Live(object)) }
    }
}

impl<K: Object> Live<K> {
    /// A live object in its `latest` state; `None` if it is being deleted by now.
    pub fn refreshed(latest: Arc<K>) -> Option<Self> {
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
