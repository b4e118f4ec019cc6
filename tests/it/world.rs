//! One control plane and one operator for all tests of this binary.

use std::sync::{Arc, OnceLock, mpsc};
use std::time::Duration;

use kube::Client;
use tokio_util::sync::{CancellationToken, DropGuard};
use usher::api::user::Mode;
use usher::api::{ObjectKey, Reason, Vendor};
use usher::cli::PrometheusMetrics;
use usher::controller::{Metrics, Settings};
use usher::providers::{AddressRules, Observer};
use usher::runtime::metrics::MetricsRegistry;
use usher_sandbox::controlplane::{self, ControlPlane, Options};

use crate::leaks;

/// Longest time for one vendor call in tests.
pub const CALL_TIMEOUT: Duration = Duration::from_secs(3);

/// What all tests share.
pub struct World {
    /// The API server.
    pub plane: ControlPlane,
    /// The operator's token, with deploy/'s permissions.
    pub operator_token: String,
    /// What the operator counts, as `usher run` does.
    pub metrics: MetricsRegistry,
}

/// How operators of tests run.
pub fn settings() -> Settings {
    Settings {
        call_timeout: CALL_TIMEOUT,
        // Here no call is done later than its answer is due.
        grace: Duration::from_secs(2),
        // These vendors show at once what was written.
        read_lag: Duration::ZERO,
        reconcile_timeout: Duration::from_mins(1),
        mode: Mode::Enforce,
        namespace: "usher-system".into(),
        secret_finalizer: true,
        concurrency: 64,
        addresses: AddressRules { insecure: true, ..AddressRules::default() },
    }
}

/// Counts nothing.
pub struct Uncounted;

impl Observer for Uncounted {
    fn provider_request(&self, _: Vendor, _: &'static str, _: &str, _: Duration) {}
    fn limiter_waited(&self, _: Vendor, _: &'static str, _: Duration) {}
}

impl Metrics for Uncounted {
    fn reconciled(&self, _: &'static str, _: &'static str, _: Duration) {}
    fn object_state(&self, _: &ObjectKey, _: Option<Reason>) {}
    fn drift_repaired(&self, _: &'static str, _: Vendor) {}
    fn credential_ready(&self, _: Vendor, _: &ObjectKey, _: Option<bool>) {}
}

/// Brings the definitions of the kinds and deploy/ to a control plane; its client as the administrator.
pub async fn install(plane: &ControlPlane) -> Client {
    let admin = plane.client().unwrap();
    for manifests in [controlplane::crds(), controlplane::operator_manifests()] {
        controlplane::apply(&admin, &manifests.unwrap()).await.unwrap();
    }
    admin
}

/// A control plane of its own for one test, with the definitions of the kinds and deploy/.
pub async fn own_plane() -> ControlPlane {
    let plane = ControlPlane::start(Options::default()).await.unwrap();
    install(&plane).await;
    plane
}

/// An operator with deploy/'s permissions, which runs until the guard is dropped.
pub async fn operator(plane: &ControlPlane, settings: Settings) -> DropGuard {
    let client = plane.service_account_client("usher-system", "usher").await.unwrap();
    let stop = CancellationToken::new();
    tokio::spawn(usher::controller::run(client, settings, Arc::new(Uncounted), stop.clone(), Box::new(|_| {})));
    stop.drop_guard()
}

static WORLD: OnceLock<World> = OnceLock::new();

/// The world, if any test has asked for it.
pub fn world_so_far() -> Option<&'static World> {
    WORLD.get()
}

/// The world, made by the first test that asks. It lives in a thread of its own, because each test has its own runtime.
pub fn world() -> &'static World {
    WORLD.get_or_init(|| {
        let (made, making) = mpsc::channel();
        std::thread::spawn(move || {
            let runtime = tokio::runtime::Builder::new_multi_thread().worker_threads(2).enable_all().build().unwrap();
            runtime.block_on(async {
                made.send(make().await).ok().unwrap();
                std::future::pending::<()>().await;
            });
        });
        making.recv().expect("the control plane starts")
    })
}

async fn make() -> World {
    leaks::watch_logs();
    let running = ControlPlane::running().await.unwrap();
    let plane = match running {
        Some(running) => running,
        None => ControlPlane::start(Options::default()).await.unwrap(),
    };
    let admin = install(&plane).await;
    let operator_token = plane.service_account_token("usher-system", "usher").await.unwrap();
    let client = Client::try_from(plane.config(&operator_token).unwrap()).unwrap();
    leaks::watch_cluster(&admin);
    let metrics = MetricsRegistry::new();
    tokio::spawn(usher::controller::run(
        client,
        settings(),
        Arc::new(PrometheusMetrics(metrics.clone())),
        CancellationToken::new(),
        Box::new(|_| {}),
    ));
    World { plane, operator_token, metrics }
}
