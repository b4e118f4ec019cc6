//! The way to ask for a reconcile of an object.

use tokio::sync::mpsc;

use crate::api::ObjectKey;

/// Sends objects to the reconcile of their kind, as if they had changed. Cheap to clone.
#[derive(Clone, Debug)]
pub struct Queue {
    any: mpsc::UnboundedSender<ObjectKey>,
    admitted: mpsc::UnboundedSender<ObjectKey>,
}

/// The receiving end of a queue.
pub struct Enqueued {
    any: mpsc::UnboundedReceiver<ObjectKey>,
    admitted: mpsc::UnboundedReceiver<ObjectKey>,
}

/// An object that was enqueued.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Request {
    /// The object.
    pub object: ObjectKey,
    /// Whether a limiter has a permit for it, which it keeps for a few seconds.
    pub is_admitted: bool,
}

impl Queue {
    /// A queue and its receiving end.
    pub fn new() -> (Self, Enqueued) {
        let ((any, for_any), (admitted, for_admitted)) = (mpsc::unbounded_channel(), mpsc::unbounded_channel());
        (Self { any, admitted }, Enqueued { any: for_any, admitted: for_admitted })
    }

    /// Enqueues `object`.
    pub fn add(&self, object: ObjectKey) {
        // The receiver ends with the process, and then no reconcile is left to run.
        let _ = self.any.send(object);
    }

    /// The sending end for a limiter, which enqueues the objects that it has a permit for.
    pub fn admitted(&self) -> mpsc::UnboundedSender<ObjectKey> {
        self.admitted.clone()
    }
}

impl Enqueued {
    /// The next object; `None` when nobody can enqueue one any more.
    pub async fn recv(&mut self) -> Option<Request> {
        tokio::select! {
            Some(object) = self.admitted.recv() => Some(Request { object, is_admitted: true }),
            Some(object) = self.any.recv() => Some(Request { object, is_admitted: false }),
            else => None,
        }
    }
}
