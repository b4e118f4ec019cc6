//! Forwards reports of controllers and providers to the metrics registry; it counts nothing itself.

use std::time::Duration;

use crate::api::{ObjectKey, Reason, Vendor};
use crate::controller::Metrics;
use crate::providers::Observer;
use crate::runtime::metrics::MetricsRegistry;

/// The metrics registry, behind the traits of the other rooms.
pub struct PrometheusMetrics(pub MetricsRegistry);

impl Observer for PrometheusMetrics {
    fn provider_request(&self, vendor: Vendor, operation: &'static str, code: &str, elapsed: Duration) {
        self.0.provider_request(vendor.label(), operation, code, elapsed);
    }

    fn limiter_waited(&self, vendor: Vendor, lane: &'static str, waited: Duration) {
        self.0.limiter_waited(vendor.label(), lane, waited);
    }
}

impl Metrics for PrometheusMetrics {
    fn reconciled(&self, kind: &'static str, result: &'static str, elapsed: Duration) {
        self.0.reconciled(kind, result, elapsed);
    }

    fn object_state(&self, key: &ObjectKey, reason: Option<Reason>) {
        self.0.object_state(key.kind.into(), &key.to_string(), reason.map(Reason::label));
    }

    fn drift_repaired(&self, kind: &'static str, vendor: Vendor) {
        self.0.drift_repaired(kind, vendor.label());
    }

    fn credential_ready(&self, vendor: Vendor, key: &ObjectKey, ready: Option<bool>) {
        self.0.credential_ready(vendor.label(), &key.namespace, &key.name, ready);
    }
}
