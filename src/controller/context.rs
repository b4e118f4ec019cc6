//! What belongs to the process and every reconcile can reach. No decisions.

use std::sync::Arc;

use crate::controller::backoff::Backoff;
use crate::controller::cluster::Cluster;
use crate::controller::connection::budget_memory::BudgetMemories;
use crate::controller::connection::in_flight::Creates;
use crate::controller::connection::link::Connections;
use crate::controller::metrics::Metrics;
use crate::controller::settings::Settings;
use crate::controller::slots::Backlog;
use crate::controller::sweeps::Sweeps;

/// What belongs to the process and every reconcile can reach.
pub struct Context {
    /// The cluster.
    pub cluster: Cluster,
    /// The live side of all credentials.
    pub connections: Connections,
    /// How many new accounts wait for a slot.
    pub backlog: Backlog,
    /// The sweeps under way.
    pub sweeps: Sweeps,
    /// Creates that this process has under way.
    pub creates: Creates,
    /// What this process knows of each credential's removals beside its status.
    pub budgets: BudgetMemories,
    /// How long failing objects wait.
    pub backoff: Backoff,
    /// Counts what the controllers do.
    pub metrics: Arc<dyn Metrics>,
    /// The settings of the operator.
    pub settings: Settings,
    /// Whether anything is carried out.
    pub run: Run,
}

/// Whether a reconcile carries out what it decides.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Run {
    /// It does.
    Live,
    /// It stops before the first write and reports the calls that it would make.
    Preview,
}

impl Context {
    /// The context of a process that makes accounts from now on.
    pub fn new(cluster: Cluster, settings: Settings, metrics: Arc<dyn Metrics>, run: Run) -> Self {
        Self {
            cluster,
            connections: Connections::default(),
            backlog: Backlog::default(),
            sweeps: Sweeps::default(),
            creates: Creates::new(settings.call_timeout + settings.grace, run == Run::Live),
            budgets: BudgetMemories::default(),
            backoff: Backoff::default(),
            metrics,
            settings,
            run,
        }
    }

    /// Whether this is a preview, which carries nothing out.
    pub fn is_preview(&self) -> bool {
        self.run == Run::Preview
    }
}

#[cfg(test)]
pub use tests::{Results, context};

#[cfg(test)]
mod tests {
    //! A context for the unit tests of other files.

    use std::sync::atomic::AtomicBool;
    use std::time::Duration;

    use k8s_openapi::api::core::v1::Secret;
    use kube::core::PartialObjectMeta;
    use kube::runtime::events::{Recorder, Reporter};
    use kube::runtime::reflector::Store;
    use kube::runtime::reflector::store::store;
    use kube::runtime::watcher::Event;
    use kube::{Client, Resource};
    use parking_lot::Mutex;
    use tokio::sync::{Notify, OnceCell};

    use super::*;
    use crate::api::user::Mode;
    use crate::api::{ObjectKey, ProviderCredential, Reason, Vendor};
    use crate::controller::cluster::cache::Cache;
    use crate::controller::queue::Queue;
    use crate::providers::{AddressRules, Observer};

    /// Keeps the results of reconciles.
    #[derive(Default)]
    pub struct Results(pub Mutex<Vec<&'static str>>);

    impl Observer for Results {
        fn provider_request(&self, _: Vendor, _: &'static str, _: &str, _: Duration) {}
        fn limiter_waited(&self, _: Vendor, _: &'static str, _: Duration) {}
    }

    impl Metrics for Results {
        fn reconciled(&self, _: &'static str, result: &'static str, _: Duration) {
            self.0.lock().push(result);
        }
        fn object_state(&self, _: &ObjectKey, _: Option<Reason>) {}
        fn drift_repaired(&self, _: &'static str, _: Vendor) {}
        fn credential_ready(&self, _: Vendor, _: &ObjectKey, _: Option<bool>) {}
    }

    /// A store that is listed and holds `objects`.
    fn filled<K: Resource<DynamicType = ()> + Clone + 'static>(objects: Vec<K>) -> Store<K> {
        let (store, mut writer) = store();
        writer.apply_watcher_event(&Event::Init);
        objects.into_iter().for_each(|object| writer.apply_watcher_event(&Event::InitApply(object)));
        writer.apply_watcher_event(&Event::InitDone);
        // A store without its writer is not ready.
        std::mem::forget(writer);
        store
    }

    /// A context whose caches hold these Secrets and credentials and nothing else.
    pub fn context(
        client: &Client,
        secrets: Vec<PartialObjectMeta<Secret>>,
        credentials: Vec<ProviderCredential>,
    ) -> Context {
        let cluster = Cluster {
            client: client.clone(),
            users: Cache::new(filled(Vec::new())),
            groups: Cache::new(filled(Vec::new())),
            credentials: Cache::new(filled(credentials)),
            secrets: filled(secrets),
            secret_reader: Arc::new(client.clone()),
            namespaces: filled(Vec::new()),
            queue: Queue::new().0,
            recorder: Recorder::new(client.clone(), Reporter { controller: "usher".into(), instance: None }),
            digest_key: OnceCell::new(),
            trusts_unsealed: AtomicBool::new(true),
            unused_secrets: Notify::new(),
        };
        let settings = Settings {
            call_timeout: Duration::from_secs(30),
            grace: Duration::from_secs(30),
            read_lag: Duration::ZERO,
            reconcile_timeout: Duration::from_secs(90),
            mode: Mode::Enforce,
            namespace: "usher".into(),
            secret_finalizer: true,
            concurrency: 1,
            addresses: AddressRules::default(),
        };
        Context::new(cluster, settings, Arc::new(Results::default()), Run::Live)
    }
}
