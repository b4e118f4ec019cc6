//! The metrics and their names. Callers bound the label values; only credentials appear by name.

use std::collections::HashMap;
use std::fmt;
use std::sync::Arc;
use std::time::Duration;

use parking_lot::Mutex;
use prometheus_client::encoding::EncodeLabelSet;
use prometheus_client::encoding::text::encode;
use prometheus_client::metrics::counter::Counter;
use prometheus_client::metrics::family::Family;
use prometheus_client::metrics::gauge::Gauge;
use prometheus_client::metrics::histogram::{Histogram, exponential_buckets};
use prometheus_client::registry::Registry;

type Label = &'static str;
type Timings<L> = Family<L, Histogram, fn() -> Histogram>;

#[derive(Clone, Debug, PartialEq, Eq, Hash, EncodeLabelSet)]
struct Request {
    provider: Label,
    operation: Label,
    code: String,
}

#[derive(Clone, Debug, PartialEq, Eq, Hash, EncodeLabelSet)]
struct Operation {
    provider: Label,
    operation: Label,
}

#[derive(Clone, Debug, PartialEq, Eq, Hash, EncodeLabelSet)]
struct Outcome {
    kind: Label,
    result: Label,
}

#[derive(Clone, Debug, PartialEq, Eq, Hash, EncodeLabelSet)]
struct OfKind {
    kind: Label,
}

#[derive(Clone, Debug, PartialEq, Eq, Hash, EncodeLabelSet)]
struct State {
    kind: Label,
    reason: Label,
}

#[derive(Clone, Debug, PartialEq, Eq, Hash, EncodeLabelSet)]
struct Drift {
    kind: Label,
    provider: Label,
}

#[derive(Clone, Debug, PartialEq, Eq, Hash, EncodeLabelSet)]
struct Priority {
    provider: Label,
    lane: Label,
}

#[derive(Clone, Debug, PartialEq, Eq, Hash, EncodeLabelSet)]
struct Credential {
    provider: Label,
    namespace: String,
    name: String,
}

/// All metrics of the process; cheap to clone.
#[derive(Clone)]
pub struct MetricsRegistry(Arc<Families>);

struct Families {
    registry: Registry,
    requests: Family<Request, Counter>,
    request_seconds: Timings<Operation>,
    reconciles: Family<Outcome, Counter>,
    reconcile_seconds: Timings<OfKind>,
    objects: Family<State, Gauge>,
    /// The reason of each object by kind and key, so that a new reason replaces the old one in `objects`.
    states: Mutex<HashMap<(Label, String), Label>>,
    drift: Family<Drift, Counter>,
    gate_seconds: Timings<Priority>,
    credential_ready: Family<Credential, Gauge>,
    leader: Gauge,
}

/// Buckets for one call, in seconds: from 4 ms to about a minute.
fn short() -> Histogram {
    Histogram::new(exponential_buckets(0.004, 2.0, 15))
}

/// Buckets for work that may wait for vendors, in seconds: from 10 ms to about 5 minutes.
fn long() -> Histogram {
    Histogram::new(exponential_buckets(0.01, 2.0, 16))
}

impl Default for MetricsRegistry {
    fn default() -> Self {
        Self::new()
    }
}

impl MetricsRegistry {
    /// Metrics without any observation.
    #[must_use]
    pub fn new() -> Self {
        let mut families = Families {
            registry: Registry::default(),
            requests: Family::default(),
            request_seconds: Family::new_with_constructor(short),
            reconciles: Family::default(),
            reconcile_seconds: Family::new_with_constructor(long),
            objects: Family::default(),
            states: Mutex::default(),
            drift: Family::default(),
            gate_seconds: Family::new_with_constructor(long),
            credential_ready: Family::default(),
            leader: Gauge::default(),
        };
        families.register();
        Self(Arc::new(families))
    }

    /// A vendor call ended with an HTTP status, or with `error` or `timeout`.
    pub fn provider_request(&self, provider: Label, operation: Label, code: &str, elapsed: Duration) {
        self.0.requests.get_or_create(&Request { provider, operation, code: code.to_owned() }).inc();
        self.0.request_seconds.get_or_create(&Operation { provider, operation }).observe(elapsed.as_secs_f64());
    }

    /// A reconcile ended.
    pub fn reconciled(&self, kind: Label, result: Label, elapsed: Duration) {
        self.0.reconciles.get_or_create(&Outcome { kind, result }).inc();
        self.0.reconcile_seconds.get_or_create(&OfKind { kind }).observe(elapsed.as_secs_f64());
    }

    /// The object `key` has this reason now; `None`: it is gone.
    pub fn object_state(&self, kind: Label, key: &str, reason: Option<Label>) {
        let mut states = self.0.states.lock();
        let object = (kind, key.to_owned());
        let before = match reason {
            Some(reason) => states.insert(object, reason),
            None => states.remove(&object),
        };
        if let Some(reason) = before {
            self.0.objects.get_or_create(&State { kind, reason }).dec();
        }
        if let Some(reason) = reason {
            self.0.objects.get_or_create(&State { kind, reason }).inc();
        }
    }

    /// usher undid a change that was made at the vendor.
    pub fn drift_repaired(&self, kind: Label, provider: Label) {
        self.0.drift.get_or_create(&Drift { kind, provider }).inc();
    }

    /// An object waited at a credential's limiter.
    pub fn limiter_waited(&self, provider: Label, lane: Label, waited: Duration) {
        self.0.gate_seconds.get_or_create(&Priority { provider, lane }).observe(waited.as_secs_f64());
    }

    /// A credential is ready or not; `None`: it is gone.
    pub fn credential_ready(&self, provider: Label, namespace: &str, name: &str, ready: Option<bool>) {
        let labels = Credential { provider, namespace: namespace.to_owned(), name: name.to_owned() };
        match ready {
            Some(ready) => {
                self.0.credential_ready.get_or_create(&labels).set(ready.into());
            }
            None => {
                self.0.credential_ready.remove(&labels);
            }
        }
    }

    /// Whether this process leads.
    pub fn leader(&self, leads: bool) {
        self.0.leader.set(leads.into());
    }

    /// The metrics in `OpenMetrics` text.
    ///
    /// Errors: none in practice; writing to a `String` does not fail.
    pub fn render(&self) -> Result<String, fmt::Error> {
        let mut text = String::new();
        encode(&mut text, &self.0.registry)?;
        Ok(text)
    }
}

impl Families {
    /// Names without `_total`, which the encoder appends to counters.
    fn register(&mut self) {
        let all = &mut self.registry;
        all.register("usher_provider_requests", "Calls to vendors by operation and answer", self.requests.clone());
        all.register(
            "usher_provider_request_duration_seconds",
            "Duration of calls to vendors",
            self.request_seconds.clone(),
        );
        all.register("usher_reconciles", "Reconciles by result", self.reconciles.clone());
        all.register("usher_reconcile_duration_seconds", "Duration of reconciles", self.reconcile_seconds.clone());
        all.register("usher_objects", "Objects by the reason of their Ready condition", self.objects.clone());
        all.register("usher_drift_repaired", "Changes made at vendors that usher undid", self.drift.clone());
        all.register("usher_gate_wait_seconds", "Waits at credentials' limiters", self.gate_seconds.clone());
        all.register("usher_credential_ready", "Whether a credential is ready", self.credential_ready.clone());
        all.register("usher_leader", "Whether this process leads", self.leader.clone());
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn names_and_labels_are_the_documented_ones() {
        let metrics = MetricsRegistry::new();
        metrics.provider_request("pegasus", "users.list", "200", Duration::from_millis(3));
        metrics.reconciled("PlatformUser", "ok", Duration::from_millis(3));
        metrics.object_state("PlatformUser", "a/b", Some("Synced"));
        metrics.object_state("PlatformUser", "a/b", Some("Invalid"));
        metrics.object_state("PlatformGroup", "a/b", Some("Synced"));
        metrics.drift_repaired("PlatformUser", "pegasus");
        metrics.limiter_waited("pegasus", "edit", Duration::ZERO);
        metrics.credential_ready("pegasus", "identity", "main", Some(true));
        metrics.leader(true);
        let text = metrics.render().unwrap();
        for line in [
            r#"usher_provider_requests_total{provider="pegasus",operation="users.list",code="200"} 1"#,
            r#"usher_provider_request_duration_seconds_count{provider="pegasus",operation="users.list"} 1"#,
            r#"usher_reconciles_total{kind="PlatformUser",result="ok"} 1"#,
            r#"usher_reconcile_duration_seconds_count{kind="PlatformUser"} 1"#,
            r#"usher_objects{kind="PlatformUser",reason="Synced"} 0"#,
            r#"usher_objects{kind="PlatformUser",reason="Invalid"} 1"#,
            r#"usher_objects{kind="PlatformGroup",reason="Synced"} 1"#,
            r#"usher_drift_repaired_total{kind="PlatformUser",provider="pegasus"} 1"#,
            r#"usher_gate_wait_seconds_count{provider="pegasus",lane="edit"} 1"#,
            r#"usher_credential_ready{provider="pegasus",namespace="identity",name="main"} 1"#,
            "usher_leader 1",
        ] {
            assert!(text.contains(line), "{line} is missing in\n{text}");
        }
        metrics.object_state("PlatformGroup", "a/b", None);
        assert!(metrics.render().unwrap().contains(r#"usher_objects{kind="PlatformGroup",reason="Synced"} 0"#));
        metrics.credential_ready("pegasus", "identity", "main", None);
        assert!(!metrics.render().unwrap().contains("usher_credential_ready{"));
    }
}
