//! The interface for metrics of calls and waits. An observer must not influence a call.

use std::time::Duration;

use crate::api::Vendor;

/// Observes every call and every wait. All labels are bounded: vendors, operations, status codes, priorities.
pub trait Observer: Send + Sync {
    /// A call ended after `elapsed`; `code` is its HTTP status, `error` or `timeout`.
    fn provider_request(&self, vendor: Vendor, operation: &'static str, code: &str, elapsed: Duration);
    /// An object or a task waited for a permit.
    fn limiter_waited(&self, vendor: Vendor, priority: &'static str, waited: Duration);
}

/// Observes nothing.
pub struct NoMetrics;

impl Observer for NoMetrics {
    fn provider_request(&self, _: Vendor, _: &'static str, _: &str, _: Duration) {}
    fn limiter_waited(&self, _: Vendor, _: &'static str, _: Duration) {}
}
