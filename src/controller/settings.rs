//! The settings of the operator as a whole. Values only.

use std::time::Duration;

use crate::api::user::Mode;
use crate::providers::AddressRules;

/// The settings of the operator as a whole.
#[derive(Clone, Debug)]
pub struct Settings {
    /// Longest time for one vendor call.
    pub call_timeout: Duration,
    /// Beyond `call_timeout`, how long a create whose outcome is unknown may still take effect.
    pub grace: Duration,
    /// How long a vendor may take to show what was written: so long a read that lacks an account is no evidence that it is gone.
    pub read_lag: Duration,
    /// Longest time for one reconcile.
    pub reconcile_timeout: Duration,
    /// The strictest of this, the credential's, the object's and the annotation's mode wins.
    pub mode: Mode,
    /// The operator's own namespace.
    pub namespace: String,
    /// Whether a finalizer keeps the Secrets of credentials while they are needed to take accounts away.
    pub secret_finalizer: bool,
    /// Most reconciles at a time, per kind, beside those in each credential's own slots.
    pub concurrency: u16,
    /// The addresses that may be called.
    pub addresses: AddressRules,
}

impl Settings {
    /// Longest time for a listing within the reconcile of one object.
    pub fn longest_listing(&self) -> Duration {
        self.reconcile_timeout * 2 / 3
    }
}
