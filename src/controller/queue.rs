//! The way to ask for a reconcile of an object.

use tokio::sync::mpsc;

use crate::api::ObjectKey;

/// Sends objects to the reconcile of their kind, as if they had changed. Cheap to clone.
#[derive(Clone, Debug)]
pub struct Queue(mpsc::UnboundedSender<ObjectKey>);

impl Queue {
    /// A queue and its receiving end.
    pub fn new() -> (Self, mpsc::UnboundedReceiver<ObjectKey>) {
        let (sender, receiver) = mpsc::unbounded_channel();
        (Self(sender), receiver)
    }

    /// Enqueues `object`.
    pub fn add(&self, object: ObjectKey) {
        // The receiver ends with the process, and then no reconcile is left to run.
        let _ = self.0.send(object);
    }

    /// The sending end, for a limiter.
    pub fn sender(&self) -> mpsc::UnboundedSender<ObjectKey> {
        self.0.clone()
    }
}
