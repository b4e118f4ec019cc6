//! What the transport and the gate tell whoever counts; it must not influence a call.

use std::time::Duration;

use crate::api::Vendor;

/// Told of every call and every wait. Labels are bounded: vendors, operations, status codes, lanes.
pub trait Observer: Send + Sync {
    /// A call ended after `elapsed` with an HTTP status, or with `error` or `timeout`.
    fn provider_request(&self, vendor: Vendor, operation: &'static str, code: &str, elapsed: Duration);
    /// Someone waited for a place.
    fn gate_waited(&self, vendor: Vendor, lane: &'static str, waited: Duration);
}

/// Counts nothing.
pub struct Unobserved;

impl Observer for Unobserved {
    fn provider_request(&self, _: Vendor, _: &'static str, _: &str, _: Duration) {}
    fn gate_waited(&self, _: Vendor, _: &'static str, _: Duration) {}
}
