//! What the controllers count. It must not influence a reconcile.

use std::time::Duration;

use crate::api::{ObjectKey, Reason, Vendor};
use crate::providers::Observer;

/// Counts what the controllers do. Labels are bounded.
pub trait Metrics: Observer {
    /// A reconcile ended.
    fn reconciled(&self, kind: &'static str, result: &'static str, elapsed: Duration);
    /// An object has this reason now; `None`: it is gone.
    fn object_state(&self, key: &ObjectKey, reason: Option<Reason>);
    /// A foreign change at the vendor was undone.
    fn drift_repaired(&self, kind: &'static str, vendor: Vendor);
    /// A credential is ready or not; `None`: it is gone.
    fn credential_ready(&self, vendor: Vendor, key: &ObjectKey, ready: Option<bool>);
}
