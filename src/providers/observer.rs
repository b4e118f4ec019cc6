//! What the transport and the gate tell whoever counts; it must not influence a call.

use std::time::Duration;

use crate::api::Vendor;

/// Told of every call and every wait. Labels are bounded: vendors, operations, status codes, lanes.
pub trait Observer: Send + Sync {
    /// A call ended after `elapsed` with an HTTP status, or with `error` or `timeout`.
    fn provider_request(&self, vendor: Vendor, operation: &'static str, code: &str, elapsed: Duration);
    /// Someone waited for a place.
    fn limiter_waited(&self, vendor: Vendor, priority: &'static str, waited: Duration);
}

/// Counts nothing.
pub struct NoMetrics;

impl Observer for NoMetrics {
    fn provider_request(&self, _: Vendor, _: &'static str, _: &str, _: Duration) {}
    fn limiter_waited(&self, _: Vendor, _: &'static str, _: Duration) {}
}
